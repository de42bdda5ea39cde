"""Whether the worker in this container lives: `python -m workers.probe` exits 0 if /metrics answers, else 1."""

from __future__ import annotations

import http.client
import os
import sys

DEFAULT_PORT = 9090
PATH = "/metrics"
TIMEOUT_SECONDS = 3.0


EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - names of addresses, none is bound


def main() -> int:
    """Ask once; say what is wrong."""
    try:
        port = int(os.environ.get("SETPOINT_METRICS_PORT") or DEFAULT_PORT)
        connection = http.client.HTTPConnection(_host(), port, timeout=TIMEOUT_SECONDS)
        connection.request("GET", PATH)
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"the worker does not answer: {error}; is SETPOINT_METRICS_PORT the one that it serves?\n")
        return 1
    if status != http.HTTPStatus.OK:
        sys.stderr.write(f"the worker answers {status}\n")
        return 1
    return 0


def _host() -> str:
    """Return the address that is served; one of all of them, if all are."""
    served = os.environ.get("SETPOINT_METRICS_HOST", "")
    return "127.0.0.1" if served in EVERYWHERE else served


if __name__ == "__main__":
    sys.exit(main())
