"""An endpoint: its path, the role that it needs, its handler, and the thread that the handler runs in."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import anyio
import anyio.to_thread
import msgspec
from psycopg.errors import DeadlockDetected, SerializationFailure
from starlette.responses import Response
from starlette.routing import Route

from controller.api.errors import RefusedError, bad_request, status_answer

if TYPE_CHECKING:
    from obstore.store import ObjectStore
    from psycopg_pool import ConnectionPool
    from starlette.requests import Request

    from controller.api.auth import Authenticator, Principal, Role
    from controller.runtime.clock import Clock
    from controller.runtime.ids import Ids
    from controller.runtime.keys import Wake

# People's requests share these threads, so that they never take the workers' ones.
THREADS = 8
BODY_LIMIT = 16 * 2**20
DEADLOCK_TRIES = 4

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """What the resource API works with."""

    pool: ConnectionPool
    clock: Clock
    ids: Ids
    wake: Wake
    objects: ObjectStore


class Threads:
    """Run blocking functions away from the event loop, a few at a time, and count the open streams."""

    def __init__(self, limit: int = THREADS) -> None:
        self._limiter = anyio.CapacityLimiter(limit)
        self.streams = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns."""
        return await anyio.to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._limiter)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read completely."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    principal: Principal
    threads: Threads

    @property
    def namespace(self) -> str:
        """Return the namespace in the path."""
        return self.path["ns"]

    @property
    def name(self) -> str:
        """Return the object's name in the path."""
        return self.path["name"]

    def json(self) -> dict[str, Any]:
        """Return the body, a JSON object; an empty body is an empty object."""
        try:
            value = json.loads(self.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise bad_request(f"the body is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise bad_request("the body must be a JSON object")
        return value

    def flag(self, name: str) -> bool:
        """Return a query parameter that is true or false."""
        text = self.query.get(name, "false").lower()
        if text not in {"true", "false", "1", "0"}:
            raise bad_request(f"{name} is true or false, not {text!r}")
        return text in {"true", "1"}

    def number(self, name: str, default: int, most: int) -> int:
        """Return a query parameter that counts from 1 to a limit."""
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isdecimal() or not 1 <= int(text[:20]) <= most:
            raise bad_request(f"{name} is a number from 1 to {most}, not {text!r}")
        return int(text)

    @property
    def dry_run(self) -> bool:
        """Return whether nothing shall be changed."""
        text = self.query.get("dryRun")
        if text not in {None, "All"}:
            raise bad_request(f"dryRun is All or absent, not {text!r}")
        return text == "All"


Handler = Callable[[ApiDeps, Call], Response]


@dataclass(frozen=True, slots=True)
class Param:
    """A query parameter, for the API's description."""

    name: str
    text: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. `body` and `answer` name schemas of the API's description."""

    method: str
    path: str
    role: Role
    handler: Handler
    summary: str
    query: tuple[Param, ...] = ()
    body: str | None = None
    answer: str = "Any"
    codes: tuple[int, ...] = (200,)


def answer(value: Any, code: int = 200) -> Response:
    """Return a JSON answer; times become RFC 3339."""
    return Response(msgspec.json.encode(value), code, media_type="application/json")


def page_token(key: tuple[Any, ...] | None) -> str | None:
    """Return the text by which a client asks for the next page."""
    if key is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(key, default=str).encode()).decode()


def parse_page_token(text: str | None, length: int) -> tuple[Any, ...] | None:
    """Return the sort key in a page token; raise RefusedError if it is none of ours."""
    if not text:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(text.encode()))
    except ValueError:
        key = None
    if not isinstance(key, list) or len(key) != length or not all(isinstance(part, str | int) for part in key):
        raise RefusedError(410, "Expired", "the continue token is unknown; begin the list anew")
    return tuple(key)


def route(deps: ApiDeps, endpoint: Endpoint, authenticator: Authenticator, threads: Threads) -> Route:
    """Return the route that serves an endpoint."""

    def work(request: Request, body: bytes) -> Response:
        principal = authenticator.check(request.headers.get("authorization"), endpoint.role)
        query = dict(request.query_params)
        call = Call(request.path_params, query, body, principal, threads)
        for _ in range(DEADLOCK_TRIES - 1):
            try:
                return endpoint.handler(deps, call)
            except (DeadlockDetected, SerializationFailure):
                # Postgres chose this transaction to give way; nothing of it was written.
                continue
        return endpoint.handler(deps, call)

    async def handle(request: Request) -> Response:
        try:
            return await threads.run(work, request, await _body(request))
        except Exception as error:  # noqa: BLE001 - whatever happened, the client gets a Status
            return status_answer(error)

    return Route(endpoint.path, handle, methods=[endpoint.method])


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise RefusedError(413, "RequestEntityTooLarge", f"a body holds at most {BODY_LIMIT // 2**20} MiB")
    return bytes(body)
