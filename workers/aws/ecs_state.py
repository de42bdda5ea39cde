"""ECS says that a task stopped; the dispatcher then looks at its attempts at once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from workers.aws.events import deliver, open_events
from workers.aws.settings import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.aws.events import Events, Invoked


def handler(event: Mapping[str, Any], context: Invoked) -> None:
    """Bring one stopped task to the dispatcher; other states of tasks concern nobody."""
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise ValueError("this is no event of ECS: it has no detail; the rule passes ECS Task State Change as it is")  # noqa: TRY004 - a wrong rule, not a wrong call
    if detail.get("lastStatus") == "STOPPED":
        deliver(_events(), {"type": "ecs", "detail": detail}, context)


@cache
def _events() -> Events:
    return open_events(read())
