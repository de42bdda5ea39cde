"""Bundles: the same files give the same bytes, and nothing that a bundle holds gets out of its folder."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crds.bundle import MAX_BYTES, MAX_FILES, BundleError, build, extract

file_names = st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,2}\.(py|sql|é)", fullmatch=True)


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@given(st.dictionaries(file_names, st.binary(max_size=100), max_size=8))
@settings(deadline=None, max_examples=50)
def test_round_trip(files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other, TemporaryDirectory() as cache:
        bundle = build(write(Path(one), files))
        again = build(write(Path(other), dict(reversed(files.items()))))
        assert bundle == again
        assert contents(extract(bundle.data, bundle.digest, Path(cache))) == files


def test_what_a_bundle_leaves_out(tmp_path: Path) -> None:
    kept = {"code.py": b"x", "sql/a.sql": b"y", "config.yaml": b"z"}
    left = [
        "dag.yaml", "datasets.yaml", "pools.yaml", "code.pyc", "__pycache__/code.pyc", ".git/x", ".env", "code.py~",
    ]  # fmt: skip
    bundle = build(write(tmp_path, {**kept, **dict.fromkeys(left, b"-")}))
    assert bundle.files == tuple(sorted(kept))


def test_times_and_modes_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path, {"code.py": b"x"})
    before = build(tmp_path)
    os.utime(tmp_path / "code.py", (0, 0))
    (tmp_path / "code.py").chmod(0o700)
    assert build(tmp_path) == before


def test_the_digest_is_the_same_on_every_machine(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": b"print(1)\n", "b/c.sql": b"select 1\n"})
    assert build(tmp_path).digest == "dca9fdbc54b6853b9c3cb4e28a611d3a2c010cc744371300fcfdab181868b336"


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"code.py": b"x"})
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match=r"link\.py is a symbolic link"):
        build(tmp_path)


def test_limits(tmp_path: Path) -> None:
    large = write(tmp_path / "large", {"a": b"-" * MAX_BYTES, "b": b"-"})
    with pytest.raises(BundleError, match="more than 10 MiB"):
        build(large)
    many = write(tmp_path / "many", {f"{number}.py": b"" for number in range(MAX_FILES + 1)})
    with pytest.raises(BundleError, match="more than 2000 files"):
        build(many)
    with pytest.raises(BundleError, match="is no folder"):
        build(tmp_path / "nothing")


def packed(*entries: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> tuple[bytes, str]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", compression) as made:
        for name, data in entries:
            made.writestr(name, data)
    return archive.getvalue(), hashlib.sha256(archive.getvalue()).hexdigest()


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("data", "digest", "message"),
    [
        pytest.param(b"", "0" * 64, "sha256 is not", id="another digest"),
        pytest.param(b"", hashlib.sha256(b"").hexdigest(), "cannot be unpacked", id="no zip"),
        pytest.param(*packed(("../x", b"")), "leads out", id="traversal"),
        pytest.param(*packed(("a/../../x", b"")), "leads out", id="traversal inside"),
        pytest.param(*packed(("/etc/x", b"")), "leads out", id="absolute"),
        pytest.param(*packed(("c:\\x", b"")), "leads out", id="drive"),
        pytest.param(*packed(("a\\..\\x", b"")), "leads out", id="backslash"),
        pytest.param(*packed((link("x"), b"/etc/passwd")), "no regular file", id="symbolic link"),
        pytest.param(*packed(("a/", b"")), "no regular file", id="folder"),
        pytest.param(*packed(("a", b""), ("a/b", b"")), "a file and a folder", id="file as a folder"),
        pytest.param(*packed(("a/" * 30 + "b", b"")), "too deep", id="deep"),
        pytest.param(
            *packed(("a", b"\0" * (MAX_BYTES + 1)), compression=zipfile.ZIP_DEFLATED), "more than 10 MiB", id="bomb"
        ),
        pytest.param(
            *packed(*((f"{number}", b"") for number in range(MAX_FILES + 1))), "more than 2000 files", id="files"
        ),
    ],
)
def test_bundles_that_are_refused(tmp_path: Path, data: bytes, digest: str, message: str) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(BundleError, match=message):
        extract(data, digest, cache)
    assert contents(tmp_path) == {}
    assert not cache.exists() or list(cache.iterdir()) == []


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    data, _ = packed(("a", b"x" * 1000), compression=zipfile.ZIP_DEFLATED)
    lying = data.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(BundleError):
        extract(lying, hashlib.sha256(lying).hexdigest(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_extracting_twice_gives_the_same_folder(tmp_path: Path) -> None:
    data, digest = packed(("a", b"1"))
    first = extract(data, digest, tmp_path)
    assert extract(data, digest, tmp_path) == first == tmp_path / digest
    assert [path.name for path in tmp_path.iterdir()] == [digest]


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_refused_or_unpacked(data: bytes) -> None:
    good, _ = packed(("a", b"1"), ("b/c", b"2"))
    with TemporaryDirectory() as cache:
        for bad in (data, good[: len(data)] + data + good[len(data) + len(data) :]):
            with suppress(BundleError):
                extract(bad, hashlib.sha256(bad).hexdigest(), Path(cache))
