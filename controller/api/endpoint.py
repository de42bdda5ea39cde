"""An endpoint: its path, the role that it needs, its handler, and the thread that the handler runs in."""

from __future__ import annotations

import base64
import json
import re
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

from controller.api.body import read_body, read_json
from controller.api.errors import RefusedError, bad_request, status_answer
from crds.finding import nearest, shown

if TYPE_CHECKING:
    from collections.abc import Collection

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
# A TaskRun has the longest name: a run, a task, an index.
NAME_LIMIT = 256
QUERY_LIMIT = 8 * 2**10
DEADLOCK_TRIES = 4
# More digits than any limit has are no number either, and Python reads no very long ones.
_NUMBER = re.compile(r"[0-9]{1,19}")

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
        return read_json(self.body)

    def flag(self, name: str) -> bool:
        """Return a query parameter that is true or false."""
        text = self.query.get(name, "false").lower()
        if text not in {"true", "false", "1", "0"}:
            raise bad_request(f"{name} is true or false, not {shown(text)}")
        return text in {"true", "1"}

    def number(self, name: str, default: int, most: int) -> int:
        """Return a query parameter that counts from 1 to a limit."""
        text = self.query.get(name)
        if text is None:
            return default
        if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= most:
            raise bad_request(f"{name} is a number from 1 to {most}, not {shown(text)}")
        return int(text)

    @property
    def dry_run(self) -> bool:
        """Return whether nothing shall be changed."""
        text = self.query.get("dryRun")
        if text not in {None, "All"}:
            raise bad_request(f"dryRun is All or absent, not {shown(text)}")
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


def parse_page_token(text: str | None, key: Any) -> tuple[Any, ...] | None:
    """Return the sort key in a page token, of the type `key`; raise RefusedError if it is none of ours."""
    if not text:
        return None
    try:
        found: tuple[Any, ...] = msgspec.json.decode(base64.urlsafe_b64decode(text.encode()), type=key)
    except (ValueError, RecursionError) as error:
        raise RefusedError(410, "Expired", "the continue token is unknown; begin the list anew") from error
    return found


def route(deps: ApiDeps, endpoint: Endpoint, authenticator: Authenticator, threads: Threads) -> Route:
    """Return the route that serves an endpoint."""
    known = {param.name for param in endpoint.query}

    def work(request: Request, principal: Principal, body: bytes) -> Response:
        query = _query(request, known)
        call = Call(_path(request), query, body, principal, threads)
        for _ in range(DEADLOCK_TRIES - 1):
            try:
                return endpoint.handler(deps, call)
            except (DeadlockDetected, SerializationFailure):
                # Postgres chose this transaction to give way; nothing of it was written.
                continue
        return endpoint.handler(deps, call)

    async def handle(request: Request) -> Response:
        try:
            # First, so that a stranger's body is never read.
            principal = await threads.run(authenticator.check, request.headers.get("authorization"), endpoint.role)
            return await threads.run(work, request, principal, await read_body(request, BODY_LIMIT))
        except Exception as error:  # noqa: BLE001 - whatever happened, the client gets a Status
            return status_answer(error)

    return Route(endpoint.path, handle, methods=[endpoint.method])


def _path(request: Request) -> Mapping[str, str]:
    for text in request.path_params.values():
        if len(text) > NAME_LIMIT or "\0" in text:
            raise bad_request(f"a name in the path has at most {NAME_LIMIT} characters, and no NUL")
    return request.path_params


def _query(request: Request, known: Collection[str]) -> Mapping[str, str]:
    """Return the query; what nobody reads is refused, since a misspelt dryRun would change things."""
    given = request.query_params.multi_items()
    query = dict(given)
    for name, text in query.items():
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near}?" if near else ""
            raise bad_request(f"unknown parameter {shown(name)}{hint}")
        if len(text) > QUERY_LIMIT or "\0" in text:
            raise bad_request(f"{name} has at most {QUERY_LIMIT} characters, and no NUL")
    if len(query) < len(given):
        raise bad_request("a parameter stands twice; give each once")
    return query
