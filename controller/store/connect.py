"""Connections to Postgres, logged in as the settings say; everything of ours is found in schema `setpoint`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg_pool import ConnectionPool

from crds.login import DatabaseAuth, credentials

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

CONNECT_SECONDS = 5
WAIT_SECONDS = 10.0
"""How long a request waits for a free connection."""
_SEARCH_PATH = "-c search_path=setpoint"


class Connections(Protocol):
    """What lends connections, as a pool does."""

    def connection(self) -> AbstractContextManager[psycopg.Connection]:
        """Lend a connection; what was done is committed at the end."""
        ...


class Session(psycopg.Connection[Any]):
    """A connection that does what depends on a transaction only once it is committed, and never if it is not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._committed: list[Callable[[], None]] = []

    def after_commit(self, action: Callable[[], None]) -> None:
        """Call an action after the next COMMIT; it must not fail, and may read what the transaction's statements returned."""
        self._committed.append(action)

    def commit(self) -> None:
        """Commit, then do what waited for it."""
        super().commit()
        actions, self._committed = self._committed, []
        for action in actions:
            action()

    def rollback(self) -> None:
        """Roll back, and forget what waited for the COMMIT."""
        self._committed = []
        super().rollback()


def after_commit(connection: psycopg.Connection, action: Callable[[], None]) -> None:
    """Call an action after a connection's next COMMIT; at once if it is no Session, which only tools use."""
    if isinstance(connection, Session):
        connection.after_commit(action)
    else:
        action()


def connect(
    conninfo: str, auth: DatabaseAuth = DatabaseAuth.PASSWORD, *, autocommit: bool = False
) -> psycopg.Connection:
    """Return a new connection; raise psycopg.OperationalError."""
    return psycopg.connect(conninfo, autocommit=autocommit, **_arguments(conninfo, auth))


def make_pool(
    conninfo: str,
    size: int,
    auth: DatabaseAuth = DatabaseAuth.PASSWORD,
    *,
    check: Callable[[psycopg.Connection], None] | None = None,
) -> ConnectionPool[psycopg.Connection]:
    """Return a pool of at most `size` connections, not open yet; each of its connections logs in afresh."""
    kind: type[psycopg.Connection] = Session
    return ConnectionPool(
        conninfo,
        connection_class=kind,
        min_size=2,
        max_size=size,
        kwargs=lambda: _arguments(conninfo, auth),
        timeout=WAIT_SECONDS,
        check=check,
        open=False,
    )


def _arguments(conninfo: str, auth: DatabaseAuth) -> dict[str, Any]:
    return {"options": _SEARCH_PATH, "connect_timeout": CONNECT_SECONDS, **credentials(conninfo, auth)}
