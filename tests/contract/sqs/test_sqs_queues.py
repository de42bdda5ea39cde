"""Queues: names, attributes, tags, lists."""

import secrets

import pytest
from botocore.exceptions import ClientError
from contract_queue import ContractQueue, MakeQueue, code
from mypy_boto3_sqs import SQSClient


def name_of(queue: ContractQueue) -> str:
    return queue.url.rpartition("/")[2]


def test_creating_the_same_queue_finds_it(fifo: ContractQueue) -> None:
    again = fifo.client.create_queue(QueueName=name_of(fifo), Attributes={"FifoQueue": "true"})

    assert again["QueueUrl"] == fifo.url
    assert fifo.client.get_queue_url(QueueName=name_of(fifo))["QueueUrl"] == fifo.url


def test_creating_it_with_other_attributes_is_refused(fifo: ContractQueue) -> None:
    with pytest.raises(ClientError) as error:
        fifo.client.create_queue(QueueName=name_of(fifo), Attributes={"FifoQueue": "true", "VisibilityTimeout": "99"})

    assert code(error) == "QueueAlreadyExists"


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        pytest.param("with space", {}, "InvalidParameterValue", id="characters"),
        pytest.param("x" * 81, {}, "InvalidParameterValue", id="length"),
        pytest.param("x.fifo", {}, "InvalidParameterValue", id="fifo by name only"),
        pytest.param("x", {"FifoQueue": "true"}, "InvalidParameterValue", id="fifo by attribute only"),
        pytest.param("x", {"VisibilityTimeout": "43201"}, "InvalidAttributeValue", id="out of range"),
        pytest.param("x", {"DelaySeconds": "soon"}, "InvalidAttributeValue", id="no number"),
        pytest.param("x", {"Colour": "red"}, "InvalidAttributeName", id="unknown attribute"),
        pytest.param("x", {"ContentBasedDeduplication": "true"}, "InvalidAttributeName", id="for fifo only"),
        pytest.param("x", {"RedrivePolicy": "{}"}, "InvalidParameterValue", id="empty redrive policy"),
        pytest.param(
            "x",
            {"RedrivePolicy": '{"deadLetterTargetArn": "dummy", "maxReceiveCount": 2}'},
            "InvalidParameterValue",
            id="no arn",
        ),
        pytest.param(
            "x",
            {
                "RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:none", '
                '"maxReceiveCount": 2}'
            },
            "InvalidParameterValue",
            id="no such dead-letter queue",
        ),
    ],
)
def test_create_is_refused(client: SQSClient, name: str, attributes: dict[str, str], expected: str) -> None:
    with pytest.raises(ClientError) as error:
        client.create_queue(QueueName=name, Attributes=attributes)

    assert code(error) == expected


def test_missing_queue_is_named_as_such(client: SQSClient, fifo: ContractQueue) -> None:
    with pytest.raises(ClientError) as by_name:
        client.get_queue_url(QueueName="no-such-queue")
    with pytest.raises(ClientError) as by_url:
        client.receive_message(QueueUrl=f"{fifo.url.removesuffix('.fifo')}-missing.fifo")

    assert code(by_name) == code(by_url) == "AWS.SimpleQueueService.NonExistentQueue"
    assert isinstance(by_name.value, client.exceptions.QueueDoesNotExist)


def test_deleted_queue_is_gone(client: SQSClient) -> None:
    url = client.create_queue(QueueName=f"contract-{secrets.token_hex(6)}")["QueueUrl"]

    client.delete_queue(QueueUrl=url)

    with pytest.raises(client.exceptions.QueueDoesNotExist):
        client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])


def test_attributes_of_a_new_fifo_queue(fifo: ContractQueue) -> None:
    attributes = fifo.client.get_queue_attributes(QueueUrl=fifo.url, AttributeNames=["All"])["Attributes"]

    expected = {
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "DelaySeconds": "0",
        "FifoQueue": "true",
        "FifoThroughputLimit": "perQueue",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "ReceiveMessageWaitTimeSeconds": "0",
        "VisibilityTimeout": "30",
    }
    assert expected.items() <= attributes.items()
    assert attributes["QueueArn"].endswith(f":{name_of(fifo)}")


def test_attributes_can_be_changed_and_asked_for_by_name(fifo: ContractQueue) -> None:
    fifo.client.set_queue_attributes(QueueUrl=fifo.url, Attributes={"VisibilityTimeout": "77"})

    answer = fifo.client.get_queue_attributes(QueueUrl=fifo.url, AttributeNames=["VisibilityTimeout"])

    assert answer["Attributes"] == {"VisibilityTimeout": "77"}


def test_redrive_policy_can_be_removed(make_queue: MakeQueue) -> None:
    queue = make_queue(dead_letters=make_queue())

    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"RedrivePolicy": ""})

    answer = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])
    assert "RedrivePolicy" not in answer["Attributes"]


def test_unknown_attribute_cannot_be_asked_for(fifo: ContractQueue) -> None:
    with pytest.raises(ClientError) as error:
        fifo.client.get_queue_attributes(QueueUrl=fifo.url, AttributeNames=["Colour"])

    assert code(error) == "InvalidAttributeName"


def test_queues_are_listed_by_prefix_and_page(client: SQSClient) -> None:
    prefix = f"contract-{secrets.token_hex(6)}-"
    urls = {client.create_queue(QueueName=f"{prefix}{i}")["QueueUrl"] for i in range(3)}

    first = client.list_queues(QueueNamePrefix=prefix, MaxResults=2)
    second = client.list_queues(QueueNamePrefix=prefix, MaxResults=2, NextToken=first["NextToken"])

    assert len(first["QueueUrls"]) == 2
    assert {*first["QueueUrls"], *second["QueueUrls"]} == urls
    assert "NextToken" not in second
    for url in urls:
        client.delete_queue(QueueUrl=url)


def test_tags_are_added_listed_and_removed(fifo: ContractQueue) -> None:
    fifo.client.tag_queue(QueueUrl=fifo.url, Tags={"pool": "polars", "env": "test"})
    fifo.client.untag_queue(QueueUrl=fifo.url, TagKeys=["env"])

    assert fifo.client.list_queue_tags(QueueUrl=fifo.url)["Tags"] == {"pool": "polars"}
