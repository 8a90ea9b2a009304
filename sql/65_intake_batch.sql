-- intake: many messages at once

CREATE FUNCTION referral.receive_chunk(channel referral.intake_channel, source text, content_type text, payloads text[], dedup_keys text[],
    OUT processed bigint, OUT repeated bigint, OUT failed bigint, OUT repeated_in_error bigint)
LANGUAGE C AS 'MODULE_PATHNAME', 'receive_chunk';
COMMENT ON FUNCTION referral.receive_chunk(referral.intake_channel, text, text, text[], text[]) IS
'receive() of many messages of one source in one transaction: payloads, and a dedup key for each (null: the SHA-256 of the payload). Returns how many were processed, were there already, and failed (status error), and how many of those that were there already are in status error. A message that fails does not stop the others. RF019 when the content type names a source mapping that no active rules have: nothing is received then.';

CREATE FUNCTION referral.staging_plan(staging regclass, INOUT content_type text, OUT query text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    columns name[] := ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = staging AND a.attnum > 0 AND NOT a.attisdropped);
    alias text := 't';
BEGIN
    -- a column of the same name would take its place
    WHILE alias = ANY (columns) LOOP
        alias := alias || '_';
    END LOOP;
    IF 'payload' <> ALL (columns) THEN
        content_type := 'application/json' || coalesce(substring(content_type FROM ';.*'), '');
    END IF;
    -- with its schema: the caller's search_path is another one
    query := format('SELECT %s AS payload, %s AS dedup_key FROM %s %s',
                    CASE WHEN 'payload' = ANY (columns) THEN 'payload::text' ELSE format('row_to_json(%s)::text', alias) END,
                    CASE WHEN 'dedup_key' = ANY (columns) THEN 'dedup_key::text' ELSE 'NULL::text' END,
                    (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = staging), alias);
END $$;
COMMENT ON FUNCTION referral.staging_plan(regclass, text) IS
'How receive_batch() reads a staging table: the query for (payload, dedup_key), and the content type of what it gives. A row is its column payload when there is one, else a JSON object of its columns.';

-- Without statistics the planner cannot tell the index of the key from any other that begins with org_id.
CREATE FUNCTION referral.analyze_first_rows() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t regclass;
BEGIN
    FOR t IN SELECT c.oid FROM pg_class c
             WHERE c.relnamespace = 'referral'::regnamespace AND c.relkind = 'r' AND c.reltuples <= 0 AND pg_relation_size(c.oid) > 0
             ORDER BY c.oid LOOP
        EXECUTE format('ANALYZE %s', t);
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.analyze_first_rows() IS
'ANALYZE of the tables of the model that have rows and no statistics yet, which autovacuum would do some minute later. Called by receive_batch() after its first rows.';

CREATE FUNCTION referral.check_may_commit() RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'check_may_commit';
COMMENT ON FUNCTION referral.check_may_commit() IS
'Part of receive_batch(): RF020 where it could not commit, because it is called inside a transaction block, a function, or a block that catches errors.';

-- Procedures that commit can have no SET clause.
CREATE PROCEDURE referral.receive_rows(channel referral.intake_channel, source text, content_type text, payloads text[], dedup_keys text[],
    INOUT processed bigint, INOUT repeated bigint, INOUT failed bigint, INOUT repeated_in_error bigint)
LANGUAGE plpgsql AS $$
DECLARE
    counts record;
    in_the_way boolean := false;
    attempt integer;
BEGIN
    BEGIN
        SELECT * INTO counts FROM referral.receive_chunk(channel, source, content_type, payloads, dedup_keys);
        processed := processed + counts.processed;
        repeated := repeated + counts.repeated;
        failed := failed + counts.failed;
        repeated_in_error := repeated_in_error + counts.repeated_in_error;
    EXCEPTION WHEN deadlock_detected OR serialization_failure OR lock_not_available THEN
        in_the_way := true;
    END;
    COMMIT;
    IF NOT in_the_way THEN
        RETURN;
    END IF;
    -- one by one they are in nobody's way for long
    FOR i IN 1 .. pg_catalog.cardinality(payloads) LOOP
        attempt := 0;
        LOOP
            attempt := attempt + 1;
            BEGIN
                SELECT * INTO counts FROM referral.receive_chunk(channel, source, content_type, payloads[i:i], dedup_keys[i:i]);
                processed := processed + counts.processed;
                repeated := repeated + counts.repeated;
                failed := failed + counts.failed;
                repeated_in_error := repeated_in_error + counts.repeated_in_error;
                in_the_way := false;
            EXCEPTION WHEN deadlock_detected OR serialization_failure OR lock_not_available THEN
                IF attempt = 10 THEN
                    RAISE;
                END IF;
                in_the_way := true;
            END;
            COMMIT;
            EXIT WHEN NOT in_the_way;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON PROCEDURE referral.receive_rows(referral.intake_channel, text, text, text[], text[], bigint, bigint, bigint, bigint) IS
'One chunk of receive_batch(): receive_chunk() and COMMIT, and message by message when another session was in the way (deadlock, serialization, lock timeout). Adds to the counts.';

CREATE PROCEDURE referral.receive_batch(staging regclass, channel referral.intake_channel, source text, content_type text DEFAULT NULL,
    INOUT processed bigint DEFAULT NULL, INOUT repeated bigint DEFAULT NULL, INOUT failed bigint DEFAULT NULL,
    INOUT repeated_in_error bigint DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    chunk CONSTANT integer := 500;
    plan record;
    r record;
    payloads text[] := '{}';
    keys text[] := '{}';
    is_first boolean := true;
BEGIN
    processed := 0;
    repeated := 0;
    failed := 0;
    repeated_in_error := 0;
    -- whoever may not send these need not wait for the first rows
    PERFORM referral.receive_chunk(channel, source, content_type, '{}', '{}');
    PERFORM referral.check_may_commit();
    IF staging IS NULL THEN
        RAISE EXCEPTION 'no staging table is given'
            USING ERRCODE = 'RF020', DETAIL = 'staging is null.', HINT = 'Name the table that holds the rows, as COPY has filled it.';
    END IF;
    SELECT * INTO plan FROM referral.staging_plan(staging, content_type);
    -- the first COMMIT puts aside what is left of the rows: they are read once, as they are now
    FOR r IN EXECUTE plan.query LOOP
        IF r.payload IS NULL THEN
            failed := failed + 1;    -- there is nothing to keep
            CONTINUE;
        END IF;
        payloads := payloads || r.payload;
        keys := keys || r.dedup_key;
        IF pg_catalog.cardinality(payloads) >= chunk THEN
            CALL referral.receive_rows(channel, source, plan.content_type, payloads, keys, processed, repeated, failed,
                                       repeated_in_error);
            IF is_first THEN
                PERFORM referral.analyze_first_rows();
                COMMIT;
                is_first := false;
            END IF;
            payloads := '{}';
            keys := '{}';
        END IF;
    END LOOP;
    IF pg_catalog.cardinality(payloads) > 0 THEN
        CALL referral.receive_rows(channel, source, plan.content_type, payloads, keys, processed, repeated, failed,
                                   repeated_in_error);
    END IF;
END $$;
COMMENT ON PROCEDURE referral.receive_batch(regclass, referral.intake_channel, text, text, bigint, bigint, bigint, bigint) IS
'Receives each row of a table of the caller''s, such as a temporary one that COPY has filled, as a message of a source: its column payload, with dedup_key where there is one, or a JSON object of its columns for a source mapping (content type: application/json; mapping=name, or the source''s default_mapping). Returns how many were processed, were there already, and failed: those are in inbox_message with status error, and stop no others; and how many of those that were there already are in error still; of a row without a payload there is nothing to keep, so it only counts as failed. Commits every 500 rows, so it cannot be called inside a transaction (RF020); after an interruption call it again: what is there already is only counted, unless it is in error and the content type is another one now. RF019 when that names a source mapping that no active rules have. Several sessions may work at once, each on a table of its own. RF003 and RF020 also as receive().';

REVOKE ALL ON FUNCTION referral.receive_chunk(referral.intake_channel, text, text, text[], text[]), referral.staging_plan(regclass, text),
    referral.analyze_first_rows(), referral.check_may_commit() FROM PUBLIC;
REVOKE ALL ON PROCEDURE referral.receive_rows(referral.intake_channel, text, text, text[], text[], bigint, bigint, bigint, bigint),
    referral.receive_batch(regclass, referral.intake_channel, text, text, bigint, bigint, bigint, bigint) FROM PUBLIC;
