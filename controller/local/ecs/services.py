"""Keep the count of each service, level-triggered: any change of a task only says `look again`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from controller.local.awsjson import AwsError
from controller.local.ecs.model import (
    DeploymentConfiguration,
    Health,
    Rollout,
    Service,
    Status,
    StopCode,
    Task,
    TaskDefinition,
    last_part,
)
from controller.local.ecs.plan import SETTLED, Plan, arrived, backoff, gives_up, plan
from controller.local.ecs.tasks import Host, Launch, Tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.local.ecs.faults import Faults
    from controller.local.ecs.ledger import Ledger

_RESYNC = timedelta(seconds=5)
_MESSAGES_KEPT = 100
_GIVEN_UP_KEPT = 10
NOTHING_SAID: Mapping[str, Any] = MappingProxyType({})
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

    def create(
        self, cluster: str, name: str, definition: TaskDefinition, count: int, said: Mapping[str, Any] = NOTHING_SAID
    ) -> Service:
        """Create a service; the same again is accepted, another one of its name is not."""
        known = self.find(cluster, name)
        if known is not None and known.active:
            if (known.definition, known.desired_count) != (definition, count):
                raise AwsError("InvalidParameterException", "Creation of service was not idempotent.")
            return known
        now = self._host.now()
        made = Service(name, cluster, definition, count, self._new_deployment(), now, now)
        return self._put(replace(made, said=said, configuration=_configuration(said)))

    def update(
        self,
        service: Service,
        definition: TaskDefinition | None,
        count: int | None,
        *,
        force: bool,
        said: Mapping[str, Any] = NOTHING_SAID,
    ) -> Service:
        """Change the count, roll to another definition, or roll all tasks by force."""
        said = {**service.said, **said}
        service = replace(service, said=said, configuration=_configuration(said))
        if count is not None:
            service = replace(service, desired_count=count)
        if force or (definition is not None and definition != service.definition):
            service = self._rolled(service, definition or service.definition)
        return self._put(service)

    def _rolled(self, service: Service, definition: TaskDefinition) -> Service:
        return replace(
            service,
            definition=definition,
            deployment=self._new_deployment(),
            deployed_at=self._host.now(),
            rollout=Rollout.IN_PROGRESS,
            failed_tasks=0,
            failures=0,
            retry_at=None,
        )

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
        service = self._judged(service)
        decided = plan(service, self._ledger.unfinished(service.name, service.cluster), self._host.now())
        for task in decided.stop:
            self._tasks.stop(
                task.id, StopCode.SERVICE, f"Scaling activity initiated by (deployment {service.deployment})"
            )
        self._start(service, min(decided.start, _STARTS_AT_ONCE))
        if decided.start > _STARTS_AT_ONCE:
            self._wake.set()
        return decided

    def _judged(self, service: Service) -> Service:
        """Complete a deployment, or give it up."""
        if gives_up(service):
            return self._given_up(service)
        tasks = self._ledger.unfinished(service.name, service.cluster)
        if service.rollout is not Rollout.IN_PROGRESS or not arrived(service, tasks, self._host.now()):
            return service
        service = replace(service, rollout=Rollout.COMPLETED, completed=service.definition)
        service = self._say(service, f"(deployment {service.deployment}) deployment completed.")
        return self._say(service, "has reached a steady state.")

    def _given_up(self, service: Service) -> Service:
        failed, before = service.deployment, service.completed
        why = "ECS deployment circuit breaker: tasks failed to start."
        service = replace(service, rollout=Rollout.FAILED, given_up=((failed, why), *service.given_up)[:_GIVEN_UP_KEPT])
        service = self._say(service, f"(deployment {failed}) deployment failed: tasks failed to start.")
        if not service.configuration.deployment_circuit_breaker.rollback or before is None:
            return service
        service = self._rolled(service, before)
        return self._say(service, f"rolling back to deployment {service.deployment}.")

    def _start(self, service: Service, count: int) -> None:
        for _ in range(count):
            if self._faults.placement_fails():
                self._fail(
                    service,
                    "was unable to place a task. Reason: Capacity is unavailable at this time. Please try again later.",
                )
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
        unhealthy = task.health is Health.UNHEALTHY
        if task.stop_code not in {StopCode.EXITED, StopCode.FAILED_TO_START} and not unhealthy:
            return
        if unhealthy:
            self._fail(service, f"(task {task.id}) failed container health checks.")
            return
        if task.started_at is not None and self._host.now() - task.started_at >= SETTLED:
            self._put(replace(service, failures=0, retry_at=None))
            return
        self._fail(service, f"task {task.id} ended early: {task.stopped_reason}")

    def _fail(self, service: Service, message: str) -> None:
        failures = service.failures + 1
        retry_at = self._host.now() + backoff(failures)
        counted = service.failed_tasks + 1
        self._say(replace(service, failures=failures, failed_tasks=counted, retry_at=retry_at), message)

    def _say(self, service: Service, message: str) -> Service:
        said = (self._host.now(), f"(service {service.name}) {message}")
        return self._put(replace(service, messages=(said, *service.messages)[:_MESSAGES_KEPT]))

    def _put(self, service: Service) -> Service:
        self._services[service.cluster, service.name] = service
        self._wake.set()
        return service

    def _new_deployment(self) -> str:
        return f"ecs-svc/{self._host.new_id()}"


def _configuration(said: Mapping[str, Any]) -> DeploymentConfiguration:
    try:
        return msgspec.convert(said.get("deploymentConfiguration") or {}, DeploymentConfiguration)
    except msgspec.ValidationError as error:
        raise AwsError("InvalidParameterException", str(error)) from error
