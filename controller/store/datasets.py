"""Datasets as attempts read them: pinned versions, and the files of a version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from controller.store.later import Known, Later
from crds.protocol import ColdFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import psycopg

_BY_NAME: LiteralString = """
    SELECT resource.uid, resource.name, resource.namespace, resource.spec, coalesce(dataset_state.version, 0)
      FROM resource
      LEFT JOIN dataset_state ON dataset_state.dataset_uid = resource.uid
     WHERE resource.kind = 'Dataset' AND resource.namespace = %(namespace)s AND resource.name = ANY(%(names)s)
"""

_FILES: LiteralString = """
    SELECT key, partition, rows, bytes FROM manifest_file
     WHERE dataset_uid = %(dataset)s AND added <= %(version)s AND (removed IS NULL OR removed > %(version)s)
     ORDER BY partition, key
"""

_COMMITTED: LiteralString = """
    SELECT max((versions->>%(dataset)s)::bigint) FROM task_run
     WHERE run_uid = %(run)s AND versions ? %(dataset)s AND task = ANY(%(tasks)s)
"""

# Outputs may be large, so they are read only where an input names them.
_OUTPUTS: LiteralString = """
    SELECT task_run.run_uid, task_run.task, task_run.phase, CASE WHEN wanted.outputs THEN task_run.outputs END
      FROM unnest(%(runs)s::text[], %(tasks)s::text[], %(outputs)s::bool[]) AS wanted(run_uid, task, outputs)
      JOIN task_run USING (run_uid, task)
"""

_SWEEP: LiteralString = "SELECT sweep_stages(%(limit)s)"


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A dataset and its newest version."""

    uid: str
    name: str
    namespace: str
    spec: Mapping[str, Any]
    version: int

    @property
    def cold(self) -> bool:
        """Tell whether it lives in the object store."""
        return self.spec.get("tier") == "cold"


def by_name(connection: psycopg.Connection, namespace: str, names: Iterable[str]) -> Later[dict[str, DatasetRow]]:
    """Return the datasets of a namespace by name."""
    wanted = sorted(set(names))
    if not wanted:
        return Known({})
    rows = connection.execute(_BY_NAME, {"namespace": namespace, "names": wanted})
    return Later(rows, lambda found: {r[1]: DatasetRow(*r) for r in found})


def files(connection: psycopg.Connection, dataset: str, version: int) -> list[ColdFile]:
    """Return the files that make up a version of a cold dataset."""
    rows = connection.execute(_FILES, {"dataset": dataset, "version": version})
    return [ColdFile(key=r[0], partition=r[1], rows=r[2], bytes=r[3]) for r in rows]


def committed(connection: psycopg.Connection, run: str, dataset: str, tasks: Sequence[str]) -> int | None:
    """Return the newest version of a dataset that one of these tasks of a run committed."""
    row = connection.execute(_COMMITTED, {"run": run, "dataset": dataset, "tasks": list(tasks)}).fetchone()
    return row[0] if row else None


def outputs(
    connection: psycopg.Connection, wanted: Mapping[tuple[str, str], bool]
) -> Later[dict[tuple[str, str], tuple[str, Any]]]:
    """Return (phase, outputs) of tasks by (run, task), the outputs of those only that are wanted with them."""
    if not wanted:
        return Known({})
    rows = connection.execute(
        _OUTPUTS,
        {"runs": [k[0] for k in wanted], "tasks": [k[1] for k in wanted], "outputs": list(wanted.values())},
    )
    return Later(rows, lambda found: {(r[0], r[1]): (r[2], r[3]) for r in found})


def sweep_stages(connection: psycopg.Connection, limit: int) -> int:
    """Drop stage tables whose attempts have ended; return how many."""
    row = connection.execute(_SWEEP, {"limit": limit}).fetchone()
    return row[0] if row else 0
