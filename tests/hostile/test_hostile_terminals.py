"""What tasks and strangers write reaches a terminal as text, not as orders to it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import obstore
import pytest

from crds.names import AttemptId, log_prefix
from tests.hostile.hostile_world import DEADLINE_SECONDS, ROLE_TOKENS
from tests.integration.api_world import DIAMOND

if TYPE_CHECKING:
    from tests.hostile.hostile_world import Doors

# Clears the screen, names the window, turns the direction of writing round, hides text, and goes back over a line.
ORDERS = "\x1b[2J\x1b]0;owned\x07\u202eevil\x1b[8mhidden\x9b2J\x7f\rgone"
SEEN = "\\x1b[2J"


@pytest.fixture(scope="module")
def name(doors: Doors) -> str:
    """Return a failed run whose error, log, events and labels are full of orders."""
    labelled = {**DIAMOND, "metadata": {"name": "diamond", "labels": {"team": ORDERS}, "annotations": {"note": ORDERS}}}
    assert doors.call("POST", "/apply", {"resources": [labelled]}).status_code == 200
    run: dict[str, Any] = doors.call("POST", "/dags/diamond/trigger", {"params": {"p": ORDERS}}).json()
    uid = doors.world.start(run, {"a": "Failed"})
    attempt = doors.world.attempt(uid, "a", "Failed")
    doors.world.execute(
        "UPDATE attempt SET reason = 'UserError', message = %(text)s WHERE id = %(id)s", text=ORDERS, id=attempt
    )
    doors.world.execute("UPDATE task_run SET reason = 'UserError', message = %(text)s", text=ORDERS)
    doors.world.execute("UPDATE run SET reason = 'UserError', message = %(text)s", text=ORDERS)
    doors.world.execute("UPDATE event SET message = %(text)s", text=ORDERS)
    doors.world.end(uid, "Failed")
    obstore.put(doors.world.objects, f"{log_prefix(AttemptId(attempt))}000001.log", f"{ORDERS}\n\x1b[31mred\n".encode())
    return str(run["metadata"]["name"])


def on_a_terminal(doors: Doors, *words: str) -> bytes:
    """Run a command whose output is a terminal; return what reaches it."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "SETPOINT_URL": doors.url, "SETPOINT_TOKEN": ROLE_TOKENS["admin"], "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "controller.cli.main", *words], stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        found = b""
        try:
            while piece := os.read(ours, 65_536):
                found += piece
        except OSError:  # so Linux says that the other side is closed
            pass
        process.wait(DEADLINE_SECONDS)
    os.close(ours)
    return found


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["describe", "run/{}"], id="describe a run"),
        pytest.param(["describe", "task/{}.a"], id="describe a task"),
        pytest.param(["describe", "dag/diamond"], id="describe a Dag"),
        pytest.param(["explain", "run/{}"], id="explain"),
        pytest.param(["events"], id="events"),
        pytest.param(["events", "-o", "json"], id="events as JSON"),
        pytest.param(["logs", "run/{}"], id="logs of a run"),
        pytest.param(["logs", "task/{}.a"], id="logs of a task"),
        pytest.param(["get", "tasks", "-o", "wide"], id="a wide table"),
        pytest.param(["get", "runs", "-o", "wide"], id="a wide table of runs"),
        pytest.param(["get", "run", "{}", "-o", "json"], id="JSON"),
        pytest.param(["get", "run", "{}", "-o", "yaml"], id="YAML"),
    ],
)
def test_orders_are_shown_and_not_obeyed(doors: Doors, name: str, words: list[str]) -> None:
    found = on_a_terminal(doors, *(word.format(name) for word in words))
    text = found.decode()
    assert "owned" in text
    for order in ("\x1b[2J", "\x1b]", "\x07", "\u202e", "\x1b[8m", "\x9b", "\x7f", "\rgone"):
        assert order not in text, repr(text)


def test_a_file_gets_the_log_as_it_was_written(doors: Doors, name: str) -> None:
    environment = {**os.environ, "SETPOINT_URL": doors.url, "SETPOINT_TOKEN": ROLE_TOKENS["admin"]}
    done = subprocess.run(
        [sys.executable, "-m", "controller.cli.main", "logs", f"task/{name}.a"],
        capture_output=True,
        env=environment,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    assert ORDERS.encode() in done.stdout


def test_colours_of_a_log_stay_on_a_terminal(doors: Doors, name: str) -> None:
    found = on_a_terminal(doors, "logs", f"task/{name}.a")
    assert b"\x1b[31mred" in found
    assert SEEN.encode() in found
