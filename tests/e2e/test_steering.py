"""What people do to runs, what retries and timeouts do, what logs show while a task runs, and what secrets do not show."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from e2e_system import COMMAND, Up, eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]
PASSWORD = "correct-horse-battery-staple"


@pytest.mark.pain("T23")
def test_cancel(system: Up) -> None:
    gate = system.gate("cancel")
    run = system.trigger("chain", gate=gate.folder)
    child = gate.begun("second")
    system.client.post("dagruns", run, "cancel")
    assert system.ended(run) == "Cancelled"
    phases = {task: status["phase"] for task, status in system.tasks(run).items()}
    assert phases == {"first": "Succeeded", "second": "Cancelled", "third": "Cancelled"}
    gate.open()
    assert system.effects(run) == [("first", 1)]
    assert "CancelRequested" in {reason for reason, _ in system.events(run)}
    assert not (gate.folder / "second.1.passed").exists() or not child.is_running()


def test_retry_of_a_failed_run(system: Up) -> None:
    gate = system.gate("retry")
    run = system.trigger("mended", gate=gate.folder)
    assert system.ended(run) == "Failed"
    phases = {task: status["phase"] for task, status in system.tasks(run).items()}
    assert phases == {"before": "Succeeded", "broken": "Failed", "after": "UpstreamFailed"}
    assert any(reason == "UserError" and "still broken" in text for reason, text in system.events(run))

    (gate.folder / "repaired").touch()
    system.client.post("dagruns", run, "retry", body={})
    assert system.ended(run) == "Succeeded"
    assert system.effects(run) == [("after", 1), ("before", 1), ("broken", 2)]
    assert "RetryRequested" in {reason for reason, _ in system.events(run)}


def test_retries_with_backoff(system: Up) -> None:
    run = system.trigger("stubborn")
    assert system.ended(run) == "Succeeded"
    assert system.effects(run) == [("work", 3)]
    assert [phase for phase, _ in system.attempts(run, "work")] == ["Failed", "Failed", "Succeeded"]
    assert sum("tried again at" in text for _, text in system.events(run)) == 2


def test_timeouts(system: Up) -> None:
    run = system.trigger("endless")
    assert system.ended(run) == "Failed"
    assert system.attempts(run, "polite") == [("TimedOut", "TimedOut")]
    assert system.attempts(run, "deaf") == [("TimedOut", "TimedOut")]
    assert system.effects(run) == []


def test_a_paused_run_starts_nothing_new(system: Up) -> None:
    gate = system.gate("pause-run")
    run = system.trigger("chain", gate=gate.folder)
    gate.begun("second")
    system.client.post("dagruns", run, "pause")
    gate.open()
    eventually("what was active ends", lambda: system.tasks(run)["second"]["phase"] == "Succeeded")
    assert system.run(run)["status"]["phase"] == "Running"
    assert system.tasks(run)["third"]["attempts"] == []
    system.client.post("dagruns", run, "resume")
    assert system.ended(run) == "Succeeded"
    assert system.effects(run) == [("first", 1), ("second", 1), ("third", 1)]


def test_a_paused_dag_admits_nothing(system: Up) -> None:
    gate = system.gate("pause-dag")
    gate.open()
    system.client.post("dags", "gated", "pause")
    try:
        run = system.trigger("gated", gate=gate.folder)
        other = system.trigger("patient", gate=gate.folder)
        assert system.ended(other) == "Succeeded"
        assert system.run(run)["status"]["phase"] == "Pending"
    finally:
        system.client.post("dags", "gated", "resume")
    assert system.ended(run) == "Succeeded"


def test_logs_are_shown_while_the_task_runs(system: Up) -> None:
    gate = system.gate("logs")
    run = system.trigger("talk", gate=gate.folder)
    gate.begun("speak")
    shown = gate.folder / "shown"
    with shown.open("wb") as output:
        follower = subprocess.Popen([str(COMMAND), "logs", "-f", f"run/{run}"], env=system.environment, stdout=output)
    try:
        eventually("it shows what was said", lambda: "out before the gate" in shown.read_text())
        eventually("it shows what was logged", lambda: "logged before the gate" in shown.read_text())
        assert "behind the gate" not in shown.read_text()
        gate.open()
        assert follower.wait(60) == 0
    finally:
        follower.kill()
        follower.wait()
    assert "speak | " in shown.read_text()
    assert "err behind the gate" in shown.read_text()


def test_a_secret_reaches_its_task_and_nothing_else(system: Up) -> None:
    secrets = system.data / "secrets.yaml"
    entries = yaml.safe_load(secrets.read_text())
    secrets.write_text(yaml.safe_dump(entries | {"lab/password": PASSWORD}))
    run = system.trigger("secretive")
    assert system.ended(run) == "Succeeded"
    assert system.tasks(run)["leak"]["outputs"] == {"length": len(PASSWORD)}
    assert any(reason == "UserError" and "was refused" in text for reason, text in system.events(run))
    shown = subprocess.run(
        [str(COMMAND), "logs", f"task/{run}.leak", "--attempt=1"],
        env=system.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "password=" in shown.stdout

    assert PASSWORD.encode() in secrets.read_bytes()
    found = [name for name in _files_with(system.data, PASSWORD.encode()) if name != "secrets.yaml"]
    assert found == []


def _files_with(folder: Path, secret: bytes) -> list[str]:
    """Return which files hold it: of the object store, of all processes' logs, of the database (its WAL has all rows)."""
    found = []
    for path in folder.rglob("*"):
        # Postgres removes files while we look.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and secret in path.read_bytes():
                found.append(str(path.relative_to(folder)))
    return found
