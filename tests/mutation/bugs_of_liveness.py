"""Bugs of who counts as alive, and of what a worker is told: leases, deadlines, reports and what their answers bring."""

from __future__ import annotations

from tests.mutation.mutant import Mutant
from tests.mutation.planting import InFunction, InText, WithoutCheck

_REPORTING = "controller.api.reporting"
_HANDOVER = "tests/integration/test_core_handover.py"

OF_LIVENESS = (
    Mutant(
        name="report-after-lost",
        breaks="the report of an attempt that was given up is recorded",
        edits=(
            InFunction(
                "controller.diff.reports:judge",
                'return "recorded" if found.reported else "stale"',
                'return "recorded" if found.reported else _end(report, cancelling=found.cancelling)',
            ),
        ),
        caught_by=r"was final and changed.*\(I3\)|are booked",
    ),
    Mutant(
        name="lost-without-open-since",
        breaks="workers are given up although no heartbeat could have arrived: a database outage of a minute loses all",
        edits=(
            InFunction(
                "controller.diff.pools:_gone",
                "max(worker.heartbeat_by, view.open_since + LEASE) <= now",
                "worker.heartbeat_by <= now",
            ),
        ),
        caught_by="Lost",
        tests=("tests/integration/test_core_workers.py::test_an_outage_of_the_api_loses_nobody",),
    ),
    Mutant(
        name="lost-in-spite-of-heartbeat",
        breaks="a worker is given up although its heartbeat came in between the look and the verdict",
        edits=(InText("controller.store.workers:_END", "AND worker.renewed_at = gone.renewed_at ", ""),),
        caught_by="in spite of",
        tests=("tests/integration/test_core_leases.py",),
    ),
    Mutant(
        name="no-deadline",
        breaks="a claim sets no deadline, so what hangs is never looked at again",
        edits=(
            WithoutCheck("attempt.next_check_at"),
            InText(
                "controller.store.fences:_CLAIM",
                "next_check_at = %(now)s + timeout + %(finish_grace)s",
                "next_check_at = CASE WHEN %(finish_grace)s IS NOT NULL THEN 'infinity'::timestamptz END",
            ),
        ),
        caught_by=r"\(I6\)",
    ),
    Mutant(
        name="handover-not-repeated",
        breaks="the answer to a repeated report brings no grants, so what was handed over in the lost one never runs",
        edits=(InFunction(f"{_REPORTING}:_again", "    rows = fences", "    pairs = []\n    rows = fences"),),
        caught_by="test_a_repeated_report",
        tests=(_HANDOVER,),
    ),
    Mutant(
        name="handover-repeated-with-new",
        breaks="the answer to a repeated report brings other attempts than the lost one",
        edits=(
            InFunction(
                f"{_REPORTING}:_rooms", "heartbeat_by > now and not _repeated(request, verdicts)", "heartbeat_by > now"
            ),
            InFunction(f"{_REPORTING}:_again", "    rows = fences", "    pairs = []\n    rows = fences"),
        ),
        caught_by="test_a_repeated_report",
        tests=(_HANDOVER,),
    ),
    Mutant(
        name="handover-to-draining",
        breaks="a worker that drains is handed attempts with the answers to its reports",
        edits=(InText("controller.store.workers:_TAKERS", " AND NOT worker.drain", ""),),
        caught_by="handed_nothing",
        tests=(_HANDOVER,),
    ),
    Mutant(
        name="handover-to-dead",
        breaks="a worker that was given up is handed attempts with the answers to its reports",
        edits=(
            InText("controller.store.workers:_TAKERS", "AND worker.ended_at IS NULL ", ""),
            InFunction(f"{_REPORTING}:_rooms", "if heartbeat_by > now and", "if pool and"),
        ),
        caught_by="handed_nothing",
        tests=(_HANDOVER,),
    ),
)
