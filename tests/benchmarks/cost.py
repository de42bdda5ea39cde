"""What a task costs: CPU, AWS requests and Postgres statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.benchmarks import statements
from tests.benchmarks.dags import chain, fan
from tests.benchmarks.keepalive import KeepAlive
from tests.benchmarks.measuring import WARM_UP, Workload, timed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.dags import Dag
    from tests.benchmarks.results import Figures
    from tests.benchmarks.stack import Size, Stack


class Cost(Workload):
    """CPU, requests and statements a task: in a chain (nothing to group), a fan and a crowd of runs (much to group)."""

    name, title = "cost", "CPU, AWS requests and Postgres statements a task"
    once = True
    statistics = True

    def __init__(self) -> None:
        self._costliest: dict[str, list[dict[str, Any]]] = {}

    def dags(self, size: Size) -> Sequence[Dag]:
        return [WARM_UP, chain("chain", size.of(100)), fan("fan", size.of(300)), fan("small", 3)]

    def measure(self, stack: Stack) -> Figures:
        runs = {"chain": 1, "fan": 1, "small": stack.size.of(60)}
        return {f"{dag}_{name}": value for dag, n in runs.items() for name, value in self._of(stack, dag, n).items()}

    def facts(self, stack: Stack) -> Mapping[str, Any]:
        del stack
        return {"costliest": self._costliest}

    def _of(self, stack: Stack, dag: str, runs: int) -> dict[str, float]:
        statements.reset(stack)
        requests, used = _sqs_requests(stack), stack.cpu_by_program()
        tasks = len(timed(stack, dag, runs).bodies)
        spent = {name: seconds - used.get(name, 0.0) for name, seconds in stack.cpu_by_program().items()}
        requests, asked = _sqs_requests(stack) - requests, statements.read(stack)
        self._costliest[dag] = asked.costliest(tasks)
        return {
            "sqs_requests_per_task": requests / tasks,
            "statements_per_task": asked.calls / tasks,
            "commits_per_task": asked.commits / tasks,
            "executing_ms_per_task": asked.executing / tasks,
            "planning_ms_per_task": asked.planning / tasks,
            **{f"cpu_ms_per_task_{name}": seconds * 1000 / tasks for name, seconds in sorted(spent.items())},
        }


def _sqs_requests(stack: Stack) -> int:
    """Return how many requests the local SQS has answered: it numbers its answers."""
    server = KeepAlive(stack.environment("controller.main")["AWS_ENDPOINT_URL_SQS"])
    server.post("/", {}, {"X-Amz-Target": "AmazonSQS.ListQueues"})
    return int(server.answer_headers["x-amzn-RequestId"])
