# PEP 3333 point by point, for tests/it/wsgi_protocol.rs and wsgi_response.rs.
import gzip
import io
import os
import sys
import tempfile
import threading
import time
import wsgiref.validate
from urllib.parse import unquote

PLAIN = [("Content-Type", "text/plain; charset=utf-8")]


def app(environ, start_response):
    head, _, rest = environ["PATH_INFO"][1:].partition("/")
    return ROUTES[head](environ, start_response, rest)


def respond(start_response, text):
    start_response("200 OK", PLAIN)
    return [text.encode("utf-8")]


def show(environ, start_response, rest):
    text = "\n".join("%s=%r" % pair for pair in sorted(environ.items()))
    return respond(start_response, text)


def described(environ, start_response):
    return show(environ, start_response, "")


def types(environ, start_response, rest):
    faults = []

    def expect(what, is_so):
        if not is_so:
            faults.append(what)

    expect("a dictionary", type(environ) is dict)
    for name in ["REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL"]:
        expect("the key " + name, name in environ)
    for name, value in environ.items():
        expect("the name %r" % name, type(name) is str)
        if "." not in name:
            expect("a native string as " + name, type(value) is str)
            value.encode("latin-1")
    for name in ["REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT"]:
        expect("no empty " + name, environ[name] != "")
    expect("wsgi.version", environ["wsgi.version"] == (1, 0) and type(environ["wsgi.version"]) is tuple)
    for name, value in [("multithread", False), ("multiprocess", True), ("input_terminated", True)]:
        expect(name, environ["wsgi." + name] is value)
    expect("run_once", type(environ["wsgi.run_once"]) is bool)
    for name in ["read", "readline", "readlines", "__iter__"]:
        expect("wsgi.input." + name, callable(getattr(environ["wsgi.input"], name)))
    for name in ["flush", "write", "writelines"]:
        expect("wsgi.errors." + name, callable(getattr(environ["wsgi.errors"], name)))
    expect("wsgi.file_wrapper", callable(environ["wsgi.file_wrapper"]))
    # The application may change it, and the next request does not see that.
    expect("an environment of its own", "changed" not in environ)
    environ["changed"] = "yes"
    return respond(start_response, "; ".join(faults) or "valid")


def evaluate(environ, start_response, rest):
    """The values of expressions of the input `i`, separated by commas."""
    try:
        text = repr(eval("[%s]" % unquote(environ["QUERY_STRING"]), {"i": environ["wsgi.input"]}))
    except OSError as error:
        print("%s: %s" % (type(error).__name__, error))
        raise
    return respond(start_response, text)


def ignore(environ, start_response, rest):
    return respond(start_response, "ignored")


def errors(environ, start_response, rest):
    stream = environ["wsgi.errors"]
    stream.write("one ")
    stream.flush()
    stream.writelines(["line\n", "another b\xe4r \u20ac\n"])
    return respond(start_response, "written")


def start(environ, start_response, rest):
    """Calls start_response with what must not be accepted."""
    status, headers = "200 OK", list(PLAIN)
    if rest == "tuple":
        headers = tuple(headers)
    elif rest == "bytes-status":
        status = b"200 OK"
    elif rest == "bytes-name":
        headers = [(b"X", "y")]
    elif rest == "bytes-value":
        headers = [("X", b"y")]
    elif rest == "triple":
        headers = [("X", "y", "z")]
    elif rest == "wide":
        headers = [("X", "\u20ac")]
    elif rest == "wide-status":
        status = "200 \u20ac"
    elif rest == "newline":
        headers = [("X", "a\nb")]
    elif rest == "return":
        headers = [("X", "a\rb")]
    elif rest == "null":
        headers = [("X", "a\0b")]
    elif rest == "name":
        headers = [("X: a\r\nY", "b")]
    elif rest == "length":
        headers = [("Content-Length", "many")]
    elif rest.startswith("hop-"):
        headers = [(rest[4:], "x")]
    else:
        status = rest
    start_response(status, headers)
    return [b"accepted"]


def latin(environ, start_response, rest):
    start_response("200 OK", PLAIN + [("X-Latin", "b\xe4r\ttab"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [b"latin"]


def exc_info(environ, start_response, rest):
    start_response("200 OK", PLAIN + [("X-First", "1")], None)
    try:
        raise ValueError("caught")
    except ValueError:
        start_response("503 Service Unavailable", PLAIN + [("X-Second", "1")], sys.exc_info())
    return [b"replaced"]


class Parts:
    """An iterable that tells when it is closed, and how often."""

    def __init__(self, environ, parts):
        self.errors, self.parts, self.closed = environ["wsgi.errors"], iter(parts), 0

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.parts)

    def close(self):
        self.closed += 1
        self.errors.write("closed %d\n" % self.closed)


def close(environ, start_response, rest):
    if rest == "never-started":
        return Parts(environ, [b"content"])
    status = rest if rest.isdigit() else "200"
    start_response(status + " Some", PLAIN if status == "200" else [("ETag", '"a"')] * (status == "304"))

    def make():
        yield b"first"
        if rest == "raise":
            raise ValueError("half way")
        if rest == "text":
            yield "text"
        while rest == "endless":
            yield b"more" * 10000

    if rest == "close":
        result = Parts(environ, [b"whole"])
        result.close = lambda: 1 // 0
        return result
    if rest == "waits":
        result, path = Parts(environ, [b"whole"]), unquote(environ["QUERY_STRING"])

        def wait():
            while not os.path.exists(path):
                time.sleep(0.01)
            print("waited in close")

        result.close = wait
        return result
    return Parts(environ, make() if status == "200" else [])


def parts(environ, start_response, rest):
    def late():
        yield b""
        yield b""
        start_response("200 OK", PLAIN)
        yield b""
        yield b"late"

    if rest == "late":
        return late()
    writer = start_response("200 OK", PLAIN)
    if rest == "write":
        writer(b"a")
        writer(b"")
        writer(b"b")
        return iter([b"c", b"d"])
    if rest == "write-list":
        writer(b"a")
        return [b"b"]
    if rest == "write-text":
        writer("text")
    return eval(rest, {"iter": iter})


def excluded(environ, start_response, rest):
    """Content where the status excludes it."""
    start_response(rest + " Some", [])
    return [b"content"] if environ["QUERY_STRING"] == "" else iter([b"content"])


def length(environ, start_response, rest):
    count, content = rest.split("-")
    start_response("200 OK", PLAIN + [("Content-Length", count)])
    content = content.encode()
    return [content] if environ["QUERY_STRING"] == "" else iter([content[:2], content[2:]])


def file(environ, start_response, rest):
    wrap = environ["wsgi.file_wrapper"]
    start_response("200 OK", PLAIN)
    if rest == "closed":
        opened = io.BytesIO(b"closed")
        opened.close = lambda: print("file closed")
        return wrap(opened)
    if rest == "memory":
        return wrap(io.BytesIO(b"in memory"), 4)
    if rest == "offset":
        opened = open(__file__, "rb")
        opened.read(2)
        return wrap(opened)
    if rest == "temporary":
        opened = tempfile.NamedTemporaryFile()
        opened.write(b"temporary")
        opened.seek(3)
        return wrap(opened, 100)
    if rest == "gzip":
        raw = tempfile.TemporaryFile()
        with gzip.GzipFile(fileobj=raw, mode="wb") as packed:
            packed.write(b"unpacked")
        raw.seek(0)
        return wrap(gzip.GzipFile(fileobj=raw))
    return wrap(open(__file__, "rb", buffering=0))


def threads(environ, start_response, rest):
    faults = []

    def write():
        try:
            for _ in range(100):
                print("a line of a thread")
        except Exception as error:
            faults.append(repr(error))

    running = [threading.Thread(target=write) for _ in range(8)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return respond(start_response, "; ".join(faults) or "written")


def late_use(environ, start_response, rest):
    """Uses what belonged to the request before."""
    found = []
    for name, use in KEPT:
        try:
            use()
        except Exception as error:
            found.append("%s: %s" % (name, error))
    KEPT.append(("read", environ["wsgi.input"].read))
    KEPT.append(("write", lambda writer=start_response("200 OK", PLAIN): writer(b"late")))
    return ["\n".join(found).encode()]


KEPT = []
ROUTES = {
    "show": show,
    "types": types,
    "input": evaluate,
    "ignore": ignore,
    "errors": errors,
    "start": start,
    "latin": latin,
    "exc-info": exc_info,
    "close": close,
    "parts": parts,
    "excluded": excluded,
    "length": length,
    "file": file,
    "threads": threads,
    "late-use": late_use,
}
validated = wsgiref.validate.validator(app)
