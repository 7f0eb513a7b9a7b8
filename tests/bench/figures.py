"""What was measured: medians and spreads, ratios, and what they have to reach; as text, Markdown and JSON."""

import json
import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path

# The least share of the ceiling's tokens a second: of single requests, and in bulk. Both are compared with a ceiling of
# single requests. A tenth less is still accepted, since no two runs are alike.
WANTED = {"single": 0.50, "bulk": 0.75}
TOLERANCE = 0.10
# The most time that a token may take whose policies look at control, beside one without.
MOST_WITH_CONTROL = 1.10

# Name in JSON, title, form, and whether the ratio says anything.
FIGURES = [
    ("rate", "tokens a second", "{:,.0f}", True),
    ("p50", "p50, ms", "{:,.2f}", True),
    ("p99", "p99, ms", "{:,.2f}", True),
    ("cpu", "CPU a token, µs", "{:,.0f}", True),
    ("database_cpu", "the same, of the database, µs", "{:,.0f}", True),
    ("generator_cpu", "CPU of wrk a request, µs", "{:,.0f}", False),
    ("rows_per_commit", "tokens a commit", "{:,.1f}", False),
    ("tokens_per_database_commit", "the same, as PostgreSQL counts", "{:,.1f}", False),
    ("rows_inserted", "rows a token, as PostgreSQL counts", "{:,.2f}", False),
    ("memory", "memory (RssAnon), MiB", "{:,.0f}", False),
    ("ready", "ready after start, s", "{:,.2f}", False),
    ("bytes", "bytes on disk a token", "{:,.0f}", True),
]
UNITS = {"memory": 1 << 20}


class Figure:
    """The median of all repetitions, and between what they are."""

    def __init__(self, values):
        self.values = list(values)
        self.median, self.low, self.high = statistics.median(self.values), min(self.values), max(self.values)

    def text(self, form, unit=1):
        shown = [form.format(value / unit) for value in (self.median, self.low, self.high)]
        return shown[0] if len(self.values) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"

    def json(self):
        return {"median": self.median, "low": self.low, "high": self.high, "all": self.values}


class Result:
    """All repetitions with one database and number of connections."""

    def __init__(self, database, connections, options):
        self.database, self.connections, self.options = database, connections, options
        self.described = database.describe()
        self.runs, self.faults = {}, []

    def fault(self, text):
        self.faults.append(text)

    def figure(self, party, name):
        runs = self.runs.get(party, [])
        return Figure(run[name] for run in runs) if runs and name in runs[0] else None

    def ratio(self, name, ceiling="ceiling"):
        """Of each repetition by itself: both of its runs met the same machine."""
        pairs = zip(self.runs["service"], self.runs.get(ceiling, []))
        ratios = [service[name] / other[name] for service, other in pairs if name in service and other.get(name)]
        return Figure(ratios) if ratios else None

    def too_slow(self):
        """Whether the ratio is lower than it may be. Only lists of one number have a limit."""
        ratio = self.ratio("rate")
        wanted = WANTED["bulk" if self.options.bulk else "single"]
        if ratio is None or self.options.entries > 1 or ratio.median >= wanted * (1 - TOLERANCE):
            return None
        return f"{self.title()}: {ratio.median:.2f} of the ceiling's tokens a second; wanted are {wanted:.2f}"

    def too_slow_with_control(self):
        """Whether a token takes longer with control than it may."""
        costs = self.ratio("rate", "control")
        if costs is None or costs.median <= MOST_WITH_CONTROL:
            return None
        return f"{self.title()}: with control a token takes {costs.median:.2f} times as long; at most {MOST_WITH_CONTROL:.2f} is wanted"

    def title(self):
        options = self.options
        bulk = f", {options.bulk} tokens a request" if options.bulk else ""
        entries = f"{options.entries} numbers" if options.entries > 1 else "one number"
        plural = "s" if self.connections > 1 else ""
        replicas = f", {options.replicas} replicas" if options.replicas > 1 else ""
        return f"{self.database.title}{replicas}, {self.connections} connection{plural}{bulk}, {entries} a token"

    def columns(self):
        """The parties, and after each ceiling the ratio to it."""
        columns = ["service"]
        for ceiling, title in (("ceiling", "ceiling"), ("ceiling_bulk", "ceiling in bulk")):
            columns += [title, "ratio"] if ceiling in self.runs else []
        return columns

    def rows(self):
        for name, title, form, compared in FIGURES:
            service, unit = self.figure("service", name), UNITS.get(name, 1)
            if not service:
                continue
            row = [title, service.text(form, unit)]
            for ceiling in ("ceiling", "ceiling_bulk"):
                if ceiling in self.runs:
                    figure = self.figure(ceiling, name)
                    # The time of a thousand tokens says nothing beside that of one.
                    is_alike = name not in ("p50", "p99") or ceiling == "ceiling_bulk" or not self.options.bulk
                    ratio = self.ratio(name, ceiling) if compared and is_alike else None
                    row += [figure.text(form, unit) if figure else "", ratio.text("{:.2f}") if ratio else ""]
            yield row

    def overload(self):
        runs = self.runs.get("overload")
        if not runs:
            return None
        refused = Figure(run["errors"] / run["requests"] for run in runs).text("{:.0%}")

        def text(name, form):
            return self.figure("overload", name).text(form)

        return (f"under overload, {runs[0]['connections']:,} connections, {text('offered_share', '{:.1f}')} times as many "
                f"requests as tokens without it: {text('rate', '{:,.0f}')} tokens a second, "
                f"{text('good_share', '{:.2f}')} of those without; p50 {text('p50', '{:,.0f}')} ms and p99 "
                f"{text('p99', '{:,.0f}')} ms of those admitted; {refused} of the requests refused by 503; right after it "
                f"{text('after_share', '{:.2f}')} of the tokens a second before")

    def control(self):
        costs = self.ratio("rate", "control")
        if costs is None:
            return None

        def text(name, form):
            return self.figure("control", name).text(form)

        # Times are the inverse of rates, so this is the time with control by that without.
        return (f"with policies that look at control: {text('rate', '{:,.0f}')} tokens a second, p50 "
                f"{text('p50', '{:,.2f}')} ms, p99 {text('p99', '{:,.2f}')} ms, {text('cpu', '{:,.0f}')} µs of CPU; a "
                f"token takes {costs.text('{:.2f}')} times as long as without")

    def json(self):
        parties = {
            party: {name: Figure(run[name] for run in runs).json() for name in runs[0]}
            for party, runs in self.runs.items()
        }
        compared = [name for name, _, _, is_compared in FIGURES if is_compared]
        ratios = {
            other: {name: ratio.json() for name in compared if (ratio := self.ratio(name, other))}
            for other in ("ceiling", "ceiling_bulk", "control") if other in self.runs
        }
        return {
            "database": self.database.name, "described": self.described, "connections": self.connections,
            "bulk": self.options.bulk, "entries": self.options.entries, **parties, "ratio_to": ratios,
            "faults": self.faults,
        }


def summarize(run):
    text = f"{run['rate']:,.0f} tokens a second, p99 {run['p99']:,.1f} ms, {run['recorded']:,} recorded"
    return f"{text}, {run['errors']:,} errors" if run["errors"] else text


def report(options, results, folder):
    """Prints and writes the tables. Returns the exit code."""
    machine = describe_machine(options, folder)
    for result in results:
        print(f"\n{result.title()}\n{aligned([['', *result.columns()], *result.rows()])}")
        for text in filter(None, (result.overload(), result.control())):
            print(text)
    slow = [text for result in results for text in (result.too_slow(), result.too_slow_with_control()) if text]
    faults = [text for result in results for text in result.faults]
    print(f"\n{described(options, machine)}")
    print("".join(f"not as it should be: {text}\n" for text in faults + ([] if options.no_limits else slow)), end="")
    if options.json:
        kept = {"date": date(), "machine": machine, "options": recorded_options(options), "too_slow": slow,
                "results": [result.json() for result in results]}
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(markdown(options, results, machine))
    return 1 if faults or (slow and not options.no_limits) else 0


def aligned(lines):
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def markdown(options, results, machine):
    parts = [described(options, machine) + "\n"]
    for result in results:
        columns = [result.title(), *result.columns()]
        lines = [columns, ["---"] * len(columns), *result.rows()]
        parts.append("".join(f"| {' | '.join(line)} |\n" for line in lines))
        for text in filter(None, (result.overload(), result.control())):
            parts.append(f"{text[0].upper()}{text[1:]}.\n")
    return "\n".join(parts)


def described(options, machine):
    repeated = f"median of {options.repeat} repetitions (least to most)" if options.repeat > 1 else "one run"
    more = f", {options.grants:,} grants before" if options.grants else ""
    more += f", {options.memory:,} MiB for service and database" if options.memory else ""
    return (f"{date()}, {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
            f"{machine['file_system']}, load average before {machine['load_average']}: {repeated} of {options.seconds} "
            f"s, {options.accounts:,} accounts, {options.ranges:,} ranges{more}, keys of {options.callers:,} callers. "
            "wrk ran on the same cores.")


def recorded_options(options):
    names = ("seconds", "repeat", "accounts", "ranges", "grants", "replicas", "memory", "callers", "quick", "overload", "control")
    return {name: getattr(options, name) for name in names}


def date():
    return time.strftime("%Y-%m-%d", time.gmtime())


def describe_machine(options, folder):
    info = Path("/proc/cpuinfo")
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info.read_text(), re.M) if info.exists() else None
    system = subprocess.run(["stat", "--file-system", "--format", "%T", str(folder)], stdout=subprocess.PIPE, text=True)
    return {
        # Those that this process may use: a container may have fewer than the machine.
        "cores": len(os.sched_getaffinity(0)), "cpu": found[1].strip() if found else platform.machine(),
        "load_average": options.load_average,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "kernel": platform.release(), "file_system": system.stdout.strip() or "unknown file system",
    }
