"""Rows of a query on another Postgres, whose conninfo is a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from workers.data.copy import copy_out
from workers.data.database import database_errors
from workers.data.frames import batches
from workers.operators.ingest.template import lookup, placeholders
from workers.task import TaskFailed

if TYPE_CHECKING:
    from crds.dag import PostgresSource
    from workers.operators.work import Work

CONNECT_SECONDS = 10


def read(work: Work, source: PostgresSource, alias: str) -> None:
    """Copy the query's rows, in one read-only transaction, into the output."""
    columns = work.outputs.columns(alias)
    path = work.services.workdir / "source.csv"
    with (
        database_errors("reading the source database"),
        psycopg.connect(work.context.secrets[source.secret], connect_timeout=CONNECT_SECONDS) as connection,
    ):
        connection.read_only = True
        connection.execute("SET LOCAL TimeZone = 'UTC'")
        rows = copy_out(connection, _query(work, source.query), columns, path)
    work.outputs.append(alias, batches(rows))


def _query(work: Work, query: str) -> sql.Composable:
    """Return the query as a sub-select; placeholders become quoted literals, never SQL."""
    parts: list[sql.Composable] = []
    rest = query.strip().rstrip(";")
    for written, scope, name in placeholders(rest):
        before, rest = rest.split(written, 1)
        value = lookup(scope, name, work.context)
        if isinstance(value, dict | list):
            raise TaskFailed("UnknownPlaceholder", f"{written} is no single value, so it cannot stand in a query")
        parts += [_text(before), sql.Literal(value)]
    return sql.SQL("(\n{}\n)").format(sql.Composed([*parts, _text(rest)]))


def _text(text: str) -> sql.Composable:
    # The query is the DAG author's own SQL, which is the point of this source.
    return sql.SQL(text)  # pyright: ignore[reportArgumentType]
