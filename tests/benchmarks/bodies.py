"""The functions that the benchmarks' DAGs run; copied beside each of them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.context import Context

# A gate that is never opened holds nothing up for ever.
GATE_SECONDS = 600.0


def noop(ctx: Context) -> dict[str, Any]:
    """Do nothing, and tell when."""
    del ctx
    began = time.time()
    return {"began": began, "ended": time.time()}


def fib(ctx: Context) -> dict[str, Any]:
    """Compute a Fibonacci number the slow way, and tell when."""
    began = time.time()
    value = _fib(ctx.args["n"])
    return {"began": began, "ended": time.time(), "value": value}


def gate(ctx: Context) -> None:
    """Tell which process runs which attempt since when; the first attempt then waits until a file appears."""
    began = time.time()
    folder = Path(ctx.params["folder"])
    note = folder / f"{ctx.run.number}.new"
    note.write_text(f"{os.getpid()} {began}")
    note.rename(note.with_suffix(".begun"))
    deadline = time.monotonic() + GATE_SECONDS
    while ctx.run.number == 1 and not (folder / "open").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _fib(n: int) -> int:
    return n if n < 2 else _fib(n - 1) + _fib(n - 2)
