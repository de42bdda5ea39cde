"""Resources on their way out: the mark, what holds them, and the runs that go with a Dag."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from controller.actions import Event
from controller.diff.deletion import Remains
from controller.store import events
from crds.names import DagUid, RunUid
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from controller.diff.deletion import DeletionPlan

_MARK: LiteralString = """
    UPDATE resource
       SET deletion_timestamp = coalesce(deletion_timestamp, %(now)s), finalizers = %(finalizers)s,
           resource_version = nextval('resource_version')
     WHERE uid = %(uid)s
"""

_HOLD: LiteralString = """
    UPDATE resource SET finalizers = %(finalizers)s, resource_version = nextval('resource_version')
     WHERE uid = %(uid)s AND finalizers <> %(finalizers)s
"""

# What was seen is repeated: whoever changed the finalizers meanwhile has it looked at again.
_KEEP: LiteralString = """
    UPDATE resource SET finalizers = %(finalizers)s, resource_version = nextval('resource_version')
     WHERE uid = %(uid)s AND finalizers = %(seen)s AND finalizers <> %(finalizers)s
"""

_REMOVE: LiteralString = """
    DELETE FROM resource
     WHERE uid = %(uid)s AND deletion_timestamp IS NOT NULL AND finalizers = %(seen)s
 RETURNING kind, namespace, name
"""

_TERMINATING: LiteralString = "SELECT FROM resource WHERE uid = %(uid)s AND deletion_timestamp IS NOT NULL"

_UNFINISHED: LiteralString = """
    SELECT uid, cancel_at IS NOT NULL FROM run
     WHERE dag_uid = %(dag)s AND ended_at IS NULL
     ORDER BY created_at, uid
     LIMIT %(limit)s
"""

# By the index of a DAG's history; what is locked, by a retry say, is looked at again later.
_ENDED: LiteralString = """
    SELECT uid FROM run
     WHERE dag_uid = %(dag)s AND ended_at IS NOT NULL
     ORDER BY created_at DESC
     LIMIT %(limit)s
       FOR UPDATE SKIP LOCKED
"""

_EVENTS: LiteralString = "DELETE FROM event WHERE run_uid = ANY(%(runs)s)"

# Tasks and attempts go with their run.
_RUNS: LiteralString = "DELETE FROM run WHERE uid = ANY(%(runs)s) AND ended_at IS NOT NULL"

_LIMIT = 1_000
"""How many unfinished runs one look sees."""


def mark(connection: psycopg.Connection, uid: str, finalizers: Sequence[str], now: datetime) -> None:
    """Mark a locked resource as being deleted, held by finalizers; the time of the first mark stays."""
    connection.execute(_MARK, {"uid": uid, "finalizers": list(finalizers), "now": now})


def hold(connection: psycopg.Connection, uid: str, finalizers: Sequence[str]) -> None:
    """Set what holds a locked resource."""
    connection.execute(_HOLD, {"uid": uid, "finalizers": list(finalizers)})


def settle(connection: psycopg.Connection, uid: str, seen: Sequence[str], plan: DeletionPlan, now: datetime) -> bool:
    """Set what holds a resource from now on, or remove it; return whether it is gone."""
    params = {"uid": uid, "seen": list(seen), "finalizers": list(plan.finalizers)}
    if not plan.remove:
        connection.execute(_KEEP, params)
        return False
    row = connection.execute(_REMOVE, params).fetchone()
    if row is None:
        return False
    kind, namespace, name = row
    events.record(connection, [Event("Normal", namespace, kind, name, Reason.DELETED, f"{kind} deleted")], now)
    return True


def terminating(connection: psycopg.Connection, uid: str) -> bool:
    """Tell whether a resource is being deleted."""
    return connection.execute(_TERMINATING, {"uid": uid}).fetchone() is not None


def remains(connection: psycopg.Connection, dag: DagUid, finalizers: Sequence[str], batch: int) -> Remains:
    """Return what is left of a Dag that is being deleted; of its ended runs, which are locked, at most `batch`."""
    unfinished = list(connection.execute(_UNFINISHED, {"dag": dag, "limit": _LIMIT}))
    ended = connection.execute(_ENDED, {"dag": dag, "limit": batch})
    return Remains(
        tuple(finalizers),
        running=tuple(RunUid(uid) for uid, cancelled in unfinished if not cancelled),
        ending=sum(cancelled for _, cancelled in unfinished),
        ended=tuple(RunUid(row[0]) for row in ended),
    )


def delete_runs(connection: psycopg.Connection, runs: Sequence[RunUid]) -> int:
    """Delete ended runs with their tasks, attempts and events; return how many."""
    if not runs:
        return 0
    connection.execute(_EVENTS, {"runs": list(runs)})
    return connection.execute(_RUNS, {"runs": list(runs)}).rowcount
