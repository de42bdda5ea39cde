"""FIFO queues: deduplication, order, and groups that block."""

import pytest
from botocore.exceptions import ClientError
from contract_queue import ContractQueue, MakeQueue, code
from mypy_boto3_sqs import SQSClient


def test_duplicate_is_dropped_and_gets_the_original_answer(fifo: ContractQueue) -> None:
    first = fifo.send("a", dedup="1")

    assert fifo.send("b", dedup="1") == first
    assert fifo.bodies() == ["a"]
    assert fifo.nothing()


def test_duplicate_is_dropped_even_after_the_original_is_deleted(fifo: ContractQueue) -> None:
    fifo.send("a", dedup="1")
    fifo.delete(fifo.receive()[0])

    fifo.send("b", dedup="1")

    assert fifo.nothing()
    assert fifo.counts() == (0, 0, 0)


def test_duplicate_is_dropped_across_groups(fifo: ContractQueue) -> None:
    fifo.send("a", group="g1", dedup="1")
    fifo.send("b", group="g2", dedup="1")

    assert fifo.bodies() == ["a"]
    assert fifo.nothing()


def test_duplicate_of_another_group_is_kept_in_the_scope_of_groups(make_queue: MakeQueue) -> None:
    queue = make_queue(DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    queue.send("a", group="g1", dedup="1")
    queue.send("b", group="g2", dedup="1")
    queue.send("c", group="g1", dedup="1")

    assert sorted(queue.bodies() + queue.bodies(wait=1)) == ["a", "b"]


def test_content_is_the_deduplication_id_where_enabled(make_queue: MakeQueue) -> None:
    queue = make_queue(ContentBasedDeduplication="true")
    send = {"QueueUrl": queue.url, "MessageBody": "a", "MessageGroupId": "g"}
    first = queue.client.send_message(**send)["MessageId"]

    assert queue.client.send_message(**send)["MessageId"] == first
    assert queue.client.send_message(**send, MessageDeduplicationId="other")["MessageId"] != first
    assert queue.bodies() == ["a", "a"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param({"MessageDeduplicationId": "1"}, "MissingParameter", id="no group"),
        pytest.param({"MessageGroupId": "g"}, "InvalidParameterValue", id="no deduplication id"),
        pytest.param(
            {"MessageGroupId": "g", "MessageDeduplicationId": "1", "DelaySeconds": 2},
            "InvalidParameterValue",
            id="delay of one message",
        ),
    ],
)
def test_send_is_refused(fifo: ContractQueue, parameters: dict[str, object], expected: str) -> None:
    with pytest.raises(ClientError) as error:
        fifo.post("a", **parameters)

    assert code(error) == expected


def test_sequence_numbers_grow(fifo: ContractQueue) -> None:
    def send(body: str, group: str) -> int:
        return int(
            fifo.client.send_message(
                QueueUrl=fifo.url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=body
            )["SequenceNumber"]
        )

    sent = [send("a", "g1"), send("b", "g2"), send("c", "g1")]

    assert sent == sorted(set(sent))
    assert int(fifo.receive(limit=1)[0]["Attributes"]["SequenceNumber"]) == sent[0]


def test_one_receive_returns_several_of_a_group_in_order(fifo: ContractQueue) -> None:
    for body in "abcde":
        fifo.send(body)

    assert fifo.bodies(limit=3) == ["a", "b", "c"]


def test_message_in_flight_blocks_its_group_alone(fifo: ContractQueue) -> None:
    fifo.send("a1", group="a")
    fifo.send("a2", group="a")
    held = fifo.receive(limit=1)
    assert fifo.nothing()

    fifo.send("b1", group="b")

    assert fifo.bodies() == ["b1"]
    fifo.delete(held[0])
    assert fifo.bodies() == ["a2"]


def test_group_stays_blocked_until_all_of_it_is_deleted(fifo: ContractQueue) -> None:
    for body in "abc":
        fifo.send(body)
    first, second = fifo.receive(limit=2)

    fifo.delete(first)
    assert fifo.nothing()

    fifo.delete(second)
    assert fifo.bodies() == ["c"]


def test_order_is_kept_when_visibility_timeouts_end(fifo: ContractQueue) -> None:
    for body in "abc":
        fifo.send(body)
    assert fifo.bodies(limit=2, visibility=1) == ["a", "b"]

    assert fifo.bodies() == ["a", "b", "c"]


def test_order_is_kept_when_the_later_message_returns_first(fifo: ContractQueue) -> None:
    for body in "abc":
        fifo.send(body)
    first, second = fifo.receive(limit=2)

    fifo.show(second)
    fifo.show(first)

    assert fifo.bodies() == ["a", "b", "c"]


def test_receive_counts_grow(fifo: ContractQueue) -> None:
    fifo.send("a")

    counts = [fifo.receive(visibility=1)[0]["Attributes"]["ApproximateReceiveCount"] for _ in range(3)]

    assert counts == ["1", "2", "3"]


def test_same_receive_attempt_gets_the_same_messages(fifo: ContractQueue, client: SQSClient) -> None:
    fifo.send("a", group="a")
    fifo.send("b", group="b")

    def attempt(name: str) -> list[tuple[str, str]]:
        got = client.receive_message(
            QueueUrl=fifo.url, MaxNumberOfMessages=1, WaitTimeSeconds=1, ReceiveRequestAttemptId=name
        )
        return [(message["Body"], message["ReceiptHandle"]) for message in got.get("Messages", [])]

    first = attempt("1")

    assert attempt("1") == first
    assert [body for body, _ in attempt("2")] == ["b"]
    client.delete_message(QueueUrl=fifo.url, ReceiptHandle=first[0][1])
    assert fifo.nothing()


def test_delay_of_the_queue_keeps_the_order(make_queue: MakeQueue) -> None:
    queue = make_queue(DelaySeconds="2")
    queue.send("a")
    queue.send("b")
    assert queue.counts() == (0, 0, 2)

    assert queue.bodies()[0] == "a"


def test_system_attributes_name_group_and_deduplication_id(fifo: ContractQueue) -> None:
    fifo.send("a", group="the-group", dedup="the-id")

    attributes = fifo.receive()[0]["Attributes"]

    assert attributes["MessageGroupId"] == "the-group"
    assert attributes["MessageDeduplicationId"] == "the-id"
    assert int(attributes["SentTimestamp"]) <= int(attributes["ApproximateFirstReceiveTimestamp"])
