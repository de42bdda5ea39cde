"""Schemas of parameters that would take for ever, or fetch something: found at apply, or stopped when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crds.bounded_schema import MAX_STEPS
from crds.params import check_params, check_schema
from tests.integration.api_world import task

if TYPE_CHECKING:
    from tests.hostile.hostile_world import Doors

ADDRESS = "http://127.0.0.1:1/schema"
DOUBLING = {
    "$defs": {**{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}, "d40": {}},
    "properties": {"a": {"$ref": "#/$defs/d0"}},
}
BRANCHING = {
    "$defs": {"node": {"properties": {"n": {"allOf": [{"$ref": "#/$defs/node"}] * 3}}}},
    "properties": {"a": {"$ref": "#/$defs/node"}},
}


def nested(depth: int) -> Any:
    return {"n": nested(depth - 1)} if depth else {}


def _dag(params: Any) -> dict[str, Any]:
    return {"kind": "Dag", "metadata": {"name": "h"}, "spec": {"params": params, "tasks": [task("a")]}}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        pytest.param({"properties": {"a": {"$ref": ADDRESS}}}, "leads out of the schema", id="an address"),
        pytest.param({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "leads out", id="a file"),
        pytest.param({"$dynamicRef": ADDRESS}, "leads out", id="a dynamic address"),
        pytest.param({"default": {"allOf": [{"$ref": ADDRESS}]}}, "leads out", id="an address where no schema stands"),
        pytest.param({"properties": {"a": {"pattern": "("}}}, "'regex'", id="a broken pattern"),
        pytest.param({"properties": {"a": {"pattern": r"(a)\1"}}}, "'regex'", id="a back reference"),
        pytest.param({"properties": {"a": {"pattern": "(?=a)"}}}, "'regex'", id="a look ahead"),
        pytest.param({"properties": {"a": {"pattern": "a{60000}{60000}"}}}, "'regex'", id="a pattern that explodes"),
        pytest.param(
            {"properties": {"a": {"pattern": "(" * 9_000 + ")" * 9_000}}}, "no JSON Schema", id="9,000 parentheses"
        ),
        pytest.param({"patternProperties": {"(a+)+$": {}}}, "not supported", id="patterns of names"),
        pytest.param({"x-y": {"patternProperties": {}}}, "not supported", id="patterns of names, hidden"),
        pytest.param({"properties": {"a": {"$schema": ADDRESS}}}, "at the top only", id="another draft inside"),
        pytest.param({"type": [[], 1, {}] * 5_000}, "steps", id="15,000 types"),
        pytest.param({"required": ["x" * 9] * 9_000}, "64 KiB", id="100 kB"),
        pytest.param({"properties": {"a": {"multipleOf": 0}}}, "no JSON Schema", id="multiples of 0"),
        pytest.param({"properties": []}, "no JSON Schema", id="no mapping"),
        pytest.param({"properties": {"a": {"default": 1, "pattern": "x", "type": "string"}}}, "default", id="default"),
        pytest.param({**DOUBLING, "properties": {"a": {"$ref": "#/$defs/d0", "default": 1}}}, "steps", id="2^40 steps"),
    ],
)
def test_applying(unchanged: Doors, params: Any, message: str) -> None:
    answer = unchanged.call("POST", "/apply", {"resources": [_dag(params)]})
    unchanged.refused(answer)
    assert message in answer.text
    assert "spec.params" in answer.text


@pytest.mark.parametrize(
    ("schema", "params", "message"),
    [
        pytest.param(DOUBLING, {"a": 1}, "steps", id="2^40 steps"),
        pytest.param(BRANCHING, {"a": nested(50)}, "steps", id="3^50 steps"),
        pytest.param({"$ref": "#"}, {}, "cannot be followed", id="a circle"),
        pytest.param({"properties": {"a": {"$ref": "#/properties/a"}}}, {"a": 1}, "cannot be", id="a circle of one"),
        pytest.param({"$anchor": "x", "$ref": "#x"}, {}, "cannot be followed", id="a circle by name"),
        pytest.param({"$dynamicAnchor": "x", "$dynamicRef": "#x"}, {}, "cannot be followed", id="a dynamic circle"),
        pytest.param({"$ref": "#/$defs/none"}, {}, "cannot be followed", id="a reference to nothing"),
        pytest.param({"$ref": "#/%zz"}, {}, "cannot be followed", id="a reference that is none"),
        pytest.param(
            {"$id": "http://[", "properties": {"a": {"$ref": "#/x"}}}, {"a": 1}, "cannot be followed", id="no address"
        ),
        pytest.param(
            {"default": {"minimum": "x"}, "properties": {"a": {"$ref": "#/default"}}},
            {"a": 1},
            "cannot be followed",
            id="a reference to what is no schema",
        ),
        pytest.param(
            {"default": {"pattern": "("}, "properties": {"a": {"$ref": "#/default"}}},
            {"a": "x"},
            "cannot be followed",
            id="a reference to a broken pattern",
        ),
        pytest.param(
            {"properties": {"a": {"pattern": "(?:.{0,300}){0,30}b$"}}},
            {"a": "a" * 60_000},
            "steps",
            id="a costly pattern",
        ),
        pytest.param({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 5_000 + "!"}, "match", id="(a+)+"),
        pytest.param({"properties": {"a": {"pattern": "^(a|a)*$"}}}, {"a": "a" * 5_000 + "!"}, "match", id="(a|a)*"),
        pytest.param(
            {"properties": {"a": {"uniqueItems": True}}}, {"a": [[], 1, {}] * 7_000}, "the same", id="21,000 odd items"
        ),
        pytest.param(
            {"properties": {"a": {"uniqueItems": True}}}, {"a": [1, 1.0, True]}, "the same", id="1 is 1.0 and not true"
        ),
        pytest.param({"properties": {"a": {"multipleOf": 1e-300}}}, {"a": 1e300}, "a", id="multiples of nearly 0"),
        pytest.param(
            {"properties": {"a": {"items": {"enum": list(range(9_000))}}}}, {"a": [-1] * 500}, "steps", id="500 × 9,000"
        ),
        pytest.param({"properties": {"a": {"type": "integer"}}}, {"a": "x" * 60_000}, "…", id="60 kB in a message"),
    ],
)
def test_parameters(schema: dict[str, Any], params: dict[str, Any], message: str) -> None:
    findings = check_params(schema, params)
    assert findings
    assert message in str(findings[0])
    assert all(len(str(finding)) < 1_000 for finding in findings)


def test_a_large_schema_of_a_sane_kind_costs_few_steps() -> None:
    schema = {"properties": {f"p{n}": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 9} for n in range(500)}}
    assert not list(check_schema(schema))
    assert not check_params(schema, {f"p{n}": "abc" for n in range(500)})
    assert MAX_STEPS > 10_000


def test_a_trigger_meets_the_same_bounds(doors: Doors) -> None:
    applied = doors.call("POST", "/apply", {"resources": [_dag(BRANCHING)]})
    assert applied.status_code == 200, applied.text
    before = doors.state()
    answer = doors.call("POST", "/dags/h/trigger", {"params": {"a": nested(50)}})
    doors.refused(answer)
    assert "simplify the schema" in answer.text
    assert doors.state() == before
