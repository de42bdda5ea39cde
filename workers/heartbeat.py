"""The sign of life: which attempts run here, and what the dispatcher wants of them."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import structlog

from crds.protocol import HEARTBEAT_SECONDS, HeartbeatRequest
from workers.client import Refused, Unreachable
from workers.held import Stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from crds.protocol import HeartbeatAnswer
    from workers.client import Dispatcher
    from workers.clock import Draw
    from workers.held import Registry
    from workers.identity import Identity

_log = structlog.get_logger(__name__)

# After a failure the next try comes sooner, so that a restarted dispatcher sees its workers again at once.
RETRY_SECONDS = 1.0


class Heartbeat:
    """Tell the dispatcher every three seconds which attempts are held, and obey its answer."""

    def __init__(self, identity: Identity, dispatcher: Dispatcher, registry: Registry, draw: Draw) -> None:
        self._identity = identity
        self._dispatcher = dispatcher
        self._registry = registry
        self._draw = draw
        self._thread: Thread | None = None

    def start(self, stopped: Event, drain: Callable[[str], None]) -> None:
        """Beat on a thread of its own until `stopped`; the first beat comes at once."""
        self._thread = Thread(target=self._run, args=(stopped, drain), name="heartbeat", daemon=True)
        self._thread.start()

    def leave(self, seconds: float) -> None:
        """Say goodbye when the beating has stopped, so that nobody waits for a lease to end; once, unheard is no harm."""
        if self._thread is not None:
            self._thread.join(seconds)
        try:
            self._dispatcher.heartbeat(self._request(leaving=True))
        except (Unreachable, Refused) as error:
            _log.info("heartbeat.goodbye_unheard", error=str(error))

    def _run(self, stopped: Event, drain: Callable[[str], None]) -> None:
        well = True
        while not stopped.is_set():
            delay = HEARTBEAT_SECONDS
            try:
                answer = self._dispatcher.heartbeat(self._request())
                self._obey(answer, drain)
                well = True
            except (Unreachable, Refused) as error:
                if well:
                    _log.warning("heartbeat.failed", error=str(error))
                well = False
                delay = self._draw.jitter(RETRY_SECONDS)
            stopped.wait(delay)

    def _request(self, *, leaving: bool = False) -> HeartbeatRequest:
        held = self._registry.all()
        return HeartbeatRequest(
            worker=self._identity.worker,
            pool=self._identity.pool,
            namespace=self._identity.namespace,
            ecs_task=self._identity.ecs_task,
            attempts=[one.grant.attempt for one in held],
            slots=self._registry.slots,
            leaving=leaving,
            awaited=self._dispatcher.awaited(),
            progress={one.grant.attempt: one.progress for one in held if one.progress.rows or one.progress.message},
        )

    def _obey(self, answer: HeartbeatAnswer, drain: Callable[[str], None]) -> None:
        for attempt, verdict in answer.attempts.items():
            held = self._registry.get(attempt)
            if held is None or verdict == "continue":
                continue
            _log.info("attempt.told", attempt=attempt, verdict=verdict)
            held.stop(Stop.STALE if verdict == "stale" else Stop.CANCEL)
        if answer.drain:
            drain("told by the dispatcher")
