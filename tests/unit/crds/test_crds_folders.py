"""Which files of a folder are read, and whether what a DAG names is in its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crds.dag import Dag
from crds.folder import MAX_FILE_BYTES
from crds.loader import Loaded, load_path

if TYPE_CHECKING:
    from pathlib import Path

POOL = "kind: WorkerPool\nmetadata: {name: %s}\nspec: {runtime: python}\n"
DAG = "kind: Dag\nmetadata: {name: %s}\nspec:\n  tasks:\n    - {name: a, runtime: python, with: {entrypoint: '%s'}}\n"
SQL_DAG = (
    "kind: Dag\nmetadata: {name: d}\nspec:\n  tasks:\n"
    "    - {name: a, runtime: polars, outputs: {o: {dataset: x, mode: append}}, with: {file: %s}}\n"
)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(loaded: Loaded) -> list[str]:
    return [one.resource.metadata.name for one in loaded.resources]


def relative(loaded: Loaded, root: Path) -> list[str]:
    return [str(problem).replace(f"{root}/", "").replace(str(root), "ROOT") for problem in loaded.problems]


def test_files_of_a_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pools.yaml": POOL % "a" + "---\n" + POOL % "b",
            "more.yml": POOL % "c",
            "notes.txt": "no: yaml: at all",
            "one/dag.yaml": DAG % ("d", "code:run"),
            "one/code.py": "def run(ctx): ...",
            "one/config.yaml": "data: of the DAG",
            "one/deeper/pools.yaml": POOL % "e",
            ".hidden/dag.yaml": "nonsense",
        },
    )
    loaded = load_path(tmp_path)
    assert loaded.problems == ()
    assert names(loaded) == ["c", "a", "b", "d", "e"]
    assert [one.folder for one in loaded.resources if isinstance(one.resource, Dag)] == [tmp_path / "one"]


def test_a_dag_folder_and_a_single_file(tmp_path: Path) -> None:
    write(tmp_path, {"dag.yaml": DAG % ("d", "code:run"), "code.py": "run = print", "config.yaml": "x: y"})
    assert names(load_path(tmp_path)) == ["d"]
    assert names(load_path(tmp_path / "dag.yaml")) == ["d"]
    assert load_path(tmp_path).problems == ()


def test_the_files_of_a_folder_are_checked_together(tmp_path: Path) -> None:
    write(tmp_path, {"a/pools.yaml": POOL % "p", "b/pools.yaml": POOL % "p"})
    assert relative(load_path(tmp_path), tmp_path) == ['b/pools.yaml:2: metadata.name: there is another WorkerPool "p"']


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path, {"outside.yaml": POOL % "p", "root/real.yaml": POOL % "q", "elsewhere/dag.yaml": "x"})
    (root / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "dangling.yaml").symlink_to(root / "nothing")
    assert relative(load_path(root), root) == [
        "dangling.yaml:1: is a link that leads out of ROOT",
        "folder:1: is a link that leads out of ROOT",
        "link.yaml:1: is a link that leads out of ROOT",
    ]


def test_links_within_the_folder_are_read(tmp_path: Path) -> None:
    """So does Kubernetes mount a ConfigMap."""
    write(tmp_path, {"..data/pools.yaml": POOL % "p"})
    (tmp_path / "pools.yaml").symlink_to(tmp_path / "..data" / "pools.yaml")
    loaded = load_path(tmp_path)
    assert (names(loaded), loaded.problems) == (["p"], ())


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        pytest.param(b"a: 1\nb: \xff", 2, "is not UTF-8: byte 0xff", id="not UTF-8"),
        pytest.param(b"a: 1\nb: \0", 2, "the character U+0000 may not stand in YAML", id="NUL"),
        pytest.param(b"#" * (MAX_FILE_BYTES + 1), 1, "has more than 1 MiB; split it", id="too large"),
    ],
)
def test_unreadable_files(tmp_path: Path, data: bytes, line: int, message: str) -> None:
    (tmp_path / "pools.yaml").write_bytes(data)
    (problem,) = load_path(tmp_path).problems
    assert (problem.line, problem.message) == (line, message)


def test_missing_path(tmp_path: Path) -> None:
    (problem,) = load_path(tmp_path / "nothing").problems
    assert problem.message == "there is no such file or folder"


@pytest.mark.parametrize(
    ("entrypoint", "code", "expected"),
    [
        pytest.param("code:run", {"code.py": "def run(ctx): ..."}, None, id="function"),
        pytest.param("code:run", {"code.py": "async def run(ctx): ..."}, None, id="coroutine"),
        pytest.param("code:run", {"code.py": "from other import walk as run"}, None, id="import"),
        pytest.param("code:run", {"code.py": "try:\n  import x\nexcept E:\n  run = 1"}, None, id="in a handler"),
        pytest.param("code:run", {"code.py": "from other import *"}, None, id="anything by a star"),
        pytest.param("pkg.code:run", {"pkg/code.py": "run = 1"}, None, id="in a package"),
        pytest.param("pkg:run", {"pkg/__init__.py": "run = 1"}, None, id="package"),
        pytest.param("code:runn", {"code.py": "def run(): ..."}, 'code.py has no function "runn"; did you mean "run"?',
                     id="missing function"),
        pytest.param("code:run", {"code.py": "def f():\n  def run(): ..."}, 'code.py has no function "run"', id="in f"),
        pytest.param("code:run", {"codes.py": "run = 1"},
                     'there is no file "code.py" in ROOT; did you mean "codes"?', id="missing module"),
        pytest.param("code:run", {"code.py": "x = 1\ndef run(:"}, "code.py:2: invalid syntax", id="syntax error"),
        pytest.param("a..b:run", {"a/b.py": "run = 1"}, '"a..b" is no module', id="relative module"),
        pytest.param("code:run", {"code.py": "raise SystemExit\ndef run(): ..."}, None, id="never imported"),
    ],
)  # fmt: skip
def test_entrypoints(tmp_path: Path, entrypoint: str, code: dict[str, str], expected: str | None) -> None:
    write(tmp_path, {"dag.yaml": DAG % ("d", entrypoint), **code})
    found = relative(load_path(tmp_path), tmp_path)
    assert found == ([f"dag.yaml:5: spec.tasks[0].with.entrypoint: {expected}"] if expected else [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("sql/day.sql", None, id="there"),
        pytest.param(
            "sql/dya.sql",
            'there is no file "sql/dya.sql" in ROOT; did you mean "sql/day.sql"?',
            id="not there",
        ),
        pytest.param("empty.sql", '"empty.sql" is empty', id="empty"),
        pytest.param("1.sql", '"1.sql" is not UTF-8 (byte 0)', id="not UTF-8"),
        pytest.param("2.sql", '"2.sql" is a link; put the file itself into ROOT', id="link"),
    ],
)
def test_sql_files(tmp_path: Path, name: str, expected: str | None) -> None:
    write(tmp_path, {"dag.yaml": SQL_DAG % name, "sql/day.sql": "select 1", "empty.sql": "\n"})
    (tmp_path / "1.sql").write_bytes(b"\xe4")
    (tmp_path / "2.sql").symlink_to(tmp_path / "sql" / "day.sql")
    found = relative(load_path(tmp_path), tmp_path)
    assert found == ([f"dag.yaml:5: spec.tasks[0].with.file: {expected}"] if expected else [])


def test_a_dag_that_names_no_files_has_no_code_folder(tmp_path: Path) -> None:
    inline = SQL_DAG.replace("file: %s", "sql: select 1")
    write(tmp_path, {"dag.yaml": inline})
    (loaded,) = load_path(tmp_path).resources
    assert loaded.folder is None
