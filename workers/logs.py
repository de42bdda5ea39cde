"""An attempt's log: lines with time and stream, kept as chunk objects, also while the attempt runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from typing import TYPE_CHECKING, Protocol

import structlog

from crds.names import log_prefix

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from crds.names import AttemptId
    from workers.clock import Clock
    from workers.redaction import Redaction

_log = structlog.get_logger(__name__)

FLUSH_SECONDS = 1.0
MAX_LOG_CHARS = 10 * 2**20
MAX_LINE_BYTES = 64 * 2**10
# How long a report waits for the last chunk; an object store that is away must not hold up a result.
CLOSE_SECONDS = 15.0
PUTS_AT_ONCE = 8


class Chunk:
    """One object to be stored; `done` once it is stored, or given up."""

    def __init__(self, key: str, data: bytes) -> None:
        self.key = key
        self.data = data
        self._done = False
        self._changed = Condition()

    @property
    def done(self) -> bool:
        """Whether no more will happen to it."""
        return self._done

    def finish(self) -> None:
        """Say that no more will happen to it."""
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until it is done, at most `seconds`; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._done, timeout=seconds)


class Shipper(Protocol):
    """What stores chunks."""

    def ship(self, chunk: Chunk) -> None:
        """Store a chunk soon."""


class ChunkShipper:
    """Store the chunks of all attempts on a few threads; an attempt has at most one on its way."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._threads = ThreadPoolExecutor(PUTS_AT_ONCE, thread_name_prefix="logs")

    def ship(self, chunk: Chunk) -> None:
        """Store a chunk soon."""
        self._threads.submit(self._put, chunk)

    def _put(self, chunk: Chunk) -> None:
        try:
            # The store's client repeats a failed request by itself, within bounds.
            self._objects.put(chunk.key, chunk.data)
        except Exception:  # noqa: BLE001 - a log that cannot be kept must not fail the attempt
            _log.exception("log.lost", key=chunk.key, bytes=len(chunk.data))
        finally:
            chunk.finish()


class AttemptLog:
    """Gather what an attempt says, cut it into lines, redact it and ship it."""

    def __init__(self, attempt: AttemptId, redaction: Redaction, shipper: Shipper, clock: Clock) -> None:
        self._prefix = log_prefix(attempt)
        self._redaction = redaction
        self._shipper = shipper
        self._clock = clock
        self._partial: dict[str, bytes] = {}
        self._lines: list[str] = []
        self._chars = 0
        self._chunks = 0
        self._on_its_way: Chunk | None = None

    @property
    def waiting(self) -> bool:
        """Whether whole lines wait to be shipped."""
        return bool(self._lines)

    def write(self, stream: str, data: bytes) -> None:
        """Take bytes of a stream; whole lines become lines of the log."""
        *lines, rest = (self._partial.pop(stream, b"") + data).replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            self.line(stream, line.decode(errors="replace"))
        while len(rest) > MAX_LINE_BYTES:
            self.line(stream, rest[:MAX_LINE_BYTES].decode(errors="replace"))
            rest = rest[MAX_LINE_BYTES:]
        if rest:
            self._partial[stream] = rest

    def line(self, stream: str, text: str) -> None:
        """Add one line, until the log is full."""
        if self._chars > MAX_LOG_CHARS:
            return
        stamp = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = f"{stamp} {stream} {text}\n"
        self._chars += len(entry)
        if self._chars > MAX_LOG_CHARS:
            entry = f"{stamp} setpoint the log is truncated here: it reached {MAX_LOG_CHARS} characters\n"
        self._lines.append(entry)

    def flush(self) -> None:
        """Ship the whole lines, unless the chunk before is still on its way."""
        if not self._lines or (self._on_its_way is not None and not self._on_its_way.done):
            return
        text = self._redaction.clean("".join(self._lines))
        self._lines.clear()
        self._chunks += 1
        self._on_its_way = Chunk(f"{self._prefix}{self._chunks:06d}.log", text.encode())
        self._shipper.ship(self._on_its_way)

    def close(self) -> None:
        """Ship the rest and wait for it; return at once if there is nothing."""
        for stream, rest in self._partial.items():
            self.line(stream, rest.decode(errors="replace"))
        self._partial.clear()
        for _ in range(2):  # what is on its way, then what gathered meanwhile
            if self._on_its_way is not None and not self._on_its_way.wait(CLOSE_SECONDS):
                _log.warning("log.unfinished", prefix=self._prefix)
                return
            self.flush()
        if self._on_its_way is not None:
            self._on_its_way.wait(CLOSE_SECONDS)
