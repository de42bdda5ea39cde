"""Log records of user code on their way into the attempt's log."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from workers.frames import Logged

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.channel import Channel

MAX_RECORD_CHARS = 64 * 2**10


class FrameHandler(logging.Handler):
    """Send records to the worker; a process that user code forked writes them to its standard error."""

    def __init__(self, channel: Channel, after: Callable[[], None]) -> None:
        super().__init__()
        self._channel = channel
        self._after = after
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            text = self.format(record)[:MAX_RECORD_CHARS].encode(errors="replace").decode()
            sent = self._channel.send(Logged(text))
        except Exception:  # noqa: BLE001 - as every handler of logging: the task goes on
            self.handleError(record)
            return
        if not sent:
            sys.stderr.write(text + "\n")
        self._after()
