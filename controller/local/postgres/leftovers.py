"""Clear a data folder of the server that an earlier life left in it."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path

import psutil

_STOP_STEPS = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 6.0), (signal.SIGKILL, 5.0))


def stop_leftovers(database_dir: Path) -> None:
    """Stop whatever Postgres still works in the folder and remove its pid file.

    Postgres itself refuses to start while *any* process has the pid in a stale file, and while backends
    of a killed postmaster hold its shared memory.
    """
    pid_file = database_dir / "postmaster.pid"
    if not pid_file.exists():
        return
    for signum, seconds in _STOP_STEPS:
        found = _processes_in(database_dir)
        if not found:
            break
        for process in found:
            with suppress(psutil.Error):
                process.send_signal(signum)
        psutil.wait_procs(found, timeout=seconds)
    pid_file.unlink(missing_ok=True)


def _processes_in(database_dir: Path) -> list[psutil.Process]:
    # Every Postgres process works in its data folder, so the folder tells ours from a stranger's.
    return [process for process in psutil.process_iter() if _works_in(process, database_dir.resolve())]


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name().startswith("postgres") and Path(process.cwd()) == folder
    except (psutil.Error, OSError):
        return False
