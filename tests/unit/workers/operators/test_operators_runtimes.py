"""The polars and python runtimes, run in this process against real files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from operators_bench import cold

from crds.protocol import MAX_OUTPUTS_BYTES, DatasetRef
from workers.task import TaskFailed

if TYPE_CHECKING:
    from operators_bench import Bench

NUMBERS = {"n": "int64", "part": "string"}


def python(entrypoint: str = "job:main", **spec: Any) -> dict[str, Any]:
    return {"runtime": "python", "with": {"entrypoint": entrypoint, **spec.pop("with_", {})}, **spec}


def polars(**with_: Any) -> dict[str, Any]:
    return {"runtime": "polars", "with": with_}


def numbers(bench: Bench, rows: list[dict[str, Any]], **spec: Any) -> DatasetRef:
    """Store rows as a cold dataset and return it as an input."""
    ref = cold(NUMBERS, name="numbers", **spec)
    bench.module("job", f"def main(ctx):\n    ctx.write('out', {rows!r})\n")
    result = bench.run(python(outputs={"out": {"dataset": "numbers", "mode": "append"}}), outputs={"out": ref})
    return bench.stored(ref, result)


def test_partitions_become_folders_with_escaped_names(bench: Bench) -> None:
    rows = [{"n": n, "part": part} for n, part in enumerate(["a", "b/c=d", None, "", "é %", "a"])]
    ref = numbers(bench, rows, partitionBy=["part"])
    assert sorted((file.partition, file.rows) for file in ref.files) == [
        ("part=%C3%A9 %25", 1),
        ("part=__HIVE_DEFAULT_PARTITION__", 1),
        ("part=__HIVE_DEFAULT_PARTITION__", 1),
        ("part=a", 2),
        ("part=b%2Fc%3Dd", 1),
    ]
    for file in ref.files:
        assert file.key.startswith(f"cold/default/numbers/{file.partition}/run.work.0.1-")
        assert file.bytes == (bench.objects / file.key).stat().st_size
    out = cold(NUMBERS)
    result = bench.run(polars(sql="SELECT * FROM src ORDER BY n"), inputs={"src": ref}, outputs={"out": out})
    assert bench.frame(result).to_dicts() == rows


def test_columns_younger_than_a_file_are_null(bench: Bench) -> None:
    old = numbers(bench, [{"n": 1, "part": "a"}])
    columns = [*old.spec["columns"], {"name": "more", "type": "json"}]
    young = DatasetRef(name=old.name, uid=old.uid, spec={**old.spec, "columns": columns}, files=old.files)
    empty = DatasetRef(name=old.name, uid=old.uid, spec=young.spec)
    out = cold({**NUMBERS, "more": "json"})
    sql = polars(sql="SELECT * FROM src UNION ALL SELECT * FROM none")
    result = bench.run(sql, inputs={"src": young, "none": empty}, outputs={"out": out})
    assert bench.frame(result).to_dicts() == [{"n": 1, "part": "a", "more": None}]


def test_sql_of_a_file_and_a_function_say_the_same(bench: Bench) -> None:
    ref = numbers(bench, [{"n": n, "part": "ab"[n % 2]} for n in range(10)])
    (bench.bundle / "sums.sql").write_text("SELECT SUM(n) AS n, part FROM src GROUP BY part ORDER BY part")
    bench.module(
        "sums",
        "import polars as pl\n"
        "def sums(src: pl.LazyFrame, params, ctx, least=0):\n"
        "    assert ctx.run.task == 'work' and ctx.args['least'] == least\n"
        "    kept = src.filter(pl.col('n') >= least + params['more'])\n"
        "    return {'out': kept.group_by('part').agg(pl.col('n').sum()).select('n', 'part').sort('part')}\n",
    )
    expected = [{"n": 20, "part": "a"}, {"n": 25, "part": "b"}]
    for task in (polars(file="sums.sql"), polars(function="sums:sums", args={"least": -1})):
        result = bench.run(task, inputs={"src": ref}, outputs={"out": cold(NUMBERS)}, params={"more": 1})
        assert bench.frame(result).to_dicts() == expected
        assert result.outputs == {"rows": 2}


@pytest.mark.parametrize(
    ("with_", "kind", "says"),
    [
        pytest.param({"sql": "SELEC 1"}, "SqlError", "tables: src", id="syntax"),
        pytest.param({"sql": "SELECT * FROM nowhere"}, "SqlError", "nowhere", id="unknown table"),
        pytest.param({"sql": "SELECT n FROM src"}, "SchemaMismatch", "missing part", id="missing column"),
        pytest.param({"sql": "SELECT part AS n, part FROM src"}, "SchemaMismatch", "'a'", id="wrong type"),
        pytest.param({"file": "none.sql"}, "FileNotFound", "none.sql", id="no such file"),
        pytest.param({"function": "nowhere:f"}, "EntrypointNotFound", "module nowhere", id="no such module"),
        pytest.param({"function": "job:nothing"}, "EntrypointNotFound", "nothing", id="no such function"),
        pytest.param({"function": "job:main"}, "EntrypointSignature", "does not take src", id="wrong signature"),
    ],
)
def test_polars_errors_say_what_is_wrong(bench: Bench, with_: dict[str, Any], kind: str, says: str) -> None:
    ref = numbers(bench, [{"n": 1, "part": "a"}])
    with pytest.raises(TaskFailed, match=says) as failure:
        bench.run(polars(**with_), inputs={"src": ref}, outputs={"out": cold(NUMBERS)})
    assert failure.value.kind == kind


def test_the_context_holds_what_a_task_may_want(bench: Bench) -> None:
    bench.secrets["prod/key"] = "s3cret"
    bench.module(
        "job",
        "def main(ctx):\n"
        "    key = ctx.artifact('charts/a.svg', '<svg/>', content_type='image/svg+xml')\n"
        "    ctx.progress(3, 'half')\n"
        "    ctx.outputs['by_hand'] = 1\n"
        "    ctx.bookmark = {'seen': ctx.bookmark}\n"
        "    return {'secret_is_known': ctx.secrets['key'] == 's3cret', 'shown': repr(ctx.secrets),\n"
        "            'args': ctx.args, 'params': ctx.params, 'value': ctx.inputs['value'], 'key': key,\n"
        "            'upstream': ctx.upstream, 'tick': ctx.run.tick}\n",
    )
    result = bench.run(
        python(with_={"args": {"a": [1]}}, secrets={"key": "prod/key"}),
        inputs={"value": {"x": 1}},
        params={"p": True},
        upstream={"before": "Failed"},
        tick="2026-03-08T07:00:00Z",
        bookmark=7,
    )
    key = "artifacts/run/work/0/1/charts/a.svg"
    assert result.outputs == {
        "charts/a.svg": {"artifact": key, "bytes": 6, "contentType": "image/svg+xml"},
        "by_hand": 1,
        "secret_is_known": True,
        "shown": "Secrets(key)",
        "args": {"a": [1]},
        "params": {"p": True},
        "value": {"x": 1},
        "key": key,
        "upstream": {"before": "Failed"},
        "tick": datetime(2026, 3, 8, 7, tzinfo=UTC).isoformat(),
    }
    assert (bench.objects / key).read_text() == "<svg/>"
    assert result.bookmark == {"seen": 7}
    assert bench.progress == [(3, "half")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("def main(ctx): return [1, 2]", {"result": [1, 2]}, id="any JSON"),
        pytest.param("def main(): return None", {}, id="nothing"),
        pytest.param("async def main(ctx): return 3", {"result": 3}, id="coroutine"),
        pytest.param("def main(ctx, params, a): return a + params['p']", {"result": 5}, id="by name"),
    ],
)
def test_entrypoints_are_called_as_they_ask(bench: Bench, body: str, expected: dict[str, Any]) -> None:
    bench.module("job", body)
    assert bench.run(python(with_={"args": {"a": 2}}), params={"p": 3}).outputs == expected


def test_user_errors_pass_through(bench: Bench) -> None:
    bench.module("job", "class Flaky(Exception): pass\ndef main(ctx): raise Flaky('x')\n")
    with pytest.raises(Exception, match="x") as failure:
        bench.run(python())
    assert type(failure.value).__name__ == "Flaky"
    bench.module("job", "import no_such_library\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        bench.run(python())


def test_a_file_hidden_by_a_module_of_the_same_name_is_named(bench: Bench) -> None:
    (bench.bundle / "json.py").write_text("def main(ctx): return 1")
    with pytest.raises(TaskFailed, match=r"json\.py .* rename it") as failure:
        bench.run(python("json:main"))
    assert failure.value.kind == "ModuleHidden"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param("object()", "object is no JSON", id="objects"),
        pytest.param("float('nan')", "no JSON", id="NaN"),
        pytest.param("'a\\0b'", "NUL", id="NUL"),
        pytest.param("'\\ud800'", "surrogate", id="lone surrogate"),
    ],
)
def test_outputs_that_are_no_json_are_refused(bench: Bench, value: str, says: str) -> None:
    bench.module("job", f"def main(ctx): return {{'x': {value}}}")
    with pytest.raises(TaskFailed, match=says) as failure:
        bench.run(python())
    assert failure.value.kind == "OutputNotJson"


def test_large_outputs_pass_by_reference(bench: Bench) -> None:
    bench.module("job", "def main(ctx): return {'big': 'é' * 50_000, 'small': 'a\\\\u0000b', 'more': ['y' * 40_000]}")
    outputs = bench.run(python()).outputs
    assert len(json.dumps(outputs, ensure_ascii=False).encode()) <= MAX_OUTPUTS_BYTES
    assert outputs["big"] == {"$ref": "artifacts/run/work/0/1/outputs/big.json", "bytes": 100_002}
    assert outputs["small"] == "a\\u0000b"

    bench.module("job", "def main(ctx): return {k: len(v['big'] if k == 'all' else v) for k, v in ctx.inputs.items()}")
    read = bench.run(python(), inputs={"all": outputs, "one": outputs["big"]})
    assert read.outputs == {"all": 50_000, "one": 50_000}


def test_writes_of_a_failed_function_are_seen_by_nobody(bench: Bench) -> None:
    bench.module("job", "def main(ctx):\n    ctx.write('out', [{'n': 1, 'part': 'a'}])\n    raise ValueError\n")
    with pytest.raises(ValueError, match=r"^$"):
        bench.run(python(), outputs={"out": cold(NUMBERS)})
    assert not list(bench.objects.rglob("*.parquet"))


def test_an_output_that_broke_off_fails_the_task_though_user_code_goes_on(bench: Bench) -> None:
    bench.module(
        "job",
        "def main(ctx):\n    try: ctx.write('out', [{'n': 1, 'part': 'a'}, {'oops': 2}])\n    except Exception: pass\n",
    )
    with pytest.raises(TaskFailed, match="out") as failure:
        bench.run(python(), outputs={"out": cold(NUMBERS)})
    assert failure.value.kind == "OutputIncomplete"


def test_frames_and_rows_may_be_mixed_and_lazy(bench: Bench) -> None:
    bench.module(
        "job",
        "import polars as pl\n"
        "def main(ctx):\n"
        "    frame = pl.LazyFrame({'part': ['b'], 'n': [2]})\n"
        "    return [ctx.write('out', ({'n': n, 'part': 'a'} for n in range(2))), ctx.write('out', frame)]\n",
    )
    result = bench.run(python(), outputs={"out": cold(NUMBERS)})
    assert result.outputs == {"result": [2, 1]}
    assert result.metrics == {"rows_written": 3.0}
    assert bench.frame(result).equals(pl.DataFrame({"n": [0, 1, 2], "part": ["a", "a", "b"]}))


def test_an_unknown_output_lists_the_known(bench: Bench) -> None:
    bench.module("job", "def main(ctx): ctx.write('oops', [])")
    with pytest.raises(TaskFailed, match="it has out"):
        bench.run(python(), outputs={"out": cold(NUMBERS)})
