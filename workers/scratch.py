"""Empty folders for attempts, which are gone with the worker."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK = ".lock"


class Scratch:
    """A locked folder of this process; what killed workers left behind is removed at the start."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder / name
        self._numbers = count(1)
        # One worker at a time: none sweeps a folder that another has made and not locked yet.
        starting = _locked(folder / _LOCK)
        _sweep(folder)
        self._folder.mkdir()
        # The kernel drops the lock with the process, however it ends.
        self._lock = _locked(self._folder / _LOCK)
        os.close(starting)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give an empty folder, and remove it with what is in it."""
        path = self._folder / str(next(self._numbers))
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _sweep(folder: Path) -> None:
    for left in folder.iterdir():
        if not left.is_dir():
            continue
        lock = os.open(left / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
