"""Record how attempts ended, move their runs on in the same transaction, and hand their workers what comes next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from psycopg_pool import PoolTimeout

from controller.api.grants import Given
from controller.api.recording import readable, record, verdict
from controller.diff.settle import Ended
from controller.reconcilers import endings, slots
from controller.reconcilers.runs import Advance, advance
from controller.runtime.keys import Key, Kind, Wake
from controller.runtime.metrics import CLAIM_WAIT, CLAIMS, REPORTS, STALE_RESULTS
from controller.store import fences, runs, task_runs, workers
from crds.names import parse_attempt_id, service_name
from crds.phases import AttemptPhase
from crds.protocol import (
    MAX_BATCH,
    Grant,
    ReportAnswer,
    ReportRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence
    from datetime import datetime

    import psycopg
    from psycopg_pool import ConnectionPool

    from controller.actions import Send, TaskKey
    from controller.api.grants import Grants
    from controller.diff.reports import Verdict
    from controller.runtime.clock import Clock
    from controller.store.attempts import Slot
    from controller.store.revisions import Revisions
    from controller.store.runs import RunRow
    from controller.store.task_runs import FactsRow
    from crds.names import AttemptId, RunUid

log = structlog.get_logger()


@dataclass(slots=True)
class _Done:
    """What a group of reports came to, and what is to be done after COMMIT."""

    verdicts: Mapping[AttemptId, Verdict]
    grants: dict[str, list[Grant]] = field(default_factory=dict)
    """By request."""
    sends: list[Send] = field(default_factory=list)
    wakes: set[Key] = field(default_factory=set)


class Reporting:
    """What workers report. Safe to run in any number of processes."""

    def __init__(
        self,
        database: ConnectionPool,
        clock: Clock,
        revisions: Revisions,
        grants: Grants,
        wake: Wake,
        send: Callable[[Iterable[Send]], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._revisions = revisions
        self._grants = grants
        self._wake = wake
        self._send = send

    def reports(self, requests: Sequence[ReportRequest]) -> Sequence[ReportAnswer]:
        """Answer a group of reports."""
        try:
            done = self._group(requests, moves=True)
        except PoolTimeout:
            raise
        except Exception as error:  # noqa: BLE001 - what keeps a run from moving on must not keep its reports from being recorded
            log.warning("reports are recorded alone", error=f"{type(error).__name__}: {error}")
            done = self._group(requests, moves=False)
        self._send(done.sends)
        self._wake(done.wakes)
        for request in requests:
            _count(request, done)
        return [_answer(request, done) for request in requests]

    def _group(self, requests: Sequence[ReportRequest], *, moves: bool) -> _Done:
        """Record a group; with `moves` its runs move on, and workers with free slots get more, in the same transaction."""
        by_id = {report.attempt: readable(report) for r in requests for report in r.reports}
        asking = [r for r in requests if r.free > 0 and r.request and r.worker]
        with self._database.connection() as connection, connection.pipeline():
            locked = fences.lock_for_report(connection, sorted(by_id))
            open_runs = runs.lock(connection, _runs(by_id) if moves else [])
            facts = task_runs.facts(connection, list(by_id))
            takers = workers.takers(connection, [(r.worker, r.namespace, r.pool) for r in asking])
            now = self._clock.now(connection)
            rows = locked.get()
            done = _Done({a: verdict(rows.get(a), report) for a, report in by_id.items()})
            ended = record(connection, rows, by_id, done.verdicts, now)
            endings.take_steps(connection, self._revisions, facts.get(), ended, now)
            rooms = _rooms(asking, takers.get(), done.verdicts, now)
            queued = fences.waited_for(connection, rooms)
            moved = self._move_on(connection, ended, facts.get(), open_runs.get(), now, moves=moves)
            created = slots.create(connection, moved.chosen, now)
            given = [*_again(connection, asking, done.verdicts), *_share(moved.chosen, rooms, queued.get())]
            build = self._grants.give(connection, given, now)
            connection.commit()
            grants = build()
            sends = [*moved.sends, *created.get()]
        for one in given:
            if one.attempt in grants:
                done.grants.setdefault(one.request, []).append(grants[one.attempt])
        done.sends = [send for send in sends if send.attempt not in grants]
        done.wakes = moved.wakes
        return done

    def _move_on(
        self,
        connection: psycopg.Connection,
        ended: Mapping[TaskKey, tuple[AttemptId, Ended]],
        facts: Mapping[TaskKey, FactsRow],
        open_runs: Mapping[RunUid, RunRow],
        now: datetime,
        *,
        moves: bool,
    ) -> Advance:
        """Move the runs of ended tasks on, or have the loop do it."""
        wanted = {key.run for key in ended}
        freed = {facts[key].pool for key in ended if key in facts}
        if not moves:
            return Advance(wakes={Key(Kind.RUN, uid) for uid in wanted} | {Key(Kind.SLOTS, uid) for uid in freed})
        here = {uid: row for uid, row in open_runs.items() if uid in wanted}
        moved = advance(connection, self._revisions, sorted(wanted), here, freed, now)
        # What is to be tried again, or is busy just now, needs a look at its time, which is the loop's to keep.
        again = {key.run for key, (_, end) in ended.items() if end.phase is not AttemptPhase.SUCCEEDED}
        moved.wakes |= {Key(Kind.RUN, uid) for uid in again | (wanted - here.keys())}
        return moved


def _rooms(
    asking: Sequence[ReportRequest],
    takers: Mapping[str, tuple[str, datetime]],
    verdicts: Mapping[AttemptId, Verdict],
    now: datetime,
) -> dict[str, list[ReportRequest]]:
    """Return, for each pool, the requests that may be granted more, each as often as it has slots."""
    rooms: dict[str, list[ReportRequest]] = {}
    for request in asking:
        pool, heartbeat_by = takers.get(request.worker, ("", now))
        if heartbeat_by > now and not _repeated(request, verdicts):
            rooms.setdefault(pool, []).extend([request] * min(request.free, MAX_BATCH))
    return rooms


def _repeated(request: ReportRequest, verdicts: Mapping[AttemptId, Verdict]) -> bool:
    return not any(isinstance(verdicts[report.attempt], Ended) for report in request.reports)


def _runs(by_id: Iterable[AttemptId]) -> list[RunUid]:
    """Return the runs that attempts name; what is no attempt's id names none."""
    found: set[RunUid] = set()
    for attempt in by_id:
        try:
            found.add(parse_attempt_id(attempt).run)
        except ValueError:
            continue
    return sorted(found)


def _again(
    connection: psycopg.Connection, asking: Sequence[ReportRequest], verdicts: Mapping[AttemptId, Verdict]
) -> list[Given]:
    """Return what repeated requests got before: the answer to their first try may have been lost."""
    pairs = [(r.worker, r.request) for r in asking if _repeated(r, verdicts)]
    rows = fences.taken(connection, pairs).get()
    return [Given(r.id, r.key, r.revision, r.namespace, r.request, r.worker, new=False) for r in rows]


def _share(chosen: Iterable[Slot], rooms: Mapping[str, Sequence[ReportRequest]], queued: Container[str]) -> list[Given]:
    """Hand new attempts out to the free slots of their pools, but never past one that waits in its pool's queue."""
    free = {pool: iter(takers) for pool, takers in rooms.items() if pool not in queued}
    pairs = ((slot, next(free.get(slot.pool, iter(())), None)) for slot in chosen)
    return [
        Given(slot.attempt, slot.key, slot.revision, taker.namespace, taker.request, taker.worker)
        for slot, taker in pairs
        if taker is not None
    ]


def _answer(request: ReportRequest, done: _Done) -> ReportAnswer:
    return ReportAnswer(
        reports={r.attempt: "stale" if done.verdicts[r.attempt] == "stale" else "recorded" for r in request.reports},
        grants=done.grants.get(request.request, []) if request.request else [],
    )


def _count(request: ReportRequest, done: _Done) -> None:
    pool = service_name(request.pool, request.namespace)
    for report in request.reports:
        if done.verdicts[report.attempt] == "stale":
            STALE_RESULTS.labels(pool).inc()
        REPORTS.labels(pool, report.outcome).inc()
    handed = len(done.grants.get(request.request, ()))
    if handed:
        CLAIMS.labels(pool, "handed").inc(handed)
        for _ in range(handed):
            # It was created in the transaction that gave it away.
            CLAIM_WAIT.labels(pool).observe(0.0)
