"""Task definitions: Terraform's template with an image's digest, and the hash by which equal ones are known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.deploy.step import StepFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HASH_TAG = "setpoint:hash"
# What ECS adds to what was registered.
_ADDED = frozenset(
    {
        "compatibilities",
        "deregisteredAt",
        "registeredAt",
        "registeredBy",
        "requiresAttributes",
        "revision",
        "status",
        "tags",
        "taskDefinitionArn",
    }
)
_EMPTY: tuple[object, ...] = (None, [], {}, "")


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition as RegisterTaskDefinition takes it."""

    body: Mapping[str, Any]

    @property
    def family(self) -> str:
        """Return the family."""
        return str(self.body["family"])

    @property
    def hash(self) -> str:
        """Return the same text for definitions that mean the same."""
        text = json.dumps(_normalised(self.body), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def container(self, name: str) -> Mapping[str, Any]:
        """Return a container's definition; raise StepFailed if there is none of that name."""
        for container in self.body["containerDefinitions"]:
            if container["name"] == name:
                found: Mapping[str, Any] = container
                return found
        raise StepFailed(f"the definition of {self.family} has no container {name!r}; apply Terraform again")

    def with_image(self, container: str, image: str) -> Definition:
        """Return the definition with another image of one container."""
        self.container(container)
        containers = [
            {**entry, "image": image} if entry["name"] == container else entry
            for entry in self.body["containerDefinitions"]
        ]
        return Definition({**self.body, "containerDefinitions": containers})


def registered(described: Mapping[str, Any]) -> Definition:
    """Return what was registered, from what DescribeTaskDefinition says."""
    return Definition({name: value for name, value in described.items() if name not in _ADDED})


def _normalised(value: Any) -> Any:
    """Return a value without what is empty; lists of names are sets, so their order says nothing."""
    if isinstance(value, dict):
        return {k: n for k, v in value.items() if (n := _normalised(v)) not in _EMPTY}
    if isinstance(value, list | tuple):
        items = [_normalised(item) for item in value]
        return sorted(items, key=_name) if _named(items) else items
    return value


def _named(items: Sequence[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict) and "name" in item for item in items)


def _name(item: Mapping[str, Any]) -> str:
    return str(item["name"])
