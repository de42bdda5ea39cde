"""The body of a request: read within a limit, and JSON that can be stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from starlette.requests import ClientDisconnect

from controller.api.errors import RefusedError, bad_request
from crds.finding import shown
from crds.storable import unstorable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body; raise RefusedError if it is larger than `limit` bytes, or ends too early."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) > len(str(limit)):
        raise _too_large(limit)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except ClientDisconnect as error:
        # Nobody hears this, but it is no failure of ours to be logged.
        raise bad_request("the connection ended before the body was complete; send it again") from error
    return bytes(body)


def read_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body, {} if it is empty; raise RefusedError for what is no JSON or cannot be stored."""
    try:
        value = json.loads(body.decode("utf-8-sig") or "{}", object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_request("the body must be a JSON object")
    if found := unstorable(value):
        raise bad_request(f"the body cannot be stored: {found}")
    return value


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, "RequestEntityTooLarge", f"a body holds at most {limit // 2**20} MiB")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose keys differ: readers of JSON disagree which of two values counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for n, key in enumerate(keys) if key in keys[:n])
        raise ValueError(f"the key {shown(twice)} stands twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
