"""A Postgres of its own for schedules, migrated as on RDS."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from controller.local.postgres import Server, temporary_server
from controller.store.migrate import CONTROLLER_LIMITS, WORKER_LIMITS, ensure_login, migrate
from tests.conftest import DISPATCHER, MIGRATOR, PASSWORD, WORKER, Database
from tests.simulation.ground import Ground, pin

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "simulation"


@contextmanager
def own_ground(core: int | None = None) -> Iterator[Ground]:
    """Start a server, migrate a database, and give the ground on it; all on one core, if one is named."""
    if core is not None:
        pin(core)
    with temporary_server() as server:
        ground = Ground(_database(server), core)
        try:
            yield ground
        finally:
            ground.close()


def local(database: Database, server: Server) -> Database:
    """Return a database by its server's Unix socket, which answers sooner."""

    def by_socket(conninfo: str) -> str:
        return make_conninfo(conninfo, host=str(server.data_dir))

    try:
        psycopg.connect(by_socket(database.conninfo)).close()
    except psycopg.OperationalError:
        return database  # Its path was too long for a socket.
    return Database(
        database.name,
        by_socket(database.conninfo),
        by_socket(database.worker_conninfo),
        by_socket(database.migrator_conninfo),
        by_socket(database.superuser_conninfo),
    )


def _database(server: Server) -> Database:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        role, password, name = sql.Identifier(MIGRATOR), sql.Literal(PASSWORD), sql.Identifier(NAME)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER CREATEROLE PASSWORD {}").format(role, password))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))
    migrator = server.dsn(user=MIGRATOR, dbname=NAME, password=PASSWORD)
    migrate(migrator)
    with psycopg.connect(migrator) as connection:
        ensure_login(connection, DISPATCHER, PASSWORD, "setpoint_controller", CONTROLLER_LIMITS)
        ensure_login(connection, WORKER, PASSWORD, "setpoint_worker", WORKER_LIMITS)

    def conninfo(user: str) -> str:
        return server.dsn(user=user, dbname=NAME, password=PASSWORD)

    return local(Database(NAME, conninfo(DISPATCHER), conninfo(WORKER), migrator, server.dsn(dbname=NAME)), server)
