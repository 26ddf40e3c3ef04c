"""The balancers, with the shipped files as their configuration. Their logs come as datagrams, each with the time it came."""

import os
import re
import signal
import socket
import subprocess
import threading
import time

ADDRESS = "192.0.2.10"
WAIT = 60  # seconds


class Log:
    """Lines with the times when they came."""

    def __init__(self, path):
        self.path, self.lines = path, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o666)
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            line = self.socket.recv(65536).decode(errors="replace").rstrip("\n\0")
            with self.changed:
                self.lines.append((time.monotonic(), line))
                self.changed.notify_all()

    def since(self, start):
        with self.changed:
            return [(at, line) for at, line in self.lines if at >= start]

    def find(self, pattern, start):
        """The time of the first line since `start` that this pattern matches, or None."""
        return next((at for at, line in self.lines if at >= start and re.search(pattern, line)), None)

    def wait(self, pattern, start):
        """The same, once there is such a line. None: not in time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.find(pattern, start), WAIT)


class Haproxy:
    name = "HAProxy"

    def __init__(self, namespace, folder):
        self.namespace = namespace
        self.log = Log(os.path.join(folder, "log"))
        self.stats = os.path.join(folder, "stats")
        with open("examples/haproxy.cfg") as example:
            text = example.read().replace("/dev/log", self.log.path)
        self.configuration = os.path.join(folder, "haproxy.cfg")
        with open(self.configuration, "w") as file:
            file.write(text)
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            self.namespace.command("haproxy", "-db", "-f", self.configuration), stderr=subprocess.DEVNULL
        )

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT)

    def set_down(self, host, is_down):
        """Its health checks are enough."""

    def wait_noticed(self, host, is_up, start):
        return self.log.wait(self.pattern(host, is_up), start)

    def find_noticed(self, host, is_up, start):
        return self.log.find(self.pattern(host, is_up), start)

    def pattern(self, host, is_up):
        words = "is UP|is READY|leaves? .*DRAIN|stopping.*drain" if is_up else "is DOWN|DRAIN|is going DOWN|STOPPED"
        return f"Server lsbaws/{host.name} ({words})"

    def requests(self, start):
        """Each request: its target, the host that it came to at last, how often it was sent again, and its id."""
        for _, line in self.log.since(start):
            found = re.search(r' lsbaws/(\S+) .* \d+/\d+/\d+/\d+/(\+?\d+) .*"\S+ (\S+) \S+" (\S+)', line)
            if found:
                yield found[3], found[1], int(found[2]), found[4]


class Nginx:
    name = "nginx"

    def __init__(self, namespace, folder):
        self.namespace, self.folder = namespace, folder
        self.log = Log(os.path.join(folder, "log"))
        self.process = None
        self.down = set()
        self.write()

    def write(self):
        with open("examples/nginx-upstream.conf") as example:
            text = example.read()
        for address in self.down:
            text = text.replace(f"server {address}:8888 ", f"server {address}:8888 down ")
        with open(os.path.join(self.folder, "lsbaws.conf"), "w") as file:
            file.write(text)
        with open(os.path.join(self.folder, "nginx.conf"), "w") as file:
            file.write(f"""\
daemon off;
pid {self.folder}/pid;
error_log {self.folder}/errors;
events {{ worker_connections 1024; }}
http {{
    log_format cluster '$upstream_addr|$request_uri|$status|$request_id';
    access_log syslog:server=unix:{self.log.path},nohostname cluster;
    client_body_temp_path {self.folder}/body;
    proxy_temp_path {self.folder}/proxy;
    fastcgi_temp_path {self.folder}/fastcgi;
    uwsgi_temp_path {self.folder}/uwsgi;
    scgi_temp_path {self.folder}/scgi;
    include {self.folder}/lsbaws.conf;
}}
""")

    def start(self):
        self.process = subprocess.Popen(
            self.namespace.command("nginx", "-e", f"{self.folder}/errors", "-c", f"{self.folder}/nginx.conf")
        )

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT)

    def set_down(self, host, is_down):
        (self.down.add if is_down else self.down.discard)(host.address)
        self.write()
        self.process.send_signal(signal.SIGHUP)

    def wait_noticed(self, host, is_up, start):
        """It checks nothing: the first request that it sends to another host, or to this one again."""
        address = re.escape(host.address)
        return self.log.wait(rf"{address}:8888\|.*\|200" if is_up else rf"{address}:8888, ", start)

    def requests(self, start):
        for _, line in self.log.since(start):
            found = re.search(r": (\S.*)\|(\S+)\|\d+\|(\S+)", line)
            if found:
                tries = found[1].split(", ")
                yield found[2], tries[-1].rsplit(":", 1)[0], len(tries) - 1, found[3]
