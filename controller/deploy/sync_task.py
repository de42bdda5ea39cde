"""`python -m controller.deploy.sync_task s3://…/deployments/dags/<sha256>.json`: apply resources straight on Postgres.

The file is the body of an `apply`, `{"resources": […]}`, under its own sha256; the bundles that it names are stored already.
All or nothing, by the code that serves `POST …/apply`; so the same file twice changes nothing the second time.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import obstore
import obstore.store
import psycopg
from obstore.exceptions import BaseError
from pydantic import ValidationError

from controller.api.apply import audited, check_bundles, read_resources
from controller.api.errors import RefusedError
from controller.api.upsert import upsert
from controller.errors import SetpointError
from controller.runtime.clock import DatabaseClock
from controller.runtime.ids import DrawnIds
from controller.runtime.wakes import encode
from controller.settings import UnknownSetting, read
from controller.store import audit
from controller.store.audit import Actor
from controller.store.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from controller.api.upsert import Applied
    from controller.settings import Settings

DAG_SETS = "deployments/dags/"
"""Where the files lie in the data bucket."""
MAX_BYTES = 64 * 2**20

_NOTIFY = "SELECT pg_notify('setpoint', %(payload)s)"


class BadSetError(ValueError):
    """The file is not what its name says, or no body of an apply."""


def main() -> int:
    """Apply the file that the arguments name; return 1 with every problem if it cannot be."""
    parser = argparse.ArgumentParser(prog="python -m controller.deploy.sync_task", description=__doc__)
    parser.add_argument("key", help=f"{DAG_SETS}<sha256>.json in the object store, or its whole URL")
    key = parser.parse_args().key
    try:
        settings = read()
        run(settings, key, _say)
    except RefusedError as error:
        return _fail(
            str(error), [f"{p.get('kind')}/{p.get('name')}: {p['field']}: {p['message']}" for p in error.problems]
        )
    except (UnknownSetting, ValidationError, BadSetError, SetpointError, psycopg.Error, BaseError, OSError) as error:
        return _fail(str(error).strip(), [])
    return 0


def run(settings: Settings, key: str, say: Callable[[str], object]) -> list[Applied]:
    """Apply a file and say what became of each resource; raise RefusedError or BadSetError, and change nothing then."""
    objects = obstore.store.from_url(settings.object_store)
    by_namespace = _read(objects, key.removeprefix(settings.object_store).lstrip("/"))
    clock, ids = DatabaseClock(), DrawnIds()
    applied: list[Applied] = []
    with connect(settings.dsn, settings.database_auth) as connection:
        wanted = [r for namespace, documents in by_namespace.items() for r in read_resources(documents, namespace)]
        check_bundles(objects, wanted)
        with connection.transaction():
            applied, keys = upsert(connection, wanted, ids, clock.now(connection))
            # Whoever may start this task is known to AWS, not here; the file's name is its content's digest.
            actor = Actor("deploy", "-", "sync", "-", key.rpartition("/")[2].removesuffix(".json"))
            audit.record(connection, actor, audited(applied), "done")
        connection.execute(_NOTIFY, {"payload": encode(keys)})
        connection.commit()
    for one in applied:
        say(f"{one.ref.kind.lower()}/{one.ref.name} {one.action} (generation {one.generation})")
    return applied


def _read(objects: Any, key: str) -> dict[str, list[Any]]:
    """Return the documents by namespace; raise BadSetError."""
    digest = key.removeprefix(DAG_SETS).removesuffix(".json")
    data = bytes(obstore.get(objects, key).bytes())
    if len(data) > MAX_BYTES or hashlib.sha256(data).hexdigest() != digest:
        raise BadSetError(f"{key} is not the file that its name says; deploy again")
    try:
        documents = msgspec.json.decode(data, type=dict[str, list[dict[str, Any]]])["resources"]
    except (msgspec.DecodeError, KeyError, RecursionError) as error:
        raise BadSetError(f"{key} is no body of an apply: {error}") from error
    found: dict[str, list[Any]] = {}
    for document in documents:
        metadata = document.get("metadata")
        namespace = metadata.get("namespace", "default") if isinstance(metadata, dict) else "default"
        found.setdefault(str(namespace), []).append(document)
    return found


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fail(reason: str, problems: Sequence[str]) -> int:
    sys.stderr.write("".join(f"{line}\n" for line in (f"sync: {reason}", *(f"  {p}" for p in problems))))
    return 1


if __name__ == "__main__":
    sys.exit(main())
