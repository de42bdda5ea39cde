"""Nothing that a worker starts outlives it, also when the worker is killed.

The kernel kills a child with its worker (Linux), but not what user code started. So one tiny process beside
the worker knows the process groups of all children, and kills them when its standard input ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; elsewhere the guard does."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of what this process's descendants leave behind, so that a daemon is still found (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Guard:
    """The worker's side: say which process groups there are."""

    def __init__(self) -> None:
        # Isolated and without packages: it starts in milliseconds, and nothing of the environment reaches it.
        command = [sys.executable, "-I", "-S", __file__]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, bufsize=0)
        if process.stdin is None:
            raise ValueError("the guard needs a pipe")
        self._process, self._stdin = process, process.stdin

    def watch(self, group: int) -> None:
        """Have a group killed when this process ends."""
        self._say(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Forget a group, before its number can be used again."""
        self._say(f"-{group}\n")

    def _say(self, line: str) -> None:
        # If someone killed the guard, the kernel's parent-death signal is left.
        with suppress(BrokenPipeError):
            self._stdin.write(line.encode())


def main() -> None:
    """Read groups until the worker is gone, then kill them."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        if line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
