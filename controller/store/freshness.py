"""Table dataset_freshness: whether datasets that declare how old they may grow are fresh, as it was last recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from controller.diff.freshness import DatasetView, Recorded, within_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

_READ: LiteralString = """
    SELECT dataset.uid, dataset.namespace, dataset.name, dataset.spec->'freshness',
           dataset.created_at, state.updated_at,
           known.dataset_uid IS NOT NULL, known.within, coalesce(known.fresh, true), coalesce(known.turns, 0)
      FROM resource dataset
      LEFT JOIN dataset_state state ON state.dataset_uid = dataset.uid
      LEFT JOIN dataset_freshness known ON known.dataset_uid = dataset.uid
     WHERE dataset.kind = 'Dataset' AND dataset.uid = ANY(%(uids)s) AND dataset.deletion_timestamp IS NULL
     ORDER BY dataset.uid
"""

# What it was decided on is repeated: of two that look at once, one records, and a commit in between is looked at anew.
_RECORD: LiteralString = """
    INSERT INTO dataset_freshness AS known (dataset_uid, within, fresh, turns, turned_at)
    SELECT dataset.uid, %(within)s, %(fresh)s, %(turns)s, %(now)s
      FROM resource dataset
      LEFT JOIN dataset_state state ON state.dataset_uid = dataset.uid
     WHERE dataset.uid = %(uid)s AND state.updated_at IS NOT DISTINCT FROM %(updated_at)s
        ON CONFLICT (dataset_uid) DO UPDATE
       SET within = excluded.within, fresh = excluded.fresh, turns = excluded.turns,
           turned_at = CASE WHEN known.turns = excluded.turns THEN known.turned_at ELSE excluded.turned_at END
     WHERE known.turns = %(seen)s AND known.fresh = %(seen_fresh)s
"""

# Only what declares how old it may grow has a row, so that this costs their number and no more.
_DUE: LiteralString = """
    SELECT known.dataset_uid
      FROM dataset_freshness known
      JOIN resource dataset ON dataset.uid = known.dataset_uid
      LEFT JOIN dataset_state state ON state.dataset_uid = known.dataset_uid
     WHERE known.within IS NOT NULL
       AND known.fresh <> (%(now)s <= coalesce(state.updated_at, dataset.created_at) + known.within)
     LIMIT %(limit)s
"""

_DECLARED: LiteralString = """
    SELECT uid FROM resource WHERE kind = 'Dataset' AND jsonb_exists(spec, 'freshness')
     UNION
    SELECT dataset_uid FROM dataset_freshness WHERE within IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class FreshnessRow:
    """A dataset, and what its freshness is decided on."""

    uid: str
    namespace: str
    name: str
    view: DatasetView


def read(connection: psycopg.Connection, uids: Sequence[str]) -> list[FreshnessRow]:
    """Return datasets in the order of their uids."""
    return [
        FreshnessRow(
            row[0],
            row[1],
            row[2],
            DatasetView(within_of(row[3]), row[4], row[5], Recorded(row[7], row[8], row[9]) if row[6] else None),
        )
        for row in connection.execute(_READ, {"uids": list(uids)})
    ]


def record(connection: psycopg.Connection, row: FreshnessRow, news: Recorded, now: datetime) -> bool:
    """Record what a look at a dataset found; return whether all that it was decided on was still so."""
    seen = row.view.recorded or Recorded()
    values = {
        "uid": row.uid,
        "within": news.within,
        "fresh": news.fresh,
        "turns": news.turns,
        "updated_at": row.view.updated_at,
        "seen": seen.turns,
        "seen_fresh": seen.fresh,
        "now": now,
    }
    return connection.execute(_RECORD, values).rowcount > 0


def due(connection: psycopg.Connection, now: datetime, limit: int) -> list[str]:
    """Return datasets that turned stale, or fresh by a commit, since it was last recorded."""
    return [row[0] for row in connection.execute(_DUE, {"now": now, "limit": limit})]


def declared(connection: psycopg.Connection) -> list[str]:
    """Return the datasets that declare how old they may grow, or did when they were last looked at, for the resync."""
    return [row[0] for row in connection.execute(_DECLARED)]
