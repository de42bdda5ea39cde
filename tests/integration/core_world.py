"""The real reconcilers and the real worker protocol on a real Postgres, driven by hand: one thread, one virtual clock.

Nothing happens by itself. `settle` works off what is woken until nothing is left; `advance` moves the clock and does what
timers, workers' heartbeats and the API's open-keeper would have done meanwhile. Faults come in by three doors: the
queue's (`MemoryQueues`), the workers' (claim, report and heartbeat are calls of the test), and `hooks.point`, which is
called before every statement and around every COMMIT, and may raise to play a crash there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import psycopg

from controller.api.deletion import begin
from controller.api.grants import Grants
from controller.api.protocol import WorkerProtocol
from controller.api.reporting import Reporting
from controller.api.tokens import ClaimTokens
from controller.api.upsert import upsert
from controller.diff.retry import Again, TaskRule, reopen
from controller.informers.timers import Timers
from controller.reconcilers.dags import DagReconciler
from controller.reconcilers.datasets import DatasetReconciler
from controller.reconcilers.delivery import Delivery
from controller.reconcilers.invocations import Invocations
from controller.reconcilers.pools import PoolReconciler
from controller.reconcilers.queues import QueueReconciler
from controller.reconcilers.runs import RunReconciler
from controller.reconcilers.sender import Sender
from controller.runtime.keys import Key, Kind
from controller.runtime.workqueue import Workqueue
from controller.store import pools, reopening, resources, runs, task_runs, workers
from controller.store.revisions import RevisionId, Revisions
from crds.dag import DagSpec
from crds.names import AttemptId, DagUid, RunUid
from crds.params import complete
from crds.parse import parse
from crds.protocol import ClaimRequest, DatasetWrite, Grant, HeartbeatRequest, Message, Report, ReportRequest, TaskError
from crds.reasons import Reason
from tests.integration.core_invariants import Invariants
from tests.integration.core_parts import CountedIds, Hooks, OneConnection, VirtualClock
from tests.integration.core_queues import MemoryFunctions, MemoryQueues, MemoryServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from psycopg_pool import ConnectionPool

    from controller.runtime.loop import Result
    from crds.protocol import ClaimAnswer, HeartbeatAnswer, ReportAnswer
    from tests.conftest import Database

MAX_ROUNDS = 500
MAX_WORK = 2_000
BATCH = 50
HEARTBEAT, RESYNC = timedelta(seconds=3), timedelta(seconds=30)


@dataclass
class SimWorker:
    """A worker process: what it holds, and whether it is heard."""

    id: str
    pool: str
    heard: bool = True
    ecs_task: str | None = None
    held: dict[str, Grant] = field(default_factory=dict)


class World:
    """One dispatcher, its queues and its workers."""

    def __init__(self, database: Database, *, scales: bool = False) -> None:
        self.hooks = Hooks()
        self.clock = VirtualClock()
        self.ids = CountedIds()
        self.queues = MemoryQueues(self.clock.monotonic, self.hooks)
        self.functions = MemoryFunctions(self.hooks)
        self.services = MemoryServices()
        self.database = OneConnection(database.conninfo, self.hooks)
        # The test's own looks pass no point, and see only what is committed.
        self.eyes = psycopg.connect(database.conninfo, options="-c search_path=setpoint", autocommit=True)
        self.workers: dict[str, SimWorker] = {}
        self.invariants = Invariants()
        self.scales = scales
        self.last_resync = self.last_beat = self.clock.at
        self.requests = 0
        self.open = True
        self.boot()
        self._keep_open()

    def boot(self) -> None:
        """Start the dispatcher's parts anew, as after a crash: everything in memory is gone."""
        database = cast("ConnectionPool", self.database)
        revisions, clock = Revisions(), self.clock
        self.workqueues = {kind: Workqueue(kind, clock.monotonic) for kind in Kind}
        self.sender = Sender(database, clock, Delivery(self.queues, self.functions))
        self.revisions = revisions
        self.timers = Timers(database, clock, self.wake, lambda: True)
        grants = Grants(revisions, ClaimTokens(b"key"))
        self.protocol = WorkerProtocol(database, clock, grants, self.wake)
        self.reporting = Reporting(database, clock, revisions, grants, self.wake, self.sender.send)
        run = RunReconciler(database, clock, revisions, self.sender, self.wake)
        looks = {
            Kind.DAG: DagReconciler(database, clock, revisions, self.ids, self.wake).reconcile,
            Kind.RUN: run.reconcile,
            Kind.SLOTS: run.reconcile,
            Kind.POOL: PoolReconciler(
                database, clock, revisions, self.services, self.wake, scales=self.scales
            ).reconcile,
            Kind.DATASET: DatasetReconciler(database, clock).reconcile,
            Kind.QUEUE: QueueReconciler(database, clock, revisions, self.queues, self.sender, self.wake).reconcile,
        }
        self.invocations = Invocations(database, clock, revisions, self.functions, self.sender, self.wake)
        self.reconcile: Mapping[Kind, Callable[[Sequence[Key]], Mapping[Key, Result]]] = looks

    def close(self) -> None:
        """Let the database go."""
        self.database.close()
        self.eyes.close()

    # What people do.

    def apply(self, *documents: dict[str, Any]) -> None:
        """Apply resources as the API does."""
        wanted = []
        for document in documents:
            parsed = parse(document)
            assert parsed.resource is not None, parsed.findings
            wanted.append(parsed.resource)
        with self.database.connection() as connection:
            _, keys = upsert(connection, wanted, self.ids, self.clock.at)
        self.wake(keys)

    def trigger(self, name: str, key: str | None = None, **params: Any) -> str:
        """Ask for a run as the API does and return its uid."""
        with self.database.connection() as connection:
            row = connection.execute(
                "SELECT uid, generation, spec FROM resource WHERE kind = 'Dag' AND name = %s", (name,)
            ).fetchone()
            assert row is not None, f"no Dag {name}"
            spec = DagSpec.model_validate(row[2])
            uid = RunUid(self.ids.uid(self.clock.at))
            new = runs.NewRow(
                uid=uid,
                namespace="default",
                dag_uid=DagUid(row[0]),
                dag=name,
                revision=row[1],
                key=f"trigger/{key or uid}",
                trigger="manual",
                schedule=None,
                tick=None,
                params=complete(spec.params, params),
                labels={},
                deadline=self.clock.at + spec.timeout,
                created_at=self.clock.at,
            )
            runs.create(connection, new)
        self.wake([Key(Kind.DAG, row[0])])
        return uid

    def cancel(self, run: str) -> None:
        """Ask for a run to be cancelled."""
        with self.database.connection() as connection:
            runs.cancel(connection, [RunUid(run)], Reason.CANCELLED, self.clock.at)
        self.wake([Key(Kind.RUN, run), Key(Kind.DAG, self.one("SELECT dag_uid FROM run WHERE uid = %s", run))])

    def suspend(self, run: str, *, suspended: bool = True) -> None:
        """Pause or resume a run, as the API does."""
        with self.database.connection() as connection:
            reopening.suspend(connection, RunUid(run), suspended=suspended)
            freed = task_runs.hold(connection, [RunUid(run)], suspended=suspended).get()
        self.wake([Key(Kind.RUN, run), *(Key(Kind.SLOTS, uid) for uid in freed)])

    def delete(self, kind: str, name: str, *, cascade: bool = False) -> tuple[str, ...]:
        """Ask for a resource to be deleted, as the API does, and return what holds it."""
        with self.database.connection() as connection:
            ref = resources.Ref(kind, "default", name)
            stored = resources.lock(connection, [ref])[ref]
            held = begin(connection, stored, "test", self.clock.at, cascade=cascade)
        self.wake([Key({"Dag": Kind.DAG, "WorkerPool": Kind.POOL}[kind], stored.uid)] if held else [])
        return held

    def retry(self, run: str, *tasks: str, how: Again = Again.RETRY) -> None:
        """Open an ended run again, as the API does."""
        uid = RunUid(run)
        with self.database.connection() as connection:
            row = connection.execute("SELECT dag_uid, revision FROM run WHERE uid = %s", (run,)).fetchone()
            assert row is not None
            key = RevisionId(DagUid(row[0]), row[1])
            revision = self.revisions.read(connection, [key])[key]
            rules = {name: TaskRule(tuple(t.needs), t.when) for name, t in revision.tasks.items()}
            chosen = {(t, 0) for t in tasks} or None
            decision = reopen(rules, reopening.phases(connection, uid), chosen, how)
            assert not decision.problems, decision.problems
            freed = reopening.reopen(connection, uid, decision.phases, revision.spec.timeout, self.clock.at)
        self.invariants.reopened(run)
        self.wake([Key(Kind.RUN, run), *(Key(Kind.SLOTS, uid) for uid in freed)])

    # What the dispatcher does.

    def wake(self, keys: Iterable[Key]) -> None:
        """Put keys into the workqueues."""
        for key in keys:
            self.workqueues[key.kind].add([key])

    def settle(self, *, check: bool = True) -> None:
        """Work off every woken key until nothing is left, deliver what is to be sent, and check the invariants."""
        for _ in range(MAX_ROUNDS):
            if not self._round():
                break
        else:
            raise AssertionError(f"not settled after {MAX_ROUNDS} rounds")
        if check:
            self.check()

    def check(self) -> None:
        """Assert what holds at every moment."""
        self.invariants.check(self.eyes)

    def assert_stable(self) -> None:
        """Assert that one more pass over everything plans nothing."""
        self.settle()
        before, sends = self._state(), self.queues.sends
        self.wake(self.timers.resync())
        self.settle()
        assert self._state() == before, "a further pass changed something"
        assert self.queues.sends == sends, "a further pass sent something"

    def advance(self, seconds: float, step: float = 1.0) -> None:
        """Move the clock in steps, and do at each what timers and workers do; every step ends settled."""
        end = self.clock.at + timedelta(seconds=seconds)
        while self.clock.at < end:
            self.clock.at = min(self.clock.at + timedelta(seconds=step), end)
            self._keep_open()
            if self.clock.at - self.last_beat >= HEARTBEAT:
                self.last_beat = self.clock.at
                for worker in self.workers.values():
                    if worker.heard and self.open:
                        self.beat(worker)
            if self.clock.at - self.last_resync >= RESYNC:
                self.last_resync = self.clock.at
                self.wake(self.timers.resync())
            self.wake(self.timers.due())
            self.settle()

    # What workers do.

    def worker(self, name: str = "w1", pool: str = "python") -> SimWorker:
        """Return a worker by name; it starts when it is first asked for."""
        return self.workers.setdefault(name, SimWorker(name, pool))

    def claim(
        self, count: int = 10, worker: str = "w1", pool: str = "python", request: str | None = None
    ) -> list[Grant]:
        """Receive messages and claim them; delete those that are granted or dropped."""
        who = self.worker(worker, pool)
        received = self.queues.receive(self.queue(pool), count)
        if not received:
            return []
        answer = self.ask(who, [r.message for r in received], request)
        done = {g.attempt for g in answer.grants} | {r.attempt for r in answer.refusals if r.action == "drop"}
        for r in received:
            if r.message.attempt in done:
                self.queues.delete(self.queue(pool), r)
        return answer.grants

    def ask(self, who: SimWorker, messages: Sequence[Message], request: str | None = None) -> ClaimAnswer:
        """Claim attempts, whether or not a message named them."""
        self.requests += 1
        request = request or f"r{self.requests}"
        asked = ClaimRequest(
            request=request, worker=who.id, pool=who.pool, attempts=list(messages), ecs_task=who.ecs_task
        )
        (answer,) = self.protocol.claims([asked])
        for grant in answer.grants:
            self.invariants.granted(grant.attempt, request, who.id)
            who.held[grant.attempt] = grant
        return answer

    def beat(self, who: SimWorker, held: Iterable[str] | None = None, awaited: Iterable[str] = ()) -> HeartbeatAnswer:
        """Send a worker's heartbeat; by default it names all that it holds."""
        names = [AttemptId(a) for a in (who.held if held is None else held)]
        asked = HeartbeatRequest(
            worker=who.id, pool=who.pool, attempts=names, slots=5, ecs_task=who.ecs_task, awaited=list(awaited)
        )
        (answer,) = self.protocol.heartbeats([asked])
        return answer

    def report(
        self,
        grant: Grant,
        outcome: Any = "succeeded",
        *,
        kind: str = "ValueError",
        outputs: dict[str, Any] | None = None,
        writes: Sequence[DatasetWrite] = (),
        bookmark: Any = None,
    ) -> str:
        """Report an attempt's end and return the answer."""
        error = None if outcome == "succeeded" else TaskError(reason="UserError", kind=kind, message=f"it {outcome}")
        told = Report(
            attempt=grant.attempt,
            token=grant.token,
            outcome=outcome,
            outputs=outputs or {},
            writes=list(writes),
            bookmark=bookmark,
            error=error,
        )
        who = next((w for w in self.workers.values() if w.held.get(grant.attempt) is not None), None)
        name = who.id if who else "w1"
        answer: ReportAnswer
        (answer,) = self.reporting.reports(
            [ReportRequest(reports=[told], worker=name, pool=who.pool if who else "python")]
        )
        if who is not None:
            del who.held[grant.attempt]
        return answer.reports[grant.attempt]

    def work(self, outcomes: Mapping[str, str] | None = None, pools: Sequence[str] = ("python",)) -> list[str]:
        """Let workers run everything that comes, each attempt ending as its task's outcome says; return tasks in order."""
        done: list[str] = []
        for _ in range(MAX_WORK):
            self.settle()
            granted = [g for p in pools for g in self.claim(worker=f"w-{p}" if p != "python" else "w1", pool=p)]
            if not granted:
                return done
            for grant in granted:
                name = grant.task["name"]
                done.append(name)
                self.report(grant, (outcomes or {}).get(name, "succeeded"))
        raise AssertionError(f"still working after {MAX_WORK} rounds")

    # What one may look at.

    def one(self, query: str, *values: Any) -> Any:
        """Return the first column of the only row."""
        rows = self.rows(query, *values)
        assert len(rows) == 1, rows
        return rows[0][0]

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.eyes.execute(query, values).fetchall()

    def phase(self, run: str) -> str:
        """Return a run's phase."""
        return str(self.one("SELECT phase FROM run WHERE uid = %s", run))

    def reason(self, run: str) -> str:
        """Return why a run is as it is."""
        return str(self.one("SELECT reason FROM run WHERE uid = %s", run))

    def tasks(self, run: str) -> dict[str, str]:
        """Return the phase of each task of a run."""
        return dict(self.rows("SELECT task, phase FROM task_run WHERE run_uid = %s ORDER BY task", run))

    def attempts(self, run: str, name: str = "%") -> list[str]:
        """Return the phases of a run's attempts, in order."""
        query = "SELECT phase FROM attempt WHERE run_uid = %s AND task LIKE %s ORDER BY task, number"
        return [r[0] for r in self.rows(query, run, name)]

    def live(self, pool: str = "python") -> int:
        """Return how many attempts of a pool are live."""
        return int(
            self.one(
                "SELECT count(*) FROM attempt WHERE ended_at IS NULL AND pool_uid = %s", self.uid("WorkerPool", pool)
            )
        )

    def uid(self, kind: str, name: str) -> str:
        """Return a resource's uid."""
        return str(self.one("SELECT uid FROM resource WHERE kind = %s AND name = %s", kind, name))

    def queue(self, pool: str = "python") -> str:
        """Return the name of a pool's queue."""
        return pools.by_name(self.eyes, "default", [pool])[pool].queue()

    def events(self, reason: str) -> list[str]:
        """Return the messages of events with a reason."""
        return [r[0] for r in self.rows("SELECT message FROM event WHERE reason = %s ORDER BY id", reason)]

    def _round(self) -> bool:
        busy = False
        for kind, queue in self.workqueues.items():
            keys = queue.get(BATCH, 0)
            if keys:
                busy = True
                results = self.reconcile[kind](keys)
                for key in keys:
                    queue.done(key)
                    result = results.get(key)
                    if result is not None and result.wake_after is not None:
                        queue.add_after(key, result.wake_after)
        return self.deliver() or busy

    def deliver(self) -> bool:
        """Send what waits to be sent, as the sender's thread does."""
        batch = []
        while share := self.sender.take():
            batch += share
        if batch:
            self.sender.deliver(batch)
        return bool(batch)

    def _keep_open(self) -> None:
        if self.open:
            with self.database.connection() as connection:
                workers.keep_open(connection, self.clock.at)

    def _state(self) -> list[tuple[Any, ...]]:
        return self.rows(
            """SELECT md5(string_agg(r::text, '' ORDER BY r::text)) FROM (
                   SELECT to_jsonb(run) FROM run UNION ALL SELECT to_jsonb(task_run) FROM task_run
                   UNION ALL SELECT to_jsonb(attempt) FROM attempt UNION ALL SELECT to_jsonb(event) FROM event
                   UNION ALL SELECT to_jsonb(schedule_cursor) FROM schedule_cursor) AS r"""
        )
