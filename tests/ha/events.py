"""What happens to the database and to the service. Each event is a generator: what it does, then a `yield` for as long
as it lasts, then what ends it."""

import contextlib
import os
import signal
import time

import psycopg2

from machine import Broken, wait_until

# Held by transactions of the service until COMMIT: shared by mints, alone by changes (ARCHITECTURE.md).
AUTHORITY_LOCK = 8468774


class Event:
    """`needs_root`: it drops packets or fills a disk. `phase`: where the service finds its database. `bound`: how long
    minting may be away if the cluster is not: what it takes the server to end a transaction that stopped. `lasts`: how
    long it lasts at least, and at most if minting does not come back before it ends."""

    def __init__(self, name, title, act, needs_root=False, phase="balancer", bound=0, lasts=(20, 75)):
        self.name, self.title, self.act = name, title, act
        self.needs_root, self.phase, self.bound, self.lasts = needs_root, phase, bound, lasts


def kill_primary(run):
    node = run.cluster.leader()
    node.signal(signal.SIGKILL)
    yield
    node.start()


def stop_primary(run):
    node = run.cluster.leader()
    node.signal(signal.SIGSTOP)
    yield
    # A Patroni 3.0.2 that goes on after such a stop can take the leader's key from its successor, and then all is lost
    # that this one has acknowledged. A watchdog resets the machine before. So Patroni starts anew here; the old
    # PostgreSQL goes on, and answers until Patroni has found out that there is another primary.
    node.patroni.kill()
    node.patroni.wait()
    node.signal_postgres(signal.SIGCONT)
    node.start()


def drop_packets(run):
    node = run.cluster.leader()
    run.machine.set_link(node.name, "down")
    yield
    run.machine.set_link(node.name, "up")


def power_off(run):
    """The primary is gone at once, with its network, when its standbys have not heard of it for three seconds. What
    they lack must not have been acknowledged."""
    node, standbys = run.cluster.leader(), run.cluster.standbys()
    for standby in standbys:
        run.machine.set_link(standby.name, "down")
    time.sleep(3)
    node.signal(signal.SIGKILL)
    run.machine.set_link(node.name, "down")
    for standby in standbys:
        run.machine.set_link(standby.name, "up")
    yield
    run.machine.set_link(node.name, "up")
    node.start()


def switch_over(run):
    run.cluster.switch_over(run.cluster.standbys()[0])
    yield


def stale_standby(run):
    """The old primary answers, and shows what was true when it stepped down."""
    old = run.cluster.leader()
    run.cluster.switch_over(run.cluster.standbys()[0])

    def pause():
        with contextlib.suppress(psycopg2.Error):
            old.sql("SELECT pg_wal_replay_pause()")
            return True

    wait_until("the old primary is a standby", 60, pause)
    yield
    old.sql("SELECT pg_wal_replay_resume()")


def full_disk(run):
    """Patroni restarts such a primary as often as it fails, and does not replace it: the cluster is away until there is
    space again."""
    node = run.cluster.leader()
    ballast = node.disk / "ballast"
    space = os.statvfs(node.disk)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
    # Segments that are there already are filled up first.
    until = time.monotonic() + 60
    with contextlib.suppress(psycopg2.Error):
        while time.monotonic() < until:
            node.sql("INSERT INTO probe VALUES (now()); SELECT pg_switch_wal()", timeout=20)
    yield
    ballast.unlink()


def stop_replica_alone(run):
    yield from stop_replica(run, "ExclusiveLock")


def stop_replica_shared(run):
    yield from stop_replica(run, "ShareLock")


def stop_replica(run, mode):
    """Stops a replica of the service while the server waits for it in the middle of a transaction that holds the lock
    of all. That takes milliseconds, so it is stopped and continued until it is caught."""
    victim = run.random.choice(run.service.replicas)
    leader = run.cluster.leader()
    connection = psycopg2.connect(run.cluster.dsn(leader.address, leader.port, "postgres"))
    connection.autocommit = True
    tries, until = 0, time.monotonic() + 120
    with contextlib.closing(connection), connection.cursor() as cursor:
        while True:
            tries += 1
            run.suspend(victim)
            victim.signal(signal.SIGSTOP)
            # What it had sent is executed meanwhile.
            time.sleep(0.02)
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE application_name = %s "
                "AND state = 'idle in transaction' AND locktype = 'advisory' AND objid = %s AND mode = %s AND granted",
                (victim.name, AUTHORITY_LOCK, mode),
            )
            if cursor.fetchone()[0]:
                break
            victim.signal(signal.SIGCONT)
            run.resume(victim)
            if time.monotonic() > until:
                raise Broken(f"{victim.name} was stopped {tries} times, and never in a transaction with {mode}")
            time.sleep(run.random.uniform(0.01, 0.1))
    run.say(f"{victim.name} is stopped in a transaction that holds {mode}, after {tries} tries")
    run.begin()
    yield
    victim.signal(signal.SIGCONT)
    run.resume(victim)


def restart_pooler(run):
    run.pooler.stop()
    time.sleep(1)
    run.pooler.start()
    yield


# What it takes the server to end the transaction of a client that is silent: `idle_in_transaction_timeout`.
SILENCE = 10

EVENTS = [
    Event("kill-primary", "the primary is killed, with Patroni (SIGKILL)", kill_primary),
    Event("stop-primary", "the primary is stopped, with Patroni (SIGSTOP)", stop_primary),
    Event("drop-packets", "all packets to and from the primary are lost", drop_packets, needs_root=True),
    Event("power-off", "the primary loses power when its standbys are behind", power_off, needs_root=True),
    Event("switch-over", "`patronictl switchover`", switch_over),
    Event("stale-standby", "the old primary stays as a standby that is behind", stale_standby),
    Event("stop-replica-alone", "a replica stops in a change (SIGSTOP)", stop_replica_alone, bound=SILENCE),
    Event("stop-replica-shared", "a replica stops in a mint (SIGSTOP)", stop_replica_shared, bound=SILENCE),
    Event("full-disk", "the disk of the primary's log is full", full_disk, needs_root=True, lasts=(10, 30)),
    Event("restart-pooler", "PgBouncer is restarted", restart_pooler, phase="pooler"),
]
SHORT = ["stop-replica-alone", "kill-primary"]
