"""Short schedules in which nothing goes wrong but one crash, which comes at each point in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.simulation.children import Behaviour
from tests.simulation.plan import Plan, Step
from tests.simulation.workload import COLD, DagPlan, PoolPlan, TaskPlan, Workload

CALM = Behaviour(1, longest=2.0)
COMMITS = Behaviour(1, longest=2.0, commits=1.0)
FAILS = Behaviour(1, fails=1.0, longest=2.0)
SEED = 1


@dataclass(frozen=True, slots=True)
class Scenario:
    """DAGs, what happens to them, step by step, and how each task's attempts must have ended without a crash."""

    dag: DagPlan
    script: tuple[str, ...]
    slots: int = 2
    within: float = 15.0
    """Virtual seconds in which all is final without a crash."""

    def plan(self) -> Plan:
        """Return the schedule without a crash."""
        datasets = tuple(sorted({t.writes for t in self.dag.tasks if t.writes}))
        workload = Workload(
            pools=(PoolPlan("p", self.slots, 1),),
            dags=(self.dag,),
            triggers=1,
            steps=0,
            actions=("cancel", "retry", "edit", "pause", "resume"),
            datasets=datasets,
        )
        return Plan(SEED, workload, {}, tuple(Step(label, SEED) for label in self.script), controllers=1)


def _task(name: str, *needs: str, behaviour: Behaviour = CALM, writes: str | None = None, retries: int = 0) -> TaskPlan:
    return TaskPlan(name, needs, "p", behaviour=behaviour, writes=writes, retries=retries)


_TRIGGER = ("somebody triggers", "settle")
_CHAIN = DagPlan("d", (_task("a", behaviour=COMMITS, writes=COLD), _task("b", "a")))

SCENARIOS = {
    "diamond": Scenario(
        DagPlan("d", (_task("a", behaviour=COMMITS), _task("b", "a"), _task("c", "a"), _task("e", "b", "c"))), _TRIGGER
    ),
    "fan in one slot": Scenario(DagPlan("d", (_task("a"), _task("b"), _task("c"))), _TRIGGER, slots=1),
    "failure, tried again": Scenario(
        DagPlan("d", (_task("a", behaviour=FAILS, retries=1), replace(_task("b", "a"), when="all_done"))), _TRIGGER
    ),
    "cancel": Scenario(_CHAIN, (*_TRIGGER, "somebody asks to cancel a run", "settle")),
    "pause and resume": Scenario(
        _CHAIN,
        (
            *_TRIGGER,
            "somebody asks to pause a run",
            "settle",
            "clock",
            "settle",
            "somebody asks to resume a run",
            "settle",
        ),
    ),
    "retry": Scenario(
        DagPlan("d", (_task("a", behaviour=FAILS), _task("b", "a"))),
        (*_TRIGGER, "until final", "somebody asks to retry a run", "settle"),
    ),
    "edit during a run": Scenario(_CHAIN, (*_TRIGGER, "somebody edits a dag", "settle")),
    "tick of a schedule": Scenario(replace(_CHAIN, cron="* * * * *"), ("until a run", "settle"), within=75.0),
    "dead letters": Scenario(_CHAIN, ("messages die", *_TRIGGER, "messages live", "settle"), within=45.0),
    "lost worker": Scenario(_CHAIN, (*_TRIGGER, "fault: killWorker", "settle"), within=45.0),
}
