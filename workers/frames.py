"""What a worker process and its child say to each other over one socket: length-prefixed JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from crds.login import DatabaseAuth
from crds.protocol import DatasetWrite, Grant, TaskError

HEADER_BYTES = 4
MAX_FRAME_BYTES = 64 * 2**20


class Run(msgspec.Struct, frozen=True, tag="run"):
    """To the child: run this attempt."""

    grant: Grant
    objects_url: str
    hot: str | None
    bundle: str | None
    workdir: str
    hot_auth: DatabaseAuth = DatabaseAuth.PASSWORD
    traceparent: str | None = None


class Taken(msgspec.Struct, frozen=True, tag="taken"):
    """From the child, before user code runs: it has read the command. Without it, another child may run it."""


class Progressed(msgspec.Struct, frozen=True, tag="progressed"):
    """From the child: how far the attempt is."""

    rows: int
    message: str


class Revealed(msgspec.Struct, frozen=True, tag="revealed"):
    """From the child, before user code sees it: a value that must not stand in logs."""

    value: str


class Logged(msgspec.Struct, frozen=True, tag="logged"):
    """From the child: a log record."""

    text: str


class Step(msgspec.Struct, frozen=True):
    """What the child did from `start` to `end`; `error` is the class of what it raised."""

    name: str
    start: datetime
    end: datetime
    error: str = ""


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """From the child: how the attempt ended, and whether the child can run another."""

    status: Literal["succeeded", "failed", "lost", "stale"]
    outputs: dict[str, Any] = {}
    writes: list[DatasetWrite] = []
    bookmark: Any = None
    metrics: dict[str, float] = {}
    error: TaskError | None = None
    reusable: bool = False
    resident_bytes: int = 0
    steps: list[Step] = []


Event = Taken | Progressed | Revealed | Logged | Finished

_events: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_commands = msgspec.json.Decoder(Run)
_encoder = msgspec.json.Encoder()


class BrokenStream(Exception):
    """The other side sent what is no frame."""


def encode(frame: Run | Event) -> bytes:
    """Return the frame's bytes."""
    body = _encoder.encode(frame)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes is above the limit of {MAX_FRAME_BYTES}")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def decode_command(body: bytes) -> Run:
    """Return the command of one frame."""
    return _commands.decode(body)


def frame_length(header: bytes | bytearray) -> int:
    """Return the length of the body that follows a header."""
    length = int.from_bytes(header, "big")
    if length > MAX_FRAME_BYTES:
        raise BrokenStream(f"a frame of {length} bytes is above the limit of {MAX_FRAME_BYTES}")
    return length


class EventReader:
    """Cut a stream of bytes into events."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that are complete; raise BrokenStream if the bytes are no frames."""
        self._buffer += data
        events: list[Event] = []
        while len(self._buffer) >= HEADER_BYTES:
            end = HEADER_BYTES + frame_length(self._buffer[:HEADER_BYTES])
            if len(self._buffer) < end:
                break
            body = bytes(self._buffer[HEADER_BYTES:end])
            del self._buffer[:end]
            try:
                events.append(_events.decode(body))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise BrokenStream(str(error)) from error
        return events
