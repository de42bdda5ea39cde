"""What runs in a worker's slots: children that take their time, succeed, fail, hang or die, and commit through the real fence."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import psycopg

from crds.names import cold_key
from crds.protocol import DatasetWrite, TaskError, WrittenFile
from crds.reasons import Reason
from tests.simulation.fibers import Process
from workers.endings import Seen, ending
from workers.frames import Finished
from workers.held import Held, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from crds.protocol import Grant, Report
    from tests.simulation.database import Connection
    from tests.simulation.fibers import Fibers
    from tests.simulation.threads import Wake
    from tests.simulation.world import World

COMMIT_TRIES = 3
STALE_FENCE, STAGE_GONE = "SP001", "SP004"
TERM_SECONDS = 2.0

_STAGE = "SELECT fence.stage(%s, %s, %s)"
_COMMIT = "SELECT fence.commit(%s, %s, %s, %s, %s)"
Way = Literal["succeed", "fail", "hang", "die"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How attempts of a task behave: each number draws its own way, from the seed and its name alone."""

    seed: int = 0
    fails: float = 0.0
    hangs: float = 0.0
    dies: float = 0.0
    commits: float = 0.0
    longest: float = 5.0

    def of(self, attempt: str, number: int) -> tuple[Way, float, bool]:
        """Return how an attempt ends, after how long, and whether it commits by itself."""
        draw = Random(f"{self.seed}/{attempt}")
        way: Way = "succeed"
        for name, rate in (("fail", self.fails), ("hang", self.hangs), ("die", self.dies)):
            if draw.random() < rate:
                way = name  # type: ignore[assignment]
                break
        return way, draw.uniform(0, self.longest), draw.random() < self.commits


@dataclass
class Effects:
    """What user code did, as it can be seen from outside."""

    started: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """Promises that were broken within the product's threads, which would catch an exception."""

    def begin(self, attempt: str) -> None:
        """Count a start of user code; it has to be the first of its attempt."""
        self.started[attempt] += 1
        if self.started[attempt] > 1:
            self.broken.append(f"user code of {attempt} started twice (I2)")

    def check(self) -> None:
        """Assert that no promise was broken."""
        assert not self.broken, "; ".join(self.broken)


class Child:
    """The child process of one attempt. It goes on while its worker is stopped, and dies with it."""

    def __init__(self, world: World, grant: Grant, wake: Wake, worker: Process) -> None:
        self._world = world
        self._grant = grant
        self._behaviour = world.behaviour(grant)
        self._wake = wake
        self.finished: Finished | None = None
        self.exit_code: int | None = None
        self.process = Process(f"child of {grant.attempt}", parent=worker)

    def start(self) -> None:
        self._world.effects.begin(self._grant.attempt)
        self._world.fibers.spawn("main", self._run, self.process)

    def kill(self) -> None:
        self._world.doom(self.process)

    @property
    def over(self) -> bool:
        """Tell whether it has answered or died."""
        return self.finished is not None or self.exit_code is not None

    def _run(self) -> None:
        way, seconds, commits = self._behaviour.of(self._grant.attempt, self._grant.number)
        self._world.fibers.park(3600.0 if way == "hang" else seconds)
        if way == "die":
            self.exit_code = -9
        elif way == "fail":
            error = TaskError(Reason.USER_ERROR, "ValueError", "it failed")
            self.finished = Finished("failed", error=error, reusable=True)
        else:
            self.finished = self._succeed(commits=commits)
        self._wake.set()

    def _succeed(self, *, commits: bool) -> Finished:
        grant = self._grant
        outputs = {"from": grant.attempt}
        writes = [self._cold(alias) for alias, ref in grant.outputs.items() if ref.table is None]
        hot = [ref for ref in grant.outputs.values() if ref.table is not None]
        if not hot and not commits:
            return Finished("succeeded", outputs=outputs, writes=writes, bookmark={"at": grant.attempt}, reusable=True)
        staged = self._try(lambda connection: [_stage(connection, grant, ref) for ref in hot])
        if isinstance(staged, Finished):
            return staged
        bookmark = json.dumps({"at": grant.attempt})
        body = msgspec.json.encode([*writes, *staged]).decode()
        values = (grant.attempt, grant.token, json.dumps(outputs), bookmark, body)
        committed = self._try(lambda connection: connection.execute(_COMMIT, values))
        if isinstance(committed, Finished):
            return committed
        return Finished("succeeded", outputs=outputs, bookmark={"at": grant.attempt}, reusable=True)

    def _try(self, work: Callable[[Connection], Any]) -> Any:
        """Return what the work returns, or how the attempt ends because the database refuses or does not answer."""
        for _ in range(COMMIT_TRIES):
            try:
                with self._world.child_door(self.process).connection() as connection:
                    return work(connection)  # type: ignore[arg-type]
            except psycopg.Error as error:
                if error.sqlstate == STALE_FENCE:
                    return Finished("stale", reusable=True)
                if error.sqlstate == STAGE_GONE:
                    break
                if error.sqlstate is not None and error.sqlstate.startswith("SP"):
                    self._world.effects.broken.append(f"the fence refused {self._grant.attempt}: {error}")
                self._world.fibers.park(1.0)
        return Finished("lost", error=TaskError(Reason.INFRASTRUCTURE_ERROR, message="no database"))

    def _cold(self, alias: str) -> DatasetWrite:
        ref = self._grant.outputs[alias]
        key = cold_key(ref.name, ref.namespace, "", self._grant.attempt, 0)
        file = WrittenFile(key=key, partition="", rows=1, bytes=1)
        return DatasetWrite(dataset=ref.name, uid=ref.uid, mode=ref.mode or "append", rows=1, files=[file])


def _stage(connection: Connection, grant: Grant, ref: Any) -> DatasetWrite:
    """Put the one row of an attempt into its stage table, unless a commit whose answer was lost has dropped it."""
    row = connection.execute(_STAGE, (grant.attempt, grant.token, ref.uid)).fetchone()
    stage = row[0]
    connection.execute(f"INSERT INTO {stage} (attempt) VALUES (%s)", (grant.attempt,))
    return DatasetWrite(dataset=ref.name, uid=ref.uid, mode=ref.mode or "append", rows=1, stage=stage)


class SimulatedRunner:
    """Stands in for workers.runner.Runner: what comes of an attempt is decided by the real `ending`."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def run(self, held: Held, wake: Wake) -> Report | None:
        """Run one attempt in a child; stop it when that is asked for or its time is over."""
        grant = held.grant
        if held.stopping is not None:
            return ending(grant, Seen(stop=held.stopping))
        child = Child(self._world, grant, wake, self._process)
        self._world.children[child.process] = self._process
        fibers = self._world.fibers
        held.watch(wake.set)
        wake.clear()
        child.start()
        stop = self._wait(child, held, wake, fibers, fibers.now + grant.timeout_seconds)
        held.watch(None)
        child.kill()
        self._world.children.pop(child.process, None)
        return ending(grant, Seen(finished=child.finished, stop=stop, exit_code=child.exit_code))

    def _wait(self, child: Child, held: Held, wake: Wake, fibers: Fibers, deadline: float) -> Stop | None:
        while not child.over and held.stopping is None:
            if not wake.event.wait(max(0.0, deadline - fibers.now)) and fibers.now >= deadline:
                held.stop(Stop.TIMEOUT)
            wake.clear()
        stop = held.stopping
        if stop not in {None, Stop.STALE} and not child.over:
            # SIGTERM: a child that is about to finish may do so within its grace.
            wake.event.wait(TERM_SECONDS)
        return stop
