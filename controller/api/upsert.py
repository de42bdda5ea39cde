"""Bring the stored resources to those applied, within the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import psycopg

from controller.actions import Event
from controller.api.errors import SCHEMA_CONFLICT_STATE, invalid
from controller.diff.changes import Change, changes
from controller.errors import Conflict
from controller.observed import Stored
from controller.runtime.keys import Key, Kind
from controller.store import dag_history, events, resources
from controller.store.resources import Ref
from controller.store.selection import Selection
from crds.check import check
from crds.dag import Dag
from crds.dataset import Dataset, Tier
from crds.kinds import APPLIED, APPLY_ORDER
from crds.pool import WorkerPool
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from controller.runtime.ids import Ids
    from crds.meta import Resource

# Annotations of ours survive an apply that does not name them.
OWN_ANNOTATIONS = "setpoint.dev/"
PAUSED = f"{OWN_ANNOTATIONS}paused"
# The most pools and datasets that a namespace may have for a DAG to be checked against them.
KNOWN_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one resource."""

    ref: Ref
    uid: str
    action: Literal["created", "configured", "unchanged"]
    generation: int
    changes: tuple[Change, ...]


class _Wanted(NamedTuple):
    resource: Resource
    ref: Ref
    stored: Stored | None
    spec: dict[str, Any]
    annotations: dict[str, str]


def upsert(
    connection: psycopg.Connection, wanted: Sequence[Resource], ids: Ids, now: datetime
) -> tuple[list[Applied], list[Key]]:
    """Write resources and return what became of each, and the keys to look at after COMMIT.

    Raise RefusedError with all problems if one of them cannot be, Conflict if its writer saw an older version of one.
    """
    resources.take_turns(connection)
    refs = [_ref(resource) for resource in wanted]
    stored = resources.lock(connection, refs)
    _refuse(connection, wanted, stored)
    plans = [_want(resource, stored.get(ref)) for resource, ref in zip(wanted, refs, strict=True)]

    done: dict[Ref, Applied] = {}
    for plan in sorted(plans, key=lambda p: (APPLY_ORDER.index(p.ref.kind), p.ref.name)):
        done[plan.ref] = _write(connection, plan, ids, now)
    events.record(connection, [e for a in done.values() if (e := _event(a)) is not None], now)
    return [done[ref] for ref in refs], list(_keys(done.values()))


def stored_spec(resource: Resource) -> dict[str, Any]:
    """Return the spec as it is stored: JSON in camelCase with its defaults, without what is absent."""
    spec: dict[str, Any] = resource.model_dump(mode="json", by_alias=True, exclude_none=True)["spec"]
    return spec


def _ref(resource: Resource) -> Ref:
    return Ref(type(resource).__name__, resource.metadata.namespace, resource.metadata.name)


def _refuse(connection: psycopg.Connection, wanted: Sequence[Resource], stored: Mapping[Ref, Stored]) -> None:
    for resource in wanted:
        given, ref = resource.metadata.resource_version, _ref(resource)
        current = stored.get(ref)
        if given is not None and (current is None or str(current.resource_version) != given):
            at = "does not exist" if current is None else f"is at resourceVersion {current.resource_version}"
            raise Conflict(f"{ref.kind} {ref.name!r} {at}, not at {given}; read it again and repeat your change")
        if current is not None and current.terminating:
            raise Conflict(f"{ref.kind} {ref.name!r} is being deleted; apply it again when it is gone")
    problems = [
        problem(n, resource, finding.field, finding.message, finding.suggestion)
        for n, finding in check(wanted, _known(connection, wanted))
        for resource in (wanted[n],)
    ]
    for n, resource in enumerate(wanted):
        before = stored.get(_ref(resource))
        problems += [problem(n, resource, *p) for p in _immutable(connection, resource, before)]
    if problems:
        raise invalid(f"{len(problems)} problems; nothing was changed", problems)


def problem(
    position: int, resource: Resource, field: str, message: str, suggestion: str | None = None
) -> dict[str, Any]:
    """Return a problem of one resource of a request."""
    found: dict[str, Any] = {
        "resource": position,
        "kind": type(resource).__name__,
        "name": resource.metadata.name,
        "field": field,
        "message": message,
    }
    return found | ({"suggestion": suggestion} if suggestion else {})


def _known(connection: psycopg.Connection, wanted: Sequence[Resource]) -> list[Resource]:
    namespaces = {resource.metadata.namespace for resource in wanted}
    found = [
        _parsed(stored)
        for kind in ("WorkerPool", "Dataset")
        for namespace in sorted(namespaces)
        for stored in resources.page(connection, kind, Selection(namespace, limit=KNOWN_LIMIT))
        # Nothing new may refer to what is going.
        if not stored.terminating
    ]
    # A queue belongs to one pool, whatever its namespace.
    others = resources.pools_elsewhere(connection, sorted(namespaces), KNOWN_LIMIT)
    return found + [_parsed(stored) for stored in others]


def _parsed(stored: Stored) -> Resource:
    document = {
        "kind": stored.kind,
        "metadata": {"name": stored.name, "namespace": stored.namespace},
        "spec": stored.spec,
    }
    # Leniently: a newer version may have written fields that this one does not know.
    return APPLIED[stored.kind].model.model_validate(document, extra="ignore")


def _immutable(connection: psycopg.Connection, resource: Resource, before: Stored | None) -> Iterator[tuple[str, str]]:
    """Find changes that would pull the ground from under what exists."""
    if before is None:
        return
    match resource:
        case WorkerPool() if before.spec.get("runtime") != resource.spec.runtime:
            dags = resources.dags_with_pool(connection, before.namespace, before.name)
            if dags:
                yield "spec.runtime", f"cannot change while tasks of {', '.join(dags)} run in this pool"
        case Dataset() if before.spec.get("tier") != resource.spec.tier:
            yield "spec.tier", f"cannot change from {before.spec.get('tier')}; apply a new dataset and copy the rows"
        case _:
            return


def _want(resource: Resource, stored: Stored | None) -> _Wanted:
    spec = stored_spec(resource)
    annotations = dict(resource.metadata.annotations)
    if stored is not None:
        own = {k: v for k, v in stored.annotations.items() if k.startswith(OWN_ANNOTATIONS)}
        annotations = own | annotations
        # What was paused by hand stays paused, until it is resumed or the file itself speaks of `suspend`.
        if isinstance(resource, Dag) and PAUSED in own:
            if "suspend" in resource.spec.model_fields_set:
                del annotations[PAUSED]
            else:
                spec["suspend"] = True
    return _Wanted(resource, _ref(resource), stored, spec, annotations)


def _write(connection: psycopg.Connection, wanted: _Wanted, ids: Ids, now: datetime) -> Applied:
    stored = wanted.stored
    if stored is None:
        return _create(connection, wanted, ids, now)
    labels = wanted.resource.metadata.labels
    old = _comparable(stored)
    found = [
        *changes(old, wanted.spec, "spec"),
        *changes(stored.labels, labels, "metadata.labels"),
        *changes(stored.annotations, wanted.annotations, "metadata.annotations"),
    ]
    if not found:
        return Applied(wanted.ref, stored.uid, "unchanged", stored.generation, ())
    generation = stored.generation + (old != wanted.spec)
    resources.update(connection, stored, labels, wanted.annotations, wanted.spec, generation)
    if generation != stored.generation:
        _follow(connection, wanted, stored.uid, generation, now)
    return Applied(wanted.ref, stored.uid, "configured", generation, tuple(found))


def _create(connection: psycopg.Connection, wanted: _Wanted, ids: Ids, now: datetime) -> Applied:
    uid = ids.uid(now)
    labels = wanted.resource.metadata.labels
    kind, namespace, name = wanted.ref
    row = Stored(uid, kind, namespace, name, labels, wanted.annotations, 1, 0, wanted.spec, now)
    resources.insert(connection, row)
    _follow(connection, wanted, uid, 1, now)
    return Applied(wanted.ref, uid, "created", 1, ())


def _comparable(stored: Stored) -> dict[str, Any]:
    """Return a stored spec with the defaults of today, so that a new field alone is no change."""
    return stored_spec(_parsed(stored))


def _follow(connection: psycopg.Connection, wanted: _Wanted, uid: str, generation: int, now: datetime) -> None:
    """Write what hangs on a changed spec: a Dag's revision, a dataset's state and table."""
    match wanted.resource:
        case Dag():
            dag_history.record(connection, uid, generation, wanted.spec, now)
        case Dataset():
            try:
                resources.ensure_dataset(connection, uid, hot=wanted.resource.spec.tier is Tier.HOT)
            except psycopg.Error as error:
                if error.sqlstate != SCHEMA_CONFLICT_STATE:
                    raise
                message = error.diag.message_primary or str(error)
                found = problem(0, wanted.resource, "spec.columns", message) | {"reason": Reason.SCHEMA_CONFLICT}
                raise invalid(message, [found]) from error
        case _:
            return


def _event(applied: Applied) -> Event | None:
    kind, namespace, name = applied.ref
    match applied.action:
        case "unchanged":
            return None
        case "created":
            return Event("Normal", namespace, kind, name, Reason.CREATED, f"{kind} created")
        case "configured":
            paths = ", ".join(change.path for change in applied.changes[:5])
            more = f" and {len(applied.changes) - 5} more" if len(applied.changes) > 5 else ""
            text = f"generation {applied.generation}: {paths}{more}"
            return Event("Normal", namespace, kind, name, Reason.APPLIED, text)


def _keys(done: Iterable[Applied]) -> Iterator[Key]:
    # A pool that grew, or was resumed, has slots to give.
    kinds = {"Dag": (Kind.DAG,), "WorkerPool": (Kind.POOL, Kind.SLOTS), "Dataset": (Kind.DATASET,)}
    for applied in done:
        if applied.action != "unchanged":
            yield from (Key(kind, applied.uid) for kind in kinds.get(applied.ref.kind, ()))
