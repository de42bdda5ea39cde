"""Template and image make a definition; equal ones have one hash."""

from __future__ import annotations

from typing import Any

import pytest

from controller.deploy.definitions import Definition, registered
from controller.deploy.step import StepFailed

ENVIRONMENT = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
CONTAINER: dict[str, Any] = {"name": "worker", "image": "r:template", "environment": ENVIRONMENT, "command": ["a", "b"]}
BODY: dict[str, Any] = {"family": "f", "cpu": "256", "containerDefinitions": [CONTAINER]}


def body(**changed: Any) -> dict[str, Any]:
    return {**BODY, "containerDefinitions": [{**CONTAINER, **changed}]}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param(BODY, True, id="the same"),
        pytest.param(body(environment=ENVIRONMENT[::-1]), True, id="environment in another order"),
        pytest.param(body(mountPoints=[], cpu=None), True, id="what ECS fills in empty"),
        pytest.param(body(command=["b", "a"]), False, id="command in another order"),
        pytest.param(body(image="r@sha256:1"), False, id="another image"),
        pytest.param(body(environment=ENVIRONMENT[:1]), False, id="a variable less"),
        pytest.param(body(readonlyRootFilesystem=False), False, id="false is not absent"),
        pytest.param({**BODY, "cpu": "512"}, False, id="another size"),
    ],
)
def test_hash(other: dict[str, Any], same: bool) -> None:
    assert (Definition(other).hash == Definition(BODY).hash) is same


def test_what_ecs_adds_is_no_part_of_a_definition() -> None:
    described = {**BODY, "taskDefinitionArn": "arn", "revision": 7, "status": "ACTIVE", "registeredAt": 1.0}
    assert registered(described).body == BODY


def test_one_containers_image_is_replaced() -> None:
    two = Definition({**BODY, "containerDefinitions": [CONTAINER, {"name": "proxy", "image": "p"}]})
    images = {c["name"]: c["image"] for c in two.with_image("worker", "r@sha256:1").body["containerDefinitions"]}
    assert images == {"worker": "r@sha256:1", "proxy": "p"}
    assert two.container("worker")["image"] == "r:template"


def test_an_unknown_container_is_an_error() -> None:
    with pytest.raises(StepFailed, match="no container 'dispatcher'"):
        Definition(BODY).with_image("dispatcher", "x")
