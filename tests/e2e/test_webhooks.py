"""A webhook, and a task in a function: signed from outside, run without a worker, healed when the function dies."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import yaml
from e2e_system import Up, eventually
from test_examples import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e-own")]
SECRET = "setpoint/webhooks/notices"
SLOW = """\
apiVersion: setpoint.dev/v1
kind: Dag
metadata: {name: slow}
spec:
  params: {type: object, properties: {folder: {type: string}}}
  tasks: [{name: wait, runtime: lambda, timeout: 2m, with: {entrypoint: "slow:wait"}}]
"""
WAIT = """\
import os, pathlib, time

def wait(ctx, params):
    folder = pathlib.Path(params["folder"])
    (folder / f"begun-{ctx.run.number}").write_text(str(os.getppid()))
    while not (folder / "open").exists():
        time.sleep(0.05)
    return {"number": ctx.run.number}
"""


@pytest.fixture(scope="module")
def notices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    dags = tmp_path_factory.mktemp("dags")
    (dags / "pools.yaml").write_text((EXAMPLES / "pools.yaml").read_text())
    for name in ("dag.yaml", "notices.py"):
        (dags / "notices").mkdir(exist_ok=True)
        (dags / "notices" / name).write_text((EXAMPLES / "notices" / name).read_text())
    (dags / "slow").mkdir()
    (dags / "slow" / "dag.yaml").write_text(SLOW)
    (dags / "slow" / "slow.py").write_text(WAIT)
    up = Up(tmp_path_factory.mktemp("notices"), dags)
    try:
        yield up.start().applied("notices", "slow")
        assert up.stop() == 0
        assert up.leftovers() == []
    finally:
        up.clear()


def hooks(system: Up) -> str:
    found = re.search(r"webhooks +(http://\S+/hooks)", system.output.read_text())
    assert found is not None
    return found[1]


def secret(system: Up) -> str:
    def drawn() -> str | None:
        found = yaml.safe_load((system.data / "secrets.yaml").read_text()).get(SECRET)
        return str(found) if found else None

    return eventually("the webhook's secret is drawn", drawn)


def send(
    system: Up, body: Any, key: str | None = None, at: int | None = None, path: str = "notices/new"
) -> httpx.Response:
    """Send a webhook as its sender does."""
    data, t = json.dumps(body).encode(), at or int(time.time())
    digest = hmac.new((key or secret(system)).encode(), f"{t}.".encode() + data, hashlib.sha256).hexdigest()
    headers = {"X-Setpoint-Signature": f"t={t},v1={digest}"}
    return httpx.post(f"{hooks(system)}/{path}", content=data, headers=headers, timeout=60, trust_env=False)


def test_a_signed_request_runs_a_function(notices: Up) -> None:
    at = int(time.time())
    answer = send(notices, {"title": "two words"}, at=at)
    assert answer.status_code == 200, answer.text
    (run,) = answer.json()["runs"]
    assert run["created"]
    assert notices.ended(run["name"]) == "Succeeded"
    assert notices.tasks(run["name"])["read"]["outputs"] == {"title": "two words", "words": 2}

    # The sender, who lost the answer, sends the same again.
    again = send(notices, {"title": "two words"}, at=at)
    assert again.json()["runs"] == [{**run, "created": False}]


@pytest.mark.parametrize(
    ("body", "more", "code"),
    [
        pytest.param({"title": "x"}, {"key": "not the secret"}, 401, id="forged"),
        pytest.param({"title": "x"}, {"at": 1_700_000_000}, 401, id="replayed later"),
        pytest.param({"title": 5}, {}, 422, id="does not fit the schema"),
        pytest.param({"title": "x"}, {"path": "notices/old"}, 404, id="nobody listens"),
        pytest.param({"title": "x"}, {"path": "unknown"}, 404, id="no such webhook"),
        pytest.param({"title": "x" * 300_000}, {}, 413, id="too large"),
    ],
)
def test_what_is_refused_starts_nothing(notices: Up, body: Any, more: dict[str, Any], code: int) -> None:
    before = len(notices.objects("dagruns"))
    answer = send(notices, body, **more)
    assert answer.status_code == code, answer.text
    assert answer.json()["message"]
    assert len(notices.objects("dagruns")) == before


def test_a_function_that_is_killed_runs_again(notices: Up, tmp_path: Path) -> None:
    run = notices.trigger("slow", folder=str(tmp_path))

    def begun(number: int) -> int | None:
        file = tmp_path / f"begun-{number}"
        return int(file.read_text() or 0) if file.exists() else None

    host = psutil.Process(eventually("the function has begun", lambda: begun(1)))
    host.kill()
    eventually("it has begun again", lambda: begun(2))
    (tmp_path / "open").touch()
    assert notices.ended(run) == "Succeeded"
    assert notices.tasks(run)["wait"]["outputs"] == {"number": 2}
    (first, reason), _ = notices.attempts(run, "wait")
    assert (first, reason) == ("Lost", "FunctionFailed")
