"""Deliver notifications while this process leads: claim what is due, send it, mark it as sent."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from controller.actions import Event
from controller.diff.delivering import Failed, GiveUp, after
from controller.notify.undelivered import Undelivered
from controller.runtime.background import Background
from controller.runtime.metrics import NOTIFICATIONS, NOTIFICATIONS_GIVEN_UP
from controller.store import events, notifications
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg_pool import ConnectionPool

    from controller.notify.channels import Channels
    from controller.runtime.clock import Clock
    from controller.store.notifications import Claimed, Unchecked

log = structlog.get_logger()
LOOK_EVERY = 1.0
CHECK_EVERY, SWEEP_EVERY = 15.0, 3_600.0
"""Seconds between looks for secrets that were missing, and between sweeps of what is done."""
SENDING_LIMIT, EACH_LIMIT = 8, 2
"""How many messages are on their way at once, and how many of one notifier: a channel that hangs holds up no other."""
LEASE = timedelta(minutes=2)
"""Longer than any channel may take, so that only a message whose sender died is sent by another."""
CHECK_LIMIT, SWEEP_LIMIT = 20, 1_000
CHECK_AGAIN = timedelta(seconds=10)
KEPT_FOR = timedelta(days=7)


class Notifier(Background):
    """One thread that claims, and a short one for each message that is on its way."""

    def __init__(self, database: ConnectionPool, clock: Clock, channels: Channels, leads: Callable[[], bool]) -> None:
        super().__init__("notifier")
        self._database = database
        self._clock = clock
        self._channels = channels
        self._leads = leads
        self._sending: Counter[str] = Counter()
        """How many messages of each notifier are on their way."""
        self._lock = threading.Lock()
        self._freed = threading.Event()
        self._checking = False
        self._checked_at = self._swept_at = float("-inf")

    def run(self) -> None:
        """Look each second, and at once when a message that was on its way is done."""
        while not self.stopping.is_set():
            if not self._leads():
                self.stopping.wait(LOOK_EVERY)
                continue
            try:
                self._freed.clear()
                self.look()
                self._now_and_then()
            except (psycopg.Error, PoolTimeout) as error:
                log.warning("cannot look for notifications; trying again", error=str(error).strip())
            # What is left of a burst follows as soon as there is room; the rest is found by the clock.
            self._freed.wait(LOOK_EVERY)

    def look(self) -> int:
        """Claim what is due and there is room for, and begin to send it; return how many."""
        with self._lock:
            busy = [uid for uid, count in self._sending.items() if count]
            room = SENDING_LIMIT - self._sending.total()
        if room <= 0:
            return 0
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            claimed = notifications.claim(connection, now, LEASE, busy, EACH_LIMIT, room)
        for message in claimed:
            with self._lock:
                self._sending[message.notifier_uid] += 1
            threading.Thread(target=self._carry, args=[message], name=f"notify-{message.id}", daemon=True).start()
        return len(claimed)

    def check(self) -> None:
        """Look for the secrets of notifiers that are new, were changed, or lacked theirs."""
        with self._database.connection() as connection:
            found = notifications.unchecked(connection, CHECK_LIMIT)
        for notifier in found:
            self._check_one(notifier)

    def sending(self) -> int:
        """Return how many messages are on their way."""
        with self._lock:
            return self._sending.total()

    def _now_and_then(self) -> None:
        at = self._clock.monotonic()
        if at - self._checked_at >= CHECK_EVERY and not self._checking:
            self._checked_at = at
            # Aside, for Secrets Manager may take its time, and what is due is not to wait for it.
            self._checking = True
            threading.Thread(target=self._check_aside, name="notify-check", daemon=True).start()
        if at - self._swept_at >= SWEEP_EVERY:
            self._swept_at = at
            with self._database.connection() as connection:
                notifications.sweep(connection, self._clock.now(connection) - KEPT_FOR, SWEEP_LIMIT)

    def _check_aside(self) -> None:
        try:
            self.check()
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("cannot look for the secrets of notifiers; trying again", error=str(error).strip())
        finally:
            self._checking = False

    def _carry(self, message: Claimed) -> None:
        try:
            self.deliver(message)
        except (psycopg.Error, PoolTimeout) as error:
            # Its lease runs out, and it is sent again under the same id.
            log.warning(
                "cannot record what became of a notification", notification=message.id, error=str(error).strip()
            )
        finally:
            with self._lock:
                self._sending[message.notifier_uid] -= 1
                self._sending += Counter()
            self._freed.set()

    def deliver(self, message: Claimed) -> None:
        """Send a claimed message, outside of any transaction, and record what became of it."""
        channel = next((name for name in ("slack", "sns", "email") if message.spec.get(name)), "unknown")
        try:
            self._channels.send(message)
        except Undelivered as failure:
            self._failed(message, failure, channel)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the message waits and the others go on
            # What it says may hold what the secret said, so only its class is told.
            self._failed(message, Undelivered(f"{type(error).__name__} while it was sent"), channel)
            return
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            notifications.sent(connection, message, now)
            notifications.works(connection, message.notifier_uid, message.generation, now, sent_at=now)
        NOTIFICATIONS.labels(channel, "sent").inc()

    def _failed(self, message: Claimed, failure: Undelivered, channel: str) -> None:
        asked = None if failure.retry_after is None else timedelta(seconds=failure.retry_after)
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            failed = Failed(message.id, message.created_at, message.tries, message.failures + 1, asked, failure.reason)
            plan = after(failed, now)
            if isinstance(plan, GiveUp):
                given_up = notifications.give_up(connection, message, now)
                self._tell(connection, message, failure, given_up=given_up)
            else:
                given_up = False
                notifications.again(connection, message, plan.message_at)
            notifications.fails(connection, message, failure.reason, str(failure), plan.channel_at, now)
        NOTIFICATIONS.labels(channel, "given_up" if given_up else "failed").inc()
        if given_up:
            NOTIFICATIONS_GIVEN_UP.inc()
        log.warning(
            "a notification did not go out",
            notification=message.id,
            notifier=f"{message.namespace}/{message.name}",
            tries=message.tries,
            error=str(failure),
            given_up=given_up,
        )

    def _tell(self, connection: psycopg.Connection, message: Claimed, failure: Undelivered, *, given_up: bool) -> None:
        if given_up:
            about = f"{message.occasion} of {message.facts.get('name')}"
            text = f"{about} was not told after {message.tries} tries: {failure}"
            event = Event("Warning", message.namespace, "Notifier", message.name, Reason.GAVE_UP, text)
            events.record(connection, [event], self._clock.now(connection))

    def _check_one(self, notifier: Unchecked) -> None:
        failure: Undelivered | None = None
        try:
            self._channels.check(notifier.spec)
        except Undelivered as error:
            failure = error
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            if failure is None:
                notifications.works(connection, notifier.uid, notifier.generation, now)
            else:
                notifications.fails(connection, notifier, failure.reason, str(failure), now + CHECK_AGAIN, now)
