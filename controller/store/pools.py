"""Worker pools: their specs, and table pool_observation with what was seen of queue and service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from controller.diff.attempts import QueueEvidence
from controller.store.later import Later
from crds.names import DEFAULT_PREFIX, function_name, queue_name, service_name
from crds.pool import Runtime, WorkerPoolSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from controller.diff.pools import Trouble

_ALL: LiteralString = """
    SELECT uid, namespace, name, spec, generation, deletion_timestamp IS NOT NULL, finalizers
      FROM resource WHERE kind = 'WorkerPool'
     ORDER BY namespace, name
"""

_SOME: LiteralString = """
    SELECT uid, namespace, name, spec, generation, deletion_timestamp IS NOT NULL, finalizers
      FROM resource WHERE kind = 'WorkerPool' AND uid = ANY(%(uids)s)
     ORDER BY namespace, name
"""

_BY_NAME: LiteralString = """
    SELECT uid, namespace, name, spec, generation, deletion_timestamp IS NOT NULL, finalizers
      FROM resource
     WHERE kind = 'WorkerPool' AND namespace = %(namespace)s AND name = ANY(%(names)s)
"""

_UIDS: LiteralString = """
    SELECT DISTINCT namespace, name, uid
      FROM resource
      JOIN unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted(namespace, name) USING (namespace, name)
     WHERE kind = 'WorkerPool'
"""

_EVIDENCE: LiteralString = """
    SELECT resource.uid, empty_since, queue_observed_at, spec->>'runtime' = 'lambda'
      FROM resource LEFT JOIN pool_observation ON pool_uid = resource.uid
     WHERE kind = 'WorkerPool' AND resource.uid = ANY(%(pools)s)
"""

# Empty since the first of the looks that found nothing; one look that finds something begins anew.
_OBSERVE_QUEUE: LiteralString = """
    INSERT INTO pool_observation (pool_uid, visible, in_flight, dead_letters, empty_since, queue_observed_at)
    VALUES (%(pool)s, %(visible)s, %(in_flight)s, %(dead_letters)s,
            CASE WHEN %(visible)s + %(in_flight)s = 0 THEN %(now)s END, %(now)s)
        ON CONFLICT (pool_uid) DO UPDATE
       SET visible = excluded.visible, in_flight = excluded.in_flight, dead_letters = excluded.dead_letters,
           empty_since = CASE WHEN excluded.empty_since IS NULL THEN NULL
                              ELSE coalesce(pool_observation.empty_since, excluded.empty_since) END,
           queue_observed_at = excluded.queue_observed_at
"""

_OBSERVE_SERVICE: LiteralString = """
    INSERT INTO pool_observation (pool_uid, desired, running, busy_at, observed_at, trouble_reason, trouble_message)
    VALUES (%(pool)s, %(desired)s, %(running)s, %(busy_at)s, %(now)s, %(trouble_reason)s, %(trouble_message)s)
        ON CONFLICT (pool_uid) DO UPDATE
       SET desired = excluded.desired, running = excluded.running, trouble_reason = excluded.trouble_reason,
           trouble_message = excluded.trouble_message,
           busy_at = coalesce(excluded.busy_at, pool_observation.busy_at), observed_at = excluded.observed_at
"""

_SEEN: LiteralString = """
    SELECT visible, in_flight, busy_at, queue_observed_at, trouble_reason
      FROM pool_observation
     WHERE pool_uid = %(pool)s
"""

_DEMAND: LiteralString = """
    SELECT (SELECT count(*) FROM attempt WHERE pool_uid = %(pool)s AND ended_at IS NULL),
           (SELECT count(*) FROM (SELECT FROM task_run
                                   WHERE pool_uid = %(pool)s AND phase = 'Ready' AND NOT held LIMIT %(limit)s) AS ready)
"""


@dataclass(frozen=True, slots=True)
class Pool:
    """A worker pool."""

    uid: str
    namespace: str
    name: str
    spec: WorkerPoolSpec
    generation: int
    terminating: bool = False
    finalizers: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        """Return the name of the pool's ECS service."""
        return service_name(self.name, self.namespace)

    @property
    def invoked(self) -> bool:
        """Tell whether the pool's attempts are invocations of a function, so that it has neither queue nor service."""
        return self.spec.runtime is Runtime.LAMBDA

    def queue(self, prefix: str = DEFAULT_PREFIX) -> str:
        """Return the name of the pool's queue."""
        return self.spec.queue or queue_name(self.name, self.namespace, prefix)

    def function(self, prefix: str = DEFAULT_PREFIX) -> str:
        """Return the name of a lambda pool's function."""
        return self.spec.function or function_name(prefix)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was last seen of a pool's queue, and when its demand last needed all that is desired."""

    visible: int = 0
    in_flight: int = 0
    busy_at: datetime | None = None
    queue_observed_at: datetime | None = None
    trouble: str | None = None


def read(connection: psycopg.Connection, uids: Sequence[str] | None = None) -> dict[str, Pool]:
    """Return all pools, or those with the uids."""
    rows = connection.execute(_ALL) if uids is None else connection.execute(_SOME, {"uids": list(uids)})
    return {r[0]: _pool(r) for r in rows}


def by_name(connection: psycopg.Connection, namespace: str, names: Sequence[str]) -> dict[str, Pool]:
    """Return the pools of a namespace by name."""
    rows = connection.execute(_BY_NAME, {"namespace": namespace, "names": list(names)})
    return {r[2]: _pool(r) for r in rows}


def uids(connection: psycopg.Connection, named: Sequence[tuple[str, str]]) -> Later[dict[tuple[str, str], str]]:
    """Return the uids of pools by (namespace, name)."""
    rows = connection.execute(_UIDS, {"namespaces": [n[0] for n in named], "names": [n[1] for n in named]})
    return Later(rows, lambda found: {(r[0], r[1]): r[2] for r in found})


def evidence(
    connection: psycopg.Connection, pools: Sequence[str], newest_claimed: dict[str, datetime]
) -> dict[str, QueueEvidence]:
    """Return what is known about the queues of pools."""
    rows = connection.execute(_EVIDENCE, {"pools": list(pools)})
    return {r[0]: QueueEvidence(r[1], r[2], newest_claimed.get(r[0]), invoked=r[3]) for r in rows}


def observe_queue(
    connection: psycopg.Connection, pool: str, visible: int, in_flight: int, dead_letters: int, now: datetime
) -> None:
    """Record the attributes of a pool's queue."""
    values = {
        "pool": pool,
        "visible": visible,
        "in_flight": in_flight,
        "dead_letters": dead_letters,
        "now": now,
    }
    connection.execute(_OBSERVE_QUEUE, values)


def observe_service(
    connection: psycopg.Connection,
    pool: str,
    desired: int | None,
    running: int,
    busy_at: datetime | None,
    now: datetime,
    trouble: Trouble | None = None,
) -> None:
    """Record the counts of a pool's service, and why it is short of tasks."""
    values = {
        "pool": pool,
        "desired": desired,
        "running": running,
        "busy_at": busy_at,
        "now": now,
        "trouble_reason": trouble.reason if trouble else None,
        "trouble_message": trouble.message if trouble else None,
    }
    connection.execute(_OBSERVE_SERVICE, values)


def seen(connection: psycopg.Connection, pool: str) -> Seen:
    """Return what was last seen of a pool."""
    row = connection.execute(_SEEN, {"pool": pool}).fetchone()
    return Seen(*row) if row else Seen()


def demand(connection: psycopg.Connection, pool: str, limit: int) -> int:
    """Return live attempts plus ready tasks, the latter counted up to `limit`."""
    row = connection.execute(_DEMAND, {"pool": pool, "limit": limit}).fetchone()
    return row[0] + row[1] if row else 0


def _pool(row: Sequence[Any]) -> Pool:
    uid, namespace, name, spec, generation, terminating, finalizers = row
    wanted = WorkerPoolSpec.model_validate(spec, extra="ignore")
    if terminating:
        # Nobody gets a slot of it, and it needs no workers.
        wanted = wanted.model_copy(update={"suspend": True})
    return Pool(uid, namespace, name, wanted, generation, terminating, tuple(finalizers))
