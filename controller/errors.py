"""Errors say what to do about them: try again, try again slower, or fetch a person."""

from __future__ import annotations


class SetpointError(Exception):
    """Anything that Setpoint itself raises."""


class Transient(SetpointError):
    """Try again: the network, a failover, a lost answer."""


class Throttled(Transient):
    """Try again, slower: the other side asked for it."""


class Terminal(SetpointError):
    """A person must act; trying again changes nothing. `reason` is one of crds.reasons."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Conflict(SetpointError):
    """Someone else changed the object first (HTTP 409)."""


class NotFound(SetpointError):
    """The object does not exist (HTTP 404)."""


class Invalid(SetpointError):
    """What was asked makes no sense (HTTP 422); `problems` are lines for people."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
