"""Nobody waits for an attempt that merges: its row is locked just before COMMIT, not while rows are moved."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from crds.names import AttemptId
from crds.protocol import Message
from tests.integration.core_parts import dag, dataset, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from crds.protocol import Grant
    from tests.conftest import Database

COMMIT = "SELECT fence.commit(%s, %s, '{}', 'null', %s)"
HANGS_AFTER = 30.0
"""Seconds for a merge that goes on to end."""
MAX_LOOKS = 10_000
WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    outputs = {"out": {"dataset": "rows", "mode": "append"}}
    world.apply(pool("python"), dataset("rows", ("k", "int64"), tier="hot"), dag("d", task("a", outputs=outputs)))
    # Whoever waits for a row fails at once, and the test with it.
    with world.database.connection() as connection:
        connection.execute("SET lock_timeout = '500ms'")
    yield world
    world.close()


def committing(connection: psycopg.Connection, grant: Grant) -> Callable[[], None]:
    """Stage a row; return what commits it and leaves the transaction open."""
    ref = grant.outputs["out"]
    row = connection.execute("SELECT fence.stage(%s, %s, %s)", (grant.attempt, grant.token, ref.uid)).fetchone()
    assert row is not None
    connection.execute(f"INSERT INTO {row[0]} VALUES (1)")
    connection.commit()
    write = {"dataset": ref.name, "uid": ref.uid, "stage": row[0], "rows": 1}
    values = (grant.attempt, grant.token, json.dumps([write]))

    def commit() -> None:
        connection.execute(COMMIT, values)

    return commit


@contextmanager
def merging(world: World, database: Database) -> Iterator[Grant]:
    """Give an attempt whose merge goes on meanwhile: it waits for its turn behind another one's."""
    world.trigger("d")
    world.trigger("d")
    world.settle()
    first, second = world.claim()
    with database.connect_as_worker() as one, database.connect_as_worker() as two:
        committing(one, first)()
        merge = Thread(target=committing(two, second), daemon=True)
        merge.start()
        for _ in range(MAX_LOOKS):
            if world.one(WAITS):
                break
        else:
            pytest.fail("the second merge does not wait for the first")
        try:
            yield second
        finally:
            one.commit()
            merge.join(HANGS_AFTER)
        assert not merge.is_alive()
        two.commit()
    assert world.one("SELECT count(*) FROM attempt WHERE phase = 'Committed'") == 2


def test_a_heartbeat_does_not_wait_for_a_merge(world: World, database: Database) -> None:
    with merging(world, database) as grant:
        world.clock.at += timedelta(seconds=8)
        assert world.beat(world.worker("w1")).attempts[grant.attempt] == "continue"
        assert world.beat(world.worker("w1"), held=[]).attempts == {}


def test_claims_do_not_wait_for_a_merge_when_its_message_comes_again(world: World, database: Database) -> None:
    with merging(world, database) as grant:
        answer = world.ask(world.worker("w2"), [Message(attempt=AttemptId(grant.attempt), delivery=1)])
        assert [r.action for r in answer.refusals] == ["drop"]


def test_the_controller_does_not_wait_for_a_merge(world: World, database: Database) -> None:
    with merging(world, database):
        world.wake(world.timers.resync())
        world.settle()
