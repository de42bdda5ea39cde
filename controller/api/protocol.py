"""Answer claims and heartbeats, each a group in one transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from controller.api.grants import Given
from controller.diff.claims import Answer, Asked, Claimant, decide
from controller.runtime.keys import Key, Kind, Wake
from controller.runtime.metrics import CLAIM_WAIT, CLAIMS
from controller.store import fences, pools, workers
from controller.store.workers import Renewal
from crds.names import service_name
from crds.phases import AttemptPhase
from crds.protocol import (
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    ClaimAnswer,
    ClaimRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    Refusal,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg_pool import ConnectionPool

    from controller.api.grants import Grants
    from controller.runtime.clock import Clock
    from controller.store.fences import AskedRow
    from controller.store.later import Later

LEASE = timedelta(seconds=LEASE_SECONDS)
YOUNG = timedelta(seconds=2 * HEARTBEAT_SECONDS)
"""A claim younger than this may not be in its worker's heartbeat yet."""


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

    def __init__(self, database: ConnectionPool, clock: Clock, grants: Grants, wake: Wake) -> None:
        self._database = database
        self._clock = clock
        self._grants = grants
        self._wake = wake

    def claims(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        """Answer a group of claims."""
        with self._database.connection() as connection, connection.pipeline():
            named = pools.uids(connection, [(r.namespace, r.pool) for r in requests])
            locked = fences.lock_for_claim(connection, sorted({m.attempt for r in requests for m in r.attempts}))
            now = self._clock.now(connection)
            uids = _pools(named, requests)
            seen = [Renewal(r.worker, uid, r.ecs_task, 0) for r, uid in zip(requests, uids, strict=True)]
            renewed = _renewed(seen, workers.renew(connection, list({s.id: s for s in seen}.values()), now, LEASE))
            given, refusals = _decide(requests, uids, renewed, locked.get())
            build = self._grants.give(connection, [g for members in given for g in members], now)
            connection.commit()
            grants = build()
        _count(requests, given, refusals, locked.get(), now)
        if any(new for _, new in renewed.values()):
            self._wake({Key(Kind.POOL, uid) for uid in uids})
        return [
            ClaimAnswer(
                grants=[grants[g.attempt] for g in members if g.attempt in grants],
                refusals=refused,
                drain=renewed[request.worker][0],
            )
            for request, members, refused in zip(requests, given, refusals, strict=True)
        ]

    def heartbeats(self, requests: Sequence[HeartbeatRequest]) -> Sequence[HeartbeatAnswer]:
        """Answer a group of heartbeats."""
        held = [a for r in requests for a in r.attempts]
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            uids = _pools(pools.uids(connection, [(r.namespace, r.pool) for r in requests]), requests)
            latest = {
                r.worker: Renewal(r.worker, uid, r.ecs_task, r.slots) for r, uid in zip(requests, uids, strict=True)
            }
            seen = list(latest.values())
            renewed = _renewed(seen, workers.renew(connection, seen, now, LEASE))
            leaving = [r.worker for r in requests if r.leaving]
            workers.leave(connection, leaving, now)
            awaited = [request for r in requests for request in r.awaited]
            late = workers.count_missing(connection, list(latest), held, awaited, now, YOUNG)
            states = workers.states(connection, held) if held else {}
        new = {uid for r, uid in zip(requests, uids, strict=True) if renewed[r.worker][1] or r.leaving}
        self._wake({Key(Kind.POOL, uid) for uid in late | new})
        return [
            HeartbeatAnswer(
                attempts={a: _advice(states.get(a), r.worker) for a in r.attempts}, drain=renewed[r.worker][0]
            )
            for r in requests
        ]


def _decide(
    requests: Sequence[ClaimRequest],
    uids: Sequence[str],
    renewed: Mapping[str, tuple[bool, bool]],
    rows: Mapping[str, AskedRow],
) -> tuple[list[list[Given]], list[list[Refusal]]]:
    """Return what each request gets, and what it is refused."""
    taken: dict[str, ClaimRequest] = {}
    given: list[list[Given]] = []
    refused: list[list[Refusal]] = []
    for request, uid in zip(requests, uids, strict=True):
        claimant = Claimant(uid, request.request, request.worker, renewed[request.worker][0])
        mine: list[Given] = []
        refusals: list[Refusal] = []
        for message in request.attempts:
            row = rows.get(message.attempt)
            answer = decide(_asked(row, taken.get(message.attempt)), claimant)
            if row is None or answer.verdict in {"drop", "later"}:
                refusals.append(_refusal(message.attempt, answer))
                continue
            if answer.verdict == "grant":
                taken[row.id] = request
            new = answer.verdict == "grant"
            mine.append(Given(row.id, row.key, row.revision, row.namespace, request.request, request.worker, new=new))
        given.append(mine)
        refused.append(refusals)
    return given, refused


def _count(
    requests: Sequence[ClaimRequest],
    given: Sequence[Sequence[Given]],
    refusals: Sequence[Sequence[Refusal]],
    rows: Mapping[str, AskedRow],
    now: datetime,
) -> None:
    """Count the answers after COMMIT; a grant that is given again is a `regrant`."""
    for request, members, refused in zip(requests, given, refusals, strict=True):
        pool = service_name(request.pool, request.namespace)
        for one in members:
            CLAIMS.labels(pool, "grant" if one.new else "regrant").inc()
            if one.new:
                waited = (now - rows[one.attempt].created_at).total_seconds()
                CLAIM_WAIT.labels(pool).observe(max(waited, 0.0))
        for refusal in refused:
            CLAIMS.labels(pool, refusal.action).inc()


def _refusal(attempt: str, answer: Answer) -> Refusal:
    return Refusal(attempt=attempt, action="later" if answer.verdict == "later" else "drop", reason=answer.reason)


def _renewed(seen: Sequence[Renewal], renewal: Later[dict[str, tuple[bool, bool]]]) -> dict[str, tuple[bool, bool]]:
    """Return (drain, new) of workers; raise WorkerElsewhere for an id that another pool's worker has."""
    renewed = renewal.get()
    for one in seen:
        if one.id not in renewed:
            raise WorkerElsewhere(one.id)
    return renewed


def _pools(found: Later[dict[tuple[str, str], str]], requests: Sequence[ClaimRequest | HeartbeatRequest]) -> list[str]:
    """Return the uid of each request's pool; raise UnknownPool. Never kept: a pool of that name may be another one now."""
    uids = found.get()
    for request in requests:
        if (request.namespace, request.pool) not in uids:
            raise UnknownPool(request.namespace, request.pool)
    return [uids[r.namespace, r.pool] for r in requests]


def _asked(row: AskedRow | None, taken: ClaimRequest | None) -> Asked | None:
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
