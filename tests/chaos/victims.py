"""What can be killed or frozen: the processes of a system, found anew each time."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
from e2e_processes import family, program, workers

from tests.chaos.workload import POOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e_system import Up

_CHILD = ["-P", "-m", "workers.child"]
_BACKENDS = ("postgres: setpoint_",)


def programs(name: str) -> Callable[[Up], list[psutil.Process]]:
    """Return what finds a program that `up` keeps running."""
    return lambda up: [found] if (found := program(up.pid, name)) else []


def pool(up: Up) -> list[psutil.Process]:
    """Return the worker processes."""
    return workers(up.pid, POOL)


def children(up: Up) -> list[psutil.Process]:
    """Return the processes that run user code, or wait to."""
    return [p for worker in pool(up) for p in family(worker.pid) if _command(p)[1:4] == _CHILD]


def postgres(up: Up) -> list[psutil.Process]:
    """Return Postgres and the program around it: all of it that runs."""
    launcher = program(up.pid, "postgres")
    return family(launcher.pid) if launcher else []


def postmaster(up: Up) -> list[psutil.Process]:
    """Return Postgres's own first process."""
    return [p for p in postgres(up) if _command(p)[:1] and _command(p)[0].endswith("/postgres")]


def backends(up: Up) -> list[psutil.Process]:
    """Return the processes that serve the system's connections."""
    return [p for p in postgres(up) if " ".join(_command(p)).startswith(_BACKENDS)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that run, or are frozen."""
    return [p for p in processes if p.is_running() and _status(p) != psutil.STATUS_ZOMBIE]


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def _status(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.status())
    return str(psutil.STATUS_ZOMBIE)
