"""Names are derived, never drawn, so doing anything twice is harmless."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple, NewType

from crds.meta import DEFAULT_NAMESPACE

RunUid = NewType("RunUid", str)
DagUid = NewType("DagUid", str)
PoolUid = NewType("PoolUid", str)
AttemptId = NewType("AttemptId", str)
WorkerId = NewType("WorkerId", str)

DEFAULT_PREFIX = "setpoint"
"""What the names of queues and functions begin with."""
# The limit of SQS MessageDeduplicationId and MessageGroupId.
ATTEMPT_ID_LIMIT = 128


class AttemptName(NamedTuple):
    """The parts of an attempt id."""

    run: RunUid
    task: str
    index: int  # type: ignore[assignment]  # the method of tuple is not used
    number: int


def attempt_id(run: RunUid, task: str, index: int, number: int) -> AttemptId:
    """Return `run/task/index/number`; raise ValueError past 128 characters."""
    name = f"{run}/{task}/{index}/{number}"
    if len(name) > ATTEMPT_ID_LIMIT:
        raise ValueError(f"attempt id {name!r} is longer than {ATTEMPT_ID_LIMIT} characters")
    return AttemptId(name)


def parse_attempt_id(text: str) -> AttemptName:
    """Return the parts of an attempt id; raise ValueError if it is none."""
    run, task, index, number = text.split("/")
    if len(text) > ATTEMPT_ID_LIMIT or "\0" in text or not (run and task and index.isdecimal() and number.isdecimal()):
        raise ValueError(f"{text[:ATTEMPT_ID_LIMIT]!r} is no attempt id")
    return AttemptName(RunUid(run), task, int(index), int(number))


def deduplication_id(attempt: AttemptId, delivery: int) -> str:
    """Return the SQS deduplication id of one delivery: SQS drops a repeated id for five minutes."""
    return f"{attempt[: ATTEMPT_ID_LIMIT - 8]}.{delivery}"


def schedule_key(schedule: str, tick: datetime) -> str:
    """Return the key that makes a tick's run unique within its DAG."""
    return f"schedule/{schedule}/{tick.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def queue_name(pool: str, namespace: str = DEFAULT_NAMESPACE, prefix: str = DEFAULT_PREFIX) -> str:
    """Return the default queue of a pool; systems that share an account differ by their prefix."""
    return f"{prefix}-{pool}.fifo" if namespace == DEFAULT_NAMESPACE else f"{prefix}-{namespace}-{pool}.fifo"


def service_name(pool: str, namespace: str = DEFAULT_NAMESPACE) -> str:
    """Return the name of a pool's ECS service, by which metrics know the pool too."""
    return pool if namespace == DEFAULT_NAMESPACE else f"{namespace}-{pool}"


def function_name(prefix: str = DEFAULT_PREFIX) -> str:
    """Return the default Lambda function of a pool: the operator host."""
    return f"{prefix}-operator"


def dead_letter_name(queue: str) -> str:
    """Return the dead-letter queue of a FIFO queue."""
    return f"{queue.removesuffix('.fifo')}-dlq.fifo"


def hot_table(dataset: str, namespace: str = DEFAULT_NAMESPACE) -> str:
    """Return the table of a hot dataset; names hold no underscore, so two datasets never share one."""
    table = dataset.replace("-", "_")
    return table if namespace == DEFAULT_NAMESPACE else f"{namespace.replace('-', '_')}__{table}"


def bundle_key(digest: str) -> str:
    """Return the object key of a code bundle."""
    return f"bundles/{digest}.zip"


def log_prefix(attempt: AttemptId) -> str:
    """Return the object prefix under which an attempt's log chunks lie, named 000001.log and so on."""
    return f"logs/{attempt}/"


def artifact_key(attempt: AttemptId, name: str) -> str:
    """Return the object key of a file that an attempt keeps (a chart, a report, a large output)."""
    return f"artifacts/{attempt}/{name}"


def cold_prefix(dataset: str, namespace: str = DEFAULT_NAMESPACE) -> str:
    """Return the object prefix of a cold dataset."""
    return f"cold/{namespace}/{dataset}/"


def cold_key(dataset: str, namespace: str, partition: str, attempt: AttemptId, part: int) -> str:
    """Return the object key of one Parquet file: it holds the attempt id, so a superseded attempt overwrites nothing."""
    folder = f"{partition}/" if partition else ""
    return f"{cold_prefix(dataset, namespace)}{folder}{attempt.replace('/', '.')}-{part:05d}.parquet"
