# An application that keeps what its fork server has, and forges reports and records with it: tests/it/wsgi_forgery.rs.
import mmap
import os
import socket

SCOREBOARD = CHANNEL = None
for number in os.listdir("/proc/self/fd"):
    link = os.readlink("/proc/self/fd/" + number) if os.path.lexists("/proc/self/fd/" + number) else ""
    if "lsbaws-scoreboard" in link:
        SCOREBOARD = os.dup(int(number))
    elif link.startswith("socket:"):
        copy = socket.socket(fileno=os.dup(int(number)))
        # The other end learns which process has sent a message: so it is the supervisor's.
        if copy.type == socket.SOCK_SEQPACKET:
            CHANNEL = copy


def app(environ, start_response):
    head, _, rest = environ["PATH_INFO"][1:].partition("/")
    try:
        answer = globals()["answer_" + head](rest)
    except OSError as error:
        answer = error.strerror
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(answer).encode()]


def answer_report(rest):
    """Sends these bytes, which the test has encoded."""
    CHANNEL.send(bytes.fromhex(rest))
    return "sent"


def answer_size(rest):
    os.ftruncate(SCOREBOARD, int(rest))
    return "changed"


def answer_smash(rest):
    """Overwrites all that there is in its file."""
    pages = mmap.mmap(SCOREBOARD, 0)
    pages[:1 << 21] = b"\xff" * (1 << 21)
    return "smashed"


def answer_find(text):
    """Whether there is this text, without the slashes, in its file."""
    return text.replace("/", "").encode() in mmap.mmap(SCOREBOARD, 0)[:1 << 21]


def answer_fine(rest):
    return "fine"
