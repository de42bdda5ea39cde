"""What a benchmark found: figures with their spread, as JSON lines and as a table."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

DIGITS = 4
"""Significant digits that are printed."""

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over the repeats."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True, slots=True)
class Result:
    """One workload: its figures, and the load of the machine when it began."""

    workload: str
    title: str
    figures: Mapping[str, Spread]
    repeat: int
    load1: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Return one JSON line: each figure's median, and its spread beside."""
        medians = {name: rounded(spread.median) for name, spread in self.figures.items()}
        spreads = {
            name: {"min": rounded(spread.low), "median": rounded(spread.median), "max": rounded(spread.high)}
            for name, spread in self.figures.items()
        }
        found = {"workload": self.workload, **medians, "load1": round(self.load1, 2), **self.facts}
        return json.dumps({**found, "repeat": self.repeat, "spread": spreads})


def spreads(rounds: Sequence[Figures]) -> dict[str, Spread]:
    """Return the spread of each figure over the rounds that have it."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    return {name: Spread.of([figures[name] for figures in rounds if name in figures]) for name in names}


def read(path: Path) -> list[Result]:
    """Return the results in a file of JSON lines; of a workload measured again, the last."""
    found: dict[str, Result] = {}
    for line in path.read_text().splitlines():
        stored = json.loads(line)
        spread = {n: Spread(s["min"], s["median"], s["max"]) for n, s in stored["spread"].items()}
        name = stored["workload"]
        found[name] = Result(name, name, spread, stored["repeat"], stored["load1"])
    return list(found.values())


def percentile(values: Sequence[float], part: float) -> float:
    """Return the nearest-rank percentile of at least one value."""
    ordered = sorted(values)
    return ordered[max(math.ceil(part * len(ordered)) - 1, 0)]


def rounded(value: float) -> float:
    """Return a number to DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")


def load() -> float:
    """Return the load of this machine over the last minute."""
    return os.getloadavg()[0]
