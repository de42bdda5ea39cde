"""The ways to a permission beside a role's own policy, which the questions of reach do not see: each is listed here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.terraform.cloud.account import ACCOUNT
from tests.terraform.tf_applied import ON_THE_CLOUD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.terraform.tf_applied import Applied

pytestmark = ON_THE_CLOUD
SERVICE_ROLE = "arn:aws:iam::aws:policy/service-role/"
# AWS's own policies: a function in a VPC makes its network interface, RDS writes its metrics; neither reads anything.
ATTACHED = {
    "lambda-cron": "AWSLambdaENIManagementAccess",
    "lambda-ecs-state": "AWSLambdaENIManagementAccess",
    "lambda-operator": "AWSLambdaENIManagementAccess",
    "lambda-webhook": "AWSLambdaENIManagementAccess",
    "rds-monitoring": "AmazonRDSEnhancedMonitoringRole",
}
# Users, groups and policies of our own would each be one more place to look for what a role may do.
IDENTITY = {"aws_iam_role", "aws_iam_role_policy", "aws_iam_role_policy_attachment"}
# An endpoint's policy narrows what passes through it, a lifecycle's expires images: neither gives anybody anything.
GIVES_NOTHING = {"aws_vpc_endpoint", "aws_ecr_lifecycle_policy"}
INVOKERS = {"events.amazonaws.com", "apigateway.amazonaws.com"}


def test_attached_policies_are_those_listed(environment: Applied) -> None:
    attached = [(a["role"], a["policy_arn"]) for a in environment.all("aws_iam_role_policy_attachment")]
    # RDS writes metrics of its own in prod alone, so dev has no role for that.
    roles = {role["name"] for role in environment.all("aws_iam_role")}
    listed = {f"{environment.name}-{role}": SERVICE_ROLE + policy for role, policy in ATTACHED.items()}
    assert sorted(attached) == [(role, policy) for role, policy in listed.items() if role in roles]


def test_roles_get_policies_in_no_other_way(environment: Applied) -> None:
    assert {kind for kind in environment.types() if kind.startswith("aws_iam_")} == IDENTITY
    for role in environment.all("aws_iam_role"):
        assert not role["inline_policy"], role["name"]


def test_resources_open_themselves_to_no_role(environment: Applied) -> None:
    """Within an account a resource's own policy is enough, whatever the role's policy says."""
    for owner, statement in _of_resources(environment):
        principal = statement["Principal"]
        if statement["Effect"] == "Deny" or set(principal) == {"Service"}:
            continue
        # What a key calls its account leaves the decision to the roles' policies.
        assert principal == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, (owner, statement)
        assert owner.startswith("aws_kms_key"), (owner, statement)


def test_functions_are_invoked_by_our_rules_and_routes_alone(environment: Applied) -> None:
    rules = {rule["arn"].rpartition("/")[0] for rule in environment.all("aws_cloudwatch_event_rule")}
    ours = {f"{rule}/{environment.name}-" for rule in rules}
    ours |= {f"{api['execution_arn']}/" for api in environment.all("aws_apigatewayv2_api")}
    for permission in environment.all("aws_lambda_permission"):
        assert permission["action"] == "lambda:InvokeFunction"
        assert permission["principal"] in INVOKERS
        assert (permission["source_arn"] or "").startswith(tuple(ours)), permission["function_name"]


def _of_resources(environment: Applied) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each statement of each policy that stands on a resource, with what it stands on."""
    for kind in sorted(environment.types() - IDENTITY - GIVES_NOTHING):
        for values in environment.all(kind):
            if not values.get("policy"):
                continue
            for statement in json.loads(values["policy"])["Statement"]:
                yield f"{kind} {values['id']}", statement
