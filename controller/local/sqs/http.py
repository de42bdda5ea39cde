"""Just enough HTTP/1.1 for AWS SDKs on the same machine: keep-alive, bodies with a length, answers in turn.

A general HTTP server spends more time on a request than the queue behind it does.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count

# One request a connection, so this also bounds the polls that wait.
MAX_CONNECTIONS = 4_096
MAX_HEAD_BYTES = 65_536
# A message of 1 MiB may need six bytes of JSON for each of its own.
MAX_BODY_BYTES = 8 * 1_048_576
_HEAD_END = b"\r\n\r\n"
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_request_ids = count(1)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: JSON bytes, and headers besides the usual ones."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Exchange:
    """One request, to be answered by `respond`, soon or later; `gone` is set if the client left meanwhile."""

    target: str
    body: bytes
    respond: Callable[[Response], None]
    gone: Callable[[], None] | None = None


class HttpProtocol(asyncio.Protocol):
    """One connection; requests that a client sends ahead wait until the answers before them are out."""

    def __init__(self, handle: Callable[[Exchange], None], connections: set[asyncio.Transport]) -> None:
        self._handle = handle
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._current: Exchange | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio gives stream protocols no other
        if len(self._connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self._transport = transport
        self._connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell a request that is being waited for that nobody waits any more."""
        del exc
        if self._transport is not None:
            self._connections.discard(self._transport)
        self._transport = None
        if self._current is not None and self._current.gone is not None:
            self._current.gone()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and handle the request that they complete."""
        self._buffer += data
        self._advance()

    def _advance(self) -> None:
        while self._current is None and self._transport is not None:
            exchange = self._next_request()
            if exchange is None:
                return
            self._current = exchange
            self._handle(exchange)

    def _next_request(self) -> Exchange | None:
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self._refuse(431)
            return None
        headers = _headers(bytes(self._buffer[:end]))
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal():
            self._refuse(411)
            return None
        if int(length) > MAX_BODY_BYTES:
            self._refuse(413)
            return None
        start = end + len(_HEAD_END)
        stop = start + int(length)
        if len(self._buffer) < stop:
            if headers.get("expect") == "100-continue" and len(self._buffer) == start:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        body = bytes(self._buffer[start:stop])
        del self._buffer[:stop]
        return Exchange(headers.get("x-amz-target", ""), body, self._respond)

    def _respond(self, response: Response) -> None:
        self._current = None
        self._write(_encode(response))
        # A request that arrived meanwhile is next; it must not deepen the stack of this one.
        if self._buffer:
            asyncio.get_running_loop().call_soon(self._advance)

    def _refuse(self, status: int) -> None:
        """Answer what cannot be understood, and hang up: where the next request starts is unknown."""
        self._write(_encode(Response(b"{}", status, {"Connection": "close"})))
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _headers(head: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers


def _encode(response: Response) -> bytes:
    extra = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
    head = (
        f"Content-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: {next(_request_ids)}\r\n"
        f"Content-Length: {len(response.body)}\r\n{extra}\r\n"
    )
    return b"HTTP/1.1 %d %b\r\n%b%b" % (
        response.status,
        _REASONS[response.status],
        head.encode(),
        response.body,
    )
