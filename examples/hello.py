"""A WSGI application (PEP 3333) that needs nothing but Python: lsbaws wsgi hello:app -d examples"""

import os


def app(environ, start_response):
    print("answering", environ["PATH_INFO"])  # goes to the journal, with the connection
    content = f"Hello from process {os.getpid()}!\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(content)))])
    return [content]
