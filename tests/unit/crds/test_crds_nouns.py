"""Kinds and their words, quantities, graphs and parameters."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crds.graph import ancestors, cycles, topological
from crds.kinds import KINDS, find_kind
from crds.params import check_params, complete
from crds.quantities import MAX_DURATION, format_bytes, format_duration, parse_bytes, parse_duration

NAMES = [f"t{number}" for number in range(8)]
graphs = st.fixed_dictionaries({name: st.lists(st.sampled_from(NAMES), max_size=3) for name in NAMES})


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        pytest.param("dag", "Dag", id="dag"),
        pytest.param("dags", "Dag", id="dags"),
        pytest.param("run", "DagRun", id="run"),
        pytest.param("runs", "DagRun", id="runs"),
        pytest.param("dagruns", "DagRun", id="dagruns"),
        pytest.param("DagRun", "DagRun", id="kind"),
        pytest.param("task", "TaskRun", id="task"),
        pytest.param("tasks", "TaskRun", id="tasks"),
        pytest.param("tr", "TaskRun", id="tr"),
        pytest.param("pool", "WorkerPool", id="pool"),
        pytest.param("wp", "WorkerPool", id="wp"),
        pytest.param("ds", "Dataset", id="ds"),
        pytest.param("datasets", "Dataset", id="datasets"),
    ],
)
def test_words_for_kinds(word: str, kind: str) -> None:
    assert find_kind(word) is KINDS[kind]


def test_no_word_means_two_kinds() -> None:
    words = [word for kind in KINDS.values() for word in set(kind.words)]
    assert len(words) == len(set(words))
    assert find_kind("nothing") is None


@given(st.timedeltas(timedelta(0), MAX_DURATION))
def test_durations_round_trip(span: timedelta) -> None:
    whole = timedelta(seconds=int(span.total_seconds()))
    assert parse_duration(format_duration(whole)) == whole


@given(st.integers(0, 10**9 - 1))
def test_sizes_round_trip(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == size


@given(graphs)
@settings(deadline=None)
def test_order_and_cycles_cover_each_other(needs: dict[str, list[str]]) -> None:
    order = topological(needs)
    for position, task in enumerate(order):
        assert all(need in order[:position] for need in needs[task])
    found = list(cycles(needs))
    assert bool(found) == (len(order) < len(needs))
    for cycle in found:
        assert cycle[0] == cycle[-1]
        assert all(after in needs[task] for task, after in pairwise(cycle))


@given(graphs)
@settings(deadline=None)
def test_ancestors_are_what_a_walk_reaches(needs: dict[str, list[str]]) -> None:
    def walk(task: str) -> set[str]:
        found: set[str] = set()
        left = list(needs[task])
        while left:
            need = left.pop()
            if need not in found:
                found.add(need)
                left += needs[need]
        return found

    for task, bits in ancestors(needs).items():
        assert {name for position, name in enumerate(needs) if bits >> position & 1} == walk(task)


SCHEMA = {"properties": {"n": {"type": "integer", "default": 1}, "s": {"type": "string"}}, "required": ["s"]}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param({"s": "x"}, [], id="default fills in"),
        pytest.param({}, [": 's' is a required property"], id="missing"),
        pytest.param({"s": 1, "n": "x"}, ["n: 'x' is not of type 'integer'", "s: 1 is not of type 'string'"], id="all"),
    ],
)
def test_params(params: dict[str, object], expected: list[str]) -> None:
    found = check_params(SCHEMA, complete(SCHEMA, params))
    assert [f"{finding.field}: {finding.message}" for finding in found] == expected


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"$ref": "#/$defs/nothing"}, id="reference to nothing"),
        pytest.param({"$ref": "http://127.0.0.1:9/x"}, id="reference to an address"),
        pytest.param({"$ref": "#"}, id="reference to itself"),
    ],
)
def test_schemas_that_cannot_be_followed_are_findings(schema: dict[str, object]) -> None:
    (finding,) = check_params(schema, {"a": 1})
    assert finding.message.startswith("the schema of the parameters cannot be followed")
