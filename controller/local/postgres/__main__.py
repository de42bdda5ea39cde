"""The process around a postmaster, which prepares the folder, starts, waits, and takes Postgres along."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from controller.local import lifeline
from controller.local.postgres.binaries import PostgresNotFoundError, find_binaries
from controller.local.postgres.cluster import HOST, Cluster, ClusterError

if TYPE_CHECKING:
    import subprocess

_START_SECONDS = 120.0
_READY_POLL_SECONDS = 0.02
_FREE_PORT_TRIES = 5

_ENDINGS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def main() -> int:
    """Run Postgres until told to stop (status 0) or until it crashes (status 1)."""
    args = _arguments()
    # Blocked before anything starts, so that no signal falls between two steps; `sigwait` takes them.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        cluster = Cluster(args.data_dir.resolve(), find_binaries(args.bin_dir), durable=args.durable)
        if args.lifeline is not None:
            lifeline.watch(args.lifeline, before_exit=cluster.stop)
        cluster.prepare()
        postmaster, port = _start(cluster, args.port)
    except (ClusterError, PostgresNotFoundError) as error:
        return _fail(str(error))
    sys.stdout.write(f"listening on {HOST}:{port}\n")
    sys.stdout.flush()
    return _wait(cluster, postmaster)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m controller.local.postgres", description=__doc__)
    run = parser.add_subparsers(required=True).add_parser("run", help="run a server in the foreground")
    run.add_argument("--data-dir", type=Path, required=True, help="folder of the database, its log and password")
    run.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 picks a free one")
    run.add_argument("--bin-dir", type=Path, help="folder that holds postgres and initdb")
    run.add_argument("--not-durable", dest="durable", action="store_false", help="faster, loses data in a crash")
    run.add_argument("--lifeline", type=int, metavar="FD", help="stop when this inherited pipe ends")
    return parser.parse_args()


def _start(cluster: Cluster, port: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server; try again if another process took a port that was free a moment ago."""
    tries = 1 if port else _FREE_PORT_TRIES
    for _ in range(tries):
        chosen = port or _free_port()
        postmaster = cluster.start(chosen)
        if _becomes_ready(cluster, postmaster):
            return postmaster, chosen
        cluster.close()
    raise ClusterError(f"Postgres did not start:\n{cluster.log_tail()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _becomes_ready(cluster: Cluster, postmaster: subprocess.Popen[bytes]) -> bool:
    pid_file = cluster.database_dir / "postmaster.pid"
    deadline = time.monotonic() + _START_SECONDS
    while postmaster.poll() is None and time.monotonic() < deadline:
        if _says_ready(pid_file):
            return True
        time.sleep(_READY_POLL_SECONDS)
    if postmaster.poll() is None:
        cluster.stop()
        raise ClusterError(f"Postgres was not ready within {_START_SECONDS:.0f} s:\n{cluster.log_tail()}")
    return False


def _says_ready(pid_file: Path) -> bool:
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    # The eighth line is the server's own word on its state.
    return len(lines) >= 8 and lines[7].strip() == "ready"


def _wait(cluster: Cluster, postmaster: subprocess.Popen[bytes]) -> int:
    while signal.sigwait(_ENDINGS) == signal.SIGCHLD:
        # Children of other kinds end too (initdb, the guard).
        if postmaster.poll() is not None:
            cluster.close()
            return _fail(f"Postgres ended by itself:\n{cluster.log_tail()}")
    cluster.stop()
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
