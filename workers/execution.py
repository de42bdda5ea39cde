"""One attempt inside the child: services, user code, and what to answer."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

from crds.protocol import MAX_OUTPUTS_BYTES
from crds.storable import unstorable
from workers.channel import Stopped
from workers.clock import Clock
from workers.continuing import continued
from workers.failures import describe
from workers.frames import Finished, Progressed, Revealed, Step
from workers.objects import open_store
from workers.records import FrameHandler
from workers.secrets import Secrets
from workers.task import Services, StaleFence, TaskFailed

if TYPE_CHECKING:
    from datetime import datetime

    from obstore.store import ObjectStore

    from crds.protocol import TaskError
    from workers.channel import Channel, Termination
    from workers.frames import Run
    from workers.task import Result

# Loaded before the first attempt asks for them.
_WARM = ("polars", "psycopg", "workers.operators")
_JSON = msgspec.json.Encoder()


class Execution:
    """Run attempts one after the other, each in the state in which the first one found the process."""

    def __init__(self, channel: Channel, termination: Termination) -> None:
        self._channel = channel
        self._termination = termination
        self._process = psutil.Process()
        self._libc = ctypes.CDLL(None)
        self._steps = Steps(Clock())
        self._stores: dict[str, ObjectStore] = {}
        self._environment = dict(os.environ)
        self._path = list(sys.path)
        self._argv = list(sys.argv[:1])
        self._streams = (sys.stdout, sys.stderr)

    def warm(self) -> None:
        """Load modules ahead."""
        for name in _WARM:
            importlib.import_module(name)

    def run(self, command: Run) -> Finished:
        """Run one attempt; return how it ended, whatever user code did."""
        self._prepare(command)
        threads = threading.active_count()
        self._steps = Steps(Clock())
        with continued(command.traceparent):
            finished = self._attempt(command)
        self._flush()
        open_streams = not any(stream.closed for stream in self._streams)
        clean = open_streams and threading.active_count() <= threads and not _has_children()
        os.chdir("/")
        return msgspec.structs.replace(
            finished,
            reusable=clean and finished.reusable,
            steps=self._steps.end(finished.error.kind if finished.error else ""),
            resident_bytes=self._process.memory_info().rss,
        )

    def _prepare(self, command: Run) -> None:
        """Put the process back as it was, with the attempt's folder and code in place."""
        os.environ.clear()
        os.environ.update(self._environment)
        if command.traceparent:
            os.environ["TRACEPARENT"] = command.traceparent
        os.chdir(command.workdir)
        sys.path[:] = ([command.bundle] if command.bundle else []) + self._path
        sys.argv[:] = self._argv
        sys.stdout, sys.stderr = self._streams
        root = logging.getLogger()
        root.handlers[:] = [FrameHandler(self._channel, self._termination.raise_deferred)]
        _level(root, logging.INFO)
        # What our own clients say of their work is no part of the user's log.
        for library in ("boto3", "botocore", "urllib3", "httpx"):
            _level(logging.getLogger(library), logging.WARNING)
        self._termination.install()

    def _attempt(self, command: Run) -> Finished:
        results: list[Result] = []
        try:
            self._termination.guard(lambda: results.append(self._operate(command)))
        except StaleFence:
            return Finished(status="stale", reusable=True)
        except Stopped as error:
            # SIGTERM may come just behind the end of the work, which then stands.
            return _success(results[0], command.bundle) if results else _failure(error, command.bundle)
        except BaseException as error:  # noqa: BLE001 - a task that raises SystemExit has failed, and stops no one else
            return _failure(error, command.bundle)
        return _success(results[0], command.bundle)

    def _operate(self, command: Run) -> Result:
        operators = importlib.import_module("workers.operators")
        result: Result = operators.run(command.grant, self._services(command))
        return result

    def _services(self, command: Run) -> Services:
        store = self._stores.get(command.objects_url)
        if store is None:
            store = self._stores[command.objects_url] = open_store(command.objects_url)
        return Services(
            objects=store,
            objects_url=command.objects_url,
            hot=command.hot,
            secrets=Secrets(lambda value: self._tell(Revealed(value))),
            bundle=Path(command.bundle) if command.bundle else None,
            workdir=Path(command.workdir),
            hot_auth=command.hot_auth,
            progress=lambda rows, message: self._tell(Progressed(rows, message)),
            step=self._steps.begin,
        )

    def _tell(self, event: Revealed | Progressed) -> None:
        self._channel.send(event)
        self._termination.raise_deferred()

    def _flush(self) -> None:
        """Push out what Python and C libraries have buffered; the answer comes behind it."""
        for stream in self._streams:
            try:
                stream.flush()
            except (OSError, ValueError):
                continue  # User code closed it.
        self._libc.fflush(None)


class Steps:
    """What an attempt went through, one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done: list[Step] = []
        self._current: tuple[str, datetime] | None = None

    def begin(self, name: str) -> None:
        """End the step before and begin the next."""
        self.end("")
        self._current = name, self._clock.now()

    def end(self, error: str) -> list[Step]:
        """End the step that is under way; return all of them."""
        if self._current is not None:
            name, start = self._current
            self._done.append(Step(name, start, self._clock.now(), error))
            self._current = None
        return self._done


def _level(logger: logging.Logger, level: int) -> None:
    # Setting a level, even the same one, empties the caches of all loggers.
    if logger.level != level:
        logger.setLevel(level)


def _success(result: Result, bundle: str | None) -> Finished:
    try:
        outputs = _plain("Output", result.outputs)
        bookmark = _plain("Bookmark", result.bookmark)
    except TaskFailed as error:
        if not result.committed:
            return _failure(error, bundle)
        outputs, bookmark = {}, None  # The commit has stored them.
    return Finished(
        status="succeeded",
        outputs=outputs,
        writes=result.writes,
        bookmark=bookmark,
        metrics=result.metrics,
        reusable=True,
    )


def _plain(what: str, value: Any) -> Any:
    """Return a value as plain JSON that Postgres can keep; raise TaskFailed if it is none, or too large."""
    try:
        plain = msgspec.to_builtins(value, str_keys=True)
        text = _JSON.encode(plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TaskFailed(f"{what}NotJson", f"the {what.lower()} cannot be JSON: {error}; use plain values") from error
    # Before the encoder, to which NaN is null.
    if found := unstorable(plain):
        raise TaskFailed(f"{what}NotJson", f"the {what.lower()} cannot be kept: {found}")
    if len(text) > MAX_OUTPUTS_BYTES:
        message = f"the {what.lower()} takes {len(text)} bytes, above the limit of {MAX_OUTPUTS_BYTES}"
        raise TaskFailed(f"{what}TooLarge", f"{message}; keep large values as artifacts")
    return msgspec.json.decode(text)


def _failure(error: BaseException, bundle: str | None) -> Finished:
    described: TaskError = describe(error, bundle)
    lost = isinstance(error, TaskFailed) and error.reason == "InfrastructureError"
    reusable = not isinstance(error, (MemoryError, Stopped))
    return Finished(status="lost" if lost else "failed", error=described, reusable=reusable)


def _has_children() -> bool:
    """Return whether user code has left a process behind."""
    if not hasattr(os, "waitid"):
        return bool(psutil.Process().children())
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
