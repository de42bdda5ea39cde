"""Move rows between Polars and Postgres by COPY, exactly: nulls, empty text, quotes, newlines, times, NaN."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, LiteralString

import polars as pl
from psycopg import sql

from crds.dataset import Column, ColumnType
from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import psycopg

# More than this does not fit a worker's scratch disk; aggregate in the query, or keep such data cold.
MAX_READ_BYTES = 16 * 2**30

_MARK = "="
_END = "__end"
# Text is read back with a mark in front, so that empty text and null differ in any CSV dialect.
_ENCODE: dict[ColumnType, LiteralString] = {
    ColumnType.BOOLEAN: "{}::boolean::integer",
    ColumnType.INT32: "{}::integer",
    ColumnType.INT64: "{}::bigint",
    ColumnType.FLOAT64: "{}::double precision",
    ColumnType.STRING: "'=' || {}::text",
    ColumnType.DATE: "{}::date - date '1970-01-01'",
    ColumnType.TIMESTAMP: "(extract(epoch FROM {}::timestamptz) * 1000000)::bigint",
    ColumnType.JSON: "'=' || {}::jsonb::text",
}
_ENCODED: dict[ColumnType, pl.DataType] = {
    ColumnType.BOOLEAN: pl.Int32(),
    ColumnType.INT32: pl.Int32(),
    ColumnType.INT64: pl.Int64(),
    ColumnType.FLOAT64: pl.Float64(),
    ColumnType.STRING: pl.String(),
    ColumnType.DATE: pl.Int32(),
    ColumnType.TIMESTAMP: pl.Int64(),
    ColumnType.JSON: pl.String(),
}
_TEXT = {ColumnType.STRING, ColumnType.JSON}


def copy_out(
    connection: psycopg.Connection, source: sql.Composable, columns: Sequence[Column], path: Path
) -> pl.LazyFrame:
    """Write the columns of a table or sub-select to a file and return the rows in it, lazily."""
    # A constant last column keeps a line from being empty, which CSV readers skip.
    fields = [sql.SQL(_ENCODE[c.type]).format(sql.Identifier(c.name)) for c in columns]
    statement = sql.SQL("COPY (SELECT {}, 0 FROM {} AS source) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(fields), source
    )
    size = 0
    with path.open("wb") as file, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in copy:
            size += file.write(block)
            if size > MAX_READ_BYTES:
                raise TaskFailed(
                    "TooMuchData",
                    f"the rows are more than {MAX_READ_BYTES} bytes of text; narrow the query, or use a cold dataset",
                )
    schema = {c.name: _ENCODED[c.type] for c in columns} | {_END: pl.Int32()}
    if not size:
        return pl.LazyFrame(schema=schema).select(_decode(c) for c in columns)
    return pl.scan_csv(path, has_header=False, schema=schema, glob=False).select(_decode(c) for c in columns)


def copy_in(
    connection: psycopg.Connection, table: sql.Composable, columns: Sequence[Column], frame: pl.DataFrame
) -> None:
    """Append rows that already conform to the columns to a table, in one COPY."""
    buffer = BytesIO()
    # Quotes around every text make "" empty and a bare comma null; they also disarm a line of `\.`.
    frame.select(_encode(frame, c) for c in columns).write_csv(
        buffer,
        include_header=False,
        quote_style="non_numeric",
        datetime_format="%Y-%m-%d %H:%M:%S%.6f+00",
    )
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        table, sql.SQL(", ").join(sql.Identifier(c.name) for c in columns)
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(buffer.getbuffer())


def _encode(frame: pl.DataFrame, column: Column) -> pl.Expr:
    if column.type in _TEXT and frame.get_column(column.name).str.contains("\0", literal=True).any():
        raise TaskFailed(
            "NulCharacter",
            f"column {column.name} holds a NUL character, which Postgres text cannot hold; remove it with "
            f'`.str.replace_all("\\0", "", literal=True)`',
        )
    expression = pl.col(column.name)
    return expression.dt.replace_time_zone(None) if column.type is ColumnType.TIMESTAMP else expression


def _decode(column: Column) -> pl.Expr:
    expression = pl.col(column.name)
    match column.type:
        case ColumnType.BOOLEAN:
            return expression.cast(pl.Boolean)
        case ColumnType.STRING | ColumnType.JSON:
            return expression.str.strip_prefix(_MARK)
        case ColumnType.DATE:
            return expression.cast(pl.Date)
        case ColumnType.TIMESTAMP:
            return expression.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case _:
            return expression
