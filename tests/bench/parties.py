"""What is measured: the service, which can have several processes, and the ceiling that it is compared with."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

from machine import Broken, children_of, free_ports, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class Party:
    """A process over a database."""

    name = None

    def __init__(self, machine, program, database):
        self.machine, self.program, self.database = machine, program, database
        self.process, self.port = None, None

    @property
    def processes(self):
        return [self.process]

    @property
    def ports(self):
        return [self.port]

    def ended(self):
        return Broken(f"the {self.name} ended\n{self.machine.log_of(self.log)}")

    @property
    def log(self):
        return f"{self.name}-{self.database.name}"

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            self.process.kill()
            self.process.wait()

    def get(self, port, path):
        # Not through the proxy of the environment.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read().decode()


class Service(Party):
    name = "service"

    def __init__(self, machine, program, database, queue, replica=1):
        super().__init__(machine, program, database)
        self.queue, self.replica, self.operations, self.ready_after = queue, replica, None, None
        # Whether policies ask for control, once there are proofs of it.
        self.control = False
        self.policies = machine.folder / "policies"
        self.signer = machine.folder / "signer"
        self.config = machine.folder / f"{self.log}.toml"
        self.secret = machine.folder / "api-keys.secret"

    @property
    def log(self):
        return f"{super().log}-{self.replica}"

    def prepare(self, keys, accounts, ranges, control):
        """The tables as the service makes them, filled; and a certificate of a development CA, which `demo` makes."""
        if not self.signer.exists():
            self.command("demo", "--dir", self.signer)
        self.secret.touch(0o600)
        self.secret.write_text(keys.pepper.hex())
        self.write_config()
        self.command("migrate", "--config", self.config)
        self.database.fill(keys, accounts, ranges, control)

    def write_config(self):
        self.port, self.operations = free_ports(2)
        self.config.touch(0o600)
        policies = f'[policy]\ndir = "{self.policies}"' if self.control else ""
        # All that is not here is as it is by default: policies, limits, lint, audit trail, log.
        self.config.write_text(f"""\
[carrier]
spcs = ["1234"]
[server]
listen = "127.0.0.1:{self.port}"
public_url = "https://authority.example"
# All clients of the measurement have one address.
max_connections_per_address = 0
[operations]
listen = "127.0.0.1:{self.operations}"
[database]
url = "{self.database.url(self.name)}"
[writer]
queue = {self.queue}
[signer]
key_file = "{self.signer / 'signing-key.pem'}"
chain_file = "{self.signer / 'signing-chain.pem'}"
[api_keys]
secret_file = "{self.secret}"
{policies}
""")

    def restart(self, control):
        """With the built-in policies alone, or with the shipped example about control, too."""
        self.stop()
        self.control = control
        if control and not self.policies.exists():
            self.policies.mkdir()
            for name in ("inventory.cedar", "mint.cedar", "examples/control.cedar"):
                shutil.copy(ROOT / "policies" / name, self.policies)
        self.write_config()
        self.start()

    def command(self, *arguments):
        done = subprocess.run(
            [self.program, *map(str, arguments)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=300, cwd=self.machine.folder,
        )
        if done.returncode != 0:
            output = re.sub(r"tna_[\w-]+", "tna_..", done.stdout)
            raise Broken(f"tn-authority {arguments[0]}: {output}")

    def start(self):
        # Another process can take a port that was free a moment ago.
        for last in (False, False, True):
            command = [self.program, "serve", "--config", self.config]
            began = time.monotonic()
            self.process = self.machine.start(self.log, command, env=environment())
            try:
                wait_until("the service is ready", 60, self.is_ready, pause=0.01)
                self.ready_after = time.monotonic() - began
                return
            except Broken:
                self.stop()
                if last or "in use" not in self.machine.log_of(self.log):
                    raise
            self.write_config()

    def is_ready(self):
        if self.process.poll() is not None:
            raise self.ended()
        with contextlib.suppress(OSError):
            return self.get(self.operations, "/readyz") is not None
        return False

    def counts(self):
        """What the metrics say: refused tokens, transactions, and jobs in them; and jobs that wait."""
        text = self.get(self.operations, "/metrics")

        def metric(name):
            found = re.search(rf"^tn_authority_{re.escape(name)} (\S+)$", text, re.M)
            if not found:
                raise Broken(f"the service has no metric tn_authority_{name}")
            return float(found[1])

        return {
            "refused": metric('tokens_total{outcome="denied"}') + metric('tokens_total{outcome="error"}'),
            "commits": metric("writer_batch_size_count"), "rows": metric("writer_batch_size_sum"),
            "waiting": metric("writer_queue_length"),
        }


class Replicas:
    """Several processes of the service over one database."""

    name = Service.name

    def __init__(self, machine, program, database, queue, count):
        self.members = [Service(machine, program, database, queue, number) for number in range(1, count + 1)]

    @property
    def processes(self):
        return [one.process for one in self.members]

    @property
    def ports(self):
        return [one.port for one in self.members]

    @property
    def ready_after(self):
        return max(one.ready_after for one in self.members)

    @property
    def log(self):
        return self.members[0].log

    def prepare(self, *how):
        self.members[0].prepare(*how)
        for one in self.members[1:]:
            one.write_config()

    def start(self):
        for one in self.members:
            one.start()

    def stop(self):
        for one in self.members:
            one.stop()

    def restart(self, control):
        for one in self.members:
            one.restart(control)

    def counts(self):
        counts = [one.counts() for one in self.members]
        return {name: sum(one[name] for one in counts) for name in counts[0]}


class Ceiling(Party):
    name = "ceiling"

    def start(self):
        self.process = self.machine.start(self.log, [self.program, self.database.url(self.name)], env=environment())

        def address():
            if self.process.poll() is not None:
                raise self.ended()
            return re.search(r"^127\.0\.0\.1:(\d+)$", self.machine.log_of(self.log), re.M)

        self.port = int(wait_until("the ceiling listens", 30, address)[1])

    def counts(self):
        counts = json.loads(self.get(self.port, "/counts"))
        return {**counts, "refused": 0, "waiting": 0}


class Memory(threading.Thread):
    """Samples the anonymous memory of processes, and keeps the most of any, in bytes."""

    def __init__(self, processes):
        super().__init__(daemon=True)
        self.processes, self.most, self.over = processes, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.2):
            for process in self.processes:
                with contextlib.suppress(OSError, TypeError):
                    text = Path(f"/proc/{process.pid}/status").read_text()
                    self.most = max(self.most, int(re.search(r"^RssAnon:\s+(\d+) kB$", text, re.M)[1]) * 1024)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def environment():
    """What the unit of systemd sets for the allocator, so that memory is that of a service which runs as installed."""
    unit = (ROOT / "deploy/tn-authority.service").read_text()
    return dict(re.findall(r"(MALLOC_\w+)=(\d+)", unit))


def cpu_of(processes):
    """Seconds of CPU that these processes have used, with the children that they have or had."""
    seconds = 0.0
    for process in processes:
        fields = stat_of(process)
        seconds += sum(map(int, fields[11:15])) / TICKS
        for child in children_of(process):
            with contextlib.suppress(OSError):
                seconds += sum(map(int, stat_of(child)[11:13])) / TICKS
    return seconds


def stat_of(process):
    """The fields of proc(5) from the state on: utime is the 12th of them."""
    # The name of the program stands in parentheses, and may contain some.
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def settled(count, is_idle, seconds=60):
    """The count when it no longer changes: requests that the load has left are finished then. A commit that the disk
    holds up takes a moment, so one equal count is not enough."""
    until = time.monotonic() + seconds
    last, since = None, time.monotonic()
    while True:
        now, at = count(), time.monotonic()
        if now != last or not is_idle():
            last, since = now, at
        elif at - since > 1:
            return now
        if at > until:
            raise Broken("tokens are still recorded long after the last request")
        time.sleep(0.2)
