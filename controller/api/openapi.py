"""The description of the API (OpenAPI 3.1), made from its endpoints and the models of its objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from controller.api import openapi_access, openapi_protocol
from crds.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from controller.api.endpoint import Endpoint, Param

_PATH_PARAM = re.compile(r"\{(\w+)\}")
_REF = "#/components/schemas/{model}"
_TEXT = {"type": "string"}
_OBJECT = {"type": "object"}
_CODES = {
    200: "Done",
    201: "Created",
    202: "Accepted: it ends by itself, as its conditions tell",
    400: "The request cannot be read",
    401: "No valid token",
    403: "The token's role is too low, or its scope too narrow",
    404: "There is no such object",
    409: "Someone changed it first, or something refers to it",
    410: "The continue token is unknown",
    413: "Too large",
    422: "It can be read and makes no sense; details.problems says why",
    429: "The caller asks too often, or too many streams are open; Retry-After says when to come again",
    503: "Try again",
}
_ALWAYS = (400, 401, 403, 429, 503)


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the description of all endpoints."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Setpoint", "version": "v1", "description": "Declare pipelines; read and steer their runs."},
        "security": [{"token": []}],
        "paths": paths | openapi_protocol.paths(),
        "components": {
            "schemas": _schemas() | openapi_protocol.schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}, **openapi_protocol.SECURITY_SCHEMES},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "description": f"Needs the role {endpoint.role.name.lower()}.",
        "operationId": _operation_id(endpoint),
        "parameters": [
            *({"name": n, "in": "path", "required": True, "schema": _TEXT} for n in _PATH_PARAM.findall(endpoint.path)),
            *(_query(param) for param in endpoint.query),
        ],
        "responses": _responses(endpoint),
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.body)}
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = [w for w in re.split(r"[^A-Za-z0-9]+", endpoint.path) if w not in {"apis", "setpoint", "dev", "v1", ""}]
    return "_".join([endpoint.method.lower(), *words])


def _query(param: Param) -> dict[str, Any]:
    return {"name": param.name, "in": "query", "description": param.text, "schema": dict(param.schema)}


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for code in sorted({*endpoint.codes, *_ALWAYS}):
        content = _content(endpoint.answer if code < 400 else "Status")
        found[str(code)] = {"description": _CODES[code], "content": content}
    return found


def _content(schema: str) -> dict[str, Any]:
    if schema == "Text":
        return {"text/plain": {"schema": _TEXT}}
    if schema == "Bundle":
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {"application/json": {"schema": {"$ref": _REF.format(model=schema)}}}


def _schemas() -> dict[str, Any]:
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(k.model, "serialization") for k in KINDS.values()]
    _, generated = models_json_schema(models, by_alias=True, ref_template=_REF)
    lists = {
        f"{name}List": _listing(name, {"metadata": {"properties": {"continue": _TEXT}, **_OBJECT}}) for name in KINDS
    }
    return {**generated["$defs"], **lists, **_OWN}


def _listing(item: str, more: dict[str, Any]) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": _REF.format(model=item)}}
    return {"type": "object", "required": ["items"], "properties": {"kind": _TEXT, "items": items, **more}}


_PROBLEM = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "resource": {"type": "integer", "description": "The position in the request."},
        "kind": _TEXT,
        "name": _TEXT,
        "field": _TEXT,
        "message": _TEXT,
        "suggestion": _TEXT,
    },
}

_OWN: dict[str, Any] = {
    "Any": {},
    "Status": {
        "type": "object",
        "required": ["kind", "status", "code"],
        "properties": {
            "kind": {"const": "Status"},
            "status": {"enum": ["Success", "Failure"]},
            "reason": _TEXT,
            "message": _TEXT,
            "code": {"type": "integer"},
            "details": {"type": "object", "properties": {"problems": {"type": "array", "items": _PROBLEM}}},
        },
    },
    "Apply": {
        "type": "object",
        "required": ["resources"],
        "properties": {"resources": {"type": "array", "items": _OBJECT}},
    },
    "Leader": {
        "type": "object",
        "required": ["kind", "holder", "term", "held", "time"],
        "properties": {
            "kind": {"const": "Leader"},
            "holder": {"type": "string", "description": "The ECS task's id or the host, and the process."},
            "term": {"type": "integer", "description": "It grows whenever another process begins to lead."},
            "held": {"type": "boolean", "description": "Whether the lease has not expired."},
            "renewedAt": {"type": ["string", "null"], "format": "date-time"},
            "time": {"type": "string", "format": "date-time", "description": "By the database's clock."},
        },
    },
    "Applied": {
        "type": "object",
        "required": ["kind", "name", "action", "generation", "changes"],
        "properties": {
            "kind": _TEXT,
            "name": _TEXT,
            "action": {"enum": ["created", "configured", "unchanged"]},
            "generation": {"type": "integer"},
            "resourceVersion": _TEXT,
            "revision": {"type": "integer"},
            "activeRuns": {"type": "integer", "description": "Unfinished runs; they keep their revision."},
            "nextTick": {"type": ["string", "null"], "format": "date-time"},
            "changes": {
                "type": "array",
                "items": {"type": "object", "properties": {"path": _TEXT, "from": {}, "to": {}}},
            },
        },
    },
    "AppliedList": _listing("Applied", {"dryRun": {"type": "boolean"}}),
    "Trigger": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "params": _OBJECT,
            "labels": {"type": "object", "additionalProperties": _TEXT},
            "idempotencyKey": {"type": "string", "maxLength": 200},
        },
    },
    "Finalizers": {
        "type": "object",
        "additionalProperties": False,
        "required": ["finalizers"],
        "properties": {"finalizers": {"type": "array", "maxItems": 20, "items": _TEXT}},
    },
    "Retry": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"tasks": {"type": "array", "items": _TEXT, "description": "By default all that failed."}},
    },
    "Rerun": {
        "type": "object",
        "additionalProperties": False,
        "required": ["from"],
        "properties": {"from": {"type": "array", "items": _TEXT, "minItems": 1, "description": "These and all below."}},
    },
    "Clear": {
        "type": "object",
        "additionalProperties": False,
        "required": ["tasks"],
        "properties": {"tasks": {"type": "array", "items": _TEXT, "minItems": 1, "description": "These alone."}},
    },
    "Explanation": {
        "type": "object",
        "required": ["kind", "of", "phase", "message", "conditions", "tasks"],
        "properties": {
            "kind": {"const": "Explanation"},
            "of": {"type": "object", "properties": {"kind": _TEXT, "name": _TEXT}},
            "phase": _TEXT,
            "message": _TEXT,
            "conditions": {"type": "array", "items": _OBJECT},
            "tasks": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "name": _TEXT,
                        "task": _TEXT,
                        "index": {"type": "integer"},
                        "phase": _TEXT,
                        "message": _TEXT,
                    },
                },
            },
        },
    },
    "Event": {
        "type": "object",
        "required": ["id", "time", "type", "kind", "name", "reason", "message"],
        "properties": {
            "id": {"type": "integer"},
            "time": {"type": "string", "format": "date-time"},
            "type": {"enum": ["Normal", "Warning"]},
            "kind": _TEXT,
            "name": _TEXT,
            "reason": _TEXT,
            "message": _TEXT,
        },
    },
    "EventList": _listing("Event", {}),
    "Revision": {
        "type": "object",
        "required": ["generation", "createdAt", "activeRuns", "changes"],
        "properties": {
            "generation": {"type": "integer"},
            "createdAt": {"type": "string", "format": "date-time"},
            "activeRuns": {"type": "integer"},
            "changes": {"type": "array", "items": {"type": "object", "properties": {"path": _TEXT}}},
        },
    },
    "RevisionList": _listing("Revision", {}),
    **openapi_access.SCHEMAS,
}
