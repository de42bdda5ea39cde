"""However an attempt ends its slot is free, and what is cancelled ends whatever is down."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import pytest

from controller.diff.attempts import CANCEL_GRACE
from controller.diff.pools import StoppedTask
from controller.errors import Transient
from controller.runtime.keys import Kind
from crds.reasons import Reason
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from controller.runtime.keys import Key
    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(
        pool("python", slots=1, maxTasks=1),
        dag("holder", task("h"), defaults={"retries": {"limit": 0, "infrastructure": 0}, "queueTimeout": "10m"}),
        dag("again", task("h"), defaults={"retries": {"limit": 1, "backoff": {"initial": "10m", "max": "1h"}}}),
        dag("brief", task("h"), timeout="1m", defaults={"timeout": "10m"}),
        dag("timed", task("h"), defaults={"timeout": "1m", "retries": {"limit": 0}}),
        dag("waiter", task("w", priority=-1), defaults={"queueTimeout": "7d"}),
    )
    yield world
    world.close()


def commit(world: World) -> None:
    """Set the only running attempt Committed, as the fence does."""
    with world.database.connection() as connection:
        connection.execute(
            "UPDATE attempt SET phase = 'Committed', committed_at = %s, outputs = '{}' WHERE phase = 'Running'",
            (world.clock.at,),
        )


def reported(outcome: str) -> Callable[[World, str], float]:
    def end(world: World, run: str) -> float:
        world.report(world.claim()[0], outcome)
        return 0

    return end


def succeeds_by_its_row(world: World, run: str) -> float:
    world.claim()
    commit(world)
    world.workers["w1"].heard = False
    return 12


def runs_past_its_timeout(world: World, run: str) -> float:
    world.claim()
    return 95


def its_worker_falls_silent(world: World, run: str) -> float:
    world.claim()
    world.workers["w1"].heard = False
    return 12


def its_worker_forgets_it(world: World, run: str) -> float:
    world.claim()
    world.workers["w1"].held.clear()
    return 15


def its_ecs_task_stops(world: World, run: str) -> float:
    world.worker().ecs_task = "arn:task"
    world.claim()
    world.services.gone["arn:task"] = StoppedTask(Reason.OUT_OF_MEMORY, "out of memory")
    return 6


def its_messages_are_buried(world: World, run: str) -> float:
    for _ in range(4):
        world.queues.bury(world.queue())
        world.advance(32, step=2)
    return 0


def nobody_claims_it(world: World, run: str) -> float:
    return 601


def cancelled_while_queued(world: World, run: str) -> float:
    world.cancel(run)
    return 0


def cancelled_while_running(world: World, run: str) -> float:
    (grant,) = world.claim()
    world.cancel(run)
    world.settle()
    assert world.beat(world.worker()).attempts == {grant.attempt: "cancel"}
    world.report(grant, "cancelled")
    return 0


def cancelled_and_its_worker_never_answers(world: World, run: str) -> float:
    world.claim()
    world.cancel(run)
    return CANCEL_GRACE.total_seconds() + 2


def suspended_before_its_next_try(world: World, run: str) -> float:
    (grant,) = world.claim()
    world.suspend(run)
    world.report(grant, "evicted")
    return 0


def its_run_passes_its_deadline(world: World, run: str) -> float:
    world.claim()
    return 60 + CANCEL_GRACE.total_seconds() + 2


@pytest.mark.parametrize(
    ("holder", "end", "phase"),
    [
        pytest.param("holder", reported("succeeded"), "Succeeded", id="succeeds"),
        pytest.param("holder", reported("failed"), "Failed", id="fails"),
        pytest.param("again", reported("failed"), "Failed", id="fails and waits for its next try"),
        pytest.param("holder", reported("timedOut"), "TimedOut", id="timed out by its worker"),
        pytest.param("holder", reported("lost"), "Lost", id="its process died"),
        pytest.param("holder", suspended_before_its_next_try, "Evicted", id="evicted and held"),
        pytest.param("holder", succeeds_by_its_row, "Succeeded", id="committed and never reported"),
        pytest.param("timed", runs_past_its_timeout, "TimedOut", id="timed out by the controller"),
        pytest.param("holder", its_worker_falls_silent, "Lost", id="its worker falls silent"),
        pytest.param("holder", its_worker_forgets_it, "Lost", id="its worker forgets it"),
        pytest.param("holder", its_ecs_task_stops, "Lost", id="its ECS task stops"),
        pytest.param("holder", its_messages_are_buried, "Undeliverable", id="undeliverable"),
        pytest.param("holder", nobody_claims_it, "TimedOut", id="nobody claims it"),
        pytest.param("holder", cancelled_while_queued, "Cancelled", id="cancelled while queued"),
        pytest.param("holder", cancelled_while_running, "Cancelled", id="cancelled while running"),
        pytest.param("holder", cancelled_and_its_worker_never_answers, "Cancelled", id="cancelled and unanswered"),
        pytest.param("brief", its_run_passes_its_deadline, "Cancelled", id="its run passes its deadline"),
    ],
)
def test_t12_however_the_holder_of_a_slot_ends_the_next_gets_it(
    world: World, holder: str, end: Callable[[World, str], float], phase: str
) -> None:
    first = world.trigger(holder)
    world.settle()
    second = world.trigger("waiter")
    world.settle()
    assert (len(world.attempts(first)), world.tasks(second)) == (1, {"w": "Ready"})

    seconds = end(world, first)
    world.settle()
    world.advance(seconds, step=max(1, seconds / 30))
    assert world.attempts(first)[0] == phase
    # The next one has it already: nobody had to release anything, and nobody had to wait for a resync.
    assert world.tasks(second) == {"w": "Active"}
    assert world.live() == 1


def test_t12_the_slots_of_a_deleted_pool_and_of_its_successor_are_counted_apart(world: World) -> None:
    first = world.trigger("holder")
    world.settle()
    assert len(world.claim()) == 1
    with world.database.connection() as connection:
        connection.execute("DELETE FROM resource WHERE kind = 'WorkerPool'")
    world.apply(pool("python", slots=1, maxTasks=1))
    second = world.trigger("waiter")
    world.settle()

    assert (world.attempts(first), world.attempts(second)) == (["Running"], ["Queued"])


TERMINAL_WITHIN = CANCEL_GRACE + timedelta(seconds=60)


def nothing(world: World) -> None:
    """Leave everything as it is."""


def worker_dead(world: World) -> None:
    for worker in world.workers.values():
        worker.heard = False


def worker_deaf(world: World) -> None:
    """It beats and does not stop, as a process in an uninterruptible wait."""


def sqs_down(world: World) -> None:
    world.queues.down = True
    look = world.reconcile[Kind.QUEUE]

    def fails(keys: Sequence[Key]) -> dict[Key, object]:
        # The loop would try these again after their backoff.
        with suppress(Transient):
            look(keys)
        return {}

    world.reconcile = {**world.reconcile, Kind.QUEUE: fails}  # type: ignore[dict-item]


def ecs_down(world: World) -> None:
    def counts(service: str) -> NoReturn:
        raise Transient("ECS does not answer")

    world.services.counts = counts  # type: ignore[method-assign]


def api_away(world: World) -> None:
    world.open = False


def dispatcher_restarts(world: World) -> None:
    """Everything in memory is gone, the wake of the cancel too."""
    world.boot()
    world.wake(world.timers.resync())


def queued(world: World) -> None:
    """The attempt waits in its queue."""


def running(world: World) -> None:
    assert world.claim()


def committed(world: World) -> None:
    running(world)
    commit(world)


def backing_off(world: World) -> None:
    world.report(world.claim()[0], "failed")


@pytest.mark.parametrize("at", [queued, running, committed, backing_off], ids=lambda at: at.__name__)
@pytest.mark.parametrize(
    "fault",
    [nothing, worker_dead, worker_deaf, sqs_down, ecs_down, api_away, dispatcher_restarts],
    ids=lambda fault: fault.__name__,
)
def test_t23_a_cancelled_run_ends_within_its_grace_whatever_is_down(
    world: World, at: Callable[[World], None], fault: Callable[[World], None]
) -> None:
    run = world.trigger("again")
    world.settle()
    at(world)
    world.settle()
    fault(world)
    world.cancel(run)
    if fault is dispatcher_restarts:
        dispatcher_restarts(world)
    if at is committed and fault is not worker_dead:
        # Its worker lives, and reports what it committed; nothing waits for it but the report.
        for grant in list(world.worker().held.values()):
            world.report(grant)
    world.advance(TERMINAL_WITHIN.total_seconds(), step=3)

    # What was committed is durable, and the run has succeeded; everything else is cancelled.
    assert world.phase(run) == ("Succeeded" if at is committed else "Cancelled")
    assert world.live() == 0
    world.queues.down = False
    world.assert_stable()
