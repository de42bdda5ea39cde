"""The life of a worker process: start, work, drain or stop."""

from __future__ import annotations

import select
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

import structlog

from workers.backoff import Backoff

if TYPE_CHECKING:
    from workers.children import Children
    from workers.client import Dispatcher
    from workers.clock import Draw
    from workers.consumer import Consumer
    from workers.heartbeat import Heartbeat
    from workers.held import Registry
    from workers.protection import Protection
    from workers.queue import Queue
    from workers.reporter import Reporter
    from workers.scratch import Scratch
    from workers.slots import Slots
    from workers.wake import Wake

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
# What it takes to stop children (SIGTERM, 5 s, SIGKILL) and to report them evicted, out of the grace.
EVICT_SECONDS = 10.0
CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Worker:
    """The parts of one worker process, in the order in which they start."""

    registry: Registry
    dispatcher: Dispatcher
    queue: Queue
    consumer: Consumer
    heartbeat: Heartbeat
    slots: Slots
    children: Children
    reporter: Reporter
    protection: Protection
    scratch: Scratch
    draw: Draw
    draining: Event = field(default_factory=Event)
    ended: Event = field(default_factory=Event)

    def run(self, stop: Wake, grace_seconds: float) -> None:
        """Work until `stop` is woken or the worker has drained; then end everything within the grace."""
        self._start()
        self._work(stop)
        self._finish(grace_seconds)

    def drain(self, why: str) -> None:
        """Receive no more; the process ends when nothing is held."""
        if not self.draining.is_set():
            self.consumer.stop()
            self.draining.set()
            _log.info("worker.draining", why=why)

    def _start(self) -> None:
        self.children.start()
        self.queue.start()
        self.reporter.start(self.ended, self.slots.start, self.consumer.receives)
        self.slots.open()
        self.heartbeat.start(self.ended, self.drain)
        # It waits for the first answered heartbeat: the pool knows the worker before it claims.
        self.consumer.start(self.registry, self.dispatcher, self.drain, Backoff(self.draw, cap=10.0))
        _log.info("worker.started", slots=self.registry.slots)

    def _work(self, stop: Wake) -> None:
        while not select.select([stop], [], [], LOOK_SECONDS)[0]:
            self.protection.tend(busy=self.registry.busy > 0)
            if self.draining.is_set():
                self.consumer.settle()
                if self.registry.wait_empty(0):
                    return

    def _finish(self, grace_seconds: float) -> None:
        self.consumer.stop()
        self.consumer.settle()
        held = self.registry.all()
        _log.info("worker.stopping", held=len(held), grace_seconds=grace_seconds)
        if not self.registry.wait_empty(max(0.0, grace_seconds - EVICT_SECONDS)):
            self.slots.close()
            self.registry.wait_empty(EVICT_SECONDS)
        self.ended.set()
        self.reporter.close(CLOSE_SECONDS)
        self.heartbeat.leave(CLOSE_SECONDS)
        self.queue.close(CLOSE_SECONDS)
        self.children.close()
        self.protection.drop()
        self.scratch.close()
        _log.info("worker.stopped", unreported=len(self.registry.all()))
