"""What a notice says, in words that a message takes."""

from __future__ import annotations

from typing import Any


def read(params: dict[str, Any]) -> dict[str, Any]:
    """Return the notice's title and how many words it has."""
    title = params["notice"]["title"]
    print(f"notice: {title}")
    return {"title": title, "words": len(title.split())}
