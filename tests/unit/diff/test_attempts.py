"""What a live attempt needs now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.actions import AttemptAction, Close, Postpone, Redeliver, RequestCancel, Send, TaskKey
from controller.diff.attempts import (
    CANCEL_GRACE,
    LiveAttempt,
    QueueEvidence,
    check,
    dead_letter,
    failed_invocation,
    lost,
)
from crds.names import AttemptId, RunUid
from crds.phases import ATTEMPT_TRANSITIONS, AttemptPhase
from crds.reasons import Reason

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
ID = AttemptId("r/t/0/1")
A = AttemptPhase
NOTHING = QueueEvidence()


def attempt(phase: AttemptPhase, due: timedelta = -SECOND, **more: Any) -> LiveAttempt:
    """Return an attempt whose next check is `due` from now (by default a second ago)."""
    made = LiveAttempt(ID, TaskKey(RunUid("r"), "t"), "p", phase, 1, 0, NOW + due, NOW + HOUR, worker="w")
    return replace(made, **more)


def queued(ago: timedelta = 2 * MINUTE, **more: Any) -> LiveAttempt:
    return attempt(A.QUEUED, sent_at=NOW - ago, **more)


def empty(since: timedelta, until: timedelta = timedelta(0)) -> QueueEvidence:
    return QueueEvidence(NOW - since, NOW - until)


@pytest.mark.parametrize(
    ("seen", "queue", "expected"),
    [
        pytest.param(attempt(A.PENDING, SECOND), NOTHING, None, id="pending, being sent"),
        pytest.param(attempt(A.PENDING), NOTHING, Send(ID, "p", 1), id="pending past send_by: again, same delivery"),
        pytest.param(attempt(A.PENDING, delivery=3), NOTHING, Send(ID, "p", 3), id="pending: its own delivery"),
        pytest.param(queued(due=SECOND), empty(HOUR), None, id="queued, not due"),
        pytest.param(
            queued(), NOTHING, Postpone(ID, 0, NOW + 5 * MINUTE), id="queued without evidence: looked at again"
        ),
        pytest.param(queued(checks=2), NOTHING, Postpone(ID, 2, NOW + 20 * MINUTE), id="at doubling intervals"),
        pytest.param(
            queued(checks=50, queue_by=NOW + 9 * HOUR), NOTHING, Postpone(ID, 50, NOW + HOUR), id="of at most an hour"
        ),
        pytest.param(
            queued(checks=9, queue_by=NOW + MINUTE), NOTHING, Postpone(ID, 9, NOW + MINUTE), id="never past queue_by"
        ),
        pytest.param(
            queued(), empty(61 * SECOND), Redeliver(ID, "p", 1, Reason.DELIVERY_LOST), id="queue empty for a minute"
        ),
        pytest.param(
            queued(), empty(30 * SECOND), Postpone(ID, 0, NOW + 32 * SECOND), id="queue empty for half a minute"
        ),
        pytest.param(
            queued(30 * SECOND), empty(HOUR), Postpone(ID, 0, NOW + 32 * SECOND), id="empty since before it was sent"
        ),
        pytest.param(
            queued(HOUR),
            QueueEvidence(newest_claimed_sent_at=NOW - 50 * MINUTE),
            Redeliver(ID, "p", 1, Reason.DELIVERY_LOST),
            id="a much younger message was claimed",
        ),
        pytest.param(
            queued(HOUR),
            QueueEvidence(newest_claimed_sent_at=NOW - 51 * MINUTE),
            Postpone(ID, 0, NOW + 5 * MINUTE),
            id="a somewhat younger message was claimed",
        ),
        pytest.param(
            queued(queue_by=NOW),
            empty(HOUR),
            Close(
                ID,
                A.QUEUED,
                A.TIMED_OUT,
                Reason.QUEUE_TIMEOUT,
                "no worker claimed it within its queueTimeout",
                None,
                "QueueTimeout",
            ),
            id="past its queueTimeout",
        ),
        pytest.param(attempt(A.RUNNING, SECOND), NOTHING, None, id="running within its time"),
        pytest.param(
            attempt(A.RUNNING),
            NOTHING,
            Close(
                ID,
                A.RUNNING,
                A.TIMED_OUT,
                Reason.TIMED_OUT,
                "it ran past its timeout and its worker did not stop it",
                NOW - SECOND,
                "Timeout",
            ),
            id="running past its timeout",
        ),
        pytest.param(attempt(A.COMMITTED, SECOND), NOTHING, None, id="committed, report to come"),
        pytest.param(
            attempt(A.COMMITTED),
            NOTHING,
            Close(ID, A.COMMITTED, A.SUCCEEDED, Reason.SUCCEEDED),
            id="committed, no report",
        ),
    ],
)
def test_check(seen: LiveAttempt, queue: QueueEvidence, expected: AttemptAction | None) -> None:
    assert check(seen, queue, NOW, cancelled=False) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(attempt(A.PENDING, HOUR), Close(ID, A.PENDING, A.CANCELLED, Reason.CANCELLED), id="pending"),
        pytest.param(queued(due=HOUR), Close(ID, A.QUEUED, A.CANCELLED, Reason.CANCELLED), id="queued"),
        pytest.param(attempt(A.RUNNING, HOUR), RequestCancel(ID, NOW + CANCEL_GRACE), id="running: told"),
        pytest.param(attempt(A.RUNNING, HOUR, cancel_at=NOW), None, id="running: told before, within its grace"),
        pytest.param(
            attempt(A.RUNNING, cancel_at=NOW - CANCEL_GRACE),
            Close(ID, A.RUNNING, A.CANCELLED, Reason.CANCELLED, "worker w did not answer within 30 s"),
            id="running: no answer",
        ),
        pytest.param(attempt(A.COMMITTED, HOUR), None, id="committed: durable"),
        pytest.param(
            attempt(A.COMMITTED), Close(ID, A.COMMITTED, A.SUCCEEDED, Reason.SUCCEEDED), id="committed, no report"
        ),
    ],
)
def test_check_of_a_cancelled_run(seen: LiveAttempt, expected: AttemptAction | None) -> None:
    assert check(seen, NOTHING, NOW, cancelled=True) == expected


def test_an_attempt_told_to_stop_is_ended_by_its_grace_even_if_its_run_goes_on() -> None:
    seen = attempt(A.RUNNING, cancel_at=NOW - CANCEL_GRACE)
    assert isinstance(check(seen, NOTHING, NOW, cancelled=False), Close)


@pytest.mark.parametrize("phase", [p for p in A if not ATTEMPT_TRANSITIONS[p]])
def test_what_has_ended_needs_nothing(phase: AttemptPhase) -> None:
    assert check(attempt(phase), NOTHING, NOW, cancelled=True) is None


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("phase", list(A))
def test_every_end_is_a_transition(phase: AttemptPhase, cancelled: bool) -> None:
    for seen in (attempt(phase, queue_by=NOW), attempt(phase, cancel_at=NOW - HOUR), attempt(phase)):
        found = check(seen, NOTHING, NOW, cancelled=cancelled)
        if isinstance(found, Close):
            assert found.seen is phase
            assert found.phase in ATTEMPT_TRANSITIONS[phase]


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        pytest.param(NOTHING, False, id="nothing known"),
        pytest.param(empty(2 * MINUTE, 61 * SECOND), False, id="two looks less than a minute apart"),
        pytest.param(empty(2 * MINUTE, 60 * SECOND), True, id="two looks a minute apart"),
        pytest.param(empty(HOUR, 3 * MINUTE), False, id="both before it was sent"),
        pytest.param(QueueEvidence(newest_claimed_sent_at=NOW + 8 * MINUTE), True, id="two visibilities younger"),
    ],
)
def test_lost(evidence: QueueEvidence, expected: bool) -> None:
    assert lost(NOW - 2 * MINUTE, evidence) is expected


@pytest.mark.parametrize(
    ("seen", "delivery", "strikes", "expected"),
    [
        pytest.param(queued(), 1, 0, Redeliver(ID, "p", 1, Reason.DEAD_LETTER, 1), id="first"),
        pytest.param(queued(), 1, 2, Redeliver(ID, "p", 1, Reason.DEAD_LETTER, 3), id="third"),
        pytest.param(
            queued(),
            1,
            3,
            Close(
                ID,
                A.QUEUED,
                A.UNDELIVERABLE,
                Reason.UNDELIVERABLE,
                "4 deliveries ended in the dead-letter queue without a claim",
            ),
            id="once too often",
        ),
        pytest.param(attempt(A.PENDING), 1, 0, Redeliver(ID, "p", 1, Reason.DEAD_LETTER, 1), id="pending"),
        pytest.param(queued(delivery=2), 1, 0, None, id="an older delivery"),
        pytest.param(attempt(A.RUNNING), 1, 0, None, id="claimed"),
        pytest.param(attempt(A.COMMITTED), 1, 3, None, id="committed"),
    ],
)
def test_dead_letter(seen: LiveAttempt, delivery: int, strikes: int, expected: AttemptAction | None) -> None:
    assert dead_letter(seen, delivery, strikes, NOW - HOUR) == expected


@pytest.mark.parametrize(
    ("seen", "delivery", "reason", "strikes", "expected"),
    [
        pytest.param(
            attempt(A.RUNNING),
            1,
            Reason.OUT_OF_MEMORY,
            0,
            Close(ID, AttemptPhase.RUNNING, AttemptPhase.LOST, Reason.OUT_OF_MEMORY, "why"),
            id="running: lost with its reason",
        ),
        pytest.param(
            attempt(A.RUNNING), 1, Reason.THROTTLED, 0, None, id="running: an expired repetition means nothing"
        ),
        pytest.param(attempt(A.RUNNING), 2, Reason.FUNCTION_FAILED, 0, None, id="another delivery"),
        pytest.param(
            queued(),
            1,
            Reason.THROTTLED,
            3,
            Redeliver(ID, "p", 1, Reason.THROTTLED, 3),
            id="throttled: again, not counted",
        ),
        pytest.param(
            queued(),
            1,
            Reason.FUNCTION_FAILED,
            2,
            Redeliver(ID, "p", 1, Reason.FUNCTION_FAILED, 3),
            id="died unclaimed: again",
        ),
        pytest.param(
            queued(),
            1,
            Reason.FUNCTION_FAILED,
            3,
            Close(
                ID,
                AttemptPhase.QUEUED,
                AttemptPhase.UNDELIVERABLE,
                Reason.UNDELIVERABLE,
                "4 invocations ended without a claim; the last: why",
            ),
            id="died unclaimed too often",
        ),
    ],
)
def test_failed_invocation(
    seen: LiveAttempt, delivery: int, reason: Reason, strikes: int, expected: AttemptAction | None
) -> None:
    assert failed_invocation(seen, delivery, reason, "why", strikes) == expected


def test_an_invocation_that_nobody_claimed_in_time_is_gone() -> None:
    assert lost(NOW, QueueEvidence(invoked=True))
