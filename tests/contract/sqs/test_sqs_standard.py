"""Standard queues: delays, attributes, counts, purge."""

import pytest
from botocore.exceptions import ClientError
from contract_queue import ContractQueue, MakeQueue, code

ATTRIBUTES = {
    "Hello": {"DataType": "String", "StringValue": "There"},
    "General": {"DataType": "String", "StringValue": "Kenobi"},
    "Help.Me": {"DataType": "String", "StringValue": "Me"},
}


def test_delay_of_one_message_overrides_that_of_the_queue(make_queue: MakeQueue) -> None:
    queue = make_queue(fifo=False, DelaySeconds="900")
    queue.post("late")
    queue.post("soon", DelaySeconds=1)
    queue.post("now", DelaySeconds=0)

    assert queue.bodies() == ["now"]
    assert queue.bodies() == ["soon"]
    assert queue.counts() == (0, 2, 1)


def test_message_in_flight_blocks_nothing(standard: ContractQueue) -> None:
    standard.post("a", MessageGroupId="tenant")
    standard.post("b", MessageGroupId="tenant")

    assert sorted(standard.bodies(limit=1) + standard.bodies(limit=1)) == ["a", "b"]


def test_deduplication_id_is_refused(standard: ContractQueue) -> None:
    with pytest.raises(ClientError) as error:
        standard.post("a", MessageDeduplicationId="1")

    assert code(error) == "InvalidParameterValue"


def test_counts_follow_a_message(standard: ContractQueue) -> None:
    standard.post("a")
    assert standard.counts() == (1, 0, 0)
    message = standard.receive()[0]
    assert standard.counts() == (0, 1, 0)
    standard.delete(message)
    assert standard.counts() == (0, 0, 0)


def test_purge_forgets_all_and_is_refused_within_a_minute(standard: ContractQueue) -> None:
    standard.post("a")
    standard.post("b")
    standard.receive(limit=1)

    standard.client.purge_queue(QueueUrl=standard.url)
    with pytest.raises(ClientError) as error:
        standard.client.purge_queue(QueueUrl=standard.url)

    assert code(error) == "AWS.SimpleQueueService.PurgeQueueInProgress"
    assert standard.counts() == (0, 0, 0)


@pytest.mark.parametrize(
    ("names", "digest", "expected"),
    [
        pytest.param(["All"], "4c360f3fdafd970e05fae2f149d997f5", {"Hello", "General", "Help.Me"}, id="all"),
        pytest.param(["Hel.*"], "83fee93c1bcd8b9a5a923ffacdc636c7", {"Hello", "Help.Me"}, id="prefix"),
        pytest.param(["Hello", "No"], "a311262e065454b75da111d535b8dacd", {"Hello"}, id="by name"),
        pytest.param(["No"], None, set(), id="none of that name"),
        pytest.param([], None, set(), id="none asked for"),
    ],
)
def test_message_attributes_are_filtered(
    standard: ContractQueue, names: list[str], digest: str | None, expected: set[str]
) -> None:
    standard.post("msg", MessageAttributes=ATTRIBUTES)

    (message,) = standard.client.receive_message(
        QueueUrl=standard.url, MessageAttributeNames=names, WaitTimeSeconds=20
    )["Messages"]

    assert message["MD5OfBody"] == "6e2baaf3b97dbeef01c0043275f9a0e7"
    assert message.get("MD5OfMessageAttributes") == digest
    assert set(message.get("MessageAttributes", {})) == expected


def test_binary_attribute_and_trace_header_pass(standard: ContractQueue) -> None:
    standard.post(
        "test",
        MessageAttributes={"attr1": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}},
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988"}},
    )

    message = standard.receive()[0]

    assert message["MessageAttributes"]["attr1"]["BinaryValue"] == b"\x00\xff"
    assert message["Attributes"]["AWSTraceHeader"] == "Root=1-5759e988"


@pytest.mark.parametrize(
    "attribute",
    [
        pytest.param({"DataType": "Text", "StringValue": "x"}, id="unknown type"),
        pytest.param({"DataType": "String", "StringValue": ""}, id="empty value"),
    ],
)
def test_bad_message_attribute_is_refused(standard: ContractQueue, attribute: dict[str, str]) -> None:
    with pytest.raises(ClientError) as error:
        standard.post("a", MessageAttributes={"name": attribute})

    assert code(error) == "InvalidParameterValue"
