"""Each module and each environment by itself: formatted, valid, and right by its own tests, all without a cloud."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.terraform.cloud import Terraform
from tests.terraform.cloud.terraform import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = sorted(
    str(path.relative_to(ROOT / "terraform"))
    for parent in ("modules", "environments")
    for path in (ROOT / "terraform" / parent).iterdir()
    if path.is_dir()
)
# What the mission table names; others may come.
WANTED = {"vpc", "rds", "ecs", "sqs", "s3", "lambda", "eventbridge"}

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("terraform_here")]


def test_the_modules_of_the_mission_exist() -> None:
    assert {f"modules/{name}" for name in WANTED} <= set(FOLDERS)
    assert {"environments/dev", "environments/prod"} <= set(FOLDERS)


def test_everything_is_formatted() -> None:
    done = subprocess.run(
        ["terraform", f"-chdir={ROOT / 'terraform'}", "fmt", "-check", "-recursive", "-no-color"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, f"run `terraform fmt -recursive terraform`: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_is_valid_and_its_tests_pass(folder: str, tmp_path: Path) -> None:
    terraform = Terraform.copy(tmp_path, folder)
    assert list(terraform.root.glob("tests/*.tftest.hcl")), f"terraform/{folder} has no tests"
    terraform.init("-backend=false")
    terraform.validate()
    assert "0 failed." in terraform.test()


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_says_which_versions_it_takes(folder: str) -> None:
    versions = (ROOT / "terraform" / folder / "versions.tf").read_text()
    assert 'required_version = ">= 1.11"' in versions
