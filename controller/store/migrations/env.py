"""Alembic's environment: one connection, one transaction, the version table in schema setpoint_migrations."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table="version",
    version_table_schema="setpoint_migrations",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
