"""Gap: Application Auto Scaling has no tags, which the provider asks for after each write, and knows moto's ECS alone."""

import json
from typing import Any

from moto.applicationautoscaling.models import ApplicationAutoscalingBackend
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

_TAGS: dict[str, dict[str, str]] = {}


def fill() -> None:
    """Add ListTagsForResource, TagResource and UntagResource; keep the tags that a target is made with."""
    register = ApplicationAutoScalingResponse.register_scalable_target

    def register_scalable_target(self: Any) -> str:
        answer: str = register(self)
        _TAGS.setdefault(json.loads(answer)["ScalableTargetARN"], {}).update(self._get_param("Tags") or {})
        return answer

    def list_tags_for_resource(self: Any) -> str:
        return json.dumps({"Tags": _TAGS.get(self._get_param("ResourceARN"), {})})

    def tag_resource(self: Any) -> str:
        _TAGS.setdefault(self._get_param("ResourceARN"), {}).update(self._get_param("Tags"))
        return "{}"

    def untag_resource(self: Any) -> str:
        for key in self._get_param("TagKeys"):
            _TAGS.get(self._get_param("ResourceARN"), {}).pop(key, None)
        return "{}"

    # A service may be one of our own ECS, which moto knows nothing of.
    setattr(ApplicationAutoscalingBackend, "_ecs_service_exists_for_target", lambda *_: True)  # noqa: B010 - as below
    for operation in (register_scalable_target, list_tags_for_resource, tag_resource, untag_resource):
        setattr(ApplicationAutoScalingResponse, operation.__name__, operation)
