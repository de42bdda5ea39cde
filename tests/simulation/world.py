"""All that one schedule is made of: controllers, workers, the network between them, Postgres, SQS, ECS, people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crds.names import parse_attempt_id
from tests.simulation.children import Behaviour, Effects
from tests.simulation.controllers import Controller, CountedIds
from tests.simulation.database import Door, SharedDatabase
from tests.simulation.ecs import SimulatedEcs
from tests.simulation.network import Network
from tests.simulation.people import People
from tests.simulation.sqs import SimulatedSqs
from tests.simulation.threads import Cooperation
from tests.simulation.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from crds.protocol import Grant
    from tests.simulation.ecs import Task
    from tests.simulation.faults import Faults
    from tests.simulation.fibers import Fiber, Fibers, Process
    from tests.simulation.ground import Ground
    from tests.simulation.plan import Plan
    from tests.simulation.snapshot import Attempt
    from tests.simulation.workload import PoolPlan

LOCKED_LOOKS = 1_000
"""How often the scheduler asks Postgres whether a lock has fallen free before it calls that a lock for ever."""
NAMES = ("A", "B")


class World:
    """One schedule's parts. The scheduler decides who does what next."""

    def __init__(self, ground: Ground, plan: Plan, fibers: Fibers, faults: Faults) -> None:
        seed, workload = plan.seed, plan.workload
        self.seed = seed
        self.names = NAMES[: plan.controllers]
        self.workload = workload
        self.fibers = fibers
        self.faults = faults
        self.cooperation = Cooperation(fibers)
        self.database = SharedDatabase(ground, fibers, faults)
        self.network = Network(fibers, faults)
        self.sqs = SimulatedSqs(fibers, faults)
        self.ecs = SimulatedEcs(self)
        self.effects = Effects()
        self.ids = CountedIds()
        self.skew = 0.0
        """By how much Postgres's clock is off."""
        self.notices: list[str] = []
        """NOTIFYs under way."""
        self.children: dict[Process, Process] = {}
        """The processes of children, and the workers that they die with."""
        self.controllers: dict[str, Controller] = {}
        self.people = People(self)
        self.answered: Callable[[Any], None] = lambda _: None
        """Called with every answer of the worker protocol."""
        self.people_settle: Callable[[], None] = lambda: None
        """Lets everything happen that can happen now."""
        self.written: dict[str, str | None] = {}
        """Attempt → the dataset that it writes."""
        self._doomed: list[Process] = []

    # Controllers.

    def start_controller(self, name: str) -> Controller:
        """Start a controller process."""
        self.controllers[name] = Controller(self, name)
        return self.controllers[name]

    def kill_controller(self, name: str) -> None:
        """Kill a controller: all that it had in memory is gone, and so are its transactions."""
        controller = self.controllers.pop(name)
        self._kill(controller.process)
        for call in self.network.waiting():
            call.deaf = call.deaf or call.taken

    @property
    def leader(self) -> Controller | None:
        """Return a controller that leads."""
        return next((c for c in self.controllers.values() if c.leads), None)

    def notify(self, payload: str) -> None:
        """Send a NOTIFY to whoever leads."""
        if not self.faults.draws("notifyLost"):
            self.notices.append(payload)

    def told_stopped(self, task: Task) -> None:
        """Have EventBridge tell a dispatcher that a task has stopped; it only says which pool to look at."""
        if self.controllers and not self.faults.draws("notifyLost"):
            self.people.stopped_event(task)

    # Workers.

    def start_worker(self, number: int, pool: PoolPlan) -> WorkerProcess:
        """Start a worker process."""
        return WorkerProcess(self, number, pool)

    def kill_worker(self, worker: WorkerProcess) -> None:
        """Kill a worker and its children."""
        for child, owner in list(self.children.items()):
            if owner is worker.process:
                self._kill(child)
                del self.children[child]
        self._kill(worker.process)

    def behaviour(self, grant: Grant) -> Behaviour:
        """Return how the attempts of a grant's task behave."""
        plan = self.people.plan(grant.dag, parse_attempt_id(grant.attempt).task)
        self.written[grant.attempt] = next((o.name for o in grant.outputs.values()), None)
        return plan.behaviour if plan else Behaviour(self.seed)

    def writes(self, attempt: Attempt) -> str | None:
        """Return the dataset that an attempt writes."""
        return self.written.get(attempt.id)

    def child_door(self, process: Process) -> Door:
        """Return a child's way to the database."""
        return Door(self.database, process, child=True)

    # Fibers.

    def doom(self, process: Process) -> None:
        """Have a process killed as soon as the fiber that runs now waits."""
        self._doomed.append(process)

    def go(self, fiber: Fiber) -> None:
        """Let a fiber run, then take away what died meanwhile."""
        self.fibers.resume(fiber)
        for process in self._doomed:
            self._kill(process)
        self._doomed.clear()
        if self.faults.crashed is not None:
            self._crash(self.faults.crashed)
            self.faults.crashed = None
        self.free_locks()

    def free_locks(self) -> None:
        """Find the statements whose lock has fallen free; if nobody else can go on, wait for Postgres to break a deadlock."""
        for _ in range(LOCKED_LOOKS if self.fibers.blocked() else 0):
            if self.database.hand_over() or self.fibers.runnable():
                return
        assert not self.fibers.blocked() or self.fibers.next_timer(), "blocked for ever"

    def close(self) -> None:
        """End all processes."""
        for name in list(self.controllers):
            self.kill_controller(name)
        for task in self.ecs.tasks:
            self.kill_worker(task.worker)

    def _kill(self, process: Process) -> None:
        self.database.cut(process)
        self.fibers.kill(process)

    def _crash(self, process: Process) -> None:
        if process.name in self.controllers:
            self.kill_controller(process.name)
            return
        for task in self.ecs.tasks:
            if task.worker.process is process:
                self.kill_worker(task.worker)
