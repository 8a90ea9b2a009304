-- For tests that seal and tamper. The organisation meant is in test.org, 1 when that is not set.

-- Other databases' transactions hold back the horizon too: wait until all that has begun is over.
CREATE PROCEDURE public.settle() LANGUAGE plpgsql AS $$
DECLARE
    next xid8;
BEGIN
    COMMIT;
    next := pg_snapshot_xmax(pg_current_snapshot());
    WHILE pg_snapshot_xmin(pg_current_snapshot()) < next LOOP
        COMMIT;
        PERFORM pg_sleep(0.005);
    END LOOP;
    COMMIT;
END $$;

-- What verify_journal() says after a statement in replica role, which is undone; statements are separated by ";;".
CREATE FUNCTION public.tampered(statements text, org bigint DEFAULT coalesce(current_setting('test.org', true)::bigint, 1)) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v record;
    n bigint;
    statement text;
BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);
    FOREACH statement IN ARRAY string_to_array(statements, ';;') LOOP
        EXECUTE statement;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n = 0 THEN
            RETURN 'nothing was tampered with: ' || statement;
        END IF;
    END LOOP;
    SELECT * INTO v FROM referral.verify_journal(org);
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN
        RETURN CASE WHEN v.ok AND v.first_bad_journal_id IS NULL THEN 'ok'
                    WHEN NOT v.ok AND v.detail <> '' THEN concat('bad at ', v.first_bad_journal_id) ELSE 'what?' END;
    WHEN OTHERS THEN
        RETURN format('%s: %s (%s)', SQLSTATE, SQLERRM, statement);
END $$;
