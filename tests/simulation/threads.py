"""What the product imports from `threading`, `queue` and `select`, made of fibers.

`Cooperation` swaps these names in the modules that wait, while the parts of a simulated process are built. The product's own
code runs as it is; each of its threads is a fiber, and each of its waits lets the scheduler choose who goes on.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import controller.api.batcher
import controller.informers.notifier
import controller.informers.timers
import controller.main
import controller.reconcilers.pools
import controller.reconcilers.sender
import controller.runtime.background
import controller.runtime.loop
import controller.runtime.workqueue
import workers.client
import workers.consumer
import workers.grouping
import workers.heartbeat
import workers.held
import workers.slots
import workers.worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.simulation.fibers import Fiber, Fibers

Swap = tuple[ModuleType, str, Any]
"""A module, a name in it, and what stands in for it."""
IDLE_WAIT = 30.0
"""How often, in virtual seconds, an idle loop looks up; in the product it is a second, which here only costs time."""
LOOK_EVERY = 2.5
"""How often timers and the keeper of `open_since` look; below the gap of 3 s that counts as an outage."""
SENDERS = 2
"""How many threads do what the product has more for."""
POOLS_EVERY = timedelta(seconds=10)
"""How often a pool is looked at that nothing woke."""


class Event:
    """As threading.Event."""

    def __init__(self, fibers: Fibers) -> None:
        self._fibers = fibers
        self._set = False
        self._waiting: list[Fiber] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        for fiber in self._waiting:
            fiber.ready = True

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if self._set or timeout == 0:
            return self._set
        fiber = self._fibers.current
        assert fiber is not None
        self._waiting.append(fiber)
        try:
            self._fibers.park(timeout)
        finally:
            self._waiting.remove(fiber)
        return self._set


class Lock:
    """As threading.Lock."""

    def __init__(self, fibers: Fibers) -> None:
        self._fibers = fibers
        self._held = False
        self._waiting: list[Fiber] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        end = None if timeout < 0 else self._fibers.now + timeout
        while self._held:
            if not blocking or (end is not None and self._fibers.now >= end):
                return False
            fiber = self._fibers.current
            assert fiber is not None
            self._waiting.append(fiber)
            try:
                self._fibers.park(None if end is None else end - self._fibers.now)
            finally:
                self._waiting.remove(fiber)
        self._held = True
        return True

    def release(self) -> None:
        self._held = False
        for fiber in self._waiting:
            fiber.ready = True

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition:
    """As threading.Condition; its lock is free, since nobody is interrupted but by waiting."""

    def __init__(self, fibers: Fibers) -> None:
        self._fibers = fibers
        self._waiting: list[Fiber] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, timeout: float | None = None) -> bool:
        fiber = self._fibers.current
        assert fiber is not None
        self._waiting.append(fiber)
        try:
            return self._fibers.park(timeout)
        finally:
            self._waiting.remove(fiber)

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> bool:
        end = None if timeout is None else self._fibers.now + timeout
        while not predicate():
            if end is not None and self._fibers.now >= end:
                return bool(predicate())
            self.wait(None if end is None else end - self._fibers.now)
        return True

    def notify(self, n: int = 1) -> None:
        for fiber in [f for f in self._waiting if not f.ready][:n]:
            fiber.ready = True

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class SimpleQueue:
    """As queue.SimpleQueue."""

    def __init__(self, fibers: Fibers) -> None:
        self._items: deque[Any] = deque()
        self._changed = Condition(fibers)

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._changed.notify()

    def get(self) -> Any:
        self._changed.wait_for(lambda: self._items)
        return self._items.popleft()


class Thread:
    """As threading.Thread."""

    def __init__(
        self, fibers: Fibers, *, target: Callable[..., Any], name: str, args: Iterable[Any] = (), daemon: bool = True
    ) -> None:
        self._fibers = fibers
        self._name = name
        self._run: Callable[[], Any] = lambda: target(*args)
        self._fiber: Fiber | None = None
        self._ended = Event(fibers)

    def start(self) -> None:
        self._fiber = self._fibers.spawn(self._name, self._whole)

    def is_alive(self) -> bool:
        return self._fiber is not None and not self._ended.is_set()

    def join(self, timeout: float | None = None) -> None:
        if self._fiber is not None:
            self._ended.wait(timeout)

    def _whole(self) -> None:
        try:
            self._run()
        finally:
            self._ended.set()


class Wake:
    """As workers.wake.Wake, without a pipe."""

    def __init__(self, fibers: Fibers) -> None:
        self.event = Event(fibers)

    def set(self) -> None:
        self.event.set()

    def clear(self) -> None:
        self.event.clear()


class Cooperation:
    """The names to swap, and their stand-ins for one schedule."""

    def __init__(self, fibers: Fibers) -> None:
        def made(kind: Any) -> Callable[..., Any]:
            return lambda *args, **kwargs: kind(fibers, *args, **kwargs)

        self.event, self.thread, condition = made(Event), made(Thread), made(Condition)
        threading = SimpleNamespace(Event=self.event, Thread=self.thread, Condition=condition)
        self._swaps: list[Swap] = [
            (controller.api.batcher, "threading", threading),
            (controller.reconcilers.sender, "threading", threading),
            (controller.reconcilers.sender, "SENDERS", SENDERS),
            (controller.reconcilers.sender, "IDLE_WAIT", IDLE_WAIT),
            (controller.reconcilers.pools, "LOOK_EVERY", POOLS_EVERY),
            (controller.main, "POOL_THREADS", SENDERS),
            (controller.runtime.background, "threading", threading),
            (controller.informers.notifier, "threading", SimpleNamespace(**vars(threading), Lock=made(Lock))),
            (controller.informers.notifier, "LOOK_EVERY", IDLE_WAIT),
            (controller.runtime.loop, "threading", threading),
            (controller.runtime.loop, "IDLE_WAIT", IDLE_WAIT),
            (controller.runtime.workqueue, "Condition", condition),
            (controller.informers.timers, "LOOK_EVERY", LOOK_EVERY),
            (workers.client, "Event", self.event),
            (workers.consumer, "Event", self.event),
            (workers.consumer, "Lock", made(Lock)),
            (workers.consumer, "Thread", self.thread),
            (workers.grouping, "Condition", condition),
            (workers.grouping, "Thread", self.thread),
            (workers.heartbeat, "Thread", self.thread),
            (workers.held, "Condition", condition),
            (workers.slots, "SimpleQueue", made(SimpleQueue)),
            (workers.slots, "Thread", self.thread),
            (workers.slots, "Wake", made(Wake)),
            (workers.worker, "select", SimpleNamespace(select=_select)),
        ]

    def in_place(self) -> AbstractContextManager[None]:
        """Have the product's modules use the stand-ins."""
        return self.also(self._swaps)

    @contextmanager
    def also(self, swaps: list[Swap]) -> Iterator[None]:
        """Swap further names for a while."""
        before = [(module, name, getattr(module, name)) for module, name, _ in swaps]
        for module, name, value in swaps:
            setattr(module, name, value)
        try:
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)


def _select(
    read: list[Wake], _write: list[Any], _exceptional: list[Any], timeout: float
) -> tuple[list[Wake], list[Any], list[Any]]:
    return [w for w in read if w.event.wait(timeout)], [], []
