"""Resources that are well formed but do not fit together: graphs, names, schedules."""

from __future__ import annotations

import pytest
from crds_texts import HTTP, PYTHON, SQL, dag, problems, tasks

GRAPH = [
    pytest.param(
        tasks(f"name: a, {PYTHON}", f"name: a, {PYTHON}"),
        ['6: spec.tasks[1].name: duplicate task "a"; the first is spec.tasks[0]'],
        id="duplicate task",
    ),
    pytest.param(
        tasks(f"name: a, needs: [c], {PYTHON}", f"name: b, needs: [a], {PYTHON}", f"name: c, needs: [b], {PYTHON}"),
        ["5: spec.tasks[0].needs: tasks need each other: a -> c -> b -> a"],
        id="cycle",
    ),
    pytest.param(
        tasks(f"name: a, needs: [a], {PYTHON}"),
        ["5: spec.tasks[0].needs: tasks need each other: a -> a"],
        id="needs itself",
    ),
    pytest.param(
        tasks(f"name: load, {PYTHON}", f"name: b, needs: [laod], {PYTHON}"),
        ['6: spec.tasks[1].needs[0]: unknown task "laod"; did you mean "load"?'],
        id="unknown needs",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}", f"name: b, needs: [a, a], {PYTHON}"),
        ['6: spec.tasks[1].needs[1]: "a" stands twice'],
        id="the same need twice",
    ),
    pytest.param(
        tasks(f"name: a, {PYTHON}", f"name: b, inputs: {{x: {{task: a}}}}, {PYTHON}"),
        ['6: spec.tasks[1].inputs.x.task: "a" is not upstream of "b"; add it to needs'],
        id="input that is not upstream",
    ),
    pytest.param(
        tasks(
            f"name: a, {PYTHON}",
            f"name: b, needs: [a], {PYTHON}",
            f"name: c, needs: [b], inputs: {{x: {{task: a}}}}, {PYTHON}",
        ),
        [],
        id="input from further up",
    ),
    pytest.param(
        tasks(f"name: load, {PYTHON}", f"name: b, needs: [load], inputs: {{x: {{task: loat}}}}, {PYTHON}"),
        ['6: spec.tasks[1].inputs.x.task: unknown task "loat"; did you mean "load"?'],
        id="input from an unknown task",
    ),
    pytest.param(
        dag(f"""\
            timeout: 0
            defaults: {{timeout: 0s, queueTimeout: 0}}
            tasks:
              - {{name: a, timeout: 0, queueTimeout: 0m, {PYTHON}}}
        """),
        [
            "4: spec.timeout: must be longer than 0s",
            "5: spec.defaults.timeout: must be longer than 0s",
            "5: spec.defaults.queueTimeout: must be longer than 0s",
            "7: spec.tasks[0].timeout: must be longer than 0s",
            "7: spec.tasks[0].queueTimeout: must be longer than 0s",
        ],
        id="timeouts of 0",
    ),
]

REFERENCES = [
    pytest.param(
        tasks(f"name: a, pool: pyton, {PYTHON}"),
        ['5: spec.tasks[0].pool: unknown pool "pyton"; did you mean "python"?'],
        id="unknown pool",
    ),
    pytest.param(
        tasks(f"name: a, pool: polars, {PYTHON}"),
        ['5: spec.tasks[0].pool: the pool "polars" runs polars tasks, not python'],
        id="pool of another runtime",
    ),
    pytest.param(
        tasks(f"name: a, inputs: {{x: {{dataset: hott}}}}, {PYTHON}"),
        ['5: spec.tasks[0].inputs.x.dataset: unknown dataset "hott"; did you mean "hot"?'],
        id="unknown dataset read",
    ),
    pytest.param(
        tasks(f"name: a, outputs: {{x: {{dataset: colt, mode: append}}}}, {SQL}"),
        ['5: spec.tasks[0].outputs.x.dataset: unknown dataset "colt"; did you mean "cold"?'],
        id="unknown dataset written",
    ),
    pytest.param(
        tasks(f"name: a, {SQL}"),
        ["5: spec.tasks[0].outputs: a task of runtime polars writes exactly one dataset, not 0"],
        id="polars without output",
    ),
    pytest.param(
        tasks(f"name: a, outputs: {{x: {{dataset: hot, mode: merge}}, y: {{dataset: hot, mode: merge}}}}, {HTTP}"),
        ["5: spec.tasks[0].outputs: a task of runtime ingest writes exactly one dataset, not 2"],
        id="ingest with two outputs",
    ),
    pytest.param(
        tasks(f"name: a, outputs: {{x: {{dataset: hot-keyless, mode: merge}}}}, {SQL}"),
        ['5: spec.tasks[0].outputs.x.mode: merge needs a uniqueKey; "hot-keyless" is hot without either'],
        id="merge without a key",
    ),
    pytest.param(
        tasks(f"name: a, outputs: {{x: {{dataset: cold, mode: merge}}}}, {SQL}"),
        [
            (
                '5: spec.tasks[0].outputs.x.mode: merge needs a hot dataset with a uniqueKey; "cold" is cold with '
                "partitionBy id"
            )
        ],
        id="merge into a cold dataset",
    ),
    pytest.param(
        tasks(f"name: a, outputs: {{x: {{dataset: cold-whole, mode: replacePartitions}}}}, {SQL}"),
        ['5: spec.tasks[0].outputs.x.mode: replacePartitions needs partitionBy; "cold-whole" is cold without either'],
        id="no partitions to replace",
    ),
    pytest.param(
        tasks(f"name: a, outputs: {{x: {{dataset: hot, mode: replacePartitions}}}}, {SQL}"),
        [
            (
                '5: spec.tasks[0].outputs.x.mode: replacePartitions needs a cold dataset with partitionBy; "hot" is '
                "hot with uniqueKey id"
            )
        ],
        id="partitions of a hot dataset",
    ),
    pytest.param(
        tasks(f"name: a, outputs: {{x: {{dataset: cold, mode: append}}}}, {HTTP}"),
        [
            (
                '5: spec.tasks[0].outputs.x.dataset: the pool "ingest" may not write the cold dataset "cold"; add it '
                "to its grants.coldDatasets"
            )
        ],
        id="cold dataset that is not granted",
    ),
    pytest.param(
        tasks(f"name: a, outputs: {{x: {{dataset: granted, mode: append}}}}, {HTTP}"), [], id="granted dataset"
    ),
    pytest.param(
        tasks(f"name: a, secrets: {{key: team/key}}, {PYTHON}"),
        ['5: spec.tasks[0].secrets.key: the pool "python" is not granted "team/key"; add it to its grants.secrets'],
        id="secret that is not granted",
    ),
    pytest.param(
        tasks(
            "name: a, outputs: {x: {dataset: hot, mode: merge}}, secrets: {source: s}, runtime: ingest, "
            "with: {postgres: {secret: sorce, query: select 1}}"
        ),
        ['5: spec.tasks[0].with.postgres.secret: "sorce" is none of the task\'s secrets; did you mean "source"?'],
        id="undeclared secret of a postgres source",
    ),
    pytest.param(
        tasks(
            "name: a, outputs: {x: {dataset: hot, mode: merge}}, runtime: ingest, "
            "with: {http: {url: 'http://${params.host}', format: csv, headers: {auth: '${secrets.token}'}}}"
        ),
        [
            '5: spec.tasks[0].with.http.url: unknown parameter "host"; declare it in spec.params',
            '5: spec.tasks[0].with.http.headers.auth: "token" is none of the task\'s secrets',
        ],
        id="undeclared names in an address",
    ),
    pytest.param(
        tasks("name: a, outputs: {x: {dataset: hot, mode: merge}}, runtime: polars, with: {file: a/../../b.sql}"),
        ['5: spec.tasks[0].with.file: "a/../../b.sql" leads out of the folder'],
        id="file outside of the folder",
    ),
    pytest.param(
        "kind: WorkerPool\nmetadata: {name: python}\nspec: {runtime: python}\n",
        ['2: metadata.name: there is another WorkerPool "python"'],
        id="the same name twice",
    ),
    pytest.param(
        "kind: WorkerPool\nmetadata: {name: big}\nspec: {runtime: python, queue: setpoint-python.fifo}\n",
        ['3: spec.queue: the queue "setpoint-python.fifo" belongs to the pool "python" already'],
        id="two pools, one queue",
    ),
    pytest.param(
        "kind: WorkerPool\nmetadata: {name: python-dlq}\nspec: {runtime: python}\n",
        ['2: metadata.name: "setpoint-python-dlq.fifo" is the dead-letter queue of the pool "python"'],
        id="the dead-letter queue of another pool",
    ),
]

SCHEDULES = [
    pytest.param(
        "schedules: [{cron: '0 25 * * *'}]",
        ['4: spec.schedules[0].cron: "0 25 * * *" has a bad hour field'],
        id="bad cron",
    ),
    pytest.param(
        "schedules: [{cron: '* * * * * *'}]",
        ['4: spec.schedules[0].cron: "* * * * * *" must have five fields: minute hour day-of-month month day-of-week'],
        id="cron with seconds",
    ),
    pytest.param(
        "schedules: [{cron: '@daily', timezone: Europe/Berln}]",
        [
            (
                '4: spec.schedules[0].timezone: "Europe/Berln" is no IANA time zone; write it like Europe/Berlin; did '
                'you mean "Europe/Berlin"?'
            )
        ],
        id="bad time zone",
    ),
    pytest.param(
        'schedules: [{cron: "@daily", timezone: "Mars\\tOlympus"}]',
        ['4: spec.schedules[0].timezone: "Mars\\tOlympus" is no IANA time zone; write it like Europe/Berlin'],
        id="a time zone with a tab",
    ),
    pytest.param(
        "schedules: [{cron: '@daily'}, {cron: '@hourly'}]",
        ['4: spec.schedules[1].name: there is another schedule "default"'],
        id="two schedules, one name",
    ),
    pytest.param(
        "params: {type: objekt}",
        None,
        id="params that are no schema",
    ),
    pytest.param(
        "params: {day: {type: string}}",
        ["4: spec.params.day: no keyword of JSON Schema; parameters stand below properties"],
        id="params that forget properties",
    ),
    pytest.param(
        "params: {properties: {n: {type: integer, default: x}}}",
        ["4: spec.params.properties.n.default: does not fit its own schema: 'x' is not of type 'integer'"],
        id="default that does not fit",
    ),
    pytest.param(
        "params: {properties: {n: {type: integer}}}\nschedules: [{cron: '@daily', params: {n: x}}]",
        ["5: spec.schedules[0].params.n: 'x' is not of type 'integer'"],
        id="schedule with params that do not fit",
    ),
    pytest.param(
        "params: {properties: {n: {type: integer}}, required: [n]}\nschedules: [{cron: '@daily'}]",
        ["5: spec.schedules[0].params: 'n' is a required property"],
        id="schedule without a required parameter",
    ),
    pytest.param(
        "params: {properties: {n: {type: integer, default: 1}}, required: [n]}\nschedules: [{cron: '@daily'}]",
        [],
        id="default for a required parameter",
    ),
    pytest.param(
        "params: {properties: {n: {$ref: 'http://localhost/x'}}}",
        ['4: spec.params.properties.n.$ref: "http://localhost/x" leads out of the schema; refer to #/$defs/…'],
        id="schema that would be fetched",
    ),
]


@pytest.mark.parametrize(("text", "expected"), [*GRAPH, *REFERENCES])
def test_problems(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize(("fields", "expected"), SCHEDULES)
def test_problems_of_schedules_and_params(fields: str, expected: list[str] | None) -> None:
    found = problems(dag(f"{fields}\ntasks: [{{name: a, {PYTHON}}}]\n"))
    assert found if expected is None else found == expected
