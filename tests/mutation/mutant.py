"""What a mutant is: a bug, how it is planted, how it is hunted, and which promise must catch it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.mutation.planting import Edit

AS_DRAWN: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug.

    It is hunted by schedules of the simulation, seed after seed; or, if `tests` names some, by these.
    """

    name: str
    breaks: str
    """What goes wrong, in a sentence."""
    edits: tuple[Edit, ...]
    caught_by: str
    """A pattern of the message of each check that may catch it; whatever else fails is an error of the mutant."""
    faults: Mapping[str, float] = field(default_factory=lambda: AS_DRAWN)
    """The fault rates of its schedules, if not those drawn from the seeds: only these faults strike."""
    actions: tuple[str, ...] = ()
    """What people do in its schedules, often, if not what the seeds say."""
    tests: tuple[str, ...] = ()

    def fits(self, message: str) -> bool:
        """Tell whether a failure is the one that the bug must lead to."""
        return re.search(self.caught_by, message) is not None
