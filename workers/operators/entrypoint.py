"""Find a user's function in the bundle and call it with what its signature asks for."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from workers.task import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def load(entrypoint: str, bundle: Path | None) -> Callable[..., Any]:
    """Import `module:function`; what the module itself raises passes through."""
    module_name, name = entrypoint.split(":", 1)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise TaskFailed(
            "EntrypointNotFound", f"there is no module {module_name} in the DAG's folder ({entrypoint})"
        ) from error
    _check_origin(module_name, getattr(module, "__file__", None), bundle)
    function = getattr(module, name, None)
    if not callable(function):
        raise TaskFailed("EntrypointNotFound", f"module {module_name} has no function {name} ({entrypoint})")
    found: Callable[..., Any] = function
    return found


def call(function: Callable[..., Any], offered: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Call the function with all of `given` and those of `offered` that its signature names."""
    parameters = inspect.signature(function).parameters
    asked = {name: value for name, value in offered.items() if name in parameters and name not in given}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    unasked = [name for name in given if name not in parameters and not takes_any]
    if unasked:
        raise TaskFailed(
            "EntrypointSignature",
            f"{function.__name__}({', '.join(parameters)}) does not take {', '.join(unasked)}; the task's inputs "
            "and args arrive as keywords of the same names",
        )
    result = function(**asked, **given)
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    return result


def _check_origin(module_name: str, found: str | None, bundle: Path | None) -> None:
    """Refuse a module that hides the bundle's file of the same name, such as the standard `json`."""
    if bundle is None:
        return
    top = module_name.split(".", 1)[0]
    ours = (bundle / f"{top}.py").is_file() or (bundle / top).is_dir()
    if ours and (found is None or not found.startswith(str(bundle))):
        raise TaskFailed(
            "ModuleHidden",
            f"{top}.py of the DAG's folder is hidden by {found or 'a built-in module'} of the same name; rename it",
        )
