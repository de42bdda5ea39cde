"""Bring the record of datasets' freshness to what is true, and tell people when it turns."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import structlog

from controller.actions import Event
from controller.diff.freshness import diff
from controller.runtime.keys import Key, Kind
from controller.runtime.loop import Result
from controller.store import events, freshness, notifications
from crds.notifier import Occasion
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg
    from psycopg_pool import ConnectionPool

    from controller.diff.freshness import FreshnessPlan
    from controller.runtime.clock import Clock
    from controller.store.freshness import FreshnessRow

log = structlog.get_logger()
JUST_AFTER = timedelta(milliseconds=1)
"""A dataset is fresh up to and at its limit, so the look at it comes behind."""


class DatasetReconciler:
    """Keys are datasets."""

    def __init__(self, database: ConnectionPool, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def reconcile(self, keys: Sequence[Key]) -> Mapping[Key, Result]:
        """Record which datasets turned stale or fresh."""
        results: dict[Key, Result] = {}
        turned = 0
        with self._database.connection() as connection:
            now = self._clock.now(connection).astimezone(UTC)
            for row in freshness.read(connection, [k.uid for k in keys]):
                plan = diff(row.view, now)
                turned += _act(connection, row, plan, now)
                if plan.wake_at is not None:
                    after = max(plan.wake_at - now, timedelta(0)) + JUST_AFTER
                    results[Key(Kind.DATASET, row.uid)] = Result(after)
        if turned:
            log.info("reconciled", controller="datasets", keys=len(keys), turned=turned)
        return results


def _act(connection: psycopg.Connection, row: FreshnessRow, plan: FreshnessPlan, now: datetime) -> bool:
    """Record what a plan found, and in the same transaction tell people once; return whether the dataset turned."""
    if plan.record is None or not freshness.record(connection, row, plan.record, now) or plan.turned is None:
        return False
    stale = plan.turned is Reason.STALE
    text = f"is {'stale' if stale else 'fresh again'}: {plan.message}"
    event = Event("Warning" if stale else "Normal", row.namespace, "Dataset", row.name, plan.turned, text)
    events.record(connection, [event], now)
    occasion = Occasion.DATASET_STALE if stale else Occasion.DATASET_FRESH
    notifications.dataset_turned(connection, row.uid, plan.record.turns, occasion, plan.turned, plan.message, now)
    return True
