"""The attempts that this process has claimed and not yet reported."""

from __future__ import annotations

from enum import StrEnum
from threading import Condition
from typing import TYPE_CHECKING

from crds.names import AttemptId
from crds.protocol import MAX_BATCH, Grant, Progress

if TYPE_CHECKING:
    from collections.abc import Callable


class Stop(StrEnum):
    """Why an attempt must not go on."""

    CANCEL = "cancel"
    EVICT = "evict"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    STALE = "stale"


class Held:
    """One claimed attempt: its grant, how far it is, and whether it must stop."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self.progress = Progress()
        self.stopping: Stop | None = None
        self.start_seconds: float | None = None
        """How long it took from its claim until a child had it."""
        self._wake: Callable[[], None] | None = None

    def watch(self, wake: Callable[[], None] | None) -> None:
        """Set what is called when the attempt must stop; it looks at `stopping` first."""
        self._wake = wake

    def stop(self, why: Stop) -> None:
        """Ask the attempt to stop. The first reason stays, unless the attempt is superseded."""
        if self.stopping is None or why is Stop.STALE:
            self.stopping = why
        wake = self._wake
        if wake is not None:
            wake()


class Registry:
    """Which attempts are held, and how many slots are free. All threads share it."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._held: dict[AttemptId, Held] = {}
        self._changed = Condition()

    def add(self, grant: Grant) -> Held | None:
        """Hold an attempt and take a slot for it until it is forgotten; return None if it is held already."""
        with self._changed:
            if grant.attempt in self._held:
                return None
            held = self._held[grant.attempt] = Held(grant)
            return held

    def forget(self, attempt: AttemptId) -> None:
        """Give an attempt and its slot back: its report was recorded, or it is no longer ours."""
        with self._changed:
            self._held.pop(attempt, None)
            self._changed.notify_all()

    def all(self) -> list[Held]:
        """Return what is held now."""
        with self._changed:
            return list(self._held.values())

    def get(self, attempt: str) -> Held | None:
        """Return one held attempt."""
        with self._changed:
            return self._held.get(AttemptId(attempt))

    @property
    def busy(self) -> int:
        """The slots in use."""
        return len(self._held)

    def free(self) -> int:
        """Return how many attempts may be claimed now; a heartbeat names at most MAX_BATCH."""
        return max(0, min(self.slots, MAX_BATCH) - len(self._held))

    def wait_free(self, seconds: float) -> int:
        """Wait until a slot is free, at most `seconds`; return how many are."""
        with self._changed:
            self._changed.wait_for(lambda: self.free() > 0, timeout=seconds)
            return self.free()

    def wait_empty(self, seconds: float) -> bool:
        """Wait until nothing is held, at most `seconds`; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, timeout=seconds)
