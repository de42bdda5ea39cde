"""The Dag: tasks with their needs, schedules, parameters and limits."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from crds.meta import Alias, Model, Name, Resource, Status
from crds.quantities import Bytes, Duration

MAX_TASKS = 10_000
LAMBDA_TIMEOUT = timedelta(minutes=14)
"""How long a function may run: Lambda ends it after 15 minutes, and it must still report."""
MODULE_FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
RELATIVE_FILE = r"^[\w][\w./-]*$"
WEBHOOK_PATH = r"^[a-z0-9]+(-[a-z0-9]+)*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$"

Entrypoint = Annotated[
    str, Field(pattern=MODULE_FUNCTION, max_length=200, description="module:function of the DAG's folder.")
]
BundleFile = Annotated[str, Field(pattern=RELATIVE_FILE, max_length=200, description="A file of the DAG's folder.")]
SecretRef = Annotated[str, Field(pattern=r"^[\w/+=.@-]+$", max_length=256, description="A Secrets Manager name.")]
Text = Annotated[str, Field(max_length=100_000)]
JsonObject = dict[str, Any]


class When(StrEnum):
    """The rule by which a task's upstream tasks let it start."""

    ALL_SUCCESS = "all_success"
    ALL_DONE = "all_done"
    ONE_FAILED = "one_failed"
    NONE_FAILED = "none_failed"


class Catchup(StrEnum):
    """Which of the missed ticks of a schedule become runs."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class ConcurrencyPolicy(StrEnum):
    """What a schedule's tick does while a run of the same DAG is active."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class WriteMode(StrEnum):
    """How a task's rows enter a dataset."""

    APPEND = "append"
    MERGE = "merge"
    REPLACE = "replace"
    REPLACE_PARTITIONS = "replacePartitions"


class FileFormat(StrEnum):
    """The formats that ingest reads."""

    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Backoff(Model):
    """Exponential backoff with full jitter: a draw from 0 to min(max, initial × factor^n)."""

    initial: Duration = timedelta(seconds=5)
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    max: Duration = timedelta(minutes=5)


class Retries(Model):
    """How often a task is tried again: `limit` after its own failures, `infrastructure` after ours."""

    limit: Annotated[int, Field(ge=0, le=100)] = 2
    infrastructure: Annotated[int, Field(ge=0, le=100)] = 5
    backoff: Backoff = Backoff()
    never: tuple[Annotated[str, Field(max_length=200)], ...] = Field(
        default=(), max_length=100, description="Error classes that are not worth another try."
    )
    only: tuple[Annotated[str, Field(max_length=200)], ...] = Field(
        default=(), max_length=100, description="If given, only these error classes are tried again."
    )


class Schedule(Model):
    """A cron line in a time zone that creates runs."""

    name: Name = "default"
    cron: Annotated[str, Field(max_length=200)]
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    catchup: Catchup = Catchup.LATEST
    max_catchup: Annotated[int, Field(ge=1, le=10_000)] = 100
    starting_deadline: Duration | None = None
    params: JsonObject = Field(default_factory=dict)


class Webhook(Model):
    """Signed HTTP requests from outside; the first part of the path names the secret that signs them."""

    path: Annotated[
        str, Field(pattern=WEBHOOK_PATH, max_length=200, description="What follows /hooks/, like shop/orders.")
    ]
    param: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="The parameter that takes the whole body; by default the body holds the parameters."
    )


class Trigger(Model):
    """What creates a run, beside schedules and people."""

    name: Name = "default"
    webhook: Webhook


class Concurrency(Model):
    """How much of a DAG may be active at once."""

    max_active_runs: Annotated[int, Field(ge=1, le=10_000)] = 16
    max_active_tasks: Annotated[int, Field(ge=1, le=100_000)] | None = None
    policy: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW


class Input(Model):
    """What a task reads: a dataset, or the JSON outputs of a task that it needs."""

    dataset: Name | None = None
    task: Name | None = None
    key: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Input:
        if (self.dataset is None) == (self.task is None):
            raise ValueError("an input names either a dataset or a task")
        if self.key is not None and self.task is None:
            raise ValueError("key picks one output of a task; a dataset has none")
        return self


class Output(Model):
    """The dataset that a task writes, and how."""

    dataset: Name
    mode: WriteMode


class TaskDefaults(Model):
    """What tasks take when they say nothing themselves."""

    retries: Retries = Retries()
    timeout: Duration = timedelta(hours=1)
    queue_timeout: Duration = timedelta(days=1)
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    memory: Bytes | None = None


class _Task(Model):
    name: Name
    description: Text = ""
    needs: tuple[Name, ...] = Field(default=(), max_length=MAX_TASKS)
    when: When = When.ALL_SUCCESS
    retries: Retries | None = None
    timeout: Duration | None = Field(default=None, description="How long one attempt may run.")
    queue_timeout: Duration | None = Field(default=None, description="How long an attempt may wait for a worker.")
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    pool: Name | None = Field(default=None, description="The WorkerPool; by default the one named as the runtime.")
    memory: Bytes | None = Field(default=None, description="What the task's process may use at most.")
    inputs: dict[Alias, Input] = Field(default_factory=dict, max_length=100)
    outputs: dict[Alias, Output] = Field(default_factory=dict, max_length=20)
    secrets: dict[Alias, SecretRef] = Field(default_factory=dict, max_length=50)

    def attempt_timeout(self, defaults: TaskDefaults) -> timedelta:
        """Return how long one attempt may run."""
        return self.timeout or defaults.timeout


class PolarsWith(Model):
    """One of: SQL text, a SQL file, a function of LazyFrames. `args` reach the function."""

    sql: Text | None = None
    file: BundleFile | None = None
    function: Entrypoint | None = None
    args: JsonObject = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_body(self) -> PolarsWith:
        if sum(x is not None for x in (self.sql, self.file, self.function)) != 1:
            raise ValueError("give exactly one of sql, file or function")
        return self


class PolarsTask(_Task):
    """SQL over the inputs, or a function of LazyFrames."""

    runtime: Literal["polars"]
    with_: PolarsWith = Field(alias="with")


class PythonWith(Model):
    """A function of the DAG's folder, called with the task's context."""

    entrypoint: Entrypoint
    args: JsonObject = Field(default_factory=dict)


class PythonTask(_Task):
    """A Python entrypoint."""

    runtime: Literal["python"]
    with_: PythonWith = Field(alias="with")


class CsvOptions(Model):
    """How CSV text is read."""

    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    null_values: tuple[Annotated[str, Field(max_length=100)], ...] = ()


class Paging(Model):
    """How the next page is found: a Link header, a JSON field with its URL, or a counter in the query."""

    link_header: bool = False
    next_field: Annotated[str, Field(max_length=200)] | None = None
    page_param: Annotated[str, Field(max_length=100)] | None = None
    first_page: int = 1
    max_pages: Annotated[int, Field(ge=1, le=100_000)] = 1_000

    @model_validator(mode="after")
    def _one_way(self) -> Paging:
        if sum((self.link_header, self.next_field is not None, self.page_param is not None)) != 1:
            raise ValueError("give exactly one of linkHeader, nextField or pageParam")
        return self


class HttpSource(Model):
    """Rows from an http(s) address. `${params.x}` and `${secrets.x}` are filled in when the task runs."""

    url: Annotated[str, Field(max_length=2_000)]
    format: FileFormat
    headers: dict[str, Annotated[str, Field(max_length=4_000)]] = Field(default_factory=dict, max_length=50)
    records_field: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="The JSON field that holds the rows; by default the whole document."
    )
    paging: Paging | None = None
    conditional: bool = Field(
        default=False,
        description="Send If-None-Match / If-Modified-Since of the last success; unchanged data is kept.",
    )
    csv: CsvOptions = CsvOptions()


class FilesSource(Model):
    """Rows from files below a folder (`file://`) or an S3 prefix (`s3://`), chosen by a glob."""

    path: Annotated[str, Field(max_length=2_000, description="file:///folder/*.csv or s3://bucket/prefix/*.parquet")]
    format: FileFormat
    csv: CsvOptions = CsvOptions()


class PostgresSource(Model):
    """Rows of a query on another Postgres, whose conninfo is one of the task's secrets."""

    secret: Alias
    query: Text


class IngestWith(Model):
    """Exactly one source. `function` yields rows (dicts), lists of rows or polars frames."""

    http: HttpSource | None = None
    files: FilesSource | None = None
    postgres: PostgresSource | None = None
    function: Entrypoint | None = None
    args: JsonObject = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> IngestWith:
        if sum(x is not None for x in (self.http, self.files, self.postgres, self.function)) != 1:
            raise ValueError("give exactly one of http, files, postgres or function")
        return self


class IngestTask(_Task):
    """Rows from outside into one dataset."""

    runtime: Literal["ingest"]
    with_: IngestWith = Field(alias="with")


class LambdaTask(_Task):
    """A Python entrypoint in a Lambda function: no worker to wait for, no datasets, no secrets, at most 14 minutes."""

    runtime: Literal["lambda"]
    with_: PythonWith = Field(alias="with")

    @model_validator(mode="after")
    def _fits_lambda(self) -> LambdaTask:
        if self.timeout is not None and self.timeout > LAMBDA_TIMEOUT:
            raise ValueError("a lambda task runs at most 14m; use runtime python for longer ones")
        if self.outputs or any(source.dataset for source in self.inputs.values()):
            raise ValueError("a lambda task reaches no datasets; let a task of another runtime read and write them")
        if self.secrets:
            raise ValueError("a lambda task reaches no secrets; use runtime python, and grant them to its pool")
        return self

    def attempt_timeout(self, defaults: TaskDefaults) -> timedelta:
        """Return how long one attempt may run."""
        return self.timeout or min(defaults.timeout, LAMBDA_TIMEOUT)


Task = Annotated[PolarsTask | PythonTask | IngestTask | LambdaTask, Field(discriminator="runtime")]


class DagSpec(Model):
    """What a DAG wants."""

    description: Text = ""
    schedules: tuple[Schedule, ...] = Field(default=(), max_length=100)
    triggers: tuple[Trigger, ...] = Field(default=(), max_length=20)
    params: JsonObject = Field(default_factory=dict, description="A JSON Schema of the run's parameters.")
    suspend: bool = False
    concurrency: Concurrency = Concurrency()
    defaults: TaskDefaults = TaskDefaults()
    timeout: Duration = Field(default=timedelta(days=7), description="How long a run may take from its admission.")
    bundle: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="The digest of the DAG folder's code; set by apply."
    )
    tasks: tuple[Task, ...] = Field(min_length=1, max_length=MAX_TASKS)


class DagStatus(Status):
    """What was observed of a DAG."""

    active_runs: int = 0
    last_run: str | None = None
    last_phase: str | None = None
    next_tick: datetime | None = None
    revision: int = 0


class Dag(Resource):
    """A directed acyclic graph of tasks."""

    kind: Literal["Dag"]
    spec: DagSpec
    status: DagStatus | None = None
