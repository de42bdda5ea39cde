"""Schedules: each tick becomes at most one run; catch-up, overlap, starting deadlines, edits."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.core_parts import START, dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database

HOUR = 3600


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python"))
    yield world
    world.close()


def hourly(**more: Any) -> dict[str, Any]:
    schedule = {"cron": "0 * * * *", "name": "hourly"} | more.pop("schedule", {})
    return dag("ticking", task("a"), schedules=[schedule], **more)


def ticks(world: World) -> list[int]:
    """Return the hours after the start at which runs ticked, in order."""
    rows: list[tuple[datetime]] = world.rows("SELECT tick FROM run WHERE tick IS NOT NULL ORDER BY tick")
    return [round((r[0] - START) / timedelta(hours=1)) for r in rows]


def test_each_tick_becomes_one_run_within_a_second(world: World) -> None:
    world.apply(hourly())
    world.settle()
    assert ticks(world) == []
    for hour in (1, 2, 3):
        world.advance(HOUR - 1, step=HOUR - 1)
        assert ticks(world) == list(range(1, hour))
        world.advance(1)
        assert ticks(world) == list(range(1, hour + 1))
        assert world.work() == ["a"]
    world.assert_stable()


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        pytest.param({"catchup": "none"}, [], id="none"),
        pytest.param({"catchup": "latest"}, [5], id="latest"),
        pytest.param({"catchup": "all"}, [1, 2, 3, 4, 5], id="all"),
        pytest.param({"catchup": "all", "maxCatchup": 3}, [3, 4, 5], id="all, at most three"),
        pytest.param({"catchup": "all", "startingDeadline": "2h"}, [4, 5], id="all within the starting deadline"),
        pytest.param({"catchup": "latest", "startingDeadline": "10m"}, [], id="latest past the starting deadline"),
    ],
)
@pytest.mark.pain("T21")
def test_ticks_missed_while_nobody_looked(world: World, schedule: dict[str, Any], expected: list[int]) -> None:
    world.apply(hourly(schedule=schedule))
    world.settle()
    world.clock.at += timedelta(hours=5, minutes=30)
    world.boot()
    world.wake(world.timers.resync())
    world.settle()

    assert ticks(world) == expected
    world.wake(world.timers.resync())
    world.settle()
    assert ticks(world) == expected
    world.advance(1800, step=600)
    assert ticks(world) == [*expected, 6]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("Allow", [1, 2, 3], id="Allow starts beside it"),
        pytest.param("Forbid", [1], id="Forbid skips the tick"),
        pytest.param("Replace", [1, 2, 3], id="Replace starts anew"),
    ],
)
@pytest.mark.pain("T21")
def test_a_tick_while_a_run_is_active(world: World, policy: str, expected: list[int]) -> None:
    world.apply(hourly(concurrency={"policy": policy}))
    world.settle()
    world.advance(3 * HOUR + 60, step=300)

    assert ticks(world) == expected
    phases = [r[0] for r in world.rows("SELECT phase FROM run ORDER BY tick")]
    match policy:
        case "Allow":
            assert phases == ["Running"] * 3
        case "Forbid":
            assert phases == ["Running"]
        case "Replace":
            assert phases == ["Cancelled", "Cancelled", "Running"]
            assert world.one("SELECT DISTINCT cancel_reason FROM run WHERE cancel_at IS NOT NULL") == "Replaced"
    world.assert_stable()


def test_replace_leaves_one_run_also_when_only_one_may_be_active(world: World) -> None:
    world.apply(hourly(concurrency={"policy": "Replace", "maxActiveRuns": 1}))
    world.settle()
    world.advance(HOUR, step=600)
    world.claim()
    # The replaced run's worker never answers, so the next run waits for its room; a third tick replaces that one too.
    world.clock.at += timedelta(hours=2)
    world.wake(world.timers.resync())
    world.settle()
    world.advance(120, step=10)

    unfinished = world.rows("SELECT phase FROM run WHERE ended_at IS NULL")
    assert len(unfinished) == 1


def test_a_run_that_waits_is_replaced_as_well(world: World) -> None:
    world.apply(hourly(concurrency={"policy": "Replace", "maxActiveRuns": 1}))
    world.trigger("ticking")
    world.settle()
    world.claim()
    world.workers["w1"].heard = True
    world.advance(2 * HOUR + 5, step=5)

    assert ticks(world) == [1, 2]
    assert [r[0] for r in world.rows("SELECT phase FROM run ORDER BY created_at")] == [
        "Cancelled",
        "Cancelled",
        "Running",
    ]


def test_a_suspended_dag_ticks_not_and_catches_up_by_its_rule(world: World) -> None:
    world.apply(hourly(suspend=True))
    world.settle()
    world.advance(3 * HOUR + 1800, step=600)
    assert ticks(world) == []
    world.apply(hourly())
    world.settle()

    assert ticks(world) == [3]


def test_a_schedule_that_is_new_ticks_from_now_on(world: World) -> None:
    world.apply(dag("ticking", task("a")))
    world.settle()
    world.advance(3 * HOUR + 1800, step=1800)
    world.apply(hourly(schedule={"catchup": "all"}))
    world.settle()
    assert ticks(world) == []
    world.advance(1800, step=600)

    assert ticks(world) == [4]


def test_two_schedules_of_a_dag_tick_side_by_side(world: World) -> None:
    schedules = [{"name": "even", "cron": "0 * * * *", "params": {"n": 1}}, {"name": "half", "cron": "*/30 * * * *"}]
    world.apply(dag("two", task("a"), schedules=schedules, params={"properties": {"n": {"default": 0}}}))
    world.settle()
    world.advance(HOUR, step=600)

    found = world.rows("SELECT schedule, params->'n' FROM run ORDER BY tick, schedule")
    assert found == [("half", 0), ("even", 1), ("half", 0)]
    world.assert_stable()


@pytest.mark.pain("T19", "T20")
def test_two_leaders_make_one_run_of_a_tick(world: World, database: Database) -> None:
    world.apply(hourly())
    world.settle()
    other = World(database)
    other.ids.last = 10_000
    other.clock.at = world.clock.at = world.clock.at + timedelta(hours=1)
    for leader in (world, other):
        leader.wake(leader.timers.resync())
    for leader in (other, world):
        leader.settle()
    other.close()

    assert ticks(world) == [1]
