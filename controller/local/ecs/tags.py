"""Tags of whatever has an ARN, and their operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.local.awsjson import AwsError, JsonObject, Operation, Operations

if TYPE_CHECKING:
    from collections.abc import Sequence

# AWS's own limit.
_MOST_TAGS = 50


class Tag(msgspec.Struct, frozen=True):
    """One tag."""

    key: str
    value: str = ""


class TagResource(msgspec.Struct, rename="camel"):
    """The request of TagResource."""

    resource_arn: str
    tags: list[Tag]


class UntagResource(msgspec.Struct, rename="camel"):
    """The request of UntagResource."""

    resource_arn: str
    tag_keys: list[str]


class ListTagsForResource(msgspec.Struct, rename="camel"):
    """The request of ListTagsForResource."""

    resource_arn: str


class Tags:
    """The tags of clusters, services and task definitions by ARN."""

    def __init__(self) -> None:
        self._tags: dict[str, dict[str, str]] = {}

    def operations(self) -> Operations:
        """Return the operations by name."""
        return {
            "TagResource": Operation(TagResource, self._tag),
            "UntagResource": Operation(UntagResource, self._untag),
            "ListTagsForResource": Operation(
                ListTagsForResource, lambda request: {"tags": self.of(request.resource_arn)}
            ),
        }

    def put(self, arn: str, tags: Sequence[Tag]) -> None:
        """Add tags; the last value of a key counts."""
        known = {**self._tags.get(arn, {}), **{tag.key: tag.value for tag in tags}}
        if len(known) > _MOST_TAGS:
            raise AwsError("InvalidParameterException", f"A resource has at most {_MOST_TAGS} tags.")
        self._tags[arn] = known

    def of(self, arn: str) -> list[JsonObject]:
        """Return the tags of a resource."""
        return [{"key": key, "value": value} for key, value in sorted(self._tags.get(arn, {}).items())]

    def _tag(self, request: TagResource) -> JsonObject:
        self.put(request.resource_arn, request.tags)
        return {}

    def _untag(self, request: UntagResource) -> JsonObject:
        known = self._tags.get(request.resource_arn, {})
        for key in request.tag_keys:
            known.pop(key, None)
        return {}
