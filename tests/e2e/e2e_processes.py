"""The processes of a whole system, as the operating system knows them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MODULES = {
    "postgres": "controller.local.postgres",
    "sqs": "controller.local.sqs",
    "ecs": "controller.local.ecs",
    "dispatcher": "controller.main",
    "examples": "controller.local.examples",
    "apply": "controller.cli.main",
}
"""The programs that `up` keeps running, and their modules."""


def program(up: int, name: str) -> psutil.Process | None:
    """Return one of the programs that `up` keeps running."""
    with suppress(psutil.Error):
        return next((p for p in psutil.Process(up).children() if MODULES[name] in _command(p)), None)
    return None


def workers(up: int, pool: str) -> list[psutil.Process]:
    """Return the worker processes of a pool."""
    with suppress(psutil.Error):
        tree = psutil.Process(up).children(recursive=True)
        return [
            p for p in tree if _command(p)[1:] == ["-m", "workers"] and _environment(p).get("SETPOINT_POOL") == pool
        ]
    return []


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it started, and they in turn."""
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def marked(folder: Path) -> list[psutil.Process]:
    """Return the processes that work with a folder: their command, working folder or TMPDIR lies in it."""
    return [p for p in psutil.process_iter() if _works_with(p, str(folder))]


def still_alive(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return those that have not ended in time; a zombie has ended."""
    _, alive = psutil.wait_procs(list(processes), timeout=seconds)
    return [p for p in alive if _status(p) not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}]


def _works_with(process: psutil.Process, folder: str) -> bool:
    if _status(process) in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
        return False
    return any(folder in text for text in (*_command(process), _environment(process).get("TMPDIR", "")))


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def _environment(process: psutil.Process) -> dict[str, str]:
    with suppress(psutil.Error):
        return process.environ()
    return {}


def _status(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.status())
    return str(psutil.STATUS_DEAD)
