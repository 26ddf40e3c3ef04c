# Applications that fail, and that transfer much, for tests/it/wsgi_faults.rs and wsgi_transfers.rs.
import hashlib
import os
import resource
import tempfile
import time

PLAIN = [("Content-Type", "text/plain")]
BLOCK = bytes(range(256)) * 256


def app(environ, start_response):
    head, _, rest = environ["PATH_INFO"][1:].partition("/")
    return ROUTES[head](environ, start_response, rest)


def respond(start_response, text):
    start_response("200 OK", PLAIN)
    return [str(text).encode()]


def fine(environ, start_response, rest):
    return respond(start_response, "fine")


def leak(environ, start_response, rest):
    kept = []
    while True:
        kept.append(bytearray(1 << 24))


def wait(environ, start_response, rest):
    """Says that it has begun, and waits until a file exists."""
    print("begun")
    while not os.path.exists("/" + rest):
        time.sleep(0.01)
    start_response("200 OK", PLAIN)
    yield b"passed"
    print("sent")


def abort(environ, start_response, rest):
    os.abort()


def spin(environ, start_response, rest):
    while True:
        pass


def partial(environ, start_response, rest):
    start_response("200 OK", PLAIN)
    yield b"begun"
    os._exit(4)


def orphan(environ, start_response, rest):
    """A process that stays when its parent has ended."""
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
        os._exit(0)
    return respond(start_response, pid)


def upload(environ, start_response, rest):
    digest, total = hashlib.sha256(), 0
    while True:
        part = environ["wsgi.input"].read(1 << 16)
        if not part:
            break
        digest.update(part)
        total += len(part)
    return respond(start_response, "%d %s" % (total, digest.hexdigest()))


def download(environ, start_response, rest):
    start_response("200 OK", PLAIN)
    return (BLOCK for _ in range(int(rest) // len(BLOCK)))


def send_file(environ, start_response, rest):
    file = tempfile.TemporaryFile()
    for _ in range(int(rest) // len(BLOCK)):
        file.write(BLOCK)
    file.seek(0)
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](file)


def echo(environ, start_response, rest):
    start_response("200 OK", PLAIN)
    return iter(lambda: environ["wsgi.input"].read(1000), b"")


def events(environ, start_response, rest):
    """An event for each file that appears."""

    def make():
        for number in range(3):
            while not os.path.exists("/%s%d" % (rest, number)):
                time.sleep(0.01)
            yield b"data: %d\n\n" % number

    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return make()


def endless(environ, start_response, rest):
    start_response("200 OK", PLAIN)
    try:
        while True:
            yield BLOCK
    except GeneratorExit:
        print("endless closed")
        raise


def peak(environ, start_response, rest):
    return respond(start_response, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


ROUTES = {
    "": fine,
    "leak": leak,
    "wait": wait,
    "abort": abort,
    "spin": spin,
    "partial": partial,
    "orphan": orphan,
    "upload": upload,
    "download": download,
    "file": send_file,
    "echo": echo,
    "events": events,
    "endless": endless,
    "peak": peak,
}
