"""Answer claims, heartbeats and reports, each a group in one transaction."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import structlog

from controller.api.grants import Grants
from controller.api.tokens import ClaimTokens, token_hash
from controller.diff.attempts import FINISH_GRACE
from controller.diff.claims import Answer, Asked, Claimant, decide
from controller.diff.reports import Reported, judge
from controller.diff.settle import Ended
from controller.reconcilers import endings
from controller.runtime.keys import Key, Kind, Wake
from controller.runtime.metrics import CLAIMS, REPORTS, STALE_RESULTS
from controller.store import fences, pools, workers
from controller.store.fences import ClaimRow, NewClaim, Outcome, ReportRow
from controller.store.revisions import RevisionId, Revisions
from controller.store.workers import Renewal
from crds.phases import AttemptPhase
from crds.protocol import (
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    MAX_OUTPUTS_BYTES,
    ClaimAnswer,
    ClaimRequest,
    Grant,
    HeartbeatAnswer,
    HeartbeatRequest,
    Refusal,
    Report,
    ReportAnswer,
    ReportRequest,
)
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg_pool import ConnectionPool

    from controller.runtime.clock import Clock
    from crds.names import AttemptId

log = structlog.get_logger()
LEASE = timedelta(seconds=LEASE_SECONDS)
YOUNG = timedelta(seconds=2 * HEARTBEAT_SECONDS)
"""A claim younger than this may not be in its worker's heartbeat yet."""
NUL, REPLACEMENT = "\0", "\N{REPLACEMENT CHARACTER}"
"""Postgres stores no NUL in text."""
# SQLSTATE of a write that the task does not declare (see the migration).
_REFUSED_WRITE = "SP003"


class UnknownPool(Exception):
    """A worker names a pool that does not exist (HTTP 404)."""

    def __init__(self, namespace: str, pool: str) -> None:
        super().__init__(f"there is no pool {pool} in namespace {namespace}")
        self.namespace = namespace
        self.pool = pool


class WorkerElsewhere(Exception):
    """A worker's id belongs to a worker of another pool (HTTP 409)."""


class WorkerProtocol:
    """What workers ask for. Safe to run in any number of processes."""

    def __init__(
        self, database: ConnectionPool, clock: Clock, revisions: Revisions, tokens: ClaimTokens, wake: Wake
    ) -> None:
        self._database = database
        self._clock = clock
        self._revisions = revisions
        self._tokens = tokens
        self._wake = wake
        self._grants = Grants()

    def claims(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        """Answer a group of claims."""
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            uids = _pools(connection, requests)
            seen = [Renewal(r.worker, uid, r.ecs_task, 0) for r, uid in zip(requests, uids, strict=True)]
            renewed = _renew(connection, list({s.id: s for s in seen}.values()), now)
            rows = fences.lock_for_claim(connection, sorted({m.attempt for r in requests for m in r.attempts}))
            answers = self._decide(connection, requests, uids, renewed, rows, now)
        if any(new for _, new in renewed.values()):
            self._wake({Key(Kind.POOL, uid) for uid in uids})
        return answers

    def heartbeats(self, requests: Sequence[HeartbeatRequest]) -> Sequence[HeartbeatAnswer]:
        """Answer a group of heartbeats."""
        held = [a for r in requests for a in r.attempts]
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            uids = _pools(connection, requests)
            latest = {
                r.worker: Renewal(r.worker, uid, r.ecs_task, r.slots) for r, uid in zip(requests, uids, strict=True)
            }
            renewed = _renew(connection, list(latest.values()), now)
            leaving = [r.worker for r in requests if r.leaving]
            workers.leave(connection, leaving, now)
            late = workers.count_missing(connection, list(latest), held, now, YOUNG)
            states = workers.states(connection, held) if held else {}
        new = {uid for r, uid in zip(requests, uids, strict=True) if renewed[r.worker][1] or r.leaving}
        self._wake({Key(Kind.POOL, uid) for uid in late | new})
        return [
            HeartbeatAnswer(
                attempts={a: _advice(states.get(a), r.worker) for a in r.attempts}, drain=renewed[r.worker][0]
            )
            for r in requests
        ]

    def reports(self, requests: Sequence[ReportRequest]) -> Sequence[ReportAnswer]:
        """Answer a group of reports."""
        by_id = {report.attempt: report for r in requests for report in r.reports}
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            rows = fences.lock_for_report(connection, sorted(by_id))
            verdicts = {a: judge(_reported(rows.get(a), report), report) for a, report in by_id.items()}
            ended = self._record(connection, rows, by_id, verdicts, now)
            freed = endings.move_on(connection, self._revisions, ended, now)
        self._wake({Key(Kind.RUN, key.run) for key in ended} | {Key(Kind.SLOTS, pool) for pool in freed})
        for request in requests:
            _count(request, verdicts)
        return [
            ReportAnswer(
                reports={r.attempt: "stale" if verdicts[r.attempt] == "stale" else "recorded" for r in request.reports}
            )
            for request in requests
        ]

    def _decide(
        self,
        connection: psycopg.Connection,
        requests: Sequence[ClaimRequest],
        uids: Sequence[str],
        renewed: Mapping[str, tuple[bool, bool]],
        rows: Mapping[str, ClaimRow],
        now: datetime,
    ) -> list[ClaimAnswer]:
        known = self._revisions.read(connection, {RevisionId(r.dag_uid, r.revision) for r in rows.values()})
        taken: dict[str, ClaimRequest] = {}
        claims: list[NewClaim] = []
        answers: list[ClaimAnswer] = []
        for request, uid in zip(requests, uids, strict=True):
            drain = renewed[request.worker][0]
            claimant = Claimant(uid, request.request, request.worker, drain)
            grants: list[Grant] = []
            refusals: list[Refusal] = []
            for message in request.attempts:
                row = rows.get(message.attempt)
                answer = decide(_asked(row, taken.get(message.attempt)), claimant)
                CLAIMS.labels(request.pool, answer.verdict).inc()
                if row is None or answer.verdict in {"drop", "later"}:
                    refusals.append(_refusal(message.attempt, answer))
                    continue
                token = self._tokens.token(row.id, request.request, request.worker)
                if answer.verdict == "grant":
                    taken[row.id] = request
                    claims.append(NewClaim(row.id, request.worker, request.request, token_hash(token)))
                revision = known[RevisionId(row.dag_uid, row.revision)]
                grants.append(self._grants.build(connection, row, revision, token))
            answers.append(ClaimAnswer(grants=grants, refusals=refusals, drain=drain))
        fences.claim(connection, claims, now, FINISH_GRACE)
        return answers

    def _record(
        self,
        connection: psycopg.Connection,
        rows: Mapping[str, ReportRow],
        by_id: Mapping[AttemptId, Report],
        verdicts: Mapping[AttemptId, Any],
        now: datetime,
    ) -> dict[Any, tuple[AttemptId, Ended]]:
        outcomes: list[Outcome] = []
        ends: dict[AttemptId, Ended] = {}
        for attempt, verdict in verdicts.items():
            if isinstance(verdict, Ended):
                ends[attempt], outcome = _outcome(connection, rows[attempt], by_id[attempt], verdict, now)
                outcomes.append(outcome)
        recorded = fences.report(connection, outcomes, now)
        return {rows[a].key: (a, ends[a]) for a in ends if a in recorded}


def _refusal(attempt: str, answer: Answer) -> Refusal:
    return Refusal(attempt=attempt, action="later" if answer.verdict == "later" else "drop", reason=answer.reason)


def _renew(connection: psycopg.Connection, seen: Sequence[Renewal], now: datetime) -> dict[str, tuple[bool, bool]]:
    """Renew the leases of workers; raise WorkerElsewhere for an id that another pool's worker has."""
    renewed = workers.renew(connection, seen, now, LEASE)
    for one in seen:
        if one.id not in renewed:
            raise WorkerElsewhere(one.id)
    return renewed


def _pools(connection: psycopg.Connection, requests: Sequence[ClaimRequest | HeartbeatRequest]) -> list[str]:
    """Return the uid of each request's pool; raise UnknownPool. Never kept: a pool of that name may be another one now."""
    uids = pools.uids(connection, [(r.namespace, r.pool) for r in requests])
    for request in requests:
        if (request.namespace, request.pool) not in uids:
            raise UnknownPool(request.namespace, request.pool)
    return [uids[r.namespace, r.pool] for r in requests]


def _asked(row: ClaimRow | None, taken: ClaimRequest | None) -> Asked | None:
    if row is None:
        return None
    if taken is not None:
        # Another request of the same group was granted it.
        return Asked(AttemptPhase.RUNNING, row.pool_uid, taken.request, taken.worker, row.cancelled)
    return Asked(row.phase, row.pool_uid, row.request, row.worker, row.cancelled)


def _advice(state: tuple[str | None, bool, bool] | None, worker: str) -> Any:
    if state is None:
        return "stale"
    owner, live, cancelled = state
    if cancelled:
        return "cancel"
    return "continue" if live and owner == worker else "stale"


def _reported(row: ReportRow | None, report: Report) -> Reported | None:
    if row is None:
        return None
    fits = row.token_hash is not None and row.token_hash == token_hash(report.token)
    return Reported(row.phase, fits, row.reported_at is not None, row.cancelling)


def _outcome(
    connection: psycopg.Connection, row: ReportRow, report: Report, ended: Ended, now: datetime
) -> tuple[Ended, Outcome]:
    """Return the end and the row to write; a success that breaks a limit or writes what it may not is a failure."""
    versions: dict[str, int] | None = None
    succeeded = ended.phase is AttemptPhase.SUCCEEDED
    if succeeded and not row.committed:
        if (refused := _unfit(report)) is not None:
            ended = refused
        elif report.writes:
            ended, versions = _apply(connection, row.id, report, ended, now)
    succeeded = ended.phase is AttemptPhase.SUCCEEDED
    outcome = Outcome(
        row.id,
        row.phase,
        ended.phase,
        ended.reason,
        ended.message.replace(NUL, REPLACEMENT),
        None if succeeded or report.error is None else _storable(msgspec.to_builtins(report.error)),
        report.outputs if succeeded else None,
        report.bookmark if succeeded else None,
        versions,
        report.metrics or None,
    )
    return ended, outcome


def _unfit(report: Report) -> Ended | None:
    """Return the failure of a success whose outputs cannot be kept."""
    for value in (report.outputs, report.bookmark):
        encoded = msgspec.json.encode(value)
        if len(encoded) > MAX_OUTPUTS_BYTES:
            return Ended(AttemptPhase.FAILED, Reason.USER_ERROR, "outputs are larger than 64 KiB", "OutputsTooLarge")
        if b"\\u0000" in encoded:
            return Ended(AttemptPhase.FAILED, Reason.USER_ERROR, "outputs hold a NUL character", "OutputsInvalid")
    return None


def _storable(error: dict[str, str]) -> dict[str, str]:
    return {name: text.replace(NUL, REPLACEMENT) for name, text in error.items()}


def _apply(
    connection: psycopg.Connection, attempt: AttemptId, report: Report, ended: Ended, now: datetime
) -> tuple[Ended, dict[str, int] | None]:
    try:
        with connection.transaction():
            return ended, fences.apply_writes(connection, attempt, msgspec.to_builtins(report.writes), now)
    except psycopg.Error as error:
        if error.sqlstate != _REFUSED_WRITE:
            raise
        message = error.diag.message_primary or str(error)
        return Ended(AttemptPhase.FAILED, Reason.USER_ERROR, message, "RefusedWrite"), None


def _count(request: ReportRequest, verdicts: Mapping[AttemptId, Any]) -> None:
    for report in request.reports:
        if verdicts[report.attempt] == "stale":
            STALE_RESULTS.labels(request.pool).inc()
        REPORTS.labels(request.pool, report.outcome).inc()
