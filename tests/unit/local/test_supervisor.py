"""Keeping programs running, with real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from controller.local.supervisor import Program, Supervisor, until

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_SECONDS = 30.0
MODULE = "http.server"
LOCAL = ("0", "--bind", "127.0.0.1")


def test_what_cannot_be_started_is_started_later(tmp_path: Path) -> None:
    """As when the disk is full: it is tried again, and can be stopped meanwhile."""
    logs = tmp_path / "logs"
    supervisor = Supervisor(logs)
    try:
        with capture_logs() as told:
            supervisor.keep(Program("server", MODULE, LOCAL))
            until("a start has failed", lambda: bool(told), PATIENCE_SECONDS)
        assert told[0]["event"] == "cannot start; trying again"
        logs.mkdir()
        until("it runs", lambda: supervisor.pid("server") is not None, PATIENCE_SECONDS)
    finally:
        supervisor.stop(())


def test_a_stop_ends_although_nothing_can_be_started(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "missing")
    supervisor.keep(Program("server", MODULE, LOCAL))
    supervisor.stop(())
    assert supervisor.pid("server") is None
