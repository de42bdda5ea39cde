"""Write crds/generated: JSON Schemas for editors and CustomResourceDefinitions for Kubernetes.

`python -m crds.schema` writes them, `python -m crds.schema --check` tells whether they are as the models say.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from crds.definition import definition
from crds.kinds import APPLIED, KINDS, Kind
from crds.quantities import format_duration

if TYPE_CHECKING:
    from pydantic_core import core_schema

GENERATED = Path(__file__).parent / "generated"
COMMAND = "python -m crds.schema"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SOURCE = f"generated from crds by `{COMMAND}`; do not edit"


class _Generate(GenerateJsonSchema):
    """Pydantic's schemas with defaults as people write them, and without the titles that repeat the names."""

    def encode_default(self, dft: Any) -> Any:
        """Return a default as it stands in YAML."""
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True)
        return super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic asks for each schema
        """Refuse a title for every field."""
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        """Return the schema of a model without a title."""
        made = super().model_schema(schema)
        made.pop("title", None)
        return made


def schema_of(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a kind."""
    schema = kind.model.model_json_schema(by_alias=True, schema_generator=_Generate)
    return {
        "$schema": _DIALECT,
        "$comment": _SOURCE,
        "title": kind.name,
        **_plain(schema),
    }


def editor_schema() -> dict[str, Any]:
    """Return one JSON Schema for all that people apply, for a `# yaml-language-server: $schema=` comment."""
    _, together = models_json_schema(
        [(kind.model, "validation") for kind in APPLIED.values()], by_alias=True, schema_generator=_Generate
    )
    return {
        "$schema": _DIALECT,
        "$comment": _SOURCE,
        "title": "Setpoint resource",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in APPLIED],
        "$defs": _plain(together["$defs"]),
    }


def files() -> dict[str, str]:
    """Return the text of every generated file by its name."""
    made: dict[str, str] = {"setpoint.schema.json": _json(editor_schema())}
    for kind in KINDS.values():
        schema = schema_of(kind)
        made[f"{kind.singular}.schema.json"] = _json(schema)
        text = yaml.safe_dump(definition(kind, schema), sort_keys=False, width=110, allow_unicode=True)
        made[f"crd-{kind.plural}.yaml"] = f"# {_SOURCE}\n{text}"
    return made


def stale(folder: Path = GENERATED) -> list[str]:
    """Return the names of files that are missing, left over, or not as the models say."""
    wanted = files()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*") if path.is_file()}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(folder: Path = GENERATED) -> None:
    """Write every generated file and delete what is left over."""
    folder.mkdir(exist_ok=True)
    wanted = files()
    for path in folder.glob("*"):
        if path.is_file() and path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write the files, or check them; return the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: {COMMAND} [--check]\n")
        return 2
    if not arguments:
        write()
        return 0
    outdated = stale()
    for name in outdated:
        sys.stderr.write(f"crds/generated/{name} is stale; run `{COMMAND}`\n")
    return 1 if outdated else 0


def _plain(schema: Any) -> Any:
    """Return a schema without the marks that only Kubernetes reads."""
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    return [_plain(item) for item in schema] if isinstance(schema, list) else schema


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
