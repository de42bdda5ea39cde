"""Resources that are being deleted, and what must happen first."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

_STATEMENTS: tuple[str, ...] = (
    "ALTER TABLE setpoint.resource ADD COLUMN deletion_timestamp timestamptz",
    "ALTER TABLE setpoint.resource ADD COLUMN finalizers text[] NOT NULL DEFAULT '{}'",
)


def upgrade() -> None:
    """Add the columns."""
    for statement in _STATEMENTS:
        op.execute(statement)
