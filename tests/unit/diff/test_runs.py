"""What a run needs now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.actions import Close, EndRun, Plan, RequestCancel, TaskKey, TaskStep
from controller.diff.attempts import CANCEL_GRACE, LiveAttempt
from controller.diff.rules import Upstream
from controller.diff.runs import CANCEL_LOOK, CANCELLED_AT_ONCE, BackedOff, Candidate, RunView, Tally, diff
from crds.dag import When
from crds.names import AttemptId, RunUid
from crds.phases import RUN_TRANSITIONS, AttemptPhase, RunPhase, TaskPhase
from crds.reasons import Reason

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
RUN = RunUid("r")
R, T, A = RunPhase, TaskPhase, AttemptPhase
DEADLINE = NOW + HOUR


def key(task: str) -> TaskKey:
    return TaskKey(RUN, task)


def view(phase: RunPhase = R.RUNNING, deadline: datetime = DEADLINE, **more: Any) -> RunView:
    return RunView(RUN, phase, deadline, **more)


def live(phase: AttemptPhase, due: timedelta = HOUR) -> LiveAttempt:
    return LiveAttempt(AttemptId("r/a/0/1"), key("a"), "p", phase, 1, 0, NOW + due, NOW + HOUR)


def candidate(name: str, upstream: Upstream, when: When = When.ALL_SUCCESS) -> Candidate:
    return Candidate(key(name), when, upstream)


def backed_off(due: timedelta) -> BackedOff:
    return BackedOff(key("b"), NOW + due, 2, 1, 3)


CANCEL = Reason.CANCELLED


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(view(), Plan(wake_at=DEADLINE), id="nothing to do until its deadline"),
        pytest.param(view(deadline=NOW), Plan(deadline_exceeded=True, wake_at=NOW), id="past its deadline"),
        pytest.param(
            view(candidates=(candidate("a", Upstream(0, 2)), candidate("b", Upstream(1)))),
            Plan(tasks=(TaskStep(key("a"), T.WAITING, T.READY, Reason.READY),), wake_at=DEADLINE),
            id="starts what may start",
        ),
        pytest.param(
            view(candidates=(candidate("a", Upstream(0, 0, 1)),)),
            Plan(tasks=(TaskStep(key("a"), T.WAITING, T.UPSTREAM_FAILED, Reason.UPSTREAM_FAILED),), wake_at=DEADLINE),
            id="fails what cannot start",
        ),
        pytest.param(
            view(backed_off=(backed_off(timedelta(0)),)),
            Plan(
                tasks=(
                    TaskStep(
                        key("b"),
                        T.BACKOFF,
                        T.READY,
                        user_failures=2,
                        infrastructure_failures=1,
                        evictions=3,
                    ),
                ),
                wake_at=DEADLINE,
            ),
            id="tries again what has waited, its budgets kept",
        ),
        pytest.param(view(backed_off=(backed_off(SECOND),)), Plan(wake_at=NOW + SECOND), id="waits for a backoff"),
        pytest.param(
            view(tally=Tally()),
            Plan(end=EndRun(RUN, R.SUCCEEDED, Reason.SUCCEEDED), wake_at=DEADLINE),
            id="ends as succeeded",
        ),
        pytest.param(
            view(tally=Tally(("a", "b"), 2)),
            Plan(end=EndRun(RUN, R.FAILED, Reason.TASK_FAILED, "2 failed: a, b"), wake_at=DEADLINE),
            id="ends as failed and names the tasks",
        ),
        pytest.param(
            view(tally=Tally(("a",), 9)),
            Plan(end=EndRun(RUN, R.FAILED, Reason.TASK_FAILED, "9 failed: a, …"), wake_at=DEADLINE),
            id="names a handful",
        ),
        pytest.param(
            view(R.PENDING, cancel_reason=CANCEL),
            Plan(cancel=CANCELLED_AT_ONCE, end=EndRun(RUN, R.CANCELLED, CANCEL)),
            id="cancelled before it started",
        ),
        pytest.param(
            view(cancel_reason=CANCEL, attempts=(live(A.QUEUED),)),
            Plan(
                (Close(AttemptId("r/a/0/1"), A.QUEUED, A.CANCELLED, CANCEL),),
                cancel=CANCELLED_AT_ONCE,
                wake_at=NOW + CANCEL_LOOK,
            ),
            id="cancelled: unclaimed attempts end",
        ),
        pytest.param(
            view(cancel_reason=CANCEL, attempts=(live(A.RUNNING),)),
            Plan(
                (RequestCancel(AttemptId("r/a/0/1"), NOW + CANCEL_GRACE),),
                cancel=CANCELLED_AT_ONCE,
                wake_at=NOW + CANCEL_LOOK,
            ),
            id="cancelled: running attempts are told",
        ),
        pytest.param(
            view(cancel_reason=CANCEL, tally=Tally(cancelled=1)),
            Plan(cancel=CANCELLED_AT_ONCE, end=EndRun(RUN, R.CANCELLED, CANCEL)),
            id="cancelled and over",
        ),
        pytest.param(
            view(cancel_reason=CANCEL, tally=Tally()),
            Plan(cancel=CANCELLED_AT_ONCE, end=EndRun(RUN, R.SUCCEEDED, Reason.SUCCEEDED)),
            id="cancelled too late: everything had succeeded",
        ),
        pytest.param(
            view(deadline=NOW, cancel_reason=Reason.DEADLINE_EXCEEDED, tally=Tally(cancelled=1)),
            Plan(
                cancel=CANCELLED_AT_ONCE,
                end=EndRun(RUN, R.FAILED, Reason.DEADLINE_EXCEEDED, "the run passed its timeout"),
            ),
            id="past its deadline and over",
        ),
    ],
)
def test_diff(seen: RunView, expected: Plan) -> None:
    assert diff(seen, {}, NOW) == expected
    if expected.end is not None:
        assert expected.end.phase in RUN_TRANSITIONS[seen.phase]


def test_a_cancelled_run_starts_nothing() -> None:
    seen = view(
        cancel_reason=CANCEL,
        candidates=(candidate("a", Upstream(0, 1)),),
        backed_off=(backed_off(timedelta(0)),),
    )
    assert diff(seen, {}, NOW).tasks == ()
