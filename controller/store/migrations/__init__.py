"""Migrations: one SQL file a version, run by alembic under an advisory lock."""
