"""When a waiting task may start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.diff.rules import READY, RULE_NOT_MET, SKIPPED, UPSTREAM_FAILED, Upstream, Verdict, judge
from crds.dag import When
from crds.phases import TASK_TRANSITIONS, TaskPhase

S, N, O, D = When.ALL_SUCCESS, When.NONE_FAILED, When.ONE_FAILED, When.ALL_DONE  # noqa: E741 - the four rules


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        pytest.param(Upstream(unfinished=2), {S: None, N: None, O: None, D: None}, id="nothing ended"),
        pytest.param(Upstream(1, 1), {S: None, N: None, O: None, D: None}, id="one to come"),
        pytest.param(Upstream(0, 2), {S: READY, N: READY, O: RULE_NOT_MET, D: READY}, id="all succeeded"),
        pytest.param(
            Upstream(1, failed=1), {S: UPSTREAM_FAILED, N: UPSTREAM_FAILED, O: READY, D: None}, id="one failed early"
        ),
        pytest.param(Upstream(failed=2), {S: UPSTREAM_FAILED, N: UPSTREAM_FAILED, O: READY, D: READY}, id="all failed"),
        pytest.param(Upstream(0, 1, skipped=1), {S: SKIPPED, N: READY, O: RULE_NOT_MET, D: READY}, id="one skipped"),
        pytest.param(Upstream(1, skipped=1), {S: None, N: None, O: None, D: None}, id="one skipped, one to come"),
        pytest.param(
            Upstream(failed=1, skipped=1),
            {S: UPSTREAM_FAILED, N: UPSTREAM_FAILED, O: READY, D: READY},
            id="a failure outweighs a skip",
        ),
    ],
)
def test_judge(upstream: Upstream, expected: dict[When, Verdict | None]) -> None:
    assert {rule: judge(rule, upstream) for rule in When} == expected


counts = st.integers(0, 4)


@given(st.sampled_from(When), st.builds(Upstream, counts, counts, counts, counts))
def test_a_verdict_once_given_stands_whatever_ends_later(rule: When, upstream: Upstream) -> None:
    verdict = judge(rule, upstream)
    if not upstream.unfinished:
        assert verdict is not None
    if verdict is None:
        return
    assert verdict.phase in TASK_TRANSITIONS[TaskPhase.WAITING]
    u = upstream
    if u.unfinished:
        for later in (
            Upstream(u.unfinished - 1, u.succeeded + 1, u.failed, u.skipped),
            Upstream(u.unfinished - 1, u.succeeded, u.failed + 1, u.skipped),
            Upstream(u.unfinished - 1, u.succeeded, u.failed, u.skipped + 1),
        ):
            assert judge(rule, later) == verdict
