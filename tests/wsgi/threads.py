# Starts a thread when it is imported.
import threading
import time

from bare import app


def tick():
    while True:
        time.sleep(0.01)


threading.Thread(target=tick, daemon=True, name="ticker").start()
