"""Connections to receivers that people name: where they may lead, and how long one may last."""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from controller.notify.undelivered import Undelivered

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_WITHIN = 5.0
ADDRESSES_TRIED = 3
# What answers here hands out the credentials of the machine or of the task
# (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html,
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html).
_METADATA = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fd00:ec2::/32"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def dial(host: str, port: int) -> socket.socket:
    """Connect to a host; raise Undelivered if it cannot be reached or leads where no receiver is."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Undelivered(f"{host} cannot be resolved: {error}") from error
    targets = list(dict.fromkeys((family, place[0]) for family, _, _, _, place in found))
    # All of them, and the connection goes to what was checked: a name that resolves to something else next time gains nothing.
    for _, address in targets:
        if forbidden(ipaddress.ip_address(str(address).partition("%")[0])):
            raise Undelivered(f"{host} leads to {address}, where no receiver may be")
    problem: OSError | None = None
    for family, address in targets[:ADDRESSES_TRIED]:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_WITHIN)
        try:
            connection.connect((address, port))
        except OSError as error:
            connection.close()
            problem = error
        else:
            return connection
    raise Undelivered(f"{host}:{port} cannot be reached: {problem}")


def loopback(host: str) -> bool:
    """Tell whether a host means this machine by what it is called, whatever a resolver says."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def forbidden(address: Address) -> bool:
    """Tell whether an address is one that no receiver has: link-local, metadata, multicast, unspecified."""
    inner = getattr(address, "ipv4_mapped", None)
    if inner is not None:
        return forbidden(inner)
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return True
    return any(address in network for network in _METADATA if network.version == address.version)


@contextmanager
def cut_after(connection: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a connection when its time is over, whatever is being waited for: a receiver that drips bytes never times out."""
    # A second handle: the first is no longer a socket once TLS is spoken through it.
    handle = connection.dup()
    watch = threading.Timer(seconds, _cut, [handle])
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        watch.join(1)
        handle.close()


def _cut(handle: socket.socket) -> None:
    try:
        handle.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It ended by itself just now.
        return
