"""The lives of tasks: start, wait, stop."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.local.ecs.model import NO_OVERRIDES, Overrides, Status, StopCode, Task, TaskDefinition
from controller.local.lifeline import Guard
from controller.local.process import Program, ProgramProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from pathlib import Path

    from controller.local.ecs.faults import Faults
    from controller.local.ecs.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Host:
    """What this machine gives every task."""

    url: str
    logs_dir: Path | None
    now: Callable[[], datetime]
    new_id: Callable[[], str]


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
        )
        self._ledger.add(task)
        self._lives[task.id] = asyncio.create_task(self._live(task.id))
        return task

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
        return await process.wait()

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
        command = task.overrides.command or container.command
        log = None
        if self._host.logs_dir is not None:
            log = self._host.logs_dir / f"{task.service or task.definition.family}-{task.id}.log"
        return Program(
            command=(*container.entry_point, *command),
            environment={
                **os.environ,
                **{pair.name: pair.value for pair in container.environment},
                **task.overrides.environment,
                "ECS_AGENT_URI": f"{self._host.url}/api/{task.id}",
                "ECS_CONTAINER_METADATA_URI_V4": f"{self._host.url}/v4/{task.id}",
            },
            folder=container.working_directory,
            log=log,
        )


async def _terminate(process: ProgramProcess, patience: timedelta) -> None:
    process.terminate()
    try:
        await asyncio.wait_for(process.ended(), patience.total_seconds())
    except TimeoutError:
        process.kill()
