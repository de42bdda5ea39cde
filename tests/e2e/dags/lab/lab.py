"""The functions that the tests' DAGs run."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.context import Context

# Long enough for any test; a gate that is never opened holds nothing up for ever.
GATE_SECONDS = 300.0
READINGS = 1_000


def mark(ctx: Context) -> None:
    """Add the row that tells that this task took effect."""
    ctx.write("out", [{"run": ctx.run.run, "task": ctx.run.task, "attempt": ctx.run.number}])


def gate(ctx: Context) -> None:
    """Add the row first and wait then: nothing of it may be seen unless this attempt comes to its end."""
    mark(ctx)
    _pass_gate(ctx)


def gate_first(ctx: Context) -> None:
    """Wait first and add the row then."""
    _pass_gate(ctx)
    mark(ctx)


def measure(ctx: Context) -> None:
    """Write Parquet files, half of them on either side of the gate."""
    rows = [{"run": ctx.run.run, "attempt": ctx.run.number, "value": n} for n in range(READINGS)]
    ctx.write("out", rows[::2])
    _pass_gate(ctx)
    ctx.write("out", rows[1::2])


def need_repair(ctx: Context) -> None:
    """Fail unless somebody has repaired what is broken."""
    if not (Path(ctx.params["gate"]) / "repaired").exists():
        raise LookupError("still broken")
    mark(ctx)


def third_time(ctx: Context) -> None:
    """Fail twice, each time with rows written."""
    mark(ctx)
    if ctx.run.number < 3:
        raise ConnectionError(f"attempt {ctx.run.number} is too early")


def forever(ctx: Context) -> None:
    """Never end."""
    mark(ctx)
    while True:
        time.sleep(0.05)


def forever_deaf(ctx: Context) -> None:
    """Never end, and do not listen."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    forever(ctx)


def speak(ctx: Context) -> None:
    """Say something on every channel, on both sides of the gate."""
    sys.stdout.write("out before the gate\n")
    sys.stdout.flush()
    ctx.logger.info("logged before the gate")
    _pass_gate(ctx)
    sys.stderr.write("err behind the gate\n")


def leak(ctx: Context) -> dict[str, Any]:
    """Print the secret, log it, fail with it, run a program with it."""
    password = ctx.secrets["password"]
    sys.stdout.write(f"password={password}\n")
    sys.stderr.write(f"{password[:5]}")
    sys.stderr.write(f"{password[5:]}\n")
    logging.getLogger("lab").warning("the password is %s", password)
    ctx.progress(1, f"trying {password}")
    mark(ctx)
    if ctx.run.number == 1:
        raise PermissionError(f"{password} was refused")
    return {"length": len(password)}


def _pass_gate(ctx: Context) -> None:
    """Tell that this attempt runs, and by which process; the first one waits until the gate is open."""
    folder = Path(ctx.params["gate"])
    note = folder / f"{ctx.run.task}.{ctx.run.number}.new"
    note.write_text(str(os.getpid()))
    note.rename(note.with_suffix(".started"))
    deadline = time.monotonic() + GATE_SECONDS
    while ctx.run.number == 1 and not (folder / "open").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    note.with_suffix(".passed").touch()
