"""What the leader samples of the fleet: its values, that a standby shows none, and that CloudWatch hears the same."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from controller.informers.sampler import Sampler, lag, utilization
from controller.runtime import metrics
from controller.store.figures import ScheduleFigures
from crds.emf import Exporter
from crds.instruments import Fleet, Instruments
from tests.integration.core_parts import START, dag, dataset, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg_pool import ConnectionPool

    from tests.conftest import Database

SECOND = timedelta(seconds=1)


class Dispatcher:
    """The sampler of one dispatcher, with a registry of its own."""

    def __init__(self, world: World, *, leads: bool = True) -> None:
        self.leads = leads
        self.instruments = Instruments(CollectorRegistry())
        self.instruments.declared = [one for one in metrics.INSTRUMENTS.declared if one.fleet]
        fleet = Fleet(self.instruments)
        self.sampler = Sampler(cast("ConnectionPool", world.database), world.clock, lambda: self.leads, fleet)

    def value(self, name: str, **labels: str) -> float | None:
        return self.instruments.registry.get_sample_value(name, labels)

    def look(self) -> str:
        self.sampler.look()
        return generate_latest(self.instruments.registry).decode()


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python"), pool("lambda", "lambda"), dag("d", *(task(f"t{n}") for n in range(12))))
    yield world
    world.close()


def test_a_pool_is_what_waits_and_what_lives(world: World) -> None:
    leader = Dispatcher(world)
    run = world.trigger("d")
    world.settle()
    world.clock.at += 7 * SECOND
    world.claim(3)
    leader.look()
    assert leader.value("setpoint_pool_demand", pool="python") == 12
    assert leader.value("setpoint_pool_utilization", pool="python") == 12  # nothing is desired yet
    assert leader.value("setpoint_pool_max_tasks", pool="python") == 2
    assert leader.value("setpoint_pool_busy_slots", pool="python") == 3
    assert leader.value("setpoint_pool_workers", pool="python") == 1
    assert leader.value("setpoint_attempts_live", pool="python", phase="Running") == 3
    assert leader.value("setpoint_queue_oldest_seconds", pool="python") == 7
    assert leader.value("setpoint_pool_demand", pool="lambda") == 0
    assert leader.value("setpoint_runs_unfinished", phase="Running") == 1
    for held in list(world.workers["w1"].held.values()):
        world.report(held)
    world.work()
    assert world.phase(run) == "Succeeded"
    leader.look()
    assert leader.value("setpoint_pool_demand", pool="python") == 0
    assert leader.value("setpoint_queue_oldest_seconds", pool="python") == 0
    assert leader.value("setpoint_runs_unfinished", phase="Running") == 0


def test_a_standby_shows_nothing_of_the_fleet(world: World) -> None:
    leader, standby = Dispatcher(world), Dispatcher(world, leads=False)
    assert "setpoint_pool_demand" in leader.look()
    assert standby.look() == ""
    leader.leads, standby.leads = False, True
    assert leader.look() == ""
    assert "setpoint_pool_demand" in standby.look()


def test_what_must_never_be_is_counted(world: World) -> None:
    leader = Dispatcher(world)
    world.trigger("d")
    world.settle()
    leader.look()
    assert leader.value("setpoint_invariant_violations", invariant="live attempt of an idle task") == 0
    world.eyes.execute("UPDATE task_run SET phase = 'Waiting' WHERE task = 't3'")
    leader.look()
    assert leader.value("setpoint_invariant_violations", invariant="live attempt of an idle task") == 1


def test_a_dataset_ages(world: World) -> None:
    leader = Dispatcher(world)
    world.apply(dataset("sales", ("id", "int64"), freshness={"within": "1h"}), dataset("other", ("id", "int64")))
    world.settle()
    world.clock.at += timedelta(minutes=30)
    leader.look()
    assert leader.value("setpoint_dataset_age_seconds", dataset="sales") == 1800
    assert leader.value("setpoint_dataset_stale", dataset="sales") == 0
    assert leader.value("setpoint_dataset_age_seconds", dataset="other") is None
    world.clock.at += timedelta(hours=1)
    leader.look()
    assert leader.value("setpoint_dataset_stale", dataset="sales") == 1
    stale = {"type": "Fresh", "status": "False", "reason": "Stale"}
    assert leader.value("operator_dataset_status_condition_count", **stale) == 1


def test_conditions_are_counted_and_their_changes_noticed(world: World) -> None:
    leader = Dispatcher(world)
    world.settle()
    leader.look()
    ready = {"type": "Ready", "status": "True", "reason": "Ready"}
    assert leader.value("operator_dag_status_condition_count", **ready) == 1
    world.trigger("d")
    world.settle()
    leader.look()
    labels = {"type": "Claimed", "status": "False", "reason": "WaitingForWorker"}
    waiting = leader.value("operator_taskrun_status_condition_count", **labels)
    assert waiting == 10  # the pool's slots
    world.clock.at += 5 * SECOND
    counted = metrics.CONDITION_TRANSITIONS["taskrun"].labels("Claimed", "True", "Claimed")
    before = counted._value.get()
    world.claim(4)
    leader.look()
    assert counted._value.get() - before == 4
    assert leader.value("operator_taskrun_status_condition_current_status_seconds", **labels) == 5


def test_cloudwatch_hears_what_prometheus_sees(world: World) -> None:
    leader = Dispatcher(world)
    world.trigger("d")
    world.settle()
    leader.look()
    exporter = Exporter(leader.instruments, "dev")
    lines = [json.loads(line) for line in exporter.lines(START.timestamp())]
    assert {line.get("pool") for line in lines} == {None, "python", "lambda"}
    heard: dict[tuple[str, str | None], Any] = {}
    for line in lines:
        (about,) = line["_aws"]["CloudWatchMetrics"]
        assert about["Dimensions"] == [["env", "pool"] if "pool" in line else ["env"]]
        heard |= {(metric["Name"], line.get("pool")): line[metric["Name"]] for metric in about["Metrics"]}
    for one in leader.instruments.declared:
        if one.cloud is None:
            continue
        for service in ("python", "lambda") if "pool" in one.cloud.dimensions else (None,):
            family = [f for f in leader.instruments.registry.collect() if f.name == one.name]
            samples = [s.value for f in family for s in f.samples if service in {None, s.labels.get("pool")}]
            if samples:
                expected = max(samples) if one.cloud.value.endswith("(greatest)") else sum(samples)
                assert heard[one.sample, service] == expected, one.sample


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        pytest.param(-30, 0, id="nothing is due"),
        pytest.param(-90, 60 * 0, id="due this minute"),
        pytest.param(-3_600 * 3, 3_600 * 2, id="two ticks are missed"),
    ],
)
def test_the_lag_of_a_schedule(cursor: int, expected: float) -> None:
    schedule = {"name": "hourly", "cron": "0 * * * *"}
    found = ScheduleFigures("default", "d", (schedule,), {"hourly": (START + cursor * SECOND).isoformat()})
    assert lag(found, START) == expected


@pytest.mark.parametrize(
    ("demand", "desired", "expected"),
    [
        pytest.param(0, 0, 0.0, id="nothing"),
        pytest.param(3, 0, 3.0, id="from zero"),
        pytest.param(8, 2, 1.0, id="full"),
        pytest.param(16, 2, 2.0, id="twice as much"),
    ],
)
def test_utilization(demand: int, desired: int, expected: float) -> None:
    assert utilization(demand, desired, slots=4) == expected
