"""What is, is not, or may be so of each object, and why: computed when read, never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from crds.meta import Condition, ConditionStatus
from crds.phases import FINAL_RUN, FINAL_TASK, AttemptPhase, RunPhase, TaskPhase
from crds.pool import Runtime
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from controller.observed import (
        ObservedAttempt,
        ObservedDag,
        ObservedDataset,
        ObservedNotifier,
        ObservedPool,
        ObservedRun,
        ObservedTask,
        Stored,
    )

Conditions = tuple[Condition, ...]

TRUE = ConditionStatus.TRUE
FALSE = ConditionStatus.FALSE
UNKNOWN = ConditionStatus.UNKNOWN

# A task goes through these in order; what it waits for is the first that does not hold.
_STAGES = (
    ("UpstreamReady", Reason.READY),
    ("Admitted", Reason.ADMITTED),
    ("Queued", Reason.QUEUED),
    ("Claimed", Reason.CLAIMED),
    ("Running", Reason.RUNNING),
)
_UPSTREAM_READY, _ADMITTED, _QUEUED, _CLAIMED, _RUNNING = range(len(_STAGES))
# The most names that a message lists.
_SHOWN = 5


def dag(stored: Stored, seen: ObservedDag) -> Conditions:
    """Return Ready, Valid, Synced and Scheduled of a Dag."""
    generation = stored.generation
    valid = Condition(type="Valid", status=TRUE, reason=Reason.VALID, observed_generation=generation)
    synced = _synced(stored, seen)
    scheduled = _scheduled(stored, seen)
    if stored.terminating:
        return _terminating(stored), valid, synced, scheduled
    if synced.status is not TRUE:
        reason, message = synced.reason, synced.message
    else:
        reason, message = Reason.READY.value, ""
    ready = Condition(
        type="Ready", status=synced.status, reason=reason, message=message, observed_generation=generation
    )
    return ready, valid, synced, scheduled


def run(seen: ObservedRun) -> Conditions:
    """Return Succeeded, Admitted, Progressing and Stalled of a DagRun."""
    generation = seen.generation
    waits, why = _run_waits(seen)
    moving = seen.phase is RunPhase.RUNNING and waits is None
    current = (waits or Reason.PROGRESSING).value
    if seen.phase in FINAL_RUN:
        current, why = seen.reason or seen.phase.value, seen.message or ""
    succeeded = {RunPhase.SUCCEEDED: TRUE, RunPhase.FAILED: FALSE, RunPhase.CANCELLED: FALSE}.get(seen.phase, UNKNOWN)
    admitted = TRUE if seen.started_at else FALSE
    stalled = seen.phase not in FINAL_RUN and waits is not None
    return (
        _condition("Succeeded", succeeded, current, why, generation, seen.ended_at),
        _condition(
            "Admitted",
            admitted,
            Reason.ADMITTED if admitted is TRUE else current,
            "" if admitted is TRUE else why,
            generation,
            seen.started_at,
        ),
        _condition("Progressing", TRUE if moving else FALSE, current, why, generation),
        _condition("Stalled", TRUE if stalled else FALSE, current, why, generation),
    )


def task(seen: ObservedTask) -> Conditions:
    """Return Succeeded and the five stages that a TaskRun goes through."""
    if seen.phase in FINAL_TASK:
        return _ended(seen)
    reached, reason, message = _stage(seen)
    times = _times(seen)
    stages = [
        _condition(name, TRUE, done, "", seen.generation, times[n])
        if n < reached
        else _condition(name, FALSE, reason, message, seen.generation)
        for n, (name, done) in enumerate(_STAGES)
    ]
    return (_condition("Succeeded", UNKNOWN, reason, message, seen.generation), *stages)


def pool(stored: Stored, seen: ObservedPool) -> Conditions:
    """Return Ready of a WorkerPool."""
    if stored.terminating:
        return (_terminating(stored),)
    status, reason, message = _pool_ready(stored, seen)
    return (_condition("Ready", status, reason, message, stored.generation),)


def dataset(stored: Stored, seen: ObservedDataset | None, freshness: Condition | None = None) -> Conditions:
    """Return Ready of a Dataset: its table or manifest exists since it was applied; and Fresh, if it declares that."""
    if stored.terminating:
        return (_terminating(stored),)
    status, message = (TRUE, "") if seen is not None else (UNKNOWN, "nothing is recorded of it; apply it again")
    reason = Reason.READY if seen is not None else Reason.UNKNOWN
    ready = _condition("Ready", status, reason, message, stored.generation)
    return (ready, freshness) if freshness is not None else (ready,)


def fresh(stored: Stored, until: datetime, now: datetime) -> Condition:
    """Return Fresh of a Dataset that declares how old it may grow."""
    if now <= until:
        return _condition("Fresh", TRUE, Reason.FRESH, f"until {until:%Y-%m-%dT%H:%M:%SZ}", stored.generation)
    message = f"no task has committed to it in time, which was {until:%Y-%m-%dT%H:%M:%SZ}"
    return _condition("Fresh", FALSE, Reason.STALE, message, stored.generation, until)


def notifier(stored: Stored, seen: ObservedNotifier) -> Conditions:
    """Return Ready of a Notifier: its secret is there, and the last message went out."""
    if stored.terminating:
        return (_terminating(stored),)
    if seen.failures and seen.reason is not None:
        return (_condition("Ready", FALSE, Reason(seen.reason), seen.error or "", stored.generation, seen.error_at),)
    if seen.generation != stored.generation:
        text = "the controller has not looked at it since it was applied"
        return (_condition("Ready", UNKNOWN, Reason.UNKNOWN, text, stored.generation),)
    return (_condition("Ready", TRUE, Reason.READY, "", stored.generation),)


def _terminating(stored: Stored) -> Condition:
    """Return Ready of what is being deleted."""
    waits = f"it waits for {', '.join(stored.finalizers)}" if stored.finalizers else ""
    return _condition("Ready", FALSE, Reason.TERMINATING, waits, stored.generation, stored.deleted_at)


def _condition(
    type_: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    generation: int,
    since: datetime | None = None,
) -> Condition:
    return Condition(
        type=type_,
        status=status,
        reason=str(reason),
        message=message,
        observed_generation=generation,
        last_transition_time=since,
    )


def _synced(stored: Stored, seen: ObservedDag) -> Condition:
    generation = stored.generation
    failure = seen.observation.status.get("error") if seen.observation else None
    if failure:
        return _condition("Synced", FALSE, Reason.RECONCILE_FAILED, str(failure), generation)
    if seen.revision != generation:
        message = f"revision {generation} is not recorded yet; the newest is {seen.revision}"
        return _condition("Synced", FALSE, Reason.PROGRESSING, message, generation)
    return _condition("Synced", TRUE, Reason.SYNCED, f"revision {generation}", generation)


def _scheduled(stored: Stored, seen: ObservedDag) -> Condition:
    if stored.spec.get("suspend"):
        return _condition("Scheduled", FALSE, Reason.SUSPENDED, "no run is created or admitted", stored.generation)
    if not stored.spec.get("schedules"):
        return _condition("Scheduled", FALSE, Reason.NO_SCHEDULE, "runs are triggered by hand", stored.generation)
    message = f"next run at {seen.next_tick:%Y-%m-%dT%H:%M:%SZ}" if seen.next_tick else ""
    return _condition("Scheduled", TRUE, Reason.ACTIVE, message, stored.generation)


def _run_waits(seen: ObservedRun) -> tuple[Reason | None, str]:
    """Return why nothing of a live run moves, or None."""
    if seen.cancel_at is not None:
        return None, "its tasks are being cancelled"
    if seen.phase is RunPhase.PENDING:
        if seen.dag_suspended:
            return Reason.SUSPENDED, "its DAG is suspended"
        return Reason.WAITING_FOR_QUOTA, "waits for room among the active runs of its DAG"
    if seen.live:
        return None, ", ".join(f"{n} {phase.value.lower()}" for phase, n in sorted(seen.live.items()))
    if seen.suspend:
        return Reason.SUSPENDED, "the run is suspended and none of its tasks is active"
    if seen.tasks.get(TaskPhase.READY):
        return Reason.WAITING_FOR_SLOT, f"{seen.tasks[TaskPhase.READY]} tasks wait for a slot"
    if seen.tasks.get(TaskPhase.BACKOFF):
        return Reason.BACKOFF, f"{seen.tasks[TaskPhase.BACKOFF]} tasks wait for their next try"
    return None, ""


def _stage(seen: ObservedTask) -> tuple[int, Reason, str]:
    """Return how many stages an unfinished task has behind it, and what it waits for."""
    match seen.phase:
        case TaskPhase.WAITING:
            return _UPSTREAM_READY, Reason.WAITING_FOR_UPSTREAM, f"needs {_names(seen.needs)}"
        case TaskPhase.READY if seen.held:
            return _ADMITTED, Reason.SUSPENDED, "its run is suspended"
        case TaskPhase.READY:
            return _ADMITTED, Reason.WAITING_FOR_SLOT, f"waits for a slot in pool {seen.pool}"
        case TaskPhase.BACKOFF:
            until = f" until {seen.not_before:%Y-%m-%dT%H:%M:%SZ}" if seen.not_before else ""
            return (
                _ADMITTED,
                Reason.BACKOFF,
                f"waits{until}: {seen.message or seen.reason or 'the last try failed'}",
            )
        case _:
            return _attempt_stage(seen, seen.last)


def _attempt_stage(seen: ObservedTask, attempt: ObservedAttempt | None) -> tuple[int, Reason, str]:
    if attempt is None:
        return _ADMITTED, Reason.PROGRESSING, "its attempt is being created"
    match attempt.phase:
        case AttemptPhase.PENDING:
            return _QUEUED, Reason.SENDING, f"attempt {attempt.number} is being sent"
        case AttemptPhase.QUEUED if seen.pool_trouble_reason is not None:
            waits = f"attempt {attempt.number} waits for a worker of pool {seen.pool}"
            text = f"{waits}, for which ECS starts no task: {seen.pool_trouble_message}"
            return _CLAIMED, Reason(seen.pool_trouble_reason), text
        case AttemptPhase.QUEUED:
            return _CLAIMED, Reason.WAITING_FOR_WORKER, f"attempt {attempt.number} waits for a worker"
        case AttemptPhase.RUNNING:
            return len(_STAGES), Reason.RUNNING, f"attempt {attempt.number} runs on {attempt.worker}"
        case AttemptPhase.COMMITTED:
            return len(_STAGES), Reason.REPORT_PENDING, "its results are committed"
        case (
            AttemptPhase.SUCCEEDED
            | AttemptPhase.FAILED
            | AttemptPhase.TIMED_OUT
            | AttemptPhase.LOST
            | AttemptPhase.EVICTED
            | AttemptPhase.CANCELLED
            | AttemptPhase.UNDELIVERABLE
        ):
            return _ADMITTED, Reason.PROGRESSING, f"attempt {attempt.number} ended as {attempt.phase}"
        case _:
            assert_never(attempt.phase)


def _ended(seen: ObservedTask) -> Conditions:
    reason, message = seen.reason or seen.phase.value, seen.message or ""
    times = _times(seen)
    stages = [
        _condition(name, TRUE, done, "", seen.generation, times[n])
        if times[n] is not None and n != _RUNNING
        else _condition(name, FALSE, reason, message, seen.generation, seen.ended_at)
        for n, (name, done) in enumerate(_STAGES)
    ]
    outcome = TRUE if seen.phase is TaskPhase.SUCCEEDED else FALSE
    succeeded = _condition("Succeeded", outcome, reason, message, seen.generation, seen.ended_at)
    return (succeeded, *stages)


def _times(seen: ObservedTask) -> tuple[datetime | None, ...]:
    """Return when each stage was reached by the newest attempt."""
    last = seen.last
    if last is None:
        return seen.ready_at, None, None, None, None
    return seen.ready_at, last.created_at, last.sent_at, last.claimed_at, last.claimed_at


def _pool_ready(stored: Stored, seen: ObservedPool) -> tuple[ConditionStatus, Reason, str]:
    if stored.spec.get("suspend"):
        return FALSE, Reason.SUSPENDED, "no task is admitted to it"
    if stored.spec.get("runtime") == Runtime.LAMBDA:
        return TRUE, Reason.READY, "its attempts are invocations of a function"
    if seen.observed_at is None:
        return UNKNOWN, Reason.UNKNOWN, "the controller has not looked at it yet"
    if seen.desired is None:
        return FALSE, Reason.NOT_PROVISIONED, "it is applied, but no service runs its workers"
    if seen.trouble_reason is not None:
        text = f"ECS runs {seen.running} of {seen.desired} tasks: {seen.trouble_message}"
        return FALSE, Reason(seen.trouble_reason), text
    if seen.desired and not seen.workers:
        return FALSE, Reason.NO_CAPACITY, f"none of {seen.desired} desired workers is alive"
    return TRUE, Reason.READY, f"{seen.workers} of {seen.desired} workers alive"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
