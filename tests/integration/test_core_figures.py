"""What is published to CloudWatch: every metric's value, as rows and workers make it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from controller.informers.cloudwatch import Publisher
from controller.runtime import emf
from crds.reasons import Reason
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg_pool import ConnectionPool

    from tests.conftest import Database

SECOND = timedelta(seconds=1)


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python"), pool("lambda", "lambda"), dag("d", *(task(f"t{n}") for n in range(12))))
    yield world
    world.close()


class Published:
    """The values of each look, by pool; the system's under ''."""

    def __init__(self, world: World) -> None:
        self.publisher = Publisher(
            cast("ConnectionPool", world.database), world.clock, "dev", lambda: True, lambda _: None
        )

    def look(self) -> dict[str, dict[str, Any]]:
        said = [json.loads(line) for line in self.publisher.lines()]
        return {line.get("pool", ""): line for line in said}


def test_demand_counts_what_waits_and_what_lives(world: World) -> None:
    published = Published(world)
    run = world.trigger("d")
    world.settle()
    found = published.look()["python"]
    assert found["setpoint_pool_demand"] == 12
    assert found["setpoint_pool_utilization"] == 12  # nothing is desired yet
    assert found["setpoint_pool_max_tasks"] == 2
    world.work()
    assert world.phase(run) == "Succeeded"
    assert published.look()["python"]["setpoint_pool_demand"] == 0


def test_a_failed_run_counts_once(world: World) -> None:
    published = Published(world)
    published.look()
    world.apply(dag("bad", task("a"), defaults={"retries": {"limit": 0}}))
    world.trigger("bad")
    world.clock.at += SECOND
    world.work({"a": "failed"})
    world.clock.at += SECOND
    assert published.look()[""]["setpoint_runs_failed"] == 1
    world.clock.at += SECOND
    assert published.look()[""]["setpoint_runs_failed"] == 0


def test_an_undeliverable_attempt_counts_in_its_pool(world: World) -> None:
    published = Published(world)
    published.look()
    world.apply(dag("l", task("a", runtime="lambda")))
    world.trigger("l")
    world.settle()
    for _ in range(4):
        (invocation,) = world.functions.take()
        world.functions.fail(invocation, Reason.FUNCTION_FAILED)
        world.clock.at += SECOND
        world.invocations.look()
        world.settle()
        if not world.functions.invoked:
            break
    world.clock.at += SECOND
    found = published.look()
    assert found["lambda"]["setpoint_attempts_undeliverable"] == 1
    assert found["python"]["setpoint_attempts_undeliverable"] == 0


def test_what_must_never_be_is_counted(world: World) -> None:
    published = Published(world)
    world.trigger("d")
    world.settle()
    assert published.look()[""]["setpoint_invariant_violations"] == 0
    world.eyes.execute("UPDATE task_run SET phase = 'Waiting' WHERE task = 't3'")
    assert published.look()[""]["setpoint_invariant_violations"] == 1


def test_every_metric_has_its_line_its_unit_and_its_dimensions(world: World) -> None:
    found = Published(world).look()
    assert set(found) == {"", "python", "lambda"}
    for name, line in found.items():
        (described,) = line["_aws"]["CloudWatchMetrics"]
        wanted = emf.POOL_METRICS if name else emf.SYSTEM_METRICS
        assert described["Namespace"] == "Setpoint"
        assert described["Dimensions"] == [["env", "pool"] if name else ["env"]]
        assert {m["Name"]: m["Unit"] for m in described["Metrics"]} == dict(wanted)
        assert all(isinstance(line[metric], int | float) for metric in wanted)


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
    assert emf.utilization(demand, desired, slots=4) == expected
