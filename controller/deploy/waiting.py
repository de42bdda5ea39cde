"""Wait for what ECS does, with a bound, a line now and then, and the reason when it goes wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from controller.deploy.step import StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_logs import CloudWatchLogsClient

    from controller.deploy.definitions import Definition
    from controller.deploy.ecs import Ecs, OneOff, TaskState
    from controller.deploy.step import Say

LOG_LINES = 30
"""How many of a task's last lines are shown."""
_EXIT_CODES = {
    2: "its command line is wrong",
    125: "the container could not be started",
    126: "its command cannot be executed",
    127: "its command is not in the image",
    137: "it was killed: out of memory, or it did not end in time",
    139: "it crashed",
    143: "it was stopped",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how often to look."""

    poll: timedelta = timedelta(seconds=3)
    task: timedelta = timedelta(minutes=20)
    """A one-off task, with its image's pull; a migration of a large table takes most of it."""
    rollout: timedelta = timedelta(minutes=30)
    """A service's new tasks. The circuit breaker gives up earlier."""
    line: timedelta = timedelta(seconds=30)
    """Between two lines that say that we still wait."""


def until(what: str, look: Callable[[], bool], within: timedelta, patience: Patience, say: Say) -> None:
    """Look until it is so; raise StepFailed after `within`."""
    started = spoken = time.monotonic()
    while not look():
        now = time.monotonic()
        if now - started > within.total_seconds():
            raise StepFailed(f"{what} is still not so after {within.total_seconds():.0f} s")
        if now - spoken > patience.line.total_seconds():
            say(f"still waiting: {what} ({now - started:.0f} s)")
            spoken = now
        time.sleep(patience.poll.total_seconds())


@dataclass(frozen=True, slots=True)
class OneOffs:
    """Runs tasks once, to their end."""

    ecs: Ecs
    logs: CloudWatchLogsClient
    patience: Patience

    def run(self, task: OneOff, definition: Definition, say: Say) -> list[str]:
        """Run a task and return its last lines; raise StepFailed with them and ECS's reason unless it ends with 0."""
        arn = self.ecs.run(task)
        state: TaskState | None = None

        def ended() -> bool:
            nonlocal state
            # ECS may not show a task for some seconds after it took it.
            state = self.ecs.task(arn) or state
            return state is not None and state.stopped

        try:
            until(f"task {arn.rsplit('/', 1)[-1]} has ended", ended, self.patience.task, self.patience, say)
        except StepFailed:
            self.ecs.stop(arn, "the deployment waits no longer")
            raise
        lines = _tail(self.logs, definition.container(task.container), arn)
        if state is None or state.exit_code != 0:
            raise StepFailed(f"task {arn} failed: {_meaning(state)}", *lines)
        return lines


def _meaning(state: TaskState | None) -> str:
    if state is None:
        return "ECS does not show it"
    if state.exit_code is None:
        return state.reason or "it never started"
    meaning = _EXIT_CODES.get(state.exit_code)
    code = f"exit code {state.exit_code}" + (f" ({meaning})" if meaning else "")
    return f"{code}; {state.reason}" if state.reason else code


def _tail(logs: CloudWatchLogsClient, container: Mapping[str, Any], arn: str) -> list[str]:
    """Return a task's last lines, or a line that says where they are."""
    options = container.get("logConfiguration", {}).get("options", {})
    group, prefix = options.get("awslogs-group"), options.get("awslogs-stream-prefix")
    if not group or not prefix:
        return []
    stream = f"{prefix}/{container['name']}/{arn.rsplit('/', 1)[-1]}"
    try:
        answer = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=LOG_LINES, startFromHead=False)
    except (ClientError, BotoCoreError) as error:
        # The lines only explain; the exit code has decided.
        return [f"(its log {group} {stream} cannot be read: {error})"]
    return [str(event.get("message", "")) for event in answer["events"]]
