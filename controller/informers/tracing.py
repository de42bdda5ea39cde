"""Tell a collector of what ended in this process, from the rows, after their COMMIT."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from controller.runtime.background import Background
from controller.runtime.traces import attempt_ended, run_ended, task_ended
from controller.store import traces

if TYPE_CHECKING:
    from collections import deque

    from psycopg_pool import ConnectionPool

    from controller.runtime.traces import Endings
    from crds.names import AttemptId, RunUid
    from crds.spans import Export, Span

Name = TypeVar("Name", bound=str)

log = structlog.get_logger()
TELL_EVERY = 1.0
BATCH = 1_000
LOOKS = 5
"""How often a row that has not ended is looked at again: its transaction is not committed yet, or never will be."""


class Tracing(Background):
    """One thread that reads the rows of what ended and hands their spans to the export."""

    def __init__(self, database: ConnectionPool, endings: Endings, export: Export) -> None:
        super().__init__("tracing")
        self._database = database
        self._endings = endings
        self._export = export
        self._looks: Counter[str] = Counter()
        endings.on = True

    def run(self) -> None:
        """Tell every TELL_EVERY seconds, and a last time at the end."""
        while not self.stopping.wait(TELL_EVERY):
            self.tell()
        self.tell()
        self._endings.on = False
        self._export.close()

    def tell(self) -> None:
        """Tell of what has ended so far; nothing that goes wrong here reaches anybody else."""
        attempts, runs = _take(self._endings.attempts), _take(self._endings.runs)
        if not attempts and not runs:
            return
        try:
            self._export.tell(self._spans(attempts, runs))
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("spans are not sent", error=str(error).strip())
        except Exception:  # A trace that fails must not end those of later runs.
            log.exception("spans are not sent")

    def _spans(self, attempts: list[AttemptId], runs: list[RunUid]) -> list[Span]:
        with self._database.connection() as connection:
            ended = traces.attempts(connection, attempts)
            tasks = traces.tasks(connection, ended) if ended else []
            done = traces.runs(connection, runs)
            left = traces.unattempted(connection, [row.uid for row in done]) if done else []
        self._endings.attempts.extend(self._again(attempts, {row.id for row in ended}))
        self._endings.runs.extend(self._again(runs, {row.uid for row in done}))
        return [
            *(span for row in ended for span in attempt_ended(row)),
            *(task_ended(row) for row in [*tasks, *left]),
            *(run_ended(row) for row in done),
        ]

    def _again(self, asked: list[Name], seen: set[Name]) -> list[Name]:
        """Return what shall be looked at once more."""
        missing = [name for name in asked if name not in seen]
        self._looks.update(missing)
        for name in seen:
            self._looks.pop(name, None)
        again = [name for name in missing if self._looks[name] < LOOKS]
        for name in set(missing) - set(again):
            del self._looks[name]
        return again


def _take(waiting: deque[Name]) -> list[Name]:
    return [waiting.popleft() for _ in range(min(len(waiting), BATCH))]
