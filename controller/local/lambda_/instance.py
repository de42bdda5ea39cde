"""A child process that runs one function, one invocation at a time."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from controller.local.lambda_.function import Function, Outcome, failure
from controller.local.lambda_.runtime_api import Invocation, RuntimeApi
from controller.local.process import Program, ProgramProcess

if TYPE_CHECKING:
    from pathlib import Path

    from controller.local.lifeline import Guard

# AWS gives a function's first lines ten seconds; a laptop under load may need more.
_INIT_SECONDS = 30.0
_LOG_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation as the caller asks for it."""

    id: str
    payload: bytes
    client_context: str | None = None


class Instance:
    """A warm child of a function."""

    def __init__(self, function: Function, api: RuntimeApi, process: ProgramProcess, log: Path) -> None:
        self._function = function
        self._api = api
        self._process = process
        self._log = log
        self._ended = asyncio.create_task(self._watch())

    @classmethod
    async def start(cls, function: Function, guard: Guard, log: Path) -> Self:
        """Start a child, which is not ready yet; raise OSError if its folder is missing, say."""
        api = RuntimeApi()
        program = Program(
            command=(sys.executable, "-m", "awslambdaric", function.handler),
            environment=_environment(function, await api.open()),
            folder=function.code_dir,
            log=log,
        )
        try:
            process = await ProgramProcess.start(program, guard)
        except OSError:
            api.close()
            raise
        return cls(function, api, process, log)

    @property
    def alive(self) -> bool:
        """Return whether the child can take another invocation."""
        return not self._ended.done()

    async def invoke(self, call: Call) -> Outcome:
        """Run one invocation to its outcome; a child that fails to start or to answer in time is killed."""
        written = self._log.stat().st_size
        outcome = await self._init(call)
        if outcome is None:
            outcome = await self._run(call)
        with self._log.open("rb") as log:
            log.seek(max(written, self._log.stat().st_size - _LOG_TAIL_BYTES))
            return replace(outcome, log=log.read())

    async def stop(self) -> None:
        """Kill the child."""
        self._process.kill()
        await self._ended

    async def _init(self, call: Call) -> Outcome | None:
        """Wait until the child is ready; return why it is not."""
        await self._either(self._api.ready, _INIT_SECONDS)
        if self._api.ready.done():
            if (broken := self._api.ready.result()) is not None:
                await self.stop()
            return broken
        if self._ended.done():
            return self._exited(call)
        await self.stop()
        return failure("Sandbox.Timedout", f"RequestId: {call.id} Error: init took more than {_INIT_SECONDS:.0f} s")

    async def _run(self, call: Call) -> Outcome:
        seconds = self._function.timeout
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._api.hand(Invocation(call.id, call.payload, self._headers(call), answer))
        await self._either(answer, seconds)
        if answer.done():
            return answer.result()
        if self._ended.done():
            return self._exited(call)
        await self.stop()
        return failure("Sandbox.Timedout", f"RequestId: {call.id} Error: Task timed out after {seconds:.2f} seconds")

    async def _either(self, awaited: asyncio.Future[Any], seconds: float) -> None:
        """Wait for an answer, the end of the child or the end of its time."""
        both = {awaited, self._ended}
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def _exited(self, call: Call) -> Outcome:
        status = self._ended.result()
        return failure(
            "Runtime.ExitError",
            f"RequestId: {call.id} Error: Runtime exited with error: exit status {status}",
        )

    def _headers(self, call: Call) -> dict[str, str]:
        headers = {
            "Lambda-Runtime-Aws-Request-Id": call.id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self._function.timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._function.arn,
        }
        return headers | ({"Lambda-Runtime-Client-Context": call.client_context} if call.client_context else {})

    async def _watch(self) -> int:
        try:
            return await self._process.wait()
        finally:
            self._api.close()


def _environment(function: Function, api: str) -> dict[str, str]:
    return {
        **os.environ,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_LAMBDA_RUNTIME_API": api,
        "LAMBDA_TASK_ROOT": function.code_dir,
        "PYTHONUNBUFFERED": "1",
        "_HANDLER": function.handler,
        **function.env,
    }
