"""What a run needs: tasks that may start, attempts that are late, and its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from controller.actions import AttemptAction, EndRun, Plan, TaskKey, TaskStep
from controller.diff import attempts as attempt_diff
from controller.diff.attempts import LiveAttempt, QueueEvidence
from controller.diff.rules import Upstream, judge
from crds.phases import RunPhase, TaskPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crds.dag import When
    from crds.names import RunUid

CANCEL_LOOK = timedelta(seconds=1)
# What a cancelled run's tasks leave at once; an Active task ends with its attempt.
CANCELLED_AT_ONCE = (TaskPhase.WAITING, TaskPhase.READY, TaskPhase.BACKOFF)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A waiting task of which an upstream task has just ended."""

    key: TaskKey
    when: When
    upstream: Upstream


@dataclass(frozen=True, slots=True)
class BackedOff:
    """A task that waits for its next try."""

    key: TaskKey
    not_before: datetime
    user_failures: int
    infrastructure_failures: int
    evictions: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How the tasks of a run stand, counted when none is unfinished."""

    failed: tuple[str, ...] = ()
    """Names of some tasks that failed themselves, at most a handful."""
    failures: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class RunView:
    """A run that has not ended, and what can change about it."""

    run: RunUid
    phase: RunPhase
    deadline: datetime
    cancel_reason: Reason | None = None
    candidates: tuple[Candidate, ...] = ()
    backed_off: tuple[BackedOff, ...] = ()
    attempts: tuple[LiveAttempt, ...] = ()
    tally: Tally | None = None
    """None while a task is unfinished."""


def diff(view: RunView, queues: Mapping[str, QueueEvidence], now: datetime) -> Plan:
    """Return the plan that moves a run one step closer to its end."""
    if view.cancel_reason is None and now >= view.deadline:
        return Plan(deadline_exceeded=True, wake_at=now)
    cancelled = view.cancel_reason is not None
    actions = _attempts(view.attempts, queues, now, cancelled=cancelled)

    if cancelled:
        # Until the run has ended it is looked at again and again: an attempt may have been locked by a claim just now.
        end = _end(view)
        return Plan(actions, cancel=CANCELLED_AT_ONCE, end=end, wake_at=None if end else now + CANCEL_LOOK)

    steps = (*_starts(view.candidates), *_due(view.backed_off, now))
    waits = [b.not_before for b in view.backed_off if b.not_before > now]
    return Plan(actions, steps, end=_end(view), wake_at=min([*waits, view.deadline]))


def _attempts(
    attempts: Sequence[LiveAttempt], queues: Mapping[str, QueueEvidence], now: datetime, *, cancelled: bool
) -> tuple[AttemptAction, ...]:
    found = (attempt_diff.check(a, queues.get(a.pool, QueueEvidence()), now, cancelled=cancelled) for a in attempts)
    return tuple(action for action in found if action is not None)


def _starts(candidates: Sequence[Candidate]) -> list[TaskStep]:
    verdicts = [(c.key, judge(c.when, c.upstream)) for c in candidates]
    return [TaskStep(key, TaskPhase.WAITING, v.phase, v.reason) for key, v in verdicts if v is not None]


def _due(backed_off: Sequence[BackedOff], now: datetime) -> list[TaskStep]:
    return [
        TaskStep(
            b.key,
            TaskPhase.BACKOFF,
            TaskPhase.READY,
            user_failures=b.user_failures,
            infrastructure_failures=b.infrastructure_failures,
            evictions=b.evictions,
        )
        for b in backed_off
        if b.not_before <= now
    ]


def _end(view: RunView) -> EndRun | None:
    tally = view.tally
    if tally is None or view.phase is RunPhase.PENDING:
        return None if view.cancel_reason is None or view.phase is not RunPhase.PENDING else _cancelled(view)
    if view.cancel_reason is not None and (tally.cancelled or tally.failures):
        return _cancelled(view)
    if tally.failures:
        names = ", ".join(tally.failed) + (", …" if tally.failures > len(tally.failed) else "")
        return EndRun(view.run, RunPhase.FAILED, Reason.TASK_FAILED, f"{tally.failures} failed: {names}")
    return EndRun(view.run, RunPhase.SUCCEEDED, Reason.SUCCEEDED)


def _cancelled(view: RunView) -> EndRun:
    if view.cancel_reason is Reason.DEADLINE_EXCEEDED:
        return EndRun(view.run, RunPhase.FAILED, Reason.DEADLINE_EXCEEDED, "the run passed its timeout")
    return EndRun(view.run, RunPhase.CANCELLED, view.cancel_reason or Reason.CANCELLED)
