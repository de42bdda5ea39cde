"""Each planted bug can still be planted in the product as it is now, and some that are quickly caught are caught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.mutation.campaign import hunt
from tests.mutation.mutants import MUTANTS
from tests.mutation.planting import CodeEdit, DoesNotApply, InFunction, InText, plant_schema

if TYPE_CHECKING:
    from tests.conftest import Database
    from tests.mutation.mutant import Mutant

QUICK = ("budgets-mixed-up", "merge-without-commit", "ends-counted-twice")
SEEDS = 60
"""Each of them is caught by one of the first few schedules."""


@pytest.mark.parametrize("mutant", [pytest.param(m, id=name) for name, m in MUTANTS.items()])
def test_a_mutant_applies(mutant: Mutant, database: Database) -> None:
    assert mutant.edits
    for edit in mutant.edits:
        if isinstance(edit, CodeEdit):
            edit.check()
    with psycopg.connect(database.superuser_conninfo, options="-c search_path=setpoint") as connection:
        plant_schema(mutant.edits, connection)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(InFunction("controller.diff.claims:decide", "no such text", ""), id="text gone"),
        pytest.param(InFunction("controller.diff.claims:decide", "Answer", ""), id="text there often"),
        pytest.param(InFunction("controller.diff.claims:gone", "x", ""), id="function gone"),
        pytest.param(InText("controller.store.slots:_GONE", "x", ""), id="constant gone"),
    ],
)
def test_a_changed_product_makes_a_mutant_fail(edit: CodeEdit) -> None:
    with pytest.raises(DoesNotApply):
        edit.check()


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_mutant_is_caught(name: str) -> None:
    found = hunt(MUTANTS[name], SEEDS, lambda _: None)

    assert found.verdict == "caught", found
