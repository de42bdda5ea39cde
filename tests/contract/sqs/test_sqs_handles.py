"""Receipt handles and visibility: who may delete or hold a message, and for how long."""

import pytest
from botocore.exceptions import ClientError
from contract_queue import ContractQueue, MakeQueue, code
from mypy_boto3_sqs.type_defs import MessageTypeDef


def expired(queue: ContractQueue) -> MessageTypeDef:
    """Send and receive a message, and let its visibility timeout end."""
    queue.send("a")
    message = queue.receive()[0]
    queue.show(message, 0)
    return message


def test_deleting_twice_is_a_success(fifo: ContractQueue) -> None:
    fifo.send("a")
    message = fifo.receive()[0]

    fifo.delete(message)
    fifo.delete(message)

    assert fifo.counts() == (0, 0, 0)


def test_expired_handle_deletes_nothing_on_fifo(fifo: ContractQueue) -> None:
    message = expired(fifo)

    with pytest.raises(ClientError) as error:
        fifo.delete(message)

    assert code(error) == "InvalidParameterValue"
    assert fifo.bodies() == ["a"]


def test_stale_handle_does_not_delete_a_redelivered_message_on_fifo(fifo: ContractQueue) -> None:
    old = expired(fifo)
    assert fifo.bodies() == ["a"]

    with pytest.raises(ClientError) as error:
        fifo.delete(old)

    assert code(error) == "InvalidParameterValue"
    assert fifo.counts() == (0, 1, 0)


def test_stale_handle_is_accepted_but_deletes_nothing_on_standard(standard: ContractQueue) -> None:
    standard.post("a")
    old = standard.receive()[0]
    standard.show(old, 0)
    assert standard.bodies() == ["a"]

    standard.delete(old)

    assert standard.counts() == (0, 1, 0)


def test_latest_handle_deletes_a_visible_message_on_standard(standard: ContractQueue) -> None:
    standard.post("a")
    message = standard.receive()[0]
    standard.show(message, 0)

    standard.delete(message)

    assert standard.nothing()


def test_invented_handle_is_refused(fifo: ContractQueue) -> None:
    with pytest.raises(ClientError) as error:
        fifo.client.delete_message(QueueUrl=fifo.url, ReceiptHandle="invented")

    assert code(error) == "ReceiptHandleIsInvalid"


def test_longer_visibility_keeps_a_message(fifo: ContractQueue) -> None:
    fifo.send("a")
    message = fifo.receive(visibility=1)[0]

    fifo.show(message, 30)

    assert fifo.bodies(wait=2) == []


def test_visibility_is_refused_when_not_in_flight(standard: ContractQueue) -> None:
    standard.post("a")
    message = standard.receive()[0]
    standard.show(message, 0)

    with pytest.raises(ClientError) as error:
        standard.show(message, 10)

    assert code(error) == "AWS.SimpleQueueService.MessageNotInflight"


def test_visibility_is_refused_after_deletion(standard: ContractQueue) -> None:
    standard.post("a")
    message = standard.receive()[0]
    standard.delete(message)

    with pytest.raises(ClientError) as error:
        standard.show(message, 10)

    assert code(error) == "InvalidParameterValue"


@pytest.mark.parametrize("seconds", [pytest.param(-1, id="negative"), pytest.param(43_201, id="over 12 hours")])
def test_visibility_out_of_range_is_refused(fifo: ContractQueue, seconds: int) -> None:
    fifo.send("a")
    message = fifo.receive()[0]

    with pytest.raises(ClientError) as error:
        fifo.show(message, seconds)

    assert code(error) == "InvalidParameterValue"


def test_visibility_batch_fails_in_part(standard: ContractQueue) -> None:
    standard.post("a")
    message = standard.receive()[0]

    answer = standard.client.change_message_visibility_batch(
        QueueUrl=standard.url,
        Entries=[
            {"Id": "good", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0},
            {"Id": "bad", "ReceiptHandle": "invented", "VisibilityTimeout": 0},
        ],
    )

    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]
    assert standard.bodies() == ["a"]


def test_visibility_zero_in_a_receive_holds_nothing(fifo: ContractQueue) -> None:
    fifo.send("a")

    assert fifo.bodies(visibility=0) == ["a"]
    assert fifo.bodies(visibility=0) == ["a"]


def test_visibility_of_the_queue_is_the_default(make_queue: MakeQueue) -> None:
    queue = make_queue(VisibilityTimeout="1")
    queue.send("a")
    receive = {"QueueUrl": queue.url, "WaitTimeSeconds": 20}
    queue.client.receive_message(**receive)

    assert queue.client.receive_message(**receive)["Messages"][0]["Body"] == "a"
