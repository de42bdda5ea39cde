"""Turn what tasks produce (frames, rows) into batches of bounded size."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import polars as pl

from crds.dataset import Column, ColumnType
from workers.data.schema import DTYPES
from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BATCH_ROWS = 100_000

Frame = pl.LazyFrame | pl.DataFrame
Row = dict[str, Any]


def batches(frame: Frame) -> Iterator[pl.DataFrame]:
    """Yield the rows in order, at most BATCH_ROWS at a time and at least one batch; lazy plans stream."""
    if isinstance(frame, pl.DataFrame):
        yield from frame.iter_slices(BATCH_ROWS) if frame.height else [frame]
        return
    empty = True
    for batch in frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, engine="streaming"):
        empty = False
        yield batch
    if empty:
        yield pl.DataFrame(schema=frame.collect_schema())


def row_batches(rows: Iterable[Row], columns: Sequence[Column], dataset: str) -> Iterator[pl.DataFrame]:
    """Yield frames of dict rows; a key that a row lacks is a null."""
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH_ROWS)):
        yield rows_frame(batch, columns, dataset)


def rows_frame(rows: Sequence[Row], columns: Sequence[Column], dataset: str) -> pl.DataFrame:
    """Return dict rows as a frame of the declared columns; keys that are no column are left out."""
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise TaskFailed(
                "SchemaMismatch",
                f"row {number} for dataset {dataset} is {type(row).__name__}, wanted an object of columns",
            )
    return pl.DataFrame([_series([row.get(c.name) for row in rows], c, dataset) for c in columns])


def _series(values: list[Any], column: Column, dataset: str) -> pl.Series:
    if column.type is ColumnType.JSON:
        return pl.Series(column.name, [_json_text(value, column.name) for value in values], dtype=pl.String)
    # The declared type first: 1 among floats is no conflict. `conform` casts what does not fit so.
    for dtype in (DTYPES[column.type], None):
        if dtype is not None and column.type in {ColumnType.DATE, ColumnType.TIMESTAMP}:
            continue
        try:
            return pl.Series(column.name, values, dtype=dtype, strict=True)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            continue
    kinds = sorted({type(value).__name__ for value in values if value is not None})
    raise TaskFailed(
        "SchemaMismatch",
        f"column {column.name} of dataset {dataset}: got {', '.join(kinds)}, wanted {column.type.value}",
    )


def _json_text(value: Any, column: str) -> str | None:
    if value is None:
        return None
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise TaskFailed("SchemaMismatch", f"column {column} holds a value that is no JSON: {error}") from error
