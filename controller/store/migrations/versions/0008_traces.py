"""The trace of whoever asked for a run."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

_STATEMENTS: tuple[str, ...] = ("ALTER TABLE setpoint.run ADD COLUMN traceparent text",)


def upgrade() -> None:
    """Add the column."""
    for statement in _STATEMENTS:
        op.execute(statement)
