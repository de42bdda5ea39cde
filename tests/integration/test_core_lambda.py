"""Tasks with runtime lambda: invoked instead of queued, claimed and reported by the same protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crds.protocol import Message
from crds.reasons import Reason
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crds.protocol import Grant, Invocation
    from tests.conftest import Database

CLAIM_WITHIN = 60
WITHIN = 200


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("lambda", "lambda"), dag("d", task("a", runtime="lambda")))
    yield world
    world.close()


def start(world: World) -> tuple[str, Invocation]:
    """Trigger the DAG; return the run and the one invocation of its task."""
    run = world.trigger("d")
    world.settle()
    (invocation,) = world.functions.take()
    return run, invocation


def host(world: World, invocation: Invocation, name: str) -> Sequence[Grant]:
    """Let the function claim what it was invoked for."""
    who = world.worker(name, "lambda")
    return world.ask(who, [Message(attempt=invocation.attempt, delivery=invocation.delivery)]).grants


def test_an_attempt_is_invoked_claimed_and_reported(world: World) -> None:
    run = world.trigger("d")
    world.settle()
    assert [function for function, _ in world.functions.invoked] == ["setpoint-operator"]
    (invocation,) = world.functions.take()
    assert (invocation.pool, invocation.namespace, invocation.delivery) == ("lambda", "default", 1)
    assert world.attempts(run) == ["Queued"]

    (grant,) = host(world, invocation, "f1")
    assert grant.task["runtime"] == "lambda"
    assert world.report(grant) == "recorded"
    world.settle()
    assert world.phase(run) == "Succeeded"
    world.assert_stable()
    assert not world.queues.queues


def test_the_second_of_two_invocations_gets_nothing(world: World) -> None:
    _, invocation = start(world)
    assert host(world, invocation, "f1")
    assert not host(world, invocation, "f2")


def test_an_invocation_that_is_lost_is_repeated_when_lambda_would_have_dropped_it(world: World) -> None:
    run, first = start(world)
    world.advance(CLAIM_WITHIN - 5)
    assert not world.functions.invoked
    world.advance(10)
    world.settle()
    (second,) = world.functions.take()
    assert (second.attempt, second.delivery) == (first.attempt, 2)
    (grant,) = host(world, second, "f1")
    world.report(grant)
    world.settle()
    assert world.phase(run) == "Succeeded"


def test_what_lambda_refuses_waits_and_uses_no_budget(world: World) -> None:
    world.functions.throttled = True
    run = world.trigger("d")
    world.settle()
    world.advance(300)
    assert world.attempts(run) == ["Pending"]
    world.functions.throttled = False
    world.advance(30)
    world.settle()
    assert {i.attempt for i in world.functions.take()} == {f"{run}/a/0/1"}


def test_an_expired_invocation_is_repeated_and_uses_no_budget(world: World) -> None:
    run, invocation = start(world)
    for _ in range(6):
        world.functions.fail(invocation, Reason.THROTTLED)
        assert world.invocations.look() == 1
        world.settle()
        (invocation,) = world.functions.take()
    assert invocation.delivery == 7
    assert world.attempts(run) == ["Queued"]
    assert len(world.events("Throttled")) == 6


@pytest.mark.parametrize("reason", [Reason.OUT_OF_MEMORY, Reason.TIMED_OUT, Reason.FUNCTION_FAILED])
def test_a_function_that_dies_loses_its_attempt_with_the_reason(world: World, reason: Reason) -> None:
    run, invocation = start(world)
    assert host(world, invocation, "f1")
    world.functions.fail(invocation, reason, "as Lambda said")
    world.invocations.look()
    assert world.rows("SELECT phase, reason, message FROM attempt") == [("Lost", reason, "as Lambda said")]
    assert world.one("SELECT infrastructure_failures FROM task_run") == 1
    assert world.one("SELECT user_failures FROM task_run") == 0
    world.advance(60)
    world.settle()
    (again,) = world.functions.take()
    (grant,) = host(world, again, "f2")
    world.report(grant)
    world.settle()
    assert world.phase(run) == "Succeeded"


def test_a_function_that_dies_unseen_loses_its_attempt_by_its_lease(world: World) -> None:
    _, invocation = start(world)
    assert host(world, invocation, "f1")
    world.workers["f1"].heard = False
    world.advance(30)
    world.settle()
    assert world.rows("SELECT phase, reason FROM attempt WHERE number = 1") == [("Lost", "LeaseExpired")]


def test_a_function_that_dies_before_every_claim_is_given_up(world: World) -> None:
    run, invocation = start(world)
    for _ in range(4):
        world.functions.fail(invocation, Reason.FUNCTION_FAILED, "no module named main")
        world.invocations.look()
        world.settle()
        (invocation,) = world.functions.take() or [invocation]
    (found,) = world.rows("SELECT phase, message FROM attempt WHERE number = 1")
    assert found == ("Undeliverable", "4 invocations ended without a claim; the last: no module named main")
    assert world.phase(run) == "Running"


def test_a_record_of_an_earlier_delivery_changes_nothing(world: World) -> None:
    _, first = start(world)
    world.advance(CLAIM_WITHIN + 5)
    world.settle()
    (second,) = world.functions.take()
    assert host(world, second, "f1")
    world.functions.fail(first, Reason.FUNCTION_FAILED)
    world.invocations.look()
    assert world.rows("SELECT phase FROM attempt") == [("Running",)]
    assert not world.functions.given_up


def test_cancel_reaches_a_function_by_its_heartbeat(world: World) -> None:
    run, invocation = start(world)
    (grant,) = host(world, invocation, "f1")
    world.cancel(run)
    world.settle()
    answer = world.beat(world.workers["f1"])
    assert answer.attempts[grant.attempt] == "cancel"
    world.report(grant, "cancelled")
    world.settle()
    assert world.phase(run) == "Cancelled"


class Crash(BaseException):
    """The process is gone; nothing may catch it."""


@pytest.mark.parametrize("first", range(3))
def test_a_crash_at_any_point_costs_time_and_never_work(world: World, first: int) -> None:
    """The dispatcher dies before every third statement, COMMIT or invocation of a run in which the function dies once."""
    points = _drive(world, crash_at=-1)
    assert points > 40
    for crash_at in range(1 + first, points, 3):
        _drive(world, crash_at)
        phases = world.rows("SELECT phase FROM attempt ORDER BY created_at DESC, number DESC LIMIT 2")
        assert phases == [("Succeeded",), ("Lost",)], f"crashed at point {crash_at}"


def _drive(world: World, crash_at: int) -> int:
    """Run the DAG to its end through one crash; return how many points were passed."""
    passed = 0

    def point(_: str) -> None:
        nonlocal passed
        passed += 1
        if passed == crash_at:
            raise Crash

    def survive(act: object) -> object:
        for _ in range(2):
            try:
                return act()  # type: ignore[operator]
            except Crash:
                world.boot()
                world.wake(world.timers.resync())
        raise AssertionError("crashed more than once")

    world.hooks.point = point
    # The same key, so that a trigger whose answer was lost makes no second run.
    run = str(survive(lambda: world.trigger("d", key=f"run-{crash_at}")))
    run = str(world.one("SELECT uid FROM run ORDER BY created_at DESC, uid DESC LIMIT 1"))
    began, died = world.clock.monotonic(), False
    while world.phase(run) != "Succeeded":
        assert world.clock.monotonic() - began < WITHIN, world.attempts(run)
        survive(world.settle)
        for invocation in world.functions.take():
            name = f"f{world.requests}"
            grants = survive(lambda i=invocation, n=name: host(world, i, n))  # type: ignore[misc]
            for grant in grants:  # type: ignore[attr-defined]
                if died:
                    survive(lambda g=grant: world.report(g))  # type: ignore[misc]
                else:
                    died = True
                    world.workers[name].heard = False
                    world.functions.fail(invocation, Reason.OUT_OF_MEMORY)
        survive(world.invocations.look)
        survive(lambda: world.advance(1))
    world.hooks.point = lambda _: None
    return passed
