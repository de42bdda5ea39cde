"""Migrations: once, also when two try at the same time; by a login that is no superuser; harmless when repeated."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from controller.store.migrate import check, ensure_login, head, migrate
from tests.conftest import MIGRATOR, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.local.postgres import Server

_numbers = count(1)
_MIGRATE = "import sys; from controller.store.migrate import migrate; print(migrate(sys.argv[1]))"


@pytest.fixture
def empty(postgres: Server, template: str) -> Iterator[str]:
    """Return the migrator's conninfo of an empty database that it owns."""
    name = sql.Identifier(f"migrated_{next(_numbers)}")
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, sql.Identifier(MIGRATOR)))
        yield postgres.dsn(user=MIGRATOR, dbname=name.as_string().strip('"'), password=PASSWORD)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def tables(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'setpoint'").fetchone()
        assert row is not None
        return int(row[0])


def test_an_empty_database_comes_to_the_newest_version(empty: str) -> None:
    assert check(empty) == (None, head())
    assert tables(empty) == 0
    assert migrate(empty) == (None, head())
    assert check(empty) == (head(), head())
    assert tables(empty) > 15


def test_migrating_again_changes_nothing(empty: str) -> None:
    migrate(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("INSERT INTO setpoint.lease VALUES ('x', 'y', 1, now())")
    assert migrate(empty) == (head(), head())
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT count(*) FROM setpoint.lease").fetchone() == (1,)


def test_two_processes_that_migrate_at_once_both_succeed(empty: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _MIGRATE, empty], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    ended = [process.communicate(timeout=120) for process in processes]
    assert [p.returncode for p in processes] == [0, 0, 0], ended
    assert sum(f"(None, '{head()}')" in out for out, _ in ended) == 1
    assert check(empty) == (head(), head())


def test_the_migrator_is_no_superuser(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        row = connection.execute("SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (False, True)


def test_a_migration_that_fails_leaves_nothing_and_can_be_repeated(empty: str, postgres: Server) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute("CREATE SCHEMA hot")
    with pytest.raises(Exception, match="hot"):
        migrate(empty)
    assert tables(empty) == 0
    with psycopg.connect(empty) as connection:
        connection.execute("DROP SCHEMA hot")
    assert migrate(empty) == (None, head())


def test_a_login_made_twice_has_the_newer_password_and_limits(empty: str) -> None:
    migrate(empty)
    for password, limit in (("old", "1min"), ("new", "2min")):
        with psycopg.connect(empty) as connection:
            ensure_login(connection, "test_twice", password, "setpoint_worker", {"statement_timeout": limit})
    conninfo = psycopg.conninfo.make_conninfo(empty, user="test_twice", password="new")
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("2min",)
