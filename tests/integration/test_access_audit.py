"""The audit log: a row for each change, in its own transaction; append-only; refusals, bounded; and the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from psycopg_pool import ConnectionPool

from controller.api import audit as auditing
from controller.api import limits
from controller.api.audit import AuditedPool, Recorder, shown_changes
from controller.diff.changes import Change
from controller.store import audit
from controller.store.audit import Actor, Entry
from tests.integration.api_world import DIAMOND, NAMESPACE, POOLS, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database
    from tests.integration.api_world import World

ACTOR = Actor("ann", "admin", "token", "10.0.0.9", "r-1")


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as made:
        made.apply(*POOLS, DIAMOND)
        yield made


def rows(world: World, **query: str) -> list[dict[str, Any]]:
    with world.client() as client:
        answer = client.get(f"{NAMESPACE}/audit", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def setpoint(world: World, *arguments: str, token: str = "admin-token") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SETPOINT_URL": world.url, "SETPOINT_TOKEN": token, "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "controller.cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_change_leaves_a_row(world: World) -> None:
    run = world.trigger("diamond")["metadata"]["name"]
    for path in ("/dags/diamond/pause", "/dags/diamond/resume", f"/dagruns/{run}/pause", f"/dagruns/{run}/resume"):
        assert world.call("POST", path, role="operator").status_code == 200
    assert world.call("POST", f"/dagruns/{run}/cancel").status_code == 200
    world.execute("UPDATE run SET phase = 'Cancelled', ended_at = now()")
    assert world.call("DELETE", f"/dagruns/{run}").status_code == 200
    assert world.call("DELETE", "/dags/diamond").status_code == 200
    world.bundle(_zip())
    answer = world.call("POST", "/v1/tokens", {"name": "ci", "role": "viewer"})
    token = answer.json()["token"]
    assert world.call("DELETE", "/v1/tokens/ci").status_code == 200
    found = rows(world)
    did = [(row["verb"], row["kind"], row["name"]) for row in reversed(found)]
    assert did[:4] == [
        *(("create", "WorkerPool", pool["metadata"]["name"]) for pool in POOLS),
        ("create", "Dag", "diamond"),
    ]
    assert [verb[:2] for verb in did[4:]] == [
        ("trigger", "Dag"),
        ("pause", "Dag"),
        ("resume", "Dag"),
        ("pause", "DagRun"),
        ("resume", "DagRun"),
        ("cancel", "DagRun"),
        ("delete", "DagRun"),
        ("delete", "Dag"),
        ("apply", "Bundle"),
        ("create", "Token"),
        ("delete", "Token"),
    ]
    assert {row["who"] for row in found} == {"admin", "operator"}
    assert {(row["source"], row["address"], row["outcome"]) for row in found} == {("token", "127.0.0.1", "done")}
    assert token not in json.dumps(found)
    ids = [row["requestId"] for row in found]
    assert all(ids)
    assert answer.headers["x-request-id"] in ids


def _zip() -> bytes:
    import io  # noqa: PLC0415 - this alone needs a zip
    import zipfile  # noqa: PLC0415 - likewise

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        made.writestr("main.py", "def run(context): ...\n")
    return data.getvalue()


def test_a_row_names_what_an_apply_changed_and_nothing_else_leaves_one(world: World) -> None:
    before = rows(world)
    changed = {**DIAMOND, "metadata": {"name": "diamond", "labels": {"team": "x"}}}
    world.apply(changed)
    (row,) = rows(world)[: len(rows(world)) - len(before)]
    assert (row["verb"], row["kind"], row["name"]) == ("update", "Dag", "diamond")
    assert {"path": "metadata.labels.team", "from": None, "to": "x"} in row["changes"]
    count = len(rows(world))
    world.apply(changed)
    world.call("POST", "/apply?dryRun=All", {"resources": [DIAMOND]})
    world.call("DELETE", "/dags/diamond?dryRun=All")
    world.call("POST", "/dags/nothing/trigger", {})
    assert len(rows(world)) == count


def test_a_change_and_its_row_are_committed_together_or_not_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(rows(world))

    def fails(*_: object) -> None:
        raise psycopg.errors.DiskFull("no space")

    with monkeypatch.context() as broken:
        broken.setattr(auditing.audit, "record", fails)
        answer = world.call("POST", "/dags/diamond/trigger", {})
        assert answer.status_code == 503
    assert world.execute("SELECT count(*) FROM run") == [(0,)]
    assert len(rows(world)) == count


def test_a_crash_before_commit_leaves_neither(database: Database) -> None:
    recorder = Recorder(ACTOR, Entry("trigger", "Dag", "default", "x"))
    options = {"options": "-c search_path=setpoint"}
    with ConnectionPool(database.conninfo, kwargs=options, min_size=1, max_size=2, open=True) as pool:

        def crash() -> None:
            with AuditedPool(pool, recorder).connection() as connection:
                connection.execute(
                    "INSERT INTO api_token (hash, name, role, created_at) VALUES ('x', 'x', 'viewer', now())"
                )
                recorder.write(connection)
                with psycopg.connect(database.superuser_conninfo, autocommit=True) as killer:
                    killer.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
                connection.execute("SELECT 1")

        with pytest.raises(psycopg.OperationalError):
            crash()
        with pool.connection() as connection:
            assert connection.execute("SELECT count(*) FROM audit").fetchone() == (0,)
            assert connection.execute("SELECT count(*) FROM api_token WHERE name = 'x'").fetchone() == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'x'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "DROP TABLE audit",
        "ALTER TABLE audit DROP who",
    ],
)
def test_the_controllers_role_only_adds_and_reads(database: Database, statement: str) -> None:
    with database.connect() as connection:
        audit.record(connection, ACTOR, [Entry("delete", "Dag", "default", "x")], "done")
        connection.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)  # type: ignore[call-overload]
        connection.rollback()
        assert len(audit.page(connection, audit.Wanted("default"), 5)) == 1
    with database.connect_as_worker() as worker, pytest.raises(psycopg.errors.InsufficientPrivilege):
        worker.execute("SELECT * FROM setpoint.audit")


def test_refusals_are_recorded_within_a_bound(world: World) -> None:
    assert world.call("DELETE", "/dags/diamond", role="viewer").status_code == 403
    (row,) = rows(world, who="viewer")
    assert (row["outcome"], row["verb"], row["name"], row["role"]) == ("refused", "delete", "diamond", "viewer")
    for _ in range(limits.RECORDED_OF_ONE.burst * 3):
        refused = httpx.get(f"{world.url}{NAMESPACE}/dags", headers={"Authorization": "Bearer x"}, trust_env=False)
        assert refused.status_code == 401
    recorded = [row for row in rows(world, limit="500") if row["outcome"] == "refused"]
    assert 0 < len(recorded) <= limits.RECORDED_OF_ONE.burst + 5


def test_filters_and_pages(world: World) -> None:
    world.trigger("diamond")
    assert {row["kind"] for row in rows(world, kind="pool")} == {"WorkerPool"}
    assert [row["verb"] for row in rows(world, kind="dag", name="diamond")] == ["trigger", "create"]
    assert rows(world, since="2100-01-01T00:00:00Z") == []
    assert len(rows(world, since="2020-01-01T00:00:00Z")) == 5
    seen: list[int] = []
    query: dict[str, str] = {"limit": "2"}
    for _ in range(5):
        with world.client() as client:
            page = client.get(f"{NAMESPACE}/audit", params=query).json()
        seen += [row["id"] for row in page["items"]]
        if "continue" not in page["metadata"]:
            break
        query["continue"] = page["metadata"]["continue"]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5
    assert world.call("GET", "/audit?since=yesterday").status_code == 400
    assert world.call("GET", "/audit?continue=x").status_code == 410
    assert world.call("GET", "/audit", role="operator").status_code == 403


def test_what_is_shown_of_a_change() -> None:
    found = shown_changes(
        [
            Change("spec.tasks[a].with.password", "old-secret", "new-secret"),
            Change("spec.text", None, "x" * 10_000),
            *(Change(f"spec.n{n}", n, n + 1) for n in range(200)),
        ]
    )
    text = json.dumps(found)
    assert "secret" not in text
    assert len(found) == auditing.CHANGES_LIMIT + 1
    assert len(str(found[1]["to"])) <= auditing.VALUE_LIMIT + 1
    assert found[-1] == {"path": "and 102 more"}


def test_the_commands(world: World) -> None:
    made = setpoint(world, "auth", "create", "ci", "--role", "operator", "--ttl", "30d", "--selector", "team=sales")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("sp_")
    assert "operator, for DAGs with team=sales, until" in made.stderr
    listed = setpoint(world, "auth", "list")
    assert listed.stdout.splitlines()[1].split()[:3] == ["ci", "operator", "team=sales"]
    assert (
        setpoint(world, "auth", "whoami", token=token).stdout
        == "ci (token): operator, confined to DAGs with team=sales\n"
    )
    may = setpoint(world, "auth", "can-i", "apply", "dag", token=token)
    assert (may.returncode, may.stdout) == (0, "yes\n")
    may = setpoint(world, "auth", "can-i", "get", "dag/diamond", token=token)
    assert (may.returncode, may.stdout.startswith("no: there is no Dag")) == (1, True)
    assert setpoint(world, "auth", "create", "x", "--role", "viewer", "--ttl", "soon").returncode == 2
    assert json.loads(setpoint(world, "auth", "list", "-o", "json").stdout)["items"][0]["name"] == "ci"
    assert setpoint(world, "auth", "revoke", "ci").stdout == "token ci revoked\n"
    told = setpoint(world, "audit", "--for", "token/ci", "--since", "2h").stdout.splitlines()
    assert [line.split()[5:7] for line in told[1:]] == [["create", "token/ci"], ["delete", "token/ci"]]
    told = setpoint(world, "audit", "--for", "dag/diamond", "--who", "admin", "-o", "json").stdout
    assert [row["verb"] for row in json.loads(told)["items"]] == ["create"]


def test_recorders_bound_their_rows() -> None:
    recorder = Recorder(replace(ACTOR), None)
    for n in range(auditing.ENTRIES_LIMIT + 5):
        recorder.tell([Entry("update", "Dag", "default", str(n))])
    assert len(recorder._entries or ()) == auditing.ENTRIES_LIMIT
