"""Limits over HTTP: requests of one caller, wrong tokens of one address, slow headers; and whose word is believed."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from obstore.store import MemoryStore
from psycopg_pool import ConnectionPool
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from controller.access import access_of
from controller.api import app, slow
from controller.api.addresses import networks
from controller.api.endpoint import ApiDeps
from controller.api.gate import Access
from controller.api.limits import Buckets, Limits, Rate
from controller.api.resources import resource_routes
from controller.runtime.clock import DatabaseClock
from controller.runtime.ids import DrawnIds
from controller.settings import Settings
from controller.store import tokens
from tests.integration.api_world import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database

NEVER = Rate(1e-9, 3)


@contextmanager
def serving(database: Database, access: Access) -> Iterator[httpx.Client]:
    options = {"options": "-c search_path=setpoint"}
    clock = DatabaseClock()
    with ConnectionPool(database.conninfo, kwargs=options, min_size=1, max_size=4, open=True) as pool:
        with pool.connection() as connection:
            for role in ("viewer", "admin"):
                tokens.ensure_token(connection, f"{role}-token", role, role, clock.now(connection))
        deps = ApiDeps(pool, clock, DrawnIds(), lambda _keys: None, MemoryStore(), access)
        built = app.build(resource_routes(deps), lambda: None, lambda: None, access.proxies)
        server = app.Server(built, "127.0.0.1", 0)
        server.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30, trust_env=False) as client:
                yield client
        finally:
            server.stop(10)


def get(client: httpx.Client, token: str, path: str = "/dags", **headers: str) -> httpx.Response:
    return client.get(NAMESPACE + path, headers={"Authorization": f"Bearer {token}", **headers})


def test_one_caller_is_bounded_and_another_is_not_hindered(database: Database) -> None:
    with serving(database, Access(Limits(Buckets(NEVER)))) as client:
        codes = [get(client, "viewer-token").status_code for _ in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        answer = get(client, "viewer-token")
        assert int(answer.headers["retry-after"]) >= 1
        assert (answer.json()["kind"], answer.json()["reason"]) == ("Status", "TooManyRequests")
        assert get(client, "admin-token").status_code == 200
        assert client.get("/healthz").status_code == 200


def test_wrong_tokens_are_bounded_by_address_and_do_not_lock_out_who_is_known(database: Database) -> None:
    with serving(database, Access(Limits(failures=Buckets(NEVER)))) as client:
        assert get(client, "viewer-token").status_code == 200
        assert [get(client, f"guess-{n}").status_code for n in range(5)] == [401, 401, 401, 429, 429]
        assert get(client, "viewer-token").status_code == 200


@pytest.mark.parametrize(
    ("proxies", "address", "kept"),
    [
        pytest.param("", "127.0.0.1", False, id="nobody is trusted"),
        pytest.param("10.0.0.0/8", "127.0.0.1", False, id="others are trusted"),
        pytest.param("127.0.0.0/8", "203.0.113.9", True, id="the proxy is trusted"),
    ],
)
def test_whose_word_is_believed(database: Database, proxies: str, address: str, kept: bool) -> None:
    with serving(database, Access(proxies=networks(proxies))) as client:
        forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Request-Id": "chosen-by-the-caller"}
        made = client.post(
            "/v1/tokens",
            json={"name": "ci", "role": "viewer"},
            headers={"Authorization": "Bearer admin-token", **forwarded},
        )
        assert made.status_code == 201
        assert (made.headers["x-request-id"] == "chosen-by-the-caller") is kept
        (row,) = get(client, "admin-token", "/audit").json()["items"]
        assert (row["address"], row["requestId"]) == (address, made.headers["x-request-id"])


def test_slow_headers_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "HEADER_SECONDS", 0.2)

    async def hello(_request: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    server = app.Server(app.build([Route("/hello", hello)], lambda: None, lambda: None), "127.0.0.1", 0)
    server.start()
    try:
        for begun in (b"", b"GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
                connection.sendall(begun)
                assert connection.recv(100) == b"", "the server closes"
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            # The second request of a connection that is kept.
            connection.sendall(b"GET /hello HTTP/1.1\r\nHo")
            rest = b""
            while piece := connection.recv(65_536):
                rest += piece
            assert b"HTTP/1.1 200" not in rest
    finally:
        server.stop(10)


def test_settings_become_limits() -> None:
    settings: Any = Settings(dsn="x", object_store="file:///x", trusted_proxies="10.0.0.0/16, 10.1.0.0/16")
    made = access_of(settings)
    assert (len(made.proxies), made.identities) == (2, None)
    assert made.limits.requests is not None
    assert access_of(settings.model_copy(update={"rate_limit": 0})).limits.requests is None
    oidc = settings.model_copy(update={"oidc_issuer": "https://idp.example", "oidc_audience": "x"})
    assert access_of(oidc).identities is not None
    with pytest.raises(ValueError, match="oidc_audience"):
        Settings(dsn="x", object_store="file:///x", oidc_issuer="https://idp.example")
    with pytest.raises(ValueError, match="nonsense"):
        Settings(dsn="x", object_store="file:///x", trusted_proxies="nonsense")
