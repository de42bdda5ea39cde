"""What alarms and autoscaling watch: each pool's demand and tasks, what failed lately, what must never be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    import psycopg

_POOLS: LiteralString = """
    SELECT uid, coalesce(visible, 0), coalesce(in_flight, 0), coalesce(dead_letters, 0), coalesce(desired, 0),
           coalesce(running, 0)
      FROM resource LEFT JOIN pool_observation ON pool_uid = uid
     WHERE kind = 'WorkerPool'
"""

_FAILED_RUNS: LiteralString = """
    SELECT count(*) FROM event
     WHERE at > %(since)s AND at <= %(now)s AND kind = 'DagRun' AND type = 'Warning' AND reason = ANY(%(reasons)s)
"""

_UNDELIVERABLE: LiteralString = """
    SELECT pool_uid, count(*)
      FROM event
      JOIN task_run USING (run_uid)
      JOIN run ON run.uid = event.run_uid
     WHERE event.at > %(since)s AND event.at <= %(now)s AND event.kind = 'TaskRun' AND event.reason = %(reason)s
       AND event.name = run.name || '.' || task_run.task AND task_run.idx = 0
     GROUP BY pool_uid
"""

# Only what lives is looked at, so that the look costs no more as history grows. The database itself holds the rest: one
# live attempt a task, finite deadlines, one run a tick, final phases.
_VIOLATIONS: LiteralString = """
    SELECT count(*) FILTER (WHERE run.ended_at IS NOT NULL),
           count(*) FILTER (WHERE task_run.phase <> 'Active'),
           count(*) FILTER (WHERE attempt.next_check_at < %(overdue)s)
      FROM attempt
      JOIN task_run ON (task_run.run_uid, task_run.task, task_run.idx) = (attempt.run_uid, attempt.task, attempt.idx)
      JOIN run ON run.uid = attempt.run_uid
     WHERE attempt.ended_at IS NULL
"""

_RUN_FAILURES = [Reason.TASK_FAILED, Reason.DEADLINE_EXCEEDED]


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """What was last seen of a pool's queue and service."""

    visible: int
    in_flight: int
    dead_letters: int
    desired: int
    running: int


@dataclass(frozen=True, slots=True)
class Violations:
    """Live attempts that contradict an invariant: of an ended run, of a task that is not active, past every deadline."""

    of_ended_runs: int
    of_idle_tasks: int
    overdue: int

    @property
    def total(self) -> int:
        """Return how many there are in all."""
        return self.of_ended_runs + self.of_idle_tasks + self.overdue


def pools(connection: psycopg.Connection) -> dict[str, PoolFigures]:
    """Return the figures of every pool by uid."""
    return {r[0]: PoolFigures(*r[1:]) for r in connection.execute(_POOLS)}


def failed_runs(connection: psycopg.Connection, since: datetime, now: datetime) -> int:
    """Return how many runs failed after `since`, up to now."""
    row = connection.execute(_FAILED_RUNS, {"since": since, "now": now, "reasons": _RUN_FAILURES}).fetchone()
    return int(row[0]) if row else 0


def undeliverable(connection: psycopg.Connection, since: datetime, now: datetime) -> Mapping[str, int]:
    """Return by pool how many attempts were given up as undeliverable after `since`, up to now."""
    rows = connection.execute(_UNDELIVERABLE, {"since": since, "now": now, "reason": Reason.UNDELIVERABLE})
    return {r[0]: r[1] for r in rows}


def violations(connection: psycopg.Connection, now: datetime, grace: timedelta) -> Violations:
    """Return what must never be; a deadline counts when nobody has acted on it for `grace`."""
    row = connection.execute(_VIOLATIONS, {"overdue": now - grace}).fetchone()
    return Violations(*row) if row else Violations(0, 0, 0)
