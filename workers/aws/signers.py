"""The secrets of those who sign webhooks, one a prefix, from Secrets Manager."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from crds.redaction import KNOWN
from workers.aws.events import SECRETS

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from workers.clock import Clock

_LOG = logging.getLogger(__name__)

REREAD_SECONDS = 300.0
REFUSED_SECONDS = 5.0
"""After a signature that does not match, the secret is read again at most this often: it may have been rotated."""
MAX_PREFIXES = 200
_STAGES: tuple[Literal["AWSCURRENT"], Literal["AWSPREVIOUS"]] = ("AWSCURRENT", "AWSPREVIOUS")
# A role that may read only its own secrets is refused for a name that does not exist.
_MISSING = frozenset({"ResourceNotFoundException", "AccessDeniedException", "InvalidRequestException"})


@dataclass(frozen=True, slots=True)
class _Known:
    secrets: tuple[bytes, ...]
    read_at: float


class Signers:
    """Look up the current and the previous secret of a prefix; each lookup is kept for five minutes."""

    def __init__(self, client: SecretsManagerClient, prefix: str, clock: Clock) -> None:
        self._client = client
        self._prefix = prefix
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def secrets(self, prefix: str, *, fresh: bool = False) -> tuple[bytes, ...]:
        """Return the secrets of a prefix, none if there is no such signer; `fresh` reads them again unless just read."""
        known = self._known.get(prefix)
        now = self._clock.monotonic()
        keep = REFUSED_SECONDS if fresh else REREAD_SECONDS
        if known is not None and now - known.read_at < keep:
            return known.secrets
        if len(self._known) >= MAX_PREFIXES:
            self._known.clear()
        try:
            found = tuple(value for stage in _STAGES if (value := self._read(prefix, stage)))
        except (ClientError, BotoCoreError):
            # What was known holds while Secrets Manager does not answer.
            if known is None:
                raise
            found = known.secrets
        self._known[prefix] = _Known(found, now)
        return found

    def _read(self, prefix: str, stage: str) -> bytes:
        try:
            answer = self._client.get_secret_value(SecretId=f"{self._prefix}{prefix}", VersionStage=stage)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code not in _MISSING:
                raise
            if stage == "AWSCURRENT":
                _LOG.warning("no secret %s%s: %s", self._prefix, prefix, code)
            return b""
        secret = answer.get("SecretString", "")
        KNOWN.add(secret)
        return secret.encode()


def open_signers(prefix: str, clock: Clock) -> Signers:
    """Return the signers whose secrets' names begin with `prefix`."""
    return Signers(boto3.client("secretsmanager", config=SECRETS), prefix, clock)
