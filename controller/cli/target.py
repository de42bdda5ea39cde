"""Which system the commands talk to: a context of the nearest config file, the environment, or this machine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "http://127.0.0.1:8080"
CONFIG_FILE = Path(".setpoint") / "config.json"
"""Where `setpoint up` and `setpoint deploy` leave how to reach a system."""


@dataclass(frozen=True, slots=True)
class Target:
    """The address of a dispatcher, and the token that it knows us by."""

    url: str
    token: str | None = None
    origin: str = "the default"
    """Where the address comes from, for error messages."""
    authority: str | None = None
    """PEM text of an authority that is trusted beside the system's."""
    server_name: str | None = None
    """The name in the server's certificate, where it is not the address's."""


@dataclass(frozen=True, slots=True)
class Config:
    """The systems that a folder knows, and which of them is current."""

    path: Path
    current: str
    contexts: Mapping[str, Mapping[str, Any]]


def find_target(
    environment: Mapping[str, str] = os.environ, folder: Path | None = None, context: str | None = None
) -> Target:
    """Return the system of a context, of SETPOINT_URL, of SETPOINT_CONTEXT, or of the nearest file's current context."""
    url, token = environment.get("SETPOINT_URL"), environment.get("SETPOINT_TOKEN")
    if url and not context:
        return Target(url.rstrip("/"), token, "SETPOINT_URL")
    name = context or environment.get("SETPOINT_CONTEXT")
    config = find_config(folder)
    if config is None and not name:
        return Target(DEFAULT_URL, token)
    name = name or (config.current if config else "")
    found = _target(config, name)
    return replace(found, token=token or found.token)


def find_config(folder: Path | None = None) -> Config | None:
    """Return what the nearest config file says, or None if there is none here or above."""
    here = (folder or Path.cwd()).resolve()
    path = next((p / CONFIG_FILE for p in (here, *here.parents) if (p / CONFIG_FILE).is_file()), None)
    return read_config(path) if path else None


def read_config(path: Path) -> Config:
    """Return what a config file says."""
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
        contexts = text.get("contexts", {})
        for context in contexts.values():
            # Whoever edits the file shall hear of a context without an address here, not when it is used.
            context["url"].rstrip("/")
        return Config(path, str(text.get("current") or ""), contexts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(
            f"{path} is no file of contexts ({error}); delete it, or set SETPOINT_URL", Exit.USAGE
        ) from error


def unknown_context(config: Config | None, name: str) -> CliError:
    """Return the error that names the contexts there are."""
    if config is None or not config.contexts:
        where = f"{config.path} holds none" if config else f"there is no {CONFIG_FILE} here or above"
        return CliError(
            f"there is no context {name!r}: {where}; `setpoint up` or `setpoint deploy` make one", Exit.USAGE
        )
    known = ", ".join(sorted(config.contexts))
    what = f"{config.path} has no context {name!r}" if name else f"{config.path} has no current context"
    return CliError(f"{what}; known are {known} (`setpoint config use-context NAME` chooses one)", Exit.USAGE)


def _target(config: Config | None, name: str) -> Target:
    context = config.contexts.get(name) if config else None
    if config is None or context is None:
        raise unknown_context(config, name)
    url, origin = str(context["url"]).rstrip("/"), f"context {name} of {config.path}"
    return Target(url, context.get("token"), origin, context.get("authority"), context.get("serverName"))
