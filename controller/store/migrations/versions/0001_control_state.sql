-- Control state lives in schema setpoint, hot data in schema hot, rows on their way there in schema stage.
-- A worker's login reaches control state only through the functions of schema fence.

DO $roles$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['setpoint_controller', 'setpoint_worker'] LOOP
        -- Roles belong to the cluster: another database's migration may create the same one just now.
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$roles$;

CREATE SCHEMA setpoint;
CREATE SCHEMA hot;
CREATE SCHEMA stage;
CREATE SCHEMA fence;

REVOKE ALL ON SCHEMA setpoint, hot, stage, fence FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA setpoint, hot, stage TO setpoint_controller;
GRANT USAGE ON SCHEMA hot, stage, fence TO setpoint_worker;

SET LOCAL search_path = setpoint, pg_catalog;

CREATE SEQUENCE resource_version;

-- Desired state that people apply: Dag, WorkerPool, Dataset.
CREATE TABLE resource (
    uid text PRIMARY KEY,
    kind text NOT NULL,
    namespace text NOT NULL,
    name text NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    annotations jsonb NOT NULL DEFAULT '{}',
    generation bigint NOT NULL DEFAULT 1,
    resource_version bigint NOT NULL DEFAULT nextval('resource_version'),
    spec jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (kind, namespace, name)
);

-- What the controller found when it last looked at a resource.
CREATE TABLE observation (
    uid text PRIMARY KEY REFERENCES resource ON DELETE CASCADE,
    observed_generation bigint NOT NULL,
    status jsonb NOT NULL,
    observed_at timestamptz NOT NULL
);

-- A Dag's spec at one generation; a run is pinned to one for life.
CREATE TABLE revision (
    dag_uid text NOT NULL REFERENCES resource ON DELETE CASCADE,
    generation bigint NOT NULL,
    spec jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (dag_uid, generation)
);

CREATE TABLE revision_edge (
    dag_uid text NOT NULL,
    generation bigint NOT NULL,
    task text NOT NULL,
    upstream text NOT NULL,
    PRIMARY KEY (dag_uid, generation, task, upstream),
    FOREIGN KEY (dag_uid, generation) REFERENCES revision ON DELETE CASCADE
);
CREATE INDEX revision_edge_upstream ON revision_edge (dag_uid, generation, upstream, task);

-- How far a schedule's ticks have become runs.
CREATE TABLE schedule_cursor (
    dag_uid text NOT NULL REFERENCES resource ON DELETE CASCADE,
    schedule text NOT NULL,
    cursor timestamptz NOT NULL,
    PRIMARY KEY (dag_uid, schedule)
);

CREATE TABLE run (
    uid text PRIMARY KEY,
    namespace text NOT NULL,
    name text NOT NULL,
    dag_uid text NOT NULL REFERENCES resource,
    dag text NOT NULL,
    revision bigint NOT NULL,
    key text NOT NULL,
    trigger text NOT NULL CHECK (trigger IN ('manual', 'schedule')),
    schedule text,
    tick timestamptz,
    params jsonb NOT NULL DEFAULT '{}',
    labels jsonb NOT NULL DEFAULT '{}',
    pins jsonb NOT NULL DEFAULT '{}',
    suspend boolean NOT NULL DEFAULT false,
    cancel_at timestamptz,
    cancel_reason text,
    phase text NOT NULL DEFAULT 'Pending'
        CHECK (phase IN ('Pending', 'Running', 'Succeeded', 'Failed', 'Cancelled')),
    reason text,
    message text,
    deadline timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    generation bigint NOT NULL DEFAULT 1,
    resource_version bigint NOT NULL DEFAULT nextval('resource_version'),
    UNIQUE (dag_uid, key),
    UNIQUE (namespace, name),
    FOREIGN KEY (dag_uid, revision) REFERENCES revision (dag_uid, generation),
    CHECK ((ended_at IS NOT NULL) = (phase IN ('Succeeded', 'Failed', 'Cancelled')))
);
CREATE INDEX run_live ON run (dag_uid, created_at, uid) WHERE ended_at IS NULL;
CREATE INDEX run_deadline ON run (deadline) WHERE ended_at IS NULL;
CREATE INDEX run_history ON run (dag_uid, created_at DESC);
CREATE INDEX run_recent ON run (namespace, created_at DESC);
CREATE INDEX run_changed ON run (resource_version);

CREATE TABLE task_run (
    run_uid text NOT NULL REFERENCES run ON DELETE CASCADE,
    task text NOT NULL,
    idx integer NOT NULL DEFAULT 0,
    dag_uid text NOT NULL,
    pool_uid text NOT NULL,
    phase text NOT NULL CHECK (phase IN ('Waiting', 'Ready', 'Active', 'Backoff', 'Succeeded', 'Failed',
                                         'UpstreamFailed', 'Skipped', 'Cancelled')),
    -- Ended, and the tasks that need it have not been looked at since.
    fresh boolean NOT NULL DEFAULT false,
    -- Ready, and its run is suspended.
    held boolean NOT NULL DEFAULT false,
    priority integer NOT NULL DEFAULT 0,
    number integer NOT NULL DEFAULT 0,
    user_failures integer NOT NULL DEFAULT 0,
    infrastructure_failures integer NOT NULL DEFAULT 0,
    evictions integer NOT NULL DEFAULT 0,
    not_before timestamptz,
    ready_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    outputs jsonb,
    -- Dataset uid → the version that the successful attempt committed.
    versions jsonb,
    reason text,
    message text,
    generation bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (run_uid, task, idx),
    CHECK ((ended_at IS NOT NULL) = (phase IN ('Succeeded', 'Failed', 'UpstreamFailed', 'Skipped', 'Cancelled'))),
    CHECK ((phase = 'Backoff') = (not_before IS NOT NULL))
);
CREATE INDEX task_run_ready ON task_run (pool_uid, dag_uid, priority DESC, ready_at, run_uid, task, idx)
    WHERE phase = 'Ready' AND NOT held;
CREATE INDEX task_run_backoff ON task_run (not_before) WHERE phase = 'Backoff';
CREATE INDEX task_run_fresh ON task_run (run_uid) WHERE fresh;
CREATE INDEX task_run_unfinished ON task_run (run_uid, task) WHERE ended_at IS NULL;
CREATE INDEX task_run_versions ON task_run (run_uid) WHERE versions IS NOT NULL;

CREATE TABLE attempt (
    id text PRIMARY KEY CHECK (length(id) <= 128),
    run_uid text NOT NULL REFERENCES run ON DELETE CASCADE,
    task text NOT NULL,
    idx integer NOT NULL,
    number integer NOT NULL,
    dag_uid text NOT NULL,
    pool_uid text NOT NULL,
    phase text NOT NULL CHECK (phase IN ('Pending', 'Queued', 'Running', 'Committed', 'Succeeded', 'Failed', 'TimedOut',
                                         'Lost', 'Evicted', 'Cancelled', 'Undeliverable')),
    delivery integer NOT NULL DEFAULT 1,
    -- How many deliveries ended in the dead-letter queue, and how many checks found no evidence of loss.
    dead_letters integer NOT NULL DEFAULT 0,
    checks integer NOT NULL DEFAULT 0,
    worker text,
    request text,
    token_hash bytea,
    missed integer NOT NULL DEFAULT 0,
    timeout interval NOT NULL,
    queue_by timestamptz NOT NULL,
    sent_at timestamptz,
    claimed_at timestamptz,
    cancel_at timestamptz,
    next_check_at timestamptz NOT NULL CHECK (isfinite(next_check_at)),
    created_at timestamptz NOT NULL,
    committed_at timestamptz,
    reported_at timestamptz,
    ended_at timestamptz,
    reason text,
    message text,
    error jsonb,
    outputs jsonb,
    versions jsonb,
    bookmark jsonb,
    metrics jsonb,
    CHECK ((ended_at IS NULL) = (phase IN ('Pending', 'Queued', 'Running', 'Committed'))),
    CHECK ((phase IN ('Running', 'Committed')) <= (worker IS NOT NULL AND token_hash IS NOT NULL))
);
-- At most one live attempt a task run: the database itself holds it.
CREATE UNIQUE INDEX attempt_live ON attempt (run_uid, task, idx) WHERE ended_at IS NULL;
CREATE INDEX attempt_history ON attempt (run_uid, task, idx, number);
CREATE INDEX attempt_check ON attempt (next_check_at) WHERE ended_at IS NULL;
CREATE INDEX attempt_pool ON attempt (pool_uid) WHERE ended_at IS NULL;
CREATE INDEX attempt_dag ON attempt (dag_uid) WHERE ended_at IS NULL;
CREATE INDEX attempt_worker ON attempt (worker) WHERE ended_at IS NULL;

-- The liveness of a worker process; its attempts point here.
CREATE TABLE worker (
    id text PRIMARY KEY,
    pool_uid text NOT NULL,
    ecs_task text,
    slots integer NOT NULL DEFAULT 0,
    drain boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL,
    renewed_at timestamptz NOT NULL,
    heartbeat_by timestamptz NOT NULL,
    ended_at timestamptz,
    reason text,
    message text
);
CREATE INDEX worker_live ON worker (pool_uid, heartbeat_by) WHERE ended_at IS NULL;
CREATE INDEX worker_ecs_task ON worker (ecs_task) WHERE ended_at IS NULL;

-- Since when heartbeats could arrive without a gap: an expired lease counts only from here on.
CREATE TABLE api_open (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    open_since timestamptz NOT NULL,
    renewed_at timestamptz NOT NULL
);

CREATE TABLE lease (
    name text PRIMARY KEY,
    holder text NOT NULL,
    term bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

-- What was seen of a pool's queue and of its ECS service. `empty_since` is evidence that what was sent and not claimed
-- is gone; `busy_at` is when the demand last needed all that is desired.
CREATE TABLE pool_observation (
    pool_uid text PRIMARY KEY REFERENCES resource ON DELETE CASCADE,
    visible bigint NOT NULL DEFAULT 0,
    in_flight bigint NOT NULL DEFAULT 0,
    dead_letters bigint NOT NULL DEFAULT 0,
    empty_since timestamptz,
    queue_observed_at timestamptz,
    desired integer,
    running integer,
    busy_at timestamptz,
    observed_at timestamptz
);

CREATE TABLE dataset_state (
    dataset_uid text PRIMARY KEY REFERENCES resource ON DELETE CASCADE,
    version bigint NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    files bigint NOT NULL DEFAULT 0,
    partitions bigint NOT NULL DEFAULT 0,
    attempt text,
    updated_at timestamptz
);

-- The files of a cold dataset: visible at version v if added <= v and not (removed <= v).
CREATE TABLE manifest_file (
    dataset_uid text NOT NULL REFERENCES resource ON DELETE CASCADE,
    key text NOT NULL,
    partition text NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    schema_hash text NOT NULL,
    attempt text NOT NULL,
    added bigint NOT NULL,
    removed bigint,
    PRIMARY KEY (dataset_uid, key)
);
CREATE INDEX manifest_file_current ON manifest_file (dataset_uid, partition) WHERE removed IS NULL;

-- What an incremental task remembers from its last success.
CREATE TABLE bookmark (
    dag_uid text NOT NULL REFERENCES resource ON DELETE CASCADE,
    task text NOT NULL,
    value jsonb NOT NULL,
    attempt text NOT NULL,
    PRIMARY KEY (dag_uid, task)
);

CREATE TABLE stage_table (
    name text PRIMARY KEY,
    attempt text NOT NULL,
    dataset_uid text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX stage_table_attempt ON stage_table (attempt);

CREATE TABLE event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    type text NOT NULL CHECK (type IN ('Normal', 'Warning')),
    namespace text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    run_uid text,
    reason text NOT NULL,
    message text NOT NULL
);
CREATE INDEX event_run ON event (run_uid, id) WHERE run_uid IS NOT NULL;
CREATE INDEX event_object ON event (kind, namespace, name, id);
CREATE INDEX event_at ON event (at);

CREATE TABLE api_token (
    hash bytea PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);

-- Live rows change often and history never does: vacuum by what changed, and leave room for in-page updates.
ALTER TABLE attempt SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE task_run SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE worker SET (fillfactor = 50);

-- The Postgres type of a column type.
CREATE FUNCTION column_type(kind text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE kind WHEN 'boolean' THEN 'boolean' WHEN 'int32' THEN 'integer' WHEN 'int64' THEN 'bigint'
                     WHEN 'float64' THEN 'double precision' WHEN 'string' THEN 'text' WHEN 'date' THEN 'date'
                     WHEN 'timestamp' THEN 'timestamptz' WHEN 'json' THEN 'jsonb' END
$$;

CREATE FUNCTION hot_table(p_namespace text, p_name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE p_namespace WHEN 'default' THEN '' ELSE replace(p_namespace, '-', '_') || '__' END
        || replace(p_name, '-', '_')
$$;

-- Bring a hot dataset's table to its spec: create it, add columns, set its unique key. Anything else is refused
-- (SQLSTATE SP002), because rows would be lost or rewritten.
CREATE FUNCTION ensure_hot_table(p_dataset text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, setpoint, pg_temp AS $$
DECLARE
    dataset resource;
    table_name text;
    col jsonb;
    actual text;
    key_columns text;
    key_index text;
BEGIN
    SELECT * INTO dataset FROM resource WHERE uid = p_dataset AND kind = 'Dataset' AND spec->>'tier' = 'hot';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    table_name := hot_table(dataset.namespace, dataset.name);
    PERFORM pg_advisory_xact_lock(hashtextextended('setpoint hot ' || table_name, 0));
    EXECUTE format('CREATE TABLE IF NOT EXISTS hot.%I ()', table_name);
    EXECUTE format('GRANT SELECT ON hot.%I TO setpoint_worker, setpoint_controller', table_name);
    FOR col IN SELECT * FROM jsonb_array_elements(dataset.spec->'columns') LOOP
        SELECT format_type(atttypid, atttypmod) INTO actual
          FROM pg_attribute
         WHERE attrelid = format('hot.%I', table_name)::regclass
           AND attname = col->>'name' AND attnum > 0 AND NOT attisdropped;
        IF actual IS NULL THEN
            EXECUTE format('ALTER TABLE hot.%I ADD COLUMN %I %s', table_name, col->>'name',
                           column_type(col->>'type'));
        ELSIF actual::regtype <> column_type(col->>'type')::regtype THEN
            RAISE EXCEPTION 'column % of hot.% is %, its dataset wants %; write a new dataset and copy the rows',
                col->>'name', table_name, actual, column_type(col->>'type') USING ERRCODE = 'SP002';
        END IF;
        BEGIN
            EXECUTE format('ALTER TABLE hot.%I ALTER COLUMN %I %s NOT NULL', table_name, col->>'name',
                           CASE WHEN coalesce((col->>'nullable')::boolean, true) THEN 'DROP' ELSE 'SET' END);
        EXCEPTION WHEN not_null_violation THEN
            RAISE EXCEPTION 'column % of hot.% holds nulls, its dataset wants none', col->>'name', table_name
                USING ERRCODE = 'SP002';
        END;
    END LOOP;

    SELECT string_agg(quote_ident(k), ', ' ORDER BY n) INTO key_columns
      FROM jsonb_array_elements_text(coalesce(dataset.spec->'uniqueKey', '[]')) WITH ORDINALITY AS u (k, n);
    -- The index is named by its columns, so that another key is another index.
    key_index := left(table_name, 40) || '_key_' || left(md5(coalesce(key_columns, '')), 8);
    FOR actual IN SELECT indexname FROM pg_indexes
                   WHERE schemaname = 'hot' AND tablename = table_name AND indexname <> key_index
                     AND indexname LIKE '%\_key\_%' LOOP
        EXECUTE format('DROP INDEX hot.%I', actual);
    END LOOP;
    IF key_columns IS NOT NULL THEN
        BEGIN
            EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS %I ON hot.%I (%s) NULLS NOT DISTINCT',
                           key_index, table_name, key_columns);
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION 'hot.% has rows that share a key (%)', table_name, key_columns
                USING ERRCODE = 'SP002';
        END;
    END IF;
END
$$;

-- The datasets that an attempt's task declares as outputs, with the declared mode.
CREATE FUNCTION attempt_outputs(p_attempt text)
RETURNS TABLE (dataset_uid text, namespace text, name text, spec jsonb, mode text)
LANGUAGE sql STABLE STRICT AS $$
    SELECT d.uid, d.namespace, d.name, d.spec, o.value->>'mode'
      FROM attempt a
      JOIN run r ON r.uid = a.run_uid
      JOIN revision v ON v.dag_uid = r.dag_uid AND v.generation = r.revision
     CROSS JOIN LATERAL jsonb_array_elements(v.spec->'tasks') t
     CROSS JOIN LATERAL jsonb_each(coalesce(t->'outputs', '{}')) o
      JOIN resource d ON d.kind = 'Dataset' AND d.namespace = r.namespace AND d.name = o.value->>'dataset'
     WHERE a.id = p_attempt AND t->>'name' = a.task
$$;

-- Record what an attempt wrote: cold files enter the manifest, every dataset gets its next version.
-- Returns dataset uid → version. The caller holds the attempt's fence in the same transaction.
CREATE FUNCTION apply_writes(p_attempt text, p_writes jsonb, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, setpoint, pg_temp AS $$
DECLARE
    write record;
    current bigint;
    versions jsonb := '{}';
    prefix text;
BEGIN
    -- In uid order, so that two attempts that write the same datasets never wait for each other in a circle.
    FOR write IN
        SELECT o.*, w.value AS body
          FROM jsonb_array_elements(p_writes) w
          LEFT JOIN attempt_outputs(p_attempt) o ON o.dataset_uid = w.value->>'uid'
         ORDER BY w.value->>'uid'
    LOOP
        IF write.dataset_uid IS NULL THEN
            RAISE EXCEPTION 'the task does not declare dataset % as an output', write.body->>'dataset'
                USING ERRCODE = 'SP003';
        END IF;
        INSERT INTO dataset_state (dataset_uid) VALUES (write.dataset_uid) ON CONFLICT DO NOTHING;
        SELECT version + 1 INTO current FROM dataset_state WHERE dataset_uid = write.dataset_uid FOR UPDATE;
        IF write.spec->>'tier' = 'cold' THEN
            prefix := format('cold/%s/%s/', write.namespace, write.name);
            IF EXISTS (SELECT FROM jsonb_array_elements(coalesce(write.body->'files', '[]')) f
                        WHERE NOT starts_with(f->>'key', prefix) OR f->>'key' ~ '(^|/)\.\.?(/|$)'
                           OR NOT starts_with(regexp_replace(f->>'key', '^.*/', ''),
                                              replace(p_attempt, '/', '.') || '-')) THEN
                RAISE EXCEPTION 'a file of dataset % lies outside % or does not bear the attempt''s name',
                    write.name, prefix USING ERRCODE = 'SP003';
            END IF;
            UPDATE manifest_file SET removed = current
             WHERE dataset_uid = write.dataset_uid AND removed IS NULL
               AND (write.mode = 'replace'
                    OR write.mode = 'replacePartitions'
                       AND partition IN (SELECT f->>'partition'
                                           FROM jsonb_array_elements(coalesce(write.body->'files', '[]')) f));
            INSERT INTO manifest_file (dataset_uid, key, partition, rows, bytes, schema_hash, attempt, added)
            SELECT write.dataset_uid, f->>'key', f->>'partition', (f->>'rows')::bigint, (f->>'bytes')::bigint,
                   coalesce(write.body->>'schemaHash', ''), p_attempt, current
              FROM jsonb_array_elements(coalesce(write.body->'files', '[]')) f;
            UPDATE dataset_state
               SET (rows, bytes, files, partitions) = (
                    SELECT coalesce(sum(m.rows), 0), coalesce(sum(m.bytes), 0), count(*), count(DISTINCT m.partition)
                      FROM manifest_file m WHERE m.dataset_uid = write.dataset_uid AND m.removed IS NULL)
             WHERE dataset_uid = write.dataset_uid;
        END IF;
        UPDATE dataset_state SET version = current, attempt = p_attempt, updated_at = p_now
         WHERE dataset_uid = write.dataset_uid;
        versions := versions || jsonb_build_object(write.dataset_uid, current);
    END LOOP;
    RETURN versions;
END
$$;

-- Merge one stage table into its hot table.
CREATE FUNCTION merge_stage(p_stage text, p_namespace text, p_name text, p_spec jsonb, p_mode text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, setpoint, pg_temp AS $$
DECLARE
    target text := format('hot.%I', hot_table(p_namespace, p_name));
    source text := format('stage.%I', p_stage);
    columns text;
    updates text;
    keys text;
    merged bigint;
BEGIN
    SELECT string_agg(format('%I', c->>'name'), ', ' ORDER BY n),
           string_agg(format('%1$I = excluded.%1$I', c->>'name'), ', ' ORDER BY n)
               FILTER (WHERE NOT coalesce(p_spec->'uniqueKey', '[]') ? (c->>'name'))
      INTO columns, updates
      FROM jsonb_array_elements(p_spec->'columns') WITH ORDINALITY AS u (c, n);
    SELECT string_agg(quote_ident(k), ', ' ORDER BY n) INTO keys
      FROM jsonb_array_elements_text(coalesce(p_spec->'uniqueKey', '[]')) WITH ORDINALITY AS u (k, n);

    CASE p_mode
    WHEN 'append' THEN
        EXECUTE format('INSERT INTO %s (%s) SELECT %2$s FROM %s', target, columns, source);
    WHEN 'replace' THEN
        EXECUTE format('DELETE FROM %s', target);
        EXECUTE format('INSERT INTO %s (%s) SELECT %2$s FROM %s', target, columns, source);
    WHEN 'merge' THEN
        EXECUTE format('INSERT INTO %s (%s) SELECT %2$s FROM %s ON CONFLICT (%s) %s', target, columns, source, keys,
                       CASE WHEN updates IS NULL THEN 'DO NOTHING' ELSE 'DO UPDATE SET ' || updates END);
    END CASE;
    GET DIAGNOSTICS merged = ROW_COUNT;
    -- The planner, and people who look, should not wait for autovacuum to learn what a new table holds.
    IF p_mode = 'replace' OR (SELECT reltuples FROM pg_class WHERE oid = target::regclass) < 0 THEN
        EXECUTE format('ANALYZE %s', target);
    END IF;
    RETURN merged;
END
$$;

-- Raise SP001 unless the token is that of the attempt's claim and the attempt still runs.
CREATE FUNCTION fence.guard(p_attempt text, p_token text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, setpoint, pg_temp AS $$
BEGIN
    PERFORM FROM attempt
      WHERE id = p_attempt AND phase = 'Running' AND token_hash = sha256(convert_to(p_token, 'UTF8'));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'attempt % is superseded; nothing was written', p_attempt USING ERRCODE = 'SP001';
    END IF;
END
$$;

-- Create an empty stage table for one output of a running attempt and return its name.
CREATE FUNCTION fence.stage(p_attempt text, p_token text, p_dataset text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, setpoint, pg_temp AS $$
DECLARE
    output record;
    stage_name text;
    columns text;
BEGIN
    PERFORM fence.guard(p_attempt, p_token);
    SELECT * INTO output FROM attempt_outputs(p_attempt)
     WHERE dataset_uid = p_dataset AND spec->>'tier' = 'hot';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the task declares no such hot dataset as an output' USING ERRCODE = 'SP003';
    END IF;
    stage_name := 's_' || encode(sha256(convert_to(p_attempt || p_dataset || p_token, 'UTF8')), 'hex');
    stage_name := left(stage_name, 50);
    SELECT string_agg(format('%I', c->>'name'), ', ' ORDER BY n) INTO columns
      FROM jsonb_array_elements(output.spec->'columns') WITH ORDINALITY AS u (c, n);
    EXECUTE format('DROP TABLE IF EXISTS stage.%I', stage_name);
    EXECUTE format('CREATE UNLOGGED TABLE stage.%I AS SELECT %s FROM hot.%I WITH NO DATA', stage_name, columns,
                   hot_table(output.namespace, output.name));
    EXECUTE format('GRANT SELECT, INSERT ON stage.%I TO %I', stage_name, session_user);
    INSERT INTO stage_table (name, attempt, dataset_uid, created_at)
    VALUES (stage_name, p_attempt, p_dataset, now())
    ON CONFLICT (name) DO UPDATE SET created_at = now();
    RETURN format('stage.%I', stage_name);
END
$$;

-- Commit everything that a running attempt wrote, all or nothing: merges first, then the fence, just before COMMIT.
CREATE FUNCTION fence.commit(p_attempt text, p_token text, p_outputs jsonb, p_bookmark jsonb, p_writes jsonb)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, setpoint, pg_temp AS $$
DECLARE
    write record;
    staged bigint;
    merged integer := 0;
    written jsonb;
BEGIN
    PERFORM FROM attempt
      WHERE id = p_attempt AND phase IN ('Committed', 'Succeeded') AND committed_at IS NOT NULL
        AND token_hash = sha256(convert_to(p_token, 'UTF8'));
    IF FOUND THEN
        RETURN 'committed';
    END IF;
    PERFORM fence.guard(p_attempt, p_token);
    IF octet_length(p_outputs::text) > 65536 THEN
        RAISE EXCEPTION 'outputs are larger than 64 KiB; keep them as an artifact' USING ERRCODE = 'SP003';
    END IF;

    FOR write IN
        SELECT s.name AS stage, coalesce((w.value->>'rows')::bigint, 0) AS wanted, o.*
          FROM jsonb_array_elements(p_writes) w
          JOIN stage_table s ON s.attempt = p_attempt AND s.dataset_uid = w.value->>'uid'
                            AND format('stage.%I', s.name) = w.value->>'stage'
          JOIN attempt_outputs(p_attempt) o ON o.dataset_uid = s.dataset_uid
         ORDER BY s.dataset_uid
    LOOP
        -- Writers of one hot table take turns, so that two merges never wait for each other's rows in a circle.
        PERFORM pg_advisory_xact_lock(hashtextextended('setpoint merge ' || write.dataset_uid, 0));
        -- Stage tables are unlogged: a crash of the server empties them, and an empty merge would look like success.
        EXECUTE format('SELECT count(*) FROM stage.%I', write.stage) INTO staged;
        IF staged <> write.wanted THEN
            RAISE EXCEPTION 'stage of dataset % holds % rows, % were written', write.name, staged, write.wanted
                USING ERRCODE = 'SP004';
        END IF;
        PERFORM merge_stage(write.stage, write.namespace, write.name, write.spec, write.mode);
        EXECUTE format('DROP TABLE stage.%I', write.stage);
        DELETE FROM stage_table WHERE name = write.stage;
        merged := merged + 1;
    END LOOP;
    IF merged <> (SELECT count(*) FROM jsonb_array_elements(p_writes) w WHERE w.value ? 'stage') THEN
        RAISE EXCEPTION 'a stage table of this attempt is gone' USING ERRCODE = 'SP004';
    END IF;
    written := apply_writes(p_attempt, p_writes, now());

    UPDATE attempt
       SET phase = 'Committed', committed_at = now(), outputs = p_outputs, bookmark = p_bookmark, versions = written
     WHERE id = p_attempt AND phase = 'Running' AND token_hash = sha256(convert_to(p_token, 'UTF8'));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'attempt % is superseded; nothing was written', p_attempt USING ERRCODE = 'SP001';
    END IF;
    RETURN 'committed';
END
$$;

-- Drop the stage tables of attempts that have ended; returns how many.
CREATE FUNCTION sweep_stages(p_limit integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, setpoint, pg_temp AS $$
DECLARE
    dead text;
    dropped integer := 0;
BEGIN
    FOR dead IN SELECT s.name FROM stage_table s
                  LEFT JOIN attempt a ON a.id = s.attempt AND a.ended_at IS NULL
                 WHERE a.id IS NULL ORDER BY s.name LIMIT p_limit FOR UPDATE OF s SKIP LOCKED LOOP
        EXECUTE format('DROP TABLE IF EXISTS stage.%I', dead);
        DELETE FROM stage_table WHERE name = dead;
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA setpoint, fence FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA setpoint TO setpoint_controller;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA setpoint TO setpoint_controller;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA setpoint TO setpoint_controller;
GRANT EXECUTE ON FUNCTION fence.stage(text, text, text),
                          fence.commit(text, text, jsonb, jsonb, jsonb) TO setpoint_worker;
