"""What must be true of a run: what was answered was recorded and nothing else, and next to all requests were answered.
Before each benchmark it is shown on planted faults that this can fail."""

from types import SimpleNamespace

from figures import Result
from machine import Broken

# The share of requests without a good answer with which a run still counts.
MOST_ERRORS = 0.001
KINDS = ("status", "connect", "read", "write", "timeout")
# Under overload there are tokens and 503 and no other answer, and no client waits until it gives up.
FORBIDDEN = ("other", "mismatched", "connect", "read", "write", "timeout")


def faults(run, summary, unanswered, overloaded=False):
    """What is not as it should be. `unanswered`: how many tokens wrk may have left under way at its end."""
    answered, recorded = run["answered"], run["recorded"]
    if not answered:
        yield f"no token was answered: {summary}"
    if not answered <= recorded <= answered + unanswered:
        yield (f"{answered} tokens were answered and {recorded} recorded; at most {unanswered} more can have been "
               "under way at the end")
    if overloaded:
        other = {name: summary[name] for name in FORBIDDEN if summary[name]}
        if other:
            yield f"under overload there were other answers than tokens and 503: {other}"
    elif run["errors"] > MOST_ERRORS * max(1, summary["requests"]):
        kinds = {name: summary[name] for name in KINDS if summary[name]}
        yield f"{run['errors']} of {summary['requests']} requests had no good answer: {kinds}"


def try_checks():
    """A run as it should be passes; with one fault planted it does not."""
    summary = dict.fromkeys(KINDS + FORBIDDEN, 0) | {"requests": 1_000}
    run = {"answered": 1_000, "recorded": 1_010, "errors": 1}
    planted = [
        ("nothing is wrong", {}, {}, False, 0),
        ("nothing is wrong under overload", {}, {"status": 900}, True, 0),
        ("no token", {"answered": 0, "recorded": 0}, {}, False, 1),
        ("a token without a record", {"recorded": 999}, {}, False, 1),
        ("a record too many", {"recorded": 1_065}, {}, False, 1),
        ("too many errors", {"errors": 2}, {"status": 2}, False, 1),
        ("another answer", {}, {"other": 1}, True, 1),
        ("another's token", {}, {"mismatched": 1}, True, 1),
        ("an answer too late", {}, {"timeout": 1}, True, 1),
    ]
    for what, in_run, in_summary, overloaded, expected in planted:
        found = list(faults(run | in_run, summary | in_summary, 64, overloaded))
        if len(found) != expected:
            raise Broken(f"the checks themselves are wrong: with {what} they found {found or 'nothing'}")
    for bulk, share, expected in [(None, 0.46, False), (None, 0.44, True), (1_000, 0.68, False), (1_000, 0.67, True)]:
        options = SimpleNamespace(replicas=1, bulk=bulk, entries=1)
        result = Result(SimpleNamespace(title="planted", describe=str), 64, options)
        result.runs = {"service": [{"rate": share * 100}] * 3, "ceiling": [{"rate": 100}] * 3}
        if bool(result.too_slow()) != expected:
            raise Broken(f"the checks themselves are wrong: a ratio of {share} was judged as {result.too_slow()}")
