"""Count requests by their answers, and those that were refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.runtime.metrics import HTTP_REJECTED, HTTP_REQUESTS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REFUSALS = {401: "auth", 403: "auth", 413: "size", 429: "rate"}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OWN = frozenset({"/healthz", "/readyz", "/metrics"})


class RequestMetrics:
    """Middleware that counts every request but probes and scrapes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in _OWN:
            await self._app(scope, receive, send)
            return
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            # Whoever calls may invent methods; labels are ours.
            method = scope["method"] if scope["method"] in _METHODS else "other"
            HTTP_REQUESTS.labels(method, str(status)).inc()
            if status in _REFUSALS:
                HTTP_REJECTED.labels(_REFUSALS[status]).inc()
