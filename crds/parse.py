"""A document (JSON-like Python) as a resource, or everything that keeps it from being one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from crds.fields import known_fields
from crds.finding import Finding, nearest, shown
from crds.kinds import APPLIED, KINDS
from crds.meta import API_VERSION, Resource
from crds.schema_errors import findings_of
from crds.storable import unstorable

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the server sets: ignored on input, so that what `get -o yaml` prints can be applied again.
# `resourceVersion` is kept, for it says which state of the object the writer saw.
_SERVER_METADATA = frozenset({"uid", "generation", "creationTimestamp", "deletionTimestamp", "finalizers"})
_SERVER_FIELDS = frozenset({"status"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """A resource, or the findings that prevent it."""

    resource: Resource | None
    findings: tuple[Finding, ...] = ()


def parse(document: object) -> Parsed:
    """Return the resource that a document describes; unknown fields and wrong types are findings."""
    broken = unstorable(document)
    if broken:
        return Parsed(None, (broken,))
    if not isinstance(document, dict):
        return Parsed(
            None,
            (Finding((), f"a resource is a mapping with kind, metadata and spec, not {shown(document)}"),),
        )
    wrong = _check_kind(document)
    if wrong:
        return Parsed(None, (wrong,))
    return validate(document)


def validate(document: Mapping[str, Any]) -> Parsed:
    """Return the resource of a document whose kind is known."""
    model = APPLIED[document["kind"]].model
    try:
        # From JSON, because strict JSON takes an enum's text but refuses "5" for a number.
        resource = model.model_validate_json(json.dumps(authored(document)), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        return Parsed(None, tuple(findings_of(error, model)))
    return Parsed(resource)


def authored(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a document that its author decides."""
    kept = {key: value for key, value in document.items() if key not in _SERVER_FIELDS}
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):
        kept["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVER_METADATA}
    return kept


def _check_kind(document: Mapping[str, Any]) -> Finding | None:
    if "kind" not in document:
        near = nearest("kind", (key for key in document if key not in known_fields(Resource, ())))
        if near and near.lower() == "kind":
            return Finding((near,), "unknown field", "kind")
        return Finding(("kind",), f"missing field; one of {', '.join(APPLIED)}")
    kind = document["kind"]
    if isinstance(kind, str) and kind in APPLIED:
        return None
    if isinstance(kind, str) and kind in KINDS:
        return Finding(("kind",), f"a {kind} is made by a trigger or a schedule; it cannot be applied")
    if document.get("apiVersion", API_VERSION) != API_VERSION:
        return Finding(("apiVersion",), f"{shown(document['apiVersion'])} is not one of {API_VERSION}", API_VERSION)
    return Finding(("kind",), f"{shown(kind)} is not one of {', '.join(APPLIED)}", nearest(kind, APPLIED))
