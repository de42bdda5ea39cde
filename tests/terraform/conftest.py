"""Both environments applied once a session, on one cloud at the same time, since their fixed waits make up most of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.terraform.cloud import LocalCloud, missing
from tests.terraform.tf_applied import ENVIRONMENTS, Applied, apply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@pytest.fixture(scope="session")
def terraform_here() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cloud(terraform_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    pytest.importorskip("moto", reason="no moto: make test installs it from requirements-moto.lock")
    with LocalCloud.start(tmp_path_factory.mktemp("cloud")) as started:
        yield started


@pytest.fixture(scope="session")
def applied(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Applied]:
    """Return each environment as it was directly after its apply."""
    folder = tmp_path_factory.mktemp("applied")
    with ThreadPoolExecutor(len(ENVIRONMENTS)) as pool:
        made = pool.map(lambda name: apply(cloud, folder / name, name), ENVIRONMENTS)
        return dict(zip(ENVIRONMENTS, made, strict=True))


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest, applied: Mapping[str, Applied]) -> Applied:
    return applied[request.param]
