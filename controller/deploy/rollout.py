"""Roll one service to a definition: a canary first, then the service, until its new tasks run and are healthy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.deploy.ecs import OneOff
from controller.deploy.outputs import DISPATCHER
from controller.deploy.step import StepFailed
from controller.deploy.waiting import until

if TYPE_CHECKING:
    from controller.deploy.ecs import Ecs, Registered, Rollout, ServiceState
    from controller.deploy.outputs import Service
    from controller.deploy.step import Say
    from controller.deploy.waiting import OneOffs, Patience

CHECK = "--check"
"""What every program of ours understands: look at everything that is needed, change nothing, end."""
_FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Roller:
    """Rolls services, one at a time."""

    ecs: Ecs
    one_offs: OneOffs
    patience: Patience
    dispatcher_tasks: int

    def canary(self, service: Service, target: Registered, token: str, started_by: str, say: Say) -> None:
        """Run one task of the new definition that only checks; raise StepFailed if it finds something missing."""
        command = [*target.definition.container(service.container).get("command", ()), CHECK]
        task = OneOff(target.arn, service.container, command, service.security_group, token, started_by)
        self.one_offs.run(task, target.definition, say)
        say(f"{service.service}: the canary found everything that it needs")

    def is_there(self, service: Service, state: ServiceState) -> bool:
        """Tell whether a service stands behind its definition: the dispatcher with all its tasks, a pool with any number."""
        primary = state.primary
        if primary is None or primary.state == _FAILED:
            return False
        if service.kind != DISPATCHER:
            return True
        return state.desired == self.dispatcher_tasks and primary.running >= primary.desired

    def roll(self, service: Service, target: Registered, say: Say) -> None:
        """Point a service at a definition and wait for its new tasks, not for the old ones to drain."""
        name, revision = service.service, _short(target.arn)
        # How many tasks a pool has is autoscaling's.
        count = self.dispatcher_tasks if service.kind == DISPATCHER else None
        rollout = self.ecs.update(name, target.arn, count)
        say(f"{name}: rolls to {revision}")
        until(
            f"{name} runs {revision}",
            lambda: self._has_arrived(service, target, rollout),
            self.patience.rollout,
            self.patience,
            say,
        )
        say(f"{name}: runs {revision}")

    def _has_arrived(self, service: Service, target: Registered, id_: str) -> bool:
        state = self.ecs.service(service.service)
        rollout = state.rollout(id_)
        primary = state.primary
        if rollout is not None and rollout.state == _FAILED:
            raise self._failure(service, state, rollout)
        if primary is not None and primary.id != id_ and primary.definition != target.arn:
            raise self._failure(service, state, rollout)
        if rollout is None or not rollout.primary or rollout.running < rollout.desired:
            return False
        checked = "healthCheck" in target.definition.container(service.container)
        return rollout.desired == 0 or not checked or self._healthy(rollout)

    def _healthy(self, rollout: Rollout) -> bool:
        tasks = self.ecs.tasks_of(rollout.id)
        return sum(task.status == "RUNNING" and task.health == "HEALTHY" for task in tasks) >= rollout.desired

    def _failure(self, service: Service, state: ServiceState, rollout: Rollout | None) -> StepFailed:
        reason = (rollout.reason if rollout else "") or "its tasks did not become healthy"
        now = _short(state.definition)
        return StepFailed(
            f"ECS gave up the deployment of {service.service}: {reason}; the service is at {now}", *state.events
        )


def _short(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]
