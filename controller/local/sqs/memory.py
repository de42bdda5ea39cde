"""What a FIFO queue remembers for five minutes: the sends and the receives that may be repeated."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

REMEMBERED_SECONDS = 300

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """A table whose entries are forgotten five minutes after they were written."""

    def __init__(self) -> None:
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K, now: float) -> V | None:
        """Return what was written under the key, if that is still remembered."""
        found = self._entries.get(key)
        return found[1] if found is not None and found[0] > now else None

    def put(self, key: K, value: V, now: float) -> None:
        """Write an entry, and drop those whose time is over; the table is bounded by that time."""
        self._entries.pop(key, None)
        self._entries[key] = (now + REMEMBERED_SECONDS, value)
        while next(iter(self._entries.values()))[0] <= now:
            self._entries.popitem(last=False)
