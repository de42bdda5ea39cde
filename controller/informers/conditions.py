"""Count the conditions of what lives, and notice how they change, for the metrics of operatorpkg's kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.diff import conditions
from controller.diff.freshness import fresh_until, within_of
from controller.observed import ObservedDag, ObservedPool
from controller.runtime import metrics
from controller.store import resources, views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    import psycopg

    from controller.observed import Stored
    from crds.meta import Condition

RUNS_LIMIT = 200
TASKS_LIMIT = 1_000
"""Of how many unfinished runs and active tasks a sample counts the conditions: what is stuck is stuck in every sample."""
RESOURCES_LIMIT = 2_000

Key = tuple[str, str, str]
"""A kind, an object's name and a condition's type."""


@dataclass(frozen=True, slots=True)
class _Known:
    status: str
    reason: str
    since: datetime


class Conditions:
    """Remembers how conditions were at the last sample; that is all that a change is noticed by."""

    def __init__(self) -> None:
        self._known: dict[Key, _Known] = {}

    def forget(self) -> None:
        """Begin anew, when somebody else leads."""
        self._known.clear()

    def sample(self, connection: psycopg.Connection, now: datetime) -> dict[str, dict[tuple[str, ...], float]]:
        """Return the counts and the longest times, and count what has changed since the last sample."""
        known: dict[Key, _Known] = {}
        counts: dict[str, Counter[tuple[str, ...]]] = {kind: Counter() for kind in metrics.CONDITION_KINDS}
        longest: dict[str, dict[tuple[str, ...], float]] = {kind: {} for kind in metrics.CONDITION_KINDS}
        for kind, name, condition in _all(connection, now):
            key, labels = (kind, name, condition.type), (condition.type, condition.status.value, condition.reason)
            known[key] = now_known = self._look(key, condition, now)
            counts[kind][labels] += 1
            age = (now - now_known.since).total_seconds()
            longest[kind][labels] = max(longest[kind].get(labels, 0.0), age)
        self._known = known
        return {
            **{metrics.CONDITION_COUNT[kind]: dict(found) for kind, found in counts.items()},
            **{metrics.CONDITION_SECONDS[kind]: found for kind, found in longest.items()},
        }

    def _look(self, key: Key, condition: Condition, now: datetime) -> _Known:
        before = self._known.get(key)
        if before is not None and (before.status, before.reason) == (condition.status, condition.reason):
            return before
        if before is not None:
            kind = key[0]
            labels = (condition.type, condition.status.value, condition.reason)
            metrics.CONDITION_TRANSITIONS[kind].labels(*labels).inc()
            lasted = (now - before.since).total_seconds()
            metrics.CONDITION_TRANSITION_TIME[kind].labels(condition.type, before.status).observe(lasted)
        return _Known(condition.status.value, condition.reason, condition.last_transition_time or now)


def _all(connection: psycopg.Connection, now: datetime) -> Iterator[tuple[str, str, Condition]]:
    dags, pools, datasets = (resources.everywhere(connection, kind, RESOURCES_LIMIT) for kind in _STORED)
    seen_dags = views.dags(connection, _uids(dags))
    observations = resources.observations(connection, _uids(dags))
    for dag in dags:
        seen = seen_dags.get(dag.uid, ObservedDag(0))
        yield from _of("dag", dag.uid, conditions.dag(dag, seen.observed(observations.get(dag.uid))))
    seen_pools = views.pools(connection, _uids(pools), now)
    for pool in pools:
        yield from _of("workerpool", pool.uid, conditions.pool(pool, seen_pools.get(pool.uid, ObservedPool())))
    seen_datasets = views.datasets(connection, _uids(datasets))
    for dataset in datasets:
        holds = seen_datasets.get(dataset.uid)
        fresh = _fresh(dataset, holds.updated_at if holds else None, now)
        yield from _of("dataset", dataset.uid, conditions.dataset(dataset, holds, fresh))
    for run in views.unfinished_runs(connection, RUNS_LIMIT):
        yield from _of("dagrun", run.uid, conditions.run(run))
    for task in views.active_tasks(connection, TASKS_LIMIT):
        yield from _of("taskrun", task.name, conditions.task(task))


def _fresh(dataset: Stored, updated_at: datetime | None, now: datetime) -> Condition | None:
    within = within_of(dataset.spec.get("freshness"))
    return (
        None if within is None else conditions.fresh(dataset, fresh_until(within, dataset.created_at, updated_at), now)
    )


_STORED = ("Dag", "WorkerPool", "Dataset")


def _of(kind: str, name: str, found: Iterable[Condition]) -> Iterator[tuple[str, str, Condition]]:
    for condition in found:
        yield kind, name, condition


def _uids(found: Iterable[Stored]) -> list[str]:
    return [stored.uid for stored in found]
