"""Alerts and dashboards name metrics that exist, with labels that they have; what is generated is whole and up to date."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import ValidationError

from controller.cli import names
from controller.cli.main import COMMANDS, Entry, command_of
from controller.monitoring import cloudwatch, grafana, prometheus
from controller.monitoring.__main__ import GENERATED, TERRAFORM, files
from controller.monitoring.model import Comparison, Per, load
from controller.runtime.metrics import INSTRUMENTS
from tests.promtool import run
from workers.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crds.instruments import Declared

DEFINITIONS = load()
DECLARED = {d.sample: d for d in (*INSTRUMENTS.declared, *Metrics().instruments.declared)}
_METRIC = re.compile(r"\b((?:setpoint|controller_runtime|workqueue|leader_election|operator|aws_sdk)_[a-z_]+)")
_GROUPED = re.compile(r"by \(([a-z, ]+)\)")
_MATCHED = re.compile(r"([a-z_]+)(?:=~|!~|!=|=)\"")


def expressions() -> Iterator[Any]:
    for alert in DEFINITIONS.alerts:
        yield pytest.param(prometheus.expression(alert), id=alert.name)
    for row in DEFINITIONS.dashboard:
        for panel in row.panels:
            for n, query in enumerate(panel.queries):
                yield pytest.param(grafana.expressions(query)[0][0], id=f"{row.title}/{panel.title}/{n}")


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_names_metrics_that_exist_with_their_labels(expression: str) -> None:
    if '__name__=~"operator_(dag|workerpool)' in expression:
        expression = expression.replace('__name__=~"operator_(dag|workerpool)_', "operator_dag_").replace(
            "{operator", "operator"
        )
        expression = expression.replace('seconds", type', "seconds{type")
    found = _METRIC.findall(expression)
    assert found, expression
    named = [_declared(name) for name in found]
    labels = set.intersection(*(set(d.labels) | {"le"} for d in named))
    used = {label.strip() for group in _GROUPED.findall(expression) for label in group.split(",")}
    used |= set(_MATCHED.findall(expression))
    assert used <= labels, f"{expression}: {used - labels}"


def _declared(name: str) -> Declared:
    plain = name.removesuffix("_bucket") if name.endswith("_bucket") else name
    assert plain in DECLARED, f"no metric {name}"
    assert (DECLARED[plain].kind == "histogram") == name.endswith("_bucket"), name
    return DECLARED[plain]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in files()])
def test_what_is_generated_is_up_to_date(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == files()[path], "run `python -m controller.monitoring`"


def test_promtool_takes_the_rules() -> None:
    said = run("check", "rules", str(GENERATED / "prometheus-rules.yaml"))
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"{len(DEFINITIONS.alerts)} rules found" in said.stdout


def test_each_rule_says_what_it_means_and_what_to_do() -> None:
    (group,) = yaml.safe_load((GENERATED / "prometheus-rules.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        assert len(rule["annotations"]["summary"]) > 30
        assert len(rule["annotations"]["description"]) > 20
        assert rule["labels"]["severity"] in {"critical", "warning"}


# Grafana


BOARD: dict[str, Any] = json.loads((GENERATED / "grafana-dashboard.json").read_text(encoding="utf-8"))


def test_grafana_can_import_it() -> None:
    assert (BOARD["uid"], BOARD["title"]) == ("setpoint", "Setpoint")
    assert BOARD["schemaVersion"] >= 36, "older ones lack data sources as objects"
    (variable,) = BOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in BOARD["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["datasource"]["uid"] == f"${{{variable['name']}}}"
        refs = [target["refId"] for target in panel["targets"]]
        assert refs
        assert len(refs) == len(set(refs))
        assert all(target["expr"] and target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_no_panel_lies_upon_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= grafana.WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells


# CloudWatch


def test_an_alarm_is_made_of_each_alert_that_cloudwatch_has_the_numbers_of() -> None:
    alarms = json.loads((TERRAFORM / "alarms.json").read_text(encoding="utf-8"))
    without = {alert.name for alert in DEFINITIONS.alerts if cloudwatch.kebab(alert.name) not in alarms}
    assert without == {alert.name for alert in DEFINITIONS.alerts if alert.promql is not None}
    for alarm in alarms.values():
        named = [alarm["metric"]] if "metric" in alarm else list(alarm["queries"].values())
        wanted = {"env", "pool"} if alarm["per"] == Per.POOL else {"env"}
        for name in named:
            declared = DECLARED[name]
            assert declared.cloud is not None
            assert set(declared.cloud.dimensions) == wanted, name
        assert alarm["period"] % 60 == 0
        assert alarm["period"] * alarm["periods"] <= 86_400


def test_the_widgets_show_published_metrics_alone() -> None:
    for widget in json.loads((TERRAFORM / "dashboard.json").read_text(encoding="utf-8")):
        for line in widget["properties"].get("metrics", ()):
            name = re.findall(r'MetricName="(\w+)"', line[0]["expression"])[0] if isinstance(line[0], dict) else line[1]
            assert DECLARED[name].cloud is not None


# Definitions


COMMANDS_TO_RUN = sorted(
    {line for alert in DEFINITIONS.alerts for line in re.findall(r"`(setpoint [^`]+)`", alert.action)}
)


@pytest.mark.parametrize("line", COMMANDS_TO_RUN)
def test_a_command_that_an_alert_names_can_be_typed(line: str) -> None:
    _, name, *words = shlex.split(line)
    # Parsed, not run: NAME stands for what the reader finds.
    entry = COMMANDS[name]
    assert isinstance(entry, Entry)
    command_of(name, entry).make_context(name, list(words))
    for word in words:
        if "/" in word:
            assert names.parse([word]).name == "NAME"


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"than": None}, id="compared with nothing"),
        pytest.param({"other": "x"}, id="compared with two things"),
        pytest.param({"op": "=="}, id="no such operator"),
        pytest.param({"fold": "avg"}, id="no such fold"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Comparison(**{"metric": "m", "op": ">", "than": 1.0} | changed)
