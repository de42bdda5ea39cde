"""Keep the count of each service, level-triggered: any change of a task only says `look again`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from controller.local.awsjson import AwsError
from controller.local.ecs.model import Service, Status, StopCode, Task, TaskDefinition, last_part
from controller.local.ecs.plan import SETTLED, Plan, backoff, plan
from controller.local.ecs.tasks import Host, Launch, Tasks

if TYPE_CHECKING:
    from controller.local.ecs.faults import Faults
    from controller.local.ecs.ledger import Ledger

_RESYNC = timedelta(seconds=5)
_MESSAGES_KEPT = 100
# Starts of one service in one pass, so that a large count leaves room for other work.
_STARTS_AT_ONCE = 10


class Services:
    """All services and the loop that keeps them."""

    def __init__(self, host: Host, ledger: Ledger, tasks: Tasks, faults: Faults) -> None:
        self._host = host
        self._ledger = ledger
        self._tasks = tasks
        self._faults = faults
        self._services: dict[tuple[str, str], Service] = {}
        self._wake = asyncio.Event()
        ledger.observers.append(self._observe)

    def all(self, cluster: str) -> list[Service]:
        """Return the services of a cluster in the order of their names."""
        return [self._services[key] for key in sorted(self._services) if key[0] == cluster]

    def find(self, cluster: str, name_or_arn: str) -> Service | None:
        """Return a service, also one that was deleted, or None."""
        return self._services.get((cluster, last_part(name_or_arn)))

    def get(self, cluster: str, name_or_arn: str) -> Service:
        """Return an active service or raise as ECS does."""
        service = self.find(cluster, name_or_arn)
        if service is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        if not service.active:
            raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
        return service

    def create(self, cluster: str, name: str, definition: TaskDefinition, count: int) -> Service:
        """Create a service; the same again is accepted, another one of its name is not."""
        known = self.find(cluster, name)
        if known is not None and known.active:
            if (known.definition, known.desired_count) != (definition, count):
                raise AwsError("InvalidParameterException", "Creation of service was not idempotent.")
            return known
        now = self._host.now()
        return self._put(Service(name, cluster, definition, count, self._new_deployment(), now, now))

    def update(self, service: Service, definition: TaskDefinition | None, count: int | None, *, force: bool) -> Service:
        """Change the count, roll to another definition, or roll all tasks by force."""
        if count is not None:
            service = replace(service, desired_count=count)
        if force or (definition is not None and definition != service.definition):
            service = replace(
                service,
                definition=definition or service.definition,
                deployment=self._new_deployment(),
                deployed_at=self._host.now(),
                failures=0,
                retry_at=None,
            )
        return self._put(service)

    def delete(self, service: Service, *, force: bool) -> Service:
        """Delete a service that wants no tasks, or any by force."""
        if service.desired_count and not force:
            reason = "The service cannot be stopped while it is scaled above 0."
            raise AwsError("InvalidParameterException", reason)
        for task in self._ledger.unfinished(service.name, service.cluster):
            self._tasks.stop(task.id, StopCode.SERVICE, f"The service {service.name} is deleted")
        return self._put(replace(service, desired_count=0, active=False))

    async def run(self) -> None:
        """Reconcile at each change, at each planned moment, and now and then."""
        while True:
            self._wake.clear()
            seconds = self._reconcile_all().total_seconds()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)

    def _reconcile_all(self) -> timedelta:
        now = self._host.now()
        wakes = [self._reconcile(service) for service in list(self._services.values()) if service.active]
        return min((wake.wake_at - now for wake in wakes if wake.wake_at is not None), default=_RESYNC)

    def _reconcile(self, service: Service) -> Plan:
        decided = plan(service, self._ledger.unfinished(service.name, service.cluster), self._host.now())
        for task in decided.stop:
            self._tasks.stop(
                task.id, StopCode.SERVICE, f"Scaling activity initiated by (deployment {service.deployment})"
            )
        self._start(service, min(decided.start, _STARTS_AT_ONCE))
        if decided.start > _STARTS_AT_ONCE:
            self._wake.set()
        return decided

    def _start(self, service: Service, count: int) -> None:
        for _ in range(count):
            if self._faults.placement_fails():
                self._fail(service, "was unable to place a task: no container instance met its requirements")
                return
            task = self._tasks.launch(
                Launch(
                    cluster=service.cluster,
                    definition=service.definition,
                    service=service.name,
                    started_by=service.deployment,
                    group=f"service:{service.name}",
                )
            )
            service = self._say(service, f"has started 1 tasks: (task {task.id}).")

    def _observe(self, task: Task) -> None:
        self._wake.set()
        service = self.find(task.cluster, task.service) if task.service else None
        if service is None or task.status is not Status.STOPPED or task.started_by != service.deployment:
            return
        if task.stop_code not in {StopCode.EXITED, StopCode.FAILED_TO_START}:
            return
        if task.started_at is not None and self._host.now() - task.started_at >= SETTLED:
            self._put(replace(service, failures=0, retry_at=None))
            return
        self._fail(service, f"task {task.id} ended early: {task.stopped_reason}")

    def _fail(self, service: Service, message: str) -> None:
        failures = service.failures + 1
        retry_at = self._host.now() + backoff(failures)
        self._say(replace(service, failures=failures, retry_at=retry_at), message)

    def _say(self, service: Service, message: str) -> Service:
        said = (self._host.now(), f"(service {service.name}) {message}")
        return self._put(replace(service, messages=(said, *service.messages)[:_MESSAGES_KEPT]))

    def _put(self, service: Service) -> Service:
        self._services[service.cluster, service.name] = service
        self._wake.set()
        return service

    def _new_deployment(self) -> str:
        return f"ecs-svc/{self._host.new_id()}"
