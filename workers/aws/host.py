"""One attempt within one Lambda invocation, by the same parts as in a worker process.

Between invocations Lambda freezes the process, so nothing that must go on is left behind: no heartbeat, no report.
Only warm children and fetched bundles stay. Only threads and pipes are used, since Lambda has no /dev/shm.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event, Timer
from typing import TYPE_CHECKING

import msgspec
import structlog

from crds.protocol import Message
from crds.spans import open_export
from workers.children import Children
from workers.claims import Claimer
from workers.client import Dispatcher
from workers.clock import Clock, Draw
from workers.heartbeat import Heartbeat
from workers.held import Registry, Stop
from workers.identity import identify
from workers.main import make_runner, token_source
from workers.metrics import Metrics
from workers.queue import Delivery
from workers.reporter import Reporter
from workers.scratch import Scratch
from workers.traces import Traces
from workers.wake import Wake

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crds.protocol import Grant, Invocation
    from workers.aws.events import Invoked
    from workers.identity import Identity
    from workers.settings import Settings

_log = structlog.get_logger(__name__)

# What is kept of an invocation's time to stop the child (SIGTERM, 5 s, SIGKILL), to keep its log and to report it.
RESERVE_SECONDS = 10.0
# The dispatcher invokes again when nobody has claimed for a minute.
CLAIM_SECONDS = 45.0
LEAVE_SECONDS = 1.0
CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Life:
    """What lives as long as one invocation."""

    invoked: Invoked
    identity: Identity
    registry: Registry
    ended: Event

    def left(self) -> float:
        """Return the seconds that user code may still take."""
        return self.invoked.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS


class Host:
    """What stays warm from one invocation to the next: children, bundles, connections."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._clock, self._draw, self._metrics = Clock(), Draw(), Metrics()
        self._dispatcher = Dispatcher(settings.url, token_source(settings, self._clock), settings.api_ca)
        self._traces = Traces(open_export(environment, "setpoint-worker"), self._clock)
        children = Children(1, environment, self._metrics)
        scratch = Scratch(settings.cache_dir / "work", self._draw.token())
        self._runner = make_runner(settings, children, scratch, self._clock, self._traces)
        self._wake = Wake()
        children.start()

    def run(self, invocation: Invocation, invoked: Invoked) -> str:
        """Claim the attempt, run it and report it before the invocation's time is over; return what came of it."""
        self._check(invocation)
        # A worker of its own: if this invocation dies, its lease ends, and a warm one that follows is somebody else.
        identity = identify(invocation.pool, invocation.namespace, self._draw)
        life = _Life(invoked, identity, Registry(1), Event())
        if life.left() <= 0:
            raise RuntimeError(f"the function's timeout leaves no time; it must be well above {RESERVE_SECONDS:g} s")
        heartbeat = Heartbeat(identity, self._dispatcher, life.registry, self._draw)
        heartbeat.start(life.ended, _go_on)
        try:
            grant = self._claim(invocation, life)
            outcome = "unclaimed" if grant is None else self._attempt(grant, life)
        finally:
            life.ended.set()
            # Its last word spares the dispatcher a wait; one that is away would only take the time that is left.
            if self._dispatcher.reachable.is_set():
                heartbeat.leave(LEAVE_SECONDS)
        _log.info("invocation.ended", attempt=invocation.attempt, worker=identity.worker, outcome=outcome)
        return outcome

    def _check(self, invocation: Invocation) -> None:
        own = (self._settings.namespace, self._settings.pool)
        if (invocation.namespace, invocation.pool) != own:
            raise ValueError(
                f"this function holds the token of pool {own[1]} in namespace {own[0]}, not of {invocation.pool} in "
                f"{invocation.namespace}; name that pool's own function in its spec.function"
            )

    def _claim(self, invocation: Invocation, life: _Life) -> Grant | None:
        """Return the grant, or None: final, claimed by another, not now, or no answer."""
        message = Message(attempt=invocation.attempt, delivery=invocation.delivery)
        given_up = Event()
        limit = _timer(min(CLAIM_SECONDS, life.left()), given_up.set)
        claimer = Claimer(life.identity, self._dispatcher, self._metrics, self._clock, self._draw)
        try:
            claimed = claimer.claim([Delivery("", msgspec.json.encode(message).decode())], given_up)
        finally:
            limit.cancel()
        return next(iter(claimed.grants), None)

    def _attempt(self, grant: Grant, life: _Life) -> str:
        seconds = max(0.0, min(grant.timeout_seconds, life.left()))
        held = life.registry.add(msgspec.structs.replace(grant, timeout_seconds=seconds))
        if held is None:
            raise RuntimeError(f"{grant.attempt} is held already")
        # The runner's own deadline begins when the child does; this one holds while the bundle is fetched, too.
        limit = _timer(life.left(), lambda: held.stop(Stop.TIMEOUT))
        try:
            report = self._runner.run(held, self._wake)
        finally:
            limit.cancel()
        if report is None:
            life.registry.forget(grant.attempt)
            return "superseded"
        reporter = Reporter(life.identity, self._dispatcher, life.registry, self._metrics, self._draw, self._traces)
        reporter.start(life.ended, _take_none, lambda: False)
        reporter.submit(report)
        # Until it is answered or the time is over; then the lease ends, and the dispatcher calls the attempt lost.
        answered = life.registry.wait_empty(max(0.0, life.left() + RESERVE_SECONDS - LEAVE_SECONDS - CLOSE_SECONDS))
        life.ended.set()
        reporter.close(CLOSE_SECONDS)
        self._traces.flush()
        return report.outcome if answered else "unreported"


def _timer(seconds: float, act: Callable[[], None]) -> Timer:
    timer = Timer(max(0.0, seconds), act)
    timer.daemon = True
    timer.start()
    return timer


def _go_on(_why: str) -> None:
    """Ignore that a worker shall drain: an invocation takes no second attempt anyway."""


def _take_none(grants: Sequence[Grant]) -> None:
    """Take no grants; none was asked for."""
