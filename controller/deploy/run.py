"""What the steps inside AWS share: the environment, the tools, and which deployment this is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.deploy.ecs import OneOff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.deploy.ecs import Registered
    from controller.deploy.outputs import Deployment, Workload
    from controller.deploy.records import Record
    from controller.deploy.rollout import Roller
    from controller.deploy.step import Say

_TOKEN_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Run:
    """One deployment or rollback."""

    number: int
    previous: Record | None
    """The last one that succeeded."""
    clean: bool
    """Whether none began since then: what it left is what is there."""
    deployment: Deployment
    roller: Roller

    @property
    def started_by(self) -> str:
        """Return the mark that the tasks of this deployment carry."""
        return f"deploy-{self.number:06d}"

    def token(self, step: str) -> str:
        """Return the token by which ECS knows a step's task, so that a repeated call starts no second one."""
        text = f"{self.deployment.name}/{self.number}/{step}"
        return hashlib.sha256(text.encode()).hexdigest()[:_TOKEN_LENGTH]

    def task(self, step: str, workload: Workload, target: Registered, command: Sequence[str], say: Say) -> None:
        """Run a one-off task, and say what it said."""
        task = OneOff(
            target.arn, workload.container, command, workload.security_group, self.token(step), self.started_by
        )
        for line in self.roller.one_offs.run(task, target.definition, say):
            say(line)
