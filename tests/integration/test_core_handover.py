"""What the answer to a report brings: the worker's next attempts, to workers that may take more, and again if it was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crds.protocol import Report, ReportRequest
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crds.protocol import Grant, ReportAnswer
    from tests.conftest import Database

WAITING = "SELECT count(*) FROM attempt WHERE task <> 'a' AND phase IN ('Pending', 'Queued')"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    fan = dag("fan", task("a"), *(task(name, ["a"]) for name in "bcd"))
    world.apply(pool("python", slots=4, maxTasks=4), dag("chain", task("a"), task("b", ["a"])), fan)
    yield world
    world.close()


def running(world: World, name: str) -> Grant:
    world.trigger(name)
    world.settle()
    (grant,) = world.claim()
    return grant


def reported(world: World, grant: Grant, request: str = "first", **more: Any) -> ReportAnswer:
    told = Report(attempt=grant.attempt, token=grant.token, outcome="succeeded")
    asked: dict[str, Any] = {"free": 1, "worker": "w1", "pool": "python"} | more
    (answer,) = world.reporting.reports([ReportRequest(reports=[told], request=request, **asked)])
    return answer


def test_the_answer_to_a_report_brings_what_comes_next(world: World) -> None:
    answer = reported(world, running(world, "chain"))

    assert [g.task["name"] for g in answer.grants] == ["b"]
    world.settle()
    assert world.queues.counts(world.queue()).visible == 0


def test_a_repeated_report_brings_the_same_grants_and_no_others(world: World) -> None:
    grant = running(world, "fan")
    first = reported(world, grant)
    again = reported(world, grant)

    assert len(first.grants) == 1
    assert [(g.attempt, g.token) for g in again.grants] == [(g.attempt, g.token) for g in first.grants]
    assert again.reports == first.reports == {grant.attempt: "recorded"}


def test_another_request_is_not_given_what_the_first_one_got(world: World) -> None:
    grant = running(world, "chain")
    assert len(reported(world, grant).grants) == 1

    assert reported(world, grant, "second").grants == []


def drain(world: World) -> None:
    with world.database.connection() as connection:
        connection.execute("UPDATE worker SET drain = true")


def fall_silent(world: World) -> None:
    # The lease is past, and nobody has looked at the pool since.
    world.clock.at = world.one("SELECT heartbeat_by FROM worker")


def be_given_up(world: World) -> None:
    with world.database.connection() as connection:
        connection.execute("UPDATE worker SET ended_at = now(), reason = 'WorkerStopped'")


@pytest.mark.parametrize(
    "end",
    [pytest.param(drain, id="drains"), pytest.param(fall_silent, id="silent"), pytest.param(be_given_up, id="gone")],
)
def test_a_worker_that_takes_no_more_is_handed_nothing(world: World, end: Callable[[World], None]) -> None:
    grant = running(world, "chain")
    end(world)
    answer = reported(world, grant)

    assert answer.reports == {grant.attempt: "recorded"}
    assert answer.grants == []
    assert world.one(WAITING) == 1


def test_nothing_passes_what_waits_in_the_queue(world: World) -> None:
    grant = running(world, "chain")
    world.trigger("chain")
    world.settle()

    assert reported(world, grant).grants == []


def test_a_run_that_is_locked_is_left_to_the_loop(world: World, database: Database) -> None:
    grant = running(world, "chain")
    with database.connect() as other:
        other.execute("SELECT FROM run FOR NO KEY UPDATE")
        assert reported(world, grant).grants == []
        other.rollback()

    assert world.work() == ["b"]
