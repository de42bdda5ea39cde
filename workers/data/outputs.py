"""The outputs of an attempt: batches go in by alias, one commit makes all of them visible."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from crds.dataset import Column, Tier
from workers.data.cold import ColdFiles
from workers.data.frames import Frame, Row, batches, row_batches
from workers.data.schema import check_names, dataset_spec
from workers.data.values import check_bookmark, check_json, spill
from workers.task import Result, TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import polars as pl

    from crds.protocol import DatasetRef, Grant
    from workers.data.hot import HotData, HotStage
    from workers.task import Services

PROGRESS_SECONDS = 1.0


class Outputs:
    """What one attempt writes. Nothing of it is visible before `commit`."""

    def __init__(self, grant: Grant, services: Services, hot: HotData) -> None:
        self._grant = grant
        self._services = services
        self._hot = hot
        self._sinks: dict[str, HotStage | ColdFiles] = {}
        self._unfinished: set[str] = set()
        self._told = time.monotonic()
        self.rows: dict[str, int] = {}

    def only(self) -> str:
        """Return the alias of the task's one output."""
        if len(self._grant.outputs) != 1:
            raise TaskFailed(
                "OutputUnclear",
                f"the task has {len(self._grant.outputs)} outputs; return a dict that names each "
                f"({', '.join(self._grant.outputs) or 'declare one under outputs'})",
            )
        return next(iter(self._grant.outputs))

    def columns(self, alias: str) -> tuple[Column, ...]:
        """Return the columns of an output's dataset."""
        return dataset_spec(self.ref(alias)).columns

    def ref(self, alias: str) -> DatasetRef:
        """Return an output's dataset."""
        if alias not in self._grant.outputs:
            known = ", ".join(self._grant.outputs) or "none"
            raise TaskFailed("UnknownOutput", f"{alias!r} is no output of this task; it has {known}")
        return self._grant.outputs[alias]

    def write(self, alias: str, frame: Frame) -> int:
        """Append the rows of a frame with exactly the dataset's columns, and return how many there are."""
        check_names(frame.collect_schema().names(), self.columns(alias), self.ref(alias).name)
        return self.append(alias, batches(frame))

    def write_rows(self, alias: str, rows: Iterable[Row]) -> int:
        """Append rows, whose keys must be columns of the dataset, and return how many there are."""
        columns, dataset = self.columns(alias), self.ref(alias).name
        return self.append(alias, row_batches(_known(rows, columns, dataset), columns, dataset))

    def append(self, alias: str, frames: Iterable[pl.DataFrame], *, extra: bool = False) -> int:
        """Append batches and return their rows; `extra`: columns that the dataset lacks are left out."""
        # Stays in place if anything goes wrong, also if user code goes on regardless.
        self._unfinished.add(alias)
        sink = self._sink(alias)
        rows = 0
        for frame in frames:
            rows += sink.write(frame, extra=extra)
            self.rows[alias] = self.rows.get(alias, 0) + frame.height
            self._tell()
        self._unfinished.discard(alias)
        return rows

    def commit(self, outputs: dict[str, Any], bookmark: Any) -> Result:
        """Finish every output: uploads first, then, if hot rows are among them, one commit of all."""
        # What may still be refused comes before what costs time.
        if self._unfinished:
            raise TaskFailed(
                "OutputIncomplete",
                f"writing {', '.join(sorted(self._unfinished))} broke off before all rows were in, so the task fails",
            )
        bookmark = check_bookmark(bookmark)
        values = spill(check_json(outputs), self._grant.attempt, self._services.objects)
        sinks = sorted(self._sinks.items(), key=lambda item: isinstance(item[1], ColdFiles))
        writes = [sink.finish() for _, sink in sinks]
        metrics = {"rows_written": float(sum(write.rows for write in writes))}
        hot = any(write.stage is not None for write in writes)
        if hot:
            self._hot.commit(values, bookmark, writes)
        return Result(values, writes=[] if hot else writes, bookmark=bookmark, metrics=metrics, committed=hot)

    def _sink(self, alias: str) -> HotStage | ColdFiles:
        if alias not in self._sinks:
            ref = self.ref(alias)
            self.rows.setdefault(alias, 0)
            if dataset_spec(ref).tier is Tier.HOT:
                self._sinks[alias] = self._hot.stage(ref)
            else:
                spool = self._services.workdir / f"output-{alias}"
                self._sinks[alias] = ColdFiles(ref, self._grant.attempt, self._services.objects, spool)
        return self._sinks[alias]

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self._services.progress(sum(self.rows.values()), "writing")


def _known(rows: Iterable[Row], columns: Sequence[Column], dataset: str) -> Iterator[Row]:
    declared = {column.name for column in columns}
    for row in rows:
        if isinstance(row, dict) and not row.keys() <= declared:
            check_names(list(declared | row.keys()), columns, dataset)
        yield row
