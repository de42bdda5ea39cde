"""The Invoke API: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html."""

from __future__ import annotations

import base64
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.local.awsjson import AwsError
from controller.local.lambda_ import gateway
from controller.local.lambda_.instance import Call
from controller.local.lambda_.pool import Limits, Pool
from controller.local.lifeline import Guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from starlette.requests import Request

    from controller.local.lambda_.function import Function, Outcome

_SYNCHRONOUS_BYTES = 6 * 1024 * 1024
_ASYNCHRONOUS_BYTES = 1024 * 1024


def make_app(functions: Sequence[Function], logs_dir: Path, limits: Limits) -> Starlette:
    """Return the local Lambda as an ASGI application."""
    guard = Guard()
    pools = {function.name: Pool(function, guard, logs_dir, limits) for function in functions}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for pool in pools.values():
            await pool.close()
        guard.close()

    async def invoke(request: Request) -> Response:
        try:
            return await _invoke(pools, request)
        except AwsError as error:
            body = {"Type": "User", "Message": str(error)}
            return JSONResponse(body, error.status, {"x-amzn-errortype": error.code})

    path = "/2015-03-31/functions/{name}/invocations"
    routes = [Route(path, invoke, methods=["POST"]), gateway.route(pools, _request_id)]
    return Starlette(routes=routes, lifespan=lifespan)


async def _invoke(pools: dict[str, Pool], request: Request) -> Response:
    pool = _find(pools, request.path_params["name"])
    kind = request.headers.get("x-amz-invocation-type", "RequestResponse")
    payload = _checked(await request.body(), _ASYNCHRONOUS_BYTES if kind == "Event" else _SYNCHRONOUS_BYTES)
    call = Call(_request_id(), payload, _client_context(request))
    headers = {"x-amzn-requestid": call.id, "x-amz-executed-version": "$LATEST"}
    match kind:
        case "DryRun":
            return Response(status_code=204, headers=headers)
        case "Event":
            pool.invoke_later(call)
            return Response(status_code=202, headers=headers)
        case "RequestResponse":
            tail = request.headers.get("x-amz-log-type") == "Tail"
            return _answer(await pool.invoke(call), headers, tail=tail)
        case _:
            raise AwsError("InvalidParameterValueException", f"Unknown invocation type {kind}.")


def _find(pools: dict[str, Pool], reference: str) -> Pool:
    """Return the function that a name, a partial ARN or an ARN means, with any qualifier."""
    name = reference.partition("function:")[2] or reference
    pool = pools.get(name.partition(":")[0])
    if pool is None:
        raise AwsError("ResourceNotFoundException", f"Function not found: {reference}", 404)
    return pool


def _checked(payload: bytes, limit: int) -> bytes:
    if len(payload) > limit:
        raise AwsError("RequestTooLargeException", f"The payload is larger than {limit} bytes.", 413)
    try:
        msgspec.json.decode(payload or b"{}", type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise AwsError("InvalidRequestContentException", f"Could not parse request body into json: {error}") from error
    return payload or b"{}"


def _client_context(request: Request) -> str | None:
    encoded = request.headers.get("x-amz-client-context")
    return base64.b64decode(encoded).decode() if encoded else None


def _answer(outcome: Outcome, headers: dict[str, str], *, tail: bool) -> Response:
    if outcome.failed:
        headers["x-amz-function-error"] = "Unhandled"
    if tail:
        headers["x-amz-log-result"] = base64.b64encode(outcome.log).decode()
    return Response(outcome.payload, 200, headers, "application/json")


def _request_id() -> str:
    digits = secrets.token_hex(16)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
