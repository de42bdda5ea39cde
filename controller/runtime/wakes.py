"""Pass keys on: into this process's queues while it leads, to the leader by NOTIFY otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import psycopg
import structlog

from controller.runtime.keys import Key, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from psycopg_pool import ConnectionPool

    from controller.runtime.workqueue import Workqueue

log = structlog.get_logger()
CHANNEL = "setpoint"
PAYLOAD_LIMIT = 7_900
"""Postgres takes payloads below 8,000 bytes; what does not fit is found by timers and the resync."""

_NOTIFY: LiteralString = "SELECT pg_notify('setpoint', %(payload)s)"


class Wakes:
    """Hands keys to queues by kind."""

    def __init__(self, queues: Mapping[Kind, Workqueue], leads: Callable[[], bool], database: ConnectionPool) -> None:
        self._queues = queues
        self._leads = leads
        self._database = database

    def __call__(self, keys: Iterable[Key]) -> None:
        """Have keys looked at soon; called after COMMIT, with at most one NOTIFY a call."""
        wanted = list(keys)
        if not wanted:
            return
        if self._leads():
            self.enqueue(wanted)
            return
        try:
            with self._database.connection() as connection:
                connection.execute(_NOTIFY, {"payload": encode(wanted)})
        except psycopg.Error as error:
            log.warning("wake lost; timers will find it", error=str(error).strip())

    def enqueue(self, keys: Iterable[Key]) -> None:
        """Put keys into this process's queues."""
        by_kind: dict[Kind, list[Key]] = {}
        for key in keys:
            by_kind.setdefault(key.kind, []).append(key)
        for kind, members in by_kind.items():
            self._queues[kind].add(members)


def encode(keys: Iterable[Key]) -> str:
    """Return the payload of a NOTIFY: kind:uid, joined by commas, as many as fit."""
    text = ""
    for key in keys:
        part = f"{key.kind}:{key.uid}"
        if len(text) + len(part) + 1 > PAYLOAD_LIMIT:
            break
        text = f"{text},{part}" if text else part
    return text


def decode(payload: str) -> list[Key]:
    """Return the keys of a payload; what is malformed is passed over."""
    found: list[Key] = []
    for part in payload.split(","):
        kind, _, uid = part.partition(":")
        if uid and kind in set(Kind):
            found.append(Key(Kind(kind), uid))
    return found
