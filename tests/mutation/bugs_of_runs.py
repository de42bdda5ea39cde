"""Bugs of runs: who gets slots, what is counted, which budget is charged, which revision and which ids are used."""

from __future__ import annotations

from tests.mutation.mutant import Mutant
from tests.mutation.planting import InFunction, InText

_NEWEST = "coalesce((SELECT newest.generation FROM resource newest WHERE newest.uid = run.dag_uid), run.revision)"
_MISCOUNTED = "has counted"

OF_RUNS = (
    Mutant(
        name="slots-without-lock",
        breaks="free slots are counted without locking pools and DAGs, so two that admit at once both see room",
        edits=(InText("controller.store.slots:_LOCK", "       FOR NO KEY UPDATE OF resource\n", ""),),
        caught_by=r"\(I5\)",
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
        name="run-ids-by-name",
        breaks="a run's id is derived from its DAG's name, so a DAG that is made anew meets its predecessor's runs",
        edits=(
            InFunction("controller.api.triggers:_trigger", "RunUid(deps.ids.uid(now))", 'RunUid(f"{dag.name}-{key}")'),
        ),
        caught_by="not answered",
    ),
    Mutant(
        name="dag-ids-by-name",
        breaks="a DAG's id is its name, so one that is made anew meets its predecessor's revisions, runs and ticks",
        edits=(InFunction("controller.api.upsert:_create", "uid = ids.uid(now)", "uid = wanted.ref.name"),),
        caught_by="",
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
                "controller.api.reporting:Reporting._group",
                "        freed = {",
                "        task_runs.count_ended(connection, sorted(wanted - here.keys()))\n        freed = {",
            ),
            InFunction("controller.api.reporting:Reporting._group", "again | (wanted - here.keys())", "again"),
        ),
        caught_by="",
    ),
)
