# An application with a thread, and with a library whose handler of pthread_atfork(3) does not return in a child.
import ctypes
import threading
import time


@ctypes.CFUNCTYPE(None)
def hang():
    print("a handler hangs", flush=True)
    time.sleep(30)  # a daemon that is killed leaves it


threading.Thread(target=threading.Event().wait, daemon=True, name="pool").start()
ctypes.CDLL(None).__register_atfork(None, None, hang, None)


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
