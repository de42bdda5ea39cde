"""Say who did what: rows that are written in the transaction of the change itself, or not at all."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import structlog

from controller.store import audit
from crds.redaction import KNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from controller.diff.changes import Change
    from controller.store.audit import Actor, Entry
    from controller.store.connect import Connections

log = structlog.get_logger()

CHANGES_LIMIT = 100
"""The most changes of one object that a row names."""
VALUE_LIMIT = 500
"""The most characters of an old or a new value."""
ENTRIES_LIMIT = 2_000


class Recorder:
    """Collects what one request does. Whoever says nothing gets one row, of the object in the path."""

    def __init__(self, actor: Actor, usual: Entry | None) -> None:
        """`usual`: the row of a request whose handler says nothing; None for one that changes nothing."""
        self.actor = actor
        self._usual = usual
        self._entries: list[Entry] | None = None
        self.written = False

    def tell(self, entries: Sequence[Entry]) -> None:
        """Say what was done, object by object, instead of the usual row; of nothing there is no row."""
        self._entries = [*(self._entries or ()), *entries][:ENTRIES_LIMIT]

    def write(self, connection: psycopg.Connection) -> None:
        """Append the rows, once a request, in the transaction of the connection."""
        if self.written:
            return
        usual = [self._usual] if self._usual else []
        audit.record(connection, self.actor, usual if self._entries is None else self._entries, "done")
        self.written = True


class AuditedPool:
    """Connections whose transaction ends with the rows of the recorder: both are committed, or neither.

    A transaction that the borrower opens becomes a savepoint of ours, and its rollback ends no more than it always did.
    """

    def __init__(self, pool: Connections, recorder: Recorder) -> None:
        self._pool = pool
        self._recorder = recorder

    def connection(self) -> AbstractContextManager[psycopg.Connection]:
        """Borrow a connection for one change."""
        return self._changing()

    @contextmanager
    def _changing(self) -> Iterator[psycopg.Connection]:
        with self._pool.connection() as connection, connection.transaction():
            yield connection
            self._recorder.write(connection)


def refused(pool: Connections, actor: Actor, entry: Entry) -> None:
    """Record what was refused; that this cannot be written must not change the answer."""
    try:
        with pool.connection() as connection:
            audit.record(connection, actor, [entry], "refused")
    except psycopg.Error as error:
        log.warning("a refusal was not recorded", error=f"{type(error).__name__}: {error}")


def shown_changes(found: Sequence[Change]) -> list[Mapping[str, Any]]:
    """Return changes as a row holds them: without secrets, and not longer than people read."""
    shown = [
        {"path": change.path, "from": _shown(change.path, change.old), "to": _shown(change.path, change.new)}
        for change in found[:CHANGES_LIMIT]
    ]
    rest = len(found) - len(shown)
    return [*shown, *([{"path": f"and {rest} more"}] if rest else [])]


def _shown(path: str, value: Any) -> Any:
    clean = KNOWN.clean_field(path.rpartition(".")[2], value)
    text = json.dumps(clean, ensure_ascii=False, default=str)
    return clean if len(text) <= VALUE_LIMIT else f"{text[:VALUE_LIMIT]}…"
