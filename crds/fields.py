"""The fields that a model knows at a path, read from its JSON Schema."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel

JsonSchema = dict[str, Any]


@cache
def model_schema(model: type[BaseModel]) -> JsonSchema:
    """Return the JSON Schema of a model, by alias."""
    return model.model_json_schema(by_alias=True)


def known_fields(model: type[BaseModel], location: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the fields that may stand at a location of a validation error, in the order of the model.

    The location is pydantic's: after a list index it holds the discriminator's value.
    """
    root = model_schema(model)
    schema = root
    for part in location:
        schema = _step(_resolved(schema, root), part)
    return tuple(_resolved(schema, root).get("properties", ()))


def _step(schema: JsonSchema, part: str | int) -> JsonSchema:
    if isinstance(part, int):
        return _object(schema.get("items"))
    mapping = _object(schema.get("discriminator")).get("mapping", {})
    if part in mapping:
        return {"$ref": mapping[part]}
    return _object(schema.get("properties", {}).get(part) or schema.get("additionalProperties"))


def _resolved(schema: JsonSchema, root: JsonSchema) -> JsonSchema:
    """Follow references, and the one alternative to null."""
    # Two hops reach a definition: an optional field, then its reference.
    for _ in range(4):
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
        elif "anyOf" in schema:
            schema = next((choice for choice in schema["anyOf"] if choice.get("type") != "null"), {})
        else:
            break
    return schema


def _object(schema: object) -> JsonSchema:
    return schema if isinstance(schema, dict) else {}
