"""Keep callers who are confined to some Dags away from all others: here for objects, in the queries for lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.api.auth import ForbiddenError, Principal
from controller.api.verbs import READING, Deed
from controller.errors import NotFound
from controller.observed import parse_task_run_name
from controller.store import resources
from controller.store.resources import Ref
from crds.dag import Dag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from controller.store.selection import Scope
    from crds.meta import Resource

OF_DAGS = frozenset({"Dag", "DagRun", "TaskRun"})
_OF_NOBODY = frozenset({"Token", "Bundle", "Event", "*"})
"""Kinds whose endpoints look at the scope themselves, or whose names are no secret: a bundle's is the digest of its content."""

_OF_ALL = frozenset({"Audit", "Doctor"})
"""What tells of all Dags, whoever asks."""


def check_path(
    connection: psycopg.Connection, principal: Principal, method: str, what: Deed, path: Mapping[str, str]
) -> None:
    """Raise NotFound for an object of others' Dags, ForbiddenError for a change to what all Dags share."""
    if principal.scope is None or what.kind in _OF_NOBODY:
        return
    if what.kind not in OF_DAGS:
        if method not in READING or what.kind in _OF_ALL:
            raise ForbiddenError(principal, f"{principal.name} is confined to {principal.scope.text}; {_shared(what)}")
        return
    # An apply has its own rule, since the Dag may not exist yet.
    if "name" in path and what.verb != "apply":
        check_object(connection, principal.scope, Ref(what.kind, path["ns"], path["name"]))


def check_object(connection: psycopg.Connection, scope: Scope, ref: Ref) -> None:
    """Raise NotFound unless a Dag, DagRun or TaskRun belongs to a Dag in the scope."""
    owner: Ref | None = ref
    if ref.kind == "TaskRun":
        parts = parse_task_run_name(ref.name)
        owner = Ref("DagRun", ref.namespace, parts[0]) if parts else None
    labels = resources.dag_labels(connection, owner) if owner else None
    if labels is None or not scope.labels.match(labels):
        raise NotFound(f"there is no {ref.kind} {ref.name!r} in namespace {ref.namespace!r}")


def check_apply(connection: psycopg.Connection, principal: Principal, wanted: Sequence[Resource]) -> None:
    """Raise ForbiddenError unless all resources are Dags in the caller's scope, as they are stored and as they shall be."""
    scope = principal.scope
    if scope is None:
        return
    # Until COMMIT nobody else changes labels, so what is checked here is what is written.
    resources.take_turns(connection)
    refs = [Ref(type(one).__name__, one.metadata.namespace, one.metadata.name) for one in wanted]
    stored = resources.lock(connection, refs)
    for one, ref in zip(wanted, refs, strict=True):
        if not isinstance(one, Dag):
            what = Deed("apply", ref.kind)
            raise ForbiddenError(principal, f"{principal.name} is confined to {scope.text}; {_shared(what)}")
        before = stored.get(ref)
        if before is not None and not scope.labels.match(before.labels):
            raise ForbiddenError(principal, _outside(principal, scope, ref, "has", before.labels))
        if not scope.labels.match(one.metadata.labels):
            raise ForbiddenError(principal, _outside(principal, scope, ref, "would have", one.metadata.labels))


def _outside(principal: Principal, scope: Scope, ref: Ref, has: str, labels: Mapping[str, str]) -> str:
    keys = [*scope.labels.within, *scope.labels.without, *scope.labels.present, *scope.labels.absent]
    shown = ", ".join(f"{key}={labels[key]}" if key in labels else f"no label {key}" for key in dict.fromkeys(keys))
    return f"{principal.name} is confined to {scope.text}; Dag {ref.name!r} {has} {shown}"


def _shared(what: Deed) -> str:
    if what.kind in _OF_ALL:
        return "this tells of all Dags"
    return f"a {what.kind} is shared by all Dags, so that only unconfined callers change one"
