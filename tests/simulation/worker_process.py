"""A simulated worker process: the real worker with all its threads, on simulated network, queue and children."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, cast

from crds.names import WorkerId
from tests.simulation.children import SimulatedRunner
from tests.simulation.fibers import Process
from tests.simulation.network import SimulatedDispatcher, SimulatedQueue
from tests.simulation.threads import Event, Wake
from workers.claims import Claimer
from workers.consumer import Consumer
from workers.heartbeat import Heartbeat
from workers.held import Registry
from workers.identity import Identity
from workers.metrics import Metrics
from workers.protection import Protection
from workers.reporter import Reporter
from workers.slots import Slots
from workers.worker import Worker

if TYPE_CHECKING:
    from tests.simulation.workload import PoolPlan
    from tests.simulation.world import World

GRACE_SECONDS = 25.0


@cache
def _metrics() -> Metrics:
    """Return one set of counters for all simulated workers; nobody reads them."""
    return Metrics()


class SeededDraw:
    """Stands in for workers.clock.Draw: ids and jitter from the seed."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def token(self) -> str:
        return f"{self._random.getrandbits(64):016x}"

    def jitter(self, limit: float) -> float:
        return self._random.uniform(0, limit)


class FiberClock:
    """Stands in for workers.clock.Clock."""

    def __init__(self, world: World) -> None:
        self._fibers = world.fibers

    def monotonic(self) -> float:
        return self._fibers.now


class _Nothing:
    """Stands in for children and scratch folders, of which nothing is there to start or clean."""

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


class WorkerProcess:
    """One worker process, which is one ECS task."""

    def __init__(self, world: World, number: int, pool: PoolPlan) -> None:
        self.process = Process(f"w{number}")
        self.pool = pool
        self.task = f"arn:task/{number}"
        self.stop: Wake
        world.fibers.within(self.process, lambda: self._boot(world, number))

    @property
    def over(self) -> bool:
        """Tell whether the process has ended by itself or was killed."""
        return self.process.dead or not any(f.name.endswith("/main") for f in self.process.fibers)

    def _boot(self, world: World, number: int) -> None:
        draw = cast("Any", SeededDraw(f"{world.seed}/w{number}"))
        clock, metrics, nothing = cast("Any", FiberClock(world)), _metrics(), cast("Any", _Nothing())
        identity = Identity(WorkerId(f"{self.pool.name}-w{number}"), self.pool.name, "default", self.task)
        registry = Registry(self.pool.slots)
        dispatcher = SimulatedDispatcher(world, self.process)
        queue = cast("Any", SimulatedQueue(world, self.process, f"setpoint-{self.pool.name}.fifo"))
        reporter = Reporter(identity, dispatcher, registry, metrics, draw)
        slots = Slots(registry, cast("Any", SimulatedRunner(world, self.process)), reporter, metrics)
        protection = Protection(None, 60.0, clock)
        claimer = Claimer(identity, dispatcher, metrics, clock, draw)
        worker = Worker(
            registry=registry,
            dispatcher=dispatcher,
            queue=queue,
            consumer=Consumer(queue, claimer, slots, protection, metrics),
            heartbeat=Heartbeat(identity, dispatcher, registry, draw),
            slots=slots,
            children=nothing,
            reporter=reporter,
            protection=protection,
            scratch=nothing,
            draw=draw,
            draining=cast("Any", Event(world.fibers)),
            ended=cast("Any", Event(world.fibers)),
        )
        self.stop = Wake(world.fibers)
        world.fibers.spawn("main", lambda: worker.run(cast("Any", self.stop), GRACE_SECONDS))
