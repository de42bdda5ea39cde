"""Requests that are broken below HTTP's surface: the server refuses or drops them, and goes on serving others."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.hostile.hostile_world import DEADLINE_SECONDS, POOL_TOKENS, ROLE_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hostile.hostile_world import Doors

ADMIN = f"Authorization: Bearer {ROLE_TOKENS['admin']}\r\n".encode()
POOL = f"Authorization: Bearer {POOL_TOKENS['python'][0]}\r\n".encode()
APPLY = b"POST /apis/setpoint.dev/v1/namespaces/default/apply HTTP/1.1\r\nHost: x\r\n"
DAGS = b"GET /apis/setpoint.dev/v1/namespaces/default/dags HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
CLAIMS = b"POST /v1/claims HTTP/1.1\r\nHost: x\r\n"
SLOW_CLIENTS = 30


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        pytest.param(APPLY + ADMIN + b"Content-Length: -1\r\n\r\n{}", 400, id="a negative length"),
        pytest.param(APPLY + ADMIN + b"Content-Length: 1e9\r\n\r\n{}", 400, id="a length that is no number"),
        pytest.param(APPLY + ADMIN + b"Content-Length: 99999999999999999999\r\n\r\n{}", 400, id="a length of 67 bits"),
        pytest.param(APPLY + ADMIN + b"Content-Length: 9999999999\r\n\r\n{}", 413, id="a length of 10 GB"),
        pytest.param(CLAIMS + POOL + b"Content-Length: 9999999999\r\n\r\n{}", 413, id="a claim of 10 GB"),
        pytest.param(
            APPLY + ADMIN + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", 400, id="two lengths that differ"
        ),
        pytest.param(
            APPLY + ADMIN + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            id="length and chunks",
        ),
        pytest.param(APPLY + ADMIN + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", 400, id="a chunk of no size"),
        pytest.param(
            APPLY + ADMIN + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n", 400, id="a chunk of 72 bits"
        ),
        pytest.param(DAGS + ADMIN + b"X-A: a\r\n b\r\n\r\n", 400, id="a folded header"),
        pytest.param(DAGS + ADMIN + b"X-A: a\x00b\r\n\r\n", 400, id="NUL in a header"),
        pytest.param(b"GET /openapi.json HTTP/9.9\r\nHost: x\r\n\r\n", 400, id="a version that is none"),
        pytest.param(b"BREW /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="a method that is none"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400, id="TLS"),
        pytest.param(b"\0" * 4096, 400, id="zeroes"),
        pytest.param(
            b"GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nHost: x\r\n\r\n", 404, id="a proxy request"
        ),
        pytest.param(b"TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + ADMIN + b"\r\n", 404, id="TRACE"),
        pytest.param(b"DELETE /v1/claims HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, id="another method"),
    ],
)
def test_broken_requests(unchanged: Doors, request_: bytes, code: int) -> None:
    answer = unchanged.raw(request_)
    assert answer.startswith(b"HTTP/1.1 %d " % code), answer[:300]
    assert not [secret for secret in unchanged.told if secret.encode() in answer]
    assert unchanged.call("GET", "/dags").status_code == 200


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(APPLY + ADMIN + b"Content-Length: 1000\r\n\r\n{", id="apply"),
        pytest.param(CLAIMS + POOL + b"Content-Length: 1000\r\n\r\n{", id="claim"),
    ],
)
def test_a_body_that_ends_too_early_is_no_failure_of_ours(unchanged: Doors, request_: bytes) -> None:
    """The module's log is looked at in the end."""
    unchanged.raw(request_, leave=True)
    assert unchanged.call("GET", "/dags").status_code == 200


@pytest.mark.parametrize("media_type", ["text/xml", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_bodys_type_is_what_it_holds(unchanged: Doors, media_type: str) -> None:
    """Nothing is guessed from the header: what is JSON is read, what is none is refused."""
    headers = {"Content-Type": media_type}
    unchanged.refused(unchanged.call("POST", "/apply", b"<a>&b=1</a>", headers=headers))


def test_nothing_of_a_request_becomes_a_header_of_the_answer(unchanged: Doors) -> None:
    path = b"/apis/setpoint.dev/v1/namespaces/default/dags/a%0d%0aSet-Cookie:%20b=1"
    answer = unchanged.raw(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + ADMIN + b"\r\n")
    head, _, _ = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"Set-Cookie" not in head


def test_a_query_of_a_megabyte(unchanged: Doors) -> None:
    request = b"GET /apis/setpoint.dev/v1/namespaces/default/dags?labelSelector=" + b"a" * 2**20 + b" HTTP/1.1\r\n"
    answer = unchanged.raw(request + b"Host: x\r\nConnection: close\r\n" + ADMIN + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert len(answer) < 4096


@pytest.fixture
def slow(doors: Doors) -> Iterator[list[socket.socket]]:
    """Clients that have begun a body and send no more of it."""
    clients = [socket.create_connection(("127.0.0.1", doors.port), DEADLINE_SECONDS) for _ in range(SLOW_CLIENTS)]
    for client in clients:
        client.sendall(APPLY + ADMIN + b"Content-Length: 100000\r\n\r\n{")
    yield clients
    for client in clients:
        client.close()


def test_slow_bodies_hold_nobody_up(unchanged: Doors, slow: list[socket.socket]) -> None:
    """They are more than there are threads and connections to the database."""
    for _ in range(3):
        assert unchanged.call("GET", "/dags").status_code == 200
        assert unchanged.work("/v1/heartbeats", {"worker": "", "pool": "python", "attempts": []}).status_code == 400
    assert len(slow) == SLOW_CLIENTS
