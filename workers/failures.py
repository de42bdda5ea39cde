"""Describing an exception of user code: its class, its message, and the frames that are the user's."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING

from crds.protocol import MAX_ERROR_BYTES, TaskError
from crds.reasons import Reason
from workers.channel import Stopped
from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MESSAGE_BYTES = MAX_ERROR_BYTES // 4
MAX_TRACEBACK_BYTES = MAX_ERROR_BYTES - MAX_MESSAGE_BYTES - 512
MAX_KIND_BYTES = 256
MAX_FRAMES = 40
MAX_CHAIN = 8
_CUT = "…"
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html: the code of a read of an archived object.
_ARCHIVED = "<Code>InvalidObjectState</Code>"
_OBJECT = re.compile(r"\(path: s3://([^/]+)/(.+)\)")


def describe(error: BaseException, bundle: str | None) -> TaskError:
    """Return what people and `retries` need to know of an exception."""
    kind, reason, message = _named(error)
    return TaskError(
        reason=_head(reason, MAX_KIND_BYTES),
        kind=_head(kind, MAX_KIND_BYTES),
        message=_head(message, MAX_MESSAGE_BYTES),
        traceback=_tail(_trace(error, bundle), MAX_TRACEBACK_BYTES),
    )


def _named(error: BaseException) -> tuple[str, str, str]:
    try:
        return _class(error)
    except Exception:  # noqa: BLE001 - the __str__ of a user's class may do anything
        return _name(error), Reason.USER_ERROR, "its message cannot be shown"


def _name(error: BaseException) -> str:
    """Return the name of an error's class, whatever a metaclass of the user's says that it is."""
    name: str = type.__dict__["__name__"].__get__(type(error))
    return name


def _class(error: BaseException) -> tuple[str, str, str]:
    match error:
        case TaskFailed():
            return str(error.kind), str(error.reason), str(error)
        case MemoryError():
            return (
                "OutOfMemory",
                Reason.OUT_OF_MEMORY,
                str(error) or "the task could not get the memory it asked for",
            )
        case SystemExit():
            return (
                "ExitCode",
                Reason.USER_ERROR,
                f"the task called sys.exit({error.code!r}); return or raise instead",
            )
        case Stopped():
            return "Stopped", Reason.CANCELLED, "the task was asked to stop"
    if (archived := _archived(error)) is not None:
        return "Archived", Reason.ARCHIVED, archived
    return _name(error), Reason.USER_ERROR, str(error)


def _archived(error: BaseException) -> str | None:
    """Return what to do if S3 refused a read because the object lies in Glacier; the words are S3's own."""
    text = str(error)
    if _ARCHIVED not in text:
        return None
    found = _OBJECT.search(text)
    bucket, key = found.groups() if found else ("BUCKET", "KEY")
    return (
        f"s3://{bucket}/{key} is archived. Restore it: aws s3api restore-object --bucket {bucket} --key '{key}' "
        "--restore-request Days=7 (hours, up to two days from DEEP_ARCHIVE); then setpoint retry this run"
    )


def _trace(error: BaseException, bundle: str | None) -> str:
    """Return the traceback without the frames above the user's, paths relative to the DAG's folder."""
    try:
        trace = traceback.TracebackException.from_exception(error, limit=-MAX_FRAMES, compact=True)
        if isinstance(error, TaskFailed) and not _touches(trace, bundle):
            return ""  # It says itself what is wrong; our own frames would only hide it.
        for part in _chain(trace):
            part.stack = _of_user(part.stack, bundle)
        text = "".join(trace.format())
    except Exception:  # noqa: BLE001 - as above: a repr or a source file may be broken
        return ""
    return text.replace(f"{bundle}/", "") if bundle else text


def _chain(trace: traceback.TracebackException | None) -> Iterator[traceback.TracebackException]:
    for _ in range(MAX_CHAIN):
        if trace is None:
            return
        yield trace
        trace = trace.__cause__ or trace.__context__


def _touches(trace: traceback.TracebackException, bundle: str | None) -> bool:
    if bundle is None:
        return False
    return any(frame.filename.startswith(bundle) for part in _chain(trace) for frame in part.stack)


def _of_user(stack: traceback.StackSummary, bundle: str | None) -> traceback.StackSummary:
    if bundle is not None:
        for at, frame in enumerate(stack):
            if frame.filename.startswith(bundle):
                return traceback.StackSummary.from_list(stack[at:])
    return stack


def _head(text: str, limit: int) -> str:
    data = _storable(text)
    return data[:limit].decode(errors="ignore") + (_CUT if len(data) > limit else "")


def _tail(text: str, limit: int) -> str:
    data = _storable(text)
    return (_CUT if len(data) > limit else "") + data[-limit:].decode(errors="ignore")


def _storable(text: str) -> bytes:
    """Return the text without what JSON and Postgres cannot hold: lone surrogates and NUL."""
    return text.replace("\0", "\ufffd").encode(errors="replace")
