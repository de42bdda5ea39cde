"""Connections to Postgres, logged in as the settings say; everything of ours is found in schema `setpoint`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import ConnectionPool

from crds.login import DatabaseAuth, credentials

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_SECONDS = 5
WAIT_SECONDS = 10.0
"""How long a request waits for a free connection."""
_SEARCH_PATH = "-c search_path=setpoint"


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
    return ConnectionPool(
        conninfo,
        min_size=2,
        max_size=size,
        kwargs=lambda: _arguments(conninfo, auth),
        timeout=WAIT_SECONDS,
        check=check,
        open=False,
    )


def _arguments(conninfo: str, auth: DatabaseAuth) -> dict[str, Any]:
    return {"options": _SEARCH_PATH, "connect_timeout": CONNECT_SECONDS, **credentials(conninfo, auth)}
