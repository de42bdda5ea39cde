"""Whether the promise held, decided by the data alone: pure functions from what was found to what is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.chaos.workload import READINGS, SCHEDULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.chaos.journal import Journal
    from tests.chaos.plan import Profile
    from tests.chaos.snapshot import Attempt, Declared, Run, Snapshot

TICK = timedelta(minutes=1)
TICK_WITHIN = timedelta(seconds=30)
"""How late the run of a tick may come in a system that is at rest."""
SUCCEEDED = "Succeeded"
KEY = "trigger/"


class Broken(StrEnum):
    """What a promise can be broken by."""

    LOST = "lost"
    DOUBLED = "doubled"
    STUCK = "stuck"
    FAILED = "failed"
    MIXED = "mixed"
    LEAKED = "leaked"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be."""

    kind: Broken
    text: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What people asked for: accepted triggers (idempotency key → run uid), and editions of DAGs."""

    accepted: Mapping[str, str]
    editions: Mapping[str, int]


def judge(found: Snapshot, wanted: Wanted, journal: Journal, profile: Profile) -> list[Violation]:
    """Return everything that is wrong."""
    return [
        *_triggers(found, wanted),
        *_ticks(found),
        *_ends(found),
        *_tasks(found),
        *_losses(found, profile),
        *_starts(found, journal),
        *_effects(found),
        *_views(found),
        *_editions(found, wanted),
    ]


def _triggers(found: Snapshot, wanted: Wanted) -> Iterator[Violation]:
    """Each accepted trigger has its run, and no other trigger has one."""
    runs: dict[str, list[str]] = defaultdict(list)
    for run in found.runs:
        if run.schedule is None:
            runs[run.key.removeprefix(KEY)].append(run.uid)
    for key, uid in wanted.accepted.items():
        if uid not in runs[key]:
            yield Violation(Broken.LOST, f"trigger {key} was accepted as run {uid}, which does not exist")
        if len(runs[key]) > 1:
            yield Violation(Broken.DOUBLED, f"trigger {key} has {len(runs[key])} runs")
    for key in runs.keys() - wanted.accepted.keys():
        yield Violation(Broken.DOUBLED, f"run {runs[key]} has the key {key!r}, which no accepted trigger had")


def _ticks(found: Snapshot) -> Iterator[Violation]:
    """Each minute since a scheduled DAG was created has one run a schedule."""
    until = found.taken - TICK_WITHIN
    ticks = Counter((run.dag, run.schedule, run.tick) for run in found.runs if run.schedule is not None)
    for dag in {run.dag for run in found.runs if run.schedule is not None}:
        first = found.created[dag].replace(second=0, microsecond=0) + TICK
        for schedule in SCHEDULES:
            for number in range(max((until - first) // TICK + 1, 0)):
                count = ticks.pop((dag, schedule, first + number * TICK), 0)
                if count != 1:
                    kind = Broken.DOUBLED if count else Broken.LOST
                    yield Violation(kind, f"tick {first + number * TICK} of {dag}/{schedule} has {count} runs")
    for (dag, name, tick), count in ticks.items():
        if count > 1:
            yield Violation(Broken.DOUBLED, f"tick {tick} of {dag}/{name} has {count} runs")


def _ends(found: Snapshot) -> Iterator[Violation]:
    """Everything has ended, and well: nothing in this workload fails by itself."""
    ends = [
        *((f"run {run.name}", run.ended, run.phase, run.why) for run in found.runs),
        *((f"task {task.run}/{task.task}", task.ended, task.phase, task.why) for task in found.tasks),
    ]
    for what, ended, phase, why in ends:
        if not ended or phase != SUCCEEDED:
            yield Violation(Broken.FAILED if ended else Broken.STUCK, f"{what} is {phase}: {why}")
    for attempt in found.attempts:
        if not attempt.ended:
            yield Violation(Broken.STUCK, f"attempt {attempt.id} is {attempt.phase}")


def _tasks(found: Snapshot) -> Iterator[Violation]:
    """Each run has the tasks of its revision."""
    tasks: dict[str, set[str]] = defaultdict(set)
    for task in found.tasks:
        tasks[task.run].add(task.task)
    for run in found.runs:
        if tasks[run.uid] != found.revisions[run.revision].keys():
            text = f"run {run.name} has the tasks {sorted(tasks[run.uid])}, not those of its revision {run.revision[1]}"
            yield Violation(Broken.LOST if run.ended else Broken.STUCK, text)


def _losses(found: Snapshot, profile: Profile) -> Iterator[Violation]:
    """Attempts end without success only for reasons that the faults explain, and never after one that succeeded."""
    best: dict[tuple[str, str], int] = {}
    for attempt in found.attempts:
        if attempt.phase == SUCCEEDED:
            if (attempt.run, attempt.task) in best:
                yield Violation(Broken.DOUBLED, f"{attempt.id} succeeded, as another attempt had")
            best[attempt.run, attempt.task] = attempt.number
        elif attempt.ended and not _explained(attempt, profile):
            yield Violation(Broken.FAILED, f"{attempt.id} is {attempt.phase}: {attempt.why}")
    for attempt in found.attempts:
        if attempt.number > best.get((attempt.run, attempt.task), attempt.number):
            yield Violation(Broken.DOUBLED, f"{attempt.id} came after an attempt that succeeded")


def _explained(attempt: Attempt, profile: Profile) -> bool:
    if profile.spared or attempt.phase not in {"Lost", "Evicted", "Undeliverable"}:
        return False
    return profile.losses is None or attempt.reason in profile.losses


def _starts(found: Snapshot, journal: Journal) -> Iterator[Violation]:
    """The user code of an attempt starts at most once, and did start if the attempt succeeded."""
    starts = journal.starts()
    known = {attempt.id for attempt in found.attempts}
    for id_, count in starts.items():
        if count > 1:
            yield Violation(Broken.DOUBLED, f"the user code of {id_} began {count} times")
        if id_ not in known:
            yield Violation(Broken.DOUBLED, f"user code began as {id_}, which nobody knows")
    for attempt in found.attempts:
        if attempt.phase == SUCCEEDED and not starts.get(attempt.id):
            yield Violation(Broken.LOST, f"{attempt.id} succeeded, and its user code never began")


def _effects(found: Snapshot) -> Iterator[Violation]:
    """Each success has left each of its effects once, and nothing else has left any."""
    declared = _declared(found)
    hot = {id_: 1 for id_, task in declared.items() if task.hot}
    cold = {id_: READINGS for id_, task in declared.items() if task.cold}
    places: tuple[tuple[str, Mapping[str, int], Mapping[str, int]], ...] = (
        ("hot.effects", hot, Counter(effect.attempt for effect in found.effects)),
        ("hot.marks", hot, Counter(found.marks)),
        ("the manifest of readings", cold, found.manifest),
        ("the files of readings", cold, found.parquet),
    )
    for place, expected, have in places:
        for id_ in sorted(expected.keys() | have.keys()):
            want, rows = expected.get(id_, 0), have.get(id_, 0)
            if want != rows:
                kind = Broken.LOST if rows < want else Broken.DOUBLED
                yield Violation(kind, f"{place} holds {rows} rows of {id_}, not {want}")


def _views(found: Snapshot) -> Iterator[Violation]:
    """What a task saw is what its revision says and what its upstream's successful attempts returned."""
    declared = _declared(found)
    successes = {(a.run, a.task): a for a in found.attempts if a.phase == SUCCEEDED}
    runs = {run.uid: run for run in found.runs}
    codes: dict[tuple[str, int], set[int]] = defaultdict(set)
    for effect in found.effects:
        task = declared.get(effect.attempt)
        if task is None:
            continue
        run = _run_of(effect.attempt)
        codes[runs[run].revision].add(effect.code)
        above = {successes[run, need].id for need in task.needs if (run, need) in successes}
        if effect.saw != above:
            yield Violation(Broken.MIXED, f"{effect.attempt} saw {sorted(effect.saw)}, not {sorted(above)}")
        if effect.edition != task.edition:
            text = f"{effect.attempt} ran with edition {effect.edition}, not the {task.edition} of its revision"
            yield Violation(Broken.MIXED, text)
    for revision, seen in codes.items():
        if len(seen) > 1:
            yield Violation(Broken.MIXED, f"revision {revision} ran code of the editions {sorted(seen)}")


def _editions(found: Snapshot, wanted: Wanted) -> Iterator[Violation]:
    """What is applied is what the files say; no bad edit has become a revision."""
    for dag, edition in wanted.editions.items():
        if found.editions.get(dag) != edition:
            text = f"DAG {dag} is applied in edition {found.editions.get(dag)}; its file says {edition}"
            yield Violation(Broken.STUCK, text)


def _declared(found: Snapshot) -> dict[str, Declared]:
    """Return what was declared for each attempt that succeeded."""
    runs: dict[str, Run] = {run.uid: run for run in found.runs}
    won = [a for a in found.attempts if a.phase == SUCCEEDED and a.run in runs]
    return {a.id: found.revisions[runs[a.run].revision][a.task] for a in won}


def _run_of(attempt: str) -> str:
    return attempt.partition("/")[0]
