"""Hot data: read tables, stage rows in tables of the attempt's own, and commit under the attempt's fence."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, LiteralString

import msgspec
import psycopg
from psycopg import sql

from crds.login import DatabaseAuth, credentials
from crds.protocol import DatasetRef, DatasetWrite
from crds.reasons import Reason
from workers.data.copy import copy_in, copy_out
from workers.data.database import STALE_FENCE, UNAVAILABLE, database_errors
from workers.data.schema import conform, dataset_spec
from workers.task import TaskFailed

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

# The commit is idempotent, so a lost answer is asked for again, for the minutes that a failover may take.
COMMIT_TRIES = 30
COMMIT_PAUSE_SECONDS = 0.5
COMMIT_PAUSE_LIMIT_SECONDS = 5.0
CONNECT_SECONDS = 10

_STAGE: LiteralString = "SELECT fence.stage(%s, %s, %s)"
_COMMIT: LiteralString = "SELECT fence.commit(%s, %s, %s::jsonb, %s::jsonb, %s::jsonb)"
_COUNT: LiteralString = "SELECT count(*) FROM {}"
_DUPLICATES: LiteralString = """
    SELECT concat_ws(', ', {keys}), count(*) FROM {stage} GROUP BY {keys} HAVING count(*) > 1 LIMIT 3
"""


class HotData:
    """One attempt's access to the hot tables, by at most one connection."""

    def __init__(
        self, conninfo: str | None, attempt: str, token: str, auth: DatabaseAuth = DatabaseAuth.PASSWORD
    ) -> None:
        self._conninfo = conninfo
        self._auth = auth
        self._attempt = attempt
        self._token = token
        self._connection: psycopg.Connection | None = None

    def read(self, ref: DatasetRef, path: Path) -> pl.LazyFrame:
        """Copy a hot table as it is now to a file and return its rows, lazily."""
        with database_errors(f"reading dataset {ref.name}"):
            return copy_out(self.connect(), sql.Identifier("hot", _table(ref)), dataset_spec(ref).columns, path)

    def stage(self, ref: DatasetRef) -> HotStage:
        """Open an empty stage table for one output."""
        with database_errors(f"staging dataset {ref.name}"):
            row = self.connect().execute(_STAGE, (self._attempt, self._token, ref.uid)).fetchone()
        if row is None:
            raise TaskFailed("DatabaseError", "fence.stage returned nothing", Reason.INFRASTRUCTURE_ERROR)
        return HotStage(self, ref, row[0])

    def commit(self, outputs: dict[str, Any], bookmark: Any, writes: list[DatasetWrite]) -> None:
        """Merge all staged rows, record all writes and end the attempt as Committed: all or nothing, once."""
        values = (
            self._attempt,
            self._token,
            json.dumps(outputs, ensure_ascii=False),
            None if bookmark is None else json.dumps(bookmark, ensure_ascii=False),
            msgspec.json.encode(writes).decode(),
        )
        for number in range(1, COMMIT_TRIES + 1):
            try:
                with database_errors("committing"):
                    self._check_stages(writes)
                    self.connect().execute(_COMMIT, values)
            except TaskFailed as failure:
                if failure.kind != UNAVAILABLE or number == COMMIT_TRIES:
                    raise
                self.close()
                time.sleep(min(COMMIT_PAUSE_SECONDS * 2 ** (number - 1), COMMIT_PAUSE_LIMIT_SECONDS))
            else:
                return

    def _check_stages(self, writes: list[DatasetWrite]) -> None:
        """Refuse to merge stage tables that lost rows: a crash of the server empties unlogged tables.

        On the commit's own connection: a crash after the check ends that connection and so the commit.
        """
        for write in writes:
            left = 0 if write.stage is None else self._staged(write.stage, write.uid)
            if write.stage is not None and left not in {write.rows, None}:
                raise TaskFailed(
                    "StagedRowsLost",
                    f"{write.rows} rows were staged for dataset {write.dataset}, {left} are left; did "
                    "Postgres restart? The next attempt writes them again",
                    Reason.INFRASTRUCTURE_ERROR,
                )

    def _staged(self, stage: str, dataset_uid: str) -> int | None:
        """Return the rows of a stage table, None if a commit whose answer was lost has dropped it."""
        try:
            row = self.connect().execute(sql.SQL(_COUNT).format(table_name(stage))).fetchone()
        except psycopg.errors.UndefinedTable:
            # Staging afresh is possible only if the attempt still runs, so that nothing of it was committed.
            try:
                self.connect().execute(_STAGE, (self._attempt, self._token, dataset_uid))
            except psycopg.Error as error:
                if error.sqlstate == STALE_FENCE:
                    return None
                raise
            return 0
        return row[0] if row else 0

    def close(self) -> None:
        """Close the connection, if there is one; the next use opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def connect(self) -> psycopg.Connection:
        """Return the connection, opened now if need be."""
        if self._conninfo is None:
            raise TaskFailed(
                "HotDataNotGranted", "this pool's workers have no login for hot data; use a pool that has one"
            )
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                application_name=f"setpoint {self._attempt}"[:63],
                **credentials(self._conninfo, self._auth),
            )
            self._connection.execute("SET TimeZone = 'UTC'")
        return self._connection


class HotStage:
    """Rows on their way into one hot table."""

    def __init__(self, hot: HotData, ref: DatasetRef, stage: str) -> None:
        self._hot = hot
        self._ref = ref
        self._stage = stage
        self._spec = dataset_spec(ref)
        self._rows = 0

    def write(self, frame: pl.DataFrame, *, extra: bool = False) -> int:
        """Append one batch and return its rows; `extra`: columns that the dataset lacks are left out."""
        conforming = conform(frame, self._spec.columns, self._ref.name, extra=extra)
        if conforming.height:
            with database_errors(f"staging dataset {self._ref.name}"):
                copy_in(self._hot.connect(), table_name(self._stage), self._spec.columns, conforming)
        self._rows += conforming.height
        return conforming.height

    def finish(self) -> DatasetWrite:
        """Check the unique key and return what the commit is to merge."""
        if self._spec.unique_key and self._rows:
            self._check_unique()
        return DatasetWrite(
            dataset=self._ref.name,
            uid=self._ref.uid,
            mode=self._ref.mode or "",
            rows=self._rows,
            stage=self._stage,
        )

    def _check_unique(self) -> None:
        keys = sql.SQL(", ").join(sql.Identifier(key) for key in self._spec.unique_key)
        query = sql.SQL(_DUPLICATES).format(keys=keys, stage=table_name(self._stage))
        with database_errors(f"checking the unique key of dataset {self._ref.name}"):
            duplicates = self._hot.connect().execute(query).fetchall()
        if duplicates:
            examples = "; ".join(f"({key}) {count} times" for key, count in duplicates)
            raise TaskFailed(
                "DuplicateKey",
                f"rows for dataset {self._ref.name} share a value of its unique key "
                f"({', '.join(self._spec.unique_key)}): {examples}. Keep one row of each",
            )


def table_name(stage: str) -> sql.Identifier:
    """Return the identifier of a stage table as fence.stage names it: `stage.s_0123abcd`."""
    return sql.Identifier(*stage.split(".", 1))


def _table(ref: DatasetRef) -> str:
    if ref.table is None:
        raise TaskFailed("UnknownTable", f"the grant names no table of hot dataset {ref.name}", "InfrastructureError")
    return ref.table
