#!/usr/bin/python3 -IS
"""Does what the handler `probe` does (src/handler/probe.rs), as a CGI program, as the program of a service or as a WSGI
application."""

import ctypes
import os
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
data = {}
results = {}


def answer(line):
    os.write(1, (line + "\n").encode())


def application(environ, start_response):
    global answer
    lines = []
    answer = lines.append
    for line in environ["wsgi.input"].read().decode().splitlines():
        step(line.split())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["".join(line + "\n" for line in lines).encode()]


def value(word):
    if word[0] == "&":
        return ctypes.addressof(data[word[1:]])
    if word[0] == "$":
        return results[word[1:]]
    return int(word)


def part(word):
    if word[0] == "&":
        return value(word).to_bytes(8, sys.byteorder, signed=True)
    if word[0] == "$":
        return value(word).to_bytes(8, sys.byteorder, signed=True)[:4]
    if word[0] == "z":
        return bytes(int(word[2:]))
    return bytes.fromhex(word)


def step(words):
    kind, name, *rest = words
    if kind == "data":
        content = b"".join(map(part, rest))
        data[name] = ctypes.create_string_buffer(content, max(len(content), 1))
    elif kind == "call":
        arguments = [ctypes.c_long(value(word)) for word in rest[1:]]
        arguments += [ctypes.c_long(0)] * (6 - len(arguments))
        result = libc.syscall(ctypes.c_long(int(rest[0])), *arguments)
        results[name] = -ctypes.get_errno() if result == -1 else result
        answer(f"{name} {results[name]}")
    elif kind == "poke":
        content = bytes.fromhex(rest[0])
        ctypes.memmove(value(name), content, len(content))
    elif kind == "show":
        answer(f"{name} {data[name].raw.hex()}")
    elif kind in ("zero", "some"):
        if (results[name] == 0) == (kind == "zero"):
            step(rest)
    elif kind == "flood":
        count, flags, seconds = map(int, rest)
        answer(f"{name} {sum(flood(flags, seconds) for _ in range(count))}")


def flood(flags, seconds):
    child = libc.syscall(ctypes.c_long(56), *map(ctypes.c_long, (flags, 0, 0, 0, 0)))  # clone
    if child == 0:
        time.sleep(seconds)
        os._exit(0)
    return child > 0


if __name__ != "__main__":
    pass
elif "GATEWAY_INTERFACE" in os.environ:
    os.write(1, b"Content-Type: text/plain\n\n")
    for line in sys.stdin.buffer.read().decode().splitlines():
        step(line.split())
else:
    for line in sys.stdin.buffer:
        words = line.decode().split()
        if words:
            step(words)
        else:
            answer("")
