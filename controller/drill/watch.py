"""Watch a run from the fault to its end, and remember what the system tells about it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.live import Live

from controller.cli import text
from controller.cli.errors import UnreachableError
from controller.cli.progress import FINAL, task_table
from controller.drill.history import Led, Sign, Task, read_sign, read_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from controller.cli.client import Client

LOOK_SECONDS = 0.25
EVENTS_AT_ONCE = 1_000
LEADER = "/v1/leader"
BEGAN = "drill began"


class ServerClock:
    """The database's time, carried on by this machine's monotonic clock while nobody answers."""

    def __init__(self) -> None:
        self._seen: tuple[datetime, float] | None = None

    def heard(self, now: str) -> None:
        """Remember what time the server has."""
        self._seen = (datetime.fromisoformat(now), time.monotonic())

    def now(self) -> datetime:
        """Return the time."""
        if self._seen is None:
            raise RuntimeError("the leader is looked up first: its answer tells the time")
        then, at = self._seen
        return then + timedelta(seconds=time.monotonic() - at)


@dataclass(slots=True)
class Watcher:
    """Looks again and again; tells each event once."""

    client: Client
    console: Console
    clock: ServerClock = field(default_factory=ServerClock)
    fault_at: datetime | None = None
    signs: list[Sign] = field(default_factory=list)
    leaders: list[Led] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    _event: int = 0
    _away: bool = False

    def begin(self, run: str) -> None:
        """Watch another run from now on."""
        self.run, self.tasks, self.signs, self.leaders = {"metadata": {"name": run}}, [], [], []
        self.fault_at, self._event = None, 0

    def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Look until something holds; return False if it does not in time."""
        deadline = time.monotonic() + seconds
        live = Live(console=self.console, auto_refresh=False, transient=True) if self.console.is_terminal else None
        shown: AbstractContextManager[object] = live or nullcontext()
        with shown:
            while True:
                if self.look():
                    if live is not None:
                        live.update(task_table(self.run, self.tasks, self.client.now()), refresh=True)
                    if holds():
                        return True
                if time.monotonic() > deadline:
                    return False
                time.sleep(LOOK_SECONDS)

    def look(self) -> bool:
        """Look once; return False while the dispatcher is away."""
        name = self.run["metadata"]["name"]
        try:
            self.leader()
            run = self.client.get("dagruns", name)
            self.tasks = list(self.client.items("taskruns", fieldSelector=f"run={name}"))
            self._events(name)
            self.run = run
        except UnreachableError:
            if not self._away:
                self.say("the dispatcher does not answer; waiting for it")
            self._away = True
            return False
        if self._away:
            self.say("the dispatcher answers again")
        self._away = False
        return True

    def leader(self) -> dict[str, Any]:
        """Return who leads; remember when it changes."""
        seen: dict[str, Any] = self.client.request("GET", LEADER)
        self.clock.heard(seen["time"])
        if seen["held"] and (not self.leaders or self.leaders[-1].term != seen["term"]):
            # The holder renews every few seconds, so the first sight of a term is close to its begin or knows it.
            led = Led(datetime.fromisoformat(seen["renewedAt"]), seen["term"], seen["holder"])
            if self.leaders:
                self.say(f"leadership: term {led.term}, {led.holder}")
            self.leaders.append(led)
        return seen

    def ended(self) -> bool:
        """Tell whether the run has ended."""
        return self.run["status"]["phase"] in FINAL

    def say(self, line: str) -> None:
        """Print a line with the time since the fault."""
        since = f"{(self.clock.now() - self.fault_at).total_seconds():+8.2f} s  " if self.fault_at else " " * 12
        self.console.print(text.visible(f"{since}{line}"), highlight=False, markup=False, soft_wrap=True)

    def history(self, limit: int) -> Sequence[Task]:
        """Return all tasks of the run with all their tries, and how often each try's log says that it began."""
        found = []
        for item in self.tasks[:limit]:
            name = item["metadata"]["name"]
            whole = self.client.get("taskruns", name)
            starts = {a["number"]: self._starts(name, a["number"]) for a in whole["status"].get("attempts", ())}
            found.append(read_task(whole, starts))
        return found

    def _starts(self, name: str, number: int) -> int:
        pieces = self.client.stream(self.client.path("taskruns", name, "logs"), {"attempt": number})
        return b"".join(pieces).decode(errors="replace").count(BEGAN)

    def _events(self, run: str) -> None:
        query: dict[str, str | int | None] = {
            "for": f"run/{run}",
            "limit": EVENTS_AT_ONCE,
            "after": self._event or None,
        }
        for event in self.client.request("GET", self.client.path("events"), query)["items"]:
            self._event = event["id"]
            sign = read_sign(event)
            self.signs.append(sign)
            if self.fault_at is not None and sign.at >= self.fault_at:
                since = (sign.at - self.fault_at).total_seconds()
                line = f"{since:+8.2f} s  {sign.about}: {sign.reason}  {sign.message}"
                self.console.print(text.visible(line), highlight=False, markup=False, soft_wrap=True)
