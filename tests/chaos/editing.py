"""People who edit the files of DAGs while they run: well, and badly for a while."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING

from tests.chaos.workload import DAGS, EDITED, replace, write_dag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _torn(text: str) -> str:
    return text[: len(text) // 2]


def _unknown_field(text: str) -> str:
    return text.replace('"tasks"', '"taskz"', 1)


def _no_such_code(text: str) -> str:
    return text.replace("bodies:work", "nobody:home")


def _circle(text: str) -> str:
    document = json.loads(text)
    first, last = document["spec"]["tasks"][0], document["spec"]["tasks"][-1]
    first["needs"] = [last["name"]]
    return json.dumps(document)


BAD: tuple[Callable[[str], str], ...] = (_torn, _unknown_field, _no_such_code, _circle)


@dataclass(frozen=True, slots=True)
class Editor:
    """Edits DAGs in the folder that is applied; one edit of a DAG at a time."""

    folder: Path
    journal: Path
    editions: Counter[str] = field(default_factory=Counter)
    _locks: dict[str, Lock] = field(default_factory=lambda: {name: Lock() for name in EDITED})

    def edit(self, draw: float) -> str | None:
        """Write the next edition of a DAG; return which, or None if it is being edited badly just now."""
        name = _chosen(draw)
        if not self._locks[name].acquire(blocking=False):
            return None
        try:
            self.editions[name] += 1
            dag = next(dag for dag in DAGS if dag.name == name)
            write_dag(self.folder, dag, self.journal, self.editions[name])
        finally:
            self._locks[name].release()
        return f"{name} {self.editions[name]}"

    def edit_badly(self, draw: float, seconds: float, over: Event) -> str | None:
        """Make a DAG's file invalid for a while, and put it back."""
        name = _chosen(draw)
        bad = BAD[int(draw * 1_000) % len(BAD)]
        if not self._locks[name].acquire(blocking=False):
            return None
        path = self.folder / name / "dag.yaml"
        before = path.read_text()
        try:
            replace(path, bad(before))
            over.wait(seconds)
        finally:
            replace(path, before)
            self._locks[name].release()
        return f"{name} {bad.__name__}"

    def wanted(self) -> dict[str, int]:
        """Return the edition that the files of each DAG say."""
        return {dag.name: self.editions[dag.name] for dag in DAGS}


def _chosen(draw: float) -> str:
    return EDITED[int(draw * len(EDITED))]
