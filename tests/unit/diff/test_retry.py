"""What a retry opens again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.diff.retry import Again, TaskItem, TaskRule, reopen
from controller.diff.rules import Upstream, judge
from crds.dag import When
from crds.phases import FINAL_TASK, TaskPhase

SUCCEEDED, FAILED, CANCELLED = TaskPhase.SUCCEEDED, TaskPhase.FAILED, TaskPhase.CANCELLED
ABOVE, SKIPPED, READY, WAITING = TaskPhase.UPSTREAM_FAILED, TaskPhase.SKIPPED, TaskPhase.READY, TaskPhase.WAITING

CHAIN = {"a": TaskRule(), "b": TaskRule(("a",)), "c": TaskRule(("b",))}
DIAMOND = {"a": TaskRule(), "b": TaskRule(("a",)), "c": TaskRule(("a",)), "d": TaskRule(("b", "c"))}
CLEANUP = {"a": TaskRule(), "b": TaskRule(("a",), When.ALL_DONE), "c": TaskRule(("b",))}
ALARM = {"a": TaskRule(), "alarm": TaskRule(("a",), When.ONE_FAILED)}
PAIR = {"a": TaskRule(), "b": TaskRule(), "c": TaskRule(("a", "b"))}


def phases(**by_task: TaskPhase) -> dict[TaskItem, TaskPhase]:
    return {(task, 0): phase for task, phase in by_task.items()}


@pytest.mark.parametrize(
    ("rules", "before", "chosen", "expected"),
    [
        pytest.param(
            CHAIN, phases(a=SUCCEEDED, b=FAILED, c=ABOVE), None, phases(b=READY, c=WAITING), id="failed and below"
        ),
        pytest.param(
            CHAIN,
            phases(a=CANCELLED, b=CANCELLED, c=CANCELLED),
            None,
            phases(a=READY, b=WAITING, c=WAITING),
            id="a cancelled run",
        ),
        pytest.param(
            CHAIN,
            phases(a=CANCELLED, b=CANCELLED, c=CANCELLED),
            {"a"},
            phases(a=READY, b=WAITING, c=WAITING),
            id="the first alone opens all below",
        ),
        pytest.param(
            DIAMOND,
            phases(a=SUCCEEDED, b=FAILED, c=FAILED, d=ABOVE),
            {"b"},
            phases(b=READY),
            id="what another failure blocks stays",
        ),
        pytest.param(
            DIAMOND,
            phases(a=SUCCEEDED, b=FAILED, c=FAILED, d=ABOVE),
            None,
            phases(b=READY, c=READY, d=WAITING),
            id="both sides",
        ),
        pytest.param(
            CLEANUP, phases(a=FAILED, b=SUCCEEDED, c=SUCCEEDED), None, phases(a=READY), id="what succeeded stays"
        ),
        pytest.param(
            CLEANUP,
            phases(a=FAILED, b=FAILED, c=ABOVE),
            {"a"},
            phases(a=READY, b=WAITING, c=WAITING),
            id="a failure below is opened too",
        ),
        pytest.param(ALARM, phases(a=FAILED, alarm=SUCCEEDED), None, phases(a=READY), id="the alarm was heard"),
        pytest.param(
            ALARM, phases(a=FAILED, alarm=CANCELLED), None, phases(a=READY, alarm=WAITING), id="the alarm waits again"
        ),
        pytest.param(
            {"a": TaskRule(), "b": TaskRule(("a",), When.ALL_DONE), "c": TaskRule(("b",))},
            phases(a=SKIPPED, b=FAILED, c=ABOVE),
            None,
            phases(b=READY, c=WAITING),
            id="a skipped task above is done",
        ),
    ],
)
def test_reopen(
    rules: dict[str, TaskRule],
    before: dict[TaskItem, TaskPhase],
    chosen: set[str] | None,
    expected: dict[TaskItem, TaskPhase],
) -> None:
    decision = reopen(rules, before, None if chosen is None else {(task, 0) for task in chosen})
    assert (decision.phases, decision.problems) == (expected, ())


@pytest.mark.parametrize(
    ("how", "rules", "before", "chosen", "expected"),
    [
        pytest.param(
            Again.RERUN,
            CHAIN,
            phases(a=SUCCEEDED, b=SUCCEEDED, c=SUCCEEDED),
            {"b"},
            phases(b=READY, c=WAITING),
            id="rerun: from the middle of a run that succeeded",
        ),
        pytest.param(
            Again.RERUN,
            DIAMOND,
            phases(a=SUCCEEDED, b=SUCCEEDED, c=SUCCEEDED, d=SUCCEEDED),
            {"a"},
            phases(a=READY, b=WAITING, c=WAITING, d=WAITING),
            id="rerun: everything from the first",
        ),
        pytest.param(
            Again.RERUN,
            DIAMOND,
            phases(a=SUCCEEDED, b=SUCCEEDED, c=FAILED, d=ABOVE),
            {"b"},
            phases(b=READY),
            id="rerun: what another failure blocks stays",
        ),
        pytest.param(
            Again.RERUN,
            CLEANUP,
            phases(a=FAILED, b=SUCCEEDED, c=SUCCEEDED),
            {"a"},
            phases(a=READY, b=WAITING, c=WAITING),
            id="rerun: below it what succeeded too",
        ),
        pytest.param(
            Again.CLEAR,
            CHAIN,
            phases(a=SUCCEEDED, b=SUCCEEDED, c=SUCCEEDED),
            {"b"},
            phases(b=READY),
            id="clear: one alone",
        ),
        pytest.param(
            Again.CLEAR,
            CHAIN,
            phases(a=SUCCEEDED, b=SUCCEEDED, c=SUCCEEDED),
            {"a", "b"},
            phases(a=READY, b=WAITING),
            id="clear: two, in their order",
        ),
        pytest.param(
            Again.CLEAR, CHAIN, phases(a=SUCCEEDED, b=FAILED, c=ABOVE), {"b"}, phases(b=READY), id="clear: a failure"
        ),
    ],
)
def test_how(
    how: Again,
    rules: dict[str, TaskRule],
    before: dict[TaskItem, TaskPhase],
    chosen: set[str],
    expected: dict[TaskItem, TaskPhase],
) -> None:
    decision = reopen(rules, before, {(task, 0) for task in chosen}, how)
    assert (decision.phases, decision.problems) == (expected, ())


@pytest.mark.parametrize(
    ("rules", "before", "chosen", "says"),
    [
        pytest.param(CHAIN, phases(a=SUCCEEDED, b=SUCCEEDED, c=SUCCEEDED), None, "nothing to retry", id="no failure"),
        pytest.param(CHAIN, phases(a=FAILED, b=ABOVE, c=ABOVE), {"x"}, "no task x", id="unknown"),
        pytest.param(CHAIN, phases(a=SUCCEEDED, b=FAILED, c=ABOVE), {"a"}, "is Succeeded", id="succeeded"),
        pytest.param(CHAIN, phases(a=FAILED, b=ABOVE, c=ABOVE), {"b"}, "failed above it", id="upstream failed"),
        pytest.param(
            PAIR,
            phases(a=CANCELLED, b=FAILED, c=CANCELLED),
            {"c"},
            "cannot start because of a (Cancelled), b (Failed); open that again too",
            id="blocked from above",
        ),
    ],
)
def test_refusals(
    rules: dict[str, TaskRule], before: dict[TaskItem, TaskPhase], chosen: set[str] | None, says: str
) -> None:
    decision = reopen(rules, before, None if chosen is None else {(task, 0) for task in chosen})
    assert says in "; ".join(decision.problems)


@given(st.data())
def test_every_waiting_task_has_something_to_wait_for(data: st.DataObject) -> None:
    names = [f"t{n}" for n in range(data.draw(st.integers(1, 8)))]
    rules = {
        name: TaskRule(
            tuple(sorted(data.draw(st.sets(st.sampled_from(names[:n]), max_size=3)))) if n else (),
            data.draw(st.sampled_from(When)),
        )
        for n, name in enumerate(names)
    }
    before = {(name, 0): data.draw(st.sampled_from(sorted(FINAL_TASK))) for name in names}

    opened = reopen(rules, before, None).phases

    after = before | dict(opened)
    for (name, _), phase in opened.items():
        above = [after[need, 0] for need in rules[name].needs]
        assert before[name, 0] is not SUCCEEDED
        if phase is WAITING:
            assert any(need_phase not in FINAL_TASK for need_phase in above)
        counted = Upstream(
            sum(p not in FINAL_TASK for p in above),
            above.count(SUCCEEDED),
            sum(p in {FAILED, ABOVE, CANCELLED} for p in above),
            above.count(SKIPPED),
        )
        verdict = judge(rules[name].when, counted)
        assert (verdict is None) == (phase is WAITING)
