"""What a worker's report does to its attempt."""

from __future__ import annotations

from typing import Any

import pytest

from controller.diff.reports import Reported, Verdict, judge
from controller.diff.settle import Ended
from crds.names import AttemptId
from crds.phases import ATTEMPT_TRANSITIONS, LIVE_ATTEMPT, AttemptPhase
from crds.protocol import Report, TaskError
from crds.reasons import Reason

A, R = AttemptPhase, Reason
OUTCOMES = ("succeeded", "failed", "timedOut", "evicted", "cancelled", "lost")


def report(outcome: Any, reason: str = "", kind: str = "", message: str = "") -> Report:
    error = TaskError(reason, kind, message) if reason or kind or message else None
    return Report(attempt=AttemptId("r/t/0/1"), token="t", outcome=outcome, error=error)


def found(phase: AttemptPhase, *, fits: bool = True, reported: bool = False, cancelling: bool = False) -> Reported:
    return Reported(phase, fits, reported, cancelling)


RUNNING = found(A.RUNNING)


@pytest.mark.parametrize(
    ("seen", "told", "expected"),
    [
        pytest.param(RUNNING, report("succeeded"), Ended(A.SUCCEEDED, R.SUCCEEDED), id="success"),
        pytest.param(
            RUNNING,
            report("failed", "UserError", "ValueError", "no"),
            Ended(A.FAILED, R.USER_ERROR, "no", "ValueError"),
            id="failure",
        ),
        pytest.param(
            RUNNING,
            report("failed", "OutOfMemory"),
            Ended(A.FAILED, R.OUT_OF_MEMORY),
            id="failure with a reason of ours",
        ),
        pytest.param(RUNNING, report("failed", "Nonsense"), Ended(A.FAILED, R.USER_ERROR), id="with an unknown reason"),
        pytest.param(RUNNING, report("failed"), Ended(A.FAILED, R.USER_ERROR), id="without an error"),
        pytest.param(RUNNING, report("timedOut"), Ended(A.TIMED_OUT, R.TIMED_OUT, "", "Timeout"), id="timeout"),
        pytest.param(RUNNING, report("evicted"), Ended(A.EVICTED, R.EVICTED), id="eviction"),
        pytest.param(RUNNING, report("cancelled"), Ended(A.CANCELLED, R.CANCELLED), id="cancelled"),
        pytest.param(RUNNING, report("lost"), Ended(A.LOST, R.CHILD_DIED), id="the child died"),
        pytest.param(
            found(A.RUNNING, cancelling=True),
            report("lost"),
            Ended(A.CANCELLED, R.CANCELLED),
            id="it died of the cancel",
        ),
        pytest.param(
            found(A.RUNNING, cancelling=True),
            report("succeeded"),
            Ended(A.SUCCEEDED, R.SUCCEEDED),
            id="it was faster than the cancel",
        ),
        *(
            pytest.param(found(A.COMMITTED), report(o), Ended(A.SUCCEEDED, R.SUCCEEDED), id=f"committed, {o}")
            for o in OUTCOMES
        ),
        pytest.param(None, report("succeeded"), "stale", id="unknown"),
        pytest.param(found(A.RUNNING, fits=False), report("succeeded"), "stale", id="another token"),
        pytest.param(found(A.SUCCEEDED, fits=False, reported=True), report("succeeded"), "stale", id="and ended"),
        pytest.param(found(A.QUEUED), report("succeeded"), "stale", id="not claimed"),
        *(
            pytest.param(found(phase, reported=True), report("succeeded"), "recorded", id=f"repeated, {phase}")
            for phase in sorted(set(A) - LIVE_ATTEMPT)
        ),
        pytest.param(found(A.SUCCEEDED), report("succeeded"), "recorded", id="ended by its commit before"),
        pytest.param(found(A.LOST), report("succeeded"), "stale", id="given up before"),
        pytest.param(found(A.TIMED_OUT), report("succeeded"), "stale", id="timed out before"),
    ],
)
def test_judge(seen: Reported | None, told: Report, expected: Verdict) -> None:
    assert judge(seen, told) == expected
    if seen is not None and isinstance(expected, Ended):
        assert expected.phase in ATTEMPT_TRANSITIONS[seen.phase]
