"""Bring the database to this version's schema: plain SQL files, in order, once, also when two try at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from crds.login import DatabaseAuth, credentials

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCRIPTS = Path(__file__).parent / "migrations"
VERSION_SCHEMA = "setpoint_migrations"
_LOCK = 0x5E7_0017

_ROLE_EXISTS: LiteralString = "SELECT 1 FROM pg_roles WHERE rolname = %s"

# A worker that hangs in the database must not hold locks for ever; AWS recommends the same on RDS.
WORKER_LIMITS = {
    "statement_timeout": "15min",
    "lock_timeout": "2min",
    "idle_in_transaction_session_timeout": "5min",
}
CONTROLLER_LIMITS = {
    "statement_timeout": "60s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    # It looks rows up by their keys, a few at a time; read from an SSD, that is never worse than reading a whole table.
    "random_page_cost": "1.1",
}


def migrate(conninfo: str, auth: DatabaseAuth = DatabaseAuth.PASSWORD) -> tuple[str | None, str]:
    """Run every migration that is missing and return the versions before and after."""
    with _connect(conninfo, auth) as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}"))
        connection.commit()
        before = _current(connection)
        command.upgrade(_config(connection), "head")
        connection.commit()
        return before, head()


def check(conninfo: str, auth: DatabaseAuth = DatabaseAuth.PASSWORD) -> tuple[str | None, str]:
    """Return the database's version and the newest one, changing nothing."""
    with _connect(conninfo, auth) as connection:
        return _current(connection), head()


def head() -> str:
    """Return the newest version that this program knows."""
    newest = ScriptDirectory.from_config(_config(None)).get_current_head()
    if newest is None:
        raise RuntimeError(f"no migrations in {SCRIPTS}")
    return newest


def ensure_login(
    connection: psycopg.Connection, name: str, password: str | None, group: str, limits: dict[str, str]
) -> None:
    """Create a login in a group role, or set its password, with the limits that its sessions start with."""
    exists = connection.execute(_ROLE_EXISTS, (name,)).fetchone()
    verb = sql.SQL("ALTER" if exists else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, sql.Identifier(name), sql.Literal(password))
    )
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(name)))
    for setting, value in limits.items():
        connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
            )
        )


def _connect(conninfo: str, auth: DatabaseAuth) -> Connection:
    # SQLAlchemy wants a URL; the conninfo itself goes to psycopg untouched.
    engine = create_engine(
        make_url("postgresql+psycopg://"),
        creator=lambda: psycopg.connect(conninfo, **credentials(conninfo, auth)),
        poolclass=NullPool,
    )
    return engine.connect()


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    context = MigrationContext.configure(
        connection, opts={"version_table": "version", "version_table_schema": VERSION_SCHEMA}
    )
    return context.get_current_revision()
