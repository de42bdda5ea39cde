"""The Lambda Runtime API for one child: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.

Each child has a port of its own, because nothing else in its requests tells who it is.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.local.lambda_.function import Outcome
from controller.local.serving import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD_LIMIT = 64 * 1024
_VERSION = "/2018-06-01/runtime"
_ACCEPTED = b'{"status":"OK"}'


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call on its way to the child, and where its outcome is awaited."""

    id: str
    payload: bytes
    headers: Mapping[str, str]
    outcome: asyncio.Future[Outcome]


@dataclass(slots=True)
class RuntimeApi:
    """Hands the child one invocation after another and takes back the outcomes."""

    _next: asyncio.Queue[Invocation] = field(default_factory=lambda: asyncio.Queue(1))
    _current: Invocation | None = None
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    ready: asyncio.Future[Outcome | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done when the child first asks for work (None) or reports why it cannot (its error)."""

    async def open(self) -> str:
        """Start listening; return the address for AWS_LAMBDA_RUNTIME_API."""
        self._server = await asyncio.start_server(self._serve, HOST, 0, limit=_HEAD_LIMIT)
        return f"{HOST}:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Stop listening and hang up; harmless when done before."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()

    def hand(self, invocation: Invocation) -> None:
        """Give the child its next invocation; it has at most one."""
        self._next.put_nowait(invocation)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        if connection is not None:
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    await self._answer_one(reader, writer)
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if (method, path) == ("GET", f"{_VERSION}/invocation/next"):
            invocation = await self._take()
            _write(writer, 200, invocation.payload, invocation.headers)
        else:
            _write(writer, 202 if self._settle(path, body) else 404, _ACCEPTED, {})
        await writer.drain()

    async def _take(self) -> Invocation:
        if not self.ready.done():
            self.ready.set_result(None)
        self._current = await self._next.get()
        return self._current

    def _settle(self, path: str, body: bytes) -> bool:
        """Take the outcome that a POST brings; return whether the path names something awaited."""
        if path == f"{_VERSION}/init/error":
            if not self.ready.done():
                self.ready.set_result(Outcome(body, failed=True))
            return True
        current = self._current
        if current is None or current.outcome.done():
            return False
        name = path.removeprefix(f"{_VERSION}/invocation/{current.id}/")
        if name not in {"response", "error"}:
            return False
        current.outcome.set_result(Outcome(body, failed=name == "error"))
        return True


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    lines = [
        f"HTTP/1.1 {status} -",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
