"""What must not be left when all is over: processes without a parent, connections without a client, stage tables."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, LiteralString

import psutil
from e2e_processes import MODULES, family, marked

from tests.chaos import victims
from tests.chaos.verdict import Broken, Violation
from tests.chaos.workload import SLOTS, WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e_system import Up

CONNECTIONS = {"setpoint_dispatcher": 24, "setpoint_worker_login": SLOTS * WORKERS}
"""The most of each login: the dispatcher's two pools, its leader, its listener, and the provisioner; the workers' slots."""

_ACTIVITY: LiteralString = """
    SELECT usename, client_port, state FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND usename LIKE 'setpoint%%'
"""


def find(up: Up) -> list[Violation]:
    """Return what is leaked while the system still runs."""
    return [Violation(Broken.LEAKED, text) for text in (*_processes(up), *_connections(up))]


def _processes(up: Up) -> Iterator[str]:
    ours = family(up.pid)
    for process in marked(up.folder):
        if process not in ours:
            yield f"process {_text(process)} belongs to nobody"
    for name, module in MODULES.items():
        copies = [p for p in psutil.Process(up.pid).children() if module in _text(p).split()]
        if len(copies) != 1:
            yield f"{len(copies)} processes run {name}"
    workers = victims.pool(up)
    if len(workers) != WORKERS:
        yield f"{len(workers)} workers run, {WORKERS} are wanted"
    if len(victims.children(up)) > WORKERS * (SLOTS + 1):
        yield f"{len(victims.children(up))} children run in {WORKERS} workers of {SLOTS} slots"


def _connections(up: Up) -> Iterator[str]:
    clients = {port for process in family(up.pid) for port in _ports(process)}
    found = up.rows(_ACTIVITY)
    for row in found:
        if row["client_port"] not in clients:
            yield f"a connection of {row['usename']} ({row['state']}) has no client"
    for login, most in CONNECTIONS.items():
        count = sum(row["usename"] == login for row in found)
        if count > most:
            yield f"{login} holds {count} connections, {most} at most are explained"


def _ports(process: psutil.Process) -> list[int]:
    """Return the local ports of a process's connections."""
    with suppress(psutil.Error):
        established = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED]
        return [connection.laddr.port for connection in established]
    return []


def _text(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())}"
    return str(process.pid)
