"""The dispatcher dies at every point between two writes; whatever was asked for still happens, once, in bounded time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Database

T = TypeVar("T")
STRIDE = 7
"""Each test crashes at every seventh point, beginning at its own; together they crash at all."""
WITHIN = 200
"""Seconds of virtual time within which a run ends in spite of one crash: a lost message costs up to two minutes."""


class Crash(BaseException):
    """The process is gone; nothing may catch it."""


class Counter:
    """Counts the points that are passed, and crashes at one of them."""

    def __init__(self) -> None:
        self.passed = 0
        self.crash_at = -1

    def __call__(self, _: str) -> None:
        self.passed += 1
        if self.passed == self.crash_at:
            raise Crash


def survive(world: World, act: Callable[[], T]) -> T:
    """Do something until it is answered; after a crash the dispatcher starts anew and looks at everything."""
    for _ in range(3):
        try:
            return act()
        except Crash:
            world.boot()
            world.wake(world.timers.resync())
    raise AssertionError("crashed more than once")


def drive(world: World) -> float:
    """Let two workers run a diamond with one failing try; return how long it took."""
    run = survive(world, lambda: world.trigger("d", key="once"))
    uid = world.one("SELECT uid FROM run")
    started, failed = world.clock.monotonic(), False
    while world.clock.monotonic() - started < WITHIN:
        survive(world, world.settle)
        if world.phase(uid) == "Succeeded":
            return world.clock.monotonic() - started
        for n in (1, 2):
            who = world.worker(f"w{n}")
            for received in world.queues.receive(world.queue(), 1):
                request = f"r{world.requests}/{who.id}"
                answer = survive(world, lambda r=received, w=who, q=request: world.ask(w, [r.message], q))  # type: ignore[misc]
                world.queues.delete(world.queue(), received)
                for grant in answer.grants:
                    outcome = "failed" if grant.task["name"] == "b" and not failed else "succeeded"
                    failed = failed or outcome == "failed"
                    told = survive(world, lambda g=grant, o=outcome: world.report(g, o))  # type: ignore[misc]
                    assert told == "recorded"
        survive(world, lambda: world.advance(1))
    raise AssertionError(f"{run} has not ended: {world.tasks(uid)} {world.attempts(uid)}")


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    retries = {"retries": {"limit": 1, "backoff": {"initial": "2s"}}}
    world.apply(
        pool("python"), dag("d", task("a"), task("b", ["a"]), task("c", ["a"]), task("e", ["b", "c"]), defaults=retries)
    )
    yield world
    world.close()


def reset(world: World) -> None:
    """Forget all runs, as if the database were new."""
    with world.database.connection() as connection:
        for table in ("run", "worker", "event", "pool_observation"):
            connection.execute(f"DELETE FROM {table}")
    world.queues.queues.clear()
    world.workers.clear()
    world.invariants = type(world.invariants)()
    world.boot()


@pytest.mark.parametrize("first", range(STRIDE))
@pytest.mark.pain("T1")
def test_a_crash_at_any_point_costs_time_and_never_work(world: World, first: int) -> None:
    counter = Counter()
    world.hooks.point = counter
    drive(world)
    points = counter.passed
    assert points > 100

    slowest = 0.0
    for crash_at in range(1 + first, points, STRIDE):
        world.hooks.point = lambda _: None
        reset(world)
        world.hooks.point = counter
        counter.passed, counter.crash_at = 0, crash_at
        slowest = max(slowest, drive(world))
        counter.crash_at = -1
        tries: list[tuple[Any, ...]] = world.rows(
            "SELECT task, array_agg(phase ORDER BY number) FROM attempt GROUP BY task"
        )
        assert dict(tries) == {
            "a": ["Succeeded"],
            "b": ["Failed", "Succeeded"],
            "c": ["Succeeded"],
            "e": ["Succeeded"],
        }, f"crashed at point {crash_at}"
    assert slowest < WITHIN
