"""`setpoint explain dag.spec.tasks`: fields, from the schemas that the API itself checks by."""

from __future__ import annotations

import difflib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from controller.cli import names, text
from controller.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_DEPTH = 8
_LIMITS = ("const", "minimum", "maximum", "exclusiveMinimum", "maxLength", "minItems", "maxItems", "pattern", "format")

Schema = dict[str, Any]


def is_path(word: str) -> bool:
    """Tell whether a word names a kind or one of its fields."""
    return "/" not in word and word.split(".", 1)[0].lower() in names.WORDS


def show(word: str, *, recursive: bool) -> None:
    """Print what a field is and which fields it has."""
    text.out("\n".join(_lines(word, recursive=recursive)))


def _lines(word: str, *, recursive: bool) -> Iterator[str]:
    kind, *path = word.split(".")
    singular = names.plural_of(kind).removesuffix("s")
    whole: Schema = json.loads((files("crds") / "generated" / f"{singular}.schema.json").read_text(encoding="utf-8"))
    definitions, node, so_far = whole["$defs"], whole, kind
    needed = True
    for step in path:
        fields = _fields(definitions, node)
        if step not in fields:
            near = difflib.get_close_matches(step, fields, 1)
            hint = f"did you mean {so_far}.{near[0]}?" if near else f"its fields are {', '.join(fields) or 'none'}"
            raise CliError(f"{so_far} has no field {step!r}; {hint}", Exit.USAGE)
        needed = step in _required(definitions, node)
        node, so_far = fields[step], f"{so_far}.{step}"
    yield f"FIELD: {so_far} <{_type(definitions, node)}>{' -required-' if path and needed else ''}"
    yield from _facts(definitions, node)
    if below := list(_below(definitions, node, 1, recursive=recursive)):
        yield ""
        yield "FIELDS:"
        yield from below


def _facts(definitions: Mapping[str, Schema], node: Schema) -> Iterator[str]:
    if description := _description(definitions, node):
        yield f"  {description}"
    if "default" in node and node["default"] is not None:
        yield f"  default: {json.dumps(node['default'], ensure_ascii=False)}"
    for variant in _variants(definitions, node):
        if values := variant.get("enum"):
            yield f"  one of: {', '.join(str(value) for value in values)}"
        for limit in _LIMITS:
            if limit in variant:
                yield f"  {limit}: {variant[limit]}"


def _below(definitions: Mapping[str, Schema], node: Schema, depth: int, *, recursive: bool) -> Iterator[str]:
    required = _required(definitions, node)
    for name, field in _fields(definitions, node).items():
        mark = " -required-" if name in required else ""
        yield f"{'  ' * depth}{name} <{_type(definitions, field)}>{mark}"
        if recursive:
            if depth < MAX_DEPTH:
                yield from _below(definitions, field, depth + 1, recursive=True)
        elif description := _description(definitions, field):
            yield f"{'  ' * (depth + 1)}{description}"


def _description(definitions: Mapping[str, Schema], node: Schema) -> str:
    found = [node, *_variants(definitions, node)]
    said = next((schema["description"] for schema in found if schema.get("description")), "")
    return " ".join(str(said).split())


def _fields(definitions: Mapping[str, Schema], node: Schema) -> dict[str, Schema]:
    """Return the fields of an object, of a list's items, or of all forms that something may have."""
    found: dict[str, Schema] = {}
    for variant in _variants(definitions, node):
        inner = variant.get("items")
        for name, field in (_fields(definitions, inner) if inner else variant.get("properties", {})).items():
            found.setdefault(name, field)
    return found


def _required(definitions: Mapping[str, Schema], node: Schema) -> set[str]:
    """Return the fields that every form needs."""
    needed = [
        _required(definitions, variant["items"]) if "items" in variant else set(variant.get("required", ()))
        for variant in _variants(definitions, node)
        if "items" in variant or "properties" in variant
    ]
    return set.intersection(*needed) if needed else set()


def _type(definitions: Mapping[str, Schema], node: Schema) -> str:
    found: dict[str, None] = {}
    for variant in _variants(definitions, node):
        if "items" in variant:
            found[f"[]{_type(definitions, variant['items'])}"] = None
        elif isinstance(variant.get("additionalProperties"), dict):
            found[f"map[string]{_type(definitions, variant['additionalProperties'])}"] = None
        else:
            found[str(variant.get("type", "any"))] = None
    return " | ".join(found)


def _variants(definitions: Mapping[str, Schema], node: Schema) -> list[Schema]:
    """Return the forms that a value may have, references followed; null is none."""
    if reference := node.get("$ref"):
        return _variants(definitions, definitions[reference.rpartition("/")[2]])
    for word in ("anyOf", "oneOf", "allOf"):
        if word in node:
            return [each for choice in node[word] for each in _variants(definitions, choice)]
    return [] if node.get("type") == "null" else [node]
