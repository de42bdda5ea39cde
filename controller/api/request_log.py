"""Name each request, and say how it went: one line at debug, a warning if it failed because of us."""

from __future__ import annotations

import re
from secrets import token_hex
from time import perf_counter
from typing import TYPE_CHECKING

import structlog

from controller.api.addresses import peer_of, trusted

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from controller.api.addresses import Networks

log = structlog.get_logger()
HEADER = b"x-request-id"
# What a trusted proxy gave is kept if it is a name, so that their logs and ours can be joined.
_NAME = re.compile(rb"[\w.:-]{1,64}")


class RequestLog:
    """Middleware that gives every request an id, binds it to what is logged meanwhile, and answers with it."""

    def __init__(self, app: ASGIApp, proxies: Networks = ()) -> None:
        """`proxies`: whose ids are kept; a stranger could give many requests one id, and so confuse who reads them."""
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER, b"")
        known = _NAME.fullmatch(given) and trusted(peer_of(scope), self._proxies)
        name = given if known else token_hex(8).encode()
        scope.setdefault("state", {})["request_id"] = name.decode()
        status, started = 500, perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, name)]}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=name.decode()):
            try:
                await self._app(scope, receive, sending)
            finally:
                say = log.warning if status >= 500 else log.debug
                # The query may hold anything; the path names objects only.
                say(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    seconds=round(perf_counter() - started, 4),
                )
