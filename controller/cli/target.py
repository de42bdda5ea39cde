"""Which system the commands talk to: the environment, the nearest context file, or this machine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "http://127.0.0.1:8080"
CONTEXT_FILE = Path(".setpoint") / "context.json"
CONTEXTS = Path(".setpoint") / "contexts"
"""Where `setpoint deploy` leaves a file for each environment."""


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


def find_target(environment: Mapping[str, str] = os.environ, folder: Path | None = None) -> Target:
    """Return SETPOINT_URL and SETPOINT_TOKEN, or what the nearest file of SETPOINT_CONTEXT or .setpoint/context.json says."""
    url, token = environment.get("SETPOINT_URL"), environment.get("SETPOINT_TOKEN")
    if url:
        return Target(url.rstrip("/"), token, "SETPOINT_URL")
    name = environment.get("SETPOINT_CONTEXT")
    context = _nearest(folder or Path.cwd(), context_file(name) if name else CONTEXT_FILE)
    if context is None and name:
        message = f"there is no {context_file(name)} here or above; `setpoint deploy --env {name}` writes it"
        raise CliError(message, Exit.USAGE)
    if context is None:
        return Target(DEFAULT_URL, token)
    found = _read(context)
    return replace(found, token=token or found.token)


def context_file(name: str) -> Path:
    """Return where the context of an environment is, below the folder of a project."""
    return CONTEXTS / f"{name}.json"


def _nearest(folder: Path, file: Path) -> Path | None:
    here = folder.resolve()
    return next((p / file for p in (here, *here.parents) if (p / file).is_file()), None)


def _read(path: Path) -> Target:
    try:
        context = json.loads(path.read_text(encoding="utf-8"))
        url, token = str(context["url"]).rstrip("/"), context.get("token")
        return Target(url, token, str(path), context.get("authority"), context.get("serverName"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CliError(f"{path} is no context file ({error}); delete it, or set SETPOINT_URL", Exit.USAGE) from error
