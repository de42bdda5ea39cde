"""Send what was intended, in full batches, and record the outcome; what gets lost here is sent again by its deadline."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

from controller.aws.sqs import BATCH, Queues
from controller.errors import SetpointError
from controller.store import attempts, pools
from crds.names import AttemptId
from crds.protocol import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg_pool import ConnectionPool

    from controller.actions import Send
    from controller.runtime.clock import Clock

log = structlog.get_logger()
BACKLOG_LIMIT = 50_000
PARALLEL_SENDS = 4
IDLE_WAIT = 1.0
QUICK_TRIES, QUICK_WAIT = 5, 0.2
"""How often a refused batch is tried again at once, and the first wait in seconds; then its deadlines send it."""


class Sender:
    """One thread that sends; its backlog is bounded and may be lost, since every attempt carries a deadline for it."""

    def __init__(self, database: ConnectionPool, clock: Clock, queues: Queues) -> None:
        self._database = database
        self._clock = clock
        self._queues = queues
        self._waiting: deque[Send] = deque(maxlen=BACKLOG_LIMIT)
        self._changed = threading.Condition()
        self._stopping = False
        self._refusals = 0
        self._senders = ThreadPoolExecutor(PARALLEL_SENDS, thread_name_prefix="send")
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Send what waits, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)
        self._senders.shutdown(wait=False, cancel_futures=True)

    def send(self, sends: Iterable[Send]) -> None:
        """Have messages sent soon; called after the COMMIT that wrote the intent."""
        with self._changed:
            self._waiting.extend(sends)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait(IDLE_WAIT)
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                if not batch and self._stopping:
                    return
            try:
                refused = self.deliver(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the attempts' deadlines send again
                log.warning("sending failed; deadlines will send again", messages=len(batch), error=str(error))
                continue
            self._again(refused)

    def _again(self, refused: Sequence[Send]) -> None:
        """Try a refused batch again soon: a queue that is just being created costs a moment, not a deadline."""
        if not refused:
            self._refusals = 0
            return
        self._refusals += 1
        if self._refusals > QUICK_TRIES:
            return
        with self._changed:
            self._changed.wait(QUICK_WAIT * self._refusals)
            self._waiting.extendleft(refused)

    def deliver(self, batch: Sequence[Send]) -> list[Send]:
        """Send messages, record which of them SQS took, and return the others."""
        by_pool: dict[str, list[Send]] = {}
        for send in batch:
            by_pool.setdefault(send.pool, []).append(send)
        queues = self._queues_of(list(by_pool))
        chunks = [
            (queues[pool], sends[start : start + BATCH])
            for pool, sends in by_pool.items()
            if pool in queues
            for start in range(0, len(sends), BATCH)
        ]
        taken = (
            [self._send(*chunks[0])] if len(chunks) == 1 else list(self._senders.map(lambda c: self._send(*c), chunks))
        )
        sent = {(m.attempt, m.delivery) for messages in taken for m in messages}
        if sent:
            with self._database.connection() as connection:
                now = self._clock.now(connection)
                attempts.queued(connection, [(AttemptId(a), d) for a, d in sorted(sent)], now)
        return [send for send in batch if (send.attempt, send.delivery) not in sent]

    def _send(self, queue: str, sends: Sequence[Send]) -> list[Message]:
        try:
            return self._queues.send(queue, [Message(attempt=s.attempt, delivery=s.delivery) for s in sends])
        except SetpointError as error:
            log.warning("queue took no messages; they are sent again", queue=queue, error=str(error))
            return []

    def _queues_of(self, uids: Sequence[str]) -> dict[str, str]:
        """Return the queues of pools as they are now: an apply may have given a pool another one."""
        with self._database.connection() as connection:
            return {uid: pool.queue for uid, pool in pools.read(connection, uids).items()}
