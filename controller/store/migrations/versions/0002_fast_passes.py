"""Passes that cost what changed: indexes over the few rows that can change, and limits as a column."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = (
    # The most attempts that may be live in a pool, or of a DAG if it says so: read out of the spec once, when it is
    # applied, and not at every admission.
    """ALTER TABLE setpoint.resource ADD COLUMN live_limit integer
           GENERATED ALWAYS AS (CASE kind
               WHEN 'Dag' THEN (spec->'concurrency'->>'maxActiveTasks')::integer
               WHEN 'WorkerPool' THEN CASE WHEN (spec->>'suspend')::boolean THEN 0
                                           ELSE (spec->>'slots')::integer * (spec->>'maxTasks')::integer END
           END) STORED""",
    "CREATE INDEX attempt_unclaimed ON setpoint.attempt (pool_uid) WHERE phase IN ('Pending', 'Queued')",
    # How many of the tasks that a waiting one needs have ended, and how.
    """ALTER TABLE setpoint.task_run
           ADD COLUMN above_succeeded integer NOT NULL DEFAULT 0,
           ADD COLUMN above_failed integer NOT NULL DEFAULT 0,
           ADD COLUMN above_skipped integer NOT NULL DEFAULT 0""",
    """UPDATE setpoint.task_run waiting
          SET above_succeeded = above.succeeded, above_failed = above.failed, above_skipped = above.skipped
         FROM (SELECT run.uid, edge.task,
                      count(*) FILTER (WHERE up.phase = 'Succeeded') AS succeeded,
                      count(*) FILTER (WHERE up.phase IN ('Failed', 'UpstreamFailed', 'Cancelled')) AS failed,
                      count(*) FILTER (WHERE up.phase = 'Skipped') AS skipped
                 FROM setpoint.run
                 JOIN setpoint.task_run up ON up.run_uid = run.uid AND up.ended_at IS NOT NULL AND NOT up.fresh
                 JOIN setpoint.revision_edge edge
                   ON edge.dag_uid = run.dag_uid AND edge.generation = run.revision AND edge.upstream = up.task
                WHERE run.ended_at IS NULL
                GROUP BY run.uid, edge.task) AS above
        WHERE waiting.run_uid = above.uid AND waiting.task = above.task AND waiting.phase = 'Waiting'""",
    "CREATE INDEX task_run_held ON setpoint.task_run (run_uid) WHERE held",
    "CREATE INDEX task_run_backed_off ON setpoint.task_run (run_uid) WHERE phase = 'Backoff'",
)


def upgrade() -> None:
    """Add the column and the indexes."""
    for statement in _STATEMENTS:
        op.execute(statement)
