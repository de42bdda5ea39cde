"""The worker protocol: the JSON bodies of /v1/claims, /v1/heartbeats and /v1/reports, and the SQS message."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from crds.names import AttemptId

MAX_BATCH = 256
MAX_OUTPUTS_BYTES = 64 * 1024
MAX_GRANT_BYTES = 256 * 1024
MAX_ERROR_BYTES = 16 * 1024

HEARTBEAT_SECONDS = 3.0
LEASE_SECONDS = 10.0


class _Wire(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A JSON object, camelCase outside. Unknown fields are ignored, so that versions may differ during a deploy."""


class Message(_Wire, frozen=True):
    """The body of an SQS message: a hint that an attempt may be claimed, nothing else.

    `traceparent` names the attempt's span, if traces are collected; who does not know it ignores it.
    """

    attempt: AttemptId
    delivery: int
    traceparent: str | None = None


class Invocation(_Wire, frozen=True):
    """The payload of a Lambda function's invocation: the same hint, and the pool to claim it for."""

    attempt: AttemptId
    delivery: int
    pool: str
    namespace: str = "default"
    traceparent: str | None = None


class ClaimRequest(_Wire, frozen=True):
    """Ask for attempts. `request` is drawn per receive and `worker` per process start."""

    request: str
    worker: str
    pool: str
    attempts: list[Message]
    namespace: str = "default"
    ecs_task: str | None = None


class ColdFile(_Wire, frozen=True):
    """One Parquet file of a dataset version; `key` is relative to the object store's root."""

    key: str
    partition: str
    rows: int
    bytes: int


class DatasetRef(_Wire, frozen=True):
    """A dataset as one attempt reads or writes it. `spec` is the DatasetSpec in camelCase."""

    name: str
    uid: str
    spec: dict[str, Any]
    namespace: str = "default"
    table: str | None = None
    version: int = 0
    files: list[ColdFile] = []
    mode: str | None = None


class TaskInput(_Wire, frozen=True):
    """One input of a grant: a dataset to read, or the value of an upstream task's outputs."""

    dataset: DatasetRef | None = None
    value: Any = None


class Grant(_Wire, frozen=True):
    """The right to run one attempt once. `task` is the Task of the revision in camelCase, defaults filled in."""

    attempt: AttemptId
    token: str
    task: dict[str, Any]
    dag: str
    run: str
    namespace: str
    number: int
    timeout_seconds: float
    params: dict[str, Any] = {}
    inputs: dict[str, TaskInput] = {}
    outputs: dict[str, DatasetRef] = {}
    upstream: dict[str, str] = {}
    bundle: str | None = None
    tick: str | None = None
    memory_bytes: int | None = None
    bookmark: Any = None
    traceparent: str | None = None


class Refusal(_Wire, frozen=True):
    """An attempt that is not granted. `drop`: delete the message. `later`: keep it."""

    attempt: str
    action: Literal["drop", "later"]
    reason: str


class ClaimAnswer(_Wire, frozen=True):
    """What a claim gave. `drain`: receive no more."""

    grants: list[Grant] = []
    refusals: list[Refusal] = []
    drain: bool = False


class Progress(_Wire, frozen=True):
    """How far an attempt is, for people."""

    rows: int = 0
    message: str = ""


class HeartbeatRequest(_Wire, frozen=True):
    """A sign of life of a worker process and of each attempt that it runs; `leaving` is its last.

    `awaited` are the claims and reports that it repeats until they are answered: what they took is held as well.
    """

    worker: str
    pool: str
    attempts: list[AttemptId]
    namespace: str = "default"
    ecs_task: str | None = None
    slots: int = 0
    leaving: bool = False
    awaited: list[str] = []
    progress: dict[str, Progress] = {}


class HeartbeatAnswer(_Wire, frozen=True):
    """What to do with each attempt, and whether to drain."""

    attempts: dict[str, Literal["continue", "cancel", "stale"]] = {}
    drain: bool = False


class TaskError(_Wire, frozen=True):
    """Why an attempt did not succeed. `kind` is the error class that `retries` matches, `reason` one of crds.reasons."""

    reason: str
    kind: str = ""
    message: str = ""
    traceback: str = ""


class WrittenFile(_Wire, frozen=True):
    """One Parquet file that an attempt wrote."""

    key: str
    partition: str
    rows: int
    bytes: int


class DatasetWrite(_Wire, frozen=True):
    """What an attempt wrote into one dataset: staged rows (hot) or files (cold)."""

    dataset: str
    uid: str
    mode: str
    rows: int = 0
    stage: str | None = None
    files: list[WrittenFile] = []
    schema_hash: str = ""


class Report(_Wire, frozen=True):
    """How one attempt ended. `writes` are cold files; hot rows were committed before, in Postgres."""

    attempt: AttemptId
    token: str
    outcome: Literal["succeeded", "failed", "timedOut", "evicted", "cancelled", "lost"]
    outputs: dict[str, Any] = {}
    writes: list[DatasetWrite] = []
    bookmark: Any = None
    error: TaskError | None = None
    metrics: dict[str, float] = {}


class ReportRequest(_Wire, frozen=True):
    """Reports of one worker. `free`: how many further grants it could start at once; `request` is drawn for them."""

    reports: list[Report]
    free: int = 0
    request: str = ""
    worker: str = ""
    pool: str = ""
    namespace: str = "default"


class ReportAnswer(_Wire, frozen=True):
    """What became of each report, and further grants."""

    reports: dict[str, Literal["recorded", "stale"]] = {}
    grants: list[Grant] = []
