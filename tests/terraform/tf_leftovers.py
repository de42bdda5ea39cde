"""What the cloud still has of an environment, by the name that everything of it begins with or is tagged by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.terraform.tf_applied import client

if TYPE_CHECKING:
    from tests.terraform.cloud import LocalCloud

# Kind → (service, operation, its arguments, the list in the answer, the field that holds the name; "" if items are names).
_NAMED: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    "alarm": ("cloudwatch", "describe_alarms", {}, "MetricAlarms", "AlarmName"),
    "api": ("apigatewayv2", "get_apis", {}, "Items", "Name"),
    "bucket": ("s3", "list_buckets", {}, "Buckets", "Name"),
    "cluster": ("ecs", "describe_clusters", {}, "clusters", "clusterName"),
    "dashboard": ("cloudwatch", "list_dashboards", {}, "DashboardEntries", "DashboardName"),
    "database": ("rds", "describe_db_instances", {}, "DBInstances", "DBInstanceIdentifier"),
    "function": ("lambda", "list_functions", {}, "Functions", "FunctionName"),
    "kms-alias": ("kms", "list_aliases", {}, "Aliases", "AliasName"),
    "load-balancer": ("elbv2", "describe_load_balancers", {}, "LoadBalancers", "LoadBalancerName"),
    "log-group": ("logs", "describe_log_groups", {}, "logGroups", "logGroupName"),
    "parameter-group": ("rds", "describe_db_parameter_groups", {}, "DBParameterGroups", "DBParameterGroupName"),
    "queue": ("sqs", "list_queues", {}, "QueueUrls", ""),
    "repository": ("ecr", "describe_repositories", {}, "repositories", "repositoryName"),
    "role": ("iam", "list_roles", {}, "Roles", "RoleName"),
    "rule": ("events", "list_rules", {}, "Rules", "Name"),
    "scaling-target": (
        "application-autoscaling",
        "describe_scalable_targets",
        {"ServiceNamespace": "ecs"},
        "ScalableTargets",
        "ResourceId",
    ),
    "secret": ("secretsmanager", "list_secrets", {}, "SecretList", "Name"),
    "subnet-group": ("rds", "describe_db_subnet_groups", {}, "DBSubnetGroups", "DBSubnetGroupName"),
    "target-group": ("elbv2", "describe_target_groups", {}, "TargetGroups", "TargetGroupName"),
    "task-definition": ("ecs", "list_task_definition_families", {}, "families", ""),
    "topic": ("sns", "list_topics", {}, "Topics", "TopicArn"),
    "zone": ("route53", "list_hosted_zones", {}, "HostedZones", "Name"),
}
_TAGGED: dict[str, tuple[str, str]] = {
    "address": ("describe_addresses", "Addresses"),
    "endpoint": ("describe_vpc_endpoints", "VpcEndpoints"),
    "internet-gateway": ("describe_internet_gateways", "InternetGateways"),
    "nat-gateway": ("describe_nat_gateways", "NatGateways"),
    "network": ("describe_vpcs", "Vpcs"),
    "route-table": ("describe_route_tables", "RouteTables"),
    "security-group": ("describe_security_groups", "SecurityGroups"),
    "subnet": ("describe_subnets", "Subnets"),
}


def leftovers(cloud: LocalCloud, name: str) -> set[str]:
    """Return the kinds of things of an environment that the cloud has."""
    found = {kind for kind in _NAMED if _has_named(cloud, kind, name)}
    found |= {kind for kind in _TAGGED if _has_tagged(cloud, kind, name)}
    return found


def _has_named(cloud: LocalCloud, kind: str, name: str) -> bool:
    service, operation, arguments, key, field = _NAMED[kind]
    if kind == "cluster":
        arguments = {"clusters": [name]}
    items = getattr(client(cloud, service), operation)(**arguments).get(key, [])
    return any(
        name in (item[field] if field else item) for item in items if not field or item.get("status") != "INACTIVE"
    )


def _has_tagged(cloud: LocalCloud, kind: str, name: str) -> bool:
    operation, key = _TAGGED[kind]
    items = getattr(client(cloud, "ec2"), operation)()[key]
    # A NAT gateway is listed for an hour after its end.
    return any(
        {"Key": "setpoint:name", "Value": name} in item.get("Tags", ())
        for item in items
        if item.get("State") != "deleted"
    )
