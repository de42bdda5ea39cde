"""The schemas of tokens, permissions and the audit log in the API's description."""

from __future__ import annotations

from typing import Any

from crds.kinds import KINDS

_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_ROLE = {"enum": ["viewer", "operator", "admin"]}
_TOKEN = {
    "kind": {"const": "Token"},
    "id": {"type": "string", "description": "What stands in the token itself: sp_<id>_<secret>."},
    "name": _TEXT,
    "role": _ROLE,
    "scope": {"type": "string", "description": "Labels of the Dags that it is confined to; empty: all."},
    "createdBy": {"type": ["string", "null"]},
    "createdAt": _TIME,
    "expiresAt": {"type": ["string", "null"], "format": "date-time"},
}
_AUDIT = {
    "id": {"type": "integer"},
    "time": _TIME,
    "who": _TEXT,
    "role": _TEXT,
    "source": {"enum": ["token", "oidc", "webhook", "sync", "-"]},
    "address": _TEXT,
    "verb": _TEXT,
    "kind": {"type": "string", "examples": [*KINDS, "Token", "Bundle"]},
    "namespace": _TEXT,
    "name": _TEXT,
    "outcome": {"enum": ["done", "refused"]},
    "changes": {"type": "array", "items": {"type": "object", "properties": {"path": _TEXT, "from": {}, "to": {}}}},
    "message": _TEXT,
    "requestId": _TEXT,
}


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties, **more}


def _list(item: str, more: dict[str, Any]) -> dict[str, Any]:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{item}"}}
    return {"type": "object", "required": ["items"], "properties": {"kind": _TEXT, "items": items, **more}}


SCHEMAS: dict[str, Any] = {
    "NewToken": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "role"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z0-9]([a-z0-9._@-]{0,61}[a-z0-9])?$"},
            "role": _ROLE,
            "ttlSeconds": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": 315_360_000,
                "description": "90 days by default; null: it never expires.",
            },
            "scope": {"type": "string", "maxLength": 1_000},
        },
    },
    "Token": _object(_TOKEN),
    "DrawnToken": _object({**_TOKEN, "token": {"type": "string", "description": "Told this once."}}),
    "TokenList": _list("Token", {}),
    "Principal": _object(
        {
            "kind": {"const": "Principal"},
            "name": _TEXT,
            "role": _ROLE,
            "source": {"enum": ["token", "oidc"]},
            "scope": _TEXT,
        }
    ),
    "Permission": _object({"kind": {"const": "Permission"}, "allowed": {"type": "boolean"}, "reason": _TEXT}),
    "Audit": _object(_AUDIT),
    "AuditList": _list("Audit", {"metadata": {"type": "object", "properties": {"continue": _TEXT}}}),
}
