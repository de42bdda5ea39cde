"""A program as a container would run it: a group of its own, and no life after ours."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from controller.local.lifeline import Guard, die_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """What is to be run: in `folder`, with its output appended to `log` (None: nowhere)."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: str | None
    log: Path | None


class ProgramProcess:
    """A running program; like a container, it takes its whole group along when it ends."""

    def __init__(self, process: asyncio.subprocess.Process, guard: Guard) -> None:
        self._process = process
        self._guard = guard

    @classmethod
    async def start(cls, program: Program, guard: Guard) -> Self:
        """Start a program from the event loop's thread; raise OSError or ValueError if it cannot run."""
        if not program.command:
            raise ValueError("the container definition has no command")
        output = (
            subprocess.DEVNULL
            if program.log is None
            else os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=program.folder,
                env=program.environment,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
        finally:
            if output >= 0:
                os.close(output)
        guard.hold(process.pid)
        return cls(process, guard)

    def terminate(self) -> None:
        """Ask the program to end; as in a container, only the first process hears it."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Kill the group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """Wait until the program ended."""
        await self._process.wait()

    async def wait(self) -> int:
        """Wait until the program ended, kill what it left, return its exit code (128 + signal if killed)."""
        status = await self._process.wait()
        self.kill()
        self._guard.release(self._process.pid)
        return status if status >= 0 else 128 - status
