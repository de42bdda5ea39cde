"""Our handlers under AWS's own runtime client, in the local Lambda."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from tests.integration.worker_world import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60.0


class Functions:
    """Invoke functions and wait for what they answer."""

    def __init__(self, url: str, logs: Path) -> None:
        make: Any = boto3.client
        self._client = make(
            "lambda",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=PATIENCE_SECONDS),
        )
        self._logs = logs

    def invoke(self, name: str, event: Any) -> Any:
        """Return what the function answered; raise AssertionError with its log if it failed."""
        answer, failed = self.call(name, event)
        assert not failed, f"{answer}\n{self.log()}"
        return answer

    def call(self, name: str, event: Any) -> tuple[Any, bool]:
        """Return what came of an invocation, and whether it failed."""
        answer = self._client.invoke(FunctionName=name, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read()), "FunctionError" in answer

    def log(self) -> str:
        """Return what all functions have printed."""
        return "".join(path.read_text() for path in sorted(self._logs.rglob("*")) if path.is_file())


@contextmanager
def functions(folder: Path, *declared: Mapping[str, Any]) -> Iterator[Functions]:
    """Serve functions, by default from this tree; end them afterwards."""
    file, logs = folder / "functions.json", folder / "function-logs"
    default = {"code_dir": str(ROOT), "timeout": 60}
    file.write_text(json.dumps([{**default, **one, "env": {**CREDENTIALS, **one["env"]}} for one in declared]))
    read, lifeline = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "controller.local.lambda_", "--port=0", f"--functions={file}"),
            *(f"--logs-dir={logs}", f"--lifeline={read}"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=(read,),
    )
    os.close(read)
    assert process.stdout is not None
    try:
        yield Functions(process.stdout.readline().split()[-1], logs)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        os.close(lifeline)
        process.stdout.close()
