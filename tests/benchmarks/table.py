"""The results as people read them: beside each figure what is aimed at, and the best of others."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tests.benchmarks.targets import target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.results import Result, Spread

WIDTH = 150
HEADERS = ("WORKLOAD", "FIGURE", "MEDIAN", "MIN … MAX", "TARGET", "", "BEST OF OTHERS")


def render(results: Sequence[Result]) -> str:
    """Return the table, and below it what else is known of each workload."""
    table = Table(*HEADERS, box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for result in results:
        for name, spread in result.figures.items():
            table.add_row(result.workload, *_cells(result, name, spread))
    text = io.StringIO()
    console = Console(file=text, width=WIDTH)
    console.print(table)
    for result in results:
        for name, fact in result.facts.items():
            console.print(f"{result.workload} {name}:", fact)
    return text.getvalue()


def _cells(result: Result, name: str, spread: Spread) -> tuple[str, ...]:
    found = (f"{spread.median:.4g}", f"{spread.low:.4g} … {spread.high:.4g}")
    aimed = target(result.workload, name)
    if aimed is None:
        return (name, *found, "", "", "")
    sign = "≥" if aimed.more_is_better else "≤"
    wanted = "" if aimed.wanted is None else f"{sign} {aimed.wanted:g}"
    verdict = {True: "reached", False: "missed", None: ""}[aimed.reached(spread.median)]
    best = next((f"{value:g} ({name})" for name, value in aimed.others.items()), "")
    return (aimed.label, *found, wanted, verdict, best)
