"""Look at the invocations that Lambda gave up: what never began is invoked again, what died is lost with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from controller.actions import Event
from controller.diff.attempts import failed_invocation
from controller.reconcilers import undelivered
from controller.store import attempts, events
from crds.names import parse_attempt_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg_pool import ConnectionPool

    from controller.actions import AttemptAction
    from controller.aws.functions import FailedInvocation, Functions
    from controller.diff.attempts import LiveAttempt
    from controller.reconcilers.sender import Sender
    from controller.runtime.clock import Clock
    from controller.runtime.keys import Wake
    from controller.store.revisions import Revisions
    from crds.protocol import Invocation

log = structlog.get_logger()


class Invocations:
    """Works off the queue of failed invocations; a record that is not dealt with comes again."""

    def __init__(
        self,
        database: ConnectionPool,
        clock: Clock,
        revisions: Revisions,
        functions: Functions,
        sender: Sender,
        wake: Wake,
    ) -> None:
        self._database = database
        self._clock = clock
        self._revisions = revisions
        self._functions = functions
        self._sender = sender
        self._wake = wake

    def look(self) -> int:
        """Wait a little for failures and deal with them; return how many there were."""
        failures = self._functions.failures()
        if failures:
            self._settle(_newest(failures))
            # Only now: had the commit failed, the records would come again.
            self._functions.discard(failures)
            log.info("failed invocations worked off", controller="invocations", records=len(failures))
        return len(failures)

    def _settle(self, failed: Mapping[str, tuple[Invocation, FailedInvocation]]) -> None:
        with self._database.connection() as connection:
            now = self._clock.now(connection)
            live = attempts.by_id(connection, sorted(failed))
            actions = [
                action
                for id_, (attempt, strikes) in live.items()
                if (action := _decide(attempt, strikes, *failed[id_])) is not None
            ]
            outcome = undelivered.act(connection, self._revisions, (a for a, _ in live.values()), actions, now)
            events.record(connection, [_event(*failed[a.attempt]) for a in actions], now)
        self._sender.send(outcome.sends)
        self._wake(outcome.wakes)


def _newest(failures: Sequence[FailedInvocation]) -> dict[str, tuple[Invocation, FailedInvocation]]:
    """Return the failure of each attempt's newest delivery, in whatever order they come."""
    ours = [(f.invocation, f) for f in failures if f.invocation is not None]
    return {invocation.attempt: (invocation, f) for invocation, f in sorted(ours, key=lambda pair: pair[0].delivery)}


def _decide(
    attempt: LiveAttempt, strikes: int, invocation: Invocation, failure: FailedInvocation
) -> AttemptAction | None:
    return failed_invocation(attempt, invocation.delivery, failure.reason, failure.message, strikes)


def _event(invocation: Invocation, failure: FailedInvocation) -> Event:
    text = f"the invocation of {invocation.attempt} failed: {failure.message}"
    run = parse_attempt_id(invocation.attempt).run
    return Event("Warning", invocation.namespace, "WorkerPool", invocation.pool, failure.reason, text, run)
