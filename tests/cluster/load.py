"""Steady load for tests/cluster: new and kept-alive connections, downloads, uploads. Prints a JSON object a line for each request
when it has ended, until its standard input does:

    load.py ADDRESS PORT DOWNLOAD_BYTES

A request's name is in its query, so that the records of the hosts and of the balancer name it too."""

import hashlib
import http.client
import json
import os
import sys
import threading
import time

TIMEOUT = 40  # seconds, more than a balancer waits
UPLOAD = os.urandom(128 << 10)
# Threads, and seconds between the requests of each.
KINDS = {"new": (3, 0.05), "kept": (3, 0.05), "download": (1, 0.2), "upload": (1, 0.2)}

address, port, download_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
stop = threading.Event()
printing = threading.Lock()


class Failure(Exception):
    pass


def connect():
    return http.client.HTTPConnection(address, port, timeout=TIMEOUT)


def send(connection, kind, name):
    """Makes a request and checks its response. Returns whether the connection stays open."""
    if kind == "upload":
        connection.request("POST", f"/cgi/digest?n={name}", UPLOAD, {"Connection": "close"})
    elif kind == "download":
        connection.request("GET", f"/files/large?n={name}", headers={"Connection": "close"})
    else:
        connection.request("GET", f"/?n={name}", headers={} if kind == "kept" else {"Connection": "close"})
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise Failure(f"status {response.status}")
    if kind == "upload" and content.decode().strip() != hashlib.md5(UPLOAD).hexdigest():
        raise Failure("another digest")
    if kind == "download" and len(content) != download_bytes:
        raise Failure(f"{len(content)} bytes")
    return not response.will_close


def run(kind, number, pause):
    connection, count = None, 0
    while not stop.is_set():
        count += 1
        name = f"{kind}-{os.getpid()}-{number}-{count}"
        start, error = time.monotonic(), None
        is_reused = connection is not None
        connection = connection or connect()
        try:
            try:
                stays = send(connection, kind, name)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # The balancer may close a kept-alive connection at any time. Every client sends the request again
                # (RFC 9112, section 9.3.1), on a new connection.
                if not is_reused:
                    raise
                connection = connect()
                stays = send(connection, kind, name)
        except (OSError, http.client.HTTPException, Failure) as caught:
            stays, error = False, f"{type(caught).__name__}: {caught}"
        if not stays:
            connection.close()
            connection = None
        with printing:
            end = time.monotonic()
            print(json.dumps({"name": name, "start": start, "end": end, "error": error}), flush=True)
        stop.wait(pause)


threads = [
    threading.Thread(target=run, args=(kind, number, pause))
    for kind, (count, pause) in KINDS.items()
    for number in range(count)
]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
