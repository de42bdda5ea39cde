"""Bring rows to a dataset's declared columns, or say exactly which column does not fit and why."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import polars as pl

from crds.dataset import Column, ColumnType, DatasetSpec
from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from crds.protocol import DatasetRef

UTC = pl.Datetime("us", "UTC")
DTYPES: dict[ColumnType, pl.DataType] = {
    ColumnType.BOOLEAN: pl.Boolean(),
    ColumnType.INT32: pl.Int32(),
    ColumnType.INT64: pl.Int64(),
    ColumnType.FLOAT64: pl.Float64(),
    ColumnType.STRING: pl.String(),
    ColumnType.DATE: pl.Date(),
    ColumnType.TIMESTAMP: UTC,
    # JSON travels as its text: Polars and Parquet have no such type.
    ColumnType.JSON: pl.String(),
}
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_ZONED = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z")
_NAIVE = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")
_EXAMPLES = 3


def dataset_spec(ref: DatasetRef) -> DatasetSpec:
    """Read a dataset's spec leniently: a newer controller may know fields that this worker does not."""
    return DatasetSpec.model_validate(ref.spec, extra="ignore")


def dtypes(columns: Iterable[Column]) -> dict[str, pl.DataType]:
    """Return the Polars schema of the columns, in their order."""
    return {column.name: DTYPES[column.type] for column in columns}


def schema_hash(columns: Iterable[Column]) -> str:
    """Return a short digest of names and types, by which readers notice another schema."""
    text = json.dumps([[column.name, column.type.value] for column in columns])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_names(names: Sequence[str], columns: Sequence[Column], dataset: str, *, extra: bool = False) -> None:
    """Raise TaskFailed for columns that are missing, or not declared unless `extra` allows those."""
    declared = [column.name for column in columns]
    missing = [name for name in declared if name not in names]
    unknown = [] if extra else [name for name in names if name not in declared]
    problems = [f"missing {', '.join(missing)}"] if missing else []
    problems += [f"not declared {', '.join(unknown)}"] if unknown else []
    if problems:
        raise TaskFailed(
            "SchemaMismatch",
            f"columns do not fit dataset {dataset}: {'; '.join(problems)}. It has {', '.join(declared)}",
        )


def conform(frame: pl.DataFrame, columns: Sequence[Column], dataset: str, *, extra: bool = False) -> pl.DataFrame:
    """Return the rows with exactly the declared columns, cast without loss; raise TaskFailed otherwise."""
    check_names(frame.columns, columns, dataset, extra=extra)
    return pl.DataFrame([_conform(frame.get_column(column.name), column, dataset) for column in columns])


def _conform(series: pl.Series, column: Column, dataset: str) -> pl.Series:
    cast = series
    if series.dtype != DTYPES[column.type] or column.type is ColumnType.JSON:
        cast = _cast(series, column, dataset)
    if not column.nullable and cast.null_count():
        raise TaskFailed(
            "NullViolation",
            f"column {column.name} of dataset {dataset} is not nullable, but {cast.null_count()} of "
            f"{len(cast)} rows have no value",
        )
    return cast


def _cast(series: pl.Series, column: Column, dataset: str) -> pl.Series:
    wanted = column.type.value
    if series.dtype == pl.Null:
        return series.cast(DTYPES[column.type])
    cast = _CASTS[column.type](series.dtype)
    if cast is None:
        raise TaskFailed(
            "SchemaMismatch",
            f"column {column.name} of dataset {dataset}: got {series.dtype}, wanted {wanted}",
        )
    result = series.to_frame("x").select(cast.alias(column.name)).to_series()
    failed = series.filter(result.is_null() & series.is_not_null())
    if len(failed):
        examples = ", ".join(repr(value) for value in failed.unique(maintain_order=True).head(_EXAMPLES))
        raise TaskFailed(
            "SchemaMismatch",
            f"column {column.name} of dataset {dataset}: {len(failed)} of {len(series)} values are no "
            f"{wanted}: {examples} (got {series.dtype})",
        )
    return result


def _boolean(dtype: pl.DataType) -> pl.Expr | None:
    if dtype != pl.String:
        return None
    text = _X.str.strip_chars().str.to_lowercase()
    return pl.when(text.is_in(_TRUE)).then(True).when(text.is_in(_FALSE)).then(False)


def _integer(target: pl.DataType) -> Callable[[pl.DataType], pl.Expr | None]:
    def cast(dtype: pl.DataType) -> pl.Expr | None:
        if dtype.is_integer():
            return _X.cast(target, strict=False)
        if dtype.is_float() or dtype.is_decimal():
            whole = _X.cast(target, strict=False)
            return pl.when(whole.cast(dtype, strict=False) == _X).then(whole)
        return _X.str.strip_chars().cast(target, strict=False) if dtype == pl.String else None

    return cast


def _float(dtype: pl.DataType) -> pl.Expr | None:
    if dtype.is_numeric():
        return _X.cast(pl.Float64, strict=False)
    return _X.str.strip_chars().cast(pl.Float64, strict=False) if dtype == pl.String else None


def _string(dtype: pl.DataType) -> pl.Expr | None:
    plain = dtype.is_numeric() or dtype in {pl.Boolean, pl.Date, pl.Categorical, pl.Enum}
    return _X.cast(pl.String, strict=False) if plain else None


def _date(dtype: pl.DataType) -> pl.Expr | None:
    if dtype == pl.Datetime:
        day = _X.dt.date()
        return pl.when(_X.dt.time() == pl.time(0, 0, 0)).then(day)
    return _X.str.strip_chars().str.to_date("%Y-%m-%d", strict=False) if dtype == pl.String else None


def _timestamp(dtype: pl.DataType) -> pl.Expr | None:
    """Read times without a zone as UTC."""
    if isinstance(dtype, pl.Datetime):
        aware = _X if dtype.time_zone else _X.dt.replace_time_zone("UTC")
        return aware.dt.convert_time_zone("UTC").cast(UTC, strict=False)
    if dtype == pl.Date:
        return _X.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if dtype != pl.String:
        return None
    text = _X.str.strip_chars()
    zoned = [text.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC") for form in _ZONED]
    naive = [text.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone("UTC") for form in _NAIVE]
    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.coalesce(*zoned, *naive, day)


def _json(dtype: pl.DataType) -> pl.Expr | None:
    """Take text as JSON already; write nested and plain values as JSON."""
    if dtype == pl.String:
        return _X
    if dtype in {pl.Object, pl.Binary}:
        return None
    # Only structs know how to become JSON, so the value is wrapped in one and unwrapped from the text.
    wrapped = pl.struct(_X).struct.json_encode().str.strip_prefix('{"x":').str.head(-1)
    return pl.when(_X.is_not_null()).then(wrapped)


_X = pl.col("x")
_CASTS: dict[ColumnType, Callable[[pl.DataType], pl.Expr | None]] = {
    ColumnType.BOOLEAN: _boolean,
    ColumnType.INT32: _integer(pl.Int32()),
    ColumnType.INT64: _integer(pl.Int64()),
    ColumnType.FLOAT64: _float,
    ColumnType.STRING: _string,
    ColumnType.DATE: _date,
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.JSON: _json,
}
