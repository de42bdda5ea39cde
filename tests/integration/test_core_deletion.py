"""Deletion: what hangs on a resource goes first, whatever crashes; and runs that are opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.aws.ecs import ServiceCounts
from controller.diff.deletion import RUNS, WORKERS
from controller.diff.retry import Again
from controller.errors import Conflict
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database, scales=True)
    world.apply(pool("python"))
    yield world
    world.close()


def left(world: World, table: str) -> int:
    return int(world.one(f"SELECT count(*) FROM {table}"))


def test_a_dag_goes_with_its_runs(world: World) -> None:
    world.apply(dag("old", task("a"), task("b", ["a"])))
    ended = world.trigger("old")
    world.work()
    live = world.trigger("old")
    world.settle()
    (grant,) = world.claim()

    with pytest.raises(Conflict, match="it has 2 runs in its history"):
        world.delete("Dag", "old")
    assert world.delete("Dag", "old", cascade=True) == (RUNS,)
    world.settle(check=False)
    assert world.one("SELECT count(*) FROM run WHERE uid = %s", ended) == 0
    assert world.one("SELECT cancel_reason FROM run WHERE uid = %s", live) == "Cancelled"

    assert world.beat(world.worker()).attempts == {grant.attempt: "cancel"}
    world.report(grant, "cancelled")
    world.wake(world.timers.resync())
    world.settle(check=False)
    assert [left(world, table) for table in ("run", "task_run", "attempt")] == [0, 0, 0]
    assert world.one("SELECT count(*) FROM resource WHERE kind = 'Dag'") == 0
    assert world.one("SELECT count(*) FROM event WHERE kind = 'DagRun'") == 0
    assert world.one("SELECT count(*) FROM event WHERE kind = 'Dag' AND reason = 'Deleted'") == 1


def test_nothing_new_refers_to_what_is_going(world: World) -> None:
    world.apply(dag("old", task("a")))
    world.trigger("old")
    world.settle()
    world.delete("Dag", "old", cascade=True)
    with pytest.raises(Conflict, match="is being deleted"):
        world.apply(dag("old", task("a"), task("b")))


def test_a_worker_of_a_deleted_run_is_told_to_drop_its_message(world: World) -> None:
    world.apply(dag("old", task("a")))
    run = world.trigger("old")
    world.settle()
    world.delete("Dag", "old", cascade=True)
    world.settle(check=False)
    world.wake(world.timers.resync())
    world.settle(check=False)
    assert world.one("SELECT count(*) FROM run WHERE uid = %s", run) == 0
    assert world.claim() == []
    assert world.queues.receive(world.queue("python"), 10) == []


class _Crash(Exception):
    pass


def prepare(world: World) -> None:
    """Make a DAG with an ended run and a queued one, and ask for its deletion."""
    world.apply(dag("old", task("a")))
    world.trigger("old")
    world.work()
    world.trigger("old")
    world.settle()
    world.delete("Dag", "old", cascade=True)


def finish(world: World) -> None:
    """Let the controller do what is left, as its resyncs would."""
    for _ in range(3):
        world.wake(world.timers.resync())
        world.settle(check=False)


def test_a_crash_anywhere_only_delays_it(world: World) -> None:
    passed = 0
    crash_at = -1

    def point(_: str) -> None:
        nonlocal passed
        passed += 1
        if passed == crash_at:
            raise _Crash

    prepare(world)
    world.hooks.point = point
    finish(world)
    points, world.hooks.point = passed, lambda _: None
    assert points > 20
    for crash_at in range(1, points + 1):
        prepare(world)
        passed, world.hooks.point = 0, point
        try:
            finish(world)
        except _Crash:
            world.hooks.point = lambda _: None
            world.boot()
        finish(world)
        world.hooks.point = lambda _: None
        found = [left(world, table) for table in ("run", "task_run", "attempt")]
        assert (found, world.one("SELECT count(*) FROM resource WHERE kind = 'Dag'")) == ([0, 0, 0], 0), crash_at


def test_a_pool_goes_when_its_workers_are_gone(world: World) -> None:
    world.services.services["python"] = ServiceCounts(desired=1, running=1)
    world.worker("w1")
    world.beat(world.worker("w1"))
    assert world.delete("WorkerPool", "python") == (WORKERS,)
    world.settle()
    assert world.services.services["python"].desired == 0
    assert world.beat(world.worker("w1")).drain
    assert world.one("SELECT count(*) FROM resource WHERE kind = 'WorkerPool'") == 1

    world.services.services["python"] = ServiceCounts(desired=0, running=0)
    world.workers.clear()
    world.advance(20)
    assert world.one("SELECT count(*) FROM resource WHERE kind = 'WorkerPool'") == 0


def test_a_run_that_succeeded_is_run_again_from_a_task(world: World) -> None:
    world.apply(dag("chain", task("a"), task("b", ["a"]), task("c", ["b"])))
    run = world.trigger("chain")
    world.work()
    before = world.tasks(run)

    world.retry(run, "b", how=Again.RERUN)
    assert world.tasks(run) == before | {"b": "Ready", "c": "Waiting"}
    assert world.work() == ["b", "c"]
    assert world.phase(run) == "Succeeded"
    assert world.one("SELECT count(*) FROM attempt WHERE run_uid = %s", run) == 5
    world.assert_stable()


def test_a_cleared_task_runs_alone(world: World) -> None:
    once = {"retries": {"limit": 0}}
    world.apply(dag("chain", task("a"), task("b", ["a"]), task("c", ["b"]), defaults=once))
    run = world.trigger("chain")
    world.work()

    world.retry(run, "a", how=Again.CLEAR)
    assert world.work() == ["a"]
    assert (world.phase(run), world.tasks(run)) == ("Succeeded", dict.fromkeys("abc", "Succeeded"))

    world.retry(run, "b", how=Again.CLEAR)
    assert world.work({"b": "failed"}) == ["b"]
    assert (world.phase(run), world.tasks(run)["c"]) == ("Failed", "Succeeded")
    world.assert_stable()
