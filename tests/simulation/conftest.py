"""One ground for all schedules of a test session: a database, and the core that it is kept on while they run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from tests.conftest import DISPATCHER, MIGRATOR, PASSWORD, WORKER, Database
from tests.simulation.ground import Ground, pin
from tests.simulation.server import local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.local.postgres import Server


@pytest.fixture(scope="session")
def _ground(postgres: Server, template: str) -> Iterator[Ground]:
    name = "simulation"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(MIGRATOR)
            )
        )

    def conninfo(user: str) -> str:
        return postgres.dsn(user=user, dbname=name, password=PASSWORD)

    database = Database(name, conninfo(DISPATCHER), conninfo(WORKER), conninfo(MIGRATOR), postgres.dsn(dbname=name))
    ground = Ground(local(database, postgres), _core())
    yield ground
    ground.close()


@pytest.fixture
def ground(_ground: Ground) -> Iterator[Ground]:
    """Give the ground; this process shares the core of its sessions as long as the test runs."""
    core = _core()
    before = os.sched_getaffinity(0) if sys.platform == "linux" else set()
    if core is not None:
        pin(core)
    yield _ground
    if sys.platform == "linux":
        os.sched_setaffinity(0, before)


def _core() -> int | None:
    """Return the core for this process of pytest-xdist."""
    if sys.platform != "linux":
        return None
    cores = sorted(os.sched_getaffinity(0))
    return cores[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % len(cores)]
