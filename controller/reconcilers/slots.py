"""Give free slots to ready tasks: lock, count, choose, write the intent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.diff.admission import DagQueue, admit, lot
from controller.diff.attempts import SEND_WITHIN
from controller.reconcilers import counting
from controller.store import attempts, slots
from controller.store.attempts import Slot
from controller.store.connect import after_commit
from controller.store.revisions import Revision, RevisionId, Revisions
from crds.names import DagUid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import psycopg

    from controller.actions import Send
    from controller.diff.admission import ReadyTask
    from controller.store.later import Later

MAX_ADMISSIONS = 2_000
"""The most attempts that one pass creates in one pool."""


def choose(connection: psycopg.Connection, revisions: Revisions, pools: Iterable[str], now: datetime) -> list[Slot]:
    """Lock pools and return the ready tasks that get their free slots, in the order in which they get them."""
    wanted = sorted(set(pools))
    if not wanted:
        return []
    queues = slots.ready(connection, wanted, MAX_ADMISSIONS).get()
    rooms = {queue.pool: queue.pool_room for queue in queues}
    names = {queue.pool: queue.pool_name for queue in queues}
    dag_rooms = {queue.dag: queue.dag_room for queue in queues if queue.dag_room is not None}
    chosen: list[tuple[str, str, ReadyTask]] = []
    for pool in sorted(rooms):
        members = [
            DagQueue(queue.dag, queue.live, dag_rooms.get(queue.dag), tuple(queue.tasks), lot(queue.dag, now))
            for queue in queues
            if queue.pool == pool
        ]
        for dag, task in admit(rooms[pool], members):
            chosen.append((pool, dag, task))
            if dag in dag_rooms:
                dag_rooms[dag] -= 1
    ids = {RevisionId(DagUid(dag), task.revision) for _, dag, task in chosen}
    known = revisions.read(connection, ids) if ids else {}
    return [_slot(pool, names[pool], known[RevisionId(DagUid(dag), task.revision)], task) for pool, dag, task in chosen]


def create(connection: psycopg.Connection, chosen: list[Slot], now: datetime) -> Later[list[Send]]:
    """Create the attempts of tasks that were chosen in this transaction; return the messages to send after COMMIT."""
    created = attempts.create(connection, chosen, now, SEND_WITHIN)
    after_commit(connection, lambda: counting.admitted(chosen, {send.attempt for send in created.get()}, now))
    return created


def _slot(pool: str, pool_name: str, revision: Revision, ready: ReadyTask) -> Slot:
    task, defaults = revision.tasks[ready.key.task], revision.spec.defaults
    return Slot(
        ready.key,
        ready.number,
        pool,
        revision.id,
        task.attempt_timeout(defaults),
        task.queue_timeout or defaults.queue_timeout,
        ready.ready_at,
        pool_name,
    )
