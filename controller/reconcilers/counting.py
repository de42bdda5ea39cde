"""Count what transactions did; each function is called after COMMIT, so that nothing is counted that is not so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.runtime import metrics
from crds.phases import AttemptPhase, RunPhase, TaskPhase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from controller.actions import EndRun, TaskKey, TaskStep
    from controller.diff.settle import Ended
    from controller.store.attempts import Slot
    from controller.store.runs import RunRow
    from controller.store.task_runs import FactsRow
    from crds.names import RunUid

_BY_INFRASTRUCTURE = frozenset({AttemptPhase.LOST, AttemptPhase.EVICTED, AttemptPhase.UNDELIVERABLE})
_AGAIN = frozenset({TaskPhase.READY, TaskPhase.BACKOFF})


def attempts_ended(rows: Mapping[TaskKey, FactsRow], ended: Mapping[TaskKey, Ended], now: datetime) -> None:
    """Count ended attempts, and how long those took that a worker had claimed."""
    for key, row in rows.items():
        end = ended.get(key)
        if end is None:
            continue
        metrics.ATTEMPTS.labels(row.pool_name, end.phase, end.reason).inc()
        if end.phase in _BY_INFRASTRUCTURE:
            metrics.ATTEMPTS_LOST.labels(row.pool_name).inc()
        if end.phase is AttemptPhase.UNDELIVERABLE:
            metrics.UNDELIVERABLE.labels(row.pool_name).inc()
        if row.claimed_at is not None:
            metrics.TASK_TIME.labels(row.pool_name, end.phase).observe(_seconds(row.claimed_at, now))


def retried(rows: Mapping[TaskKey, FactsRow], steps: Mapping[TaskKey, TaskStep], taken: Collection[TaskKey]) -> None:
    """Count the tasks that are tried again, by whose doing the last try ended."""
    for key in taken:
        row, step = rows[key], steps[key]
        if step.phase not in _AGAIN:
            continue
        if step.user_failures > row.user_failures:
            kind = "user"
        elif step.infrastructure_failures > row.infrastructure_failures:
            kind = "infrastructure"
        else:
            kind = "eviction"
        metrics.RETRIES.labels(row.pool_name, kind).inc()


def admitted(slots: Iterable[Slot], created: Collection[str], now: datetime) -> None:
    """Note how long the tasks of new attempts had waited for their slots."""
    for slot in slots:
        if slot.attempt in created:
            metrics.ADMISSION_WAIT.labels(slot.pool_name).observe(_seconds(slot.ready_at, now))


def runs_ended(rows: Mapping[RunUid, RunRow], ends: Iterable[EndRun], ended: Collection[RunUid], now: datetime) -> None:
    """Count ended runs, and how long those took that had begun."""
    for end in ends:
        if end.run not in ended:
            continue
        metrics.RUNS_ENDED.labels(end.phase).inc()
        if end.phase is RunPhase.FAILED:
            metrics.RUNS_FAILED.inc()
        started = rows[end.run].started_at
        if started is not None:
            metrics.RUN_TIME.labels(end.phase).observe(_seconds(started, now))


def _seconds(since: datetime, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0)
