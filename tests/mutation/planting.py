"""Plant a bug in the product as it runs: an edit of one function's source, of one SQL text, or of one function in Postgres.

An edit names the text that it replaces, and fails loudly unless that text is there exactly once. So a product that has
changed is noticed, and no mutant silently tests nothing. A function's code is replaced in place, whoever has imported it.
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from dataclasses import dataclass
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEFINITION: LiteralString = "SELECT pg_get_functiondef(%s::regprocedure)"


class DoesNotApply(AssertionError):
    """The product has changed, so that a mutant has to be written anew."""


@dataclass(frozen=True, slots=True)
class InFunction:
    """Replace text in the source of a function: `package.module:Class.method`; `more` of it as (old, new)."""

    where: str
    old: str
    new: str
    more: tuple[tuple[str, str], ...] = ()

    def plant(self) -> None:
        """Give the function its other code."""
        module, function = _function(self.where)
        function.__code__ = self._code(module, function)

    def check(self) -> None:
        """Raise DoesNotApply unless the edit can be made."""
        self._code(*_function(self.where))

    def _code(self, module: ModuleType, function: FunctionType) -> CodeType:
        source = textwrap.dedent(inspect.getsource(function))
        changed = source
        for old, new in ((self.old, self.new), *self.more):
            changed = _replaced(self.where, changed, old, new)
        made: dict[str, Any] = {}
        flags = __future__.annotations.compiler_flag
        exec(compile(changed, f"<{self.where}>", "exec", flags), vars(module), made)  # the edits are ours
        code: CodeType = made[function.__name__].__code__
        if code.co_freevars != function.__code__.co_freevars:
            raise DoesNotApply(f"{self.where} is a closure, which cannot be given other code")
        return code


@dataclass(frozen=True, slots=True)
class InText:
    """Replace text in a module's constant: `package.module:_QUERY`."""

    where: str
    old: str
    new: str

    def plant(self) -> None:
        """Give the constant its other text."""
        module, name = self._constant()
        setattr(module, name, _replaced(self.where, getattr(module, name), self.old, self.new))

    def check(self) -> None:
        """Raise DoesNotApply unless the edit can be made."""
        module, name = self._constant()
        _replaced(self.where, getattr(module, name), self.old, self.new)

    def _constant(self) -> tuple[ModuleType, str]:
        path, _, name = self.where.partition(":")
        module = import_module(path)
        if not isinstance(getattr(module, name, None), str):
            raise DoesNotApply(f"there is no text {self.where}")
        return module, name


@dataclass(frozen=True, slots=True)
class InDatabase:
    """Replace text in a function of the schema, by its signature."""

    where: str
    old: str
    new: str

    def plant(self, connection: psycopg.Connection) -> None:
        """Create the function anew; its owner and who may call it stay."""
        row = connection.execute(_DEFINITION, (self.where,)).fetchone()
        if row is None:
            raise DoesNotApply(f"there is no function {self.where}")
        # It is the schema's own text, with an edit of ours.
        connection.execute(_replaced(self.where, row[0], self.old, self.new))


@dataclass(frozen=True, slots=True)
class WithoutCheck:
    """Drop the check constraints of a column, so that what the schema refuses can be seen by others."""

    where: str

    def plant(self, connection: psycopg.Connection) -> None:
        """Drop the constraints that look at this column alone: `table.column`."""
        table, _, column = self.where.partition(".")
        rows = connection.execute(
            """SELECT conname FROM pg_constraint
                 JOIN pg_attribute ON attrelid = conrelid AND attname = %s AND conkey = ARRAY[attnum]
                WHERE conrelid = %s::regclass AND contype = 'c'""",
            (column, table),
        ).fetchall()
        if not rows:
            raise DoesNotApply(f"{self.where} has no check")
        for (name,) in rows:
            connection.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.Identifier(table), sql.Identifier(name))
            )


CodeEdit = InFunction | InText
SchemaEdit = InDatabase | WithoutCheck
Edit = CodeEdit | SchemaEdit


def plant_code(edits: Sequence[Edit]) -> None:
    """Make the edits of code in this process; there is no way back."""
    for edit in edits:
        if isinstance(edit, CodeEdit):
            edit.plant()


def plant_schema(edits: Sequence[Edit], connection: psycopg.Connection) -> None:
    """Make the edits of the schema in a database."""
    for edit in edits:
        if isinstance(edit, SchemaEdit):
            edit.plant(connection)


def _function(where: str) -> tuple[ModuleType, FunctionType]:
    path, _, name = where.partition(":")
    module = import_module(path)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, FunctionType):
        raise DoesNotApply(f"there is no function {where}")
    return module, found


def _replaced(where: str, text: str, old: str, new: str) -> str:
    found = text.count(old)
    if found != 1:
        raise DoesNotApply(f"{where} holds {found} times, and not once, what this mutant replaces: {old!r}")
    return text.replace(old, new)
