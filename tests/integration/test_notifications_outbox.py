"""What becomes a notification: once a transition, in its own transaction, for those who listen."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from controller.store import notifications
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database

NO_RETRIES = {"defaults": {"retries": {"limit": 0}}}
EVERYTHING = ["RunFailed", "RunSucceeded", "RunRecovered", "DatasetStale", "DatasetFresh"]
HOUR = 3600.0


def notifier(name: str, *on: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    spec = {"on": list(on), "selector": {"matchLabels": labels or {}}, "slack": {"urlSecret": name}}
    return {"kind": "Notifier", "metadata": {"name": name}, "spec": spec}


def labelled(document: dict[str, Any], **labels: str) -> dict[str, Any]:
    return document | {"metadata": document["metadata"] | {"labels": labels}}


def dataset(name: str, **spec: Any) -> dict[str, Any]:
    columns = [{"name": "n", "type": "int64"}]
    return {"kind": "Dataset", "metadata": {"name": name}, "spec": {"tier": "cold", "columns": columns, **spec}}


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python"))
    yield world
    world.close()


def outbox(world: World) -> list[tuple[str, str]]:
    query = "SELECT occasion, facts->>'notifier' FROM notification ORDER BY created_at, facts->>'notifier', transition"
    return [(r[0], r[1]) for r in world.rows(query)]


def touch(world: World, name: str) -> None:
    world.eyes.execute(
        "UPDATE dataset_state SET updated_at = %s WHERE dataset_uid = %s", (world.clock.at, world.uid("Dataset", name))
    )


def test_each_end_is_told_once(world: World) -> None:
    world.apply(notifier("all", *EVERYTHING), dag("d", task("a"), task("b", ["a"]), **NO_RETRIES))
    failing = world.trigger("d")
    world.work({"a": "failed"})
    assert world.phase(failing) == "Failed"
    assert outbox(world) == [("RunFailed", "all")]
    world.assert_stable()
    assert outbox(world) == [("RunFailed", "all")]

    world.clock.at += timedelta(minutes=1)
    world.trigger("d")
    world.work()
    world.clock.at += timedelta(minutes=1)
    world.trigger("d")
    world.work()
    assert outbox(world) == [("RunFailed", "all"), ("RunRecovered", "all"), ("RunSucceeded", "all")]


def test_what_failed_is_kept_as_it_was(world: World) -> None:
    world.apply(notifier("all", "RunFailed"), dag("d", task("a"), task("b", ["a"]), **NO_RETRIES))
    run = world.trigger("d")
    world.work({"a": "failed"})

    facts = world.one("SELECT facts FROM notification")
    assert facts["failed"] == 1
    assert facts["tasks"] == [{"task": "a", "index": 0, "reason": "UserError", "message": "it failed"}]
    world.retry(run)
    world.settle()
    assert world.one("SELECT facts FROM notification") == facts


def test_a_retry_that_fails_is_told_again_and_one_that_succeeds_has_recovered(world: World) -> None:
    world.apply(notifier("all", *EVERYTHING), dag("d", task("a"), **NO_RETRIES))
    run = world.trigger("d")
    world.work({"a": "failed"})
    for outcome in ("failed", "succeeded"):
        world.clock.at += timedelta(minutes=1)
        world.retry(run)
        world.work({"a": outcome})
    assert outbox(world) == [("RunFailed", "all"), ("RunFailed", "all"), ("RunRecovered", "all")]


def test_a_cancelled_run_is_not_told_and_hides_no_failure(world: World) -> None:
    world.apply(notifier("all", *EVERYTHING), dag("d", task("a"), **NO_RETRIES))
    world.trigger("d")
    world.work({"a": "failed"})
    world.clock.at += timedelta(minutes=1)
    cancelled = world.trigger("d")
    world.cancel(cancelled)
    world.settle()
    assert world.phase(cancelled) == "Cancelled"
    world.clock.at += timedelta(minutes=1)
    world.trigger("d")
    world.work()
    assert outbox(world) == [("RunFailed", "all"), ("RunRecovered", "all")]


@pytest.mark.parametrize(
    ("on", "labels", "told"),
    [
        pytest.param(["RunFailed"], {}, True, id="no labels: every Dag"),
        pytest.param(["RunFailed"], {"team": "data"}, True, id="its label"),
        pytest.param(["RunFailed"], {"team": "data", "tier": "1"}, True, id="all its labels"),
        pytest.param(["RunFailed"], {"team": "web"}, False, id="another's label"),
        pytest.param(["RunFailed"], {"team": "data", "tier": "2"}, False, id="one label differs"),
        pytest.param(["RunSucceeded", "RunRecovered", "DatasetStale"], {}, False, id="it listens to something else"),
    ],
)
def test_who_is_told(world: World, on: list[str], labels: dict[str, str], told: bool) -> None:
    world.apply(notifier("n", *on, labels=labels), labelled(dag("d", task("a"), **NO_RETRIES), team="data", tier="1"))
    world.trigger("d")
    world.work({"a": "failed"})
    assert outbox(world) == ([("RunFailed", "n")] if told else [])


def test_a_thousand_runs_that_fail_at_once_are_one_statement(world: World) -> None:
    world.apply(notifier("a", "RunFailed"), notifier("b", *EVERYTHING), dag("d", task("a")))
    world.eyes.execute(
        """INSERT INTO run (uid, namespace, name, dag_uid, dag, revision, key, trigger, phase, deadline, created_at, ended_at)
           SELECT 'r' || n, 'default', 'd-r' || n, %(dag)s, 'd', 1, 'r' || n, 'manual', 'Failed', %(now)s, %(now)s, %(now)s
             FROM generate_series(1, 1000) n""",
        {"dag": world.uid("Dag", "d"), "now": world.clock.at},
    )
    statements: list[str] = []
    world.hooks.point = statements.append
    for _ in range(2):
        with world.database.connection() as connection:
            notifications.runs_ended(connection, [f"r{n}" for n in range(1, 1001)], world.clock.at)  # type: ignore[misc]
    assert statements.count("execute") == 2
    assert world.one("SELECT count(*) FROM notification") == 2000
    assert world.one("SELECT count(DISTINCT id) FROM notification") == 2000


def test_a_run_that_cannot_be_ended_tells_nobody(world: World) -> None:
    world.apply(notifier("all", *EVERYTHING), dag("d", task("a"), **NO_RETRIES))
    run = world.trigger("d")
    world.settle()
    (grant,) = world.claim()

    def crash(point: str) -> None:
        if point == "commit" and world.one("SELECT count(*) FROM run WHERE ended_at IS NULL") == 1:
            raise RuntimeError("the process dies")

    world.hooks.point = crash
    with pytest.raises(RuntimeError):
        world.report(grant, "failed")
    assert outbox(world) == []
    world.hooks.point = lambda _: None
    world.boot()
    world.report(grant, "failed")
    world.settle()
    assert (world.phase(run), outbox(world)) == ("Failed", [("RunFailed", "all")])


def test_a_dataset_turns_stale_and_fresh_and_each_is_told_once(world: World) -> None:
    world.apply(notifier("all", *EVERYTHING), dataset("t", freshness={"within": "1h"}))
    world.settle()
    world.advance(HOUR - 60, step=60)
    assert outbox(world) == []

    world.advance(180, step=60)
    assert outbox(world) == [("DatasetStale", "all")]
    assert len(world.events("Stale")) == 1
    world.advance(HOUR, step=600)
    world.assert_stable()
    assert outbox(world) == [("DatasetStale", "all")]

    touch(world, "t")
    world.advance(2)
    assert outbox(world) == [("DatasetStale", "all"), ("DatasetFresh", "all")]
    assert world.events("Fresh") == [
        f"is fresh again: a task committed to it at {world.one('SELECT updated_at FROM dataset_state'):%Y-%m-%dT%H:%M:%SZ}"
    ]
    world.advance(HOUR + 60, step=60)
    assert [o for o, _ in outbox(world)] == ["DatasetStale", "DatasetFresh", "DatasetStale"]


def test_freshness_taken_back_and_asked_for_again_turns_anew(world: World) -> None:
    world.apply(notifier("all", *EVERYTHING), dataset("t", freshness={"within": "1m"}))
    world.advance(120, step=60)
    world.apply(dataset("t"))
    world.advance(60, step=60)
    assert [o for o, _ in outbox(world)] == ["DatasetStale"]
    world.apply(dataset("t", freshness={"within": "1m"}))
    world.advance(60, step=60)
    assert [o for o, _ in outbox(world)] == ["DatasetStale", "DatasetStale"]


def test_two_that_look_at_once_record_one_turn(world: World) -> None:
    world.apply(notifier("all", *EVERYTHING), dataset("t", freshness={"within": "1m"}))
    world.settle()
    world.clock.at += timedelta(minutes=2)
    keys = world.timers.due()
    assert len(keys) == 1
    world.wake(keys)
    world.settle()
    world.wake(keys)
    world.settle()
    assert (outbox(world), len(world.events("Stale"))) == ([("DatasetStale", "all")], 1)


def test_a_spec_that_cannot_be_read_says_nothing(world: World) -> None:
    world.apply(dataset("t", freshness={"within": "1m"}))
    world.eyes.execute("""UPDATE resource SET spec = jsonb_set(spec, '{freshness}', '{"within": "a while"}')""")
    world.advance(180, step=60)
    assert world.events("Stale") == []
