"""The ingest runtime: rows from outside into one dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.operators.ingest import files_source, function_source, http_source, postgres_source
from workers.operators.ingest.template import redact
from workers.task import StaleFence, TaskFailed

if TYPE_CHECKING:
    from crds.dag import IngestTask
    from workers.operators.work import Work


def run(work: Work, task: IngestTask) -> None:
    """Read the task's source into its output; errors tell no secret."""
    try:
        _read(work, task)
    except StaleFence:
        raise
    except TaskFailed as failure:
        raise TaskFailed(failure.kind, redact(str(failure), work.context), failure.reason) from None
    except Exception as error:
        safe = redact(str(error), work.context)
        if safe == str(error):
            raise
        raise TaskFailed(type(error).__name__, safe) from None


def _read(work: Work, task: IngestTask) -> None:
    alias = work.outputs.only()
    source = task.with_
    if source.http is not None:
        http_source.read(work, source.http, alias)
    elif source.files is not None:
        files_source.read(work, source.files, alias)
    elif source.postgres is not None:
        postgres_source.read(work, source.postgres, alias)
    elif source.function is not None:
        function_source.read(work, source.function, alias)
    if alias in work.outputs.rows:
        work.context.outputs.setdefault("rows", work.outputs.rows[alias])
