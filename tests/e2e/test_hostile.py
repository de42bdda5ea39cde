"""Tasks that do what tasks should not do: each ends as it should, for a reason that helps, and harms nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest
from e2e_system import Up, eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.slow]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="module")
def run(system: Up, scratch: Path) -> str:
    name = system.trigger("hostile", scratch=scratch)
    assert system.ended(name, 150) == "Failed"
    return name


@pytest.mark.parametrize(
    ("task", "phase", "reason", "message"),
    [
        pytest.param("prints-50-mb", "Succeeded", "Succeeded", "", id="prints 50 MB"),
        pytest.param("forks", "Succeeded", "Succeeded", "", id="leaves grandchildren"),
        pytest.param("daemonizes", "Succeeded", "Succeeded", "", id="daemonizes"),
        pytest.param("eats-memory", "Failed", "OutOfMemory", "limit of 600 MiB", id="eats memory"),
        pytest.param("exits-3", "Failed", "UserError", "exited with code 3", id="os._exit(3)"),
        pytest.param("exits-0", "Failed", "UserError", "exited with code 0", id="os._exit(0)"),
        pytest.param("calls-sys-exit", "Failed", "UserError", "sys.exit(0)", id="sys.exit"),
        pytest.param("returns-10-mb", "Succeeded", "Succeeded", "", id="returns 10 MB"),
        pytest.param("returns-an-object", "Failed", "UserError", "is no JSON", id="returns no JSON"),
        pytest.param("closes-stdout", "Succeeded", "Succeeded", "", id="closes its streams"),
        pytest.param("closes-everything", "Failed", "AttemptsExhausted", "file descriptors", id="closes all files"),
        pytest.param("never-ends", "Failed", "TimedOut", "timeout of 3 s", id="ignores SIGTERM"),
        pytest.param("recurses", "Failed", "UserError", "recursion", id="recurses"),
        pytest.param("raises-base", "Failed", "UserError", "", id="KeyboardInterrupt"),
        pytest.param("prints-bytes", "Succeeded", "Succeeded", "", id="prints bytes"),
        pytest.param("cannot-be-imported", "Failed", "UserError", "this module is broken", id="import fails"),
        pytest.param("kills-its-parent", "Failed", "AttemptsExhausted", "exit code 137", id="kills its worker"),
    ],
)
def test_ends_as_it_should(system: Up, run: str, task: str, phase: str, reason: str, message: str) -> None:
    status = system.tasks(run)[task]
    assert (status["phase"], status["reason"]) == (phase, reason), status
    assert message in (status.get("message") or "")
    assert len(status["attempts"]) == 1


def test_no_process_is_left_of_them(system: Up, run: str) -> None:
    """What a task forked ends with it."""
    eventually("nothing sleeps any more", lambda: not _sleepers(system))


def test_a_large_output_is_kept_by_reference(system: Up, run: str) -> None:
    (output,) = system.tasks(run)["returns-10-mb"]["outputs"].values()
    (key,) = [value for value in output.values() if isinstance(value, str) and "/" in value]
    assert (system.data / "objects" / key).stat().st_size > 10_000_000


def test_others_still_run(system: Up, run: str) -> None:
    gate = system.gate("after-hostile")
    gate.open()
    runs = [system.trigger("chain", gate=gate.folder) for _ in range(4)]
    assert {system.ended(name) for name in runs} == {"Succeeded"}


def _sleepers(system: Up) -> list[list[str]]:
    found = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"]) if _ours(p, system)]
    return [words for words in found if "time.sleep(600)" in " ".join(words)]


def _ours(process: psutil.Process, system: Up) -> bool:
    try:
        return process.environ().get("TMPDIR", "").startswith(str(system.folder))
    except psutil.Error:
        return False
