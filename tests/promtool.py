"""Prometheus's own checker: where it is, and how it is run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNPACKED = Path(__file__).resolve().parents[1] / "build" / "tools" / "usr" / "bin"
"""Where `make test` unpacks Debian's package, if the machine has no promtool of its own."""
PATIENCE_SECONDS = 120


def promtool() -> str:
    """Return the program; skip the test, saying why, if this machine has none."""
    found = shutil.which("promtool") or shutil.which("promtool", path=str(UNPACKED))
    if found is None:
        pytest.skip("no promtool here; install Prometheus (Debian: apt install prometheus)")
    return found


def run(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool and return what it said."""
    return subprocess.run(
        [promtool(), *words], input=stdin, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
