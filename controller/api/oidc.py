"""Bearer tokens of an identity provider (OpenID Connect): checked by its keys, read by its claims.

Discovery: https://openid.net/specs/openid-connect-discovery-1_0.html; keys: RFC 7517; checks: RFC 7519, RFC 8725.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt
import structlog

from controller.api.auth import ForbiddenError, Principal, Role, read_scope
from controller.api.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from http.client import HTTPMessage
    from typing import IO

log = structlog.get_logger()

ALGORITHMS = ("RS256", "ES256")
"""Signatures by a private key alone: neither `none`, nor one that whoever knows the public key could make."""
LEEWAY_SECONDS = 60
KEYS_SECONDS = 600.0
"""How long keys are used before they are read again."""
AGAIN_SECONDS = 30.0
"""How long nothing is read again after a try, whatever strangers send."""
TIMEOUT_SECONDS = 5.0
DOCUMENT_LIMIT = 2**20
KEYS_LIMIT = 100
NAME_LIMIT = 200
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider, and which of its claims mean what."""

    issuer: str
    audience: str
    role_claim: str = "setpoint_role"
    roles: Mapping[str, str] = field(default_factory=dict)
    """The role that a claim's value means; the roles' own names need no entry."""
    scope_claim: str = ""
    name_claim: str = ""


class Unreachable(Exception):
    """The provider does not answer, or with no document of OpenID Connect."""


class Keys:
    """The provider's public keys by id, read when they are needed, and kept while the provider is away."""

    def __init__(self, issuer: str, now: Callable[[], float] = monotonic) -> None:
        _check_url(issuer)
        self._issuer = issuer
        self._now = now
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._lock = Lock()

    def find(self, kid: str) -> jwt.PyJWK | None:
        """Return a key, or None if the provider has none of that id; raise Unreachable if no key was ever read."""
        with self._lock:
            if self._stale() or kid not in self._keys:
                self._refresh()
            if self._read_at is None:
                raise Unreachable(self._issuer)
            return self._keys.get(kid)

    def _stale(self) -> bool:
        return self._read_at is None or self._now() - self._read_at >= KEYS_SECONDS

    def _refresh(self) -> None:
        if self._tried_at is not None and self._now() - self._tried_at < AGAIN_SECONDS:
            return
        self._tried_at = self._now()
        try:
            self._keys = _read_keys(self._issuer)
        except Unreachable as error:
            # What was read before goes on being right for as long as the provider is away.
            log.warning("the identity provider does not answer", issuer=self._issuer, error=str(error))
            return
        self._read_at = self._now()


class OidcTokens:
    """Tells whose an identity provider's token is."""

    def __init__(self, provider: Provider, now: Callable[[], float] = monotonic) -> None:
        self._provider = provider
        self._keys = Keys(provider.issuer, now)

    def principal(self, token: str) -> Principal:
        """Return whose a token is; raise RefusedError with 401, 403 or 503."""
        return _principal(self._provider, self._claims(token))

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise _unauthorized(f"it is not signed by {' or '.join(ALGORITHMS)}")
            key = self._keys.find(str(header.get("kid", "")))
            if key is None:
                raise _unauthorized("it is signed by no key of the identity provider")
            if key.algorithm_name != header["alg"]:
                raise _unauthorized("its key is for another algorithm")
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._provider.audience,
                issuer=self._provider.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except Unreachable as error:
            text = "the identity provider does not answer, so its tokens cannot be checked; try again, or use another token"
            raise RefusedError(503, "ServiceUnavailable", text) from error
        except jwt.ExpiredSignatureError as error:
            raise _unauthorized("it has expired; log in again") from error
        except jwt.PyJWTError as error:
            # The library's words name the check that failed and nothing of the token.
            raise _unauthorized(str(error)) from error


def _principal(provider: Provider, claims: Mapping[str, Any]) -> Principal:
    name = _name(provider, claims)
    roles = [role for value in _texts(claims.get(provider.role_claim)) if (role := _role(provider, value))]
    nobody = Principal(name, Role.VIEWER, source="oidc")
    if not roles:
        text = f"the claim {provider.role_claim} of {name} gives no role; have the identity provider put one there"
        raise ForbiddenError(nobody, text)
    if not provider.scope_claim:
        return Principal(name, max(roles), source="oidc")
    scope = claims.get(provider.scope_claim)
    if not isinstance(scope, str):
        # Whoever confines people by a claim does not mean that those without it may do everything.
        raise ForbiddenError(nobody, f"the token of {name} has no claim {provider.scope_claim}, which says its scope")
    try:
        return Principal(name, max(roles), read_scope(scope), "oidc")
    except RefusedError as error:
        raise ForbiddenError(nobody, f"the claim {provider.scope_claim} of {name} is no selector: {error}") from error


def _name(provider: Provider, claims: Mapping[str, Any]) -> str:
    for claim in (provider.name_claim, "email", "sub"):
        value = claims.get(claim) if claim else None
        # An address that nobody has confirmed may be another's.
        if claim == "email" and claims.get("email_verified") is False:
            continue
        if isinstance(value, str) and value and value.isprintable():
            return value[:NAME_LIMIT]
    raise _unauthorized("it names nobody: it has no claim sub")


def _role(provider: Provider, value: str) -> Role | None:
    word = provider.roles.get(value, value)
    return Role[word.upper()] if word in {role.word for role in Role} else None


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]


def _unauthorized(why: str) -> RefusedError:
    return RefusedError(401, "Unauthorized", f"the token is not valid: {why}")


def _read_keys(issuer: str) -> dict[str, jwt.PyJWK]:
    document = _read(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise Unreachable(f"its document names the issuer {str(document.get('issuer'))[:100]!r}, not {issuer!r}")
    address = str(document.get("jwks_uri"))
    try:
        _check_url(address)
    except ValueError as error:
        raise Unreachable(str(error)) from error
    found = _read(address).get("keys")
    keys = {}
    for entry in found[:KEYS_LIMIT] if isinstance(found, list) else ():
        if isinstance(entry, dict) and entry.get("use", "sig") == "sig" and isinstance(entry.get("kid"), str):
            try:
                key = jwt.PyJWK.from_dict(entry)
            except jwt.PyJWTError:
                # A key of a kind that we do not know is none of ours to use.
                continue
            if key.algorithm_name in ALGORITHMS:
                keys[entry["kid"]] = key
    if not keys:
        raise Unreachable(f"{address} holds no key for {' or '.join(ALGORITHMS)}")
    return keys


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keep to the address that was checked."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow no redirect: it could lead to an address that is not https."""


def _read(address: str) -> Mapping[str, Any]:
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(address, timeout=TIMEOUT_SECONDS) as answer:
            found = json.loads(answer.read(DOCUMENT_LIMIT))
    except (OSError, ValueError, RecursionError) as error:
        raise Unreachable(f"{address}: {type(error).__name__}: {error}") from error
    if not isinstance(found, dict):
        raise Unreachable(f"{address} answers no JSON object")
    return found


def _check_url(address: str) -> None:
    parts = urlsplit(address)
    if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        raise ValueError(f"{address[:200]!r} is no https address")
