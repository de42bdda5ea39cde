"""A folder of resources as a deployment carries it: the body of an `apply` under its sha256, and the bundles of its code."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import obstore
from obstore.exceptions import AlreadyExistsError

from controller.cli import files
from controller.deploy.sync_task import DAG_SETS
from crds.names import bundle_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crds.bundle import Bundle


@dataclass(frozen=True, slots=True)
class DagSet:
    """What `apply` would send."""

    data: bytes
    bundles: Mapping[str, Bundle]
    names: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the object key, which is derived from the content."""
        return f"{DAG_SETS}{hashlib.sha256(self.data).hexdigest()}.json"


def read(folder: Path) -> DagSet:
    """Read and check a folder; raise InvalidFilesError with every problem, by file and line."""
    source = files.load([str(folder)], None)
    names = tuple(sorted(f"{d['kind']}/{d['metadata']['name']}" for d in source.documents))
    data = msgspec.json.encode({"resources": source.documents}, order="deterministic")
    return DagSet(data, source.bundles, names)


def store(objects: Any, dags: DagSet) -> int:
    """Store what is not there yet, code first; return how many objects were new."""
    wanted = {bundle_key(digest): bundle.data for digest, bundle in dags.bundles.items()} | {dags.key: dags.data}
    return sum(_put(objects, key, data) for key, data in wanted.items())


def _put(objects: Any, key: str, data: bytes) -> bool:
    try:
        obstore.put(objects, key, data, mode="create")
    except (AlreadyExistsError, FileExistsError):
        return False
    return True
