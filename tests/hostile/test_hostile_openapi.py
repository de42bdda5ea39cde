"""Schemathesis: requests made from the description that the running app gives of itself, fitting and not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from zlib import crc32

import schemathesis
from hypothesis import settings
from schemathesis import checks

from controller.api.openapi import document
from controller.api.resources import all_endpoints
from controller.api.sources import SOURCES
from tests.hostile.hostile_world import DEADLINE_SECONDS, POOL_TOKENS, ROLE_TOKENS

if TYPE_CHECKING:
    from schemathesis import Case

    from tests.hostile.hostile_world import Doors

EXAMPLES, WHOLE_RESOURCES = 8, 3
_CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
# Made as the app makes it, so that each operation is a test of its own; that it is the app's is a test too.
DESCRIPTION = document(all_endpoints())
schema = schemathesis.openapi.from_dict(DESCRIPTION)


def test_the_app_describes_itself_so(doors: Doors) -> None:
    assert doors.call("GET", "/openapi.json").json() == json.loads(json.dumps(DESCRIPTION))


@schema.exclude(method="PUT").parametrize()
@settings(max_examples=EXAMPLES)
def test_every_answer_is_as_described(case: Case[Any], doors: Doors) -> None:
    check(case, doors)


@schema.include(method="PUT").parametrize()
@settings(max_examples=WHOLE_RESOURCES)
def test_every_answer_to_a_resource_is_as_described(case: Case[Any], doors: Doors) -> None:
    check(case, doors)


def check(case: Case[Any], doors: Doors) -> None:
    if {"watch", "follow"} & set(case.query or {}):
        return  # A stream has no end to wait for.
    case.path_parameters = {name: _often_there(name, text) for name, text in (case.path_parameters or {}).items()}
    headers = {"Authorization": f"Bearer {_token(case)}"}
    response = case.call(base_url=doors.url, headers=headers, timeout=DEADLINE_SECONDS)
    case.validate_response(response, checks=_CHECKS)
    assert not [secret for secret in doors.told if secret in response.text]


def _token(case: Case[Any]) -> str:
    """Return the token of whoever calls this; a worker often names its own pool."""
    if case.path == "/v1/events":
        return POOL_TOKENS[SOURCES][0]
    if case.path in {"/v1/claims", "/v1/heartbeats", "/v1/reports"}:
        if isinstance(case.body, dict) and crc32(repr(case.body).encode()) % 2:
            case.body |= {"pool": "python", "namespace": "default"}
        return POOL_TOKENS["python"][0]
    return ROLE_TOKENS["admin"]


def _often_there(name: str, text: Any) -> Any:
    """Replace every other name by one that exists: else all that is ever seen is 404."""
    known = {"ns": "default", "name": "diamond"}
    return known[name] if name in known and crc32(str(text).encode(errors="replace")) % 2 else text
