"""The user code of the chaos DAGs; copied beside each of them, with another EDITION at each edit."""

from __future__ import annotations

import json
import os
import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.context import Context

EDITION = 0


def work(ctx: Context) -> dict[str, Any]:
    """Note the start, write rows *before* the end is known, take some time, write the rest, note the end."""
    _note(ctx, "begins")
    fields = {"run": ctx.run.run, "task": ctx.run.task, "attempt": ctx.run.attempt}
    if ctx.args["hot"]:
        saw = " ".join(sorted(ctx.inputs[alias] for alias in ctx.inputs))
        ctx.write("effects", [{**fields, "edition": ctx.args["edition"], "code": EDITION, "saw": saw}])
        ctx.write("marks", [fields])
    readings = [{**fields, "part": value % 2, "value": value} for value in range(ctx.args["readings"])]
    if readings:
        ctx.write("readings", readings[::2])
    time.sleep(random.uniform(*ctx.args["seconds"]))
    if readings:
        ctx.write("readings", readings[1::2])
    _note(ctx, "ends")
    return {"attempt": ctx.run.attempt}


def _note(ctx: Context, what: str) -> None:
    """Append a line to the journal, in one write, so that nobody's line falls into another's."""
    line = json.dumps({"what": what, "attempt": ctx.run.attempt, "pid": os.getpid(), "at": time.time()})
    journal = os.open(ctx.args["journal"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(journal, f"{line}\n".encode())
    finally:
        os.close(journal)
