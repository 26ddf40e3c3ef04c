# Applications for tests/it/wsgi.rs: they need nothing but Python.
import ctypes
import logging
import os
import random
import socket
import sys
import threading
import time
import wsgiref.validate

LOADER = os.getpid()
PLAIN = [("Content-Type", "text/plain")]


def identity(environ, start_response):
    start_response("200 OK", PLAIN)
    text = "%d %d %d %d process %d \n" % (os.getpid(), LOADER, os.getppid(), random.getrandbits(60), os.getpid())
    return [text.encode()]


CALLS = []


def calls(environ, start_response):
    process = "loader" if os.getpid() == LOADER else "child"
    CALLS.append(" ".join([process] + [environ[name] for name in ("HTTP_HOST", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")]))
    start_response("200 OK", PLAIN)
    return ["\n".join(CALLS).encode()]


def environ(environ, start_response):
    start_response("200 OK", PLAIN)
    lines = ["%s=%r" % pair for pair in sorted(environ.items())] + ["greeting=%r" % os.environ["GREETING"]]
    return ["\n".join(lines).encode()]


def client(environ, start_response):
    start_response("200 OK", PLAIN)
    return [("%d %s" % (os.getpid(), environ["REMOTE_ADDR"])).encode()]


def other(environ, start_response):
    start_response("200 OK", PLAIN)
    return [b"the other\n"]


def app(environ, start_response):
    path = environ["PATH_INFO"]
    for prefix in sorted(ROUTES, key=len, reverse=True):
        if path == prefix or prefix.endswith("*") and path.startswith(prefix[:-1]):
            return ROUTES[prefix](environ, start_response)
    start_response("404 Not Found", PLAIN)
    return [b"not found\n"]


def plain(*parts):
    def answer(environ, start_response):
        start_response("200 OK", PLAIN)
        return list(parts)

    return answer


def echo(environ, start_response):
    content = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", PLAIN)
    return [content]


class Generator:
    def __init__(self, environ, parts, name):
        self.environ, self.parts, self.name = environ, parts, name

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        self.environ["wsgi.errors"].write(self.name + " closed\n")


def generator(environ, start_response):
    start_response("200 OK", PLAIN)
    return Generator(environ, [b"ab", b"", b"cd"], "generator")


def steps(environ, start_response):
    def make():
        yield b"first"
        while True:
            time.sleep(0.2)
            yield b"second" * 1000

    start_response("200 OK", PLAIN)
    return Generator(environ, make(), "steps")


def write(environ, start_response):
    start_response("200 OK", PLAIN)(b"written")
    return [b"returned"]


def nothing(environ, start_response):
    start_response("204 No Content", [])
    return []


def lines(environ, start_response):
    start_response("200 OK", PLAIN)
    text = "%r %r" % (list(environ["wsgi.input"]), environ.get("CONTENT_LENGTH"))
    return [text.encode()]


def reads(environ, start_response):
    source = environ["wsgi.input"]
    found = [source.read(4), source.readline(2), source.readline(), source.readlines(), source.read(), source.read(1)]
    start_response("200 OK", PLAIN)
    return [repr(found).encode()]


def count(environ, start_response):
    total = 0
    while part := environ["wsgi.input"].read(100000):
        total += len(part)
    start_response("200 OK", PLAIN)
    return [str(total).encode()]


def raise_before(environ, start_response):
    raise ValueError("before")


def raise_later(environ, start_response):
    start_response("200 OK", PLAIN)
    yield b"first"
    raise ValueError("during")


def replace(environ, start_response):
    start_response("200 OK", PLAIN)
    try:
        raise ValueError("caught")
    except ValueError:
        start_response("500 Internal Server Error", PLAIN, sys.exc_info())
    return [b"replaced"]


def replace_late(environ, start_response):
    start_response("200 OK", PLAIN)(b"written")
    try:
        raise ValueError("late")
    except ValueError:
        start_response("500 Internal Server Error", PLAIN, sys.exc_info())
    return []


def leave(environ, start_response):
    sys.exit(3)


def os_exit(environ, start_response):
    os._exit(5)


def crash(environ, start_response):
    ctypes.string_at(0)


def fork(environ, start_response):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            start_response("200 OK", PLAIN)
        except RuntimeError as error:
            os.write(writer, type(error).__name__.encode())
        return [b"from the fork"]
    status = os.waitpid(pid, 0)[1]
    start_response("200 OK", PLAIN)
    return [b"parent of %d: " % status, os.read(reader, 100)]


def thread(environ, start_response):
    found = []
    reader = threading.Thread(target=lambda: found.append(environ["wsgi.input"].read()))
    reader.start()
    reader.join()
    start_response("200 OK", PLAIN)
    return found


def output(environ, start_response):
    print("a line of print")
    environ["wsgi.errors"].writelines(["a line of wsgi.errors\n"])
    logging.warning("a line of logging")
    sys.stdout.write("no end")
    start_response("200 OK", PLAIN)
    return [b""]


def attempt(action):
    def answer(environ, start_response):
        start_response("200 OK", PLAIN)
        try:
            action("/" + environ["PATH_INFO"].split("/", 2)[-1])
        except OSError as error:
            return [type(error).__name__.encode()]
        return [b"opened"]

    return answer


def invalid(environ, start_response):
    case = environ["PATH_INFO"].split("/")[-1]
    if case == "split":
        start_response("200 OK", [("X", "a\r\nSet-Cookie: b")])
    if case == "hop":
        start_response("200 OK", [("Connection", "close")])
    if case == "status":
        start_response("fine", [])
    if case == "twice":
        start_response("200 OK", [])
        start_response("200 OK", [])
    if case == "text":
        start_response("200 OK", [])
        return ["text"]
    if case == "none":
        start_response("200 OK", [])
        return None
    return [b"never started"]


def with_length(length, content):
    def answer(environ, start_response):
        start_response("200 OK", PLAIN + [("Content-Length", str(length))])
        return [content]

    return answer


ROUTES = {
    "/": plain(b"Hello, World!\n"),
    "/parts": plain(b"abc", b"def"),
    "/empty": plain(),
    "/calls": calls,
    "/echo": echo,
    "/generator": generator,
    "/steps": steps,
    "/write": write,
    "/nothing": nothing,
    "/lines": lines,
    "/reads": reads,
    "/count": count,
    "/raise": raise_before,
    "/raise-later": raise_later,
    "/replace": replace,
    "/replace-late": replace_late,
    "/exit": leave,
    "/os-exit": os_exit,
    "/crash": crash,
    "/fork": fork,
    "/thread": thread,
    "/print": output,
    "/open*": attempt(lambda path: open(path).close()),
    "/write-to*": attempt(lambda path: open(path, "x").close()),
    "/connect": attempt(lambda path: socket.create_connection(("127.0.0.1", 9))),
    "/invalid/*": invalid,
    "/short": with_length(100, b"short"),
    "/long": with_length(3, b"longer"),
}
validated = wsgiref.validate.validator(app)
