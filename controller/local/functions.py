"""The functions of the local Lambda: the operator host, as Terraform declares it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from controller.diff.attempts import CLAIM_WITHIN
from controller.local.lambda_.function import Function
from crds.names import function_name

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATOR = "workers.aws.operator.handler"
TIMEOUT_SECONDS = 900.0
"""Lambda's longest; a task's own timeout is shorter."""
MEMORY_MB = 1024


def declare(path: Path, environment: Mapping[str, str], failures_url: str) -> None:
    """Write the file from which the local Lambda reads its functions."""
    operator = Function(
        name=function_name(),
        handler=OPERATOR,
        code_dir=str(_code()),
        timeout=TIMEOUT_SECONDS,
        memory=MEMORY_MB,
        env=dict(environment),
        event_retries=0,
        event_seconds=CLAIM_WITHIN.total_seconds(),
        on_failure=failures_url,
    )
    path.write_bytes(msgspec.json.format(msgspec.json.encode([operator])))


def _code() -> Path:
    """Return the folder above the package `workers`, which is never imported here."""
    found = find_spec("workers")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("the package workers is not installed beside the controller")
    return Path(next(iter(found.submodule_search_locations))).parent
