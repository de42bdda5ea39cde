"""Make a fault, on this machine as it happens there, on AWS by what AWS lets one do from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from controller.cli.errors import CliError
from controller.drill.history import Kind
from controller.runtime.holder import process_of, task_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from controller.drill.place import Place

ORDER_SECONDS = 10.0
HOLD_SECONDS = 30
"""For how long a message that the drill holds is nobody else's, if the drill dies before it purges."""
HOLD_WITHIN = 15.0
RECEIVE_MOST, RECEIVE_WAIT = 10, 1

WORDS = {
    Kind.KILL_WORKER: "kill the worker that runs most of the tasks",
    Kind.PURGE_QUEUE: "delete every message of the pool's queue, also those of other runs that wait there",
    Kind.STOP_CONTROLLER: "kill the dispatcher that leads",
    Kind.SPOT_NOTICE: "interrupt the worker that runs most of the tasks, as Fargate Spot does",
}
ON_AWS = {
    Kind.KILL_WORKER: "On AWS by StopTask: SIGTERM first, so a worker that still can reports what it gives up. "
    "A kill -9 from outside needs ECS Exec, which these services leave off, and PID 1 would not obey it from within.",
    Kind.PURGE_QUEUE: "On AWS by PurgeQueue, which SQS takes at most once a minute.",
    Kind.STOP_CONTROLLER: "On AWS by StopTask on the leader's task: it lets its lease go if it can.",
    Kind.SPOT_NOTICE: "On AWS by StopTask: SIGTERM, then SIGKILL after stopTimeout; stopCode is UserInitiated, "
    "for only AWS itself can say SpotInterruption.",
}
REASON = "setpoint drill"


def strike_task(place: Place, kind: Kind, task: str) -> str:
    """Hit the ECS task of a worker; return what was done."""
    short = task.rpartition("/")[2]
    if not place.local:
        place.ecs().stop_task(cluster=place.cluster, task=task, reason=f"{REASON}: {kind}")
        return f"StopTask {short}"
    killed = kind is Kind.KILL_WORKER
    _order(place, {"kill" if killed else "interrupt": [short]})
    return f"SIGKILL to the processes of task {short[:12]}" if killed else f"spot notice to task {short[:12]}"


def strike_leader(place: Place, holder: str) -> str:
    """Stop the process that leads; return what was done."""
    task = task_of(holder)
    if task is not None:
        place.ecs().stop_task(cluster=place.cluster, task=task, reason=f"{REASON}: {Kind.STOP_CONTROLLER}")
        return f"StopTask {task}"
    pid = process_of(holder, socket.gethostname()) if place.local else None
    if pid is None:
        raise CliError(f"the leader {holder!r} is no ECS task and no process of this machine; nothing was done")
    os.kill(pid, signal.SIGKILL)
    return f"SIGKILL to the dispatcher (process {pid})"


class Held:
    """Messages that the drill has received as a worker would, so that they wait: it purges them, or gives them back."""

    def __init__(self, place: Place, queue: str) -> None:
        self._sqs = place.sqs()
        self._url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        self._handles: list[str] = []
        self.attempts: set[str] = set()

    def take(self, run: str, wanted: int, within: float = HOLD_WITHIN) -> None:
        """Hold some messages of a run (its uid); others are given back at once."""
        deadline = time.monotonic() + within
        while len(self.attempts) < wanted and time.monotonic() < deadline:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(RECEIVE_MOST, wanted - len(self.attempts)),
                WaitTimeSeconds=RECEIVE_WAIT,
                VisibilityTimeout=HOLD_SECONDS,
            )
            for message in answer.get("Messages", []):
                self._keep(run, message)
            if self.attempts and not answer.get("Messages"):
                return

    def purge(self) -> None:
        """Delete all messages of the queue."""
        self._sqs.purge_queue(QueueUrl=self._url)
        self._handles.clear()

    def give_back(self) -> None:
        """Let workers receive what is held."""
        while self._handles:
            self._release(self._handles.pop())

    def _keep(self, run: str, message: Any) -> None:
        attempt = _attempt(message["Body"])
        if attempt.partition("/")[0] != run:
            self._release(message["ReceiptHandle"])
            return
        self._handles.append(message["ReceiptHandle"])
        self.attempts.add(attempt)

    def _release(self, handle: str) -> None:
        self._sqs.change_message_visibility(QueueUrl=self._url, ReceiptHandle=handle, VisibilityTimeout=0)


def waiting(attempts: Collection[str]) -> frozenset[tuple[str, int]]:
    """Return attempt ids as (task, number)."""
    found = set()
    for attempt in attempts:
        _, task, index, number = attempt.split("/")
        found.add((f"{task}[{index}]" if index != "0" else task, int(number)))
    return frozenset(found)


def _attempt(body: str) -> str:
    try:
        return str(json.loads(body)["attempt"])
    except (ValueError, KeyError, TypeError):
        return ""


def _order(place: Place, order: dict[str, list[str]]) -> None:
    """Order a fault of the local ECS."""
    request = urllib.request.Request(  # noqa: S310 - the address that `up` wrote
        f"{place.endpoints['ecs']}/_faults", json.dumps(order).encode(), {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=ORDER_SECONDS).close()  # noqa: S310 - likewise
    except OSError as error:
        raise CliError(f"the local ECS does not take the fault ({error}); is `setpoint up` still running?") from error
