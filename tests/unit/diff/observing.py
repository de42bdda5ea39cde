"""Observed objects for tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from controller.observed import ObservedAttempt, ObservedRun, ObservedTask, Stored
from crds.names import AttemptId, DagUid, PoolUid, RunUid
from crds.phases import AttemptPhase, RunPhase, TaskPhase

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def stored(kind: str = "Dag", **spec: Any) -> Stored:
    return Stored("u", kind, "default", "x", {}, {}, 3, 9, spec, NOW)


def run(phase: RunPhase = RunPhase.RUNNING, **more: Any) -> ObservedRun:
    values: dict[str, Any] = {
        "uid": RunUid("r"),
        "namespace": "default",
        "name": "flights-r",
        "dag_uid": DagUid("d"),
        "dag": "flights",
        "revision": 1,
        "trigger": "manual",
        "schedule": None,
        "tick": None,
        "params": {},
        "labels": {},
        "suspend": False,
        "cancel_at": None,
        "cancel_reason": None,
        "phase": phase,
        "reason": None,
        "message": None,
        "deadline": NOW + 3600 * SECOND,
        "created_at": NOW - 60 * SECOND,
        "started_at": None if phase is RunPhase.PENDING else NOW - 50 * SECOND,
        "ended_at": None,
        "generation": 1,
        "resource_version": 1,
    }
    return ObservedRun(**values | more)


def task(phase: TaskPhase, name: str = "t", **more: Any) -> ObservedTask:
    values: dict[str, Any] = {
        "run_uid": RunUid("r"),
        "run": "flights-r",
        "run_phase": RunPhase.RUNNING,
        "namespace": "default",
        "dag_uid": DagUid("d"),
        "dag": "flights",
        "revision": 1,
        "task": name,
        "index": 0,
        "pool_uid": PoolUid("p"),
        "pool": "python",
        "phase": phase,
        "held": False,
        "user_failures": 0,
        "infrastructure_failures": 0,
        "evictions": 0,
        "not_before": None,
        "ready_at": None,
        "started_at": None,
        "ended_at": None,
        "outputs": None,
        "reason": None,
        "message": None,
        "generation": 1,
        "created_at": NOW - 60 * SECOND,
    }
    return ObservedTask(**values | more)


def attempt(phase: AttemptPhase, number: int = 1, **more: Any) -> ObservedAttempt:
    values: dict[str, Any] = {
        "id": AttemptId(f"r/t/0/{number}"),
        "number": number,
        "phase": phase,
        "delivery": 1,
        "worker": None,
        "reason": None,
        "message": None,
        "created_at": NOW - 20 * SECOND,
    }
    return ObservedAttempt(**values | more)
