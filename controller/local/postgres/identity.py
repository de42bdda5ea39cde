"""Run Postgres as a user that it accepts: it refuses to be root."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# The user and group "nobody" of Linux; inside a user namespace any number but 0 would do.
_NOBODY = 65534
_PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Identity:
    """How a command is started: behind `prefix`, and as `user` (None: as we are)."""

    prefix: tuple[str, ...] = ()
    user: int | None = None

    def own(self, *paths: Path) -> None:
        """Give the paths to the user."""
        if self.user is not None:
            for path in paths:
                os.chown(path, self.user, self.user)


def accepted_identity() -> Identity:
    """Return ourselves if we are not root, else root disguised by a user namespace, else nobody."""
    if os.geteuid() != 0:
        return Identity()
    disguise = ("unshare", "-U", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}")
    # A namespace needs no new owner of files and works below a 0700 home; some containers forbid it.
    if shutil.which("unshare") and _succeeds(*disguise, "true"):
        return Identity(prefix=disguise)
    return Identity(user=_NOBODY)


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
