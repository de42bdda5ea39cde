"""Errors as people's clients get them: a Kubernetes-like Status that says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg_pool import PoolTimeout
from starlette.responses import JSONResponse

from controller.errors import Conflict, Invalid, NotFound, SetpointError, Terminal, Transient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = structlog.get_logger()

RETRY_AFTER_SECONDS = 2

# A hot table that cannot be brought to its dataset's columns (raised by the function ensure_hot_table).
SCHEMA_CONFLICT_STATE = "SP002"


class RefusedError(SetpointError):
    """An answer other than success: its HTTP code, a CamelCase reason, a message and the single problems."""

    retry_after: int = RETRY_AFTER_SECONDS
    """In how many seconds to come again, if the answer is one of those that pass."""

    def __init__(self, code: int, reason: str, message: str, problems: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.problems = tuple(problems)


def bad_request(message: str) -> RefusedError:
    """Return the refusal of a request that cannot be read."""
    return RefusedError(400, "BadRequest", message)


def invalid(message: str, problems: Sequence[Mapping[str, Any]]) -> RefusedError:
    """Return the refusal of a request that can be read and makes no sense."""
    return RefusedError(422, "Invalid", message, problems)


def status_answer(error: Exception) -> JSONResponse:
    """Return the answer that an exception becomes; what nobody foresaw is logged and hidden."""
    refused = _refused(error)
    headers = {"Retry-After": str(refused.retry_after)} if refused.code in {429, 503} else None
    return JSONResponse(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": refused.reason,
            "message": str(refused),
            "details": {"problems": [dict(problem) for problem in refused.problems]},
            "code": refused.code,
        },
        refused.code,
        headers,
    )


def _refused(error: Exception) -> RefusedError:
    match error:
        case RefusedError():
            return error
        case NotFound():
            return RefusedError(404, "NotFound", str(error))
        case Conflict():
            return RefusedError(409, "Conflict", str(error))
        case Invalid():
            return invalid(str(error), [{"message": problem} for problem in error.problems])
        case Terminal():
            return RefusedError(422, error.reason, str(error))
        case psycopg.DataError():
            # The value came with the request. The server's words, which may quote what is stored, stay here.
            return bad_request("the request holds a value that the database cannot store: out of range, or no text")
        case Transient() | PoolTimeout() | psycopg.OperationalError():
            return RefusedError(503, "ServiceUnavailable", "the database does not answer just now; try again")
        case _:
            log.error("request failed", error=f"{type(error).__name__}: {error}", exc_info=error)
            return RefusedError(500, "InternalError", "the dispatcher failed; its log says why")
