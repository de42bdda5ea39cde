"""What ended, kept for the thread that tells of it; and the spans that rows make. Without a collector nothing is kept."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crds.names import RunUid, attempt_id
from crds.phases import AttemptPhase, RunPhase, TaskPhase
from crds.spans import Span
from crds.traces import (
    attempt_span,
    attempt_trace,
    parse_traceparent,
    run_span,
    step_span,
    task_span,
    trace_id,
    traceparent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from crds.names import AttemptId

ENDED_LIMIT = 20_000
"""How many ended attempts, and runs, wait to be told of; more push the oldest out."""
_BAD_ATTEMPTS = frozenset(AttemptPhase) - {AttemptPhase.SUCCEEDED, AttemptPhase.EVICTED, AttemptPhase.CANCELLED}
_BAD_TASKS = frozenset({TaskPhase.FAILED, TaskPhase.UPSTREAM_FAILED})


@dataclass(slots=True)
class Endings:
    """The attempts and runs whose end was written, perhaps not committed yet: whoever reads the rows sees what is true."""

    on: bool = False
    attempts: deque[AttemptId] = field(default_factory=lambda: deque(maxlen=ENDED_LIMIT))
    runs: deque[RunUid] = field(default_factory=lambda: deque(maxlen=ENDED_LIMIT))

    def of_attempts(self, ids: Iterable[AttemptId]) -> None:
        """Remember attempts."""
        if self.on:
            self.attempts.extend(ids)

    def of_runs(self, uids: Iterable[RunUid]) -> None:
        """Remember runs."""
        if self.on:
            self.runs.extend(uids)


ENDINGS = Endings()
"""Of this process, as its metrics are."""


def no_context(_attempt: AttemptId) -> str | None:
    """Give no context: nobody collects traces."""
    return None


def context_of(sampled: Callable[[str], bool]) -> Callable[[AttemptId], str]:
    """Return what gives an attempt's traceparent."""

    def context(attempt: AttemptId) -> str:
        trace = attempt_trace(attempt)
        return traceparent(trace, attempt_span(attempt), sampled=sampled(trace))

    return context


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """An attempt's row at its end."""

    id: AttemptId
    run: RunUid
    task: str
    index: int
    number: int
    dag: str
    run_name: str
    namespace: str
    pool: str
    phase: AttemptPhase
    reason: str | None
    message: str | None
    worker: str | None
    delivery: int
    created_at: datetime
    sent_at: datetime | None
    claimed_at: datetime | None
    ended_at: datetime
    invoked: bool

    @property
    def delivered_at(self) -> datetime | None:
        """Return when its message was seen to have been sent; None if none was, as in the fast path.

        A worker may claim before the outcome of sending is recorded. What the fast path hands over is created and claimed
        in one transaction, at the same time.
        """
        if self.sent_at is not None or self.claimed_at is None or self.claimed_at <= self.created_at:
            return self.sent_at
        return self.claimed_at


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """A task's row at its end."""

    run: RunUid
    task: str
    index: int
    number: int
    dag: str
    run_name: str
    namespace: str
    pool: str
    phase: TaskPhase
    reason: str | None
    message: str | None
    ready_at: datetime | None
    started_at: datetime | None
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run's row at its end."""

    uid: RunUid
    name: str
    namespace: str
    dag: str
    trigger: str
    schedule: str | None
    phase: RunPhase
    reason: str | None
    message: str | None
    traceparent: str | None
    created_at: datetime
    ended_at: datetime


def run_ended(row: RunEnd) -> Span:
    """Return a run's span; whoever asked for the run with a trace of his own is linked."""
    caller = parse_traceparent(row.traceparent)
    attributes = _attributes(row.dag, row.name, row.namespace, row.phase, row.reason)
    attributes |= {
        "cicd.pipeline.name": row.dag,
        "cicd.pipeline.run.id": row.uid,
        "cicd.pipeline.result": {"Succeeded": "success", "Cancelled": "cancellation"}.get(row.phase, "failure"),
        "setpoint.trigger": row.trigger,
    }
    if row.schedule:
        attributes["setpoint.schedule"] = row.schedule
    return Span(
        name=f"run {row.dag}",
        trace=trace_id(row.uid),
        id=run_span(row.uid),
        parent=None,
        start=row.created_at,
        end=row.ended_at,
        attributes=attributes,
        ok=row.phase is RunPhase.SUCCEEDED,
        error=_why(row.reason, row.message) if row.phase is RunPhase.FAILED else None,
        links=(caller,) if caller else (),
    )


def task_ended(row: TaskEnd) -> Span:
    """Return a task's span: from when it could have run."""
    attributes = _attributes(row.dag, row.run_name, row.namespace, row.phase, row.reason)
    attributes |= {
        "setpoint.task": row.task,
        "setpoint.index": row.index,
        "setpoint.attempts": row.number,
        "setpoint.pool": row.pool,
    }
    return Span(
        name=f"task {row.task}",
        trace=trace_id(row.run),
        id=task_span(row.run, row.task, row.index),
        parent=run_span(row.run),
        start=row.started_at or row.ready_at or row.ended_at,
        end=row.ended_at,
        attributes=attributes,
        ok=row.phase is TaskPhase.SUCCEEDED,
        error=_why(row.reason, row.message) if row.phase in _BAD_TASKS else None,
    )


def attempt_ended(row: AttemptEnd) -> list[Span]:
    """Return an attempt's span, and that of its message if one was sent."""
    attributes = _attributes(row.dag, row.run_name, row.namespace, row.phase, row.reason)
    attributes |= {
        "setpoint.task": row.task,
        "setpoint.index": row.index,
        "setpoint.attempt": attempt_id(row.run, row.task, row.index, row.number),
        "setpoint.attempt.number": row.number,
        "setpoint.pool": row.pool,
    }
    if row.worker:
        attributes["setpoint.worker"] = row.worker
    if row.claimed_at:
        attributes["setpoint.claim_wait_seconds"] = (row.claimed_at - row.created_at).total_seconds()
    trace, span = trace_id(row.run), attempt_span(row.id)
    spans = [
        Span(
            name=f"attempt {row.task}",
            trace=trace,
            id=span,
            parent=task_span(row.run, row.task, row.index),
            start=row.created_at,
            end=row.ended_at,
            attributes=attributes,
            ok=row.phase is AttemptPhase.SUCCEEDED,
            error=_why(row.reason, row.message) if row.phase in _BAD_ATTEMPTS else None,
        )
    ]
    if row.delivered_at:
        spans.append(_sent(row, trace, span, row.delivered_at))
    return spans


def _sent(row: AttemptEnd, trace: str, parent: str, at: datetime) -> Span:
    sending: dict[str, str | int | float | bool] = {"setpoint.delivery": row.delivery}
    if row.invoked:
        sending |= {"faas.invoked_provider": "aws", "faas.invoked_name": row.pool}
    else:
        sending |= {
            "messaging.system": "aws_sqs",
            "messaging.operation.type": "send",
            "messaging.operation.name": "SendMessageBatch",
            "messaging.destination.name": row.pool,
        }
    return Span(
        name=f"{'invoke' if row.invoked else 'send'} {row.pool}",
        trace=trace,
        id=step_span(row.id, "send"),
        parent=parent,
        start=row.created_at,
        end=at,
        attributes=sending,
        kind="producer",
    )


def _attributes(
    dag: str, run: str, namespace: str, outcome: str, reason: str | None
) -> dict[str, str | int | float | bool]:
    found: dict[str, str | int | float | bool] = {
        "setpoint.dag": dag,
        "setpoint.run": run,
        "setpoint.namespace": namespace,
        "setpoint.outcome": outcome,
    }
    return found | ({"setpoint.reason": reason} if reason else {})


def _why(reason: str | None, message: str | None) -> str:
    return ": ".join(part for part in (reason, message) if part)
