"""A host: a namespace with a daemon, which has the shipped examples/behind-balancer.toml as its configuration."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

PORTS = {"web": 8888, "health": 8889, "agent": 8890}
WAIT = 60  # seconds
STOP_MAX = 120


class Failed(Exception):
    pass


class Host:
    """`holds_sockets`: the listening sockets outlive the daemon, as those of a socket unit. `drop`: lines of the example that this
    balancer needs to be left out."""

    def __init__(self, namespace, folder, program, settings, holds_sockets=False, drop=()):
        self.namespace, self.folder, self.program = namespace, folder, program
        self.name, self.address = namespace.name, namespace.address
        self.sockets = [namespace.listen(port) for port in PORTS.values()] if holds_sockets else []
        os.makedirs(folder)
        with open("examples/behind-balancer.toml") as example:
            text = "".join(line for line in example if not line.startswith(drop)) if drop else example.read()
        self.configuration = os.path.join(folder, "lsbaws.toml")
        self.text = text
        self.write(text)
        self.settings = {**settings, "process.status_socket": f'"{folder}/status.sock"'}
        self.log = open(os.path.join(folder, "journal"), "ab")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(os.path.join(folder, "notify"))
        self.notified, self.changed = [], threading.Condition()
        threading.Thread(target=self.read_notifications, daemon=True).start()
        self.daemon = None

    def write(self, text):
        with open(self.configuration, "w") as file:
            file.write(text)

    def spawn(self):
        options = [option for key, value in self.settings.items() for option in ("--set", f"{key}={value}")]
        command = [self.program, "-c", self.configuration, *options]
        environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": os.path.join(self.folder, "notify")}
        passed = ()
        if self.sockets:
            # Puts them where systemd does (sd_listen_fds(3)).
            fds = [listener.fileno() for listener in self.sockets]
            moves = " ".join(f"{3 + number}<&{fd}" for number, fd in enumerate(fds))
            assert min(fds) > 2 + len(fds)
            names = ":".join(PORTS)
            prelude = f'export LISTEN_PID=$$ LISTEN_FDS={len(fds)} LISTEN_FDNAMES={names}; exec "$@" {moves}'
            command = ["bash", "-c", prelude, "-", *command]
            passed = fds
        command = self.namespace.command(*command)
        self.daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log, env=environment, pass_fds=passed
        )

    def start(self):
        with self.expecting("READY=1"):
            self.spawn()

    def read_notifications(self):
        while True:
            words = self.notify.recv(4096).decode().split("\n")
            with self.changed:
                self.notified += words
                self.changed.notify_all()

    @contextmanager
    def expecting(self, *words):
        """Afterwards, waits for these notifications (sd_notify(3))."""
        before = len(self.notified)
        yield
        with self.changed:
            if not self.changed.wait_for(lambda: set(words) <= set(self.notified[before:]), WAIT):
                log = "\n    ".join(self.find_lines("")[-5:])
                raise Failed(f"{self.name}: no {' and '.join(words)}\n    {log}")

    def signal(self, number):
        self.daemon.send_signal(number)

    def wait(self):
        return self.daemon.wait(STOP_MAX)

    def stop(self):
        self.signal(signal.SIGTERM)
        code = self.wait()
        if code != 0:
            raise Failed(f"{self.name}: exit code {code}")

    def run(self, command):
        subprocess.run([self.program, command, "--socket", f"{self.folder}/status.sock"], check=True)

    def reload(self):
        """Whether the configuration was accepted."""
        before = len(self.records())
        with self.expecting("RELOADING=1", "READY=1"):
            self.signal(signal.SIGHUP)
        return not any("reload failed" in record["MESSAGE"] for record in self.records()[before:])

    def set_stopped(self, is_stopped):
        for pid in self.namespace.pids():
            try:
                os.kill(pid, signal.SIGSTOP if is_stopped else signal.SIGCONT)
            except ProcessLookupError:
                pass

    def kill(self):
        """Kills the supervisor, and then its children, as systemd does (KillMode=control-group)."""
        self.signal(signal.SIGKILL)
        self.wait()
        while pids := self.namespace.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)  # between attempts

    def find_lines(self, text):
        with open(self.log.name, encoding="utf-8") as file:
            return [line.rstrip() for line in file if text in line]

    def records(self):
        with open(self.log.name, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.startswith("{")]
