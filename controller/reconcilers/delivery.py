"""Deliver the hint that an attempt may be claimed: by a message to its pool's queue, or by invoking its pool's function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crds.names import DEFAULT_PREFIX
from crds.protocol import Invocation, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.aws.functions import Functions
    from controller.aws.sqs import Queues
    from controller.store.pools import Pool


class Delivery:
    """Where the hints of each pool go."""

    def __init__(self, queues: Queues, functions: Functions, prefix: str = DEFAULT_PREFIX) -> None:
        self._queues = queues
        self._functions = functions
        self._prefix = prefix

    def send(self, pool: Pool, messages: Sequence[Message]) -> list[Message]:
        """Deliver at most BATCH hints; return those that were taken. Delivering one twice is harmless."""
        if not pool.invoked:
            return self._queues.send(pool.queue(self._prefix), messages)
        wanted = [
            Invocation(
                attempt=m.attempt,
                delivery=m.delivery,
                pool=pool.name,
                namespace=pool.namespace,
                traceparent=m.traceparent,
            )
            for m in messages
        ]
        taken = self._functions.invoke(pool.function(self._prefix), wanted)
        return [Message(attempt=i.attempt, delivery=i.delivery) for i in taken]
