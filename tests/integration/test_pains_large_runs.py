"""A run of thousands of tasks: each of its passes costs what changed, and it ends as a small one does."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from controller.store import pools
from crds.protocol import MAX_BATCH, Grant, Report, ReportRequest
from tests.conftest import new_database
from tests.integration import plan_recorder
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World
from tests.integration.plan_recorder import PlanRecorder, Work, normal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.local.postgres import Server
    from tests.conftest import Database

LARGE = 5_000
COUNTS_WHAT_WAITS = normal(pools._DEMAND)
"""Every five seconds a pool's demand is counted, up to a limit; that is not a part of a pass."""
PASS_BYTES = 4 * 2**20
"""What a pass may take of memory, whatever the size of its run."""


def fan(tasks: int) -> dict[str, Any]:
    """Return a DAG of one task, many that need it, and one that needs them all."""
    middle = [f"t{n:05}" for n in range(tasks - 2)]
    return dag("fan", task("first"), *(task(name, ["first"]) for name in middle), task("last", middle))


def quiet(world: World) -> World:
    """Check no invariants: they read every row."""
    world.check = lambda: None  # type: ignore[method-assign]
    return world


def passes(postgres: Server, template: str, tasks: int) -> tuple[PlanRecorder, int]:
    """Return what passes over a run of so many tasks did, and the most memory that they took."""
    with new_database(postgres, template) as database:
        if not plan_recorder.available(database):
            pytest.skip("this Postgres has no auto_explain; install its contrib package")
        plan_recorder.prepare(database)
        world = quiet(World(database))
        world.apply(pool("python", slots=4, maxTasks=1), fan(tasks))
        world.trigger("fan")
        world.settle()
        world.report(world.claim()[0])
        world.settle()
        for _ in range(10):  # The driver prepares what it has sent five times, and what is read once is kept.
            _one_step(world)
        recorder = PlanRecorder().watch(world.database._connection)
        tracemalloc.start()
        for _ in range(5):
            _one_step(world)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        world.close()
        return recorder, most


def _one_step(world: World) -> None:
    world.report(world.claim(1)[0])
    world.advance(1)


@pytest.mark.timeout(300)
def test_t14_a_pass_over_a_large_run_does_what_one_over_a_small_run_does(postgres: Server, template: str) -> None:
    small, _ = passes(postgres, template, 40)
    large, most = passes(postgres, template, LARGE)

    assert large.statements == small.statements
    grown = {text: (small.worst[text], work) for text, work in large.worst.items() if _grew(small.worst[text], work)}
    assert grown.keys() <= {COUNTS_WHAT_WAITS}
    assert most < PASS_BYTES


def _grew(small: Work, large: Work) -> bool:
    return large.examined > small.examined + 10 or large.blocks > 2 * small.blocks + 20


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = quiet(World(database))
    world.apply(pool("python", slots=256, maxTasks=8))
    yield world
    world.close()


@pytest.mark.timeout(300)
def test_t19_a_large_run_ends_with_each_task_run_once(world: World) -> None:
    world.apply(fan(LARGE))
    run = world.trigger("fan")
    who = world.worker()
    for _ in range(LARGE):
        world.settle()
        received = world.queues.receive(world.queue(), MAX_BATCH)
        if not received:
            break
        grants = world.ask(who, [r.message for r in received]).grants
        world.queues.queues[world.queue()].messages = [
            m for m in world.queues.queues[world.queue()].messages if not m.receives
        ]
        world.reporting.reports([ReportRequest(reports=[_succeeded(g) for g in grants], worker=who.id, pool="python")])

    assert world.phase(run) == "Succeeded"
    assert world.rows("SELECT phase, number, count(*) FROM attempt GROUP BY 1, 2") == [("Succeeded", 1, LARGE)]
    assert world.queues.sends == LARGE


def _succeeded(grant: Grant) -> Report:
    return Report(attempt=grant.attempt, token=grant.token, outcome="succeeded")
