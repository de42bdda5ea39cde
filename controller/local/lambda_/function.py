"""What the local Lambda knows of a function, and what becomes of an invocation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

REGION = "us-east-1"
_ARN = f"arn:aws:lambda:{REGION}:000000000000:function:"


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function as FILE.json declares it."""

    name: str
    handler: str
    """Module and function, `module.function`, below `code_dir`."""
    code_dir: str
    timeout: float = 3.0
    memory: int = 128
    env: dict[str, str] = {}
    event_retries: int = 2
    """How often a failed asynchronous invocation is repeated."""
    event_seconds: float = 6 * 3600
    """How long an asynchronous invocation may wait to begin."""
    on_failure: str | None = None
    """The URL of the SQS queue that takes a record of each asynchronous invocation that is given up."""

    @property
    def arn(self) -> str:
        """Return the ARN."""
        return _ARN + self.name

    @property
    def folder(self) -> Path:
        """Return the folder of its code."""
        return Path(self.code_dir)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an invocation came to: its payload, and whether that describes an error."""

    payload: bytes
    failed: bool = False
    log: bytes = b""


def failure(kind: str, message: str) -> Outcome:
    """Return the outcome of an invocation that ended without the handler's own word."""
    body: dict[str, Any] = {"errorType": kind, "errorMessage": message}
    return Outcome(msgspec.json.encode(body), failed=True)
