"""One leader: by a lease that expires, or at once when the leader's session is gone; never by a host's clock."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from controller.runtime.leader import Leader
from controller.store import leases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Database

LEASE = timedelta(seconds=15)
PATIENCE = 30.0


@pytest.fixture
def session(database: Database) -> Iterator[Callable[[], psycopg.Connection]]:
    opened: list[psycopg.Connection] = []

    def connect() -> psycopg.Connection:
        connection = database.connect()
        connection.autocommit = True
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def test_a_lease_is_held_by_one_until_it_is_let_go(session: Callable[[], psycopg.Connection]) -> None:
    one, two = session(), session()
    first = leases.acquire(one, "l", "one", LEASE, seize=False)
    assert first is not None
    assert leases.acquire(two, "l", "two", LEASE, seize=False) is None
    again = leases.acquire(one, "l", "one", LEASE, seize=False)
    assert again is not None
    assert (again.term, again.expires_at >= first.expires_at) == (first.term, True)

    leases.release(two, "l", "two")
    assert leases.acquire(two, "l", "two", LEASE, seize=False) is None
    leases.release(one, "l", "one")
    taken = leases.acquire(two, "l", "two", LEASE, seize=False)
    assert taken is not None
    assert taken.term == first.term + 1


def test_an_expired_lease_is_free(session: Callable[[], psycopg.Connection]) -> None:
    assert leases.acquire(session(), "l", "one", timedelta(0), seize=False) is not None
    taken = leases.acquire(session(), "l", "two", LEASE, seize=False)
    assert taken is not None
    assert taken.term == 2


def test_the_lock_falls_free_with_its_session(session: Callable[[], psycopg.Connection]) -> None:
    one, two = session(), session()
    assert leases.try_lock(one, "l")
    assert not leases.try_lock(two, "l")
    assert leases.acquire(one, "l", "one", LEASE, seize=True) is not None
    one.close()
    for _ in range(200):
        if leases.try_lock(two, "l"):
            break
        threading.Event().wait(0.05)
    taken = leases.acquire(two, "l", "two", LEASE, seize=True)
    assert taken is not None
    assert taken.term == 2


@dataclass
class Candidate:
    """A process that would lead."""

    leader: Leader
    began: threading.Event = field(default_factory=threading.Event)
    ceased: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def candidate(database: Database) -> Iterator[Callable[[str], Candidate]]:
    made: list[Candidate] = []

    def make(name: str) -> Candidate:
        began, ceased = threading.Event(), threading.Event()
        found = Candidate(Leader(database.connect, name, began.set, ceased.set), began, ceased)
        made.append(found)
        found.leader.start()
        return found

    yield make
    for one in made:
        one.leader.stop(PATIENCE)


def test_a_standby_takes_over_when_the_leader_stops(candidate: Callable[[str], Candidate]) -> None:
    one = candidate("one")
    assert one.began.wait(PATIENCE)
    two = candidate("two")
    assert not two.began.wait(0.2)
    one.leader.stop(PATIENCE)

    assert one.ceased.is_set()
    assert not one.leader.leads()
    assert two.began.wait(PATIENCE)
    assert two.leader.leads()


@pytest.mark.pain("T17")
def test_a_standby_takes_over_when_the_leaders_session_dies(
    candidate: Callable[[str], Candidate], database: Database
) -> None:
    one = candidate("one")
    assert one.began.wait(PATIENCE)
    two = candidate("two")
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as admin:
        admin.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_locks
                WHERE locktype = 'advisory' AND granted
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
        )

    assert two.began.wait(PATIENCE) or one.leader.leads()
