"""Why ECS starts no task for a pool, as it was last seen."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns."""
    op.execute("ALTER TABLE setpoint.pool_observation ADD COLUMN trouble_reason text, ADD COLUMN trouble_message text")
