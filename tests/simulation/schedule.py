"""One schedule from its seed: a safety phase in which anything may break, then a liveness phase in which nothing does.

Everything that is not decided by the product is drawn from the seed: the workload, which faults there are and how often, and
at each step what happens next. A schedule is recorded as a list of steps; the same list gives the same schedule, and a
shorter one is a simpler schedule, in which steps that make no sense any more are passed over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from tests.simulation import answers, effects, steps
from tests.simulation.controllers import START
from tests.simulation.ecs import Service
from tests.simulation.faults import AS_STEPS, Faults
from tests.simulation.fibers import Fibers
from tests.simulation.invariants import Invariants
from tests.simulation.people import BASE
from tests.simulation.plan import Outcome, Plan, Step, Violation, plan_of
from tests.simulation.surprises import watched
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.simulation.ground import Ground

STEPS_EACH = 3
"""Steps of the scheduler for each step of the workload: most only let a thread look up."""
MOST_SAFETY = 180.0
"""The safety phase's virtual seconds; so no attempt is postponed more than once."""
CLOCK = 0.04
"""How likely the clock moves although something could be done now."""
NOTICED = 200.0
"""Seconds in which a lost message is sent again: CLAIM_WITHIN, two looks at its queue, EMPTY_FOR, and some to spare."""
BETWEEN_TRIES = 10.0
"""Seconds from an attempt's end to the next one's start: the backoff of these workloads, and some to spare."""
MOST_AT_ONCE = 20_000
"""Steps at one instant of the liveness phase; more mean that something turns in circles."""
MOST_PARKED = 20.0
"""A transaction is not kept open longer than this by the scheduler: Postgres would end it."""


def simulate(ground: Ground, plan: Plan | int) -> Outcome:
    """Run one schedule; raise Violation if a promise is broken."""
    if isinstance(plan, int):
        plan = plan_of(plan)
    schedule = Schedule(ground, plan)
    with watched(schedule.world), schedule.world.cooperation.in_place():
        try:
            return schedule.run()
        except Exception as error:
            raise Violation(replace(plan, recorded=tuple(schedule.taken)), error) from error
        finally:
            schedule.world.close()
            ground.clear(hot=bool(plan.workload.datasets))


class Schedule:
    """One schedule under way."""

    def __init__(self, ground: Ground, plan: Plan) -> None:
        self.plan = plan
        self.fibers = Fibers()
        self.faults = Faults(self.fibers, plan.rates, active=False)
        self.world = World(ground, plan, self.fibers, self.faults)
        self.invariants = Invariants(ground.eyes, self.world.people.asked, offered=self.world.sqs.offered)
        self.world.answered = self._answered
        self.world.people_settle = self._settle
        self.taken: list[Step] = []
        self._random = Random(plan.seed ^ 0x5E7)
        self._possible: steps.Steps = {}
        self._checked = -1

    def run(self) -> Outcome:
        """Run it."""
        self._begin()
        self.faults.active = True
        self._safety()
        ended_at = self._liveness()
        self._stable()
        found = self.invariants.check()
        effects.check(self.world, found)
        return Outcome(
            seed=self.plan.seed,
            steps=tuple(self.taken),
            injected=self.faults.injected,
            runs=Counter(r.phase for r in found.runs or ()),
            attempts=Counter(a.phase for a in found.attempts or ()),
            seconds=self.fibers.now,
            recovery=self.fibers.now - ended_at,
            points=self.faults.points,
            waited=self.world.database.waited,
        )

    # The phases.

    def _begin(self) -> None:
        """Start two controllers, apply the resources, start the services; nothing goes wrong yet."""
        for name in self.world.names:
            self.world.start_controller(name)
        steps.elect(self.world)
        answer = self.world.people.insist("POST", f"{BASE}/apply", {"resources": self.plan.workload.documents()})
        assert answer.status == 200, answer
        for pool in self.plan.workload.pools:
            self.world.ecs.services[pool.name] = Service(pool, pool.least)
        self.faults.points.clear()
        self.faults.crash_in, self.faults.crash_at = self.plan.crash_in, self.plan.crash_at

    def _safety(self) -> None:
        for step in self._drawn() if self.plan.recorded is None else self._replayed(self.plan.recorded):
            self._take(step)
            if self.fibers.now > MOST_SAFETY or (self.plan.recorded is None and self._nothing_left()):
                break

    def _nothing_left(self) -> bool:
        """Tell whether all that people wanted is final, so that further faults would meet nothing."""
        return bool(self.invariants.now.runs) and self._final() and self.world.people.content

    def _drawn(self) -> Iterator[Step]:
        random = self._random
        for _ in range(self.plan.workload.steps * STEPS_EACH):
            self._possible = steps.progress(self.world)
            yield Step(self._choose(random), random.getrandbits(32))

    def _replayed(self, recorded: Sequence[Step]) -> Iterator[Step]:
        for step in recorded:
            self._possible = steps.progress(self.world)
            yield step

    def _choose(self, random: Random) -> str:
        draw = random.random()
        for name in AS_STEPS:
            draw -= self.plan.rates.get(name, 0.0)
            if draw < 0:
                return f"fault: {name}"
        if random.random() < self.plan.workload.eagerness or not self.world.people.asked.keys:
            asked = list(self.world.people.steps())
            if asked:
                return random.choice(asked)
        possible = list(self._possible)
        if not possible or random.random() < CLOCK:
            return "clock"
        return random.choice(possible)

    def _take(self, step: Step) -> None:
        """Take a step if it makes sense now, then assert every promise."""
        self.fibers.random = Random(step.seed)
        act = self._act(step.label)
        if act is None:
            return
        self.taken.append(step)
        act()
        self._check()

    def _act(self, label: str) -> Callable[[], None] | None:
        scripted: dict[str, Callable[[], None]] = {
            "clock": self._advance,
            "settle": self._settle,
            "until a run": lambda: self._until(lambda: bool(self.invariants.now.runs)),
            "until final": lambda: self._until(self._final),
            "messages die": lambda: setattr(self.world.sqs, "deadly", True),
            "messages live": lambda: setattr(self.world.sqs, "deadly", False),
        }
        if label in scripted:
            return scripted[label]
        if label.startswith("fault: "):
            name = label.removeprefix("fault: ")
            act = steps.breakage(self.world).get(name)
            return None if act is None else lambda: self._break(name, act)
        return self._possible.get(label) or self.world.people.steps().get(label)

    def _break(self, name: str, act: Callable[[], None]) -> None:
        self.faults.injected[name] += 1
        act()

    def _advance(self) -> None:
        """Move the clock to the next time at which something happens, but not past an open transaction's patience."""
        then = steps.next_time(self.world)
        if then is None:
            return
        parked = [f for c in self.world.controllers.values() for f in c.process.fibers if f.inside]
        if parked and then - self.fibers.now > MOST_PARKED:
            self.world.go(parked[0])
            return
        self.fibers.now = max(then, self.fibers.now)

    def _until(self, reached: Callable[[], bool]) -> None:
        """Let time pass until something is so."""
        while not reached() and self.fibers.now < MOST_SAFETY:
            self._advance()
            self._settle()

    def _liveness(self) -> float:
        """Let everything work; assert that within a bounded time all is final. Return when the faults stopped."""
        self.faults.active = False
        self.world.database.down_until = -1.0
        for task in self.world.ecs.tasks:
            steps.pause(task, paused=False)
        self._one_leader()
        self._settle()
        self._put_right()
        stopped_at = self.fibers.now
        bound = self._bound()
        limit = stopped_at + bound
        while not self._final():
            then = steps.next_time(self.world)
            assert then is not None, "nothing will ever happen again, and not all is final"
            assert then < limit, f"not final within {bound:.0f} s: {self._unfinished()}"
            self.fibers.now = then
            self._settle()
        return stopped_at

    def _one_leader(self) -> None:
        for name in self.world.names:
            if name not in self.world.controllers:
                self.world.start_controller(name)
        leaders = [c for c in self.world.controllers.values() if c.leads]
        for controller in leaders[1:]:
            controller.lead(leads=False)

    def _put_right(self) -> None:
        """Have people resume what they paused, end the schedules, and give every pool its size again."""
        people = self.world.people
        people.repeat()
        if people.asked.resized:
            people.insist("POST", f"{BASE}/apply", {"resources": [p.document() for p in self.plan.workload.pools]})
        for dag in people.dags.values():
            if dag.cron is not None or people.asked.deleted:
                people.insist("POST", f"{BASE}/apply", {"resources": [replace(dag, cron=None).document()]})
            if dag.name in people.asked.paused:
                people.insist("POST", f"{BASE}/dags/{dag.name}/resume")
        for run in self.invariants.check().runs or ():
            if run.suspend and not run.ended:
                people.insist("POST", f"{BASE}/dagruns/{run.name}/resume")

    def _bound(self) -> float:
        """Return within how many seconds all must be final, once nothing goes wrong any more.

        First what the faults left has to be noticed: a worker that is gone (its lease, and the gap of an outage), a cancelled
        attempt that nobody answers for, a message that is gone (its attempt is looked at, then its queue has to be seen empty
        for a minute); an attempt may have been postponed before. After that every task of every run takes its turn, one after
        the other, with all its tries, each as long as it may be.
        """
        postponed = max((a.check_at for a in self.invariants.check().attempts or () if not a.ended), default=0.0)
        noticed = max(postponed - (START.timestamp() + self.fibers.now + self.world.skew), 0.0) + NOTICED
        tasks = {(d.name, t.name): t for d in self.world.people.past for t in d.tasks}.values()
        tries = sum((t.retries + 2) * (t.longest + BETWEEN_TRIES) for t in tasks)
        return noticed + (len(self.invariants.now.runs or ()) + 1) * tries

    def _final(self) -> bool:
        runs = self.invariants.now.runs or ()
        asked = self.world.people.asked.accepted
        return all(r.ended for r in runs) and len(runs) >= len(asked)

    def _unfinished(self) -> str:
        now = self.invariants.now
        runs = [f"{r.name} {r.phase}" for r in now.runs or () if not r.ended]
        tasks = [f"{t.run}/{t.task} {t.phase}" for t in now.tasks or () if not t.ended]
        attempts = [f"{a.id} {a.phase}" for a in now.attempts or () if not a.ended]
        return "; ".join([*runs, *tasks, *attempts])

    def _stable(self) -> None:
        """Assert that one more pass over everything plans nothing (I10)."""
        self._settle()
        before, sends = self.invariants.check(), self.world.sqs.sends
        leader = self.world.leader
        assert leader is not None
        self.fibers.spawn("resync", leader.resync, leader.process)
        self._settle()
        after = self.invariants.check()
        changed = [
            (old, new)
            for old, new in (
                (before.runs, after.runs),
                (before.tasks, after.tasks),
                (before.attempts, after.attempts),
                (before.files, after.files),
            )
            if _sorted(old) != _sorted(new)
        ]
        assert not changed, f"a further pass changed something: {changed} (I10)"
        assert self.world.sqs.sends == sends, "a further pass sent something (I10)"

    # What all phases need.

    def _settle(self) -> None:
        """Do everything that can be done at this instant, in order."""
        for _ in range(MOST_AT_ONCE):
            possible = steps.progress(self.world)
            if not possible:
                return
            for act in possible.values():
                act()
                self._check()
        raise AssertionError(f"turns in circles: {sorted(steps.progress(self.world))}")

    def _check(self) -> None:
        self.world.effects.check()
        if self.world.database.changes != self._checked:
            self._checked = self.world.database.changes
            self.invariants.check()

    def _answered(self, answer: object) -> None:
        # Within a thread of the product, which would catch an exception.
        self.world.effects.broken += answers.broken(self.invariants.connection, answer)
        for attempt, verdict in getattr(answer, "reports", {}).items():
            if verdict == "recorded":
                self.invariants.recorded[attempt] = verdict


def _sorted(rows: Sequence[object] | None) -> list[str]:
    return sorted(map(str, rows or ()))
