"""Look at the queues: what they hold, whether they are empty, and what died in them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from controller.actions import Event, Redeliver
from controller.diff.attempts import EMPTY_AGAIN, EMPTY_FOR, dead_letter
from controller.reconcilers import undelivered
from controller.runtime.keys import Key, Kind, Wake
from controller.runtime.loop import Result
from controller.store import attempts, events, pools, workers
from crds.names import DEFAULT_PREFIX, AttemptId, parse_attempt_id
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg
    from psycopg_pool import ConnectionPool

    from controller.aws.sqs import DeadLetter, Queues
    from controller.reconcilers.sender import Sender
    from controller.runtime.clock import Clock
    from controller.store.pools import Pool
    from controller.store.revisions import Revisions

log = structlog.get_logger()
LOOK_EVERY = timedelta(seconds=15)
"""How often a queue is looked at; evidence of loss needs two looks a minute apart."""
DEAD_LETTER_ROUNDS = 20
"""How many batches of dead letters one look works off."""


class QueueReconciler:
    """Keys are pools, for their queues."""

    def __init__(
        self,
        database: ConnectionPool,
        clock: Clock,
        revisions: Revisions,
        queues: Queues,
        sender: Sender,
        wake: Wake,
        prefix: str = DEFAULT_PREFIX,
    ) -> None:
        self._database = database
        self._clock = clock
        self._revisions = revisions
        self._queues = queues
        self._sender = sender
        self._wake = wake
        self._prefix = prefix

    def reconcile(self, keys: Sequence[Key]) -> Mapping[Key, Result]:
        """Record what each queue holds, and send again what ended in a dead-letter queue without having been claimed."""
        with self._database.connection() as connection:
            wanted = pools.read(connection, [k.uid for k in keys])
        results: dict[Key, Result] = {}
        for pool in wanted.values():
            if not pool.invoked:
                self._one(pool, pool.queue(self._prefix))
            results[Key(Kind.QUEUE, pool.uid)] = Result(LOOK_EVERY)
        return results

    def _one(self, pool: Pool, queue: str) -> None:
        counts = self._queues.counts(queue)
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            pools.observe_queue(connection, pool.uid, counts.visible, counts.in_flight, counts.dead_letters, now)
            if not counts.visible + counts.in_flight:
                attempts.look_sooner(connection, pool.uid, EMPTY_FOR + EMPTY_AGAIN)
        if not counts.dead_letters:
            return
        for _ in range(DEAD_LETTER_ROUNDS):
            letters = self._queues.dead_letters(queue)
            if not letters:
                return
            self._work_off(pool, letters)
            # Only now: had the commit failed, the letters would come again.
            self._queues.discard(queue, letters)

    def _work_off(self, pool: Pool, letters: Sequence[DeadLetter]) -> None:
        ours = [m for letter in letters if (m := letter.message) is not None and _ours(m.attempt)]
        # The newest delivery counts, in whatever order they come.
        deliveries = {m.attempt: m.delivery for m in sorted(ours, key=lambda m: m.delivery)}
        strangers = len(letters) - len(ours)
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            open_since = workers.open_since(connection, now) or now
            live = attempts.by_id(connection, list(deliveries))
            actions = [
                action
                for id_, (attempt, strikes) in live.items()
                if (action := dead_letter(attempt, deliveries[AttemptId(id_)], strikes, open_since)) is not None
            ]
            outcome = undelivered.act(connection, self._revisions, (a for a, _ in live.values()), actions, now)
            self._tell(connection, pool, [a for a in actions if isinstance(a, Redeliver)], strangers, now)
        self._sender.send(outcome.sends)
        self._wake(outcome.wakes)
        log.info(
            "dead letters worked off",
            pool=pool.name,
            letters=len(letters),
            sent_again=len(outcome.sends),
            given_up=outcome.given_up,
        )

    def _tell(
        self,
        connection: psycopg.Connection,
        pool: Pool,
        redeliver: Sequence[Redeliver],
        strangers: int,
        now: datetime,
    ) -> None:
        told = [
            Event(
                "Warning",
                pool.namespace,
                "WorkerPool",
                pool.name,
                Reason.DEAD_LETTER,
                f"the message of {a.attempt} ended in the dead-letter queue unclaimed; sent again as delivery {a.delivery + 1}",
                parse_attempt_id(a.attempt).run,
            )
            for a in redeliver
        ]
        if strangers:
            text = f"{strangers} messages in the dead-letter queue name no attempt; deleted"
            told.append(Event("Warning", pool.namespace, "WorkerPool", pool.name, Reason.MALFORMED, text))
        events.record(connection, told, now)


def _ours(attempt: str) -> bool:
    try:
        parse_attempt_id(attempt)
    except ValueError:
        return False
    return True
