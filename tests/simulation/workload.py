"""What a schedule runs: pools, DAGs and what people do to them, drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from crds.dag import When
from tests.integration.core_parts import dag, dataset, pool, task
from tests.simulation.children import Behaviour

if TYPE_CHECKING:
    from random import Random

COLD, HOT = "files", "rows"
"""The two datasets that tasks write; each attempt that succeeds leaves one file or one row."""
SHAPES = ("one", "chain", "fan", "diamond", "random")
WHENS = tuple(str(w) for w in When)


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A worker pool."""

    name: str
    slots: int
    most: int
    least: int = 1

    def document(self) -> dict[str, Any]:
        return pool(self.name, slots=self.slots, maxTasks=self.most, minTasks=self.least)


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """A task, and how its attempts behave."""

    name: str
    needs: tuple[str, ...]
    pool: str
    when: str = "all_success"
    retries: int = 0
    infrastructure: int = 5
    timeout: int = 30
    queue_timeout: int = 86_400
    priority: int = 0
    writes: str | None = None
    behaviour: Behaviour = field(default_factory=Behaviour)

    @property
    def longest(self) -> float:
        """How long one attempt may take."""
        return self.timeout if self.behaviour.hangs else min(self.timeout, self.behaviour.longest)

    def document(self) -> dict[str, Any]:
        more: dict[str, Any] = {"outputs": {"out": {"dataset": self.writes, "mode": "append"}}} if self.writes else {}
        backoff = {"initial": "2s", "max": "6s"}
        return task(
            self.name,
            self.needs,
            pool=self.pool,
            when=self.when,
            priority=self.priority,
            timeout=f"{self.timeout}s",
            queueTimeout=f"{self.queue_timeout}s",
            retries={"limit": self.retries, "infrastructure": self.infrastructure, "backoff": backoff},
            **more,
        )


@dataclass(frozen=True, slots=True)
class DagPlan:
    """A DAG."""

    name: str
    tasks: tuple[TaskPlan, ...]
    cron: str | None = None
    catchup: str = "latest"
    policy: str = "Allow"
    most_runs: int = 16
    most_tasks: int | None = None
    timeout: int = 3_600

    def document(self) -> dict[str, Any]:
        concurrency: dict[str, Any] = {"policy": self.policy, "maxActiveRuns": self.most_runs}
        if self.most_tasks is not None:
            concurrency["maxActiveTasks"] = self.most_tasks
        schedules = [{"cron": self.cron, "catchup": self.catchup, "maxCatchup": 3}] if self.cron else []
        documents = [t.document() for t in self.tasks]
        return dag(self.name, *documents, concurrency=concurrency, schedules=schedules, timeout=f"{self.timeout}s")


@dataclass(frozen=True, slots=True)
class Workload:
    """All of it. `eagerness`: how likely a step is something that people do."""

    pools: tuple[PoolPlan, ...]
    dags: tuple[DagPlan, ...]
    triggers: int
    steps: int
    eagerness: float = 0.02
    actions: tuple[str, ...] = ()
    datasets: tuple[str, ...] = field(default=())

    def documents(self) -> list[dict[str, Any]]:
        """Return the resources to apply."""
        tiers = {COLD: "cold", HOT: "hot"}
        datasets = [dataset(name, ("attempt", "string"), tier=tiers[name]) for name in self.datasets]
        return [*(p.document() for p in self.pools), *datasets, *(d.document() for d in self.dags)]

    def plan(self, dag_name: str, task_name: str) -> TaskPlan | None:
        """Return the plan of a task, if it is still there."""
        for one in self.dags:
            if one.name == dag_name:
                return next((t for t in one.tasks if t.name == task_name), None)
        return None


def draw_workload(random: Random) -> Workload:
    """Draw a workload; half of all have at most four tasks a run."""
    pools = tuple(
        PoolPlan(f"p{n}", random.choice((1, 1, 2, 3)), random.choice((1, 2, 2, 3)), random.choice((0, 1, 1)))
        for n in range(random.choice((1, 1, 2)))
    )
    dags = tuple(_draw_dag(random, f"d{n}", pools) for n in range(random.choice((1, 1, 1, 2))))
    written = {t.writes for d in dags for t in d.tasks if t.writes}
    wanted = ("cancel", "pause", "resume", "pauseDag", "resumeDag", "edit", "retry", "resize", "delete", "again")
    return Workload(
        pools=pools,
        dags=dags,
        triggers=random.choice((1, 1, 1, 2, 3)),
        steps=random.choice((50, 80, 120, 120, 200)),
        eagerness=random.choice((0.0, 0.01, 0.02, 0.05)),
        actions=tuple(a for a in wanted if random.random() < 0.4),
        datasets=tuple(sorted(written)),
    )


def _draw_dag(random: Random, name: str, pools: tuple[PoolPlan, ...]) -> DagPlan:
    scheduled = random.random() < 0.2
    return DagPlan(
        name=name,
        tasks=_draw_tasks(random, pools),
        cron="* * * * *" if scheduled else None,
        catchup=random.choice(("none", "latest", "all")),
        policy=random.choice(("Allow", "Forbid", "Replace")) if scheduled else "Allow",
        most_runs=random.choice((1, 2, 16)),
        most_tasks=random.choice((None, None, 1, 2)),
        timeout=random.choice((3_600, 3_600, 3_600, 120)),
    )


def _draw_tasks(random: Random, pools: tuple[PoolPlan, ...]) -> tuple[TaskPlan, ...]:
    count = random.choice((1, 2, 3, 3, 4, 4, 5, 6, 8))
    shape = random.choice(SHAPES)
    rough, rules = random.random() < 0.6, random.random() < 0.5
    hot = random.random() < 0.12
    plans: list[TaskPlan] = []
    for n in range(1 if shape == "one" else count):
        fails = random.choice((0.0, 0.3, 0.7)) if rough else 0.0
        behaviour = Behaviour(
            random.getrandbits(32),
            fails=fails,
            hangs=random.choice((0.0, 0.0, 0.0, 0.3)) if rough else 0.0,
            dies=random.choice((0.0, 0.0, 0.2)) if rough else 0.0,
            commits=random.choice((0.0, 0.5, 1.0)),
            longest=random.choice((0.0, 2.0, 8.0)),
        )
        plan = TaskPlan(
            name=f"t{n}",
            needs=_needs(random, shape, n, count),
            pool=random.choice(pools).name,
            when=random.choice(WHENS) if rules and n else "all_success",
            retries=random.choice((0, 1, 2)),
            infrastructure=random.choice((5, 5, 2)),
            timeout=random.choice((10, 30, 60)),
            queue_timeout=random.choice((86_400, 86_400, 86_400, 40)),
            priority=random.choice((0, 0, 5)),
            writes=random.choice((None, None, HOT if hot else COLD)),
            behaviour=behaviour,
        )
        plans.append(plan)
    return tuple(plans)


def _needs(random: Random, shape: str, n: int, count: int) -> tuple[str, ...]:
    match shape:
        case _ if n == 0:
            return ()
        case "chain":
            return (f"t{n - 1}",)
        case "fan":
            return ("t0",)
        case "diamond":
            return tuple(f"t{m}" for m in range(1, n)) if n == count - 1 and n > 1 else ("t0",)
        case _:
            return tuple(f"t{m}" for m in range(n) if random.random() < 0.4)


def edited(random: Random, plan: DagPlan) -> DagPlan:
    """Return a DAG as somebody edits it: a task more, one less, another limit, another rule."""
    last = plan.tasks[-1]
    match random.randrange(4):
        case 0:
            new = replace(last, name=f"n{random.randrange(100)}", needs=(last.name,), writes=None)
            if all(t.name != new.name for t in plan.tasks):
                return replace(plan, tasks=(*plan.tasks, new))
            return plan
        case 1 if len(plan.tasks) > 1:
            return replace(plan, tasks=plan.tasks[:-1])
        case 2:
            return replace(plan, most_tasks=random.choice((None, 1, 2)), most_runs=random.choice((1, 2, 16)))
        case _:
            return replace(plan, tasks=tuple(replace(t, retries=(t.retries + 1) % 3) for t in plan.tasks))
