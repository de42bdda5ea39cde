"""What the leader samples for metrics: pools, runs, schedules, datasets, what must never be.

Each statement reads what lives, by a partial index, so that a sample costs no more as history grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    import psycopg

_POOLS: LiteralString = """
    SELECT pool.uid, coalesce(seen.visible, 0), coalesce(seen.in_flight, 0), coalesce(seen.dead_letters, 0),
           coalesce(seen.desired, 0), coalesce(seen.running, 0), coalesce(workers.n, 0)
      FROM resource pool
      LEFT JOIN pool_observation seen ON seen.pool_uid = pool.uid
      LEFT JOIN (SELECT pool_uid, count(*) AS n FROM worker
                  WHERE ended_at IS NULL AND heartbeat_by > %(now)s GROUP BY pool_uid) AS workers
        ON workers.pool_uid = pool.uid
     WHERE pool.kind = 'WorkerPool'
"""

_LIVE: LiteralString = """
    SELECT pool_uid, phase, count(*), min(created_at) FROM attempt WHERE ended_at IS NULL GROUP BY pool_uid, phase
"""

_UNFINISHED: LiteralString = "SELECT phase, count(*) FROM run WHERE ended_at IS NULL GROUP BY phase"

_SCHEDULES: LiteralString = """
    SELECT dag.namespace, dag.name, dag.spec->'schedules', jsonb_object_agg(cursor.schedule, cursor.cursor)
      FROM resource dag
      JOIN schedule_cursor cursor ON cursor.dag_uid = dag.uid
     WHERE dag.kind = 'Dag' AND dag.deletion_timestamp IS NULL AND NOT coalesce((dag.spec->>'suspend')::boolean, false)
     GROUP BY dag.uid
"""

_DATASETS: LiteralString = """
    SELECT dataset.namespace, dataset.name,
           extract(epoch FROM %(now)s - coalesce(state.updated_at, dataset.created_at))::float8,
           %(now)s > coalesce(state.updated_at, dataset.created_at) + known.within
      FROM dataset_freshness known
      JOIN resource dataset ON dataset.uid = known.dataset_uid
      LEFT JOIN dataset_state state ON state.dataset_uid = known.dataset_uid
     WHERE known.within IS NOT NULL
"""

# The database itself holds the rest: one live attempt a task, finite deadlines, one run a tick, final phases.
_VIOLATIONS: LiteralString = """
    SELECT count(*) FILTER (WHERE run.ended_at IS NOT NULL),
           count(*) FILTER (WHERE task_run.phase <> 'Active'),
           count(*) FILTER (WHERE attempt.next_check_at < %(overdue)s)
      FROM attempt
      JOIN task_run ON (task_run.run_uid, task_run.task, task_run.idx) = (attempt.run_uid, attempt.task, attempt.idx)
      JOIN run ON run.uid = attempt.run_uid
     WHERE attempt.ended_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """What was last seen of a pool's queue and service, and how many of its workers are heard."""

    visible: int
    in_flight: int
    dead_letters: int
    desired: int
    running: int
    workers: int


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """A pool's attempts that have not ended, by phase, and since when the oldest waits for a worker."""

    by_phase: Mapping[str, int]
    oldest: datetime | None = None

    @property
    def running(self) -> int:
        """Return how many have a slot of a worker."""
        return self.by_phase.get("Running", 0) + self.by_phase.get("Committed", 0)


@dataclass(frozen=True, slots=True)
class ScheduleFigures:
    """A Dag's schedules, and how far each of their ticks have become runs."""

    namespace: str
    dag: str
    schedules: tuple[Mapping[str, Any], ...]
    cursors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DatasetFigures:
    """A dataset that declares how old it may grow."""

    namespace: str
    name: str
    age_seconds: float
    stale: bool


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


def pools(connection: psycopg.Connection, now: datetime) -> dict[str, PoolFigures]:
    """Return the figures of every pool by uid."""
    return {r[0]: PoolFigures(*r[1:]) for r in connection.execute(_POOLS, {"now": now})}


def live(connection: psycopg.Connection) -> dict[str, LiveFigures]:
    """Return the live attempts of the pools that have any, by uid."""
    phases: dict[str, dict[str, int]] = {}
    oldest: dict[str, datetime] = {}
    for pool, phase, count, since in connection.execute(_LIVE):
        phases.setdefault(pool, {})[phase] = count
        if phase in {"Pending", "Queued"}:
            oldest[pool] = min(since, oldest.get(pool, since))
    return {pool: LiveFigures(found, oldest.get(pool)) for pool, found in phases.items()}


def unfinished_runs(connection: psycopg.Connection) -> dict[str, int]:
    """Return how many runs have not ended, by phase."""
    return {r[0]: r[1] for r in connection.execute(_UNFINISHED)}


def schedules(connection: psycopg.Connection) -> list[ScheduleFigures]:
    """Return the schedules of the Dags that are not suspended."""
    return [ScheduleFigures(r[0], r[1], tuple(r[2] or ()), r[3]) for r in connection.execute(_SCHEDULES)]


def datasets(connection: psycopg.Connection, now: datetime) -> list[DatasetFigures]:
    """Return the datasets that declare how old they may grow."""
    return [DatasetFigures(*r) for r in connection.execute(_DATASETS, {"now": now})]


def violations(connection: psycopg.Connection, now: datetime, grace: timedelta) -> Violations:
    """Return what must never be; a deadline counts when nobody has acted on it for `grace`."""
    row = connection.execute(_VIOLATIONS, {"overdue": now - grace}).fetchone()
    return Violations(*row) if row else Violations(0, 0, 0)
