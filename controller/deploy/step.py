"""The shape of a step, and how steps run one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from controller.errors import SetpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

Say = Callable[[str], object]
"""Takes one line for the person who watches."""


class StepFailed(SetpointError):
    """A step came to an end that a person must look at; `details` are lines that show why."""

    def __init__(self, message: str, *details: str) -> None:
        super().__init__(message)
        self.details = details
        self.step = ""


class Refused(StepFailed):
    """Nothing was tried: what was asked is dangerous, unclear or someone else's turn."""


class Step(Protocol):
    """One thing that a deployment does. Both methods may be repeated; the second `apply` finds nothing to do."""

    @property
    def name(self) -> str:
        """Return the word that progress lines and errors call it by."""
        ...

    def plan(self) -> list[str]:
        """Return what `apply` would change, a line each; nothing when it would change nothing. It changes nothing."""
        ...

    def apply(self, say: Say) -> None:
        """Do it, saying each change; raise StepFailed or another SetpointError."""
        ...


def show(steps: Sequence[Step], say: Say) -> int:
    """Say what each step would change; return how many lines that made."""
    total = 0
    for step in steps:
        lines = step.plan()
        total += len(lines)
        say(f"{step.name}:" if lines else f"{step.name}: nothing to change")
        for line in lines:
            say(f"  {line}")
    return total


def run(steps: Sequence[Step], say: Say) -> None:
    """Run each step and say how long it took; the first that fails ends it, and its error carries its name."""
    for step in steps:
        started = time.monotonic()
        say(f"{step.name}:")
        try:
            step.apply(lambda line: say(f"  {line}"))
        except StepFailed as error:
            error.step = error.step or step.name
            raise
        except SetpointError as error:
            failed = StepFailed(str(error))
            failed.step = step.name
            raise failed from error
        say(f"  done in {time.monotonic() - started:.1f} s")
