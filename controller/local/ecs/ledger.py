"""All tasks, with their short past: an eventually consistent reader sees what was true some time ago."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from controller.local.ecs.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from controller.local.ecs.model import Task

# ECS shows a stopped task for an hour; the count bounds the memory of a crash loop.
_STOPPED_KEPT_FOR = timedelta(hours=1)
_STOPPED_KEPT = 1_000
_PAST_KEPT = 16


class Ledger:
    """The latest value of each task and the values before it."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._past: dict[str, deque[tuple[datetime, Task]]] = {}
        self._stopped: deque[str] = deque()
        self.observers: list[Callable[[Task], None]] = []

    def add(self, task: Task) -> None:
        """Record a new task."""
        self._past[task.id] = deque([(self._now(), task)], maxlen=_PAST_KEPT)
        self._tell(task)

    def change(self, task_id: str, **fields: Any) -> Task:
        """Record a change and tell the observers if it changed the task's status or health."""
        before = self.get(task_id)
        after = replace(before, version=before.version + 1, **fields)
        self._past[task_id].append((self._now(), after))
        if after.status is not before.status and after.status is Status.STOPPED:
            self._stopped.append(task_id)
            self._forget()
        if (after.status, after.health) != (before.status, before.health):
            self._tell(after)
        return after

    def get(self, task_id: str) -> Task:
        """Return a task; raise KeyError if unknown."""
        return self._past[task_id][-1][1]

    def find(self, task_id: str, delay: timedelta = timedelta()) -> Task | None:
        """Return a task as it was `delay` ago, or None if it was unknown then."""
        seen = self._now() - delay
        past = self._past.get(task_id, ())
        return next((task for at, task in reversed(past) if at <= seen), None)

    def all(self, delay: timedelta = timedelta()) -> Iterator[Task]:
        """Yield every task, oldest first, as it was `delay` ago."""
        found = (self.find(task_id, delay) for task_id in list(self._past))
        return (task for task in found if task is not None)

    def unfinished(self, service: str | None = None, cluster: str | None = None) -> list[Task]:
        """Return the tasks that have not stopped, of one service if named, oldest first."""
        latest = (past[-1][1] for past in self._past.values())
        return [
            task
            for task in latest
            if task.status is not Status.STOPPED
            and (service is None or (task.service, task.cluster) == (service, cluster))
        ]

    def _tell(self, task: Task) -> None:
        for observer in self.observers:
            observer(task)

    def _forget(self) -> None:
        horizon = self._now() - _STOPPED_KEPT_FOR
        while self._stopped and (len(self._stopped) > _STOPPED_KEPT or self._ended(self._stopped[0]) < horizon):
            del self._past[self._stopped.popleft()]

    def _ended(self, task_id: str) -> datetime:
        return self._past[task_id][-1][0]
