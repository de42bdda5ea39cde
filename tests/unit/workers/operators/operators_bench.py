"""A bench for single tasks without a database: cold datasets, JSON values, a bundle folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import obstore.store
import polars as pl

from crds.names import AttemptId
from crds.protocol import ColdFile, DatasetRef, Grant, TaskInput
from workers import operators
from workers.task import Services

if TYPE_CHECKING:
    from pathlib import Path

    from workers.task import Result

ATTEMPT = AttemptId("run/work/0/1")


@dataclass
class Bench:
    """Runs single tasks in this process."""

    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)
    progress: list[tuple[int, str]] = field(default_factory=list)
    runs: int = 0

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    def module(self, name: str, text: str) -> None:
        """Write a module of the bundle; a fresh one each time, as in a fresh child."""
        self.bundle.mkdir(exist_ok=True)
        (self.bundle / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)

    def services(self) -> Services:
        self.runs += 1
        workdir = self.folder / f"work-{self.runs}"
        workdir.mkdir()
        return Services(
            objects=obstore.store.from_url(f"file://{self.objects}", mkdir=True),
            objects_url=f"file://{self.objects}",
            hot=None,
            secrets=self.secrets.__getitem__,
            bundle=self.bundle,
            workdir=workdir,
            progress=lambda rows, message: self.progress.append((rows, message)),
        )

    def run(self, task: dict[str, Any], **grant: Any) -> Result:
        return operators.run(self.grant(task, **grant), self.services())

    def grant(self, task: dict[str, Any], *, inputs: dict[str, Any] | None = None, **more: Any) -> Grant:
        given = {
            alias: TaskInput(dataset=v) if isinstance(v, DatasetRef) else TaskInput(value=v)
            for alias, v in (inputs or {}).items()
        }
        return Grant(
            attempt=more.pop("attempt", ATTEMPT),
            token="token",
            task={"name": "work", **task},
            dag="example",
            run="example-1",
            namespace="default",
            number=1,
            timeout_seconds=60.0,
            inputs=given,
            **more,
        )

    def stored(self, ref: DatasetRef, result: Result) -> DatasetRef:
        """Return the dataset as it is after the result's writes."""
        files = [ColdFile(f.key, f.partition, f.rows, f.bytes) for f in result.writes[0].files]
        return DatasetRef(name=ref.name, uid=ref.uid, spec=ref.spec, files=files)

    def frame(self, result: Result) -> pl.DataFrame:
        """Return all rows that a result wrote."""
        paths = [self.objects / f.key for f in result.writes[0].files]
        return pl.read_parquet(paths, hive_partitioning=False) if paths else pl.DataFrame()


def cold(columns: dict[str, str], *, name: str = "archive", required: tuple[str, ...] = (), **spec: Any) -> DatasetRef:
    """Return a cold dataset to append to; `columns`: name → type."""
    declared = [{"name": n, "type": t, "nullable": n not in required} for n, t in columns.items()]
    return DatasetRef(name=name, uid=f"ds-{name}", spec={"tier": "cold", "columns": declared, **spec}, mode="append")
