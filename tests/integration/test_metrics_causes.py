"""Each metric moves when its cause happens, and only once that is committed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from crds.reasons import Reason
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Database

SECOND = timedelta(seconds=1)
NO_RETRIES = {"retries": {"limit": 0}}


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(
        pool("python"), pool("lambda", "lambda"), dag("d", task("a")), dag("bad", task("a"), defaults=NO_RETRIES)
    )
    world.settle()
    yield world
    world.close()


def value(sample: str, /, **labels: str) -> float:
    return REGISTRY.get_sample_value(sample, labels) or 0.0


def succeed(world: World) -> None:
    world.trigger("d")
    world.settle()
    world.clock.at += 2 * SECOND
    (grant,) = world.claim()
    world.clock.at += 3 * SECOND
    world.report(grant)
    world.settle()


def fail(world: World) -> None:
    world.trigger("bad")
    world.work({"a": "failed"})


def fail_once(world: World) -> None:
    world.trigger("d")
    world.settle()
    (grant,) = world.claim()
    world.report(grant, "failed")
    world.settle()


def evict(world: World) -> None:
    world.trigger("d")
    world.settle()
    (grant,) = world.claim()
    world.report(grant, "evicted")
    world.settle()


def report_twice(world: World) -> None:
    world.trigger("d")
    world.settle()
    (grant,) = world.claim()
    world.cancel(world.one("SELECT uid FROM run"))
    world.advance(120)
    world.report(grant)


def give_up(world: World) -> None:
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
            return


ENDED, PYTHON = "setpoint_attempts_ended_total", {"pool": "python"}


@pytest.mark.parametrize(
    ("cause", "name", "labels", "delta"),
    [
        pytest.param(succeed, ENDED, {**PYTHON, "phase": "Succeeded", "reason": "Succeeded"}, 1, id="success"),
        pytest.param(succeed, "setpoint_claims_total", {**PYTHON, "answer": "grant"}, 1, id="claim"),
        pytest.param(succeed, "setpoint_reports_total", {**PYTHON, "outcome": "succeeded"}, 1, id="report"),
        pytest.param(succeed, "setpoint_claim_wait_seconds_sum", PYTHON, 2, id="claim wait"),
        pytest.param(succeed, "setpoint_claim_wait_seconds_count", PYTHON, 1, id="claim wait counts once"),
        pytest.param(succeed, "setpoint_admission_wait_seconds_count", PYTHON, 1, id="admission wait"),
        pytest.param(
            succeed, "setpoint_task_duration_seconds_sum", {**PYTHON, "outcome": "Succeeded"}, 3, id="task duration"
        ),
        pytest.param(succeed, "setpoint_runs_ended_total", {"phase": "Succeeded"}, 1, id="run ended"),
        pytest.param(succeed, "setpoint_run_duration_seconds_sum", {"phase": "Succeeded"}, 5, id="run duration"),
        pytest.param(succeed, "setpoint_runs_failed_total", {}, 0, id="success is no failure"),
        pytest.param(fail, "setpoint_runs_failed_total", {}, 1, id="failed run"),
        pytest.param(fail, "setpoint_runs_ended_total", {"phase": "Failed"}, 1, id="failed run ended"),
        pytest.param(fail, "setpoint_retries_total", {**PYTHON, "class": "user"}, 0, id="no retry left"),
        pytest.param(fail_once, "setpoint_retries_total", {**PYTHON, "class": "user"}, 1, id="user retry"),
        pytest.param(evict, "setpoint_retries_total", {**PYTHON, "class": "eviction"}, 1, id="eviction"),
        pytest.param(evict, "setpoint_attempts_lost_total", PYTHON, 1, id="evicted is lost to infrastructure"),
        pytest.param(report_twice, "setpoint_stale_results_total", PYTHON, 1, id="stale"),
        pytest.param(give_up, "setpoint_attempts_undeliverable_total", {"pool": "lambda"}, 1, id="undeliverable"),
        pytest.param(give_up, "setpoint_retries_total", {"pool": "lambda", "class": "infrastructure"}, 1, id="lost"),
    ],
)
def test_a_cause_moves_its_metric(
    world: World, cause: Callable[[World], None], name: str, labels: dict[str, str], delta: float
) -> None:
    before = value(name, **labels)
    cause(world)
    assert value(name, **labels) - before == delta


def test_what_is_rolled_back_counts_nothing(world: World) -> None:
    world.trigger("d")
    world.settle()
    (grant,) = world.claim()
    labels = {"pool": "python", "phase": "Succeeded", "reason": "Succeeded"}
    before = value(ENDED, **labels)

    def away(point: str) -> None:
        if point == "commit":
            raise ConnectionResetError("the database is gone")

    world.hooks.point = away
    with pytest.raises(ConnectionResetError):
        world.report(grant)
    world.hooks.point = lambda _: None
    assert value(ENDED, **labels) == before
    world.report(grant)
    assert value(ENDED, **labels) == before + 1
