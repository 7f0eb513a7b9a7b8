"""What was measured: medians and spreads, ratios, and what they have to reach; as text, Markdown and JSON."""

import json
import os
import platform
import re
import statistics
import subprocess
import time
from pathlib import Path

# The least share of the ceiling's tokens a second: of single requests, and in bulk. A tenth less is still accepted, since
# no two runs are alike.
WANTED = {"single": 0.50, "bulk": 0.75}
TOLERANCE = 0.10

# Name in JSON, title, form, and whether the ratio says anything.
FIGURES = [
    ("rate", "tokens a second", "{:,.0f}", True),
    ("p50", "p50, ms", "{:,.2f}", True),
    ("p99", "p99, ms", "{:,.2f}", True),
    ("cpu", "CPU a token, µs", "{:,.0f}", True),
    ("database_cpu", "the same, of the database, µs", "{:,.0f}", True),
    ("rows_per_commit", "tokens a commit", "{:,.1f}", False),
    ("tokens_per_database_commit", "the same, as PostgreSQL counts", "{:,.1f}", False),
    ("rows_inserted", "rows a token, as PostgreSQL counts", "{:,.2f}", False),
    ("memory", "memory (RssAnon), MiB", "{:,.0f}", False),
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

    def ratio(self, name):
        """Of each repetition by itself: both of its runs met the same machine."""
        pairs = zip(self.runs["service"], self.runs.get("ceiling", []))
        ratios = [service[name] / ceiling[name] for service, ceiling in pairs if ceiling.get(name)]
        return Figure(ratios) if ratios and all(name in run for run in self.runs["service"]) else None

    def too_slow(self):
        """Whether the ratio is lower than it may be. Only lists of one number have a limit."""
        ratio = self.ratio("rate")
        wanted = WANTED["bulk" if self.options.bulk else "single"]
        if ratio is None or self.options.entries > 1 or ratio.median >= wanted * (1 - TOLERANCE):
            return None
        return f"{self.title()}: {ratio.median:.2f} of the ceiling's tokens a second; wanted are {wanted:.2f}"

    def title(self):
        options = self.options
        bulk = f", {options.bulk} tokens a request" if options.bulk else ""
        entries = f"{options.entries} numbers" if options.entries > 1 else "one number"
        plural = "s" if self.connections > 1 else ""
        return f"{self.database.title}, {self.connections} connection{plural}{bulk}, {entries} a token"

    def rows(self):
        for name, title, form, compared in FIGURES:
            service, ceiling = self.figure("service", name), self.figure("ceiling", name)
            if service:
                ratio = self.ratio(name) if compared else None
                unit = UNITS.get(name, 1)
                yield [title, service.text(form, unit), ceiling.text(form, unit) if ceiling else "",
                       ratio.text("{:.2f}") if ratio else ""]

    def overload(self):
        if not self.runs.get("overload"):
            return None
        figures = {name: self.figure("overload", name) for name in ("connections", "rate", "good_share", "p50", "p99")}
        refused = Figure(run["errors"] / run["requests"] for run in self.runs["overload"])
        return (f"overload, {figures['connections'].median:,.0f} connections: {figures['rate'].text('{:,.0f}')} tokens a "
                f"second, {figures['good_share'].text('{:.2f}')} of those without; p50 {figures['p50'].text('{:,.0f}')} ms "
                f"and p99 {figures['p99'].text('{:,.0f}')} ms of those admitted; {refused.text('{:.0%}')} of the requests "
                "refused by 503")

    def json(self):
        parties = {
            party: {name: Figure(run[name] for run in runs).json() for name in runs[0]}
            for party, runs in self.runs.items()
        }
        ratios = {name: ratio.json() for name, _, _, compared in FIGURES if compared and (ratio := self.ratio(name))}
        return {
            "database": self.database.name, "described": self.described, "connections": self.connections,
            "bulk": self.options.bulk, "entries": self.options.entries, **parties, "ratio": ratios, "faults": self.faults,
        }


def summarize(run):
    text = f"{run['rate']:,.0f} tokens a second, p99 {run['p99']:,.1f} ms, {run['recorded']:,} recorded"
    return f"{text}, {run['errors']:,} errors" if run["errors"] else text


def report(options, results, folder):
    """Prints and writes the tables. Returns the exit code."""
    machine = describe_machine(folder)
    for result in results:
        print(f"\n{result.title()}\n{aligned([['', *parties(result)], *result.rows()])}")
        if text := result.overload():
            print(text)
    slow = [text for result in results if (text := result.too_slow())]
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


def parties(result):
    return ["service", *(["ceiling", "ratio"] if "ceiling" in result.runs else [])]


def aligned(lines):
    columns = max(map(len, lines))
    lines = [line + [""] * (columns - len(line)) for line in lines]
    widths = [max(len(line[column]) for line in lines) for column in range(columns)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def markdown(options, results, machine):
    parts = [described(options, machine) + "\n"]
    for result in results:
        columns = [result.title(), *parties(result)]
        lines = [columns, ["---"] * len(columns), *(row[:len(columns)] for row in result.rows())]
        parts.append("".join(f"| {' | '.join(line)} |\n" for line in lines))
        if text := result.overload():
            parts.append(f"Under {text}.\n")
    return "\n".join(parts)


def described(options, machine):
    repeated = f"median of {options.repeat} repetitions (least to most)" if options.repeat > 1 else "one run"
    return (f"{date()}, {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
            f"{machine['file_system']}: {repeated} of {options.seconds} s, {options.accounts:,} accounts, "
            f"{options.ranges:,} ranges, keys of {options.callers:,} callers. wrk ran on the same cores.")


def recorded_options(options):
    names = ("seconds", "repeat", "accounts", "ranges", "callers", "quick", "overload")
    return {name: getattr(options, name) for name in names}


def date():
    return time.strftime("%Y-%m-%d", time.gmtime())


def describe_machine(folder):
    info = Path("/proc/cpuinfo")
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info.read_text(), re.M) if info.exists() else None
    system = subprocess.run(["stat", "--file-system", "--format", "%T", str(folder)], stdout=subprocess.PIPE, text=True)
    return {
        # Those that this process may use: a container may have fewer than the machine.
        "cores": len(os.sched_getaffinity(0)), "cpu": found[1].strip() if found else platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "kernel": platform.release(), "file_system": system.stdout.strip() or "unknown file system",
    }
