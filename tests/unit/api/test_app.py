"""What a client is told when the dispatcher cannot answer it: whether to come again."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
from psycopg_pool import PoolTimeout
from starlette.routing import Route

from controller.api import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

PATIENCE_SECONDS = 60.0


@contextmanager
def serving(route: Route) -> Iterator[app.Server]:
    server = app.Server(app.build([route], lambda: None, lambda: None), "127.0.0.1", 0)
    server.start()
    try:
        yield server
    finally:
        server.stop(PATIENCE_SECONDS)


def get(server: app.Server) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{server.port}/it", timeout=PATIENCE_SECONDS, trust_env=False)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(psycopg.OperationalError("server closed the connection"), 503, id="connection lost"),
        pytest.param(psycopg.errors.AdminShutdown("terminating connection"), 503, id="connection cut"),
        pytest.param(PoolTimeout("no connection"), 503, id="no connection"),
        pytest.param(KeyError("a mistake of ours"), 500, id="anything else"),
    ],
)
def test_only_our_own_mistakes_are_500(error: Exception, code: int) -> None:
    async def fail(_: Request) -> Response:
        raise error

    with serving(Route("/it", fail)) as server:
        answer = get(server)
        assert (answer.status_code, answer.json()["kind"], answer.json()["code"]) == (code, "Status", code)


def test_a_request_that_outlasts_a_shutdown_is_told_to_come_again() -> None:
    asked = threading.Event()

    async def hang(_: Request) -> Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    with serving(Route("/it", hang)) as server, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(get, server)
        assert asked.wait(PATIENCE_SECONDS)
        server.stop(PATIENCE_SECONDS)
        answer = waiting.result(PATIENCE_SECONDS)
        assert (answer.status_code, answer.json()["message"]) == (503, "the dispatcher stops; try again")
