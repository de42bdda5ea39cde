"""Watching one attempt in its child: streams, time, memory, and requests to stop."""

from __future__ import annotations

import os
import selectors
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crds.protocol import Progress
from workers.endings import Seen
from workers.frames import (
    BrokenStream,
    EventReader,
    Finished,
    Logged,
    Progressed,
    Revealed,
    Run,
    Taken,
    encode,
)
from workers.held import Stop
from workers.logs import FLUSH_SECONDS
from workers.memory import MemoryWatch

if TYPE_CHECKING:
    from workers.children import Child
    from workers.clock import Clock
    from workers.frames import Event
    from workers.held import Held
    from workers.logs import AttemptLog
    from workers.redaction import Redaction
    from workers.wake import Wake

TERM_SECONDS = 5.0
READ_BYTES = 64 * 2**10
# The most that is read of a stream at its end, so that an orphan that goes on printing holds up no report.
MAX_DRAIN_BYTES = 16 * 2**20
MAX_PROGRESS_CHARS = 1_000
_NEVER = float("inf")


@dataclass(slots=True)
class _Timers:
    """When to look next, in seconds of the monotonic clock."""

    deadline: float
    sample: float
    flush: float = _NEVER
    kill: float = _NEVER

    def next(self) -> float:
        return min(self.deadline, self.sample, self.flush, self.kill)


class Supervision:
    """Run one attempt in a child until the child has answered or is dead.

    The slot's thread waits for the child's socket and streams, its death, a request to stop, and timers.
    """

    def __init__(self, child: Child, held: Held, log: AttemptLog, redaction: Redaction, clock: Clock) -> None:
        self._child = child
        self._held = held
        self._log = log
        self._redaction = redaction
        self._clock = clock
        self._events = EventReader()
        self._memory = MemoryWatch(child.process.pid, held.grant.memory_bytes)
        self._finished: Finished | None = None
        self._stop: Stop | None = None
        self._broken = ""
        self._dead = False
        self._open = True
        self._taken = False
        self.taken_at: float | None = None
        """When the child took the command, to run user code next."""

    def run(self, command: Run, wake: Wake, deadline: float) -> Seen:
        """Run the command; return what was seen. The child is dead afterwards unless it has answered."""
        timers = _Timers(deadline, self._clock.monotonic() + self._memory.interval)
        unsent = memoryview(encode(command))
        with selectors.DefaultSelector() as selector:
            death = self._register(selector, wake)
            self._held.watch(wake.set)
            try:
                while not self._over():
                    unsent = self._step(selector, unsent, timers)
            finally:
                self._held.watch(None)
                if death is not None:
                    os.close(death)
        return self._seen()

    @property
    def peak_bytes(self) -> int:
        """The most resident memory that a sample has seen."""
        return self._memory.peak

    def _over(self) -> bool:
        return self._finished is not None or self._dead or bool(self._broken)

    def _register(self, selector: selectors.BaseSelector, wake: Wake) -> int | None:
        selector.register(self._child.channel, selectors.EVENT_READ | selectors.EVENT_WRITE)
        selector.register(self._child.stdout, selectors.EVENT_READ)
        selector.register(self._child.stderr, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ, wake.clear)
        # The child's sockets may be held open by what it forked, so its death is watched by itself.
        if not hasattr(os, "pidfd_open"):
            return None
        try:
            death = os.pidfd_open(self._child.process.pid)
        except OSError:  # an old kernel; the samples look at the child too
            return None
        selector.register(death, selectors.EVENT_READ)
        return death

    def _step(self, selector: selectors.BaseSelector, unsent: memoryview, timers: _Timers) -> memoryview:
        """Wait for something to happen and handle it; return what is still to be sent."""
        self._obey(timers)
        timers.flush = min(timers.flush, self._clock.monotonic() + FLUSH_SECONDS) if self._log.waiting else _NEVER
        ready = selector.select(max(0.0, timers.next() - self._clock.monotonic()))
        for key, mask in ready:
            if key.data is not None:
                key.data()
            if key.fileobj is self._child.channel and mask & selectors.EVENT_WRITE:
                unsent = self._send(unsent)
                if not unsent:
                    selector.modify(self._child.channel, selectors.EVENT_READ)
        # Bytes first, then events: a secret is announced before it can be printed.
        for stream, name in ((self._child.stdout, "stdout"), (self._child.stderr, "stderr")):
            if any(key.fd == stream for key, _ in ready) and not self._copy(stream, name):
                selector.unregister(stream)
        if self._open and not self._read_events():
            self._open = False
            selector.unregister(self._child.channel)
        self._tick(timers)
        return unsent

    def _obey(self, timers: _Timers) -> None:
        """Begin to stop the child if that was asked for, or end it when its time to stop is over."""
        wanted = self._held.stopping
        now = self._clock.monotonic()
        if wanted is not None and wanted is not self._stop:
            first = self._stop is None
            self._stop = wanted
            if wanted in {Stop.STALE, Stop.MEMORY}:
                timers.kill = now
            elif first:
                self._child.terminate()
                timers.kill = now + TERM_SECONDS
            timers.deadline = _NEVER
        if now >= timers.kill:
            self._child.kill()
            self._dead = True

    def _tick(self, timers: _Timers) -> None:
        now = self._clock.monotonic()
        if now >= timers.deadline:
            timers.deadline = _NEVER
            self._held.stop(Stop.TIMEOUT)
        if now >= timers.sample:
            timers.sample = now + self._memory.interval
            if self._memory.sample():
                self._held.stop(Stop.MEMORY)
            if not self._open and self._child.process.poll() is None:
                self._broken = "the task closed file descriptors that were not its own"
        if now >= timers.flush:
            self._log.flush()
            timers.flush = _NEVER
        if self._finished is None and self._child.process.poll() is not None:
            self._dead = True

    def _send(self, unsent: memoryview) -> memoryview:
        if not unsent:
            return unsent
        try:
            return unsent[self._child.channel.send(unsent) :]
        except BlockingIOError:
            return unsent
        except OSError:  # the child is dead, and its death is being noticed
            return unsent[len(unsent) :]

    def _copy(self, stream: int, name: str) -> bool:
        """Move bytes of a stream into the log; return whether the stream is still open."""
        try:
            data = os.read(stream, READ_BYTES)
        except BlockingIOError:
            return True
        self._log.write(name, data)
        return bool(data)

    def _read_events(self) -> bool:
        """Handle all that the child has said; return whether it can say more."""
        while True:
            try:
                data = self._child.channel.recv(READ_BYTES)
                for event in self._events.feed(data):
                    self._handle(event)
            except BlockingIOError:
                return True
            except OSError:
                return False
            except BrokenStream as error:
                self._broken = f"the process of the task sent what is no answer: {error}"
                return False
            if not data:
                return False

    def _handle(self, event: Event) -> None:
        match event:
            case Progressed(rows=rows, message=message):
                # Each heartbeat carries it.
                text = self._redaction.clean(message)[:MAX_PROGRESS_CHARS]
                self._held.progress = Progress(rows=rows, message=text)
            case Revealed(value=value):
                self._redaction.add(value)
            case Logged(text=text):
                for line in text.splitlines():
                    self._log.line("log", line)
            case Finished():
                self._finished = event
            case Taken():
                self._taken = True
                self.taken_at = self._clock.monotonic()

    def _seen(self) -> Seen:
        """End the child unless it has answered, drain its streams, and return what was seen."""
        exit_code = None
        if self._finished is None:
            exit_code = self._child.process.poll()
            killed = self._child.kill()
            exit_code = killed if exit_code is None else exit_code
            self._read_events()
        for stream, name in ((self._child.stdout, "stdout"), (self._child.stderr, "stderr")):
            self._drain(stream, name)
        return Seen(
            finished=self._finished,
            stop=self._stop,
            exit_code=exit_code,
            out_of_memory=exit_code is not None and exit_code != 0 and self._memory.killed_by_kernel(),
            broken=self._broken,
            started=self._taken,
        )

    def _drain(self, stream: int, name: str) -> None:
        for _ in range(MAX_DRAIN_BYTES // READ_BYTES):
            try:
                data = os.read(stream, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                return
            self._log.write(name, data)
