"""A worker's child process by itself: how many no-op attempts it runs in a second, one after the other."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from crds.names import AttemptId
from crds.protocol import Grant
from workers.children import Children
from workers.frames import EventReader, Finished, Run, encode
from workers.metrics import Metrics

if TYPE_CHECKING:
    from workers.children import Child

_BODIES = Path(__file__).with_name("bodies.py")
_TASK = {"name": "work", "runtime": "python", "pool": "python", "with": {"entrypoint": "bodies:noop"}}


def round_trips(folder: Path, seconds: float) -> float:
    """Return round trips a second of one warm child; `folder` takes its files."""
    place = folder / "child"
    place.mkdir(exist_ok=True)
    shutil.copyfile(_BODIES, place / _BODIES.name)
    children = Children(1, os.environ, Metrics())
    children.start()
    child = children.acquire(None)
    child.channel.setblocking(True)
    command = encode(_command(place))
    try:
        _run(child, command)
        began, done = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds or not done:
            _run(child, command)
            done += 1
        return done / passed
    finally:
        children.discard(child)
        children.close()


def _run(child: Child, command: bytes) -> None:
    events = EventReader()
    child.channel.sendall(command)
    while True:
        data = child.channel.recv(65_536)
        if not data:
            raise ChildProcessError("the child ended")
        if any(isinstance(event, Finished) for event in events.feed(data)):
            return


def _command(folder: Path) -> Run:
    grant = Grant(
        attempt=AttemptId("bench/work/0/1"),
        token="none",
        task=_TASK,
        dag="bench",
        run="bench",
        namespace="default",
        number=1,
        timeout_seconds=60,
    )
    return Run(grant=grant, objects_url=folder.as_uri(), hot=None, bundle=str(folder), workdir=str(folder))
