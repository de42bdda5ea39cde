"""Tokens that are forged, expired, another's or in the wrong place open nothing, and no answer or log repeats one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from controller.api.auth import Role
from controller.api.resources import all_endpoints
from controller.runtime.clock import DatabaseClock
from controller.store import tokens
from tests.hostile.hostile_world import DEADLINE_SECONDS, POOL_TOKENS, ROLE_TOKENS, SIGNING_KEY

if TYPE_CHECKING:
    from controller.api.endpoint import Endpoint
    from tests.hostile.hostile_world import Doors

EXPIRED = "a-token-of-yesterday"
ENDPOINTS = all_endpoints()


def _name(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path.partition('{ns}')[2] or endpoint.path}"


def _path(endpoint: Endpoint) -> str:
    known = {"ns": "default", "name": "diamond", "digest": "0" * 64}
    return re.sub(r"\{(\w+)\}", lambda match: known[match[1]], endpoint.path)


@pytest.fixture(scope="module", autouse=True)
def expired(doors: Doors) -> None:
    clock = DatabaseClock()
    with doors.world.pool.connection() as connection:
        tokens.ensure_token(connection, EXPIRED, "late", "admin", clock.now(connection))
        connection.execute(
            "UPDATE api_token SET expires_at = %s WHERE name = 'late'",
            (clock.now(connection) - timedelta(seconds=1),),
        )
    doors.told.add(EXPIRED)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=_name)
def test_no_endpoint_is_open(unchanged: Doors, endpoint: Endpoint) -> None:
    for given in ({}, {"Authorization": f"Bearer {EXPIRED}"}):
        answer = httpx.request(
            endpoint.method,
            unchanged.url + _path(endpoint),
            content=b"{}" if endpoint.body else None,
            headers=given,
            timeout=DEADLINE_SECONDS,
            trust_env=False,
        )
        assert answer.status_code == 401
        unchanged.refused(answer)


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if e.role > Role.VIEWER], ids=_name)
def test_a_role_below_opens_nothing(unchanged: Doors, endpoint: Endpoint) -> None:
    below = {Role.OPERATOR: "viewer", Role.ADMIN: "operator"}[endpoint.role]
    answer = unchanged.call(endpoint.method, _path(endpoint), b"{}", role=below)
    assert answer.status_code == 403
    unchanged.refused(answer)


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(b"Bearer", id="no token"),
        pytest.param(b"Bearer " + b"x" * 10_000, id="10 kB"),
        pytest.param(b"Bearer \xff\xfe", id="no text"),
        pytest.param(b"Bearer ' OR '1'='1", id="SQL"),
        pytest.param(b"Basic YWRtaW46YWRtaW4=", id="another scheme"),
        pytest.param(ROLE_TOKENS["admin"].encode(), id="no scheme"),
        pytest.param(f"Bearer {ROLE_TOKENS['admin']} {ROLE_TOKENS['admin']}".encode(), id="twice"),
        pytest.param(f"Bearer {ROLE_TOKENS['admin'][:-1]}".encode(), id="a letter less"),
        pytest.param(f"Bearer {ROLE_TOKENS['admin'].upper()}".encode(), id="in capitals"),
        pytest.param(f"Bearer {POOL_TOKENS['python'][0]}".encode(), id="a pool's"),
        pytest.param(f"Bearer {SIGNING_KEY}".encode(), id="the signing key"),
    ],
)
def test_forged(unchanged: Doors, authorization: bytes) -> None:
    with httpx.Client(base_url=unchanged.url, timeout=DEADLINE_SECONDS, trust_env=False) as client:
        answer = client.get(
            "/apis/setpoint.dev/v1/namespaces/default/dags", headers=[(b"Authorization", authorization)]
        )
    assert answer.status_code == 401
    unchanged.refused(answer)


def test_a_token_in_the_query_opens_nothing_and_is_not_repeated(unchanged: Doors) -> None:
    path = f"{unchanged.url}/apis/setpoint.dev/v1/namespaces/default/dags?token={ROLE_TOKENS['admin']}"
    unchanged.refused(httpx.get(path, timeout=DEADLINE_SECONDS, trust_env=False))


def test_a_strangers_body_is_never_read(unchanged: Doors) -> None:
    """The answer comes although the body that was announced does not."""
    head = "POST /apis/setpoint.dev/v1/namespaces/default/apply HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    assert unchanged.raw(head.encode()).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("path", "body", "token"),
    [
        pytest.param("/v1/claims", {"pool": "python"}, POOL_TOKENS["polars"][0], id="another pool's"),
        pytest.param("/v1/claims", {"pool": "python"}, ROLE_TOKENS["admin"], id="a person's"),
        pytest.param("/v1/claims", {"pool": "python"}, "-", id="none"),
        pytest.param("/v1/claims", {"pool": "nobody"}, POOL_TOKENS["python"][0], id="a pool that is none"),
        pytest.param("/v1/claims", {"pool": "../python"}, POOL_TOKENS["python"][0], id="a path for a pool"),
        pytest.param("/v1/claims", {"pool": "events"}, POOL_TOKENS["python"][0], id="the event sources'"),
        pytest.param("/v1/heartbeats", {"pool": "python"}, POOL_TOKENS["polars"][0], id="a heartbeat"),
        pytest.param("/v1/reports", {"pool": "python", "reports": []}, POOL_TOKENS["polars"][0], id="a report"),
        pytest.param("/v1/events", {}, POOL_TOKENS["python"][0], id="an event with a pool's"),
        pytest.param("/v1/events", {}, ROLE_TOKENS["admin"], id="an event with a person's"),
    ],
)
def test_workers_and_sources(unchanged: Doors, path: str, body: dict[str, Any], token: str) -> None:
    answer = unchanged.work(path, {"request": "r", "worker": "w", "attempts": [], **body}, token=token)
    assert answer.status_code in {400, 401}
    unchanged.refused(answer)


def test_the_tokens_of_many_invented_pools_are_not_all_remembered(unchanged: Doors) -> None:
    from controller.api.tokens import KNOWN_LIMIT, SharedTokens  # noqa: PLC0415

    class Nothing:
        def values(self, name: str) -> tuple[str, ...]:
            return ()

    shared = SharedTokens(Nothing(), str, lambda: 0.0)
    assert not any(shared.accepts(f"pool-{n}", "token") for n in range(2 * KNOWN_LIMIT))
    assert len(shared._known) <= KNOWN_LIMIT
