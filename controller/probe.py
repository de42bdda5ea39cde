"""Whether the dispatcher in this container lives: `python -m controller.probe` exits 0 if /healthz answers 200, else 1."""

from __future__ import annotations

import http.client
import os
import sys

DEFAULT_PORT = 8080
PATH = "/healthz"
TIMEOUT_SECONDS = 3.0
MAX_REASON_BYTES = 500


EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - names of addresses, none is bound


def main() -> int:
    """Ask once; say what is wrong."""
    try:
        port = int(os.environ.get("SETPOINT_PORT") or DEFAULT_PORT)
        connection = http.client.HTTPConnection(_host(), port, timeout=TIMEOUT_SECONDS)
        connection.request("GET", PATH)
        response = connection.getresponse()
        said = response.read(MAX_REASON_BYTES).decode(errors="replace")
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"the dispatcher does not answer: {error}; is SETPOINT_PORT the one that it serves?\n")
        return 1
    if response.status != http.HTTPStatus.OK:
        sys.stderr.write(f"the dispatcher answers {response.status}: {said}\n")
        return 1
    return 0


def _host() -> str:
    """Return the address that is served; one of all of them, if all are."""
    served = os.environ.get("SETPOINT_HOST", "")
    return "127.0.0.1" if served in EVERYWHERE else served


if __name__ == "__main__":
    sys.exit(main())
