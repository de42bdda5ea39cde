"""The HTTP API in front of the webhook function, as API Gateway makes it: a request is an event, its answer the response.

The payload, version 2.0: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.local.awsjson import AwsError
from controller.local.lambda_.instance import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from controller.local.lambda_.pool import Pool

WEBHOOK = "setpoint-webhook"
BODY_LIMIT = 10 * 2**20
"""API Gateway's; the function's own limit is lower."""


def route(pools: dict[str, Pool], request_id: Callable[[], str]) -> Route:
    """Return the route of all webhooks."""

    async def hook(request: Request) -> Response:
        pool = pools.get(WEBHOOK)
        if pool is None:
            return _refused(HTTPStatus.NOT_FOUND, "Not Found")
        body = await request.body()
        if len(body) > BODY_LIMIT:
            return _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Too Long")
        call = Call(request_id(), msgspec.json.encode(_event(request, body)))
        try:
            outcome = await pool.invoke(call)
        except AwsError:
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable")
        return (
            _refused(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")
            if outcome.failed
            else _answer(outcome.payload)
        )

    return Route("/hooks/{path:path}", hook, methods=["POST"])


def _event(request: Request, body: bytes) -> dict[str, Any]:
    path = request.url.path
    text = _text(body)
    return {
        "version": "2.0",
        "routeKey": f"POST {path}",
        "rawPath": path,
        "rawQueryString": request.url.query,
        "headers": dict(request.headers),
        "requestContext": {
            "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            "stage": "$default",
            "timeEpoch": int(time.time() * 1000),
        },
        "body": base64.b64encode(body).decode() if text is None else text,
        "isBase64Encoded": text is None,
    }


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _answer(payload: bytes) -> Response:
    said = msgspec.json.decode(payload)
    body = str(said.get("body", ""))
    content = base64.b64decode(body) if said.get("isBase64Encoded") else body.encode()
    return Response(content, int(said["statusCode"]), dict(said.get("headers", {})))


def _refused(status: HTTPStatus, message: str) -> JSONResponse:
    return JSONResponse({"message": message}, status)
