"""The work that a drill breaks: a DAG of its own, applied for the drill and taken away behind it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.cli.client import NotFoundError
from controller.cli.errors import CliError, Exit
from crds.names import queue_name

if TYPE_CHECKING:
    from controller.cli.client import Client
    from controller.drill.place import Place

DAG = "setpoint-drill"
FOLDER = Path(__file__).with_name("dag")
MAX_TASKS = 100
"""As many inputs as the last task may have."""
GONE_WITHIN, LOOK_SECONDS = 60.0, 0.3
SHORT_SECONDS = 1.0
UNFINISHED = ("Pending", "Running")


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool that is hit."""

    name: str
    slots: int
    limit: int
    queue: str
    """Its SQS queue."""


def pool(client: Client, place: Place, name: str) -> Pool:
    """Return a pool; raise CliError if a drill can do nothing with it."""
    try:
        spec = client.get("workerpools", name)["spec"]
    except NotFoundError:
        known = ", ".join(sorted(p["metadata"]["name"] for p in client.items("workerpools"))) or "none"
        raise CliError(f"there is no pool {name!r} (pools: {known}); name one by --pool", Exit.USAGE) from None
    if spec["runtime"] != "python":
        raise CliError(
            f"pool {name} is of runtime {spec['runtime']}; the drill's tasks are Python: name another by --pool",
            Exit.USAGE,
        )
    if spec.get("suspend"):
        raise CliError(f"pool {name} is suspended, so nothing would run; resume it or name another by --pool")
    queue = spec.get("queue") or queue_name(name, client.namespace, place.prefix)
    return Pool(name, spec["slots"], spec["slots"] * spec["maxTasks"], queue)


def document(target: Pool, tasks: int, seconds: float) -> dict[str, Any]:
    """Return the drill's DAG: as many tasks as the pool takes at once sleep so long, the others shortly."""
    import yaml  # noqa: PLC0415 - a refusal needs none of it

    found: dict[str, Any] = yaml.safe_load((FOLDER / "dag.yaml").read_text(encoding="utf-8"))
    count, total = found["spec"]["tasks"]
    numbered = []
    for number in range(1, tasks + 1):
        # The first ones go first, so that those that are hit are still at work.
        first = number <= target.limit
        given = {"number": number, "seconds": seconds if first else SHORT_SECONDS}
        task = {**count, "name": f"n{number:03d}", "pool": target.name, "priority": 10 if first else 0}
        numbered.append({**task, "with": {**count["with"], "args": given}})
    names = [task["name"] for task in numbered]
    inputs = {name: {"task": name, "key": "number"} for name in names}
    found["spec"]["tasks"] = [*numbered, {**total, "pool": target.name, "needs": names, "inputs": inputs}]
    return found


def apply(client: Client, dag: dict[str, Any]) -> None:
    """Store the code and apply the DAG."""
    from crds.bundle import build  # noqa: PLC0415 - likewise

    _await_gone(client)
    bundle = build(FOLDER)
    if not client.has_bundle(bundle.digest):
        client.put_bundle(bundle.digest, bundle.data)
    dag["spec"]["bundle"] = bundle.digest
    client.post("apply", body={"resources": [dag]})


def refuse_second(client: Client) -> None:
    """Raise CliError if a drill's run has not ended: two faults at once tell nothing about either."""
    for run in client.items("dagruns", fieldSelector=f"dag={DAG}"):
        if run["status"]["phase"] in UNFINISHED:
            name = run["metadata"]["name"]
            raise CliError(f"a drill runs already (run/{name}); wait for it, or `setpoint cancel run/{name}`")


def trigger(client: Client) -> str:
    """Start a run of the drill's DAG; return its name."""
    client.post("dags", DAG, "resume")
    run = client.post("dags", DAG, "trigger", body={"labels": {"setpoint.dev/drill": "true"}})
    return str(run["metadata"]["name"])


def leave(client: Client) -> None:
    """Keep the DAG and its run for a look, suspended."""
    client.post("dags", DAG, "pause")


def remove(client: Client) -> None:
    """Delete the DAG with its runs; return when it is gone, or when that takes too long to wait for."""
    try:
        client.request("DELETE", client.path("dags", DAG), {"propagationPolicy": "Foreground"})
    except NotFoundError:
        return
    _await_gone(client)


def _await_gone(client: Client) -> None:
    deadline = time.monotonic() + GONE_WITHIN
    while time.monotonic() < deadline:
        try:
            found = client.get("dags", DAG)
        except NotFoundError:
            return
        if "deletionTimestamp" not in found["metadata"]:
            return
        time.sleep(LOOK_SECONDS)
    raise CliError(f"dag/{DAG} of an earlier drill is still being deleted; `setpoint describe dag/{DAG}` says why")
