"""Hunt one mutant in a process of its own: `python -m tests.mutation.hunt NAME --seeds N` tells of itself in lines of JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.mutation.mutants import MUTANTS
from tests.mutation.planting import plant_code, plant_schema
from tests.simulation.plan import Plan, Violation, plan_of
from tests.simulation.schedule import simulate
from tests.simulation.server import own_ground

if TYPE_CHECKING:
    from tests.mutation.mutant import Mutant

TELL_EVERY = 10
EAGERNESS, MOST_TRIGGERS = 0.1, 3
"""How likely a step is something that people do, and how often they trigger, where a mutant says what they do."""


def main() -> int:
    """Return 0, whether the mutant was caught or not; the last line says which."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.hunt", description=__doc__)
    parser.add_argument("name", choices=sorted(MUTANTS))
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="SEED")
    wanted = parser.parse_args()
    mutant = MUTANTS[wanted.name]
    plant_code(mutant.edits)
    with own_ground() as ground:
        plant_schema(mutant.edits, ground.eyes)
        for done, seed in enumerate(range(wanted.first, wanted.first + wanted.seeds), 1):
            try:
                simulate(ground, _plan(mutant, seed))
            except Violation as violation:
                _tell(done, caught=f"{type(violation.reason).__name__}: {violation.reason}")
                return 0
            if done % TELL_EVERY == 0:
                _tell(done)
    _tell(wanted.seeds)
    return 0


def _plan(mutant: Mutant, seed: int) -> Plan:
    plan = plan_of(seed)
    if mutant.faults:
        plan = replace(plan, rates=dict(mutant.faults))
    if mutant.actions:
        busy = replace(plan.workload, actions=mutant.actions, eagerness=EAGERNESS, triggers=MOST_TRIGGERS)
        plan = replace(plan, workload=busy)
    return plan


def _tell(schedules: int, caught: str | None = None) -> None:
    sys.stdout.write(json.dumps({"schedules": schedules, "caught": caught}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
