"""One run of the experiment: starts all parts, lets the events happen, and holds what was promised."""

import contextlib
import random
import shutil
import signal
import sys
import time

import psycopg2

from balancer import Balancer, Pooler
from checks import LONGEST, Interval, check
from cluster import Cluster, query, retried
from events import EVENTS, SHORT
from load import Load
from machine import Broken, Machine, wait_until
from planted import try_checks
from probes import DatabaseProbe
from replicas import Service
from report import faults, markdown, table, timeline


def say(text):
    print(f"tests/ha: {text}", file=sys.stderr, flush=True)


def chosen(options):
    """The events that were asked for."""
    names = {event.name: event for event in EVENTS}
    wanted = SHORT if options.short else options.only.split(",") if options.only else list(names)
    if unknown := [name for name in wanted if name not in names]:
        raise SystemExit(f"tests/ha: there is no event `{unknown[0]}`; see --list")
    return [names[name] for name in wanted]


class Run:
    """All parts of the experiment, and what is stopped at the moment."""

    # How long readers of the feed may take to reach its end, in seconds.
    catch_up = 20

    def __init__(self, options, folder, folders, program):
        self.options, self.random, self.say = options, random.Random(options.seed), say
        self.machine = Machine(folder)
        self.cluster = Cluster(self.machine, folders, is_synchronous=not options.asynchronous)
        self.service = Service(self.machine, program, self.cluster)
        self.balancer = Balancer(self.machine, folders)
        self.pooler = Pooler(self.machine, folders, options.pool_mode)
        self.intervals = {replica.port: [] for replica in self.service.replicas}
        self.phase, self.began = "balancer", 0.0
        self.results = []

    def start(self):
        self.service.prepare()
        self.cluster.start()
        self.balancer.start(self.cluster, self.service.replicas)
        wait_until("HAProxy finds the primary", 30, self.finds_primary)
        self.pooler.write(self.cluster, self.balancer.database)
        self.pooler.start()
        self.service.connect_by("balancer", self.balancer, self.pooler)
        self.service.start()
        self.service.provision()
        self.journal = open(self.machine.folder / "journal.jsonl", "w")
        self.probe = DatabaseProbe(self.dsn())
        self.load = Load(self.service, self.balancer.public, self.options.rate, self.options.seed, self.journal)
        self.probe.start()
        self.load.start()

    def dsn(self):
        port = self.pooler.port if self.phase == "pooler" else self.balancer.database
        return self.cluster.dsn("127.0.0.1", port, "postgres")

    def finds_primary(self):
        with contextlib.suppress(psycopg2.Error):
            return query(self.dsn(), "SELECT 1")

    def tables(self):
        """What the database has: whether each grant is withdrawn, the exclusions, and the feed in its order."""
        dsn = self.cluster.dsn("127.0.0.1", self.balancer.database, "tn_authority")

        def rows(statement):
            return retried(60, lambda: query(dsn, statement, 60))

        grants = dict(rows("SELECT encode(jti, 'hex'), withdrawn_at IS NOT NULL FROM grants"))
        exclusions = {row[0] for row in rows("SELECT id FROM exclusions")}
        feed = rows("SELECT sequence, encode(jti, 'hex') FROM withdrawals ORDER BY sequence")
        return grants, exclusions, feed

    def suspend(self, replica):
        self.intervals[replica.port].append(Interval(time.monotonic()))

    def resume(self, replica):
        self.intervals[replica.port][-1].ended = time.monotonic()

    def name_of(self, port):
        """Who was asked at a port."""
        return next((one.name for one in self.service.replicas if one.port == port), "HAProxy")

    def is_suspended(self, port, began, ended):
        return any(interval.meets(began, ended) for interval in self.intervals[port])

    def is_back(self):
        """Whether the database and minting have answered within the last second."""
        if self.load.failure:
            raise Broken(f"the load ended: {self.load.failure!r}")
        now = time.monotonic()
        minted = [one for one in self.load.operations[-2000:] if one.kind == "mint" and one.acknowledged()]
        return (
            bool(self.probe.successes) and now - self.probe.successes[-1] < 1
            and bool(minted) and now - max(one.acknowledged() for one in minted) < 1
        )

    def wait_busy(self, seconds, calm=5):
        """Waits until minting works for some seconds without a break. Returns whether it does."""
        until, since = time.monotonic() + seconds, None
        while time.monotonic() < until:
            since = (since or time.monotonic()) if self.is_back() else None
            if since and time.monotonic() - since > calm:
                return True
            time.sleep(0.2)
        return False

    def settle(self):
        """What an event starts from: all is well."""
        self.cluster.wait_healthy()
        self.service.wait_ready(60)
        if not self.wait_busy(90, calm=3):
            raise Broken("there are no tokens, though nothing is wrong with the cluster")

    def enter(self, phase):
        if phase != self.phase:
            self.phase = phase
            say(f"the service finds its database through: {phase}")
            self.service.connect_by(phase, self.balancer, self.pooler)
            self.service.restart()
            self.probe.point_at(self.dsn())

    def begin(self):
        """The event is in effect from now on."""
        self.began = time.monotonic()

    def perform(self, event, is_last=False):
        self.enter(event.phase)
        self.settle()
        self.begin()
        say(f"{event.name}: {event.title}")
        steps = event.act(self)
        next(steps)
        time.sleep(2)
        least, most = event.lasts
        is_back = self.wait_busy(most)
        time.sleep(max(0.0, self.began + least - time.monotonic()))
        after = f"after {time.monotonic() - self.began:.0f} s"
        say(f"{event.name}: minting {'works' if is_back else 'does not work'} {after}")
        with contextlib.suppress(StopIteration):
            next(steps)
        if not is_last:
            self.cluster.wait_healthy()
        is_back = self.wait_busy(60, calm=3)
        # Requests that hang do so for longer than those that are answered.
        time.sleep(LONGEST - 5)
        self.results.append(result := check(self, event, self.began, time.monotonic()))
        if not is_back and not is_last:
            say(f"{event.name}: minting does not come back by itself; the replicas are restarted")
            self.service.restart()
        say(f"{event.name}: cluster {result.cluster:.1f} s, tokens {result.ours:.1f} s, "
            f"{'failed' if result.faults else 'passed'}")

    def logged_secrets(self):
        """The logs of replicas that show a key or the password of the database."""
        secrets = [self.cluster.password, *self.service.keys.values()]
        logs = {one.name: self.machine.log_of(one.name, 1 << 30) for one in self.service.replicas}
        return [name for name, text in logs.items() if any(secret in text for secret in secrets)]

    def perform_random(self, seconds):
        until = time.monotonic() + seconds
        events = [one for one in possible(EVENTS, self.machine) if one.phase == "balancer"]
        while time.monotonic() < until:
            self.perform(self.random.choice(events))
            time.sleep(self.random.uniform(0, 10))


def possible(events, machine):
    left_out = [event for event in events if event.needs_root and not machine.has_namespaces]
    for event in left_out:
        say(f"left out, since it needs root: {event.name}")
    return [event for event in events if event not in left_out]


def experiment(options, folder, folders, program):
    """Runs in a process of its own. Returns the exit code."""
    began, run, code = time.monotonic(), None, 3
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    say(f"seed {options.seed}")
    try:
        try_checks()
        run = Run(options, folder, folders, program)
        run.start()
        say(f"all is started after {time.monotonic() - began:.0f} s; {options.rate} operations a second")
        if options.random:
            run.perform_random(options.random)
        else:
            events = possible(chosen(options), run.machine)
            for number, event in enumerate(events, 1):
                run.perform(event, is_last=number == len(events))
        if not run.results:
            raise Broken("no event is left")
        code = 1 if any(one.faults for one in run.results) else 0
        if leaks := run.logged_secrets():
            say(f"a key or a password is in the log of {', '.join(leaks)}")
            code = 1
    except Broken as broken:
        say(str(broken))
    except KeyboardInterrupt:
        code = 130
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        # Nothing may keep the process alive: what it started ends with it.
        if run:
            conclude(options, run, time.monotonic() - began)
        sys.stdout.flush()
    return code


def conclude(options, run, seconds):
    if run.results:
        print(f"\n{table(run.results)}\n")
        if shown := faults(run.results):
            print(f"{shown}\n")
    if getattr(run, "load", None):
        left_out = f"{run.load.left_out} left out because too many waited"
        say(f"{len(run.load.operations)} operations, {left_out}; {seconds:.0f} s")
        run.journal.flush()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        for file in [*run.machine.folder.glob("*.log"), *run.machine.folder.glob("*.jsonl")]:
            shutil.copy(file, options.keep)
        if run.results:
            text = timeline(run.results, run.load.probes, list(run.probe.successes))
            (options.keep / "timeline.txt").write_text(text)
    if options.table and run.results:
        options.table.write_text(markdown(run.results, " ".join(["tests/ha/run", *sys.argv[1:]]), options.rate))
