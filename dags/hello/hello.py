"""The two functions that the DAG `hello` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.context import Context


def greet(ctx: Context) -> dict[str, Any]:
    """Return a greeting; what a task returns, the tasks after it may read."""
    return {"greeting": f"Hello, {ctx.params['name']}"}


def shout(ctx: Context) -> dict[str, Any]:
    """Print the greeting loudly; `setpoint logs` shows it."""
    text = f"{ctx.inputs['greeting'].upper()}!"
    print(text)
    return {"shouted": text}
