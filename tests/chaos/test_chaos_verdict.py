"""The verdict bites: each promise, broken in otherwise faultless data, is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.chaos.journal import Journal, Kill, Line
from tests.chaos.plan import PROFILES
from tests.chaos.snapshot import Attempt, Declared, Effect, Run, Snapshot, TaskRun
from tests.chaos.verdict import Broken, Wanted, judge
from tests.chaos.workload import READINGS, SCHEDULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.plan import Profile

CREATED = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
TAKEN = CREATED + timedelta(minutes=1, seconds=45)
TICK = datetime(2026, 1, 1, 12, 1, tzinfo=UTC)
MIXED, T5, T24 = PROFILES["mixed"], PROFILES["t5"], PROFILES["t24"]

DECLARED = {
    "first": Declared(edition=3, needs=(), hot=True, cold=False),
    "second": Declared(edition=3, needs=("first",), hot=True, cold=True),
}
TRIGGERED = Run("u1", "chain-u1", "chain", ("d1", 1), "trigger/chaos-1", None, None, "Succeeded", "", ended=True)
TICKED = [
    Run(f"s{n}", f"ticking-s{n}", "ticking", ("d2", 1), f"schedule/{name}", name, TICK, "Succeeded", "", ended=True)
    for n, name in enumerate(SCHEDULES)
]


def attempt(run: str, task: str, number: int = 1, phase: str = "Succeeded", reason: str = "") -> Attempt:
    ended = phase not in {"Queued", "Running"}
    return Attempt(f"{run}/{task}/0/{number}", run, task, number, phase, reason or phase, reason, ended)


FIRST, LOST, SECOND = (
    attempt("u1", "first"),
    attempt("u1", "second", 1, "Lost", "LeaseExpired"),
    attempt("u1", "second", 2),
)
SOUND = Snapshot(
    taken=TAKEN,
    runs=[TRIGGERED, *TICKED],
    tasks=[TaskRun("u1", name, "Succeeded", 1, "", ended=True) for name in DECLARED],
    attempts=[FIRST, LOST, SECOND],
    revisions={("d1", 1): DECLARED, ("d2", 1): {}},
    editions={"chain": 3},
    created={"chain": CREATED, "ticking": CREATED},
    effects=[Effect(FIRST.id, 3, 3, frozenset()), Effect(SECOND.id, 3, 3, frozenset({FIRST.id}))],
    marks=[FIRST.id, SECOND.id],
    manifest={SECOND.id: READINGS},
    parquet={SECOND.id: READINGS},
)
WANTED = Wanted({"chaos-1": "u1"}, {"chain": 3})
JOURNAL = Journal([Line("begins", a.id, 7, 10.0) for a in (FIRST, LOST, SECOND)])


def test_what_is_sound_is_not_blamed() -> None:
    assert judge(SOUND, WANTED, JOURNAL, MIXED) == []


@pytest.mark.parametrize(
    ("broken", "change"),
    [
        pytest.param(Broken.LOST, lambda s: replace(s, runs=TICKED), id="a run is gone"),
        pytest.param(
            Broken.DOUBLED, lambda s: replace(s, runs=[*s.runs, replace(TRIGGERED, uid="u2")]), id="two runs of a key"
        ),
        pytest.param(
            Broken.DOUBLED,
            lambda s: replace(s, runs=[*s.runs, replace(TRIGGERED, uid="u2", key="trigger/other")]),
            id="a run that nobody asked for",
        ),
        pytest.param(Broken.LOST, lambda s: replace(s, runs=s.runs[:-1]), id="a tick without its run"),
        pytest.param(Broken.DOUBLED, lambda s: replace(s, runs=[*s.runs, TICKED[0]]), id="a tick with two runs"),
        pytest.param(
            Broken.STUCK,
            lambda s: replace(s, runs=[replace(TRIGGERED, phase="Running", ended=False), *TICKED]),
            id="a run that has not ended",
        ),
        pytest.param(
            Broken.FAILED, lambda s: replace(s, runs=[replace(TRIGGERED, phase="Failed"), *TICKED]), id="a failed run"
        ),
        pytest.param(
            Broken.STUCK,
            lambda s: replace(s, tasks=[replace(s.tasks[0], phase="Active", ended=False), s.tasks[1]]),
            id="a task that has not ended",
        ),
        pytest.param(Broken.LOST, lambda s: replace(s, tasks=s.tasks[:1]), id="a task is missing"),
        pytest.param(
            Broken.STUCK,
            lambda s: replace(s, attempts=[*s.attempts, attempt("u1", "first", 0, "Running")]),
            id="an attempt that has not ended",
        ),
        pytest.param(
            Broken.FAILED,
            lambda s: replace(s, attempts=[*s.attempts, attempt("u1", "second", 0, "Failed", "UserError")]),
            id="a failure of the user's that was none",
        ),
        pytest.param(
            Broken.DOUBLED,
            lambda s: replace(s, attempts=[*s.attempts, attempt("u1", "first", 2, "Lost", "LeaseExpired")]),
            id="an attempt after one that succeeded",
        ),
        pytest.param(Broken.LOST, lambda s: replace(s, effects=s.effects[1:]), id="a row is missing"),
        pytest.param(Broken.DOUBLED, lambda s: replace(s, effects=[*s.effects, s.effects[0]]), id="a row twice"),
        pytest.param(
            Broken.DOUBLED,
            lambda s: replace(s, effects=[*s.effects, Effect(LOST.id, 3, 3, frozenset())]),
            id="a row of a lost attempt",
        ),
        pytest.param(Broken.LOST, lambda s: replace(s, marks=s.marks[1:]), id="a merged row is missing"),
        pytest.param(Broken.LOST, lambda s: replace(s, manifest={}), id="files that the manifest forgets"),
        pytest.param(Broken.LOST, lambda s: replace(s, parquet={}), id="files that are gone"),
        pytest.param(
            Broken.DOUBLED, lambda s: replace(s, manifest={**s.manifest, LOST.id: 1}), id="files of a lost attempt"
        ),
        pytest.param(
            Broken.MIXED,
            lambda s: replace(s, effects=[s.effects[0], Effect(SECOND.id, 3, 3, frozenset({LOST.id}))]),
            id="it saw what a lost attempt returned",
        ),
        pytest.param(
            Broken.MIXED,
            lambda s: replace(s, effects=[s.effects[0], Effect(SECOND.id, 4, 3, frozenset({FIRST.id}))]),
            id="arguments of another revision",
        ),
        pytest.param(
            Broken.MIXED,
            lambda s: replace(s, effects=[s.effects[0], Effect(SECOND.id, 3, 4, frozenset({FIRST.id}))]),
            id="code of another revision",
        ),
        pytest.param(Broken.STUCK, lambda s: replace(s, editions={"chain": 2}), id="an edit that was not applied"),
    ],
)
def test_a_broken_promise_is_told(broken: Broken, change: Callable[[Snapshot], Snapshot]) -> None:
    assert broken in {violation.kind for violation in judge(change(SOUND), WANTED, JOURNAL, MIXED)}


@pytest.mark.parametrize(
    ("profile", "reason", "blamed"),
    [
        pytest.param(MIXED, "LeaseExpired", False, id="mixed"),
        pytest.param(T5, "LeaseExpired", True, id="a restart of the dispatcher loses nobody"),
        pytest.param(T24, "LeaseExpired", True, id="a restart of the database loses no worker"),
        pytest.param(T24, "InfrastructureError", False, id="a restart of the database loses rows on their way"),
    ],
)
def test_a_lost_attempt_must_be_explained(profile: Profile, reason: str, *, blamed: bool) -> None:
    lost = replace(SOUND, attempts=[FIRST, attempt("u1", "second", 1, "Lost", reason), SECOND])
    assert [v.kind for v in judge(lost, WANTED, JOURNAL, profile)] == [Broken.FAILED] * blamed


@pytest.mark.parametrize(
    ("lines", "broken"),
    [
        pytest.param([*JOURNAL.lines, JOURNAL.lines[0]], Broken.DOUBLED, id="user code began twice"),
        pytest.param([*JOURNAL.lines, Line("begins", "u1/first/0/9", 7, 1.0)], Broken.DOUBLED, id="an unknown attempt"),
        pytest.param(JOURNAL.lines[:-1], Broken.LOST, id="a success that never began"),
    ],
)
def test_starts_are_counted(lines: list[Line], broken: Broken) -> None:
    assert [v.kind for v in judge(SOUND, WANTED, Journal(lines), MIXED)] == [broken]


def test_a_recovery_lasts_from_the_kill_to_the_next_start() -> None:
    journal = Journal(
        [
            Line("begins", "u1/a/0/1", 7, 10.0),
            Line("begins", "u1/b/0/1", 8, 10.0),
            Line("ends", "u1/b/0/1", 8, 11.0),
            Line("begins", "u1/c/0/1", 9, 10.0),
            Line("begins", "u1/a/0/2", 5, 13.5),
        ]
    )
    kill = Kill(12.0, frozenset({7, 8}))
    assert journal.recoveries([kill]) == [1.5]
    assert journal.running() == {7, 9, 5}
