# An application that handles signals, and shows those of its processes, for tests/it/wsgi_signals.rs.
import os
import signal
import subprocess
import threading
import time

PLAIN = [("Content-Type", "text/plain")]
RAN = []


def record(number, frame):
    RAN.append(number)


def leave(number, frame):
    raise SystemExit(3)


for name in os.environ.get("HANDLED", "").split():
    signal.signal(getattr(signal, name), record)


def app(environ, start_response):
    head, _, rest = environ["PATH_INFO"][1:].partition("/")
    start_response("200 OK", PLAIN)
    return [str(globals()["answer_" + head](rest)).encode()]


def answer_pid(rest):
    return os.getpid()


def answer_ran(rest):
    return " ".join(signal.Signals(number).name for number in RAN)


def read_masks(text):
    fields = dict(line.split(":\t") for line in text.splitlines() if line.startswith("Sig"))
    return " ".join(fields[name] for name in ("SigBlk", "SigIgn"))


def answer_own(rest):
    with open("/proc/thread-self/status") as file:
        return read_masks(file.read())


def answer_program(rest):
    return read_masks(subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True).stdout)


def answer_thread(rest):
    """What a program gets that another thread has started."""
    results = []
    thread = threading.Thread(target=lambda: results.append(answer_program(rest)))
    thread.start()
    thread.join()
    return results[0]


def answer_handle(name):
    """Handles a signal that this process sends to itself."""
    number = getattr(signal, name)
    signal.signal(number, record)
    os.kill(os.getpid(), number)
    return RAN == [number]


def answer_leave(name):
    """Ends this process at a later signal."""
    signal.signal(getattr(signal, name), leave)
    return os.getpid()


def answer_busy(rest):
    """Does not end by itself."""
    print("begun")
    while True:
        time.sleep(0.01)


def answer_ticker(path):
    """Starts a thread that writes to a file after this request."""
    def tick():
        while True:
            with open("/" + path, "a") as file:
                file.write("x")
            time.sleep(0.01)

    threading.Thread(target=tick, daemon=True).start()
    return os.getpid()


def start_ticker():
    answer_ticker(os.environ["TICKER"].lstrip("/"))
