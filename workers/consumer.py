"""The receiver: messages from the queue become claims, claims become attempts in slots."""

from __future__ import annotations

from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

import structlog

from workers.queue import QueueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.backoff import Backoff
    from workers.claims import Claimer
    from workers.client import Dispatcher
    from workers.held import Registry
    from workers.metrics import Metrics
    from workers.protection import Protection
    from workers.queue import Delivery, Queue
    from workers.slots import Slots

_log = structlog.get_logger(__name__)

# How long the receiver waits for a slot or the dispatcher before it looks whether it must stop.
LOOK_SECONDS = 0.5
# A claim that is on its way when the worker stops has this long to become attempts, which are then held.
CLAIM_SECONDS = 5.0


class Consumer:
    """Receive only what there are free slots for, and only while the dispatcher answers."""

    def __init__(self, queue: Queue, claimer: Claimer, slots: Slots, protection: Protection, metrics: Metrics) -> None:
        self._queue = queue
        self._claimer = claimer
        self._slots = slots
        self._protection = protection
        self._metrics = metrics
        self._stopped = Event()
        self._claiming = Lock()

    def start(self, registry: Registry, dispatcher: Dispatcher, drain: Callable[[str], None], backoff: Backoff) -> None:
        """Receive on a thread of its own; it may hang in a long poll, so no one waits for its end."""
        arguments = (registry, dispatcher, drain, backoff)
        Thread(target=self._run, args=arguments, name="receiver", daemon=True).start()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopped.set()

    def receives(self) -> bool:
        """Tell whether more may be claimed."""
        return not self._stopped.is_set()

    def settle(self) -> None:
        """Wait until a claim that is on its way has become attempts, or has failed to."""
        if self._claiming.acquire(timeout=CLAIM_SECONDS):
            self._claiming.release()

    def _run(self, registry: Registry, dispatcher: Dispatcher, drain: Callable[[str], None], backoff: Backoff) -> None:
        while not self._stopped.is_set():
            if not dispatcher.reachable.wait(LOOK_SECONDS):
                continue
            free = registry.wait_free(LOOK_SECONDS)
            if free:
                self._try(free, drain, backoff)

    def _try(self, free: int, drain: Callable[[str], None], backoff: Backoff) -> None:
        try:
            self._consume(self._receive(free, backoff), drain)
        except Exception:  # noqa: BLE001 - a worker that heartbeats and receives nothing more would be worse
            _log.exception("receive.broken", failures=backoff.failures)
            backoff.wait(self._stopped)

    def _receive(self, free: int, backoff: Backoff) -> list[Delivery]:
        if self._stopped.is_set():
            return []
        try:
            with self._metrics.receive_seconds.time():
                deliveries = self._queue.receive(free)
        except QueueError as error:
            _log.warning("receive.failed", failures=backoff.failures, error=str(error))
            backoff.wait(self._stopped)
            return []
        backoff.reset()
        return deliveries

    def _consume(self, deliveries: list[Delivery], drain: Callable[[str], None]) -> None:
        if not deliveries:
            return
        with self._claiming:
            if self._stopped.is_set():
                return  # The messages become visible again.
            if not self._protection.ensure():
                drain("the deployment waits for this task")
                return
            claimed = self._claimer.claim(deliveries, self._stopped)
            self._slots.start(claimed.grants)
        self._queue.delete(claimed.delete)
        if claimed.drain:
            drain("told by the dispatcher")
