"""One run of chaos: load and faults together, then calm, then the verdict."""

from __future__ import annotations

import signal
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from e2e_system import Up, eventually

from controller.cli.errors import CliError
from tests.chaos import journal, leaks, snapshot, workload
from tests.chaos.clients import Clients
from tests.chaos.editing import Editor
from tests.chaos.faults import Faults
from tests.chaos.outcome import Outcome
from tests.chaos.plan import PROFILES, plan
from tests.chaos.queue import Queue
from tests.chaos.verdict import Broken, Violation, Wanted, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.snapshot import Snapshot

LOOK_EVERY = 0.5
TELL_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """What a run of chaos is."""

    profile: str = "mixed"
    minutes: float = 2.0
    seed: int = 0
    rate: float = 1.0
    """How many times as often as usual faults come."""
    load: float = 2.0
    """Triggers a second."""
    settle: float = 900.0
    """Seconds in which all must be final once the faults have stopped."""
    keep: bool = False
    """Leave the folder of the system where it is."""


class Chaos:
    """One system, its clients and its faults."""

    def __init__(self, options: Options, folder: Path, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        dags, self._journal = folder / "source", folder / "journal"
        workload.write(dags, self._journal)
        self._up = Up(folder, dags)
        self._editor = Editor(self._up.dags, self._journal)

    def run(self) -> Outcome:
        """Do everything; leave no process behind, whatever happens."""
        try:
            return self._run()
        finally:
            self._up.clear()

    def _run(self) -> Outcome:
        up, options = self._up, self._options
        self._say("starting the system …")
        up.start().applied(*(dag.name for dag in workload.DAGS))
        queue = Queue.at(up.program("dispatcher").environ()["AWS_ENDPOINT_URL_SQS"])
        clients = Clients(up.client.target, options.load, options.seed)
        faults = Faults(up, self._editor, queue, self._say)
        seconds = options.minutes * 60
        clients.start()
        try:
            faults.run(plan(PROFILES[options.profile], options.seed, seconds, options.rate), seconds)
            clients.stop()
            self._say("faults are over; waiting until all is final …")
            started = time.monotonic()
            waiting = self._settle(clients, queue)
            settled = time.monotonic() - started
        finally:
            clients.give_up()
        return self._outcome(clients, faults, settled, waiting)

    def _settle(self, clients: Clients, queue: Queue) -> dict[str, int]:
        """Wait until nothing is left to be done; return what is left if the time is over."""
        deadline = time.monotonic() + self._options.settle
        tell_at = 0.0
        while (waiting := self._waiting(clients, queue)) and time.monotonic() < deadline:
            if time.monotonic() > tell_at:
                self._say(f"waiting for {', '.join(f'{count} {what}' for what, count in waiting.items())}")
                tell_at = time.monotonic() + TELL_EVERY
            time.sleep(LOOK_EVERY)
        return waiting

    def _waiting(self, clients: Clients, queue: Queue) -> dict[str, int]:
        """Return what is not over yet."""
        try:
            left = queue.left()
            waiting = {
                "clients": clients.busy(),
                "runs": snapshot.unfinished(self._up),
                "stage tables": snapshot.stages(self._up),
                "messages": 1 if left is None else left,
                "edits": self._unapplied(),
            }
            # To look through all processes costs what the system itself could use, so that comes last.
            if not any(waiting.values()):
                waiting["leaks"] = len(leaks.find(self._up))
        except (psycopg.Error, CliError, OSError, LookupError, ValueError) as error:
            return {f"the system ({type(error).__name__})": 1}
        return {what: count for what, count in waiting.items() if count}

    def _unapplied(self) -> int:
        wanted = self._editor.wanted()
        applied = {
            dag["metadata"]["name"]: dag["spec"]["tasks"][0]["with"]["args"]["edition"]
            for dag in self._up.objects("dags")
        }
        return sum(applied.get(name) != edition for name, edition in wanted.items())

    def _outcome(self, clients: Clients, faults: Faults, settled: float, waiting: dict[str, int]) -> Outcome:
        options = self._options
        found: Snapshot = eventually("the database answers", lambda: snapshot.take(self._up))
        noted = journal.read(self._journal)
        wanted = Wanted(clients.accepted, self._editor.wanted())
        violations = [
            *judge(found, wanted, noted, PROFILES[options.profile]),
            *(Violation(Broken.STUCK, f"{count} {what} left") for what, count in waiting.items()),
            *(Violation(Broken.FAILED, trouble) for trouble in clients.troubles),
            *leaks.find(self._up),
            *self._stop(),
        ]
        return Outcome(
            profile=options.profile,
            seed=options.seed,
            minutes=options.minutes,
            runs=len(found.runs),
            tasks=len(found.tasks),
            attempts=Counter(f"{a.phase}/{a.reason}" if a.reason != a.phase else a.phase for a in found.attempts),
            faults=faults.injected,
            recoveries=noted.recoveries(faults.kills),
            settled_s=settled,
            violations=violations,
        )

    def _stop(self) -> Iterator[Violation]:
        """Stop the system as Ctrl-C does; yield what it leaves."""
        status = self._up.stop(signal.SIGINT)
        if status != 0:
            yield Violation(Broken.FAILED, f"the system stopped with status {status}; see {self._up.output}")
        for process in self._up.leftovers():
            yield Violation(Broken.LEAKED, f"process {process} outlives the system")


@contextmanager
def folder(*, keep: bool) -> Iterator[Path]:
    """Make a folder for a system, and remove it unless it is to be kept."""
    if keep:
        yield Path(tempfile.mkdtemp(prefix="setpoint-chaos-"))
        return
    with tempfile.TemporaryDirectory(prefix="setpoint-chaos-", ignore_cleanup_errors=True) as path:
        yield Path(path)
