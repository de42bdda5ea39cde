"""The Postgres that schedules run on: one database, a few connections that are kept, and emptying it between schedules."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

from tests.simulation.database import Connection

if TYPE_CHECKING:
    from tests.conftest import Database

TRUNCATE_EVERY = 40
"""Rows are deleted between schedules; only now and then the files are emptied too, which takes longer."""
MAX_CONNECTIONS = 40

# Without the triggers of foreign keys: every table is emptied anyway.
_DELETE: LiteralString = """
    DELETE FROM event; DELETE FROM bookmark; DELETE FROM stage_table; DELETE FROM manifest_file; DELETE FROM dataset_state;
    DELETE FROM pool_observation; DELETE FROM api_open; DELETE FROM worker; DELETE FROM attempt; DELETE FROM task_run;
    DELETE FROM run; DELETE FROM schedule_cursor; DELETE FROM revision_edge; DELETE FROM revision;
    DELETE FROM observation; DELETE FROM audit; DELETE FROM resource
"""

_TRUNCATE: LiteralString = """
    TRUNCATE event, bookmark, stage_table, manifest_file, dataset_state, pool_observation, api_open, worker, attempt,
             task_run, run, schedule_cursor, revision_edge, revision, observation, dataset_freshness, notification,
             notifier_state, audit, resource
"""


# Attempts are gone, so all stages are of none.
_DROP_HOT: LiteralString = "SELECT sweep_stages(1000); DROP TABLE IF EXISTS hot.rows"


class Ground:
    """One database and its connections."""

    def __init__(self, database: Database, core: int | None = None) -> None:
        self._database = database
        self._core = core
        self._free: dict[bool, list[Connection]] = {False: [], True: []}
        self._opened: list[psycopg.Connection[Any]] = []
        self._schedules = 0
        # The simulation's own looks pass no point, and see only what is committed.
        self.eyes = self._open(psycopg.Connection, database.superuser_conninfo, autocommit=True)
        # A deadlock is a finding; it shall not take a second to show.
        name = sql.Identifier(database.name)
        self.eyes.execute(sql.SQL("ALTER DATABASE {} SET deadlock_timeout = '20ms'").format(name))
        self.eyes.execute("SET session_replication_role = replica")

    def take(self, *, child: bool) -> Connection:
        """Lend a connection of the dispatcher's login, or one of a worker's, on which each statement is a transaction."""
        if self._free[child]:
            return self._free[child].pop()
        if len(self._opened) >= MAX_CONNECTIONS:
            raise RuntimeError(f"more than {MAX_CONNECTIONS} transactions at once; is a fiber left parked in one?")
        conninfo = self._database.worker_conninfo if child else self._database.conninfo
        connection: Connection = self._open(Connection, conninfo, autocommit=child)
        return connection

    def give_back(self, connection: Connection, *, child: bool) -> None:
        """Take a connection back; one whose session has ended is let go."""
        if connection.gone or connection.closed:
            self._opened.remove(connection)
            connection.close()
            return
        self._free[child].append(connection)

    def clear(self, *, hot: bool) -> None:
        """Forget everything that a schedule wrote; `hot`: also into hot tables."""
        self._schedules += 1
        self.eyes.execute(_TRUNCATE if self._schedules % TRUNCATE_EVERY == 0 else _DELETE)
        if hot:
            self.eyes.execute(_DROP_HOT)

    def close(self) -> None:
        """Let the database go."""
        for connection in self._opened:
            connection.close()

    def _open(self, kind: type[Any], conninfo: str, *, autocommit: bool = False) -> Any:
        connection = kind.connect(conninfo, options="-c search_path=setpoint", autocommit=autocommit)
        # The statements repeat, so each is planned once a connection.
        connection.prepare_threshold = 1
        self._opened.append(connection)
        if self._core is not None:
            pin(self._core, connection.info.backend_pid)
        return connection


def pin(core: int, pid: int = 0) -> None:
    """Keep a process on one core, where that can be: asking a server on the same core takes half the time."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setaffinity(pid, {core})
