"""The child's end of its socket to the worker, and how SIGTERM reaches user code."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

from workers.frames import HEADER_BYTES, Run, decode_command, encode, frame_length

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from workers.frames import Event


class Stopped(BaseException):
    """The worker asked the attempt to stop. No `except Exception` of user code holds it up."""


class Channel:
    """Read commands and send events; a process that user code forked can send nothing."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self.sending = False

    def receive(self) -> Run | None:
        """Wait for a command; return None when the worker is gone."""
        header = self._read(HEADER_BYTES)
        if header is None:
            return None
        body = self._read(frame_length(header))
        return None if body is None else decode_command(body)

    def send(self, event: Event) -> bool:
        """Send one event; return whether this is the process that may."""
        if os.getpid() != self._owner:
            return False
        frame = encode(event)
        main = threading.current_thread() is threading.main_thread()
        with self._lock:
            if main:
                self.sending = True
            try:
                self._connection.sendall(frame)
            finally:
                if main:
                    self.sending = False
        return True

    def _read(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                return None
            data += part
        return bytes(data)


class Termination:
    """Turn SIGTERM into an exception in user code, so that its `finally` blocks run."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._owner = os.getpid()
        self._asked = False
        self._guarding = False

    def install(self) -> None:
        """Handle SIGTERM; again before each attempt, since user code may have set a handler."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def guard(self, work: Callable[[], None]) -> None:
        """Run user code; SIGTERM raises Stopped in it."""
        self._asked = False
        self._guarding = True
        try:
            work()
        finally:
            self._guarding = False

    def raise_deferred(self) -> None:
        """Raise Stopped if SIGTERM came while an event was being sent."""
        if self._asked and self._guarding:
            raise Stopped

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # A process that user code forked dies as it would without us.
            os._exit(128 + signal.SIGTERM)
        if not self._guarding:
            return  # It came too late: the attempt is over.
        self._asked = True
        # A half-sent event would make nonsense of all that follow; the sender raises when it is out.
        if not self._channel.sending:
            raise Stopped
