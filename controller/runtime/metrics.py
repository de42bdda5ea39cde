"""Every metric of the dispatcher, declared once; the loop's carry the names that Kubernetes controllers use.

What is marked with a `Cloud` goes to CloudWatch under the same name. `fleet` metrics come from the leader's sample alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from crds.instruments import Cloud, Declared, Fleet, Instruments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from psycopg_pool import ConnectionPool

    from controller.runtime.workqueue import Workqueue

# Of client-go and controller-runtime, so that dashboards and alerts of theirs fit.
_RECONCILE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_WORKQUEUE = tuple(10e-9 * 10**n for n in range(12))
_CALL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WAIT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_TASK = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0)

INSTRUMENTS = Instruments(REGISTRY)
_counter, _gauge, _histogram, _fleet = (
    INSTRUMENTS.counter,
    INSTRUMENTS.gauge,
    INSTRUMENTS.histogram,
    INSTRUMENTS.fleet,
)

# The loop.
RECONCILE_TOTAL = _counter("controller_runtime_reconcile", "Reconciliations by result.", "controller", "result")
RECONCILE_ERRORS = _counter(
    "controller_runtime_reconcile_errors", "Reconciliations that failed.", "controller", cloud=Cloud.SYSTEM
)
RECONCILE_TERMINAL = _counter(
    "controller_runtime_terminal_reconcile_errors",
    "Reconciliations that need a person.",
    "controller",
    cloud=Cloud.SYSTEM,
)
RECONCILE_TIME = _histogram(
    "controller_runtime_reconcile_time_seconds",
    "Time that a batch takes.",
    "controller",
    buckets=_RECONCILE,
    cloud=Cloud.SYSTEM,
)
MAX_CONCURRENT = _gauge(
    "controller_runtime_max_concurrent_reconciles", "Batches that may be worked on at once.", "controller"
)
ACTIVE_WORKERS = _gauge("controller_runtime_active_workers", "Batches that are worked on.", "controller")
QUEUE_TIME = _histogram(
    "workqueue_queue_duration_seconds", "Time that a key waits before it is taken.", "name", buckets=_WORKQUEUE
)
WORK_TIME = _histogram("workqueue_work_duration_seconds", "Time that work on a key takes.", "name", buckets=_WORKQUEUE)
LEADER = _gauge("leader_election_master_status", "1 while this process leads.", "name", cloud=Cloud.SYSTEM_MAX)

# AWS.
AWS_REQUESTS = _counter(
    "aws_sdk_request", "Calls to AWS by outcome.", "service", "operation", "code", cloud=Cloud.SYSTEM
)
AWS_SECONDS = _histogram(
    "aws_sdk_request_duration_seconds", "Time of calls to AWS.", "service", "operation", buckets=_CALL
)
AWS_THROTTLED = _counter("setpoint_aws_throttled", "Calls that AWS throttled.", "service", cloud=Cloud.SYSTEM)
AWS_COST = _counter(
    "setpoint_aws_cost_dollars",
    "What the calls cost by the list price of us-east-1, an estimate.",
    "service",
    cloud=Cloud.SYSTEM,
)

# The worker protocol.
CLAIMS = _counter("setpoint_claims", "Claims by answer.", "pool", "answer")
REPORTS = _counter("setpoint_reports", "Reports by outcome.", "pool", "outcome")
STALE_RESULTS = _counter("setpoint_stale_results", "Reports of superseded attempts, refused.", "pool", cloud=Cloud.POOL)

# What ended.
ATTEMPTS = _counter(
    "setpoint_attempts_ended",
    "Attempts by final phase and reason.",
    "pool",
    "phase",
    "reason",
    cloud=Cloud.POOL,
)
ATTEMPTS_LOST = _counter(
    "setpoint_attempts_lost",
    "Attempts that infrastructure ended: lost, evicted or undeliverable.",
    "pool",
    cloud=Cloud.POOL,
)
UNDELIVERABLE = _counter(
    "setpoint_attempts_undeliverable",
    "Attempts given up because no worker claimed any of their messages.",
    "pool",
    cloud=Cloud.POOL,
)
RETRIES = _counter(
    "setpoint_retries",
    "Attempts after the first of a task, by what the one before ended of: user, infrastructure, eviction.",
    "pool",
    "class",
    cloud=Cloud.POOL,
)
ADMISSION_WAIT = _histogram(
    "setpoint_admission_wait_seconds",
    "Time from ready to admitted to a slot.",
    "pool",
    buckets=_WAIT,
    cloud=Cloud.POOL,
)
CLAIM_WAIT = _histogram(
    "setpoint_claim_wait_seconds",
    "Time from admitted to claimed by a worker.",
    "pool",
    buckets=_WAIT,
    cloud=Cloud.POOL,
)
TASK_TIME = _histogram(
    "setpoint_task_duration_seconds",
    "Time from claimed to ended, by outcome.",
    "pool",
    "outcome",
    buckets=_TASK,
    cloud=Cloud.POOL,
)
RUNS_ENDED = _counter("setpoint_runs_ended", "Runs by final phase.", "phase", cloud=Cloud.SYSTEM)
RUNS_FAILED = _counter("setpoint_runs_failed", "Runs that failed.", cloud=Cloud.SYSTEM)
RUN_TIME = _histogram(
    "setpoint_run_duration_seconds",
    "Time from admitted to ended, by final phase.",
    "phase",
    buckets=_TASK,
    cloud=Cloud.SYSTEM,
)

# People and notifications.
HTTP_REQUESTS = _counter(
    "setpoint_http_requests", "HTTP requests by answer, without probes and scrapes.", "method", "code"
)
HTTP_REJECTED = _counter(
    "setpoint_http_rejected", "Requests refused for their rate, size or token.", "reason", cloud=Cloud.SYSTEM
)
NOTIFICATIONS = _counter(
    "setpoint_notifications", "Notifications by what became of a try to send them.", "channel", "outcome"
)
NOTIFICATIONS_GIVEN_UP = _counter(
    "setpoint_notifications_given_up", "Notifications that were never delivered.", cloud=Cloud.SYSTEM
)

# Of each pool, from the leader's sample.
POOL_DEMAND = _fleet("setpoint_pool_demand", "Ready tasks and live attempts.", "pool", cloud=Cloud.POOL)
POOL_DESIRED = _fleet("setpoint_pool_desired_tasks", "ECS tasks that its service wants.", "pool", cloud=Cloud.POOL)
POOL_RUNNING = _fleet("setpoint_pool_running_tasks", "ECS tasks that its service runs.", "pool", cloud=Cloud.POOL)
POOL_MAX = _fleet("setpoint_pool_max_tasks", "ECS tasks that it may run.", "pool", cloud=Cloud.POOL)
POOL_UTILIZATION = _fleet(
    "setpoint_pool_utilization",
    "Demand over the slots of the desired tasks; the demand itself while none is desired.",
    "pool",
    cloud=Cloud.POOL,
)
POOL_SLOTS = _fleet("setpoint_pool_slots", "Slots of its running tasks.", "pool")
POOL_BUSY = _fleet("setpoint_pool_busy_slots", "Attempts that run.", "pool", cloud=Cloud.POOL)
POOL_WORKERS = _fleet("setpoint_pool_workers", "Workers that are heard.", "pool", cloud=Cloud.POOL)
QUEUE_VISIBLE = _fleet("setpoint_queue_visible", "Messages that wait.", "pool", cloud=Cloud.POOL)
QUEUE_IN_FLIGHT = _fleet("setpoint_queue_in_flight", "Messages received and not deleted.", "pool", cloud=Cloud.POOL)
QUEUE_DEAD = _fleet("setpoint_queue_dead_letters", "Messages in its dead-letter queue.", "pool", cloud=Cloud.POOL)
QUEUE_OLDEST = _fleet(
    "setpoint_queue_oldest_seconds", "Age of its oldest attempt that no worker has claimed.", "pool", cloud=Cloud.POOL
)
ATTEMPTS_LIVE = _fleet("setpoint_attempts_live", "Attempts that have not ended, by phase.", "pool", "phase")

# Of the system, from the leader's sample.
RUNS_UNFINISHED = _fleet("setpoint_runs_unfinished", "Runs that have not ended, by phase.", "phase")
SCHEDULE_LAG = _fleet(
    "setpoint_schedule_lag_seconds",
    "Age of the oldest tick that is due and has become no run.",
    "dag",
    cloud=Cloud.SYSTEM_MAX,
)
DATASET_AGE = _fleet("setpoint_dataset_age_seconds", "Time since a dataset with a freshness changed.", "dataset")
DATASET_STALE = _fleet(
    "setpoint_dataset_stale", "1 for a dataset older than its freshness allows.", "dataset", cloud=Cloud.SYSTEM
)
INVARIANT_VIOLATIONS = _fleet(
    "setpoint_invariant_violations",
    "Live attempts that contradict an invariant: a fault of Setpoint.",
    "invariant",
    cloud=Cloud.SYSTEM,
)
NOTIFICATIONS_PENDING = _fleet(
    "setpoint_notifications_pending", "Notifications that wait to be delivered.", cloud=Cloud.SYSTEM
)
NOTIFICATIONS_OLDEST = _fleet(
    "setpoint_notifications_oldest_seconds", "Age of the oldest that waits.", cloud=Cloud.SYSTEM_MAX
)

CONDITION_KINDS = ("dag", "dagrun", "taskrun", "workerpool", "dataset")
"""The kinds whose conditions are counted, in the names of the metrics."""
CONDITION_COUNT = {
    kind: _fleet(
        f"operator_{kind}_status_condition_count",
        f"Objects of kind {kind} by condition.",
        "type",
        "status",
        "reason",
    )
    for kind in CONDITION_KINDS
}
CONDITION_SECONDS = {
    kind: _fleet(
        f"operator_{kind}_status_condition_current_status_seconds",
        f"How long the longest of them, of kind {kind}, has been so.",
        "type",
        "status",
        "reason",
    )
    for kind in CONDITION_KINDS
}
CONDITION_TRANSITIONS = {
    kind: _counter(
        f"operator_{kind}_status_condition_transitions",
        f"Changes of conditions of kind {kind}, seen between samples.",
        "type",
        "status",
        "reason",
    )
    for kind in CONDITION_KINDS
}
CONDITION_TRANSITION_TIME = {
    kind: _histogram(
        f"operator_{kind}_status_condition_transition_seconds",
        f"How long a condition of kind {kind} had been so when it changed.",
        "type",
        "status",
        buckets=_TASK,
    )
    for kind in CONDITION_KINDS
}

BUILD = _gauge("setpoint_build_info", "1, with the version.", "version")

FLEET = Fleet(INSTRUMENTS)
"""What the leader sampled last."""

_PROCESS = (
    Declared("workqueue_depth", "gauge", "Keys that wait.", ("name",), Cloud.SYSTEM),
    Declared("workqueue_adds", "counter", "Keys added.", ("name",), None),
    Declared("workqueue_retries", "counter", "Keys tried again after a failure.", ("name",), None),
    Declared("workqueue_unfinished_work_seconds", "gauge", "Time that work in progress has taken.", ("name",), None),
    Declared(
        "workqueue_longest_running_processor_seconds",
        "gauge",
        "Time that the longest work in progress has taken.",
        ("name",),
        Cloud.SYSTEM_MAX,
    ),
    Declared("setpoint_database_pool_size", "gauge", "Connections to Postgres.", ("pool",), None),
    Declared("setpoint_database_pool_available", "gauge", "Connections that nobody uses.", ("pool",), None),
    Declared("setpoint_database_pool_waiting", "gauge", "Who waits for a connection.", ("pool",), Cloud.SYSTEM),
)
INSTRUMENTS.declared.extend(_PROCESS)


class Process(Collector):
    """What the parts of this process say when they are asked: workqueues and pools of connections."""

    def __init__(
        self, queues: Callable[[], Mapping[str, Workqueue]], pools: Callable[[], Mapping[str, ConnectionPool]]
    ) -> None:
        self._queues = queues
        self._pools = pools

    def describe(self) -> Iterable[Metric]:
        """Name the families without asking."""
        return self._families().values()

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        found = self._families()
        for name, queue in self._queues().items():
            working = queue.unfinished()
            found["workqueue_depth"].add_metric([name], len(queue))
            found["workqueue_adds"].add_metric([name], queue.adds)
            found["workqueue_retries"].add_metric([name], queue.retries)
            found["workqueue_unfinished_work_seconds"].add_metric([name], sum(working))
            found["workqueue_longest_running_processor_seconds"].add_metric([name], max(working, default=0.0))
        for name, pool in self._pools().items():
            stats = pool.get_stats()
            found["setpoint_database_pool_size"].add_metric([name], stats.get("pool_size", 0))
            found["setpoint_database_pool_available"].add_metric([name], stats.get("pool_available", 0))
            found["setpoint_database_pool_waiting"].add_metric([name], stats.get("requests_waiting", 0))
        return found.values()

    @staticmethod
    def _families() -> dict[str, GaugeMetricFamily | CounterMetricFamily]:
        return {
            d.name: (CounterMetricFamily if d.kind == "counter" else GaugeMetricFamily)(d.name, d.text, labels=d.labels)
            for d in _PROCESS
        }
