"""Who may do what, asked of every role at once: the reach that the architecture draws, and nothing besides."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.terraform.cloud.account import ACCOUNT, REGION
from tests.terraform.tf_applied import ON_THE_CLOUD
from tests.terraform.tf_policies import allows, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.terraform.tf_applied import Applied

pytestmark = ON_THE_CLOUD
WORKERS = {"ingest-task", "polars-task", "python-task"}
SOURCES = {"lambda-cron", "lambda-webhook", "lambda-ecs-state"}
CONTROL = {"dispatcher-task", "migrate-task"}
TASKS = WORKERS | CONTROL
EXECUTION = {role.replace("-task", "-execution") for role in TASKS}
ROLES = TASKS | EXECUTION | SOURCES | {"lambda-operator"}
NOBODY: set[str] = set()


@dataclass(frozen=True, slots=True)
class Question:
    """An action on a resource, which is written with the environment's own names in braces."""

    action: str
    resource: str
    condition: Mapping[str, str] | None = None


def secret(name: str) -> str:
    # Secrets Manager puts a hyphen and six characters behind a name.
    return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{{name}}/{name}"


def read_secret(name: str) -> Question:
    return Question("secretsmanager:GetSecretValue", secret(name))


def stored(action: str, key: str) -> Question:
    return Question(f"s3:{action}", f"arn:aws:s3:::{{bucket}}/{key}")


def queue(action: str, name: str) -> Question:
    return Question(f"sqs:{action}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{name}}-{name}")


def login(user: str, database: str = "{database}") -> Question:
    return Question("rds-db:connect", f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:{database}/{user}")


def ecs(action: str, resource: str) -> Question:
    return Question(f"ecs:{action}", f"arn:aws:ecs:{REGION}:{ACCOUNT}:{resource}")


def function(name: str) -> Question:
    return Question("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")


REACH = [
    # Secrets Manager
    pytest.param(read_secret("tasks/any"), {"polars-task", "ingest-task"}, id="secrets of tasks"),
    pytest.param(read_secret("signing-key"), CONTROL, id="signing key"),
    pytest.param(read_secret("admin-token"), CONTROL, id="admin token"),
    pytest.param(read_secret("events-token"), CONTROL | SOURCES, id="events token"),
    pytest.param(read_secret("pools/polars"), CONTROL | {"polars-task"}, id="token of pool polars"),
    pytest.param(read_secret("pools/python"), CONTROL | {"python-task"}, id="token of pool python"),
    pytest.param(read_secret("pools/ingest"), CONTROL | {"ingest-task"}, id="token of pool ingest"),
    pytest.param(read_secret("pools/lambda"), CONTROL | {"lambda-operator"}, id="token of pool lambda"),
    pytest.param(read_secret("webhooks/notices"), {"migrate-task", "lambda-webhook"}, id="secret of a webhook"),
    pytest.param(Question("secretsmanager:GetSecretValue", "{master}"), {"migrate-task"}, id="master of the database"),
    pytest.param(read_secret("notifiers/oncall"), {"dispatcher-task"}, id="secret of a notifier"),
    pytest.param(
        Question("sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:{{name}}-alerts"),
        NOBODY,
        id="a topic that is not named",
    ),
    pytest.param(read_secret("other"), NOBODY, id="any other secret"),
    pytest.param(
        Question("secretsmanager:PutSecretValue", secret("signing-key")), {"migrate-task"}, id="draw a secret"
    ),
    pytest.param(Question("secretsmanager:PutSecretValue", secret("tasks/any")), NOBODY, id="write a task's secret"),
    pytest.param(Question("secretsmanager:DeleteSecret", secret("admin-token")), NOBODY, id="delete a secret"),
    # S3
    pytest.param(stored("GetObject", "cold/default/flights/a"), {"polars-task", "python-task"}, id="read cold data"),
    pytest.param(stored("PutObject", "cold/default/flights/a"), {"polars-task", "python-task"}, id="write cold data"),
    pytest.param(
        stored("GetObject", "bundles/a.zip"), WORKERS | {"dispatcher-task", "lambda-operator"}, id="read bundles"
    ),
    pytest.param(stored("PutObject", "bundles/a.zip"), {"dispatcher-task"}, id="write bundles"),
    pytest.param(stored("PutObject", "logs/run/task/0/1/000001.log"), WORKERS | {"lambda-operator"}, id="write logs"),
    pytest.param(stored("GetObject", "logs/run/task/0/1/000001.log"), {"dispatcher-task"}, id="read logs"),
    pytest.param(stored("GetObject", "deployments/dags/a.zip"), {"dispatcher-task"}, id="read a deployed DAG folder"),
    pytest.param(stored("PutObject", "deployments/000001.json"), NOBODY, id="write the record of a deploy"),
    pytest.param(stored("DeleteObject", "cold/default/flights/a"), NOBODY, id="delete cold data"),
    pytest.param(stored("DeleteObjectVersion", "cold/default/flights/a"), NOBODY, id="delete a version"),
    pytest.param(Question("s3:GetObject", "arn:aws:s3:::another/cold/a"), NOBODY, id="another bucket"),
    pytest.param(Question("s3:PutBucketPolicy", "arn:aws:s3:::{bucket}"), NOBODY, id="the bucket's policy"),
    # SQS
    *[
        pytest.param(queue(action, f"{pool}.fifo"), {f"{pool}-task"}, id=f"{action} of pool {pool}")
        for action in ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility")
        for pool in ("ingest", "polars", "python")
    ],
    *[
        pytest.param(queue("SendMessage", f"{pool}.fifo"), {"dispatcher-task"}, id=f"send to pool {pool}")
        for pool in ("ingest", "polars", "python")
    ],
    pytest.param(queue("ReceiveMessage", "polars-dlq.fifo"), {"dispatcher-task"}, id="receive dead letters"),
    pytest.param(queue("SendMessage", "polars-dlq.fifo"), NOBODY, id="send to dead letters"),
    pytest.param(queue("ReceiveMessage", "lambda-failures"), {"dispatcher-task"}, id="receive failures of Lambda"),
    pytest.param(queue("SendMessage", "lambda-failures"), {"lambda-operator"}, id="send failures of Lambda"),
    pytest.param(queue("PurgeQueue", "polars.fifo"), NOBODY, id="purge a queue"),
    # RDS
    pytest.param(login("setpoint_worker_login"), WORKERS, id="login of workers"),
    pytest.param(login("setpoint_dispatcher"), {"dispatcher-task"}, id="login of the dispatcher"),
    pytest.param(login("setpoint_migrator"), {"migrate-task"}, id="login of the migration"),
    pytest.param(login("postgres"), NOBODY, id="login of the master"),
    pytest.param(login("setpoint_worker_login", "db-ANOTHER"), NOBODY, id="another database"),
    # ECS, Lambda and what steers them
    pytest.param(ecs("UpdateTaskProtection", "task/{name}/0a"), WORKERS, id="protect a task"),
    pytest.param(ecs("UpdateTaskProtection", "task/another/0a"), NOBODY, id="protect a task of another cluster"),
    pytest.param(ecs("StopTask", "task/{name}/0a"), {"dispatcher-task"}, id="stop a task"),
    pytest.param(ecs("StopTask", "task/another/0a"), NOBODY, id="stop a task of another cluster"),
    pytest.param(ecs("DescribeServices", "service/{name}/polars"), {"dispatcher-task"}, id="describe a service"),
    pytest.param(ecs("UpdateService", "service/{name}/polars"), NOBODY, id="change a service"),
    pytest.param(ecs("RunTask", "task-definition/{name}-migrate:1"), NOBODY, id="start a task"),
    pytest.param(ecs("ExecuteCommand", "task/{name}/0a"), NOBODY, id="enter a task"),
    pytest.param(function("{name}-operator"), {"dispatcher-task"}, id="invoke the operator"),
    pytest.param(function("another"), NOBODY, id="invoke another function"),
    pytest.param(Question("application-autoscaling:PutScalingPolicy", "*"), NOBODY, id="change autoscaling"),
    pytest.param(Question("application-autoscaling:RegisterScalableTarget", "*"), NOBODY, id="change bounds"),
    pytest.param(Question("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/any"), NOBODY, id="pass a role"),
    pytest.param(Question("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/any"), NOBODY, id="assume a role"),
    # Keys
    pytest.param(
        Question("kms:Decrypt", "{data_key}", {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}),
        WORKERS | {"dispatcher-task", "lambda-operator"},
        id="data's key by S3",
    ),
    pytest.param(Question("kms:Decrypt", "{data_key}"), NOBODY, id="data's key directly"),
    pytest.param(
        Question("kms:Decrypt", "{secrets_key}", {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}),
        TASKS | SOURCES | {"lambda-operator"},
        id="secrets' key by Secrets Manager",
    ),
    pytest.param(Question("kms:Decrypt", "{secrets_key}"), NOBODY, id="secrets' key directly"),
    # What starts tasks
    pytest.param(Question("ecr:GetAuthorizationToken", "*"), EXECUTION, id="log in to the registry"),
]

# Actions that know no resource, or whose condition stands for it.
EVERYWHERE = {
    "ecr:GetAuthorizationToken": "a login is to the whole registry",
    "ecs:ListTasks": "knows no resource on Fargate; its condition names the cluster",
    "xray:PutTelemetryRecords": "X-Ray's writes know no resource",
    "xray:PutTraceSegments": "X-Ray's writes know no resource",
}


@pytest.mark.parametrize(("question", "expected"), REACH)
def test_reach(environment: Applied, question: Question, expected: set[str]) -> None:
    resource = _named(environment, question.resource)
    able = {
        role for role in ROLES if allows(environment.statements(role), question.action, resource, question.condition)
    }
    assert able == expected


def test_the_roles_are_all_that_there_are(environment: Applied) -> None:
    """A role that this file does not ask is one whose reach nobody knows."""
    ours = {p["role"].removeprefix(f"{environment.name}-") for p in environment.all("aws_iam_role_policy")}
    assert ours - ROLES <= {"vpc-flow", "flow-logs"}, "add it to ROLES"
    assert ours >= ROLES


def test_no_role_may_do_anything_everywhere(environment: Applied) -> None:
    found = []
    for policy in environment.all("aws_iam_role_policy"):
        for statement in json.loads(policy["policy"])["Statement"]:
            if statement["Effect"] != "Allow":
                continue
            actions = listed(statement["Action"])
            found += [(policy["role"], action) for action in actions if "*" in action]
            if "*" in listed(statement["Resource"]):
                found += [(policy["role"], action) for action in actions if action not in EVERYWHERE]
            assert not {"NotAction", "NotResource"} & set(statement)
    assert not found


def test_roles_are_assumed_by_their_service_for_this_account_alone(environment: Applied) -> None:
    for role in environment.all("aws_iam_role"):
        for statement in json.loads(role["assume_role_policy"])["Statement"]:
            assert set(statement["Principal"]) == {"Service"}, role["name"]
            assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == ACCOUNT, role["name"]


@pytest.mark.parametrize("field", ["privileged", "secrets"])
def test_containers_have_neither(environment: Applied, field: str) -> None:
    """Secrets are read by name with the task's role, so that none stands in a definition."""
    assert not [family for family, container in environment.containers().items() if container.get(field)]


def test_containers_are_shut(environment: Applied) -> None:
    for family, container in environment.containers().items():
        assert container["readonlyRootFilesystem"] is True, family
        assert container["user"] == "10001:10001", family
        assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}, family


def test_nothing_carries_a_secret(environment: Applied) -> None:
    variables = dict(environment.container_environments())
    for function_ in environment.all("aws_lambda_function"):
        variables[function_["function_name"]] = function_["environment"][0]["variables"]
    for owner, given in variables.items():
        assert "password" not in " ".join(given.values()).lower(), owner
        for name, value in given.items():
            if "TOKEN" in name or "SECRET" in name or "KEY" in name:
                assert value.startswith((f"{environment.name}/", "arn:aws:secretsmanager:", f"{environment.name}-")), (
                    owner,
                    name,
                )


def _named(environment: Applied, resource: str) -> str:
    for known in environment.all("aws_secretsmanager_secret"):
        if resource.rpartition(":secret:")[2].replace("{name}", environment.name) == known["name"]:
            return str(known["arn"])
    (database,) = environment.all("aws_db_instance")
    aliases = {alias["name"]: alias["target_key_arn"] for alias in environment.all("aws_kms_alias")}
    named = resource.format(
        name=environment.name,
        bucket=environment.deployment["data_bucket"],
        database=database["resource_id"],
        master=environment.deployment["database"]["master_secret_arn"],
        data_key=aliases[f"alias/{environment.name}-data"],
        secrets_key=aliases[f"alias/{environment.name}-secrets"],
    )
    return f"{named}-AbCdEf" if ":secret:" in named and "{master}" not in resource else named
