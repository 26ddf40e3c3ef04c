"""What happens to the hosts, and what becomes of the requests."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time

from balancer import ADDRESS, Haproxy, Nginx
from host import Failed, Host
from network import Namespace

DOWNLOAD = 512 << 10  # bytes
ENOUGH = 100  # requests before and after each event
WAIT = 90  # seconds
TABLE = ("<!-- tests/cluster/run --write -->\n", "<!-- end -->\n")


class Load:
    """The load of one scenario."""

    def __init__(self, namespace):
        command = namespace.command(sys.executable, "tests/cluster/load.py", ADDRESS, "80", str(DOWNLOAD))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.results, self.changed = [], threading.Condition()
        self.namespace, self.held = namespace, None
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.results.append(json.loads(line))
                self.changed.notify_all()

    def wait_more(self):
        with self.changed:
            target = len(self.results) + ENOUGH
            if not self.changed.wait_for(lambda: len(self.results) >= target, WAIT):
                raise Failed("the load is stuck")

    def hold(self, name):
        """Sends a request that takes seconds and changes something, so that no balancer sends it again."""
        connection = http.client.HTTPConnection(ADDRESS, timeout=WAIT)
        connection.sock = self.namespace.connect(ADDRESS, 80)
        start = time.monotonic()
        connection.request("POST", f"/cgi/digest?hold&n={name}", b"x", {"Connection": "close"})

        def receive():
            try:
                response = connection.getresponse()
                response.read()
                error = None if response.status == 200 else f"status {response.status}"
            except (OSError, http.client.HTTPException) as caught:
                error = f"{type(caught).__name__}: {caught}"
            with self.changed:
                self.results.append({"name": name, "start": start, "end": time.monotonic(), "error": error})

        self.held = threading.Thread(target=receive)
        self.held.start()

    def stop(self):
        if self.held:
            self.held.join()
        self.process.stdin.close()
        self.process.wait(WAIT)
        self.reader.join()


class Cluster:
    """A balancer and its hosts. A scenario returns after how many seconds the balancer noticed, and the host whose requests may
    fail, if there is one."""

    def __init__(self, kind, folder, namespaces, programs, settings):
        self.folder = os.path.join(folder, kind.name)
        os.makedirs(self.folder)
        self.programs = programs
        self.client = namespaces["client"]
        self.balancer = kind(namespaces["balancer"], self.folder)
        self.is_nginx = kind is Nginx
        self.load, self.named = None, []
        self.hosts = [
            Host(
                namespaces[f"host{number}"],
                os.path.join(self.folder, f"host{number}"),
                programs[0],
                settings,
                holds_sockets=self.is_nginx,
                drop=("proxy_protocol", "request_id_header") if self.is_nginx else (),
            )
            for number in range(1, 5)
        ]

    def __enter__(self):
        for host in self.hosts:
            host.start()
        self.balancer.start()
        deadline = time.monotonic() + WAIT
        while True:
            try:
                self.client.connect(ADDRESS, 80).close()
                return self
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)  # between attempts

    def __exit__(self, *_):
        self.balancer.stop()
        for host in self.hosts:
            if host.daemon.poll() is None:
                host.kill()

    def wait_noticed(self, host, is_up, start):
        """Waits for the balancer to notice, and returns after how many seconds it did."""
        noticed = self.balancer.wait_noticed(host, is_up, start)
        if noticed is None:
            raise Failed(f"{self.balancer.name} has not noticed that {host.name} is {'up' if is_up else 'down'}")
        return noticed - start

    def hold_request(self, name):
        """Sends a slow request, and returns the host that it has come to."""
        self.load.hold(name)
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            for host in self.hosts:
                if host.find_lines(f"={name}"):
                    return host
            time.sleep(0.05)  # between attempts
        raise Failed("the slow request has come to no host")

    def upgrade(self):
        worst = 0
        for host in self.hosts:
            start = time.monotonic()
            host.stop()
            if not self.is_nginx:
                worst = max(worst, self.wait_noticed(host, False, start))
            host.program = self.programs[1]
            start = time.monotonic()
            host.start()
            self.wait_noticed(host, True, start)
        return worst or None, None

    def drain_and_return(self):
        host = self.hosts[1]
        start = time.monotonic()
        host.run("drain")
        self.balancer.set_down(host, True)
        noticed = None if self.is_nginx else self.wait_noticed(host, False, start)
        self.load.wait_more()
        start = time.monotonic()
        host.run("undrain")
        self.balancer.set_down(host, False)
        self.wait_noticed(host, True, start)
        return noticed, None

    def kill(self):
        host = self.hold_request("killed")
        start = time.monotonic()
        host.kill()
        # With the sockets of systemd, connections wait for the next daemon.
        noticed = None if self.is_nginx else self.wait_noticed(host, False, start)
        start = time.monotonic()
        host.start()
        self.wait_noticed(host, True, start)
        return noticed, host

    def cut_off(self):
        host = self.hold_request("cut-off")
        start = time.monotonic()
        host.namespace.set_link("down")
        noticed = self.wait_noticed(host, False, start)
        start = time.monotonic()
        host.namespace.set_link("up")
        self.wait_noticed(host, True, start)
        return noticed, host

    def slow_down(self):
        host = self.hosts[0]
        first = time.monotonic()
        for _ in range(3):
            start = time.monotonic()
            host.set_stopped(True)
            time.sleep(4)  # it is that slow
            host.set_stopped(False)
            if self.balancer.find_noticed(host, False, start):
                self.wait_noticed(host, True, start)
        noticed = self.balancer.find_noticed(host, False, first)
        return noticed and noticed - first, None

    def break_configuration(self):
        host = self.hosts[1]
        host.write(host.text + "\n[limits]\nmax_connections = 'many'\n")
        if host.reload():
            raise Failed("a broken configuration was accepted")
        start = time.monotonic()
        host.stop()
        noticed = self.wait_noticed(host, False, start)
        host.spawn()
        if (code := host.wait()) != 78:
            raise Failed(f"a broken configuration ended with {code}")
        host.write(host.text)
        start = time.monotonic()
        host.start()
        self.wait_noticed(host, True, start)
        return noticed, None

    def fill(self):
        """Slow requests, as from the balancer, take all places, and more wait."""
        host = self.hosts[2]
        start = time.monotonic()
        connections = []
        for number in range(80):
            connection = self.balancer.namespace.connect(host.address, 8888)
            header = f"PROXY TCP4 192.0.2.200 {host.address} {10000 + number} 8888\r\n"
            connection.sendall(f"{header}GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            connections.append(connection)
        noticed = self.wait_noticed(host, False, start)
        start = time.monotonic()
        for connection in connections:
            while connection.recv(4096):
                pass
            connection.close()
        self.wait_noticed(host, True, start)
        return noticed, None

    def run(self, title, action):
        """Makes something happen under load. Returns a row of the table, and what is wrong."""
        began = time.monotonic()
        load = self.load = Load(self.client)
        try:
            load.wait_more()
            noticed, victim = action()
            load.wait_more()
        finally:
            load.stop()
        failed = [result for result in load.results if result["error"]]
        answered = sorted(result["end"] - result["start"] for result in load.results if not result["error"])
        requests = list(self.balancer.requests(began))
        places = {target: place for target, place, _, _ in requests}
        if title == "no event":
            # Each has a connection of its own, so that its id is that of a record.
            self.named = [(place, name) for target, place, _, name in requests if target.startswith("/?n=new")]
        wrong = []
        for result in failed:
            place = next((place for target, place in places.items() if target.endswith(f"={result['name']}")), None)
            if victim is None or place not in (victim.name, victim.address):
                wrong.append(f"{result['name']} on {place} failed: {result['error']}{self.find_records(result['name'])}")
        row = [
            self.balancer.name,
            title,
            len(load.results),
            len(answered),
            sum(tries for _, _, tries, _ in requests),
            f"{len(failed)} on {victim.name}" if failed and victim else len(failed),
            f"{answered[len(answered) * 99 // 100] * 1000:.0f} ms",
            "-" if noticed is None else f"{noticed:.1f} s",
        ]
        return row, wrong


    def find_unnamed(self):
        """Requests whose id, by the log of the balancer, is in no record of their host."""
        if self.is_nginx:
            return  # its connections are shared, and a record has the last id
        names = {host.name: {record.get("LSBAWS_REQUEST_ID") for record in host.records()} for host in self.hosts}
        if not self.named:
            yield "the log of the balancer names no request"
        for place, name in self.named:
            if name not in names[place]:
                yield f"no record of {place} has the request {name}"

    def find_records(self, name):
        messages = [f"{host.name}: {line}" for host in self.hosts for line in host.find_lines(name)]
        return "".join(f"\n    {message}" for message in messages)


def find_faults(host):
    """Entries that no scenario explains."""
    for record in host.records():
        is_expected = "reload failed" in record["MESSAGE"]
        is_bad = record["level"] == "error" or record.get("LSBAWS_OUTCOME") in ("bug", "system-error")
        if is_bad and not is_expected:
            yield f"{host.name}: {record['MESSAGE']}"


def run_all(folder, program, writes):
    programs = [os.path.join(folder, f"lsbaws-{number}") for number in (1, 2)]
    for path in programs:
        subprocess.run(["strip", "-o", path, program], check=True)
    os.makedirs(f"{folder}/files")
    with open(f"{folder}/files/large", "wb") as file:
        file.write(os.urandom(DOWNLOAD))
    os.makedirs(f"{folder}/cgi")
    with open(f"{folder}/cgi/digest", "w") as file:
        # nginx sends no more of a request once its response has begun: so not before all of it is read.
        file.write("#!/bin/sh\ndigest=$(md5sum)\ncase $QUERY_STRING in hold*) echo holding >&2; sleep 6; esac\nprintf 'Content-Type: text/plain\\n\\n%s\\n' \"${digest%% *}\"\n")
    os.chmod(f"{folder}/cgi/digest", 0o755)
    routes = (
        '[{path="/",body="served\\n"},{path="/slow",delay="6s"},'
        f'{{path="/files",handler="files",root="{folder}/files"}},{{path="/cgi",handler="cgi",root="{folder}/cgi"}}]'
    )
    settings = {
        "service.web.route": routes,
        "service.web.user": "nobody",
        "service.health.user": "nobody",
        "service.agent.user": "nobody",
        "limits.max_connections": 64,
        "limits.max_connections_per_source": 0,
        "log.target": "stderr",
        "log.format": "json",
    }
    places = {"balancer": ADDRESS, "client": "192.0.2.100"}
    places |= {f"host{number}": f"192.0.2.{10 + number}" for number in range(1, 5)}
    namespaces = {name: Namespace(name, address) for name, address in places.items()}
    rows, wrong = [], []
    for kind in (Haproxy, Nginx):
        with Cluster(kind, folder, namespaces, programs, settings) as cluster:
            events = [
                ("no event", lambda: (None, None)),
                ("upgrade of all hosts, one by one", cluster.upgrade),
                ("one drained, and returned", cluster.drain_and_return),
                ("one killed", cluster.kill),
            ]
            if kind is Haproxy:
                events += [
                    ("link of one down", cluster.cut_off),
                    ("one stopped for 4 s, three times", cluster.slow_down),
                    ("broken configuration on one", cluster.break_configuration),
                    ("one full", cluster.fill),
                ]
            for title, action in events:
                began = time.monotonic()
                try:
                    row, faults = cluster.run(title, action)
                    rows.append(row)
                except Failed as error:
                    faults = [str(error)]
                print("not ok" if faults else "ok", f"{kind.name}: {title} ({time.monotonic() - began:.0f} s)", flush=True)
                wrong += [f"{title}: {fault}" for fault in faults]
            wrong += cluster.find_unnamed()
            wrong += [fault for host in cluster.hosts for fault in find_faults(host)]
    table = format_table(rows)
    print(table)
    for fault in wrong:
        print(fault)
    print(f"{len(rows)} passed, {len(wrong)} failed")
    if writes and not wrong:
        write_table(table)
    return 1 if wrong else 0


def format_table(rows):
    head = "| balancer | event | offered | answered | sent again | failed | 99% within | noticed after |\n"
    head += "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    return head + "".join("| " + " | ".join(map(str, row)) + " |\n" for row in rows)


def write_table(table):
    with open("docs/scale.md") as file:
        before, rest = file.read().split(TABLE[0])
    after = rest.split(TABLE[1])[1]
    with open("docs/scale.md", "w") as file:
        file.write(before + TABLE[0] + table + TABLE[1] + after)
