"""Dispatch latency against history: the same chain and the same fan beside ever more finished rows."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, LiteralString

from tests.benchmarks.dags import chain, fan
from tests.benchmarks.measuring import WARM_UP, Workload, timed
from tests.benchmarks.results import percentile
from tests.benchmarks.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.dags import Dag
    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size

ROUNDS = 5
TASKS_A_RUN = 100
STEP = 200_000
"""Task rows that are written in one transaction."""

# What is inserted refers to what exists, and 10 million checks of that would measure nothing.
_PREPARE: tuple[LiteralString, ...] = (
    "SET session_replication_role = replica",
    "SET synchronous_commit = off",
    "SET statement_timeout = 0",
)
_RUNS: LiteralString = """
    INSERT INTO run (uid, namespace, name, dag_uid, dag, revision, key, trigger, phase, reason, deadline, created_at,
                     started_at, ended_at)
    SELECT 'old' || n, 'default', 'warm-old' || n, dag.uid, dag.name, dag.generation, 'old' || n, 'manual', 'Succeeded',
           'Succeeded', at, at, at, at + interval '10 s'
      FROM generate_series(%(first)s::int, %(last)s::int) n
     CROSS JOIN LATERAL (SELECT now() - interval '30 days' + n * interval '1 s' AS at) AS passed
      JOIN resource dag ON dag.kind = 'Dag' AND dag.name = 'warm'
"""
_TASKS: LiteralString = """
    INSERT INTO task_run (run_uid, task, dag_uid, pool_uid, phase, number, ready_at, started_at, ended_at, outputs, reason)
    SELECT run.uid, 't' || task, run.dag_uid, pool.uid, 'Succeeded', 1, run.created_at, run.created_at, run.ended_at,
           '{"began": 1.5, "ended": 1.5}', 'Succeeded'
      FROM generate_series(%(first)s::int, %(last)s::int) n
      JOIN run ON run.uid = 'old' || n
     CROSS JOIN generate_series(1, %(tasks)s) task
      JOIN resource pool ON pool.kind = 'WorkerPool'
"""
_ATTEMPTS: LiteralString = """
    INSERT INTO attempt (id, run_uid, task, idx, number, dag_uid, pool_uid, phase, worker, request, token_hash, timeout,
                         queue_by, sent_at, claimed_at, next_check_at, created_at, reported_at, ended_at, reason, outputs)
    SELECT run.uid || '/t' || task || '/0/1', run.uid, 't' || task, 0, 1, run.dag_uid, pool.uid, 'Succeeded', 'old', 'old',
           '\\x00', '1 h', run.ended_at, run.created_at, run.created_at, run.ended_at, run.created_at, run.ended_at,
           run.ended_at, 'Succeeded', '{"began": 1.5, "ended": 1.5}'
      FROM generate_series(%(first)s::int, %(last)s::int) n
      JOIN run ON run.uid = 'old' || n
     CROSS JOIN generate_series(1, %(tasks)s) task
      JOIN resource pool ON pool.kind = 'WorkerPool'
"""
_EVENTS: LiteralString = """
    INSERT INTO event (at, type, namespace, kind, name, run_uid, reason, message)
    SELECT run.ended_at, 'Normal', run.namespace, 'DagRun', run.name, run.uid, 'Succeeded', 'run is Succeeded'
      FROM generate_series(%(first)s::int, %(last)s::int) n
      JOIN run ON run.uid = 'old' || n
"""
_SETTLE: tuple[LiteralString, ...] = ("VACUUM (ANALYZE) run, task_run, attempt, event", "CHECKPOINT")
_SCANNED: LiteralString = """
    SELECT sum(seq_tup_read)::float8 FROM pg_stat_user_tables
     WHERE schemaname = 'setpoint' AND relname IN ('run', 'task_run', 'attempt', 'event')
"""
STATISTICS_SECONDS = 1.1
"""How long Postgres may take to count what a session did."""


class History(Workload):
    """Hops and tasks a second with no history and with `rows` finished tasks, and by what factor they differ.

    Two systems, of which one idles while the other works, in turns: so whoever else uses the machine slows both.
    """

    name, title = "history", "dispatch beside finished rows"
    once = True

    def dags(self, size: Size) -> Sequence[Dag]:
        return [WARM_UP, chain("chain", size.of(100)), fan("fan", size.of(200))]

    def measure(self, stack: Stack) -> Figures:
        fill(stack, stack.size.rows)
        old, young = Dispatches(stack), Dispatches(Stack(self.dags(stack.size), stack.size))
        with young.stack:
            for one in (old, young):
                self.warm_up(one.stack)
                one.scanned_before = scanned(one.stack)
            for _ in range(stack.size.of(ROUNDS, least=1)):
                old.go()
                young.go()
            found, fresh = old.figures(), young.figures()
        return {
            **{f"{name}_{stack.size.rows}": value for name, value in found.items()},
            **{f"{name}_0": value for name, value in fresh.items()},
            "hop_ratio": found["hop_p50_ms"] / fresh["hop_p50_ms"],
            "fan_ratio": fresh["fan_tasks_per_s"] / found["fan_tasks_per_s"],
        }


@dataclass(slots=True)
class Dispatches:
    """Chains and fans on one system."""

    stack: Stack
    hops: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    tasks: int = 0
    scanned_before: float = 0.0

    def go(self) -> None:
        """Run a chain and a fan."""
        line, wide = timed(self.stack, "chain"), timed(self.stack, "fan")
        self.hops += line.hops
        self.rates.append(wide.rate)
        self.tasks += len(line.bodies) + len(wide.bodies)

    def figures(self) -> Figures:
        """Return the medians of all rounds."""
        return {
            "hop_p50_ms": percentile(self.hops, 0.5),
            "fan_tasks_per_s": percentile(self.rates, 0.5),
            "rows_scanned_per_task": (scanned(self.stack) - self.scanned_before) / self.tasks,
        }


def fill(stack: Stack, rows: int) -> None:
    """Add finished runs of TASKS_A_RUN tasks until there are `rows` old task rows, each with its attempt."""
    runs = max(rows // TASKS_A_RUN, 1)
    began = time.monotonic()
    with stack.connect() as connection:
        for statement in _PREPARE:
            connection.execute(statement)
        for first in range(1, runs + 1, STEP // TASKS_A_RUN):
            last = min(first + STEP // TASKS_A_RUN - 1, runs)
            with connection.transaction():
                for insert in (_RUNS, _TASKS, _ATTEMPTS, _EVENTS):
                    connection.execute(insert, {"first": first, "last": last, "tasks": TASKS_A_RUN})
            sys.stderr.write(f"history: {last * TASKS_A_RUN:,} rows, {time.monotonic() - began:.0f} s\n")
        for statement in _SETTLE:
            connection.execute(statement)


def scanned(stack: Stack) -> float:
    """Return how many rows were read by sequential scans so far: with history, a scan reads all of it."""
    time.sleep(STATISTICS_SECONDS)
    return float(stack.value(_SCANNED))
