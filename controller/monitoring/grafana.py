"""The dashboard of Grafana, made from the definitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.monitoring.model import Definitions, Panel, Query

UID = "setpoint"
SCHEMA_VERSION = 39
"""Of Grafana 11; later ones migrate it by themselves."""
WIDTH, HEIGHT = 24, 8
COLUMNS = 4
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(definitions: Definitions) -> str:
    """Return the file to import."""
    return json.dumps(_dashboard(definitions), indent=2) + "\n"


def expressions(query: Query) -> list[tuple[str, str]]:
    """Return the expressions of a query in PromQL, each with its legend."""
    by = f" by ({query.by}) " if query.by else ""
    name = query.legend or ""
    legend = " ".join(part for part in (f"{{{{{query.by}}}}}" if query.by else "", name) if part) or query.metric
    match query.how:
        case "last":
            return [(f"max{by}({query.metric})", legend)]
        case "sum":
            return [(f"sum{by}({query.metric})", legend)]
        case "rate":
            return [(f"sum{by}(rate({query.metric}[$__rate_interval]))", legend)]
        case "increase":
            return [(f"sum{by}(increase({query.metric}[$__rate_interval]))", legend)]
        case "quantiles":
            grouped = f" by (le, {query.by}) " if query.by else " by (le) "
            rate = f"sum{grouped}(rate({query.metric}_bucket[$__rate_interval]))"
            start = f"{legend} " if query.by else ""
            return [(f"histogram_quantile({q}, {rate})", f"{start}p{q * 100:g}") for q in (0.5, 0.99)]


def _dashboard(definitions: Definitions) -> dict[str, Any]:
    return {
        "uid": UID,
        "title": "Setpoint",
        "description": "Made by `python -m controller.monitoring` from definitions.yaml.",
        "tags": ["setpoint"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                    "hide": 0,
                }
            ]
        },
        "annotations": {"list": []},
        "panels": list(_panels(definitions)),
    }


def _panels(definitions: Definitions) -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for row in definitions.dashboard:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y},
            "panels": [],
        }
        y += 1
        width = WIDTH // COLUMNS
        for n, panel in enumerate(row.panels):
            number += 1
            place = {"h": HEIGHT, "w": width, "x": (n % COLUMNS) * width, "y": y + (n // COLUMNS) * HEIGHT}
            yield _panel(panel, number, place)
        y += HEIGHT * -(-len(row.panels) // COLUMNS)


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    found = [pair for query in panel.queries for pair in expressions(query)]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {} if panel.kind == "stat" else {"tooltip": {"mode": "multi"}, "legend": {"displayMode": "list"}},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": _SOURCE, "expr": expr, "legendFormat": legend}
            for n, (expr, legend) in enumerate(found)
        ],
    }
