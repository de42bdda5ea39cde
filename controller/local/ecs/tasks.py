"""The lives of tasks: start, wait, stop."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from controller.local.ecs.model import NO_OVERRIDES, Health, Overrides, Status, StopCode, Task, TaskDefinition
from controller.local.lifeline import Guard
from controller.local.process import Program, ProgramProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from controller.local.ecs.faults import Faults
    from controller.local.ecs.ledger import Ledger

_FIRST_LOOKS = 1.0
"""Seconds between looks until the first that passes."""
_BOUND_BY = frozenset({"SETPOINT_HOST", "SETPOINT_METRICS_HOST"})
"""The variables that say where a program listens."""
_ADDRESSES = 250 * 250


@dataclass(frozen=True, slots=True)
class Host:
    """What this machine gives every task."""

    url: str
    logs_dir: Path | None
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    environment: Path | None = None
    """JSON: {"*" or a family: {name: value}}, what tasks get beside or instead of their definition's variables."""
    addresses: bool = False
    """Whether each task has an address of its own, as on AWS; of the loopback range, so on Linux alone."""

    def variables(self, task: Task) -> dict[str, str]:
        """Return the variables that a task gets from this machine."""
        found: dict[str, str] = {}
        if self.environment is not None:
            known = msgspec.json.decode(self.environment.read_bytes(), type=dict[str, dict[str, str]])
            found = {**known.get("*", {}), **known.get(task.definition.family, {})}
        if task.address is not None:
            names = {pair.name for pair in task.definition.container.environment}
            found |= dict.fromkeys(_BOUND_BY & names, task.address)
        return found


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to be started."""

    cluster: str
    definition: TaskDefinition
    overrides: Overrides = NO_OVERRIDES
    service: str | None = None
    started_by: str | None = None
    group: str | None = None


class Tasks:
    """Starts and stops tasks and records what becomes of them."""

    def __init__(self, host: Host, ledger: Ledger, faults: Faults) -> None:
        self._host = host
        self._ledger = ledger
        self._faults = faults
        self._guard = Guard()
        self._processes: dict[str, ProgramProcess] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._stops: set[asyncio.Task[None]] = set()
        self._launched = 0

    def launch(self, launch: Launch) -> Task:
        """Record a new task, which starts in a moment."""
        task = Task(
            id=self._host.new_id(),
            cluster=launch.cluster,
            definition=launch.definition,
            created_at=self._host.now(),
            overrides=launch.overrides,
            service=launch.service,
            started_by=launch.started_by,
            group=launch.group or f"family:{launch.definition.family}",
            address=self._address() if self._host.addresses else None,
        )
        self._ledger.add(task)
        self._lives[task.id] = asyncio.create_task(self._live(task.id))
        return task

    def _address(self) -> str:
        self._launched += 1
        third, fourth = divmod(self._launched % _ADDRESSES, 250)
        return f"127.77.{third}.{fourth + 1}"

    def stop(self, task_id: str, code: StopCode, reason: str) -> Task:
        """Ask a task to stop; only the first who asks is remembered."""
        task = self._ledger.get(task_id)
        if not task.wanted:
            return task
        running = task_id in self._processes
        task = self._ledger.change(
            task_id,
            wanted=False,
            status=Status.STOPPING if running else task.status,
            stopping_at=self._host.now(),
            stop_code=code,
            stopped_reason=reason,
        )
        if running:
            self._end(self._processes[task_id], task.stop_timeout)
        return task

    def exhaust_memory(self, task_id: str) -> None:
        """Kill a task as the kernel does when its memory is used up."""
        self._ledger.change(task_id, container_reason="OutOfMemoryError: Container killed due to memory usage")
        if process := self._processes.get(task_id):
            process.kill()

    def kill(self, task_id: str) -> None:
        """Kill a task's processes, as `kill -9` does from within."""
        self._ledger.get(task_id)
        if process := self._processes.get(task_id):
            process.kill()

    def protect(self, task_id: str, until: datetime | None) -> Task:
        """Protect a task from scale-in until then, or no more."""
        return self._ledger.change(task_id, protected_until=until)

    async def close(self, grace: timedelta) -> None:
        """Stop every task, killing after the shorter of its stop timeout and the grace."""
        for task in self._ledger.unfinished():
            self.stop(task.id, StopCode.USER, "the local ECS stops")
        if self._lives:
            await asyncio.wait(self._lives.values(), timeout=grace.total_seconds())
        for process in self._processes.values():
            process.kill()
        if self._lives:
            await asyncio.wait(self._lives.values())
        self._guard.close()

    async def _live(self, task_id: str) -> None:
        try:
            exit_code = await self._run(task_id)
            self._record_end(task_id, exit_code)
        finally:
            self._processes.pop(task_id, None)
            self._lives.pop(task_id, None)

    async def _run(self, task_id: str) -> int | None:
        """Run a task to its end; return no exit code if it never started."""
        # The caller first gets an answer in which the task is still pending.
        await asyncio.sleep(0)
        task = self._ledger.get(task_id)
        if not task.wanted:
            return None
        if self._faults.start_fails():
            self._fail_to_start(task, "CannotPullContainerError: ordered by a test")
            return None
        try:
            process = await ProgramProcess.start(self._program(task), self._guard)
        except (OSError, ValueError) as error:
            self._fail_to_start(task, f"CannotStartContainerError: {error}")
            return None
        self._processes[task_id] = process
        task = self._ledger.change(task_id, status=Status.RUNNING, started_at=self._host.now())
        if not task.wanted:
            self._ledger.change(task_id, status=Status.STOPPING)
            self._end(process, task.stop_timeout)
        checking = asyncio.create_task(self._check(task_id))
        try:
            return await process.wait()
        finally:
            checking.cancel()

    async def _check(self, task_id: str) -> None:
        """Ask a container's health check again and again; a task that fails it is stopped."""
        task = self._ledger.get(task_id)
        check = task.definition.container.health_check
        if check is None:
            return
        program = replace(self._program(task), command=_ours(check.arguments))
        failed, grace_ends = 0, self._host.now() + timedelta(seconds=check.start_period)
        while True:
            passed = await _passes(program, self._guard, check.timeout)
            # ECS waits for the first look, too; here a task that works is known to work as soon as it does.
            if passed:
                failed = 0
                self._ledger.change(task_id, health=Health.HEALTHY)
            elif self._host.now() >= grace_ends:
                failed += 1
            if failed >= check.retries:
                task = self._ledger.change(task_id, health=Health.UNHEALTHY)
                # A task that was run by hand goes on regardless:
                # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
                if task.service is not None:
                    self.stop(task_id, StopCode.SERVICE, "Task failed container health checks")
                    return
            waits = self._ledger.get(task_id).health is Health.UNKNOWN
            await asyncio.sleep(min(check.interval, _FIRST_LOOKS) if waits else check.interval)

    def _fail_to_start(self, task: Task, reason: str) -> None:
        self._ledger.change(task.id, stop_code=StopCode.FAILED_TO_START, stopped_reason=reason)

    def _record_end(self, task_id: str, exit_code: int | None) -> None:
        task = self._ledger.get(task_id)
        now = self._host.now()
        self._ledger.change(
            task_id,
            status=Status.STOPPED,
            wanted=False,
            stopping_at=task.stopping_at or now,
            stopped_at=now,
            stop_code=task.stop_code or StopCode.EXITED,
            stopped_reason=task.stopped_reason or "Essential container in task exited",
            exit_code=exit_code,
            protected_until=None,
        )

    def _end(self, process: ProgramProcess, timeout: timedelta) -> None:
        ending = asyncio.create_task(_terminate(process, timeout))
        self._stops.add(ending)
        ending.add_done_callback(self._stops.discard)

    def _program(self, task: Task) -> Program:
        container = task.definition.container
        command = _ours((*container.entry_point, *(task.overrides.command or container.command)))
        log = None
        if self._host.logs_dir is not None:
            log = self._host.logs_dir / f"{task.service or task.definition.family}-{task.id}.log"
        return Program(
            command=command,
            environment={
                **os.environ,
                **{pair.name: pair.value for pair in container.environment},
                **self._host.variables(task),
                **task.overrides.environment,
                "ECS_AGENT_URI": f"{self._host.url}/api/{task.id}",
                "ECS_CONTAINER_METADATA_URI_V4": f"{self._host.url}/v4/{task.id}",
            },
            folder=container.working_directory,
            log=log,
        )


def _ours(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command that runs `python` with this interpreter, which has our packages as an image has them."""
    if command and command[0] == "python":
        return (sys.executable, *command[1:])
    return tuple(command)


async def _passes(program: Program, guard: Guard, seconds: float) -> bool:
    try:
        process = await ProgramProcess.start(program, guard)
    except (OSError, ValueError):
        return False
    try:
        return await asyncio.wait_for(process.wait(), seconds) == 0
    except (TimeoutError, asyncio.CancelledError) as error:
        process.kill()
        await process.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
        return False


async def _terminate(process: ProgramProcess, patience: timedelta) -> None:
    process.terminate()
    try:
        await asyncio.wait_for(process.ended(), patience.total_seconds())
    except TimeoutError:
        process.kill()
