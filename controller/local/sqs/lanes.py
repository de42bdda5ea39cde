"""The order in which the messages of a queue may be received.

A lane is a message group; on a standard queue each message has a lane of its own, so nothing blocks it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from heapq import heapify, heappop, heappush

from controller.local.sqs.message import Message


class State(Enum):
    """Where a kept message is; SQS counts its messages by these three."""

    DELAYED = "delayed"
    WAITING = "waiting"
    IN_FLIGHT = "in flight"


@dataclass(slots=True, eq=False)
class Entry:
    """A message in a queue, with what happened to it so far."""

    message: Message
    lane: str
    state: State
    visible_at: float
    received: int = 0
    received_at: float = 0.0
    first_received_at: float = 0.0


@dataclass(slots=True, eq=False)
class Lane:
    """The messages of one group that are not in flight, oldest first, and the number that is."""

    key: str
    waiting: list[tuple[int, Entry]] = field(default_factory=list)
    in_flight: int = 0

    def pop_visible(self) -> Entry | None:
        """Take out the oldest message, unless it is delayed: those behind it must not overtake it."""
        if self.waiting and self.waiting[0][1].state is State.WAITING:
            return heappop(self.waiting)[1]
        return None


class Lanes:
    """All lanes of a queue, and the set of those from which a message may be received now."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        # A dict that loses its first key again and again scans over the holes; an OrderedDict does not.
        self._ready: OrderedDict[str, Lane] = OrderedDict()

    @property
    def ready(self) -> bool:
        """Say whether a receive would find something."""
        return bool(self._ready)

    def add(self, entry: Entry) -> None:
        """Put a message at its place by sequence, be it new or back from a receiver."""
        lane = self._lanes.get(entry.lane)
        if lane is None:
            lane = self._lanes[entry.lane] = Lane(entry.lane)
        heappush(lane.waiting, (entry.message.sequence, entry))
        self.settle(lane)

    def pop_ready(self) -> Lane | None:
        """Take the lane that has been ready for longest; `settle` it afterwards."""
        return self._ready.popitem(last=False)[1] if self._ready else None

    def settle(self, lane: Lane) -> None:
        """Decide anew whether a lane is ready, blocked by a message in flight or a delay, or done."""
        if lane.waiting and not lane.in_flight and lane.waiting[0][1].state is State.WAITING:
            self._ready.setdefault(lane.key, lane)
            return
        self._ready.pop(lane.key, None)
        if not lane.waiting and not lane.in_flight:
            self._lanes.pop(lane.key, None)

    def undelay(self, entry: Entry) -> None:
        """Look again at the lane of a message whose delay is over."""
        self.settle(self._lanes[entry.lane])

    def release(self, entry: Entry, *, back: bool) -> None:
        """Note that a message is no longer in flight: it is back, or gone for good."""
        lane = self._lanes[entry.lane]
        lane.in_flight -= 1
        if back:
            heappush(lane.waiting, (entry.message.sequence, entry))
        self.settle(lane)

    def discard(self, entry: Entry) -> None:
        """Forget a message that is not in flight."""
        lane = self._lanes[entry.lane]
        if lane.waiting[0][1] is entry:
            heappop(lane.waiting)
        else:
            lane.waiting.remove((entry.message.sequence, entry))
            heapify(lane.waiting)
        self.settle(lane)

    def clear(self) -> None:
        """Forget everything."""
        self._lanes.clear()
        self._ready.clear()
