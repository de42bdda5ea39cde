"""How long a person waits for the command line, beside what Python itself takes to start."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.benchmarks.measuring import WARM_UP, Workload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.dags import Dag
    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size, Stack

ROUNDS = 20
_PROGRAM = ("-m", "controller.cli.main")


class Starting(Workload):
    """The median of ROUNDS starts: of Python with nothing to do, of `--help`, of `get dags`."""

    name, title = "cli", "one command after the other"
    once = True

    def dags(self, size: Size) -> Sequence[Dag]:
        del size
        return [WARM_UP]

    def measure(self, stack: Stack) -> Figures:
        rounds = stack.size.of(ROUNDS, least=1)
        bare = {name: value for name, value in os.environ.items() if not name.startswith("SETPOINT_")}
        environment = bare | {"SETPOINT_URL": stack.url, "SETPOINT_TOKEN": stack.token}
        python = _median(("-c", "pass"), environment, rounds)
        help_ = _median((*_PROGRAM, "--help"), environment, rounds)
        get = _median((*_PROGRAM, "get", "dags"), environment, rounds)
        return {
            "python_ms": python,
            "help_ms": help_,
            "get_ms": get,
            "help_ratio": help_ / python,
            "get_ratio": get / python,
        }


def _median(arguments: Sequence[str], environment: dict[str, str], rounds: int) -> float:
    """Return the median in ms of how long a program takes."""
    taken = []
    for _ in range(int(rounds)):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)
        taken.append(1_000 * (time.perf_counter() - begun))
    return statistics.median(taken)
