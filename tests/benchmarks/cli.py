"""The command line: `python -m tests.benchmarks [WORKLOAD …]`."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import plot
from tests.benchmarks.cost import Cost
from tests.benchmarks.history import History
from tests.benchmarks.hop import Hop
from tests.benchmarks.idle import Idle
from tests.benchmarks.neighbours import Neighbours
from tests.benchmarks.passes import Passes
from tests.benchmarks.rates import Rates
from tests.benchmarks.recovery import Recovery
from tests.benchmarks.results import Result, load, spreads
from tests.benchmarks.stack import BenchmarkError, Size, Stack
from tests.benchmarks.starting import Starting
from tests.benchmarks.statements import NoStatistics
from tests.benchmarks.table import render
from tests.benchmarks.workloads import Chain, Compute, Crowd, Fan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.measuring import Workload
    from tests.benchmarks.results import Figures

ALL: tuple[Workload, ...] = (
    *(Chain(), Fan(), Compute(), Crowd(), Recovery(), Idle()),
    *(Rates(), Cost(), Passes(), History(), Hop(), Starting()),
)
WORKLOADS = {workload.name: workload for workload in ALL}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is named; print a table, or a JSON line each."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["plot"]:
        return plot.main(given[1:])
    options = _parser().parse_args(given)
    # As Ctrl-C does, so that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    size = Size(options.slots, options.workers, options.scale, options.rows)
    results: list[Result] = []
    wanted = options.workloads or list(WORKLOADS)
    for name in wanted:
        try:
            result = run(WORKLOADS[name], size, options.repeat)
        except (BenchmarkError, NoStatistics) as error:
            sys.stderr.write(f"{name}: {error}\n")
            continue
        results.append(result)
        if options.save:
            with options.save.open("a") as file:
                file.write(result.line() + "\n")
        if options.output == "json":
            sys.stdout.write(result.line() + "\n")
            sys.stdout.flush()
    if options.output == "table":
        sys.stdout.write(render(results))
    return 0 if len(results) == len(wanted) else 1


def run(workload: Workload, size: Size, repeat: int) -> Result:
    """Measure a workload on a system of its own."""
    fitting = replace(size, slots=workload.slots or size.slots)
    with Stack(workload.dags(size), fitting, statistics=workload.statistics) as stack:
        return measure(workload, stack, repeat)


def measure(workload: Workload, stack: Stack, repeat: int) -> Result:
    """Measure a workload `repeat` times after a warm-up."""
    workload.warm_up(stack)
    load1 = load()
    rounds: list[Figures] = []
    for number in range(1, 2 if workload.once else repeat + 1):
        with Neighbours() as neighbours:
            figures = workload.measure(stack)
        rounds.append({**figures, "others_cpu_percent": neighbours.percent})
        brief = " ".join(f"{name}={value:.4g}" for name, value in rounds[-1].items())
        sys.stderr.write(f"{workload.name} {number}: {brief}\n")
    facts = {"slots": stack.size.slots, "workers": stack.size.workers, **workload.facts(stack)}
    return Result(workload.name, workload.title, spreads(rounds), len(rounds), load1, facts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; all if none")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of each, after a warm-up")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--save", type=Path, metavar="FILE", help="append the JSON lines to a file")
    parser.add_argument("--slots", type=int, default=16, help="tasks at once in a worker")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--scale", type=float, default=1.0, help="less than 1 does a part of each workload")
    parser.add_argument("--rows", type=int, default=1_000_000, help="old task rows of `history`")
    return parser
