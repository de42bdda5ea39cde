"""Who leads: the holder of the dispatcher's lease, its term, and the database's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.api.auth import Role
from controller.api.endpoint import ApiDeps, Call, Endpoint, answer
from controller.api.objects import utc
from controller.runtime.leader import LEASE, NAME
from controller.store import leases

if TYPE_CHECKING:
    from starlette.responses import Response

PATH = "/v1/leader"


def endpoints() -> list[Endpoint]:
    """Return the endpoint that tells who leads."""
    return [Endpoint("GET", PATH, Role.VIEWER, _leader, "Tell who leads, since which term", answer="Leader")]


def _leader(deps: ApiDeps, _call: Call) -> Response:
    with deps.pool.connection() as connection:
        seen = leases.read(connection, NAME)
    renewed = seen.expires_at - LEASE if seen.expires_at is not None and seen.held else None
    found = {"kind": "Leader", "holder": seen.holder, "term": seen.term, "held": seen.held}
    return answer({**found, "renewedAt": utc(renewed), "time": utc(seen.now)})
