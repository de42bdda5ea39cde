"""What variable files say before Terraform runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.deploy.step import Refused
from controller.deploy.variables import BOOTSTRAP_FILE, OPAQUE, read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        pytest.param('name = "mine"\n', "name", "mine", id="string"),
        pytest.param('region   = "eu-central-1" # where we are\n', "region", "eu-central-1", id="comment behind"),
        pytest.param("dispatcher_tasks = 2\n", "dispatcher_tasks", "2", id="number"),
        pytest.param("domain = null\n", "domain", "null", id="null"),
        pytest.param('domain = {\n  name = "a.example"\n}\n', "domain", OPAQUE, id="object"),
        pytest.param('alarm_emails = ["a@example.com"]\n', "alarm_emails", OPAQUE, id="list"),
        pytest.param('log_level = "${var.x}"\n', "log_level", OPAQUE, id="not a constant"),
    ],
)
def test_values(tmp_path: Path, text: str, name: str, value: str) -> None:
    (tmp_path / "terraform.tfvars").write_text(text)
    assert read(tmp_path, "dev", {}).values[name] == value


@pytest.mark.parametrize(
    ("text", "given"),
    [
        pytest.param("", False, id="nothing"),
        pytest.param("domain = null\n", False, id="null"),
        pytest.param('domain = {\n name = "a.example" }\n', True, id="domain"),
        pytest.param('certificate_arn = "arn:aws:acm:x"\n', True, id="certificate"),
    ],
)
def test_who_brings_a_certificate(tmp_path: Path, text: str, given: bool) -> None:
    (tmp_path / "terraform.tfvars").write_text(text)
    assert read(tmp_path, "dev", {}).has_certificate is given


def test_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, "prod", {})
    assert (found.name, found.region, found.digests) == ("setpoint-prod", "us-east-1", {})


def test_later_files_override_and_the_process_is_not_recorded(tmp_path: Path) -> None:
    (tmp_path / "terraform.tfvars").write_text('name = "first"\n')
    (tmp_path / "b.auto.tfvars.json").write_text('{"name": "second", "tags": {"a": "b"}}')
    found = read(tmp_path, "dev", {"TF_VAR_name": "process", "TF_VAR_region": "eu-west-1"})
    assert (found.name, found.region) == ("second", "eu-west-1")
    assert found.written == {"name": "second", "tags": OPAQUE}


def test_what_bootstrap_wrote_is_no_word_of_the_owner(tmp_path: Path) -> None:
    (tmp_path / BOOTSTRAP_FILE).write_text('{"certificate_arn": "arn:aws:acm:x"}')
    found = read(tmp_path, "dev", {})
    assert not found.has_certificate
    assert set(found.digests) == {BOOTSTRAP_FILE}


def test_bad_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "terraform.tfvars.json").write_text("[")
    with pytest.raises(Refused, match="is no JSON object"):
        read(tmp_path, "dev", {})
