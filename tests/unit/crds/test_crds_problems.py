"""Every problem of a file is reported at once, with its line, its field and the nearest valid name."""

from __future__ import annotations

import json

import pytest
from crds_texts import POOLS, PYTHON, SQL, dag, problems, tasks
from hypothesis import given, settings
from hypothesis import strategies as st

from crds.dag import Dag
from crds.loader import MAX_PROBLEMS, load_text


def test_nothing_is_wrong_with_the_pools() -> None:
    assert problems("") == []


SHAPE = [
    pytest.param(
        tasks(f"name: a, {PYTHON}, need: [b]"),
        ['5: spec.tasks[0].need: unknown field; did you mean "needs"?'],
        id="unknown field",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}, queue_timeout: 5m"),
        ['5: spec.tasks[0].queue_timeout: unknown field; did you mean "queueTimeout"?'],
        id="snake case",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}, retries: {{backof: {{}}}}"),
        ['5: spec.tasks[0].retries.backof: unknown field; did you mean "backoff"?'],
        id="unknown field below an optional one",
    ),
    pytest.param(
        tasks("name: a, runtime: python, with: {entrypoin: 'a:b'}"),
        [
            "5: spec.tasks[0].with.entrypoint: missing field",
            '5: spec.tasks[0].with.entrypoin: unknown field; did you mean "entrypoint"?',
        ],
        id="unknown field of a task's body",
    ),
    pytest.param(tasks(f"name: a, {PYTHON}, xyzzy: 1"), ["5: spec.tasks[0].xyzzy: unknown field"], id="nothing near"),
    pytest.param(
        tasks(f"name: a, {PYTHON}, priority: '5'"),
        ['5: spec.tasks[0].priority: must be a whole number, not "5"'],
        id="text for a number",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}, description: 5"),
        ["5: spec.tasks[0].description: must be text, not the number 5; quote it"],
        id="number for text",
    ),
    pytest.param(
        dag("suspend: 'yes'\ntasks: [{name: a, runtime: python, with: {entrypoint: 'a:b'}}]"),
        ['4: spec.suspend: must be true or false, not "yes"'],
        id="text for a boolean",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}, needs: b"),
        ['5: spec.tasks[0].needs: must be a list, not "b"'],
        id="text for a list",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}, inputs: []"),
        ["5: spec.tasks[0].inputs: must be a mapping, not a list"],
        id="list for a mapping",
    ),
    pytest.param(tasks(PYTHON), ["5: spec.tasks[0].name: missing field"], id="missing field"),
    pytest.param(dag("timeout: 1h"), ["3: spec.tasks: missing field"], id="missing tasks, at the line of their parent"),
    pytest.param(dag("tasks: []"), ["4: spec.tasks: must have at least 1 items"], id="no tasks"),
    pytest.param(
        tasks(f"name: Load_It, {PYTHON}"),
        ["5: spec.tasks[0].name: \"Load_It\" is not allowed; write lower-case letters and digits, words joined by '-'"],
        id="bad name",
    ),
    pytest.param(
        tasks("name: a, runtime: python, with: {entrypoint: a.b}"),
        ['5: spec.tasks[0].with.entrypoint: "a.b" is not allowed; write module:function'],
        id="bad entrypoint",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}, inputs: {{A-b: {{dataset: hot}}}}"),
        [
            (
                "5: spec.tasks[0].inputs.A-b: \"A-b\" is not allowed; write lower-case letters, digits and '_', "
                "not starting with a digit"
            )
        ],
        id="bad key of a mapping",
    ),
    pytest.param(
        tasks("name: a, runtime: pyton, with: {entrypoint: 'a:b'}"),
        ['5: spec.tasks[0].runtime: "pyton" is not one of polars, python, ingest, lambda; did you mean "python"?'],
        id="unknown runtime",
    ),
    pytest.param(
        tasks("name: a"),
        ["5: spec.tasks[0].runtime: missing field; one of polars, python, ingest, lambda"],
        id="no runtime",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}, when: all-done"),
        [
            (
                '5: spec.tasks[0].when: "all-done" is not one of all_success, all_done, one_failed, none_failed; '
                'did you mean "all_done"?'
            )
        ],
        id="unknown choice",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}, timeout: 5 min"),
        ['5: spec.tasks[0].timeout: "5 min" is no duration; write it like 30s, 5m or 1h30m'],
        id="bad duration",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}, retries: {{limit: 101}}"),
        ["5: spec.tasks[0].retries.limit: must be at most 100, not 101"],
        id="too large",
    ),
    pytest.param(
        tasks("name: a, runtime: polars, outputs: {o: {dataset: hot, mode: merge}}, with: {sql: x, file: y}"),
        ["5: spec.tasks[0].with: give exactly one of sql, file or function"],
        id="two bodies",
    ),
    pytest.param(dag("tasks: [5]"), ["4: spec.tasks[0]: must be a mapping, not the number 5"], id="number for a task"),
    pytest.param(
        "kind: Dags\nmetadata: {name: d}\n",
        ['1: kind: "Dags" is not one of Dag, WorkerPool, Dataset, Notifier; did you mean "Dag"?'],
        id="unknown kind",
    ),
    pytest.param(
        "kind: DagRun\nmetadata: {name: d}\n",
        ["1: kind: a DagRun is made by a trigger or a schedule; it cannot be applied"],
        id="a kind that nobody applies",
    ),
    pytest.param(
        "metadata: {name: d}\n", ["1: kind: missing field; one of Dag, WorkerPool, Dataset, Notifier"], id="no kind"
    ),
    pytest.param("Kind: Dag\n", ['1: Kind: unknown field; did you mean "kind"?'], id="misspelt kind"),
    pytest.param(
        "apiVersion: setpoint.dev/v2\nkind: Dataset\nmetadata: {name: d}\n"
        "spec: {tier: hot, columns: [{name: a, type: date}]}",
        [
            '1: apiVersion: "setpoint.dev/v2" is not one of setpoint.dev/v1; did you mean "setpoint.dev/v1"?',
        ],
        id="another version",
    ),
    pytest.param("- a\n", ["1: a resource is a mapping with kind, metadata and spec, not a list"], id="a list"),
    pytest.param(
        "kind: Dataset\nmetadata: {name: d}\nspec: {tier: hot, columns: [{name: a, type: int}], uniqueKey: [a]}",
        [
            (
                '3: spec.columns[0].type: "int" is not one of boolean, int32, int64, float64, string, date, timestamp, '
                'json; did you mean "int64"?'
            )
        ],
        id="column type",
    ),
    pytest.param(
        "kind: Dataset\nmetadata: {name: d}\nspec: {tier: hot, columns: [{name: a, type: date}], uniqueKey: [b]}",
        ["3: spec: 'b' is no column"],
        id="unknown column",
    ),
]


@pytest.mark.parametrize(("text", "expected"), SHAPE)
def test_problems(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_all_problems_come_at_once() -> None:
    found = problems(
        dag(f"""\
            timout: 1h
            schedules: [{{cron: nonsense}}]
            tasks:
              - {{name: a, need: [b], {PYTHON}}}
              - {{name: b, priority: high, pool: nowhere, {PYTHON}}}
              - {{name: c, needs: [d], {PYTHON}}}
              - {{name: d, needs: [c], runtime: pyton}}
        """)
    )
    assert found == [
        '4: spec.timout: unknown field; did you mean "timeout"?',
        '5: spec.schedules[0].cron: "nonsense" must have five fields: minute hour day-of-month month day-of-week',
        '7: spec.tasks[0].need: unknown field; did you mean "needs"?',
        '8: spec.tasks[1].priority: must be a whole number, not "high"',
        '8: spec.tasks[1].pool: unknown pool "nowhere"',
        "9: spec.tasks[2].needs: tasks need each other: c -> d -> c",
        '10: spec.tasks[3].runtime: "pyton" is not one of polars, python, ingest, lambda; did you mean "python"?',
    ]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(tasks(f"name: a, {PYTHON}", f"name: B_, {PYTHON}", f"name: c, needs: [a], {PYTHON}"), id="name"),
        pytest.param(
            tasks(f"name: a, {PYTHON}", f"name: b, need: [a], inputs: {{x: {{task: a}}}}, {PYTHON}"), id="needs"
        ),
        pytest.param(tasks("name: a, output: {x: {dataset: hot, mode: merge}}, " + SQL), id="outputs"),
        pytest.param(
            "kind: Dataset\nmetadata: {name: new}\nspec: {tier: hott}\n---\n"
            + tasks(f"name: a, inputs: {{x: {{dataset: new}}}}, {PYTHON}"),
            id="dataset",
        ),
    ],
)
def test_a_mistake_is_not_reported_by_its_consequences(text: str) -> None:
    fields = {line.split(": ")[1] for line in problems(text)}
    assert len(fields) == 1 or fields == {"spec.tier", "spec.columns"}


def test_known_resources_stand_for_those_of_the_server() -> None:
    text = tasks(f"name: a, inputs: {{x: {{dataset: hot}}}}, {PYTHON}")
    known = [loaded.resource for loaded in load_text(POOLS).resources]
    assert load_text(text, known=known).problems == ()
    assert load_text(text, known=None).problems == ()
    assert [problem.field for problem in load_text(text, known=()).problems] == [
        "spec.tasks[0].inputs.x.dataset",
        "spec.tasks[0].runtime",
    ]


def test_a_namespace_sees_only_itself() -> None:
    text = tasks(f"name: a, {PYTHON}").replace("name: d}", "name: d, namespace: team}")
    assert problems(text) == [
        '5: spec.tasks[0].runtime: there is no pool "python"; apply a WorkerPool of that name, or name another in pool'
    ]


def test_what_the_server_sets_is_ignored() -> None:
    text = "kind: Dag\nmetadata: {name: d, uid: 5, generation: x, creationTimestamp: [], resourceVersion: '7'}\n"
    text += f"status: nonsense\nspec: {{tasks: [{{name: a, {PYTHON}}}]}}\n"
    (loaded,) = load_text(text).resources
    assert isinstance(loaded.resource, Dag)
    assert loaded.resource.metadata.uid is None
    assert loaded.resource.metadata.resource_version == "7"
    assert loaded.resource.status is None


def test_problems_are_bounded() -> None:
    found = load_text(tasks(*(f"name: t{i}, {PYTHON}, x: 1" for i in range(MAX_PROBLEMS + 5))), "f").problems
    assert len(found) == MAX_PROBLEMS + 1
    assert str(found[-1]).endswith("… and 5 more problems")


def test_positions_of_a_finding_can_be_asked_for_later() -> None:
    (loaded,) = load_text(tasks(f"name: a, {PYTHON}", f"name: b, {PYTHON}"), "f").resources
    assert loaded.lines.find(("spec", "tasks", 1, "name")).line == 6
    assert loaded.lines.find(("spec", "tasks", 9)).line == 4


yaml_like = st.text(alphabet=st.sampled_from("abk: -[]{}&*!|>'\"\n\t#,?%<~0\0é\ud800\ufeff"), max_size=80)
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.text() | yaml_like)
@settings(deadline=None)
def test_any_text_gives_resources_or_problems(text: str) -> None:
    load_text(text)
    load_text(tasks(f"name: a, {PYTHON}") + text, known=())


@given(st.sampled_from(["kind", "metadata", "spec", "tasks", "needs", "with", "params", "schedules"]), json_like)
@settings(deadline=None)
def test_any_value_anywhere_gives_resources_or_problems(field: str, value: object) -> None:
    task: dict[str, object] = {"name": "a", "runtime": "python", "with": {"entrypoint": "a:b"}}
    spec: dict[str, object] = {"tasks": [task]}
    document: dict[str, object] = {"kind": "Dag", "metadata": {"name": "d"}, "spec": spec}
    holder = document if field in document else task if field in {"needs", "with"} else spec
    holder[field] = value
    load_text(json.dumps(document), known=())  # JSON is YAML
