"""The HTTP server: health, metrics, the worker protocol, the resources."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

log = structlog.get_logger()
# Above the idle timeout of a load balancer in front (60 s), so that it never meets a connection that was just closed.
KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 5


def build(routes: Sequence[BaseRoute], healthy: Callable[[], str | None], ready: Callable[[], str | None]) -> Starlette:
    """Return the application. `healthy` and `ready` return what is wrong, or None.

    /healthz does not touch the database: else a failover would have every dispatcher replaced.
    """

    async def healthz(_: Request) -> Response:
        return _health(healthy())

    async def readyz(_: Request) -> Response:
        return _health(await asyncio.to_thread(ready))

    async def metrics(_: Request) -> Response:
        return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)

    own: list[BaseRoute] = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    return Starlette(routes=[*own, *routes], exception_handlers={500: _broken, Exception: _broken})


def _health(problem: str | None) -> Response:
    return PlainTextResponse(problem or "ok", status_code=503 if problem else 200)


async def _broken(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, error=f"{type(error).__name__}: {error}", exc_info=error)
    body = {
        "kind": "Status",
        "status": "Failure",
        "reason": "InternalError",
        "code": 500,
        "message": "see the dispatcher's log",
    }
    return JSONResponse(body, status_code=500)


class Server:
    """uvicorn in a thread of its own."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._socket = socket.create_server((host, port), reuse_port=False, backlog=1024)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
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
