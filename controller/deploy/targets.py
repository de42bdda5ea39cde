"""Which task definition each workload shall run: made of template and image, or as an earlier deployment recorded it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from controller.deploy.ecs import Registered
from controller.deploy.step import StepFailed
from controller.errors import SetpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.deploy.definitions import Definition
    from controller.deploy.ecs import Ecs
    from controller.deploy.outputs import Workload
    from controller.deploy.records import ServiceRecord


class Targets(Protocol):
    """Tells what a workload shall run."""

    def hash(self, workload: Workload) -> str | None:
        """Return the hash of the definition that is wanted, None if nothing is: the workload stays as it is."""
        ...

    def obtain(self, workload: Workload) -> Registered:
        """Return that definition as ECS holds it, registered now if need be."""
        ...


@dataclass(slots=True)
class Templates:
    """Definitions of this deployment: at most one is registered for each hash."""

    ecs: Ecs
    images: Mapping[str, str]
    tags: Mapping[str, str]
    _wanted: dict[str, Definition] = field(default_factory=dict)
    _held: dict[str, Registered] = field(default_factory=dict)

    def hash(self, workload: Workload) -> str:
        """Return the hash of template and image."""
        return self._definition(workload).hash

    def obtain(self, workload: Workload) -> Registered:
        """Return the family's newest definition if it is the wanted one, else a new one."""
        family = workload.family
        if family not in self._held:
            wanted = self._definition(workload)
            newest = self.ecs.describe(family)
            if newest.hash == wanted.hash:
                self._held[family] = newest
            else:
                arn = self.ecs.register(wanted, self.tags)
                self._held[family] = Registered(arn, wanted, wanted.hash)
        return self._held[family]

    def _definition(self, workload: Workload) -> Definition:
        if workload.family not in self._wanted:
            template = self.ecs.describe(workload.template).definition
            image = workload.image and self.images[workload.image]
            self._wanted[workload.family] = template.with_image(workload.container, image) if image else template
        return self._wanted[workload.family]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Definitions of an earlier deployment."""

    ecs: Ecs
    services: Mapping[str, ServiceRecord]
    families: Mapping[str, str]
    """The service of each family."""

    def hash(self, workload: Workload) -> str | None:
        """Return the recorded hash; None for a service that was not there then."""
        record = self.services.get(self.families[workload.family])
        return None if record is None else record.hash

    def obtain(self, workload: Workload) -> Registered:
        """Return the recorded definition; raise StepFailed if ECS has it no longer."""
        record = self.services[self.families[workload.family]]
        try:
            return self.ecs.describe(record.definition)
        except SetpointError as error:
            raise StepFailed(
                f"ECS has {record.definition} no longer; go back to another deployment: {error}"
            ) from error
