"""The description of what machines call: the worker protocol, event sources, health and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from crds.protocol import (
    ClaimAnswer,
    ClaimRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    ReportAnswer,
    ReportRequest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_REF = "#/components/schemas/{name}"
_TEXT = {"type": "string"}

SECURITY_SCHEMES = {
    "poolToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of the worker pool that the body names, from Secrets Manager.",
    },
    "sourcesToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of event sources, from Secrets Manager.",
    },
}
_EVENT = {
    "type": "object",
    "properties": {
        "type": {"enum": ["cron", "ecs", "webhook"]},
        "detail-type": _TEXT,
        "detail": {"type": "object"},
        "namespace": _TEXT,
        "dag": _TEXT,
        "path": _TEXT,
        "key": {"type": "string", "maxLength": 200},
        "body": {},
    },
}
_EVENT_ANSWER = {
    "type": "object",
    "properties": {
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "namespace", "created"],
                "properties": {"name": _TEXT, "namespace": _TEXT, "created": {"type": "boolean"}},
            },
        }
    },
}


@dataclass(frozen=True, slots=True)
class _Protocol:
    """One endpoint of the worker protocol."""

    path: str
    summary: str
    asked: type[msgspec.Struct]
    answer: type[msgspec.Struct]


_PROTOCOL: Sequence[_Protocol] = (
    _Protocol("/v1/claims", "Ask for attempts; the same request gets the same grants again", ClaimRequest, ClaimAnswer),
    _Protocol("/v1/heartbeats", "Say that a worker and its attempts live", HeartbeatRequest, HeartbeatAnswer),
    _Protocol("/v1/reports", "Say how attempts ended; repeating returns the first answer", ReportRequest, ReportAnswer),
)
_REFUSALS = {
    400: "The request cannot be read",
    401: "The token is not that of the pool",
    404: "There is no such pool",
    409: "The worker belongs to another pool",
    413: "Too large",
    422: "The database cannot hold it",
    503: "Try again",
}


def paths() -> dict[str, dict[str, Any]]:
    """Return the operations by path."""
    found = {endpoint.path: {"post": _protocol(endpoint)} for endpoint in _PROTOCOL}
    found["/v1/events"] = {"post": _events()}
    for path, summary in (
        ("/healthz", "Whether the process works; it does not ask the database"),
        ("/readyz", "Whether the database answers"),
        ("/metrics", "The metrics, as Prometheus reads them"),
    ):
        found[path] = {"get": _plain(path, summary)}
    return found


def schemas() -> dict[str, Any]:
    """Return the schemas that the operations refer to."""
    models = [model for endpoint in _PROTOCOL for model in (endpoint.asked, endpoint.answer)]
    _, components = msgspec.json.schema_components(models, ref_template=_REF)
    return {**components, "SourceEvent": _EVENT, "SourceAnswer": _EVENT_ANSWER}


def _protocol(endpoint: _Protocol) -> dict[str, Any]:
    return {
        "summary": endpoint.summary,
        "description": "For workers, which present their pool's token.",
        "operationId": f"post_{endpoint.path.rpartition('/')[2]}",
        "security": [{"poolToken": []}],
        "requestBody": _body(endpoint.asked.__name__),
        "responses": {"200": _answer("Done", endpoint.answer.__name__), **_refusals(_REFUSALS)},
    }


def _events() -> dict[str, Any]:
    told = {400: _REFUSALS[400], 401: "The token is not that of the sources", 404: "No Dag listens to the webhook"}
    told |= {409: "The Dag is being deleted", 413: _REFUSALS[413], 422: "The parameters do not fit", 503: "Try again"}
    return {
        "summary": "Take a tick, a state change of ECS, or a webhook; a webhook's runs are durable before the answer",
        "description": "For event sources.",
        "operationId": "post_events",
        "security": [{"sourcesToken": []}],
        "requestBody": _body("SourceEvent"),
        "responses": {
            "200": _answer("The runs of a webhook", "SourceAnswer"),
            "202": _answer("It will be looked at", "SourceAnswer"),
            **_refusals(told),
        },
    }


def _plain(path: str, summary: str) -> dict[str, Any]:
    content = {"text/plain": {"schema": _TEXT}}
    answers = {"200": {"description": "Done", "content": content}}
    if path != "/metrics":
        answers["503"] = {"description": "It says what is wrong", "content": content}
    return {
        "summary": summary,
        "description": "Open to whoever reaches it.",
        "operationId": f"get_{path[1:]}",
        "security": [],
        "responses": answers,
    }


def _body(name: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": _REF.format(name=name)}}}}


def _answer(text: str, name: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": _REF.format(name=name)}}}}


def _refusals(told: dict[int, str]) -> dict[str, Any]:
    return {str(code): _answer(text, "Status") for code, text in told.items()}
