"""The python runtime: a function of the bundle, called with the task's context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.operators.entrypoint import call, load

if TYPE_CHECKING:
    from crds.dag import LambdaTask, PythonTask
    from workers.operators.work import Work


def run(work: Work, task: PythonTask | LambdaTask) -> None:
    """Call the entrypoint; a returned dict joins the outputs, any other value becomes the output `result`."""
    context = work.context
    function = load(task.with_.entrypoint, work.services.bundle)
    result: Any = call(function, {"ctx": context, "params": context.params, **context.args}, {})
    if isinstance(result, dict):
        context.outputs.update(result)
    elif result is not None:
        context.outputs["result"] = result
