"""What tasks do, by runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from crds.dag import IngestTask, LambdaTask, PolarsTask, PythonTask
from workers.operators import ingest, polars, python
from workers.operators.work import open_work

if TYPE_CHECKING:
    from crds.protocol import Grant
    from workers.task import Result, Services


def run(grant: Grant, services: Services) -> Result:
    """Do one attempt's work and commit it; raise what user code raised, TaskFailed or StaleFence."""
    services.step("inputs")
    with open_work(grant, services) as work:
        services.step("work")
        match work.task:
            case PolarsTask():
                polars.run(work, work.task)
            case PythonTask() | LambdaTask():
                python.run(work, work.task)
            case IngestTask():
                ingest.run(work, work.task)
            case _:
                assert_never(work.task)
        services.step("commit")
        return work.outputs.commit(work.context.outputs, work.context.bookmark)
