"""A dispatcher behind a certificate of its own authority: the command and the workers trust that one, and nobody else."""

from __future__ import annotations

import ssl
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from controller.cli.client import Client
from controller.cli.errors import UnreachableError
from controller.cli.target import Target
from crds.protocol import HeartbeatRequest
from tests.integration import certificates
from workers.client import Dispatcher, Unreachable
from workers.pooltoken import FixedToken

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "dispatcher.setpoint-dev.internal"


class Answers(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b'{"kind": "DagList", "items": [], "metadata": {}, "attempts": {}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 - names that the server calls

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Serve with a certificate for a name that is not the address; give the authority and the port."""
    authority, file = certificates.make(tmp_path, NAME)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield authority, server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_command_trusts_the_authority_and_the_name(served: tuple[str, int], tmp_path: Path) -> None:
    authority, port = served
    target = Target(f"https://127.0.0.1:{port}", "t", "a test", authority, NAME)
    assert list(Client(target).items("dags")) == []

    other, _ = certificates.make(tmp_path, "other")
    for wrong in (
        replace(target, authority=None),
        replace(target, authority=other),
        replace(target, server_name=None),
        replace(target, server_name="dispatcher.setpoint-prod.internal"),
    ):
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            list(Client(wrong).items("dags"))


def test_a_worker_trusts_the_authority(served: tuple[str, int]) -> None:
    authority, port = served
    beat = HeartbeatRequest(worker="w", pool="python", attempts=[], slots=1)
    # The certificate is not for this address, so that only the authority can be told apart.
    for trusted, complaint in ((authority, "IP address mismatch"), (None, "unable to get local issuer")):
        with pytest.raises(Unreachable, match=complaint):
            Dispatcher(f"https://127.0.0.1:{port}", FixedToken("t"), trusted).heartbeat(beat)
