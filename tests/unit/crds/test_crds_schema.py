"""Generated files are as the models say, valid in themselves, and agree with the parser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from crds import schema
from crds.kinds import KINDS
from crds.parse import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FREE = "x-kubernetes-preserve-unknown-fields"
NUMBER_OR_TEXT = "x-kubernetes-int-or-string"

TASK = {"name": "a", "runtime": "python", "with": {"entrypoint": "a:b"}}
DAG: dict[str, Any] = {
    "apiVersion": "setpoint.dev/v1",
    "kind": "Dag",
    "metadata": {"name": "d"},
    "spec": {"timeout": "1h", "params": {"properties": {}}, "tasks": [TASK]},
}


def test_generated_files_are_fresh() -> None:
    assert schema.stale() == [], f"stale; run `{schema.COMMAND}`"


def test_stale_files_are_found_and_written(tmp_path: Path) -> None:
    schema.write(tmp_path)
    assert schema.stale(tmp_path) == []
    (tmp_path / "dag.schema.json").write_text("{}")
    (tmp_path / "crd-dags.yaml").unlink()
    (tmp_path / "left-over.yaml").write_text("")
    assert schema.stale(tmp_path) == ["crd-dags.yaml", "dag.schema.json", "left-over.yaml"]
    schema.write(tmp_path)
    assert schema.stale(tmp_path) == []


@pytest.mark.parametrize("name", [name for name in schema.files() if name.endswith(".json")])
def test_json_schemas_are_valid(name: str) -> None:
    Draft202012Validator.check_schema(json.loads(schema.files()[name]))


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_stand_as_people_write_them(kind: str) -> None:
    made = schema.schema_of(KINDS[kind])
    assert made["$schema"].endswith("2020-12/schema")
    assert '"PT' not in json.dumps(list(values_of(made, "default")))


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        pytest.param({}, True, id="as it should be"),
        pytest.param({"timeout": 60}, True, id="seconds"),
        pytest.param({"timeout": "x"}, False, id="bad duration"),
        pytest.param({"unknown": 1}, False, id="unknown field"),
        pytest.param({"tasks": []}, False, id="no tasks"),
        pytest.param({"tasks": [{**TASK, "runtime": "polars"}]}, False, id="body of another runtime"),
        pytest.param({"tasks": [{**TASK, "memory": "512Mi", "pool": "big"}]}, True, id="optional fields"),
    ],
)
def test_editors_and_the_parser_agree(change: dict[str, Any], valid: bool) -> None:
    document = {**DAG, "spec": {**DAG["spec"], **change}}
    validator = Draft202012Validator(schema.editor_schema())
    assert validator.is_valid(document) is valid
    assert (parse(document).resource is not None) is valid


def values_of(value: Any, key: str) -> Iterator[Any]:
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for item in value.values():
            yield from values_of(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from values_of(item, key)


def definitions() -> Iterator[dict[str, Any]]:
    for name, text in schema.files().items():
        if name.startswith("crd-"):
            yield yaml.safe_load(text)


@pytest.mark.parametrize("definition", list(definitions()), ids=lambda definition: definition["metadata"]["name"])
def test_definitions_are_structural(definition: dict[str, Any]) -> None:
    """Hold what the API server checks: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources."""
    names = definition["spec"]["names"]
    assert definition["metadata"]["name"] == f"{names['plural']}.{definition['spec']['group']}"
    (version,) = definition["spec"]["versions"]
    assert version["subresources"] == {"status": {}}
    root = version["schema"]["openAPIV3Schema"]
    assert root["type"] == "object"
    assert set(root["properties"]["metadata"]["properties"]) == {"name"}
    assert structural_faults(root, "") == []
    for column in version["additionalPrinterColumns"]:
        assert has_path(root, column["jsonPath"]), column


def structural_faults(made: dict[str, Any], path: str) -> list[str]:
    faults = [f"{path}: {key}" for key in ("$ref", "oneOf", "allOf", "not", "const", "$defs", "title") if key in made]
    if made.get(NUMBER_OR_TEXT):
        if "type" in made or made["anyOf"] != [{"type": "integer"}, {"type": "string"}]:
            faults.append(f"{path}: number or text")
        return faults
    if "anyOf" in made:
        faults.append(f"{path}: anyOf")
    if "type" not in made and not made.get(FREE):
        faults.append(f"{path}: no type")
    if made.get("type") == "array" and "items" not in made:
        faults.append(f"{path}: no items")
    values = made.get("additionalProperties")
    if values is not None and (not isinstance(values, dict) or "properties" in made):
        faults.append(f"{path}: additionalProperties")
    for name, child in made.get("properties", {}).items():
        faults += structural_faults(child, f"{path}.{name}")
    for child in (made.get("items"), values):
        if isinstance(child, dict):
            faults += structural_faults(child, f"{path}[]")
    return faults


def has_path(root: dict[str, Any], path: str) -> bool:
    if path.startswith(".metadata."):
        return True
    made = root
    for name in path.removeprefix(".").split("."):
        if name not in made.get("properties", {}):
            return False
        made = made["properties"][name]
    return True


def test_a_definition_holds_the_fields_of_every_runtime() -> None:
    (dags,) = [made for made in definitions() if made["metadata"]["name"] == "dags.setpoint.dev"]
    task = dags["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["tasks"][
        "items"
    ]
    assert task["properties"]["runtime"]["enum"] == ["polars", "python", "ingest", "lambda"]
    assert {"sql", "entrypoint", "http", "args"} <= set(task["properties"]["with"]["properties"])
    assert task["required"] == ["name", "runtime", "with"]
    assert dags["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["params"][FREE]
