"""A local ECS that the tests of a session share, each in its own cluster."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from ecs_world import Cluster, EcsProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EcsProcess]:
    server = EcsProcess(tmp_path_factory.mktemp("ecs"), "--stop-grace=1")
    yield server
    server.stop()


@pytest.fixture
def cluster(shared_server: EcsProcess) -> Cluster:
    name = f"c{next(_NUMBERS)}"
    client = shared_server.client()
    client.create_cluster(clusterName=name)
    return Cluster(client, name, shared_server)


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster on a server of the test's own, which it may harm."""
    server = EcsProcess(tmp_path / "ecs", "--stop-grace=1")
    yield Cluster(server.client(), "default", server)
    if server.process.poll() is None:
        server.stop()
