"""The ingest runtime against a real HTTP server and real files."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from operators_bench import cold
from operators_web import Answer, Web, web_server

from crds.protocol import DatasetRef
from workers.operators.ingest import fetch
from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from operators_bench import Bench

    from workers.task import Result

ROWS = [{"k": 1, "v": "a"}, {"k": 2, "v": None}]
CSV = b'k,v,ignored\n1,a,x\n2,NA,"y\n"\n'
COLUMNS = {"k": "int64", "v": "string"}


def packed(name: str, *members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members or ((name, CSV),):
            archive.writestr(*member)
    return buffer.getvalue()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.001)
    with web_server() as web:
        yield web


def ingest(bench: Bench, with_: dict[str, Any], ref: DatasetRef | None = None, **more: Any) -> Result:
    task = {"runtime": "ingest", "with": with_, "secrets": more.pop("secrets", {})}
    return bench.run(task, outputs={"out": ref or cold(COLUMNS)}, **more)


def http(url: str, form: str = "csv", **more: Any) -> dict[str, Any]:
    return {"http": {"url": url, "format": form, "csv": {"nullValues": ["NA"]}, **more}}


@pytest.mark.parametrize(
    ("body", "form"),
    [
        pytest.param(CSV, "csv", id="csv"),
        pytest.param(b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n"), "csv", id="csv of a spreadsheet"),
        pytest.param(gzip.compress(CSV), "csv", id="csv in gzip"),
        pytest.param(packed("a.csv"), "csv", id="csv in zip"),
        pytest.param(packed("", ("__MACOSX/x", b""), ("a.csv", CSV)), "csv", id="csv in a zip of a Mac"),
        pytest.param(json.dumps(ROWS).encode(), "json", id="json"),
        pytest.param(b'{"k": 1, "v": "a"}\n\n{"k": 2, "more": 1}', "jsonl", id="jsonl"),
        pytest.param(gzip.compress(b'{"k": 1, "v": "a"}\n{"k": 2}\n'), "jsonl", id="jsonl in gzip"),
        pytest.param(parquet(ROWS), "parquet", id="parquet"),
    ],
)
def test_formats(bench: Bench, web: Web, body: bytes, form: str) -> None:
    web.on("/data", Answer(body))
    result = ingest(bench, http(f"{web.url}/data", form))
    assert bench.frame(result).to_dicts() == ROWS
    assert result.outputs == {"rows": 2}


def test_transfer_compression_is_undone(bench: Bench, web: Web) -> None:
    web.on("/data", Answer(gzip.compress(CSV), headers={"Content-Encoding": "gzip"}))
    assert bench.frame(ingest(bench, http(f"{web.url}/data"))).to_dicts() == ROWS


@pytest.mark.parametrize(
    ("body", "form", "kind", "says"),
    [
        pytest.param(b"k\n1\n", "csv", "SchemaMismatch", "missing v", id="missing column"),
        pytest.param(b"k,v\nx,a\n", "csv", "SchemaMismatch", "'x'", id="wrong type"),
        pytest.param(b"k,v\n1,a,b,c\n", "csv", "BadCsv", "fields", id="too many fields"),
        pytest.param(b"k,v\n1,\xff\n", "csv", "BadCsv", "utf-8", id="not UTF-8"),
        pytest.param(b'{"k": 1', "json", "BadJson", "no JSON", id="cut JSON"),
        pytest.param(b"3", "json", "BadJson", "list of objects", id="JSON without rows"),
        pytest.param(b'{"k": 1}\n{"k"\n', "jsonl", "BadJson", "line 2", id="bad line"),
        pytest.param(b"[]", "parquet", "BadParquet", "Parquet", id="no Parquet"),
        pytest.param(packed("", ("a", b""), ("b", b"")), "csv", "BadArchive", "holds 2: a, b", id="two members"),
        pytest.param(gzip.compress(CSV)[:-9], "csv", "BadArchive", "unpacked", id="cut gzip"),
    ],
)
def test_bad_data_is_named(bench: Bench, web: Web, body: bytes, form: str, kind: str, says: str) -> None:
    web.on("/data", Answer(body))
    with pytest.raises(TaskFailed, match=says) as failure:
        ingest(bench, http(f"{web.url}/data", form))
    assert failure.value.kind == kind


def test_an_empty_answer_is_no_rows(bench: Bench, web: Web) -> None:
    web.on("/data", Answer(b""))
    assert ingest(bench, http(f"{web.url}/data")).outputs == {"rows": 0}


@pytest.mark.parametrize(
    ("first", "tries"),
    [
        pytest.param(Answer(status=503, headers={"Retry-After": "0"}), 2, id="told when to come back"),
        pytest.param(Answer(status=429), 2, id="throttled"),
        pytest.param(Answer(CSV[:9], cut=True), 2, id="cut off"),
        pytest.param(Answer(status=302, headers={"Location": "$URL/data"}), 2, id="redirected"),
    ],
)
def test_passing_trouble_is_waited_out(bench: Bench, web: Web, first: Answer, tries: int) -> None:
    web.on("/data", first, Answer(CSV))
    assert ingest(bench, http(f"{web.url}/data")).outputs == {"rows": 2}
    assert len(web.seen) == tries


@pytest.mark.parametrize(
    ("answer", "kind", "tries"),
    [
        pytest.param(Answer(status=404), "HttpStatus404", 1, id="not found"),
        pytest.param(Answer(status=503), "HttpStatus503", fetch.MAX_TRIES, id="down for good"),
        pytest.param(Answer(CSV, cut=True), "HttpUnreachable", fetch.MAX_TRIES, id="always cut off"),
        pytest.param(Answer(status=302, headers={"Location": "$URL/data"}), "HttpRedirects", 6, id="endless redirects"),
        pytest.param(
            Answer(status=302, headers={"Location": "file:///etc/passwd"}), "BadUrl", 1, id="redirect to a file"
        ),
    ],
)
def test_lasting_trouble_has_a_name(bench: Bench, web: Web, answer: Answer, kind: str, tries: int) -> None:
    web.on("/data", answer)
    with pytest.raises(TaskFailed) as failure:
        ingest(bench, http(f"{web.url}/data"))
    assert (failure.value.kind, len(web.seen)) == (kind, tries)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({"Retry-After": "7"}, 7.0, id="seconds"),
        pytest.param({"Retry-After": "7200"}, fetch.MAX_RETRY_AFTER_SECONDS, id="bounded"),
        pytest.param(
            {"Retry-After": "Sun, 08 Mar 2026 07:00:09 GMT", "Date": "Sun, 08 Mar 2026 07:00:00 GMT"}, 9.0, id="date"
        ),
        pytest.param({"Retry-After": "soon"}, None, id="nonsense"),
        pytest.param({}, None, id="none"),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert fetch._retry_after(headers) == seconds


def test_unchanged_data_is_not_read_again(bench: Bench, web: Web) -> None:
    fresh = {"ETag": '"v1"', "Last-Modified": "Sun, 08 Mar 2026 07:00:00 GMT"}
    web.on("/data", Answer(CSV, headers=fresh), Answer(status=304), Answer(CSV, headers={"ETag": '"v2"'}))
    source = http(f"{web.url}/data", conditional=True)
    first = ingest(bench, source)
    second = ingest(bench, source, bookmark=first.bookmark)
    assert second.outputs == {"unchanged": True}
    assert (second.writes, second.bookmark) == ([], first.bookmark)
    assert web.seen[1][1]["if-none-match"] == '"v1"'
    assert web.seen[1][1]["if-modified-since"] == fresh["Last-Modified"]
    # A dataset that was created anew has none of the rows.
    again = DatasetRef(name="archive", uid="another", spec=cold(COLUMNS).spec, mode="append")
    third = ingest(bench, source, again, bookmark=first.bookmark)
    assert third.outputs == {"rows": 2}
    assert "if-none-match" not in web.seen[2][1]


def test_pages_by_link_header(bench: Bench, web: Web) -> None:
    following = '<$URL/first>; rel="prev", </data?page=2>; title="x"; rel="next"'
    web.on("/data", Answer(CSV, headers={"Link": following}))
    web.on("/data?page=2", Answer(b"k,v\n3,c\n"))
    result = ingest(bench, http(f"{web.url}/data", paging={"linkHeader": True}))
    assert bench.frame(result)["k"].to_list() == [1, 2, 3]


def test_pages_by_next_field(bench: Bench, web: Web) -> None:
    web.on("/data", Answer(json.dumps({"page": {"rows": ROWS, "next": "/data?after=2"}}).encode()))
    web.on("/data?after=2", Answer(json.dumps({"page": {"rows": [{"k": 3}], "next": None}}).encode()))
    source = http(f"{web.url}/data", "json", recordsField="page.rows", paging={"nextField": "page.next"})
    assert bench.frame(ingest(bench, source))["k"].to_list() == [1, 2, 3]


def test_pages_by_number_end_at_the_first_empty_one(bench: Bench, web: Web) -> None:
    for page, rows in enumerate([ROWS, [{"k": 3}], []]):
        web.on(f"/data?size=2&page={page}", Answer(json.dumps(rows).encode()))
    source = http(f"{web.url}/data?size=2", "json", paging={"pageParam": "page", "firstPage": 0})
    assert bench.frame(ingest(bench, source))["k"].to_list() == [1, 2, 3]


def test_pages_without_end_are_refused(bench: Bench, web: Web) -> None:
    web.on("/data", Answer(CSV, headers={"Link": "</data>; rel=next"}))
    with pytest.raises(TaskFailed) as failure:
        ingest(bench, http(f"{web.url}/data", paging={"linkHeader": True}))
    assert failure.value.kind == "PagingLoop"
    for page in (1, 2, 3):
        web.on(f"/rows?page={page}", Answer(CSV))
    with pytest.raises(TaskFailed) as failure:
        ingest(bench, http(f"{web.url}/rows", paging={"pageParam": "page", "maxPages": 2}))
    assert failure.value.kind == "TooManyPages"


def test_placeholders_are_filled_and_secrets_stay_secret(bench: Bench, web: Web) -> None:
    bench.secrets["prod/key"] = "s3cret/+ value"
    source = http("${params.base}/${run.tick}?key=${secrets.key}", headers={"Authorization": "Bearer ${secrets.key}"})
    more = {"secrets": {"key": "prod/key"}, "params": {"base": web.url}, "tick": "2026-03-08T07:00:00+00:00"}
    with pytest.raises(TaskFailed) as failure:
        ingest(bench, source, **more)
    assert failure.value.kind == "HttpStatus404"
    assert "s3cret" not in str(failure.value)
    assert failure.value.__cause__ is None
    assert web.seen[0][1]["authorization"] == "Bearer s3cret/+ value"


def test_another_host_does_not_get_the_credentials(bench: Bench, web: Web) -> None:
    with web_server() as other:
        other.on("/moved", Answer(CSV))
        web.on("/data", Answer(status=307, headers={"Location": f"{other.url}/moved"}))
        ingest(bench, http(f"{web.url}/data", headers={"X-Api-Key": "secret", "Accept": "text/csv"}))
        assert "x-api-key" not in other.seen[0][1]
        assert other.seen[0][1]["accept"] == "text/csv"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("${params.none}", "params.none", id="unknown parameter"),
        pytest.param("${run.tick}", "no tick", id="no tick"),
        pytest.param("${env.HOME}", "env.HOME", id="unknown scope"),
        pytest.param("${nothing}", "placeholder", id="malformed"),
        pytest.param("${secrets.none}", "no secret", id="undeclared secret"),
    ],
)
def test_unknown_placeholders_are_refused(bench: Bench, text: str, says: str) -> None:
    with pytest.raises(TaskFailed, match=says):
        ingest(bench, http(f"http://127.0.0.1:1/{text}"))


def test_files_by_glob(bench: Bench) -> None:
    lake = bench.folder / "lake"
    for name, body in {
        "2/b.csv": CSV,
        "1/a.csv.gz": gzip.compress(b"k,v\n0,z\n"),
        "1/a.txt": b"",
        "c.csv": CSV,
    }.items():
        (lake / name).parent.mkdir(parents=True, exist_ok=True)
        (lake / name).write_bytes(body)

    def read(pattern: str) -> Result:
        files = {"path": f"file://{lake}/{pattern}", "format": "csv", "csv": {"nullValues": ["NA"]}}
        return ingest(bench, {"files": files})

    assert read("[12]/*.csv*").outputs == {"files": 2, "rows": 3}
    assert bench.frame(read("**/*.csv*"))["k"].to_list() == [0, 1, 2, 1, 2]
    assert read("c.csv").outputs == {"files": 1, "rows": 2}
    with pytest.raises(TaskFailed, match="no file matches"):
        read("*.parquet")
    with pytest.raises(TaskFailed, match="no folder"):
        read("missing/*.csv")


def test_a_function_yields_rows_lists_and_frames(bench: Bench) -> None:
    bench.module(
        "rows",
        "import polars as pl\n"
        "def rows(ctx, first):\n"
        "    yield {'k': first, 'v': ctx.params['v']}\n"
        "    yield [{'k': 2}, {'k': 3}]\n"
        "    yield pl.DataFrame({'v': ['d'], 'k': [4]})\n",
    )
    result = ingest(bench, {"function": "rows:rows", "args": {"first": 1}}, params={"v": "a"})
    assert sorted(bench.frame(result)["k"]) == [1, 2, 3, 4]
    assert result.outputs == {"rows": 4}
    bench.module("rows", "def rows(): return 'text'")
    with pytest.raises(TaskFailed, match="yielded str"):
        ingest(bench, {"function": "rows:rows"})


def test_batches_keep_memory_bounded(bench: Bench, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.data.frames.BATCH_ROWS", 1_000)
    web.on("/data", Answer(b"k,v\n" + b"".join(b"%d,x\n" % k for k in range(10_500))))
    result = ingest(bench, http(f"{web.url}/data"))
    assert result.outputs == {"rows": 10_500}
    assert bench.frame(result)["k"].to_list() == list(range(10_500))
