"""The page about alerts, made from the definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.monitoring.cloudwatch import has, kebab
from controller.monitoring.model import Per
from controller.monitoring.prometheus import expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.monitoring.model import Alert, Definitions

BEGIN, END = "<!-- alerts: generated -->", "<!-- alerts: end -->"


def page(text: str, definitions: Definitions) -> str:
    """Return the page with its generated part renewed; raise ValueError if it has no place for that."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{''.join(_all(definitions))}{END}{after}"


def _all(definitions: Definitions) -> Iterator[str]:
    yield "| alert | severity | about | holds for | CloudWatch alarm |\n|---|---|---|---|---|\n"
    for alert in definitions.alerts:
        held = f"{alert.minutes} min" if alert.minutes else "at once"
        yield f"| [{alert.name}](#{alert.name.lower()}) | {alert.severity} | {alert.per} | {held} | {_alarm(alert)} |\n"
    for alert in definitions.alerts:
        yield f"\n### {alert.name}\n\n{alert.means}\n\n*What to do:* {alert.action}\n\n"
        yield f"```promql\n{expression(alert)}\n```\n"
    yield "\n"


def _alarm(alert: Alert) -> str:
    if not has(alert):
        return "–"
    pool = "*pool*-" if alert.per is Per.POOL else ""
    return f"*name*-{pool}{kebab(alert.name)}"
