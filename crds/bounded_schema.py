"""JSON Schema (draft 2020-12) for schemas and values of strangers: what takes too long is refused, nothing is fetched.

Each keyword that is applied costs steps, as many as it may look at values. Patterns are those of Rust's regex, which
match in linear time; Python's may take for ever, and nothing else of the process runs meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from math import prod
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # it ships no types
from pydantic_core import SchemaError, SchemaValidator, core_schema
from pydantic_core import ValidationError as Mismatch
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from crds.finding import shown

MAX_STEPS = 100_000
MAX_PATTERNS = 256
# So many characters of text times parts of a pattern take as long as one step.
_MATCHED_AT_ONCE = 100
_DRAFT = "https://json-schema.org/draft/2020-12/"
_COUNTED = re.compile(r"\{(\d{1,6})(?:,(\d{0,6}))?\}")

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class TooCostly(Exception):
    """Schema and value together take more steps than there are left."""


@dataclass(slots=True)
class Budget:
    """The steps that are left, of one check or of several that belong together."""

    left: int = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Take steps; raise TooCostly if there are not so many."""
        self.left -= steps
        if self.left < 0:
            raise TooCostly("checking it takes too many steps; simplify the schema")


_budget: ContextVar[Budget] = ContextVar("budget")


def errors(schema: Mapping[str, Any], value: Any, most: int, budget: Budget | None = None) -> list[ValidationError]:
    """Return what keeps a value from fitting a schema that refers to itself only; raise whatever a $ref leads to."""
    # A $schema would have the library choose a class of its own, which counts nothing.
    plain = {key: item for key, item in schema.items() if key != "$schema"}
    with _counting(budget or Budget()):
        return list(islice(_Bounded(plain, registry=Registry()).iter_errors(value), most))


def schema_errors(schema: Mapping[str, Any], most: int) -> list[ValidationError]:
    """Return what keeps a mapping from being a schema."""
    with _counting(Budget()):
        return list(islice(_METASCHEMA.iter_errors(schema), most))


@contextmanager
def _counting(budget: Budget) -> Iterator[None]:
    token = _budget.set(budget)
    try:
        yield
    finally:
        _budget.reset(token)


def _counted(check: Keyword) -> Keyword:
    def spend(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        _budget.get().spend(1 + _length(value) + _length(instance))
        return check(validator, value, instance, schema)

    return spend


def _compared(check: Keyword) -> Keyword:
    def spend(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        _budget.get().spend(_nodes(value) + _nodes(instance))
        return check(validator, value, instance, schema)

    return spend


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _nodes(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_nodes, value.values()))
    return 1 + sum(map(_nodes, value)) if isinstance(value, list) else 1


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, str):
        return
    _budget.get().spend(len(instance) * _parts(pattern) // _MATCHED_AT_ONCE)
    try:
        _compiled(pattern).validate_python(instance)
    except Mismatch:
        yield ValidationError(f"{shown(instance)} does not match {shown(pattern)}")


def _parts(pattern: str) -> int:
    """Return at least how many parts a pattern has once its counted repetitions are written out."""
    counts = (max(int(least), int(most or 0)) for least, most in _COUNTED.findall(pattern))
    return len(pattern) + prod(max(count, 1) for count in counts)


@lru_cache(MAX_PATTERNS)
def _compiled(pattern: str) -> SchemaValidator:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError as error:
        raise ValueError(f"{shown(pattern)} is no regular expression that can be matched in linear time") from error


def _unique(_validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len({_identity(item) for item in instance}) < len(instance):
        yield ValidationError("it has items that are the same")


def _identity(value: Any) -> Any:
    """Return what two JSON values share exactly if they are equal: 1 is 1.0, but not true."""
    match value:
        case bool():
            return ("boolean", value)
        case list():
            return ("list", tuple(map(_identity, value)))
        case dict():
            return ("mapping", frozenset((key, _identity(item)) for key, item in value.items()))
        case _:
            return value


def _metaschema() -> Any:
    """Return a validator of schemas, made of the draft's own vocabularies, which counts steps too."""
    formats = FormatChecker(formats=())
    formats.checks("regex", raises=ValueError)(lambda text: not isinstance(text, str) or bool(_compiled(text)))
    registry = Registry[Any]().with_resources((uri, _uncounted(uri)) for uri in REGISTRY if uri.startswith(_DRAFT))
    return _Bounded(registry.contents(f"{_DRAFT}schema"), registry=registry, format_checker=formats)


def _uncounted(uri: str) -> Any:
    contents = {key: item for key, item in REGISTRY.contents(uri).items() if key != "$schema"}
    return DRAFT202012.create_resource(contents)


_Bounded: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        **{word: _counted(check) for word, check in Draft202012Validator.VALIDATORS.items()},
        **{word: _compared(Draft202012Validator.VALIDATORS[word]) for word in ("enum", "const")},
        "uniqueItems": _compared(_unique),
        "pattern": _pattern,
    },
)
_METASCHEMA: Any = _metaschema()
