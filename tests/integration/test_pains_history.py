"""What has ended costs nothing: each statement of the loop does the same over a long history as over none.

Not time is measured but work: the plans that really ran, the rows that they read and the blocks that they touched.
`SETPOINT_HISTORY_ROWS=10000000` writes as many finished tasks as a busy year; by default it is as many as show a plan that
reads history.
"""

from __future__ import annotations

import inspect
import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from controller.aws.ecs import ServiceCounts
from controller.diff.pools import StoppedTask
from controller.store import attempts, dags, datasets, events, fences, pools, revisions, runs, slots, task_runs, workers
from crds.names import AttemptId, cold_key
from crds.protocol import DatasetWrite, Grant, Message, Report, ReportRequest, WrittenFile
from crds.reasons import Reason
from tests.conftest import new_database
from tests.integration import old_rows, plan_recorder
from tests.integration.core_parts import START, dag, dataset, pool, task
from tests.integration.core_world import World
from tests.integration.plan_recorder import PlanRecorder, Work, normal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.local.postgres import Server

HISTORY_ROWS = int(os.environ.get("SETPOINT_HISTORY_ROWS", "100000"))
LEVELS = 4
"""How many levels deeper the indexes of ten million rows are than those of none."""
GROWING = frozenset({"run", "task_run", "attempt", "event", "worker"})
"""Tables that hold history; none of them may be read whole."""

MODULES = (attempts, dags, datasets, events, fences, pools, revisions, runs, slots, task_runs, workers)
NOT_OF_THE_LOOP = {
    "attempts._FORGET_SENT": "at the start of a local system with empty queues",
    "events._LATEST": "for people",
    "events._LATEST_OF_RUN": "for people",
    "events._AFTER": "for people",
    "events._AFTER_OF_RUN": "for people",
}
"""Statements of these modules that no pass, claim, heartbeat, report or timer runs."""


def statements() -> dict[str, str]:
    """Return the statements of the loop by their text; what is but a part of another one is none."""
    found = {
        normal(text): f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in MODULES
        for name, text in inspect.getmembers(module)
        if isinstance(text, str) and name.startswith("_") and name.isupper()
    }
    return {
        text: name
        for text, name in found.items()
        if name not in NOT_OF_THE_LOOP and not any(text in other and text != other for other in found)
    }


def resources() -> list[dict[str, Any]]:
    """Return DAGs that let the loop run every statement that it has."""
    once = {"retries": {"limit": 1, "backoff": {"initial": "10s"}}}
    lake = {"lake": {"dataset": "lake", "mode": "append"}}
    return [
        pool("python"),
        pool("other"),
        dataset("lake", ("day", "string"), ("n", "int64"), partitionBy=["day"]),
        dag("busy", task("a"), *(task(f"b{n}", ["a"]) for n in range(4)), task("c", ["b0", "b1", "b2", "b3"]), defaults=once),
        dag("lakes", task("w", outputs=lake), task("r", ["w"], inputs={"lake": {"dataset": "lake"}})),
        dag("limited", *(task(f"t{n}", pool="other") for n in range(3)), concurrency={"maxActiveTasks": 1}),
        dag("hourly", task("a"), schedules=[{"name": "h", "cron": "0 * * * *"}], concurrency={"policy": "Replace"}),
        dag("short", task("a"), timeout="30s"),
    ]  # fmt: skip


@contextmanager
def history(postgres: Server, template: str, rows: int) -> Iterator[tuple[World, PlanRecorder]]:
    """Give a world above so many finished tasks, and what is told of its statements."""
    with new_database(postgres, template) as database:
        if not plan_recorder.available(database):
            pytest.skip("this Postgres has no auto_explain; install its contrib package")
        first = World(database)
        first.apply(*resources())
        first.close()
        if rows:
            old_rows.fill(database, rows, dag="busy", pool="python", before=START - timedelta(days=1))
        plan_recorder.prepare(database)
        world = World(database, scales=True)
        # Uids grow, so that what is new sorts behind all that is old; and invariants of old rows are not of interest.
        world.ids.last = 2**60
        world.check = lambda: None  # type: ignore[method-assign]
        recorder = PlanRecorder().watch(world.database._connection)
        yield world, recorder
        world.close()


def live_through(world: World) -> None:
    """Let happen all that can happen to runs, tasks, attempts and workers."""
    world.services.services = {name: ServiceCounts(1, 1) for name in ("python", "other")}
    world.wake(world.timers.resync())
    world.settle()
    for _ in range(6):  # As often as makes the driver prepare the statements, and Postgres think of generic plans.
        world.trigger("busy")
        world.work({"b1": "failed"})
        world.advance(12)
        world.work()
    lose_and_find(world)
    steer(world)
    write_and_read(world)
    hand_over(world)
    world.advance(3_700, step=60)
    world.work(pools=("python", "other"))
    world.advance(40)
    world.advance(150, step=10)


def lose_and_find(world: World) -> None:
    """Lose workers, attempts and messages in every way."""
    for reason in ("silent", "stopped", "forgets", "leaves"):
        world.trigger("busy")
        world.settle()
        who = world.worker(reason)
        who.ecs_task = f"arn:{reason}"
        assert world.claim(worker=reason)
        world.beat(who)
        if reason == "stopped":
            world.services.gone[f"arn:{reason}"] = StoppedTask(Reason.OUT_OF_MEMORY, "out of memory")
            with world.database.connection() as connection:
                assert workers.pools_of_ecs_tasks(connection, [f"arn:{reason}"])
        who.heard = reason == "forgets"
        who.held.clear()
        if reason == "leaves":
            with world.database.connection() as connection:
                workers.leave(connection, [who.id], world.clock.at)
        world.advance(20)
        world.work()
    lost, buried = world.trigger("busy"), world.trigger("busy")
    world.settle()
    world.queues.bury(world.queue())
    world.advance(30)
    world.queues.purge()
    world.advance(200, step=10)
    world.work()
    assert {world.phase(lost), world.phase(buried)} == {"Succeeded"}
    world.queues.lose_answers = True
    world.trigger("limited")
    world.settle()
    world.queues.lose_answers = False
    world.advance(12)
    world.work(pools=("other",))


def steer(world: World) -> None:
    """Cancel, suspend and resume runs, and let one pass its deadline."""
    cancelled, paused, late = world.trigger("busy"), world.trigger("busy"), world.trigger("short")
    world.settle()
    assert world.claim(1)
    world.cancel(cancelled)
    world.suspend(paused)
    world.settle()
    world.wake(world.timers.resync())
    world.settle()
    world.suspend(paused, suspended=False)
    world.advance(70)
    world.workers["w1"].held.clear()
    world.work()
    assert (world.phase(cancelled), world.phase(late)) == ("Cancelled", "Failed")


def write_and_read(world: World) -> None:
    """Write a cold dataset and a bookmark, and read both."""
    for _ in range(2):
        world.trigger("lakes")
        world.settle()
        (grant,) = world.claim()
        assert world.report(grant, writes=[_write(grant)], bookmark={"day": "2026-01-01"}) == "recorded"
        world.work()


def _write(grant: Grant) -> DatasetWrite:
    file = WrittenFile(key=cold_key("lake", "default", "d", grant.attempt, 0), partition="d", rows=1, bytes=8)
    return DatasetWrite(dataset="lake", uid=grant.outputs["lake"].uid, mode="append", rows=1, files=[file])


def hand_over(world: World) -> None:
    """Report, and take what waits with the answer; ask again, as when the answer was lost."""
    world.trigger("busy")
    world.settle()
    (grant,) = world.claim(1)
    report = Report(attempt=grant.attempt, token=grant.token, outcome="succeeded")
    asked = ReportRequest(reports=[report], free=2, worker="w1", pool="python", request="more")
    for _ in range(2):
        (answer,) = world.reporting.reports([asked])
        assert len(answer.grants) == 2
    for more in answer.grants:
        world.report(more)
    world.ask(world.worker("w1"), [Message(AttemptId(grant.attempt), 1)])
    world.work()


@pytest.mark.timeout(1_800)
def test_t15_no_statement_of_the_loop_does_more_over_a_long_history(postgres: Server, template: str) -> None:
    told: list[PlanRecorder] = []
    for rows in (0, HISTORY_ROWS):
        with history(postgres, template, rows) as (world, recorder):
            live_through(world)
            told.append(recorder)
    empty, full = (recorder.worst for recorder in told)

    wanted = statements()
    assert not {name for text, name in wanted.items() if text not in full}, "not run by the test; let it happen"
    grown = {
        wanted.get(text, text): (empty[text], work)
        for text, work in full.items()
        if text in empty and _grew(empty[text], work)
    }
    assert not grown


def _grew(empty: Work, full: Work) -> bool:
    return bool(
        full.scanned & GROWING
        or full.examined > 1.2 * empty.examined + 10
        or full.blocks > 1.2 * empty.blocks + LEVELS * empty.descents + 50
    )
