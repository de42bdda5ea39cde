"""Find by the clock what is due: deadlines each second, and everything unfinished each half minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg_pool import ConnectionPool, PoolTimeout

from controller.runtime.background import Background
from controller.runtime.keys import Key, Kind
from controller.store import attempts, dags, datasets, freshness, pools, runs, task_runs, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.runtime.clock import Clock

log = structlog.get_logger()
LOOK_EVERY = 1.0
RESYNC_EVERY = 30.0
"""Seconds: the system is right without a single event, at most this much later."""
DUE_LIMIT = 5_000
RESYNC_LIMIT = 20_000
SWEEP_LIMIT = 50


class Timers(Background):
    """One thread that looks while this process leads."""

    def __init__(
        self,
        database: ConnectionPool,
        clock: Clock,
        enqueue: Callable[[Iterable[Key]], None],
        leads: Callable[[], bool],
    ) -> None:
        super().__init__("timers")
        self._database = database
        self._clock = clock
        self._enqueue = enqueue
        self._leads = leads
        self._resynced = runs.Place()

    def due(self) -> set[Key]:
        """Return the keys of what is past a deadline."""
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            found = {
                *attempts.due_runs(connection, now, DUE_LIMIT),
                *task_runs.backoff_due(connection, now, DUE_LIMIT),
                *runs.past_deadline(connection, now, DUE_LIMIT),
            }
            silent = workers.silent_pools(connection, now)
            turned = freshness.due(connection, now, DUE_LIMIT)
        keys = {Key(Kind.RUN, uid) for uid in found} | {Key(Kind.POOL, uid) for uid in silent}
        return keys | {Key(Kind.DATASET, uid) for uid in turned}

    def resync(self) -> set[Key]:
        """Return the keys of everything unfinished, at most RESYNC_LIMIT runs in turn; sweep what ended attempts left."""
        with self._database.connection() as connection:
            page = runs.unfinished_page(connection, self._resynced, RESYNC_LIMIT)
            # What one resync leaves over is the next one's, so that runs that stand still hide no others.
            self._resynced = page[-1] if len(page) == RESYNC_LIMIT else runs.Place()
            keys = {Key(Kind.RUN, place.uid) for place in page}
            keys |= {Key(Kind.DAG, uid) for uid in dags.active(connection)}
            for uid in pools.read(connection):
                keys |= {Key(Kind.POOL, uid), Key(Kind.QUEUE, uid), Key(Kind.SLOTS, uid)}
            keys |= {Key(Kind.DATASET, uid) for uid in freshness.declared(connection)}
            datasets.sweep_stages(connection, SWEEP_LIMIT)
        return keys

    def run(self) -> None:
        """Look each second, and at everything each half minute."""
        last_resync: float | None = None
        led = False
        while not self.stopping.wait(0 if not led and self._leads() else LOOK_EVERY):
            leads = self._leads()
            if leads and not led:
                last_resync = None
            led = leads
            if not leads:
                continue
            try:
                now = self._clock.monotonic()
                if last_resync is None or now - last_resync >= RESYNC_EVERY:
                    last_resync = now
                    self._enqueue(self.resync())
                self._enqueue(self.due())
            except (psycopg.Error, PoolTimeout) as error:
                log.warning("timers: no database; trying again", error=str(error).strip())


class OpenKeeper(Background):
    """One thread a process that records that heartbeats can arrive: an expired lease counts only from then on."""

    def __init__(self, database: ConnectionPool, clock: Clock) -> None:
        super().__init__("open-keeper")
        self._database = database
        self._clock = clock

    def run(self) -> None:
        """Record each second that heartbeats can arrive."""
        while not self.stopping.is_set():
            try:
                with self._database.connection() as connection:
                    workers.keep_open(connection, self._clock.now(connection))
            except (psycopg.Error, PoolTimeout) as error:
                log.warning("cannot record that the API is open", error=str(error).strip())
            self.stopping.wait(LOOK_EVERY)
