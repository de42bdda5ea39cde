"""Who a drill may hit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from controller.cli.errors import CliError, Exit
from controller.drill import guard, place
from controller.drill.place import Place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("prod", True, id="prod"),
        pytest.param("production", True, id="production"),
        pytest.param("PROD", True, id="in capitals"),
        pytest.param("prod-eu", True, id="with a region"),
        pytest.param("eu_production", True, id="behind a region"),
        pytest.param("prod2", True, id="numbered"),
        pytest.param("dev", False, id="dev"),
        pytest.param("local", False, id="local"),
        pytest.param("product-team", False, id="a word that begins so"),
        pytest.param("reprod", False, id="a word that ends so"),
    ],
)
def test_names_of_production(name: str, expected: bool) -> None:
    assert guard.is_production(name) is expected


PROD = Place("main", "prod")


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(PROD, id="environment"),
        pytest.param(Place("production", "blue"), id="context"),
        pytest.param(Place("blue", "blue", production=True), id="the context says so"),
    ],
)
def test_production_is_refused_without_force(where: Place) -> None:
    with pytest.raises(CliError, match="is production") as refused:
        guard.allow(where, force=False, named=where.environment, ask=lambda _: where.environment)
    assert refused.value.code is Exit.REFUSED


@pytest.mark.parametrize(
    ("named", "typed", "allowed"),
    [
        pytest.param("prod", None, True, id="named"),
        pytest.param(None, "prod", True, id="typed"),
        pytest.param(None, "yes", False, id="typed something else"),
        pytest.param("dev", "prod", False, id="named another"),
        pytest.param(None, None, False, id="nobody there"),
    ],
)
def test_force_needs_the_name(named: str | None, typed: str | None, allowed: bool) -> None:
    ask = None if typed is None else lambda _: typed
    if allowed:
        guard.allow(PROD, force=True, named=named, ask=ask)
        return
    with pytest.raises(CliError, match="nothing was done"):
        guard.allow(PROD, force=True, named=named, ask=ask)


def test_elsewhere_nobody_is_asked() -> None:
    guard.allow(Place("dev", "dev"), force=False, named=None, ask=None)


def test_a_context_tells_its_environment_and_its_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SETPOINT_URL", raising=False)
    monkeypatch.delenv("SETPOINT_CONTEXT", raising=False)
    aws = {"region": "eu-west-1", "cluster": "c", "prefix": "setpoint-dev"}
    contexts = {
        "here": {"url": "http://x", "environment": "local", "aws": {"endpoints": {"ecs": "http://e"}}},
        "dev": {"url": "http://y", "environment": "dev", "aws": aws},
    }
    (tmp_path / ".setpoint").mkdir()
    (tmp_path / ".setpoint/config.json").write_text(json.dumps({"current": "here", "contexts": contexts}))
    here, dev = place.find(None, tmp_path), place.find("dev", tmp_path)
    assert (here.local, here.environment) == (True, "local")
    assert (dev.local, dev.region, dev.cluster, dev.prefix) == (False, "eu-west-1", "c", "setpoint-dev")
    monkeypatch.setenv("SETPOINT_URL", "http://elsewhere")
    with pytest.raises(CliError, match="name a context"):
        place.find(None, tmp_path)
    with pytest.raises(CliError, match="name a context"):
        place.find("nobody", tmp_path)
