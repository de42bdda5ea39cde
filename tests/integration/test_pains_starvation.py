"""Nobody waits behind somebody else's queue: not behind a full pool, not behind a greedy DAG, not behind what stands still."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from controller.informers import timers
from controller.runtime.keys import Key, Kind
from tests.integration import plan_recorder
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World
from tests.integration.plan_recorder import PlanRecorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database

CROWD = 100_000
SECOND = timedelta(seconds=1)


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    if plan_recorder.available(database):
        plan_recorder.prepare(database)
    world = World(database)
    world.apply(pool("full", slots=4, maxTasks=1), pool("python"))
    yield world
    world.close()


def wide(name: str, count: int, **more: Any) -> dict[str, Any]:
    return dag(name, *(task(f"t{n:03}", **more) for n in range(count)))


def test_t13_a_task_of_an_empty_pool_starts_in_one_pass_whatever_waits_elsewhere(world: World) -> None:
    world.apply(wide("crowd", 5, pool="full"), dag("lone", task("a")))
    crowd = world.trigger("crowd")
    world.settle()
    with world.database.connection() as connection:
        connection.execute(
            """INSERT INTO task_run (run_uid, task, idx, dag_uid, pool_uid, phase, ready_at)
               SELECT run_uid, task, n, dag_uid, pool_uid, 'Ready', ready_at
                 FROM task_run CROSS JOIN generate_series(1, %s) AS n WHERE run_uid = %s AND task = 't004'""",
            (CROWD, crowd),
        )
    lone = world.trigger("lone")
    world.reconcile[Kind.DAG]([Key(Kind.DAG, world.uid("Dag", "lone"))])
    assert world.tasks(lone) == {"a": "Ready"}

    recorder = PlanRecorder().watch(world.database._connection)
    everything = [Key(Kind.RUN, crowd), *(Key(Kind.SLOTS, world.uid("WorkerPool", p)) for p in ("full", "python"))]
    world.reconcile[Kind.RUN](everything)
    assert world.attempts(lone) == ["Pending"]
    assert world.live("full") == 4
    assert max((work.examined for work in recorder.worst.values()), default=0) < CROWD / 100


@pytest.mark.parametrize(
    ("slots", "dags"),
    [
        pytest.param(8, 4, id="more slots than DAGs"),
        pytest.param(4, 4, id="a slot each"),
        pytest.param(2, 5, id="fewer slots than DAGs"),
        pytest.param(1, 3, id="one slot"),
    ],
)
def test_t13_dags_that_saturate_a_pool_get_like_shares(world: World, slots: int, dags: int) -> None:
    """One comes first and asks for most; after a while nobody has more than twice of what anybody has."""
    world.apply(pool("python", slots=slots, maxTasks=1))
    names = [f"d{n}" for n in range(dags)]
    world.apply(*(wide(name, 100 if name == "d0" else 30) for name in names))
    for name in names:
        world.trigger(name)
        world.settle()
        world.clock.at += SECOND
    served: Counter[str] = Counter()
    for _ in range(20 * dags):
        world.settle(check=False)
        (grant,) = world.claim(1)
        served[grant.dag] += 1
        world.clock.at += SECOND
        world.report(grant)
    world.check()

    assert served.keys() == set(names)
    assert max(served.values()) <= 2 * min(served.values()), served


def test_t13_what_stands_still_hides_nobody_from_the_resync(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wake of a cancel is lost; the run is found although more older runs wait than one resync looks at."""
    monkeypatch.setattr(timers, "RESYNC_LIMIT", 5)
    world.apply(pool("full", suspend=True), dag("crowd", task("a", pool="full")))
    runs = [world.trigger("crowd") for _ in range(13)]
    world.settle()
    world.cancel(runs[-1])
    world.boot()
    world.advance(3 * 30 + 1, step=1)

    assert world.phase(runs[-1]) == "Cancelled"
    assert {world.phase(run) for run in runs[:-1]} == {"Running"}
