"""Give free slots to ready tasks: lock, count, choose, write the intent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.actions import Send
from controller.diff.admission import DagQueue, ReadyTask, admit
from controller.diff.attempts import SEND_WITHIN
from controller.store import attempts, slots
from controller.store.attempts import Slot
from controller.store.revisions import Revision, RevisionId, Revisions
from crds.dag import Concurrency
from crds.names import DagUid
from crds.pool import WorkerPoolSpec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import psycopg

MAX_ADMISSIONS = 2_000
"""The most attempts that one pass creates in one pool."""


def fill(connection: psycopg.Connection, revisions: Revisions, pools: Iterable[str], now: datetime) -> list[Send]:
    """Create an attempt for each ready task that gets a free slot of its pool; return the messages to send after COMMIT."""
    wanted = sorted(set(pools))
    waiting = slots.waiting(connection, wanted) if wanted else []
    if not waiting:
        return []
    dags = sorted({dag for _, dag in waiting})
    locked = slots.lock(connection, sorted({pool for pool, _ in waiting}), dags)
    live = slots.live(connection, wanted)
    rooms = {pool: _room(locked[pool].spec, pool, live) for pool, _ in waiting if pool in locked}
    limits = _dag_rooms(connection, [d for d in dags if d in locked], {d: locked[d].spec for d in dags if d in locked})

    asked = [
        (pool, dag, min(rooms[pool], limits.get(dag, rooms[pool])))
        for pool, dag in waiting
        if rooms.get(pool, 0) > 0 and limits.get(dag, 1) > 0
    ]
    ready = slots.ready(connection, asked) if asked else {}
    chosen: list[tuple[str, ReadyTask]] = []
    for pool in sorted({p for p, _ in ready}):
        queues = [
            DagQueue(dag, live.get((pool, dag), 0), limits.get(dag), tasks)
            for (p, dag), tasks in ready.items()
            if p == pool
        ]
        admitted = admit(rooms[pool], queues)
        for dag, _ in admitted:
            if dag in limits:
                limits[dag] -= 1
        chosen += admitted
    return _create(connection, revisions, chosen, now)


def pools_of(connection: psycopg.Connection, dags: Iterable[str]) -> set[str]:
    """Return the pools to fill because a task of one of these DAGs may have made room within its DAG's own limit."""
    return slots.limited_pools(connection, sorted(set(dags)))


def _room(spec: object, pool: str, live: dict[tuple[str, str], int]) -> int:
    parsed = WorkerPoolSpec.model_validate(spec, extra="ignore")
    if parsed.suspend:
        return 0
    used = sum(count for (p, _), count in live.items() if p == pool)
    return min(max(parsed.limit - used, 0), MAX_ADMISSIONS)


def _dag_rooms(connection: psycopg.Connection, dags: list[str], specs: dict[str, object]) -> dict[str, int]:
    if not dags:
        return {}
    live = slots.live_of_dags(connection, dags)
    rooms: dict[str, int] = {}
    for dag in dags:
        spec = specs[dag]
        concurrency = Concurrency.model_validate(spec["concurrency"] if isinstance(spec, dict) else {}, extra="ignore")
        if concurrency.max_active_tasks is not None:
            rooms[dag] = max(concurrency.max_active_tasks - live.get(dag, 0), 0)
    return rooms


def _create(
    connection: psycopg.Connection, revisions: Revisions, chosen: list[tuple[str, ReadyTask]], now: datetime
) -> list[Send]:
    if not chosen:
        return []
    known = revisions.read(connection, {RevisionId(DagUid(dag), task.revision) for dag, task in chosen})
    wanted = [_slot(known[RevisionId(DagUid(dag), task.revision)], task) for dag, task in chosen]
    created = attempts.create(connection, wanted, now, SEND_WITHIN)
    return [Send(attempt, pool, delivery) for attempt, pool, delivery in created]


def _slot(revision: Revision, ready: ReadyTask) -> Slot:
    task, defaults = revision.tasks[ready.key.task], revision.spec.defaults
    return Slot(
        ready.key,
        ready.number,
        task.timeout or defaults.timeout,
        task.queue_timeout or defaults.queue_timeout,
    )
