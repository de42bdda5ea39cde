"""Dispatchers restart, and work side by side without a lease; Postgres is killed under them: nothing is lost or done twice."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import pytest

from controller.local.postgres import Server, temporary_server
from controller.store.migrate import migrate
from tests.conftest import Database, new_database
from tests.integration.core_parts import Hooks, OneConnection, dag, pool, task
from tests.integration.core_queues import MemoryQueues
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crds.protocol import Message

T = TypeVar("T")
DIAMOND = dag(
    "diamond",
    task("a"),
    task("b", ["a"]),
    task("c", ["a"]),
    task("d", ["b", "c"]),
    defaults={"retries": {"limit": 2, "backoff": {"initial": "20s"}}},
)


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("python"), DIAMOND)
    yield world
    world.close()


def story(world: World, before_each: Callable[[], None]) -> list[tuple[Any, ...]]:
    """Let an hour pass with runs that fail, are cancelled, time out and lose their workers; return what was decided."""
    world.apply(dag("hourly", task("a", timeout="1m"), schedules=[{"cron": "*/10 * * * *", "name": "s"}]))
    runs = [world.trigger("diamond") for _ in range(4)]
    failed: set[str] = set()
    for minute in range(1, 13):
        before_each()
        world.wake(world.timers.resync())
        world.settle()
        if minute == 2:
            world.cancel(runs[0])
        worker = f"w{min(minute, 5)}"
        world.worker(worker).heard = minute != 3
        for grant in world.claim(3, worker=worker):
            name = grant.task["name"]
            if name == "b" and grant.run not in failed:
                failed.add(grant.run)
                world.report(grant, "failed")
            elif minute not in {3, 4}:
                world.report(grant)
        # What is on its way to a queue would come ten seconds later; a restart between two passes costs not even that.
        world.settle()
        before_each()
        world.wake(world.timers.resync())
        world.advance(60, step=3)
    return world.rows(
        """SELECT task, idx, number, phase, reason, delivery, checks, created_at, claimed_at, ended_at, worker, next_check_at
             FROM attempt ORDER BY id"""
    )


def test_t4_a_dispatcher_that_forgets_everything_decides_the_same(postgres: Server, template: str) -> None:
    told = []
    for forgets in (False, True):
        with new_database(postgres, template) as database:
            world = World(database)
            world.apply(pool("python"), DIAMOND)
            told.append(story(world, world.boot if forgets else lambda: None))
            world.close()
    remembered, forgotten = told
    assert {row[3] for row in remembered} >= {"Succeeded", "Failed", "Lost", "Cancelled"}
    assert forgotten == remembered


def test_t5_a_dispatcher_that_restarts_every_five_seconds_costs_no_attempt(world: World) -> None:
    """It is away for two seconds each time, with everything that was under way in memory gone."""
    runs = [world.trigger("diamond") for _ in range(30)]
    world.wake(world.timers.resync())
    began: dict[str, float] = {}
    for _ in range(100):
        world.settle(check=False)
        if not world.rows("SELECT FROM run WHERE ended_at IS NULL"):
            break
        for worker in ("w1", "w2"):
            room = 5 - len(world.worker(worker).held)
            began |= {g.attempt: world.clock.monotonic() for g in world.claim(room, worker=worker)}
            for grant in list(world.worker(worker).held.values()):
                if world.clock.monotonic() - began[grant.attempt] >= 8:
                    world.report(grant)
        world.boot()
        world.open = False
        world.advance(2, step=2)
        world.open = True
        world.wake(world.timers.resync())
        world.advance(3, step=1.5)
    assert {world.phase(run) for run in runs} == {"Succeeded"}
    assert world.rows("SELECT phase, number, count(*) FROM attempt GROUP BY 1, 2") == [("Succeeded", 1, 120)]


class SharedQueues(MemoryQueues):
    """Queues of which several threads make use."""

    guard = threading.RLock()

    def send(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        with self.guard:
            return super().send(queue, messages)

    def receive(self, queue: str, count: int) -> list[Any]:
        with self.guard:
            return super().receive(queue, count)

    def delete(self, queue: str, received: Any) -> None:
        with self.guard:
            super().delete(queue, received)


def test_t19_two_dispatchers_without_a_lease_duplicate_nothing(world: World, database: Database) -> None:
    """Both believe to lead, look at everything all the time, and answer workers; their threads meet as they may."""
    world.apply(dag("hourly", task("a"), schedules=[{"cron": "*/20 * * * *", "name": "s", "catchup": "all"}]))
    world.settle()
    runs = [world.trigger("diamond") for _ in range(25)]
    other = World(database)
    other.ids.last = 10**6
    other.clock.at = world.clock.at = world.clock.at + timedelta(hours=1)
    shared = SharedQueues(world.clock.monotonic, Hooks())
    granted: list[str] = []
    failures: list[BaseException] = []

    def lead(leader: World, name: str) -> None:
        leader.queues = shared
        leader.boot()
        try:
            for _ in range(300):
                leader.wake(leader.timers.resync())
                leader.settle(check=False)
                for grant in leader.claim(3, worker=name):
                    granted.append(grant.attempt)
                    leader.report(grant)
                if not leader.rows("SELECT FROM run WHERE ended_at IS NULL LIMIT 1"):
                    return
        except BaseException as error:  # noqa: BLE001 - the test fails with it below
            failures.append(error)

    threads = [threading.Thread(target=lead, args=pair) for pair in ((world, "w1"), (other, "w2"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    other.close()

    assert not failures
    assert {world.phase(run) for run in runs} == {"Succeeded"}
    assert sorted(granted) == sorted({r[0] for r in world.rows("SELECT id FROM attempt")})
    assert world.rows("SELECT phase, number, count(*) FROM attempt GROUP BY 1, 2") == [("Succeeded", 1, 103)]
    assert world.rows("SELECT count(*) FROM run WHERE tick IS NOT NULL GROUP BY tick") == [(1,)] * 3
    world.check()


class Crash(BaseException):
    """The process is gone; nothing may catch it."""


def test_t20_a_crash_anywhere_leaves_one_run_of_a_tick(world: World) -> None:
    world.apply(dag("ticking", task("a"), schedules=[{"cron": "0 * * * *", "name": "s", "catchup": "all"}]))
    world.settle()
    left = passed = 0

    def point(_: str) -> None:
        nonlocal left, passed
        passed += 1
        left -= 1
        if left == 0:
            raise Crash

    def tick() -> None:
        world.wake(world.timers.resync())
        world.settle(check=False)

    world.hooks.point = point
    world.clock.at += timedelta(hours=1)
    tick()
    points = passed
    assert points > 20
    for crash_at in range(1, points + 1):
        left = crash_at
        world.clock.at += timedelta(hours=1)
        with suppress(Crash):
            tick()
        left = 0
        world.boot()
        tick()
    world.hooks.point = lambda _: None
    ticks = world.rows("SELECT count(*) FROM run GROUP BY tick")
    assert ticks == [(1,)] * (points + 1)
    world.check()


@pytest.fixture
def server() -> Iterator[Server]:
    with temporary_server(durable=True) as server:
        migrate(server.dsn())
        yield server


KINDS = ("execute", "commit", "committed")


class Restarts:
    """Kills Postgres, all of it, and starts it again: before a statement, before a COMMIT and behind one, in turn."""

    def __init__(self, server: Server, every: int, most: int) -> None:
        self._server = server
        self._every = every
        self._most = most
        self._last = self.passed = 0
        self.at: list[str] = []

    def __call__(self, point: str) -> None:
        self.passed += 1
        wanted = KINDS[len(self.at) % len(KINDS)]
        if self.passed - self._last < self._every or point != wanted or len(self.at) >= self._most:
            return
        self._last = self.passed
        self.at.append(point)
        os.kill(self._server.pid, signal.SIGKILL)
        self._server.stop()
        self._server.start()


def survive(world: World, conninfo: str, act: Callable[[], T]) -> T:
    """Do something until it is answered; when the connection broke, open another one, as the dispatcher's pool does."""
    for _ in range(20):
        try:
            return act()
        except (psycopg.OperationalError, psycopg.InterfaceError):
            world.database.close()
            world.database = OneConnection(conninfo, world.hooks)
            world.eyes.close()
            world.eyes = psycopg.connect(conninfo, options="-c search_path=setpoint", autocommit=True)
            world.boot()
            world.wake(world.timers.resync())
    raise AssertionError("broken again and again")


def test_t24_postgres_that_is_killed_at_any_moment_strands_nothing_and_repeats_nothing(server: Server) -> None:
    """Between statements, before a COMMIT, and behind one whose answer is lost; workers repeat what was not answered."""
    conninfo = server.dsn()
    world = World(Database("postgres", conninfo, conninfo, conninfo, conninfo))
    world.apply(pool("python"), DIAMOND)
    restarts = Restarts(server, every=29, most=14)
    world.hooks.point = restarts
    keys = [survive(world, conninfo, lambda k=k: world.trigger("diamond", key=k)) for k in ("x", "y")]  # type: ignore[misc]
    assert len(keys) == 2
    for number in range(300):
        survive(world, conninfo, lambda: world.settle(check=False))
        for received in world.queues.receive(world.queue(), 1):
            asked = f"r{number}"
            answer = survive(
                world,
                conninfo,
                lambda r=received, q=asked: world.ask(world.worker(), [r.message], q),  # type: ignore[misc]
            )
            world.queues.delete(world.queue(), received)
            for grant in answer.grants:
                # The first answer, whether the first or the second try was recorded.
                assert survive(world, conninfo, lambda g=grant: world.report(g)) == "recorded"  # type: ignore[misc]
        survive(world, conninfo, lambda: world.advance(1))
        if survive(world, conninfo, lambda: world.rows("SELECT DISTINCT phase FROM run")) == [("Succeeded",)]:
            break
    world.hooks.point = lambda _: None
    assert set(restarts.at) == set(KINDS)
    assert world.rows("SELECT count(*) FROM run WHERE phase = 'Succeeded'") == [(2,)]
    assert world.rows("SELECT phase, number, count(*) FROM attempt GROUP BY 1, 2") == [("Succeeded", 1, 8)]
    world.close()
