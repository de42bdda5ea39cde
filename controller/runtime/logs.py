"""The dispatcher's log: JSON lines on standard output."""

from __future__ import annotations

import os

from crds import loglines


def configure_logging(level: str) -> None:
    """Log JSON lines to standard output, those of libraries too, without secrets."""
    loglines.configure(level, {}, os.environ)
