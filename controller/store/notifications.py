"""Tables notification and notifier_state: what people are to be told, once a transition, and how their channels are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from controller.observed import ObservedNotifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    import psycopg

    from crds.names import RunUid

# A run that is tried again and ends again is a new transition: its generation has grown. What failed is kept as it was then,
# because a retry forgets it. A run has recovered if it, or else the run created before it, had failed; a cancelled one says
# nothing. Without a notifier that listens nothing but its index is read.
_RUNS_ENDED: LiteralString = """
    INSERT INTO notification (id, notifier_uid, object_uid, transition, occasion, facts, created_at, next_at)
    SELECT left(encode(sha256(convert_to(format('%%s/%%s/%%s', notifier.uid, run.uid, run.generation), 'UTF8')), 'hex'), 32),
           notifier.uid, run.uid, format('run/%%s', run.generation), told.occasion,
           jsonb_build_object(
               'kind', 'DagRun', 'namespace', run.namespace, 'name', run.name, 'dag', run.dag, 'notifier', notifier.name,
               'reason', run.reason, 'message', left(run.message, 2000), 'at', run.ended_at,
               'started', coalesce(run.started_at, run.created_at), 'trigger', run.trigger,
               'tasks', coalesce(failed.tasks, '[]'), 'failed', coalesce(failed.count, 0)),
           %(now)s, %(now)s
      FROM resource notifier
      JOIN run ON run.namespace = notifier.namespace
      JOIN resource dag ON dag.uid = run.dag_uid
     CROSS JOIN LATERAL (
            SELECT run.phase = 'Succeeded' AND coalesce(
                run.ended_before,
                (SELECT phase FROM run previous
                  WHERE previous.dag_uid = run.dag_uid AND previous.created_at < run.created_at
                    AND previous.phase IN ('Succeeded', 'Failed')
                  ORDER BY previous.created_at DESC LIMIT 1)) = 'Failed' AS recovered) AS after
     CROSS JOIN LATERAL (
            SELECT occasion
              FROM unnest(CASE WHEN run.phase = 'Failed' THEN ARRAY['RunFailed']
                               WHEN after.recovered THEN ARRAY['RunRecovered', 'RunSucceeded']
                               ELSE ARRAY['RunSucceeded'] END) WITH ORDINALITY AS wanted(occasion, n)
             WHERE notifier.spec->'on' ? occasion
             ORDER BY n LIMIT 1) AS told
      LEFT JOIN LATERAL (
            SELECT max(total) AS count,
                   jsonb_agg(jsonb_build_object('task', task, 'index', idx, 'reason', reason, 'message', left(message, 2000))
                             ORDER BY ended_at, task, idx) AS tasks
              FROM (SELECT *, count(*) OVER () AS total FROM task_run
                     WHERE run_uid = run.uid AND phase = 'Failed'
                     ORDER BY ended_at, task, idx LIMIT %(shown)s) AS first
           ) AS failed ON run.phase = 'Failed'
     WHERE notifier.kind = 'Notifier' AND notifier.deletion_timestamp IS NULL
       AND run.uid = ANY(%(runs)s) AND run.phase IN ('Succeeded', 'Failed')
       AND dag.labels @> coalesce(notifier.spec#>'{selector,matchLabels}', '{}')
    ON CONFLICT DO NOTHING
"""

_DATASET_TURNED: LiteralString = """
    INSERT INTO notification (id, notifier_uid, object_uid, transition, occasion, facts, created_at, next_at)
    SELECT left(encode(sha256(convert_to(format('%%s/%%s/%%s', notifier.uid, dataset.uid, %(turn)s::bigint),
                                         'UTF8')), 'hex'), 32),
           notifier.uid, dataset.uid, format('freshness/%%s', %(turn)s::bigint), %(occasion)s,
           jsonb_build_object(
               'kind', 'Dataset', 'namespace', dataset.namespace, 'name', dataset.name, 'notifier', notifier.name,
               'reason', %(reason)s::text, 'message', %(message)s::text, 'at', %(now)s::timestamptz),
           %(now)s, %(now)s
      FROM resource notifier
      JOIN resource dataset ON dataset.namespace = notifier.namespace
     WHERE notifier.kind = 'Notifier' AND notifier.deletion_timestamp IS NULL
       AND dataset.uid = %(dataset)s AND notifier.spec->'on' ? %(occasion)s
       AND dataset.labels @> coalesce(notifier.spec#>'{selector,matchLabels}', '{}')
    ON CONFLICT DO NOTHING
"""

# Moving next_at is the lease: who claims is alone with the row until then. A channel that failed is tried by one message at
# a time, so that a dead one costs a deadline now and then and not one for each message.
_CLAIM: LiteralString = """
    WITH picked AS (
        SELECT due.id
          FROM resource notifier
          LEFT JOIN notifier_state state ON state.notifier_uid = notifier.uid
         CROSS JOIN LATERAL (
                SELECT id FROM notification
                 WHERE notifier_uid = notifier.uid AND sent_at IS NULL AND given_up_at IS NULL AND next_at <= %(now)s
                 ORDER BY next_at, id
                 LIMIT CASE WHEN coalesce(state.failures, 0) > 0 THEN 1 ELSE %(each)s END
                   FOR UPDATE SKIP LOCKED) AS due
         WHERE notifier.kind = 'Notifier' AND notifier.uid <> ALL(%(busy)s)
           AND coalesce(state.retry_at, '-infinity') <= %(now)s
         LIMIT %(limit)s),
    claimed AS (
        UPDATE notification SET next_at = %(until)s, tries = tries + 1
          FROM picked WHERE notification.id = picked.id
     RETURNING notification.*)
    SELECT claimed.id, claimed.notifier_uid, claimed.occasion, claimed.facts, claimed.created_at, claimed.tries,
           notifier.namespace, notifier.name, notifier.generation, notifier.spec, coalesce(state.failures, 0)
      FROM claimed
      JOIN resource notifier ON notifier.uid = claimed.notifier_uid
      LEFT JOIN notifier_state state ON state.notifier_uid = claimed.notifier_uid
"""

# Whoever was slower than the lease marks nothing: the try after it does.
_SENT: LiteralString = """
    UPDATE notification SET sent_at = %(now)s
     WHERE id = %(id)s AND tries = %(tries)s AND sent_at IS NULL AND given_up_at IS NULL
"""

_AGAIN: LiteralString = """
    UPDATE notification SET next_at = %(at)s
     WHERE id = %(id)s AND tries = %(tries)s AND sent_at IS NULL AND given_up_at IS NULL
"""

_GIVE_UP: LiteralString = """
    UPDATE notification SET given_up_at = %(now)s
     WHERE id = %(id)s AND tries = %(tries)s AND sent_at IS NULL AND given_up_at IS NULL
"""

# Nothing is recorded of a notifier that was deleted meanwhile. A message that went out ends no wait that the receiver asked
# for when it refused another.
_WORKS: LiteralString = """
    INSERT INTO notifier_state (notifier_uid, generation, sent_at, retry_at)
    SELECT uid, %(generation)s, %(sent_at)s, %(now)s FROM resource WHERE uid = %(notifier)s FOR KEY SHARE
        ON CONFLICT (notifier_uid) DO UPDATE
       SET generation = excluded.generation, sent_at = coalesce(excluded.sent_at, notifier_state.sent_at), failures = 0,
           reason = NULL,
           retry_at = CASE WHEN excluded.sent_at IS NULL THEN excluded.retry_at ELSE notifier_state.retry_at END
"""

# A growing number that only this message's sender saw is repeated, so that two failures at once count once.
_FAILS: LiteralString = """
    INSERT INTO notifier_state (notifier_uid, generation, failures, reason, error, error_at, retry_at)
    SELECT uid, %(generation)s, 1, %(reason)s, %(error)s, %(now)s, %(retry_at)s
      FROM resource WHERE uid = %(notifier)s FOR KEY SHARE
        ON CONFLICT (notifier_uid) DO UPDATE
       SET generation = excluded.generation, failures = greatest(notifier_state.failures, %(failures)s + 1),
           reason = excluded.reason, error = excluded.error, error_at = excluded.error_at,
           retry_at = greatest(notifier_state.retry_at, excluded.retry_at)
"""

# Those of which the secret was not looked at since they were applied, or was missing when it was.
_UNCHECKED: LiteralString = """
    SELECT notifier.uid, notifier.generation, notifier.spec
      FROM resource notifier
      LEFT JOIN notifier_state state ON state.notifier_uid = notifier.uid
     WHERE notifier.kind = 'Notifier' AND notifier.deletion_timestamp IS NULL
       AND (state.generation IS DISTINCT FROM notifier.generation OR state.reason = 'SecretMissing')
     ORDER BY state.error_at NULLS FIRST
     LIMIT %(limit)s
"""

_OBSERVED: LiteralString = """
    SELECT notifier.uid, state.generation, coalesce(state.failures, 0), state.reason, state.error, state.error_at,
           state.sent_at,
           (SELECT count(*) FROM notification
             WHERE notifier_uid = notifier.uid AND sent_at IS NULL AND given_up_at IS NULL)
      FROM resource notifier
      LEFT JOIN notifier_state state ON state.notifier_uid = notifier.uid
     WHERE notifier.uid = ANY(%(uids)s)
"""

_BACKLOG: LiteralString = """
    SELECT count(*), coalesce(extract(epoch FROM %(now)s - min(created_at)), 0)
      FROM notification WHERE sent_at IS NULL AND given_up_at IS NULL
"""

_SWEEP: LiteralString = """
    DELETE FROM notification
     WHERE id IN (SELECT id FROM notification
                   WHERE (sent_at IS NOT NULL OR given_up_at IS NOT NULL) AND created_at < %(before)s
                   ORDER BY created_at LIMIT %(limit)s)
"""

TASKS_SHOWN = 5
"""How many of the tasks that failed a message tells of."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notification that its claimer sends, with the notifier as it is now."""

    id: str
    notifier_uid: str
    occasion: str
    facts: Mapping[str, Any]
    created_at: datetime
    tries: int
    namespace: str
    name: str
    generation: int
    spec: Mapping[str, Any]
    failures: int
    """How often in a row the channel had failed."""


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A notifier of which the secret is to be looked for."""

    uid: str
    generation: int
    spec: Mapping[str, Any]


def runs_ended(connection: psycopg.Connection, runs: Sequence[RunUid], now: datetime) -> None:
    """Note for all notifiers that listen how runs ended; to be called in the transaction that ends them."""
    if runs:
        connection.execute(_RUNS_ENDED, {"runs": list(runs), "now": now, "shown": TASKS_SHOWN})


def dataset_turned(
    connection: psycopg.Connection, dataset: str, turn: int, occasion: str, reason: str, message: str, now: datetime
) -> None:
    """Note for all notifiers that listen that a dataset turned stale or fresh, in the transaction that records it."""
    values = {"dataset": dataset, "turn": turn, "occasion": occasion, "reason": reason, "message": message, "now": now}
    connection.execute(_DATASET_TURNED, values)


def claim(
    connection: psycopg.Connection, now: datetime, lease: timedelta, busy: Sequence[str], each: int, limit: int
) -> list[Claimed]:
    """Claim what is due, at most `each` of a notifier and none of those that are busy."""
    values = {"now": now, "until": now + lease, "busy": list(busy), "each": each, "limit": limit}
    return [Claimed(*row) for row in connection.execute(_CLAIM, values)]


def sent(connection: psycopg.Connection, message: Claimed, now: datetime) -> bool:
    """Mark a claimed notification as sent, unless its lease ran out and another has it."""
    return connection.execute(_SENT, {"id": message.id, "tries": message.tries, "now": now}).rowcount > 0


def again(connection: psycopg.Connection, message: Claimed, at: datetime) -> bool:
    """Have a claimed notification tried again at a time."""
    return connection.execute(_AGAIN, {"id": message.id, "tries": message.tries, "at": at}).rowcount > 0


def give_up(connection: psycopg.Connection, message: Claimed, now: datetime) -> bool:
    """Let a claimed notification go."""
    return connection.execute(_GIVE_UP, {"id": message.id, "tries": message.tries, "now": now}).rowcount > 0


def works(
    connection: psycopg.Connection, notifier: str, generation: int, now: datetime, sent_at: datetime | None = None
) -> None:
    """Record that a notifier's channel is well, as far as is known; `sent_at` if a message went through it."""
    connection.execute(_WORKS, {"notifier": notifier, "generation": generation, "now": now, "sent_at": sent_at})


def fails(
    connection: psycopg.Connection,
    claimed: Claimed | Unchecked,
    reason: str,
    error: str,
    retry_at: datetime,
    now: datetime,
) -> None:
    """Record why a notifier's channel failed, and until when it is left alone."""
    uid, failures = (claimed.notifier_uid, claimed.failures) if isinstance(claimed, Claimed) else (claimed.uid, 0)
    values = {"notifier": uid, "generation": claimed.generation, "failures": failures}
    connection.execute(_FAILS, values | {"reason": reason, "error": error, "retry_at": retry_at, "now": now})


def unchecked(connection: psycopg.Connection, limit: int) -> list[Unchecked]:
    """Return notifiers whose secret is to be looked for."""
    return [Unchecked(*row) for row in connection.execute(_UNCHECKED, {"limit": limit})]


def observed(connection: psycopg.Connection, uids: Sequence[str]) -> dict[str, ObservedNotifier]:
    """Return how notifiers stand, by uid."""
    return {row[0]: ObservedNotifier(*row[1:]) for row in connection.execute(_OBSERVED, {"uids": list(uids)})}


def backlog(connection: psycopg.Connection, now: datetime) -> tuple[int, float]:
    """Return how many notifications wait, and for how many seconds the oldest has."""
    row = connection.execute(_BACKLOG, {"now": now}).fetchone()
    return (0, 0.0) if row is None else (row[0], float(row[1]))


def sweep(connection: psycopg.Connection, before: datetime, limit: int) -> int:
    """Delete notifications of before that are done; return how many."""
    return connection.execute(_SWEEP, {"before": before, "limit": limit}).rowcount
