"""What user functions see: `def main(ctx: Context)`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
import polars as pl

from crds.names import AttemptId, artifact_key
from crds.traces import attempt_trace
from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from crds.dag import Task
    from crds.protocol import Grant
    from workers.data.frames import Frame, Row
    from workers.data.inputs import Inputs
    from workers.data.outputs import Outputs
    from workers.task import Services

MAX_ARTIFACT_NAME = 200


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Which attempt of which task runs. `tick`: the schedule's time, None if people triggered the run."""

    dag: str
    run: str
    task: str
    namespace: str
    attempt: str
    number: int
    tick: datetime | None
    trace: str
    """The id of the run's trace, 32 hexadecimal digits."""


class Secrets(Mapping[str, str]):
    """The task's secrets by alias, fetched when they are first used and never printed."""

    def __init__(self, references: Mapping[str, str], fetch: Callable[[str], str]) -> None:
        self._references = references
        self._fetch = fetch
        self._values: dict[str, str] = {}

    def __getitem__(self, alias: str) -> str:
        if alias not in self._references:
            known = ", ".join(self._references) or "none"
            raise TaskFailed("UnknownSecret", f"{alias!r} is no secret of this task; it declares {known}")
        if alias not in self._values:
            self._values[alias] = self._fetch(self._references[alias])
        return self._values[alias]

    def __iter__(self) -> Iterator[str]:
        return iter(self._references)

    def __len__(self) -> int:
        return len(self._references)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._references)})"

    def fetched(self) -> tuple[str, ...]:
        """Return the values fetched so far, which no message may hold."""
        return tuple(self._values.values())


class Context:
    """One attempt, as user code sees it.

    `params`: the run's parameters. `args`: the task's `with.args`. `inputs`: by alias, a LazyFrame for a
    dataset, a JSON value for a task. `outputs`: JSON values for downstream tasks, together with what the
    function returns. `upstream`: the phase of each upstream task. `bookmark`: what the last success left
    here, None at first; set it to leave something for the next run.
    """

    def __init__(self, grant: Grant, task: Task, services: Services, inputs: Inputs, written: Outputs) -> None:
        self.params: dict[str, Any] = dict(grant.params)
        self.args: dict[str, Any] = dict(task.with_.args)
        self.inputs: Mapping[str, Any] = inputs
        self.secrets = Secrets(task.secrets, services.secrets)
        self.outputs: dict[str, Any] = {}
        self.upstream: dict[str, str] = dict(grant.upstream)
        self.bookmark: Any = grant.bookmark
        self.run = RunInfo(
            dag=grant.dag,
            run=grant.run,
            task=task.name,
            namespace=grant.namespace,
            attempt=grant.attempt,
            number=grant.number,
            tick=None if grant.tick is None else datetime.fromisoformat(grant.tick),
            trace=attempt_trace(grant.attempt),
        )
        self.logger = logging.getLogger(f"{grant.dag}.{task.name}")
        self._services = services
        self._written = written

    def write(self, alias: str, rows: Frame | Iterable[Row]) -> int:
        """Add rows to the output `alias` and return how many; nothing is visible before the task succeeds."""
        if isinstance(rows, pl.LazyFrame | pl.DataFrame):
            return self._written.write(alias, rows)
        return self._written.write_rows(alias, rows)

    def artifact(self, name: str, data: bytes | str | Path, content_type: str = "application/octet-stream") -> str:
        """Keep a file (a chart, a report) with the run, name it in the outputs, and return its object key."""
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or len(name) > MAX_ARTIFACT_NAME:
            raise TaskFailed("BadArtifactName", f"{name!r} is no relative name of at most {MAX_ARTIFACT_NAME} letters")
        body = data.encode() if isinstance(data, str) else data
        size = body.stat().st_size if isinstance(body, Path) else len(body)
        key = artifact_key(AttemptId(self.run.attempt), path.as_posix())
        # A folder keeps no content types.
        attributes = {"Content-Type": content_type} if self._services.objects_url.startswith("s3://") else None
        obstore.put(self._services.objects, key, body, attributes=attributes)
        self.outputs[name] = {"artifact": key, "bytes": size, "contentType": content_type}
        return key

    def progress(self, rows: int = 0, message: str = "") -> None:
        """Tell people how far the task is."""
        self._services.progress(int(rows), str(message))
