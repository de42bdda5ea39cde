"""Whether a role may do something, as IAM decides: an explicit Deny, else an Allow, else no.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Statement = dict[str, Any]
# A condition of another kind is taken to hold for what allows, and not for what denies: the wider reading of both.
_EVALUATED = {"StringEquals", "ArnEquals"}


def allows(
    statements: Iterable[Statement], action: str, resource: str, context: Mapping[str, str] | None = None
) -> bool:
    """Return whether the statements let their role do `action` on `resource`."""
    matching = [s for s in statements if _matches(s, action, resource)]
    holding = [s for s in matching if _holds(s, context or {})]
    return any(s["Effect"] == "Allow" for s in holding) and not any(s["Effect"] == "Deny" for s in holding)


def listed(value: str | list[str]) -> list[str]:
    """Return what a policy writes as one string or as a list of them."""
    return [value] if isinstance(value, str) else value


def _matches(statement: Statement, action: str, resource: str) -> bool:
    return any(_like(pattern.lower(), action.lower()) for pattern in listed(statement["Action"])) and any(
        _like(pattern, resource) for pattern in listed(statement["Resource"])
    )


def _holds(statement: Statement, context: Mapping[str, str]) -> bool:
    conditions: Mapping[str, Mapping[str, str | list[str]]] = statement.get("Condition", {})
    if set(conditions) - _EVALUATED:
        return bool(statement["Effect"] == "Allow")
    return all(context.get(key) in listed(values) for pairs in conditions.values() for key, values in pairs.items())


def _like(pattern: str, text: str) -> bool:
    """Match * and ? as IAM does: they are its only wildcards."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
