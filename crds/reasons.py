"""Every reason that a condition, an attempt or an event may carry, in one place."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something is as it is."""

    # Resources
    VALID = "Valid"
    SYNCED = "Synced"
    ACTIVE = "Active"
    READY = "Ready"
    SUSPENDED = "Suspended"
    NO_SCHEDULE = "NoSchedule"
    NOT_PROVISIONED = "NotProvisioned"
    APPLIED = "Applied"
    CREATED = "Created"
    DELETED = "Deleted"
    TERMINATING = "Terminating"
    TRIGGERED = "Triggered"
    RESUMED = "Resumed"
    RETRY_REQUESTED = "RetryRequested"
    RERUN_REQUESTED = "RerunRequested"
    CLEAR_REQUESTED = "ClearRequested"
    CANCEL_REQUESTED = "CancelRequested"
    SCALED = "Scaled"
    SCHEMA_CONFLICT = "SchemaConflict"
    RECONCILE_FAILED = "ReconcileFailed"
    FRESH = "Fresh"
    STALE = "Stale"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - the name of a reason
    DELIVERY_FAILED = "DeliveryFailed"
    GAVE_UP = "GaveUp"

    # Waiting
    WAITING_FOR_UPSTREAM = "WaitingForUpstream"
    WAITING_FOR_SLOT = "WaitingForSlot"
    WAITING_FOR_QUOTA = "WaitingForQuota"
    WAITING_FOR_WORKER = "WaitingForWorker"
    BACKOFF = "Backoff"
    NO_CAPACITY = "NoCapacity"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    SENDING = "Sending"
    ADMITTED = "Admitted"
    QUEUED = "Queued"
    CLAIMED = "Claimed"
    RUNNING = "Running"
    PROGRESSING = "Progressing"
    REPORT_PENDING = "ReportPending"

    # Ends
    SUCCEEDED = "Succeeded"
    USER_ERROR = "UserError"
    ARCHIVED = "Archived"
    OUT_OF_MEMORY = "OutOfMemory"
    TIMED_OUT = "TimedOut"
    QUEUE_TIMEOUT = "QueueTimeout"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
    CANCELLED = "Cancelled"
    REPLACED = "Replaced"
    SKIPPED = "Skipped"
    RULE_NOT_MET = "RuleNotMet"
    UPSTREAM_FAILED = "UpstreamFailed"
    TASK_FAILED = "TaskFailed"

    # Infrastructure
    LEASE_EXPIRED = "LeaseExpired"
    MISSING_FROM_HEARTBEAT = "MissingFromHeartbeat"
    WORKER_STOPPED = "WorkerStopped"
    SPOT_INTERRUPTION = "SpotInterruption"
    CHILD_DIED = "ChildDied"
    EVICTED = "Evicted"
    UNDELIVERABLE = "Undeliverable"
    INFRASTRUCTURE_ERROR = "InfrastructureError"
    RESENT = "Resent"
    DELIVERY_LOST = "DeliveryLost"
    DEAD_LETTER = "DeadLetter"
    THROTTLED = "Throttled"
    FUNCTION_FAILED = "FunctionFailed"
    RETRYING = "Retrying"

    # Refusals
    ALREADY_CLAIMED = "AlreadyClaimed"
    STALE_FENCE = "StaleFence"
    FINAL = "Final"
    UNKNOWN = "Unknown"
    MALFORMED = "Malformed"
    WRONG_POOL = "WrongPool"
    BUSY = "Busy"
