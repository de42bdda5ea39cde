"""End attempts and move their tasks on, in one transaction: the report of a worker and the controller's own verdicts alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.actions import Close, Event, TaskKey, TaskStep
from controller.diff.settle import Ended, TaskFacts, settle
from controller.reconcilers import counting
from controller.runtime.traces import ENDINGS
from controller.store import attempts, events, task_runs
from controller.store.connect import after_commit
from controller.store.revisions import RevisionId, Revisions
from crds.phases import AttemptPhase, TaskPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from controller.diff.attempts import LiveAttempt
    from controller.store.later import Later
    from controller.store.task_runs import FactsRow
    from crds.dag import Retries
    from crds.names import AttemptId

MESSAGE_LIMIT = 2_000


def close(
    connection: psycopg.Connection,
    revisions: Revisions,
    live: Mapping[AttemptId, LiveAttempt],
    closes: Sequence[Close],
    now: datetime,
) -> set[str]:
    """Close attempts that are still as they were seen, move their tasks on; return the pools where a slot fell free."""
    closed = attempts.close(connection, closes, now)
    ended = {
        live[c.attempt].key: (c.attempt, Ended(c.phase, c.reason, c.message, c.kind))
        for c in closes
        if c.attempt in closed
    }
    return move_on(connection, revisions, ended, now)


def move_on(
    connection: psycopg.Connection,
    revisions: Revisions,
    ended: Mapping[TaskKey, tuple[AttemptId, Ended]],
    now: datetime,
) -> set[str]:
    """Take the step that each ended attempt moves its task by, and tell people; return the pools where a slot fell free."""
    if not ended:
        return set()
    facts = task_runs.facts(connection, sorted(attempt for attempt, _ in ended.values()))
    won = [attempt for attempt, end in ended.values() if end.phase is AttemptPhase.SUCCEEDED]
    task_runs.remember(connection, won)
    return set(take_steps(connection, revisions, facts.get(), ended, now).get().values())


def take_steps(
    connection: psycopg.Connection,
    revisions: Revisions,
    rows: Mapping[TaskKey, FactsRow],
    ended: Mapping[TaskKey, tuple[AttemptId, Ended]],
    now: datetime,
) -> Later[dict[TaskKey, str]]:
    """Take the steps of tasks of which the facts are known; return those taken, with their pools."""
    known = revisions.read(connection, {RevisionId(row.dag_uid, row.revision) for row in rows.values()})
    steps = {
        key: settle(_facts(row, known[RevisionId(row.dag_uid, row.revision)].retries(key.task)), ended[key][1], now)
        for key, row in rows.items()
        if key in ended
    }
    won = {key: attempt for key, (attempt, end) in ended.items() if end.phase is AttemptPhase.SUCCEEDED}
    taken = task_runs.step(connection, list(steps.values()), now, won=won)
    events.record(connection, list(_tell(ended, steps, rows)), now)
    ENDINGS.of_attempts(attempt for attempt, _ in ended.values())
    after_commit(connection, lambda: counting.attempts_ended(rows, {key: end for key, (_, end) in ended.items()}, now))
    after_commit(connection, lambda: counting.retried(rows, steps, taken.get().keys()))
    return taken


def _facts(row: FactsRow, retries: Retries) -> TaskFacts:
    return TaskFacts(
        row.key,
        row.phase,
        row.number,
        retries,
        row.user_failures,
        row.infrastructure_failures,
        row.evictions,
        row.cancelled,
    )


def _tell(
    ended: Mapping[TaskKey, tuple[AttemptId, Ended]],
    steps: Mapping[TaskKey, TaskStep],
    rows: Mapping[TaskKey, FactsRow],
) -> Iterable[Event]:
    """Yield an event for each attempt that did not simply succeed."""
    for key, step in steps.items():
        _, end = ended[key]
        if end.phase is AttemptPhase.SUCCEEDED:
            continue
        row = rows[key]
        match step.phase:
            case TaskPhase.READY:
                then = "tried again at once"
            case TaskPhase.BACKOFF:
                then = f"tried again at {step.not_before:%H:%M:%S} UTC"
            case _:
                then = f"the task is {step.phase}"
        said = f": {end.message}" if end.message else ""
        text = f"attempt {row.number} is {end.phase}{said}; {then}"[:MESSAGE_LIMIT]
        quiet = end.phase in {AttemptPhase.EVICTED, AttemptPhase.CANCELLED}
        yield Event(
            "Normal" if quiet else "Warning",
            row.namespace,
            "TaskRun",
            f"{row.run_name}.{key.task}",
            end.reason,
            text,
            key.run,
        )
