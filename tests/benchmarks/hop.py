"""Where each millisecond of a hop goes: from one body's end to the next body's start, along its stations.

Read from the attempts' rows and the workers' logs, so nothing is added to what is measured. Times of rows are those at
which their transactions began.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, LiteralString

from tests.benchmarks.dags import chain
from tests.benchmarks.measuring import WARM_UP, Workload, timed
from tests.benchmarks.results import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.dags import Dag
    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size, Stack

GRANTED, QUEUED, UNKNOWN = "granted", "queued", "unknown"
"""The next attempt came in the answer to the report, or as a message; or the logs do not tell."""

Spans = Mapping[str, float]
Logged = Mapping[tuple[str, str], float]

_ATTEMPTS: LiteralString = """
    SELECT attempt.id, extract(epoch FROM attempt.created_at)::float8, extract(epoch FROM sent_at)::float8,
           extract(epoch FROM claimed_at)::float8, extract(epoch FROM attempt.ended_at)::float8,
           (attempt.outputs->>'began')::float8, (attempt.outputs->>'ended')::float8
      FROM attempt
     WHERE run_uid = ANY(%s) AND attempt.outputs ? 'began'
     ORDER BY 6
"""


@dataclass(frozen=True, slots=True)
class Stations:
    """When an attempt passed its stations, in seconds since the epoch."""

    id: str
    created: float
    sent: float | None
    claimed: float
    recorded: float
    began: float
    ended: float


class Hop(Workload):
    """The stations of W1's hops; the means of those that are numbered add up to the mean hop."""

    name, title = "hop", "where the milliseconds of W1's hops go"

    def dags(self, size: Size) -> Sequence[Dag]:
        return [WARM_UP, chain("chain", size.of(100))]

    def measure(self, stack: Stack) -> Figures:
        run = timed(stack, "chain").runs
        attempts = [Stations(*row) for row in stack.rows(_ATTEMPTS, run)]
        logged = _logged(stack)
        hops = [_path(before, after, logged) for before, after in pairwise(attempts)]
        found = {"granted_share": sum(path == GRANTED for path, _ in hops) / len(hops)}
        for path in (GRANTED, QUEUED, UNKNOWN):
            found |= _summed(path, [spans for taken, spans in hops if taken == path])
        return found


def _path(before: Stations, after: Stations, logged: Logged) -> tuple[str, Spans]:
    """Return which way the next attempt came, and the seconds between the stations of that way."""
    ended, answered = (logged.get((before.id, event)) for event in ("attempt.ended", "attempt.reported"))
    whole = {"hop": after.began - before.ended}
    if ended is None or answered is None:
        return UNKNOWN, whole
    first = whole | {
        "1_body_ended_to_worker_knows": ended - before.ended,
        "2_to_report_transaction": before.recorded - ended,
    }
    if after.sent is None and after.claimed <= answered:
        return GRANTED, first | {
            "3_to_answer_with_the_grant": answered - before.recorded,
            "4_to_next_body": after.began - answered,
        }
    sent = {} if after.sent is None else {"beside_intended_to_message_sent": after.sent - after.created}
    return QUEUED, first | sent | {
        "3_to_next_attempt_intended": after.created - before.recorded,
        "4_to_claim_transaction": after.claimed - after.created,
        "5_to_next_body": after.began - after.claimed,
        "beside_report_to_answer": answered - ended,
    }


def _summed(path: str, hops: Sequence[Spans]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in sorted({name for spans in hops for name in spans}):
        milliseconds = [spans[name] * 1000 for spans in hops if name in spans]
        found[f"{path}_{name}_mean_ms"] = sum(milliseconds) / len(milliseconds)
        found[f"{path}_{name}_p50_ms"] = percentile(milliseconds, 0.5)
        found[f"{path}_{name}_p99_ms"] = percentile(milliseconds, 0.99)
    return found


def _logged(stack: Stack) -> Logged:
    """Return when workers logged what of which attempt."""
    found: dict[tuple[str, str], float] = {}
    for path in (stack.data / "logs").rglob("*.log"):
        for line in path.read_text(errors="replace").splitlines():
            if '"attempt.' in line and line.startswith("{"):
                said = json.loads(line)
                found[said["attempt"], said["event"]] = datetime.fromisoformat(said["time"]).timestamp()
    return found
