"""Keep a system at what the files say: apply each good save, report each bad one, wait for a server that is away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from watchfiles import watch

from controller.cli import text
from controller.cli.apply import apply_once, report
from controller.cli.errors import CliError, UnreachableError

if TYPE_CHECKING:
    import threading

    from controller.cli.client import Client

# Editors write a file in several steps; what comes within this time is one change.
DEBOUNCE_MILLISECONDS = 300
# How often a server that was away is tried again.
RETRY_MILLISECONDS = 2_000

Applied = Callable[[Sequence[dict[str, Any]]], None]
Failed = Callable[[CliError], None]


def keep_applied(
    client: Client,
    paths: Sequence[str],
    *,
    stop: threading.Event | None = None,
    applied: Applied | None = None,
    failed: Failed | None = None,
) -> None:
    """Apply the files now and after each change, until `stop` is set."""
    on_applied = applied or _print_applied
    on_failed = failed or _print_failed
    pending, told = _try(client, paths, on_applied, on_failed, None)
    changes = watch(
        *paths,
        debounce=DEBOUNCE_MILLISECONDS,
        rust_timeout=RETRY_MILLISECONDS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=True,
    )
    # What was saved before the watch began brought no event, so the first look applies whatever there is.
    unseen = True
    for changed in changes:
        if changed or pending or unseen:
            unseen = False
            pending, told = _try(client, paths, on_applied, on_failed, None if changed else told)


def _try(
    client: Client, paths: Sequence[str], applied: Applied, failed: Failed, told: str | None
) -> tuple[bool, str | None]:
    """Apply once; return whether to try again without a change, and what was said about it last."""
    try:
        applied(apply_once(client, paths))
    except CliError as error:
        # The same trouble with the server is told once, not every two seconds.
        if str(error) != told:
            failed(error)
        return isinstance(error, UnreachableError), str(error)
    return False, None


def _print_applied(items: Sequence[dict[str, Any]]) -> None:
    report(items, quiet=True)


def _print_failed(error: CliError) -> None:
    text.error(str(error))
    for problem in error.problems:
        text.err(f"  {problem}")
