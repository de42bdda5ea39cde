from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from crds import login
from crds.login import DatabaseAuth, credentials

CONNINFO = "host=db.example port=5433 dbname=setpoint user=setpoint_dispatcher sslmode=verify-full"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    login._rds.cache_clear()


def test_a_password_stands_in_the_conninfo() -> None:
    assert credentials("host=db password=x", DatabaseAuth.PASSWORD) == {}


def test_a_token_opens_one_login_of_one_database() -> None:
    token = credentials(CONNINFO, DatabaseAuth.IAM)["password"]
    asked = urlsplit(f"https://{token}")
    fields = parse_qs(asked.query)
    assert (asked.hostname, asked.port) == ("db.example", 5433)
    assert fields["DBUser"] == ["setpoint_dispatcher"]
    assert fields["X-Amz-Expires"] == ["900"]
    assert "/eu-west-1/rds-db/" in fields["X-Amz-Credential"][0]


@pytest.mark.parametrize("conninfo", ["dbname=setpoint user=x", "host=db dbname=setpoint"])
def test_a_token_needs_host_and_user(conninfo: str) -> None:
    with pytest.raises(ValueError, match="names host and user"):
        credentials(conninfo, DatabaseAuth.IAM)
