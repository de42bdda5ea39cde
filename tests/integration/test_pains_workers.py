"""Messages that come again, workers that fall silent, zombies: user code starts once, and what is superseded changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.diff.attempts import SEND_WITHIN
from controller.runtime.metrics import STALE_RESULTS
from crds.names import AttemptId
from crds.protocol import LEASE_SECONDS, Message
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crds.protocol import Grant
    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    once = {"retries": {"limit": 0}, "timeout": "14h", "queueTimeout": "1h"}
    world.apply(pool("python"), dag("one", task("a"), defaults=once), dag("wide", *(task(f"t{n}") for n in range(10))))
    yield world
    world.close()


def ended(outcome: str) -> Callable[[World], None]:
    def end(world: World) -> None:
        world.report(world.claim()[0], outcome)

    return end


def running(world: World) -> None:
    world.claim()


def committed(world: World) -> None:
    world.claim()
    with world.database.connection() as connection:
        connection.execute("UPDATE attempt SET phase = 'Committed', committed_at = now(), outputs = '{}'")


def cancelled(world: World) -> None:
    world.cancel(world.one("SELECT uid FROM run"))


def lost(world: World) -> None:
    world.claim()
    world.workers["w1"].heard = False
    world.advance(12, step=2)


def never_claimed(world: World) -> None:
    world.advance(3_601, step=120)


@pytest.mark.parametrize(
    ("reach", "phase", "reason"),
    [
        pytest.param(running, "Running", "AlreadyClaimed", id="running"),
        pytest.param(committed, "Committed", "AlreadyClaimed", id="committed"),
        pytest.param(ended("succeeded"), "Succeeded", "Final", id="succeeded"),
        pytest.param(ended("failed"), "Failed", "Final", id="failed"),
        pytest.param(ended("timedOut"), "TimedOut", "Final", id="timed out"),
        pytest.param(ended("evicted"), "Evicted", "Final", id="evicted"),
        pytest.param(cancelled, "Cancelled", "Final", id="cancelled"),
        pytest.param(lost, "Lost", "Final", id="lost"),
        pytest.param(never_claimed, "TimedOut", "Final", id="never claimed"),
    ],
)
def test_t2_a_message_that_comes_again_starts_nothing(
    world: World, reach: Callable[[World], None], phase: str, reason: str
) -> None:
    run = world.trigger("one")
    world.settle()
    (attempt,) = (AttemptId(r[0]) for r in world.rows("SELECT id FROM attempt"))
    reach(world)
    world.settle()
    assert world.attempts(run)[0] == phase

    before = world._state()
    for delivery in (1, 1, 2, 7):
        for worker in ("w1", "other"):
            answer = world.ask(world.worker(worker), [Message(attempt, delivery)])
            assert not answer.grants
            assert [(r.action, r.reason) for r in answer.refusals] == [("drop", reason)]
    assert world._state() == before


def test_t2_a_task_of_thirteen_hours_runs_once_though_its_message_comes_every_hour(world: World) -> None:
    """SQS hides a message for twelve hours at most; here it is deleted behind the claim, and a lease says that it runs."""
    run = world.trigger("one")
    world.settle()
    (grant,) = world.claim()
    for _ in range(13):
        # Between the minutes that are played nobody looks, which loses nobody.
        world.advance(3_570, step=3_570)
        world.advance(30, step=2)
        world.queues.put(world.queue(), Message(grant.attempt, 1))
        assert not world.claim(worker="other")
        assert world.attempts(run) == ["Running"]
    assert world.report(grant) == "recorded"
    world.settle()

    assert (world.attempts(run), world.phase(run)) == (["Succeeded"], "Succeeded")


@pytest.mark.parametrize(
    ("outcome", "later"),
    [
        pytest.param("succeeded", 0, id="succeeded, at once"),
        pytest.param("failed", 0, id="failed, at once"),
        pytest.param("evicted", 30, id="evicted, when another attempt runs"),
        pytest.param("lost", 30, id="lost, when another attempt runs"),
        pytest.param("succeeded", 3_600, id="succeeded, an hour later"),
    ],
)
def test_t3_whatever_a_worker_says_again_gets_the_first_answer_and_changes_nothing(
    world: World, outcome: Any, later: float
) -> None:
    world.trigger("one")
    world.settle()
    who = world.worker()
    (received,) = world.queues.receive(world.queue(), 1)

    def claim() -> Grant:
        (grant,) = world.ask(who, [received.message], "the-request").grants
        return grant

    grant = claim()
    before = world._state()
    assert claim() == grant
    assert world.beat(who).attempts == world.beat(who).attempts == {grant.attempt: "continue"}
    assert world._state() == before

    assert world.report(grant, outcome) == "recorded"
    world.settle()
    world.advance(later, step=60)
    before = world._state()
    for _ in range(2):
        assert world.report(grant, outcome) == "recorded"
        assert not world.ask(who, [received.message], "the-request").grants
        assert world.beat(who, [grant.attempt]).attempts == {grant.attempt: "stale"}
    assert world._state() == before


def killed_before_its_first_heartbeat(world: World) -> float:
    """The claim itself is the first sign of life, and the last one; return the seconds until the deadline."""
    world.worker().heard = False
    assert world.claim()
    return LEASE_SECONDS


def killed_while_it_runs(world: World) -> float:
    assert world.claim()
    world.advance(20)
    world.worker().heard = False
    # Its last heartbeat may just have been.
    return LEASE_SECONDS


def frozen_and_thawed(world: World) -> float:
    """SIGSTOP for longer than the lease; then it goes on as if nothing had been, and learns that it is superseded."""
    return killed_while_it_runs(world)


@pytest.mark.parametrize(
    "stop", [killed_before_its_first_heartbeat, killed_while_it_runs, frozen_and_thawed], ids=lambda stop: stop.__name__
)
def test_t6_what_stands_still_is_found_by_its_deadline_and_once(world: World, stop: Callable[[World], float]) -> None:
    run = world.trigger("one")
    world.settle()
    within = stop(world)
    (grant,) = world.worker().held.values()
    assert world.one("SELECT count(*) FROM worker WHERE heartbeat_by IS NULL") == 0
    world.advance(within + 1)
    assert world.attempts(run)[0] == "Lost"
    if stop is frozen_and_thawed:
        world.worker().heard = True
        assert world.beat(world.worker()).attempts == {grant.attempt: "stale"}
        assert world.report(grant) == "stale"
    world.advance(60)

    # One verdict, one event, one new attempt, however often one looks.
    assert world.attempts(run) == ["Lost", "Queued"]
    assert len([m for m in world.events("LeaseExpired") if m.startswith("attempt")]) == 1
    assert world.one("SELECT infrastructure_failures FROM task_run") == 1


def test_t6_a_message_that_was_never_sent_is_sent_by_its_deadline(world: World) -> None:
    world.queues.down = True
    run = world.trigger("one")
    world.settle()
    world.queues.down = False
    world.boot()
    assert world.attempts(run) == ["Pending"]
    world.advance(SEND_WITHIN.total_seconds() + 1)

    assert world.attempts(run) == ["Queued"]
    assert len(world.queues.queues[world.queue()].messages) == 1


def test_t6_no_deadline_can_be_left_out(world: World) -> None:
    """What has no deadline is compared with NULL and never found; so the columns themselves refuse it."""
    wanted = {
        ("attempt", "next_check_at"),
        ("attempt", "queue_by"),
        ("attempt", "timeout"),
        ("worker", "heartbeat_by"),
        ("run", "deadline"),
        ("lease", "expires_at"),
    }
    found = world.rows(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'setpoint' AND is_nullable = 'NO'"
    )
    assert wanted <= set(found)


def test_t7_nobody_is_given_up_who_is_only_late(world: World) -> None:
    """A hundred and fifty at once, heartbeats that just make it, and two outages of the API: nobody is called dead."""
    world.apply(pool("python", slots=50, maxTasks=3))
    runs = [world.trigger("wide") for _ in range(15)]
    world.settle(check=False)
    workers = [world.worker(f"w{n}") for n in range(30)]
    for who in workers:
        assert len(world.claim(5, worker=who.id)) == 5
        who.heard = False
    for second in range(60):
        world.advance(1)
        if second in {20, 40}:
            world.open = False
            world.advance(25, step=5)
            world.open = True
        if second % 8 == 0:
            for who in workers:
                world.beat(who)
    assert world.rows("SELECT DISTINCT phase FROM attempt") == [("Running",)]
    for who in workers:
        for grant in list(who.held.values()):
            assert world.report(grant) == "recorded"
    world.settle()
    assert {world.phase(run) for run in runs} == {"Succeeded"}


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "evicted"])
def test_t7_the_late_result_of_a_superseded_attempt_is_counted_and_never_applied(world: World, outcome: str) -> None:
    counted = STALE_RESULTS.labels("python")._value.get()
    run = world.trigger("one")
    world.settle()
    (late,) = world.claim()
    world.worker().heard = False
    world.advance(12, step=2)
    (second,) = world.claim(worker="w2")
    before = world._state()
    assert world.report(late, outcome, outputs={"rows": 666}) == "stale"
    assert world._state() == before
    assert STALE_RESULTS.labels("python")._value.get() == counted + 1

    assert world.report(second, outputs={"rows": 1}) == "recorded"
    world.settle()
    assert world.report(late, outcome, outputs={"rows": 666}) == "stale"
    assert world.one("SELECT outputs FROM task_run") == {"rows": 1}
    assert world.attempts(run) == ["Lost", "Succeeded"]
