"""The table at the end, for the terminal and as Markdown."""

import time

COLUMNS = [
    "event", "cluster", "tokens", "changes", "allowed", "issued", "lost", "hung", "/certs/", "readiness", "result",
]
CHECKS = [
    "minting is back in time", "changes are back in time", "nothing acknowledged is lost", "answers are right",
    "the feed is whole", "no request hung", "/certs/ never failed", "readiness is true",
]
# An answer that took longer is called late in the timeline, in seconds.
LATE = 3
# Of each check, in the list of faults.
MOST_SHOWN = 3


def rows(results):
    return [
        [
            one.event.title, *(f"{seconds:.1f} s" for seconds in (one.cluster, one.ours, one.changes, one.allowed)),
            *map(str, (one.mints, one.lost, one.hung, one.certificates, one.untrue)),
            "failed" if one.faults else "passed",
        ]
        for one in results
    ]


def table(results):
    lines = [COLUMNS, *rows(results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def faults(results):
    """The faults of each event, by check: how many, and the first of them."""
    lines = []
    for one in results:
        for check in CHECKS:
            found = [text for name, text in one.faults if name == check]
            if found:
                lines.append(f"{one.event.name}: not true: {check} ({len(found)} times)")
                lines += [f"    {text}" for text in found[:MOST_SHOWN]]
    return "\n".join(lines)


def markdown(results, command, rate):
    line = "| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS) + "\n"
    body = "".join("| " + " | ".join(row) + " |\n" for row in rows(results))
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{date}, `{command}`, {rate} requests a second:\n\n{line}{body}"


def timeline(results, probes, cluster):
    """What each replica answered, and when that changed, in seconds since the event began: for whoever looks for the
    cause of a fault."""
    lines = []
    for one in results:
        lines.append(f"{one.event.name}, for {one.ended - one.began:.1f} s")
        lines.append(f"  database: {spells_of([(at, at, 'done') for at in cluster], one)}")
        for probe in probes:
            for name in ("ready", "minted", "certificates"):
                samples = [(item.sent, item.received, label(item)) for item in list(getattr(probe, name))]
                lines.append(f"  {probe.replica.name} {name}: {spells_of(sorted(samples), one)}")
    return "\n".join(lines) + "\n"


def label(sample):
    late = " late" if sample.received - sample.sent > LATE else ""
    return f"{sample.status or 'nothing'}{late}"


def spells_of(samples, result):
    """Such as `200 0.1-5.2, 503 5.4-21.0`: when the first and the last of equal answers was asked for. A pause of more
    than a second ends a spell, too."""
    spells = []
    for sent, received, status in samples:
        if received < result.began or sent > result.ended:
            continue
        if spells and spells[-1][0] == status and sent - spells[-1][2] < 1:
            spells[-1][2] = sent
        else:
            spells.append([status, sent, sent])
    began = result.began
    return ", ".join(f"{status} {first - began:.1f}-{last - began:.1f}" for status, first, last in spells)
