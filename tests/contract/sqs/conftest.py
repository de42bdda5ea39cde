"""Endpoints that the SQS contract is checked against, and queues that live for one test."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import boto3
import pytest
from botocore.config import Config
from contract_queue import ContractQueue, MakeQueue
from ministack_differences import DIFFERENCES
from mypy_boto3_sqs import SQSClient

from controller.local import lifeline

STARTUP_SECONDS = 30
STOP_SECONDS = 10


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the known differences of ministack as failures that must stay failures."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or callspec.params.get("endpoint") != "ministack":
            continue
        name = item.name.replace("[ministack]", "").replace("[ministack-", "[")
        if name in DIFFERENCES:
            item.add_marker(pytest.mark.xfail(strict=True, reason=f"ministack: {DIFFERENCES[name]}"))


def _endpoints() -> Sequence[str]:
    aws = ("aws",) if os.environ.get("SETPOINT_CONTRACT_AWS") == "1" else ()
    return ("ours", "ministack", *aws)


@pytest.fixture(scope="session")
def ours_url() -> Iterator[str]:
    """Run our server on a free port; it ends with this process, however that ends."""
    read, write = lifeline.pipe()
    command = [sys.executable, "-m", "controller.local.sqs", "--port", "0", "--lifeline", str(read)]
    with _process(command, stdout=subprocess.PIPE, text=True, pass_fds=(read,)) as process:
        os.close(read)
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
    os.close(write)


@pytest.fixture(scope="session")
def ministack_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run ministack on a free port, if it is installed."""
    beside = Path(sys.executable).parent
    command = shutil.which("ministack", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if command is None:
        pytest.skip("ministack is not installed: see tests/contract/README.md")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("ministack")
    environment = os.environ | {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    with (
        (folder / "log").open("w") as log,
        _process([command], stdout=log, stderr=log, env=environment, cwd=folder),
    ):
        _await_port(port)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session", params=_endpoints())
def endpoint(request: pytest.FixtureRequest) -> str:
    """Name the endpoint; each test runs against all of them."""
    return request.param


@pytest.fixture(scope="session")
def client(endpoint: str, request: pytest.FixtureRequest) -> SQSClient:
    """Connect the AWS SDK to the endpoint."""
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=20, read_timeout=60)
    if endpoint == "aws":
        return boto3.client("sqs", config=config)
    url = request.getfixturevalue(f"{endpoint}_url")
    return boto3.client(
        "sqs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )


@pytest.fixture
def make_queue(client: SQSClient) -> Iterator[MakeQueue]:
    """Create queues that are deleted with the test; names are drawn, because AWS keeps one busy for 60 s."""
    with ExitStack() as stack:

        def make(*, fifo: bool = True, dead_letters: ContractQueue | None = None, **attributes: str) -> ContractQueue:
            name = f"contract-{secrets.token_hex(6)}"
            if fifo:
                name, attributes = f"{name}.fifo", {"FifoQueue": "true"} | attributes
            if dead_letters is not None:
                policy = '{"deadLetterTargetArn": "%s", "maxReceiveCount": 2}'
                attributes["RedrivePolicy"] = policy % dead_letters.arn
            url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
            stack.callback(client.delete_queue, QueueUrl=url)
            return ContractQueue(client, url)

        yield make


@pytest.fixture
def fifo(make_queue: MakeQueue) -> ContractQueue:
    """Return a FIFO queue with default attributes."""
    return make_queue()


@pytest.fixture
def standard(make_queue: MakeQueue) -> ContractQueue:
    """Return a standard queue with default attributes."""
    return make_queue(fifo=False)


@contextmanager
def _process(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await_port(port: int) -> None:
    deadline = monotonic() + STARTUP_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if monotonic() > deadline:
                raise
            sleep(0.05)
        else:
            return
