"""Tokens that expire, are scoped and can be revoked; and the audit log."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_STATEMENTS: tuple[str, ...] = (
    # Tokens that people drew have an id, which stands in the token itself; the one of Secrets Manager has none.
    "ALTER TABLE setpoint.api_token ADD COLUMN id text",
    "ALTER TABLE setpoint.api_token ADD COLUMN scope text NOT NULL DEFAULT ''",
    "ALTER TABLE setpoint.api_token ADD COLUMN created_by text",
    "CREATE UNIQUE INDEX api_token_id ON setpoint.api_token (id)",
    "CREATE UNIQUE INDEX api_token_drawn ON setpoint.api_token (name) WHERE id IS NOT NULL",
    # Who did what. What concerns no namespace (a token, a bundle) has an empty one.
    """CREATE TABLE setpoint.audit (
           id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
           at timestamptz NOT NULL,
           who text NOT NULL,
           role text NOT NULL,
           source text NOT NULL,
           address text NOT NULL,
           verb text NOT NULL,
           kind text NOT NULL,
           namespace text NOT NULL,
           name text NOT NULL,
           outcome text NOT NULL CHECK (outcome IN ('done', 'refused')),
           changes jsonb NOT NULL DEFAULT '[]',
           message text NOT NULL DEFAULT '',
           request_id text NOT NULL
       )""",
    "CREATE INDEX audit_at ON setpoint.audit (at, id)",
    "CREATE INDEX audit_object ON setpoint.audit (kind, name, at, id)",
    "CREATE INDEX audit_who ON setpoint.audit (who, at, id)",
    # Append-only: nobody but the owner of the schema, whose login no dispatcher has, changes or removes a row.
    "GRANT SELECT, INSERT ON setpoint.audit TO setpoint_controller",
)


def upgrade() -> None:
    """Add the columns and the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
