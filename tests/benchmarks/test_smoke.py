"""Every benchmark runs, in its smallest size, on one system; nothing is said of how fast."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks import plot
from tests.benchmarks.cli import WORKLOADS, measure
from tests.benchmarks.results import read
from tests.benchmarks.stack import Size, Stack
from tests.benchmarks.table import render
from tests.benchmarks.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.slow]

SIZE = Size(slots=2, scale=0.01, rows=1000)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    dags = {dag.name: dag for workload in WORKLOADS.values() for dag in workload.dags(SIZE)}
    with Stack(list(dags.values()), SIZE, statistics=True) as stack:
        yield stack


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_prints_its_line(stack: Stack, name: str, tmp_path: Path) -> None:
    result = measure(WORKLOADS[name], stack, repeat=1)
    found = json.loads(result.line())
    assert found["workload"] == name
    assert found["load1"] >= 0
    assert found["spread"]
    for figure, spread in found["spread"].items():
        assert spread["min"] <= spread["median"] <= spread["max"]
        assert found[figure] == spread["median"]
    aimed = {target.figure for target in TARGETS if target.workload == name}
    assert aimed <= found["spread"].keys()

    assert all(f"{spread.median:.4g}" in render([result]) for spread in result.figures.values())
    saved = tmp_path / "results.jsonl"
    saved.write_text(result.line() + "\n")
    assert [r.figures.keys() for r in read(saved)] == [result.figures.keys()]
    assert plot.main([str(saved), str(tmp_path / "picture.svg")]) == 0
    assert (tmp_path / "picture.svg").read_text().startswith("<svg")
