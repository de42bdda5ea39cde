"""Table run: what is asked for, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple

from psycopg.types.json import Jsonb

from controller.store.later import Known, Later
from crds.names import DagUid, RunUid
from crds.phases import RunPhase
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    import psycopg

    from controller.actions import EndRun

_LOCK: LiteralString = """
    SELECT run.uid, run.namespace, run.name, run.dag_uid, run.dag, run.revision, run.phase, run.suspend,
           run.cancel_reason, run.deadline,
           EXISTS (SELECT FROM task_run WHERE run_uid = run.uid AND held),
           EXISTS (SELECT FROM task_run WHERE run_uid = run.uid AND phase = 'Backoff' AND ended_at IS NULL),
           dag.live_limit IS NOT NULL, run.started_at
      FROM run
      JOIN resource dag ON dag.uid = run.dag_uid
     WHERE run.uid = ANY(%(uids)s) AND run.ended_at IS NULL
     ORDER BY run.uid
       FOR NO KEY UPDATE OF run SKIP LOCKED
"""

_UNFINISHED: LiteralString = "SELECT uid FROM run WHERE uid = ANY(%(uids)s) AND ended_at IS NULL"

_END: LiteralString = """
    UPDATE run
       SET phase = ended.phase, reason = ended.reason, message = ended.message, ended_at = %(now)s,
           resource_version = nextval('resource_version')
      FROM unnest(%(uids)s::text[], %(phases)s::text[], %(reasons)s::text[], %(messages)s::text[])
           AS ended(uid, phase, reason, message)
     WHERE run.uid = ended.uid AND run.ended_at IS NULL
 RETURNING run.uid, run.dag_uid
"""

_EXCEED: LiteralString = """
    UPDATE run SET cancel_at = %(now)s, cancel_reason = 'DeadlineExceeded', resource_version = nextval('resource_version')
     WHERE uid = ANY(%(uids)s) AND cancel_at IS NULL AND ended_at IS NULL AND deadline <= %(now)s
"""

_CANCEL: LiteralString = """
    UPDATE run SET cancel_at = %(now)s, cancel_reason = %(reason)s, resource_version = nextval('resource_version')
     WHERE uid = ANY(%(uids)s) AND cancel_at IS NULL AND ended_at IS NULL
 RETURNING uid
"""

_CREATE: LiteralString = """
    INSERT INTO run (uid, namespace, name, dag_uid, dag, revision, key, trigger, schedule, tick, params, labels,
                     deadline, created_at, traceparent)
    VALUES (%(uid)s, %(namespace)s, %(name)s, %(dag_uid)s, %(dag)s, %(revision)s, %(key)s, %(trigger)s, %(schedule)s,
            %(tick)s, %(params)s, %(labels)s, %(deadline)s, %(created_at)s, %(traceparent)s)
    ON CONFLICT (dag_uid, key) DO NOTHING
 RETURNING uid
"""

_ADMIT: LiteralString = """
    UPDATE run
       SET phase = 'Running', started_at = %(now)s, deadline = %(now)s + %(timeout)s, pins = %(pins)s,
           resource_version = nextval('resource_version')
     WHERE uid = ANY(%(uids)s) AND phase = 'Pending' AND cancel_at IS NULL
 RETURNING uid
"""

_ACTIVE: LiteralString = """
    SELECT uid, phase, revision FROM run
     WHERE dag_uid = %(dag)s AND ended_at IS NULL AND (phase = 'Running' OR cancel_at IS NULL)
     ORDER BY created_at, uid
     LIMIT %(limit)s
"""

_DUE: LiteralString = (
    "SELECT uid FROM run WHERE ended_at IS NULL AND cancel_at IS NULL AND deadline <= %(now)s LIMIT %(limit)s"
)

# In the order of the index of unfinished runs, so that a page costs its own length, whatever has ended.
_UNFINISHED_PAGE: LiteralString = """
    SELECT dag_uid, created_at, uid FROM run
     WHERE ended_at IS NULL AND (dag_uid, created_at, uid) > (%(dag)s, %(created_at)s, %(uid)s)
     ORDER BY dag_uid, created_at, uid
     LIMIT %(limit)s
"""


class Place(NamedTuple):
    """Where a page of unfinished runs ended."""

    dag: str = ""
    created_at: datetime = datetime.min.replace(tzinfo=UTC)
    uid: str = ""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run that has not ended, locked by this transaction."""

    uid: RunUid
    namespace: str
    name: str
    dag_uid: DagUid
    dag: str
    revision: int
    phase: RunPhase
    suspend: bool
    cancel_reason: Reason | None
    deadline: datetime
    holds: bool
    """It has tasks that are held."""
    backs_off: bool
    """It has tasks that wait for their next try."""
    limited: bool
    """Its DAG limits how many of its tasks are active."""
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewRow:
    """A run to create; its key makes it unique within its DAG."""

    uid: RunUid
    namespace: str
    dag_uid: DagUid
    dag: str
    revision: int
    key: str
    trigger: str
    schedule: str | None
    tick: datetime | None
    params: dict[str, Any]
    labels: dict[str, str]
    deadline: datetime
    created_at: datetime
    traceparent: str | None = None

    @property
    def name(self) -> str:
        """Return the run's name."""
        return f"{self.dag}-{self.uid}"


def lock(connection: psycopg.Connection, uids: Sequence[RunUid]) -> Later[dict[RunUid, RunRow]]:
    """Lock and return the unfinished runs that nobody else holds just now."""
    if not uids:
        return Known({})
    return Later(connection.execute(_LOCK, {"uids": list(uids)}), _rows)


def _rows(rows: Iterable[tuple[Any, ...]]) -> dict[RunUid, RunRow]:
    return {
        RunUid(r[0]): RunRow(
            RunUid(r[0]),
            r[1],
            r[2],
            DagUid(r[3]),
            r[4],
            r[5],
            RunPhase(r[6]),
            r[7],
            Reason(r[8]) if r[8] else None,
            *r[9:14],
        )
        for r in rows
    }


def unfinished(connection: psycopg.Connection, uids: Sequence[RunUid]) -> set[RunUid]:
    """Return which of the runs have not ended."""
    return {RunUid(r[0]) for r in connection.execute(_UNFINISHED, {"uids": list(uids)})}


def end(connection: psycopg.Connection, ends: Sequence[EndRun], now: datetime) -> dict[RunUid, DagUid]:
    """End runs and return those that were still unfinished, with their DAGs."""
    if not ends:
        return {}
    rows = connection.execute(
        _END,
        {
            "uids": [e.run for e in ends],
            "phases": [e.phase for e in ends],
            "reasons": [e.reason for e in ends],
            "messages": [e.message for e in ends],
            "now": now,
        },
    )
    return {RunUid(r[0]): DagUid(r[1]) for r in rows}


def exceed(connection: psycopg.Connection, uids: Sequence[RunUid], now: datetime) -> None:
    """Begin to cancel the runs whose deadline has passed."""
    if uids:
        connection.execute(_EXCEED, {"uids": list(uids), "now": now})


def cancel(connection: psycopg.Connection, uids: Sequence[RunUid], reason: Reason, now: datetime) -> list[RunUid]:
    """Ask for runs to be cancelled; return those that were not already ended or cancelled."""
    rows = connection.execute(_CANCEL, {"uids": list(uids), "reason": reason, "now": now})
    return [RunUid(r[0]) for r in rows]


def create(connection: psycopg.Connection, row: NewRow) -> bool:
    """Create a run unless its DAG already has one with this key; return whether it is new."""
    values = {name: getattr(row, name) for name in NewRow.__dataclass_fields__}
    values |= {"name": row.name, "params": Jsonb(row.params), "labels": Jsonb(row.labels)}
    return connection.execute(_CREATE, values).fetchone() is not None


def admit(
    connection: psycopg.Connection,
    uids: Sequence[RunUid],
    timeout: timedelta,
    pins: dict[str, int],
    now: datetime,
) -> list[RunUid]:
    """Let pending runs start, their inputs pinned; return those that did."""
    rows = connection.execute(_ADMIT, {"uids": list(uids), "timeout": timeout, "pins": Jsonb(pins), "now": now})
    return [RunUid(r[0]) for r in rows]


def active(connection: psycopg.Connection, dag: DagUid, limit: int) -> list[tuple[RunUid, RunPhase, int]]:
    """Return a DAG's unfinished runs (uid, phase, revision), oldest first."""
    rows = connection.execute(_ACTIVE, {"dag": dag, "limit": limit})
    return [(RunUid(r[0]), RunPhase(r[1]), r[2]) for r in rows]


def past_deadline(connection: psycopg.Connection, now: datetime, limit: int) -> list[RunUid]:
    """Return unfinished runs whose deadline has passed."""
    return [RunUid(r[0]) for r in connection.execute(_DUE, {"now": now, "limit": limit})]


def unfinished_page(connection: psycopg.Connection, after: Place, limit: int) -> list[Place]:
    """Return the unfinished runs behind a place, for the resync."""
    return [Place(*r) for r in connection.execute(_UNFINISHED_PAGE, {**after._asdict(), "limit": limit})]
