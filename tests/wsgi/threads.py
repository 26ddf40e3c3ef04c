# Starts a thread when it is imported.
import threading
import time

from bare import app


def tick():
    while True:
        time.sleep(0.01)


threading.Thread(target=tick, daemon=True, name="ticker").start()


def lazy(environ, start_response):
    # Starts another one when it is first called.
    if threading.active_count() < 3:
        threading.Thread(target=tick, daemon=True, name="worker").start()
    return app(environ, start_response)
