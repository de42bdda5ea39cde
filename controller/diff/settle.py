"""What becomes of a task when one of its attempts has ended: done, tried again, or given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from controller.actions import TaskKey, TaskStep
from controller.runtime.backoff import exponential, jittered
from crds.names import attempt_id
from crds.phases import AttemptPhase, TaskPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from crds.dag import Retries

# Evictions are the platform's doing and cost nothing, until there are so many that something else is wrong.
FREE_EVICTIONS = 20
INFRASTRUCTURE_BACKOFF_FIRST = timedelta(seconds=1)
INFRASTRUCTURE_BACKOFF_MOST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """A task as it was seen, with what it may still spend."""

    key: TaskKey
    phase: TaskPhase
    number: int
    retries: Retries
    user_failures: int = 0
    infrastructure_failures: int = 0
    evictions: int = 0
    cancelled: bool = False
    """Its run is being cancelled, so that nothing is tried again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended; `kind` is the error class that `retries` names."""

    phase: AttemptPhase
    reason: Reason
    message: str = ""
    kind: str = ""


def settle(task: TaskFacts, ended: Ended, now: datetime) -> TaskStep:
    """Return the step that an ended attempt moves its task by."""
    match ended.phase:
        case AttemptPhase.SUCCEEDED:
            return _step(task, TaskPhase.SUCCEEDED, Reason.SUCCEEDED)
        case AttemptPhase.CANCELLED:
            return _step(task, TaskPhase.CANCELLED, ended.reason, ended.message)
        case AttemptPhase.EVICTED:
            return _evicted(task, ended, now)
        case AttemptPhase.LOST | AttemptPhase.UNDELIVERABLE:
            return _infrastructure(task, ended, now)
        case AttemptPhase.FAILED | AttemptPhase.TIMED_OUT:
            return _failed(task, ended, now)
        case AttemptPhase.PENDING | AttemptPhase.QUEUED | AttemptPhase.RUNNING | AttemptPhase.COMMITTED:
            raise ValueError(f"an attempt that is {ended.phase} has not ended")
        case _:
            assert_never(ended.phase)


def retryable(retries: Retries, kind: str) -> bool:
    """Tell whether an error class is worth another try; a class is named in full or by its last part."""
    names = {kind, kind.rpartition(".")[2]}
    if names & set(retries.never):
        return False
    return not retries.only or bool(names & set(retries.only))


def _evicted(task: TaskFacts, ended: Ended, now: datetime) -> TaskStep:
    if task.evictions >= FREE_EVICTIONS:
        return _infrastructure(task, ended, now)
    if task.cancelled:
        return _step(task, TaskPhase.CANCELLED, Reason.CANCELLED, ended.message)
    return _step(task, TaskPhase.READY, ended.reason, ended.message, evictions=task.evictions + 1)


def _infrastructure(task: TaskFacts, ended: Ended, now: datetime) -> TaskStep:
    failures = task.infrastructure_failures + 1
    if task.cancelled:
        return _step(task, TaskPhase.CANCELLED, Reason.CANCELLED, ended.message, infrastructure=failures)
    if failures > task.retries.infrastructure:
        message = (
            f"{failures} attempts were lost to the infrastructure; the last: {ended.reason} {ended.message}".strip()
        )
        return _step(task, TaskPhase.FAILED, Reason.ATTEMPTS_EXHAUSTED, message, infrastructure=failures)
    if failures == 1:
        # The first loss says nothing about the next worker, so nobody waits.
        return _step(task, TaskPhase.READY, ended.reason, ended.message, infrastructure=failures)
    span = exponential(INFRASTRUCTURE_BACKOFF_FIRST, 2.0, INFRASTRUCTURE_BACKOFF_MOST, failures - 1)
    return _backoff(task, ended, span, now, infrastructure=failures)


def _failed(task: TaskFacts, ended: Ended, now: datetime) -> TaskStep:
    failures = task.user_failures + 1
    if task.cancelled:
        return _step(task, TaskPhase.CANCELLED, Reason.CANCELLED, ended.message, user=failures)
    if ended.reason is Reason.ARCHIVED:
        # Nobody's mistake, and no try before the restore can succeed; a person opens it again.
        return _step(task, TaskPhase.FAILED, ended.reason, ended.message)
    if not retryable(task.retries, ended.kind):
        message = f"{ended.kind or ended.reason} is not tried again: {ended.message}"
        return _step(task, TaskPhase.FAILED, ended.reason, message, user=failures)
    if failures > task.retries.limit:
        return _step(task, TaskPhase.FAILED, ended.reason, ended.message, user=failures)
    backoff = task.retries.backoff
    span = exponential(backoff.initial, backoff.factor, backoff.max, failures)
    return _backoff(task, ended, span, now, user=failures)


def _backoff(
    task: TaskFacts,
    ended: Ended,
    span: timedelta,
    now: datetime,
    *,
    user: int | None = None,
    infrastructure: int | None = None,
) -> TaskStep:
    wait = jittered(span, attempt_id(task.key.run, task.key.task, task.key.index, task.number))
    return _step(
        task,
        TaskPhase.BACKOFF,
        ended.reason,
        ended.message,
        user=user,
        infrastructure=infrastructure,
        not_before=now + wait,
    )


def _step(
    task: TaskFacts,
    phase: TaskPhase,
    reason: Reason,
    message: str = "",
    *,
    user: int | None = None,
    infrastructure: int | None = None,
    evictions: int | None = None,
    not_before: datetime | None = None,
) -> TaskStep:
    return TaskStep(
        task.key,
        task.phase,
        phase,
        reason,
        message,
        not_before,
        task.user_failures if user is None else user,
        task.infrastructure_failures if infrastructure is None else infrastructure,
        task.evictions if evictions is None else evictions,
    )
