"""Each alert fires when its condition is caused in the real loop, on a real Postgres, and is silent otherwise."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from prometheus_client import REGISTRY
from psycopg_pool import ConnectionPool

from controller.aws.ecs import ServiceCounts
from controller.aws.errors import calling
from controller.errors import SetpointError, Terminal
from controller.informers.sampler import Sampler
from controller.monitoring.cloudwatch import WORKER_CLOUD
from controller.monitoring.model import Per
from controller.runtime import metrics
from controller.runtime.keys import Key, Kind
from controller.runtime.leader import Leader
from controller.runtime.loop import Loop, Reconcile
from controller.runtime.metrics import INSTRUMENTS, Process
from controller.runtime.workqueue import Workqueue
from crds.emf import Exporter
from crds.reasons import Reason
from tests.integration.alert_world import ALERTS, CALM_MINUTES, alarm_of, alarming, firing, scrape
from tests.integration.core_parts import dag, dataset, pool, task
from tests.integration.core_world import World
from tests.integration.test_metrics_causes import give_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.conftest import Database

MINUTE = timedelta(minutes=1)
PATIENCE_SECONDS = 30.0
ONCE = {"retries": {"limit": 0}}


class Ground:
    """A calm system: one leader, one pool with a worker, and what it shows."""

    def __init__(self, world: World, database: Database, stack: ExitStack) -> None:
        self.world = world
        self.database = database
        self.stack = stack
        self.queues = {"runs": Workqueue("runs")}
        self.pools: dict[str, ConnectionPool[Any]] = {}
        self.leads = True
        self.sampler = Sampler(world.database, world.clock, lambda: self.leads)  # type: ignore[arg-type]
        process = Process(lambda: self.queues, lambda: self.pools)
        REGISTRY.register(process)
        stack.callback(REGISTRY.unregister, process)
        stack.callback(metrics.FLEET.hide)
        self.leader = Leader(self._connect, "test", lambda: None, lambda: None)
        self.leader.start()
        stack.callback(self.leader.stop, PATIENCE_SECONDS)
        until(self.leader.leads)
        for made in ("ecs", "sqs"):
            metrics.AWS_THROTTLED.labels(made)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.database.conninfo, options="-c search_path=setpoint", autocommit=True)

    def sample(self) -> None:
        self.sampler.look()

    def later(self, span: timedelta) -> None:
        """Let time pass in which nobody reconciles; the worker is heard."""
        self.world.clock.at += span
        for worker in self.world.workers.values():
            self.world.beat(worker)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def ground(database: Database) -> Iterator[Ground]:
    world = World(database)
    # The observation of ECS and of the queue is what makes a pool ready.
    world.services.services["python"] = ServiceCounts(1, 1)
    world.apply(pool("python"), pool("lambda", "lambda"), dag("d", task("a")), dag("bad", task("a"), defaults=ONCE))
    world.worker()
    world.beat(world.worker())
    world.advance(20)
    with ExitStack() as stack:
        made = Ground(world, database, stack)
        made.sample()
        yield made
    world.close()


def no_leader(ground: Ground) -> None:
    ground.leader.stop(PATIENCE_SECONDS)


def invariant(ground: Ground) -> None:
    ground.world.trigger("d")
    ground.world.settle()
    with ground.world.database.connection() as connection:
        connection.execute("UPDATE run SET phase = 'Failed', ended_at = created_at")
    ground.sample()


def standby(ground: Ground) -> None:
    ground.leads = False
    ground.sample()


def reconcile_fails(ground: Ground) -> None:
    _loop(_away).work([Key(Kind.RUN, f"r{n}") for n in range(25)])


def needs_a_person(ground: Ground) -> None:
    _loop(_terminal).work([Key(Kind.RUN, "r")])


def _loop(reconcile: Reconcile) -> Loop:
    loop = Loop("runs", Workqueue("runs"), reconcile, batch=50, leads=lambda: True, threads=0)
    loop.start()
    return loop


def _away(keys: Sequence[Key]) -> Any:
    raise psycopg.OperationalError("gone")


def _terminal(keys: Sequence[Key]) -> Any:
    raise Terminal(Reason.NOT_PROVISIONED, "no such queue")


def stuck(ground: Ground) -> None:
    now = 0.0
    queue = Workqueue("runs", lambda: now)
    queue.add([Key(Kind.RUN, "r")])
    assert queue.get(1, 0)
    now = 90.0
    ground.queues["runs"] = queue


def runs_fail(ground: Ground) -> None:
    ground.world.trigger("bad")
    ground.world.work({"a": "failed"})


def schedule_lags(ground: Ground) -> None:
    ground.world.apply(dag("hourly", task("a"), schedules=[{"cron": "0 * * * *"}]))
    ground.world.settle()
    ground.later(90 * MINUTE)
    ground.sample()


def dataset_stale(ground: Ground) -> None:
    ground.world.apply(dataset("t", ("x", "int64"), freshness={"within": "1h"}))
    ground.world.settle()
    ground.later(90 * MINUTE)
    ground.sample()


def pool_not_ready(ground: Ground) -> None:
    ground.world.apply(pool("nowhere"))
    ground.world.advance(10)
    ground.sample()
    ground.later(30 * MINUTE)
    ground.sample()


def run_stalls(ground: Ground) -> None:
    ground.world.apply(pool("shut", suspend=True), dag("waits", task("a", pool="shut")))
    ground.world.trigger("waits")
    ground.world.settle()
    ground.sample()
    ground.later(30 * MINUTE)
    ground.sample()


def _notifier(ground: Ground) -> None:
    ground.world.apply(
        {
            "kind": "Notifier",
            "metadata": {"name": "oncall"},
            "spec": {"on": ["RunFailed"], "slack": {"urlSecret": "oncall"}},
        }
    )


def notification_waits(ground: Ground) -> None:
    _notifier(ground)
    ground.world.trigger("bad")
    ground.world.work({"a": "failed"})
    ground.later(30 * MINUTE)
    ground.sample()


def notification_given_up(ground: Ground) -> None:
    metrics.NOTIFICATIONS_GIVEN_UP.inc()


def connections_used_up(ground: Ground) -> None:
    only: ConnectionPool[Any] = ConnectionPool(ground.database.conninfo, min_size=1, max_size=1, open=True)
    ground.pools["people"] = only
    held = only.getconn()

    def ask() -> None:
        with only.connection(timeout=PATIENCE_SECONDS):
            pass

    waiter = threading.Thread(target=ask)
    waiter.start()

    def end() -> None:
        only.putconn(held)
        waiter.join()
        only.close()

    ground.stack.callback(end)
    until(lambda: bool(only.get_stats().get("requests_waiting")))


def throttled(ground: Ground) -> None:
    refusal = ClientError({"Error": {"Code": "ThrottlingException"}}, "DescribeTasks")
    for _ in range(11):
        with pytest.raises(SetpointError), calling("ecs", "DescribeTasks"):
            raise refusal


def at_max(ground: Ground) -> None:
    ground.world.services.services["python"] = ServiceCounts(2, 2)
    for _ in range(12):
        ground.world.trigger("d")
    ground.world.advance(10)
    ground.sample()


def no_worker(ground: Ground) -> None:
    ground.world.workers.clear()
    ground.world.trigger("d")
    ground.world.settle()
    ground.world.clock.at += 5 * MINUTE
    ground.sample()


def queue_waits(ground: Ground) -> None:
    ground.world.trigger("d")
    ground.world.advance(1_000, step=3)
    ground.sample()


def dead_letters(ground: Ground) -> None:
    with ground.world.database.connection() as connection:
        connection.execute("UPDATE pool_observation SET dead_letters = 2")
    ground.sample()


def undeliverable(ground: Ground) -> None:
    give_up(ground.world)


def evicted(ground: Ground) -> None:
    ground.world.apply(dag("wide", *(task(f"t{n}") for n in range(10))))
    ground.world.trigger("wide")
    for _ in range(2):
        ground.world.settle()
        for grant in ground.world.claim():
            ground.world.report(grant, "evicted")


def stale(ground: Ground) -> None:
    # A pool of ten slots holds no more than ten superseded attempts at once.
    for _ in range(2):
        ground.world.apply(dag("wide", *(task(f"t{n}") for n in range(10))))
        run = ground.world.trigger("wide")
        ground.world.settle()
        granted = ground.world.claim()
        ground.world.cancel(run)
        ground.world.advance(120, step=20)
        for grant in granted:
            assert ground.world.report(grant) == "stale"


CAUSES: dict[str, tuple[Callable[[Ground], None], set[str]]] = {
    "NoLeader": (no_leader, set()),
    "InvariantViolated": (invariant, set()),
    "SampleMissing": (standby, set()),
    "ReconcileErrors": (reconcile_fails, set()),
    "ReconcileNeedsPerson": (needs_a_person, set()),
    "WorkqueueStuck": (stuck, set()),
    "RunsFailing": (runs_fail, set()),
    "ScheduleLags": (schedule_lags, set()),
    "DatasetStale": (dataset_stale, set()),
    "ConditionStuck": (pool_not_ready, set()),
    "RunStalled": (run_stalls, set()),
    "NotificationsWait": (notification_waits, {"RunsFailing"}),
    "NotificationsGivenUp": (notification_given_up, set()),
    "DatabasePoolExhausted": (connections_used_up, set()),
    "AwsThrottled": (throttled, set()),
    "PoolAtMax": (at_max, set()),
    "NoWorker": (no_worker, set()),
    "QueueWaits": (queue_waits, set()),
    "DeadLetters": (dead_letters, set()),
    "AttemptsUndeliverable": (undeliverable, set()),
    "AttemptsLost": (evicted, set()),
    "StaleResults": (stale, set()),
}


def test_every_alert_has_its_cause() -> None:
    assert {alert.name for alert in ALERTS} == CAUSES.keys()


def test_calm_lasts_longer_than_any_alert_must_hold() -> None:
    assert max(alert.minutes for alert in ALERTS) < CALM_MINUTES


BY_HAND = {
    "NotificationsGivenUp": "the counter is raised, since giving up takes a day",
    "DeadLetters": "the observation is written, since no queue is here",
    "InvariantViolated": "a row is broken, since nothing of ours breaks it",
    "WorkqueueStuck": "the queue's clock is moved",
}
"""What is not caused but set; the id of the test says so."""


def _id(name: str) -> str:
    return f"{name}-by hand" if name in BY_HAND else name


@pytest.mark.parametrize("name", [pytest.param(name, id=_id(name)) for name in CAUSES])
def test_an_alert_fires_when_its_condition_is_caused(ground: Ground, tmp_path: Path, name: str) -> None:
    cause, others = CAUSES[name]
    exporter = Exporter(INSTRUMENTS, "dev")
    exporter.lines(0.0)
    quiet = exporter.lines(15.0)
    calm = scrape()

    cause(ground)
    after, lines = scrape(), exporter.lines(30.0)

    assert firing(calm, after, tmp_path) == (set(), {name} | others)
    (alert,) = [alert for alert in ALERTS if alert.name == name]
    concerned = None if alert.per is Per.SYSTEM else "lambda" if name == "AttemptsUndeliverable" else "python"
    if alarm := alarm_of(name):
        assert alarming(quiet, concerned) == set()
        wanted = {alarm} | {found for other in others if (found := alarm_of(other)) and concerned is None}
        assert alarming(lines, concerned) == wanted


def test_what_the_dashboard_shows_of_workers_is_what_they_publish() -> None:
    # The controller does not import workers, so their one metric is named there; here it is compared.
    from workers.metrics import Metrics  # noqa: PLC0415 - of one test alone

    published = {d.sample: d.cloud for d in Metrics().instruments.declared}
    assert {name: published.get(name) for name in WORKER_CLOUD} == WORKER_CLOUD
