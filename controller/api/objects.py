"""Stored rows as the objects that people get: Kubernetes-shaped, status and conditions computed now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from controller.diff import conditions
from controller.diff.freshness import fresh_until, within_of
from controller.observed import (
    ObservedAttempt,
    ObservedDag,
    ObservedDataset,
    ObservedNotifier,
    ObservedPool,
    ObservedRun,
    ObservedTask,
    Stored,
)
from crds.cron import CronError, next_tick
from crds.dag import DagStatus
from crds.dataset import DatasetStatus
from crds.meta import API_VERSION, Status
from crds.names import cold_prefix, hot_table
from crds.notifier import NotifierStatus
from crds.pool import WorkerPoolStatus
from crds.reasons import Reason
from crds.run import AttemptView, DagRunStatus, TaskRunStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Object = dict[str, Any]


def dag(stored: Stored, seen: ObservedDag) -> Object:
    """Return a Dag."""
    suspended = bool(stored.spec.get("suspend"))
    status = DagStatus(
        observed_generation=seen.revision,
        phase="Suspended" if suspended else "Active",
        conditions=conditions.dag(stored, seen),
        active_runs=seen.active_runs + seen.pending_runs,
        last_run=seen.last_run,
        last_phase=seen.last_phase,
        next_tick=seen.next_tick,
        revision=seen.revision,
    )
    return _resource(stored, status)


def next_tick_of(spec: Mapping[str, Any], now: datetime) -> datetime | None:
    """Return when a Dag's next schedule ticks, None if it is suspended or has none."""
    if spec.get("suspend"):
        return None
    ticks = []
    for schedule in spec.get("schedules", ()):
        try:
            ticks.append(next_tick(schedule["cron"], schedule.get("timezone", "UTC"), now))
        except CronError:
            continue
    return min(ticks, default=None)


def pool(stored: Stored, seen: ObservedPool) -> Object:
    """Return a WorkerPool."""
    ready = conditions.pool(stored, seen)
    status = WorkerPoolStatus(
        observed_generation=stored.generation,
        phase=ready[0].reason,
        conditions=ready,
        desired=seen.desired or 0,
        running=seen.workers if seen.running is None else seen.running,
        demand=seen.demand,
        live=seen.live,
        visible=seen.visible,
        in_flight=seen.in_flight,
        dead_letters=seen.dead_letters,
    )
    return _resource(stored, status)


def dataset(stored: Stored, seen: ObservedDataset | None, now: datetime) -> Object:
    """Return a Dataset."""
    holds = seen or ObservedDataset()
    within = within_of(stored.spec.get("freshness"))
    until = utc(fresh_until(within, stored.created_at, holds.updated_at)) if within is not None else None
    if stored.spec.get("tier") == "hot":
        location = f"postgres:hot.{hot_table(stored.name, stored.namespace)}"
    else:
        location = cold_prefix(stored.name, stored.namespace)
    status = DatasetStatus(
        observed_generation=stored.generation,
        phase="Ready",
        conditions=conditions.dataset(stored, seen, conditions.fresh(stored, until, now) if until else None),
        version=holds.version,
        rows=holds.rows,
        bytes=holds.bytes,
        partitions=holds.partitions,
        files=holds.files,
        location=location,
        last_run=holds.last_run,
        updated_at=holds.updated_at,
        fresh_until=until,
    )
    return _resource(stored, status)


def notifier(stored: Stored, seen: ObservedNotifier) -> Object:
    """Return a Notifier."""
    ready = conditions.notifier(stored, seen)
    status = NotifierStatus(
        observed_generation=seen.generation or 0,
        phase=ready[0].reason,
        conditions=ready,
        pending=seen.pending,
        last_sent=seen.sent_at,
        last_error=seen.error,
        last_error_time=seen.error_at,
    )
    return _resource(stored, status)


def run(seen: ObservedRun) -> Object:
    """Return a DagRun."""
    status = DagRunStatus(
        observed_generation=seen.generation,
        phase=seen.phase.value,
        conditions=conditions.run(seen),
        started_at=seen.started_at,
        ended_at=seen.ended_at,
        reason=seen.reason,
        message=seen.message,
        tasks={phase.value: n for phase, n in sorted(seen.tasks.items())},
    )
    spec = {
        "dag": seen.dag,
        "revision": seen.revision,
        "params": dict(seen.params),
        "trigger": seen.trigger,
        "schedule": seen.schedule,
        "tick": utc(seen.tick),
        "suspend": seen.suspend,
        "cancel": seen.cancel_at is not None,
    }
    metadata = _metadata(seen.name, seen.namespace, seen.labels, seen.created_at) | {
        "uid": seen.uid,
        "generation": seen.generation,
        "resourceVersion": str(seen.resource_version),
    }
    return _object("DagRun", metadata, spec, status)


def task(seen: ObservedTask) -> Object:
    """Return a TaskRun."""
    found = conditions.task(seen)
    status = TaskRunStatus(
        observed_generation=seen.generation,
        phase=seen.phase.value,
        conditions=found,
        ready_at=seen.ready_at,
        started_at=seen.started_at,
        ended_at=seen.ended_at,
        not_before=seen.not_before,
        reason=seen.reason or found[0].reason,
        message=seen.message or found[0].message or None,
        outputs=seen.outputs,
        user_failures=seen.user_failures,
        infrastructure_failures=seen.infrastructure_failures,
        evictions=seen.evictions,
        attempts=tuple(_attempt(attempt) for attempt in seen.attempts),
    )
    spec = {
        "run": seen.run,
        "dag": seen.dag,
        "task": seen.task,
        "index": seen.index,
        "pool": seen.pool,
        "needs": list(seen.needs),
    }
    # A task run has no row version of its own: its generation grows when it is retried.
    metadata = _metadata(seen.name, seen.namespace, {}, seen.created_at) | {
        "uid": f"{seen.run_uid}/{seen.task}/{seen.index}",
        "generation": seen.generation,
    }
    return _object("TaskRun", metadata, spec, status)


def listing(kind: str, items: Sequence[Object], token: str | None) -> Object:
    """Return a list object; `continue` leads to the next page."""
    metadata = {"continue": token} if token else {}
    return {"apiVersion": API_VERSION, "kind": f"{kind}List", "metadata": metadata, "items": list(items)}


def utc(value: datetime | None) -> datetime | None:
    """Return a time in UTC, however the database's session shows it."""
    return None if value is None else value.astimezone(UTC)


def _attempt(seen: ObservedAttempt) -> AttemptView:
    return AttemptView(
        id=seen.id,
        number=seen.number,
        phase=seen.phase.value,
        delivery=seen.delivery,
        worker=seen.worker,
        ecs_task=seen.ecs_task,
        reason=seen.reason,
        message=seen.message,
        created_at=seen.created_at,
        claimed_at=seen.claimed_at,
        ended_at=seen.ended_at,
    )


def _resource(stored: Stored, status: Status) -> Object:
    metadata = _metadata(stored.name, stored.namespace, stored.labels, stored.created_at) | {
        "annotations": dict(stored.annotations),
        "uid": stored.uid,
        "generation": stored.generation,
        "resourceVersion": str(stored.resource_version),
    }
    if stored.deleted_at is not None:
        metadata["deletionTimestamp"] = utc(stored.deleted_at)
        status = status.model_copy(update={"phase": Reason.TERMINATING.value})
    if stored.finalizers:
        metadata["finalizers"] = list(stored.finalizers)
    return _object(stored.kind, metadata, dict(stored.spec), status)


def _metadata(name: str, namespace: str, labels: Mapping[str, str], created: datetime) -> Object:
    return {"name": name, "namespace": namespace, "labels": dict(labels), "creationTimestamp": utc(created)}


def _object(kind: str, metadata: Object, spec: Object, status: Status) -> Object:
    dumped = status.model_dump(by_alias=True, exclude_none=True)
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": {key: value for key, value in spec.items() if value is not None},
        "status": _in_utc(dumped),
    }


def _in_utc(value: Any) -> Any:
    match value:
        case datetime():
            return utc(value)
        case dict():
            return {key: _in_utc(item) for key, item in value.items()}
        case list() | tuple():
            return [_in_utc(item) for item in value]
        case _:
            return value
