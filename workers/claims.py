"""Claiming a received batch: the only step that lets user code run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import structlog

from crds.names import parse_attempt_id
from crds.protocol import ClaimRequest, Message
from workers.backoff import Backoff
from workers.client import Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from threading import Event

    from crds.protocol import ClaimAnswer, Grant
    from workers.client import Dispatcher
    from workers.clock import Clock, Draw
    from workers.identity import Identity
    from workers.metrics import Metrics
    from workers.queue import Delivery

_log = structlog.get_logger(__name__)
_messages = msgspec.json.Decoder(Message)

# Past this, whatever the claim took has been called lost, since no heartbeat named it.
GIVE_UP_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What was received at once: attempts with their receipt handles, and messages that cannot be read."""

    handles: dict[str, list[str]] = field(default_factory=dict)
    attempts: list[Message] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a batch became: attempts to run, and messages to delete behind the start."""

    grants: Sequence[Grant] = ()
    delete: Sequence[str] = ()
    drain: bool = False


def read(deliveries: Iterable[Delivery]) -> Batch:
    """Sort deliveries into attempts and messages that no one can read."""
    batch = Batch()
    for delivery in deliveries:
        try:
            message = _messages.decode(delivery.body)
            parse_attempt_id(message.attempt)
        except (msgspec.DecodeError, ValueError, RecursionError):
            batch.malformed.append(delivery.handle)
            continue
        if message.attempt not in batch.handles:
            batch.attempts.append(message)
        batch.handles.setdefault(message.attempt, []).append(delivery.handle)
    return batch


class Claimer:
    """Claim batches; without an answer the same request is repeated, so that a claim is never made twice."""

    def __init__(self, identity: Identity, dispatcher: Dispatcher, metrics: Metrics, clock: Clock, draw: Draw) -> None:
        self._identity = identity
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._clock = clock
        self._draw = draw

    def claim(self, deliveries: Sequence[Delivery], stopped: Event) -> Claimed:
        """Claim what was received, until there is an answer or `stopped` is set."""
        batch = read(deliveries)
        self._metrics.malformed.inc(len(batch.malformed))
        if not batch.attempts:
            _log.warning("messages.malformed", count=len(batch.malformed))
            return Claimed(delete=batch.malformed)
        answer = self._ask(batch.attempts, stopped)
        if answer is None:
            return Claimed(delete=batch.malformed)
        return self._sort(batch, answer)

    def _ask(self, attempts: list[Message], stopped: Event) -> ClaimAnswer | None:
        request = ClaimRequest(
            request=self._draw.token(),
            worker=self._identity.worker,
            pool=self._identity.pool,
            namespace=self._identity.namespace,
            ecs_task=self._identity.ecs_task,
            attempts=attempts,
        )
        with self._dispatcher.awaiting(request.request):
            return self._repeat(request, stopped)

    def _repeat(self, request: ClaimRequest, stopped: Event) -> ClaimAnswer | None:
        backoff = Backoff(self._draw)
        give_up_at = self._clock.monotonic() + GIVE_UP_SECONDS
        while self._clock.monotonic() < give_up_at:
            try:
                with self._metrics.claim_seconds.time():
                    return self._dispatcher.claim(request)
            except Refused as error:
                _log.error("claim.refused", attempts=len(request.attempts), error=str(error))
                return None
            except Unreachable as error:
                _log.warning("claim.repeated", request=request.request, failures=backoff.failures, error=str(error))
                if backoff.wait(stopped):
                    return None
        return None

    def _sort(self, batch: Batch, answer: ClaimAnswer) -> Claimed:
        dropped = [refusal.attempt for refusal in answer.refusals if refusal.action == "drop"]
        done = [grant.attempt for grant in answer.grants] + dropped
        for refusal in answer.refusals:
            self._metrics.refused.labels(refusal.reason).inc()
        _log.info(
            "claim",
            granted=[grant.attempt for grant in answer.grants],
            refused={refusal.attempt: refusal.reason for refusal in answer.refusals},
            malformed=len(batch.malformed),
        )
        handles = [handle for attempt in done for handle in batch.handles.get(attempt, ())]
        return Claimed(answer.grants, [*batch.malformed, *handles], answer.drain)
