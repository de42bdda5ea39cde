"""A simulated controller process: the real Dispatcher with all its threads, on simulated network, time and AWS.

Only its edges are replaced: the connection pools, the clock, AWS, the lease (who leads is the scheduler's choice), LISTEN, and
the HTTP server, whose handlers are called directly.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import controller.main
from controller.main import Dispatcher
from controller.runtime.wakes import Wakes, decode, encode
from controller.runtime.workqueue import Workqueue
from controller.settings import Settings
from tests.integration.core_parts import Hooks
from tests.integration.core_queues import MemoryFunctions
from tests.simulation.database import Door
from tests.simulation.ecs import EcsDoor
from tests.simulation.fibers import Process
from tests.simulation.people import Routes
from tests.simulation.sqs import SqsDoor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import psycopg

    from controller.api.batcher import Batcher
    from controller.api.endpoint import ApiDeps
    from controller.runtime.keys import Key
    from tests.simulation.threads import Swap
    from tests.simulation.world import World

START = datetime(2026, 3, 2, 8, 0, 0, tzinfo=UTC)


class DatabaseClock:
    """Postgres's clock: the virtual time, with what the server's clock is off by."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self, connection: psycopg.Connection) -> datetime:
        return START + timedelta(seconds=self._world.fibers.now + self._world.skew)

    def monotonic(self) -> float:
        return self._world.fibers.now


class CountedIds:
    """Uids that are counted, so that a schedule repeats exactly."""

    def __init__(self) -> None:
        self._last = 0

    def uid(self, now: datetime) -> str:
        self._last += 1
        return f"{self._last:020x}"


class Controller:
    """One controller process. It leads if the schedule says so; two may."""

    def __init__(self, world: World, name: str) -> None:
        self.process = Process(name)
        self.leads = False
        self.door = Door(world.database, self.process)
        self.deps: ApiDeps
        self.routes = Routes()
        self._world = world
        self._began: Callable[[], None]
        self._wakes: SortedWakes
        self._dispatcher: Dispatcher
        world.fibers.within(self.process, self._boot)
        api = self._dispatcher._worker_api
        self.batchers: dict[str, Batcher[Any, Any]] = {
            "/v1/claims": api.claims,
            "/v1/heartbeats": api.heartbeats,
            "/v1/reports": api.reports,
        }

    def lead(self, *, leads: bool) -> None:
        """Begin or cease to lead; what the queues held is forgotten."""
        if self.leads != leads:
            self.leads = leads
            self._began()

    def wake(self, keys: Iterable[Key]) -> None:
        """Have keys looked at soon, by whoever leads."""
        self._wakes(keys)

    def notified(self, payload: str) -> None:
        """Take a NOTIFY."""
        if self.leads:
            self._wakes.enqueue(decode(payload))

    def resync(self) -> None:
        """Look at everything unfinished."""
        self._wakes.enqueue(self._dispatcher._timers.resync())

    def _boot(self) -> None:
        world, clock = self._world, DatabaseClock(self._world)
        outside = controller.main.World(
            queues=SqsDoor(world.sqs, world.faults, self.door.point),
            functions=MemoryFunctions(Hooks()),
            services=EcsDoor(world, self.door.point),
            secrets=cast("Any", SimpleNamespace(values=lambda _: ["secret"])),
            objects=None,
            clock=clock,
            ids=world.ids,
        )
        settings = Settings(dsn="-", object_store="-", scale_pools=True, holder=self.process.name)
        with world.cooperation.also(self._edges()):
            self._dispatcher = Dispatcher(settings, outside)
            self._dispatcher.start()

    def _edges(self) -> list[Swap]:
        """Return what stands in for the dispatcher's edges while it is built."""
        idle = SimpleNamespace(start=lambda: None, port=0)
        server = SimpleNamespace(build=lambda *_: None, Server=lambda *_: idle)
        main = controller.main
        return [
            (main, "make_pool", lambda *_, **__: self.door),
            (main, "Leader", self._leader),
            (main, "Wakes", self._sorted_wakes),
            (main, "Workqueue", lambda name: Workqueue(name, lambda: self._world.fibers.now)),
            (main, "Notifications", lambda *_: idle),
            (main, "app", server),
            (main, "ensure_admin", lambda *_: None),
            (main, "Sampler", lambda *_: idle),
            (main, "resource_routes", self._routed),
        ]

    def _leader(self, _connect: object, _holder: str, began: Callable[[], None], _ceased: object) -> object:
        self._began = began
        return SimpleNamespace(leads=lambda: self.leads, start=lambda: None)

    def _sorted_wakes(self, queues: Any, leads: Callable[[], bool], database: Any) -> SortedWakes:
        self._wakes = SortedWakes(queues, leads, database)
        self._wakes.world = self._world
        return self._wakes

    def _routed(self, deps: ApiDeps, *_: object) -> list[Any]:
        self.deps = deps
        return []


class SortedWakes(Wakes):
    """The real Wakes, but the keys of a set always come in the same order, and NOTIFY is a matter of the schedule."""

    world: World

    def __call__(self, keys: Iterable[Key]) -> None:
        wanted = sorted(keys)
        if self._leads():
            self.enqueue(wanted)
        elif wanted:
            self.world.notify(encode(wanted))

    def enqueue(self, keys: Iterable[Key]) -> None:
        super().enqueue(sorted(keys))
