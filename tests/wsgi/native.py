# An application that does without Python what the log and the C library see.
import ctypes
import os
import sys


def app(environ, start_response):
    answer = globals()[environ["PATH_INFO"].strip("/")]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer.encode()]


def forge():
    os.write(2, b"2026-01-01T00:00:00.000Z  INFO forged: GET / -> 200 outcome=\"served\"\n")
    os.write(1, b"an open line")
    return " ".join(os.readlink("/proc/self/fd/%d" % number) for number in (1, 2))


def descriptors():
    return " ".join(sorted(os.listdir("/proc/self/fd"), key=int))


def raw():
    with_bytes = [bytearray(b"an array\n"), memoryview(b"a view\n")]
    for content in with_bytes:
        assert sys.stdout.buffer.write(content) == len(content)
    sys.stderr.buffer.writelines([b"a line\n", bytearray(b"the last line\n")])
    for content in ["text", 5, None]:
        try:
            sys.stdout.buffer.write(content)
        except TypeError:
            pass
        else:
            raise AssertionError(content)
    return sys.stdout.name + sys.stderr.name


def crash():
    ctypes.string_at(0)


def thread_id():
    # The clock of a thread has the complement of its id (pthread_getcpuclockid(3)).
    library, clock = ctypes.CDLL(None), ctypes.c_int()
    library.pthread_self.restype = ctypes.c_ulong
    library.pthread_getcpuclockid(ctypes.c_ulong(library.pthread_self()), ctypes.byref(clock))
    return "%d %d" % (~(clock.value >> 3), os.getpid())


def threads():
    return os.environ["OMP_NUM_THREADS"]


def fail():
    raise ValueError("one\ntwo = 2")
