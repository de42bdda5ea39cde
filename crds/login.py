"""How a process logs in to Postgres: as its conninfo says, or on RDS with a token of its own role for each connection."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

DEFAULT_PORT = 5432


class DatabaseAuth(StrEnum):
    """Where the password of a login comes from."""

    PASSWORD = "password"  # noqa: S105 - a word, not a password
    """The conninfo, or libpq's own means."""
    IAM = "iam"
    """A token that AWS signs for the process's role, good for 15 minutes, drawn for each new connection:
    https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html"""


def credentials(conninfo: str, auth: DatabaseAuth) -> dict[str, Any]:
    """Return what psycopg needs beside the conninfo for one new connection; raise ValueError if it names no login."""
    if auth is DatabaseAuth.PASSWORD:
        return {}
    known = conninfo_to_dict(conninfo)
    host, user = known.get("host"), known.get("user")
    if not host or not user:
        raise ValueError("a conninfo for IAM authentication names host and user")
    # Signed here, without a call; the names are those that the certificate and the policy name.
    token = _rds().generate_db_auth_token(
        DBHostname=str(host), Port=int(known.get("port") or DEFAULT_PORT), DBUsername=str(user)
    )
    return {"password": token}


@cache
def _rds() -> RDSClient:
    # Only where it is used: loading it takes a while.
    import boto3  # noqa: PLC0415

    return boto3.client("rds")
