"""What the benchmarks in Python have in common: servers that run, loads that measure them in turn, and tables of the
figures."""

import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
START_TIMEOUT = 30  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


def build_release():
    """Builds what the packages contain. Returns lsbaws; the extension for WSGI applications is beside it."""
    subprocess.run([ROOT / "packaging/build-release"], check=True)
    host = subprocess.check_output(["rustc", "--print", "host-tuple"], text=True).strip()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    folder = target / "bench"
    folder.mkdir(exist_ok=True)
    shutil.copy(target / "deb" / host / "release/lsbaws", folder)
    shutil.copy(target / "deb/wsgi" / host / "release/lib_lsbaws.so", folder / "_lsbaws.abi3.so")
    return folder / "lsbaws"


class Server:
    """A server that runs, with the processes that it starts."""

    def __init__(self, name, command, port, path="/", environment=None):
        self.name, self.port, self.path = name, port, path
        self.url = f"http://127.0.0.1:{port}{path}"
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=os.environ | (environment or {}),
            start_new_session=True,  # some stop their whole process group
        )
        self.requests, self.cpu, self.rates, self.failed = 0, 0.0, [], 0

    def wait_until_ready(self):
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
                    client.sendall(f"GET {self.path} HTTP/1.0\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
                    answer = client.makefile("rb").read()
                if re.match(rb"HTTP/1\.[01] 200 ", answer):
                    return
                error = answer[:200]
            except OSError as failure:
                error = failure
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                log = self.log.read().decode(errors="replace")
                raise SystemExit(f"{self.name} does not serve {self.url}: {error}\n{log}")
            time.sleep(0.1)

    def processes(self):
        """Itself and its descendants, with the processor time in ticks of each and of those that it has reaped."""
        parents, times = {}, {}
        for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pid = int(entry.parent.name)
            parents[pid], times[pid] = int(fields[1]), sum(map(int, fields[11:15]))
        own = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in own} - own:
            own |= more
        return {pid: times[pid] for pid in own if pid in times}

    def measure(self, load):
        before = sum(self.processes().values())
        rate, count, failed = load.run(self)
        self.rates.append(rate)
        self.requests += count
        self.cpu += (sum(self.processes().values()) - before) / TICKS
        self.failed += failed

    def memory(self, field="Pss"):
        """MiB in use by all its processes: a sum of smaps_rollup (proc(5)). "Pss" divides pages among those that share
        them."""
        total = 0
        for pid in self.processes():
            try:
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += sum(map(int, re.findall(rf"^{field}:\s*(\d+)", rollup, re.MULTILINE)))
        return total / 1024

    def ratios_to(self, base):
        """Its rates divided by those of another server in the same rounds."""
        return [own / other for own, other in zip(self.rates, base.rates)]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Load:
    """A program that sends requests for some seconds, and what it prints."""

    def __init__(self, command, rate, count, failed):
        self.command, self.rate, self.count, self.failed = command, rate, count, failed

    def run(self, server):
        """Requests per second, requests, and how many of them failed."""
        result = subprocess.run([*self.command, server.url], capture_output=True, text=True)
        found = [re.search(pattern, result.stdout) for pattern in (self.rate, self.count)]
        if None in found or float(found[0][1]) == 0:
            raise SystemExit(f"{self.command} against {server.name}: {result.stdout}{result.stderr}")
        return float(found[0][1]), int(found[1][1]), sum(map(int, re.findall(self.failed, result.stdout)))

    @classmethod
    def new_connections(cls, seconds, concurrency):
        command = ["ab", "-q", "-r", "-c", str(concurrency), "-t", str(seconds), "-n", "1000000"]
        failed = r"(?:Failed requests|Non-2xx responses|Write errors):\s+(\d+)"
        return cls(command, r"Requests per second:\s+([\d.]+)", r"Complete requests:\s+(\d+)", failed)

    @classmethod
    def kept_alive(cls, seconds, concurrency):
        command = ["wrk", "-t", "1", "-c", str(concurrency), "-d", f"{seconds}s"]
        return cls(command, r"Requests/sec:\s+([\d.]+)", r"(\d+) requests in", r"Non-2xx or 3xx responses: (\d+)")


def take_turns(label, servers, load, rounds):
    """Measures every server in every round."""
    for number in range(rounds):
        print(f"{label}: round {number + 1} of {rounds}", file=sys.stderr)
        for server in servers:
            server.measure(load)


def print_header(*ratios):
    cells = ["server", "requests/s", *ratios, "CPU ms for each request"]
    print("|", " | ".join(cells), "|\n| --- |" + " ---: |" * (len(cells) - 1))


def print_row(server, *bases):
    ratios = []
    for base in bases:
        of = server.ratios_to(base)
        ratios.append(f"{statistics.median(of):.2f} ({min(of):.2f} to {max(of):.2f})")
    note = f" ({server.failed} failed)" if server.failed else ""
    rate, cpu = statistics.median(server.rates), server.cpu / max(server.requests, 1) * 1000
    print("|", " | ".join([server.name + note, f"{rate:,.0f}", *ratios, f"{cpu:.2f}"]), "|", flush=True)
