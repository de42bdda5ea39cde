"""Bugs of runs: who gets slots, what is counted, which budget is charged, which revision and which ids are used."""

from __future__ import annotations

from tests.mutation.mutant import Mutant
from tests.mutation.planting import InFunction, InText

_NEWEST = "coalesce((SELECT newest.generation FROM resource newest WHERE newest.uid = run.dag_uid), run.revision)"
_MISCOUNTED = "counted what ended above"

BUSY = {"interleave": 0.25, "splitBrain": 0.05}
"""Transactions meet each other all the time."""
OF_RUNS = (
    Mutant(
        name="slots-without-lock",
        breaks="free slots are counted without locking pools and DAGs, so two that admit at once both see room",
        edits=(InText("controller.store.slots:_LOCK", "       FOR NO KEY UPDATE OF resource\n", ""),),
        caught_by="at_once_leave_it",
        # Two schedules of the same moment rarely find more room than the first one fills, so real connections race.
        tests=("tests/integration/test_core_limits.py", "-k", "at_once_leave_it_within_its_limit"),
    ),
    Mutant(
        name="budgets-mixed-up",
        breaks="a lost attempt is charged to the budget of user code's failures",
        edits=(
            InFunction(
                "controller.diff.settle:settle",
                "return _infrastructure(task, ended, now)",
                "return _failed(task, ended, now)",
            ),
        ),
        caught_by="are booked",
    ),
    Mutant(
        name="newest-revision",
        breaks="what a task is comes from the DAG's newest revision, not from the one that its run is pinned to",
        edits=(
            InText("controller.store.slots:_READY", "               run.revision\n", f"               {_NEWEST}\n"),
            InText("controller.store.fences:_LOCK_FOR_CLAIM", "run.revision", _NEWEST),
            InText("controller.store.fences:_TAKEN", "run.revision", _NEWEST),
        ),
        caught_by=r"\(I9\)|KeyError",
    ),
    Mutant(
        name="retry-reuses-attempt-ids",
        breaks="a run that is opened again counts its attempts from one, so new ones meet the ids of the old ones",
        edits=(
            InText(
                "controller.store.reopening:_TASKS",
                "generation = task_run.generation + 1",
                "generation = task_run.generation + 1, number = 0",
            ),
        ),
        caught_by="lacks attempts",
        actions=("retry",),
    ),
    Mutant(
        name="resource-ids-by-name",
        breaks="a resource's id is its name, so a pool that is made anew meets its predecessor's attempts and workers",
        edits=(InFunction("controller.api.upsert:_create", "uid = ids.uid(now)", "uid = wanted.ref.name"),),
        caught_by="test_t12_the_slots_of_a_deleted_pool",
        # People delete DAGs only as long as they have no runs, and no pools, in the simulation.
        tests=(
            "tests/integration/test_pains_endings.py::test_t12_the_slots_of_a_deleted_pool_and_of_its_successor_are_counted_apart",
        ),
    ),
    Mutant(
        name="ends-counted-twice",
        breaks="a task that ended keeps its mark, so each pass counts it again for the tasks below",
        edits=(InText("controller.store.task_runs:_COUNT", "SET fresh = false WHERE", "SET fresh = fresh WHERE"),),
        caught_by=_MISCOUNTED,
    ),
    Mutant(
        name="ends-not-counted",
        breaks="the mark of a task that ended is cleared, and its end not counted for the tasks below",
        edits=(
            InText(
                "controller.store.task_runs:_COUNT",
                "above_succeeded = waiting.above_succeeded + above.succeeded",
                "above_succeeded = waiting.above_succeeded",
            ),
        ),
        caught_by=_MISCOUNTED,
    ),
    Mutant(
        name="locked-run-passed-over",
        breaks="when a report finds its run locked, the mark of the ended task is cleared and nobody is woken",
        edits=(
            InFunction(
                "controller.api.reporting:Reporting._move_on",
                "    moved = advance(",
                "    task_runs.count_ended(connection, sorted(wanted - here.keys()))\n    moved = advance(",
                more=(("again | (wanted - here.keys())", "again"),),
            ),
        ),
        caught_by="not final|nothing will ever happen",
        faults=BUSY,
    ),
)
