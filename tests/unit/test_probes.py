"""The probes of the containers' health checks."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

import controller.probe
import workers.probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROBES = [
    pytest.param(controller.probe.main, "SETPOINT_PORT", "/healthz", id="dispatcher"),
    pytest.param(workers.probe.main, "SETPOINT_METRICS_PORT", "/metrics", id="worker"),
]


@contextmanager
def answering(path: str, status: int) -> Iterator[int]:
    """Answer one path with a status on a free port; give the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == path else 404)
            self.end_headers()
            self.wfile.write(b"the loop is stuck")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(("probe", "variable", "path"), PROBES)
@pytest.mark.parametrize(("status", "expected"), [pytest.param(200, 0, id="well"), pytest.param(503, 1, id="not well")])
def test_an_answer_decides(
    monkeypatch: pytest.MonkeyPatch, probe: Callable[[], int], variable: str, path: str, status: int, expected: int
) -> None:
    with answering(path, status) as port:
        monkeypatch.setenv(variable, str(port))
        assert probe() == expected


@pytest.mark.parametrize(("probe", "variable", "path"), PROBES)
@pytest.mark.parametrize("port", [pytest.param("1", id="nobody"), pytest.param("http", id="no port")])
def test_no_answer(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    probe: Callable[[], int],
    variable: str,
    path: str,
    port: str,
) -> None:
    monkeypatch.setenv(variable, port)
    assert probe() == 1
    assert variable in capsys.readouterr().err
