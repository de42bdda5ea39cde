"""The host of tasks with runtime lambda: one invocation claims one attempt, runs it and reports it."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from crds.protocol import Invocation
from workers.aws.host import Host
from workers.main import configure_logging
from workers.settings import HostSettings, read_as

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.aws.events import Invoked

# Whoever speaks to it answers invocations, so user code must not know it.
_WITHHELD = frozenset({"AWS_LAMBDA_RUNTIME_API"})


def handler(event: Mapping[str, Any], context: Invoked) -> dict[str, str]:
    """Run the attempt that an invocation names; what is not granted is left to the dispatcher, which invokes again."""
    invocation = msgspec.convert(event, Invocation)
    return {"attempt": invocation.attempt, "outcome": _host().run(invocation, context)}


@cache
def _host() -> Host:
    settings = read_as(HostSettings)
    configure_logging(settings, pool=settings.pool)
    environment = {name: value for name, value in os.environ.items() if name not in _WITHHELD}
    # Lambda's runtime extends its own path; children are told where code and packages lie.
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return Host(settings, {**environment, "PYTHONPATH": path})
