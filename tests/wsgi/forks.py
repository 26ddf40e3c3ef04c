# An application whose processes call something before their first request.
import os

LOADER = os.getpid()
CALLS = []


def record():
    assert os.getpid() != LOADER
    CALLS.append(os.getpid())


def fail():
    raise LookupError("no database")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%r %d %r" % (CALLS == [os.getpid()], os.getppid(), environ["wsgi.run_once"])]
