"""What a worker counts, and /metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

if TYPE_CHECKING:
    from workers.held import Registry

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The numbers of one worker process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.attempts = self._counter("attempts", "Attempts that ended, by outcome.", "outcome")
        self.stale = self._counter("stale_results", "Results refused because the attempt was superseded.")
        self.malformed = self._counter("malformed_messages", "Messages that could not be read and were deleted.")
        self.refused = self._counter("refused_claims", "Claims refused, by reason.", "reason")
        self.child_starts = self._counter("child_starts", "Child processes that were started.")
        self.receive_seconds = self._histogram("receive_seconds", "Time of a receive that returned messages.")
        self.claim_seconds = self._histogram("claim_seconds", "Time of a claim request.")
        self.report_seconds = self._histogram("report_seconds", "Time of a report request.")
        self.attempt_seconds = self._histogram("attempt_seconds", "Time of an attempt in its slot.")

    def serve(self, host: str, port: int, slots: Registry) -> None:
        """Serve /metrics on a thread; port 0 serves nothing."""
        self._gauge("slots", "Attempts that may run at once.").set(slots.slots)
        self._gauge("busy_slots", "Attempts that run.").set_function(lambda: slots.busy)
        self._gauge("held_attempts", "Attempts claimed and not yet reported.").set_function(lambda: len(slots.all()))
        if port:
            start_http_server(port, addr=host, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"setpoint_worker_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"setpoint_worker_{name}", text, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"setpoint_worker_{name}", text, registry=self.registry, buckets=_BUCKETS)
