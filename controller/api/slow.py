"""Close connections that take too long to say what they want: uvicorn itself waits for ever for the end of headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from asyncio import TimerHandle

HEADER_SECONDS = 20.0
"""How long a request's line and headers may take, from the connection or their first byte on."""


class PatientProtocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, with a bound on the time until a request's headers are complete."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what begins a further request has as long as the first."""
        if self._late is None and (self.cycle is None or self.cycle.response_complete):
            self._wait()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Serve the request."""
        self._arrived()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEADER_SECONDS, self._close)

    def _arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        self.transport.close()
