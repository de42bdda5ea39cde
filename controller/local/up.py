"""`setpoint up`: the whole system on this machine, until Ctrl-C."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

import structlog

from controller.local.layout import DEFAULT_DATA_DIR, DataDirInUseError, DataDirUnusableError
from controller.local.postgres import PostgresNotFoundError
from controller.local.system import Options, PortTakenError, System

_STOPPING = (signal.SIGTERM, signal.SIGINT)


def main(
    data_dir: Path = DEFAULT_DATA_DIR, dags: Path = Path("dags"), port: int = 8080, examples_port: int = 8089
) -> int:
    """Start everything, wait for SIGINT or SIGTERM, stop everything; return the exit status."""
    configure()
    for number in _STOPPING:
        signal.signal(number, _interrupt)
    try:
        with System(Options(data_dir, dags if dags.is_dir() else None, port, examples_port), _say) as system:
            _greet(system, dags)
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
            _say("stopping …")
    except KeyboardInterrupt:
        _say("stopped while it was starting")
        return 0
    except (DataDirInUseError, DataDirUnusableError, PortTakenError, PostgresNotFoundError, TimeoutError) as error:
        sys.stderr.write(f"setpoint up: {error}\n")
        return 1
    _say("stopped; the next `setpoint up` continues where this one stopped")
    return 0


def _interrupt(*_: object) -> None:
    """Stop at the first signal, also while starting; later ones must not disturb the stop."""
    for number in _STOPPING:
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt


def configure() -> None:
    """Show people warnings only, in one line each."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _greet(system: System, dags: Path) -> None:
    _say("")
    _say(f"Setpoint is up: {system.url}")
    watched = "watched: save a file and see it converge"
    missing = "does not exist, so nothing is applied; name another by --dags"
    _say(f"  DAGs            {dags}/ ({watched if dags.is_dir() else missing})")
    _say(f"  data, logs      {system.layout.root}")
    _say(f"  example data    {system.examples_url}")
    if system.hooks_url:
        _say(f"  webhooks        {system.hooks_url}/… (their secrets: setpoint/webhooks/… in {system.layout.secrets})")
    _say("Beside it:  setpoint get dags · setpoint trigger flights --wait · setpoint events -w")
    _say("Ctrl-C stops all of it.")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
