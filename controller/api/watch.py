"""Watches: newline-delimited JSON of what changes, found by looking again and again.

A watch ends after some time, or when its client leaves; whoever wants more begins anew. An empty line now and then
keeps the connection alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import psycopg
from psycopg_pool import PoolTimeout
from starlette.responses import StreamingResponse

from controller.api.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from controller.api.endpoint import Share
    from controller.api.objects import Object

LOOK_SECONDS = 0.7
KEEP_ALIVE_SECONDS = 15.0
WATCH_SECONDS = 1_800.0
FOLLOW_SECONDS = 86_400.0
MAX_STREAMS = 100
MAX_STREAMS_OF_ONE = 40
"""The most streams of one caller, so that others' find room."""


class Stream:
    """A stream of lines that holds a thread only while it looks."""

    def __init__(
        self, share: Share, look: Callable[[], Iterable[bytes] | None], longest: float = WATCH_SECONDS
    ) -> None:
        """`look` returns the next pieces, an empty iterable if there is nothing new, or None at the end."""
        self._share = share
        self._look = look
        self._longest = longest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield what each look finds."""
        streams, name = self._share.threads.streams, self._share.name
        streams[name] += 1
        started = quiet_since = anyio.current_time()
        try:
            while anyio.current_time() - started < self._longest:
                try:
                    pieces = await self._share.look(self._patiently)
                except RefusedError:
                    # The caller's token has ended meanwhile, and with it what it opened.
                    return
                if pieces is None:
                    return
                for piece in pieces:
                    quiet_since = anyio.current_time()
                    yield piece
                if anyio.current_time() - quiet_since >= KEEP_ALIVE_SECONDS:
                    quiet_since = anyio.current_time()
                    yield b"\n"
                await anyio.sleep(LOOK_SECONDS)
        finally:
            streams[name] -= 1
            if not streams[name]:
                del streams[name]

    def _patiently(self) -> Iterable[bytes] | None:
        """Look; a database that is away for a moment only has nothing new."""
        try:
            return self._look()
        except (psycopg.OperationalError, PoolTimeout):
            return ()

    def response(self, media_type: str) -> StreamingResponse:
        """Return the answer that streams; raise RefusedError if too many are open."""
        streams = self._share.threads.streams
        if streams.total() >= MAX_STREAMS:
            raise RefusedError(429, "TooManyRequests", f"{MAX_STREAMS} streams are open; close one or try later")
        if streams[self._share.name] >= MAX_STREAMS_OF_ONE:
            text = f"{self._share.name} has {MAX_STREAMS_OF_ONE} streams open; close one"
            raise RefusedError(429, "TooManyRequests", text)
        # Proxies must not collect what is meant to be seen at once.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self.__aiter__(), media_type=media_type, headers=headers)


class Changes:
    """What of a list of objects is new, changed or gone since the last look."""

    def __init__(self, *, deletable: bool) -> None:
        self._seen: dict[str, tuple[bytes, Object]] = {}
        self._deletable = deletable

    def since(self, objects: Iterable[Object]) -> list[bytes]:
        """Return a line for each difference to the objects that were given before."""
        lines = []
        names = set()
        for item in objects:
            name = item["metadata"]["name"]
            names.add(name)
            encoded = msgspec.json.encode(item)
            known = self._seen.get(name)
            if known is None or known[0] != encoded:
                self._seen[name] = (encoded, item)
                lines.append(line("MODIFIED" if known else "ADDED", item))
        gone = [name for name in self._seen if name not in names] if self._deletable else []
        return [*lines, *(line("DELETED", self._seen.pop(name)[1]) for name in gone)]


def line(type_: str, item: Any) -> bytes:
    """Return one line of a watch."""
    return msgspec.json.encode({"type": type_, "object": item}) + b"\n"
