"""Runs of every shape: chains, fans, diamonds, rules; how they end, are cancelled, suspended and retried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database

NO_RETRIES = {"defaults": {"retries": {"limit": 0}}}


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python"))
    yield world
    world.close()


def test_a_chain_runs_in_order(world: World) -> None:
    world.apply(dag("chain", task("a"), task("b", ["a"]), task("c", ["b"])))
    run = world.trigger("chain")

    assert world.work() == ["a", "b", "c"]
    assert world.phase(run) == "Succeeded"
    assert world.tasks(run) == dict.fromkeys("abc", "Succeeded")
    world.assert_stable()


def test_a_fan_runs_side_by_side_and_joins(world: World) -> None:
    middle = [f"m{n}" for n in range(7)]
    world.apply(dag("fan", task("top"), *(task(m, ["top"]) for m in middle), task("end", middle)))
    run = world.trigger("fan")

    order = world.work()
    assert (order[0], order[-1], sorted(order[1:-1])) == ("top", "end", middle)
    assert world.phase(run) == "Succeeded"


def test_a_diamond_waits_for_both_sides(world: World) -> None:
    world.apply(dag("diamond", task("a"), task("b", ["a"]), task("c", ["a"]), task("d", ["b", "c"])))
    run = world.trigger("diamond")
    world.settle()
    world.report(world.claim()[0])
    world.settle()
    b, c = sorted(world.claim(), key=lambda g: g.task["name"])

    world.report(b)
    world.settle()
    assert world.tasks(run)["d"] == "Waiting"
    world.report(c)
    assert world.work() == ["d"]
    assert world.phase(run) == "Succeeded"


@pytest.mark.parametrize(
    ("rule", "upstream", "phase", "ran"),
    [
        pytest.param("all_success", {}, "Succeeded", True, id="all_success runs after successes"),
        pytest.param("all_success", {"b": "failed"}, "UpstreamFailed", False, id="all_success fails with its upstream"),
        pytest.param("none_failed", {}, "Succeeded", True, id="none_failed runs after successes"),
        pytest.param("none_failed", {"b": "failed"}, "UpstreamFailed", False, id="none_failed fails with its upstream"),
        pytest.param("one_failed", {}, "Skipped", False, id="one_failed is skipped after successes"),
        pytest.param("one_failed", {"b": "failed"}, "Succeeded", True, id="one_failed runs after a failure"),
        pytest.param("all_done", {}, "Succeeded", True, id="all_done runs after successes"),
        pytest.param("all_done", {"a": "failed", "b": "failed"}, "Succeeded", True, id="all_done runs after failures"),
    ],
)
def test_when(world: World, rule: str, upstream: dict[str, str], phase: str, ran: bool) -> None:
    world.apply(dag("rules", task("a"), task("b"), task("end", ["a", "b"], when=rule), **NO_RETRIES))
    run = world.trigger("rules")

    assert ("end" in world.work(upstream)) is ran
    assert world.tasks(run)["end"] == phase
    assert world.phase(run) == ("Failed" if upstream else "Succeeded")
    world.assert_stable()


def test_a_skipped_task_skips_all_success_below_it_but_not_none_failed(world: World) -> None:
    world.apply(
        dag(
            "skips",
            task("a"),
            task("never", ["a"], when="one_failed"),
            task("strict", ["never"]),
            task("lenient", ["never"], when="none_failed"),
        )
    )
    run = world.trigger("skips")

    assert world.work() == ["a", "lenient"]
    assert world.tasks(run) == {"a": "Succeeded", "never": "Skipped", "strict": "Skipped", "lenient": "Succeeded"}
    assert world.phase(run) == "Succeeded"


def test_a_failure_runs_down_a_chain_longer_than_one_pass_follows(world: World) -> None:
    names = [f"t{n:02}" for n in range(50)]
    chain = [task(name, names[n - 1 : n] if n else []) for n, name in enumerate(names)]
    world.apply(dag("deep", *chain, task("last", names[-1:], when="all_done"), **NO_RETRIES))
    run = world.trigger("deep")

    assert world.work({"t00": "failed"}) == ["t00", "last"]
    assert set(world.tasks(run).values()) == {"Failed", "UpstreamFailed", "Succeeded"}
    assert (world.phase(run), world.reason(run)) == ("Failed", "TaskFailed")
    world.assert_stable()


def test_a_run_keeps_its_revision_while_its_dag_is_edited(world: World) -> None:
    world.apply(dag("edited", task("a"), task("b", ["a"])))
    old = world.trigger("edited")
    world.settle()
    world.apply(dag("edited", task("a"), task("new", ["a"])))
    young = world.trigger("edited")

    assert sorted(world.work()) == ["a", "a", "b", "new"]
    assert (set(world.tasks(old)), set(world.tasks(young))) == ({"a", "b"}, {"a", "new"})


def test_the_same_idempotency_key_gives_one_run(world: World) -> None:
    world.apply(dag("once", task("a")))
    world.trigger("once", key="k")
    world.trigger("once", key="k")

    assert world.work() == ["a"]
    assert world.one("SELECT count(*) FROM run") == 1


# Retries


def test_a_failed_task_is_tried_again_after_its_backoff_until_its_budget_is_spent(world: World) -> None:
    world.apply(dag("flaky", task("a", retries={"limit": 2, "backoff": {"initial": "10s", "factor": 2, "max": "1m"}})))
    run = world.trigger("flaky")

    assert world.work({"a": "failed"}) == ["a"]
    assert world.tasks(run) == {"a": "Backoff"}
    world.assert_stable()
    world.advance(10)
    assert world.work({"a": "failed"}) == ["a"]
    world.advance(20)
    assert world.work({"a": "failed"}) == ["a"]
    assert (world.tasks(run), world.phase(run)) == ({"a": "Failed"}, "Failed")
    assert world.attempts(run) == ["Failed"] * 3
    world.advance(120)
    assert world.work() == []


def test_a_task_that_succeeds_at_its_second_try_leaves_no_trace_of_its_first(world: World) -> None:
    world.apply(dag("flaky", task("a"), task("b", ["a"])))
    run = world.trigger("flaky")
    world.settle()
    world.report(world.claim()[0], "failed", outputs={"n": 1})
    world.advance(10)
    world.report(world.claim()[0], outputs={"n": 2})

    assert world.work() == ["b"]
    assert world.one("SELECT outputs FROM task_run WHERE run_uid = %s AND task = 'a'", run) == {"n": 2}
    assert world.phase(run) == "Succeeded"


@pytest.mark.parametrize(
    ("retries", "kind", "attempts"),
    [
        pytest.param({"never": ["ValueError"]}, "ValueError", 1, id="a class of never is not tried again"),
        pytest.param({"never": ["ValueError"]}, "builtins.ValueError", 1, id="named by its last part"),
        pytest.param({"never": ["ValueError"]}, "KeyError", 2, id="another class is"),
        pytest.param({"only": ["TimeoutError"]}, "ValueError", 1, id="a class not in only is not tried again"),
        pytest.param({"only": ["TimeoutError"]}, "TimeoutError", 2, id="a class of only is"),
        pytest.param({"only": ["E"], "never": ["E"]}, "E", 1, id="never wins"),
    ],
)
def test_error_classes(world: World, retries: dict[str, object], kind: str, attempts: int) -> None:
    world.apply(dag("classes", task("a", retries={"limit": 1, "backoff": {"initial": "1s"}, **retries})))
    run = world.trigger("classes")
    for _ in range(3):
        world.settle()
        for grant in world.claim():
            world.report(grant, "failed", kind=kind)
        world.advance(3)

    assert (len(world.attempts(run)), world.phase(run)) == (attempts, "Failed")


def test_a_retry_opens_what_failed_and_what_lies_below(world: World) -> None:
    world.apply(dag("again", task("a"), task("b", ["a"]), task("c", ["b"]), **NO_RETRIES))
    run = world.trigger("again")
    world.work({"b": "failed"})
    assert world.tasks(run) == {"a": "Succeeded", "b": "Failed", "c": "UpstreamFailed"}

    world.retry(run)
    assert world.work() == ["b", "c"]
    assert (world.phase(run), world.attempts(run, "b")) == ("Succeeded", ["Failed", "Succeeded"])
    world.assert_stable()


# Deadlines


def test_an_attempt_that_runs_past_its_timeout_is_ended_and_tried_again(world: World) -> None:
    world.apply(dag("slow", task("a", timeout="1m", retries={"limit": 1, "backoff": {"initial": "1s"}})))
    run = world.trigger("slow")
    world.settle()
    (grant,) = world.claim()

    world.advance(89)
    assert world.attempts(run) == ["Running"]
    world.advance(3)
    assert world.attempts(run)[0] == "TimedOut"
    assert world.report(grant) == "stale"
    world.advance(3)
    assert world.work() == ["a"]
    assert world.phase(run) == "Succeeded"


def test_nobody_claims_within_the_queue_timeout(world: World) -> None:
    world.apply(dag("unwanted", task("a", queueTimeout="2m"), **NO_RETRIES))
    run = world.trigger("unwanted")
    world.settle()

    world.advance(119)
    assert world.attempts(run) == ["Queued"]
    world.advance(2)
    assert (world.attempts(run), world.phase(run)) == (["TimedOut"], "Failed")
    assert world.claim() == []


def test_a_run_past_its_timeout_fails_and_its_tasks_end(world: World) -> None:
    world.apply(dag("long", task("a"), task("b", ["a"]), timeout="5m"))
    run = world.trigger("long")
    world.settle()
    (grant,) = world.claim()

    world.advance(301)
    assert world.beat(world.worker()).attempts == {grant.attempt: "cancel"}
    assert world.report(grant, "cancelled") == "recorded"
    world.settle()
    assert (world.phase(run), world.reason(run)) == ("Failed", "DeadlineExceeded")
    assert world.tasks(run) == {"a": "Cancelled", "b": "Cancelled"}
    world.assert_stable()


def test_a_pending_run_past_its_timeout_fails_without_having_started(world: World) -> None:
    world.apply(dag("long", task("a"), timeout="5m", concurrency={"maxActiveRuns": 1}))
    world.trigger("long")
    world.settle()
    world.advance(200, step=50)
    late = world.trigger("long")
    world.settle()
    world.advance(90, step=30)
    assert world.phase(late) == "Pending"
    world.suspend(late)
    world.advance(700, step=50)

    assert world.phase(late) == "Failed"
    assert world.live() == 0


# Cancel


def test_a_pending_run_is_cancelled_at_once(world: World) -> None:
    world.apply(dag("one", task("a"), concurrency={"maxActiveRuns": 1}))
    world.trigger("one")
    second = world.trigger("one")
    world.settle()
    world.cancel(second)
    world.settle()

    assert (world.phase(second), world.tasks(second)) == ("Cancelled", {})


def test_a_queued_attempt_is_cancelled_at_once_and_its_message_is_dropped(world: World) -> None:
    world.apply(dag("c", task("a"), task("b", ["a"])))
    run = world.trigger("c")
    world.settle()
    world.cancel(run)
    world.settle()

    assert (world.phase(run), world.tasks(run)) == ("Cancelled", {"a": "Cancelled", "b": "Cancelled"})
    assert world.claim() == []
    assert world.queues.counts(world.queue()).visible == 0
    world.assert_stable()


@pytest.mark.parametrize("outcome", ["cancelled", "failed", "evicted", "lost"])
def test_a_running_attempt_is_told_and_however_it_answers_it_is_cancelled(world: World, outcome: str) -> None:
    world.apply(dag("c", task("a"), task("b", ["a"])))
    run = world.trigger("c")
    world.settle()
    (grant,) = world.claim()
    world.cancel(run)
    world.settle()

    assert world.phase(run) == "Running"
    assert world.beat(world.worker()).attempts == {grant.attempt: "cancel"}
    assert world.report(grant, outcome) == "recorded"
    world.settle()
    assert (world.phase(run), world.tasks(run)) == ("Cancelled", {"a": "Cancelled", "b": "Cancelled"})


def test_a_cancelled_attempt_that_succeeds_all_the_same_keeps_its_success(world: World) -> None:
    world.apply(dag("c", task("a"), task("b", ["a"])))
    run = world.trigger("c")
    world.settle()
    (grant,) = world.claim()
    world.cancel(run)
    world.settle()
    world.report(grant)
    world.settle()

    assert (world.phase(run), world.tasks(run)) == ("Cancelled", {"a": "Succeeded", "b": "Cancelled"})


@pytest.mark.pain("T23")
def test_a_running_attempt_whose_worker_never_answers_is_cancelled_all_the_same(world: World) -> None:
    world.apply(dag("c", task("a")))
    run = world.trigger("c")
    world.settle()
    (grant,) = world.claim()
    world.cancel(run)
    world.settle()

    world.advance(29)
    assert world.phase(run) == "Running"
    world.advance(3)
    assert (world.phase(run), world.attempts(run)) == ("Cancelled", ["Cancelled"])
    assert world.report(grant) == "stale"


def test_a_task_in_backoff_is_cancelled(world: World) -> None:
    world.apply(dag("c", task("a")))
    run = world.trigger("c")
    world.work({"a": "failed"})
    world.cancel(run)
    world.settle()

    assert (world.phase(run), world.tasks(run)) == ("Cancelled", {"a": "Cancelled"})


def test_a_cancelled_run_can_be_retried(world: World) -> None:
    world.apply(dag("c", task("a"), task("b", ["a"])))
    run = world.trigger("c")
    world.settle()
    world.cancel(run)
    world.settle()
    world.retry(run)

    assert world.work() == ["a", "b"]
    assert world.phase(run) == "Succeeded"


# Suspend


def test_a_suspended_run_starts_nothing_new_and_goes_on_when_resumed(world: World) -> None:
    world.apply(dag("s", task("a"), task("b", ["a"])))
    run = world.trigger("s")
    world.settle()
    (grant,) = world.claim()
    world.suspend(run)
    world.report(grant)
    world.settle()

    assert (world.claim(), world.tasks(run)) == ([], {"a": "Succeeded", "b": "Ready"})
    world.assert_stable()
    world.suspend(run, suspended=False)
    assert world.work() == ["b"]


def test_a_suspended_dag_admits_nothing_until_it_is_resumed(world: World) -> None:
    world.apply(dag("s", task("a"), suspend=True))
    run = world.trigger("s")
    world.settle()
    assert world.phase(run) == "Pending"
    world.apply(dag("s", task("a")))

    assert world.work() == ["a"]
    assert world.phase(run) == "Succeeded"
