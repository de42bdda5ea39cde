"""Task outputs: JSON values that pass downstream, the large ones by reference to an object."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import obstore

from crds.names import AttemptId, artifact_key
from crds.protocol import MAX_OUTPUTS_BYTES
from crds.storable import unstorable
from workers.task import TaskFailed

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# A value this large is no message between tasks any more; it belongs into a dataset or an artifact.
MAX_VALUE_BYTES = 64 * 2**20
# Each output may become an object of its own.
MAX_OUTPUTS = 1_000
_REF, _FOLDER = "$ref", "outputs"


def check_json(outputs: dict[str, Any]) -> dict[str, Any]:
    """Return the outputs as plain JSON values; raise TaskFailed naming the output that is none."""
    return {str(name): _checked(name, value) for name, value in outputs.items()}


def check_bookmark(bookmark: Any) -> Any:
    """Return the bookmark as a plain JSON value; raise TaskFailed if it is none, or too large."""
    checked = _checked("bookmark", bookmark)
    size = len(_dump("bookmark", checked))
    if size > MAX_OUTPUTS_BYTES:
        raise TaskFailed("BookmarkTooLarge", f"the bookmark has {size} bytes, at most {MAX_OUTPUTS_BYTES} are possible")
    return checked


def spill(outputs: dict[str, Any], attempt: str, objects: ObjectStore) -> dict[str, Any]:
    """Move the largest outputs into objects until the rest may pass inline."""
    if len(outputs) > MAX_OUTPUTS:
        raise TaskFailed(
            "OutputTooLarge", f"{len(outputs)} outputs, at most {MAX_OUTPUTS} are possible; return a dataset"
        )
    sizes = {name: len(_dump(name, value)) for name, value in outputs.items()}
    kept = dict(outputs)
    total = len(_dump("all outputs", kept))
    for name in sorted(sizes, key=lambda key: -sizes[key]):
        if total <= MAX_OUTPUTS_BYTES:
            return kept
        if sizes[name] > MAX_VALUE_BYTES:
            raise TaskFailed(
                "OutputTooLarge",
                f"output {name!r} has {sizes[name]} bytes, at most {MAX_VALUE_BYTES} are possible; "
                "write a dataset or an artifact",
            )
        key = artifact_key(AttemptId(attempt), f"{_FOLDER}/{quote(name, safe='')[:200]}.json")
        obstore.put(objects, key, _dump(name, kept[name]))
        kept[name] = {_REF: key, "bytes": sizes[name]}
        total += len(_dump(name, kept[name])) - sizes[name]
    if len(_dump("all outputs", kept)) > MAX_OUTPUTS_BYTES:
        raise TaskFailed(
            "OutputTooLarge", f"{len(kept)} outputs do not fit into {MAX_OUTPUTS_BYTES} bytes; return fewer"
        )
    return kept


def resolve(value: Any, objects: ObjectStore) -> Any:
    """Return an upstream value with references, at the top or one level below, replaced by what they name."""
    if not isinstance(value, dict):
        return value
    if _is_reference(value):
        return _fetch(value, objects)
    return {name: _fetch(item, objects) if _is_reference(item) else item for name, item in value.items()}


def _is_reference(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {_REF, "bytes"}:
        return False
    key = value[_REF]
    return isinstance(key, str) and key.startswith("artifacts/") and f"/{_FOLDER}/" in key


def _fetch(reference: dict[str, Any], objects: ObjectStore) -> Any:
    return json.loads(bytes(obstore.get(objects, reference[_REF]).bytes()))


def _checked(name: str, value: Any) -> Any:
    plain = json.loads(_dump(name, value))
    if found := unstorable(plain):
        raise TaskFailed("OutputNotJson", f"output {name!r} cannot be kept: {found}")
    return plain


def _dump(name: str, value: Any) -> bytes:
    # With the separators of Postgres's jsonb text, so that sizes agree with what the store counts.
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskFailed("OutputNotJson", f"output {name!r} is no JSON: {error}") from error
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise TaskFailed("OutputNotJson", f"output {name!r} holds a lone surrogate, which is no text") from error


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON; convert it, or write it as an artifact")
