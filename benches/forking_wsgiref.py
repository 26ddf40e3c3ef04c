# The server of the standard library, with a process for each connection:
#
#     python3 benches/forking_wsgiref.py PORT MODULE:CALLABLE
import importlib
import socketserver
import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer


class ForkingServer(socketserver.ForkingMixIn, WSGIServer):
    request_queue_size = 4096
    max_children = 512


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format, *args):
        pass


module, attribute = sys.argv[2].split(":")
with ForkingServer(("127.0.0.1", int(sys.argv[1])), QuietHandler) as server:
    server.set_app(getattr(importlib.import_module(module), attribute))
    server.serve_forever()
