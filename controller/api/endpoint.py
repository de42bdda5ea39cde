"""An endpoint: its path, the role that it needs, its handler, and the thread that the handler runs in."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
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
from controller.api.gate import Access, Gate, record_alone
from controller.api.verbs import READING, deed
from crds.finding import nearest, shown
from crds.traces import parse_traceparent

if TYPE_CHECKING:
    from collections.abc import Collection

    from obstore.store import ObjectStore
    from starlette.requests import Request

    from controller.api.audit import Recorder
    from controller.api.auth import Principal, Role
    from controller.runtime.clock import Clock
    from controller.runtime.ids import Ids
    from controller.runtime.keys import Wake
    from controller.store.connect import Connections

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

    pool: Connections
    clock: Clock
    ids: Ids
    wake: Wake
    objects: ObjectStore
    access: Access = field(default_factory=Access)


class Threads:
    """Run blocking functions away from the event loop, a few at a time, and count each caller's open streams."""

    def __init__(self, limit: int = THREADS) -> None:
        self._limiter = anyio.CapacityLimiter(limit)
        self.streams: Counter[str] = Counter()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns."""
        return await anyio.to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._limiter)


@dataclass(frozen=True, slots=True)
class Share:
    """One caller's part of the threads and streams."""

    threads: Threads
    name: str
    still: Callable[[], None]
    """Raises RefusedError once the caller is let in no longer."""

    async def look(self, function: Callable[[], T]) -> T:
        """Return what the function returns to a caller who is still let in."""
        return await self.threads.run(self._checked, function)

    def _checked(self, function: Callable[[], T]) -> T:
        self.still()
        return function()


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read completely."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    principal: Principal
    share: Share
    audit: Recorder
    traceparent: str | None = None
    """The span of whoever asks, if he traces."""

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


def route(deps: ApiDeps, endpoint: Endpoint, gate: Gate, threads: Threads) -> Route:
    """Return the route that serves an endpoint."""
    known = {param.name for param in endpoint.query}
    what = deed(endpoint.method, endpoint.path)

    def once(request: Request, principal: Principal, body: bytes) -> Response:
        authorization = request.headers.get("authorization")
        share = Share(threads, principal.name, partial(gate.still, authorization, endpoint.role))
        recorder = gate.recorder(request, principal, what)
        call = Call(
            _path(request), _query(request, known), body, principal, share, recorder, caller_of(request.headers)
        )
        gate.check_scope(request, principal, what)
        response = endpoint.handler(gate.deps_of(endpoint.method, recorder), call)
        if endpoint.method not in READING:
            record_alone(deps, recorder)
        return response

    def work(request: Request, principal: Principal, body: bytes) -> Response:
        for _ in range(DEADLOCK_TRIES - 1):
            try:
                return once(request, principal, body)
            except (DeadlockDetected, SerializationFailure):
                # Postgres chose this transaction to give way; nothing of it was written.
                continue
        return once(request, principal, body)

    async def handle(request: Request) -> Response:
        try:
            # First, so that a stranger's body is never read.
            principal = await threads.run(gate.enter, request, endpoint.role)
            return await threads.run(work, request, principal, await read_body(request, BODY_LIMIT))
        except Exception as error:  # noqa: BLE001 - whatever happened, the client gets a Status
            if isinstance(error, RefusedError) and error.code in {401, 403}:
                await threads.run(gate.refused, request, what, error)
            return status_answer(error)

    return Route(endpoint.path, handle, methods=[endpoint.method])


def caller_of(headers: Mapping[str, Any]) -> str | None:
    """Return the span of whoever asks, or None: what is no traceparent is ignored, as its specification wants."""
    text = headers.get("traceparent")
    return text if isinstance(text, str) and parse_traceparent(text) else None


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
