"""Every metric of a worker, declared once, and /metrics; what is marked with a `Cloud` goes to CloudWatch too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server

from crds.instruments import Cloud, Instruments

if TYPE_CHECKING:
    from workers.held import Registry

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ATTEMPT = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200)


class Metrics:
    """The numbers of one worker process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.instruments = Instruments(self.registry, of_pool=True)
        counter, gauge, histogram = self.instruments.counter, self.instruments.gauge, self.instruments.histogram
        self.attempts = counter(
            "setpoint_worker_attempts", "Attempts that ended, by outcome.", "outcome", cloud=Cloud.POOL
        )
        self.stale = counter(
            "setpoint_worker_stale_results", "Results refused because the attempt was superseded.", cloud=Cloud.POOL
        )
        self.malformed = counter(
            "setpoint_worker_malformed_messages",
            "Messages that could not be read and were deleted.",
            cloud=Cloud.POOL,
        )
        self.refused = counter("setpoint_worker_refused_claims", "Claims refused, by reason.", "reason")
        self.child_starts = counter("setpoint_worker_child_starts", "Child processes that were started.")
        self.receive_seconds = histogram(
            "setpoint_worker_receive_seconds", "Time of a receive that returned messages.", buckets=_BUCKETS
        )
        self.claim_seconds = histogram("setpoint_worker_claim_seconds", "Time of a claim request.", buckets=_BUCKETS)
        self.report_seconds = histogram("setpoint_worker_report_seconds", "Time of a report request.", buckets=_BUCKETS)
        self.start_seconds = histogram(
            "setpoint_worker_start_seconds",
            "Time from the claim of an attempt until its user code starts.",
            buckets=_BUCKETS,
            cloud=Cloud.POOL,
        )
        self.attempt_seconds = histogram(
            "setpoint_worker_attempt_seconds", "Time of an attempt in its slot.", buckets=_ATTEMPT
        )
        self._slots = gauge("setpoint_worker_slots", "Attempts that may run at once.")
        self._busy = gauge("setpoint_worker_busy_slots", "Attempts that run.")
        self._held = gauge("setpoint_worker_held_attempts", "Attempts claimed and not yet reported.")

    def serve(self, host: str, port: int, slots: Registry) -> None:
        """Serve /metrics on a thread; port 0 serves nothing."""
        self._slots.set(slots.slots)
        self._busy.set_function(lambda: slots.busy)
        self._held.set_function(lambda: len(slots.all()))
        if port:
            start_http_server(port, addr=host, registry=self.registry)
