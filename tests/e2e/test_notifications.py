"""A run fails in `setpoint up`, and whoever is on call gets one message."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from e2e_system import Up, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-own")]

FAILING = """\
kind: Dag
metadata: {name: failing, labels: {team: data}}
spec:
  defaults: {retries: {limit: 0}}
  tasks:
    - name: fail
      runtime: python
      with: {entrypoint: "fail:run"}
---
kind: Notifier
metadata: {name: oncall}
spec:
  on: [RunFailed]
  selector: {matchLabels: {team: data}}
  slack: {urlSecret: oncall}
"""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[str]]]:
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_a_failing_run_is_told_once(new_system: Callable[[], Up], hook: tuple[str, list[str]]) -> None:
    url, received = hook
    system = new_system()
    folder = system.dags / "failing"
    folder.mkdir()
    (folder / "dag.yaml").write_text(FAILING)
    (folder / "fail.py").write_text("def run():\n    raise ValueError('password=hunter2 is wrong')\n")
    system.start().applied("failing")

    def ready(reason: str) -> bool:
        conditions = system.client.get("notifiers", "oncall")["status"]["conditions"]
        return bool(conditions[0]["reason"] == reason)

    eventually("its secret is missed", lambda: ready("SecretMissing"))
    run = system.trigger("failing")
    assert system.ended(run) == "Failed"

    # Written as people do: by hand, while the system runs.
    secrets = system.data / "secrets.yaml"
    secrets.write_text(secrets.read_text() + f"setpoint/notifiers/oncall: {url}\n")
    eventually("the message comes", lambda: received, 150)
    eventually("it is recorded", lambda: system.client.get("notifiers", "oncall")["status"]["pending"] == 0)
    assert ready("Ready")
    (text,) = received
    assert text.startswith(f"failing failed: fail: Run {run} of DAG failing failed after")
    assert "hunter2" not in text
    assert system.stop() == 0
    assert system.leftovers() == []
