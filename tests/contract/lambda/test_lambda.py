"""Invoke, as AWS answers it, with functions that run under AWS's own runtime client."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("awslambdaric")

PATIENCE_SECONDS = 30.0

HANDLERS = """
import json, os, sys, time

calls = 0

def count(event, context):
    global calls
    calls += 1
    print("counting", calls)
    return {"calls": calls, "event": event, "name": os.environ["NAME"], "pid": os.getpid(),
            "function": context.function_name, "arn": context.invoked_function_arn,
            "left": context.get_remaining_time_in_millis(), "request": context.aws_request_id}

def fail(event, context):
    raise KeyError("no such thing")

def leave(event, context):
    os._exit(7)

def sleep(event, context):
    time.sleep(event["seconds"])
    return "awake"

def twice(event, context):
    with open(event["path"], "a") as file:
        file.write("try\\n")
    if len(open(event["path"]).readlines()) < 3:
        raise RuntimeError("again")
"""


class LambdaProcess:
    """The server process, held by a lifeline."""

    def __init__(self, folder: Path) -> None:
        (folder / "handlers.py").write_text(HANDLERS)
        (folder / "broken.py").write_text("import no_such_module\n")
        functions = folder / "functions.json"
        functions.write_text(json.dumps([
            {"name": name, "handler": handler, "code_dir": str(code), "timeout": limit, "env": {"NAME": name}}
            for name, handler, limit, code in (
                ("count", "handlers.count", 20, folder),
                ("fail", "handlers.fail", 20, folder),
                ("leave", "handlers.leave", 20, folder),
                ("sleep", "handlers.sleep", 1, folder),
                ("long", "handlers.sleep", 600, folder),
                ("twice", "handlers.twice", 20, folder),
                ("broken", "broken.run", 20, folder),
                ("nowhere", "handlers.count", 20, folder / "missing"),
            )
        ]))  # fmt: skip
        read, self.lifeline = os.pipe()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "controller.local.lambda_", "--port=0", f"--functions={functions}"),
                *(f"--lifeline={read}", "--retry-seconds=0.05", "--max-instances=2"),
            ],
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(read,),
        )
        os.close(read)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        make: Any = boto3.client
        self.client = make(
            "lambda",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def invoke(self, name: str, event: Any = None, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.invoke(FunctionName=name, Payload=json.dumps(event), **options)
        payload = answer["Payload"].read()
        return {**answer, "Payload": json.loads(payload) if payload else None}

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def close(self) -> None:
        os.close(self.lifeline)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LambdaProcess]:
    server = LambdaProcess(tmp_path_factory.mktemp("lambda"))
    yield server
    server.process.terminate()
    assert server.process.wait(PATIENCE_SECONDS) == 0
    server.close()


def test_a_function_gets_its_event_its_context_and_its_environment(server: LambdaProcess) -> None:
    answer = server.invoke("count", {"n": [1, "ü"]})
    payload = answer["Payload"]

    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    assert payload["event"] == {"n": [1, "ü"]}
    assert (payload["name"], payload["function"]) == ("count", "count")
    assert payload["arn"].endswith(":function:count")
    assert 0 < payload["left"] <= 20_000
    assert payload["request"] == answer["ResponseMetadata"]["RequestId"]


def test_a_warm_child_is_used_again(server: LambdaProcess) -> None:
    first = server.invoke("count")["Payload"]
    second = server.invoke("arn:aws:lambda:us-east-1:000000000000:function:count:$LATEST")["Payload"]
    assert second["pid"] == first["pid"]
    assert second["calls"] == first["calls"] + 1


def test_the_tail_of_the_log_is_given_out(server: LambdaProcess) -> None:
    answer = server.invoke("count", LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    assert log == f"counting {answer['Payload']['calls']}\n"


def test_an_exception_is_a_function_error_and_keeps_the_child(server: LambdaProcess) -> None:
    for _ in range(2):
        answer = server.invoke("fail")
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert answer["Payload"]["errorType"] == "KeyError"
        assert answer["Payload"]["errorMessage"] == "'no such thing'"
        assert answer["Payload"]["stackTrace"]


@pytest.mark.parametrize(
    ("name", "event", "kind", "words"),
    [
        pytest.param("leave", None, "Runtime.ExitError", "exit status 7", id="exit"),
        pytest.param("sleep", {"seconds": 60}, "Sandbox.Timedout", "timed out after 1.00 seconds", id="timeout"),
        pytest.param("nowhere", None, "Runtime.InvalidEntrypoint", "missing", id="no folder"),
        pytest.param("broken", None, "Runtime.ImportModuleError", "no_such_module", id="import"),
    ],
)
def test_a_lost_child_is_a_function_error(server: LambdaProcess, name: str, event: Any, kind: str, words: str) -> None:
    answer = server.invoke(name, event)
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == kind
    assert words in answer["Payload"]["errorMessage"]


def test_after_a_timeout_a_new_child_serves(server: LambdaProcess) -> None:
    server.invoke("sleep", {"seconds": 60})
    assert server.invoke("sleep", {"seconds": 0})["Payload"] == "awake"


def test_an_event_is_tried_three_times(server: LambdaProcess, tmp_path: Path) -> None:
    path = tmp_path / "tries"
    assert server.invoke("twice", {"path": str(path)}, InvocationType="Event")["StatusCode"] == 202
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (path.exists() and path.read_text().count("try") == 3):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_dry_run_runs_nothing(server: LambdaProcess) -> None:
    assert server.invoke("leave", InvocationType="DryRun")["StatusCode"] == 204


@pytest.mark.parametrize(
    ("name", "payload", "options", "code"),
    [
        pytest.param("missing", b"{}", {}, "ResourceNotFoundException", id="function"),
        pytest.param("count", b"{", {}, "InvalidRequestContentException", id="payload"),
        pytest.param(
            "count",
            b'"' + b"x" * 1024 * 1024 + b'"',
            {"InvocationType": "Event"},
            "RequestTooLargeException",
            id="size",
        ),
    ],
)
def test_errors_have_the_codes_of_aws(
    server: LambdaProcess, name: str, payload: bytes, options: dict[str, str], code: str
) -> None:
    with pytest.raises(ClientError) as error:
        server.client.invoke(FunctionName=name, Payload=payload, **options)
    assert error.value.response["Error"]["Code"] == code


def test_more_calls_than_children_are_refused(server: LambdaProcess) -> None:
    for _ in range(2):
        server.invoke("long", {"seconds": 600}, InvocationType="Event")
    with pytest.raises(ClientError) as error:
        server.client.invoke(FunctionName="long", Payload=b'{"seconds": 600}')
    assert error.value.response["Error"]["Code"] == "TooManyRequestsException"


def test_a_killed_server_takes_its_children_along(tmp_path: Path) -> None:
    server = LambdaProcess(tmp_path)
    server.invoke("count")
    children = server.children()
    assert children
    server.process.kill()
    server.process.wait()
    server.close()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert not alive
