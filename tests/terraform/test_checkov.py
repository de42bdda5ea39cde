"""checkov finds nothing wrong in `terraform/`, and whatever it was told to skip was skipped for a reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.terraform.cloud.terraform import ROOT

# Fewer letters than this say no more than that somebody wanted silence.
REASON_LETTERS = 15
_SKIP = re.compile(r"#\s*checkov:skip\s*=\s*(?P<check>\w+)\s*(?::\s*(?P<reason>.*))?$")


def _checkov() -> Path | None:
    found = Path(os.environ.get("CHECKOV") or ROOT / ".venv-checkov/bin/checkov")
    return found if found.exists() else None


def _skips() -> list[tuple[str, str, str]]:
    return [
        (f"{path.relative_to(ROOT)}:{number}", match["check"], (match["reason"] or "").strip())
        for path in sorted((ROOT / "terraform").rglob("*.tf"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := _SKIP.search(line))
    ]


def test_every_skip_has_a_reason() -> None:
    assert not [(where, check) for where, check, reason in _skips() if len(reason) < REASON_LETTERS]


@pytest.mark.timeout(600)
def test_checkov_finds_nothing() -> None:
    checkov = _checkov()
    if checkov is None:
        pytest.skip("no checkov: `make test` installs it (or name one by CHECKOV)")
    done = subprocess.run(
        [checkov, "--directory", ROOT / "terraform", "--framework=terraform", "--compact", "--quiet", "--output=json"],
        # It would ask its maker's server for the severity of each finding.
        env={**os.environ, "BC_SKIP_MAPPING": "TRUE", "LOG_LEVEL": "ERROR"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    failed = [f"{f['check_id']} {f['resource']} {f['check_name']}" for f in report["results"]["failed_checks"]]
    assert not failed
    assert not report["summary"]["parsing_errors"]
    assert report["summary"]["passed"], "it looked at nothing"
