"""What the documents say: links lead somewhere, examples are valid and run, tables are as the code has them."""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import yaml
from jsonschema import Draft202012Validator

from controller.cli.main import COMMANDS
from controller.settings import Settings as DispatcherSettings
from crds.loader import Loaded, load_path, load_text
from crds.phases import ATTEMPT_TRANSITIONS, RUN_TRANSITIONS, TASK_TRANSITIONS
from crds.positions import read_yaml
from tests.unit.workers.operators.operators_bench import Bench, cold
from workers.settings import Settings as WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for pattern in (
        *(".", "controller", "workers", "dags", "tests", "tests/*", "docs", "docs/adr"),
        *("terraform", "terraform/modules/*"),
    )
    for path in ROOT.glob(f"{pattern}/*.md".removeprefix("./"))
)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_NAMED = re.compile(r"`(setpoint|make) ([a-z][a-z-]*)")
_PROMPT = re.compile(r"^\$ (.+)$", re.MULTILINE)
_MODULE = re.compile(r"# (?:.*/)?(\w+)\.py\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a document."""

    document: Path
    line: int
    language: str
    text: str


def blocks(language: str, *documents: Path) -> list[Block]:
    texts = {path: path.read_text(encoding="utf-8") for path in documents or DOCUMENTS}
    return [
        Block(path, text.count("\n", 0, match.start()) + 1, language, match[2])
        for path, text in texts.items()
        for match in _BLOCK.finditer(text)
        if match[1] == language
    ]


def block_ids(found: list[Block]) -> list[Any]:
    return [pytest.param(b, id=f"{b.document.relative_to(ROOT)}:{b.line}") for b in found]


def document_ids() -> list[Any]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in DOCUMENTS]


def prose(path: Path) -> str:
    return _BLOCK.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    headings = _HEADING.findall(prose(path))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", document_ids())
def test_links(document: Path) -> None:
    for link in _LINK.findall(prose(document)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("document", document_ids())
def test_commands(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    known = {"setpoint": set(COMMANDS), "make": targets}
    named = _NAMED.findall(prose(document))
    for shell in (*blocks("sh", document), *blocks("console", document)):
        lines = shell.text.splitlines() if shell.language == "sh" else _PROMPT.findall(shell.text)
        for line in lines:
            words = shlex.split(line.replace("&&", ";"), comments=True)
            named += [(a, b) for a, b in pairwise(words) if a in known]
    for program, command in named:
        assert command in known[program], f"there is no `{program} {command}`"


def test_problems_are_printed_as_they_are(tmp_path: Path) -> None:
    document = ROOT / "dags" / "README.md"
    wrong, printed = blocks("yaml", document)[-1], blocks("text", document)[-1]
    folder = tmp_path / "dags" / "cancellations"
    folder.mkdir(parents=True)
    (folder / "dag.yaml").write_text(wrong.text, encoding="utf-8")
    (folder / "tell.py").write_text(modules(ROOT / "README.md")["tell"], encoding="utf-8")
    server = load_path(ROOT / "dags").resources
    also = load_text(blocks("yaml", ROOT / "README.md")[0].text).resources
    problems = load_path(folder, [r.resource for r in (*server, *also)]).problems
    lines = [f"  {problem}".replace(f"{tmp_path}/", "") for problem in problems]
    assert [f"error: {len(lines)} problems; nothing was changed", *lines] == printed.text.splitlines()


VALID = [block for block in blocks("yaml") if "tell:mian" not in block.text]
EDITORS = ROOT / "crds" / "generated" / "setpoint.schema.json"


@pytest.mark.parametrize("block", block_ids(VALID))
def test_yaml(block: Block) -> None:
    loaded = load(block.text)
    assert not loaded.problems, "\n".join(map(str, loaded.problems))
    assert loaded.resources
    schema = Draft202012Validator(json.loads(EDITORS.read_text(encoding="utf-8")))
    # As the product reads YAML: to YAML 1.1 the key `on` would be a truth.
    for document in read_yaml(block.text).documents:
        if isinstance(plain := document.plain(), dict):
            schema.validate(plain)


def load(text: str) -> Loaded:
    """Read a block: whole resources, or some tasks of a Dag."""
    if not text.startswith("- name:"):
        return load_text(text)
    head = {"apiVersion": "setpoint.dev/v1", "kind": "Dag", "metadata": {"name": "example"}}
    return load_text(yaml.safe_dump({**head, "spec": {"tasks": yaml.safe_load(text)}}))


@pytest.mark.parametrize("block", block_ids(blocks("python")))
def test_python(block: Block) -> None:
    ast.parse(block.text)
    assert _MODULE.match(block.text), "the first line names the file"


def modules(document: Path) -> dict[str, str]:
    return {match[1]: b.text for b in blocks("python", document) if (match := _MODULE.match(b.text))}


ORDERS = {"day": "date", "amount": "float64"}


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench with the functions of workers/README.md."""
    bench = Bench(tmp_path)
    for name, text in modules(ROOT / "workers" / "README.md").items():
        bench.module(name, text)
    monkeypatch.syspath_prepend(str(bench.bundle))
    return bench


def task(runtime: str, **spec: Any) -> dict[str, Any]:
    return {"runtime": runtime, **spec}


def orders(bench: Bench) -> Any:
    ref = cold(ORDERS, name="orders")
    rows = [{"day": date(2026, 6, n), "amount": 60.0 * n} for n in (1, 2, 2, 3)]
    bench.module("fill", f"import datetime\n\ndef rows():\n    return {rows!r}\n")
    source = task(
        "ingest", **{"with": {"function": "fill:rows"}}, outputs={"out": {"dataset": "orders", "mode": "append"}}
    )
    return bench.stored(ref, bench.run(source, outputs={"out": ref}))


def test_example_of_a_python_task(examples: Bench) -> None:
    written = yaml.safe_load(blocks("yaml", ROOT / "workers" / "README.md")[0].text)[0]
    result = examples.run(
        written,
        inputs={"orders": orders(examples)},
        outputs={"out": cold(ORDERS, name="big-orders")},
        params={"since": "2026-06-01"},
    )
    assert result.outputs["orders"] == 3
    assert (examples.objects / result.outputs["big.md"]["artifact"]).read_text() == "3 orders\n"
    assert examples.frame(result)["amount"].to_list() == [120.0, 120.0, 180.0]


def test_example_of_a_polars_function(examples: Bench) -> None:
    result = examples.run(
        task("polars", **{"with": {"function": "daily:daily"}}),
        inputs={"orders": orders(examples)},
        outputs={"out": cold(ORDERS, name="daily")},
        params={"since": date(2026, 6, 2)},
    )
    assert examples.frame(result).rows() == [(date(2026, 6, 2), 240.0), (date(2026, 6, 3), 180.0)]


def test_example_of_a_dag(examples: Bench) -> None:
    dag, _, by_day = yaml.safe_load_all(blocks("yaml", ROOT / "dags" / "README.md")[0].text)
    (written,) = [t for t in dag["spec"]["tasks"] if t["name"] == "by-day"]
    orders_ref = cold({"id": "int64", "placed": "timestamp", "amount": "float64"}, name="orders")
    rows = [{"id": n, "placed": datetime(2026, 6, n, 12, tzinfo=UTC), "amount": 1.0} for n in (1, 2)]
    examples.module("fill", f"import datetime\n\ndef rows():\n    return {rows!r}\n")
    out = {"out": {"dataset": "orders", "mode": "append"}}
    filled = examples.run(
        task("ingest", **{"with": {"function": "fill:rows"}}, outputs=out), outputs={"out": orders_ref}
    )
    columns = {column["name"]: column["type"] for column in by_day["spec"]["columns"]}
    result = examples.run(
        written,
        inputs={"orders": examples.stored(orders_ref, filled)},
        outputs={"out": cold(columns, name="orders-by-day", partitionBy=by_day["spec"]["partitionBy"])},
    )
    assert sorted(examples.frame(result)["day"]) == [date(2026, 6, 1), date(2026, 6, 2)]
    assert {file.partition for file in result.writes[0].files} == {"month=2026-06"}


def test_example_of_an_ingest_function(examples: Bench) -> None:
    readings = cold({"n": "int64", "square": "int64"}, name="readings")
    source = task("ingest", **{"with": {"function": "readings:since", "args": {"first": 1}}})
    first = examples.run(source, outputs={"out": readings})
    second = examples.run(source, outputs={"out": readings}, bookmark=first.bookmark, attempt="run/work/0/2")
    assert examples.frame(second).equals(pl.DataFrame({"n": [4, 5, 6], "square": [16, 25, 36]}))


def table(document: Path, head: str) -> dict[str, str]:
    """Return the first two columns of the table with a head."""
    text = document.read_text(encoding="utf-8").partition(f"\n| {head} |")[2]
    assert text, f"{document} has no table {head}"
    rows = [line for line in text.partition("\n\n")[0].splitlines()[2:] if line.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {row[0]: row[1].strip("| ") if len(row) > 1 else "" for row in cells}


@pytest.mark.parametrize(
    ("head", "transitions"),
    [
        pytest.param("attempt", ATTEMPT_TRANSITIONS, id="attempts"),
        pytest.param("task", TASK_TRANSITIONS, id="tasks"),
        pytest.param("run", RUN_TRANSITIONS, id="runs"),
    ],
)
def test_transitions(head: str, transitions: Mapping[Any, frozenset[Any]]) -> None:
    written = table(ROOT / "controller" / "README.md", f"{head} | may become")
    assert written == {str(phase): ", ".join(sorted(after)) for phase, after in transitions.items()}


def test_drawn_transitions_exist() -> None:
    (drawing,) = [b for b in blocks("mermaid", ROOT / "controller" / "README.md") if b.text.startswith("stateDiagram")]
    drawn = re.findall(r"(\w+) --> (\w+)", drawing.text)
    known = {(str(phase), str(n)) for phase, after in ATTEMPT_TRANSITIONS.items() for n in after}
    assert not set(drawn) - known


@pytest.mark.parametrize(
    ("folder", "settings"),
    [
        pytest.param("controller", DispatcherSettings, id="dispatcher"),
        pytest.param("workers", WorkerSettings, id="worker"),
    ],
)
def test_settings(folder: str, settings: type[Any]) -> None:
    written = table(ROOT / folder / "README.md", "variable | default | what it is")
    names = [name.strip("` ") for cell in written for name in cell.split(",")]
    assert sorted(names) == sorted(f"SETPOINT_{field}".upper() for field in settings.model_fields)
    for cell, default in written.items():
        for name, said in zip(cell.split(","), default.split(", "), strict=False):
            field = settings.model_fields[name.strip("` ").removeprefix("SETPOINT_").lower()]
            if said.startswith("`"):
                assert said.strip("`") == str(getattr(field.default, "value", field.default)).lower(), name
            assert (said == "required") == field.is_required(), name


def test_every_decision_record_is_listed_and_says_what_violates_it() -> None:
    folder = ROOT / "docs" / "adr"
    listed = set(_LINK.findall((folder / "README.md").read_text(encoding="utf-8")))
    records = sorted(folder.glob("0*.md"))
    assert {path.name for path in records} == listed
    for path in records:
        assert path.read_text(encoding="utf-8").rpartition("\n\n")[2].startswith("**A change violates this when**")


def test_pictures_need_nothing_from_elsewhere() -> None:
    pictures = sorted((ROOT / "docs" / "images").glob("*.svg"))
    assert pictures
    for path in pictures:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<script|<image|@import|url\(\s*['\"]?http|href=['\"]http", text), path.name


@pytest.fixture(autouse=True)
def _forget_modules() -> Any:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in {"fill", *modules(ROOT / "workers" / "README.md")}:
            del sys.modules[name]
