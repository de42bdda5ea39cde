"""Where ministack 1.5 differs from what AWS documents or was seen to do; a fixed one fails as XPASS."""

_NO_MOVES = "StartMessageMoveTask is not implemented"
_STALE = "a stale or used handle is refused as malformed (ReceiptHandleIsInvalid)"
_RANGE = "a visibility out of range is taken"
_REDRIVE = "a bad RedrivePolicy is an InvalidAttributeValue instead of an InvalidParameterValue"
_NAMES = "queue names are not checked"
_ATTRIBUTES = "unknown attributes are taken"

DIFFERENCES: dict[str, str] = {
    "test_attributes_count_against_the_size": "only the body counts against the size",
    "test_attributes_of_a_new_fifo_queue": "DeduplicationScope and FifoThroughputLimit are not shown",
    "test_bad_message_attribute_is_refused[empty value]": "message attributes are not checked",
    "test_bad_message_attribute_is_refused[unknown type]": "message attributes are not checked",
    "test_create_is_refused[characters]": _NAMES,
    "test_create_is_refused[empty redrive policy]": _REDRIVE,
    "test_create_is_refused[fifo by name only]": _NAMES,
    "test_create_is_refused[for fifo only]": _ATTRIBUTES,
    "test_create_is_refused[length]": _NAMES,
    "test_create_is_refused[no arn]": _REDRIVE,
    "test_create_is_refused[no such dead-letter queue]": _REDRIVE,
    "test_create_is_refused[unknown attribute]": _ATTRIBUTES,
    "test_dead_letter_queue_must_be_of_the_same_type": "the type of the dead-letter queue is not checked",
    "test_deduplication_id_is_refused": "a standard queue takes a deduplication id",
    "test_deleting_twice_is_a_success": _STALE,
    "test_expired_handle_deletes_nothing_on_fifo": "an expired handle still deletes",
    "test_move_task_brings_dead_letters_back[by name]": _NO_MOVES,
    "test_move_task_brings_dead_letters_back[to the source]": _NO_MOVES,
    "test_move_task_can_be_cancelled": _NO_MOVES,
    "test_move_task_fails_on_messages_without_a_source": _NO_MOVES,
    "test_move_task_needs_a_dead_letter_queue_and_a_destination": _NO_MOVES,
    "test_purge_forgets_all_and_is_refused_within_a_minute": "PurgeQueue has no limit",
    "test_same_receive_attempt_gets_the_same_messages": "ReceiveRequestAttemptId is ignored",
    "test_sources_of_dead_letters_are_listed": "ListDeadLetterSourceQueues is not implemented",
    "test_stale_handle_does_not_delete_a_redelivered_message_on_fifo": _STALE,
    "test_stale_handle_is_accepted_but_deletes_nothing_on_standard": _STALE,
    "test_unknown_attribute_cannot_be_asked_for": _ATTRIBUTES,
    "test_visibility_is_refused_after_deletion": _STALE,
    "test_visibility_is_refused_when_not_in_flight": "a visible message can be hidden by its old handle",
    "test_visibility_out_of_range_is_refused[negative]": _RANGE,
    "test_visibility_out_of_range_is_refused[over 12 hours]": _RANGE,
}
