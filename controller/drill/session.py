"""One drill after the other: work, fault, watch, verdict; and whatever happens, nothing left broken."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from controller.cli.client import NotFoundError, RefusedError
from controller.cli.errors import CliError, UnreachableError
from controller.drill import faults, work
from controller.drill.history import Fault, History, Kind
from controller.drill.verdict import judge
from controller.drill.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from rich.console import Console

    from controller.cli.client import Client
    from controller.drill.place import Place
    from controller.drill.verdict import Verdict

SECONDS = {Kind.KILL_WORKER: 8.0, Kind.PURGE_QUEUE: 4.0, Kind.STOP_CONTROLLER: 6.0, Kind.SPOT_NOTICE: 15.0}
"""How long the first tasks sleep: a spot notice leaves them a grace, in which shorter ones would simply end."""
HELD = 3
"""How many messages shall wait when the queue is purged."""
CLEAN_WITHIN, CLEAN_AGAIN = 60.0, 1.0
TASKS_READ = 1_000
RUNS_READ = 50


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    kind: Kind
    pool: str
    tasks: int
    timeout: timedelta
    dag: str | None = None
    repeat: int = 1


@dataclass(slots=True)
class Session:
    """The drills of one command."""

    client: Client
    place: Place
    order: Order
    console: Console
    _watcher: Watcher = field(init=False)
    _held: faults.Held | None = None
    _applied: bool = False
    _run: str | None = None

    def __post_init__(self) -> None:
        self._watcher = Watcher(self.client, self.console)

    def announce(self) -> None:
        """Say what will be done, before it is."""
        order, place = self.order, self.place
        what = f"in {place.environment} (context {place.context}, {self.client.target.url})"
        self._say(f"drill {order.kind} {what}: {faults.WORDS[order.kind]}")
        if not place.local:
            self._say(faults.ON_AWS[order.kind])
        if order.dag is None:
            self._say(f"The work: {order.tasks} tasks of dag/{work.DAG} in pool {order.pool}; deleted afterwards.")
        else:
            self._say(f"The work: the newest unfinished run of dag/{order.dag}, which is yours.")

    def run(self) -> list[Verdict]:
        """Do the drills, until one is not passed; clean up also when interrupted."""
        verdicts: list[Verdict] = []
        try:
            pool = work.pool(self.client, self.place, self.order.pool)
            if self.order.dag is None:
                self._apply(pool)
            for _ in range(self.order.repeat):
                verdicts.append(self._once(pool))
                if not verdicts[-1].passed:
                    break
        except BaseException:
            self._abandon()
            raise
        self._tidy(passed=verdicts[-1].passed)
        return verdicts

    def _apply(self, pool: work.Pool) -> None:
        work.refuse_second(self.client)
        self._applied = True
        work.apply(self.client, work.document(pool, self.order.tasks, SECONDS[self.order.kind]))

    def _once(self, pool: work.Pool) -> Verdict:
        run = self._run = work.trigger(self.client) if self.order.dag is None else self._running(self.order.dag)
        self._say(f"run/{run} is watched")
        self._watcher.begin(run)
        fault = self._purge(pool, run) if self.order.kind is Kind.PURGE_QUEUE else self._strike(pool)
        self._watcher.until(self._watcher.ended, self.order.timeout.total_seconds())
        self._held = None
        return judge(self._history(run, fault))

    def _running(self, dag: str) -> str:
        for run in self.client.get("dagruns", fieldSelector=f"dag={dag}", limit=RUNS_READ)["items"]:
            if run["status"]["phase"] in work.UNFINISHED:
                return str(run["metadata"]["name"])
        raise CliError(f"no run of dag/{dag} is under way; `setpoint trigger {dag}` starts one")

    def _strike(self, pool: work.Pool) -> Fault:
        """Wait until tasks run, then hit the worker of most of them, or the leader."""
        enough = 1 if self.order.dag else min(pool.slots, self.order.tasks)
        runs = lambda: sum(self._by_worker().values()) >= enough  # noqa: E731 - a name for what is waited for
        self._await(
            runs, f"no worker of pool {pool.name} runs the tasks; `setpoint describe pool/{pool.name}` says why"
        )
        leader = self._watcher.leader()
        victim = None if self.order.kind is Kind.STOP_CONTROLLER else self._by_worker().most_common(1)[0][0]
        at = self._watcher.clock.now()
        if victim is None:
            what = faults.strike_leader(self.place, leader["holder"])
        else:
            what = faults.strike_task(self.place, self.order.kind, victim)
        return self._made(Fault(self.order.kind, at, what, victim))

    def _purge(self, pool: work.Pool, run: str) -> Fault:
        """Hold some of the run's messages, then empty the queue."""
        uid = str(self.client.get("dagruns", run)["metadata"]["uid"])
        held = self._held = faults.Held(self.place, pool.queue)
        held.take(uid, HELD)
        if not held.attempts:
            # A worker that reports an end is handed the next attempt with the answer, so only the first ones are sent.
            raise CliError(
                f"no message of run/{run} waited in {pool.queue}: workers took them all at once; "
                f"repeat it when pool {pool.name} has scaled in, or on a pool whose maxTasks is above its running tasks"
            )
        self._watcher.look()
        at = self._watcher.clock.now()
        held.purge()
        what = f"PurgeQueue {pool.queue} while {len(held.attempts)} messages waited"
        return self._made(Fault(self.order.kind, at, what, waiting=faults.waiting(held.attempts)))

    def _made(self, fault: Fault) -> Fault:
        self._watcher.fault_at = fault.at
        self._watcher.say(f"fault made: {fault.what}")
        return fault

    def _by_worker(self) -> Counter[str]:
        """Return how many attempts of the run each worker's ECS task runs."""
        newest = [t["status"]["attempts"][-1] for t in self._watcher.tasks if t["status"].get("attempts")]
        return Counter(a["ecsTask"] for a in newest if a["phase"] == "Running" and a.get("ecsTask"))

    def _await(self, holds: Callable[[], bool], otherwise: str) -> None:
        if not self._watcher.until(holds, self.order.timeout.total_seconds()):
            raise CliError(otherwise)

    def _history(self, run: str, fault: Fault) -> History:
        watcher = self._watcher
        _again(watcher.look)
        first = watcher.leaders[0].term if watcher.leaders else 0
        led = next((led for led in watcher.leaders if led.term > first and led.at >= fault.at), None)
        ended = watcher.run["status"].get("endedAt")
        return History(
            run=run,
            phase=watcher.run["status"]["phase"],
            fault=fault,
            tasks=tuple(watcher.history(TASKS_READ)),
            signs=tuple(watcher.signs),
            led=led,
            ended=datetime.fromisoformat(ended) if ended else None,
            numbers=frozenset(range(1, self.order.tasks + 1)) if self.order.dag is None else frozenset(),
        )

    def _abandon(self) -> None:
        """Take back what the drill began."""
        if self._held is not None:
            self._held.give_back()
            self._say("messages that the drill held are given back")
        if not self._applied:
            if self._run:
                self._say(f"run/{self._run} is yours and goes on")
            return
        self._say("stopping: the drill's run is cancelled and its DAG deleted …")
        try:
            _again(self._cancel_and_remove)
        except (CliError, KeyboardInterrupt) as error:
            self._say(f"not all is cleaned up ({error}); `setpoint delete dag/{work.DAG} --cascade` does it")
        else:
            self._say(f"dag/{work.DAG} is gone; a part that was hit is started again by what supervises it")

    def _cancel_and_remove(self) -> None:
        if self._run is not None:
            # It may have ended in the meantime, or be gone.
            with suppress(NotFoundError, RefusedError):
                self.client.post("dagruns", self._run, "cancel")
        work.remove(self.client)

    def _tidy(self, *, passed: bool) -> None:
        if not self._applied:
            return
        if passed:
            _again(lambda: work.remove(self.client))
            return
        _again(lambda: work.leave(self.client))
        self._say(
            f"dag/{work.DAG} is kept for a look, suspended; `setpoint delete dag/{work.DAG} --cascade` removes it"
        )

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _again(act: Callable[[], object]) -> None:
    """Do something, again while the dispatcher is away; raise what remains."""
    deadline = time.monotonic() + CLEAN_WITHIN
    while True:
        try:
            if act() is not False:
                return
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            return
        time.sleep(CLEAN_AGAIN)
