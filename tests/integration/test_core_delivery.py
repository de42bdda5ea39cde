"""Messages get lost, doubled, buried, refused; attempts are claimed once all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from controller.api.protocol import UnknownPool
from controller.store import attempts
from crds.names import AttemptId
from crds.protocol import ClaimRequest, Message
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python"), dag("one", task("a", queueTimeout="7d")), dag("two", task("a"), task("b", ["a"])))
    yield world
    world.close()


def delivery(world: World) -> int:
    return int(world.one("SELECT delivery FROM attempt"))


def test_a_message_that_sqs_did_not_take_is_sent_again_with_its_delivery(world: World) -> None:
    world.queues.down = True
    run = world.trigger("one")
    world.settle()
    assert world.attempts(run) == ["Pending"]
    world.queues.down = False
    world.advance(11)

    assert (world.attempts(run), delivery(world)) == (["Queued"], 1)
    assert world.work() == ["a"]


@pytest.mark.pain("T10")
def test_a_message_whose_sending_was_not_recorded_is_claimed_all_the_same(world: World) -> None:
    world.queues.lose_answers = True
    run = world.trigger("one")
    world.settle()
    assert world.attempts(run) == ["Pending"]

    assert world.work() == ["a"]
    assert world.phase(run) == "Succeeded"


@pytest.mark.pain("T10")
def test_a_message_sent_twice_is_taken_once_by_its_deduplication_id(world: World) -> None:
    world.queues.lose_answers = True
    world.trigger("one")
    world.settle()
    world.queues.lose_answers = False
    world.advance(30)

    assert world.queues.sends > 1
    assert len(world.queues.queues[world.queue()].messages) == 1


def test_a_lost_message_is_sent_again_once_its_queue_was_seen_empty_for_a_minute(world: World) -> None:
    world.queues.swallow = True
    run = world.trigger("one")
    world.settle()
    world.queues.swallow = False
    world.advance(58)
    assert delivery(world) == 1
    world.advance(62)

    assert delivery(world) == 2
    assert world.events("DeliveryLost")
    assert world.work() == ["a"]
    assert world.phase(run) == "Succeeded"


def test_a_purged_queue_loses_nothing(world: World) -> None:
    runs = [world.trigger("two") for _ in range(3)]
    world.settle()
    world.queues.purge()
    world.advance(150)
    done = world.work()

    assert sorted(done) == ["a", "a", "a", "b", "b", "b"]
    assert {world.phase(run) for run in runs} == {"Succeeded"}
    world.assert_stable()


def test_a_queue_that_is_lost_after_its_backlog_was_looked_at_is_sent_again_as_soon_as_it_was_empty_for_a_minute(
    world: World,
) -> None:
    """Else idle workers would wait for the next look at a backlog, minutes away, with all slots taken by lost messages."""
    runs = [world.trigger("one") for _ in range(3)]
    world.settle()
    world.advance(62)
    assert world.one("SELECT min(checks) FROM attempt") == 1
    world.queues.purge()
    world.advance(90)

    assert world.work() == ["a", "a", "a"]
    assert {world.phase(run) for run in runs} == {"Succeeded"}


def test_a_message_that_waits_in_a_backlog_is_never_doubled(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    sends = world.queues.sends
    world.advance(7200, step=15)

    assert (world.queues.sends, delivery(world), world.attempts(run)) == (sends, 1, ["Queued"])
    assert world.one("SELECT checks FROM attempt") < 12
    assert world.work() == ["a"]


def test_a_message_is_lost_when_much_younger_ones_were_claimed(world: World) -> None:
    world.queues.swallow = True
    world.trigger("one")
    world.settle()
    world.queues.swallow = False
    # Others come and go, so the queue is never seen empty.
    world.queues.put(world.queue(), Message(attempt=AttemptId("other/a/0/1"), delivery=1))
    world.advance(605, step=5)
    assert delivery(world) == 1
    world.trigger("two")
    world.settle()
    (grant,) = [g for g in world.claim() if g.dag == "two"]
    world.queues.put(world.queue(), Message(attempt=AttemptId("other/a/0/1"), delivery=1))
    world.advance(600, step=5)

    assert world.one("SELECT delivery FROM attempt JOIN run ON run.uid = run_uid WHERE dag = 'one'") == 2
    assert world.report(grant) == "recorded"


@pytest.mark.pain("T2")
def test_a_message_delivered_twice_is_claimed_once(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    (grant,) = world.claim(worker="w1")
    world.queues.put(world.queue(), Message(attempt=grant.attempt, delivery=1))

    assert world.claim(worker="w2") == []
    assert world.queues.counts(world.queue()).visible == 0
    assert world.report(grant) == "recorded"
    world.settle()
    assert world.phase(run) == "Succeeded"


def test_the_same_request_gets_the_same_grant_and_another_one_is_refused(world: World) -> None:
    world.trigger("one")
    world.settle()
    (grant,) = world.claim(worker="w1", request="r")
    message = Message(attempt=grant.attempt, delivery=1)

    assert world.ask(world.worker("w1"), [message], "r").grants == [grant]
    for worker, request in (("w1", "other"), ("w2", "r")):
        (refusal,) = world.ask(world.worker(worker), [message], request).refusals
        assert (refusal.action, refusal.reason) == ("drop", "AlreadyClaimed")


def test_a_claim_counts_whatever_delivery_it_names(world: World) -> None:
    world.trigger("one")
    world.settle()
    id_ = world.one("SELECT id FROM attempt")

    assert len(world.ask(world.worker(), [Message(attempt=id_, delivery=9)]).grants) == 1


def test_two_requests_of_one_group_for_one_attempt_get_one_grant(world: World) -> None:
    world.trigger("one")
    world.settle()
    message = Message(attempt=world.one("SELECT id FROM attempt"), delivery=1)
    asked = [ClaimRequest(request="r", worker=w, pool="python", attempts=[message]) for w in ("w1", "w2")]
    first, second = world.protocol.claims(asked)

    assert ([g.attempt for g in first.grants], second.grants) == ([message.attempt], [])
    assert [r.reason for r in second.refusals] == ["AlreadyClaimed"]


@pytest.mark.parametrize(
    ("attempt", "reason"),
    [
        pytest.param("none/a/0/1", "Unknown", id="unknown"),
        pytest.param("garbage", "Unknown", id="malformed"),
    ],
)
def test_a_message_that_names_no_attempt_is_dropped(world: World, attempt: str, reason: str) -> None:
    (refusal,) = world.ask(world.worker(), [Message(attempt=AttemptId(attempt), delivery=1)]).refusals
    assert (refusal.action, refusal.reason) == ("drop", reason)


def test_a_final_attempt_and_one_of_another_pool_are_dropped(world: World) -> None:
    world.apply(pool("other"))
    world.trigger("one")
    world.settle()
    id_ = world.one("SELECT id FROM attempt")
    message = Message(attempt=id_, delivery=1)
    (refusal,) = world.ask(world.worker("o1", "other"), [message]).refusals
    assert (refusal.action, refusal.reason) == ("drop", "WrongPool")
    world.work()
    (refusal,) = world.ask(world.worker(), [message], "late").refusals
    assert (refusal.action, refusal.reason) == ("drop", "Final")


def test_a_draining_worker_gets_nothing_and_keeps_the_message(world: World) -> None:
    world.trigger("one")
    world.settle()
    world.beat(world.worker("w1"))
    with world.database.connection() as connection:
        connection.execute("UPDATE worker SET drain = true WHERE id = 'w1'")

    assert world.claim(worker="w1") == []
    assert world.beat(world.worker("w1")).drain
    world.advance(31)
    assert len(world.claim(worker="w2")) == 1


def test_a_buried_message_is_sent_again(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    world.queues.bury(world.queue())
    world.advance(31)

    assert delivery(world) == 2
    assert world.queues.counts(world.queue()).dead_letters == 0
    assert world.work() == ["a"]
    assert world.phase(run) == "Succeeded"


def test_a_message_that_is_buried_again_and_again_makes_the_attempt_undeliverable(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    for _ in range(4):
        assert world.attempts(run)[0] == "Queued"
        world.queues.bury(world.queue())
        world.advance(31)

    assert world.attempts(run) == ["Undeliverable", "Queued"]
    assert world.one("SELECT infrastructure_failures FROM task_run") == 1
    assert world.work() == ["a"]


def test_the_buried_message_of_a_claimed_attempt_is_only_removed(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    (grant,) = world.claim()
    world.queues.put(world.queue(), Message(attempt=grant.attempt, delivery=1))
    world.queues.put(world.queue(), Message(attempt=AttemptId("?"), delivery=1))
    world.queues.put(world.queue(), Message(attempt=AttemptId("no-id"), delivery=1))
    world.queues.bury(world.queue())
    world.advance(31)

    assert (world.attempts(run), delivery(world)) == (["Running"], 1)
    assert world.queues.counts(world.queue()).dead_letters == 0
    assert world.events("Malformed")


def test_two_deliveries_of_one_attempt_that_are_buried_together_count_once(world: World) -> None:
    world.trigger("one")
    world.settle()
    id_ = world.one("SELECT id FROM attempt")
    world.queues.bury(world.queue())
    world.queues.queues[world.queue()].dead.insert(0, world.queues.queues[world.queue()].dead[0])
    world.queues.put(world.queue(), Message(attempt=id_, delivery=0))
    world.queues.bury(world.queue())
    world.advance(31)

    assert delivery(world) == 2
    assert len(world.claim()) == 1


# Reports


def test_a_repeated_report_gets_the_first_answer(world: World) -> None:
    run = world.trigger("two")
    world.settle()
    (grant,) = world.claim()

    assert world.report(grant, outputs={"n": 1}) == "recorded"
    assert world.report(grant, outputs={"n": 2}) == "recorded"
    assert world.report(grant, "failed") == "recorded"
    world.settle()
    assert world.one("SELECT outputs FROM task_run WHERE task = 'a'") == {"n": 1}
    assert world.attempts(run, "a") == ["Succeeded"]


def test_reports_with_another_token_or_of_an_unclaimed_attempt_are_stale(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    (grant,) = world.claim()
    assert world.report(msgspec.structs.replace(grant, token="forged")) == "stale"
    assert world.report(msgspec.structs.replace(grant, attempt=AttemptId(f"{run}/a/0/2"))) == "stale"
    assert world.attempts(run) == ["Running"]


def test_the_report_of_a_superseded_attempt_changes_nothing(world: World) -> None:
    run = world.trigger("two")
    world.settle()
    (old,) = world.claim(worker="w1")
    world.workers["w1"].heard = False
    world.advance(15)
    (new,) = world.claim(worker="w2")

    assert world.report(old, outputs={"from": "old"}) == "stale"
    assert world.report(new, outputs={"from": "new"}) == "recorded"
    world.settle()
    assert world.one("SELECT outputs FROM task_run WHERE task = 'a'") == {"from": "new"}
    assert world.attempts(run, "a") == ["Lost", "Succeeded"]


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [
        pytest.param({"big": "x" * 70_000}, "OutputsTooLarge", id="too large"),
        pytest.param({"nul": "a\0b"}, "OutputsInvalid", id="NUL"),
    ],
)
def test_outputs_that_cannot_be_kept_are_a_failure(world: World, outputs: dict[str, str], kind: str) -> None:
    run = world.trigger("one")
    world.settle()
    assert world.report(world.claim()[0], outputs=outputs) == "recorded"

    assert world.attempts(run) == ["Failed"]
    assert world.tasks(run) == {"a": "Backoff"}


def test_a_failed_message_with_nul_is_kept_readably(world: World) -> None:
    run = world.trigger("one")
    world.settle()
    world.report(world.claim()[0], "failed", kind="a\0b")

    assert world.attempts(run) == ["Failed"]


def test_recording_what_was_sent_waits_for_nobody(world: World, database: Database) -> None:
    world.queues.lose_answers = True
    runs = [world.trigger("one") for _ in range(2)]
    world.settle()
    ids = [world.one("SELECT id FROM attempt WHERE run_uid = %s", run) for run in runs]
    with database.connect() as claiming:
        claiming.execute("SELECT FROM attempt WHERE id = %s FOR NO KEY UPDATE", (ids[0],))
        with database.connect() as connection:
            connection.execute("SET lock_timeout = '5s'")
            attempts.queued(connection, [(AttemptId(ids[1]), 1), (AttemptId(ids[0]), 1)], world.clock.at)

    assert [world.attempts(run) for run in runs] == [["Pending"], ["Queued"]]


def test_a_pool_that_is_made_anew_is_another_pool(world: World) -> None:
    world.beat(world.worker("w1"))
    with world.database.connection() as connection:
        connection.execute("DELETE FROM resource WHERE kind = 'WorkerPool' AND name = 'python'")
    with pytest.raises(UnknownPool):
        world.beat(world.worker("w1"))
    world.apply(pool("python"))
    run = world.trigger("one")

    assert world.work() == ["a"]
    assert world.phase(run) == "Succeeded"


def test_a_pool_that_gets_another_queue_sends_there_and_loses_nothing(world: World) -> None:
    run = world.trigger("two")
    world.settle()
    world.apply(pool("python", queue="other.fifo"))
    world.advance(180)
    assert world.queue() == "other.fifo"

    assert world.work() == ["a", "b"]
    assert world.phase(run) == "Succeeded"
