"""Bugs of the fence: what an attempt leaves in tables and manifests, and whom it keeps waiting meanwhile."""

from __future__ import annotations

from tests.mutation.mutant import Mutant
from tests.mutation.planting import InDatabase

_COMMIT = "fence.commit(text, text, jsonb, jsonb, jsonb)"

OF_DATA = (
    Mutant(
        name="merge-without-commit",
        breaks="hot rows are merged in one transaction and the success is recorded by the report in another one",
        edits=(InDatabase(_COMMIT, "    UPDATE attempt\n", "    RETURN 'committed';\n    UPDATE attempt\n"),),
        caught_by=r"files of attempts that did not succeed|^AssertionError: (rows|files) |has no effect",
    ),
    Mutant(
        name="fence-before-merge",
        breaks="the fence is taken before the merge, so whoever asks for the attempt waits until a long merge has ended",
        edits=(
            InDatabase(
                _COMMIT,
                "    PERFORM fence.guard(p_attempt, p_token);\n",
                "    PERFORM fence.guard(p_attempt, p_token);\n"
                "    PERFORM FROM attempt WHERE id = p_attempt FOR NO KEY UPDATE;\n",
            ),
        ),
        caught_by="LockNotAvailable|QueryCanceled|lock timeout",
        tests=("tests/integration/test_fence_waits.py",),
    ),
)
