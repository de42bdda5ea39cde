"""Postgres as simulated processes reach it: the real one, with a point before every statement and around every COMMIT.

At a point the scheduler may let other fibers go first, so transactions of all processes interleave statement by statement.
A statement that waits for a lock in Postgres parks its fiber until the lock is free; whether it waits is asked of Postgres
itself (`pg_blocking_pids`), never guessed from how long it takes.

Faults: a statement or a COMMIT fails and nothing is written; a COMMIT succeeds and its answer is lost; the server restarts,
which ends every session and refuses new ones for a while.
"""

from __future__ import annotations

import re
import select
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import waiting
from psycopg.errors import SerializationFailure
from psycopg_pool import PoolTimeout

from tests.simulation.fibers import Killed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.simulation.faults import Faults
    from tests.simulation.fibers import Fibers, Process
    from tests.simulation.ground import Ground

LOOK_SECONDS = 0.002
"""How long, in real seconds, a statement may take before Postgres is asked whether it waits for a lock."""
MAX_LOOKS = 10_000
REFUSED_FOR = 1.0
"""How long, in virtual seconds, a connection is waited for while the server is down."""

# Only by transactions of the schedule: a vacuum may come at any time.
_BLOCKED = "SELECT pg_blocking_pids(%s) && %s::int[]"
_TERMINATE = "SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s::int[]) AS pid"
_Value = TypeVar("_Value")


_WRITE = re.compile(
    # Heartbeats count what they leave out (`missed`), which no promise is about.
    r"\b(UPDATE|INSERT INTO|DELETE FROM)\s+(run|task_run|attempt|resource|manifest_file)\b(?!\s+SET missed)"
    r"|fence\.commit|apply_writes"
)


@cache
def _writes(query: str) -> bool:
    return _WRITE.search(query) is not None


class Connection(psycopg.Connection[Any]):
    """A connection that tells its door of every statement."""

    door: Door | None = None
    gone = False
    """Whether its session was ended, so that nothing can be done with it any more."""
    wrote = False
    """Whether the transaction changed anything that the invariants look at."""

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        if self.door is not None:
            self.door.point("execute", self)
        cursor = super().execute(*args, **kwargs)
        if cursor.rowcount and isinstance(args[0], str) and _writes(args[0]):
            self.wrote = True
        return cursor

    def commit(self) -> None:
        """Commit, with a point before and after; nothing is done if no transaction is open."""
        if self.door is None or self.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            super().commit()
            return
        door, shared = self.door, self.door.shared
        door.point("commit" if self.wrote else "read", self)
        super().commit()
        if self._pipeline is not None:
            # Whatever comes now comes after it: the locks are free, and others may see what was written.
            self._pipeline.sync()
        shared.hand_over()
        shared.changes += self.wrote
        if shared.fibers.current is not None and shared.faults.draws("commitUnknown"):
            raise psycopg.OperationalError("server closed the connection unexpectedly (the COMMIT was done)")
        door.point("committed" if self.wrote else "read")

    def wait(self, gen: Generator[Any, Any, _Value], interval: float = 0.1, timeout: float | None = None) -> _Value:
        door = self.door
        if door is None or not door.shared.contended:
            return super().wait(gen, interval, timeout)
        try:
            return self._wait_with(door.shared, gen)
        except Killed:
            # Its session has been ended; the statement hears of it.
            with suppress(psycopg.Error):
                super().wait(gen, interval)
            raise

    def _wait_with(self, shared: SharedDatabase, gen: Generator[Any, Any, _Value]) -> _Value:
        """Drive the statement; park while it waits for a lock that another transaction holds."""
        fd, pid = self.pgconn.socket, self.pgconn.backend_pid
        try:
            wanted = next(gen)
            while True:
                reading, writing = wanted & waiting.Wait.R, wanted & waiting.Wait.W
                r, w, _ = select.select([fd] if reading else [], [fd] if writing else [], [], LOOK_SECONDS)
                if r or w:
                    ready = (waiting.Ready.R if r else 0) | (waiting.Ready.W if w else 0)
                    wanted = gen.send(ready)
                elif shared.blocked(pid):
                    shared.fibers.park_locked(lambda: _waits(shared, fd, pid))
        except StopIteration as end:
            value: _Value = end.value
            return value


def _waits(shared: SharedDatabase, fd: int, pid: int) -> bool:
    """Tell whether a statement still waits for a lock; if it has just got it, wait for its end."""
    for _ in range(MAX_LOOKS):
        if select.select([fd], [], [], 0)[0]:
            return False
        if shared.blocked(pid):
            return True
        select.select([fd], [], [], LOOK_SECONDS)
    raise AssertionError("a statement neither ends nor waits for a lock")


class SharedDatabase:
    """The one server of a schedule, which all doors lead to."""

    def __init__(self, ground: Ground, fibers: Fibers, faults: Faults) -> None:
        self.ground = ground
        self.fibers = fibers
        self.faults = faults
        self.down_until = -1.0
        self.changes = 0
        """Transactions that changed anything that the invariants look at."""
        self.held: set[Connection] = set()
        """Connections in use."""
        self.waited = 0
        """How often a statement had to wait for a lock."""

    @property
    def contended(self) -> bool:
        """Tell whether somebody else may hold locks."""
        return len(self.held) > 1

    @property
    def down(self) -> bool:
        """Tell whether the server takes no connections now."""
        return self.fibers.now < self.down_until

    def blocked(self, pid: int) -> bool:
        """Ask Postgres whether a session waits for a lock."""
        holders = [c.pgconn.backend_pid for c in self.held]
        row = self.ground.eyes.execute(_BLOCKED, (pid, holders)).fetchone()
        self.waited += 1
        return bool(row and row[0])

    def hand_over(self) -> bool:
        """Let the locks that just fell free reach those that wait for them, in Postgres's order; tell whether any did.

        Otherwise whoever let them go could take them again, or not, as chance will have it.
        """
        waiting = self.fibers.blocked()
        freed = True
        while freed:
            freed = False
            for fiber in waiting:
                if fiber.locked is not None and not fiber.locked():
                    fiber.locked, fiber.ready, freed = None, True, True
        return any(f.locked is None for f in waiting)

    def restart(self, seconds: float) -> None:
        """End all sessions, roll back what they had not committed, and take none for a while."""
        self.down_until = self.fibers.now + seconds
        self._cut(list(self.held))

    def cut(self, process: Process) -> None:
        """End the sessions of a process that dies."""
        self._cut([c for c in self.held if c.door is not None and c.door.process is process])

    def _cut(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.gone = True
        if connections:
            self.ground.eyes.execute(_TERMINATE, ([c.pgconn.backend_pid for c in connections],))
            self.hand_over()


class Door:
    """One process's way to the database; stands in for its connection pool."""

    def __init__(self, shared: SharedDatabase, process: Process, *, child: bool = False) -> None:
        self.shared = shared
        self.process = process
        self._child = child
        """Whether it is a child's: the login of workers, each statement a transaction."""

    def open(self, *, wait: bool = False, timeout: float = 0.0) -> None:
        """Do nothing: the connections are there."""

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[psycopg.Connection]:
        """Lend a connection; commit at the end, roll back what failed."""
        shared = self.shared
        self._refuse()
        connection = shared.ground.take(child=self._child)
        connection.door, connection.wrote = self, False
        shared.held.add(connection)
        try:
            yield connection
            connection.commit()
        except BaseException:
            with suppress(psycopg.Error):
                connection.rollback()
            shared.hand_over()
            raise
        finally:
            connection.door = None
            shared.held.discard(connection)
            shared.changes += connection.wrote
            shared.ground.give_back(connection, child=self._child)

    def point(self, kind: str, connection: Connection | None = None) -> None:
        """Pass a point at which the process may die, a fault may strike, or others may go first."""
        shared = self.shared
        shared.faults.passed(self.process, kind)
        fiber = shared.fibers.current
        if fiber is None:
            return
        if shared.faults.draws("interleave"):
            if connection is not None and connection._pipeline is not None:
                # What was sent already shall not run beside what others do.
                connection._pipeline.sync()
            fiber.inside = connection is not None
            shared.fibers.stand_aside()
            fiber.inside = False
        if connection is None:
            return
        if connection.gone:
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        if shared.faults.draws("abort"):
            raise SerializationFailure("could not serialize access (simulated)")

    def _refuse(self) -> None:
        shared = self.shared
        if shared.down:
            if shared.fibers.current is not None:
                shared.fibers.park(REFUSED_FOR)
            raise PoolTimeout("couldn't get a connection: the server is down (simulated)")
