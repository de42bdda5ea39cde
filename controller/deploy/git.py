"""What git knows of the folder that is deployed; a folder without git is deployed too."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from io import BytesIO
from typing import TYPE_CHECKING

from controller.deploy.records import Revision
from controller.deploy.step import Refused

if TYPE_CHECKING:
    from pathlib import Path


def revision(folder: Path) -> Revision:
    """Return the commit that is checked out, and whether tracked files differ from it."""
    commit = _run(folder, "rev-parse", "HEAD")
    if commit is None:
        return Revision()
    changed = _run(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return Revision(commit.decode().strip(), dirty=bool(changed))


def extract(folder: Path, commit: str, into: Path) -> None:
    """Write a folder as it was at a commit; raise Refused if git has it no longer."""
    archive = _run(folder, "archive", "--format=tar", commit)
    if archive is None:
        raise Refused(f"git has no commit {commit[:12]} here; fetch it, then try again")
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(into, filter="data")


def _run(folder: Path, *arguments: str) -> bytes | None:
    program = shutil.which("git")
    if program is None:
        return None
    done = subprocess.run([program, "-C", str(folder), *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
