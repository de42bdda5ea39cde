"""Batches and sizes: what fails alone, and what fails the whole request."""

import pytest
from botocore.exceptions import ClientError
from contract_queue import ContractQueue, MakeQueue, code

MIB = 1_048_576


def entries(number: int) -> list[dict[str, str]]:
    return [
        {"Id": str(i), "MessageBody": f"m{i}", "MessageGroupId": "g", "MessageDeduplicationId": f"d{i}"}
        for i in range(number)
    ]


def test_batch_keeps_the_order(fifo: ContractQueue) -> None:
    answer = fifo.client.send_message_batch(QueueUrl=fifo.url, Entries=entries(10))

    assert [entry["Id"] for entry in answer["Successful"]] == [str(i) for i in range(10)]
    assert fifo.bodies() == [f"m{i}" for i in range(10)]


def test_bad_entry_fails_alone(fifo: ContractQueue) -> None:
    batch = entries(3)
    del batch[1]["MessageDeduplicationId"]

    answer = fifo.client.send_message_batch(QueueUrl=fifo.url, Entries=batch)

    assert [entry["Id"] for entry in answer["Successful"]] == ["0", "2"]
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("1", "InvalidParameterValue", True)
    assert fifo.bodies() == ["m0", "m2"]


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        pytest.param([], "EmptyBatchRequest", id="empty"),
        pytest.param(entries(11), "TooManyEntriesInBatchRequest", id="eleven"),
        pytest.param([*entries(1), *entries(1)], "BatchEntryIdsNotDistinct", id="same id twice"),
        pytest.param([entries(1)[0] | {"Id": "no spaces"}], "InvalidBatchEntryId", id="bad id"),
        pytest.param(
            [entry | {"MessageBody": "x" * (MIB // 2 + 1)} for entry in entries(2)],
            "BatchRequestTooLong",
            id="too long together",
        ),
    ],
)
def test_batch_is_refused(fifo: ContractQueue, batch: list[dict[str, str]], expected: str) -> None:
    with pytest.raises(ClientError) as error:
        fifo.client.send_message_batch(QueueUrl=fifo.url, Entries=batch)

    assert code(error) == f"AWS.SimpleQueueService.{expected}"
    assert fifo.nothing()


def test_delete_batch_fails_in_part(fifo: ContractQueue) -> None:
    fifo.send("a")
    message = fifo.receive()[0]

    answer = fifo.client.delete_message_batch(
        QueueUrl=fifo.url,
        Entries=[
            {"Id": "good", "ReceiptHandle": message["ReceiptHandle"]},
            {"Id": "bad", "ReceiptHandle": "invented"},
        ],
    )

    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]


@pytest.mark.parametrize(
    "body",
    [pytest.param("x" * MIB, id="one byte each"), pytest.param("é" * (MIB // 2), id="two bytes each")],
)
def test_body_of_one_mebibyte_is_taken_and_one_byte_more_is_not(standard: ContractQueue, body: str) -> None:
    standard.post(body)
    with pytest.raises(ClientError) as error:
        standard.post(body + "x")

    assert code(error) == "InvalidParameterValue"
    assert standard.bodies() == [body]


def test_attributes_count_against_the_size(make_queue: MakeQueue) -> None:
    queue = make_queue(fifo=False, MaximumMessageSize="1024")
    # Name 4, type 6, value 14.
    attribute = {"name": {"DataType": "String", "StringValue": "v" * 14}}

    queue.post("x" * 1_000, MessageAttributes=attribute)
    with pytest.raises(ClientError) as error:
        queue.post("x" * 1_001, MessageAttributes=attribute)

    assert code(error) == "InvalidParameterValue"


@pytest.mark.parametrize("body", [pytest.param("a\x00b", id="nul"), pytest.param("a\ufffeb", id="noncharacter")])
def test_characters_outside_of_xml_are_refused(standard: ContractQueue, body: str) -> None:
    with pytest.raises(ClientError) as error:
        standard.post(body)

    assert code(error) == "InvalidMessageContents"


@pytest.mark.parametrize("limit", [pytest.param(0, id="zero"), pytest.param(11, id="eleven")])
def test_receive_of_too_few_or_too_many_is_refused(standard: ContractQueue, limit: int) -> None:
    with pytest.raises(ClientError) as error:
        standard.receive(limit=limit)

    assert code(error) == "InvalidParameterValue"
