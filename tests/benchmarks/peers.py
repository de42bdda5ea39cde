"""What other orchestrators reached with the same workloads, measured by us on one machine of two cores.

Medians, November 2026, each in its durable set-up on Postgres where it has one. Missing: it does not do that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Peer:
    """An orchestrator in one set-up, and its figures by (workload, figure)."""

    name: str
    figures: Mapping[tuple[str, str], float]


def _peer(
    name: str,
    hop: tuple[float, float | None] | None = None,
    fan: float | None = None,
    compute: tuple[float | None, float | None] = (None, None),
    crowd: float | None = None,
    rerun: float | None = None,
    idle: tuple[float, float] | None = None,
) -> Peer:
    hop_p50, hop_p99 = hop or (None, None)
    memory, cpu = idle or (None, None)
    found = {
        ("W1", "hop_p50_ms"): hop_p50,
        ("W1", "hop_p99_ms"): hop_p99,
        ("W2", "tasks_per_s"): fan,
        ("W3", "light_wall_s"): compute[0],
        ("W3", "heavy_overhead_s"): compute[1],
        ("W4", "tasks_per_s"): crowd,
        ("W5", "child_p50_s"): rerun,
        ("W5", "worker_p50_s"): rerun,
        ("idle", "pss_mb"): memory,
        ("idle", "cpu_percent"): cpu,
    }
    return Peer(name, {figure: value for figure, value in found.items() if value is not None})


PEERS = (
    _peer("Airflow 3.3, LocalExecutor", (1169, 1978), 7.9, (42.7, 6.6), 7.0, 8.8, (1244, 5.5)),
    _peer("Dagster 1.13, multiprocess", (1836, 3122), 0.55, (84.7, 26.9), 0.5, 10, (357, 2.3)),
    _peer("Prefect 3.8, a run in one process", (3.8, 144), 81, (11.3, 9.4), 1.5, None, (269, 3.4)),
    _peer("Luigi 3.8, 4 workers", (10.6, 16), 80, (0.79, 0.34), 35, 57, (23, 0)),
    _peer("DBOS 3.4, queued", hop=(1008, None), fan=28, crowd=30, rerun=0.6, idle=(105, 4.2)),
    _peer("DBOS 3.4, a run in one process", hop=(3.8, None), compute=(0.43, 0.12), crowd=444),
    _peer("Celery 5.7 + Redis, no run record", (1.95, 7.8), 211, (0.09, 0.04), 616, None, (152, 0.4)),
    _peer("procrastinate 3.10, no DAG", (11.9, 37), 383, (0.49, 0.09), 235, None, (55, 0.6)),
    _peer("Restate 1.7, a run in one process", hop=(1.4, None), compute=(0.08, None)),
    _peer("Restate 1.7, service calls", (6.1, None), 564, (0.29, 0.1), 392, 0.6, (384, 2.6)),
    _peer("Temporal test server, in memory", (3.9, 9.5), 682, (0.19, 0.08), 315, 1.5, (175, 0)),
)
