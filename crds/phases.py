"""The phases of runs, tasks and attempts, and the transitions that all writes obey."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class AttemptPhase(StrEnum):
    """Where one attempt of a task is."""

    PENDING = "Pending"
    QUEUED = "Queued"
    RUNNING = "Running"
    COMMITTED = "Committed"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    LOST = "Lost"
    EVICTED = "Evicted"
    CANCELLED = "Cancelled"
    UNDELIVERABLE = "Undeliverable"


class TaskPhase(StrEnum):
    """Where a task of a run is; `Ready` waits for a slot, `Active` has one live attempt."""

    WAITING = "Waiting"
    READY = "Ready"
    ACTIVE = "Active"
    BACKOFF = "Backoff"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UPSTREAM_FAILED = "UpstreamFailed"
    SKIPPED = "Skipped"
    CANCELLED = "Cancelled"


class RunPhase(StrEnum):
    """Where a run is; `Pending` waits for its DAG's concurrency."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


_A = AttemptPhase
_T = TaskPhase
_R = RunPhase

# A long-polling worker may claim before "Queued" is recorded, so Pending may become Running.
# A committed attempt is durable, so it can end only as Succeeded.
ATTEMPT_TRANSITIONS: Mapping[AttemptPhase, frozenset[AttemptPhase]] = {
    _A.PENDING: frozenset({_A.QUEUED, _A.RUNNING, _A.CANCELLED, _A.UNDELIVERABLE, _A.TIMED_OUT}),
    _A.QUEUED: frozenset({_A.RUNNING, _A.CANCELLED, _A.UNDELIVERABLE, _A.TIMED_OUT}),
    _A.RUNNING: frozenset({_A.COMMITTED, _A.SUCCEEDED, _A.FAILED, _A.TIMED_OUT, _A.LOST, _A.EVICTED, _A.CANCELLED}),
    _A.COMMITTED: frozenset({_A.SUCCEEDED}),
    _A.SUCCEEDED: frozenset(),
    _A.FAILED: frozenset(),
    _A.TIMED_OUT: frozenset(),
    _A.LOST: frozenset(),
    _A.EVICTED: frozenset(),
    _A.CANCELLED: frozenset(),
    _A.UNDELIVERABLE: frozenset(),
}

_REOPENED = frozenset({_T.READY, _T.WAITING})

# A final task phase leaves only through `retry`, `rerun` or `clear`, which are spec changes (generation + 1).
TASK_TRANSITIONS: Mapping[TaskPhase, frozenset[TaskPhase]] = {
    _T.WAITING: frozenset({_T.READY, _T.SKIPPED, _T.UPSTREAM_FAILED, _T.CANCELLED}),
    _T.READY: frozenset({_T.ACTIVE, _T.CANCELLED}),
    _T.ACTIVE: frozenset({_T.READY, _T.BACKOFF, _T.SUCCEEDED, _T.FAILED, _T.CANCELLED}),
    _T.BACKOFF: frozenset({_T.READY, _T.CANCELLED}),
    _T.SUCCEEDED: _REOPENED,
    _T.FAILED: _REOPENED,
    _T.UPSTREAM_FAILED: _REOPENED,
    _T.SKIPPED: _REOPENED,
    _T.CANCELLED: _REOPENED,
}

RUN_TRANSITIONS: Mapping[RunPhase, frozenset[RunPhase]] = {
    _R.PENDING: frozenset({_R.RUNNING, _R.CANCELLED, _R.FAILED}),
    _R.RUNNING: frozenset({_R.SUCCEEDED, _R.FAILED, _R.CANCELLED}),
    _R.SUCCEEDED: frozenset({_R.RUNNING}),
    _R.FAILED: frozenset({_R.RUNNING}),
    _R.CANCELLED: frozenset({_R.RUNNING}),
}

LIVE_ATTEMPT = frozenset({_A.PENDING, _A.QUEUED, _A.RUNNING, _A.COMMITTED})
FINAL_TASK = frozenset({_T.SUCCEEDED, _T.FAILED, _T.UPSTREAM_FAILED, _T.SKIPPED, _T.CANCELLED})
FAILED_TASK = frozenset({_T.FAILED, _T.UPSTREAM_FAILED, _T.CANCELLED})
FINAL_RUN = frozenset({_R.SUCCEEDED, _R.FAILED, _R.CANCELLED})
