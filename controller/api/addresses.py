"""Where a request comes from: the connection's other end, or what trusted proxies say of it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import Scope

UNKNOWN = "unknown"
HOPS_LIMIT = 20
"""The most proxies that are looked through."""

Networks = tuple[IPv4Network | IPv6Network, ...]


def networks(text: str) -> Networks:
    """Return the networks of a list that commas separate; raise ValueError if one is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def trusted(address: str, proxies: Networks) -> bool:
    """Tell whether an address is that of a proxy of ours."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    # A socket for both families shows IPv4 so: ::ffff:10.0.0.1.
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in proxies)


def peer_of(scope: Scope) -> str:
    """Return the address of the connection's other end."""
    client = scope.get("client")
    return str(client[0]) if client else UNKNOWN


def client_address(peer: str, forwarded: Sequence[str], proxies: Networks) -> str:
    """Return the client's address: the rightmost that no trusted proxy has.

    Each proxy appends whom it heard from, so only what stands right of the first stranger can be believed.
    """
    hops = [hop.strip() for text in forwarded for hop in text.split(",")]
    address = peer
    for hop in reversed(hops[-HOPS_LIMIT:]):
        if not trusted(address, proxies):
            return address
        found = _address(hop)
        if found is None:
            return address
        address = found
    return address


def client_of(scope: Scope, proxies: Networks) -> str:
    """Return the client's address of a request."""
    forwarded = [value.decode("latin-1") for key, value in scope["headers"] if key == b"x-forwarded-for"]
    return client_address(peer_of(scope), forwarded, proxies)


def request_id(state: Mapping[str, object]) -> str:
    """Return the id that the request was given."""
    return str(state.get("request_id", ""))


def _address(text: str) -> str | None:
    """Return an address as proxies write it: bare, with a port, or with brackets; None if it is none."""
    bare = text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        bare = text.partition(":")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return None
