"""Claim attempts and build their grants: the task as its revision wrote it, the inputs it may read, the datasets it may write."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.api.tokens import token_hash
from controller.diff.attempts import FINISH_GRACE
from controller.runtime.traces import no_context
from controller.store import datasets, fences
from controller.store.fences import NewClaim
from crds.names import hot_table
from crds.phases import TaskPhase
from crds.protocol import DatasetRef, Grant, TaskInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from controller.actions import TaskKey
    from controller.api.tokens import ClaimTokens
    from controller.store.datasets import DatasetRow
    from controller.store.fences import ClaimedRow
    from controller.store.later import Later
    from controller.store.revisions import Revision, RevisionId, Revisions
    from crds.names import AttemptId

CACHE_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Given:
    """An attempt that a worker gets; not `new` if the same request has claimed it before."""

    attempt: AttemptId
    key: TaskKey
    revision: RevisionId
    namespace: str
    request: str
    worker: str
    new: bool = True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the grants of a group need beside their attempts, on its way."""

    datasets: Mapping[str, Later[dict[str, DatasetRow]]]
    """By namespace."""
    upstream: Later[dict[tuple[str, str], tuple[str, Any]]]
    """(phase, outputs) by (run, task)."""


class Grants:
    """Claims attempts and builds their grants; what a revision says of a task never changes and is kept."""

    def __init__(
        self,
        revisions: Revisions,
        tokens: ClaimTokens,
        trace: Callable[[AttemptId], str | None] = no_context,
    ) -> None:
        self._revisions = revisions
        self._trace = trace
        self._tokens = tokens
        self._tasks: OrderedDict[tuple[str, int, str], dict[str, Any]] = OrderedDict()

    def give(
        self, connection: psycopg.Connection, given: Sequence[Given], now: datetime
    ) -> Callable[[], dict[AttemptId, Grant]]:
        """Claim the attempts that are new; return what builds the grants of those that were claimed.

        The grants may be built after COMMIT, in one round trip with it: whatever else they need never changes.
        """
        if not given:
            return dict
        known = self._revisions.read(connection, {g.revision for g in given})
        around = _look(connection, [(g, known[g.revision]) for g in given])
        claims = [NewClaim(g.attempt, g.worker, g.request, token_hash(self._token(g))) for g in given if g.new]
        fences.claim(connection, claims, now, FINISH_GRACE)
        rows = fences.taken(connection, [(g.worker, g.request) for g in given])
        wanted = {g.attempt for g in given}
        return lambda: {
            row.id: self._build(connection, row, known[row.revision], around) for row in rows.get() if row.id in wanted
        }

    def _token(self, claimed: Given | ClaimedRow) -> str:
        attempt = claimed.attempt if isinstance(claimed, Given) else claimed.id
        return self._tokens.token(attempt, claimed.request, claimed.worker)

    def _build(
        self, connection: psycopg.Connection, row: ClaimedRow, revision: Revision, around: Surroundings
    ) -> Grant:
        """Return the grant of a claimed attempt."""
        task = revision.tasks[row.key.task]
        known, upstream = around.datasets[row.namespace].get(), around.upstream.get()
        return Grant(
            attempt=row.id,
            token=self._token(row),
            task=self._task(revision, row.key.task),
            dag=row.dag,
            run=row.run_name,
            namespace=row.namespace,
            number=row.number,
            timeout_seconds=row.timeout_seconds,
            params=row.params,
            inputs=_inputs(connection, row, revision, around),
            outputs={
                alias: _ref(known[out.dataset], mode=out.mode)
                for alias, out in task.outputs.items()
                if out.dataset in known
            },
            upstream={need: upstream[row.key.run, need][0] for need in task.needs if (row.key.run, need) in upstream},
            bundle=revision.spec.bundle,
            tick=row.tick.isoformat() if row.tick else None,
            memory_bytes=task.memory or revision.spec.defaults.memory,
            bookmark=row.bookmark,
            traceparent=self._trace(row.id),
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


def _look(connection: psycopg.Connection, given: Iterable[tuple[Given, Revision]]) -> Surroundings:
    """Ask for what the grants of these attempts need, all of it at once."""
    named: dict[str, set[str]] = {}
    upstream: dict[tuple[str, str], bool] = {}
    for one, revision in given:
        task = revision.tasks[one.key.task]
        wanted = {i.dataset for i in task.inputs.values() if i.dataset} | {o.dataset for o in task.outputs.values()}
        named.setdefault(one.namespace, set()).update(wanted)
        for need in task.needs:
            upstream.setdefault((one.key.run, need), False)
        upstream.update({(one.key.run, i.task): True for i in task.inputs.values() if i.task})
    return Surroundings(
        {space: datasets.by_name(connection, space, names) for space, names in named.items()},
        datasets.outputs(connection, upstream),
    )


def _inputs(
    connection: psycopg.Connection, row: ClaimedRow, revision: Revision, around: Surroundings
) -> dict[str, TaskInput]:
    known, outputs = around.datasets[row.namespace].get(), around.upstream.get()
    built: dict[str, TaskInput] = {}
    for alias, wanted in revision.tasks[row.key.task].inputs.items():
        if wanted.task is not None:
            phase, value = outputs.get((row.key.run, wanted.task), (None, None))
            built[alias] = TaskInput(value=_pick(value, wanted.key) if phase == TaskPhase.SUCCEEDED else None)
        elif wanted.dataset is not None and wanted.dataset in known:
            above = sorted(revision.upstream(row.key.task))
            built[alias] = TaskInput(dataset=_readable(connection, row, known[wanted.dataset], above))
    return built


def _pick(value: Any, key: str | None) -> Any:
    if key is None:
        return value
    return value.get(key) if isinstance(value, dict) else None


def _readable(connection: psycopg.Connection, row: ClaimedRow, dataset: DatasetRow, above: Sequence[str]) -> DatasetRef:
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
