"""A call that hangs holds up its own key alone, and a dispatcher in which nothing moves says so."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import httpx
import psycopg
import pytest
from obstore.store import MemoryStore
from psycopg_pool import ConnectionPool

from controller import main
from controller.main import Dispatcher
from controller.reconcilers.delivery import Delivery
from controller.reconcilers.sender import Sender
from controller.runtime import leader
from controller.runtime.clock import DatabaseClock
from controller.runtime.ids import DrawnIds
from controller.runtime.keys import Key, Kind
from controller.runtime.leader import Leader
from controller.runtime.loop import Loop, Result
from controller.runtime.workqueue import Workqueue
from controller.settings import Settings
from tests.integration.core_parts import Hooks, dag, pool, task
from tests.integration.core_queues import MemoryFunctions, MemoryQueues, MemoryServices
from tests.integration.core_world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from controller.actions import Send
    from controller.aws.ecs import ServiceCounts
    from crds.protocol import Message
    from tests.conftest import Database

PATIENCE = 30.0


def eventually(look: Callable[[], bool], what: str) -> None:
    """Wait for something; fail after a generous while."""
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:g} s"
        time.sleep(0.01)


class Hanging:
    """A door behind which callers wait until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.waiting = 0

    def wait(self) -> None:
        self.waiting += 1
        assert self.opened.wait(2 * PATIENCE)


@dataclass
class HangingQueues(MemoryQueues):
    """Queues of which some never answer."""

    hanging: Mapping[str, Hanging] = field(default_factory=dict)

    def send(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        if queue in self.hanging:
            self.hanging[queue].wait()
        return super().send(queue, messages)


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    world.apply(pool("stuck", slots=200, maxTasks=1), pool("python"))
    yield world
    world.close()


def test_t17_a_queue_that_never_answers_holds_up_no_other(world: World, database: Database) -> None:
    many = [task(f"t{n:03}", pool="stuck") for n in range(150)]
    world.apply(dag("stuck", *many), dag("free", task("a")))
    sent: list[Send] = []
    world.sender.send = sent.extend  # type: ignore[method-assign,assignment]
    world.trigger("stuck")
    world.settle()
    free = world.trigger("free")
    world.settle()
    assert len(sent) == 151

    hanging = Hanging()
    queues = HangingQueues(time.monotonic, Hooks(), hanging={world.queue("stuck"): hanging})
    with ConnectionPool(database.conninfo, kwargs={"options": "-c search_path=setpoint"}, min_size=2) as connections:
        sender = Sender(connections, DatabaseClock(), Delivery(queues, MemoryFunctions(Hooks())))
        sender.start()
        try:
            sender.send(sent)
            eventually(lambda: world.attempts(free) == ["Queued"], "sending for the pool that answers")
            eventually(lambda: hanging.waiting > 0, "sending for the pool that hangs")
        finally:
            hanging.opened.set()
            sender.stop(PATIENCE)
    assert world.rows("SELECT DISTINCT phase FROM attempt") == [("Queued",)]
    assert len(queues.queues[world.queue("stuck")].messages) == 150


@contextmanager
def running(loop: Loop) -> Iterator[Loop]:
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()
        assert loop.join(PATIENCE)


def test_t17_a_key_whose_look_hangs_holds_up_no_other() -> None:
    hanging, looks = Hanging(), Workqueue("pools")
    stuck, free = Key(Kind.POOL, "stuck"), Key(Kind.POOL, "free")
    seen: list[Key] = []

    def reconcile(keys: Sequence[Key]) -> Mapping[Key, Result]:
        if stuck in keys:
            hanging.wait()
        seen.extend(keys)
        return {free: Result(timedelta(milliseconds=5))}

    loop = Loop("pools", looks, reconcile, batch=main.POOL_BATCH, leads=lambda: True, threads=main.POOL_THREADS)
    with running(loop):
        looks.add([stuck])
        eventually(lambda: hanging.waiting == 1, "the look that hangs")
        # A key that hangs is not handed to a second thread, however often it is woken.
        looks.add([stuck, free])
        eventually(lambda: seen.count(free) >= 10, "ten looks at the other key")
        assert (hanging.waiting, seen.count(stuck)) == (1, 0)
        hanging.opened.set()
        eventually(lambda: seen.count(stuck) == 2, "both looks at the key that hung")


class HangingServices(MemoryServices):
    """An ECS that never answers once it is told to hang."""

    door = Hanging()
    hangs = False

    def counts(self, service: str) -> ServiceCounts | None:
        if self.hangs:
            self.door.wait()
        return super().counts(service)


class KnownSecrets:
    def values(self, name: str) -> tuple[str, ...]:
        return (f"value-of-{name}",)


@pytest.fixture
def dispatcher(database: Database) -> Iterator[tuple[Dispatcher, HangingServices]]:
    services = HangingServices()
    services.door = Hanging()
    queues = MemoryQueues(time.monotonic, Hooks())
    secrets = cast("Any", KnownSecrets())
    outside = main.World(
        queues, MemoryFunctions(Hooks()), services, secrets, MemoryStore(), DatabaseClock(), DrawnIds()
    )
    made = Dispatcher(Settings(dsn=database.conninfo, object_store="memory://", port=0), outside)
    made.start()
    yield made, services
    services.door.opened.set()
    made.stop()


def test_t17_liveness_fails_when_no_look_at_a_kind_ends_any_more(
    world: World, dispatcher: tuple[Dispatcher, HangingServices], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(*(pool(f"p{n}") for n in range(main.POOL_THREADS)))
    running, services = dispatcher
    url = f"http://127.0.0.1:{running.server.port}/healthz"

    def health() -> tuple[int, str]:
        answer = httpx.get(url, trust_env=False, timeout=PATIENCE)
        return answer.status_code, answer.text

    assert health() == (200, "ok")
    services.hangs = True
    running._wakes.enqueue([Key(Kind.POOL, world.uid("WorkerPool", f"p{n}")) for n in range(main.POOL_THREADS)])
    eventually(lambda: services.door.waiting >= main.POOL_THREADS, "all looks at pools hang")
    assert health() == (200, "ok"), "a pause is no hang"
    monkeypatch.setattr(main, "STUCK_AFTER", 2.5)
    eventually(lambda: health() == (503, "stuck: pools"), "the liveness probe fails")
    services.hangs = False
    services.door.opened.set()
    eventually(lambda: health() == (200, "ok"), "the liveness probe recovers")


class Frozen(psycopg.Connection[Any]):
    """A session whose client stands still when told to, and goes on with its statement afterwards."""

    door: Hanging
    frozen = False

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        if self.frozen:
            self.door.wait()
        return super().execute(*args, **kwargs)


def test_t17_a_leader_that_stands_still_is_replaced_when_its_lease_ends(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session lives, so its lock is held; only the lease, by Postgres's clock, can tell."""
    monkeypatch.setattr(leader, "LEASE", timedelta(seconds=2))
    monkeypatch.setattr(leader, "RENEW_EVERY", 0.3)
    monkeypatch.setattr(leader, "STANDBY_EVERY", 0.1)

    def connect() -> psycopg.Connection:
        return Frozen.connect(database.conninfo, options="-c search_path=setpoint")

    def candidate(name: str, connect: Callable[[], psycopg.Connection]) -> tuple[Leader, threading.Event]:
        began = threading.Event()
        made = Leader(connect, name, began.set, lambda: None)
        made.start()
        return made, began

    Frozen.door, Frozen.frozen = Hanging(), False
    one, one_began = candidate("one", connect)
    assert one_began.wait(PATIENCE)
    two, two_began = candidate("two", database.connect)
    assert not two_began.wait(1), "the lease of a leader that is heard holds"
    Frozen.frozen = True
    try:
        assert two_began.wait(PATIENCE)
        with database.connect() as eyes:
            assert eyes.execute("SELECT holder, term FROM lease").fetchone() == ("two", 2)
        Frozen.frozen = False
        Frozen.door.opened.set()
        # Its session still holds the lock, so it may take the lease back; but there is one leader again.
        eventually(lambda: one.leads() != two.leads(), "there is one leader")
    finally:
        Frozen.door.opened.set()
        one.stop(PATIENCE)
        two.stop(PATIENCE)


def test_t17_a_standby_takes_over_within_a_lease() -> None:
    """A leader that stops being heard was heard at most a renewal ago; the standby looks within its own interval."""
    assert leader.STANDBY_EVERY <= leader.RENEW_EVERY / 2
    assert timedelta(seconds=2 * leader.RENEW_EVERY) < leader.LEASE, "one renewal may be lost"
    assert timedelta(seconds=15) >= leader.LEASE
