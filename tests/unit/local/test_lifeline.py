"""What binds processes together, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from controller.local.lifeline import Guard, pipe

PATIENCE_SECONDS = 30.0

WATCHER = """
import sys, time
from controller.local.lifeline import watch
watch(int(sys.argv[1]), before_exit=lambda: print("bye", flush=True))
print("ready", flush=True)
time.sleep(600)
"""
PARENT = """
import functools, os, subprocess, time
from controller.local.lifeline import die_with_parent
child = subprocess.Popen(["sleep", "600"], preexec_fn=functools.partial(die_with_parent, os.getpid()))
print(child.pid, flush=True)
time.sleep(600)
"""
OWNER = """
import os, subprocess, time
from controller.local.lifeline import Guard
guard = Guard()
child = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], start_new_session=True)
guard.hold(child.pid)
# One write: an unbuffered print makes two, and the shell prints into the same pipe.
os.write(1, f"{child.pid}\\n".encode())
time.sleep(600)
"""


def start(code: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds)


def test_a_watcher_exits_when_the_pipe_ends() -> None:
    read, write = pipe()
    watcher = start(WATCHER, str(read), pass_fds=(read,))
    os.close(read)
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "ready\n"
    os.close(write)

    output, _ = watcher.communicate(timeout=PATIENCE_SECONDS)
    assert (watcher.returncode, output) == (1, "bye\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_dies_with_its_killed_parent() -> None:
    parent = start(PARENT)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs([child], timeout=PATIENCE_SECONDS)
    assert not alive


def test_a_guard_kills_the_groups_of_a_killed_owner() -> None:
    owner = start(OWNER)
    assert owner.stdout is not None
    group = [psutil.Process(int(owner.stdout.readline())) for _ in range(2)]
    owner.kill()
    owner.communicate()
    _, alive = psutil.wait_procs(group, timeout=PATIENCE_SECONDS)
    assert not alive


def test_a_guard_spares_what_was_released() -> None:
    guard = Guard()
    spared = subprocess.Popen(["sleep", "600"], start_new_session=True)
    guard.hold(spared.pid)
    guard.release(spared.pid)
    guard.close()
    assert spared.poll() is None
    spared.send_signal(signal.SIGTERM)
    spared.wait()
