"""The settings of the sources, read once from the environment; the standard library is all that they need."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "SETPOINT_"
_KNOWN = ("URL", "API_CA", "EVENTS_TOKEN_SECRET")
_WEBHOOK = "WEBHOOK_SECRET_PREFIX"


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where events go, and the names of the secrets that a source reads."""

    url: str
    events_token_secret: str
    api_ca: str = ""
    webhook_secret_prefix: str = ""


def read(*, webhook: bool = False, environment: Mapping[str, str] = os.environ) -> SourceSettings:
    """Return the settings of a source; raise ValueError that names what is unknown, missing or wrong."""
    known = (*_KNOWN, _WEBHOOK) if webhook else _KNOWN
    given = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
    problems = [_unknown(name, known) for name in sorted(given) if name not in known]
    problems += [f"{PREFIX}{name} is missing" for name in known if name != "API_CA" and not given.get(name)]
    url = given.get("URL", "")
    if url and not (urlsplit(url).scheme in {"http", "https"} and urlsplit(url).hostname):
        problems.append(f"{PREFIX}URL is no http:// or https:// address")
    if problems:
        raise ValueError("; ".join(problems))
    return SourceSettings(
        url=url.rstrip("/"),
        events_token_secret=given["EVENTS_TOKEN_SECRET"],
        api_ca=given.get("API_CA", ""),
        webhook_secret_prefix=given.get(_WEBHOOK, ""),
    )


def _unknown(name: str, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {PREFIX}{nearest[0]}?" if nearest else f"known are {', '.join(PREFIX + k for k in known)}"
    return f"{PREFIX}{name} is no setting of this function; {hint}"
