"""Whole systems: one that most tests share, and factories for those that stop or kill theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from e2e_system import Up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(tmp_path_factory.mktemp("system"))
    try:
        yield up.start().applied("gated", "chain")
        assert up.stop() == 0
        assert up.leftovers() == []
    finally:
        up.clear()


@pytest.fixture
def new_system(tmp_path: Path) -> Iterator[Callable[[], Up]]:
    made: list[Up] = []

    def make() -> Up:
        made.append(Up(tmp_path / f"system{len(made)}"))
        return made[-1]

    yield make
    for up in made:
        up.clear()
