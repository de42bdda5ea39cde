"""Code bundles by digest, fetched once and kept on disk."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from crds.bundle import extract
from crds.names import bundle_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obstore.store import ObjectStore

    from workers.clock import Clock

MAX_BUNDLES = 64
# Workers of one host may share the folder, so what was used lately stays, whoever used it.
KEEP_SECONDS = 3600.0
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Bundles:
    """A cache of extracted bundles; the least recently used go when there are too many."""

    def __init__(self, objects: ObjectStore, folder: Path, clock: Clock) -> None:
        self._objects = objects
        self._folder = folder
        self._clock = clock
        self._lock = Lock()
        self._used: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def use(self, digest: str) -> Iterator[Path]:
        """Give the bundle's folder, which stays at least until the end of the block."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no bundle digest")
        with self._lock:
            self._used[digest] += 1
        try:
            yield self._get(digest)
        finally:
            with self._lock:
                self._used[digest] -= 1

    def _get(self, digest: str) -> Path:
        path = self._folder / digest
        if not path.is_dir():
            data = self._objects.get(bundle_key(digest)).bytes()
            path = extract(bytes(data), digest, self._folder)
            self._evict()
        os.utime(path)
        return path

    def _evict(self) -> None:
        with self._lock:
            used = {digest for digest, count in self._used.items() if count}
            self._used = Counter({digest: self._used[digest] for digest in used})
        aged = sorted((path.stat().st_mtime, path) for path in self._folder.iterdir() if _DIGEST.fullmatch(path.name))
        recent = self._clock.now().timestamp() - KEEP_SECONDS
        for touched, path in aged[: max(0, len(aged) - MAX_BUNDLES)]:
            if path.name not in used and touched < recent:
                shutil.rmtree(path, ignore_errors=True)
