"""Dead letters: moved after too many receives, listed, and moved back."""

from time import monotonic, sleep

import pytest
from botocore.exceptions import ClientError
from contract_queue import ContractQueue, MakeQueue, code

MOVE_SECONDS = 60


def exhaust(queue: ContractQueue, body: str) -> None:
    """Receive a message as often as its queue allows, without deleting it."""
    for _ in range(2):
        message = queue.receive(limit=1)[0]
        assert message["Body"] == body
        queue.show(message, 0)


def await_end(source: ContractQueue) -> dict[str, object]:
    """Return the latest move task of a queue once it has ended."""
    deadline = monotonic() + MOVE_SECONDS
    while True:
        task = source.client.list_message_move_tasks(SourceArn=source.arn)["Results"][0]
        if task["Status"] not in {"RUNNING", "CANCELLING"}:
            return dict(task)
        assert monotonic() < deadline
        sleep(0.05)


@pytest.mark.parametrize("fifo", [pytest.param(True, id="fifo"), pytest.param(False, id="standard")])
def test_message_received_too_often_goes_to_the_dead_letters(make_queue: MakeQueue, fifo: bool) -> None:
    dead = make_queue(fifo=fifo)
    queue = make_queue(fifo=fifo, dead_letters=dead)
    identity = queue.send("a") if fifo else queue.post("a")
    exhaust(queue, "a")

    assert queue.nothing()

    message = dead.receive()[0]
    assert (message["Body"], message["MessageId"]) == ("a", identity)
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == queue.arn
    assert queue.counts() == (0, 0, 0)


def test_dead_letter_no_longer_blocks_its_group(make_queue: MakeQueue) -> None:
    queue = make_queue(dead_letters=make_queue())
    queue.send("a")
    queue.send("b")
    exhaust(queue, "a")

    assert queue.bodies() == ["b"]


def test_dead_letters_are_never_dropped_as_duplicates(make_queue: MakeQueue) -> None:
    dead = make_queue()
    first = make_queue(dead_letters=dead)
    second = make_queue(dead_letters=dead)
    for queue, body in ((first, "a"), (second, "b")):
        queue.send(body, group="g", dedup="same")
        exhaust(queue, body)
        assert queue.nothing()

    assert dead.bodies() == ["a", "b"]


def test_sources_of_dead_letters_are_listed(make_queue: MakeQueue) -> None:
    dead = make_queue()
    sources = {make_queue(dead_letters=dead).url for _ in range(2)}

    answer = dead.client.list_dead_letter_source_queues(QueueUrl=dead.url)

    assert set(answer["queueUrls"]) == sources


@pytest.mark.parametrize("explicit", [pytest.param(False, id="to the source"), pytest.param(True, id="by name")])
def test_move_task_brings_dead_letters_back(make_queue: MakeQueue, explicit: bool) -> None:
    dead = make_queue()
    queue = make_queue(dead_letters=dead)
    target = make_queue() if explicit else queue
    for body in ("a", "b"):
        queue.send(body)
        exhaust(queue, body)
        assert queue.nothing()

    destination = {"DestinationArn": target.arn} if explicit else {}
    queue.client.start_message_move_task(SourceArn=dead.arn, **destination)

    task = await_end(dead)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 2)
    messages = target.receive()
    # The deduplication ids were sent to `queue` moments ago, and yet the messages are there.
    assert [message["Body"] for message in messages] == ["a", "b"]
    assert messages[0]["Attributes"]["ApproximateReceiveCount"] == "1"


def test_move_task_can_be_cancelled(make_queue: MakeQueue) -> None:
    dead = make_queue()
    queue = make_queue(dead_letters=dead)
    for body in "abcde":
        dead.send(body)
    start = {"SourceArn": dead.arn, "DestinationArn": queue.arn, "MaxNumberOfMessagesPerSecond": 1}
    handle = queue.client.start_message_move_task(**start)["TaskHandle"]
    with pytest.raises(ClientError) as error:
        queue.client.start_message_move_task(**start)
    assert code(error) == "InvalidParameterValue"

    queue.client.cancel_message_move_task(TaskHandle=handle)

    assert await_end(dead)["Status"] == "CANCELLED"
    assert dead.counts()[0] > 0


def test_move_task_fails_on_messages_without_a_source(make_queue: MakeQueue) -> None:
    dead = make_queue()
    make_queue(dead_letters=dead)
    dead.send("sent here directly")

    dead.client.start_message_move_task(SourceArn=dead.arn)

    task = await_end(dead)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert dead.bodies() == ["sent here directly"]


def test_move_task_needs_a_dead_letter_queue_and_a_destination(make_queue: MakeQueue) -> None:
    dead = make_queue()
    queue = make_queue(dead_letters=dead)
    with pytest.raises(ClientError) as not_dead:
        queue.client.start_message_move_task(SourceArn=queue.arn)
    with pytest.raises(ClientError) as nowhere:
        queue.client.start_message_move_task(SourceArn=dead.arn, DestinationArn=f"{queue.arn}-missing.fifo")

    assert code(not_dead) == "InvalidParameterValue"
    assert code(nowhere) == "ResourceNotFoundException"


def test_dead_letter_queue_must_be_of_the_same_type(make_queue: MakeQueue, standard: ContractQueue) -> None:
    with pytest.raises(ClientError) as error:
        make_queue(dead_letters=standard)

    assert code(error) == "InvalidParameterValue"
