"""The WorkerPool: one queue, and the worker tasks that consume it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from crds.dag import SecretRef
from crds.meta import Model, Name, Resource, Status
from crds.quantities import Bytes


class Runtime(StrEnum):
    """What a pool's workers can run."""

    POLARS = "polars"
    PYTHON = "python"
    INGEST = "ingest"
    LAMBDA = "lambda"


class Grants(Model):
    """What a pool may reach beyond its runtime's default."""

    secrets: tuple[SecretRef, ...] = Field(default=(), max_length=200)
    cold_datasets: tuple[Name, ...] = Field(default=(), max_length=200)
    buckets: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")], ...] = Field(
        default=(), max_length=50
    )


class WorkerPoolSpec(Model):
    """What a pool wants; its limit of live attempts is slots × maxTasks."""

    runtime: Runtime
    # Its dead-letter queue is four characters longer, and SQS allows 80.
    queue: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,71}\.fifo$")] | None = Field(
        default=None, description="The SQS FIFO queue; by default setpoint-<pool>.fifo."
    )
    slots: Annotated[int, Field(ge=1, le=256)] = 2
    min_tasks: Annotated[int, Field(ge=0, le=10_000)] = 0
    max_tasks: Annotated[int, Field(ge=1, le=10_000)] = 4
    cpu: Annotated[int, Field(ge=256, le=16_384)] = 1024
    memory: Bytes = 2 * 2**30
    spot_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="How many of a hundred tasks run on Fargate Spot."
    )
    function: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = Field(
        default=None, description="The Lambda function of a lambda pool; by default setpoint-operator."
    )
    image: Annotated[str, Field(max_length=500)] | None = None
    suspend: bool = False
    grants: Grants = Grants()

    @model_validator(mode="after")
    def _bounds(self) -> WorkerPoolSpec:
        if self.min_tasks > self.max_tasks:
            raise ValueError(f"minTasks {self.min_tasks} is above maxTasks {self.max_tasks}")
        if self.runtime is Runtime.LAMBDA and (self.queue or self.image or self.min_tasks):
            raise ValueError("a lambda pool has no queue, no image and no minTasks: its attempts are invoked")
        if self.runtime is not Runtime.LAMBDA and self.function:
            raise ValueError("only a pool of runtime lambda has a function")
        return self

    @property
    def limit(self) -> int:
        """The most attempts that may be live at once."""
        return self.slots * self.max_tasks


class WorkerPoolStatus(Status):
    """What was observed of a pool."""

    desired: int = 0
    running: int = 0
    demand: int = 0
    live: int = 0
    visible: int = 0
    in_flight: int = 0
    dead_letters: int = 0


class WorkerPool(Resource):
    """Workers of one runtime behind one queue."""

    kind: Literal["WorkerPool"]
    spec: WorkerPoolSpec
    status: WorkerPoolStatus | None = None
