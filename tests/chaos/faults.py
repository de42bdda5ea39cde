"""Do the faults of a plan to a running system, each at its time, each undone in the end."""

from __future__ import annotations

import signal
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING, LiteralString

import psutil
import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from e2e_processes import family

from tests.chaos import journal, victims
from tests.chaos.journal import Kill
from tests.chaos.plan import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from e2e_system import Up

    from tests.chaos.editing import Editor
    from tests.chaos.plan import Fault
    from tests.chaos.queue import Queue

AT_ONCE = 32
"""How many faults may last at the same time."""
KILL_AGAIN = 0.2
"""How often, in seconds, what shall stay down is killed again."""

_CUT: LiteralString = """
    SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND usename LIKE 'setpoint%%' AND pid <> pg_backend_pid()
"""


@dataclass(slots=True)
class Faults:
    """Injects faults; says what it did, and which processes it killed."""

    up: Up
    editor: Editor
    queue: Queue
    say: Callable[[str], None]
    injected: Counter[str] = field(default_factory=Counter)
    kills: list[Kill] = field(default_factory=list)
    _over: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)
    _started: float = 0.0

    def run(self, plan: Sequence[Fault], seconds: float) -> None:
        """Do the plan; return when its time is up and each fault is undone."""
        self._started = time.monotonic()
        begun: list[Future[None]] = []
        with ThreadPoolExecutor(AT_ONCE, "fault") as threads:
            try:
                for fault in plan:
                    self._over.wait(max(fault.at - self._elapsed(), 0))
                    begun.append(threads.submit(self._inject, fault))
                self._over.wait(max(seconds - self._elapsed(), 0))
            finally:
                self._over.set()
        for one in begun:
            one.result()

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _inject(self, fault: Fault) -> None:
        at = self._elapsed()
        try:
            done = self._do(fault)
        except (psutil.Error, psycopg.Error, OSError, LookupError, ValueError, BotoCoreError, ClientError) as error:
            # The victim is down already, by another fault, or just comes up (and its pid file is half written).
            done = None
            self.say(f"{at:6.1f} s  {fault.kind}: not possible now ({type(error).__name__})")
        if done is not None:
            with self._lock:
                self.injected[fault.kind] += 1
            lasted = f" for {self._elapsed() - at:.1f} s" if self._elapsed() - at > 1 else ""
            self.say(f"{at:6.1f} s  {fault.kind}: {done}{lasted}")

    def _do(self, fault: Fault) -> str | None:
        """Do one fault and undo it; return what was done, or None if there was no victim."""
        match fault.kind:
            case Kind.EDIT:
                return self.editor.edit(fault.draw)
            case Kind.EDIT_BADLY:
                return self.editor.edit_badly(fault.draw, fault.lasts, self._over)
            case Kind.PURGE_QUEUE:
                return self.queue.purge()
            case Kind.CUT_CONNECTIONS:
                return f"{self.up.rows(_CUT)[0]['n']} connections"
            case Kind.KILL_POSTGRES:
                return self._keep_down(fault)
            case Kind.KILL_CHILD:
                return self._kill(self._busy(), fault.draw)
            case Kind.STOP_DISPATCHER:
                return self._kill(victims.programs("dispatcher")(self.up), fault.draw, signal.SIGTERM)
        found, freeze = self._victims(fault.kind)
        return self._freeze(found, fault) if freeze else self._kill(found, fault.draw)

    def _victims(self, kind: Kind) -> tuple[list[psutil.Process], bool]:
        """Return whom a kill or a freeze may hit; all of Postgres is frozen, of others one process."""
        what, _, whom = kind.partition(" ")
        match whom:
            case "worker":
                found = victims.pool(self.up)
            case "child":
                found = self._busy()
            case "backend":
                found = victims.backends(self.up)
            case "postgres":
                found = victims.postgres(self.up)
            case _:
                found = victims.programs(whom)(self.up)
        return found, what == "freeze"

    def _busy(self) -> list[psutil.Process]:
        """Return the children that run user code now, or all of them."""
        children = victims.children(self.up)
        running = journal.read(self.editor.journal).running()
        return [child for child in children if child.pid in running] or children

    def _kill(self, found: list[psutil.Process], draw: float, number: int = signal.SIGKILL) -> str | None:
        if not found:
            return None
        victim = found[int(draw * len(found))]
        # Who dies with it: what it started is killed too, or loses what it works for.
        pids = frozenset(p.pid for p in family(victim.pid))
        victim.send_signal(number)
        with self._lock:
            self.kills.append(Kill(time.time(), pids))
        return f"{victim.pid}"

    def _keep_down(self, fault: Fault) -> str | None:
        """Kill Postgres, or only the program around it, and again while it shall be down."""
        first = victims.postmaster(self.up) if fault.draw < 0.5 else victims.programs("postgres")(self.up)
        if not first:
            return None
        first[0].kill()
        until = time.monotonic() + fault.lasts
        while time.monotonic() < until and not self._over.wait(KILL_AGAIN):
            for process in victims.programs("postgres")(self.up):
                with suppress(psutil.Error):
                    process.kill()
        return f"{'postmaster' if fault.draw < 0.5 else 'launcher'} {first[0].pid}"

    def _freeze(self, found: list[psutil.Process], fault: Fault) -> str | None:
        if not found:
            return None
        frozen = found if fault.kind is Kind.FREEZE_POSTGRES else [found[int(fault.draw * len(found))]]
        try:
            for process in frozen:
                with suppress(psutil.Error):
                    process.suspend()
            self._over.wait(fault.lasts)
        finally:
            for process in frozen:
                with suppress(psutil.Error):
                    process.resume()
        return f"{frozen[0].pid}"
