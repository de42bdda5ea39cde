"""One thread that handles what others submit, in groups, without a timer."""

from __future__ import annotations

from collections import deque
from threading import Condition, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Item = TypeVar("_Item")


class Grouping(Generic[_Item]):
    """Handle items at once when idle; what arrives meanwhile forms the next group.

    What is submitted is bounded by the attempts that a worker holds, so the queue needs no bound of its own.
    """

    def __init__(self, name: str, handle: Callable[[Sequence[_Item]], None], limit: int) -> None:
        self._handle = handle
        self._limit = limit
        self._waiting: deque[_Item] = deque()
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, item: _Item) -> None:
        """Hand one item over."""
        with self._changed:
            self._waiting.append(item)
            self._changed.notify()

    def close(self, seconds: float) -> bool:
        """Take nothing more and wait for the rest, at most `seconds`; return whether all was handled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while group := self._next():
            self._handle(group)

    def _next(self) -> list[_Item]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            size = min(self._limit, len(self._waiting))
            return [self._waiting.popleft() for _ in range(size)]
