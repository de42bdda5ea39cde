"""Make a failing schedule short: drop steps, then DAGs, tasks, pools and faults, as long as it goes on failing alike."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.simulation.plan import Plan, Violation
from tests.simulation.schedule import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.ground import Ground
    from tests.simulation.plan import Step

MOST_RUNS = 400
"""How many shorter schedules are tried."""


@dataclass
class Shrinker:
    """Delta debugging (Zeller and Hildebrandt, 2002) over the recorded steps."""

    ground: Ground
    best: Violation
    left: int = MOST_RUNS
    _kind: str = field(init=False)

    def __post_init__(self) -> None:
        self._kind = _kind(self.best)

    def run(self) -> Violation:
        """Return the shortest failure found."""
        self._workload()
        self._steps()
        self._workload()
        return self.best

    def _steps(self) -> None:
        size = max(len(self.best.plan.recorded or ()) // 2, 1)
        while size >= 1 and self.left > 0:
            start, shorter = 0, False
            while start < len(self.best.plan.recorded or ()) and self.left > 0:
                steps = self.best.plan.recorded or ()
                if self._fails(replace(self.best.plan, recorded=steps[:start] + steps[start + size :])):
                    shorter = True
                else:
                    start += size
            if size == 1 and not shorter:
                return
            size = max(size // 2, 1)

    def _workload(self) -> None:
        for simpler in self._simpler():
            if self.left <= 0:
                return
            self._fails(simpler)

    def _simpler(self) -> Iterator[Plan]:
        """Yield plans with one thing less, each from the best so far."""
        for name in list(self.best.plan.rates):
            rates = {n: r for n, r in self.best.plan.rates.items() if n != name}
            yield replace(self.best.plan, rates=rates)
        for one in list(self.best.plan.workload.dags):
            workload = self.best.plan.workload
            if len(workload.dags) > 1:
                yield replace(
                    self.best.plan,
                    workload=replace(workload, dags=tuple(d for d in workload.dags if d.name != one.name)),
                )
        for dag in list(self.best.plan.workload.dags):
            for task in reversed(dag.tasks):
                yield self._without(dag.name, task.name)

    def _without(self, dag: str, task: str) -> Plan:
        """Return the plan without a task; who needs it needs what it needs."""
        workload = self.best.plan.workload
        dags = []
        for one in workload.dags:
            gone = next((t for t in one.tasks if t.name == task), None)
            if one.name != dag or gone is None or len(one.tasks) == 1:
                dags.append(one)
                continue
            tasks = tuple(
                replace(t, needs=tuple(dict.fromkeys(m for n in t.needs for m in (gone.needs if n == task else (n,)))))
                for t in one.tasks
                if t.name != task
            )
            dags.append(replace(one, tasks=tasks))
        return replace(self.best.plan, workload=replace(workload, dags=tuple(dags)))

    def _fails(self, plan: Plan) -> bool:
        if plan == self.best.plan:
            return False
        self.left -= 1
        try:
            simulate(self.ground, plan)
        except Violation as violation:
            if _kind(violation) != self._kind:
                return False
            # What was taken, without the steps that made no sense any more.
            self.best = violation
            return True
        return False


def _kind(violation: Violation) -> str:
    """Return what two failures have in common that are the same: the promise, without the names."""
    text = str(violation.reason)
    found = text[text.rfind("(I") :] if "(I" in text else " ".join(w for w in text.split() if w.isalpha())[:60]
    return f"{type(violation.reason).__name__} {found}"


def shrink(ground: Ground, violation: Violation) -> Violation:
    """Return a shorter failure of the same kind, or the one given."""
    return Shrinker(ground, violation).run()


def describe(violation: Violation) -> str:
    """Return a failure as people read it: the workload, the steps, the broken promise, how to replay it."""
    plan = violation.plan
    lines = [f"seed {plan.seed}: {violation.reason}", "", "workload:"]
    lines += [f"  pool {p.name}: {p.slots} slots × {p.least}..{p.most} tasks" for p in plan.workload.pools]
    for dag in plan.workload.dags:
        lines.append(
            f"  dag {dag.name}: cron={dag.cron} policy={dag.policy} runs<={dag.most_runs} tasks<={dag.most_tasks}"
        )
        lines += [f"    {t}" for t in dag.tasks]
    lines += ["", f"faults: {', '.join(f'{n} {r:.3f}' for n, r in sorted(plan.rates.items())) or 'none'}"]
    lines += ["", f"steps ({len(plan.recorded or ())}):", *_numbered(plan.recorded or ())]
    return "\n".join(lines)


def _numbered(steps: tuple[Step, ...]) -> list[str]:
    return [f"  {n:4} {step}" for n, step in enumerate(steps, 1)]
