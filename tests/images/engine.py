"""A Docker engine for the tests of the images: `python -m tests.images.engine python -m pytest tests/images`.

It needs root, dockerd and debootstrap (Debian: `apt-get install docker.io debootstrap`), but neither iptables, nor a
bridge, nor a registry: builds use the host's network, containers none, and the base image is made of Debian's packages.
It runs one command with DOCKER_HOST and TEST_BASE_IMAGE set, and stops the engine behind it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = "setpoint-test-base:bookworm"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
NEEDED = ("dockerd", "debootstrap")
START_SECONDS, STOP_SECONDS, BASE_SECONDS = 60.0, 30.0, 900.0
# Debian's own client builds by BuildKit without a plugin.
CLIENTS = ("docker", "/usr/bin/docker")


def client() -> str | None:
    """Return a Docker client that builds by BuildKit."""
    for name in CLIENTS:
        if (path := shutil.which(name)) is None:
            continue
        version = subprocess.run(
            [path, "version", "--format", "{{.Client.Version}}"], capture_output=True, text=True, check=False
        )
        plugin = subprocess.run([path, "buildx", "version"], capture_output=True, check=False)
        if plugin.returncode == 0 or int((version.stdout.strip() or "99").partition(".")[0]) < 23:
            return path
    return None


def answers() -> bool:
    """Tell whether an engine answers."""
    docker = client()
    if docker is None:
        return False
    try:
        done = subprocess.run([docker, "info"], capture_output=True, check=False, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@contextmanager
def engine(folder: Path) -> Iterator[dict[str, str]]:
    """Run an engine whose data lies in the folder; give the environment that reaches it."""
    socket = f"unix://{folder}/docker.sock"
    command = ["dockerd", "-H", socket, "--iptables=false", "--ip6tables=false", "--bridge=none"]
    command += [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/docker.pid"]
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    environment = {**os.environ, "DOCKER_HOST": socket, "TEST_BASE_IMAGE": BASE}
    try:
        _wait(process, environment, folder / "dockerd.log")
        yield environment
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def make_base(folder: Path, environment: dict[str, str]) -> None:
    """Make the base image: a small Debian with its Python, called `python`."""
    root = folder / "base"
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root)]
    mirror = os.environ.get("DEBOOTSTRAP_MIRROR")
    subprocess.run([*command, *([mirror] if mirror else [])], check=True, stdout=sys.stderr, timeout=BASE_SECONDS)
    (root / "usr/bin/python").symlink_to("python3")
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
        docker = client() or "docker"
        subprocess.run(
            [docker, "import", "-", BASE], stdin=archive.stdout, env=environment, check=True, stdout=sys.stderr
        )
    shutil.rmtree(root)


def _wait(process: subprocess.Popen[bytes], environment: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    docker = client() or "docker"
    while time.monotonic() < deadline and process.poll() is None:
        if subprocess.run([docker, "info"], env=environment, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.2)
    raise RuntimeError(f"dockerd does not start: {log.read_text()[-1000:]}")


def main() -> int:
    """Run the command that is given beside an engine; return its exit code."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or client() is None or os.geteuid() != 0:
        sys.stderr.write(
            f"this needs root, {', '.join(missing) or 'a Docker client with BuildKit'}: apt-get install docker.io debootstrap\n"
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="setpoint-docker-", dir="/var/tmp") as temporary:
        folder = Path(temporary)
        with engine(folder) as environment:
            make_base(folder, environment)
            return subprocess.run(sys.argv[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
