"""Results of statements that are on their way.

Within `connection.pipeline()` statements go out one after the other and nobody waits between them: the first result that is
read waits for all of them at once, so that a group costs one round trip. Outside of a pipeline each result is there at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Read = TypeVar("Read")
_UNREAD: Any = object()


class Later(Generic[Read]):
    """What a statement returns, read when it is first asked for; reading it raises what the statement raised."""

    __slots__ = ("_read", "_rows", "_value")

    def __init__(self, rows: Iterable[tuple[Any, ...]], read: Callable[[Iterable[tuple[Any, ...]]], Read]) -> None:
        self._rows = rows
        self._read = read
        self._value: Read = _UNREAD

    def get(self) -> Read:
        """Return what was read, waiting for it if need be."""
        if self._value is _UNREAD:
            self._value = self._read(self._rows)
        return self._value


class Known(Later[Read]):
    """A result that needed no statement."""

    __slots__ = ()

    def __init__(self, value: Read) -> None:
        super().__init__((), lambda _: value)
