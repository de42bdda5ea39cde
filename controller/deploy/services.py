"""The step that points the services at their definitions: the dispatcher, then the pools."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.deploy.records import ServiceRecord

if TYPE_CHECKING:
    from controller.deploy.outputs import Service
    from controller.deploy.run import Run
    from controller.deploy.step import Say
    from controller.deploy.targets import Targets


@dataclass(slots=True)
class RollServices:
    """Roll each service that does not run what it shall; a canary goes before it."""

    run: Run
    targets: Targets
    done: dict[str, ServiceRecord] = field(default_factory=dict)
    """What each service runs now, as far as this step has come."""
    name: str = field(default="services", init=False)

    def plan(self) -> list[str]:
        """Return each service that would be rolled."""
        lines = []
        for service in self.run.deployment.ordered():
            wanted = self.targets.hash(service)
            arn, held, there = self._observe(service)
            if wanted is not None and not (wanted == held and there):
                why = "its tasks are not all there" if wanted == held else "another definition"
                lines.append(f"~ {service.service}: {why} (now {arn.rsplit('/', 1)[-1]})")
        return lines

    def apply(self, say: Say) -> None:
        """Roll the services one after the other; stop at the first that fails."""
        for service in self.run.deployment.ordered():
            wanted = self.targets.hash(service)
            arn, held, there = self._observe(service)
            if wanted is None:
                say(f"{service.service}: was not there then, and stays as it is")
                self.done[service.service] = ServiceRecord(arn, held)
            elif wanted == held and there:
                say(f"{service.service}: runs {arn.rsplit('/', 1)[-1]} already")
                self.done[service.service] = ServiceRecord(arn, held)
            else:
                self._roll(service, say, canary=wanted != held)

    def _roll(self, service: Service, say: Say, *, canary: bool) -> None:
        target = self.targets.obtain(service)
        roller = self.run.roller
        if canary:
            roller.canary(service, target, self.run.token(f"canary-{service.service}"), self.run.started_by, say)
        roller.roll(service, target, say)
        self.done[service.service] = ServiceRecord(target.arn, target.hash)

    def _observe(self, service: Service) -> tuple[str, str, bool]:
        """Return the definition that a service is pointed at, its hash, and whether its tasks are there."""
        roller = self.run.roller
        state = roller.ecs.service(service.service)
        held = roller.ecs.describe(state.definition)
        return held.arn, held.hash, roller.is_there(service, state)
