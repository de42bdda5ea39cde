"""The parameters of a run against their JSON Schema (draft 2020-12)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # it ships no types
from referencing import Registry
from referencing.exceptions import Unresolvable

from crds.finding import FieldPath, Finding, nearest, shown

MAX_FINDINGS = 20

# An empty registry: a schema refers to itself only, never to an address.
_NO_REGISTRY: Registry[Any] = Registry()
_DRAFT = "https://json-schema.org/draft/2020-12/"
_METASCHEMA = Draft202012Validator(Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)


def check_schema(schema: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what keeps a mapping from being a schema of parameters; paths start at the schema."""
    for error in islice(_METASCHEMA.iter_errors(schema), MAX_FINDINGS):
        yield Finding(tuple(error.absolute_path), f"no JSON Schema: {error.message}")
    for word in schema:
        if word not in _keywords() and not word.startswith("x-"):
            yield Finding(
                (word,),
                "no keyword of JSON Schema; parameters stand below properties",
                nearest(word, _keywords()),
            )
    if schema.get("type", "object") != "object":
        yield Finding(
            ("type",), f'parameters are a mapping, so type is "object", not {shown(schema["type"])}', "object"
        )
    yield from _check_references(schema, ())


def check_params(schema: Mapping[str, Any], params: Mapping[str, Any]) -> list[Finding]:
    """Find what keeps complete parameters from fitting a valid schema; paths start at the parameters."""
    validator = Draft202012Validator(schema, registry=_NO_REGISTRY)
    try:
        errors = list(islice(validator.iter_errors(params), MAX_FINDINGS))
    except (Unresolvable, RecursionError, re.error) as error:
        return [Finding((), f"the schema of the parameters cannot be followed: {error}")]
    findings = [Finding(tuple(error.absolute_path), error.message) for error in errors]
    return sorted(findings, key=lambda finding: finding.field)


def complete(schema: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with the schema's defaults for those that are not given."""
    return {**defaults(schema), **params}


def defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default of each parameter that has one."""
    return {
        name: property_["default"]
        for name, property_ in declared(schema).items()
        if isinstance(property_, Mapping) and "default" in property_
    }


def declared(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters that the schema names."""
    properties = schema.get("properties", {})
    return properties if isinstance(properties, Mapping) else {}


def check_defaults(schema: Mapping[str, Any]) -> Iterator[Finding]:
    """Find the defaults that do not fit; paths start at the schema, which is valid."""
    for name, value in defaults(schema).items():
        for finding in check_params({**schema, "required": []}, {name: value}):
            if finding.path[:1] == (name,):
                yield Finding(("properties", name, "default"), f"does not fit its own schema: {finding.message}")


def _check_references(value: Any, path: FieldPath) -> Iterator[Finding]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in {"$ref", "$dynamicRef"} and isinstance(item, str) and not item.startswith("#"):
                yield Finding((*path, key), f"{shown(item)} leads out of the schema; refer to #/$defs/…")
            yield from _check_references(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check_references(item, (*path, index))


@cache
def _keywords() -> tuple[str, ...]:
    """Return the keywords of draft 2020-12, from its own vocabularies."""
    found: dict[str, None] = {}
    for vocabulary in Draft202012Validator.META_SCHEMA["allOf"]:
        found.update(dict.fromkeys(REGISTRY.contents(f"{_DRAFT}{vocabulary['$ref']}")["properties"]))
    return tuple(found)
