"""One run of the load against one party, and what it cost; all runs of a database, in turns."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from answers import faults, try_checks
from databases import DATABASES, FIRST_NUMBER, Keys, size_of_ranges
from figures import Result, summarize
from machine import Broken, Machine
from memory_limit import MemoryLimit
from parties import Ceiling, Memory, Replicas, cpu_of, settled

HERE = Path(__file__).resolve().parent
# Single requests for a ceiling that a bulk is compared with.
CEILING_CONNECTIONS = 64
# Slots of the writer's queue, as by default; and in a quick run, where few connections have to fill it.
QUEUE, QUICK_QUEUE = 1024, 64
# The most jobs in a transaction, and the seconds that a request may wait for it, by default.
BATCH, MAX_WAIT = 256, 0.1
# How many times too many requests there are under overload.
OVERLOAD = 4


def say(text):
    print(f"tests/bench: {text}", file=sys.stderr, flush=True)


class Load:
    """wrk with the script beside this file."""

    def __init__(self, machine, peer, options, keys):
        self.machine, self.options, self.requests = machine, options, 0
        self.program = peer / "usr/bin/wrk"
        self.libraries = ":".join(str(path) for lib in ("usr/lib", "lib") for path in (peer / lib).glob("*-linux-gnu"))
        self.threads = max(1, (os.cpu_count() or 1) // 4)
        self.file = machine.folder / "keys"
        self.file.touch(0o600)
        size = size_of_ranges(options.ranges)
        with open(self.file, "w") as file:
            for n in range(options.callers):
                ranges = range(n, options.ranges, options.accounts)
                firsts = " ".join(str(FIRST_NUMBER + one * size) for one in ranges)
                file.write(f"a{n} {keys.key(n)} {size} {firsts}\n")

    def run(self, party, connections, seconds, bulk=None, pause=0):
        """What wrk sums up, in microseconds. `pause`: after how many milliseconds a refused client returns."""
        # Each thread asks one replica.
        threads = min(max(self.threads, len(party.ports)), connections)
        command = [
            self.program, "--threads", threads, "--connections", connections, "--duration", f"{seconds}s",
            "--timeout", "20s", "--script", HERE / "requests.lua", f"http://127.0.0.1:{party.ports[0]}", "--", self.file, threads,
            self.options.entries, bulk or 0, self.requests, pause, int(self.options.control),
        ]
        env = {**os.environ, "LD_LIBRARY_PATH": self.libraries}
        env["BENCH_PORTS"] = " ".join(map(str, party.ports))
        # LuaJIT finds no modules of other versions.
        env.pop("LUA_PATH", None)
        done = subprocess.run(
            list(map(str, command)), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
            timeout=seconds + 120,
        )
        found = re.search(r"^SUMMARY (\{.*\})$", done.stdout, re.M)
        if done.returncode != 0 or not found:
            raise Broken(f"wrk ended with {done.returncode}: {done.stdout.strip()[-2000:]}")
        summary = json.loads(found[1])
        # One more for each thread and connection that was not answered.
        self.requests += summary["requests"] + connections + 2 * threads
        return summary


class Measurement:
    """A database with the service, and with the ceiling unless that is left out."""

    def __init__(self, machine, options, programs, load, keys):
        self.machine, self.options, self.load, self.keys = machine, options, load, keys
        self.database = DATABASES[options.database](machine, programs.postgres)
        self.queue = QUICK_QUEUE if options.quick and options.overload else QUEUE
        self.service = Replicas(machine, programs.service, self.database, self.queue, options.replicas)
        self.ceiling = Ceiling(machine, programs.ceiling, self.database) if programs.ceiling else None
        self.parties = [party for party in (self.service, self.ceiling) if party]
        self.limit = MemoryLimit(None)

    def run(self):
        """A result for each number of connections."""
        options, began = self.options, time.monotonic()
        self.database.start()
        try:
            self.service.prepare(self.keys, options.accounts, options.ranges, options.control)
            if options.grants:
                self.fill_ledger()
            self.limit_memory()
            for party in self.parties:
                party.start()
                self.limit_processes(party)
            for _, party, connections, bulk in self.kinds(max(options.connections)):
                # Every key is read once, and all memory is taken that a run needs.
                self.load.run(party, connections, options.warm_up, bulk)
            took = time.monotonic() - began
            grants = f", {options.grants:,} grants" if options.grants else ""
            say(f"{self.database.describe()}: {options.accounts:,} accounts with keys, {options.ranges:,} delegated "
                f"ranges{grants}, prepared after {took:.0f} s; the service was ready after "
                f"{self.service.ready_after * 1000:.0f} ms")
            results = [self.measure(connections) for connections in options.connections]
            for log in self.logs_with_secrets():
                results[0].fault(f"a key or a password is in the log {log}")
            return results
        finally:
            for party in self.parties:
                party.stop()
            self.database.stop()
            self.limit.remove()

    def fill_ledger(self):
        """Grants like one that the service has made."""
        options = self.options
        self.service.start()
        self.load.run(self.service, 1, 1)
        self.service.stop()
        self.database.add_grants(options.grants, options.accounts, options.ranges)

    def limit_memory(self):
        """Before any process that is measured has read a page."""
        self.limit = MemoryLimit(self.options.memory)
        if self.options.memory:
            self.database.restart(self.limit)

    def limit_processes(self, party):
        for process in party.processes:
            self.limit.add(process)

    def kinds(self, connections):
        """What is run in turns: the name of each in the results, who is asked, over how many connections, and how."""
        bulk = self.options.bulk
        yield "service", self.service, connections, bulk
        if self.ceiling and bulk:
            yield "ceiling", self.ceiling, CEILING_CONNECTIONS, None
            yield "ceiling_bulk", self.ceiling, connections, bulk
        elif self.ceiling:
            yield "ceiling", self.ceiling, connections, None
        if self.options.control:
            yield "control", self.service, connections, bulk

    def measure(self, connections):
        options = self.options
        result = Result(self.database, connections, options)
        kinds = list(self.kinds(connections))
        for repetition in range(options.repeat):
            # Each is first as often as last, so that what else the machine does meets all.
            for kind, *asked in kinds if repetition % 2 == 0 else kinds[::-1]:
                if options.control and kind in ("service", "control"):
                    self.restart_service(result, kind == "control")
                self.add(result, kind, self.once(result, *asked))
            if options.overload:
                self.add(result, "overload", self.overload(result))
        return result

    def restart_service(self, result, control):
        """Its policies are those of its start. Caches are filled again."""
        self.service.restart(control)
        self.limit_processes(self.service)
        self.load.run(self.service, result.connections, self.options.warm_up, self.options.bulk)

    def overload(self, result):
        """About four times as many requests as tokens were issued a second: as many wait as may and the transaction is
        full, and all other connections return after a pause that makes three requests for each one admitted. Then a run
        as before the overload, at once."""
        best, connections = result.runs["service"][-1]["rate"], OVERLOAD * self.queue
        admitted = min(self.queue, best * MAX_WAIT) + min(self.queue, BATCH)
        pause = max(1, round(1000 * (connections - admitted) / ((OVERLOAD - 1) * max(1.0, best))))
        run = self.once(result, self.service, connections, None, pause)
        after = self.once(result, self.service, result.connections, None)
        shares = {"good": run["rate"], "offered": run["asked"], "after": after["rate"]}
        return {**run, **{f"{name}_share": rate / max(1.0, best) for name, rate in shares.items()}}

    def add(self, result, kind, run):
        result.runs.setdefault(kind, []).append(run)
        where = f"{self.database.title}, {run['connections']} connections, {kind.replace('_', ' in ')}"
        say(f"{where}: {summarize(run)}")

    def once(self, result, party, connections, bulk, pause=0):
        database, options = self.database, self.options
        database.settle()
        before = self.snapshot(party)
        began = self.cpu(party)
        with Memory(party.processes) as memory:
            summary = self.load.run(party, connections, options.seconds, bulk, pause)
        ended = self.cpu(party)
        after = self.snapshot(party)
        spent = {name: after[name] - before[name] for name in before}
        cpu = {name: (ended[name] - began[name]) * 1e6 for name in began}
        recorded = spent["recorded"]
        wrong = sum(summary[kind] for kind in ("status", "connect", "read", "write", "timeout"))
        # Of a bulk, each token is granted or refused on its own.
        refused = int(spent["refused"]) if bulk else 0
        answered = (summary["requests"] - summary["status"]) * (bulk or 1) - refused
        run = {
            "connections": connections, "seconds": summary["micros"] / 1e6, "requests": summary["requests"],
            "answered": answered, "recorded": recorded, "errors": wrong + refused,
            "rate": answered * 1e6 / summary["micros"], "asked": summary["requests"] * 1e6 / summary["micros"],
            "p50": summary["p50"] / 1e3, "p99": summary["p99"] / 1e3,
            "cpu": cpu["party"] / max(1, recorded), "generator_cpu": cpu["generator"] / max(1, summary["requests"]),
            "memory": memory.most,
            "rows_per_commit": spent["rows"] / max(1, spent["commits"]), "bytes": spent["bytes"] / max(1, recorded),
        }
        if party is self.service:
            run["ready"] = party.ready_after
        if database.processes():
            run["database_cpu"] = cpu["database"] / max(1, recorded)
        # An idle session reports its commits only after ten seconds. The service has a heartbeat.
        if database.processes() and party is self.service:
            run["tokens_per_database_commit"] = recorded / max(1, spent["database_commits"])
            run["rows_inserted"] = spent["database_rows"] / max(1, recorded)
        if pause:
            run |= {"p50": summary["admitted_p50"] / 1e3, "p99": summary["admitted_p99"] / 1e3}
        # wrk ends without the answers to its last requests.
        for fault in faults(run, summary, connections * (bulk or 1), pause > 0):
            result.fault(f"{party.name}, {connections} connections: {fault}\n{refusals(self.machine, party)}".rstrip())
        return run

    def cpu(self, party):
        """Right before and after the load, since the questions of a snapshot cost the database something, too."""
        generator = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "party": cpu_of([process.pid for process in party.processes]), "database": cpu_of(self.database.processes()),
            "generator": generator.ru_utime + generator.ru_stime,
        }

    def logs_with_secrets(self):
        secret = re.compile(rb"tna_[0-9a-f]{16}_[\w-]{43}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}|postgres://[^:]+:[^@*]+@")
        for file in self.machine.folder.glob("*.log"):
            with open(file, "rb") as lines:
                if any(secret.search(line) for line in lines):
                    yield file.name

    def snapshot(self, party):
        """All that only grows, when nothing is under way any more."""
        database = self.database
        # PostgreSQL hears of commits up to a second later; by then they are in its statistics.
        recorded = settled(lambda: database.count(party.name), lambda: party.counts()["waiting"] == 0)
        statistics = database.statistics(party.name) or {"commits": 0, "rows": 0}
        counts = party.counts()
        return {
            **counts, "recorded": recorded, "bytes": database.bytes(party.name),
            "database_commits": statistics["commits"], "database_rows": statistics["rows"],
        }


def refusals(machine, party):
    """What the log has of requests that failed."""
    lines = machine.log_of(party.log, 20_000).splitlines()
    found = [line for line in lines if re.search(r'"(WARN|ERROR)"|"status":(4|5)\d\d', line)]
    return "\n".join(found[-3:])


def experiment(options, folder, programs):
    """Runs in a process of its own. Returns the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = []
    try:
        try_checks()
        runs = options.repeat * len(options.connections) * (2 + bool(options.bulk) + 2 * options.overload + options.control)
        needed = (1 << 30) + runs * options.seconds * (20 << 20)
        needed += options.ranges * (1_000_000 if options.control else 1_000) + (options.grants or 0) * 2_000
        if shutil.disk_usage(folder).free < needed:
            raise Broken(f"there is too little space in {folder}; TMPDIR names another folder")
        machine, keys = Machine(folder), Keys(options.accounts)
        load = Load(machine, programs.wrk, options, keys)
        for name in options.databases:
            options.database = name
            results += Measurement(machine, options, programs, load, keys).run()
        return options.report(results, folder)
    except Broken as broken:
        say(str(broken))
        return 3
    except KeyboardInterrupt:
        return 130
    except Exception:
        # It would be lost with this process.
        traceback.print_exc()
        return 3
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.stdout.flush()
