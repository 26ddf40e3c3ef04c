# An application whose processes call something before their first request.
import os
import threading
import time

LOADER = os.getpid()
CALLS = []


def record():
    assert os.getpid() != LOADER
    CALLS.append(os.getpid())


def fail():
    raise LookupError("no database")


def hang():
    time.sleep(3600)


def reach():
    """Looks what the fork server of this process is to a thread that begins now."""
    def try_signal():
        try:
            os.kill(LOADER, 0)
            CALLS.append("reached")
        except PermissionError:
            CALLS.append("denied")

    thread = threading.Thread(target=try_signal)
    thread.start()
    thread.join()


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/calls":
        return [repr(CALLS).encode()]
    return [b"%r %d %r" % (CALLS == [os.getpid()], os.getppid(), environ["wsgi.run_once"])]
