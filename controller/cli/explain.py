"""`setpoint explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from controller.cli import fields, names, text
from controller.cli.options import Namespace, Objects, connect


def explain(
    words: Objects,
    recursive: Annotated[bool, typer.Option("--recursive", help="All fields below a field.")] = False,
    namespace: Namespace = None,
) -> None:
    """Say why an object is as it is, and what each unfinished task waits for; or what a field is (dag.spec.tasks)."""
    if len(words) == 1 and fields.is_path(words[0]):
        fields.show(words[0], recursive=recursive)
        return
    client, colour = connect(namespace), text.coloured()
    allowed = ("dagruns", "taskruns", "dags", "workerpools", "datasets", "notifiers")
    named = names.resolve(client, names.parse(words, allowed))
    told = client.get(named.plural, named.name, "explain")
    phase = text.paint(told["phase"], text.phase_colour(told["phase"]), on=colour)
    text.out(f"{named} ({phase}): {told['message']}")
    if told["tasks"]:
        text.out()
        text.out(
            text.table(
                ("TASK", "PHASE", "WHY"), [(t["task"], t["phase"], t["message"]) for t in told["tasks"]], colour=colour
            )
        )
    text.out()
    conditions = [(c["type"], c["status"], c["reason"], c.get("message", "")) for c in told["conditions"]]
    text.out(text.table(("CONDITION", "STATUS", "REASON", "MESSAGE"), conditions, colour=colour))
