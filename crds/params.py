"""The parameters of a run against their JSON Schema (draft 2020-12)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # it ships no types

from crds.bounded_schema import Budget, errors, schema_errors
from crds.finding import FieldPath, Finding, nearest, shown

MAX_FINDINGS = 20
MAX_SCHEMA_CHARS = 64 * 2**10
MAX_MESSAGE_CHARS = 300
_NO_END = "the schema of the parameters cannot be followed"
_DRAFT = "https://json-schema.org/draft/2020-12/"


def check_schema(schema: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what keeps a mapping from being a schema of parameters; paths start at the schema."""
    if len(json.dumps(schema)) > MAX_SCHEMA_CHARS:
        yield Finding((), f"a schema takes at most {MAX_SCHEMA_CHARS // 1024} KiB; describe less of the parameters")
        return
    yield from _found(lambda: schema_errors(schema, MAX_FINDINGS), "no JSON Schema: ")
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
    yield from _unsupported(schema, ())


def check_params(schema: Mapping[str, Any], params: Mapping[str, Any], budget: Budget | None = None) -> list[Finding]:
    """Find what keeps complete parameters from fitting a valid schema; paths start at the parameters."""
    unsupported = list(islice(_unsupported(schema, ()), 1))
    if unsupported:
        return [Finding((), f"{_NO_END}: {unsupported[0]}")]
    return sorted(_found(lambda: errors(schema, params, MAX_FINDINGS, budget), ""), key=lambda finding: finding.field)


def _found(look: Callable[[], list[ValidationError]], what: str) -> list[Finding]:
    try:
        return [Finding(tuple(error.absolute_path), what + _cut(error.message)) for error in look()]
    except Exception as error:  # noqa: BLE001 - a $ref may lead to what is no schema, in a circle, or nowhere
        return [Finding((), f"{_NO_END}: {_cut(str(error))}")]


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE_CHARS else f"{text[:MAX_MESSAGE_CHARS]}…"


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
    given = defaults(schema)
    for finding in check_params({**schema, "required": []}, given):
        name = finding.path[0] if finding.path else None
        if name in given:
            yield Finding(("properties", name, "default"), f"does not fit its own schema: {finding.message}")
        elif not finding.path and finding.message.startswith(_NO_END):
            yield finding


def _unsupported(value: Any, path: FieldPath) -> Iterator[Finding]:
    """Find keywords that reach out of the schema, or whose cost cannot be bounded, wherever a $ref may find them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in {"$ref", "$dynamicRef"} and isinstance(item, str) and not item.startswith("#"):
                yield Finding((*path, key), f"{shown(item)} leads out of the schema; refer to #/$defs/…")
            elif key == "patternProperties":
                yield Finding((*path, key), "is not supported; use propertyNames and additionalProperties")
            elif key == "$schema" and path:
                yield Finding((*path, key), "may stand at the top only")
            yield from _unsupported(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unsupported(item, (*path, index))


@cache
def _keywords() -> tuple[str, ...]:
    """Return the keywords of draft 2020-12, from its own vocabularies."""
    found: dict[str, None] = {}
    for vocabulary in Draft202012Validator.META_SCHEMA["allOf"]:
        found.update(dict.fromkeys(REGISTRY.contents(f"{_DRAFT}{vocabulary['$ref']}")["properties"]))
    return tuple(found)
