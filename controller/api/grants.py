"""Build grants: the task as its revision wrote it, the inputs it may read, the datasets it may write."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from controller.store import datasets
from crds.names import hot_table
from crds.phases import TaskPhase
from crds.protocol import DatasetRef, Grant, TaskInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from controller.store.datasets import DatasetRow
    from controller.store.fences import ClaimRow
    from controller.store.revisions import Revision

CACHE_LIMIT = 10_000


class Grants:
    """Builds grants; what a revision says of a task never changes and is kept."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[tuple[str, int, str], dict[str, Any]] = OrderedDict()

    def build(self, connection: psycopg.Connection, row: ClaimRow, revision: Revision, token: str) -> Grant:
        """Return the grant of a claimed attempt."""
        task = revision.tasks[row.key.task]
        named = {i.dataset for i in task.inputs.values() if i.dataset} | {o.dataset for o in task.outputs.values()}
        known = datasets.by_name(connection, row.namespace, named) if named else {}
        upstream = datasets.outputs(connection, row.key.run, task.needs) if task.needs else {}
        return Grant(
            attempt=row.id,
            token=token,
            task=self._task(revision, row.key.task),
            dag=row.dag,
            run=row.run_name,
            namespace=row.namespace,
            number=row.number,
            timeout_seconds=row.timeout_seconds,
            params=row.params,
            inputs=self._inputs(connection, row, revision, known),
            outputs={
                alias: _ref(known[out.dataset], mode=out.mode)
                for alias, out in task.outputs.items()
                if out.dataset in known
            },
            upstream={name: phase for name, (phase, _) in upstream.items()},
            bundle=revision.spec.bundle,
            tick=row.tick.isoformat() if row.tick else None,
            memory_bytes=task.memory or revision.spec.defaults.memory,
            bookmark=row.bookmark,
        )

    def _task(self, revision: Revision, name: str) -> dict[str, Any]:
        key = (*revision.id, name)
        found = self._tasks.get(key)
        if found is None:
            found = revision.tasks[name].model_dump(mode="json", by_alias=True, exclude_none=True)
            self._tasks[key] = found
            while len(self._tasks) > CACHE_LIMIT:
                self._tasks.popitem(last=False)
        return found

    def _inputs(
        self,
        connection: psycopg.Connection,
        row: ClaimRow,
        revision: Revision,
        known: Mapping[str, DatasetRow],
    ) -> dict[str, TaskInput]:
        inputs = revision.tasks[row.key.task].inputs
        from_tasks = [i.task for i in inputs.values() if i.task]
        outputs = datasets.outputs(connection, row.key.run, from_tasks) if from_tasks else {}
        above = sorted(revision.upstream(row.key.task)) if known else []
        built: dict[str, TaskInput] = {}
        for alias, wanted in inputs.items():
            if wanted.task is not None:
                phase, value = outputs.get(wanted.task, (None, None))
                built[alias] = TaskInput(value=_pick(value, wanted.key) if phase == TaskPhase.SUCCEEDED else None)
            elif wanted.dataset is not None and wanted.dataset in known:
                built[alias] = TaskInput(dataset=_readable(connection, row, known[wanted.dataset], above))
        return built


def _pick(value: Any, key: str | None) -> Any:
    if key is None:
        return value
    return value.get(key) if isinstance(value, dict) else None


def _readable(connection: psycopg.Connection, row: ClaimRow, dataset: DatasetRow, above: Sequence[str]) -> DatasetRef:
    """Return a dataset as the attempt sees it: what its own run wrote above it, else the version pinned at admission."""
    if not dataset.cold:
        return _ref(dataset)
    version = datasets.committed(connection, row.key.run, dataset.uid, above)
    if version is None:
        version = row.pins.get(dataset.uid, dataset.version)
    return _ref(dataset, version=version, files=datasets.files(connection, dataset.uid, version))


def _ref(dataset: DatasetRow, *, mode: str | None = None, version: int | None = None, files: Any = ()) -> DatasetRef:
    return DatasetRef(
        name=dataset.name,
        uid=dataset.uid,
        spec=dict(dataset.spec),
        namespace=dataset.namespace,
        table=None if dataset.cold else hot_table(dataset.name, dataset.namespace),
        version=dataset.version if version is None else version,
        files=list(files),
        mode=mode,
    )
