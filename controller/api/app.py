"""The HTTP server: health, metrics, the worker protocol, the resources."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import psycopg
import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from controller.api.request_log import RequestLog
from controller.api.request_metrics import RequestMetrics
from controller.api.slow import PatientProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from controller.api.addresses import Networks

log = structlog.get_logger()
# Above the idle timeout of a load balancer in front (60 s), so that it never meets a connection that was just closed.
KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 5


def build(
    routes: Sequence[BaseRoute],
    healthy: Callable[[], str | None],
    ready: Callable[[], str | None],
    proxies: Networks = (),
) -> Starlette:
    """Return the application. `healthy` and `ready` return what is wrong, or None; the ids of `proxies` are believed.

    /healthz does not touch the database: else a failover would have every dispatcher replaced.
    """

    async def healthz(_: Request) -> Response:
        return _health(healthy())

    async def readyz(_: Request) -> Response:
        return _health(await asyncio.to_thread(ready))

    async def metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)

    own: list[BaseRoute] = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    return Starlette(
        routes=[*own, *routes],
        exception_handlers={Exception: _broken, psycopg.OperationalError: _away, PoolTimeout: _away},
        middleware=[Middleware(RequestLog, proxies=proxies), Middleware(RequestMetrics), Middleware(_CutOff)],
    )


def _health(problem: str | None) -> Response:
    return PlainTextResponse(problem or "ok", status_code=503 if problem else 200)


async def _broken(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, error=f"{type(error).__name__}: {error}", exc_info=error)
    return _failure(500, "InternalError", "see the dispatcher's log")


async def _away(request: Request, error: Exception) -> Response:
    """Say that the database is away: nobody's fault, so no traceback, and whoever asked shall come again."""
    log.warning("no database", path=request.url.path, error=f"{type(error).__name__}: {error}")
    return _failure(503, "ServiceUnavailable", "the database does not answer just now; try again")


def _failure(code: int, reason: str, message: str) -> Response:
    body = {"kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": message}
    return JSONResponse(body, status_code=code)


class _CutOff:
    """Have requests that the end of a shutdown cuts off try again elsewhere; uvicorn itself would say 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            if begun:
                raise
            await _failure(503, "ServiceUnavailable", "the dispatcher stops; try again")(scope, receive, send)


class Server:
    """uvicorn in a thread of its own."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._socket = socket.create_server((host, port), reuse_port=False, backlog=1024)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=PatientProtocol,
            # Whom to believe is ours to say: uvicorn would trust every process of this machine.
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def port(self) -> int:
        """Return the port that is listened on."""
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Finish the requests under way, then end."""
        self._server.should_exit = True
        self._thread.join(timeout)
        self._server.force_exit = True

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])
