"""Keep the processes of local mode running, and stop them in order."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from controller.local import lifeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

log = structlog.get_logger()
LOOK_EVERY = 0.1
RESTART_FIRST, RESTART_MOST = 0.2, 10.0
STEADY_AFTER = 10.0
"""A child that ran this many seconds begins anew with the shortest wait."""
STOP_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Program:
    """A module to keep running."""

    name: str
    module: str
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    shown: bool = False
    """It speaks to people: its output goes where ours does, not into a log."""


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait: float = RESTART_FIRST
    due: float = 0.0


class Supervisor:
    """Starts children from one lasting thread, restarts them, and takes them along when this process dies."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, _Child] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._stopped = threading.Event()
        self._read, self._write = lifeline.pipe()
        self._guard = lifeline.Guard()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._started = False

    def keep(self, program: Program) -> None:
        """Keep a program running from now on."""
        with self._lock:
            self._children[program.name] = _Child(program)
        if not self._started:
            self._started = True
            self._thread.start()

    def pid(self, name: str) -> int | None:
        """Return the process id of a program, None while it is down."""
        with self._lock:
            child = self._children.get(name)
            return child.process.pid if child and child.process else None

    def stop(self, order: Sequence[Sequence[str]]) -> None:
        """Stop groups of programs one after the other, each by SIGTERM and then, past STOP_WITHIN, by SIGKILL."""
        self._stopping.set()
        if self._started:
            self._idle.wait()
        for group in order:
            self._stop([c for name, c in self._children.items() if name in group])
        self._stop(list(self._children.values()))
        self._stopped.set()
        if self._started:
            self._thread.join()
        os.close(self._write)
        os.close(self._read)
        self._guard.close()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY):
            with self._lock:
                children = list(self._children.values())
            for child in children:
                self._look(child)
        self._idle.set()
        # The kernel kills the children when the thread that started them ends (lifeline.die_with_parent).
        self._stopped.wait()

    def _look(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is not None and child.process.poll() is not None:
            code = child.process.returncode
            self._guard.release(child.process.pid)
            child.wait = RESTART_FIRST if now - child.started > STEADY_AFTER else min(child.wait * 2, RESTART_MOST)
            child.due = now + child.wait
            child.process = None
            log.warning("process ended; starting it again", process=child.program.name, code=code, in_s=child.wait)
        if child.process is None and now >= child.due:
            try:
                self._start(child)
            except OSError as error:
                # No more memory, files or space: this thread must live on, or all children die and nobody can stop us.
                child.wait = min(child.wait * 2, RESTART_MOST)
                child.due = now + child.wait
                log.warning("cannot start; trying again", process=child.program.name, error=str(error), in_s=child.wait)

    def _start(self, child: _Child) -> None:
        program = child.program
        with (self._logs / f"{program.name}.log").open("ab") as log_file:
            output = None if program.shown else log_file
            child.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "controller.local.child",
                    str(self._read),
                    program.module,
                    *program.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**_inherited(), **program.environment},
                pass_fds=(self._read,),
                # Ctrl-C is for us, who stop the children in order.
                start_new_session=True,
            )
        child.started = time.monotonic()
        self._guard.hold(child.process.pid)

    def _stop(self, children: Sequence[_Child]) -> None:
        running = [c.process for c in children if c.process is not None and c.process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_WITHIN
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._guard.release(process.pid)
        for child in children:
            child.process = None


def _inherited() -> dict[str, str]:
    # What people set for the CLI (SETPOINT_URL, SETPOINT_TOKEN) is no setting of the programs.
    return {name: value for name, value in os.environ.items() if not name.startswith("SETPOINT_")}


def until(what: str, holds: Callable[[], bool], seconds: float, log_file: Path | None = None) -> None:
    """Wait until something holds; raise TimeoutError that says where to look."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            hint = f"; see {log_file}" if log_file else ""
            raise TimeoutError(f"{what} not within {seconds:.0f} s{hint}")
        time.sleep(0.05)
