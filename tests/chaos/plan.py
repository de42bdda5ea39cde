"""Which fault comes when: drawn from a seed, so that a plan can be had again in kind and time (not in effect)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(StrEnum):
    """A kind of fault."""

    KILL_WORKER = "kill worker"
    KILL_CHILD = "kill child"
    KILL_DISPATCHER = "kill dispatcher"
    STOP_DISPATCHER = "stop dispatcher"
    KILL_SQS = "kill sqs"
    KILL_ECS = "kill ecs"
    KILL_APPLY = "kill apply"
    KILL_POSTGRES = "kill postgres"
    CRASH_BACKEND = "crash backend"
    CUT_CONNECTIONS = "cut connections"
    FREEZE_WORKER = "freeze worker"
    FREEZE_CHILD = "freeze child"
    FREEZE_DISPATCHER = "freeze dispatcher"
    FREEZE_SQS = "freeze sqs"
    FREEZE_ECS = "freeze ecs"
    FREEZE_POSTGRES = "freeze postgres"
    PURGE_QUEUE = "purge queue"
    EDIT = "edit"
    EDIT_BADLY = "edit badly"


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a fault comes, in seconds on average, and how long it lasts, in seconds from least to most."""

    kind: Kind
    every: float
    lasts: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at` seconds from the start, for `lasts` seconds; `draw` (0 to 1) picks among its victims."""

    at: float
    kind: Kind
    lasts: float
    draw: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A named mix of faults, and the reasons for which attempts may end without success under it (None: any of ours)."""

    rates: Sequence[Rate]
    spared: bool = False
    """No attempt may be lost to it."""
    losses: frozenset[str] | None = None


# Each comes at least twice in two minutes, and yet the system works for most of the time: chaos that lets nothing run
# proves nothing.
_MIXED = (
    Rate(Kind.KILL_CHILD, every=5),
    Rate(Kind.KILL_WORKER, every=20),
    Rate(Kind.KILL_DISPATCHER, every=40),
    Rate(Kind.STOP_DISPATCHER, every=60),
    Rate(Kind.KILL_SQS, every=60),
    Rate(Kind.KILL_ECS, every=60),
    Rate(Kind.KILL_APPLY, every=40),
    Rate(Kind.KILL_POSTGRES, every=60, lasts=(0, 5)),
    Rate(Kind.CRASH_BACKEND, every=60),
    Rate(Kind.CUT_CONNECTIONS, every=40),
    Rate(Kind.FREEZE_WORKER, every=30, lasts=(1, 20)),
    Rate(Kind.FREEZE_CHILD, every=12, lasts=(1, 15)),
    Rate(Kind.FREEZE_DISPATCHER, every=60, lasts=(1, 12)),
    Rate(Kind.FREEZE_SQS, every=60, lasts=(1, 8)),
    Rate(Kind.FREEZE_ECS, every=60, lasts=(1, 8)),
    Rate(Kind.FREEZE_POSTGRES, every=60, lasts=(1, 6)),
    Rate(Kind.PURGE_QUEUE, every=60),
    Rate(Kind.EDIT, every=15),
    Rate(Kind.EDIT_BADLY, every=20, lasts=(1, 5)),
)

PROFILES = {
    "mixed": Profile(_MIXED),
    # A restart of every dispatcher each five seconds: no attempt ends but by success.
    "t5": Profile((Rate(Kind.KILL_DISPATCHER, every=10), Rate(Kind.STOP_DISPATCHER, every=10)), spared=True),
    # A restart of the database at random: what ended stays ended, only rows on their way are lost.
    "t24": Profile((Rate(Kind.KILL_POSTGRES, every=22, lasts=(0, 5)),), losses=frozenset({"InfrastructureError"})),
}


def plan(profile: Profile, seed: int, seconds: float, rate: float = 1.0) -> list[Fault]:
    """Return the faults of so many seconds, in order of time; a `rate` of 2 makes them come twice as often.

    Each kind falls once into each of its spans of time, anywhere in it, so that every kind comes and kinds overlap.
    """
    faults = [fault for each in profile.rates for fault in _of_kind(each, seed, seconds, rate)]
    return sorted(faults, key=lambda fault: fault.at)


def _of_kind(each: Rate, seed: int, seconds: float, rate: float) -> list[Fault]:
    # A source for each kind: a change of one rate leaves the others' faults where they are.
    source = Random(f"{seed}/{each.kind}")
    span = each.every / rate
    return [
        Fault(span * number + source.uniform(0, span), each.kind, source.uniform(*each.lasts), source.random())
        for number in range(int(seconds / span))
    ]
