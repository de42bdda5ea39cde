"""Make the zips of the Lambda functions: `python -m workers.aws.package --out build/lambda`.

The same sources and wheels give the same bytes (on one build of zlib), so Terraform sees a change only when there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import stat
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from workers.aws.wheels import WheelsError, fetch, pins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).parents[2]
# The handlers of the sources and all that they import; boto3 is the runtime's.
SOURCES = (
    "crds/__init__.py",
    "crds/redaction.py",
    "workers/__init__.py",
    "workers/aws/__init__.py",
    "workers/aws/cron.py",
    "workers/aws/ecs_state.py",
    "workers/aws/events.py",
    "workers/aws/lines.py",
    "workers/aws/settings.py",
    "workers/aws/signature.py",
    "workers/aws/signers.py",
    "workers/aws/webhook.py",
    "workers/backoff.py",
    "workers/clock.py",
    "workers/pooltoken.py",
)
PACKAGES = ("crds", "workers")

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_UNZIPPED_BYTES = 250 * 2**20
MAX_UPLOAD_BYTES = 50 * 2**20

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_FILE_MODE = stat.S_IFREG | 0o644
_LEVEL = 6
_SKIPPED = (".pyc", ".pyi", "/RECORD", "/INSTALLER", "/REQUESTED")


class PackageError(Exception):
    """A zip that Lambda would refuse; the text says why."""


def main() -> int:
    """Write sources.zip and operator.zip; return 1 if something is missing."""
    arguments = _arguments()
    try:
        write(arguments.out, arguments.lock, arguments.wheels, _say)
    except (WheelsError, PackageError, OSError) as error:
        sys.stderr.write(f"package: {error}\n")
        return 1
    return 0


def write(out: Path, lock: Path, wheels: Path, say: Callable[[str], object]) -> None:
    """Write both zips into the folder `out`; wheels are kept in the folder `wheels`."""
    out.mkdir(parents=True, exist_ok=True)
    _finish(out / "sources.zip", ((name, (ROOT / name).read_bytes()) for name in SOURCES), say)
    wanted = pins(lock.read_text())
    say(f"{len(wanted)} wheels for Python 3.13 on Linux x86_64, kept in {wheels}")
    found = fetch(wanted, wheels)
    _finish(out / "operator.zip", _operator(found), say)


def _operator(wheels: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the operator host: our own, then each wheel's."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_bytes()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in sorted(archive.infolist(), key=lambda one: one.filename):
                if (name := _installed(entry.filename)) is not None:
                    yield name, archive.read(entry)


def _installed(name: str) -> str | None:
    """Return where a file of a wheel belongs, None if Lambda has no use for it."""
    if name.endswith(("/", *_SKIPPED)):
        return None
    top, _, rest = name.partition("/")
    if not top.endswith(".data"):
        return name
    kind, _, rest = rest.partition("/")
    return rest if kind in {"purelib", "platlib"} else None


def _finish(path: Path, files: Iterable[tuple[str, bytes]], say: Callable[[str], object]) -> None:
    """Write a zip; it appears complete or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unzipped = 0
    names: set[str] = set()
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, content in files:
            if name in names:
                raise PackageError(f"two packages bring {name}")
            names.add(name)
            unzipped += len(content)
            archive.writestr(_entry(name), content, zipfile.ZIP_DEFLATED, _LEVEL)
    if unzipped > MAX_UNZIPPED_BYTES:
        raise PackageError(
            f"{path.name} unzips to {_megabytes(unzipped)}; Lambda takes {_megabytes(MAX_UNZIPPED_BYTES)}"
        )
    unfinished.replace(path)
    size, digest = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    say(f"{path}: {len(names)} files, {_megabytes(size)}, {_megabytes(unzipped)} unzipped, sha256 {digest[:16]}")
    if size > MAX_UPLOAD_BYTES:
        say(f"{path.name} is above {_megabytes(MAX_UPLOAD_BYTES)}, so Lambda takes it from S3 only")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIMESTAMP)
    entry.create_system = _UNIX
    entry.external_attr = _FILE_MODE << 16
    return entry


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}{os.linesep}")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers.aws.package", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/lambda"), help="folder of the zips")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock", help="the versions of the wheels")
    parser.add_argument("--wheels", type=Path, default=Path("build/wheels"), help="folder where wheels are kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
