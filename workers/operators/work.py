"""One attempt as the operators see it: its task, its inputs, its outputs, its context."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from crds.dag import Task
from crds.reasons import Reason
from workers.context import Context
from workers.data.hot import HotData
from workers.data.inputs import Inputs
from workers.data.outputs import Outputs
from workers.task import Services, TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crds.protocol import Grant

_TASK: TypeAdapter[Task] = TypeAdapter(Task)


@dataclass(frozen=True, slots=True)
class Work:
    """What an operator works with."""

    grant: Grant
    task: Task
    services: Services
    inputs: Inputs
    outputs: Outputs
    context: Context


@contextmanager
def open_work(grant: Grant, services: Services) -> Iterator[Work]:
    """Open one attempt's work; its database connection, if it needs one, lives as long."""
    task = _task(grant)
    hot = HotData(services.hot, grant.attempt, grant.token, services.hot_auth)
    try:
        inputs = Inputs(grant, services, hot)
        outputs = Outputs(grant, services, hot)
        yield Work(grant, task, services, inputs, outputs, Context(grant, task, services, inputs, outputs))
    finally:
        hot.close()


def _task(grant: Grant) -> Task:
    try:
        # Leniently: a newer controller may know fields that this worker does not.
        return _TASK.validate_python(grant.task, extra="ignore")
    except ValidationError as error:
        raise TaskFailed(
            "UnknownTask", f"this worker cannot read the task's spec: {error}", Reason.INFRASTRUCTURE_ERROR
        ) from error
