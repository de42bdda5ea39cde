"""What Postgres was asked, by its own count (pg_stat_statements)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg

from controller.local.postgres import Server
from controller.store.bootstrap import DISPATCHER, WORKER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.stack import Stack

SHOWN = 8
WIDTH = 110

_AVAILABLE: LiteralString = "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
_INSTALL: tuple[LiteralString, ...] = (
    "CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA public",
    "ALTER SYSTEM SET pg_stat_statements.track_planning = on",
    "SELECT pg_reload_conf()",
)
_RESET: LiteralString = "SELECT public.pg_stat_statements_reset()"
_OURS: LiteralString = """
    SELECT query, sum(calls)::float8, sum(total_exec_time)::float8, sum(total_plan_time)::float8
      FROM public.pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid
     WHERE rolname = ANY(%s)
     GROUP BY query
     ORDER BY sum(total_exec_time + total_plan_time) DESC
"""


class NoStatistics(RuntimeError):
    """This Postgres has no pg_stat_statements."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, whatever its parameters: how often it was asked, and the milliseconds it took."""

    text: str
    calls: float
    executing: float
    planning: float


@dataclass(frozen=True, slots=True)
class Statements:
    """What the dispatcher and the workers have asked since `reset`, the costliest first."""

    all: list[Statement]

    @property
    def calls(self) -> float:
        """Return how many statements there were, COMMIT among them."""
        return sum(one.calls for one in self.all)

    @property
    def executing(self) -> float:
        """Return the milliseconds for which Postgres carried them out; waiting for the disk at COMMIT is part of it."""
        return sum(one.executing for one in self.all)

    @property
    def planning(self) -> float:
        """Return the milliseconds for which Postgres planned them."""
        return sum(one.planning for one in self.all)

    @property
    def commits(self) -> float:
        """Return how many of them were COMMIT."""
        return sum(one.calls for one in self.all if one.text.upper().startswith("COMMIT"))

    def costliest(self, tasks: int) -> list[dict[str, Any]]:
        """Return the statements that took the most time, with what each cost a task."""
        return [
            {
                "calls_per_task": round(one.calls / tasks, 3),
                "executing_ms_per_task": round(one.executing / tasks, 3),
                "planning_ms_per_task": round(one.planning / tasks, 3),
                "query": " ".join(one.text.split())[:WIDTH],
            }
            for one in self.all[:SHOWN]
        ]


def preload(folder: Path) -> None:
    """Set up a Postgres folder that counts statements, before the system starts over it; raise NoStatistics."""
    server = Server(folder).start()
    try:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            row = connection.execute(_AVAILABLE).fetchone()
            if row is None or not row[0]:
                raise NoStatistics("this Postgres lacks pg_stat_statements; install its contrib package")
            connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    finally:
        server.stop()


def reset(stack: Stack) -> None:
    """Count from here on."""
    stack.rows(_RESET)


def read(stack: Stack) -> Statements:
    """Return what was counted."""
    rows = stack.rows(_OURS, [DISPATCHER, WORKER])
    return Statements([Statement(str(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in rows])


def install(stack: Stack) -> None:
    """Make the counts readable in the system's database."""
    with stack.connect() as connection:
        for statement in _INSTALL:
            connection.execute(statement)
