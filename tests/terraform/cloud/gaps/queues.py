"""Gaps: SQS forgets RedriveAllowPolicy, for which the provider waits 20 minutes, and writes RedrivePolicy in a way of its own."""

import json
from typing import Any

from moto.sqs.models import Queue


def fill() -> None:
    """Keep the policies, and answer them as SQS does: as JSON without blanks."""
    stock: property = vars(Queue)["attributes"]

    def attributes(self: Any) -> dict[str, Any]:
        answer: dict[str, Any] = stock.__get__(self)
        for name in ("RedrivePolicy", "RedriveAllowPolicy"):
            if answer.get(name):
                answer[name] = json.dumps(json.loads(answer[name]), separators=(",", ":"))
        return answer

    Queue.BASE_ATTRIBUTES = [*Queue.BASE_ATTRIBUTES, "RedriveAllowPolicy"]
    setattr(Queue, "redrive_allow_policy", None)  # noqa: B010 - typing forbids to add to a class
    setattr(Queue, "attributes", property(attributes))  # noqa: B010 - the same
