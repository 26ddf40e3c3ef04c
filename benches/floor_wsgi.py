# The least that a process for each connection costs in Python: import an application, accept, fork, answer, exit.
# Nothing is parsed, checked, limited or recorded.
#
#     python3 benches/floor_wsgi.py PORT MODULE:CALLABLE [PATH]
#
# With PATH, each child also calls the application, with an environ that was made before the forks, and sends what
# that returns. Without, it sends a fixed response: the application is only in its memory.
import gc
import importlib
import io
import os
import socket
import sys

port, name = int(sys.argv[1]), sys.argv[2]
path = sys.argv[3] if len(sys.argv) > 3 else None
module, attribute = name.split(":")
application = getattr(importlib.import_module(module), attribute)

RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\nConnection: close\r\n\r\nHello, World!\n"
)
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": path,
    "QUERY_STRING": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": str(port),
    "SERVER_PROTOCOL": "HTTP/1.0",
    "HTTP_HOST": f"127.0.0.1:{port}",
    "HTTP_USER_AGENT": "ApacheBench/2.3",
    "HTTP_ACCEPT": "*/*",
    "REMOTE_ADDR": "127.0.0.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.input": io.BytesIO(),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def call_application(connection):
    head = []

    def start_response(status, headers, exc_info=None):
        fields = "".join("%s: %s\r\n" % field for field in headers)
        head.append(f"HTTP/1.1 {status}\r\n{fields}Connection: close\r\n\r\n".encode("latin-1"))

    result = application(ENVIRON.copy(), start_response)
    content = b"".join(result)
    connection.sendall(head[0] + content)
    if hasattr(result, "close"):
        result.close()


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


listener = socket.create_server(("127.0.0.1", port), backlog=4096)
gc.collect()
gc.freeze()
gc.disable()
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        connection.recv(4096)
        if path:
            call_application(connection)
        else:
            connection.sendall(RESPONSE)
        os._exit(0)
    connection.close()
    # Not ignored by SIGCHLD: the processor time of children counts for the process that waits for them.
    reap()
