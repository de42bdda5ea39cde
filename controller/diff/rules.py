"""When a task may start: its rule over the phases of the tasks that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from crds.dag import When
from crds.phases import TaskPhase
from crds.reasons import Reason


@dataclass(frozen=True, slots=True)
class Upstream:
    """How many of a task's upstream tasks are unfinished, succeeded, failed (also upstream of them) and skipped."""

    unfinished: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a waiting task goes, and why."""

    phase: TaskPhase
    reason: Reason


READY = Verdict(TaskPhase.READY, Reason.READY)
UPSTREAM_FAILED = Verdict(TaskPhase.UPSTREAM_FAILED, Reason.UPSTREAM_FAILED)
SKIPPED = Verdict(TaskPhase.SKIPPED, Reason.SKIPPED)
RULE_NOT_MET = Verdict(TaskPhase.SKIPPED, Reason.RULE_NOT_MET)


def judge(rule: When, upstream: Upstream) -> Verdict | None:
    """Return where a waiting task goes, or None while it has to wait.

    A rule is decided as early as no unfinished task can change it. `all_success` skips with a skipped upstream task;
    `none_failed` runs in spite of one; `one_failed` runs at the first failure; `all_done` waits for all.
    """
    match rule:
        case When.ALL_SUCCESS:
            if upstream.failed:
                return UPSTREAM_FAILED
            if upstream.unfinished:
                return None
            return SKIPPED if upstream.skipped else READY
        case When.NONE_FAILED:
            if upstream.failed:
                return UPSTREAM_FAILED
            return None if upstream.unfinished else READY
        case When.ONE_FAILED:
            if upstream.failed:
                return READY
            return None if upstream.unfinished else RULE_NOT_MET
        case When.ALL_DONE:
            return None if upstream.unfinished else READY
        case _:
            assert_never(rule)
