"""People's API: names, queries and bodies that no one should send get a refusal that says why, and change nothing."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.api_world import task

if TYPE_CHECKING:
    from tests.hostile.hostile_world import Doors

MIB = 2**20
SHELL_AND_SQL = "'; DROP TABLE run; -- $(reboot) `reboot` | reboot"


def page(*key: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param("/dags/a%00b", 400, id="NUL in a name"),
        pytest.param("/dagruns/x%00/explain", 400, id="NUL in a run"),
        pytest.param("/taskruns/x%00.y/logs", 400, id="NUL in a task run"),
        pytest.param("/apis/setpoint.dev/v1/namespaces/a%00/dags", 400, id="NUL in a namespace"),
        pytest.param("/dags/%ff%fe", 404, id="a name that is no UTF-8"),
        pytest.param("/dags/" + "a" * 30_000, 400, id="a name of 30 kB"),
        pytest.param(f"/dags/{SHELL_AND_SQL.replace('/', '')}", 404, id="SQL and shell in a name"),
        pytest.param("/dags/..%2f..%2fetc%2fpasswd", 404, id="a path in a name"),
        pytest.param("/taskruns/x.y.99999999999999999999", 404, id="an index of 67 bits"),
        pytest.param("/taskruns/x.y.\N{ARABIC-INDIC DIGIT ONE}", 404, id="an index of other digits"),
        pytest.param("/v1/bundles/..%2f..%2fetc", 404, id="a path as a digest"),
        pytest.param("/v1/bundles/%00", 400, id="NUL as a digest"),
        pytest.param("/dags?limit=-1", 400, id="limit below 1"),
        pytest.param("/dags?limit=00000000000000000001" + "9" * 5_000, 400, id="limit of 5,000 digits"),
        pytest.param("/dags?limit=%D9%A1", 400, id="limit in other digits"),
        pytest.param("/events?after=9223372036854775808", 400, id="an event beyond 63 bits"),
        pytest.param("/dags?labelSelector=a%00", 400, id="NUL in a selector"),
        pytest.param("/dags?labelSelector=" + "a," * 60, 400, id="a selector of 60 terms"),
        pytest.param("/dags?labelSelector=" + "a" * 20_000, 400, id="a selector of 20 kB"),
        pytest.param("/dags?labelSelector=" + "(" * 8_000, 400, id="a selector of parentheses"),
        pytest.param(f"/dags?labelSelector=a%3D{SHELL_AND_SQL}", 400, id="SQL in a selector"),
        pytest.param("/dagruns?fieldSelector=uid%3D1", 400, id="a field that is none"),
        pytest.param("/events?for=dag/a%00", 400, id="NUL in an event's object"),
        pytest.param("/events?for=run/a", 404, id="events of no run"),
        pytest.param("/dags?continue=%00", 400, id="NUL as a token"),
        pytest.param("/dags?continue=%C3%A9", 410, id="a token that is no base64"),
        pytest.param(f"/dags?continue={page(1)}", 410, id="a token of another type"),
        pytest.param(f"/dags?continue={page(chr(0))}", 410, id="a token that holds NUL"),
        pytest.param(f"/dags?continue={page('a', 'b')}", 410, id="a token that is too long"),
        pytest.param(f"/dags?continue={page(*'[' * 900)}", 410, id="a token of 900 parts"),
        pytest.param(f"/dagruns?continue={page('x', 'y')}", 410, id="a token without a time"),
        pytest.param(f"/dagruns?continue={page('2026-01-01T00:00:00', 'y')}", 410, id="a token without a zone"),
        pytest.param(f"/taskruns?continue={page('a', 'b', 2**31)}", 410, id="a token beyond 32 bits"),
        pytest.param(f"/taskruns?continue={page('a', 'b', 'c')}", 410, id="a token with text for a number"),
        pytest.param("/dagruns?watch=true&resourceVersion=99999999999999999999", 400, id="watch from nowhere"),
        pytest.param("/dagruns?watch=maybe", 400, id="watch perhaps"),
        pytest.param("/dags?limit=1&limit=2", 400, id="a parameter twice"),
        pytest.param("/dags?" + "&".join(f"a{n}=1" for n in range(2_000)), 400, id="2,000 parameters"),
    ],
)
def test_reading(unchanged: Doors, path: str, code: int) -> None:
    answer = unchanged.call("GET", path)
    assert answer.status_code == code, answer.text[:300]
    if answer.headers["content-type"] == "application/json":
        unchanged.refused(answer)


def test_a_misspelt_dry_run_does_nothing(unchanged: Doors) -> None:
    answer = unchanged.call("POST", "/apply?dryrun=All", {"resources": [_dag()]})
    unchanged.refused(answer)
    assert "did you mean dryRun?" in answer.json()["message"]


BODIES = [
    pytest.param(b"\xff\xfe{}", "no JSON", id="no UTF-8"),
    pytest.param(b'{"params": {"a": NaN}}', "NaN is no number", id="NaN"),
    pytest.param(b'{"params": {"a": -Infinity}}', "-Infinity is no number", id="infinity"),
    pytest.param(b'{"params": {"a": 1e999}}', "params.a: a number must be finite", id="1e999"),
    pytest.param(b'{"params": {"a": 9223372036854775808}}', "at most 64 bits", id="an integer of 65 bits"),
    pytest.param(b'{"params": {"a": ' + b"9" * 5_000 + b"}}", "no JSON", id="an integer of 5,000 digits"),
    pytest.param(b'{"params": {"a": "\\u0000"}}', "NUL", id="NUL"),
    pytest.param(b'{"params": {"\\u0000": 1}}', "NUL", id="NUL in a key"),
    pytest.param(b'{"params": {"a": "\\ud800"}}', "surrogate", id="half a surrogate pair"),
    pytest.param(b'{"idempotencyKey": "\\udfff"}', "surrogate", id="half a surrogate pair as the key"),
    pytest.param(b'{"params": {"a": 1, "a": 2}}', 'the key "a" stands twice', id="a key twice"),
    pytest.param(b'{"params": {}, "params": {}}', 'the key "params" stands twice', id="params twice"),
    pytest.param(b'{"params": ' + b"[" * 100_000, "no JSON", id="100,000 brackets"),
    pytest.param(b'{"params": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}", "nested more than 64", id="900 deep"),
    pytest.param(b'{"params": {"a": ' + b'{"a":' * 70 + b"1" + b"}" * 71 + b"}", "nested more than 64", id="70 deep"),
    pytest.param(b'{"params": {"a": "' + b"x" * (10 * MIB) + b'"}}', "at most 64 KiB", id="10 MiB of text"),
    pytest.param(b" " * (17 * MIB), "at most 16 MiB", id="17 MiB of nothing"),
    pytest.param(b"[]", "JSON object", id="a list"),
    pytest.param(b"null", "JSON object", id="null"),
    pytest.param(b'{"params": null}', "params must be", id="null for params"),
    pytest.param(b'{"params": []}', "params must be", id="a list for params"),
    pytest.param(b'{"labels": {"a": 1}}', "label", id="a label that is no text"),
    pytest.param(b'{"labels": {"a\\u001b[2J": "b"}}', "label", id="a label with an escape"),
    pytest.param(b'{"labels": {"' + b"a" * 64 + b'": "b"}}', "label", id="a label that is too long"),
    pytest.param(json.dumps({"labels": {f"l{n}": "" for n in range(65)}}).encode(), "at most 64", id="65 labels"),
    pytest.param(b'{"idempotencyKey": 5}', "idempotencyKey", id="a key that is no text"),
    pytest.param(b'{"idempotencyKey": "' + b"k" * 201 + b'"}', "idempotencyKey", id="a key that is too long"),
    pytest.param(b'{"' + b"x" * MIB + b'": 1}', "unknown field", id="an unknown field of 1 MiB"),
    pytest.param(b"a=1&b=2", "no JSON", id="a form"),
]


@pytest.mark.parametrize(("body", "message"), BODIES)
def test_triggers(unchanged: Doors, body: bytes, message: str) -> None:
    answer = unchanged.call("POST", "/dags/diamond/trigger", body)
    unchanged.refused(answer)
    assert message in answer.json()["message"]


def _dag(name: Any = "h", *, meta: Any = None, spec: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "kind": "Dag",
        "metadata": {"name": name, **(meta or {})},
        "spec": {"tasks": [{**task("a"), **more}], **(spec or {})},
    }


def _columns(*names: str) -> dict[str, Any]:
    columns = [{"name": name, "type": "string"} for name in names]
    return {"kind": "Dataset", "metadata": {"name": "d"}, "spec": {"tier": "hot", "columns": columns}}


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        pytest.param([_dag(SHELL_AND_SQL)], "metadata.name", id="SQL and shell for a name"),
        pytest.param([_dag("h\n")], "metadata.name", id="a newline behind a name"),
        pytest.param([_dag("x" * MIB)], "metadata.name", id="a name of 1 MiB"),
        pytest.param([_dag(meta={"namespace": "../x"})], "metadata.namespace", id="a path for a namespace"),
        pytest.param([_dag(meta={"namespace": "other"})], "metadata.namespace", id="another namespace"),
        pytest.param([_dag(meta={"resourceVersion": "9" * 100})], "does not exist", id="a version from nowhere"),
        pytest.param([_dag(meta={"x" * 100_000: 1})], "unknown field", id="an unknown field of 100 kB"),
        pytest.param([_dag(meta={f"x{n}": 1 for n in range(5_000)})], "unknown field", id="5,000 unknown fields"),
        pytest.param([{"kind": []}], "kind", id="a list for a kind"),
        pytest.param([{"kind": "x" * MIB}], "kind", id="a kind of 1 MiB"),
        pytest.param([{"kind": "Dag", "metadata": [], "spec": 5}], "metadata", id="no mappings"),
        pytest.param([None], "mapping", id="null"),
        pytest.param([5] * 2_001, "at most 2000", id="2,001 resources"),
        pytest.param([_dag(), _dag()], "another Dag", id="the same twice"),
        pytest.param([_dag(priority=10**12)], "priority", id="a priority beyond its limit"),
        pytest.param([_dag(timeout="9" * 100_000)], "timeout", id="a timeout of 100 kB"),
        pytest.param([_dag(timeout="\N{ARABIC-INDIC DIGIT THREE}s")], "timeout", id="a timeout in other digits"),
        pytest.param([_dag(memory=2**62)], "memory", id="4 EiB of memory"),
        pytest.param([_dag(secrets={"a; DROP": "x"})], "secrets", id="SQL for an alias"),
        pytest.param([_dag(**{"with": {"entrypoint": "os:system('reboot')"}})], "entrypoint", id="a call"),
        pytest.param([_dag(**{"with": {"entrypoint": "m:f", "args": {"a": 2**63}}})], "64 bits", id="large args"),
        pytest.param([_dag(**{"with": {"entrypoint": "m:f", "args": {"a": "\0"}}})], "NUL", id="NUL in args"),
        pytest.param([_dag(spec={"bundle": "../" * 21 + "x"})], "bundle", id="a path for a bundle"),
        pytest.param([_dag(spec={"tasks": [task(f"t{n}") for n in range(10_001)]})], "10000", id="10,001 tasks"),
        pytest.param(
            [_dag(spec={"tasks": [task(f"t{n}", [f"t{m}" for m in range(n)]) for n in range(500)]})],
            "at most 100000",
            id="124,750 edges",
        ),
        pytest.param(
            [_dag(spec={"tasks": [task(f"t{n}", [f"u{n}"]) for n in range(2_000)]})],
            "unknown task",
            id="2,000 unknown needs",
        ),
        pytest.param([_columns('a"; DROP TABLE run; --')], "columns", id="SQL for a column"),
        pytest.param([_columns("ctid")], "Postgres's own", id="a column of Postgres"),
        pytest.param([_columns("a", "a")], "twice", id="a column twice"),
    ],
)
def test_applying(unchanged: Doors, resources: list[Any], message: str) -> None:
    answer = unchanged.call("POST", "/apply", {"resources": resources})
    unchanged.refused(answer)
    assert message in answer.text


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param({"cron": "*/0 * * * *"}, id="a step of 0"),
        pytest.param({"cron": "99999999999999999999 * * * *"}, id="a large minute"),
        pytest.param({"cron": "0 0 30 2 *"}, id="a day that never comes"),
        pytest.param({"cron": "0 0 31 2,4,6,9,11 *"}, id="a 31st of short months"),
        pytest.param({"cron": "1," * 99 + "1 * * * *"}, id="a long line"),
        pytest.param({"cron": "\N{ARABIC-INDIC DIGIT THREE} * * * *"}, id="other digits"),
        pytest.param({"cron": "* * * * *; reboot"}, id="shell"),
        pytest.param({"cron": "@reboot"}, id="@reboot"),
        pytest.param({"cron": "@daily", "timezone": "../../etc/passwd"}, id="a path for a zone"),
        pytest.param({"cron": "@daily", "timezone": "/etc/localtime"}, id="an absolute path for a zone"),
        pytest.param({"cron": "@daily", "timezone": "localtime"}, id="whatever zone the machine has"),
        pytest.param({"cron": "@daily", "timezone": "UTC\n"}, id="a newline behind a zone"),
    ],
)
def test_schedules(unchanged: Doors, schedule: dict[str, Any]) -> None:
    answer = unchanged.call("POST", "/apply", {"resources": [_dag(spec={"schedules": [schedule]})]})
    unchanged.refused(answer)
    assert "spec.schedules[0]" in answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/dagruns/none/retry", {"tasks": [5]}, id="a task that is no text"),
        pytest.param("/dagruns/none/retry", {"tasks": ["a"] * 10_001}, id="10,001 tasks"),
        pytest.param("/dagruns/none/retry", {"tasks": ["a.99999999999999999999"]}, id="an index of 67 bits"),
        pytest.param("/dagruns/none/cancel", None, id="no run to cancel"),
        pytest.param("/taskruns/none/retry", None, id="no task run's name"),
        pytest.param("/dags/none%00/pause", None, id="NUL in a Dag to pause"),
        pytest.param("/dags/diamond/trigger/..%2fpause", None, id="a path behind an action"),
    ],
)
def test_actions(unchanged: Doors, path: str, body: Any) -> None:
    answer = unchanged.call("POST", path, body)
    assert 400 <= answer.status_code < 500
    unchanged.discreet(answer)
