"""Shows before each run that every check can fail: a run that is as it should be passes, and with one fault planted the
check of that fault fails, and no other."""

from types import SimpleNamespace

import checks
from checks import Interval, check
from events import EVENTS
from load import Operation
from machine import Broken
from probes import Sample
from report import CHECKS

BEGAN, ENDED = 1000.0, 1060.0


def ideal():
    """Sixty seconds in which nothing failed, with a replica that was stopped for some of them."""
    operations, grants = [], {}
    for second in range(60):
        mint = operation("mint", BEGAN + second, 200, named=f"jti-{second}")
        grants[mint.named] = second < 10
        operations += [mint, operation("certificate", BEGAN + second, 200)]
        operations.append(operation("port-out", BEGAN + second, 201, named="exclusion"))
    feed = [(second + 1, f"jti-{second}") for second in range(10)]
    replica = SimpleNamespace(name="replica1", port=1)
    times = [BEGAN + tick / 4 for tick in range(240)]
    probe = SimpleNamespace(
        replica=replica, ready=[Sample(at, at + 0.01, None if 30 < at - BEGAN < 40 else 200) for at in times],
        minted=[Sample(at, at + 0.02, None if 30 < at - BEGAN < 40 else 200) for at in times],
        certificates=[Sample(at, at + 0.01, None if 30 < at - BEGAN < 40 else 200) for at in times],
    )
    reader = SimpleNamespace(port=2, after=10, entries=list(feed), faults=[], attempts=[(BEGAN, BEGAN + 1, 200, None)])
    stopped = {1: [Interval(BEGAN + 30, BEGAN + 40)]}
    return SimpleNamespace(
        load=SimpleNamespace(
            operations=operations, probes=[probe], readers=[reader],
            withdrawn={f"jti-{number}": BEGAN for number in range(10)},
        ),
        probe=SimpleNamespace(successes=[BEGAN + tick / 10 for tick in range(600)]),
        tables=lambda: (grants, {"exclusion"}, feed), grants=grants, feed=feed, intervals=stopped, catch_up=0,
        name_of=str,
        is_suspended=lambda port, began, ended: any(one.meets(began, ended) for one in stopped.get(port, [])),
    )


def operation(kind, at, status, named=None, waited=0.05):
    made = Operation(kind)
    made.attempts, made.status, made.named = [(at, at + waited, status, None)], status, named
    return made


def late(run):
    leave_out(run, "mint")


def late_changes(run):
    leave_out(run, "port-out")


def leave_out(run, kind):
    """Two seconds longer than is allowed."""
    until = 15 + EVENTS[0].bound + checks.BEHIND + 2
    run.load.operations = [
        one for one in run.load.operations if one.kind != kind or not 15 < one.first_sent() - BEGAN < until
    ]


def lost(run):
    del run.grants["jti-30"]


def lost_port_out(run):
    run.load.operations.append(operation("port-out", BEGAN + 30, 201, named="another"))


def active_again(run):
    run.grants["jti-3"] = False


def wrong_answer(run):
    run.load.operations[0].fault = "wrong"


def missed_entry(run):
    del run.load.readers[0].entries[4]


def repeated_entry(run):
    run.load.readers[0].entries.insert(4, run.feed[4])


def hung(run):
    run.load.operations.append(operation("withdraw", BEGAN + 5, 503, waited=11.5))


def hung_reader(run):
    run.load.readers[0].attempts.append((BEGAN, BEGAN + 12, None, None))


def no_certificate(run):
    run.load.operations.append(operation("certificate", BEGAN + 5, 502))


def no_certificate_at_replica(run):
    run.load.probes[0].certificates[20].status = None


def says_ready(run):
    """From 10 s on, for longer than readiness may be wrong. There are four samples a second."""
    for one in run.load.probes[0].minted[40:40 + 4 * (checks.WRONG + 2)]:
        one.status = 503


def says_unready(run):
    run.load.probes[0].ready[50].status = 503


PLANTED = {
    "minting is back in time": [late],
    "changes are back in time": [late_changes],
    "nothing acknowledged is lost": [lost, lost_port_out, active_again],
    "answers are right": [wrong_answer],
    "the feed is whole": [missed_entry, repeated_entry],
    "no request hung": [hung, hung_reader],
    "/certs/ never failed": [no_certificate, no_certificate_at_replica],
    "readiness is true": [says_ready, says_unready],
}


def try_checks():
    event = EVENTS[0]
    if (found := check(ideal(), event, BEGAN, ENDED).faults):
        raise Broken(f"the checks find a fault where there is none: {found[0]}")
    for name in CHECKS:
        for plant in PLANTED[name]:
            plant(run := ideal())
            if (found := {check for check, _ in check(run, event, BEGAN, ENDED).faults}) != {name}:
                raise Broken(f"planted: {plant.__name__}; the checks that failed are: {found or 'none'}")
