"""The step that applies the folder of DAGs, pools and datasets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.aws.errors import calling
from controller.deploy.step import StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_s3 import S3Client

    from controller.deploy.ecs import Registered
    from controller.deploy.run import Run
    from controller.deploy.step import Say

SYNC = ("python", "-m", "controller.deploy.sync_task")

Documents = dict[tuple[str, str, str], Any]


@dataclass(slots=True)
class SyncDags:
    """Apply resources straight on Postgres, as a one-off task in the dispatcher's place; nothing is deleted."""

    run: Run
    s3: S3Client
    key: str
    """The object that holds the resources."""
    names: Sequence[str]
    data: bytes | None
    """What that object holds, if it may not be stored yet."""
    store: Callable[[], int]
    """Stores the object and the code that it names; returns how many were new."""
    dispatcher: Callable[[], Registered]
    """Returns the definition whose code applies them."""
    name: str = field(default="dags", init=False)

    def plan(self) -> list[str]:
        """Return each resource that is new or differs from the last deployment's."""
        if self._is_applied():
            return []
        previous = self.run.previous
        before = _documents(self._read(previous.dags)) if previous and previous.dags else {}
        after = _documents(self.data if self.data is not None else self._read(self.key))
        return list(_differences(before, after)) or ["the same resources are applied again"]

    def apply(self, say: Say) -> None:
        """Store the resources, apply them, and name those that the folder has no longer."""
        previous = self.run.previous
        if self._is_applied():
            say(f"{len(self.names)} resources are as the last deployment applied them")
            return
        say(f"{self.store()} objects are stored")
        workload = self.run.deployment.dispatcher
        self.run.task("dags", workload, self.dispatcher(), (*SYNC, self.key), say)
        gone = sorted(set(previous.dag_names if previous else ()) - set(self.names))
        for name in gone:
            say(f"{name} is not in the folder any more; it stays until `setpoint delete {name.lower()}`")

    def _is_applied(self) -> bool:
        previous = self.run.previous
        return self.run.clean and previous is not None and previous.dags == self.key

    def _read(self, key: str) -> bytes:
        with calling("s3", "GetObject"):
            return self.s3.get_object(Bucket=self.run.deployment.data_bucket, Key=key)["Body"].read()


def _documents(data: bytes) -> Documents:
    try:
        resources = msgspec.json.decode(data, type=dict[str, list[dict[str, Any]]])["resources"]
    except (msgspec.DecodeError, KeyError) as error:
        raise StepFailed(f"what an earlier deployment stored is no set of resources: {error}") from error
    return {_name(document): document for document in resources}


def _name(document: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = document.get("metadata", {})
    return str(document.get("kind")), str(metadata.get("namespace", "default")), str(metadata.get("name"))


def _differences(before: Documents, after: Documents) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        kind, namespace, own = name
        shown = f"{kind.lower()}/{own}" + ("" if namespace == "default" else f" in {namespace}")
        if name not in before:
            yield f"+ {shown}"
        elif name not in after:
            yield f"  {shown} is not in the folder any more; it stays"
        elif before[name] != after[name]:
            yield f"~ {shown}: {', '.join(_paths(before[name], after[name], ''))}"


def _paths(before: Any, after: Any, path: str) -> list[str]:
    """Return where two documents differ, down to two levels."""
    if not isinstance(before, dict) or not isinstance(after, dict) or path.count(".") > 1:
        return [path.lstrip(".")]
    keys = sorted(before.keys() | after.keys())
    return [
        found
        for k in keys
        if before.get(k) != after.get(k)
        for found in _paths(before.get(k), after.get(k), f"{path}.{k}")
    ]
