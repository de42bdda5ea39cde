"""One dispatcher a module, and hypothesis that draws the same examples each time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from tests.conftest import DISPATCHER, MIGRATOR, PASSWORD, WORKER, Database
from tests.hostile.hostile_world import Doors, open_doors
from tests.integration.api_world import DIAMOND, POOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.local.postgres import Server

# HYPOTHESIS_PROFILE=search looks further, with examples of its own each time.
_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
settings.register_profile(
    "hostile", derandomize=True, deadline=None, database=None, suppress_health_check=_SLOW_IS_FINE
)
settings.register_profile("search", max_examples=2_000, deadline=None, suppress_health_check=_SLOW_IS_FINE)


@pytest.fixture(scope="session", autouse=True)
def _profile() -> None:
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "hostile"))


@pytest.fixture(scope="module")
def doors(postgres: Server, template: str, request: pytest.FixtureRequest) -> Iterator[Doors]:
    """A dispatcher with pools and a Dag, that all tests of a module knock at; none may change it."""
    name = request.module.__name__.rpartition(".")[2]
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(MIGRATOR)
            )
        )

    def conninfo(user: str) -> str:
        return postgres.dsn(user=user, dbname=name, password=PASSWORD)

    database = Database(name, conninfo(DISPATCHER), conninfo(WORKER), conninfo(MIGRATOR), postgres.dsn(dbname=name))
    with open_doors(database) as doors:
        answer = doors.call("POST", "/apply", {"resources": [*POOLS, DIAMOND]})
        assert answer.status_code == 200, answer.text
        yield doors
        doors.check_log()
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def unchanged(doors: Doors) -> Iterator[Doors]:
    """The same, and nothing of what it keeps is different afterwards."""
    before = doors.state()
    yield doors
    after = doors.state()
    assert after == before, [name for name in after if after[name] != before.get(name)]
