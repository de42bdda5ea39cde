"""Tokens of an identity provider, against a real HTTP issuer with keys of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from controller.api import oidc
from controller.api.auth import Role
from controller.api.errors import RefusedError
from controller.api.oidc import OidcTokens, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

AUDIENCE = "setpoint"


@cache
def rsa_key(_name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Issuer:
    """An issuer on this machine; `down` makes it answer with an error."""

    url: str = ""
    kids: list[str] = field(default_factory=lambda: ["one"])
    down: bool = False
    claimed: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    clock: float = 0.0

    def document(self, path: str) -> dict[str, Any] | None:
        self.asked[path] += 1
        if self.down:
            return None
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.claimed or self.url, "jwks_uri": f"{self.url}/keys"}
        keys = [json.loads(RSAAlgorithm.to_jwk(rsa_key(kid).public_key())) | {"kid": kid} for kid in self.kids]
        keys.append(json.loads(ECAlgorithm.to_jwk(ec_key().public_key())) | {"kid": "curve"})
        return {"keys": [key | {"use": "sig"} for key in keys]}

    def token(self, kid: str = "one", algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        ends = int(time.time()) + claims.pop("lasts", 600)
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "u-1", "exp": ends, "setpoint_role": "operator"}
        given = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        signer = key or (ec_key() if algorithm == "ES256" else rsa_key(kid))
        return jwt.encode(given, signer, algorithm, headers={"kid": kid})

    def tokens(self, **more: Any) -> OidcTokens:
        return OidcTokens(Provider(self.url, AUDIENCE, **more), lambda: self.clock)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = made.document(self.path)
            self.send_response(200 if document else 500)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield made
    server.shutdown()
    thread.join(10)
    server.server_close()


def refusal(tokens: OidcTokens, token: str) -> RefusedError:
    with pytest.raises(RefusedError) as found:
        tokens.principal(token)
    assert token not in str(found.value)
    return found.value


@pytest.mark.parametrize(
    ("claims", "more", "expected"),
    [
        pytest.param({}, {}, ("u-1", Role.OPERATOR, None), id="sub"),
        pytest.param({"email": "a@x.org"}, {}, ("a@x.org", Role.OPERATOR, None), id="email"),
        pytest.param({"email": "a@x.org", "email_verified": False}, {}, ("u-1", Role.OPERATOR, None), id="unconfirmed"),
        pytest.param({"login": "ann"}, {"name_claim": "login"}, ("ann", Role.OPERATOR, None), id="own name"),
        pytest.param(
            {"groups": ["all", "data-platform"]},
            {"role_claim": "groups", "roles": {"data-platform": "admin", "all": "viewer"}},
            ("u-1", Role.ADMIN, None),
            id="the highest of groups",
        ),
        pytest.param({"dags": "team=x"}, {"scope_claim": "dags"}, ("u-1", Role.OPERATOR, "team=x"), id="scope"),
        pytest.param({"dags": ""}, {"scope_claim": "dags"}, ("u-1", Role.OPERATOR, None), id="everything"),
        pytest.param({"lasts": -30}, {}, ("u-1", Role.OPERATOR, None), id="clocks differ a little"),
        pytest.param({"aud": ["other", AUDIENCE]}, {}, ("u-1", Role.OPERATOR, None), id="several audiences"),
    ],
)
@pytest.mark.parametrize(("kid", "algorithm"), [("one", "RS256"), ("curve", "ES256")])
def test_good(
    issuer: Issuer, claims: dict[str, Any], more: dict[str, Any], expected: tuple[Any, ...], kid: str, algorithm: str
) -> None:
    found = issuer.tokens(**more).principal(issuer.token(kid, algorithm, **claims))
    assert (found.name, found.role, found.scope.text if found.scope else None) == expected
    assert found.source == "oidc"


@pytest.mark.parametrize(
    ("claims", "code", "told"),
    [
        pytest.param({"exp": 1_000_000_000}, 401, "expired", id="expired"),
        pytest.param({"exp": None}, 401, "exp", id="no end"),
        pytest.param({"aud": "another"}, 401, "udience", id="audience"),
        pytest.param({"aud": None}, 401, "aud", id="no audience"),
        pytest.param({"iss": "https://evil.example"}, 401, "ssuer", id="issuer"),
        pytest.param({"nbf": int(time.time()) + 3_600}, 401, "yet valid", id="not yet"),
        pytest.param({"setpoint_role": None}, 403, "no role", id="no role"),
        pytest.param({"setpoint_role": "root"}, 403, "no role", id="unknown role"),
        pytest.param({"setpoint_role": "OPERATOR"}, 403, "no role", id="another case"),
        pytest.param({"sub": None}, 401, "names nobody", id="nobody"),
    ],
)
def test_refused(issuer: Issuer, claims: dict[str, Any], code: int, told: str) -> None:
    error = refusal(issuer.tokens(), issuer.token(**claims))
    assert (error.code, told in str(error)) == (code, True), str(error)


def test_whom_a_scope_claim_should_confine_does_nothing_without_it(issuer: Issuer) -> None:
    for claims in ({}, {"dags": 5}, {"dags": "a=b=c"}):
        assert refusal(issuer.tokens(scope_claim="dags"), issuer.token(**claims)).code == 403


def test_other_algorithms_and_other_keys_open_nothing(issuer: Issuer) -> None:
    tokens = issuer.tokens()
    public = (
        rsa_key("one")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    good = issuer.token()
    head, body, signature = good.split(".")
    for forged in (
        # Signed with the public key, as if it were a shared secret.
        _hmac(body, public),
        jwt.encode({"iss": issuer.url, "aud": AUDIENCE, "sub": "x"}, None, "none", headers={"kid": "one"}),
        issuer.token("one", key=rsa_key("thief")),
        issuer.token("one", "ES256"),
        issuer.token("one", "RS512"),
        f"{head}.{body[:-4]}AAAA.{signature}",
        f"{head}.{body}.",
        "a.b.c",
    ):
        assert refusal(tokens, forged).code == 401


def _hmac(body: str, key: bytes) -> str:
    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    return f"{head}.{body}.{encode(hmac.new(key, f'{head}.{body}'.encode(), hashlib.sha256).digest())}"


def test_an_unknown_key_is_asked_for_once_and_a_new_one_is_found(issuer: Issuer) -> None:
    tokens = issuer.tokens()
    tokens.principal(issuer.token())
    assert issuer.asked["/keys"] == 1
    issuer.clock += oidc.AGAIN_SECONDS
    for _ in range(5):
        assert refusal(tokens, issuer.token("two")).code == 401
    assert issuer.asked["/keys"] == 2
    issuer.kids = ["two"]
    issuer.clock += oidc.AGAIN_SECONDS
    assert tokens.principal(issuer.token("two")).name == "u-1"
    # What the provider withdrew opens nothing more.
    issuer.clock += oidc.AGAIN_SECONDS
    assert refusal(tokens, issuer.token("one")).code == 401


def test_known_keys_go_on_while_the_issuer_is_down(issuer: Issuer) -> None:
    tokens = issuer.tokens()
    tokens.principal(issuer.token())
    issuer.down = True
    issuer.clock += oidc.KEYS_SECONDS + 1
    assert tokens.principal(issuer.token()).name == "u-1"
    asked = sum(issuer.asked.values())
    tokens.principal(issuer.token())
    assert sum(issuer.asked.values()) == asked, "a provider that is down is not asked for each request"


def test_without_any_key_the_answer_is_to_come_again(issuer: Issuer) -> None:
    issuer.down = True
    tokens = issuer.tokens()
    assert [refusal(tokens, issuer.token()).code for _ in range(3)] == [503] * 3
    assert sum(issuer.asked.values()) == 1
    issuer.down = False
    issuer.clock += oidc.AGAIN_SECONDS
    assert tokens.principal(issuer.token()).name == "u-1"


def test_a_document_of_another_issuer_is_not_believed(issuer: Issuer) -> None:
    issuer.claimed = "https://evil.example"
    assert refusal(issuer.tokens(), issuer.token()).code == 503


@pytest.mark.parametrize("address", ["http://idp.example", "ftp://127.0.0.1", "idp.example", "https://"])
def test_an_issuer_is_spoken_to_by_https(address: str) -> None:
    with pytest.raises(ValueError, match="https"):
        OidcTokens(Provider(address, AUDIENCE))
