"""How callers are known and bounded, from the settings; and the administrator's token, from its secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.api.addresses import networks
from controller.api.gate import Access
from controller.api.limits import FAILURES, Buckets, Limits, Rate
from controller.store import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import psycopg

    from controller.api.auth import Identities
    from controller.settings import Settings

ADMIN = "admin"


def access_of(settings: Settings) -> Access:
    """Return how callers are known and bounded; raise ValueError if the identity provider's address is none."""
    rate = Rate(settings.rate_limit, settings.rate_burst)
    limits = Limits(Buckets(rate) if rate.per_second else None, Buckets(FAILURES))
    return Access(limits, networks(settings.trusted_proxies), _identities(settings) if settings.oidc_issuer else None)


def _identities(settings: Settings) -> Identities:
    # Who has no provider neither waits for the library of its tokens nor trusts it.
    from controller.api.oidc import OidcTokens, Provider  # noqa: PLC0415 - as said above

    return OidcTokens(
        Provider(
            settings.oidc_issuer,
            settings.oidc_audience,
            settings.oidc_role_claim,
            settings.oidc_roles,
            settings.oidc_scope_claim,
            settings.oidc_name_claim,
        )
    )


def ensure_admin(connection: psycopg.Connection, values: Sequence[str], now: datetime) -> None:
    """Let in whoever has the secret's current or previous value, and nobody with one from before those."""
    for value in values:
        tokens.ensure_token(connection, value, ADMIN, ADMIN, now)
    tokens.forget_others(connection, ADMIN, values)
