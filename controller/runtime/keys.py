"""A key names what a reconciler shall look at; a wake says that it shall do so soon."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Kind(StrEnum):
    """The kinds of key. `slots` is a pool in which a slot fell free; it is worked on together with runs."""

    RUN = "run"
    SLOTS = "slots"
    DAG = "dag"
    POOL = "pool"
    QUEUE = "queue"
    DATASET = "dataset"


class Key(NamedTuple):
    """A kind and the uid of the object (of slots and queue: the pool)."""

    kind: Kind
    uid: str


class Wake(Protocol):
    """What passes keys on to whoever leads; losing one costs time, never work."""

    def __call__(self, keys: Iterable[Key]) -> None:
        """Have the keys looked at soon; called after COMMIT."""
        ...
