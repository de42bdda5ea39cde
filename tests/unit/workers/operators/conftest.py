"""The bench on which the operators are tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from operators_bench import Bench

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path)
    bench.bundle.mkdir()
    monkeypatch.syspath_prepend(str(bench.bundle))
    return bench
