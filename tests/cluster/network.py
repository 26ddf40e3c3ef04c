"""Hosts as network namespaces, on a switch in a namespace of this test. All of it vanishes with the last process of the test."""

import ctypes
import os
import socket
import subprocess
import sys
from contextlib import contextmanager

MARK = "CLUSTER_TEST_NAMESPACES"
CLONE_NEWNET = 0x4000_0000


def enter_own_namespaces():
    """Starts this program again, in namespaces of its own."""
    if MARK not in os.environ:
        os.environ[MARK] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
    os.makedirs("/run/netns", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/netns"], check=True)
    ip("link add switch type bridge")
    ip("link set switch up")


def ip(command):
    subprocess.run(["ip", *command.split()], check=True)


class Namespace:
    def __init__(self, name, address):
        self.name, self.address = name, address
        ip(f"netns add {name}")
        ip(f"link add {name} type veth peer name eth0 netns {name}")
        ip(f"link set {name} master switch up")
        ip(f"-n {name} address add {address}/24 dev eth0")
        ip(f"-n {name} link set eth0 up")
        ip(f"-n {name} link set lo up")

    def set_link(self, state):
        ip(f"link set {self.name} {state}")

    def pids(self):
        output = subprocess.run(["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True).stdout
        return [int(pid) for pid in output.split()]

    def command(self, *command):
        return ["ip", "netns", "exec", self.name, *command]

    @contextmanager
    def entered(self):
        """For sockets of this namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{self.name}") as other:
            assert libc.setns(other.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert libc.setns(own.fileno(), CLONE_NEWNET) == 0

    def listen(self, port):
        with self.entered():
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.address, port))
            listener.listen(4096)
        return listener

    def connect(self, address, port):
        with self.entered():
            return socket.create_connection((address, port), timeout=60)
