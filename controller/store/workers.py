"""Table worker: the liveness of worker processes, and since when heartbeats could arrive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, LiteralString

from controller.diff.pools import GoneWorker, WorkerView
from controller.store.later import Known, Later
from crds.names import WorkerId

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

# A worker that was given up and is heard again lives on; what it ran then is final, and it is told so.
_RENEW: LiteralString = """
    INSERT INTO worker (id, pool_uid, ecs_task, slots, started_at, renewed_at, heartbeat_by)
    SELECT id, pool_uid, ecs_task, slots, %(now)s, %(now)s, %(now)s + %(lease)s
      FROM unnest(%(ids)s::text[], %(pools)s::text[], %(ecs_tasks)s::text[], %(slots)s::int[])
           AS seen(id, pool_uid, ecs_task, slots)
     ORDER BY id
        ON CONFLICT (id) DO UPDATE
       SET pool_uid = excluded.pool_uid,
           renewed_at = excluded.renewed_at, heartbeat_by = excluded.heartbeat_by, ended_at = NULL, reason = NULL,
           message = NULL,
           ecs_task = coalesce(excluded.ecs_task, worker.ecs_task), slots = greatest(excluded.slots, worker.slots)
     WHERE worker.pool_uid = excluded.pool_uid OR NOT EXISTS (SELECT FROM resource WHERE uid = worker.pool_uid)
 RETURNING id, drain, xmax = 0
"""

# An attempt that two heartbeats in a row leave out is lost. One whose claim has not been answered yet is held as well:
# after an outage a heartbeat may come through long before the claim that is repeated.
_HELD: LiteralString = """
    UPDATE attempt
       SET missed = CASE WHEN beat.held THEN 0 ELSE attempt.missed + 1 END
      FROM (SELECT live.id, live.id = ANY(%(held)s::text[]) OR coalesce(live.request = ANY(%(awaited)s::text[]), false)
                     AS held
              FROM attempt live
             WHERE live.worker = ANY(%(workers)s) AND live.ended_at IS NULL AND live.claimed_at < %(now)s - %(young)s
             ORDER BY live.id FOR NO KEY UPDATE SKIP LOCKED) AS beat
     WHERE attempt.id = beat.id AND (NOT beat.held OR attempt.missed > 0)
 RETURNING attempt.id, attempt.missed, attempt.pool_uid
"""

_STATES: LiteralString = """
    SELECT id, worker, phase IN ('Running', 'Committed'), cancel_at IS NOT NULL OR phase = 'Cancelled'
      FROM attempt WHERE id = ANY(%(ids)s)
"""

# Workers that may take more: alive, told nothing else, and of the pool whose token they hold.
_TAKERS: LiteralString = """
    SELECT worker.id, worker.pool_uid, worker.heartbeat_by
      FROM unnest(%(ids)s::text[], %(namespaces)s::text[], %(pools)s::text[]) AS asks(id, namespace, pool)
      JOIN worker ON worker.id = asks.id AND worker.ended_at IS NULL AND NOT worker.drain
      JOIN resource pool ON pool.uid = worker.pool_uid AND pool.kind = 'WorkerPool' AND pool.namespace = asks.namespace
                        AND pool.name = asks.pool
"""

_LIVE: LiteralString = """
    SELECT worker.id, worker.heartbeat_by, worker.renewed_at,
           (SELECT count(*) FROM attempt WHERE attempt.worker = worker.id AND attempt.ended_at IS NULL),
           worker.drain, worker.ecs_task
      FROM worker
     WHERE worker.pool_uid = %(pool)s AND worker.ended_at IS NULL
     ORDER BY worker.id
"""

_END: LiteralString = """
    UPDATE worker SET ended_at = %(now)s, reason = gone.reason, message = gone.message
      FROM unnest(%(ids)s::text[], %(renewed)s::timestamptz[], %(reasons)s::text[], %(messages)s::text[])
           AS gone(id, renewed_at, reason, message)
     WHERE worker.id = gone.id AND worker.renewed_at = gone.renewed_at AND worker.ended_at IS NULL
 RETURNING worker.id
"""

_LEAVE: LiteralString = """
    UPDATE worker SET ended_at = %(now)s, reason = 'WorkerStopped', message = 'worker ' || id || ' left'
     WHERE id = ANY(%(ids)s) AND ended_at IS NULL
"""

_DRAIN: LiteralString = "UPDATE worker SET drain = %(drain)s WHERE id = ANY(%(ids)s) AND ended_at IS NULL"

_SILENT: LiteralString = """
    SELECT DISTINCT pool_uid FROM worker WHERE ended_at IS NULL AND heartbeat_by <= %(now)s
"""

_MISSING: LiteralString = """
    SELECT DISTINCT pool_uid FROM attempt WHERE ended_at IS NULL AND worker IS NOT NULL AND missed >= 2
"""

_BY_ECS_TASK: LiteralString = (
    "SELECT DISTINCT pool_uid FROM worker WHERE ecs_task = ANY(%(tasks)s) AND ended_at IS NULL"
)

_OPEN: LiteralString = """
    INSERT INTO api_open (open_since, renewed_at) VALUES (%(now)s, %(now)s)
        ON CONFLICT (singleton) DO UPDATE
       SET open_since = CASE WHEN excluded.renewed_at - api_open.renewed_at > %(gap)s
                             THEN excluded.renewed_at ELSE api_open.open_since END,
           renewed_at = excluded.renewed_at
"""

# Whoever looks before the gap's end is recorded must not take the gap for an open time.
_OPEN_SINCE: LiteralString = """
    SELECT CASE WHEN %(now)s - renewed_at > %(gap)s THEN %(now)s ELSE open_since END FROM api_open
"""

OPEN_GAP = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A sign of life of one worker."""

    id: str
    pool_uid: str
    ecs_task: str | None
    slots: int


def renew(
    connection: psycopg.Connection, seen: Sequence[Renewal], now: datetime, lease: timedelta
) -> Later[dict[str, tuple[bool, bool]]]:
    """Renew leases; return for each worker whether it shall drain and whether it is new.

    A worker that another pool knows by this id is not renewed, and left out of the answer.
    """
    rows = connection.execute(
        _RENEW,
        {
            "ids": [s.id for s in seen],
            "pools": [s.pool_uid for s in seen],
            "ecs_tasks": [s.ecs_task for s in seen],
            "slots": [s.slots for s in seen],
            "now": now,
            "lease": lease,
        },
    )
    return Later(rows, lambda renewed: {r[0]: (r[1], r[2]) for r in renewed})


def count_missing(
    connection: psycopg.Connection,
    workers: Sequence[str],
    held: Sequence[str],
    awaited: Sequence[str],
    now: datetime,
    young: timedelta,
) -> set[str]:
    """Count the attempts that their workers' heartbeats leave out; return the pools where two in a row did."""
    facts = {"workers": list(workers), "held": list(held), "awaited": list(awaited), "now": now, "young": young}
    rows = connection.execute(_HELD, facts)
    return {r[2] for r in rows if r[1] >= 2}


def states(connection: psycopg.Connection, ids: Sequence[str]) -> dict[str, tuple[str | None, bool, bool]]:
    """Return (worker, live, cancelled) of attempts."""
    return {r[0]: (r[1], r[2], r[3]) for r in connection.execute(_STATES, {"ids": list(ids)})}


def takers(
    connection: psycopg.Connection, asking: Sequence[tuple[str, str, str]]
) -> Later[dict[str, tuple[str, datetime]]]:
    """Return pool and end of the lease of those (worker, namespace, pool) that may be granted more."""
    if not asking:
        return Known({})
    values = {"ids": [a[0] for a in asking], "namespaces": [a[1] for a in asking], "pools": [a[2] for a in asking]}
    return Later(connection.execute(_TAKERS, values), lambda rows: {r[0]: (r[1], r[2]) for r in rows})


def live(connection: psycopg.Connection, pool: str) -> list[WorkerView]:
    """Return the workers of a pool that have not ended."""
    return [WorkerView(WorkerId(r[0]), *r[1:6]) for r in connection.execute(_LIVE, {"pool": pool})]


def end(connection: psycopg.Connection, gone: Sequence[GoneWorker], now: datetime) -> set[str]:
    """Give workers up whose last heartbeat is still the one that was seen; return those."""
    if not gone:
        return set()
    values = {
        "ids": [g.id for g in gone],
        "renewed": [g.renewed_at for g in gone],
        "reasons": [g.reason for g in gone],
        "messages": [g.message for g in gone],
        "now": now,
    }
    return {r[0] for r in connection.execute(_END, values)}


def leave(connection: psycopg.Connection, ids: Sequence[str], now: datetime) -> None:
    """End workers that said goodbye."""
    if ids:
        connection.execute(_LEAVE, {"ids": list(ids), "now": now})


def drain(connection: psycopg.Connection, ids: Sequence[str], *, drain: bool) -> None:
    """Tell workers by their next heartbeat to drain, or no longer to."""
    if ids:
        connection.execute(_DRAIN, {"ids": list(ids), "drain": drain})


def silent_pools(connection: psycopg.Connection, now: datetime) -> set[str]:
    """Return the pools with a worker past its lease, or an attempt that its worker left out."""
    pools = {r[0] for r in connection.execute(_SILENT, {"now": now})}
    return pools | {r[0] for r in connection.execute(_MISSING)}


def pools_of_ecs_tasks(connection: psycopg.Connection, tasks: Sequence[str]) -> set[str]:
    """Return the pools whose workers run in these ECS tasks."""
    return {r[0] for r in connection.execute(_BY_ECS_TASK, {"tasks": list(tasks)})}


def keep_open(connection: psycopg.Connection, now: datetime) -> None:
    """Record that heartbeats can arrive now; a gap of more than OPEN_GAP begins anew."""
    connection.execute(_OPEN, {"gap": OPEN_GAP, "now": now})


def open_since(connection: psycopg.Connection, now: datetime) -> datetime | None:
    """Return since when heartbeats could arrive without a gap, None if they never could."""
    row = connection.execute(_OPEN_SINCE, {"now": now, "gap": OPEN_GAP}).fetchone()
    return row[0] if row else None
