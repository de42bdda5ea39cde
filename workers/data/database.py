"""Say of every database error what it means for the task."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from crds.reasons import Reason
from workers.task import StaleFence, TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

UNAVAILABLE = "DatabaseUnavailable"
STALE_FENCE = "SP001"
STAGE_LOST = "SP004"
_REFUSALS = {"SP002": "SchemaConflict", "SP003": "WriteRefused"}
# Classes of SQLSTATE: data exception, integrity constraint violation.
_DATA_CLASSES = {"22": "DataError", "23": "ConstraintViolation"}
_OURS = {
    "23505": ("DuplicateKey", "rows share a value of the unique key"),
    "42P01": ("UnknownTable", "the table does not exist; has its dataset been applied?"),
    "42501": ("PermissionDenied", "the login may not do this; see the grants of the pool"),
    "57014": ("StatementTimeout", "the statement took longer than the login's statement_timeout"),
}
# Connection exception, operator intervention (shutdown, crash), insufficient resources, rollback.
_TRANSIENT_CLASSES = {"08", "57", "53", "40"}


@contextmanager
def database_errors(what: str) -> Iterator[None]:
    """Raise StaleFence or TaskFailed instead of what psycopg raises; `what` says what was being done."""
    try:
        yield
    except psycopg.Error as error:
        raise _meaning(error, what) from error


def _meaning(error: psycopg.Error, what: str) -> Exception:
    state = error.sqlstate or ""
    text = (error.diag.message_primary or str(error)).strip()
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    if state == STALE_FENCE:
        return StaleFence(text)
    if state == STAGE_LOST:
        return TaskFailed("StagedRowsLost", f"{what}: {text}", Reason.INFRASTRUCTURE_ERROR)
    if state in _REFUSALS:
        return TaskFailed(_REFUSALS[state], f"{what}: {text}{detail}")
    if state in _OURS:
        kind, hint = _OURS[state]
        return TaskFailed(kind, f"{what}: {hint}: {text}{detail}")
    if state[:2] in _DATA_CLASSES:
        return TaskFailed(_DATA_CLASSES[state[:2]], f"{what}: {text}{detail}")
    if state[:2] in _TRANSIENT_CLASSES or (not state and isinstance(error, psycopg.OperationalError)):
        return TaskFailed(UNAVAILABLE, f"{what}: {text}", Reason.INFRASTRUCTURE_ERROR)
    return TaskFailed("DatabaseError", f"{what}: {text}{detail} (SQLSTATE {state or 'none'})")
