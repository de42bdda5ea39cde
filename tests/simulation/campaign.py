"""Many schedules on all cores: each job has a Postgres of its own, and the first failure ends all of them."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from queue import Empty
from typing import TYPE_CHECKING, Any

from tests.simulation.plan import Outcome, Plan, Violation, plan_of, replay_line
from tests.simulation.schedule import simulate
from tests.simulation.server import own_ground
from tests.simulation.shrink import describe, shrink

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.sharedctypes import Synchronized

CHUNK = 10
"""How many seeds a job takes at a time."""
PATIENCE = 600.0
"""Seconds without a word from any job, after which the campaign has hung."""
SHOWN = 6


@dataclass(frozen=True, slots=True)
class Word:
    """What a job says: some schedules went well, or one did not."""

    done: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    failure: str | None = None


@dataclass
class Campaign:
    """Runs seeds first, first + 1, … and shows one line of progress."""

    first: int
    count: int
    jobs: int
    _injected: Counter[str] = field(default_factory=Counter)
    _attempts: Counter[str] = field(default_factory=Counter)
    _done: int = 0

    def run(self) -> int:
        """Run all; return the exit status: 0 if every promise was held."""
        context = multiprocessing.get_context("spawn")
        following: Synchronized[int] = context.Value("q", self.first)
        words: Queue[Word] = context.Queue()
        cores = _cores()
        started = time.monotonic()
        processes = [
            context.Process(
                target=_work, args=(following, self.first + self.count, cores[n % len(cores)], words), daemon=True
            )
            for n in range(self.jobs)
        ]
        for process in processes:
            process.start()
        try:
            failure = self._listen(words, started)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()
        if failure is not None:
            sys.stdout.write(f"\n{failure}\n")
            return 1
        rate = self._done / (time.monotonic() - started) * 60
        sys.stdout.write(f"\n{self._done} schedules, {rate:.0f} a minute, no promise broken\n")
        faults = ", ".join(f"{name} {n}" for name, n in self._injected.most_common())
        sys.stdout.write(f"faults: {faults or 'none'}\nattempts: {dict(self._attempts.most_common())}\n")
        return 0

    def _listen(self, words: Queue[Word], started: float) -> str | None:
        while self._done < self.count:
            try:
                word = words.get(timeout=PATIENCE)
            except Empty:
                return f"no schedule has ended within {PATIENCE:.0f} s"
            if word.failure is not None:
                return word.failure
            self._done += word.done
            self._injected += word.injected
            self._attempts += word.attempts
            rate = self._done / (time.monotonic() - started) * 60
            most = ", ".join(f"{name} {n}" for name, n in self._injected.most_common(SHOWN))
            sys.stdout.write(f"\r\x1b[K{self._done}/{self.count} schedules, {rate:.0f}/min, {most}")
            sys.stdout.flush()
        return None


def replay(seed: int, *, shorten: bool) -> int:
    """Run one seed and say what happened; a failure is shown as short as it can be made."""
    with own_ground() as ground:
        plan = plan_of(seed)
        try:
            outcome = simulate(ground, plan)
        except Violation as violation:
            sys.stdout.write(_failure(ground, violation, shorten=shorten) + "\n")
            return 1
    sys.stdout.write(_summary(plan, outcome) + "\n")
    return 0


def _summary(plan: Plan, outcome: Outcome) -> str:
    return (
        f"seed {plan.seed}: {len(outcome.steps)} steps, {outcome.seconds:.0f} virtual seconds, runs {dict(outcome.runs)},"
        f" attempts {dict(outcome.attempts)}, faults {dict(outcome.injected)}; every promise was held"
    )


def _failure(ground: Any, violation: Violation, *, shorten: bool) -> str:
    found = shrink(ground, violation) if shorten else violation
    return f"{describe(found)}\n\nfirst seen as: {violation.reason}\nreplay: {replay_line(violation.plan.seed)}"


def _cores() -> list[int | None]:
    """Return the cores that jobs may be kept on."""
    return [*sorted(os.sched_getaffinity(0))] if sys.platform == "linux" else [None]


def _work(following: Synchronized[int], end: int, core: int | None, words: Queue[Word]) -> None:
    with own_ground(core) as ground:
        while True:
            with following.get_lock():
                first = following.value
                following.value += CHUNK
            if first >= end:
                return
            injected: Counter[str] = Counter()
            attempts: Counter[str] = Counter()
            seeds = range(first, min(first + CHUNK, end))
            for seed in seeds:
                try:
                    outcome = simulate(ground, seed)
                except Violation as violation:
                    words.put(Word(failure=_failure(ground, violation, shorten=True)))
                    return
                injected += outcome.injected
                attempts += outcome.attempts
            words.put(Word(len(seeds), injected, attempts))
