"""What must be true after an event, and what was measured."""

import time

# How long one request may wait for the database, and what the way to and from it adds.
LONGEST, SLACK = 10, 1
# How much later than the cluster minting may be back; how long readiness may be wrong; how often both are asked.
BEHIND, WRONG, PERIOD = 3, 3, 0.5
# A token that took longer had to wait for the database.
LATE = 1


class Result:
    def __init__(self, event, began, ended):
        self.event, self.began, self.ended = event, began, ended
        self.faults = []
        self.cluster = self.ours = self.changes = self.allowed = 0.0
        self.lost = self.hung = self.certificates = self.untrue = 0
        self.mints = self.requests = 0

    def fault(self, check, text):
        self.faults.append((check, text))


class Interval:
    def __init__(self, began, ended=None):
        self.began, self.ended = began, ended

    def meets(self, began, ended):
        # What has been stopped may need a moment to find out what happened meanwhile.
        return began < (self.ended or float("inf")) + WRONG + 2 and ended > self.began


def check(run, event, began, ended):
    result = Result(event, began, ended)
    operations = list(run.load.operations)
    inside = [one for one in operations if one.attempts and one.attempts[-1][1] >= began and one.first_sent() <= ended]
    check_outage(run, result, inside)
    check_answers(run, result, operations, inside)
    for probe in run.load.probes:
        check_replica(run, result, probe)
    check_tables(run, result)
    return result


def check_outage(run, result, inside):
    began, ended, event = result.began, result.ended, result.event
    result.requests = sum(len(one.attempts) for one in inside)
    result.cluster = longest_gap(run.probe.successes, began, ended)
    result.allowed = max(result.cluster, event.bound) + BEHIND
    minted = acknowledged(inside, ["mint"])
    result.mints = len(minted)
    result.ours = longest_gap(minted, began, ended)
    result.changes = longest_gap(acknowledged(inside, ["port-out", "withdraw"]), began, ended)
    away = f"{result.allowed:.1f} s were allowed, the cluster was away for {result.cluster:.1f} s"
    if result.ours > result.allowed:
        result.fault("minting is back in time", f"no token for {result.ours:.1f} s; {away}")
    if result.changes > result.allowed:
        result.fault("changes are back in time", f"no port-out or withdrawal for {result.changes:.1f} s; {away}")


def acknowledged(operations, kinds):
    """When the answers to these came, through HAProxy."""
    return sorted(at for one in operations if one.kind in kinds and one.port is None and (at := one.acknowledged()))


def longest_gap(times, began, ended):
    times = [began] + sorted(one for one in times if began < one < ended) + [ended]
    return max(after - before for before, after in zip(times, times[1:]))


def check_answers(run, result, operations, inside):
    for one in operations:
        if one.fault:
            result.fault("answers are right", one.fault)
            one.fault = None
    for one in inside:
        check_waits(run, result, f"{one.kind} at {run.name_of(one.port)}", one.port, one.attempts)
        if one.kind == "certificate" and one.status != 200:
            result.certificates += 1
            result.fault("/certs/ never failed", f"through HAProxy: {one.status or one.code}")
    for reader in run.load.readers:
        who = f"a reader of the feed at {run.name_of(reader.port)}"
        check_waits(run, result, who, reader.port, list(reader.attempts))
        while reader.faults:
            result.fault("the feed is whole", reader.faults.pop(0))


def check_waits(run, result, who, port, attempts):
    for sent, received, status, code in attempts:
        waited = received - sent
        if received < result.began or sent > result.ended or waited <= LONGEST + SLACK:
            continue
        if port in run.intervals and run.is_suspended(port, sent, received):
            continue
        result.hung += 1
        answer = f"{status or code or 'no answer'}, from {sent - result.began:.1f} s on"
        result.fault("no request hung", f"{who} waited {waited:.1f} s for {answer}")


def check_replica(run, result, probe):
    replica, began, ended = probe.replica, result.began, result.ended

    def relevant(samples):
        return [
            one for one in list(samples)
            if one.received >= began and one.sent <= ended
            and not run.is_suspended(replica.port, one.sent, one.received)
        ]

    for one in relevant(probe.certificates):
        if one.status != 200:
            result.certificates += 1
            when = f"at {one.sent - began:.1f} s"
            result.fault("/certs/ never failed", f"{replica.name}: {one.status or 'no answer'} {when}")
    ready, minted = relevant(probe.ready), sorted(relevant(probe.minted), key=lambda one: one.sent)
    for is_up, since, until in spells(minted):
        for one in ready:
            said = one.status == 200
            # At the end of such a time, the next answer of a mint may have been different already.
            if said != is_up and since + WRONG + PERIOD < one.sent and one.received < until - PERIOD:
                result.untrue += 1
                what = "could mint" if is_up else "could not mint"
                result.fault(
                    "readiness is true",
                    f"{replica.name} {what} from {since - began:.1f} to {until - began:.1f} s, and answered "
                    f"{one.status or 'nothing'} at {one.sent - began:.1f} s",
                )


def spells(minted):
    """The times in which a replica surely could mint, or surely could not: (could, since, until). Which of both it was
    between the last of one kind and the first of the other is not known, so these times are left out. Nor is it known
    when the first request that failed did so: it may have been sent before there was a reason."""
    found, now = [], []
    for one in [*minted, None]:
        if one and (not now or could_mint(one) == could_mint(now[0])):
            now.append(one)
            continue
        if now and could_mint(now[0]):
            found.append((True, now[0].received, now[-1].sent))
        elif now and could_mint(now[0]) is False:
            since = min(now[0].received, now[1].sent) if len(now) > 1 else now[0].received
            found.append((False, since, now[-1].sent))
        now = [one]
    return found


def could_mint(sample):
    """None if there was a token, and it was late: then readiness may say either."""
    if sample.status == 200 and sample.received - sample.sent >= LATE:
        return None
    return sample.status == 200


def check_tables(run, result):
    """Compares what clients were answered with what the database has now."""
    grants = {one.named for one in list(run.load.operations) if one.kind in ("mint", "probe") and one.named}
    ported = {one.named for one in list(run.load.operations) if one.kind == "port-out" and one.named}
    withdrawn = set(run.load.withdrawn)
    in_table, exclusions, feed = run.tables()
    for kind, lost in (("grant", grants - in_table.keys()), ("port-out", ported - exclusions)):
        for name in lost:
            result.lost += 1
            result.fault("nothing acknowledged is lost", f"{kind} {name} was acknowledged, and is not in the database")
    for jti in withdrawn:
        if jti in in_table and not in_table[jti]:
            result.lost += 1
            result.fault("nothing acknowledged is lost", f"grant {jti} was withdrawn, and is not in the database")
    check_feed(run, result, feed)


def check_feed(run, result, feed):
    if not feed:
        return
    until = time.monotonic() + run.catch_up
    while time.monotonic() < until and any(reader.after < feed[-1][0] for reader in run.load.readers):
        time.sleep(0.2)
    expected = [tuple(row) for row in feed]
    for number, reader in enumerate(run.load.readers):
        read = [one for one in list(reader.entries) if one[0] <= feed[-1][0]]
        if read != expected:
            missing, more = set(expected) - set(read), set(read) - set(expected)
            result.fault(
                "the feed is whole",
                f"reader {number} lacks {len(missing)} of {len(expected)} entries, and has {len(more)} others",
            )
