"""Revisions: a Dag's spec at one generation. They never change, so a process may keep them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, LiteralString, NamedTuple

from crds.dag import DagSpec, IngestTask, LambdaTask, PolarsTask, PythonTask, Retries, TaskDefaults
from crds.names import DagUid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import psycopg

AnyTask = PolarsTask | PythonTask | IngestTask | LambdaTask
CACHE_LIMIT = 1_000

_READ: LiteralString = """
    SELECT dag_uid, generation, spec
      FROM revision
      JOIN unnest(%(dags)s::text[], %(generations)s::bigint[]) AS wanted(dag_uid, generation) USING (dag_uid, generation)
"""


class RevisionId(NamedTuple):
    """A Dag at one generation."""

    dag: DagUid
    generation: int


@dataclass(frozen=True, slots=True)
class Revision:
    """A parsed revision."""

    id: RevisionId
    spec: DagSpec
    tasks: Mapping[str, AnyTask]

    def retries(self, task: str) -> Retries:
        """Return the task's retries, or the DAG's default."""
        own = self.tasks[task].retries
        return self.spec.defaults.retries if own is None else own

    def defaults(self) -> TaskDefaults:
        """Return what the DAG's tasks take when they say nothing themselves."""
        return self.spec.defaults

    def pool(self, task: str) -> str:
        """Return the name of the task's pool."""
        return self.tasks[task].pool or self.tasks[task].runtime

    def upstream(self, task: str) -> frozenset[str]:
        """Return all tasks above one, directly or not."""
        found: set[str] = set()
        open_ = list(self.tasks[task].needs)
        while open_:
            name = open_.pop()
            if name not in found:
                found.add(name)
                open_ += self.tasks[name].needs
        return frozenset(found)


class Revisions:
    """Read revisions, each once a process."""

    def __init__(self) -> None:
        self._known: OrderedDict[RevisionId, Revision] = OrderedDict()
        self._lock = Lock()

    def read(self, connection: psycopg.Connection, ids: Iterable[RevisionId]) -> dict[RevisionId, Revision]:
        """Return the revisions that exist."""
        wanted = set(ids)
        with self._lock:
            found = {i: self._known[i] for i in wanted if i in self._known}
        missing = wanted - found.keys()
        if not missing:
            return found
        rows = connection.execute(
            _READ, {"dags": [i.dag for i in missing], "generations": [i.generation for i in missing]}
        )
        for dag, generation, spec in rows:
            key = RevisionId(DagUid(dag), generation)
            # Read leniently: an old dispatcher must survive a newer one's fields during a deploy.
            parsed = DagSpec.model_validate(spec, extra="ignore")
            found[key] = Revision(key, parsed, {task.name: task for task in parsed.tasks})
        with self._lock:
            self._known.update(found)
            while len(self._known) > CACHE_LIMIT:
                self._known.popitem(last=False)
        return found
