"""Postgres: a module a table, a function a statement."""
