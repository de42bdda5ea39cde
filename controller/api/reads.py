"""Read objects of every kind: one, a page, or all of them for a watch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import psycopg

from controller.api import objects
from controller.errors import NotFound
from controller.observed import ObservedDag, ObservedNotifier, ObservedPool, Stored, parse_task_run_name
from controller.store import notifications, resources, views
from controller.store.selection import Selection

if TYPE_CHECKING:
    from controller.api.objects import Object


@dataclass(frozen=True, slots=True)
class Page:
    """Objects, and the sort key behind which the next page begins."""

    items: list[Object]
    next: tuple[Any, ...] | None = None


# Clients give sort keys back, so they are checked: Postgres holds no NUL, and an index has 32 bits.
_Text = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00]*\Z", max_length=256)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_Index = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]

Lister = Callable[[psycopg.Connection, Selection, datetime], Page]


@dataclass(frozen=True, slots=True)
class Collection:
    """How the objects of a kind are read. `key`: the type of a page's sort key. `deletable`: a watch must tell."""

    kind: str
    lister: Lister
    fields: frozenset[str] = frozenset()
    key: Any = tuple[_Text]
    deletable: bool = False


def one(connection: psycopg.Connection, plural: str, namespace: str, name: str, now: datetime) -> Object:
    """Return one object; raise NotFound."""
    collection = COLLECTIONS[plural]
    selection = Selection(namespace, name=name, limit=1)
    if collection.kind == "TaskRun":
        parts = parse_task_run_name(name)
        found = _task_page(connection, selection, parts) if parts else []
    else:
        found = collection.lister(connection, selection, now).items
    if not found:
        raise NotFound(f"there is no {collection.kind} {name!r} in namespace {namespace!r}")
    return found[0]


def everything(
    connection: psycopg.Connection, collection: Collection, selection: Selection, now: datetime, limit: int
) -> list[Object]:
    """Return all pages, up to a limit."""
    found: list[Object] = []
    while len(found) < limit:
        page = collection.lister(connection, selection, now)
        found += page.items
        if page.next is None:
            break
        selection = replace(selection, after=page.next)
    return found[:limit]


def observed_dags(connection: psycopg.Connection, stored: list[Stored], now: datetime) -> Mapping[str, ObservedDag]:
    """Return how Dags stand, by uid, with their next ticks."""
    uids = [s.uid for s in stored]
    seen = views.dags(connection, uids)
    observations = resources.observations(connection, uids)
    return {
        s.uid: replace(
            seen.get(s.uid, ObservedDag(0)),
            next_tick=objects.next_tick_of(s.spec, now),
            observation=observations.get(s.uid),
        )
        for s in stored
    }


def _dags(connection: psycopg.Connection, selection: Selection, now: datetime) -> Page:
    stored = resources.page(connection, "Dag", selection)
    seen = observed_dags(connection, stored, now)
    return _page([objects.dag(s, seen[s.uid]) for s in stored], selection)


def _pools(connection: psycopg.Connection, selection: Selection, now: datetime) -> Page:
    stored = resources.page(connection, "WorkerPool", selection)
    seen = views.pools(connection, [s.uid for s in stored], now)
    return _page([objects.pool(s, seen.get(s.uid, ObservedPool())) for s in stored], selection)


def _datasets(connection: psycopg.Connection, selection: Selection, now: datetime) -> Page:
    stored = resources.page(connection, "Dataset", selection)
    seen = views.datasets(connection, [s.uid for s in stored])
    return _page([objects.dataset(s, seen.get(s.uid), now) for s in stored], selection)


def _notifiers(connection: psycopg.Connection, selection: Selection, _now: datetime) -> Page:
    stored = resources.page(connection, "Notifier", selection)
    seen = notifications.observed(connection, [s.uid for s in stored])
    return _page([objects.notifier(s, seen.get(s.uid, ObservedNotifier())) for s in stored], selection)


def _page(items: list[Object], selection: Selection) -> Page:
    full = len(items) == selection.limit
    return Page(items, (items[-1]["metadata"]["name"],) if full else None)


def _runs(connection: psycopg.Connection, selection: Selection, _now: datetime) -> Page:
    seen = views.runs(connection, selection)
    last = (seen[-1].created_at.isoformat(), seen[-1].uid) if len(seen) == selection.limit else None
    return Page([objects.run(r) for r in seen], last)


def _tasks(connection: psycopg.Connection, selection: Selection, _now: datetime) -> Page:
    seen = views.tasks(connection, selection, attempts=ATTEMPTS_IN_LISTS)
    full = len(seen) == selection.limit
    last = (seen[-1].run_uid, seen[-1].task, seen[-1].index) if full else None
    return Page([objects.task(t) for t in seen], last)


def _task_page(connection: psycopg.Connection, selection: Selection, parts: tuple[str, str, int]) -> list[Object]:
    run, task, index = parts
    selection = replace(selection, name=None, run=run, task=task)
    return [objects.task(t) for t in views.tasks(connection, selection, index=index)]


# A list shows how a task stands; the history of its attempts is in the object itself.
ATTEMPTS_IN_LISTS = 1

COLLECTIONS: Mapping[str, Collection] = {
    "dags": Collection("Dag", _dags, deletable=True),
    "dagruns": Collection("DagRun", _runs, frozenset({"dag", "phase"}), key=tuple[_Time, _Text]),
    "taskruns": Collection("TaskRun", _tasks, frozenset({"run", "dag", "task", "phase"}), tuple[_Text, _Text, _Index]),
    "workerpools": Collection("WorkerPool", _pools, deletable=True),
    "datasets": Collection("Dataset", _datasets, deletable=True),
    "notifiers": Collection("Notifier", _notifiers, deletable=True),
}
