"""What becomes of a task when one of its attempts has ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.actions import TaskKey, TaskStep
from controller.diff.settle import FREE_EVICTIONS, Ended, TaskFacts, retryable, settle
from crds.dag import Backoff, Retries
from crds.names import RunUid
from crds.phases import FINAL_TASK, LIVE_ATTEMPT, TASK_TRANSITIONS, AttemptPhase, TaskPhase
from crds.reasons import Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = TaskKey(RunUid("r"), "t")
RETRIES = Retries(limit=2, infrastructure=2, backoff=Backoff(initial=timedelta(seconds=10), max=timedelta(seconds=15)))
FINAL_ATTEMPT = sorted(set(AttemptPhase) - LIVE_ATTEMPT)
A, T = AttemptPhase, TaskPhase


def facts(user: int = 0, infrastructure: int = 0, evictions: int = 0, *, cancelled: bool = False) -> TaskFacts:
    return TaskFacts(KEY, T.ACTIVE, 1, RETRIES, user, infrastructure, evictions, cancelled)


def ended(phase: AttemptPhase, kind: str = "") -> Ended:
    return Ended(phase, Reason.USER_ERROR, "it did", kind)


@pytest.mark.parametrize(
    ("task", "attempt", "phase", "budgets"),
    [
        pytest.param(facts(), A.SUCCEEDED, T.SUCCEEDED, (0, 0, 0), id="success"),
        pytest.param(facts(cancelled=True), A.SUCCEEDED, T.SUCCEEDED, (0, 0, 0), id="success in a cancelled run"),
        pytest.param(facts(1, 1, 1), A.SUCCEEDED, T.SUCCEEDED, (1, 1, 1), id="success keeps what was spent"),
        pytest.param(facts(), A.CANCELLED, T.CANCELLED, (0, 0, 0), id="cancelled"),
        pytest.param(facts(), A.FAILED, T.BACKOFF, (1, 0, 0), id="first failure"),
        pytest.param(facts(1), A.TIMED_OUT, T.BACKOFF, (2, 0, 0), id="a timeout is a failure"),
        pytest.param(facts(2), A.FAILED, T.FAILED, (3, 0, 0), id="budget spent"),
        pytest.param(facts(cancelled=True), A.FAILED, T.CANCELLED, (1, 0, 0), id="failure in a cancelled run"),
        pytest.param(facts(), A.LOST, T.READY, (0, 1, 0), id="first loss, at once"),
        pytest.param(facts(2), A.LOST, T.READY, (2, 1, 0), id="a loss leaves the user budget alone"),
        pytest.param(facts(0, 1), A.UNDELIVERABLE, T.BACKOFF, (0, 2, 0), id="second loss, after a wait"),
        pytest.param(facts(0, 2), A.LOST, T.FAILED, (0, 3, 0), id="infrastructure budget spent"),
        pytest.param(facts(cancelled=True), A.LOST, T.CANCELLED, (0, 1, 0), id="loss in a cancelled run"),
        pytest.param(facts(), A.EVICTED, T.READY, (0, 0, 1), id="eviction, at once and free"),
        pytest.param(facts(0, 0, FREE_EVICTIONS - 1), A.EVICTED, T.READY, (0, 0, FREE_EVICTIONS), id="last free one"),
        pytest.param(facts(0, 0, FREE_EVICTIONS), A.EVICTED, T.READY, (0, 1, FREE_EVICTIONS), id="one too many"),
        pytest.param(facts(cancelled=True), A.EVICTED, T.CANCELLED, (0, 0, 0), id="eviction in a cancelled run"),
    ],
)
def test_settle(task: TaskFacts, attempt: AttemptPhase, phase: TaskPhase, budgets: tuple[int, int, int]) -> None:
    step = settle(task, ended(attempt), NOW)

    assert (step.key, step.seen, step.phase) == (KEY, T.ACTIVE, phase)
    assert (step.user_failures, step.infrastructure_failures, step.evictions) == budgets
    assert (step.not_before is not None) == (phase is T.BACKOFF)


@pytest.mark.parametrize(
    ("kind", "retries", "expected"),
    [
        pytest.param("ValueError", Retries(), True, id="no classes"),
        pytest.param("", Retries(only=("ValueError",)), False, id="no class, only"),
        pytest.param("", Retries(never=("ValueError",)), True, id="no class, never"),
        pytest.param("a.b.MyError", Retries(never=("MyError",)), False, id="never by its last part"),
        pytest.param("a.b.MyError", Retries(never=("a.b.MyError",)), False, id="never in full"),
        pytest.param("MyError", Retries(never=("a.b.MyError",)), True, id="another module's class"),
        pytest.param("a.MyError", Retries(only=("MyError",)), True, id="only by its last part"),
        pytest.param("E", Retries(only=("E",), never=("E",)), False, id="never wins"),
    ],
)
def test_retryable(kind: str, retries: Retries, expected: bool) -> None:
    assert retryable(retries, kind) is expected


def test_a_class_that_is_not_retried_says_so() -> None:
    task = TaskFacts(KEY, T.ACTIVE, 1, Retries(never=("KeyError",)))
    step = settle(task, Ended(A.FAILED, Reason.USER_ERROR, "'x'", "KeyError"), NOW)

    assert step == TaskStep(
        KEY, T.ACTIVE, T.FAILED, Reason.USER_ERROR, "KeyError is not tried again: 'x'", None, user_failures=1
    )


@pytest.mark.parametrize("phase", sorted(LIVE_ATTEMPT))
def test_a_live_attempt_has_not_ended(phase: AttemptPhase) -> None:
    with pytest.raises(ValueError, match="has not ended"):
        settle(facts(), ended(phase), NOW)


@given(
    st.lists(st.sampled_from(FINAL_ATTEMPT), min_size=1, max_size=60),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_no_history_spends_more_than_its_budgets(history: list[AttemptPhase], limit: int, infrastructure: int) -> None:
    retries = Retries(limit=limit, infrastructure=infrastructure)
    task, now, attempts = TaskFacts(KEY, T.ACTIVE, 1, retries), NOW, 0
    for phase in history:
        attempts += 1
        step = settle(task, ended(phase), now)
        assert step.phase in TASK_TRANSITIONS[T.ACTIVE]
        if step.phase in FINAL_TASK:
            break
        assert step.user_failures <= limit
        assert step.infrastructure_failures <= infrastructure
        if step.not_before is not None:
            assert NOW <= step.not_before <= now + max(retries.backoff.max, timedelta(minutes=1))
            now = step.not_before
        task = TaskFacts(
            KEY, T.ACTIVE, attempts + 1, retries, step.user_failures, step.infrastructure_failures, step.evictions
        )
    assert attempts <= limit + infrastructure + FREE_EVICTIONS + 1


def test_archived_data_is_nobodys_mistake() -> None:
    step = settle(facts(1, 1), Ended(A.FAILED, Reason.ARCHIVED, "restore it", "Archived"), NOW)
    assert (step.phase, step.reason, step.message) == (T.FAILED, Reason.ARCHIVED, "restore it")
    assert (step.user_failures, step.infrastructure_failures) == (1, 1)
