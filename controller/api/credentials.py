"""Tokens that people draw for each other, and what one's own may do."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from controller.api.auth import ForbiddenError, Principal, Role, read_scope
from controller.api.endpoint import ApiDeps, Call, Endpoint, Param, answer
from controller.api.errors import RefusedError, bad_request
from controller.api.objects import utc
from controller.api.scope import OF_DAGS, check_object
from controller.api.verbs import READING, deed
from controller.errors import Conflict, NotFound
from controller.store import tokens
from controller.store.audit import Entry
from controller.store.resources import Ref
from controller.store.tokens import PREFIX, DrawnToken
from crds.finding import shown
from crds.kinds import find_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

    from controller.store.selection import Scope

PATH = "/v1/tokens"
TOKENS_LIMIT = 1_000
"""The most tokens that are shown, and that may exist."""
SECRET_BYTES, ID_BYTES = 32, 4
DEFAULT_TTL = timedelta(days=90)
LONGEST_TTL = timedelta(days=3_650)
SCOPE_LIMIT = 1_000
_NAME = re.compile(r"[a-z0-9]([a-z0-9._@-]{0,61}[a-z0-9])?")
_FIELDS = frozenset({"name", "role", "ttlSeconds", "scope"})
_CODES = (200, 404, 409)

Table = dict[tuple[str, str], tuple[Role, bool]]


def endpoints(others: Sequence[Endpoint]) -> list[Endpoint]:
    """Return the endpoints for tokens, and those that tell what the caller may do by the `others`."""
    drawing = "Draw a token; it is told this once"
    listing = "List the tokens that were drawn, without their secrets"
    telling = "Tell whose the token is, and what it may do"
    made = [
        Endpoint("POST", PATH, Role.ADMIN, _draw, drawing, (), "NewToken", "DrawnToken", (201, 409, 422)),
        Endpoint("GET", PATH, Role.ADMIN, _list, listing, answer="TokenList"),
        Endpoint("DELETE", f"{PATH}/{{name}}", Role.ADMIN, _revoke, "Revoke a token", codes=_CODES),
        Endpoint("GET", "/v1/whoami", Role.VIEWER, _whoami, telling, answer="Principal"),
    ]
    table: Table = {}
    for endpoint in [*others, *made]:
        table[deed(endpoint.method, endpoint.path)] = (endpoint.role, endpoint.method in READING)
    query = (
        Param("verb", "What to do: get, apply, trigger, …"),
        Param("kind", "To an object of which kind."),
        Param("name", "To which object; absent: to any."),
        Param("namespace", "Where it is; default by default."),
    )
    handler = partial(_can_i, table)
    about = "Tell whether the token may do something"
    return [
        *made,
        Endpoint("GET", "/v1/can-i", Role.VIEWER, handler, about, query, answer="Permission", codes=(200, 422)),
    ]


def _draw(deps: ApiDeps, call: Call) -> Response:
    body = call.json()
    name, role, ttl, scope = _wanted(call, body)
    number, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    token = f"{PREFIX}_{number}_{secret}"
    with deps.pool.connection() as connection, connection.transaction():
        now = deps.clock.now(connection)
        if tokens.taken(connection, name):
            raise Conflict(f"a token {name!r} exists; choose another name, or revoke it first")
        if len(tokens.drawn_tokens(connection, TOKENS_LIMIT)) >= TOKENS_LIMIT:
            raise Conflict(f"{TOKENS_LIMIT} tokens exist; revoke those that nobody needs")
        expires = None if ttl is None else now + ttl
        drawn = DrawnToken(number, name, role.word, scope, call.principal.name, now, expires)
        tokens.insert(connection, token, drawn)
        ends = None if expires is None else expires.isoformat()
        given = {"id": number, "role": drawn.role, "scope": scope, "expiresAt": ends}
        made = [{"path": path, "from": None, "to": value} for path, value in given.items()]
        call.audit.tell([Entry("create", "Token", "", name, made)])
    return answer({**_view(drawn), "token": token}, 201)


def _wanted(call: Call, body: Mapping[str, Any]) -> tuple[str, Role, timedelta | None, str]:
    if unknown := sorted(set(body) - _FIELDS):
        raise bad_request(f"unknown field {shown(unknown[0])}; a token has name, role, ttlSeconds and scope")
    name, role, scope = body.get("name"), body.get("role"), body.get("scope", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise bad_request("name is 1 to 63 small letters, digits and ._@-")
    if not isinstance(role, str) or role.upper() not in Role.__members__ or role != role.lower():
        raise bad_request("role is viewer, operator or admin")
    if not isinstance(scope, str) or len(scope) > SCOPE_LIMIT:
        raise bad_request(f"scope is a label selector of at most {SCOPE_LIMIT} characters")
    return name, Role[role.upper()], _ttl(body), _narrowed(call.principal.scope, scope)


def _ttl(body: Mapping[str, Any]) -> timedelta | None:
    """Return how long a token is valid: for ever only if that is what was asked."""
    if "ttlSeconds" not in body:
        return DEFAULT_TTL
    given = body["ttlSeconds"]
    if given is None:
        return None
    most = int(LONGEST_TTL.total_seconds())
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= most:
        raise bad_request(f"ttlSeconds is a number from 1 to {most}, or null for a token that never expires")
    return timedelta(seconds=given)


def _narrowed(own: Scope | None, wanted: str) -> str:
    """Return the scope of a new token: never wider than that of whoever draws it."""
    text = ",".join(part for part in (own.text if own else "", wanted.strip()) if part)
    read_scope(text)
    return text


def _within(own: Scope | None, scope: str) -> bool:
    """Tell whether a caller may see a token: one with the caller's own scope, or one narrowed from it."""
    return own is None or scope == own.text or scope.startswith(f"{own.text},")


def _list(deps: ApiDeps, call: Call) -> Response:
    with deps.pool.connection() as connection:
        found = tokens.drawn_tokens(connection, TOKENS_LIMIT)
    items = [_view(drawn) for drawn in found if _within(call.principal.scope, drawn.scope)]
    return answer({"kind": "TokenList", "items": items})


def _revoke(deps: ApiDeps, call: Call) -> Response:
    with deps.pool.connection() as connection, connection.transaction():
        found = tokens.drawn_tokens(connection, 1, call.name)
        if not found and call.principal.scope is None and tokens.taken(connection, call.name):
            text = (
                f"the token {call.name!r} stands in Secrets Manager; set that secret anew and restart the dispatchers"
            )
            raise Conflict(text)
        if not found or not _within(call.principal.scope, found[0].scope):
            raise NotFound(f"there is no token {call.name!r}")
        tokens.revoke(connection, found[0].id)
    return answer({"kind": "Status", "status": "Success", "code": 200, "details": {"kind": "Token", "name": call.name}})


def _whoami(_deps: ApiDeps, call: Call) -> Response:
    who = call.principal
    scope = who.scope.text if who.scope else ""
    return answer({"kind": "Principal", "name": who.name, "role": who.role.word, "source": who.source, "scope": scope})


def _can_i(table: Table, deps: ApiDeps, call: Call) -> Response:
    verb, word = call.query.get("verb", ""), call.query.get("kind", "*")
    known = find_kind(word)
    kind = known.name if known else word[:1].upper() + word[1:].rstrip("s")
    rule = table.get((verb, kind)) or table.get((verb, "*"))
    if rule is None:
        verbs = ", ".join(sorted({v for v, k in table if k == kind} or {v for v, _ in table}))
        raise RefusedError(422, "Invalid", f"nobody can {shown(verb)} a {shown(word)}; verbs are {verbs}")
    ref = Ref(kind, call.query.get("namespace", "default"), call.query.get("name", ""))
    why = _why_not(deps, call.principal, rule, ref)
    return answer({"kind": "Permission", "allowed": why is None, "reason": why or f"{call.principal.name} may"})


def _why_not(deps: ApiDeps, who: Principal, rule: tuple[Role, bool], ref: Ref) -> str | None:
    needed, reads = rule
    if who.role < needed:
        return f"{who.name} is {who.role.word}; this needs {needed.word}"
    if who.scope is None:
        return None
    if ref.kind in OF_DAGS:
        try:
            with deps.pool.connection() as connection:
                if ref.name:
                    check_object(connection, who.scope, ref)
        except (NotFound, ForbiddenError) as error:
            return str(error)
    elif ref.kind == "Audit" or (not reads and ref.kind in {"WorkerPool", "Dataset", "Notifier"}):
        return f"{who.name} is confined to {who.scope.text}; a {ref.kind} is shared by all Dags"
    return None


def _view(drawn: DrawnToken) -> dict[str, Any]:
    return {
        "kind": "Token",
        "id": drawn.id,
        "name": drawn.name,
        "role": drawn.role,
        "scope": drawn.scope,
        "createdBy": drawn.created_by,
        "createdAt": utc(drawn.created_at),
        "expiresAt": utc(drawn.expires_at),
    }
