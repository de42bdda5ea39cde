"""Create a run that somebody outside asks for: a person's trigger, a webhook."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from controller.actions import Event
from controller.api.errors import bad_request, invalid
from controller.store import events, views
from controller.store import runs as run_rows
from crds.dag import DagSpec
from crds.names import DagUid, RunUid
from crds.params import check_params, complete
from crds.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import psycopg

    from controller.observed import Stored

# Each grant of the run carries them.
PARAMS_LIMIT = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run shall be like; a key that was given before stands for the run of then."""

    uid: str
    by: str
    key: str
    trigger: Literal["manual", "webhook"]
    params: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    traceparent: str | None = None


def create_run(connection: psycopg.Connection, dag: Stored, wanted: Wanted, now: datetime) -> tuple[str, bool]:
    """Create a run of a locked Dag; return its name and whether it is new. Raise RefusedError if the parameters do not fit."""
    if len(msgspec.json.encode(wanted.params)) > PARAMS_LIMIT:
        raise bad_request(f"params take at most {PARAMS_LIMIT // 1024} KiB; keep data in datasets and name it here")
    spec = DagSpec.model_validate(dag.spec, extra="ignore")
    params = complete(spec.params, dict(wanted.params))
    _refuse_params(spec, params)
    uid = RunUid(wanted.uid)
    row = run_rows.NewRow(
        uid=uid,
        namespace=dag.namespace,
        dag_uid=DagUid(dag.uid),
        dag=dag.name,
        revision=dag.generation,
        key=wanted.key,
        trigger=wanted.trigger,
        schedule=None,
        tick=None,
        params=params,
        labels=dict(wanted.labels),
        deadline=now + spec.timeout,
        created_at=now,
        traceparent=wanted.traceparent,
    )
    if not run_rows.create(connection, row):
        return views.run_name(connection, row.dag_uid, row.key), False
    text = f"triggered by {wanted.by}, revision {dag.generation}"
    events.record(connection, [Event("Normal", dag.namespace, "DagRun", row.name, Reason.TRIGGERED, text, uid)], now)
    return row.name, True


def _refuse_params(spec: DagSpec, params: dict[str, Any]) -> None:
    findings = check_params(spec.params, params)
    if findings:
        problems = [{"field": f"params.{f.field}".rstrip("."), "message": f.message} for f in findings]
        lines = "; ".join(f"{p['field']}: {p['message']}" for p in problems[:3])
        raise invalid(f"the parameters do not fit the DAG's schema: {lines}", problems)
