"""The endpoints of workers: /v1/claims, /v1/heartbeats, /v1/reports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from psycopg import DataError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from controller.api.batcher import Batcher, Overloaded
from controller.api.body import read_body
from controller.api.errors import RefusedError
from controller.api.protocol import UnknownPool, WorkerElsewhere, WorkerProtocol
from crds.meta import NAME_PATTERN
from crds.protocol import (
    MAX_BATCH,
    ClaimAnswer,
    ClaimRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    ReportAnswer,
    ReportRequest,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.requests import Request

    from controller.api.reporting import Reporting
    from controller.api.tokens import SharedTokens

BODY_LIMIT = 8 * 2**20
"""The most bytes of a request's body: a group of reports with full outputs."""
TEXT_LIMIT = 512
"""The most characters of a name that a worker gives."""
METRICS_LIMIT = 100
SLOTS_LIMIT = 10_000
_NAME = re.compile(NAME_PATTERN)
"""Pools and namespaces: the name of a pool is part of the name of a secret."""

Asked = TypeVar("Asked", ClaimRequest, HeartbeatRequest, ReportRequest)


class WorkerApi:
    """The worker protocol over HTTP; one batcher an endpoint."""

    def __init__(
        self,
        protocol: WorkerProtocol,
        reporting: Reporting,
        tokens: SharedTokens,
    ) -> None:
        self._tokens = tokens
        self.claims: Batcher[ClaimRequest, ClaimAnswer] = Batcher("claims", protocol.claims)
        self.heartbeats: Batcher[HeartbeatRequest, HeartbeatAnswer] = Batcher("heartbeats", protocol.heartbeats)
        self.reports: Batcher[ReportRequest, ReportAnswer] = Batcher("reports", reporting.reports)

    def start(self) -> None:
        """Begin to answer."""
        for batcher in (self.claims, self.heartbeats, self.reports):
            batcher.start()

    def stop(self, timeout: float) -> None:
        """Answer what waits, then end."""
        for batcher in (self.claims, self.heartbeats, self.reports):
            batcher.stop(timeout)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/claims", self._endpoint(ClaimRequest, self.claims.submit), methods=["POST"]),
            Route("/v1/heartbeats", self._endpoint(HeartbeatRequest, self.heartbeats.submit), methods=["POST"]),
            Route("/v1/reports", self._endpoint(ReportRequest, self.reports.submit), methods=["POST"]),
        ]

    def _endpoint(
        self, shape: type[Asked], submit: Callable[[Asked], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        decoder = msgspec.json.Decoder(shape)

        async def answer(request: Request) -> Response:
            try:
                asked = decoder.decode(await read_body(request, BODY_LIMIT))
            except RefusedError as error:
                return _refuse(error.code, str(error))
            except (msgspec.DecodeError, RecursionError) as error:
                return _refuse(400, f"the body cannot be read: {error}")
            except UnicodeDecodeError:
                return _refuse(400, "the body is not UTF-8")
            if problem := _unfit(asked):
                return _refuse(400, problem)
            token = _bearer(request)
            # A thread's turn costs more than all else here, so only a secret that has to be read takes one.
            if not self._tokens.known(asked.pool, token) and not await run_in_threadpool(
                self._tokens.accepts, asked.pool, token
            ):
                return _refuse(401, f"the token is not that of pool {asked.pool}")
            return await _submitted(submit, asked)

        return answer


async def _submitted(submit: Callable[[Asked], Awaitable[Any]], asked: Asked) -> Response:
    """Return the answer, or a refusal that says whether to come again: 4xx is final, 5xx is not."""
    try:
        return Response(msgspec.json.encode(await submit(asked)), media_type="application/json")
    except UnknownPool as error:
        return _refuse(404, f"there is no pool {error.pool} in namespace {error.namespace}; apply it first")
    except WorkerElsewhere as error:
        return _refuse(409, f"worker {error} belongs to another pool; draw another id")
    except DataError as error:
        # Only the first line: what follows may quote other people's data.
        return _refuse(422, f"the database cannot hold this: {str(error).partition(chr(10))[0]}")
    except Overloaded:
        return _refuse(503, "too many requests wait; come again")


def _unfit(asked: ClaimRequest | HeartbeatRequest | ReportRequest) -> str | None:
    """Return what is wrong with the size or the text of a request."""
    members = asked.reports if isinstance(asked, ReportRequest) else asked.attempts
    if len(members) > MAX_BATCH:
        return f"at most {MAX_BATCH} attempts a request"
    if not all(_fits(text) for text in _texts(asked)):
        return f"a name is longer than {TEXT_LIMIT} characters or holds NUL"
    if not _NAME.fullmatch(asked.pool) or not _NAME.fullmatch(asked.namespace):
        return "pool and namespace are names of resources: lower-case words joined by '-'"
    if not asked.worker and not isinstance(asked, ReportRequest):
        return "worker must not be empty"
    if isinstance(asked, HeartbeatRequest) and len(asked.awaited) > MAX_BATCH:
        return f"at most {MAX_BATCH} awaited requests a heartbeat"
    if isinstance(asked, HeartbeatRequest) and not 0 <= asked.slots <= SLOTS_LIMIT:
        return f"slots is a number from 0 to {SLOTS_LIMIT}"
    if isinstance(asked, ReportRequest) and any(len(r.metrics) > METRICS_LIMIT for r in asked.reports):
        return f"at most {METRICS_LIMIT} metrics a report"
    return None


def _fits(text: str) -> bool:
    return len(text) <= TEXT_LIMIT and "\0" not in text


def _texts(asked: ClaimRequest | HeartbeatRequest | ReportRequest) -> Iterator[str]:
    """Yield every name that a request gives."""
    yield from (asked.worker, asked.pool, asked.namespace)
    match asked:
        case ClaimRequest():
            yield from (asked.request, asked.ecs_task or "", *(m.attempt for m in asked.attempts))
        case HeartbeatRequest():
            yield from (asked.ecs_task or "", *asked.attempts, *asked.awaited)
        case ReportRequest():
            yield asked.request
            yield from (text for r in asked.reports for text in (r.attempt, r.token, *r.metrics))


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refuse(code: int, message: str) -> Response:
    return Response(
        msgspec.json.encode({"kind": "Status", "status": "Failure", "code": code, "message": message}),
        status_code=code,
        media_type="application/json",
    )
