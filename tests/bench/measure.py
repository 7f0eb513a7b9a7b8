"""One run of the load against one party, and what it cost; all runs of a database, in turns."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from databases import DATABASES, FIRST_NUMBER, SIZE, Keys
from figures import Result, summarize
from machine import Broken, Machine
from parties import Ceiling, Memory, Service, cpu_of, settled

HERE = Path(__file__).resolve().parent
# The share of requests without a good answer with which a run still counts.
MOST_ERRORS = 0.001
# Slots of the writer's queue, as by default; and in a quick run, where few connections have to fill it.
QUEUE, QUICK_QUEUE = 1024, 64


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
        with open(self.file, "w") as file:
            for n in range(options.callers):
                ranges = range(n, options.ranges, options.accounts)
                firsts = " ".join(str(FIRST_NUMBER + one * SIZE) for one in ranges)
                file.write(f"a{n} {keys.key(n)} {SIZE} {firsts}\n")

    def run(self, party, connections, seconds, watch=False):
        """What wrk sums up. Times are in microseconds."""
        threads = min(self.threads, connections)
        command = [
            self.program, "--threads", threads, "--connections", connections, "--duration", f"{seconds}s",
            "--timeout", "20s", "--script", HERE / "requests.lua", party.url(), "--", self.file, threads,
            self.options.entries, self.options.bulk or 0, self.requests, int(watch),
        ]
        env = {**os.environ, "LD_LIBRARY_PATH": self.libraries}
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
        queue = QUICK_QUEUE if options.quick and options.overload else QUEUE
        self.overload = 4 * queue
        self.service = Service(machine, programs.service, self.database, queue)
        self.parties = [self.service]
        if programs.ceiling:
            self.parties.append(Ceiling(machine, programs.ceiling, self.database))

    def run(self):
        """A result for each number of connections."""
        options, began = self.options, time.monotonic()
        self.database.start()
        try:
            self.service.prepare(self.keys, options.accounts, options.ranges)
            for party in self.parties:
                party.start()
                # Every key is read once, and all memory is taken that a run needs.
                self.load.run(party, max(options.connections), options.warm_up)
            took = time.monotonic() - began
            say(f"{self.database.describe()}: {options.accounts:,} accounts with keys, {options.ranges:,} delegated ranges, "
                f"ready after {took:.0f} s")
            return [self.measure(connections) for connections in options.connections]
        finally:
            for party in self.parties:
                party.stop()
            self.database.stop()

    def measure(self, connections):
        options = self.options
        result = Result(self.database, connections, options)
        for repetition in range(options.repeat):
            # In turns, and each first as often as the other, so that what else the machine does meets both.
            order = self.parties if repetition % 2 == 0 else self.parties[::-1]
            for party in order:
                self.add(result, party, self.once(result, party, connections))
            if options.overload:
                run = self.once(result, self.service, self.overload, overloaded=True)
                run["good_share"] = run["rate"] / result.runs["service"][-1]["rate"]
                self.add(result, self.service, run, "overload")
        return result

    def add(self, result, party, run, kind=None):
        result.runs.setdefault(kind or party.name, []).append(run)
        say(f"{self.database.title}, {run['connections']} connections, {kind or party.name}: {summarize(run)}")

    def once(self, result, party, connections, overloaded=False):
        database, options = self.database, self.options
        database.settle()
        before = self.snapshot(party)
        with Memory(party.process) as memory:
            summary = self.load.run(party, connections, options.seconds, watch=overloaded)
        recorded = settled(lambda: database.count(party.name)) - before["recorded"]
        after = self.snapshot(party)
        spent = {name: after[name] - before[name] for name in before}
        wrong = sum(summary[kind] for kind in ("status", "connect", "read", "write", "timeout"))
        # Of a bulk, each token is granted or refused on its own.
        refused = int(spent["refused"]) if options.bulk else 0
        answered = (summary["requests"] - summary["status"]) * (options.bulk or 1) - refused
        run = {
            "connections": connections, "seconds": summary["micros"] / 1e6, "requests": summary["requests"],
            "answered": answered, "recorded": recorded, "errors": wrong + refused,
            "rate": answered * 1e6 / summary["micros"], "p50": summary["p50"] / 1e3, "p99": summary["p99"] / 1e3,
            "cpu": spent["cpu"] * 1e6 / max(1, recorded), "memory": memory.most,
            "rows_per_commit": spent["rows"] / max(1, spent["commits"]), "bytes": spent["bytes"] / max(1, recorded),
        }
        if database.processes():
            run["database_cpu"] = spent["database_cpu"] * 1e6 / max(1, recorded)
            run["tokens_per_database_commit"] = recorded / max(1, spent["database_commits"])
            run["rows_inserted"] = spent["database_rows"] / max(1, recorded)
        if overloaded:
            run |= {"p50": summary["admitted_p50"] / 1e3, "p99": summary["admitted_p99"] / 1e3}
        self.check(result, party, run, summary, overloaded)
        return run

    def snapshot(self, party):
        database = self.database
        if database.processes():
            # The server hears of commits up to a second later.
            time.sleep(1.2)
        statistics = database.statistics(party.name) or {"commits": 0, "rows": 0}
        counts = party.counts()
        return {
            **counts, "recorded": database.count(party.name), "bytes": database.bytes(party.name),
            "cpu": cpu_of([party.process.pid]), "database_cpu": cpu_of(database.processes()),
            "database_commits": statistics["commits"], "database_rows": statistics["rows"],
        }

    def check(self, result, party, run, summary, overloaded):
        """That what was answered was recorded, and that nothing else was."""
        where = f"{party.name}, {run['connections']} connections"
        # wrk ends without the answers to its last requests.
        unanswered = run["connections"] * (self.options.bulk or 1)
        answered, recorded = run["answered"], run["recorded"]
        if not answered:
            result.fault(f"{where}: no token was answered; {summary}")
        if not answered <= recorded <= answered + unanswered:
            result.fault(f"{where}: {answered} tokens were answered and {recorded} recorded; at most {unanswered} more "
                         "can have been under way at the end")
        if overloaded:
            # What is refused then is refused by 503, and nobody waits until he gives up.
            other = {name: summary[name] for name in ("other", "mismatched", "connect", "read", "write", "timeout")}
            if any(other.values()):
                result.fault(f"{where}: under overload there were other answers than tokens and 503: {other}")
        elif run["errors"] > MOST_ERRORS * max(1, summary["requests"]):
            kinds = {name: summary[name] for name in ("status", "connect", "read", "write", "timeout")}
            result.fault(f"{where}: {run['errors']} of {summary['requests']} requests had no good answer: {kinds}\n"
                         f"{refusals(self.machine, party)}")


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
        if shutil.disk_usage(folder).free < options.ranges * 1_000 + (1 << 30):
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
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.stdout.flush()
