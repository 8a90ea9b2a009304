-- deploy: the canonical tables, views and seed rows, as ordinary objects

CREATE FUNCTION referral.deployed_objects() RETURNS TABLE (kind text, name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH relation AS (
        SELECT c.* FROM pg_class c
        WHERE c.relnamespace = 'referral'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                          AND d.objid = c.oid AND d.deptype = 'e'))
    SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
                        WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' ELSE 'sequence' END, relname::text
    FROM relation WHERE relkind IN ('r', 'p', 'v', 'i', 'I', 'S')
    UNION ALL
    SELECT 'column', r.relname || '.' || a.attname
    FROM pg_attribute a JOIN relation r ON r.oid = a.attrelid
    WHERE r.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'trigger', r.relname || '.' || t.tgname
    FROM pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'policy', r.relname || '.' || p.polname FROM pg_policy p JOIN relation r ON r.oid = p.polrelid
    UNION ALL
    SELECT 'constraint', r.relname || '.' || k.conname FROM pg_constraint k JOIN relation r ON r.oid = k.conrelid
    UNION ALL
    SELECT 'role', rolname::text FROM pg_roles WHERE rolname LIKE 'referral\_%'
$$;
COMMENT ON FUNCTION referral.deployed_objects() IS
'What deploy() laid down or the user added in schema referral, and the group roles: everything there that is not a member of the extension.';

CREATE FUNCTION referral.deploy() RETURNS TABLE (kind text, name text, action text)
LANGUAGE plpgsql ROWS 300 SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    part text;
    before text[];
    seeds_before text[] := '{}';
BEGIN
    IF NOT pg_has_role(current_user, (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'referral'), 'USAGE') THEN
        RAISE EXCEPTION 'only the owner of schema referral may deploy the model'
            USING ERRCODE = 'RF003', DETAIL = 'The tables belong to whoever deploys them.',
                  HINT = 'Call referral.deploy() as the role that ran CREATE EXTENSION.';
    END IF;
    IF getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'the database''s encoding is %, not UTF8', getdatabaseencoding()
            USING ERRCODE = 'RF012', DETAIL = 'Journal rows are sealed as UTF-8; text that has no such form could never be.',
                  HINT = 'CREATE DATABASE … ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
    PERFORM pg_advisory_xact_lock('referral.deploy()'::regprocedure::oid::bigint);
    before := ARRAY(SELECT o.kind || ' ' || o.name FROM referral.deployed_objects() o);
    IF to_regclass('referral.rule_set') IS NOT NULL THEN
        EXECUTE 'SELECT array_agg(name) FROM referral.rule_set' INTO seeds_before;
    END IF;
    FOREACH part IN ARRAY referral.model_parts() LOOP
        EXECUTE format('SELECT referral.%I()', 'deploy_' || part);
    END LOOP;
    -- a new sequence that was used already forgets numbers in a crash, at wal_level minimal, unless it starts a fresh batch
    FOR part IN SELECT format('referral.%I', substr(o, length('sequence ') + 1))
                FROM (SELECT d.kind || ' ' || d.name AS o FROM referral.deployed_objects() d WHERE d.kind = 'sequence') n
                WHERE o <> ALL (before) LOOP
        EXECUTE format('SELECT setval(%L, last_value, is_called) FROM %s', part, part);
    END LOOP;
    RETURN QUERY
        SELECT o.kind, o.name,
               CASE WHEN o.kind || ' ' || o.name = ANY (before) THEN 'kept' ELSE 'created' END
        FROM referral.deployed_objects() o
        -- a column is worth a row only when it was added to an older table
        WHERE o.kind <> 'column' OR ('table ' || split_part(o.name, '.', 1) = ANY (before)
                                     AND o.kind || ' ' || o.name <> ALL (before))
        UNION ALL
        SELECT 'rule set', s.name, CASE WHEN s.name = ANY (seeds_before) THEN 'kept' ELSE 'created' END
        FROM referral.rule_set s
        ORDER BY 1, 2;
END $$;
COMMENT ON FUNCTION referral.deploy() IS
'Lays down the canonical tables, views, policies, roles and shipped rules as ordinary objects of schema referral, or brings an older model up to this version; returns one row per object with action created or kept. Idempotent: rows, columns, indexes, triggers and policies of the user''s own stay. For the owner of schema referral.';
REVOKE ALL ON FUNCTION referral.deploy() FROM PUBLIC;
