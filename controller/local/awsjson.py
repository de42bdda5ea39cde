"""The AWS JSON protocol as a server speaks it: one POST, the operation in `X-Amz-Target`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

JsonObject = dict[str, Any]
R = TypeVar("R")


class AwsError(Exception):
    """An error that the client sees as boto3's ClientError with this code."""

    def __init__(self, code: str, message: str, status: int = 400, **fields: object) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Operation(Generic[R]):
    """The shape of a request and the function that answers it."""

    request: type[R]
    answer: Callable[[R], JsonObject]

    def __call__(self, body: bytes) -> JsonObject:
        """Answer a request; raise AwsError if it is malformed or refused."""
        try:
            request = msgspec.json.decode(body or b"{}", type=self.request)
        except msgspec.DecodeError as error:
            raise AwsError("InvalidParameterException", str(error)) from error
        return self.answer(request)


Operations = Mapping[str, Operation[Any]]


class Endpoint:
    """An HTTP endpoint of operations by their full target, such as `secretsmanager.GetSecretValue`.

    `before` is called with the target ahead of each call and may refuse it by an AwsError.
    """

    def __init__(self, operations: Operations, before: Callable[[str], None] = lambda _: None) -> None:
        self._operations = operations
        self._before = before

    async def __call__(self, request: Request) -> Response:
        """Answer one call."""
        try:
            target = request.headers.get("x-amz-target", "")
            operation = self._find(target)
            self._before(target)
            return _respond(operation(await request.body()))
        except AwsError as error:
            # ECS and Secrets Manager spell the member `message` and `Message`; botocore reads both.
            return _respond({"__type": error.code, "message": str(error), **error.fields}, error.status)

    def _find(self, target: str) -> Operation[Any]:
        operation = self._operations.get(target)
        if operation is None:
            raise AwsError("UnknownOperationException", f"local mode does not serve {target or 'this call'!r}")
        return operation


def _respond(body: JsonObject, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/x-amz-json-1.1")
