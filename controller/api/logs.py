"""Logs: the chunks that attempts wrote into the object store, in order, also while they are being written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import NotFoundError
from starlette.responses import Response, StreamingResponse

from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, Param
from controller.api.watch import FOLLOW_SECONDS, Stream
from controller.errors import NotFound
from controller.observed import parse_task_run_name
from controller.store import views
from controller.store.selection import Selection
from crds.names import AttemptId, RunUid, log_prefix
from crds.phases import FINAL_RUN, FINAL_TASK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    from obstore.store import ObjectStore

    from controller.store.views import LoggedAttempt

# The newest attempts whose logs one answer holds.
ATTEMPTS_LIMIT = 1_000
CHUNKS_LIMIT = 100_000
_ATTEMPT_LIMIT = 1_000_000

_QUERY = (
    Param("attempt", "The number of the attempt; by default the newest.", {"type": "integer"}),
    Param("follow", "Go on until the end.", {"type": "boolean"}),
)


def endpoints(namespace: str) -> list[Endpoint]:
    """Return the endpoints for logs."""
    run, task = f"{namespace}/dagruns/{{name}}/logs", f"{namespace}/taskruns/{{name}}/logs"
    return [
        Endpoint(
            "GET",
            run,
            Role.VIEWER,
            _run_logs,
            "The logs of all tasks",
            _QUERY[1:],
            answer="Text",
            codes=(200, 404, 429),
        ),
        Endpoint(
            "GET", task, Role.VIEWER, _task_logs, "The log of one task", _QUERY, answer="Text", codes=(200, 404, 429)
        ),
    ]


@dataclass(slots=True)
class Chunks:
    """How far the chunks of one attempt have been read."""

    prefix: str
    offset: str | None = None
    rest: bytes = b""

    def read(self, objects: ObjectStore) -> Iterator[bytes]:
        """Yield the chunks that are new."""
        for key in self._new(objects):
            try:
                yield bytes(obstore.get(objects, key).bytes())
            except (NotFoundError, FileNotFoundError):
                # Logs are kept for a while only.
                continue
            finally:
                self.offset = key

    def lines(self, objects: ObjectStore, label: bytes, *, final: bool) -> Iterator[bytes]:
        """Yield whole new lines behind a label; at the end also one that is not closed."""
        for chunk in self.read(objects):
            *whole, self.rest = (self.rest + chunk).split(b"\n")
            if whole:
                yield b"".join(label + line + b"\n" for line in whole)
        if final and self.rest:
            yield label + self.rest + b"\n"
            self.rest = b""

    def _new(self, objects: ObjectStore) -> list[str]:
        keys: list[str] = []
        for batch in obstore.list(objects, prefix=self.prefix, offset=self.offset):
            keys += [meta["path"] for meta in batch]
            if len(keys) >= CHUNKS_LIMIT:
                break
        # Not every store lists in order; chunk names do sort.
        return sorted(key for key in keys if self.offset is None or key > self.offset)


@dataclass(slots=True)
class Log:
    """The log of a run, or of one task of it, as one text that grows."""

    deps: ApiDeps
    run: RunUid
    namespace: str
    run_name: str
    task: tuple[str, int] | None = None
    number: int | None = None
    chunks: dict[AttemptId, Chunks] = field(default_factory=dict)
    done: set[AttemptId] = field(default_factory=set)
    begun: bool = False

    def look(self) -> Sequence[bytes] | Iterator[bytes] | None:
        """Return what is new, or None once everything was told and nothing can follow."""
        with self.deps.pool.connection() as connection:
            # In this order: who has ended before the look has written all before it.
            ended = self._ended(connection)
            attempts = self._attempts(connection)
        found = [piece for attempt in attempts for piece in self._read(attempt)]
        return None if ended and not found and self.begun else self._mark(found)

    def _mark(self, found: list[bytes]) -> list[bytes]:
        self.begun = True
        return found

    def _read(self, attempt: LoggedAttempt) -> Iterator[bytes]:
        if attempt.id in self.done:
            return
        chunks = self.chunks.setdefault(attempt.id, Chunks(log_prefix(attempt.id)))
        if self.task is None:
            label = f"{attempt.task}{f'[{attempt.index}]' if attempt.index else ''} | ".encode()
            yield from chunks.lines(self.deps.objects, label, final=attempt.final)
        else:
            yield from chunks.read(self.deps.objects)
        if attempt.final:
            self.done.add(attempt.id)

    def _attempts(self, connection: psycopg.Connection) -> list[LoggedAttempt]:
        found = views.logged_attempts(connection, self.run, self.task, ATTEMPTS_LIMIT)
        if self.task is None:
            return found
        if self.number is not None:
            return [attempt for attempt in found if attempt.number == self.number]
        # From the newest at the first look on: a follower sees the tries that come after it.
        first = min(self.chunks, key=lambda a: int(a.rpartition("/")[2])) if self.chunks else None
        if first is None:
            return found[-1:]
        return [attempt for attempt in found if attempt.number >= int(first.rpartition("/")[2])]

    def _ended(self, connection: psycopg.Connection) -> bool:
        if self.task is None:
            run = views.run(connection, self.namespace, self.run_name)
            return run is None or run.phase in FINAL_RUN
        selection = Selection(self.namespace, run=self.run_name, task=self.task[0], limit=1)
        found = views.tasks(connection, selection, index=self.task[1])
        if self.number is not None:
            return all(a.ended_at is not None for t in found for a in t.attempts if a.number == self.number)
        return all(t.phase in FINAL_TASK for t in found)


def _run_logs(deps: ApiDeps, call: Call) -> Response:
    with deps.pool.connection() as connection:
        run = views.run_uid(connection, call.namespace, call.name)
    return _answer(call, Log(deps, run, call.namespace, call.name))


def _task_logs(deps: ApiDeps, call: Call) -> Response:
    parts = parse_task_run_name(call.name)
    if parts is None:
        raise NotFound(f"there is no TaskRun {call.name!r}; its name is <run>.<task>")
    name, task, index = parts
    number = call.number("attempt", 0, _ATTEMPT_LIMIT) if "attempt" in call.query else None
    with deps.pool.connection() as connection:
        run = views.run_uid(connection, call.namespace, name)
        selection = Selection(call.namespace, run=name, task=task, limit=1)
        if not views.tasks(connection, selection, index=index):
            raise NotFound(f"run {name!r} has no task {task!r}")
        known = views.logged_attempts(connection, run, (task, index), ATTEMPTS_LIMIT)
    if number is not None and number not in {attempt.number for attempt in known}:
        raise NotFound(f"task {task!r} of run {name!r} has no attempt {number}; it has {len(known)}")
    return _answer(call, Log(deps, run, call.namespace, name, (task, index), number))


def _answer(call: Call, log: Log) -> Response:
    if call.flag("follow"):
        return Stream(call.share, log.look, FOLLOW_SECONDS).response("text/plain; charset=utf-8")
    return StreamingResponse(iter(log.look() or ()), media_type="text/plain; charset=utf-8")
