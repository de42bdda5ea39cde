"""The functions of the local Lambda: the operator host and the webhooks, as Terraform declares them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from controller.diff.attempts import CLAIM_WITHIN
from controller.local.lambda_ import gateway
from controller.local.lambda_.function import Function
from crds.names import function_name

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATOR, WEBHOOKS = "workers.aws.operator.handler", "workers.aws.webhook.handler"
TIMEOUT_SECONDS = 900.0
"""Lambda's longest; a task's own timeout is shorter."""
WEBHOOK_SECONDS = 29.0
"""API Gateway waits no longer."""
MEMORY_MB = 1024


def declare(
    path: Path, operator_environment: Mapping[str, str], webhook_environment: Mapping[str, str], failures: str
) -> None:
    """Write the file from which the local Lambda reads its functions; `failures` is the URL of the on-failure queue."""
    operator = Function(
        name=function_name(),
        handler=OPERATOR,
        code_dir=str(_code()),
        timeout=TIMEOUT_SECONDS,
        memory=MEMORY_MB,
        env=dict(operator_environment),
        event_retries=0,
        event_seconds=CLAIM_WITHIN.total_seconds(),
        on_failure=failures,
    )
    webhook = Function(
        name=gateway.WEBHOOK,
        handler=WEBHOOKS,
        code_dir=str(_code()),
        timeout=WEBHOOK_SECONDS,
        env=dict(webhook_environment),
    )
    path.write_bytes(msgspec.json.format(msgspec.json.encode([operator, webhook])))


def _code() -> Path:
    """Return the folder above the package `workers`, which is never imported here."""
    found = find_spec("workers")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("the package workers is not installed beside the controller")
    return Path(next(iter(found.submodule_search_locations))).parent
