"""Errors that the product catches and tries again after: fine if the simulation caused them, a finding if nothing did."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import structlog
from psycopg.errors import DeadlockDetected

from controller.api.batcher import Overloaded
from controller.api.protocol import UnknownPool, WorkerElsewhere
from controller.errors import SetpointError
from tests.simulation.fibers import Killed
from workers.client import Refused, Unreachable
from workers.queue import QueueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import EventDict

    from tests.simulation.world import World

# A lost connection, a restart, a lock that was not got; Transient and the like from AWS; answers that workers may get.
EXPECTED = (
    psycopg.OperationalError,
    SetpointError,
    UnknownPool,
    WorkerElsewhere,
    Overloaded,
    Unreachable,
    Refused,
    QueueError,
    msgspec.DecodeError,
    Killed,
)
DEADLOCK = "deadlock (not injected)"


def judge(world: World, error: BaseException, where: str) -> None:
    """Count a deadlock; take anything that the simulation has not caused for a broken promise."""
    if isinstance(error, DeadlockDetected):
        world.faults.injected[DEADLOCK] += 1
    elif not isinstance(error, EXPECTED):
        world.effects.broken.append(f"{where}: {type(error).__name__}: {error}")


@contextmanager
def watched(world: World) -> Iterator[None]:
    """Judge the errors that the product logs; nothing is written, for rendering would take most of the time."""

    def look(_logger: Any, _method: str, event: EventDict) -> EventDict:
        error = sys.exc_info()[1]
        if error is not None:
            judge(world, error, str(event.get("event")))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[look],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        cache_logger_on_first_use=False,
    )
    # Sessions are ended on purpose, and psycopg would warn of each.
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.getLogger("psycopg").setLevel(logging.NOTSET)
