"""Scale-in protection of tasks: the API's operations, and the endpoint inside the container."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from controller.local.awsjson import AwsError, JsonObject, Operation, Operations
from controller.local.ecs.model import Status, Task, last_part
from controller.local.ecs.render import iso, present

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.local.ecs.clusters import Clusters
    from controller.local.ecs.ledger import Ledger
    from controller.local.ecs.services import Services
    from controller.local.ecs.tasks import Host, Tasks

_DEFAULT_MINUTES = 120
_MOST_MINUTES = 2_880
_MOST_TASKS = 10


class UpdateTaskProtection(msgspec.Struct, rename="camel"):
    """The request of UpdateTaskProtection."""

    tasks: list[str]
    protection_enabled: bool
    cluster: str | None = None
    expires_in_minutes: int | None = None


class GetTaskProtection(msgspec.Struct, rename="camel"):
    """The request of GetTaskProtection."""

    tasks: list[str] = []
    cluster: str | None = None


class AgentUpdate(msgspec.Struct, rename="pascal"):
    """What a task PUTs to its agent."""

    protection_enabled: bool
    expires_in_minutes: int | None = None


class RefusedError(Exception):
    """A task cannot be protected, for a reason of AWS's list."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Protection:
    """UpdateTaskProtection and GetTaskProtection, and the same for a task itself."""

    def __init__(self, host: Host, clusters: Clusters, services: Services, ledger: Ledger, tasks: Tasks) -> None:
        self._host = host
        self._clusters = clusters
        self._services = services
        self._ledger = ledger
        self._tasks = tasks

    def operations(self) -> Operations:
        """Return the operations by name."""
        return {
            "UpdateTaskProtection": Operation(UpdateTaskProtection, self._update),
            "GetTaskProtection": Operation(GetTaskProtection, self._get),
        }

    def agent_update(self, task_id: str, body: bytes) -> JsonObject:
        """Answer a task's PUT of its own protection."""
        try:
            update = msgspec.json.decode(body, type=AgentUpdate)
        except msgspec.DecodeError as error:
            raise AwsError("InvalidParameterException", str(error)) from error
        span = _span(update.expires_in_minutes, enabled=update.protection_enabled)
        try:
            return self._agent_shape(self._change(task_id, span))
        except RefusedError as refused:
            return _agent_failure(task_id, refused)

    def agent_state(self, task_id: str) -> JsonObject:
        """Answer a task's GET of its own protection."""
        try:
            return self._agent_shape(self._valid(task_id))
        except RefusedError as refused:
            return _agent_failure(task_id, refused)

    def _update(self, request: UpdateTaskProtection) -> JsonObject:
        span = _span(request.expires_in_minutes, enabled=request.protection_enabled)
        return self._each(request.cluster, request.tasks, lambda task_id: self._change(task_id, span))

    def _get(self, request: GetTaskProtection) -> JsonObject:
        return self._each(request.cluster, request.tasks, self._valid)

    def _each(self, cluster: str | None, tasks: list[str], act: Callable[[str], Task]) -> JsonObject:
        self._clusters.name(cluster)
        if len(tasks) > _MOST_TASKS:
            raise AwsError("InvalidParameterException", f"Name at most {_MOST_TASKS} tasks.")
        protected: list[JsonObject] = []
        failures: list[JsonObject] = []
        for asked in tasks:
            try:
                protected.append(self._shape(act(last_part(asked))))
            except RefusedError as refused:
                failures.append({"arn": asked, "reason": refused.reason, "detail": str(refused)})
        return {"protectedTasks": protected, "failures": failures}

    def _change(self, task_id: str, span: timedelta | None) -> Task:
        task = self._valid(task_id)
        now = self._host.now()
        service = self._services.find(task.cluster, task.service or "")
        outdated = service is not None and service.deployment != task.started_by
        # A task of an old deployment may keep the protection that it has, but not begin anew.
        if span is not None and outdated and not task.protected(now):
            raise RefusedError("DEPLOYMENT_BLOCKED", "A deployment is waiting for this task to end.")
        return self._tasks.protect(task_id, None if span is None else now + span)

    def _valid(self, task_id: str) -> Task:
        task = self._ledger.find(task_id)
        if task is None or task.service is None or task.status is Status.STOPPED or not task.wanted:
            raise RefusedError("TASK_NOT_VALID", "The specified task is not a running task of a service.")
        return task

    def _shape(self, task: Task) -> JsonObject:
        until = task.protected_until if task.protected(self._host.now()) else None
        return present(
            {
                "taskArn": task.arn,
                "protectionEnabled": until is not None,
                "expirationDate": until.timestamp() if until else None,
            }
        )

    def _agent_shape(self, task: Task) -> JsonObject:
        until = task.protected_until if task.protected(self._host.now()) else None
        return {
            "protection": {
                "TaskArn": task.arn,
                "ProtectionEnabled": until is not None,
                "ExpirationDate": iso(until) if until else None,
            }
        }


def _agent_failure(task_id: str, refused: RefusedError) -> JsonObject:
    return {"failure": {"Arn": task_id, "Detail": str(refused), "Reason": refused.reason}}


def _span(minutes: int | None, *, enabled: bool) -> timedelta | None:
    if minutes is not None and not 1 <= minutes <= _MOST_MINUTES:
        raise AwsError("InvalidParameterException", f"expiresInMinutes must be between 1 and {_MOST_MINUTES}.")
    return timedelta(minutes=minutes or _DEFAULT_MINUTES) if enabled else None
