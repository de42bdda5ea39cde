"""A plugin of pytest that plants a mutant before any test: `pytest -p tests.mutation.plugin --mutant NAME …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.mutation.mutants import MUTANTS
from tests.mutation.planting import plant_code, plant_schema

if TYPE_CHECKING:
    from collections.abc import Generator


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the option."""
    parser.addoption("--mutant", choices=sorted(MUTANTS), required=True, help="the bug to plant")


def pytest_configure(config: pytest.Config) -> None:
    """Plant it in this process."""
    plant_code(MUTANTS[config.getoption("mutant")].edits)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Plant it in the database that all tests copy, once that is migrated."""
    made = yield
    if fixturedef.argname == "template":
        server = request.getfixturevalue("postgres")
        with psycopg.connect(server.dsn(dbname=made), options="-c search_path=setpoint") as connection:
            plant_schema(MUTANTS[request.config.getoption("mutant")].edits, connection)
    return made
