"""The operations on tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.local.awsjson import AwsError, JsonObject, Operation, Operations
from controller.local.ecs.model import NO_OVERRIDES, Overrides, Pair, Status, StopCode, Task, last_part
from controller.local.ecs.paging import page
from controller.local.ecs.render import task_shape
from controller.local.ecs.tasks import Launch, Tasks

if TYPE_CHECKING:
    from controller.local.ecs.clusters import Clusters
    from controller.local.ecs.faults import Faults
    from controller.local.ecs.ledger import Ledger

_LARGEST_RUN = 10
_LARGEST_DESCRIBE = 100
# AWS keeps client tokens for up to a day; the count bounds ours.
_CLIENT_TOKENS_KEPT = 10_000


class ContainerOverride(msgspec.Struct, rename="camel"):
    """What RunTask changes of a container."""

    name: str
    command: list[str] = []
    environment: list[Pair] = []


class TaskOverride(msgspec.Struct, rename="camel", frozen=True):
    """What RunTask changes of a task."""

    container_overrides: list[ContainerOverride] = []


class RunTask(msgspec.Struct, rename="camel"):
    """The request of RunTask."""

    task_definition: str
    cluster: str | None = None
    count: int = 1
    started_by: str | None = None
    group: str | None = None
    client_token: str | None = None
    overrides: TaskOverride = TaskOverride()


class StopTask(msgspec.Struct, rename="camel"):
    """The request of StopTask."""

    task: str
    cluster: str | None = None
    reason: str = "Task stopped by user"


class ListTasks(msgspec.Struct, rename="camel"):
    """The request of ListTasks."""

    cluster: str | None = None
    service_name: str | None = None
    family: str | None = None
    started_by: str | None = None
    desired_status: Status = Status.RUNNING
    next_token: str | None = None
    max_results: int | None = None


class DescribeTasks(msgspec.Struct, rename="camel"):
    """The request of DescribeTasks."""

    tasks: list[str]
    cluster: str | None = None


class TaskOperations:
    """RunTask, StopTask, ListTasks, DescribeTasks."""

    def __init__(self, clusters: Clusters, ledger: Ledger, tasks: Tasks, faults: Faults) -> None:
        self._clusters = clusters
        self._ledger = ledger
        self._tasks = tasks
        self._faults = faults
        self._by_token: dict[tuple[str, str], tuple[RunTask, list[str]]] = {}

    def operations(self) -> Operations:
        """Return the operations by name."""
        return {
            "RunTask": Operation(RunTask, self._run),
            "StopTask": Operation(StopTask, self._stop),
            "ListTasks": Operation(ListTasks, self._list),
            "DescribeTasks": Operation(DescribeTasks, self._describe),
        }

    def _run(self, request: RunTask) -> JsonObject:
        cluster = self._clusters.name(request.cluster)
        if not 1 <= request.count <= _LARGEST_RUN:
            raise AwsError("InvalidParameterException", f"count must be between 1 and {_LARGEST_RUN}.")
        if (known := self._known(cluster, request)) is not None:
            return {"tasks": [task_shape(task) for task in known], "failures": []}
        launch = Launch(
            cluster=cluster,
            definition=self._clusters.definition(request.task_definition),
            overrides=_overrides(request.overrides),
            started_by=request.started_by,
            group=request.group,
        )
        placed = [not self._faults.placement_fails() for _ in range(request.count)]
        tasks = [self._tasks.launch(launch) for fits in placed if fits]
        self._remember(cluster, request, tasks)
        failures = [{"arn": launch.definition.arn, "reason": "RESOURCE:MEMORY"} for fits in placed if not fits]
        return {"tasks": [task_shape(task) for task in tasks], "failures": failures}

    def _known(self, cluster: str, request: RunTask) -> list[Task] | None:
        """Return the tasks that the same request started before; refuse another one with its token."""
        before = self._by_token.get((cluster, request.client_token or ""))
        if before is None:
            return None
        tasks = [task for task in map(self._ledger.find, before[1]) if task is not None]
        if before[0] != request:
            arns = [task.arn for task in tasks]
            raise AwsError("ConflictException", "The client token was used for another request.", resourceIds=arns)
        return tasks

    def _remember(self, cluster: str, request: RunTask, tasks: list[Task]) -> None:
        if request.client_token is None or not tasks:
            return
        self._by_token[cluster, request.client_token] = (request, [task.id for task in tasks])
        if len(self._by_token) > _CLIENT_TOKENS_KEPT:
            del self._by_token[next(iter(self._by_token))]

    def _stop(self, request: StopTask) -> JsonObject:
        cluster = self._clusters.name(request.cluster)
        task = self._ledger.find(last_part(request.task))
        if task is None or task.cluster != cluster:
            raise AwsError("InvalidParameterException", "The referenced task was not found.")
        return {"task": task_shape(self._tasks.stop(task.id, StopCode.USER, request.reason))}

    def _list(self, request: ListTasks) -> JsonObject:
        cluster = self._clusters.name(request.cluster)
        wanted = {
            "cluster": cluster,
            "desired_status": request.desired_status,
            **({"service": last_part(request.service_name)} if request.service_name else {}),
            **({"started_by": request.started_by} if request.started_by else {}),
        }
        found = [
            task.arn
            for task in self._ledger.all(self._faults.delay)
            if all(getattr(task, name) == value for name, value in wanted.items())
            and request.family in {None, task.definition.family}
        ]
        return page("taskArns", found, request.next_token, request.max_results)

    def _describe(self, request: DescribeTasks) -> JsonObject:
        cluster = self._clusters.name(request.cluster)
        if not 1 <= len(request.tasks) <= _LARGEST_DESCRIBE:
            raise AwsError("InvalidParameterException", f"Name between 1 and {_LARGEST_DESCRIBE} tasks.")
        seen = {asked: self._ledger.find(last_part(asked), self._faults.delay) for asked in request.tasks}
        found = {asked: task for asked, task in seen.items() if task is not None and task.cluster == cluster}
        missing = [asked for asked in seen if asked not in found]
        return {
            "tasks": [task_shape(task) for task in found.values()],
            "failures": [{"arn": asked, "reason": "MISSING"} for asked in missing],
        }


def _overrides(override: TaskOverride) -> Overrides:
    if not override.container_overrides:
        return NO_OVERRIDES
    container = override.container_overrides[0]
    return Overrides(tuple(container.command), {pair.name: pair.value for pair in container.environment})
