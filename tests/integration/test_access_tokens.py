"""Tokens that are drawn, scoped, expire and are revoked; what a scope shows and hides; the secret's rotation."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from controller.api import auth
from controller.api.resources import all_endpoints
from controller.api.verbs import deed
from controller.runtime.clock import DatabaseClock
from controller.store import selection, tokens, views
from tests.integration.api_world import DIAMOND, NAMESPACE, POOLS, running, task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database
    from tests.integration.api_world import World


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as made:
        made.apply(*POOLS, labelled("ours", team="sales"), labelled("theirs", team="ops"))
        yield made


def labelled(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "Dag", "metadata": {"name": name, "labels": labels}, "spec": {"tasks": [task("a")]}}


def draw(world: World, name: str, role: str, by: str | None = None, **more: Any) -> str:
    answer = ask(world, by, "POST", "/v1/tokens", {"name": name, "role": role, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def ask(world: World, token: str | None, method: str, path: str, body: Any = None) -> httpx.Response:
    full = path if path.startswith("/v1") else NAMESPACE + path
    headers = {"Authorization": f"Bearer {token or 'admin-token'}"}
    return httpx.request(method, world.url + full, json=body, headers=headers, timeout=30, trust_env=False)


def test_a_token_is_told_once_and_stored_as_a_hash(world: World) -> None:
    token = draw(world, "ci", "operator")
    prefix, number, secret = token.split("_", 2)
    assert prefix == "sp"
    assert len(secret) >= 43
    (listed,) = ask(world, None, "GET", "/v1/tokens").json()["items"]
    assert (listed["id"], listed["name"], listed["role"], listed["createdBy"]) == (number, "ci", "operator", "admin")
    expires = datetime.fromisoformat(listed["expiresAt"]) - datetime.fromisoformat(listed["createdAt"])
    assert expires == timedelta(days=90)
    assert secret not in str(world.execute("SELECT * FROM api_token")) + str(world.execute("SELECT * FROM audit"))
    who = ask(world, token, "GET", "/v1/whoami").json()
    assert (who["name"], who["role"], who["scope"]) == ("ci", "operator", "")
    assert ask(world, None, "POST", "/v1/tokens", {"name": "ci", "role": "viewer"}).status_code == 409
    assert ask(world, token, "GET", "/v1/tokens").status_code == 403


def test_a_token_expires_and_only_one_that_is_asked_for_never_does(world: World) -> None:
    token = draw(world, "short", "viewer", ttlSeconds=3600)
    draw(world, "long", "viewer", ttlSeconds=None)
    expiry = {item["name"]: item["expiresAt"] for item in ask(world, None, "GET", "/v1/tokens").json()["items"]}
    assert expiry["long"] is None
    world.execute("UPDATE api_token SET expires_at = now() - interval '1 s' WHERE name = 'short'")
    answer = ask(world, token, "GET", "/dags")
    assert (answer.status_code, "expired" in answer.text) == (401, True)


def test_a_revoked_token_opens_nothing_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "CACHE_SECONDS", 0.0)
    token = draw(world, "gone", "viewer")
    assert ask(world, token, "GET", "/dags").status_code == 200
    with httpx.stream(
        "GET",
        f"{world.url}{NAMESPACE}/dags?watch=true",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
        trust_env=False,
    ) as watch:
        lines = watch.iter_lines()
        assert next(lines)
        assert ask(world, None, "DELETE", "/v1/tokens/gone").status_code == 200
        # The watch ends by itself: nothing that the token opened stays open.
        list(lines)
    assert ask(world, token, "GET", "/dags").status_code == 401
    assert ask(world, None, "DELETE", "/v1/tokens/gone").status_code == 404


def test_the_secrets_own_token_is_revoked_by_its_secret_alone(world: World) -> None:
    answer = ask(world, None, "DELETE", "/v1/tokens/admin")
    assert (answer.status_code, "Secrets Manager" in answer.text) == (409, True)
    clock = DatabaseClock()
    with world.pool.connection() as connection:
        for value in ("new", "previous"):
            tokens.ensure_token(connection, value, "admin", "admin", clock.now(connection))
        tokens.forget_others(connection, "admin", ["new", "previous"])
    known = {token: tokens.token_hash(token) for token in ("new", "previous", "admin-token", "viewer-token")}
    with world.pool.connection() as connection:
        assert {token for token, hashed in known.items() if tokens.find(connection, hashed)} == {
            "new",
            "previous",
            "viewer-token",
        }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"name": "x"}, id="no role"),
        pytest.param({"name": "x", "role": "root"}, id="unknown role"),
        pytest.param({"name": "X y", "role": "viewer"}, id="name"),
        pytest.param({"name": "x", "role": "viewer", "ttlSeconds": 0}, id="no time"),
        pytest.param({"name": "x", "role": "viewer", "ttlSeconds": True}, id="no number"),
        pytest.param({"name": "x", "role": "viewer", "scope": "team=a=b"}, id="no selector"),
        pytest.param({"name": "x", "role": "viewer", "ttl": 5}, id="unknown field"),
    ],
)
def test_what_makes_no_token(world: World, body: dict[str, Any]) -> None:
    assert ask(world, None, "POST", "/v1/tokens", body).status_code == 400


def test_a_scope_hides_others_dags_and_all_that_belongs_to_them(world: World) -> None:
    runs = {name: world.trigger(name)["metadata"]["name"] for name in ("ours", "theirs")}
    for run in runs.values():
        (uid,) = world.execute("SELECT uid FROM run WHERE name = %(run)s", run=run)[0]
        world.start({"metadata": {"uid": uid}}, {"a": "Failed"})
        world.end(uid, "Failed")
    token = draw(world, "sales", "admin", scope="team=sales")

    def names(path: str) -> set[str]:
        return {item.get("metadata", item)["name"] for item in ask(world, token, "GET", path).json()["items"]}

    assert names("/dags") == {"ours"}
    assert names("/dagruns") == {runs["ours"]}
    assert names("/taskruns") == {f"{runs['ours']}.a"}
    assert {pool["metadata"]["name"] for pool in POOLS} <= names("/events") | names("/workerpools")
    assert {"theirs", runs["theirs"]}.isdisjoint(names("/events"))
    assert {"ours", runs["ours"]} <= names("/events")
    for verb, path in (
        ("GET", "/dags/{dag}"),
        ("GET", "/dags/{dag}/revisions"),
        ("GET", "/dags/{dag}/explain"),
        ("GET", "/dagruns/{run}"),
        ("GET", "/dagruns/{run}/explain"),
        ("GET", "/dagruns/{run}/logs"),
        ("GET", "/taskruns/{run}.a"),
        ("GET", "/taskruns/{run}.a/explain"),
        ("GET", "/taskruns/{run}.a/logs"),
        ("GET", "/events?for=dag/{dag}"),
        ("GET", "/events?for=run/{run}"),
        ("GET", "/events?for=task/{run}.a"),
        ("POST", "/dags/{dag}/pause"),
        ("POST", "/dags/{dag}/resume"),
        ("POST", "/dags/{dag}/trigger"),
        ("POST", "/dagruns/{run}/retry"),
        ("POST", "/taskruns/{run}.a/retry"),
        ("DELETE", "/dagruns/{run}"),
        ("DELETE", "/dags/{dag}"),
    ):
        theirs = ask(world, token, verb, path.format(dag="theirs", run=runs["theirs"]), {} if verb == "POST" else None)
        assert theirs.status_code == 404, (verb, path, theirs.text)
        ours = ask(world, token, verb, path.format(dag="ours", run=runs["ours"]), {} if verb == "POST" else None)
        assert ours.status_code in {200, 201, 409}, (verb, path, ours.text)


def test_a_scope_bounds_what_is_applied(world: World) -> None:
    token = draw(world, "sales", "operator", scope="team=sales")

    def apply(*resources: dict[str, Any]) -> httpx.Response:
        return ask(world, token, "POST", "/apply", {"resources": list(resources)})

    assert apply(labelled("more", team="sales")).status_code == 200
    for refused, named in (
        (labelled("theirs", team="sales"), "team=ops"),
        (labelled("ours", team="ops"), "team=ops"),
        (DIAMOND, "no label team"),
        (POOLS[0], "WorkerPool"),
    ):
        answer = apply(labelled("another", team="sales"), refused)
        assert answer.status_code == 403, answer.text
        assert named in answer.json()["message"]
    assert ask(world, token, "GET", "/dags/another").status_code == 404
    assert ask(world, token, "PUT", "/dags/theirs", labelled("theirs", team="sales")).status_code == 403
    assert ask(world, token, "GET", "/workerpools/python").status_code == 200


def test_a_scoped_admin_makes_and_sees_no_wider_tokens(world: World) -> None:
    draw(world, "all", "viewer")
    admin = draw(world, "sales-admin", "admin", scope="team=sales")
    child = draw(world, "sub", "viewer", by=admin, scope="team=ops")
    items = ask(world, admin, "GET", "/v1/tokens").json()["items"]
    assert {item["name"]: item["scope"] for item in items} == {
        "sales-admin": "team=sales",
        "sub": "team=sales,team=ops",
    }
    # Both terms must hold, and no Dag has both.
    assert ask(world, child, "GET", "/dags").json()["items"] == []
    assert ask(world, admin, "DELETE", "/v1/tokens/all").status_code == 404
    assert ask(world, admin, "GET", "/audit").status_code == 403


@pytest.mark.parametrize(
    ("query", "allowed"),
    [
        pytest.param("verb=get&kind=dag&name=ours", True, id="own"),
        pytest.param("verb=get&kind=dag&name=theirs", False, id="another's"),
        pytest.param("verb=trigger&kind=dag&name=ours", True, id="act"),
        pytest.param("verb=delete&kind=dag&name=ours", False, id="role"),
        pytest.param("verb=apply&kind=pool", False, id="shared"),
        pytest.param("verb=get&kind=pool", True, id="shared, read"),
        pytest.param("verb=create&kind=token", False, id="token"),
    ],
)
def test_can_i(world: World, query: str, allowed: bool) -> None:
    token = draw(world, "sales", "operator", scope="team=sales")
    answer = ask(world, token, "GET", f"/v1/can-i?{query}").json()
    assert answer["allowed"] is allowed, answer


def test_lists_of_the_scoped_keep_their_index(world: World) -> None:
    world.execute(
        """INSERT INTO run (uid, namespace, name, dag_uid, dag, revision, key, trigger, params, labels, deadline, created_at)
           SELECT 'r' || n, 'default', 'r' || n, uid, name, 1, 'k' || n, 'manual', '{}', '{}', now(), now() - n * interval '1 s'
             FROM generate_series(1, 5000) n, resource WHERE name = 'ours' AND kind = 'Dag'"""
    )
    world.execute("ANALYZE run")
    token = draw(world, "sales", "viewer", scope="team=sales")
    assert len(ask(world, token, "GET", "/dagruns?limit=5").json()["items"]) == 5
    scope = selection.Scope("team=sales", selection.Labels(within={"team": ("sales",)}))
    wanted = selection.Selection("default", limit=5, scope=scope)
    params = {
        **dict.fromkeys(("name", "dag", "phase", "after_time", "after_uid")),
        "namespace": "default",
        "limit": 5,
        **wanted.labels.params(),
        **selection.scope_params(scope),
    }
    plan = "\n".join(str(row[0]) for row in world.execute("EXPLAIN " + views._RUNS, **params))
    assert "run_recent" in plan, plan


def test_the_document_names_the_roles_as_the_endpoints_have_them() -> None:
    found: dict[str, set[str]] = {}
    lowest: dict[str, auth.Role] = {}
    for endpoint in all_endpoints():
        verb = deed(endpoint.method, endpoint.path).verb
        lowest[verb] = min(lowest.get(verb, endpoint.role), endpoint.role)
    for verb, role in lowest.items():
        found.setdefault(role.word, set()).add(verb)
    lines = [f"| {role} | {', '.join(sorted(verbs))} |" for role, verbs in found.items()]
    text = (Path(__file__).parents[2] / "docs/access.md").read_text(encoding="utf-8")
    assert set(lines) <= set(text.splitlines()), lines
