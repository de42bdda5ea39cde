"""What Postgres did for each statement of a session, told by its own module auto_explain: the plans that really ran.

So prepared statements are seen with their generic plans, and statements within functions too.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from tests.conftest import Database

SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}


def available(database: Database) -> bool:
    """Tell whether this Postgres brings auto_explain, which is in the contrib package."""
    with psycopg.connect(database.superuser_conninfo) as connection, suppress(psycopg.Error):
        connection.execute("LOAD 'auto_explain'")
        return True
    return False


def prepare(database: Database) -> None:
    """Have every new session of a database tell its plans."""
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        for name, value in SETTINGS.items():
            query = sql.SQL("ALTER DATABASE {} SET {} = {}")
            parts = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
            connection.execute(query.format(sql.Identifier(database.name), parts, sql.Literal(value)))


@dataclass(frozen=True, slots=True)
class Work:
    """What one execution of a statement did."""

    examined: int
    """Rows that scans read, those that a filter dropped among them."""
    descents: int
    """How often a tree was descended, reading or writing; each costs a block a level."""
    blocks: int
    scanned: frozenset[str]
    """Tables of which every block was read."""

    def worst(self, other: Work) -> Work:
        """Return the greater of each."""
        return Work(
            max(self.examined, other.examined),
            max(self.descents, other.descents),
            max(self.blocks, other.blocks),
            self.scanned | other.scanned,
        )


@dataclass
class PlanRecorder:
    """The worst that each statement did, by its text."""

    worst: dict[str, Work] = field(default_factory=dict)
    statements: int = 0

    def watch(self, connection: psycopg.Connection) -> Self:
        """Take what a session tells."""
        connection.add_notice_handler(self._take)
        return self

    def _take(self, notice: psycopg.errors.Diagnostic) -> None:
        message = notice.message_primary or ""
        if "plan:\n" not in message:
            return
        told = json.loads(message.partition("plan:\n")[2])
        text, work = normal(told["Query Text"]), _work(told["Plan"])
        self.worst[text] = work.worst(self.worst.get(text, work))
        self.statements += 1


def normal(text: str) -> str:
    """Return a statement with its parameters named alike, whoever wrote it."""
    return " ".join(re.sub(r"%\(\w+\)s|\$\d+", "?", text.replace("%%", "%")).split())


def _work(plan: dict[str, Any]) -> Work:
    nodes = list(_nodes(plan))
    return Work(
        sum(_examined(n) for n in nodes if "Scan" in n["Node Type"] and "Relation Name" in n),
        sum(_descents(n) for n in nodes),
        plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        frozenset(n["Relation Name"] for n in nodes if n["Node Type"] == "Seq Scan" and n["Actual Loops"]),
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _examined(node: dict[str, Any]) -> int:
    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + dropped) * node["Actual Loops"])


def _descents(node: dict[str, Any]) -> int:
    """Count scans of indexes, and rows written: each of these enters every index of its table, and checks foreign keys."""
    if "Index Name" in node:
        return int(node["Actual Loops"])
    if node["Node Type"] == "ModifyTable":
        return sum(int(c["Actual Rows"] * c["Actual Loops"]) for c in node.get("Plans", ())) * INDEXES
    return 0


INDEXES = 12
"""No table has more indexes and foreign keys together."""
