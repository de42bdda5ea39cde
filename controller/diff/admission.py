"""Which ready tasks get the free slots: by priority, then fairly among DAGs, then by lot, then by age.

Capacity is counted, never stored: the caller counts live attempts in the transaction that admits, after locking the pool and
DAG rows, so nothing has to be released and nothing leaks.
"""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from controller.actions import TaskKey

_Head: TypeAlias = "tuple[int, int, int, datetime, str, int]"
"""What orders the first tasks of DAGs: priority, live attempts, lot, age; then the DAG and the task's place in it."""


@dataclass(frozen=True, slots=True)
class ReadyTask:
    """A task that waits for a slot."""

    key: TaskKey
    number: int
    priority: int
    ready_at: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class DagQueue:
    """The ready tasks of one DAG in one pool, in their order, and how much more the DAG may have live."""

    dag: str
    live: int
    room: int | None
    tasks: tuple[ReadyTask, ...]
    lot: int = 0


def lot(dag: str, now: datetime) -> int:
    """Return the lot that a DAG draws in this pass; the lowest of those with equally many live attempts goes first.

    Where there are fewer slots than DAGs, most have nothing live, and by age the one that asked for much first would get
    every slot until it is done. A lottery gives equal shares with no memory of who was served (Waldspurger and Weihl,
    "Lottery Scheduling", 1994); a hash in place of a random number gives the same lot however often it is computed.
    """
    return int.from_bytes(hashlib.blake2b(f"{dag}@{now.isoformat()}".encode(), digest_size=8).digest())


def admit(room: int, dags: Sequence[DagQueue]) -> list[tuple[str, ReadyTask]]:
    """Return (dag, task) for each slot, at most `room`: higher priority first, then the DAG with fewest live attempts."""
    heads: list[_Head] = []
    rooms = {queue.dag: queue.room for queue in dags}
    queues = {queue.dag: queue for queue in dags}
    for queue in dags:
        _push(heads, queue, 0, queue.live)

    admitted: list[tuple[str, ReadyTask]] = []
    while heads and len(admitted) < room:
        _, live, _, _, dag, position = heapq.heappop(heads)
        left = rooms[dag]
        if left is not None and left <= 0:
            continue
        rooms[dag] = None if left is None else left - 1
        admitted.append((dag, queues[dag].tasks[position]))
        _push(heads, queues[dag], position + 1, live + 1)
    return admitted


def _push(heads: list[_Head], queue: DagQueue, position: int, live: int) -> None:
    if position < len(queue.tasks):
        task = queue.tasks[position]
        heapq.heappush(heads, (-task.priority, live, queue.lot, task.ready_at, queue.dag, position))
