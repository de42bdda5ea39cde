"""What a plan would change, and what of it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from controller.deploy.changes import changes, families, outputs_change, refused

BUCKET = "module.s3.aws_s3_bucket.data"


def change(kind: str, *actions: str, address: str | None = None, **after: Any) -> dict[str, Any]:
    return {
        "address": address or f"{kind}.this",
        "type": kind,
        "change": {"actions": list(actions), "after": after or None},
    }


def plan(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resource_changes": list(entries), **more}


@pytest.mark.parametrize(
    ("actions", "shown"),
    [
        pytest.param(("create",), ["+ aws_sqs_queue.this"], id="new"),
        pytest.param(("update",), ["~ aws_sqs_queue.this"], id="in place"),
        pytest.param(("delete",), ["- aws_sqs_queue.this"], id="gone"),
        pytest.param(("delete", "create"), ["-/+ aws_sqs_queue.this"], id="replaced"),
        pytest.param(("create", "delete"), ["-/+ aws_sqs_queue.this"], id="replaced, the new one first"),
        pytest.param(("no-op",), [], id="as it is"),
        pytest.param(("read",), [], id="data read"),
    ],
)
def test_changes(actions: tuple[str, ...], shown: list[str]) -> None:
    assert [str(found) for found in changes(plan(change("aws_sqs_queue", *actions)))] == shown


@pytest.mark.parametrize(
    ("entry", "allowed", "bad"),
    [
        pytest.param(change("aws_s3_bucket", "delete", address=BUCKET), (), [BUCKET], id="bucket gone"),
        pytest.param(change("aws_s3_bucket", "delete", address=BUCKET), (BUCKET,), [], id="bucket gone, by name"),
        pytest.param(
            change("aws_s3_bucket", "delete", address=BUCKET), ("aws_s3_bucket.this",), [BUCKET], id="other name"
        ),
        pytest.param(
            change("aws_db_instance", "delete", "create"), (), ["aws_db_instance.this"], id="database replaced"
        ),
        pytest.param(change("aws_kms_key", "create", "delete"), (), ["aws_kms_key.this"], id="key replaced"),
        pytest.param(change("aws_sqs_queue", "delete"), (), ["aws_sqs_queue.this"], id="queue gone"),
        pytest.param(change("aws_sqs_queue", "update"), (), [], id="queue changed"),
        pytest.param(change("aws_ecs_task_definition", "delete", "create"), (), [], id="template replaced"),
    ],
)
def test_what_holds_data_is_destroyed_by_name_only(
    entry: dict[str, Any], allowed: tuple[str, ...], bad: list[str]
) -> None:
    assert [found.address for found in refused(changes(plan(entry)), allowed)] == bad


def test_new_templates_are_known_by_family() -> None:
    entries = (
        change("aws_ecs_task_definition", "delete", "create", family="setpoint-dev-python"),
        change("aws_ecs_task_definition", "no-op", family="setpoint-dev-polars"),
    )
    assert families(plan(*entries)) == {"setpoint-dev-python"}


def test_an_output_alone_is_a_change() -> None:
    assert outputs_change(plan(output_changes={"deployment": {"actions": ["update"]}}))
    assert not outputs_change(plan(output_changes={"deployment": {"actions": ["no-op"]}}))
