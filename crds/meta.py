"""What every resource has: apiVersion, kind, metadata, conditions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

API_VERSION: Final = "setpoint.dev/v1"
GROUP = "setpoint.dev"
DEFAULT_NAMESPACE = "default"
NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"
LABEL_LIMIT = 64

# Names stand in file paths, queue names, table names and attempt ids (at most 128 characters, an SQS limit).
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=48, description="Lower-case words joined by '-'.")]
Namespace = Annotated[str, Field(pattern=NAME_PATTERN, max_length=12)]
# An alias is an SQL identifier and a Python keyword argument.
Alias = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$", max_length=48)]
LabelValue = Annotated[str, Field(max_length=63)]


class Model(BaseModel):
    """A frozen value, camelCase outside, that refuses what it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, validate_default=False
    )


class Metadata(Model):
    """The name of a resource and what the store records about it."""

    name: Name
    namespace: Namespace = DEFAULT_NAMESPACE
    labels: dict[Annotated[str, Field(max_length=63)], LabelValue] = Field(default_factory=dict, max_length=LABEL_LIMIT)
    annotations: dict[Annotated[str, Field(max_length=63)], Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict, max_length=LABEL_LIMIT
    )
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] = ()


class RunMetadata(Metadata):
    """The metadata of what runs: names are derived, `<dag>-<uid>` and `<run>.<task>`, and so may hold dots."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+([-.][a-z0-9]+)*$", max_length=160)]


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One thing that is, is not, or may be so of an object, and why."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None


class Status(Model):
    """What was observed of a resource; `phase` is a summary that no decision reads."""

    observed_generation: int = 0
    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class Resource(Model):
    """The part that all kinds share."""

    api_version: Literal["setpoint.dev/v1"] = API_VERSION
    metadata: Metadata
