"""The metrics of both programs: their names, their labels, their page."""

from __future__ import annotations

import re
import subprocess

import pytest
from prometheus_client import generate_latest

from controller.runtime.metrics import INSTRUMENTS
from crds.instruments import Cloud, Declared, Instruments
from crds.metrics_table import PAGE, replaced, table
from tests.metrics_lint import COMMUNITY, problems, tool
from workers.metrics import Metrics

PROGRAMS = [
    pytest.param("dispatcher", INSTRUMENTS, id="dispatcher"),
    pytest.param("worker", Metrics().instruments, id="worker"),
]
PROMTOOL = tool("promtool")
NEVER = {"run", "task", "attempt", "worker", "host", "instance", "user", "uid", "message", "path"}
_PROMISED = """
controller_runtime_reconcile_total controller_runtime_reconcile_errors_total
controller_runtime_terminal_reconcile_errors_total controller_runtime_reconcile_time_seconds
controller_runtime_max_concurrent_reconciles controller_runtime_active_workers workqueue_depth workqueue_adds_total
workqueue_retries_total workqueue_queue_duration_seconds workqueue_work_duration_seconds
workqueue_unfinished_work_seconds workqueue_longest_running_processor_seconds leader_election_master_status
aws_sdk_request_total aws_sdk_request_duration_seconds operator_dag_status_condition_count
operator_dagrun_status_condition_count operator_taskrun_status_condition_count
operator_workerpool_status_condition_count operator_dataset_status_condition_count
operator_dag_status_condition_transitions_total operator_dag_status_condition_transition_seconds
operator_dag_status_condition_current_status_seconds setpoint_pool_demand setpoint_pool_desired_tasks
setpoint_pool_running_tasks setpoint_pool_max_tasks setpoint_pool_utilization setpoint_pool_slots
setpoint_pool_busy_slots setpoint_queue_visible setpoint_queue_in_flight setpoint_queue_dead_letters
setpoint_queue_oldest_seconds setpoint_attempts_live setpoint_runs_unfinished setpoint_schedule_lag_seconds
setpoint_dataset_age_seconds setpoint_dataset_stale setpoint_invariant_violations setpoint_notifications_pending
setpoint_notifications_oldest_seconds setpoint_attempts_ended_total setpoint_attempts_undeliverable_total
setpoint_retries_total setpoint_claims_total setpoint_reports_total setpoint_stale_results_total
setpoint_runs_ended_total setpoint_runs_failed_total setpoint_notifications_total setpoint_http_requests_total
setpoint_http_rejected_total setpoint_aws_cost_dollars_total setpoint_admission_wait_seconds
setpoint_claim_wait_seconds setpoint_task_duration_seconds setpoint_run_duration_seconds setpoint_database_pool_size
setpoint_database_pool_available setpoint_database_pool_waiting setpoint_build_info
"""


def test_every_promised_metric_is_declared_once() -> None:
    names = [one.sample for one in INSTRUMENTS.declared]
    assert len(names) == len(set(names))
    assert set(_PROMISED.split()) <= set(names)


@pytest.mark.parametrize(("program", "instruments"), PROGRAMS)
def test_names_and_texts_follow_prometheus(program: str, instruments: Instruments) -> None:
    assert problems(instruments.declared) == []


@pytest.mark.parametrize(("program", "instruments"), PROGRAMS)
def test_no_label_grows_with_what_runs(program: str, instruments: Instruments) -> None:
    assert not [(one.name, label) for one in instruments.declared for label in one.labels if label in NEVER]


@pytest.mark.parametrize(("program", "instruments"), PROGRAMS)
def test_what_goes_to_cloudwatch_has_no_other_dimension(program: str, instruments: Instruments) -> None:
    sent = [one.cloud for one in instruments.declared if one.cloud is not None]
    assert {cloud.dimensions for cloud in sent} <= {("env",), ("env", "pool")}
    assert program != "worker" or set(sent) == {Cloud.POOL}


@pytest.mark.parametrize(("program", "instruments"), PROGRAMS)
def test_the_page_is_what_the_registries_say(program: str, instruments: Instruments) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == replaced(page, program, table(instruments.declared)), f"run python -m {program}.metrics_doc"


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: apt-get install prometheus")
@pytest.mark.parametrize(("program", "instruments"), PROGRAMS)
def test_promtool_agrees(program: str, instruments: Instruments) -> None:
    assert PROMTOOL is not None
    shown = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=generate_latest(instruments.registry), capture_output=True, check=False
    )
    said = [line for line in (shown.stdout + shown.stderr).decode().splitlines() if line]
    # What python and the process say of themselves is not ours to name.
    ours = [line for line in said if not re.match(r"(python|process)_", line) and not COMMUNITY.match(line)]
    assert ours == []


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        pytest.param("thing_count", "gauge", "ends like a histogram's part", id="gauge _count"),
        pytest.param("thing_total", "gauge", "ends in _total", id="gauge _total"),
        pytest.param("thing_milliseconds", "gauge", "base units", id="unit"),
        pytest.param("thing_gauge", "gauge", "its type", id="type"),
        pytest.param("thingSeconds", "gauge", "snake case", id="case"),
        pytest.param("thing_size", "histogram", "no unit", id="histogram"),
    ],
)
def test_the_lint_sees(name: str, kind: str, expected: str) -> None:
    assert any(expected in said for said in problems([Declared(name, kind, "A thing.", (), None)]))
