"""Read options without pydantic, which typer imports for each of them and which takes longer than all the rest of a start."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import typer.core

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = (bool, int, float, Enum)
"""What a default is made of; given on a command line, it comes as text."""


def install() -> None:
    """Have typer coerce by itself only what is not plain already; a typer that works otherwise is left as it is."""
    build = getattr(typer.core, "build_runtime_param", None)
    if build is not None and not isinstance(build, _Quick):
        typer.core.build_runtime_param = _Quick(build)  # type: ignore[attr-defined, assignment]


class _Quick:
    """Typer's builder of coercions, put off until a value needs one."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build

    def __call__(self, descriptor: Any) -> _Coercion:
        return _Coercion(self._build, descriptor)


class _Coercion:
    """The coercion of one parameter."""

    def __init__(self, build: Callable[[Any], Any], descriptor: Any) -> None:
        self._build = build
        self._descriptor = descriptor
        self._built: Any = None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value as the command's function takes it."""
        if value is None and not (param.multiple or param.nargs == -1):
            return None
        if isinstance(value, _PLAIN) or (self._is_text() and isinstance(value, str)):
            return value
        if self._is_texts() and isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            return list(value)
        return self._real().coerce(value, param, ctx)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def _is_text(self) -> bool:
        info = self._descriptor.parameter_info
        return self._descriptor.annotation is str and info.parser is None and info.callback is None

    def _is_texts(self) -> bool:
        return self._descriptor.annotation == list[str] and self._descriptor.parameter_info.parser is None

    def _real(self) -> Any:
        if self._built is None:
            self._built = self._build(self._descriptor)
        return self._built
