"""The kinds, and every word by which people and paths name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crds.dag import Dag
from crds.dataset import Dataset
from crds.notifier import Notifier
from crds.pool import WorkerPool
from crds.run import DagRun, TaskRun

if TYPE_CHECKING:
    from crds.meta import Resource


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource kind. `applied`: people write it in YAML; the others come from triggers and schedules."""

    name: str
    model: type[Resource]
    plural: str
    short: tuple[str, ...]
    also: tuple[str, ...] = ()
    applied: bool = True

    @property
    def singular(self) -> str:
        """The lower-case name, as in `dag/flights`."""
        return self.name.lower()

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that means this kind."""
        return (self.singular, self.plural, *self.short, *self.also)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("Dag", Dag, "dags", ("dag",)),
        Kind("DagRun", DagRun, "dagruns", ("run",), ("runs",), applied=False),
        Kind("TaskRun", TaskRun, "taskruns", ("tr",), ("task", "tasks"), applied=False),
        Kind("WorkerPool", WorkerPool, "workerpools", ("wp",), ("pool", "pools")),
        Kind("Dataset", Dataset, "datasets", ("ds",)),
        Kind("Notifier", Notifier, "notifiers", ("nt",)),
    )
}

APPLIED: dict[str, Kind] = {name: kind for name, kind in KINDS.items() if kind.applied}

# Applied in this order, so that a Dag finds its pools and datasets.
APPLY_ORDER = ("WorkerPool", "Dataset", "Notifier", "Dag")

_BY_WORD: dict[str, Kind] = {word: kind for kind in KINDS.values() for word in kind.words}

WORDS: tuple[str, ...] = tuple(_BY_WORD)


def find_kind(word: str) -> Kind | None:
    """Return the kind that a name, plural, short name or alias means, in any case of letters."""
    return _BY_WORD.get(word.lower())
