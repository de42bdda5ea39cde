"""Make the database and its logins, as an administrator does once; every step may be repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from controller.store.migrate import CONTROLLER_LIMITS, WORKER_LIMITS, ensure_login

if TYPE_CHECKING:
    import psycopg

MIGRATOR, DISPATCHER, WORKER = "setpoint_migrator", "setpoint_dispatcher", "setpoint_worker_login"
DATABASE = "setpoint"
IAM_ROLE = "rds_iam"
"""Members of it log in by IAM tokens: RDS makes the role."""

_ROLE: LiteralString = "SELECT 1 FROM pg_roles WHERE rolname = %s"
_DATABASE: LiteralString = "SELECT 1 FROM pg_database WHERE datname = %s"
_SUPERUSER: LiteralString = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"


def create_database(connection: psycopg.Connection, password: str | None, database: str = DATABASE) -> None:
    """Make the migration login and its database; the connection is an administrator's, in autocommit.

    Without a password the login is by IAM.
    """
    if connection.execute(_ROLE, (MIGRATOR,)).fetchone() is None:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER CREATEROLE").format(sql.Identifier(MIGRATOR)))
    _let_in(connection, MIGRATOR, password)
    row = connection.execute(_SUPERUSER).fetchone()
    if row is not None and not row[0]:
        # An administrator of RDS is no superuser: it gives a database only to a role that it is a member of.
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(MIGRATOR)))
    known = connection.execute(_DATABASE, (database,)).fetchone()
    change = "CREATE DATABASE {} OWNER {}" if known is None else "ALTER DATABASE {} OWNER TO {}"
    connection.execute(sql.SQL(change).format(sql.Identifier(database), sql.Identifier(MIGRATOR)))


def ensure_logins(connection: psycopg.Connection, dispatcher: str | None, worker: str | None) -> None:
    """Make the logins of dispatcher and workers with their passwords, or by IAM; the connection is the migration login's."""
    ensure_login(connection, DISPATCHER, dispatcher, "setpoint_controller", CONTROLLER_LIMITS)
    ensure_login(connection, WORKER, worker, "setpoint_worker", WORKER_LIMITS)
    for login, password in ((DISPATCHER, dispatcher), (WORKER, worker)):
        if password is None:
            _let_in(connection, login, None)


def _let_in(connection: psycopg.Connection, login: str, password: str | None) -> None:
    if password is not None:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(login), sql.Literal(password)))
        return
    if connection.execute(_ROLE, (IAM_ROLE,)).fetchone() is None:
        raise RuntimeError(f"there is no role {IAM_ROLE}: switch on IAM database authentication of this RDS instance")
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(IAM_ROLE), sql.Identifier(login)))
