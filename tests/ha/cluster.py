"""The database: three Patroni nodes with PostgreSQL in synchronous mode, etcd, and HAProxy's view of the primary."""

import contextlib
import json
import secrets
import shutil
import signal
import time
import urllib.request

import psycopg2

from machine import Broken, free_ports, sh, signal_tree, wait_until

SCOPE = "ha"
# How long a leader is trusted that is not heard of. The failover takes this and a little more.
TTL = 20
PYTHON = "/usr/bin/python3"


class Node:
    def __init__(self, cluster, number):
        machine = cluster.machine
        self.cluster, self.name = cluster, f"node{number}"
        self.address = machine.add_namespace(self.name, 10 + number)
        self.port, self.rest = free_ports(2)
        self.folder = machine.own_folder(machine.folder / self.name)
        self.data, self.disk = self.folder / "data", self.folder / "disk"
        machine.memory_disk(self.disk, "1g")
        self.patroni = None

    def configuration(self):
        cluster, wal = self.cluster, str(self.disk / "wal")
        parameters = {
            "max_connections": 100, "jit": "off", "wal_keep_size": "64MB", "min_wal_size": "48MB",
            "max_wal_size": "192MB", "shared_buffers": "64MB", "synchronous_commit": "on", "log_checkpoints": "off",
            "log_line_prefix": "%m [%p] %a ", "max_slot_wal_keep_size": "256MB",
        }
        dcs = {
            "ttl": TTL, "loop_wait": 5, "retry_timeout": 5, "maximum_lag_on_failover": 16 << 20,
            "synchronous_mode": cluster.is_synchronous, "primary_start_timeout": 15,
            "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": parameters},
        }
        logins = {"superuser": "postgres", "replication": "replicator", "rewind": "rewind_user"}
        return {
            "scope": SCOPE, "name": self.name,
            "restapi": {"listen": f"{self.address}:{self.rest}", "connect_address": f"{self.address}:{self.rest}"},
            "etcd3": {"hosts": [f"{cluster.machine.host_address()}:{cluster.etcd_port}"]},
            "bootstrap": {
                "dcs": dcs,
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, {"waldir": wal}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"{self.address}:{self.port}", "connect_address": f"{self.address}:{self.port}",
                "data_dir": str(self.data), "bin_dir": str(cluster.bin), "pgpass": str(self.folder / "pgpass"),
                "authentication": {
                    kind: {"username": name, "password": cluster.password} for kind, name in logins.items()
                },
                "basebackup": [{"waldir": wal}, {"checkpoint": "fast"}],
                "pg_hba": ["local all all trust", "host all all all scram-sha-256",
                           "host replication replicator all scram-sha-256"],
                "parameters": {"unix_socket_directories": str(self.folder)},
            },
            "watchdog": {"mode": "off"},
        }

    def start(self):
        file = self.folder / "patroni.yml"
        if not file.exists():
            # JSON is YAML.
            file.write_text(json.dumps(self.configuration(), indent=1))
            if self.cluster.machine.user:
                shutil.chown(file, self.cluster.machine.user.pw_uid)
            file.chmod(0o600)
        program = self.cluster.peers["patroni"] / "usr/bin/patroni"
        self.patroni = self.cluster.machine.start(
            self.name, [PYTHON, program, file], place=self.name, as_user=True,
        )

    def postmaster(self):
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.data / "postmaster.pid").read_text().split("\n")[0])
        return None

    def signal(self, number):
        """To Patroni first, so that it does not react to what happens to PostgreSQL."""
        signal_tree(self.patroni.pid, number)
        if number == signal.SIGKILL:
            self.patroni.wait()
        self.signal_postgres(number)

    def signal_postgres(self, number):
        if process := self.postmaster():
            signal_tree(process, number)

    def ask(self, path, timeout=2):
        with contextlib.suppress(OSError, ValueError):
            url = f"http://{self.address}:{self.rest}{path}"
            with urllib.request.urlopen(url, timeout=timeout) as answer:
                return json.load(answer)
        return None

    def sql(self, statement, timeout=5):
        """Runs a statement as the superuser on this node, whatever its role is."""
        return query(self.cluster.dsn(self.address, self.port, "postgres"), statement, timeout)


class Cluster:
    def __init__(self, machine, peers, is_synchronous=True):
        self.machine, self.peers, self.is_synchronous = machine, peers, is_synchronous
        self.bin = peers["postgres"] / "usr/lib/postgresql/15/bin"
        self.password = secrets.token_hex(16)
        self.etcd_port, self.etcd_peer_port = free_ports(2)
        self.nodes = [Node(self, number) for number in (1, 2, 3)]

    def start(self):
        address = self.machine.host_address()
        client, peer = f"http://{address}:{self.etcd_port}", f"http://{address}:{self.etcd_peer_port}"
        self.machine.start("etcd", [
            self.peers["etcd"] / "usr/bin/etcd", "--name", "etcd", "--data-dir", self.machine.folder / "etcd",
            "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"etcd={peer}", "--log-level", "error",
            "--unsafe-no-fsync",
        ])
        self.nodes[0].start()
        wait_until("the first node is the leader", 90, self.leader)
        for node in self.nodes[1:]:
            node.start()
        self.wait_healthy()
        name = "tn_authority"
        self.leader().sql(f"CREATE ROLE {name} LOGIN PASSWORD '{self.password}'")
        # To see whether there is a synchronous standby.
        self.leader().sql(f"GRANT pg_monitor TO {name}")
        self.leader().sql(f"CREATE DATABASE {name} OWNER {name}")
        self.leader().sql("CREATE TABLE probe (at timestamptz NOT NULL)")

    def members(self):
        for node in self.nodes:
            if answer := node.ask("/cluster"):
                return {member["name"]: member for member in answer["members"]}
        return {}

    def leader(self):
        """The node that says that it is the primary, if exactly one does."""
        found = [node for node in self.nodes if (node.ask("/primary") or {}).get("role") in ("master", "primary")]
        return found[0] if len(found) == 1 else None

    def is_healthy(self):
        members = self.members()
        roles = sorted(member["role"] for member in members.values())
        return (
            roles == ["leader", "replica", "sync_standby" if self.is_synchronous else "replica"]
            and all(member["state"] in ("running", "streaming") for member in members.values())
            and all(member.get("lag", 0) in range(1 << 20) for member in members.values())
            and self.leader() is not None
        )

    def wait_healthy(self, seconds=150):
        what = "one leader, a synchronous standby, and another standby"
        try:
            try:
                wait_until(what, seconds / 2, self.is_healthy, 0.5)
            except Broken:
                self.copy_anew()
                wait_until(what, seconds, self.is_healthy, 0.5)
        except Broken as broken:
            logs = "\n".join(f"--- {node.name}\n{self.machine.log_of(node.name, 10)}" for node in self.nodes)
            raise Broken(f"{broken}; {self.members()}\n{logs}") from None

    def copy_anew(self):
        """Copies the primary to the nodes that cannot follow it. After several failovers in a row, Patroni 3.0 leaves a
        standby that is ahead of the fork of a timeline to the operator."""
        members, leader = self.members(), self.leader()
        timeline = leader and members.get(leader.name, {}).get("timeline")
        for node in self.nodes:
            member = members.get(node.name, {})
            follows = member.get("state") in ("running", "streaming") and member.get("timeline") == timeline
            if leader and not follows:
                self.patronictl("reinit", SCOPE, node.name, "--force")

    def standbys(self):
        """The synchronous one, and the other."""
        members = self.members()
        order = sorted(self.nodes, key=lambda node: members[node.name]["role"], reverse=True)
        return [node for node in order if members[node.name]["role"] != "leader"]

    def switch_over(self, candidate):
        self.patronictl("switchover", SCOPE, "--leader", self.leader().name, "--candidate", candidate.name, "--force")

    def patronictl(self, *arguments):
        program = self.peers["patroni"] / "usr/bin/patronictl"
        sh(PYTHON, program, "-c", self.nodes[0].folder / "patroni.yml", *arguments)

    def dsn(self, host, port, database):
        # The files of the user who runs this have no say.
        return (f"host={host} port={port} user=postgres password={self.password} dbname={database} connect_timeout=2 "
                "sslmode=disable gssencmode=disable passfile=/dev/null")


def query(dsn, statement, timeout=5):
    connection = psycopg2.connect(f"{dsn} options='-c statement_timeout={int(timeout * 1000)}' tcp_user_timeout=3000")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def retried(seconds, action):
    """Repeats what needs the database until it answers."""
    until = time.monotonic() + seconds
    while True:
        try:
            return action()
        except psycopg2.Error:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
