"""Bind the lives of processes together, so that nothing outlives a killed parent.

Three means, because each alone leaves a gap:

- `watch`: a child reads an inherited pipe, which ends when the last holder of its other side died.
- `die_with_parent`: Linux kills a child when the thread that started it dies; start it from a lasting thread.
- `Guard`: a bystander process that kills whole process groups, grandchildren too, when its owner dies.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1

# Loaded here because nothing may be loaded between fork and exec.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def watch(fd: int, before_exit: Callable[[], None] | None = None) -> None:
    """Exit this process with status 1 when the pipe `fd` ends, after calling `before_exit`."""
    threading.Thread(target=_exit_at_end, args=(fd, before_exit), name="lifeline", daemon=True).start()


def _exit_at_end(fd: int, before_exit: Callable[[], None] | None) -> None:
    try:
        # Nobody writes; whatever comes is ignored until the pipe ends.
        while os.read(fd, 1):
            pass
        if before_exit is not None:
            before_exit()
    finally:
        os._exit(1)


def pipe() -> tuple[int, int]:
    """Return a pipe's (inheritable read end for the child's `watch`, write end to hold)."""
    read, write = os.pipe()
    os.set_inheritable(read, True)
    return read, write


def die_with_parent(expected_ppid: int | None = None, signum: int = signal.SIGKILL) -> None:
    """Have the kernel send `signum` to this process when the thread that started it dies (Linux only).

    Serves as a `preexec_fn`. Exits at once if the parent `expected_ppid` is already gone.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if expected_ppid is not None and os.getppid() != expected_ppid:
        os._exit(1)


class Guard:
    """A bystander process that signals the process groups in its care when its owner dies."""

    def __init__(self, signum: int = signal.SIGKILL) -> None:
        read, self._fd = os.pipe()
        # By path and isolated: it imports nothing of the project, so it starts quickly.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(int(signum))], stdin=read, start_new_session=True
        )
        os.close(read)

    def hold(self, group: int) -> None:
        """Take a process group into care."""
        self._tell(f"+{group}\n")

    def release(self, group: int) -> None:
        """Forget a process group, whose id may be given to another from now on."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the guard and, by it, what is still in its care."""
        os.close(self._fd)
        self._process.wait()

    def _tell(self, line: str) -> None:
        # A killed guard is no reason to fail: the other two means still hold.
        with suppress(OSError):
            os.write(self._fd, line.encode())


def _guard(signum: int) -> None:
    held: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        if line.startswith(b"+"):
            held.add(group)
        else:
            held.discard(group)
    for group in held:
        with suppress(OSError):
            os.killpg(group, signum)


if __name__ == "__main__":
    _guard(int(sys.argv[1]))
