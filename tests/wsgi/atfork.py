# An application with a library that has threads, and ends them before a fork, as OpenBLAS does (pthread_atfork(3)).
import ctypes
import threading

MUST_END = threading.Event()
ENDED = []


@ctypes.CFUNCTYPE(None)
def end_thread():
    MUST_END.set()
    THREAD.join()
    ENDED.append(THREAD.name)


THREAD = threading.Thread(target=MUST_END.wait, daemon=True, name="pool")
THREAD.start()
ctypes.CDLL(None).__register_atfork(end_thread, None, None, None)


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(ENDED).encode()]
