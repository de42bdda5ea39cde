"""The last task of the DAG `flights`: tell people what came out, also when something failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.context import Context

SUCCEEDED = "Succeeded"


def write(ctx: Context) -> dict[str, Any]:
    """Keep a Markdown report and return how many tasks succeeded and which did not."""
    text = render(ctx.run.run, ctx.upstream, ctx.inputs["summary"])
    ctx.artifact("report.md", text, content_type="text/markdown")
    print(text)
    failed = sorted(task for task, phase in ctx.upstream.items() if phase != SUCCEEDED)
    return {"succeeded": len(ctx.upstream) - len(failed), "notSucceeded": failed}


def render(run: str, upstream: Mapping[str, str], summary: Mapping[str, Any] | None) -> str:
    """Return the report as Markdown."""
    lines = [f"# Flights out of New York: {run}", ""]
    if summary:
        lines += [
            f"- {summary['flights']:,} flights, {summary['cancelled']:,} of them cancelled",
            f"- {summary['meanDelayMinutes']} minutes late on average, {summary['late']:,} flights late",
            f"- worst day: {summary['worstDay']}, {summary['worstDayMinutes']} minutes on average",
            f"- best airline: {summary['bestCarrier']}, {summary['bestCarrierMinutes']} minutes",
            "",
        ]
    else:
        lines += ["There is no summary: the chart did not succeed.", ""]
    lines += ["| task | phase |", "|---|---|"]
    lines += [f"| {task} | {phase} |" for task, phase in sorted(upstream.items())]
    return "\n".join(lines) + "\n"
