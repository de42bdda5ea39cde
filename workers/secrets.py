"""Secrets by reference, resolved in the child and told to the worker before user code sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable

_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4})
_MISSING = frozenset({"ResourceNotFoundException", "AccessDeniedException", "InvalidRequestException"})


class Secrets:
    """Look secrets up once an attempt; `reveal` learns each value first, so that logs can hide it."""

    def __init__(self, reveal: Callable[[str], None]) -> None:
        self._reveal = reveal
        self._values: dict[str, str] = {}
        self._client: Any = None

    def __call__(self, name: str) -> str:
        """Return the value of a secret; raise TaskFailed."""
        if name not in self._values:
            value = self._read(name)
            self._reveal(value)
            self._values[name] = value
        return self._values[name]

    def _read(self, name: str) -> str:
        if self._client is None:
            self._client = boto3.client("secretsmanager", config=_CONFIG)
        try:
            answer = self._client.get_secret_value(SecretId=name)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            reason = "UserError" if code in _MISSING else "InfrastructureError"
            raise TaskFailed(code or "SecretUnavailable", f"secret {name!r}: {error}", reason) from error
        except BotoCoreError as error:
            raise TaskFailed("SecretUnavailable", f"secret {name!r}: {error}", "InfrastructureError") from error
        if "SecretString" not in answer:
            raise TaskFailed("SecretNotText", f"secret {name!r} is binary; store it as text")
        return str(answer["SecretString"])
