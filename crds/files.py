"""Whether the files and functions that a DAG names are in its folder. Code is parsed, never imported."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from crds.dag import Dag, IngestTask, LambdaTask, PolarsTask, PythonTask, Task
from crds.finding import FieldPath, Finding, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_FILE_BYTES = 2**20
MAX_LISTED = 1_000


def named_files(dag: Dag) -> list[tuple[FieldPath, str]]:
    """Return the SQL files and `module:function` entrypoints that a DAG names, with the fields that do."""
    return [
        (("spec", "tasks", index, "with", name), text)
        for index, task in enumerate(dag.spec.tasks)
        for name, text in _named(task)
        if text
    ]


def _named(task: Task) -> tuple[tuple[str, str | None], ...]:
    match task:
        case PolarsTask():
            return ("file", task.with_.file), ("function", task.with_.function)
        case PythonTask() | LambdaTask():
            return (("entrypoint", task.with_.entrypoint),)
        case IngestTask():
            return (("function", task.with_.function),)
        case _:
            assert_never(task)


def check_files(dag: Dag, folder: Path) -> Iterator[Finding]:
    """Find the files and functions that are missing, outside of the folder, or no Python or SQL."""
    modules = _Modules(folder)
    for path, text in named_files(dag):
        message, suggestion = modules.check(text) if ":" in text else _check_sql(folder, text)
        if message:
            yield Finding(path, message, suggestion)


def _check_sql(folder: Path, name: str) -> tuple[str | None, str | None]:
    if ".." in name.split("/"):
        return None, None  # found by crds.check, which needs no files
    try:
        text = _read(folder, name)
    except _Missing as error:
        return str(error), _nearest_file(folder, name)
    return (None if text.strip() else f'"{name}" is empty'), None


class _Missing(Exception):
    """A file that is not there, or cannot be used; the text says why."""


def _read(folder: Path, name: str) -> str:
    path = folder / name
    try:
        if not path.is_file():
            raise _Missing(f'there is no file "{name}" in {folder}')
        if not path.resolve().is_relative_to(folder.resolve()) or path.is_symlink():
            raise _Missing(f'"{name}" is a link; put the file itself into {folder}')
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise _Missing(f'"{name}" has more than {MAX_FILE_BYTES // 2**20} MiB')
        return data.decode()
    except UnicodeDecodeError as error:
        raise _Missing(f'"{name}" is not UTF-8 (byte {error.start})') from error
    except OSError as error:
        raise _Missing(f'"{name}" cannot be read: {error.strerror}') from error


def _nearest_file(folder: Path, name: str) -> str | None:
    listed = _list(folder, f"*{Path(name).suffix}")
    # A file that is there, but cannot be used, is what was meant.
    return None if name in listed else nearest(name, listed)


def _list(folder: Path, pattern: str) -> list[str]:
    found: list[str] = []
    for path in folder.rglob(pattern):
        found.append(path.relative_to(folder).as_posix())
        if len(found) >= MAX_LISTED:
            break
    return sorted(found)


@dataclass(slots=True)
class _Modules:
    """The Python modules of a folder, each parsed once."""

    folder: Path
    parsed: dict[str, _Module] = field(default_factory=dict)

    def check(self, entrypoint: str) -> tuple[str | None, str | None]:
        name, _, function = entrypoint.partition(":")
        if name not in self.parsed:
            self.parsed[name] = self._parse(name)
        module = self.parsed[name]
        if module.problem:
            return module.problem, module.suggestion
        if module.open_ended or function in module.names:
            return None, None
        return f'{module.file} has no function "{function}"', nearest(function, module.names)

    def _parse(self, name: str) -> _Module:
        parts = name.split(".")
        if "" in parts:
            return _Module(problem=f'"{name}" is no module')
        stem = "/".join(parts)
        file = f"{stem}/__init__.py" if (self.folder / stem / "__init__.py").is_file() else f"{stem}.py"
        try:
            text = _read(self.folder, file)
        except _Missing as error:
            modules = [_module_name(found) for found in _list(self.folder, "*.py")]
            return _Module(problem=str(error), suggestion=nearest(name, [found for found in modules if found != name]))
        try:
            tree = ast.parse(text, file)
        except SyntaxError as error:
            return _Module(problem=f"{file}:{error.lineno}: {error.msg}")
        except (ValueError, RecursionError, MemoryError):
            return _Module(problem=f"{file} is no Python")
        names = tuple(_names(tree.body))
        return _Module(file, tuple(name for name in names if name != "*"), "*" in names)


@dataclass(frozen=True, slots=True)
class _Module:
    """The names that a module defines, or why it cannot be used. `open_ended`: an `import *` adds others."""

    file: str = ""
    names: tuple[str, ...] = ()
    open_ended: bool = False
    problem: str | None = None
    suggestion: str | None = None


def _module_name(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _names(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Return the names that statements bind at the top of a module, also those below `if` and `try`."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement.name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name for alias in statement.names)
            case ast.Assign():
                yield from (target.id for target in statement.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.If() | ast.Try() | ast.With():
                yield from _names(statement.body)
                yield from _names(getattr(statement, "orelse", ()))
                yield from _names(getattr(statement, "finalbody", ()))
                for handler in getattr(statement, "handlers", ()):
                    yield from _names(handler.body)
            case _:
                pass
