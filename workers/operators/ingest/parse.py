"""Read a downloaded file as batches of rows."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, assert_never

import msgspec
import polars as pl

from crds.dag import CsvOptions, FileFormat
from workers.data.frames import BATCH_ROWS, batches, row_batches, rows_frame
from workers.operators.ingest.unpack import unpack
from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from crds.dataset import Column

# A JSON document is read whole; larger data should come as jsonl, which is read line by line.
MAX_JSON_BYTES = 256 * 2**20
# What msgspec raises for bytes that are no JSON, are no UTF-8, or are nested too deep.
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def parse(
    path: Path, form: FileFormat, csv: CsvOptions, columns: Sequence[Column], dataset: str
) -> Iterator[pl.DataFrame]:
    """Yield the rows of a CSV, JSON (an array of objects), JSONL or Parquet file, packed or not."""
    match form:
        case FileFormat.CSV:
            return _csv(unpack(path), csv)
        case FileFormat.JSON:
            return row_batches(records(load_json(path), None), columns, dataset)
        case FileFormat.JSONL:
            return _jsonl(unpack(path), columns, dataset)
        case FileFormat.PARQUET:
            return _parquet(path)
        case _:
            assert_never(form)


def load_json(path: Path) -> Any:
    """Return a JSON document, packed or not."""
    plain = unpack(path)
    if plain.stat().st_size > MAX_JSON_BYTES:
        raise TaskFailed(
            "TooMuchData",
            f"a JSON document of more than {MAX_JSON_BYTES} bytes; ingest it as jsonl, or page by page",
        )
    try:
        return msgspec.json.decode(plain.read_bytes())
    except _NO_JSON as error:
        raise TaskFailed("BadJson", f"the source is no JSON: {error}") from error


def records(document: Any, field: str | None) -> list[Any]:
    """Return the rows of a document: the list at a dotted field, or the document; one object is one row."""
    found = pick(document, field) if field else document
    if isinstance(found, dict) and not field:
        return [found]
    if not isinstance(found, list):
        where = f"field {field}" if field else "the document"
        raise TaskFailed("BadJson", f"{where} holds {type(found).__name__}, wanted a list of objects")
    return found


def pick(document: Any, field: str) -> Any:
    """Return what lies at a dotted field, or None."""
    for part in field.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _csv(path: Path, options: CsvOptions) -> Iterator[pl.DataFrame]:
    # Every field is text first: the dataset's types decide, with an error that names column and values.
    if not path.stat().st_size:
        return
    try:
        frame = pl.scan_csv(
            path,
            separator=options.separator,
            null_values=list(options.null_values) or None,
            infer_schema=False,
            glob=False,
        )
        yield from batches(frame)
    except pl.exceptions.PolarsError as error:
        raise TaskFailed("BadCsv", f"the source is no such CSV: {error}") from error


def _jsonl(path: Path, columns: Sequence[Column], dataset: str) -> Iterator[pl.DataFrame]:
    with path.open("rb") as file:
        number = 0
        while lines := list(islice(file, BATCH_ROWS)):
            rows = [_line(line, number + offset) for offset, line in enumerate(lines, 1) if line.strip()]
            number += len(lines)
            yield rows_frame(rows, columns, dataset)


def _line(line: bytes, number: int) -> Any:
    try:
        return msgspec.json.decode(line)
    except _NO_JSON as error:
        raise TaskFailed("BadJson", f"line {number} of the source is no JSON: {error}") from error


def _parquet(path: Path) -> Iterator[pl.DataFrame]:
    try:
        yield from batches(pl.scan_parquet(path, hive_partitioning=False, glob=False))
    except pl.exceptions.PolarsError as error:
        raise TaskFailed("BadParquet", f"the source is no such Parquet file: {error}") from error
