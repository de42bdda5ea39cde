"""Notifications that are due, each once a transition; and whether datasets are fresh."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_STATEMENTS: tuple[str, ...] = (
    # How a run that was opened again had ended before: only so can it be told to have recovered.
    "ALTER TABLE setpoint.run ADD COLUMN ended_before text",
    # Of datasets that declare how old they may grow: what was last recorded, and how often it has turned.
    """CREATE TABLE setpoint.dataset_freshness (
           dataset_uid text PRIMARY KEY REFERENCES setpoint.resource ON DELETE CASCADE,
           within interval,
           fresh boolean NOT NULL DEFAULT true,
           turns bigint NOT NULL DEFAULT 0,
           turned_at timestamptz NOT NULL
       )""",
    """CREATE INDEX resource_freshness ON setpoint.resource (uid)
        WHERE kind = 'Dataset' AND jsonb_exists(spec, 'freshness')""",
    # One row for each notifier and transition, written in the transaction of the transition itself.
    """CREATE TABLE setpoint.notification (
           id text PRIMARY KEY,
           notifier_uid text NOT NULL REFERENCES setpoint.resource ON DELETE CASCADE,
           object_uid text NOT NULL,
           transition text NOT NULL,
           occasion text NOT NULL,
           facts jsonb NOT NULL,
           created_at timestamptz NOT NULL,
           next_at timestamptz NOT NULL,
           tries integer NOT NULL DEFAULT 0,
           sent_at timestamptz,
           given_up_at timestamptz,
           UNIQUE (notifier_uid, object_uid, transition)
       )""",
    """CREATE INDEX notification_due ON setpoint.notification (notifier_uid, next_at)
        WHERE sent_at IS NULL AND given_up_at IS NULL""",
    """CREATE INDEX notification_done ON setpoint.notification (created_at)
        WHERE sent_at IS NOT NULL OR given_up_at IS NOT NULL""",
    # How a notifier's channel was when it was last tried.
    """CREATE TABLE setpoint.notifier_state (
           notifier_uid text PRIMARY KEY REFERENCES setpoint.resource ON DELETE CASCADE,
           generation bigint NOT NULL,
           failures integer NOT NULL DEFAULT 0,
           reason text,
           error text,
           error_at timestamptz,
           sent_at timestamptz,
           retry_at timestamptz NOT NULL
       )""",
    """GRANT SELECT, INSERT, UPDATE, DELETE ON setpoint.dataset_freshness, setpoint.notification, setpoint.notifier_state
          TO setpoint_controller""",
)


def upgrade() -> None:
    """Add the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
