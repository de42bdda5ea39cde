"""Serve moto with its gaps filled: `python -m tests.terraform.cloud.server`."""

from __future__ import annotations

import signal
import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.terraform.cloud import gaps

HOST = "127.0.0.1"


def main() -> int:
    """Serve until told to stop; say `listening on URL` on stdout when ready."""
    gaps.fill()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(HOST, 0, application, threaded=True, request_handler=MotoRequestHandler)
    sys.stdout.write(f"listening on http://{HOST}:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
