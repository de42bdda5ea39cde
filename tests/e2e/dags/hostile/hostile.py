"""Functions that do what tasks should not do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.context import Context

LINE = "x" * 1023 + "\n"


def print_much(ctx: Context) -> None:
    """Print 50 MB."""
    for _ in range(50 * 1024):
        sys.stdout.write(LINE)


def fork_grandchildren(ctx: Context) -> None:
    """Leave processes behind that outlive the function."""
    for _ in range(3):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def daemonize(ctx: Context) -> None:
    """Leave a process behind that is in no group of ours and whose parent has ended."""
    code = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(600)"
    script = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}], stdout=open(sys.argv[1], 'w'))"
    )
    subprocess.run([sys.executable, "-c", script, str(Path(ctx.params["scratch"]) / "daemon")], check=True)


def eat_memory(ctx: Context) -> None:
    """Take memory without end."""
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1024)) * (8 * 1024))
        time.sleep(0.01)


def leave(ctx: Context) -> None:
    """Leave the process without a word."""
    os._exit(ctx.args["code"])


def call_exit(ctx: Context) -> None:
    """Leave by sys.exit."""
    sys.exit(0)


def return_much(ctx: Context) -> dict[str, str]:
    """Return 10 MB."""
    return {"much": "y" * 10_000_000}


def return_object(ctx: Context) -> dict[str, Any]:
    """Return what is no JSON."""
    return {"it": object()}


def close_streams(ctx: Context) -> None:
    """Close both streams."""
    sys.stdout.close()
    os.close(1)
    os.close(2)


def close_everything(ctx: Context) -> None:
    """Close every file descriptor there may be."""
    os.closerange(0, 4096)
    time.sleep(600)


def never_end(ctx: Context) -> None:
    """Loop for ever and listen to nobody."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def recurse(ctx: Context) -> None:
    """Recurse without end."""
    recurse(ctx)


def raise_base(ctx: Context) -> None:
    """Raise what few catch."""
    raise KeyboardInterrupt


def print_bytes(ctx: Context) -> None:
    """Print what is no text, and a line that never ends."""
    sys.stdout.buffer.write(bytes(range(256)) * 64)
    sys.stdout.buffer.write(b"z" * 3_000_000)


def kill_parent(ctx: Context) -> None:
    """Kill the worker."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
