"""Code bundles: zips that are stored once, under their sha256."""

from __future__ import annotations

import hashlib
import re

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError
from starlette.responses import Response

from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, answer
from controller.api.errors import RefusedError, bad_request
from controller.errors import NotFound
from crds.bundle import MAX_BYTES, BundleError, check
from crds.names import bundle_key

# A zip is a little larger than its files.
BUNDLE_LIMIT = MAX_BYTES + 4 * 2**20

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PATH = "/v1/bundles/{digest}"


def endpoints() -> list[Endpoint]:
    """Return the endpoints for bundles."""
    return [
        Endpoint(
            "PUT",
            _PATH,
            Role.OPERATOR,
            _put,
            "Store a code bundle under its sha256",
            body="Bundle",
            codes=(200, 201, 413, 422),
        ),
        Endpoint("GET", _PATH, Role.VIEWER, _get, "Read a code bundle", answer="Bundle", codes=(200, 404)),
        Endpoint("HEAD", _PATH, Role.VIEWER, _head, "Tell whether a code bundle is stored", codes=(200, 404)),
    ]


def _put(deps: ApiDeps, call: Call) -> Response:
    digest = _digest(call)
    if len(call.body) > BUNDLE_LIMIT:
        raise RefusedError(413, "RequestEntityTooLarge", f"a bundle holds at most {BUNDLE_LIMIT} bytes")
    actual = hashlib.sha256(call.body).hexdigest()
    if actual != digest:
        raise bad_request(f"the bytes have the digest {actual}, not {digest}; send the bundle again")
    try:
        check(call.body)
    except BundleError as error:
        raise RefusedError(422, "Invalid", f"{error}; send what `setpoint apply` makes of a folder") from error
    try:
        obstore.put(deps.objects, bundle_key(digest), call.body, mode="create")
    except (AlreadyExistsError, FileExistsError):
        return answer({"digest": digest, "stored": "before"})
    return answer({"digest": digest, "stored": "now"}, 201)


def _get(deps: ApiDeps, call: Call) -> Response:
    digest = _digest(call)
    try:
        data = bytes(obstore.get(deps.objects, bundle_key(digest)).bytes())
    except (NotFoundError, FileNotFoundError) as error:
        raise NotFound(f"bundle {digest} is not stored") from error
    return Response(data, media_type="application/octet-stream")


def _head(deps: ApiDeps, call: Call) -> Response:
    digest = _digest(call)
    try:
        obstore.head(deps.objects, bundle_key(digest))
    except (NotFoundError, FileNotFoundError) as error:
        raise NotFound(f"bundle {digest} is not stored") from error
    return Response(status_code=200)


def _digest(call: Call) -> str:
    digest = call.path["digest"]
    if not _DIGEST.fullmatch(digest):
        raise bad_request(f"{digest[:80]!r} is no sha256 in hexadecimal")
    return digest
