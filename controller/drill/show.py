"""Show what a drill came to: for people, and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

from controller.cli import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from controller.drill.verdict import Counts, Moment, Verdict

_COUNTS = (
    ("tasks of the run", "tasks"),
    ("tasks that were hit", "affected"),
    ("attempts lost", "attempts_lost"),
    ("attempts that ended well anyway", "finished_anyway"),
    ("attempts that took the place of a lost one", "retried"),
    ("tasks lost", "tasks_lost"),
    ("tasks that ended twice", "ended_twice"),
    ("attempts whose code began twice", "started_twice"),
    ("outputs lost", "outputs_lost"),
    ("outputs doubled", "outputs_doubled"),
)


def lines(verdict: Verdict, *, colour: bool) -> Iterator[str]:
    """Yield the verdict as text."""
    yield ""
    moments = [(m.what, _seconds(m), m.told_by) for m in verdict.timeline]
    yield text.table(("WHAT HAPPENED", "AFTER", "TOLD BY"), moments)
    yield ""
    yield text.table(("COUNTED", "NUMBER"), [(what, _number(verdict.counts, name)) for what, name in _COUNTS])
    yield ""
    if verdict.passed:
        yield text.paint(f"passed: nothing was lost (run/{verdict.run})", "green", on=colour)
    for problem in verdict.problems:
        yield text.paint(f"not passed: {problem}", "red", on=colour)


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return the spread of several drills as a table."""
    spreads = [
        ("detection", _spread([v.detection for v in verdicts])),
        ("recovery", _spread([v.recovery for v in verdicts])),
    ]
    rows = [
        (name, _of(spread, "p50"), _of(spread, "max"), f"{spread['measured']} of {len(verdicts)}")
        for name, spread in spreads
    ]
    return text.table(("SECONDS AFTER THE FAULT", "P50", "MAX", "MEASURED"), rows)


def document(verdicts: Sequence[Verdict], environment: str) -> dict[str, Any]:
    """Return everything as JSON."""
    found: dict[str, Any] = {
        "kind": "Drill",
        "fault": str(verdicts[0].fault.kind),
        "environment": environment,
        "passed": all(v.passed for v in verdicts),
        "drills": [_drill(v) for v in verdicts],
    }
    if len(verdicts) > 1:
        found["detection"] = _spread([v.detection for v in verdicts])
        found["recovery"] = _spread([v.recovery for v in verdicts])
    return found


def _drill(verdict: Verdict) -> dict[str, Any]:
    return {
        "run": verdict.run,
        "passed": verdict.passed,
        "faultAt": verdict.fault.at.isoformat(),
        "what": verdict.fault.what,
        "detectionSeconds": verdict.detection,
        "recoverySeconds": verdict.recovery,
        "toldBy": list(verdict.reasons),
        "timeline": [{"what": m.what, "seconds": m.seconds, "toldBy": m.told_by} for m in verdict.timeline],
        "counts": {_camel(name): value for name, value in asdict(verdict.counts).items()},
        "problems": list(verdict.problems),
    }


def _spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    measured = [value for value in values if value is not None]
    if not measured:
        return {"p50": None, "max": None, "measured": 0}
    return {"p50": round(median(measured), 3), "max": max(measured), "measured": len(measured)}


def _of(spread: dict[str, float | int | None], name: str) -> str:
    value = spread[name]
    return "-" if value is None else f"{value:.2f}"


def _seconds(moment: Moment) -> str:
    if moment.seconds is None or math.isnan(moment.seconds):
        return "-"
    return f"{moment.seconds:.2f} s"


def _number(counts: Counts, name: str) -> str:
    value = getattr(counts, name)
    return "not checked" if value is None else str(value)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
