"""Bundles that would write elsewhere, grow, or be no files: refused at the door, before any worker meets them."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest

from crds.bundle import MAX_BYTES, MAX_FILES, BundleError, extract

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.hostile.hostile_world import Doors

MIB = 2**20


def packed(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content, method)
    return file.getvalue()


def special(name: str, kind: int) -> zipfile.ZipInfo:
    """Return an entry that is a link, a device, a pipe or a socket."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (kind | 0o777) << 16
    return entry


def lying(size: int) -> bytes:
    """Return a zip whose directory says that its member has another size."""
    data = bytearray(packed(("a", b"\0" * MIB), method=zipfile.ZIP_DEFLATED))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", size)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(packed(("a", b"x")))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def overlapping() -> bytes:
    """Return a zip that names the same compressed bytes many times, as the better bombs do."""
    names = [f"f{number:04d}" for number in range(MAX_FILES)]
    data = bytearray(packed(*((name, b"") for name in names[1:]), (names[0], b"\0" * MIB), method=zipfile.ZIP_DEFLATED))
    last = data.rindex(b"PK\x01\x02")
    at = data.index(b"PK\x01\x02")
    while at < last:
        data[at + 16 : at + 28] = data[last + 16 : last + 28]
        data[at + 42 : at + 46] = data[last + 42 : last + 46]
        at = data.index(b"PK\x01\x02", at + 4)
    return bytes(data)


def many(names: Iterable[str]) -> bytes:
    return packed(*((name, b"") for name in names))


HOSTILE = [
    pytest.param(b"", "cannot be unpacked", id="nothing"),
    pytest.param(b"PK\x05\x06" + bytes(16), "cannot be unpacked", id="half an empty zip"),
    pytest.param(b"#!/bin/sh\nreboot\n", "cannot be unpacked", id="a script"),
    pytest.param(packed(("a.py", b"x"))[:-30], "cannot be unpacked", id="half a zip"),
    pytest.param(packed(("../../etc/cron.d/x", b"x")), "leads out", id="zip slip"),
    pytest.param(packed(("/etc/passwd", b"x")), "leads out", id="an absolute name"),
    pytest.param(packed(("C:\\windows\\x", b"x")), "leads out", id="a drive"),
    pytest.param(packed(("a//b", b"x")), "leads out", id="an empty part"),
    pytest.param(packed(("./a", b"x")), "leads out", id="a dot"),
    pytest.param(packed((special("x", stat.S_IFLNK), b"/etc/passwd")), "no regular file", id="a symbolic link"),
    pytest.param(packed((special("x", stat.S_IFCHR), b"")), "no regular file", id="a character device"),
    pytest.param(packed((special("x", stat.S_IFBLK), b"")), "no regular file", id="a block device"),
    pytest.param(packed((special("x", stat.S_IFIFO), b"")), "no regular file", id="a pipe"),
    pytest.param(packed((special("x", stat.S_IFSOCK), b"")), "no regular file", id="a socket"),
    pytest.param(packed(("a/", b"")), "no regular file", id="a folder"),
    pytest.param(packed(("a", b""), ("a/b", b"")), "a file and a folder", id="a file that is a folder"),
    pytest.param(packed(("x" * 300, b"")), "too long", id="a name that no file system takes"),
    pytest.param(packed(("a/" * 100 + "b", b"")), "too deep", id="100 folders"),
    pytest.param(many(f"f{n}" for n in range(MAX_FILES + 1)), "more than 2000 files", id="2,001 files"),
    pytest.param(
        packed(("a", b"\0" * (MAX_BYTES + 1)), method=zipfile.ZIP_DEFLATED), "more than 10 MiB", id="a bomb of deflate"
    ),
    pytest.param(packed(("a", b"\0" * 64 * MIB), method=zipfile.ZIP_LZMA), "more than 10 MiB", id="a bomb of LZMA"),
    pytest.param(packed(("a", b"\0" * 64 * MIB), method=zipfile.ZIP_BZIP2), "more than 10 MiB", id="a bomb of bzip2"),
    pytest.param(overlapping(), "bundle", id="a bomb that overlaps"),
    pytest.param(lying(10), "bundle", id="a member larger than it says"),
    pytest.param(lying(2 * MIB), "another size", id="a member smaller than it says"),
    pytest.param(encrypted(), "cannot be unpacked", id="encrypted"),
]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("data", "message"), [*HOSTILE, pytest.param(packed(("a", b""), ("a", b"")), "twice", id="twice")]
)
def test_storing(unchanged: Doors, data: bytes, message: str) -> None:
    answer = unchanged.call("PUT", f"/v1/bundles/{hashlib.sha256(data).hexdigest()}", data)
    assert answer.status_code == 422
    unchanged.refused(answer)
    assert message in answer.json()["message"]


@pytest.mark.parametrize(("data", "message"), HOSTILE)
def test_unpacking(tmp_path: Path, data: bytes, message: str) -> None:
    """Whoever can write to the bucket goes past the door."""
    with pytest.raises(BundleError, match=message):
        extract(data, hashlib.sha256(data).hexdigest(), tmp_path / "cache")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("digest", "code"),
    [
        pytest.param("0" * 64, 400, id="another digest"),
        pytest.param("A" * 64, 400, id="capitals"),
        pytest.param("..%2f..%2fx", 404, id="a path"),
        pytest.param("0" * 63 + "%0A", 400, id="a newline"),
    ],
)
def test_digests(unchanged: Doors, digest: str, code: int) -> None:
    answer = unchanged.call("PUT", f"/v1/bundles/{digest}", packed(("a.py", b"x")))
    assert answer.status_code == code
    unchanged.discreet(answer)


def test_more_than_a_body_may_have(unchanged: Doors) -> None:
    data = bytes(17 * MIB)
    answer = unchanged.call("PUT", f"/v1/bundles/{hashlib.sha256(data).hexdigest()}", data)
    assert answer.status_code == 413
    unchanged.refused(answer)
