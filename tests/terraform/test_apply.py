"""The real provider applies both environments; a second plan finds nothing to do; dev goes whole, prod's data does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.terraform.tf_applied import ON_THE_CLOUD, Applied, client
from tests.terraform.tf_leftovers import leftovers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.terraform.cloud import LocalCloud

pytestmark = ON_THE_CLOUD
# ECS keeps every revision, which is what a rollback goes back to (skip_destroy).
LINGERS = {"task-definition"}


def test_a_second_plan_is_empty(environment: Applied) -> None:
    changes = environment.terraform.plan()
    assert not changes, environment.terraform.run("show", "-no-color", "tfplan")


def test_prod_gives_up_no_data(cloud: LocalCloud, applied: Mapping[str, Applied]) -> None:
    prod = applied["prod"]
    (database,) = prod.all("aws_db_instance")
    assert not database["skip_final_snapshot"]
    with pytest.raises(ClientError, match=r"(?i)protect"):
        client(cloud, "rds").delete_db_instance(DBInstanceIdentifier=database["identifier"], SkipFinalSnapshot=True)

    bucket = prod.deployment["data_bucket"]
    client(cloud, "s3").put_object(Bucket=bucket, Key="cold/kept", Body=b"")
    assert not any(values["force_destroy"] for values in prod.all("aws_s3_bucket"))
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        client(cloud, "s3").delete_bucket(Bucket=bucket)

    # This cloud lets a protected load balancer go; AWS does not.
    assert all(balancer["enable_deletion_protection"] for balancer in prod.all("aws_lb"))


def test_dev_is_destroyed_whole(cloud: LocalCloud, applied: Mapping[str, Applied]) -> None:
    dev = applied["dev"]
    s3 = client(cloud, "s3")
    s3.put_object(Bucket=dev.deployment["data_bucket"], Key="cold/gone", Body=b"")
    assert leftovers(cloud, dev.name) - LINGERS, (
        "nothing to destroy is found, so finding nothing later would say nothing"
    )
    dev.terraform.destroy()
    assert leftovers(cloud, dev.name) <= LINGERS
    assert leftovers(cloud, applied["prod"].name) - LINGERS, "prod stands beside it"
