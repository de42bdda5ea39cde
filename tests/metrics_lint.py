"""The rules of `promtool check metrics`, over what a registry declares or exposes; and where the real promtool is."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crds.instruments import Declared

TOOLS = Path(__file__).resolve().parent.parent / "build" / "tools"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_UNITS = {"milliseconds", "ms", "minutes", "hours", "days", "kilobytes", "megabytes", "mb", "percent"}
COMMUNITY = re.compile(r"operator_[a-z]+_status_condition_count")
"""operatorpkg's gauges end in `_count`, which promtool keeps for histograms; dashboards know them by that name."""


def problems(declared: Iterable[Declared]) -> list[str]:
    """Return what promtool would say, without what the community's names make it say."""
    found: list[str] = []
    for one in declared:
        words = set(one.name.split("_"))
        if not _NAME.fullmatch(one.name):
            found.append(f"{one.name}: is not snake case")
        if not one.text.endswith("."):
            found.append(f"{one.name}: its help is no sentence")
        if one.kind != "counter" and one.name.endswith("_total"):
            found.append(f"{one.name}: a {one.kind} ends in _total")
        if (
            one.kind == "gauge"
            and one.name.endswith(("_count", "_sum", "_bucket"))
            and not COMMUNITY.fullmatch(one.name)
        ):
            found.append(f"{one.name}: a gauge ends like a histogram's part")
        if words & _UNITS:
            found.append(f"{one.name}: is not in base units")
        if {one.kind} & words:
            found.append(f"{one.name}: its type stands in its name")
        if one.kind == "histogram" and not one.name.endswith("_seconds"):
            found.append(f"{one.name}: a histogram names no unit")
        found += [f"{one.name}: label {label}" for label in one.labels if not _NAME.fullmatch(label) or label == "le"]
    return found


def tool(name: str) -> str | None:
    """Return where a tool of Prometheus is: in build/tools or on the PATH."""
    own = next((str(path) for path in sorted(TOOLS.glob(f"**/bin/{name}")) if os.access(path, os.X_OK)), None)
    return own or shutil.which(name)
