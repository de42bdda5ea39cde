"""Scale-in protection against an agent that answers as the ECS agent does."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from workers.clock import Clock
from workers.protection import RENEW_SECONDS, Protection

if TYPE_CHECKING:
    from collections.abc import Iterator

IDLE = 120.0
GRANTED = {"protection": {"ProtectionEnabled": True}}
BLOCKED = {"failure": {"Reason": "DEPLOYMENT_BLOCKED"}}
THROTTLED = {"error": {"Code": "ThrottlingException"}}


class HandClock(Clock):
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Agent:
    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = [GRANTED]
        self.asked: list[bool] = []


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def url(agent: Agent) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/task-protection/v1/state"
            agent.asked.append(body["ProtectionEnabled"])
            answer = agent.answers.pop(0) if len(agent.answers) > 1 else agent.answers[0]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_without_an_agent_nothing_is_asked() -> None:
    protection = Protection(None, IDLE, Clock())

    assert protection.ensure()
    protection.tend(busy=True)
    protection.drop()


@pytest.mark.parametrize(
    ("answers", "goes_on", "asked"),
    [
        pytest.param([GRANTED], True, 1, id="granted"),
        pytest.param([THROTTLED, GRANTED], True, 2, id="granted at the second try"),
        pytest.param([THROTTLED], True, 3, id="an agent in trouble holds up no work"),
        pytest.param([BLOCKED], False, 3, id="a deployment waits for this task"),
        pytest.param([{}], True, 3, id="an answer without meaning"),
    ],
)
def test_before_a_claim(agent: Agent, url: str, answers: list[dict[str, Any]], goes_on: bool, asked: int) -> None:
    agent.answers = answers

    assert Protection(url, IDLE, Clock()).ensure() is goes_on
    assert agent.asked == [True] * asked


def test_life_of_a_protection(agent: Agent, url: str) -> None:
    clock = HandClock()
    protection = Protection(url, IDLE, clock)
    protection.ensure()
    protection.ensure()
    assert agent.asked == [True]

    clock.seconds = RENEW_SECONDS
    protection.tend(busy=True)
    assert agent.asked == [True, True]

    clock.seconds += IDLE - 1
    protection.tend(busy=False)
    assert agent.asked == [True, True]

    clock.seconds += 1
    protection.tend(busy=False)
    protection.tend(busy=False)
    protection.drop()
    assert agent.asked == [True, True, False]


def test_agent_away() -> None:
    assert Protection("http://127.0.0.1:9", IDLE, Clock()).ensure()
