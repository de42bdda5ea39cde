"""Send what was intended, in full batches, and record the outcome; what gets lost here is sent again by its deadline."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING

import structlog

from controller.aws.sqs import BATCH
from controller.errors import SetpointError
from controller.runtime.traces import no_context
from controller.store import attempts, pools
from crds.names import AttemptId
from crds.protocol import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from psycopg_pool import ConnectionPool

    from controller.actions import Send
    from controller.reconcilers.delivery import Delivery
    from controller.runtime.clock import Clock
    from controller.store.pools import Pool

log = structlog.get_logger()
BACKLOG_LIMIT = 50_000
"""The most messages that wait for one pool's queue; what is pushed out is sent by its deadline."""
SENDERS, SENDERS_A_POOL = 16, 4
"""How many threads send, and how many of them for one pool: a queue that hangs leaves the others their senders."""
IDLE_WAIT = 1.0
QUICK_TRIES, QUICK_WAIT = 5, 0.2
"""How often a refused batch is tried again at once, and the first wait in seconds; then its deadlines send it."""


class Sender:
    """Threads that send; their backlog is bounded and may be lost, since every attempt carries a deadline for it."""

    def __init__(
        self,
        database: ConnectionPool,
        clock: Clock,
        delivery: Delivery,
        trace: Callable[[AttemptId], str | None] = no_context,
    ) -> None:
        self._database = database
        self._trace = trace
        self._clock = clock
        self._delivery = delivery
        # By pool, the one that waits longest first; a pool for which nothing waits is not in it.
        self._waiting: dict[str, deque[Send]] = {}
        self._busy: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [threading.Thread(target=self._run, name=f"sender-{n}", daemon=True) for n in range(SENDERS)]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """Send what waits, then end; what a queue that hangs still holds is sent by its deadline."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        ends = self._clock.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(ends - self._clock.monotonic(), 0.0))

    def send(self, sends: Iterable[Send]) -> None:
        """Have messages sent soon; called after the COMMIT that wrote the intent."""
        wanted = list(sends)
        with self._changed:
            for send in wanted:
                self._waiting.setdefault(send.pool, deque(maxlen=BACKLOG_LIMIT)).append(send)
            self._changed.notify(len({send.pool for send in wanted}) + len(wanted) // BATCH)

    def take(self) -> list[Send]:
        """Take a share of what waits for one pool that has a sender to spare; nothing, if there is no such pool."""
        with self._changed:
            pool = next((pool for pool, waiting in self._waiting.items() if self._spare(pool, len(waiting))), None)
            if pool is None:
                return []
            # What is left goes behind the other pools, so that each has its turn.
            waiting = self._waiting.pop(pool)
            share = max(BATCH, -(-len(waiting) // SENDERS_A_POOL))
            batch = [waiting.popleft() for _ in range(min(share, len(waiting)))]
            if waiting:
                self._waiting[pool] = waiting
            return batch

    def _spare(self, pool: str, waiting: int) -> bool:
        """Tell whether another thread may send for a pool: a second one only full batches, as calls cost more than messages."""
        busy = self._busy[pool]
        return not busy or (busy < SENDERS_A_POOL and waiting >= BATCH)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (batch := self.take()) and not self._stopping:
                    self._changed.wait(IDLE_WAIT)
                if not batch:
                    return
                pool = batch[0].pool
                self._busy[pool] += 1
            try:
                self._again(pool, self.deliver(batch))
            except Exception as error:  # noqa: BLE001 - whatever it is, the attempts' deadlines send again
                log.warning("sending failed; deadlines will send again", messages=len(batch), error=str(error))
            finally:
                with self._changed:
                    self._busy[pool] -= 1

    def _again(self, pool: str, refused: Sequence[Send]) -> None:
        """Try a refused batch again soon: a queue that is just being created costs a moment, not a deadline."""
        with self._changed:
            self._refusals[pool] = self._refusals[pool] + 1 if refused else 0
            if not 0 < self._refusals[pool] <= QUICK_TRIES:
                return
            self._changed.wait(QUICK_WAIT * self._refusals[pool])
            self._waiting.setdefault(pool, deque(maxlen=BACKLOG_LIMIT)).extendleft(reversed(refused))

    def deliver(self, batch: Sequence[Send]) -> list[Send]:
        """Send messages, record which of them SQS took, and return the others."""
        by_pool: dict[str, list[Send]] = {}
        for send in batch:
            by_pool.setdefault(send.pool, []).append(send)
        known = self._pools(list(by_pool))
        chunks = [
            (known[pool], sends[start : start + BATCH])
            for pool, sends in by_pool.items()
            if pool in known
            for start in range(0, len(sends), BATCH)
        ]
        sent = {(m.attempt, m.delivery) for pool, sends in chunks for m in self._send(pool, sends)}
        if sent:
            with self._database.connection() as connection:
                now = self._clock.now(connection)
                attempts.queued(connection, [(AttemptId(a), d) for a, d in sorted(sent)], now)
        return [send for send in batch if (send.attempt, send.delivery) not in sent]

    def _send(self, pool: Pool, sends: Sequence[Send]) -> list[Message]:
        try:
            messages = [Message(s.attempt, s.delivery, self._trace(s.attempt)) for s in sends]
            return self._delivery.send(pool, messages)
        except SetpointError as error:
            log.warning("no message was taken; they are sent again", pool=pool.name, error=str(error))
            return []

    def _pools(self, uids: Sequence[str]) -> dict[str, Pool]:
        """Return pools as they are now: an apply may have given a pool another queue."""
        with self._database.connection() as connection:
            return pools.read(connection, uids)
