"""Serve an ASGI application on 127.0.0.1 as a process of local mode."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

HOST = "127.0.0.1"
_BACKLOG = 512
# Long polls may be open when we are told to stop; nobody gains by waiting for them.
_GRACEFUL_SECONDS = 1


def bind(port: int) -> socket.socket:
    """Return a socket bound to the port; 0 picks a free one."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


def url_of(bound: socket.socket) -> str:
    """Return the URL under which a bound socket is served."""
    return f"http://{HOST}:{bound.getsockname()[1]}"


def serve(make_app: Callable[[], ASGIApp], bound: socket.socket) -> None:
    """Serve what `make_app` makes until SIGTERM or SIGINT; say `listening on URL` on stdout when ready."""
    # uvicorn raises the signal that stopped it once more when it is done.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    config = uvicorn.Config(
        make_app,
        factory=True,
        # The programs that local ECS and Lambda start are children of asyncio's own loop; uvloop reports failures of
        # starting them without saying which file is missing.
        loop="asyncio",
        lifespan="on",
        log_level="warning",
        access_log=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )
    _Announcing(config).run(sockets=[bound])


class _Announcing(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for bound in sockets or ():
            sys.stdout.write(f"listening on {url_of(bound)}\n")
        sys.stdout.flush()
