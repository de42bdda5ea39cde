"""Secrets Manager: the dispatcher's own keys and the pools' tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from controller.aws.errors import calling, error_code
from crds.redaction import KNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_secretsmanager import SecretsManagerClient

_ABSENT = frozenset({"ResourceNotFoundException", "InvalidRequestException"})


class SecretsManager:
    """Secrets by boto3. A value is never logged."""

    def __init__(self, client: SecretsManagerClient) -> None:
        self._client = client

    def values(self, name: str) -> Sequence[str]:
        """Return a secret's current value, then its previous one if there is one; nothing if there is no such secret."""
        found = [self._value(name, stage) for stage in ("AWSCURRENT", "AWSPREVIOUS")]
        return [value for value in found if value]

    def _value(self, name: str, stage: str) -> str | None:
        with calling("secretsmanager", "GetSecretValue"):
            try:
                value = self._client.get_secret_value(SecretId=name, VersionStage=stage).get("SecretString")
            except ClientError as error:
                if error_code(error) in _ABSENT:
                    return None
                raise
        if value:
            KNOWN.add(value)
        return value
