"""A Postgres server of our own, found on this machine and bound to the life of its user."""

from controller.local.postgres.binaries import PostgresNotFoundError, find_binaries
from controller.local.postgres.server import Server, ServerError, temporary_server

__all__ = ["PostgresNotFoundError", "Server", "ServerError", "find_binaries", "temporary_server"]
