"""Act on deliveries that came to nothing: send again or give up, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.actions import Close, Redeliver
from controller.diff.attempts import SEND_WITHIN
from controller.reconcilers import endings
from controller.runtime.keys import Key, Kind
from controller.store import attempts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from controller.actions import AttemptAction, Send
    from controller.diff.attempts import LiveAttempt
    from controller.store.revisions import Revisions
    from crds.names import AttemptId


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left to do after COMMIT: messages to send, keys to look at."""

    sends: Sequence[Send]
    wakes: frozenset[Key]
    given_up: int


def act(
    connection: psycopg.Connection,
    revisions: Revisions,
    live: Iterable[LiveAttempt],
    actions: Sequence[AttemptAction],
    now: datetime,
) -> Outcome:
    """Write the next deliveries and the ends of attempts that are still as they were seen."""
    known: Mapping[AttemptId, LiveAttempt] = {attempt.id: attempt for attempt in live}
    redeliver = [a for a in actions if isinstance(a, Redeliver)]
    closes = [a for a in actions if isinstance(a, Close)]
    sends = attempts.redeliver(connection, redeliver, now, SEND_WITHIN)
    freed = endings.close(connection, revisions, known, closes, now)
    wakes = {Key(Kind.RUN, known[c.attempt].key.run) for c in closes} | {Key(Kind.SLOTS, pool) for pool in freed}
    return Outcome(sends, frozenset(wakes), len(closes))
