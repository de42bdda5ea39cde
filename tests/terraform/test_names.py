"""What Terraform calls things and what the code calls them: each name that both sides know is compared here."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from controller import probe as dispatcher_probe
from controller import settings as dispatcher_settings
from controller.deploy import migrate_task
from controller.local.provisioner import MAX_RECEIVES, RETENTION_SECONDS, VISIBILITY_SECONDS
from controller.runtime.metrics import INSTRUMENTS
from controller.store.pools import Pool
from crds import emf
from crds.names import dead_letter_name, function_name
from crds.pool import WorkerPoolSpec
from tests.terraform.cloud.terraform import ROOT
from tests.terraform.tf_applied import ON_THE_CLOUD
from workers import probe as worker_probe
from workers import settings as worker_settings
from workers.aws import settings as source_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.terraform.tf_applied import Applied

pytestmark = ON_THE_CLOUD
SOURCES = ("cron", "webhook", "ecs-state")


def pools() -> list[Pool]:
    """Return the declared pools as the controller has them."""
    documents = [d for path in sorted((ROOT / "dags").rglob("*.yaml")) for d in yaml.safe_load_all(path.read_text())]
    return [
        Pool(
            uid=str(UUID(int=number)),
            namespace=document["metadata"].get("namespace", "default"),
            name=document["metadata"]["name"],
            spec=WorkerPoolSpec.model_validate(document["spec"]),
            generation=1,
        )
        for number, document in enumerate(documents)
        if document["kind"] == "WorkerPool"
    ]


SERVED = [pool for pool in pools() if not pool.invoked]


def only(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process have these settings and no other."""
    for name in list(os.environ):
        if name.startswith("SETPOINT_"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def function_of(environment: Applied, name: str) -> Mapping[str, Any]:
    (found,) = [f for f in environment.all("aws_lambda_function") if f["function_name"] == f"{environment.name}-{name}"]
    return found


def variables_of(environment: Applied, function: str) -> dict[str, str]:
    variables: dict[str, str] = function_of(environment, function)["environment"][0]["variables"]
    return variables


# Environment variables: each program reads its own, and refuses one that it does not know.


def test_the_dispatcher_reads_its_environment(environment: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment.container_environments()[f"{environment.name}-dispatcher"]
    only(given, monkeypatch)
    settings = dispatcher_settings.read()
    assert settings.name_prefix == settings.cluster == environment.name == environment.deployment["cluster"]
    assert settings.metrics_env == environment.deployment["environment"]
    assert settings.object_store == f"s3://{environment.deployment['data_bucket']}"
    assert not settings.scale_pools, "on AWS Application Auto Scaling sets the counts"
    unset = {f"SETPOINT_{name}".upper() for name in dispatcher_settings.Settings.model_fields} - set(given)
    defaults = {"SETPOINT_HOLDER", "SETPOINT_SCALE_POOLS", "SETPOINT_RATE_LIMIT", "SETPOINT_RATE_BURST"}
    assert unset == defaults, "a new setting is set on AWS, or named here"


@pytest.mark.parametrize("pool", SERVED, ids=lambda pool: pool.name)
def test_a_worker_reads_its_environment(environment: Applied, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    only(environment.container_environments()[f"{environment.name}-{pool.service}"], monkeypatch)
    settings = worker_settings.read()
    assert (settings.namespace, settings.pool, settings.slots) == (pool.namespace, pool.name, pool.spec.slots)
    assert settings.queue_url.rpartition("/")[2] == pool.queue(environment.name)
    assert settings.pool_token_secret == f"{environment.name}/pools/{pool.name}"
    (container,) = [c for f, c in environment.containers().items() if f == f"{environment.name}-{pool.service}"]
    assert settings.grace_seconds < container["stopTimeout"], "reports what it evicts before it is killed"


def test_the_migration_reads_its_environment(environment: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment.container_environments()[f"{environment.name}-migrate"]
    only(given, monkeypatch)
    settings = migrate_task.Settings()
    drawn = set(settings.drawn_secrets.split(","))
    assert drawn == {secret["name"] for secret in environment.all("aws_secretsmanager_secret")}
    known = {f"SETPOINT_{name}".upper() for name in migrate_task.Settings.model_fields}
    assert {name for name in given if name.startswith("SETPOINT_")} <= known


@pytest.mark.parametrize("function", SOURCES)
def test_a_source_reads_its_environment(environment: Applied, function: str) -> None:
    given = variables_of(environment, function)
    settings = source_settings.read(webhook=function == "webhook", environment=given)
    assert settings.url == f"https://dispatcher.{environment.name}.internal"


def test_the_operator_reads_its_environment(environment: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    only(variables_of(environment, "operator"), monkeypatch)
    settings = worker_settings.read_as(worker_settings.HostSettings)
    (pool,) = [pool for pool in pools() if pool.invoked]
    assert (settings.namespace, settings.pool) == (pool.namespace, pool.name)
    assert pool.function(environment.name) == f"{environment.name}-operator" == function_name(environment.name)


def test_secrets_that_are_named_exist(environment: Applied) -> None:
    exist = {secret["name"] for secret in environment.all("aws_secretsmanager_secret")}
    given = dict(environment.container_environments())
    given |= {name: variables_of(environment, name) for name in (*SOURCES, "operator")}
    for owner, variables in given.items():
        for name, value in variables.items():
            if name.endswith(("TOKEN_SECRET", "KEY_SECRET")):
                assert value in exist, (owner, name)
            if name.endswith(("TOKEN_PREFIX", "SECRET_PREFIX")):
                assert any(secret.startswith(value) for secret in exist), (owner, name)


@pytest.mark.parametrize(
    ("family", "variable", "login"),
    [
        pytest.param("dispatcher", "SETPOINT_DSN", "setpoint_dispatcher", id="dispatcher"),
        pytest.param("migrate", "SETPOINT_DSN", "setpoint_migrator", id="migrate"),
        *[pytest.param(p.service, "SETPOINT_HOT_DSN", "setpoint_worker_login", id=p.name) for p in SERVED],
    ],
)
def test_logins_are_those_that_the_role_may_use(environment: Applied, family: str, variable: str, login: str) -> None:
    given = environment.container_environments()[f"{environment.name}-{family}"]
    dsn = conninfo_to_dict(given[variable])
    assert (dsn["user"], dsn["dbname"], dsn["sslmode"]) == (login, "setpoint", "verify-full")
    assert "password" not in dsn
    assert given["SETPOINT_DATABASE_AUTH"] == "iam"
    connects = [s for s in environment.statements(f"{family}-task") if "rds-db:connect" in s["Action"]]
    assert [arn.rpartition("/")[2] for s in connects for arn in s["Resource"]] == [login]


# Programs


def test_what_containers_run_exists(environment: Applied) -> None:
    for family, container in environment.containers().items():
        commands = [
            container["command"],
            *([container["healthCheck"]["command"][1:]] if "healthCheck" in container else []),
        ]
        for python, option, module in (command[:3] for command in commands):
            assert (python, option) == ("python", "-m"), family
            assert importlib.util.find_spec(module), (family, module)


def test_handlers_exist(environment: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in environment.all("aws_lambda_function"):
        module, _, attribute = function["handler"].rpartition(".")
        assert callable(getattr(importlib.import_module(module), attribute)), function["handler"]


def test_ports_are_those_that_are_served(environment: Applied) -> None:
    ports = {f: [p["containerPort"] for p in c.get("portMappings", ())] for f, c in environment.containers().items()}
    given = environment.container_environments()
    assert ports.pop(f"{environment.name}-migrate") == []
    dispatcher = f"{environment.name}-dispatcher"
    assert ports.pop(dispatcher) == [int(given[dispatcher]["SETPOINT_PORT"])] == [dispatcher_probe.DEFAULT_PORT]
    for family, (port,) in ports.items():
        assert port == int(given[family]["SETPOINT_METRICS_PORT"]) == worker_probe.DEFAULT_PORT
    for group in environment.all("aws_lb_target_group"):
        assert (group["port"], group["health_check"][0]["path"]) == (
            dispatcher_probe.DEFAULT_PORT,
            dispatcher_probe.PATH,
        )


def test_log_groups_exist(environment: Applied) -> None:
    groups = {group["name"] for group in environment.all("aws_cloudwatch_log_group")}
    wanted = {c["logConfiguration"]["options"]["awslogs-group"] for c in environment.containers().values()}
    wanted |= {f"/aws/lambda/{function['function_name']}" for function in environment.all("aws_lambda_function")}
    assert wanted <= groups


# Services and queues


def test_services_are_called_as_the_controller_calls_them(environment: Applied) -> None:
    wanted = {pool.service for pool in SERVED}
    assert {service["name"] for service in environment.all("aws_ecs_service")} == wanted | {"dispatcher"}
    assert set(environment.deployment["services"]) == wanted | {"dispatcher"}
    bounds = {
        t["resource_id"]: (t["min_capacity"], t["max_capacity"]) for t in environment.all("aws_appautoscaling_target")
    }
    assert bounds == {
        f"service/{environment.name}/{pool.service}": (pool.spec.min_tasks, pool.spec.max_tasks) for pool in SERVED
    }


def test_queues_are_those_that_local_mode_makes(environment: Applied) -> None:
    queues = {queue["name"]: queue for queue in environment.all("aws_sqs_queue")}
    for pool in SERVED:
        queue, dead = queues[pool.queue(environment.name)], queues[dead_letter_name(pool.queue(environment.name))]
        assert queue["visibility_timeout_seconds"] == VISIBILITY_SECONDS
        redrive = json.loads(queue["redrive_policy"])
        assert redrive == {"deadLetterTargetArn": dead["arn"], "maxReceiveCount": MAX_RECEIVES}
        for one in (queue, dead):
            assert one["message_retention_seconds"] == RETENTION_SECONDS
            assert (one["deduplication_scope"], one["fifo_throughput_limit"]) == ("messageGroup", "perMessageGroupId")
            assert not one["content_based_deduplication"]
    assert f"{environment.name}-lambda-failures" in queues


# Metrics


def test_metrics_are_those_that_are_published(environment: Applied) -> None:
    asked = list(_asked(environment))
    assert {name for name, _ in asked} >= {
        "leader_election_master_status",
        "setpoint_pool_utilization",
        "setpoint_pool_demand",
    }
    published = {one.sample: one.cloud for one in INSTRUMENTS.declared if one.cloud is not None}
    of_pools = {pool.service for pool in SERVED} | {pool.name for pool in pools() if pool.invoked}
    for name, dimensions in asked:
        assert dimensions.pop("env") == environment.deployment["environment"], name
        assert name in published, name
        assert {"env", *dimensions} == set(published[name].dimensions), name
        assert dimensions.get("pool") in {None, *of_pools}, name


def test_the_metrics_namespace_is_the_published_one() -> None:
    line = json.loads(emf.line({"m": "Count"}, {"env": "dev"}, {"m": 1}, 0.0))
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Setpoint"


def _asked(environment: Applied) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each of our metrics that an alarm, a scaling policy or the dashboard asks for, with its dimensions."""
    for alarm in environment.all("aws_cloudwatch_metric_alarm"):
        metrics = [alarm, *[query["metric"][0] for query in alarm["metric_query"] if query["metric"]]]
        yield from ((m["metric_name"], dict(m["dimensions"])) for m in metrics if m.get("namespace") == "Setpoint")
    for policy in environment.all("aws_appautoscaling_policy"):
        for tracking in policy["target_tracking_scaling_policy_configuration"]:
            (metric,) = tracking["customized_metric_specification"]
            assert metric["namespace"] == "Setpoint"
            yield metric["metric_name"], {d["name"]: d["value"] for d in metric["dimensions"]}
    for dashboard in environment.all("aws_cloudwatch_dashboard"):
        for widget in json.loads(dashboard["dashboard_body"])["widgets"]:
            for metric in widget["properties"].get("metrics", ()):
                words = [word for word in metric if isinstance(word, str)]
                if words and words[0] == "Setpoint":
                    yield words[1], dict(zip(words[2::2], words[3::2], strict=True))


# Events


def test_events_are_those_that_the_functions_take(environment: Applied) -> None:
    inputs = {t["target_id"]: t["input"] for t in environment.all("aws_cloudwatch_event_target")}
    assert json.loads(inputs["cron"]) == {"type": "cron"}
    arns = {function["arn"] for function in environment.all("aws_lambda_function")}
    assert {target["arn"] for target in environment.all("aws_cloudwatch_event_target")} <= arns


def test_webhooks_have_routes_and_secrets(environment: Applied) -> None:
    routes = {route["route_key"] for route in environment.all("aws_apigatewayv2_route")}
    assert routes == {"POST /hooks/notices", "POST /hooks/notices/{proxy+}"}
    names = {secret["name"] for secret in environment.all("aws_secretsmanager_secret")}
    assert f"{environment.name}/webhooks/notices" in names


def test_no_template_is_ever_run(environment: Applied) -> None:
    """A service without a deployment wants no task, and what a deployment or autoscaling sets is not set back."""
    assert {service["desired_count"] for service in environment.all("aws_ecs_service")} == {0}
    assert {c["image"].rpartition(":")[2] for c in environment.containers().values()} == {"template"}
