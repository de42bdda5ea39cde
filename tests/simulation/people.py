"""What people and event sources ask of the API: the real handlers, called as HTTP would call them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from psycopg.errors import DeadlockDetected, SerializationFailure

from controller.api.audit import AuditedPool, Recorder
from controller.api.auth import Principal, Role
from controller.api.endpoint import DEADLOCK_TRIES, Call, Endpoint
from controller.api.errors import status_answer
from controller.api.resources import NAMESPACE, all_endpoints
from controller.api.verbs import deed
from controller.runtime.keys import Key, Kind
from controller.store import workers
from controller.store.audit import Actor, Entry
from tests.simulation.workload import edited

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.controllers import Controller
    from tests.simulation.ecs import Task
    from tests.simulation.workload import DagPlan, TaskPlan
    from tests.simulation.world import World

BASE = NAMESPACE.replace("{ns}", "default")
SOMEBODY = Principal("somebody", Role.ADMIN)
SOMEBODYS = Actor("somebody", "admin", "token", "-", "-")
MOST_BUSY = 6
"""How many requests of theirs are under way at once."""
MAX_TRIES = 30
"""How often a person repeats what has to be done in the end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered."""

    status: int
    body: Any


@dataclass
class Asked:
    """What people know: which runs they were promised, which DAGs there are."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Name of a run → its DAG, for every trigger that was answered 2xx."""
    keys: list[tuple[str, str]] = field(default_factory=list)
    answered: set[tuple[str, str]] = field(default_factory=set)
    """Triggers, by DAG and idempotency key: asked for, and answered (perhaps refused)."""
    paused: set[str] = field(default_factory=set)
    """DAGs that somebody paused."""
    resized: bool = False
    deleted: bool = False


class People:
    """Everybody who uses the API."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked = Asked()
        self.dags: dict[str, DagPlan] = {d.name: d for d in world.workload.dags}
        self.past: list[DagPlan] = list(world.workload.dags)
        self._numbers = 0
        self._left = world.workload.triggers

    def plan(self, dag: str, task: str) -> TaskPlan | None:
        """Return the plan of a task, as it was in any revision."""
        for plan in reversed(self.past):
            found = next((t for t in plan.tasks if t.name == task), None) if plan.name == dag else None
            if found is not None:
                return found
        return None

    @property
    def content(self) -> bool:
        """Tell whether everything was asked for, and answered."""
        return self._left == 0 and not self._busy and not self._unanswered

    @property
    def _unanswered(self) -> list[tuple[str, str]]:
        """Return the triggers of which nobody knows whether they were taken."""
        return [key for key in self.asked.keys if key not in self.asked.answered]

    @property
    def _busy(self) -> int:
        """Return how many requests are under way."""
        return sum(" " in f.name for c in self._world.controllers.values() for f in c.process.fibers)

    # What they may do now, by label.

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return what somebody could ask for."""
        found: dict[str, Callable[[], None]] = {}
        world = self._world
        if not world.controllers or self._busy >= MOST_BUSY:
            return found
        if self._left > 0:
            found["somebody triggers"] = self._trigger
        elif self._unanswered:
            found["somebody repeats a trigger"] = lambda: self._trigger_by(*self._unanswered[0])
        for action in world.workload.actions:
            found |= self._action(action, known=bool(self.asked.accepted))
        return found

    def _action(self, action: str, *, known: bool) -> dict[str, Callable[[], None]]:
        """Return one kind of request, if there is something to ask it of."""
        match action:
            case "cancel" | "retry" | "pause" | "resume" if known:
                return {f"somebody asks to {action} a run": lambda: self._on_run(action)}
            case "pauseDag" | "resumeDag":
                verb = action.removesuffix("Dag")
                return {f"somebody asks to {verb} a dag": lambda: self._on_dag(verb)}
            case "edit":
                return {"somebody edits a dag": self._edit}
            case "delete":
                return {"somebody deletes a dag": self._delete}
            case "resize":
                return {"somebody resizes a pool": self._resize}
            case "again" if self.asked.keys:
                return {"somebody triggers again": self._again}
            case _:
                return {}

    # Asking.

    def ask(self, method: str, path: str, body: Any = None, then: Callable[[Answer], None] | None = None) -> None:
        """Ask a controller; the request runs in a thread of its process, and dies with it."""
        controller = self._any()
        self._numbers += 1
        name = f"api {self._numbers} {method} {path.rpartition('/')[2]}"

        def work() -> None:
            answer = self._handle(controller, method, path, body)
            # An answer that gets lost was given all the same.
            if then is not None and not self._world.faults.draws("answerLost"):
                then(answer)

        self._world.fibers.spawn(name, work, controller.process)

    def insist(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask until there is an answer that is final; for the start and the end, when nothing goes wrong."""
        for _ in range(MAX_TRIES):
            answers: list[Answer] = []
            self.ask(method, path, body, answers.append)
            self._world.people_settle()
            if answers and answers[0].status < 500:
                return answers[0]
        raise AssertionError(f"{method} {path} was not answered in {MAX_TRIES} tries")

    def repeat(self) -> None:
        """Ask again for the runs of which nobody knows whether they were taken."""
        for _ in range(MAX_TRIES):
            if not self._unanswered:
                return
            self._trigger_by(*self._unanswered[0])
            self._world.people_settle()
        raise AssertionError(f"triggers are not answered: {self._unanswered}")

    def apply(self, documents: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the body that applies resources."""
        return {"resources": documents}

    def stopped_event(self, task: Task) -> None:
        """Tell a controller that an ECS task has stopped, as /v1/events does."""
        controller = self._any()

        def work() -> None:
            try:
                with controller.door.connection() as connection:
                    pools = workers.pools_of_ecs_tasks(connection, [task.worker.task])
            except Exception:  # noqa: BLE001 - the endpoint answers 500, and EventBridge's event is lost
                return
            controller.wake({Key(Kind.POOL, pool) for pool in pools})

        self._world.fibers.spawn(f"event {task.worker.process.name}", work, controller.process)

    def _any(self) -> Controller:
        controllers = self._world.controllers
        names = sorted(controllers)
        chosen = self._world.fibers.random.choice(names) if self._world.faults.active else names[0]
        return controllers[chosen]

    def _handle(self, controller: Controller, method: str, path: str, body: Any) -> Answer:
        endpoint, parts = controller.routes.find(method, path)
        content, what = json.dumps(body or {}).encode(), deed(method, endpoint.path)
        for tried in range(DEADLOCK_TRIES):
            recorder = Recorder(SOMEBODYS, Entry(what.verb, what.kind, "default", parts.get("name", "")))
            call = Call(parts, {}, content, SOMEBODY, None, recorder)  # type: ignore[arg-type]
            deps = replace(controller.deps, pool=AuditedPool(controller.deps.pool, recorder))
            try:
                response = endpoint.handler(deps, call)
                break
            except (DeadlockDetected, SerializationFailure) as error:
                if tried == DEADLOCK_TRIES - 1:
                    return Answer(500, {"message": str(error)})
            except Exception as error:  # noqa: BLE001 - as endpoint.route does
                response = status_answer(error)
                break
        return Answer(response.status_code, json.loads(bytes(response.body)))

    # The actions.

    def _dag(self) -> DagPlan:
        return self._world.fibers.random.choice(list(self.dags.values()))

    def _trigger(self) -> None:
        self._left -= 1
        self._numbers += 1
        plan = self._dag()
        self.asked.keys.append((plan.name, f"k{self._numbers}"))
        self._trigger_by(*self.asked.keys[-1])

    def _again(self) -> None:
        self._trigger_by(*self._world.fibers.random.choice(self.asked.keys))

    def _trigger_by(self, dag: str, key: str) -> None:
        def accepted(answer: Answer) -> None:
            if answer.status < 500:
                self.asked.answered.add((dag, key))
            if answer.status < 300:
                self.asked.accepted[answer.body["metadata"]["name"]] = dag

        self.ask("POST", f"{BASE}/dags/{dag}/trigger", {"idempotencyKey": key}, accepted)

    def _on_run(self, verb: str) -> None:
        run = self._world.fibers.random.choice(sorted(self.asked.accepted))
        self.ask("POST", f"{BASE}/dagruns/{run}/{verb}")

    def _on_dag(self, verb: str) -> None:
        dag = self._dag().name
        if verb == "pause":
            self.asked.paused.add(dag)
        self.ask("POST", f"{BASE}/dags/{dag}/{verb}")

    def _edit(self) -> None:
        plan = edited(self._world.fibers.random, self._dag())
        self.dags[plan.name] = plan
        self.past.append(plan)
        self.ask("POST", f"{BASE}/apply", self.apply([plan.document()]))

    def _delete(self) -> None:
        """Delete a DAG, and apply it again at once: a new one of the same name."""
        plan = self._dag()
        self.asked.deleted = True

        def again(answer: Answer) -> None:
            if answer.status < 300:
                self.ask("POST", f"{BASE}/apply", self.apply([plan.document()]))

        self.ask("DELETE", f"{BASE}/dags/{plan.name}", None, again)

    def _resize(self) -> None:
        random = self._world.fibers.random
        pool = random.choice(self._world.workload.pools)
        self.asked.resized = True
        resized = replace(pool, most=random.choice((1, 2, 3)), least=min(pool.least, 1))
        self.ask("POST", f"{BASE}/apply", self.apply([resized.document()]))


class Routes:
    """The endpoints of one controller process, found by method and path as its HTTP server does."""

    def __init__(self) -> None:
        # Made anew for each process: an endpoint may remember what it has read.
        self._known = [
            (e.method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", e.path)), e) for e in all_endpoints()
        ]

    def find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
        """Return the endpoint and the parts of the path."""
        for known, pattern, endpoint in self._known:
            found = pattern.fullmatch(path)
            if known == method and found:
                return endpoint, found.groupdict()
        raise LookupError(f"no endpoint {method} {path}")
