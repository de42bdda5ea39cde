"""Notifiers and the freshness of datasets as people apply, list and explain them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.cli.rows import cells, headers
from controller.store import notifications
from tests.integration.api_world import World, dataset, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Database


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    with running(database) as made:
        yield made


def notifier(**spec: Any) -> dict[str, Any]:
    channel = {} if {"sns", "email"} & set(spec) else {"slack": {"urlSecret": "oncall"}}
    return {"kind": "Notifier", "metadata": {"name": "oncall"}, "spec": {"on": ["RunFailed"], **channel, **spec}}


def condition(item: dict[str, Any], name: str) -> tuple[str, str]:
    (found,) = [c for c in item["status"]["conditions"] if c["type"] == name]
    return found["status"], found["reason"]


def test_a_notifier_lives_as_other_resources_do(world: World) -> None:
    assert world.apply(notifier())[0]["action"] == "created"
    assert world.apply(notifier())[0]["action"] == "unchanged"
    (changed,) = world.apply(notifier(on=["RunFailed", "RunRecovered"]))
    assert (changed["action"], changed["generation"]) == ("configured", 2)
    item = world.get("/notifiers/oncall")
    assert item["spec"]["slack"] == {"urlSecret": "oncall"}
    assert condition(item, "Ready") == ("Unknown", "Unknown")
    assert [i["metadata"]["name"] for i in world.get("/notifiers")["items"]] == ["oncall"]
    assert world.call("DELETE", "/notifiers/oncall").status_code == 200
    assert world.call("GET", "/notifiers/oncall").status_code == 404


def test_how_its_channel_does_is_shown(world: World) -> None:
    world.apply(notifier())
    with world.pool.connection() as connection:
        now = connection.execute("SELECT now()").fetchone()[0]  # type: ignore[index]
        (unchecked,) = notifications.unchecked(connection, 10)
        notifications.fails(connection, unchecked, "SecretMissing", "the secret x does not exist", now, now)
    item = world.get("/notifiers/oncall")
    assert condition(item, "Ready") == ("False", "SecretMissing")
    assert item["status"]["lastError"] == "the secret x does not exist"
    assert "the secret x does not exist" in world.get("/notifiers/oncall/explain")["message"]
    row = dict(zip(headers("notifiers", wide=True), cells("notifiers", item, now, wide=True), strict=True))
    assert (row["CHANNEL"], row["PHASE"], row["PENDING"], row["LAST SENT"]) == ("slack", "SecretMissing", "0", "-")

    with world.pool.connection() as connection:
        notifications.works(connection, unchecked.uid, unchecked.generation, now, sent_at=now)
        assert notifications.unchecked(connection, 10) == []
    item = world.get("/notifiers/oncall")
    assert condition(item, "Ready") == ("True", "Ready")
    assert item["status"]["lastSent"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param(
            {"sns": {"topicArn": "arn:aws:sns:eu-west-1:123456789012:t"}, "slack": {"urlSecret": "x"}},
            "spec",
            id="two channels",
        ),
        pytest.param({"on": []}, "spec.on", id="nothing to tell"),
        pytest.param({"on": ["RunExploded"]}, "spec.on[0]", id="unknown occasion"),
        pytest.param({"slack": {"urlSecret": "../admin-token"}}, "spec.slack.urlSecret", id="a secret elsewhere"),
        pytest.param({"slack": {"urlSecret": "/admin-token"}}, "spec.slack.urlSecret", id="an absolute secret"),
        pytest.param({"slack": {"url": "https://hooks.slack.com/x"}}, "spec.slack.url", id="a secret in the open"),
        pytest.param({"sns": {"topicArn": "alerts"}}, "spec.sns.topicArn", id="no ARN"),
        pytest.param(
            {"email": {"to": ["a@b.c\r\nBcc: d@e.f"], "from": "a@b.c", "smtpSecret": "s"}},
            "spec.email.to[0]",
            id="a header",
        ),
        pytest.param({"email": {"to": [], "from": "a@b.c", "smtpSecret": "s"}}, "spec.email.to", id="to nobody"),
        pytest.param(
            {"email": {"to": ["a@b.c"], "from": "me", "smtpSecret": "s"}}, "spec.email.from", id="from nobody"
        ),
    ],
)
def test_what_makes_no_sense_is_refused(world: World, spec: dict[str, Any], field: str) -> None:
    response = world.call("POST", "/apply", {"resources": [notifier(**spec)]})
    assert response.status_code == 422
    assert field in {p["field"] for p in response.json()["details"]["problems"]}


def test_a_dataset_shows_whether_it_is_fresh(world: World) -> None:
    world.apply(dataset("t", ("n", "int64"), freshness={"within": "1h"}), dataset("u", ("n", "int64")))
    fresh = world.get("/datasets/t")
    assert condition(fresh, "Fresh") == ("True", "Fresh")
    assert fresh["status"]["freshUntil"]
    assert "fresh for another" in world.get("/datasets/t/explain")["message"]

    world.execute("UPDATE resource SET created_at = now() - interval '2 hours'")
    stale = world.get("/datasets/t")
    assert condition(stale, "Fresh") == ("False", "Stale")
    assert "stale since" in world.get("/datasets/t/explain")["message"]

    world.execute("UPDATE dataset_state SET updated_at = now()")
    assert condition(world.get("/datasets/t"), "Fresh") == ("True", "Fresh")
    plain = world.get("/datasets/u")
    assert {c["type"] for c in plain["status"]["conditions"]} == {"Ready"}
    assert "freshUntil" not in plain["status"]


@pytest.mark.parametrize("within", ["0s", "a while", "-1h"])
def test_a_freshness_that_makes_no_sense_is_refused(world: World, within: str) -> None:
    body = {"resources": [dataset("t", ("n", "int64"), freshness={"within": within})]}
    assert world.call("POST", "/apply", body).status_code == 422
