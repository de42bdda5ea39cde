"""The local SQS as a process: start, declared queues, death, and the edges of its HTTP."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from mypy_boto3_sqs import SQSClient

END_SECONDS = 20
DECLARED = [
    {
        "name": "work.fifo",
        "attributes": {
            "FifoQueue": True,
            "VisibilityTimeout": 300,
            "RedrivePolicy": {
                "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead.fifo",
                "maxReceiveCount": 3,
            },
        },
    },
    {"name": "dead.fifo", "attributes": {"FifoQueue": "true"}},
]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server of this test."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self) -> SQSClient:
        return boto3.client(
            "sqs",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


Start = Callable[..., Server]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def begin(*options: str, port: int = 0, pass_fds: tuple[int, ...] = ()) -> Server:
            command = [sys.executable, "-m", "controller.local.sqs", "--port", str(port), *options]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds)
            assert process.stdout is not None
            stack.callback(process.stdout.close)
            stack.callback(process.wait)
            stack.callback(process.kill)
            line = process.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:")
            return Server(process, line.split()[-1])

        yield begin


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    """Write a file that declares queues, the dead letters last."""
    path = tmp_path / "queues.json"
    path.write_text(json.dumps(DECLARED))
    return path


def request(action: str, parameters: Mapping[str, object]) -> bytes:
    body = json.dumps(parameters).encode()
    head = f"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{action}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def await_in_flight(client: SQSClient, url: str, expected: str) -> None:
    name = "ApproximateNumberOfMessagesNotVisible"
    deadline = monotonic() + END_SECONDS
    while client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name] != expected:
        assert monotonic() < deadline
        sleep(0.02)


def test_declared_queues_exist_from_the_first_request_on(start: Start, declared: Path) -> None:
    client = start("--queues", str(declared)).client()

    url = client.get_queue_url(QueueName="work.fifo")["QueueUrl"]

    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "300"
    assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == 3


def test_killed_server_comes_back_with_its_queues_empty(start: Start, declared: Path) -> None:
    first = start("--queues", str(declared))
    client = first.client()
    url = client.get_queue_url(QueueName="work.fifo")["QueueUrl"]
    message = {"MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "1"}
    before = client.send_message(QueueUrl=url, **message)
    handle = client.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    first.process.kill()
    first.process.wait()

    start("--queues", str(declared), port=first.port)

    client.delete_message(QueueUrl=url, ReceiptHandle=handle)
    assert "Messages" not in client.receive_message(QueueUrl=url)
    after = client.send_message(QueueUrl=url, **message)
    assert int(after["SequenceNumber"]) > int(before["SequenceNumber"])
    assert after["MessageId"] != before["MessageId"]


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, id="SIGTERM"), pytest.param(signal.SIGINT, id="SIGINT")]
)
def test_signal_ends_it_at_once_beside_an_open_poll(start: Start, declared: Path, number: signal.Signals) -> None:
    server = start("--queues", str(declared))
    with socket.create_connection(("127.0.0.1", server.port), timeout=END_SECONDS) as connection:
        connection.sendall(request("ReceiveMessage", {"QueueUrl": "work.fifo", "WaitTimeSeconds": 20}))
        # An answered request on another connection proves that the poll before it has arrived.
        server.client().list_queues()

        server.process.send_signal(number)

        # Sooner than the poll's own end, by any measure.
        assert server.process.wait(timeout=10) == 0


def test_end_of_the_lifeline_ends_it(start: Start) -> None:
    read, write = os.pipe()
    server = start("--lifeline", str(read), pass_fds=(read,))
    os.close(read)
    server.client().list_queues()

    os.close(write)

    assert server.process.wait(timeout=END_SECONDS) != 0


def test_poll_of_a_client_that_left_gets_no_message(start: Start, declared: Path) -> None:
    server = start("--queues", str(declared))
    client = server.client()
    url = client.get_queue_url(QueueName="work.fifo")["QueueUrl"]
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request("ReceiveMessage", {"QueueUrl": "work.fifo", "WaitTimeSeconds": 20}))
        client.list_queues()
    client.list_queues()

    client.send_message(QueueUrl=url, MessageBody="a", MessageGroupId="g", MessageDeduplicationId="1")

    assert client.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"] == "a"


def test_requests_sent_ahead_are_answered_in_turn(start: Start, declared: Path) -> None:
    server = start("--queues", str(declared))
    ahead = request("GetQueueUrl", {"QueueName": "work.fifo"}) + request("GetQueueUrl", {"QueueName": "dead.fifo"})

    with socket.create_connection(("127.0.0.1", server.port), timeout=END_SECONDS) as connection:
        # Byte by byte in the middle: a request may be cut anywhere.
        for piece in (ahead[:30], ahead[30:31], ahead[31:200], ahead[200:]):
            connection.sendall(piece)
            sleep(0.02)
        received = b""
        while received.count(b"QueueUrl") < 2:
            received += connection.recv(65_536)

    assert received.index(b"work.fifo") < received.index(b"dead.fifo")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no operation"),
        pytest.param(request("Fly", {}), 400, id="unknown operation"),
        pytest.param(request("GetQueueUrl", {"QueueName": 7}), 400, id="wrong type"),
        pytest.param(
            b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.GetQueueUrl\r\nContent-Length: 1\r\n\r\n{",
            400,
            id="no json",
        ),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, id="chunked"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413, id="huge body"),
        pytest.param(b"x" * 70_000, 431, id="endless head"),
    ],
)
def test_bad_request_is_refused(start: Start, raw: bytes, status: int) -> None:
    server = start()

    with socket.create_connection(("127.0.0.1", server.port), timeout=END_SECONDS) as connection:
        connection.sendall(raw)
        answer = http.client.HTTPResponse(connection)
        answer.begin()

    assert answer.status == status
    server.client().list_queues()


def test_bad_declaration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queues.json"
    path.write_text('[{"name": "x", "attributes": {"Colour": "red"}}]')
    command = [sys.executable, "-m", "controller.local.sqs", "--port", "0", "--queues", str(path)]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=END_SECONDS, check=False)

    assert ended.returncode == 1
    assert "Unknown Attribute Colour" in ended.stderr


def test_ended_server_refuses_connections(start: Start) -> None:
    server = start()
    server.process.terminate()
    server.process.wait()

    with pytest.raises(EndpointConnectionError):
        server.client().list_queues()
