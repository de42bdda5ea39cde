"""Limits: runs of a DAG, tasks of a DAG, slots of a pool; priorities and fairness in what gets the slots."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from controller.reconcilers import dags, slots
from controller.runtime.keys import Key, Kind
from controller.store.revisions import Revisions
from crds.pool import WorkerPoolSpec
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python", slots=2, maxTasks=2))
    yield world
    world.close()


def wide(name: str, count: int, **more: object) -> dict[str, object]:
    return dag(name, *(task(f"t{n:02}") for n in range(count)), **more)


@pytest.mark.pain("T12")
@pytest.mark.parametrize(
    ("spec", "limit"),
    [
        pytest.param({}, 10, id="as given"),
        pytest.param({"slots": 3, "maxTasks": 7}, 21, id="other numbers"),
        pytest.param({"suspend": True}, 0, id="suspended"),
    ],
)
def test_the_database_reads_the_same_limit_out_of_a_pool_as_its_model(
    world: World, spec: dict[str, object], limit: int
) -> None:
    world.apply(pool("other", **spec))

    stored = WorkerPoolSpec.model_validate(world.one("SELECT spec FROM resource WHERE name = 'other'"))
    assert world.one("SELECT live_limit FROM resource WHERE name = 'other'") == limit
    assert limit == (0 if stored.suspend else stored.limit)


def test_a_pool_has_no_more_live_attempts_than_its_limit(world: World) -> None:
    world.apply(wide("wide", 11))
    run = world.trigger("wide")
    world.settle()
    assert world.live() == 4
    world.assert_stable()

    assert len(world.work()) == 11
    assert world.phase(run) == "Succeeded"


def test_a_pool_that_grows_takes_more_at_once(world: World) -> None:
    world.apply(wide("wide", 11))
    world.trigger("wide")
    world.settle()
    world.apply(pool("python", slots=2, maxTasks=4))
    world.settle()

    assert world.live() == 8


def test_a_suspended_pool_admits_nothing_until_it_is_resumed(world: World) -> None:
    world.apply(pool("python", suspend=True), wide("wide", 3))
    world.trigger("wide")
    world.settle()
    assert world.live() == 0
    world.apply(pool("python"))
    world.settle()

    assert world.live() == 3


def test_a_pool_that_shrinks_ends_nothing_and_admits_nothing(world: World) -> None:
    world.apply(wide("wide", 11))
    world.trigger("wide")
    world.settle()
    world.invariants.over_limit.add("python")
    world.apply(pool("python", slots=1, maxTasks=1))
    for grant in world.claim(3):
        world.report(grant)
    world.settle()
    assert world.live() == 1
    world.invariants.over_limit.clear()

    assert len(world.work()) == 8


def test_a_dag_has_no_more_active_runs_than_it_says(world: World) -> None:
    world.apply(dag("runs", task("a"), concurrency={"maxActiveRuns": 2}))
    uids = [world.trigger("runs") for _ in range(5)]
    world.settle()

    assert [world.phase(uid) for uid in uids] == ["Running"] * 2 + ["Pending"] * 3
    assert len(world.work()) == 5
    assert {world.phase(uid) for uid in uids} == {"Succeeded"}
    world.assert_stable()


def test_a_dag_has_as_many_active_runs_as_it_says_however_many_one_pass_looks_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dags, "WAITING_LIMIT", 2)
    world.apply(dag("runs", task("a"), concurrency={"maxActiveRuns": 5}))
    uids = [world.trigger("runs") for _ in range(7)]
    world.advance(61, step=2)

    assert [world.phase(uid) for uid in uids] == ["Running"] * 5 + ["Pending"] * 2


def test_a_dag_has_no_more_live_tasks_than_it_says_whatever_the_pool(world: World) -> None:
    world.apply(pool("other"))
    tasks = [task(f"t{n}", pool="other" if n % 2 else "python") for n in range(8)]
    world.apply(dag("limited", *tasks, concurrency={"maxActiveTasks": 3}))
    run = world.trigger("limited")
    world.settle()
    assert world.live("python") + world.live("other") == 3

    done = world.work(pools=("python", "other"))
    assert len(done) == 8
    assert world.phase(run) == "Succeeded"


def test_a_limited_dag_goes_on_in_another_pool_as_soon_as_a_task_ends(world: World) -> None:
    world.apply(pool("other"))
    first, second = task("first", pool="python", priority=1), task("second", pool="other")
    world.apply(dag("limited", first, second, concurrency={"maxActiveTasks": 1}))
    world.trigger("limited")
    world.settle()
    pools = [name for name in ("python", "other") if world.live(name)]
    assert len(pools) == 1
    world.report(world.claim(pool=pools[0])[0])
    world.settle()

    assert {name for name in ("python", "other") if world.live(name)} == {"python", "other"} - set(pools)


def test_higher_priorities_get_slots_first(world: World) -> None:
    low = dag("low", *(task(f"l{n}", priority=-5) for n in range(6)))
    high = dag("high", *(task(f"h{n}") for n in range(4)), defaults={"priority": 7})
    world.apply(low, high)
    world.trigger("low")
    world.settle()
    world.trigger("high")

    order = world.work()
    assert order[:4] == ["l0", "l1", "l2", "l3"]
    assert sorted(order[4:8]) == ["h0", "h1", "h2", "h3"]


@pytest.mark.pain("T13")
def test_slots_are_shared_fairly_among_dags(world: World) -> None:
    world.apply(wide("greedy", 40), wide("modest", 2))
    world.trigger("greedy")
    world.settle()
    assert world.live() == 4
    modest = world.trigger("modest")
    world.settle()
    for grant in world.claim(2):
        world.report(grant)
    world.settle()

    live = world.rows("SELECT run_uid FROM attempt WHERE ended_at IS NULL")
    assert [r[0] for r in live].count(modest) == 2


def test_a_run_waits_for_a_pool_that_does_not_exist_and_starts_when_it_does(world: World) -> None:
    world.apply(pool("late"), dag("waits", task("a", pool="late")))
    with world.database.connection() as connection:
        connection.execute("DELETE FROM resource WHERE name = 'late'")
    run = world.trigger("waits")
    world.settle()
    assert world.phase(run) == "Pending"
    world.apply(pool("late"))
    world.advance(31, step=31)

    assert world.work(pools=("late",)) == ["a"]
    assert world.phase(run) == "Succeeded"


@pytest.mark.pain("T12", "T19")
def test_two_dispatchers_that_fill_a_pool_at_once_leave_it_within_its_limit(world: World, database: Database) -> None:
    world.apply(wide("wide", 30))
    world.trigger("wide")
    world.settle()
    world.apply(pool("python", slots=2, maxTasks=4))
    uid = world.uid("WorkerPool", "python")
    start = threading.Barrier(4)
    created: list[int] = []

    def fill() -> None:
        with psycopg.connect(database.conninfo, options="-c search_path=setpoint") as connection:
            start.wait(30)
            chosen = slots.choose(connection, Revisions(), [uid], world.clock.at)
            created.append(len(slots.create(connection, chosen, world.clock.at).get()))

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(created) == [0, 0, 0, 4]
    world.check()


def test_a_dag_waits_for_no_run_that_another_transaction_holds(world: World, database: Database) -> None:
    world.apply(dag("runs", task("a"), concurrency={"maxActiveRuns": 1}))
    run = world.trigger("runs")
    key = Key(Kind.DAG, world.uid("Dag", "runs"))
    with database.connect() as other:
        other.execute("SELECT FROM run WHERE uid = %s FOR NO KEY UPDATE", (run,))
        again = world.reconcile[Kind.DAG]([key])[key]
        assert again.wake_after is not None
        assert world.phase(run) == "Pending"
    world.reconcile[Kind.DAG]([key])

    assert world.phase(run) == "Running"
