"""What every request of the resource API passes: who asks, whether too often, about whose Dags; and what is recorded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from controller.api import audit, scope
from controller.api.addresses import Networks, client_of, request_id
from controller.api.audit import AuditedPool, Recorder
from controller.api.auth import Authenticator, ForbiddenError, Identities, Principal
from controller.api.errors import RefusedError
from controller.api.limits import Limits
from controller.api.verbs import READING, Deed
from controller.store.audit import Actor, Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from controller.api.auth import Role
    from controller.api.endpoint import ApiDeps

# Names in a refused request are a stranger's.
SHOWN = 256
NOBODY = "-"


@dataclass(frozen=True, slots=True)
class Access:
    """How callers are known and bounded; by default by our own tokens, without limits, and behind no proxy."""

    limits: Limits = field(default_factory=Limits)
    proxies: Networks = ()
    identities: Identities | None = None


class Gate:
    """Lets requests in, and records what they do or why they may not."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps
        self._access = deps.access
        self._authenticator = Authenticator(deps.pool, deps.clock, deps.access.identities)

    def enter(self, request: Request, role: Role) -> Principal:
        """Return who asks; raise RefusedError with 401, 403 or 429."""
        limits, authorization = self._access.limits, request.headers.get("authorization")
        address = client_of(request.scope, self._access.proxies)
        # Whoever was known lately is looked up again also while strangers try their luck behind the same address.
        if not self._authenticator.seen(authorization):
            limits.may_fail(address)
        try:
            principal = self._authenticator.check(authorization, role)
        except ForbiddenError:
            raise
        except RefusedError as error:
            if error.code == 401:
                limits.failed(address)
            raise
        limits.ask(principal.name)
        return principal

    def still(self, authorization: str | None, role: Role) -> None:
        """Raise RefusedError if a caller whose stream is open is let in no longer."""
        self._authenticator.check(authorization, role)

    def recorder(self, request: Request, principal: Principal, what: Deed) -> Recorder:
        """Return what collects a request's rows."""
        asks = request.query_params
        usual = None if asks.get("dryRun") else _entry(request.path_params, what)
        return Recorder(self._actor(request, principal), usual)

    def deps_of(self, method: str, recorder: Recorder) -> ApiDeps:
        """Return what a handler works with: one that changes something gets connections that record it."""
        if method in READING:
            return self._deps
        return replace(self._deps, pool=AuditedPool(self._deps.pool, recorder))

    def check_scope(self, request: Request, principal: Principal, what: Deed) -> None:
        """Raise NotFound or ForbiddenError for what is not the caller's."""
        if principal.scope is not None:
            with self._deps.pool.connection() as connection:
                scope.check_path(connection, principal, request.method, what, request.path_params)

    def refused(self, request: Request, what: Deed, error: RefusedError) -> None:
        """Record that somebody was not let in, unless very many were."""
        address = client_of(request.scope, self._access.proxies)
        if not self._access.limits.records(address):
            return
        who = error.principal if isinstance(error, ForbiddenError) else None
        entry = replace(_entry(request.path_params, what), message=str(error))
        audit.refused(self._deps.pool, self._actor(request, who), entry)

    def _actor(self, request: Request, principal: Principal | None) -> Actor:
        address = client_of(request.scope, self._access.proxies)
        named = request_id(request.scope.get("state", {}))
        if principal is None:
            return Actor(NOBODY, NOBODY, NOBODY, address, named)
        return Actor(principal.name, principal.role.word, principal.source, address, named)


def record_alone(deps: ApiDeps, recorder: Recorder) -> None:
    """Record a change that needed no connection, as of a bundle in the object store."""
    if not recorder.written:
        with deps.pool.connection() as connection:
            recorder.write(connection)


def _entry(path: Mapping[str, str], what: Deed) -> Entry:
    name = path.get("name", path.get("digest", ""))
    return Entry(what.verb, what.kind, _text(path.get("ns", "")), _text(name))


def _text(value: str) -> str:
    return value[:SHOWN].replace("\0", "")
