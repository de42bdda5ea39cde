"""What a request does, in the words of the audit log and of `setpoint auth can-i`."""

from __future__ import annotations

from typing import NamedTuple

from crds.kinds import KINDS

READING = frozenset({"GET", "HEAD"})
_PLURALS = {kind.plural: kind.name for kind in KINDS.values()} | {
    "events": "Event",
    "audit": "Audit",
    "tokens": "Token",
    "bundles": "Bundle",
    "whoami": "Principal",
    "can-i": "Principal",
    "doctor": "Doctor",
    "leader": "Leader",
}
# A method on a collection, and on one object.
_ON_ALL = {"GET": "list", "POST": "create"}
_ON_ONE = {"GET": "get", "HEAD": "get", "PUT": "apply", "DELETE": "delete"}


class Deed(NamedTuple):
    """What is done to which kind; `apply` of many resources is of the kind `*`."""

    verb: str
    kind: str


def deed(method: str, path: str) -> Deed:
    """Return what a method of an endpoint's path does."""
    parts = path.partition("/namespaces/{ns}/")[2] or path.partition("/v1/")[2]
    plural, _, rest = parts.partition("/")
    kind = _PLURALS.get(plural, "*")
    _, _, verb = rest.partition("/")
    if verb:
        return Deed(verb, kind)
    if kind == "*":
        return Deed(plural, kind)
    return Deed((_ON_ONE if rest else _ON_ALL)[method], kind)
