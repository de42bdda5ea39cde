"""The metrics of the loop, under the names that Kubernetes controllers use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from controller.runtime.workqueue import Workqueue

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

RECONCILE_TOTAL = Counter("controller_runtime_reconcile", "Reconciliations by result.", ["controller", "result"])
RECONCILE_ERRORS = Counter("controller_runtime_reconcile_errors", "Reconciliations that failed.", ["controller"])
RECONCILE_TERMINAL = Counter(
    "controller_runtime_terminal_reconcile_errors", "Reconciliations that need a person.", ["controller"]
)
RECONCILE_TIME = Histogram(
    "controller_runtime_reconcile_time_seconds", "Time a batch takes.", ["controller"], buckets=_SECONDS
)
LEADER = Gauge("leader_election_master_status", "1 while this process leads.", ["name"])
AWS_REQUESTS = Counter("aws_sdk_request", "AWS calls by outcome.", ["service", "operation", "code"])
AWS_SECONDS = Histogram(
    "aws_sdk_request_duration_seconds", "Time of AWS calls.", ["service", "operation"], buckets=_SECONDS
)
CLAIMS = Counter("setpoint_claims", "Claims by answer.", ["pool", "answer"])
REPORTS = Counter("setpoint_reports", "Reports by outcome.", ["pool", "outcome"])
STALE_RESULTS = Counter("setpoint_stale_results", "Reports of superseded attempts, refused.", ["pool"])
ATTEMPTS = Counter("setpoint_attempts_ended", "Attempts by final phase and reason.", ["phase", "reason"])


class Workqueues(Collector):
    """Depth, adds and retries of every workqueue, read when scraped."""

    def __init__(self, queues: Callable[[], Mapping[str, Workqueue]]) -> None:
        self._queues = queues

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        depth = GaugeMetricFamily("workqueue_depth", "Keys that wait.", labels=["name"])
        adds = CounterMetricFamily("workqueue_adds", "Keys added.", labels=["name"])
        retries = CounterMetricFamily("workqueue_retries", "Keys tried again after a failure.", labels=["name"])
        for name, queue in self._queues().items():
            depth.add_metric([name], len(queue))
            adds.add_metric([name], queue.adds)
            retries.add_metric([name], queue.retries)
        return [depth, adds, retries]
