"""Runs that a webhook asks for, and the Dags that listen to one found by its path."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = (
    "ALTER TABLE setpoint.run DROP CONSTRAINT run_trigger_check",
    """ALTER TABLE setpoint.run
           ADD CONSTRAINT run_trigger_check CHECK (trigger IN ('manual', 'schedule', 'webhook'))""",
    # A dispatcher that starts tells whether its schema is there.
    "GRANT USAGE ON SCHEMA setpoint_migrations TO setpoint_controller",
    "GRANT SELECT ON setpoint_migrations.version TO setpoint_controller",
    """CREATE INDEX resource_triggers ON setpoint.resource USING gin ((spec->'triggers') jsonb_path_ops)
        WHERE kind = 'Dag'""",
)


def upgrade() -> None:
    """Admit the trigger and add the index."""
    for statement in _STATEMENTS:
        op.execute(statement)
