"""Who may be hit: never production by accident."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from controller.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.drill.place import Place

_PRODUCTION = re.compile(r"(?:^|[^a-z])(?:prod|production|prd|live)(?:$|[^a-z])")


def is_production(*names: str) -> bool:
    """Tell whether one of the names is one that people give to production."""
    return any(_PRODUCTION.search(name.lower()) for name in names)


def allow(place: Place, *, force: bool, named: str | None, ask: Callable[[str], str] | None) -> None:
    """Return if the drill may begin; raise CliError if it hits production and nobody has said so twice.

    `named`: the name given by --yes. `ask`: asks the person at the terminal, None if there is none.
    """
    if not place.production and not is_production(place.context, place.environment):
        return
    name = place.environment
    if not force:
        raise CliError(
            f"{name} is production, and a drill breaks what it hits; rehearse in another environment, "
            "or repeat with --force and the environment's name",
            Exit.REFUSED,
        )
    if named is None and ask is not None:
        named = ask(f"This breaks a part of {name}, on purpose. Type its name to go on: ")
    if named != name:
        how = "type its name" if ask is not None else f"add --yes {name}"
        raise CliError(f"{name} is production and was not named: {how}; nothing was done", Exit.REFUSED)
