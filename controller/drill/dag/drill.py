"""What the tasks of a drill run: each sleeps and returns its number; the last returns the numbers that it was given."""

# ruff: noqa: INP001 - the folder of a DAG is no package
from __future__ import annotations

import time
from typing import Any

AGAIN_SECONDS = 1.0
"""How long a task sleeps once it is tried again."""


def count(ctx: Any) -> dict[str, Any]:
    """Say that this attempt has begun, sleep, and return the number."""
    ctx.logger.info("drill began %s", ctx.run.attempt)
    time.sleep(float(ctx.args["seconds"]) if ctx.run.number == 1 else AGAIN_SECONDS)
    return {"number": ctx.args["number"]}


def total(ctx: Any) -> dict[str, Any]:
    """Return all numbers that came from the tasks above."""
    ctx.logger.info("drill began %s", ctx.run.attempt)
    return {"numbers": sorted(ctx.inputs[name] for name in ctx.inputs)}
