"""Secrets Manager over a file, as boto3 sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_SECONDS = 30.0
SECRETS = """
plain: s3cr3t-one
mapping: {username: reader, password: s3cr3t-two}
rotated: {current: s3cr3t-new, previous: s3cr3t-old}
"""


class SecretsWorld:
    """The local ECS, serving secrets of a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "secrets.yaml"
        self.file.write_text(SECRETS)
        self.file.chmod(0o600)
        self.errors = folder / "errors.log"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "controller.local.ecs", "--port=0", f"--secrets={self.file}"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        make: Any = boto3.client
        self.client = make(
            "secretsmanager",
            endpoint_url=self.process.stdout.readline().split()[-1],
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def value(self, name: str, **which: str) -> str:
        return str(self.client.get_secret_value(SecretId=name, **which)["SecretString"])

    def rewrite(self, text: str) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o600)
        fresh.replace(self.file)

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE_SECONDS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SecretsWorld]:
    world = SecretsWorld(tmp_path)
    yield world
    world.stop()
    assert "s3cr3t" not in world.errors.read_text()


def test_values_are_given_out(world: SecretsWorld) -> None:
    assert world.value("plain") == "s3cr3t-one"
    assert json.loads(world.value("mapping")) == {"username": "reader", "password": "s3cr3t-two"}
    assert world.value("rotated") == "s3cr3t-new"
    assert world.value("rotated", VersionStage="AWSPREVIOUS") == "s3cr3t-old"


def test_a_secret_is_found_by_arn_and_version(world: SecretsWorld) -> None:
    about = world.client.describe_secret(SecretId="rotated")
    [previous] = [id_ for id_, stages in about["VersionIdsToStages"].items() if stages == ["AWSPREVIOUS"]]
    assert world.value(about["ARN"], VersionId=previous) == "s3cr3t-old"


def test_secrets_are_listed_without_values(world: SecretsWorld) -> None:
    pages = world.client.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": 2})
    found = [secret for page in pages for secret in page["SecretList"]]
    assert [secret["Name"] for secret in found] == ["mapping", "plain", "rotated"]
    assert "s3cr3t" not in str(found)


@pytest.mark.parametrize(
    "which",
    [
        pytest.param({"SecretId": "missing"}, id="name"),
        pytest.param({"SecretId": "plain", "VersionStage": "AWSPREVIOUS"}, id="stage"),
        pytest.param({"SecretId": "plain", "VersionId": "0" * 32}, id="version"),
    ],
)
def test_what_does_not_exist_is_not_found(world: SecretsWorld, which: dict[str, str]) -> None:
    with pytest.raises(ClientError) as error:
        world.client.get_secret_value(**which)
    assert error.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_a_change_of_the_file_is_seen(world: SecretsWorld) -> None:
    before = world.client.get_secret_value(SecretId="plain")["VersionId"]
    world.rewrite("plain: s3cr3t-changed\n")
    assert world.value("plain") == "s3cr3t-changed"
    assert world.client.get_secret_value(SecretId="plain")["VersionId"] != before


def test_a_broken_file_keeps_what_was_read_and_shows_no_value(world: SecretsWorld) -> None:
    assert world.value("plain") == "s3cr3t-one"
    world.rewrite("plain: [s3cr3t-broken\n")
    assert world.value("plain") == "s3cr3t-one"
    assert "no valid YAML" in world.errors.read_text()


def test_an_open_file_is_complained_about(world: SecretsWorld) -> None:
    world.file.chmod(0o644)
    world.value("plain")
    assert "chmod 600" in world.errors.read_text()
