"""The lines of the log, the same for every process: one JSON object each, named after what it is about, without secrets."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import structlog

from crds.names import RunUid, parse_attempt_id
from crds.redaction import KNOWN
from crds.traces import trace_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from structlog.typing import EventDict, Processor, WrappedLogger

MAX_FIELD_CHARS = 4_000
MAX_EXCEPTION_CHARS = 12_000
# What these say at INFO is of interest to nobody who operates Setpoint.
_LIBRARIES_LEVEL = logging.WARNING
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def configure(level: str, names: Mapping[str, str], environment: Mapping[str, str], out: TextIO | None = None) -> None:
    """Write lines of JSON to standard output, ours and those of libraries; `names` stand in each of them."""
    stream = sys.stdout if out is None else out
    number = logging.getLevelNamesMapping()[level.upper()]
    _hide(environment)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _named(names),
    ]
    last: list[Processor] = [_about, structlog.processors.format_exc_info, clean, _ordered, _render]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, _LIBRARIES_LEVEL))
    logging.captureWarnings(True)


def clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Remove secrets, and bound what a line may hold."""
    return {str(name): _bounded(str(name), KNOWN.clean_field(str(name), value)) for name, value in event.items()}


def _bounded(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name == "exception":
        # Its end says what went wrong.
        return value if len(value) <= MAX_EXCEPTION_CHARS else "…" + value[1 - MAX_EXCEPTION_CHARS :]
    return value if len(value) <= MAX_FIELD_CHARS else value[: MAX_FIELD_CHARS - 1] + "…"


def _named(names: Mapping[str, str]) -> Processor:
    def name_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        thread = threading.current_thread()
        own = {} if thread is threading.main_thread() else {"thread": thread.name}
        return {**names, **own, **event}

    return name_process


def _about(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add what follows from what is there: the run, task and trace of an attempt, the trace of a run."""
    attempt = event.get("attempt")
    if isinstance(attempt, str):
        try:
            name = parse_attempt_id(attempt)
        except ValueError:
            return event
        event = {"run": name.run, "task": name.task, **event}
    run = event.get("run")
    return {"trace_id": trace_id(RunUid(run)), **event} if isinstance(run, str) else event


def _ordered(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**{name: event[name] for name in ("time", "level", "event") if name in event}, **event}


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    text: str | bytes = structlog.processors.JSONRenderer(ensure_ascii=False)(_logger, _method, event)
    line = text if isinstance(text, str) else text.decode()
    # Text from outside may hold what is no text: half a surrogate.
    return line.encode(errors="backslashreplace").decode()


def _hide(environment: Mapping[str, str]) -> None:
    """Learn the secrets that stand in the environment."""
    for name, value in environment.items():
        if name in _SECRET_VARIABLES:
            KNOWN.add(value)
        elif name.startswith("OTEL_") and name.endswith("_HEADERS"):
            for pair in value.split(","):
                KNOWN.add(pair.partition("=")[2])
