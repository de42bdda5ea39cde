"""Plant distinctive secrets everywhere, run the whole system into every failure, and look for them in all that it leaves.

Not one of them may stand in a log, in the log of a task, in the database, in a trace, in a metric or in an answer. The
local system itself keeps them in files that only its user can read.
"""

from __future__ import annotations

import json
import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
import yaml
from e2e_system import COMMAND, Up, eventually
from psycopg import sql

from controller.api.tokens import ClaimTokens
from controller.local.postgres import Server
from crds.names import AttemptId
from tests.otlp_receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(400)]

PLANTED = {
    "lab/password": "planted-task-secret-4c1d",
    "lab/json": json.dumps({"user": "ada", "password": "planted-json-secret-9f2e"}),
}
COLLECTOR_KEY = "planted-collector-key-77aa"
STRANGER = "planted-bearer-of-a-stranger-0b3c"
OWN_FILES = {"secrets.yaml", "config.json", "context.json", "events-token", "services.json", "functions.json"}
"""What local mode itself reads its secrets from."""
ROOT = Path(__file__).parents[2]
PLURALS = ("dags", "dagruns", "taskruns", "workerpools", "datasets")


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What a system has left, and the secrets that it had."""

    data: Path
    secrets: set[str]
    left: dict[str, list[str]]


@pytest.fixture(scope="module")
def aftermath(collector: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    up = Up(tmp_path_factory.mktemp("leaky"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-key={COLLECTOR_KEY}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        try:
            yield _left(up.start().applied("gated", "secretive"), collector)
        finally:
            up.clear()


def test_nothing_that_is_left_holds_a_secret(aftermath: Aftermath, collector: Receiver) -> None:
    assert len(aftermath.secrets) > 10
    assert COLLECTOR_KEY in {value for headers in collector.headers for value in headers.values()}
    for place, texts in aftermath.left.items():
        assert texts, place
        assert _found(aftermath.secrets, texts) == set(), place
    _check_files(aftermath.data, aftermath.secrets)


def test_lines_of_the_log_have_the_fields_of_their_table(aftermath: Aftermath) -> None:
    page = (ROOT / "docs" / "tracing-and-logs.md").read_text()
    table = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+?) \| [^|]+ \|$", page, re.MULTILINE))
    of_workers, of_all = set(), set()
    for path in (aftermath.data / "logs").rglob("*.log"):
        for line in _objects(path):
            assert {name for name, where in table.items() if where == "every line"} <= set(line), line
            of_all |= set(line)
            if line.get("worker") and path.name != "dispatcher.log":
                of_workers |= set(line)
    assert set(table) <= of_all
    assert {"worker", "pool", "attempt", "run", "task", "trace_id"} <= of_workers
    queries = "".join(re.findall(r"^```insights\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
    words = set(re.findall(r"[a-z_]+", re.sub(r'"[^"]*"', "", queries)))
    assert words - {"fields", "filter", "sort", "limit", "in", "or", "desc", "asc"} <= set(table)


def _objects(path: Path) -> list[dict[str, Any]]:
    """Return the lines of the dispatcher and of workers; other programs of local mode log as text."""
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.startswith('{"time"')]
    return [json.loads(line) for line in lines]


def _left(system: Up, collector: Receiver) -> Aftermath:
    """Plant the secrets, have everything fail, and stop the system."""
    file = system.data / "secrets.yaml"
    entries = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(entries | PLANTED))
    answers = [*_provoke(system), *_ask(system)]
    secrets = _secrets(file) | _claim_tokens(system, entries)
    rows = _rows(system)
    # The last spans of workers and dispatcher come when they stop.
    assert system.stop() == 0
    traces = [body.decode(errors="replace") for body in collector.bodies]
    output = [system.output.read_text()]
    return Aftermath(system.data, secrets, {"answers": answers, "rows": rows, "traces": traces, "output": output})


def _provoke(system: Up) -> list[str]:
    """Have everything fail that may say a secret; return what the API answered."""
    # A task that prints, logs and raises its secret, and one whose worker is killed.
    leaking = system.trigger("secretive")
    gate = system.gate("killed")
    killed = system.trigger("gated", gate=gate.folder)
    worker = gate.begun("work").parent()
    assert worker is not None
    worker.kill()
    gate.begun("work", 2)
    gate.open()
    assert system.ended(killed) == "Succeeded"
    assert system.ended(leaking) == "Succeeded"
    assert len(system.attempts(leaking, "leak")) == 2

    answers = [_stranger(system)]
    # A statement that fails, so that the API answers 500.
    with _superuser(system) as connection:
        connection.execute("ALTER TABLE setpoint.event RENAME TO event_hidden")
        try:
            answers.append(_get(system, "events", expected=500))
        finally:
            connection.execute("ALTER TABLE setpoint.event_hidden RENAME TO event")
    # Connections that break and logins that fail.
    postgres = system.program("postgres")
    postgres.kill()
    system.replaced("postgres", postgres)
    eventually("the API reads the database", lambda: system.run(leaking))
    after = system.gate("after")
    after.open()
    assert system.ended(system.trigger("gated", gate=after.folder)) == "Succeeded"
    return answers


def _stranger(system: Up) -> str:
    url = f"{system.client.target.url}/apis/setpoint.dev/v1/namespaces/default/dags"
    headers = {"authorization": f"Bearer {STRANGER}", "cookie": f"session={STRANGER}"}
    answer = httpx.get(url, params={"limit": "1"}, headers=headers)
    assert answer.status_code == 401
    own = {"authorization": f"Bearer {system.client.target.token}"}
    wrong = httpx.get(url, params={"limit": "many"}, headers=own)
    assert wrong.status_code == 400
    return answer.text + wrong.text


def _ask(system: Up) -> list[str]:
    """Return what the API and the commands tell of everything."""
    found = [_get(system, plural) for plural in PLURALS] + [_get(system, "events")]
    found.append(httpx.get(f"{system.client.target.url}/metrics").text)
    for run in system.objects("dagruns"):
        name = run["metadata"]["name"]
        for command in (("describe", "run", name), ("explain", f"run/{name}"), ("logs", name), ("events",)):
            done = subprocess.run(
                [str(COMMAND), *command],
                env=system.environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            found.append(done.stdout + done.stderr)
    return found


def _get(system: Up, plural: str, expected: int = 200) -> str:
    target = system.client.target
    url = f"{target.url}/apis/setpoint.dev/v1/namespaces/default/{plural}"
    answer = httpx.get(url, headers={"authorization": f"Bearer {target.token}"}, timeout=30)
    assert answer.status_code == expected, answer.text
    return answer.text


def _superuser(system: Up) -> psycopg.Connection:
    port = int((system.data / "postgres/pgdata/postmaster.pid").read_text().splitlines()[3])
    server = Server(system.data / "postgres", port)
    return psycopg.connect(server.dsn(dbname="setpoint"), autocommit=True, connect_timeout=5)


def _secrets(file: Path) -> set[str]:
    values = {str(value) for value in yaml.safe_load(file.read_text()).values()}
    return (values - set(PLANTED.values())) | {
        PLANTED["lab/password"],
        "planted-json-secret-9f2e",
        COLLECTOR_KEY,
        STRANGER,
    }


def _claim_tokens(system: Up, entries: dict[str, str]) -> set[str]:
    """Return the tokens that opened each attempt; Postgres keeps only their hashes."""
    tokens = ClaimTokens(str(entries["setpoint/signing-key"]).encode())
    rows = system.rows("SELECT id, request, worker FROM setpoint.attempt WHERE request IS NOT NULL")
    return {tokens.token(AttemptId(row["id"]), row["request"], row["worker"]) for row in rows}


def _rows(system: Up) -> list[str]:
    """Return every row of every table as text."""
    found = []
    with _superuser(system) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
            found += [row[0] for row in connection.execute(query)]
    return found


def _found(secrets: set[str], texts: list[str]) -> set[str]:
    return {secret for secret in secrets for text in texts if secret in text}


def _check_files(data: Path, secrets: set[str]) -> None:
    """Look into every file that the system leaves: its logs, the logs of tasks, objects, the pages of Postgres."""
    looked = 0
    for path in data.rglob("*"):
        try:
            if not path.is_file():
                continue
            body = path.read_bytes()
        except FileNotFoundError:
            continue
        looked += 1
        held = {secret for secret in secrets if secret.encode() in body}
        if held and path.name in OWN_FILES:
            assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path
            continue
        assert held == set(), path
    assert looked > 20


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"x {STRANGER} y")
    with pytest.raises(AssertionError):
        _check_files(tmp_path, {STRANGER})
    assert _found({STRANGER}, [f"a {STRANGER}"]) == {STRANGER}
