"""The loop that hands keys to a reconciler and takes its results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from secrets import token_hex
from time import perf_counter
from typing import TYPE_CHECKING

import structlog

from controller.errors import Terminal
from controller.runtime.keys import Key, Kind
from controller.runtime.metrics import (
    ACTIVE_WORKERS,
    MAX_CONCURRENT,
    RECONCILE_ERRORS,
    RECONCILE_TERMINAL,
    RECONCILE_TIME,
    RECONCILE_TOTAL,
)

if TYPE_CHECKING:
    from controller.runtime.workqueue import Workqueue

log = structlog.get_logger()
IDLE_WAIT = 1.0
"""How long, in seconds, a loop waits for a key before it looks whether it shall stop."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconciler wants next for a key: to see it after `wake_after`, or nothing."""

    wake_after: timedelta | None = None


Reconcile = Callable[[Sequence[Key]], Mapping[Key, Result]]


class Loop:
    """Threads that work a queue off in batches while this process leads; a key is never worked on by two at once."""

    def __init__(
        self,
        name: str,
        queue: Workqueue,
        reconcile: Reconcile,
        *,
        batch: int,
        leads: Callable[[], bool],
        threads: int = 1,
    ) -> None:
        self.name = name
        self.queue = queue
        self._reconcile = reconcile
        self._batch = batch
        self._leads = leads
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"reconcile-{name}-{n}", daemon=True) for n in range(threads)
        ]
        self.last_progress = 0.0
        """When any of the threads last took from the queue; it stands still only when all of them hang."""

    def start(self) -> None:
        """Begin to work."""
        MAX_CONCURRENT.labels(self.name).set(len(self._threads))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have the loop end after the batch that it works on."""
        self._stop.set()
        self.queue.close()

    def join(self, timeout: float) -> bool:
        """Wait for the loop to end; return whether it did."""
        ends = perf_counter() + timeout
        for thread in self._threads:
            thread.join(max(ends - perf_counter(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while not self._stop.is_set():
            keys = self.queue.get(self._batch, IDLE_WAIT)
            self.last_progress = perf_counter()
            if not keys:
                continue
            if self._leads():
                with ACTIVE_WORKERS.labels(self.name).track_inprogress():
                    self.work(keys)
            for key in keys:
                self.queue.done(key)

    def work(self, keys: Sequence[Key]) -> None:
        """Reconcile a batch; if it fails, each of its keys alone, so that one bad key holds up no other."""
        # The same id stands in all that is said of the batch.
        with structlog.contextvars.bound_contextvars(reconcile_id=token_hex(8)):
            self._work(keys)

    def _work(self, keys: Sequence[Key]) -> None:
        started = perf_counter()
        try:
            self._take(keys, self._reconcile(keys))
        except Exception as error:  # noqa: BLE001 - no failure of a key may end the loop
            if len(keys) > 1:
                for key in keys:
                    self._work([key])
                return
            self._failed(keys[0], error)
        finally:
            RECONCILE_TIME.labels(self.name).observe(perf_counter() - started)

    def _take(self, keys: Sequence[Key], results: Mapping[Key, Result]) -> None:
        for key in keys:
            self.queue.forget(key)
            result = results.get(key)
            if result is not None and result.wake_after is not None:
                self.queue.add_after(key, result.wake_after)
                RECONCILE_TOTAL.labels(self.name, "requeue_after").inc()
            else:
                RECONCILE_TOTAL.labels(self.name, "success").inc()

    def _failed(self, key: Key, error: Exception) -> None:
        RECONCILE_TOTAL.labels(self.name, "error").inc()
        if isinstance(error, Terminal):
            RECONCILE_TERMINAL.labels(self.name).inc()
            log.error(
                "reconcile needs a person",
                controller=self.name,
                **_named(key),
                reason=error.reason,
                error=str(error),
            )
            return
        RECONCILE_ERRORS.labels(self.name).inc()
        delay = self.queue.failed(key)
        log.warning(
            "reconcile failed",
            controller=self.name,
            **_named(key),
            again_s=delay.total_seconds(),
            error=f"{type(error).__name__}: {error}",
            exc_info=delay >= timedelta(seconds=1),
        )


def _named(key: Key) -> dict[str, str]:
    return {"key": key.uid, "run": key.uid} if key.kind is Kind.RUN else {"key": key.uid}
