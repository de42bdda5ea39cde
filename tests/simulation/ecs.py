"""ECS in memory: services that keep a number of tasks, each of which is a simulated worker process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.aws.ecs import ServiceCounts
from controller.diff.pools import StoppedTask
from controller.errors import Throttled
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.simulation.worker_process import WorkerProcess
    from tests.simulation.workload import PoolPlan
    from tests.simulation.world import World

STOP_TIMEOUT = 30.0
"""From SIGTERM to SIGKILL."""
NOTICED_AFTER = 15.0
"""How long ECS may go on to say that a task runs that has stopped, when it answers stale."""


@dataclass(eq=False)
class Task:
    """One ECS task."""

    worker: WorkerProcess
    stopping_at: float | None = None
    stopped_at: float | None = None
    why: StoppedTask | None = None


@dataclass
class Service:
    """A pool's service."""

    pool: PoolPlan
    desired: int
    tasks: list[Task] = field(default_factory=list)

    @property
    def running(self) -> list[Task]:
        return [t for t in self.tasks if t.stopped_at is None]


class SimulatedEcs:
    """All services. Nothing happens by itself: `place`, `shrink`, `reap` are steps of the scheduler."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.services: dict[str, Service] = {}
        self._number = 0

    @property
    def tasks(self) -> list[Task]:
        """Return all tasks, running or not."""
        return [t for s in self.services.values() for t in s.tasks]

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return what ECS could do now, by label."""
        found: dict[str, Callable[[], None]] = {}
        for name, service in self.services.items():
            active = [t for t in service.running if t.stopping_at is None]
            if len(active) < service.desired:
                found[f"ecs places a task of {name}"] = lambda s=service: self._place(s)  # type: ignore[misc]
            if len(active) > service.desired:
                found[f"ecs stops a task of {name}"] = lambda a=active: self.stop(a[0])  # type: ignore[misc]
        for task in self.tasks:
            if task.stopped_at is None and (task.worker.over or self._late(task)):
                found[f"ecs sees {task.worker.process.name} end"] = lambda t=task: self._ended(t)  # type: ignore[misc]
        return found

    def next_timer(self) -> float | None:
        """Return when the next stopping task is killed."""
        times = [t.stopping_at + STOP_TIMEOUT for t in self.tasks if t.stopped_at is None and t.stopping_at is not None]
        return min(times, default=None)

    def stop(self, task: Task) -> None:
        """Send SIGTERM."""
        if task.stopping_at is None:
            task.stopping_at = self._world.fibers.now
            task.worker.stop.set()

    def _place(self, service: Service) -> None:
        if self._world.faults.draws("placementFails"):
            return
        self._number += 1
        service.tasks.append(Task(self._world.start_worker(self._number, service.pool)))

    def _late(self, task: Task) -> bool:
        return task.stopping_at is not None and self._world.fibers.now >= task.stopping_at + STOP_TIMEOUT

    def _ended(self, task: Task) -> None:
        killed = task.worker.process.dead or not task.worker.over
        self._world.kill_worker(task.worker)
        task.stopped_at = self._world.fibers.now
        reason = Reason.WORKER_STOPPED
        task.why = StoppedTask(reason, "killed" if killed else "it ended by itself")
        self._world.told_stopped(task)


class EcsDoor:
    """One controller's way to ECS."""

    def __init__(self, world: World, point: Callable[[str], None]) -> None:
        self._world = world
        self._ecs = world.ecs
        self._point = point
        self._last: dict[str, ServiceCounts] = {}

    def counts(self, service: str) -> ServiceCounts | None:
        self._call("describe services")
        found = self._ecs.services.get(service)
        if found is None:
            return None
        counts = ServiceCounts(found.desired, len(found.running))
        if self._world.faults.draws("ecsStale"):
            return self._last.get(service, counts)
        self._last[service] = counts
        return counts

    def set_desired(self, service: str, count: int) -> None:
        self._call("update service")
        self._ecs.services[service].desired = count
        self._point("updated service")

    def stopped(self, tasks: Sequence[str]) -> Mapping[str, StoppedTask]:
        self._call("describe tasks")
        now = self._world.fibers.now
        stale = self._world.faults.draws("ecsStale")
        return {
            t.worker.task: t.why
            for t in self._ecs.tasks
            if t.worker.task in tasks
            and t.stopped_at is not None
            and t.why is not None
            # What has stopped a moment ago may still be said to run.
            and not (stale and now - t.stopped_at < NOTICED_AFTER)
        }

    def stop(self, task: str, reason: str) -> None:
        self._call("stop task")
        for found in self._ecs.tasks:
            if found.worker.task == task:
                self._ecs.stop(found)

    def _call(self, name: str) -> None:
        self._point(name)
        if self._world.faults.draws("ecsThrottled"):
            raise Throttled(f"ECS {name}: Rate exceeded (simulated)")
