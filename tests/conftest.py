"""What all tests share: a real Postgres a session, and a fresh migrated database a test."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from controller.local.postgres import Server, temporary_server
from controller.store.migrate import CONTROLLER_LIMITS, WORKER_LIMITS, ensure_login, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

MIGRATOR, DISPATCHER, WORKER = "test_migrator", "test_dispatcher", "test_worker"
PASSWORD = "only-for-tests"
TEMPLATE = "setpoint_template"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """A fresh database, migrated as on RDS: by a login that is no superuser and may create roles."""

    name: str
    conninfo: str
    worker_conninfo: str
    migrator_conninfo: str
    superuser_conninfo: str

    def connect(self) -> psycopg.Connection:
        """Return a connection of the dispatcher's login."""
        return psycopg.connect(self.conninfo, options="-c search_path=setpoint")

    def connect_as_worker(self) -> psycopg.Connection:
        """Return a connection of a worker's login."""
        return psycopg.connect(self.worker_conninfo)


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known by which a test says which of the field's pains it proves the end of."""
    config.addinivalue_line("markers", "pain(*numbers): proves what README.md says of these pains of the field")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with temporary_server() as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Server) -> str:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER CREATEROLE PASSWORD {}").format(
                sql.Identifier(MIGRATOR), sql.Literal(PASSWORD)
            )
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(TEMPLATE), sql.Identifier(MIGRATOR))
        )
    conninfo = postgres.dsn(user=MIGRATOR, dbname=TEMPLATE, password=PASSWORD)
    migrate(conninfo)
    with psycopg.connect(conninfo) as connection:
        ensure_login(connection, DISPATCHER, PASSWORD, "setpoint_controller", CONTROLLER_LIMITS)
        ensure_login(connection, WORKER, PASSWORD, "setpoint_worker", WORKER_LIMITS)
    return TEMPLATE


@pytest.fixture
def database(postgres: Server, template: str) -> Iterator[Database]:
    with new_database(postgres, template) as made:
        yield made


@contextmanager
def new_database(postgres: Server, template: str) -> Iterator[Database]:
    """Copy a template database; drop the copy in the end."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(MIGRATOR)
            )
        )

        def conninfo(user: str) -> str:
            return postgres.dsn(user=user, dbname=name, password=PASSWORD)

        yield Database(name, conninfo(DISPATCHER), conninfo(WORKER), conninfo(MIGRATOR), postgres.dsn(dbname=name))
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
