"""A worker that is heard while somebody is about to give it up lives on, at whatever point its heartbeat comes in."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from controller.runtime.keys import Key, Kind
from tests.integration.core_parts import dag, pool, task
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database

RENEW = "UPDATE worker SET renewed_at = %(now)s, heartbeat_by = %(now)s + interval '10 s'"
POINTS = 12
"""More than a look at a pool has statements."""


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python"), dag("one", task("a")))
    yield world
    world.close()


@pytest.mark.parametrize("point", range(1, POINTS + 1))
def test_a_heartbeat_at_any_point_of_the_look_is_never_passed_over(
    world: World, database: Database, point: int
) -> None:
    run = world.trigger("one")
    world.settle()
    world.claim()
    world.advance(4)
    world.clock.at += timedelta(seconds=12)
    passed = heard = 0
    other: psycopg.Connection = psycopg.connect(
        database.conninfo, options="-c search_path=setpoint -c lock_timeout=200"
    )

    def beat(_: str) -> None:
        nonlocal passed, heard
        passed += 1
        if passed == point:
            try:
                heard = other.execute(RENEW, {"now": world.clock.at}).rowcount
            except errors.LockNotAvailable:
                heard = 0
            other.commit() if heard else other.rollback()

    # A look of the pool alone: heartbeats could arrive all the time.
    for _ in range(12):
        world.clock.at += timedelta(seconds=1)
        world._keep_open()
    world.hooks.point = beat
    world.reconcile[Kind.POOL]([Key(Kind.POOL, world.uid("WorkerPool", "python"))])
    world.hooks.point = lambda _: None
    other.close()

    given_up = world.rows("SELECT id FROM worker WHERE ended_at IS NOT NULL AND heartbeat_by > ended_at")
    assert not given_up, "given up in spite of its heartbeat"
    assert world.attempts(run)[0] == ("Running" if heard else "Lost")
