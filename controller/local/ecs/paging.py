"""Lists in pages, as ECS gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.local.awsjson import AwsError, JsonObject

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST_PAGE = 100


def page(member: str, arns: Sequence[str], token: str | None, limit: int | None) -> JsonObject:
    """Return the page behind `token`, which is the last ARN of the page before.

    An ARN that vanished in between leaves no way to go on, as an expired token of AWS.
    """
    if limit is not None and not 1 <= limit <= _LARGEST_PAGE:
        raise AwsError("InvalidParameterException", f"maxResults must be between 1 and {_LARGEST_PAGE}.")
    if token is not None and token not in arns:
        raise AwsError("InvalidParameterException", "Invalid token.")
    start = 0 if token is None else arns.index(token) + 1
    end = start + (limit or _LARGEST_PAGE)
    found = list(arns[start:end])
    return {member: found, **({"nextToken": found[-1]} if end < len(arns) else {})}
