"""The child processes that run attempts: started ahead, kept warm, and used again for the same code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING

import psutil
import structlog

from workers.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.metrics import Metrics

_log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 200
MAX_RESIDENT_BYTES = 2**30
REAP_SECONDS = 30.0
SPARE_TRIES = 3
SPAWN_SECONDS = 60.0

# What a child inherits. Nothing of it opens the dispatcher, its queue's messages or the ECS agent.
_PASSED = frozenset(
    {"PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
    | {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "OMP_NUM_THREADS"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
)
_PASSED_PREFIXES = ("AWS_", "LC_", "POLARS_", "OTEL_")
# Headers to a collector hold its key, which is no user's.
_KEPT_SUFFIX = "_HEADERS"


class Child:
    """One warm process, and the parent's ends of its socket and streams."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, guard: Guard) -> None:
        if process.stdout is None or process.stderr is None:
            raise ValueError("a child needs pipes for its streams")
        self.process = process
        self._guard = guard
        self._killed = False
        self.channel = channel
        self.stdout = process.stdout.fileno()
        self.stderr = process.stderr.fileno()
        self.attempts = 0

    def terminate(self) -> None:
        """Ask the child and all that it started to stop."""
        self._signal(signal.SIGTERM)

    def kill(self) -> int | None:
        """Kill the child and all that it started, reap it, and return its exit code; again is harmless."""
        if self._killed:
            return self.process.returncode
        self._killed = True
        # Daemons have left the group; they are known only while the child lives, which adopts them.
        started = _descendants(self.process.pid)
        self._signal(signal.SIGKILL)
        for process in started:
            with suppress(psutil.Error):
                process.kill()
        self._guard.forget(self.process.pid)
        try:
            return self.process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            _log.exception("child.unreaped", pid=self.process.pid)
            return None

    def close(self) -> None:
        """Close the parent's ends."""
        self.channel.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _signal(self, number: signal.Signals) -> None:
        # The group may be gone already.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Children:
    """Hand out children: one that ran the same bundle before, or a blank one."""

    def __init__(self, keep: int, environment: Mapping[str, str], metrics: Metrics) -> None:
        self._keep = keep
        self._environment = _minimal(environment)
        self._metrics = metrics
        self._lock = Lock()
        self._idle: OrderedDict[Child, str | None] = OrderedDict()
        self._wanted: SimpleQueue[Future[Child]] = SimpleQueue()
        self._guard = Guard()
        self._spare: Future[Child] | None = None

    def start(self) -> None:
        """Start the thread that starts children, and one blank child.

        One thread for all, which never ends: the kernel kills a child when the *thread* that started it ends.
        """
        Thread(target=self._spawn_wanted, name="children", daemon=True).start()
        self._spare = self._want()

    def acquire(self, bundle: str | None) -> Child:
        """Return a child for a bundle: a warm one, or the blank spare, which is replaced; raise OSError."""
        warm = self._take_idle(bundle)
        if warm is not None:
            return warm
        for _ in range(SPARE_TRIES):
            child = self._take_spare()
            if child.process.poll() is None:
                return child
            self.discard(child)
        raise ChildProcessError("child processes die while they wait for work; see the system's log for who kills them")

    def release(self, child: Child, bundle: str | None, *, reusable: bool, resident_bytes: int) -> None:
        """Keep a child warm, or end it if it was used up."""
        child.attempts += 1
        if not reusable or child.attempts >= MAX_ATTEMPTS or resident_bytes > MAX_RESIDENT_BYTES:
            self.discard(child)
            return
        with self._lock:
            self._idle[child] = bundle
            oldest = self._idle.popitem(last=False)[0] if len(self._idle) > self._keep else None
        if oldest is not None:
            self.discard(oldest)

    def discard(self, child: Child) -> None:
        """End a child."""
        child.kill()
        child.close()

    def close(self) -> None:
        """End all idle children."""
        with self._lock:
            idle, spare = list(self._idle), self._spare
            self._idle.clear()
        for child in idle:
            self.discard(child)
        if spare is not None and spare.done() and spare.exception() is None:
            self.discard(spare.result())

    def _take_idle(self, bundle: str | None) -> Child | None:
        """Return the child that ran the bundle last and is still alive, if any."""
        with self._lock:
            for child in [one for one, ran in reversed(self._idle.items()) if ran == bundle]:
                del self._idle[child]
                if child.process.poll() is None:
                    return child
                self.discard(child)
        return None

    def _take_spare(self) -> Child:
        with self._lock:
            future, self._spare = self._spare or self._want(), None
        try:
            return future.result(SPAWN_SECONDS)
        finally:
            with self._lock:
                self._spare = self._spare or self._want()

    def _want(self) -> Future[Child]:
        future: Future[Child] = Future()
        self._wanted.put(future)
        return future

    def _spawn_wanted(self) -> None:
        while True:
            future = self._wanted.get()
            try:
                future.set_result(self._spawn())
            except Exception as error:  # noqa: BLE001 - whoever waits for the child learns it; the thread goes on
                future.set_exception(error)

    def _spawn(self) -> Child:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [sys.executable, "-P", "-m", "workers.child", str(os.getpid()), str(theirs.fileno())]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env=self._environment,
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._guard.watch(process.pid)
        child = Child(process, ours, self._guard)
        os.set_blocking(child.stdout, False)
        os.set_blocking(child.stderr, False)
        self._metrics.child_starts.inc()
        return child


def _descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _minimal(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name in _PASSED or (name.startswith(_PASSED_PREFIXES) and not name.endswith(_KEPT_SUFFIX))
    }
