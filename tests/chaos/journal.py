"""What user code noted of itself: each attempt's start and end, and how soon a killed task ran again."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crds.names import parse_attempt_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """A start ("begins") or an end ("ends") of an attempt's user code, in a process, at a Unix time."""

    what: str
    attempt: str
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Kill:
    """Processes that were killed at a Unix time, with all that they had started."""

    at: float
    pids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Journal:
    """All lines, in the order in which they were written."""

    lines: Sequence[Line] = field(default=())

    def starts(self) -> Mapping[str, int]:
        """Return how often the user code of each attempt has begun."""
        counts: dict[str, int] = defaultdict(int)
        for line in self.lines:
            counts[line.attempt] += line.what == "begins"
        return counts

    def running(self) -> set[int]:
        """Return the processes whose last line is a start."""
        return {line.pid for line in {line.pid: line for line in self.lines}.values() if line.what == "begins"}

    def recoveries(self, kills: Iterable[Kill]) -> list[float]:
        """Return, for each task that a kill interrupted, the seconds until its next attempt began."""
        begun: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        for line in self.lines:
            if line.what == "begins":
                name = parse_attempt_id(line.attempt)
                begun[name.run, name.task].append((name.number, line.at))
        found = []
        for kill in kills:
            for attempt in self._interrupted(kill):
                name = parse_attempt_id(attempt)
                later = [at for number, at in begun[name.run, name.task] if number > name.number]
                # None began if the attempt had committed before it was killed.
                found += [min(later) - kill.at] if later else []
        return found

    def _interrupted(self, kill: Kill) -> set[str]:
        lines = [line for line in self.lines if line.pid in kill.pids and line.at <= kill.at]
        ended = {line.attempt for line in lines if line.what == "ends"}
        return {line.attempt for line in lines} - ended


def read(path: Path) -> Journal:
    """Return a journal; one that nobody has written is empty."""
    if not path.exists():
        return Journal()
    # What stands behind the last line's end is being written just now.
    whole, _, _ = path.read_text().rpartition("\n")
    return Journal([Line(**json.loads(text)) for text in whole.splitlines()])
