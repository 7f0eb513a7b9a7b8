"""Three replicas of the service, and what they start with: keys, accounts, numbers."""

import contextlib
import json
import re
import secrets
import signal
import subprocess
import urllib.error
import urllib.request

from machine import Broken, free_ports, wait_until
from probes import is_open

ACCOUNT = "acme"
# A block of a million numbers: +1 213 000 0000 and on.
FIRST, COUNT = 12130000000, 1000000


class Replica:
    def __init__(self, service, number):
        self.service, self.number, self.name = service, number, f"replica{number}"
        self.port, self.operations = free_ports(2)
        self.process, self.url = None, None

    def start(self):
        service = self.service
        file = service.machine.folder / f"{self.name}.toml"
        file.touch(0o600)
        file.write_text(f"""\
[carrier]
spcs = ["1234"]
account = "carrier"
[server]
listen = "127.0.0.1:{self.port}"
public_url = "https://authority.example"
behind_proxy = true
[operations]
listen = "127.0.0.1:{self.operations}"
[database]
url = "{self.url}"
[signer]
key_file = "{service.demo / 'signing-key.pem'}"
chain_file = "{service.demo / 'signing-chain.pem'}"
[api_keys]
secret_file = "{service.secret}"
[limits]
caller_rate = 0
account_rate = 0
unproven_rate = 0
""")
        self.process = service.machine.start(
            self.name, [service.executable, "serve", "--config", file], env={"RUST_LOG": "warn"},
        )

    def wait_open(self, seconds=60):
        def listening():
            if self.process.poll() is not None:
                raise Broken(f"{self.name} ended\n{self.service.machine.log_of(self.name)}")
            return is_open(self.port)

        wait_until(f"{self.name} listens", seconds, listening)

    def is_ready(self):
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.operations}/readyz", timeout=2) as answer:
                return answer.status == 200
        return False

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Service:
    def __init__(self, machine, executable, cluster):
        self.machine, self.executable, self.cluster = machine, executable, cluster
        self.demo, self.secret = machine.folder / "demo", machine.folder / "api-keys.secret"
        self.replicas = [Replica(self, number) for number in (1, 2, 3)]
        self.keys, self.chain = {}, None

    def prepare(self):
        """A development CA and its certificate, which `demo` makes, and a secret for all replicas."""
        self.command("demo", "--dir", str(self.demo))
        self.secret.touch(0o600)
        self.secret.write_text(secrets.token_hex(32))

    def command(self, *arguments, **more):
        done = subprocess.run(
            [self.executable, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
            cwd=self.machine.folder, **more,
        )
        if done.returncode != 0:
            raise Broken(f"tn-authority {arguments[0]}: {hide_keys(done.stdout)}")
        return done.stdout

    def url_of(self, hosts, name):
        return f"postgres://tn_authority:{self.cluster.password}@{hosts}/tn_authority?application_name={name}"

    def connect_by(self, way, balancer, pooler):
        """Where the replicas find the database. `balancer`: the first two through HAProxy, the third by the list of all
        nodes, so that it meets a server that has become a standby. `pooler`: all through PgBouncer."""
        everyone = ",".join(f"{node.address}:{node.port}" for node in self.cluster.nodes)
        for one in self.replicas:
            if way == "pooler":
                one.url = self.url_of(f"127.0.0.1:{pooler.port}", one.name)
            elif one.number == 3:
                one.url = self.url_of(everyone, one.name)
            else:
                one.url = self.url_of(f"127.0.0.1:{balancer.database}", one.name)

    def start(self):
        first, *others = self.replicas
        first.start()
        first.wait_open()
        for one in others:
            one.start()
        for one in others:
            one.wait_open()
        self.wait_ready(60)

    def restart(self):
        for one in self.replicas:
            one.stop()
            one.start()
            one.wait_open()
        self.wait_ready(60)

    def wait_ready(self, seconds):
        try:
            wait_until("all replicas are ready", seconds, lambda: all(one.is_ready() for one in self.replicas))
        except Broken as broken:
            logs = "\n".join(f"--- {one.name}\n{self.machine.log_of(one.name)}" for one in self.replicas)
            raise Broken(f"{broken}\n{logs}") from None

    def provision(self):
        """An account with a million numbers, and keys for the roles of the load."""
        config = str(self.machine.folder / f"{self.replicas[0].name}.toml")
        self.keys["admin"] = self.key_of(config, "admin")
        self.call("PUT", f"/v1/accounts/{ACCOUNT}", {"name": "Acme, Inc."})
        block = {"start": f"+{FIRST}", "count": COUNT}
        self.call("POST", "/v1/allocations", {"spc": "1234", "basis": "block", **block})
        self.call("POST", f"/v1/accounts/{ACCOUNT}/delegations", block)
        for role, more in (("provisioner", []), ("auditor", []), ("account", ["--account", ACCOUNT])):
            self.keys[role] = self.key_of(config, role, *more)
        self.chain = self.call("GET", "/v1/signers")["items"][0]["chain"]

    def key_of(self, config, role, *more):
        output = self.command("api-key", "create", "--config", config, "--role", role, *more)
        return re.search(r"tna_[\w-]+", output)[0]

    def call(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.keys['admin']}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.replicas[0].port}{path}"
        try:
            request = urllib.request.Request(url, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Broken(f"{method} {path}: {error.code} {error.read().decode()}") from None


def hide_keys(text):
    return re.sub(r"tna_[\w-]+", "tna_..", text)
