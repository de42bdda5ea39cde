"""Threads that run one at a time, and only when the scheduler says so.

A fiber is a greenlet that stands for a thread of a simulated process. It runs until it waits: for a lock, an event, a time, an
answer, or at a point where the scheduler may let others go first. No host clock is read and nothing sleeps; a fiber that
waits for a time goes on once the virtual clock has reached it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_KILL_TRIES = 10
"""How often a killed fiber may wait again, in its `finally` blocks, before that is an error of the simulation."""


class Killed(BaseException):
    """The process is gone; nothing may catch it."""


@dataclass(eq=False)
class Process:
    """A simulated operating-system process: its fibers, and whether it is stopped (SIGSTOP) or gone."""

    name: str
    parent: Process | None = None
    paused: bool = False
    dead: bool = False
    fibers: list[Fiber] = field(default_factory=list)


class Fiber:
    """One simulated thread."""

    def __init__(self, world: Fibers, process: Process, name: str, work: Callable[[], Any]) -> None:
        self.name = f"{process.name}/{name}"
        self.process = process
        self.ready = True
        self.until: float | None = None
        self.locked: Callable[[], bool] | None = None
        """While a statement of this fiber waits for a lock: tells whether it still does."""
        self.inside = False
        """Parked within a database transaction."""
        self.greenlet = greenlet(work, parent=world.main)

    @property
    def done(self) -> bool:
        """Tell whether it has ended."""
        return bool(self.greenlet.dead)


class Fibers:
    """All fibers of a schedule, and the virtual clock that they wait by."""

    def __init__(self) -> None:
        self.now = 0.0
        self.main = getcurrent()
        self.random = Random(0)
        """The draws of the step that is being taken; each step has its own."""
        self._process: Process | None = None
        self._alive: dict[Fiber, None] = {}
        self._current: Fiber | None = None

    @property
    def current(self) -> Fiber | None:
        """The fiber that runs, None outside."""
        return self._current

    def spawn(self, name: str, work: Callable[[], Any], process: Process | None = None) -> Fiber:
        """Start a fiber in a process, by default that of the fiber that starts it."""
        owner = process or self._process or (self._current.process if self._current else None)
        if owner is None:
            raise RuntimeError(f"fiber {name} belongs to no process")
        fiber = Fiber(self, owner, name, work)
        owner.fibers.append(fiber)
        self._alive[fiber] = None
        return fiber

    def within(self, process: Process, build: Callable[[], Any]) -> Any:
        """Call a function whose threads shall belong to a process."""
        before, self._process = self._process, process
        try:
            return build()
        finally:
            self._process = before

    def runnable(self) -> list[Fiber]:
        """Return the fibers that could go on now, in the order in which they started."""
        now = self.now
        return [
            f
            for f in self._alive
            if not f.process.paused and f.locked is None and (f.ready or (f.until is not None and f.until <= now))
        ]

    def blocked(self) -> list[Fiber]:
        """Return the fibers whose statement waits for a lock."""
        return [f for f in self._alive if f.locked is not None]

    def next_timer(self) -> float | None:
        """Return when the next fiber wants to go on by itself."""
        return min((f.until for f in self._alive if f.until is not None and not f.process.paused), default=None)

    def resume(self, fiber: Fiber) -> None:
        """Let a fiber run until it waits again; what it raises is an error of the schedule."""
        self._switch(fiber, fiber.greenlet.switch)

    def kill(self, process: Process) -> None:
        """End a process at once: what its fibers have not committed is gone."""
        process.dead = True
        for fiber in process.fibers:
            for _ in range(MAX_KILL_TRIES):
                if fiber.done:
                    break
                self._switch(fiber, lambda f=fiber: f.greenlet.throw(Killed))  # type: ignore[misc]
            else:
                raise AssertionError(f"{fiber.name} does not die")
            self._alive.pop(fiber, None)
        process.fibers.clear()

    def park(self, seconds: float | None) -> bool:
        """Wait until woken or, at most, for a time; return whether it was woken."""
        fiber = self._parking()
        fiber.ready, fiber.until = False, None if seconds is None else self.now + seconds
        self.main.switch()
        woken, fiber.ready, fiber.until = fiber.ready, False, None
        return woken

    def stand_aside(self) -> None:
        """Let others go first, if the scheduler wants to."""
        self._parking().ready = True
        self.main.switch()

    def park_locked(self, waits: Callable[[], bool]) -> None:
        """Wait for a database lock as long as `waits` says so."""
        fiber = self._parking()
        fiber.locked = waits
        try:
            self.main.switch()
        finally:
            fiber.locked = None

    def _parking(self) -> Fiber:
        fiber = self._current
        if fiber is None:
            raise RuntimeError("only a fiber may wait")
        if fiber.process.dead:
            raise Killed
        return fiber

    def _switch(self, fiber: Fiber, go: Callable[[], Any]) -> None:
        before, self._current = self._current, fiber
        try:
            go()
        except Killed:
            pass
        finally:
            self._current = before
            if fiber.done:
                self._alive.pop(fiber, None)
                if fiber in fiber.process.fibers and not fiber.process.dead:
                    fiber.process.fibers.remove(fiber)
