"""Change the file of contexts: one writer at a time, and readers see the old file or the new one."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from controller.cli.target import Config, read_config, unknown_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LOCAL = "local"


def put(path: Path, name: str, context: Mapping[str, Any], *, choose: bool) -> None:
    """Write a context; it becomes the current one if chosen, or if there is none."""
    with _changing(path) as config:
        _write(config, config.current if config.current and not choose else name, {**config.contexts, name: context})


def remove(path: Path, name: str, url: str | None = None) -> None:
    """Take a context out, if it still leads to `url`; without any left the file goes too."""
    with _changing(path) as config:
        if name not in config.contexts or (url is not None and config.contexts[name]["url"] != url):
            return
        left = {other: context for other, context in config.contexts.items() if other != name}
        if not left:
            path.unlink()
            return
        _write(config, "" if config.current == name else config.current, left)


def choose(path: Path, name: str) -> None:
    """Make a context the current one; raise CliError naming those that there are."""
    with _changing(path) as config:
        if name not in config.contexts:
            raise unknown_context(config, name)
        _write(config, name, config.contexts)


@contextmanager
def _changing(path: Path) -> Iterator[Config]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The lock is a file of its own: the config itself is replaced, and a lock on it would be left behind.
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield read_config(path) if path.exists() else Config(path, "", {})
    finally:
        os.close(descriptor)


def _write(config: Config, current: str, contexts: Mapping[str, Mapping[str, Any]]) -> None:
    temporary = config.path.with_name(f"{config.path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        json.dump({"current": current, "contexts": contexts}, handle, indent=2)
    temporary.replace(config.path)
