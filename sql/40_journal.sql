-- journal: one row per change

CREATE FUNCTION referral.journal() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'journal';
COMMENT ON FUNCTION referral.journal() IS
'journal(entity, id_column): AFTER INSERT OR UPDATE OR DELETE row trigger of a tracked table; appends one row to referral.journal with the changed columns. An UPDATE that changes nothing writes nothing. RF012 on a table that is not registered for the entity.';

CREATE FUNCTION referral.append_only() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'append_only';
COMMENT ON FUNCTION referral.append_only() IS
'BEFORE trigger of tables that only grow: refuses with RF007.';

CREATE FUNCTION referral.journal_horizon(org_id bigint, OUT xid_epoch integer, OUT xid xid8)
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'journal_horizon';
COMMENT ON FUNCTION referral.journal_horizon(bigint) IS
'How far the journal of an organisation may be read: all its rows with (xid_epoch, xid) below the horizon are there, none can come any more. A reader that stops there and goes on from there loses nothing and sees nothing twice, across restores too. Told from the snapshot of the calling statement. Null for null.';

CREATE FUNCTION referral.journal_differences(entity text, tracked record, replayed jsonb) RETURNS text[]
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'journal_differences';
COMMENT ON FUNCTION referral.journal_differences(text, record, jsonb) IS
'Names of the columns in which a row of an entity''s table differs from what the journal says it holds (replayed: {"column": value}, as journal_replay() returns it). Ignored columns do not count, sensitive ones are compared by digest if the owner of the model asks and count as equal otherwise, and a column that was added with a default counts as unchanged while it has that default. Null for null. RF012 when the entity is not registered.';

CREATE FUNCTION referral.tracked_row(entity text, tracked record) RETURNS jsonb
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'tracked_row';
COMMENT ON FUNCTION referral.tracked_row(text, record) IS
'A row of an entity''s table as {"column": value}, its values as the journal writes them. Casts that the owner of the table has made run with his rights. Null for null. RF012 when the entity is not registered.';

CREATE FUNCTION referral.make_journal_partitions(ahead interval DEFAULT '3 months') RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' SET client_min_messages = warning AS $$
DECLARE
    month timestamp;
    last_month timestamp := date_trunc('month', (now() + coalesce(ahead, '0')) AT TIME ZONE 'UTC');
    part text;
    stray record;
BEGIN
    LOCK TABLE referral.journal IN SHARE UPDATE EXCLUSIVE MODE;
    -- rows that found no partition: what holds them becomes the partition of their months
    IF to_regclass('referral.journal_default') IS NOT NULL THEN
        SELECT date_trunc('month', min(j.recorded_at) AT TIME ZONE 'UTC') AS first,
               date_trunc('month', max(j.recorded_at) AT TIME ZONE 'UTC') + interval '1 month' AS past
        INTO stray FROM referral.journal_default j;
        IF stray.first IS NOT NULL AND NOT EXISTS (
            SELECT FROM referral.journal_bounds() b
            WHERE b.from_time < stray.past AT TIME ZONE 'UTC' AND b.to_time > stray.first AT TIME ZONE 'UTC') THEN
            part := 'journal_' || to_char(stray.first, 'YYYY_MM');
            ALTER TABLE referral.journal DETACH PARTITION referral.journal_default;
            EXECUTE format('ALTER TABLE referral.journal_default RENAME TO %I', part);
            EXECUTE format('ALTER TABLE referral.journal ATTACH PARTITION referral.%I FOR VALUES FROM (%L) TO (%L)',
                           part, stray.first::text || '+00', stray.past::text || '+00');
            RETURN NEXT part;
        END IF;
    END IF;
    FOR month IN SELECT generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'), last_month, '1 month') LOOP
        CONTINUE WHEN EXISTS (SELECT FROM referral.journal_bounds() b
                              WHERE b.from_time <= month AT TIME ZONE 'UTC' AND b.to_time > month AT TIME ZONE 'UTC');
        part := 'journal_' || to_char(month, 'YYYY_MM');
        -- made apart and then attached: only that leaves the journal open to writers meanwhile
        EXECUTE format('CREATE TABLE referral.%I (LIKE referral.journal INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION)', part);
        EXECUTE format('ALTER TABLE referral.journal ATTACH PARTITION referral.%I FOR VALUES FROM (%L) TO (%L)',
                       part, month::text || '+00', (month + interval '1 month')::text || '+00');
        PERFORM referral.lay_trigger(format('referral.%I', part)::regclass, 'append_only_truncate',
            'BEFORE TRUNCATE', 'STATEMENT', 'referral.append_only()', 'A');
        RETURN NEXT part;
    END LOOP;
    IF to_regclass('referral.journal_default') IS NULL THEN
        CREATE TABLE referral.journal_default PARTITION OF referral.journal DEFAULT;
        PERFORM referral.lay_trigger('referral.journal_default'::regclass, 'append_only_truncate',
            'BEFORE TRUNCATE', 'STATEMENT', 'referral.append_only()', 'A');
        RETURN NEXT 'journal_default';
    END IF;
END $$;
COMMENT ON FUNCTION referral.make_journal_partitions(interval) IS
'Makes the journal''s partitions of this month (UTC) and of those ahead that are missing; returns the names of those made. When changes were recorded in journal_default, because nobody called this in time, that partition becomes the one of their months and a new one takes its place. Idempotent; waits at most 5 s for a lock. For the owner of the journal; call it daily.';

CREATE FUNCTION referral.journal_bounds() RETURNS TABLE (partition regclass, from_time timestamptz, to_time timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY' AS $$
    SELECT c.oid::regclass, coalesce(m[1]::timestamptz, '-infinity'), coalesce(m[2]::timestamptz, 'infinity')
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid),
        'FROM [(](?:MINVALUE|''([^'']*)'')[)] TO [(](?:MAXVALUE|''([^'']*)'')[)]') m
    WHERE i.inhparent = to_regclass('referral.journal') AND m IS NOT NULL
$$;
COMMENT ON FUNCTION referral.journal_bounds() IS
'The partitions of the journal but the default one, each with the times of recorded_at that it takes (to_time excluded).';

CREATE FUNCTION referral.journal_column_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    affected record := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.entity <> OLD.entity THEN
        RAISE EXCEPTION 'a mark on a column of entity "%" stays with that entity', OLD.entity
            USING ERRCODE = 'RF003', DETAIL = 'Its owner decides about it.', HINT = 'DELETE it, and INSERT another one.';
    END IF;
    SELECT x.*, c.relowner INTO e FROM referral.entity x LEFT JOIN pg_class c ON c.oid = x.relation
    WHERE x.entity = affected.entity;
    IF e.relowner IS NOT NULL AND pg_has_role(current_user, e.relowner, 'USAGE') IS NOT TRUE THEN
        RAISE EXCEPTION 'only the owner of table % may decide what the journal tells of it', e.relation
            USING ERRCODE = 'RF003', DETAIL = 'Values of a sensitive or ignored column cannot be had from the journal later.',
                  HINT = 'Do it as the owner of the table.';
    END IF;
    IF TG_OP <> 'DELETE' AND NOT EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = e.relation AND a.attname = affected.column_name AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attname NOT IN ('org_id', 'version', 'step', 'state', 'entered_at', 'transition_id', 'workflow_id', e.id_column)) THEN
        RAISE EXCEPTION 'entity "%" has no column "%" that could be left out', affected.entity, affected.column_name
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist, or the journal needs it to tell which row it was, and at which step.',
                  HINT = 'Name another column of the table.';
    END IF;
    RETURN affected;
END $$;
COMMENT ON FUNCTION referral.journal_column_guard() IS
'BEFORE row trigger of referral.journal_column: for the owner of the entity''s table (RF003), on a column that exists and that the journal can do without (RF019).';

CREATE FUNCTION referral.journal_lag_of() RETURNS TABLE (
    kind text, pid integer, prepared_as text, database text, login text, application_name text, state text,
    xid xid8, since timestamptz)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH now AS (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::numeric AS next),
    writer AS (
        SELECT 'session' AS kind, a.pid, NULL::text AS prepared_as, a.datname::text AS database, a.usename::text AS login,
               a.application_name, a.state, a.backend_xid::text::numeric AS xid, a.xact_start AS since
        FROM pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
        UNION ALL
        SELECT 'prepared', NULL, p.gid, p.database::text, p.owner::text, NULL, NULL, p.transaction::text::numeric, p.prepared
        FROM pg_prepared_xacts p)
    -- the round that a 32-bit transaction id is of
    SELECT w.kind, w.pid, w.prepared_as, w.database, w.login, w.application_name, w.state,
           (w.xid + 4294967296 * round((now.next - w.xid) / 4294967296))::text::xid8, w.since
    FROM writer w, now
$$;
COMMENT ON FUNCTION referral.journal_lag_of() IS
'Transactions of the whole cluster that have written and are still open, prepared ones included, without their statements. Read through the view journal_lag.';
-- What a journal row says that the row held afterwards; the last one to name a column counts.
CREATE FUNCTION referral.journal_tells(version bigint, to_step text, to_state text, entered_at timestamptz, changes jsonb)
RETURNS TABLE (column_name text, value jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 8 SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT key, value -> 1 FROM jsonb_each(changes)
    UNION ALL SELECT 'version', to_jsonb(version) WHERE version IS NOT NULL
    UNION ALL SELECT 'step', to_jsonb(to_step) WHERE to_step IS NOT NULL
    UNION ALL SELECT 'state', to_jsonb(to_state) WHERE to_step IS NOT NULL
    UNION ALL SELECT 'entered_at', to_jsonb(entered_at) WHERE to_step IS NOT NULL
$$;
COMMENT ON FUNCTION referral.journal_tells(bigint, text, text, timestamptz, jsonb) IS
'The columns a journal row speaks of, each with the value it had afterwards; times as ISO 8601 in UTC.';

CREATE FUNCTION referral.journal_replay(entity text, org_id bigint, id bigint, until timestamptz DEFAULT 'infinity')
RETURNS jsonb
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    WITH told AS (
        SELECT j.*, max(j.journal_id) FILTER (WHERE j.action = 'delete') OVER () AS deleted
        FROM referral.journal j
        WHERE j.org_id = journal_replay.org_id AND j.entity_id = journal_replay.id
          AND j.entity = journal_replay.entity AND j.recorded_at <= journal_replay.until)
    SELECT coalesce(jsonb_object_agg(c.column_name, c.value ORDER BY t.journal_id) FILTER (WHERE c.column_name IS NOT NULL),
                    CASE WHEN count(t.journal_id) > 0 THEN '{}'::jsonb END)
    FROM told t
    LEFT JOIN LATERAL referral.journal_tells(t.version, t.to_step, t.to_state::text, t.occurred_at, t.changes) c ON true
    WHERE t.deleted IS NULL OR t.journal_id > t.deleted
$$;
COMMENT ON FUNCTION referral.journal_replay(text, bigint, bigint, timestamptz) IS
'What the journal says a row held at a time (default: holds): {"column": value}, from all changes recorded until then; sensitive columns as digests, ignored ones not at all, a column never told of not at all (null, or its default). Null when the row did not exist, or is not visible to the session, and for null.';

CREATE FUNCTION referral.case_as_of(entity text, org_id bigint, id bigint, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    replayed jsonb := referral.journal_replay(entity, org_id, id, at);
BEGIN
    SELECT * INTO e FROM referral.entity x WHERE x.entity = case_as_of.entity;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no entity "%"', entity
            USING ERRCODE = 'RF019', DETAIL = 'referral.entity does not name it.', HINT = 'SELECT entity FROM referral.entity.';
    END IF;
    RETURN jsonb_build_object('org_id', org_id, e.id_column, id) || replayed;
END $$;
COMMENT ON FUNCTION referral.case_as_of(text, bigint, bigint, timestamptz) IS
'A row of an entity as it was recorded at a time, as {"column": value}; jsonb_populate_record(null::referral.referral, …) makes a row of it. Columns that were null may be missing. Null when the row did not exist then or is not visible to the session; null for null. RF019 when there is no such entity.';

CREATE FUNCTION referral.verify_coverage(entity text, of_org bigint DEFAULT NULL, of_id bigint DEFAULT NULL)
RETURNS TABLE (org_id bigint, id bigint, problem text, columns text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    org_column text;
BEGIN
    IF entity IS NULL THEN
        RETURN;
    END IF;
    SELECT x.* INTO e FROM referral.entity x WHERE x.entity = verify_coverage.entity;
    IF NOT FOUND OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = e.relation) THEN
        RAISE EXCEPTION 'there is no entity "%"', entity
            USING ERRCODE = 'RF019', DETAIL = 'referral.entity does not name it, or its table was dropped.',
                  HINT = 'SELECT entity FROM referral.entity.';
    END IF;
    org_column := CASE WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = e.relation AND a.attname = 'org_id'
                                    AND NOT a.attisdropped) THEN 't.org_id' ELSE '0::bigint' END;
    RETURN QUERY EXECUTE format($query$
        WITH told AS (
            SELECT j.*, max(j.journal_id) FILTER (WHERE j.action = 'delete') OVER (PARTITION BY j.org_id, j.entity_id) AS deleted
            FROM referral.journal j WHERE j.entity = $1%4$s),
        replayed AS (
            SELECT t.org_id, t.entity_id,
                   -- does what is left begin with all of the row, or with a change of it, after a purge?
                   bool_or(t.action = 'insert' OR t.transition = 'attach')
                       FILTER (WHERE t.deleted IS NULL OR t.journal_id > t.deleted) IS TRUE
                   OR NOT EXISTS (SELECT FROM referral.journal_purge p WHERE p.org_id = t.org_id) AS whole,
                   count(*) FILTER (WHERE t.deleted IS NULL OR t.journal_id > t.deleted) > 0 AS exists,
                   coalesce(jsonb_object_agg(c.column_name, c.value ORDER BY t.journal_id)
                            FILTER (WHERE c.column_name IS NOT NULL AND (t.deleted IS NULL OR t.journal_id > t.deleted)), '{}') AS row
            FROM told t
            LEFT JOIN LATERAL referral.journal_tells(t.version, t.to_step, t.to_state::text, t.occurred_at, t.changes) c ON true
            GROUP BY t.org_id, t.entity_id),
        compared AS (
            SELECT coalesce(x.org_id, r.org_id) AS org_id, coalesce(x.id, r.entity_id) AS id,
                   CASE WHEN r.entity_id IS NULL THEN
                             CASE WHEN EXISTS (SELECT FROM referral.journal_purge p WHERE p.org_id = x.org_id)
                                  THEN 'no record left' ELSE 'never recorded' END
                        WHEN x.id IS NULL AND r.exists THEN 'deleted without a record'
                        WHEN x.id IS NOT NULL AND NOT r.exists THEN 'recorded as deleted'
                        WHEN x.id IS NOT NULL THEN 'differs' END AS problem,
                   CASE WHEN x.id IS NOT NULL AND r.exists THEN ARRAY(
                        SELECT d FROM unnest(referral.journal_differences($1, x.row, r.row)) d
                        WHERE r.whole OR r.row ? d) END AS columns
            FROM (SELECT %2$s AS org_id, t.%3$I::bigint AS id, t AS row FROM %1$s t%5$s) x
            FULL JOIN replayed r ON r.org_id = x.org_id AND r.entity_id = x.id)
        SELECT c.org_id, c.id, c.problem, c.columns FROM compared c
        WHERE c.problem <> 'differs' OR c.columns <> '{}'
        ORDER BY 1, 2 $query$, e.relation, org_column, e.id_column,
        CASE WHEN of_id IS NOT NULL THEN ' AND j.org_id = $2 AND j.entity_id = $3' END,
        CASE WHEN of_id IS NOT NULL THEN format(' WHERE %s = $2 AND t.%I = $3', org_column, e.id_column) END)
    USING entity, of_org, of_id;
END $$;
COMMENT ON FUNCTION referral.verify_coverage(text, bigint, bigint) IS
'Rows of an entity''s table that are not what the journal says they are, because they were changed with triggers off or in replica role: never recorded (or, where old partitions were purged, no record left, which may be right), deleted without a record, recorded as deleted, or differs (columns names the columns, version included). No row: all that is there was recorded. of_org and of_id: of one row only, by index. Compares what the session may see; reads the whole table and its whole journal otherwise. RF019 when there is no such entity. Null: no rows.';

CREATE FUNCTION referral.journal_baseline(entity text, org_id bigint, id bigint, tracked record, replayed jsonb) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'journal_baseline';
COMMENT ON FUNCTION referral.journal_baseline(text, bigint, bigint, record, jsonb) IS
'Appends the journal row of baseline(), which is what to call.';

CREATE FUNCTION referral.baseline(entity text, org_id bigint, id bigint, reason text) RETURNS text
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    replayed jsonb := referral.journal_replay(entity, org_id, id);
    former_reason text := current_setting('referral.reason', true);
    problem text;
    source text;
BEGIN
    SELECT x.*, c.relowner INTO e FROM referral.entity x JOIN pg_class c ON c.oid = x.relation WHERE x.entity = baseline.entity;
    IF e.relowner IS NULL OR pg_has_role(current_user, e.relowner, 'USAGE') IS NOT TRUE THEN
        RAISE EXCEPTION 'only the owner of its table may put an unrecorded row of entity "%" on record', entity
            USING ERRCODE = 'RF003', DETAIL = 'It declares a row right that was changed behind the journal''s back.',
                  HINT = 'Do it as the owner of the table.';
    END IF;
    IF reason !~ '[^[:space:]]' THEN
        RAISE EXCEPTION 'a reason is required'
            USING ERRCODE = 'RF005', DETAIL = 'The journal is to say why the row is right as it is.', HINT = 'Give the reason.';
    END IF;
    source := format('FROM (SELECT 1) one LEFT JOIN %s t ON %s AND t.%I = $3', e.relation,
        CASE WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = e.relation AND a.attname = 'org_id' AND NOT a.attisdropped)
             THEN 't.org_id = $2' ELSE '$2 = 0' END, e.id_column);
    problem := (SELECT v.problem FROM referral.verify_coverage(entity, org_id, id) v);
    IF problem IS NOT NULL THEN
        PERFORM set_config('referral.reason', reason, true);
        EXECUTE format($query$ SELECT referral.journal_baseline($1, $2, $3, t, coalesce($4, '{}')) %s $query$, source)
        USING entity, org_id, id, replayed;
        PERFORM set_config('referral.reason', coalesce(former_reason, ''), true);
    END IF;
    RETURN problem;
END $$;
COMMENT ON FUNCTION referral.baseline(text, bigint, bigint, text) IS
'Puts on record, with the reason, what verify_coverage() says of a row, and returns the problem that this settles; null when there is none. The journal gets one row: action baseline with the differing columns as [told, held], or delete when the row is gone. After ALTER TABLE … RENAME COLUMN or TYPE, or a repair with triggers off. RF003 unless called by the owner of the table, RF005 without a reason. Null for null.';

REVOKE ALL ON FUNCTION referral.journal(), referral.append_only(), referral.make_journal_partitions(interval),
    referral.journal_bounds(), referral.journal_column_guard(), referral.journal_lag_of(),
    referral.journal_horizon(bigint), referral.journal_differences(text, record, jsonb), referral.verify_coverage(text, bigint, bigint),
    referral.tracked_row(text, record),
    referral.journal_baseline(text, bigint, bigint, record, jsonb), referral.baseline(text, bigint, bigint, text) FROM PUBLIC;
