"""Bugs between an attempt that is meant to run and the worker that runs it: sending, claiming, dead letters."""

from __future__ import annotations

from tests.mutation.mutant import Mutant
from tests.mutation.planting import InFunction, InText

_DELIVER = "controller.reconcilers.sender:Sender.deliver"
_SEND = "sent = {(m.attempt, m.delivery) for pool, sends in chunks for m in self._send(pool, sends)}"
_DECIDE = "controller.diff.claims:decide"
_FENCES = "controller.store.fences"
_TESTS = "tests/integration/test_core_delivery.py"

OF_DELIVERY = (
    Mutant(
        name="queued-before-sent",
        breaks="an attempt is recorded Queued before its message is sent, so a crash in between loses it for two minutes",
        edits=(
            InFunction(
                _DELIVER,
                _SEND,
                "sent = {(s.attempt, s.delivery) for _, sends in chunks for s in sends}",
                more=(("return [send for", f"{_SEND}\n    return [send for"),),
            ),
        ),
        caught_by="Queued, and its delivery",
    ),
    Mutant(
        name="claim-only-queued",
        breaks="a claim that comes before Queued is recorded is refused, and its message deleted",
        edits=(
            InFunction(
                _DECIDE,
                "            if asked.cancelled:",
                "            if asked.phase is AttemptPhase.PENDING or asked.cancelled:",
            ),
        ),
        caught_by="dropped",
    ),
    Mutant(
        name="claim-without-phase-check",
        breaks="an attempt that runs is granted again to whoever asks",
        edits=(
            InFunction(_DECIDE, 'return Answer("drop", Reason.ALREADY_CLAIMED)', 'return Answer("grant")'),
            InText(f"{_FENCES}:_CLAIM", "attempt.phase IN ('Pending', 'Queued')", "attempt.ended_at IS NULL"),
        ),
        caught_by=r"\(I2\)|changed its worker",
    ),
    Mutant(
        name="old-grant-for-same-worker",
        breaks="a worker gets the grant of an attempt that it claimed before, though its request is another one",
        edits=(
            InFunction(
                _DECIDE,
                "(asked.request, asked.worker) == (claimant.request, claimant.worker)",
                "asked.worker == claimant.worker",
            ),
            InText(f"{_FENCES}:_TAKEN", " AND attempt.request = asked.request", ""),
        ),
        caught_by="test_the_same_request",
        # A worker passes over what it holds already, so that in the simulation nothing comes of it.
        tests=(f"{_TESTS}::test_the_same_request_gets_the_same_grant_and_another_one_is_refused",),
    ),
    Mutant(
        name="dedup-without-delivery",
        breaks="each delivery of an attempt has the same deduplication id, so SQS drops what is sent again",
        edits=(
            InFunction(
                "crds.names:deduplication_id",
                'f"{attempt[: ATTEMPT_ID_LIMIT - 8]}.{delivery}"',
                "attempt[:ATTEMPT_ID_LIMIT]",
            ),
        ),
        caught_by="never taken",
    ),
    Mutant(
        name="dead-letter-kills-running",
        breaks="a message in the dead-letter queue makes its attempt Undeliverable although a worker runs it",
        edits=(
            InFunction(
                "controller.diff.attempts:dead_letter",
                "    if attempt.phase not in",
                "    if attempt.phase is AttemptPhase.RUNNING:\n"
                "        return Close(attempt.id, attempt.phase, AttemptPhase.UNDELIVERABLE, Reason.UNDELIVERABLE)\n"
                "    if attempt.phase not in",
            ),
        ),
        caught_by="test_the_buried_message",
        # A message is buried after 90 s at the earliest, and the simulation's tasks end within 60 s.
        tests=(f"{_TESTS}::test_the_buried_message_of_a_claimed_attempt_is_only_removed",),
    ),
)
