"""What a live attempt needs: to be sent, sent again, told to stop, given up, or left alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from controller.actions import AttemptAction, Close, Postpone, Redeliver, RequestCancel, Send, TaskKey
from crds.phases import AttemptPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from crds.names import AttemptId

SEND_WITHIN = timedelta(seconds=10)
"""How long a Pending attempt waits before its message is sent again."""
CLAIM_WITHIN = timedelta(seconds=60)
"""How long a Queued attempt waits before somebody looks for its message."""
RECHECK_FIRST = timedelta(minutes=5)
RECHECK_MOST = timedelta(hours=1)
CANCEL_GRACE = timedelta(seconds=30)
"""How long a worker has to stop a cancelled attempt: a heartbeat, SIGTERM, grace, SIGKILL, a report."""
FINISH_GRACE = timedelta(seconds=30)
"""How long after its timeout an attempt may still report; the worker itself stops it in time."""
MOST_DEAD_LETTERS = 3


@dataclass(frozen=True, slots=True)
class LiveAttempt:
    """An attempt that has not ended, as it was seen."""

    id: AttemptId
    key: TaskKey
    pool: str
    phase: AttemptPhase
    delivery: int
    checks: int
    next_check_at: datetime
    queue_by: datetime
    sent_at: datetime | None = None
    cancel_at: datetime | None = None
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class QueueEvidence:
    """What was seen of a pool's queue: since when it is empty, and the newest message that was claimed."""

    empty_since: datetime | None = None
    empty_until: datetime | None = None
    newest_claimed_sent_at: datetime | None = None
    visibility: timedelta = timedelta(minutes=5)
    invoked: bool = False
    """There is no queue: Lambda keeps an invocation for CLAIM_WITHIN, then drops it."""


# Evidence of loss: the queue seen empty twice, this far apart, both after the message was sent.
EMPTY_FOR = timedelta(seconds=60)
EMPTY_AGAIN = timedelta(seconds=2)


def lost(sent_at: datetime, queue: QueueEvidence) -> bool:
    """Tell whether a message that nobody claimed in time is gone, rather than waiting its turn."""
    if queue.invoked:
        return True
    if queue.empty_since is not None and queue.empty_until is not None:
        seen_empty_from = max(queue.empty_since, sent_at)
        if queue.empty_until - seen_empty_from >= EMPTY_FOR:
            return True
    newest = queue.newest_claimed_sent_at
    return newest is not None and newest - sent_at >= 2 * queue.visibility


def check(attempt: LiveAttempt, queue: QueueEvidence, now: datetime, *, cancelled: bool) -> AttemptAction | None:
    """Return what a live attempt needs now, or None."""
    match attempt.phase:
        case AttemptPhase.PENDING | AttemptPhase.QUEUED:
            return _unclaimed(attempt, queue, now, cancelled=cancelled)
        case AttemptPhase.RUNNING:
            return _running(attempt, now, cancelled=cancelled)
        case AttemptPhase.COMMITTED:
            if now < attempt.next_check_at:
                return None
            return Close(attempt.id, attempt.phase, AttemptPhase.SUCCEEDED, Reason.SUCCEEDED)
        case (
            AttemptPhase.SUCCEEDED
            | AttemptPhase.FAILED
            | AttemptPhase.TIMED_OUT
            | AttemptPhase.LOST
            | AttemptPhase.EVICTED
            | AttemptPhase.CANCELLED
            | AttemptPhase.UNDELIVERABLE
        ):
            return None
        case _:
            assert_never(attempt.phase)


def dead_letter(attempt: LiveAttempt, delivery: int, dead_letters: int, open_since: datetime) -> AttemptAction | None:
    """Return what follows when a delivery of an attempt lies in the dead-letter queue.

    A delivery that was claimed, or that a later one replaced, needs nothing: its message was only not deleted in time. One
    that was sent before claims could be answered without a gap is not the attempt's fault, and does not count.
    """
    if attempt.phase not in {AttemptPhase.PENDING, AttemptPhase.QUEUED} or delivery != attempt.delivery:
        return None
    charged = attempt.sent_at is None or attempt.sent_at >= open_since
    strikes = dead_letters + charged
    if strikes > MOST_DEAD_LETTERS:
        message = f"{strikes} deliveries ended in the dead-letter queue without a claim"
        return Close(attempt.id, attempt.phase, AttemptPhase.UNDELIVERABLE, Reason.UNDELIVERABLE, message)
    return Redeliver(attempt.id, attempt.pool, attempt.delivery, Reason.DEAD_LETTER, strikes)


def failed_invocation(
    attempt: LiveAttempt, delivery: int, reason: Reason, text: str, strikes: int
) -> AttemptAction | None:
    """Return what follows when Lambda gives up an invocation of an attempt; `strikes` are those that failed unclaimed.

    An invocation that Lambda never started is repeated without being counted; queueTimeout ends that.
    """
    if delivery != attempt.delivery:
        return None
    match attempt.phase:
        case AttemptPhase.RUNNING if reason is not Reason.THROTTLED:
            return Close(attempt.id, attempt.phase, AttemptPhase.LOST, reason, text)
        case AttemptPhase.PENDING | AttemptPhase.QUEUED:
            strikes += reason is not Reason.THROTTLED
            if strikes > MOST_DEAD_LETTERS:
                message = f"{strikes} invocations ended without a claim; the last: {text}"
                return Close(attempt.id, attempt.phase, AttemptPhase.UNDELIVERABLE, Reason.UNDELIVERABLE, message)
            return Redeliver(attempt.id, attempt.pool, attempt.delivery, reason, strikes)
        case _:
            return None


def _unclaimed(attempt: LiveAttempt, queue: QueueEvidence, now: datetime, *, cancelled: bool) -> AttemptAction | None:
    if cancelled:
        return Close(attempt.id, attempt.phase, AttemptPhase.CANCELLED, Reason.CANCELLED)
    if now >= attempt.queue_by:
        return Close(
            attempt.id,
            attempt.phase,
            AttemptPhase.TIMED_OUT,
            Reason.QUEUE_TIMEOUT,
            "no worker claimed it within its queueTimeout",
            kind="QueueTimeout",
        )
    if now < attempt.next_check_at:
        return None
    if attempt.phase is AttemptPhase.PENDING or attempt.sent_at is None:
        return Send(attempt.id, attempt.pool, attempt.delivery)
    if lost(attempt.sent_at, queue):
        return Redeliver(attempt.id, attempt.pool, attempt.delivery, Reason.DELIVERY_LOST)
    return Postpone(attempt.id, attempt.checks, min(_next_look(attempt, attempt.sent_at, queue, now), attempt.queue_by))


def _next_look(attempt: LiveAttempt, sent_at: datetime, queue: QueueEvidence, now: datetime) -> datetime:
    if queue.empty_since is not None:
        # The queue looks empty: the evidence is complete, or gone, a minute after the first look.
        return max(max(queue.empty_since, sent_at) + EMPTY_FOR, now) + EMPTY_AGAIN
    # Unclaimed is not lost: without evidence a backlog would multiply its own messages.
    doublings = min(attempt.checks, 8)
    return now + min(RECHECK_FIRST * int(2**doublings), RECHECK_MOST)


def _running(attempt: LiveAttempt, now: datetime, *, cancelled: bool) -> AttemptAction | None:
    if attempt.cancel_at is not None and now >= attempt.cancel_at + CANCEL_GRACE:
        message = f"worker {attempt.worker} did not answer within {CANCEL_GRACE.seconds} s"
        return Close(attempt.id, attempt.phase, AttemptPhase.CANCELLED, Reason.CANCELLED, message)
    if cancelled and attempt.cancel_at is None:
        return RequestCancel(attempt.id, now + CANCEL_GRACE)
    if attempt.cancel_at is None and now >= attempt.next_check_at:
        return Close(
            attempt.id,
            attempt.phase,
            AttemptPhase.TIMED_OUT,
            Reason.TIMED_OUT,
            "it ran past its timeout and its worker did not stop it",
            attempt.next_check_at,
            "Timeout",
        )
    return None
