"""The process that runs attempts, one at a time: `python -m workers.child PARENT SOCKET`."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys

from workers.guard import adopt_orphans, die_with


def main() -> None:
    """Load what most attempts need, then run what the worker sends, until it closes the socket."""
    parent, descriptor = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    adopt_orphans()
    faulthandler.enable()
    # User code may send itself a Ctrl-C: an exception there, never our end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    # Imported late: from here on, whatever goes wrong is seen by the worker.
    from workers.channel import Channel, Termination  # noqa: PLC0415
    from workers.execution import Execution  # noqa: PLC0415
    from workers.frames import Taken  # noqa: PLC0415

    channel = Channel(connection)
    termination = Termination(channel)
    termination.install()
    execution = Execution(channel, termination)
    execution.warm()
    logging.captureWarnings(True)
    while (command := channel.receive()) is not None:
        channel.send(Taken())
        channel.send(execution.run(command))
    # Threads of user code may still run; nothing is left to be done for them.
    os._exit(0)


if __name__ == "__main__":
    main()
