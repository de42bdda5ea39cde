"""The slots: each runs one attempt at a time, on a thread that lives as long as the process."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

import structlog

from workers.held import Stop
from workers.wake import Wake

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crds.protocol import Grant
    from workers.held import Held, Registry
    from workers.metrics import Metrics
    from workers.reporter import Reporter
    from workers.runner import Runner

_log = structlog.get_logger(__name__)


class Slots:
    """Start granted attempts and hand their reports over."""

    def __init__(self, registry: Registry, runner: Runner, reporter: Reporter, metrics: Metrics) -> None:
        self._registry = registry
        self._runner = runner
        self._reporter = reporter
        self._metrics = metrics
        # Bounded by the registry: no more is claimed than there are slots.
        self._granted: SimpleQueue[Held] = SimpleQueue()
        self._closed = False

    def open(self) -> None:
        """Start the threads."""
        for number in range(self._registry.slots):
            Thread(target=self._serve, name=f"slot-{number}", daemon=True).start()

    def start(self, grants: Iterable[Grant]) -> None:
        """Start attempts in free slots."""
        for grant in grants:
            held = self._registry.add(grant)
            if held is not None:
                if self._closed:
                    held.stop(Stop.EVICT)
                self._granted.put(held)

    def close(self) -> None:
        """Stop what runs and what comes from now on; each is reported evicted."""
        self._closed = True
        for held in self._registry.all():
            held.stop(Stop.EVICT)

    def _serve(self) -> None:
        wake = Wake()
        while True:
            held = self._granted.get()
            try:
                self._run(held, wake)
            except Exception:  # noqa: BLE001 - the slot must serve the next attempt, whatever happened
                # Held no longer, it is missing from the heartbeats, and the controller will call it lost.
                self._registry.forget(held.grant.attempt)
                _log.exception("slot.failed", attempt=held.grant.attempt)

    def _run(self, held: Held, wake: Wake) -> None:
        with self._metrics.attempt_seconds.time():
            report = self._runner.run(held, wake)
        if held.start_seconds is not None:
            self._metrics.start_seconds.observe(held.start_seconds)
        attempt = held.grant.attempt
        if report is None:
            self._registry.forget(attempt)
            self._metrics.attempts.labels("stale").inc()
            _log.warning("attempt.superseded", attempt=attempt)
            return
        self._metrics.attempts.labels(report.outcome).inc()
        reason = report.error.reason if report.error else None
        _log.info("attempt.ended", attempt=attempt, outcome=report.outcome, reason=reason)
        self._reporter.submit(report)
