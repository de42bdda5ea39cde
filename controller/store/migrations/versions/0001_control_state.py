"""Control state, the roles, and the fence through which hot data is committed."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the SQL file beside this one."""
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("migrations need a live connection")
    connection.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
