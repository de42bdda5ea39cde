"""CustomResourceDefinitions: a kind's JSON Schema as Kubernetes' structural schema.

A structural schema has one type for every value and no references ("Specifying a structural schema" in
Kubernetes' page on CustomResourceDefinitions), so references are replaced by what they refer to, and
alternatives become the union of their fields. What is lost that way is found when a resource is applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crds.meta import GROUP

if TYPE_CHECKING:
    from crds.kinds import Kind

JsonSchema = dict[str, Any]

MAX_DEPTH = 40

# Printer columns by kind: title, type, path.
_COLUMNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "Dag": (
        ("Phase", "string", ".status.phase"),
        ("Suspended", "boolean", ".spec.suspend"),
        ("Active", "integer", ".status.activeRuns"),
        ("Last", "string", ".status.lastPhase"),
        ("Next", "date", ".status.nextTick"),
    ),
    "DagRun": (
        ("Dag", "string", ".spec.dag"),
        ("Phase", "string", ".status.phase"),
        ("Started", "date", ".status.startedAt"),
        ("Ended", "date", ".status.endedAt"),
    ),
    "TaskRun": (
        ("Run", "string", ".spec.run"),
        ("Task", "string", ".spec.task"),
        ("Phase", "string", ".status.phase"),
        ("Started", "date", ".status.startedAt"),
    ),
    "WorkerPool": (
        ("Runtime", "string", ".spec.runtime"),
        ("Running", "integer", ".status.running"),
        ("Desired", "integer", ".status.desired"),
        ("Demand", "integer", ".status.demand"),
    ),
    "Dataset": (
        ("Tier", "string", ".spec.tier"),
        ("Rows", "integer", ".status.rows"),
        ("Bytes", "integer", ".status.bytes"),
        ("Version", "integer", ".status.version"),
    ),
    "Notifier": (
        ("Phase", "string", ".status.phase"),
        ("Pending", "integer", ".status.pending"),
        ("Last Sent", "date", ".status.lastSent"),
    ),
}
_AGE = ("Age", "date", ".metadata.creationTimestamp")

# What a structural schema may hold beside its structure.
_KEPT = (
    "description",
    "enum",
    "pattern",
    "format",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
_ANYTHING: JsonSchema = {"x-kubernetes-preserve-unknown-fields": True}


def definition(kind: Kind, schema: JsonSchema) -> JsonSchema:
    """Return the CustomResourceDefinition of a kind, from its JSON Schema."""
    group, version = GROUP, schema["properties"]["apiVersion"]["const"].partition("/")[2]
    columns = [*_COLUMNS[kind.name], _AGE]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                # The singular is a name already.
                "shortNames": [word for word in kind.short if word != kind.singular],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": title, "type": type_, "jsonPath": path} for title, type_, path in columns
                    ],
                    "schema": {"openAPIV3Schema": _resource(schema)},
                }
            ],
        },
    }


def structural(schema: JsonSchema, definitions: JsonSchema, depth: int = 0) -> JsonSchema:
    """Return a JSON Schema as a structural schema."""
    if depth > MAX_DEPTH:
        raise ValueError(f"the schema is nested more than {MAX_DEPTH} deep, or refers to itself")
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        return structural({**target, **{key: schema[key] for key in schema if key != "$ref"}}, definitions, depth + 1)
    alternatives = schema.get("oneOf") or schema.get("anyOf")
    if alternatives:
        return _alternatives(schema, alternatives, definitions, depth)
    made = {key: schema[key] for key in _KEPT if key in schema}
    if "const" in schema:
        made["enum"] = [schema["const"]]
    if "type" not in schema:
        return {**made, **_ANYTHING}
    return {"type": schema["type"], **made, **_children(schema, definitions, depth)}


def _resource(schema: JsonSchema) -> JsonSchema:
    made = structural(schema, schema.get("$defs", {}))
    name = made["properties"]["metadata"]["properties"]["name"]
    # Kubernetes owns these; of the metadata it lets only the name be narrowed.
    made["properties"]["apiVersion"] = {"type": "string"}
    made["properties"]["kind"] = {"type": "string"}
    made["properties"]["metadata"] = {
        "type": "object",
        "properties": {"name": {key: name[key] for key in ("type", "pattern", "maxLength")}},
    }
    made["required"] = ["metadata", "spec"]
    return made


def _children(schema: JsonSchema, definitions: JsonSchema, depth: int) -> JsonSchema:
    if schema["type"] == "array":
        return {"items": structural(schema.get("items", {}), definitions, depth + 1)}
    if schema["type"] != "object":
        return {}
    if "properties" in schema:
        made: JsonSchema = {
            "properties": {
                name: structural(child, definitions, depth + 1) for name, child in schema["properties"].items()
            }
        }
        return {**made, "required": schema["required"]} if schema.get("required") else made
    values = schema.get("additionalProperties", True)
    if values is True:
        return dict(_ANYTHING)
    return {"additionalProperties": structural(values, definitions, depth + 1)}


def _alternatives(
    schema: JsonSchema, alternatives: list[JsonSchema], definitions: JsonSchema, depth: int
) -> JsonSchema:
    around = {key: schema[key] for key in _KEPT if key in schema}
    if {"type": "null"} in alternatives:
        rest = [choice for choice in alternatives if choice != {"type": "null"}]
        inner = {**schema, "anyOf": rest} if len(rest) > 1 else rest[0]
        made = structural({key: inner[key] for key in inner if key != "default"}, definitions, depth + 1)
        # A default of null says nothing that leaving the field out does not.
        return {**made, **{key: around[key] for key in around if key != "default"}, "nullable": True}
    types = {choice.get("type") for choice in alternatives}
    if types == {"string", "integer"}:
        return _number_or_text(around, alternatives)
    made = structural(alternatives[0], definitions, depth + 1)
    for choice in alternatives[1:]:
        made = _union(made, structural(choice, definitions, depth + 1))
    return {**made, **around}


def _number_or_text(around: JsonSchema, alternatives: list[JsonSchema]) -> JsonSchema:
    text = next(choice for choice in alternatives if choice["type"] == "string")
    return {
        **around,
        # The one form of alternatives that Kubernetes allows, and it must be written exactly so.
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        **({"pattern": text["pattern"]} if "pattern" in text else {}),
    }


def _union(one: JsonSchema, other: JsonSchema) -> JsonSchema:
    """Return a schema that holds for whatever either holds for: the fields of both, the demands of both."""
    if one == other:
        return one
    if one.get("type") != other.get("type"):
        return dict(_ANYTHING)
    made: JsonSchema = {"type": one["type"]}
    if one["type"] == "object" and "properties" in one and "properties" in other:
        # A field that only one has is united with itself.
        left = {**other["properties"], **one["properties"]}
        right = {**one["properties"], **other["properties"]}
        made["properties"] = {name: _union(left[name], right[name]) for name in left}
        required = [name for name in one.get("required", ()) if name in other.get("required", ())]
        return {**made, "required": required} if required else made
    if "enum" in one and "enum" in other:
        return {
            **made,
            "enum": [*one["enum"], *(value for value in other["enum"] if value not in one["enum"])],
        }
    return {**made, **{key: one[key] for key in _KEPT if key in one and one[key] == other.get(key)}}
