"""Operations of the local SQS on queues: create, find, describe, tag, purge, move tasks."""

from collections.abc import Sequence
from typing import Any

from controller.local.sqs import requests
from controller.local.sqs.account import Account
from controller.local.sqs.errors import invalid_parameter, unknown_attribute
from controller.local.sqs.lanes import State
from controller.local.sqs.moves import Moves, MoveTask, Status
from controller.local.sqs.queue import Queue

MAX_RESULTS = 1_000
MAX_TAGS = 50

Reply = dict[str, Any]


def create_queue(account: Account, request: requests.CreateQueue, now: float) -> Reply:
    """Create a queue, or find the one that is the same."""
    queue = account.create(request.queue_name, request.attributes, request.tags, now)
    return {"QueueUrl": account.url(queue.name)}


def delete_queue(account: Account, request: requests.OnQueue, _now: float) -> Reply:
    """Delete a queue; unlike on AWS its name is free at once."""
    account.delete(account.by_url(request.queue_url))
    return {}


def get_queue_url(account: Account, request: requests.GetQueueUrl, _now: float) -> Reply:
    """Return the URL of a name."""
    return {"QueueUrl": account.url(account.by_url(request.queue_name).name)}


def list_queues(account: Account, request: requests.ListQueues, _now: float) -> Reply:
    """List the URLs of the queues whose names have a prefix."""
    names = [name for name in account.names() if name.startswith(request.queue_name_prefix)]
    return _page("QueueUrls", account, names, request)


def list_dead_letter_source_queues(
    account: Account, request: requests.ListDeadLetterSourceQueues, _now: float
) -> Reply:
    """List the URLs of the queues whose dead letters come here."""
    names = [queue.name for queue in account.sources(account.by_url(request.queue_url))]
    return _page("queueUrls", account, names, request)


def get_queue_attributes(account: Account, request: requests.GetQueueAttributes, now: float) -> Reply:
    """Return the attributes that were asked for, the counts among them."""
    queue = account.by_url(request.queue_url)
    if not request.attribute_names:
        return {}
    known = _attributes(account, queue, now)
    if "All" in request.attribute_names:
        return {"Attributes": known}
    for name in request.attribute_names:
        if name not in known and name not in _OPTIONAL:
            raise unknown_attribute(name)
    return {"Attributes": {name: known[name] for name in request.attribute_names if name in known}}


def set_queue_attributes(account: Account, request: requests.SetQueueAttributes, now: float) -> Reply:
    """Change attributes of a queue."""
    account.change(account.by_url(request.queue_url), request.attributes, now)
    return {}


def purge_queue(account: Account, request: requests.OnQueue, now: float) -> Reply:
    """Forget all messages of a queue."""
    account.by_url(request.queue_url).purge(now)
    return {}


def tag_queue(account: Account, request: requests.TagQueue, _now: float) -> Reply:
    """Add tags to a queue, or change them."""
    queue = account.by_url(request.queue_url)
    tags = queue.tags | request.tags
    if len(tags) > MAX_TAGS:
        raise invalid_parameter(f"Too many tags added for queue {queue.name}: at most {MAX_TAGS}.")
    queue.tags = tags
    return {}


def untag_queue(account: Account, request: requests.UntagQueue, _now: float) -> Reply:
    """Remove tags from a queue."""
    queue = account.by_url(request.queue_url)
    queue.tags = {key: value for key, value in queue.tags.items() if key not in request.tag_keys}
    return {}


def list_queue_tags(account: Account, request: requests.OnQueue, _now: float) -> Reply:
    """Return the tags of a queue."""
    tags = account.by_url(request.queue_url).tags
    return {"Tags": tags} if tags else {}


def start_message_move_task(moves: Moves, request: requests.StartMessageMoveTask, now: float) -> Reply:
    """Start to move messages out of a dead-letter queue."""
    rate = request.max_number_of_messages_per_second
    return {"TaskHandle": moves.start(request.source_arn, request.destination_arn, rate, now).handle}


def list_message_move_tasks(moves: Moves, request: requests.ListMessageMoveTasks, _now: float) -> Reply:
    """List the latest move tasks of a dead-letter queue."""
    return {"Results": [_task(task) for task in moves.recent(request.source_arn, request.max_results)]}


def cancel_message_move_task(moves: Moves, request: requests.CancelMessageMoveTask, _now: float) -> Reply:
    """Stop a running move task."""
    return {"ApproximateNumberOfMessagesMoved": moves.cancel(request.task_handle).moved}


# Known attributes that a queue may lack.
_OPTIONAL = frozenset(
    {
        "ContentBasedDeduplication",
        "DeduplicationScope",
        "FifoQueue",
        "FifoThroughputLimit",
        "KmsDataKeyReusePeriodSeconds",
        "KmsMasterKeyId",
        "Policy",
        "RedriveAllowPolicy",
        "RedrivePolicy",
    }
)


def _attributes(account: Account, queue: Queue, now: float) -> dict[str, str]:
    counts = queue.counts(now)
    return queue.attributes | {
        "QueueArn": account.arn(queue),
        "CreatedTimestamp": str(int(queue.created_at)),
        "LastModifiedTimestamp": str(int(queue.modified_at)),
        "ApproximateNumberOfMessages": str(counts[State.WAITING]),
        "ApproximateNumberOfMessagesNotVisible": str(counts[State.IN_FLIGHT]),
        "ApproximateNumberOfMessagesDelayed": str(counts[State.DELAYED]),
    }


def _page(
    field: str,
    account: Account,
    names: Sequence[str],
    request: requests.ListQueues | requests.ListDeadLetterSourceQueues,
) -> Reply:
    """Return one page of URLs; the token is the last name of the page before."""
    size = MAX_RESULTS if request.max_results is None else request.max_results
    if not 1 <= size <= MAX_RESULTS:
        raise invalid_parameter(f"MaxResults must be between 1 and {MAX_RESULTS}.")
    rest = [name for name in names if name > request.next_token]
    page: Reply = {field: [account.url(name) for name in rest[:size]]}
    if request.max_results is not None and len(rest) > size:
        page["NextToken"] = rest[size - 1]
    return page


def _task(task: MoveTask) -> Reply:
    optional = {
        "TaskHandle": task.handle if task.status is Status.RUNNING else None,
        "DestinationArn": task.destination_arn,
        "MaxNumberOfMessagesPerSecond": task.rate,
        "FailureReason": task.failure,
    }
    return {
        "Status": task.status.value,
        "SourceArn": task.source_arn,
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": int(task.started_at * 1_000),
    } | {name: value for name, value in optional.items() if value is not None}
