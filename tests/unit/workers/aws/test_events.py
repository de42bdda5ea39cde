"""Bringing an event to the dispatcher: what is repeated, what is not, and for how long."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from workers.aws.events import TRIES, Away, Events
from workers.clock import Clock, Draw
from workers.pooltoken import FixedToken

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

EVENT = {"type": "cron"}
LOST = 0


class Soon(Draw):
    """Waits that take no time."""

    def jitter(self, limit: float) -> float:
        return 0.0


class Server(HTTPServer):
    """Answers with the statuses it is given, the last one again and again; keeps what it was sent."""

    def __init__(self, statuses: Sequence[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = list(statuses)
        self.seen: list[tuple[str, str | None, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, self.headers["Authorization"], body))
        statuses = self.server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        if status == LOST:
            return
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b'{"message": "so it is"}')

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(*statuses: int, tls: ssl.SSLContext | None = None) -> Iterator[tuple[Server, str]]:
    with Server(statuses) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server, f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()


def events(url: str, authority: str = "") -> Events:
    return Events(url, authority, FixedToken("token"), Clock(), Soon())


@pytest.mark.parametrize(
    ("statuses", "status", "tries"),
    [
        pytest.param([202], 202, 1, id="at once"),
        pytest.param([503, 500, 202], 202, 3, id="failures of the server"),
        pytest.param([LOST, 202], 202, 2, id="a lost answer"),
        pytest.param([401, 202], 202, 2, id="a token that was rotated"),
        pytest.param([429, 202], 202, 2, id="too many at once"),
        pytest.param([422], 422, 1, id="what is wrong stays wrong"),
    ],
)
def test_what_is_repeated(statuses: list[int], status: int, tries: int) -> None:
    with serving(*statuses) as (server, url):
        assert events(url).post(EVENT, 30).status == status
    assert server.seen == [("/v1/events", "Bearer token", b'{"type":"cron"}')] * tries


def test_it_ends_after_some_tries() -> None:
    with serving(503) as (server, url), pytest.raises(Away, match="503"):
        events(url).post(EVENT, 30)
    assert len(server.seen) == TRIES


def test_without_time_nothing_is_tried() -> None:
    with serving(202) as (server, url), pytest.raises(Away):
        events(url).post(EVENT, 0)
    assert not server.seen


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path.with_name("ca.pem"))),
        ],
        check=True,
        capture_output=True,
    )
    return path


def test_the_authority_that_is_given_is_trusted_and_no_other(certificate: Path) -> None:
    authority = certificate.with_name("ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority, certificate)
    with serving(202, tls=tls) as (server, url):
        assert events(url, authority.read_text()).post(EVENT, 30).status == 202
        with pytest.raises(Away, match="CERTIFICATE_VERIFY_FAILED"):
            events(url).post(EVENT, 30)
    assert len(server.seen) == 1
