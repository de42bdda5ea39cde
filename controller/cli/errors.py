"""How a command ends when it does not succeed."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of all commands."""

    OK = 0
    NEGATIVE = 1
    """The answer is no: a run failed, a difference was found, a file is invalid."""
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4


class CliError(Exception):
    """End the command with a message and an exit code; `problems` are printed line by line."""

    def __init__(self, message: str, code: Exit = Exit.REFUSED, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.problems = problems


class UnreachableError(CliError):
    """The server does not answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Exit.UNREACHABLE)
