"""The network between workers, dispatchers and SQS: requests that the scheduler delivers, delays, loses or answers twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from psycopg import DataError

from controller.api.batcher import Overloaded
from controller.api.protocol import UnknownPool, WorkerElsewhere
from crds.protocol import ClaimRequest, HeartbeatRequest, ReportRequest
from tests.simulation.surprises import judge
from tests.simulation.threads import Event
from workers.client import Dispatcher, Unreachable, _decode
from workers.queue import MAX_DELETE, MAX_RECEIVE, POLL_SECONDS, Delivery, QueueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.faults import Faults
    from tests.simulation.fibers import Fibers, Process
    from tests.simulation.world import World

SHAPES = {"/v1/claims": ClaimRequest, "/v1/heartbeats": HeartbeatRequest, "/v1/reports": ReportRequest}
QUEUE_TIMEOUT = 30.0


@dataclass(eq=False)
class Call:
    """A request under way: to a dispatcher (`path` is an endpoint) or to SQS (`receive`, `delete`)."""

    sender: Process
    path: str
    body: Any
    answered: Event
    since: float
    status: int | None = None
    """None while there is no answer; 0 when there will be none."""
    answer: Any = None
    taken: bool = False
    """Somebody is working on it."""
    deaf: bool = False
    """Its answer will get lost."""

    @property
    def label(self) -> str:
        return f"{self.sender.name} {self.path.removeprefix('/v1/')}"

    def reply(self, status: int, answer: Any = b"") -> None:
        """Answer, unless the answer gets lost or nobody waits any more."""
        if self.status is None:
            self.status, self.answer = (0, None) if self.deaf else (status, answer)
            self.answered.set()


@dataclass
class Network:
    """All requests under way, oldest first."""

    fibers: Fibers
    faults: Faults
    calls: list[Call] = field(default_factory=list)

    def ask(self, sender: Process, path: str, body: Any, seconds: float) -> Call:
        """Send a request and wait for the answer; without one in time the request may still arrive."""
        self.faults.passed(sender, f"asking for {path}")
        call = Call(sender, path, body, Event(self.fibers), self.fibers.now)
        self.calls.append(call)
        if not call.answered.wait(seconds):
            call.status = 0
        self.faults.passed(sender, f"having asked for {path}")
        return call

    def waiting(self) -> list[Call]:
        """Return the requests that nobody has taken yet."""
        self.calls = [c for c in self.calls if not c.taken]
        return self.calls


class SimulatedDispatcher(Dispatcher):
    """The real client of the dispatcher over the simulated network."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__("http://dispatcher", _NoToken())
        self._network = world.network
        self._process = process

    def _exchange(self, path: str, body: bytes, answer: type[Any], seconds: float) -> Any:
        call = self._network.ask(self._process, path, body, seconds)
        if not call.status:
            raise Unreachable(f"{path}: no answer")
        if call.status == 200:
            return _decode(call.answer, answer, path)
        raise self._failure(path, call.status, call.answer)


class SimulatedQueue:
    """Stands in for workers.queue.Queue."""

    def __init__(self, world: World, process: Process, name: str) -> None:
        # Imported here, for the deletes' thread has to be a fiber of this schedule.
        from workers.grouping import Grouping  # noqa: PLC0415 - see above

        self._network = world.network
        self._process = process
        self.name = name
        self._deletes: Grouping[str] = Grouping("deletes", self._delete, MAX_DELETE)

    def start(self) -> None:
        self._deletes.start()

    def receive(self, limit: int) -> list[Delivery]:
        call = self._network.ask(self._process, "receive", (self.name, min(limit, MAX_RECEIVE)), QUEUE_TIMEOUT)
        if call.status != 200:
            raise QueueError("no answer")
        return [Delivery(handle, body) for handle, body in call.answer]

    def delete(self, handles: Sequence[str]) -> None:
        for handle in handles:
            self._deletes.submit(handle)

    def close(self, seconds: float) -> None:
        self._deletes.close(seconds)

    def _delete(self, handles: Sequence[str]) -> None:
        self._network.ask(self._process, "delete", (self.name, list(handles)), QUEUE_TIMEOUT)


class Reply:
    """Stands in for the future and the event loop that a batcher answers into."""

    def __init__(self, call: Call, world: World) -> None:
        self._call = call
        self._world = world

    def done(self) -> bool:
        return self._call.status is not None

    def set_result(self, answer: Any) -> None:

        self._world.answered(answer)
        self._call.reply(200, msgspec.json.encode(answer))

    def set_exception(self, error: Exception) -> None:
        judge(self._world, error, self._call.path)
        self._call.reply(status_of(error), str(error).encode())

    def call_soon_threadsafe(self, function: Any, *args: Any) -> None:
        function(*args)


def status_of(error: Exception) -> int:
    """Return the HTTP status that the worker protocol's endpoint gives an error."""
    match error:
        case UnknownPool():
            return 404
        case WorkerElsewhere():
            return 409
        case DataError():
            return 422
        case Overloaded():
            return 503
        case _:
            return 500


class _NoToken:
    def current(self) -> str:
        return "token"

    def refused(self) -> None:
        pass


POLL = POLL_SECONDS
