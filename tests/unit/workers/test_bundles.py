"""The bundle cache and the scratch folders."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from obstore.store import MemoryStore

from crds.bundle import BundleError, build
from crds.names import bundle_key
from workers import bundles as bundles_module
from workers.bundles import KEEP_SECONDS, Bundles
from workers.clock import Clock
from workers.scratch import Scratch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def put(store: MemoryStore, folder: Path, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "job.py").write_text(text)
    bundle = build(folder)
    store.put(bundle_key(bundle.digest), bundle.data)
    return bundle.digest


def test_fetched_once(store: MemoryStore, tmp_path: Path) -> None:
    digest = put(store, tmp_path / "source", "one")
    bundles = Bundles(store, tmp_path / "cache", Clock())
    with bundles.use(digest) as first:
        assert (first / "job.py").read_text() == "one"
    store.delete(bundle_key(digest))

    with bundles.use(digest) as second:
        assert second == first


@pytest.mark.parametrize(
    "digest",
    [
        pytest.param("../../etc", id="a path"),
        pytest.param("0" * 63, id="too short"),
        pytest.param("Z" * 64, id="not hexadecimal"),
    ],
)
def test_no_digest(store: MemoryStore, tmp_path: Path, digest: str) -> None:
    bundles = Bundles(store, tmp_path / "cache", Clock())

    with pytest.raises(ValueError, match="no bundle digest"), bundles.use(digest):
        pass


def test_changed_bundle_is_refused(store: MemoryStore, tmp_path: Path) -> None:
    digest = put(store, tmp_path / "source", "one")
    store.put(bundle_key(digest), b"something else")
    bundles = Bundles(store, tmp_path / "cache", Clock())

    with pytest.raises(BundleError), bundles.use(digest):
        pass


def test_least_recently_used_go(store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles_module, "MAX_BUNDLES", 2)
    clock = Clock()
    cache = tmp_path / "cache"
    bundles = Bundles(store, cache, clock)
    digests = [put(store, tmp_path / "source", str(number)) for number in range(4)]
    now = clock.now().timestamp()
    for age, digest in ((4, digests[0]), (3, digests[1]), (0, digests[2])):
        with bundles.use(digest):
            pass
        stamp = now - age * KEEP_SECONDS
        os.utime(cache / digest, (stamp, stamp))

    with bundles.use(digests[0]) as used:
        os.utime(used, (0, 0))
        with bundles.use(digests[3]):
            pass

    assert {path.name for path in cache.iterdir()} == {digests[0], digests[2], digests[3]}


def test_scratch_is_empty_each_time_and_gone_afterwards(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, "one")
    with scratch.folder() as first:
        (first / "left").touch()
    with scratch.folder() as second:
        assert list(second.iterdir()) == []

    assert not first.exists()
    assert not second.exists()
    scratch.close()
    assert not (tmp_path / "one").exists()


def test_scratch_sweeps_what_no_process_holds(tmp_path: Path) -> None:
    held = Scratch(tmp_path, "held")
    (tmp_path / "left" / "7").mkdir(parents=True)

    Scratch(tmp_path, "new").close()

    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"held"}
    held.close()
