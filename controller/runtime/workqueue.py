"""The workqueue of a controller: keys once each, delayed keys, a backoff per failing key. In memory only.

After client-go's workqueue: a key that is added while it is worked on is worked on again afterwards, never twice at once.
"""

from __future__ import annotations

import heapq
import time
from threading import Condition
from typing import TYPE_CHECKING

from controller.runtime.backoff import KEY_BACKOFF_FIRST, KEY_BACKOFF_MOST, exponential
from controller.runtime.metrics import QUEUE_TIME, WORK_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from controller.runtime.keys import Key


class Workqueue:
    """A set of keys to look at, in the order in which they were added."""

    def __init__(self, name: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._monotonic = monotonic
        self._changed = Condition()
        self._ready: dict[Key, float] = {}
        self._working: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._failures: dict[Key, int] = {}
        self._closed = False
        self._waited = QUEUE_TIME.labels(name)
        self._worked = WORK_TIME.labels(name)
        self.adds = 0
        self.retries = 0

    def add(self, keys: Iterable[Key]) -> None:
        """Have keys looked at as soon as possible."""
        with self._changed:
            for key in keys:
                self._add(key)
            self._changed.notify_all()

    def add_after(self, key: Key, delay: timedelta) -> None:
        """Have a key looked at after a delay; of several delays the shortest counts."""
        due = self._monotonic() + max(delay.total_seconds(), 0.0)
        with self._changed:
            if self._due.get(key, due + 1) > due:
                self._due[key] = due
                heapq.heappush(self._heap, (due, key))
                self._changed.notify_all()

    def get(self, limit: int, timeout: float) -> list[Key]:
        """Return up to `limit` keys to work on, waiting up to `timeout` seconds for the first."""
        end = self._monotonic() + timeout
        with self._changed:
            while True:
                self._promote()
                if self._ready or self._closed:
                    break
                left = end - self._monotonic()
                if left <= 0:
                    return []
                soonest = self._heap[0][0] - self._monotonic() if self._heap else left
                self._changed.wait(max(min(left, soonest), 0.0005))
            keys, now = list(self._ready)[:limit], self._monotonic()
            for key in keys:
                self._waited.observe(now - self._ready.pop(key))
                self._working[key] = now
            return keys

    def done(self, key: Key) -> None:
        """Say that the work on a key has ended; it comes again if it was added meanwhile."""
        with self._changed:
            began = self._working.pop(key, None)
            if began is not None:
                self._worked.observe(self._monotonic() - began)
            if key in self._again:
                self._again.discard(key)
                self._ready.setdefault(key, self._monotonic())
                self._changed.notify_all()

    def forget(self, key: Key) -> None:
        """Reset the backoff of a key that succeeded."""
        with self._changed:
            self._failures.pop(key, None)

    def failed(self, key: Key) -> timedelta:
        """Have a failed key looked at again after its backoff, and return that."""
        with self._changed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self.retries += 1
        delay = exponential(KEY_BACKOFF_FIRST, 2.0, KEY_BACKOFF_MOST, failures)
        self.add_after(key, delay)
        return delay

    def close(self) -> None:
        """Wake whoever waits; nothing is handed out any more."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget every key, when somebody else leads."""
        with self._changed:
            self._ready.clear()
            self._again.clear()
            self._due.clear()
            self._heap.clear()
            self._failures.clear()

    def unfinished(self) -> list[float]:
        """Return for how many seconds each key in work has been worked on."""
        with self._changed:
            now = self._monotonic()
            return [now - began for began in self._working.values()]

    def __len__(self) -> int:
        return len(self._ready)

    def _add(self, key: Key) -> None:
        self.adds += 1
        if key in self._working:
            self._again.add(key)
        else:
            self._ready.setdefault(key, self._monotonic())

    def _promote(self) -> None:
        now = self._monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            # An entry that a shorter delay replaced is stale.
            if self._due.get(key) == due:
                del self._due[key]
                self._add(key)
