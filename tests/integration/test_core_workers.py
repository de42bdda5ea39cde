"""Workers fall silent, forget, leave and stop; what they ran is lost, requeued or known to have succeeded."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from controller.aws.ecs import ServiceCounts
from controller.diff.pools import StoppedTask
from crds.reasons import Reason
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python"), dag("one", task("a")), dag("wide", *(task(f"t{n}") for n in range(6))))
    yield world
    world.close()


def commit(world: World, attempt: str) -> None:
    """Set an attempt Committed, as the fence does."""
    with world.database.connection() as connection:
        connection.execute(
            "UPDATE attempt SET phase = 'Committed', committed_at = %s, outputs = '{\"rows\": 3}' WHERE id = %s",
            (world.clock.at, attempt),
        )


def test_an_attempt_whose_worker_is_heard_runs_on(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    world.claim()
    world.advance(600, step=3)

    assert world.attempts(run) == ["Running"]
    world.assert_stable()


def test_a_silent_worker_loses_all_that_it_ran(world: World) -> None:
    run = world.trigger("wide")
    world.settle()
    assert len(world.claim(worker="w1")) == 6
    world.workers["w1"].heard = False
    world.advance(8)
    assert set(world.attempts(run)) == {"Running"}
    world.advance(4)

    assert world.attempts(run).count("Lost") == 6
    assert world.events("LeaseExpired")
    assert len(world.work()) == 6
    assert world.phase(run) == "Succeeded"
    assert world.one("SELECT DISTINCT infrastructure_failures FROM task_run") == 1
    world.assert_stable()


@pytest.mark.pain("T7")
def test_an_outage_of_the_api_loses_nobody(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    world.claim()
    world.open = False
    world.advance(300, step=10)
    assert world.attempts(run) == ["Running"]
    world.open = True
    world.advance(60)

    assert world.attempts(run) == ["Running"]


def test_after_an_outage_a_worker_has_one_lease_to_be_heard_again(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    world.claim()
    world.open = False
    world.advance(300, step=10)
    world.open = True
    world.workers["w1"].heard = False
    world.advance(9)
    assert world.attempts(run) == ["Running"]
    world.advance(4)

    assert world.attempts(run) == ["Lost", "Queued"]


def test_a_worker_that_is_heard_again_is_told_what_is_stale(world: World) -> None:
    world.trigger("one")
    world.settle()
    (grant,) = world.claim()
    world.workers["w1"].heard = False
    world.advance(15)
    world.workers["w1"].heard = True

    assert world.beat(world.worker("w1")).attempts == {grant.attempt: "stale"}


@pytest.mark.pain("T6")
def test_an_attempt_missing_from_two_heartbeats_in_a_row_is_lost(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    (grant,) = world.claim()
    who = world.worker("w1")
    who.heard = False
    world.clock.at += timedelta(seconds=7)
    world.beat(who, held=[])
    world.settle()
    assert world.attempts(run) == ["Running"]
    world.beat(who, held=[grant.attempt])
    world.beat(who, held=[])
    world.settle()
    assert world.attempts(run) == ["Running"]
    world.beat(who, held=[])
    world.settle()

    assert world.attempts(run) == ["Lost", "Queued"]
    assert world.one("SELECT reason FROM attempt WHERE phase = 'Lost'") == "MissingFromHeartbeat"


def test_an_attempt_whose_claim_is_repeated_until_it_is_answered_is_held(world: World) -> None:
    """As after an outage of the database: the claim was committed, its answer was lost, and heartbeats come through first."""
    run = world.trigger("one")
    world.settle()
    world.claim(request="r-unanswered")
    who = world.worker("w1")
    who.heard = False
    world.clock.at += timedelta(seconds=7)
    for _ in range(3):
        world.beat(who, held=[], awaited=["r-other", "r-unanswered"])
        world.settle()
    assert world.attempts(run) == ["Running"]

    for _ in range(2):
        world.beat(who, held=[], awaited=["r-other"])
        world.settle()
    assert world.attempts(run) == ["Lost", "Queued"]


def test_a_young_claim_may_be_missing_from_heartbeats(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    world.claim()
    for _ in range(3):
        world.clock.at += timedelta(seconds=1)
        world.beat(world.worker("w1"), held=[])
        world.settle()

    assert world.attempts(run) == ["Running"]


@pytest.mark.pain("T18")
def test_a_committed_attempt_whose_worker_dies_succeeded(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    (grant,) = world.claim()
    commit(world, grant.attempt)
    world.workers["w1"].heard = False
    world.advance(15)

    assert (world.attempts(run), world.phase(run)) == (["Succeeded"], "Succeeded")
    assert world.one("SELECT outputs FROM task_run") == {"rows": 3}
    world.assert_stable()


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "evicted", "lost", "cancelled", "timedOut"])
def test_whatever_is_reported_of_a_committed_attempt_it_succeeded(world: World, outcome: str) -> None:
    run = world.trigger("one")
    world.settle()
    (grant,) = world.claim()
    commit(world, grant.attempt)

    assert world.report(grant, outcome) == "recorded"
    world.settle()
    assert world.attempts(run) == ["Succeeded"]
    assert world.one("SELECT outputs FROM task_run") == {"rows": 3}


def test_a_committed_attempt_of_a_cancelled_run_succeeded(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    (grant,) = world.claim()
    commit(world, grant.attempt)
    world.cancel(run)
    world.settle()
    world.report(grant)
    world.settle()

    assert (world.attempts(run), world.phase(run)) == (["Succeeded"], "Succeeded")


def test_evictions_cost_nothing_until_there_are_too_many(world: World) -> None:
    world.apply(dag("moved", task("a", retries={"limit": 0, "infrastructure": 1})))
    run = world.trigger("moved")
    for _ in range(20):
        world.settle()
        world.report(world.claim()[0], "evicted")
    world.settle()
    assert world.rows("SELECT evictions, infrastructure_failures, user_failures FROM task_run") == [(20, 0, 0)]

    world.report(world.claim()[0], "evicted")
    world.settle()
    world.report(world.claim()[0], "evicted")
    world.settle()
    assert (world.phase(run), len(world.attempts(run))) == ("Failed", 22)
    assert world.one("SELECT reason FROM task_run") == "AttemptsExhausted"


def test_losses_and_failures_are_counted_apart(world: World) -> None:
    world.apply(dag("both", task("a", retries={"limit": 1, "infrastructure": 2, "backoff": {"initial": "1s"}})))
    run = world.trigger("both")
    for outcome in ("lost", "failed", "lost", "failed"):
        world.settle()
        world.report(world.claim()[0], outcome)
        world.advance(5)

    assert world.rows("SELECT user_failures, infrastructure_failures FROM task_run") == [(2, 2)]
    assert world.phase(run) == "Failed"


@pytest.mark.pain("T18")
def test_a_worker_whose_ecs_task_stopped_is_given_up_at_once(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    world.worker("w1").ecs_task = "arn:task/1"
    world.claim(worker="w1")
    world.services.gone["arn:task/1"] = StoppedTask(Reason.OUT_OF_MEMORY, "OutOfMemoryError: killed")
    world.advance(6)

    assert world.rows("SELECT phase, reason FROM attempt ORDER BY number") == [
        ("Lost", "OutOfMemory"),
        ("Queued", None),
    ]
    assert run


def test_a_heartbeat_that_comes_between_look_and_verdict_wins(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    world.claim()
    who = world.worker("w1")
    who.heard = False
    world.advance(9)
    world.clock.at += timedelta(seconds=3)
    world._keep_open()
    world.wake(world.timers.due())
    world.beat(who)
    world.settle()

    assert world.attempts(run) == ["Running"]


# Scaling


@pytest.fixture
def scaled(database: Database) -> Iterator[World]:
    world = World(database, scales=True)
    world.services.services["python"] = ServiceCounts(0, 0)
    world.apply(pool("python", slots=2, maxTasks=3), dag("wide", *(task(f"t{n}") for n in range(5))))
    yield world
    world.close()


def desired(world: World) -> int:
    return world.services.services["python"].desired


def test_a_pool_gets_as_many_tasks_as_its_demand_needs_and_gives_them_back(scaled: World) -> None:
    scaled.settle()
    assert desired(scaled) == 0
    scaled.trigger("wide")
    scaled.settle()
    scaled.advance(6)
    assert desired(scaled) == 3
    scaled.work()
    scaled.advance(60)
    assert desired(scaled) == 3
    scaled.advance(70)

    assert desired(scaled) == 0
    assert scaled.events("Scaled")


def test_the_surplus_drains_least_busy_first(scaled: World) -> None:
    scaled.trigger("wide")
    scaled.settle()
    scaled.advance(6)
    (one, two) = scaled.claim(2, worker="w1")
    (three,) = scaled.claim(1, worker="w2")
    scaled.beat(scaled.worker("w3"))
    rest = scaled.claim(2, worker="w1")
    for grant in (two, *rest):
        scaled.report(grant)
    scaled.settle()
    scaled.advance(130)
    assert desired(scaled) == 1

    drains = dict(scaled.rows("SELECT id, drain FROM worker"))
    assert sum(drains.values()) == 2
    assert drains["w3"]
    for grant in (one, three):
        assert scaled.report(grant) == "recorded"
