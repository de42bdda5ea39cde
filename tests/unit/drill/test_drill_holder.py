"""The leader's name leads to its process or its ECS task."""

from __future__ import annotations

import socket

import pytest

from controller.runtime.holder import METADATA, holder_name, process_of, task_of

TASK = "cd189a933e5849daa93386466019ab50"


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        pytest.param(f"http://169.254.170.2/v4/{TASK}-2495160603", TASK, id="Fargate"),
        pytest.param(f"http://127.0.0.1:9000/v4/{TASK}", TASK, id="local ECS"),
        pytest.param("", socket.gethostname(), id="no ECS"),
        pytest.param("http://169.254.170.2/v5/strange", socket.gethostname(), id="an address of another form"),
    ],
)
def test_holder_name(uri: str, named: str) -> None:
    assert holder_name({METADATA: uri}, 7) == f"{named}/7"


@pytest.mark.parametrize(
    ("holder", "task", "process"),
    [
        pytest.param(f"{TASK}/1", TASK, None, id="a task"),
        pytest.param("here/42", None, 42, id="a process of this host"),
        pytest.param("there/42", None, None, id="a process of another host"),
        pytest.param("named-by-a-person", None, None, id="a name that was set"),
        pytest.param("", None, None, id="nobody"),
    ],
)
def test_what_a_holder_leads_to(holder: str, task: str | None, process: int | None) -> None:
    assert (task_of(holder), process_of(holder, "here")) == (task, process)
