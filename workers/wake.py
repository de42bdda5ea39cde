"""Waking a thread that waits in a selector."""

from __future__ import annotations

import os


class Wake:
    """A pipe that a selector waits for; the thread that owns it lives as long as the process."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """Return what the selector waits for."""
        return self._read

    def set(self) -> None:
        """Wake the thread, from any thread."""
        try:
            os.write(self._write, b"w")
        except BlockingIOError:
            return  # The pipe is full of wakes already.

    def clear(self) -> None:
        """Take the wakes."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            return
