"""Whether a worker gets the attempt that it asks for."""

from __future__ import annotations

import pytest

from controller.diff.claims import Answer, Asked, Claimant, decide
from crds.phases import LIVE_ATTEMPT, AttemptPhase
from crds.reasons import Reason

ME = Claimant("p", "r1", "w1")
A = AttemptPhase


def asked(
    phase: AttemptPhase, request: str | None = None, worker: str | None = None, *, cancelled: bool = False
) -> Asked:
    return Asked(phase, "p", request, worker, cancelled)


@pytest.mark.parametrize(
    ("found", "claimant", "expected"),
    [
        pytest.param(None, ME, Answer("drop", Reason.UNKNOWN), id="unknown"),
        pytest.param(asked(A.QUEUED), Claimant("q", "r1", "w1"), Answer("drop", Reason.WRONG_POOL), id="another pool"),
        pytest.param(asked(A.QUEUED), ME, Answer("grant"), id="queued"),
        pytest.param(asked(A.PENDING), ME, Answer("grant"), id="pending: the message was faster than its record"),
        pytest.param(asked(A.QUEUED, cancelled=True), ME, Answer("drop", Reason.CANCELLED), id="of a cancelled run"),
        pytest.param(
            asked(A.QUEUED),
            Claimant("p", "r1", "w1", drain=True),
            Answer("later", Reason.BUSY),
            id="by a draining worker",
        ),
        pytest.param(asked(A.RUNNING, "r1", "w1"), ME, Answer("again"), id="the same request"),
        pytest.param(
            asked(A.RUNNING, "r1", "w1"),
            Claimant("p", "r1", "w1", drain=True),
            Answer("again"),
            id="even when draining",
        ),
        pytest.param(asked(A.COMMITTED, "r1", "w1"), ME, Answer("again"), id="the same request, committed meanwhile"),
        pytest.param(asked(A.RUNNING, "r2", "w1"), ME, Answer("drop", Reason.ALREADY_CLAIMED), id="another request"),
        pytest.param(asked(A.RUNNING, "r1", "w2"), ME, Answer("drop", Reason.ALREADY_CLAIMED), id="another worker"),
        *(
            pytest.param(asked(phase, "r1", "w1"), ME, Answer("drop", Reason.FINAL), id=f"final: {phase}")
            for phase in sorted(set(A) - LIVE_ATTEMPT)
        ),
    ],
)
def test_decide(found: Asked | None, claimant: Claimant, expected: Answer) -> None:
    assert decide(found, claimant) == expected
