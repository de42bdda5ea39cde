"""What a drill came to: times relative to the fault, counts, and what is wrong. A function of its history alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.drill.history import SUCCEEDED, Fault, History, Kind, Task, Try
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

SIGNS = frozenset(
    {
        Reason.WORKER_STOPPED,
        Reason.LEASE_EXPIRED,
        Reason.MISSING_FROM_HEARTBEAT,
        Reason.EVICTED,
        Reason.SPOT_INTERRUPTION,
        Reason.DELIVERY_LOST,
        Reason.DEAD_LETTER,
        Reason.RESENT,
        Reason.OUT_OF_MEMORY,
        Reason.CHILD_DIED,
    }
)
"""The reasons by which the system tells that it has noticed a fault."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened so many seconds after the fault; None: it did not."""

    what: str
    seconds: float | None
    told_by: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the fault hit, and what was lost. The drill fails unless every number from `tasks_lost` on is 0."""

    tasks: int
    affected: int
    attempts_lost: int
    finished_anyway: int
    retried: int
    tasks_lost: int
    ended_twice: int
    started_twice: int
    outputs_lost: int | None
    outputs_doubled: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a drill."""

    run: str
    fault: Fault
    timeline: tuple[Moment, ...]
    counts: Counts
    reasons: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Tell whether nothing was lost and all of it came back."""
        return not self.problems

    @property
    def detection(self) -> float | None:
        """Return the seconds from the fault to its first sign."""
        return self.timeline[1].seconds

    @property
    def recovery(self) -> float | None:
        """Return the seconds from the fault until work went on, for everyone who was hit."""
        return self.timeline[3].seconds


@dataclass(frozen=True, slots=True)
class Hit:
    """A try that the fault hit, and the one that took its place (for a lost message: itself, delivered again)."""

    task: Task
    was: Try
    after: Try | None

    @property
    def lost(self) -> bool:
        """Tell whether the try ended without success."""
        return self.was.ended is not None and self.was.phase != SUCCEEDED


def judge(history: History) -> Verdict:
    """Return the verdict on a drill."""
    hits = tuple(_hits(history))
    counts = _count(history, hits)
    timeline, reasons = _timeline(history, hits)
    problems = tuple(_problems(history, hits, counts, timeline))
    return Verdict(history.run, history.fault, timeline, counts, reasons, problems)


def _hits(history: History) -> Iterator[Hit]:
    """Yield the tries that the fault hit."""
    fault = history.fault
    for task in history.tasks:
        for was in task.tries:
            if _is_hit(fault, task, was):
                yield Hit(task, was, _after(fault, task, was))


def _is_hit(fault: Fault, task: Task, was: Try) -> bool:
    if fault.kind is Kind.PURGE_QUEUE:
        # A worker that had the message already needs no other: such an attempt goes on with its first delivery.
        return (task.name, was.number) in fault.waiting and (was.delivery > 1 or was.claimed is None)
    if was.claimed is None or was.claimed > fault.at or (was.ended is not None and was.ended <= fault.at):
        return False
    return fault.victim is None or was.ecs_task == fault.victim


def _after(fault: Fault, task: Task, was: Try) -> Try | None:
    if fault.kind is Kind.PURGE_QUEUE:
        return was if was.claimed is not None else None
    later = [one for one in task.tries if one.number > was.number and one.claimed is not None]
    return later[0] if later else None


def _timeline(history: History, hits: Sequence[Hit]) -> tuple[tuple[Moment, ...], tuple[str, ...]]:
    fault = history.fault
    sign, reasons = _first_sign(history, hits)
    began, every = _recovery(history, hits)
    return (
        Moment("fault made", 0.0, fault.what),
        Moment("first sign (detection)", _since(fault, sign), ", ".join(reasons)),
        Moment("work goes on (recovery starts)", _since(fault, began)),
        Moment("all that was hit goes on (recovered)", _since(fault, every)),
        Moment(f"run ended ({history.phase})", _since(fault, history.ended)),
    ), reasons


def _first_sign(history: History, hits: Sequence[Hit]) -> tuple[datetime | None, tuple[str, ...]]:
    """Return when the system first told of the fault, and every reason by which it did."""
    if history.fault.kind is Kind.STOP_CONTROLLER:
        if history.led is None:
            return None, ()
        return history.led.at, (f"leadership: term {history.led.term}",)
    names = {f"{history.run}.{hit.task.name}" for hit in hits}
    seen = [
        (sign.at, sign.reason)
        for sign in history.signs
        if sign.at >= history.fault.at and sign.reason in SIGNS and sign.about in names
    ]
    seen += [(hit.was.ended, hit.was.reason) for hit in hits if hit.lost and hit.was.ended and hit.was.reason]
    if not seen:
        return None, ()
    return min(at for at, _ in seen), tuple(dict.fromkeys(str(reason) for _, reason in sorted(seen)))


def _recovery(history: History, hits: Sequence[Hit]) -> tuple[datetime | None, datetime | None]:
    """Return when the first and when the last of those who were hit went on."""
    if history.fault.kind is Kind.STOP_CONTROLLER:
        claims = _claims_after(history)
        return claims, claims
    back = [hit for hit in hits if hit.lost or history.fault.kind is Kind.PURGE_QUEUE]
    times = [hit.after.claimed for hit in back if hit.after is not None and hit.after.claimed is not None]
    if not times:
        return None, None
    return min(times), max(times) if len(times) == len(back) else None


def _claims_after(history: History) -> datetime | None:
    """Return the first claim that the new leader's term saw."""
    if history.led is None:
        return None
    since = history.led.at
    return min(
        (t.claimed for task in history.tasks for t in task.tries if t.claimed and t.claimed > since), default=None
    )


def _count(history: History, hits: Sequence[Hit]) -> Counts:
    seen = _numbers(history)
    return Counts(
        tasks=len(history.tasks),
        affected=len({hit.task.name for hit in hits}),
        attempts_lost=sum(hit.lost for hit in hits),
        finished_anyway=sum(hit.was.phase == SUCCEEDED for hit in hits),
        retried=sum(hit.after is not None and hit.after is not hit.was for hit in hits),
        tasks_lost=sum(task.phase != SUCCEEDED for task in history.tasks),
        ended_twice=sum(_succeeded_twice(task) for task in history.tasks),
        started_twice=sum(count > 1 for task in history.tasks for count in task.starts.values()),
        outputs_lost=len(history.numbers - set(seen)) if history.numbers else None,
        outputs_doubled=len(seen) - len(set(seen)) if history.numbers else None,
    )


def _numbers(history: History) -> list[int]:
    """Return the numbers that the last task was given."""
    outputs = next((task.outputs for task in history.tasks if task.name == "total"), None)
    return list((outputs or {}).get("numbers", ()))


def _succeeded_twice(task: Task) -> bool:
    """Tell whether a try succeeded, and another beside it succeeded or came after it."""
    first = next((number for number, one in enumerate(task.tries, 1) if one.phase == SUCCEEDED), None)
    return first is not None and first < len(task.tries)


def _problems(history: History, hits: Sequence[Hit], counts: Counts, timeline: Sequence[Moment]) -> Iterator[str]:
    run = history.run
    if not hits:
        yield f"the fault hit nobody: no attempt of run/{run} was where it struck; repeat the drill with more --tasks"
    if history.ended is None:
        waiting = sum(task.phase != SUCCEEDED for task in history.tasks)
        yield f"{waiting} of {counts.tasks} tasks have not ended in time; `setpoint explain run/{run}` says what they wait for"
    elif counts.tasks_lost:
        yield f"{counts.tasks_lost} tasks ended without success; look at `setpoint describe run/{run}`"
    elif hits and timeline[3].seconds is None and (counts.attempts_lost or _must_recover(history.fault.kind)):
        yield f"the run ended, but nobody saw the work go on; look at `setpoint events --for run/{run}`"
    if counts.ended_twice:
        yield f"{counts.ended_twice} tasks succeeded more than once; look at `setpoint get tasks --run {run} -o json`"
    if counts.started_twice:
        yield f"user code of {counts.started_twice} attempts began more than once; look at `setpoint logs run/{run}`"
    if history.ended is not None and (counts.outputs_lost or counts.outputs_doubled):
        lost, doubled = counts.outputs_lost, counts.outputs_doubled
        yield f"{lost} outputs are lost and {doubled} doubled; look at the outputs in `setpoint describe run/{run}`"


def _must_recover(kind: Kind) -> bool:
    return kind in {Kind.PURGE_QUEUE, Kind.STOP_CONTROLLER}


def _since(fault: Fault, at: datetime | None) -> float | None:
    return None if at is None else round((at - fault.at).total_seconds(), 3)
