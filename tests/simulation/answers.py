"""What dispatchers answer workers, compared with what is committed when they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_PINNED: LiteralString = """
    SELECT attempt.id, task.spec
      FROM attempt
      JOIN run ON run.uid = attempt.run_uid
      JOIN revision ON revision.dag_uid = run.dag_uid AND revision.generation = run.revision
     CROSS JOIN LATERAL jsonb_array_elements(revision.spec->'tasks') AS task(spec)
     WHERE attempt.id = ANY(%s) AND task.spec->>'name' = attempt.task
"""

_WAITING: LiteralString = """
    SELECT attempt.id FROM attempt JOIN run ON run.uid = attempt.run_uid
     WHERE attempt.id = ANY(%s) AND attempt.phase IN ('Pending', 'Queued') AND run.cancel_at IS NULL
"""


def broken(connection: psycopg.Connection, answer: object) -> Iterator[str]:
    """Yield the promises that an answer to a claim or a report breaks."""
    grants = {grant.attempt: grant.task for grant in getattr(answer, "grants", ())}
    if grants:
        pinned: dict[str, Any] = dict(connection.execute(_PINNED, (list(grants),)).fetchall())
        for attempt, task in grants.items():
            if pinned.get(attempt) != task:
                yield f"{attempt} was not granted as its run's revision says (I9): {task}, not {pinned.get(attempt)}"
    dropped = [refusal.attempt for refusal in getattr(answer, "refusals", ()) if refusal.action == "drop"]
    if dropped:
        for (attempt,) in connection.execute(_WAITING, (dropped,)):
            yield f"the message of {attempt} was dropped although it waits to be claimed"
