"""Secrets Manager of local mode: a YAML file of names and values, read again when it changes.

    billing/api-key: s3cr3t
    billing/login: {username: reader, password: s3cr3t}      # given out as JSON, as AWS's own rotation does
    billing/rotated: {current: new, previous: old}

The process of the local ECS serves it (`--secrets FILE`), under its own `X-Amz-Target` prefix.
"""

from __future__ import annotations

import hashlib
import logging
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from controller.local.awsjson import AwsError, JsonObject, Operation, Operations

if TYPE_CHECKING:
    from pathlib import Path

_LOG = logging.getLogger(__name__)
_TARGET = "secretsmanager"
_ARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:"
_CURRENT = "AWSCURRENT"
_PREVIOUS = "AWSPREVIOUS"
_VERSIONED = {"current", "previous"}
_LARGEST_PAGE = 100
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class GetSecretValue(msgspec.Struct, rename="pascal"):
    """The request of GetSecretValue."""

    secret_id: str
    version_id: str | None = None
    version_stage: str | None = None


class DescribeSecret(msgspec.Struct, rename="pascal"):
    """The request of DescribeSecret."""

    secret_id: str


class ListSecrets(msgspec.Struct, rename="pascal"):
    """The request of ListSecrets."""

    max_results: int = _LARGEST_PAGE
    next_token: str | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret's values by stage. Not printable: values belong in no log."""

    name: str
    values: dict[str, str]
    changed_at: datetime

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    @property
    def arn(self) -> str:
        """Return the ARN, which ends in six characters that AWS draws and we derive."""
        return f"{_ARN}{self.name}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"

    def version(self, stage: str) -> str:
        """Return an id of the value under a stage, which changes when the value does."""
        digest = hashlib.blake2b(self.values[stage].encode(), digest_size=16, key=self.name.encode()[:64])
        return digest.hexdigest()


class SecretsFile:
    """The secrets in a file; a file that is missing or broken keeps what was last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._secrets: dict[str, Secret] = {}

    def read(self) -> dict[str, Secret]:
        """Return the secrets by name, as the file has them now."""
        try:
            status = self._path.stat()
            if (stamp := (status.st_mtime_ns, status.st_ino)) != self._stamp:
                self._secrets = self._parse(datetime.fromtimestamp(status.st_mtime, UTC))
                self._stamp = stamp
                if status.st_mode & _OPEN_TO_OTHERS:
                    _LOG.warning("%s can be read by others: chmod 600 it", self._path)
        except (OSError, ValueError) as error:
            # YAML's own messages quote the line, so only ours and the system's may be shown.
            _LOG.warning("%s: %s; what was read before holds", self._path, error)
        return self._secrets

    def _parse(self, changed_at: datetime) -> dict[str, Secret]:
        try:
            entries = yaml.safe_load(self._path.read_text()) or {}
        except yaml.YAMLError:
            raise ValueError("no valid YAML") from None
        if not isinstance(entries, dict):
            raise ValueError("not a mapping of names to values")  # noqa: TRY004 - a wrong file, no wrong argument
        return {str(name): Secret(str(name), _stages(entry), changed_at) for name, entry in entries.items()}


def operations(file: SecretsFile) -> Operations:
    """Return the operations by full target."""

    def find(secret_id: str) -> Secret:
        secrets = file.read()
        by_arn = {secret.arn: secret for secret in secrets.values()}
        secret = secrets.get(secret_id) or by_arn.get(secret_id)
        if secret is None:
            raise AwsError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return secret

    def get_value(request: GetSecretValue) -> JsonObject:
        secret = find(request.secret_id)
        stage = _stage(secret, request)
        return {
            "ARN": secret.arn,
            "Name": secret.name,
            "VersionId": secret.version(stage),
            "SecretString": secret.values[stage],
            "VersionStages": [stage],
            "CreatedDate": secret.changed_at.timestamp(),
        }

    def list_secrets(request: ListSecrets) -> JsonObject:
        secrets = file.read()
        names = sorted(name for name in secrets if name > (request.next_token or ""))
        page = names[: min(request.max_results, _LARGEST_PAGE)]
        more = {"NextToken": page[-1]} if len(page) < len(names) else {}
        return {"SecretList": [_shape(secrets[name], "SecretVersionsToStages") for name in page], **more}

    return {
        f"{_TARGET}.GetSecretValue": Operation(GetSecretValue, get_value),
        f"{_TARGET}.DescribeSecret": Operation(
            DescribeSecret, lambda request: _shape(find(request.secret_id), "VersionIdsToStages")
        ),
        f"{_TARGET}.ListSecrets": Operation(ListSecrets, list_secrets),
    }


def _stage(secret: Secret, request: GetSecretValue) -> str:
    """Return the stage that a request names by itself, by a version, or not at all."""
    wanted = request.version_stage or (None if request.version_id else _CURRENT)
    for stage in secret.values:
        if wanted in {None, stage} and request.version_id in {None, secret.version(stage)}:
            return stage
    asked = f"staging label: {wanted}" if wanted else f"VersionId: {request.version_id}"
    reason = f"Secrets Manager can't find the specified secret value for {asked}"
    raise AwsError("ResourceNotFoundException", reason)


def _shape(secret: Secret, versions: str) -> JsonObject:
    return {
        "ARN": secret.arn,
        "Name": secret.name,
        "LastChangedDate": secret.changed_at.timestamp(),
        "CreatedDate": secret.changed_at.timestamp(),
        versions: {secret.version(stage): [stage] for stage in secret.values},
    }


def _stages(entry: Any) -> dict[str, str]:
    if isinstance(entry, dict) and "current" in entry and entry.keys() <= _VERSIONED:
        stages = {_CURRENT: entry["current"], _PREVIOUS: entry.get("previous")}
    else:
        stages = {_CURRENT: entry}
    return {stage: _text(value) for stage, value in stages.items() if value is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
