"""What a worker's report writes: the end of its attempt, or a failure where it breaks a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import psycopg

from controller.api.tokens import token_hash
from controller.diff.reports import Reported, judge
from controller.diff.settle import Ended
from controller.store import fences, task_runs
from controller.store.fences import Outcome
from crds.phases import AttemptPhase
from crds.protocol import MAX_ERROR_BYTES, MAX_OUTPUTS_BYTES, Report, TaskError
from crds.reasons import Reason
from crds.storable import unstorable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from controller.actions import TaskKey
    from controller.diff.reports import Verdict
    from controller.store.fences import ReportRow
    from crds.names import AttemptId

NUL, REPLACEMENT = "\0", "\N{REPLACEMENT CHARACTER}"
"""Postgres stores no NUL in text."""
NAME_CHARS = 256
"""The most characters of an error's class."""
# SQLSTATE of a write that the task does not declare (see the migration).
_REFUSED_WRITE = "SP003"


def record(
    connection: psycopg.Connection,
    rows: Mapping[str, ReportRow],
    by_id: Mapping[AttemptId, Report],
    verdicts: Mapping[AttemptId, Verdict],
    now: datetime,
) -> dict[TaskKey, tuple[AttemptId, Ended]]:
    """End attempts; locked since they were judged, they are still as they were seen."""
    outcomes: list[Outcome] = []
    ends: dict[TaskKey, tuple[AttemptId, Ended]] = {}
    for attempt, verdict in verdicts.items():
        if isinstance(verdict, Ended):
            end, outcome = _outcome(connection, rows[attempt], by_id[attempt], verdict, now)
            ends[rows[attempt].key] = (attempt, end)
            outcomes.append(outcome)
    fences.report(connection, outcomes, now)
    won = [o for o in outcomes if o.phase is AttemptPhase.SUCCEEDED]
    task_runs.remember(connection, [o.attempt for o in won if o.bookmark is not None or rows[o.attempt].bookmarked])
    return ends


def verdict(row: ReportRow | None, report: Report) -> Verdict:
    """Return what a report does to the attempt that was found, if any."""
    return judge(_reported(row, report), report)


def _reported(row: ReportRow | None, report: Report) -> Reported | None:
    if row is None:
        return None
    fits = row.token_hash is not None and row.token_hash == token_hash(report.token)
    return Reported(row.phase, fits, row.reported_at is not None, row.cancelling)


def readable(report: Report) -> Report:
    """Return a report whose error is cut to what people read and Postgres can hold; its attempt has ended in any case."""
    error = report.error
    if error is None:
        return report
    cut = TaskError(
        _storable(error.reason[:NAME_CHARS]),
        _storable(error.kind[:NAME_CHARS]),
        _storable(error.message[:MAX_ERROR_BYTES]),
        _storable(error.traceback[-MAX_ERROR_BYTES:]),
    )
    return msgspec.structs.replace(report, error=cut)


def _storable(text: str) -> str:
    return text.replace(NUL, REPLACEMENT)


def _outcome(
    connection: psycopg.Connection, row: ReportRow, report: Report, ended: Ended, now: datetime
) -> tuple[Ended, Outcome]:
    """Return the end and the row to write; a success that breaks a limit or writes what it may not is a failure."""
    versions: dict[str, int] | None = None
    succeeded = ended.phase is AttemptPhase.SUCCEEDED
    if succeeded and not row.committed:
        if (refused := _unfit(report)) is not None:
            ended = refused
        elif report.writes:
            ended, versions = _apply(connection, row.id, report, ended, now)
    succeeded = ended.phase is AttemptPhase.SUCCEEDED
    outcome = Outcome(
        row.id,
        row.phase,
        ended.phase,
        ended.reason,
        ended.message,
        None if succeeded or report.error is None else msgspec.to_builtins(report.error),
        report.outputs if succeeded else None,
        report.bookmark if succeeded else None,
        versions,
        report.metrics or None,
    )
    return ended, outcome


def _unfit(report: Report) -> Ended | None:
    """Return the failure of a success whose outputs cannot be kept."""
    for value in (report.outputs, report.bookmark):
        if len(msgspec.json.encode(value)) > MAX_OUTPUTS_BYTES:
            return Ended(AttemptPhase.FAILED, Reason.USER_ERROR, "outputs are larger than 64 KiB", "OutputsTooLarge")
        if found := unstorable(value):
            message = f"outputs cannot be kept: {found}"
            return Ended(AttemptPhase.FAILED, Reason.USER_ERROR, message, "OutputsInvalid")
    return None


def _apply(
    connection: psycopg.Connection, attempt: AttemptId, report: Report, ended: Ended, now: datetime
) -> tuple[Ended, dict[str, int] | None]:
    try:
        with connection.transaction():
            return ended, fences.apply_writes(connection, attempt, msgspec.to_builtins(report.writes), now)
    except psycopg.Error as error:
        if error.sqlstate != _REFUSED_WRITE:
            raise
        message = error.diag.message_primary or str(error)
        return Ended(AttemptPhase.FAILED, Reason.USER_ERROR, message, "RefusedWrite"), None
