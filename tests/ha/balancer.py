"""HAProxy: to the primary by Patroni's REST interface, to the replicas of the service by /readyz, and /certs/ by
/healthz. PgBouncer, in front of the former."""

import shutil
import signal

from machine import free_ports, wait_until
from probes import is_open

DEFAULTS = """\
global
    maxconn 4000
defaults
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout check 1s
    option redispatch
    retries 2

listen database
    bind {host}:{database}
    mode tcp
    timeout client 30m
    timeout server 30m
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 1s fall 3 rise 1 on-marked-down shutdown-sessions
{nodes}

frontend public
    bind 127.0.0.1:{public}
    mode http
    use_backend certificates if {{ path_beg /certs/ }}
    default_backend tokens

# Minting and all else that needs the database: to replicas that are ready.
backend tokens
    mode http
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
    default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{ready}

# Answered from memory, so every replica that lives will do. Another is asked if one does not answer.
backend certificates
    mode http
    timeout server 2s
    retries 3
    retry-on all-retryable-errors
    option redispatch 1
    option httpchk GET /healthz
    http-check expect status 200
    default-server inter 500ms fall 2 rise 1
{alive}
"""


class Balancer:
    def __init__(self, machine, peers):
        self.machine, self.peers = machine, peers
        self.database, self.public = free_ports(2)

    def start(self, cluster, replicas):
        def servers(items):
            return "\n".join(
                f"    server {name} {address}:{port} check port {check}" for name, address, port, check in items
            )

        ours = servers((one.name, "127.0.0.1", one.port, one.operations) for one in replicas)
        text = DEFAULTS.format(
            host="127.0.0.1", database=self.database, public=self.public, ready=ours, alive=ours,
            nodes=servers((node.name, node.address, node.port, node.rest) for node in cluster.nodes),
        )
        file = self.machine.folder / "haproxy.cfg"
        file.write_text(text)
        self.machine.start("haproxy", [self.peers["haproxy"] / "usr/sbin/haproxy", "-db", "-f", file])
        wait_until("HAProxy listens", 20, lambda: is_open(self.public) and is_open(self.database))


class Pooler:
    """PgBouncer between the service and HAProxy's port of the primary."""

    def __init__(self, machine, peers, mode):
        self.machine, self.mode = machine, mode
        self.program = peers["pgbouncer"] / "usr/sbin/pgbouncer"
        [self.port] = free_ports(1)
        self.process = None

    def write(self, cluster, database_port):
        users = self.machine.folder / "pgbouncer.users"
        users.write_text(f'"tn_authority" "{cluster.password}"\n"postgres" "{cluster.password}"\n')
        self.file = self.machine.folder / "pgbouncer.ini"
        self.file.write_text(f"""\
[databases]
* = host=127.0.0.1 port={database_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {self.mode}
max_client_conn = 200
default_pool_size = 60
ignore_startup_parameters = extra_float_digits,options
server_login_retry = 1
server_connect_timeout = 3
""")
        for path in (self.file, users):
            path.chmod(0o600)
            if self.machine.user:
                shutil.chown(path, self.machine.user.pw_uid)

    def start(self):
        self.process = self.machine.start("pgbouncer", [self.program, "-q", self.file], as_user=True)
        wait_until("PgBouncer listens", 20, lambda: is_open(self.port))

    def stop(self):
        """At once, as a restart of the service by systemd does it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
