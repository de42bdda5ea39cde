"""A rollback keeps the schema: the code of before the newest migration passes its own tests on today's schema."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIGRATIONS = Path("controller/store/migrations")
TESTS = (
    "tests/integration/test_core_runs.py",
    "tests/integration/test_core_delivery.py",
    "tests/integration/test_fence_commit.py",
    "tests/integration/test_api_runs.py",
)
SECONDS = 600


def git(*arguments: str) -> str:
    answer = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip(f"needs the project's git history: {answer.stderr.strip()}")
    return answer.stdout.strip()


def previous_revision() -> str:
    """Return the last commit that did not know the newest migration."""
    newest = max((ROOT / MIGRATIONS / "versions").glob("[0-9]*.py")).relative_to(ROOT)
    added = git("log", "--diff-filter=A", "--format=%H", "--", str(newest)).splitlines()
    return f"{added[-1]}^" if added else "HEAD"


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
def test_the_code_of_before_runs_on_the_schema_of_now(tmp_path: Path) -> None:
    revision = git("rev-parse", "--verify", previous_revision())
    packed = tmp_path / "before.tar"
    git("archive", f"--output={packed}", revision)
    before = tmp_path / "before"
    shutil.unpack_archive(packed, before)
    known = {file.name for file in (before / MIGRATIONS / "versions").iterdir()}
    shutil.copytree(ROOT / MIGRATIONS, before / MIGRATIONS, dirs_exist_ok=True)
    newer = {file.name for file in (before / MIGRATIONS / "versions").glob("*.py")} - known
    assert newer, "there is nothing to prove: the code of before knows every migration"

    # The installed packages are today's; those of before come first on the path.
    environment = {**os.environ, "PYTHONPATH": str(before)}
    asked = [sys.executable, "-c", "import controller; print(controller.__file__)"]
    found = subprocess.run(asked, cwd=before, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(before))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    answer = subprocess.run(
        command, cwd=before, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert answer.returncode == 0, answer.stdout[-5_000:]
    assert " passed" in answer.stdout
