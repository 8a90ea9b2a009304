-- Rules of the catalog that a new table, trigger, view or function cannot forget, because these checks loop over all
-- there are. violation() returns one row per broken rule and object. The first test wants none of each rule; the second
-- half breaks every rule on purpose and wants each to be noticed, so that no check passes for want of looking.

SELECT plan(95);

-- Tables that are the same for all organisations. Every other table of schema referral belongs to an organisation.
CREATE TABLE public.shared_table (name name PRIMARY KEY);
INSERT INTO public.shared_table VALUES
    ('business_calendar'), ('entity'), ('event_type'), ('heartbeat'), ('journal_column'), ('journal_epoch'), ('journal_key'), ('merge_rule'), ('reason_code'), ('rule_function'), ('rule_set'), ('rule_version'), ('sla_level'), ('sla_policy'), ('stall_threshold'),
    ('workflow'), ('workflow_guard'), ('workflow_step'), ('workflow_transition');
INSERT INTO public.shared_table VALUES ('match_fit'), ('match_fit_round'), ('match_frequency'), ('match_level'), ('match_model'), ('match_nickname'), ('match_placeholder');
INSERT INTO public.shared_table VALUES ('approval_policy'), ('exception_policy'), ('exception_rule'), ('routing_rule'), ('ranking_factor'), ('task_template'), ('work_source');
INSERT INTO public.shared_table VALUES ('handoff_checklist'), ('recommendation_rule');
INSERT INTO public.shared_table VALUES ('code_translation'), ('confidence_threshold'), ('document_requirement'), ('outreach_template'), ('required_field_rule'),
    ('source_mapping'), ('source_mapping_field'), ('source_of_record');

-- Exceptions, each with its reason.
CREATE TABLE public.exception (rule text, object text, reason text NOT NULL, PRIMARY KEY (rule, object));
INSERT INTO public.exception VALUES
    ('org_id has a default', 'organization', 'org_id is its own number'),
    ('org_id has a default', 'journal', 'written by the trigger only'),
    ('has a guard', 'journal', 'append-only'),
    ('is journaled', 'journal', 'is the journal'),
    ('refuses TRUNCATE', 'journal', 'by trigger append_only_truncate, which is ENABLE ALWAYS'),
    ('org_id has a default', 'seal', 'written by seal() only'),
    ('org_id has a default', 'seal_tile', 'written by seal() only'),
    ('org_id has a default', 'journal_purge', 'written by purge_journal() only'),
    ('has a guard', 'seal', 'append-only'),
    ('has a guard', 'seal_tile', 'append-only'),
    ('has a guard', 'journal_purge', 'append-only'),
    ('is journaled', 'seal_tile', 'can be computed from the journal'),
    ('has a guard', 'consumer_position', 'moves with every batch'), ('is journaled', 'consumer_position', 'moves with every batch'),
    ('has a guard', 'delivery', 'a queue'), ('is journaled', 'delivery', 'a queue'),
    ('has a guard', 'sla_clock', 'follows its row'), ('is journaled', 'sla_clock', 'follows from the journal of its row, of pauses and adjustments'),
    ('SQL and PL/pgSQL functions pin search_path', 'referral.tick(timestamp with time zone)', 'a procedure that commits can have no SET clause'),
    ('refuses TRUNCATE', 'seal_tile', 'by trigger append_only_truncate, which is ENABLE ALWAYS');

INSERT INTO public.exception VALUES
    ('org_id has a default', 'rank_progress', 'written by refresh_ranks() only'), ('org_id has a default', 'rule_progress', 'written by renew_approvals() only'),
    ('has a guard', 'rank_progress', 'how far tick() is'), ('is journaled', 'rank_progress', 'how far tick() is'),
    ('has a guard', 'rule_progress', 'how far tick() is'), ('is journaled', 'rule_progress', 'how far tick() is'),
    ('has a guard', 'match_queue', 'a queue'), ('is journaled', 'match_queue', 'a queue'),
    ('has a guard', 'intake_latest', 'follows the messages'), ('is journaled', 'intake_latest', 'follows from the journal of the messages'),
    ('has a guard', 'match_candidate', 'follows the two patients'),
    ('is journaled', 'match_candidate', 'follows from the journal of the two patients and of decisions'),
    ('SQL and PL/pgSQL functions pin search_path', 'referral.process_match_queue(integer)', 'a procedure that commits can have no SET clause');
INSERT INTO public.exception
SELECT 'SQL and PL/pgSQL functions pin search_path', p.oid::regprocedure::text, 'a procedure that commits can have no SET clause'
FROM pg_proc p WHERE p.pronamespace = 'referral'::regnamespace AND p.proname IN ('receive_batch', 'receive_rows') AND p.prokind = 'p';

CREATE VIEW public.relation AS
SELECT c.*, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id'
                    AND NOT a.attisdropped) AS per_org,
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
               AND d.deptype = 'e') AS is_member
FROM pg_class c
WHERE c.relnamespace = 'referral'::regnamespace AND NOT c.relispartition;

CREATE VIEW public.org_column AS
SELECT a.attrelid, a.attnum, a.atttypid, a.attnotnull
FROM pg_attribute a JOIN public.relation r ON r.oid = a.attrelid
WHERE r.relkind IN ('r', 'p') AND a.attname = 'org_id' AND NOT a.attisdropped;

CREATE VIEW public.user_trigger AS
SELECT r.relname, r.per_org, t.*, t.tgfoid::regprocedure::text AS function,
       (t.tgtype & 1) <> 0 AS is_row, (t.tgtype & 2) <> 0 AS is_before, (t.tgtype & 32) <> 0 AS is_truncate,
       (t.tgtype & 64) <> 0 AS is_instead
FROM pg_trigger t JOIN public.relation r ON r.oid = t.tgrelid
WHERE NOT t.tgisinternal;

CREATE VIEW public.function AS
SELECT p.*, p.oid::regprocedure::text AS signature, l.lanname,
       coalesce((SELECT s FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%'), '') AS search_path
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = 'referral'::regnamespace;

CREATE FUNCTION public.violation() RETURNS TABLE (rule text, object text) LANGUAGE sql AS $$
    WITH v (rule, object) AS (
    -- 1. org_id
        SELECT 'belongs to an organisation or is listed as shared', r.relname::text
        FROM public.relation r
        WHERE r.relkind IN ('r', 'p') AND r.per_org = (r.relname IN (SELECT name FROM public.shared_table))
        UNION ALL
        SELECT 'shared tables exist', s.name FROM public.shared_table s
        WHERE to_regclass('referral.' || quote_ident(s.name)) IS NULL
        UNION ALL
        SELECT 'org_id is bigint NOT NULL', o.attrelid::regclass::text FROM public.org_column o
        WHERE o.atttypid <> 'bigint'::regtype OR NOT o.attnotnull
        UNION ALL
        SELECT 'org_id has a default', r.relname
        FROM public.org_column o JOIN public.relation r ON r.oid = o.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = o.attrelid AND d.adnum = o.attnum
        WHERE pg_get_expr(d.adbin, d.adrelid) IS DISTINCT FROM 'referral.current_org()'
        UNION ALL
        SELECT 'org_id leads every key', i.indexrelid::regclass::text
        FROM pg_index i JOIN public.org_column o ON o.attrelid = i.indrelid
        WHERE (i.indisunique OR i.indisexclusion) AND i.indkey[0] <> o.attnum
          -- within an expression, where the index method has no operator class for bigint
          AND NOT (i.indisexclusion AND pg_get_indexdef(i.indexrelid, 1, true) LIKE 'box(point(org_id::double precision,%')
        UNION ALL
        SELECT 'org_id leads every foreign key', k.conrelid::regclass || ' ' || k.conname
        FROM pg_constraint k
        JOIN public.org_column o ON o.attrelid = k.conrelid
        JOIN public.org_column f ON f.attrelid = k.confrelid
        WHERE k.contype = 'f' AND (k.conkey[1], k.confkey[1]) <> (o.attnum, f.attnum)
        UNION ALL
        SELECT 'shared tables do not refer to an organisation''s rows', k.conrelid::regclass || ' ' || k.conname
        FROM pg_constraint k JOIN public.relation r ON r.oid = k.conrelid
        WHERE k.contype = 'f' AND NOT r.per_org AND k.confrelid IN (SELECT attrelid FROM public.org_column)
        UNION ALL
        -- each is a look-up for every row written, and a lock that all writers share
        SELECT 'no foreign key says what another implies', k.conrelid::regclass || ' ' || k.conname
        FROM pg_constraint k
        WHERE k.contype = 'f' AND k.confrelid = 'referral.organization'::regclass AND cardinality(k.conkey) = 1
          AND EXISTS (SELECT FROM pg_constraint c JOIN public.org_column o ON o.attrelid = c.conrelid
                      WHERE c.conrelid = k.conrelid AND c.contype = 'f' AND c.conkey[1] = o.attnum AND cardinality(c.conkey) > 1
                        AND (SELECT bool_and(a.attnotnull) FROM pg_attribute a
                             WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)))
        UNION ALL
        SELECT 'no foreign key sets null', k.conrelid::regclass || ' ' || k.conname
        FROM pg_constraint k JOIN public.relation r ON r.oid = k.conrelid
        WHERE k.contype = 'f' AND (k.confdeltype IN ('n', 'd') OR k.confupdtype IN ('n', 'd'))

    -- 2. ids
        UNION ALL
        SELECT 'ids are bigint', r.relname || '.' || a.attname
        FROM pg_attribute a JOIN public.relation r ON r.oid = a.attrelid
        WHERE r.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
          AND (a.attidentity <> '' OR a.attname ~ '(^|_)id$') AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)
        UNION ALL
        SELECT 'ids come from identity columns', r.relname || '.' || a.attname
        FROM pg_attribute a JOIN public.relation r ON r.oid = a.attrelid
        JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE pg_get_expr(d.adbin, d.adrelid) ~ 'nextval'
        UNION ALL
        SELECT 'has a primary key', r.relname FROM public.relation r
        WHERE r.relkind IN ('r', 'p')
          AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary)

    -- 3. who sees it
        UNION ALL
        SELECT 'row-level security is on', r.relname FROM public.relation r
        WHERE r.relkind IN ('r', 'p') AND r.per_org AND NOT r.relrowsecurity
        UNION ALL
        SELECT 'has the policy "organisation"', r.relname FROM public.relation r
        WHERE r.relkind IN ('r', 'p') AND r.per_org
          AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = r.oid AND p.polname = 'organisation'
                          AND p.polcmd = '*' AND p.polpermissive AND p.polroles = '{0}')
        UNION ALL
        SELECT 'policies ask visible_orgs()', r.relname || ' ' || p.polname
        FROM pg_policy p JOIN public.relation r ON r.oid = p.polrelid
        WHERE p.polpermissive AND r.per_org
          AND (pg_get_expr(p.polqual, p.polrelid) !~ 'referral\.visible_orgs\(\)'
               OR pg_get_expr(p.polwithcheck, p.polrelid) !~ 'referral\.visible_orgs\(\)')
        UNION ALL
        SELECT 'nothing is granted to PUBLIC', r.relname
        FROM public.relation r CROSS JOIN aclexplode(r.relacl) x WHERE x.grantee = 0
        UNION ALL
        SELECT 'views run with the rights of who reads them', r.relname FROM public.relation r
        WHERE r.relkind = 'v' AND NOT coalesce(r.reloptions, '{}') && '{security_invoker=true, security_invoker=on}'
        UNION ALL
        SELECT 'nobody writes through a view', r.relname || ' ' || x.privilege_type
        FROM public.relation r CROSS JOIN aclexplode(r.relacl) x
        WHERE r.relkind = 'v' AND x.grantee <> r.relowner AND x.privilege_type <> 'SELECT'

    -- 4. triggers
        UNION ALL
        SELECT 'only triggers that write nothing are ENABLE ALWAYS', t.relname || ' ' || t.tgname
        FROM public.user_trigger t
        WHERE t.tgenabled IN ('A', 'R') AND t.function NOT IN ('referral.rules_changed()', 'referral.queues_changed()', 'referral.append_only()', 'referral.inbox_guard()')
        UNION ALL
        SELECT 'statement triggers only invalidate or refuse', t.relname || ' ' || t.tgname
        FROM public.user_trigger t
        WHERE NOT t.is_row AND t.function NOT IN ('referral.rules_changed()', 'referral.queues_changed()', 'referral.append_only()')
        UNION ALL
        SELECT 'no INSTEAD OF triggers', t.relname || ' ' || t.tgname FROM public.user_trigger t WHERE t.is_instead
        UNION ALL
        SELECT 'no rewrite rules', r.relname || ' ' || w.rulename
        FROM pg_rewrite w JOIN public.relation r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
        UNION ALL
        SELECT 'is journaled', r.relname FROM public.relation r
        WHERE r.relkind IN ('r', 'p') AND NOT r.relispartition
          AND (r.per_org OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = r.oid
                                    AND a.attname = 'rule_version_id'))
          AND NOT EXISTS (SELECT FROM public.user_trigger t
                          WHERE t.tgrelid = r.oid AND t.function = 'referral.journal()' AND t.tgtype = 1 + 4 + 8 + 16)
        UNION ALL
        SELECT 'has a guard', r.relname FROM public.relation r
        WHERE r.relkind IN ('r', 'p') AND NOT r.relispartition AND r.per_org
          AND NOT EXISTS (SELECT FROM public.user_trigger t
                          WHERE t.tgrelid = r.oid AND t.function = 'referral.guard()' AND t.tgtype = 1 + 2 + 4 + 16)
        UNION ALL
        SELECT 'refuses TRUNCATE', r.relname FROM public.relation r
        WHERE r.relkind IN ('r', 'p') AND NOT r.relispartition
          AND EXISTS (SELECT FROM public.user_trigger t WHERE t.tgrelid = r.oid AND t.function = 'referral.journal()')
          AND NOT EXISTS (SELECT FROM public.user_trigger t
                          WHERE t.tgrelid = r.oid AND t.function = 'referral.append_only()' AND t.is_truncate)
        UNION ALL
        SELECT 'triggers name the table''s own entity', t.relname || ' ' || t.tgname
        FROM public.user_trigger t
        WHERE t.function IN ('referral.journal()', 'referral.guard()')
          AND NOT EXISTS (SELECT FROM referral.entity e WHERE e.relation = t.tgrelid AND t.tgargs =
                          convert_to(e.entity, 'UTF8') || '\x00' || convert_to(e.id_column::text, 'UTF8') || '\x00')
        UNION ALL
        SELECT 'the guard is the last BEFORE trigger', t.relname || ' ' || t.tgname
        FROM public.user_trigger t JOIN public.user_trigger g ON g.tgrelid = t.tgrelid
        WHERE g.function = 'referral.guard()' AND t.is_before AND t.is_row AND t.tgname > g.tgname
        UNION ALL
        SELECT 'rules change in a draft only, and are noticed', r.relname || ' ' || w.function
        FROM public.relation r
        CROSS JOIN (VALUES ('referral.rule_row_guard()', 4 + 8 + 16, 'O'), ('referral.rules_changed()', 4 + 8 + 16, 'A'),
                           ('referral.rules_changed()', 32, 'A')) w (function, events, enabled)
        WHERE r.relkind IN ('r', 'p') AND r.relname <> 'rule_version'
          AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = r.oid AND a.attname = 'rule_version_id')
          AND NOT EXISTS (SELECT FROM public.user_trigger t WHERE t.tgrelid = r.oid AND t.function = w.function
                          AND (t.tgtype & w.events) = w.events AND t.tgenabled = w.enabled::"char")
        UNION ALL
        SELECT 'rules lead back to their version', r.relname
        FROM public.relation r
        JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = 'rule_version_id'
        WHERE r.relkind IN ('r', 'p') AND r.relname <> 'rule_version'
          AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = r.oid AND k.contype = 'f'
                          AND k.conkey @> ARRAY[a.attnum])

    -- 5. the model is data, the engine is code
        UNION ALL
        SELECT 'no relation is a member of the extension', r.relname FROM public.relation r WHERE r.is_member
        UNION ALL
        SELECT 'every function is a member of the extension', f.signature FROM public.function f
        WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid
                          AND d.deptype = 'e')

    -- 6. functions
        UNION ALL
        SELECT 'SQL and PL/pgSQL functions pin search_path', f.signature FROM public.function f
        -- of a body that is no string the names are looked up when the function is made
        WHERE f.lanname IN ('sql', 'plpgsql') AND f.prosqlbody IS NULL AND f.search_path <> 'search_path=pg_catalog, pg_temp'
        UNION ALL
        SELECT 'SECURITY DEFINER functions pin search_path', f.signature FROM public.function f
        WHERE f.prosecdef AND f.search_path <> 'search_path=pg_catalog, pg_temp'
        UNION ALL
        SELECT 'nothing is LEAKPROOF', f.signature FROM public.function f WHERE f.proleakproof
        UNION ALL
        SELECT 'PUBLIC may not execute trigger functions', f.signature FROM public.function f
        WHERE f.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype)
          AND has_function_privilege('catalog_nobody', f.oid, 'EXECUTE')
        UNION ALL
        SELECT 'PUBLIC may not execute functions that write', f.signature FROM public.function f
        WHERE f.provolatile = 'v' AND f.prorettype <> 'trigger'::regtype
          AND has_function_privilege('catalog_nobody', f.oid, 'EXECUTE')
        UNION ALL
        SELECT 'PUBLIC may not execute SECURITY DEFINER functions', f.signature FROM public.function f
        WHERE f.prosecdef AND has_function_privilege('catalog_nobody', f.oid, 'EXECUTE')
        UNION ALL
        SELECT 'functions that write are volatile', f.signature FROM public.function f
        WHERE f.provolatile <> 'v'
          AND f.prosrc ~* '\m(INSERT\s+INTO|DELETE\s+FROM|UPDATE\s+[a-z%"]|MERGE\s+INTO|nextval|set_config|pg_advisory)'
        UNION ALL
        SELECT 'immutable functions read no table', f.signature FROM public.function f
        WHERE f.provolatile = 'i' AND f.lanname IN ('sql', 'plpgsql') AND f.prosrc ~* '\m(FROM|JOIN)\s+referral\.\w+(\s|;|$)'
        UNION ALL
        SELECT 'functions that read tables are not immutable', f.signature FROM public.function f
        WHERE f.provolatile = 'i' AND f.proname ~ '^(current_|visible_|next_transitions|check_rule|has_document)'
        UNION ALL
        SELECT 'functions that write are not parallel safe', f.signature FROM public.function f
        WHERE f.provolatile = 'v' AND f.proparallel = 's'
        UNION ALL
        SELECT 'trigger functions know their table by argument', f.signature FROM public.function f
        WHERE f.prorettype = 'trigger'::regtype AND f.prosrc ~* '\mTG_(RELID|RELNAME|TABLE_NAME|TABLE_SCHEMA)\M'
        UNION ALL
        SELECT 'nothing notifies or makes temporary tables', f.signature FROM public.function f
        WHERE f.prosrc ~* '\mpg_notify\M|(^|;|\mBEGIN|\mTHEN|\mLOOP)\s*NOTIFY\s|CREATE\s+(LOCAL\s+|GLOBAL\s+)?TEMP'

    -- 7. comments
        UNION ALL
        SELECT 'has a comment', 'function ' || f.signature FROM public.function f
        WHERE coalesce(obj_description(f.oid, 'pg_proc'), '') = ''
        UNION ALL
        SELECT 'has a comment', CASE r.relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || r.relname FROM public.relation r
        WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT r.relispartition
          AND coalesce(obj_description(r.oid, 'pg_class'), '') = ''
        UNION ALL
        SELECT 'has a comment', 'type ' || t.typname FROM pg_type t
        WHERE t.typnamespace = 'referral'::regnamespace AND t.typelem = 0 AND t.typtype IN ('b', 'e', 'd', 'r')
          AND coalesce(obj_description(t.oid, 'pg_type'), '') = ''
        UNION ALL
        SELECT 'has a comment', 'type ' || t.typname FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
        WHERE t.typnamespace = 'referral'::regnamespace AND c.relkind = 'c'
          AND coalesce(obj_description(t.oid, 'pg_type'), '') = ''
        UNION ALL
        SELECT 'has a comment', 'operator ' || o.oid::regoperator FROM pg_operator o
        WHERE o.oprnamespace = 'referral'::regnamespace AND coalesce(obj_description(o.oid, 'pg_operator'), '') = ''
        UNION ALL
        SELECT 'has a comment', 'operator class ' || o.opcname FROM pg_opclass o
        WHERE o.opcnamespace = 'referral'::regnamespace AND coalesce(obj_description(o.oid, 'pg_opclass'), '') = ''
        UNION ALL
        SELECT 'has a comment', 'extension' FROM pg_extension e
        WHERE e.extname = 'referral' AND coalesce(obj_description(e.oid, 'pg_extension'), '') = ''
    )
    SELECT v.rule, v.object::text FROM v
    WHERE (v.rule, v.object::text) NOT IN (SELECT x.rule, x.object FROM public.exception x)
$$;

CREATE ROLE catalog_nobody NOLOGIN;

CREATE TABLE public.rule (sort serial, name text PRIMARY KEY, breaks text NOT NULL);
INSERT INTO public.rule (name, breaks) VALUES
    ('belongs to an organisation or is listed as shared', 'CREATE TABLE referral.bad (bad_id bigint PRIMARY KEY)'),
    ('shared tables exist', 'INSERT INTO public.shared_table VALUES (''gone'')'),
    ('org_id is bigint NOT NULL', 'CREATE TABLE referral.bad (org_id bigint)'),
    ('org_id has a default', 'CREATE TABLE referral.bad (org_id bigint NOT NULL)'),
    ('org_id leads every key', 'CREATE TABLE referral.bad (org_id bigint, a bigint, UNIQUE (a, org_id))'),
    ('org_id leads every foreign key',
     'CREATE TABLE referral.bad (org_id bigint, a bigint, FOREIGN KEY (a, org_id) REFERENCES referral.patient)'),
    ('shared tables do not refer to an organisation''s rows',
     'ALTER TABLE referral.workflow ADD FOREIGN KEY (scope_org_id) REFERENCES referral.organization'),
    ('no foreign key says what another implies', 'ALTER TABLE referral.coverage ADD FOREIGN KEY (org_id) REFERENCES referral.organization'),
    ('no foreign key sets null',
     'ALTER TABLE referral.document ADD FOREIGN KEY (org_id, referral_id) REFERENCES referral.referral ON DELETE SET NULL'),
    ('ids are bigint', 'CREATE TABLE referral.bad (bad_id integer GENERATED ALWAYS AS IDENTITY)'),
    ('ids come from identity columns', 'CREATE TABLE referral.bad (number bigserial)'),
    ('has a primary key', 'CREATE TABLE referral.bad (a bigint UNIQUE NOT NULL)'),
    ('row-level security is on', 'ALTER TABLE referral.patient DISABLE ROW LEVEL SECURITY'),
    ('has the policy "organisation"', 'DROP POLICY organisation ON referral.patient'),
    ('policies ask visible_orgs()', 'CREATE POLICY more ON referral.patient USING (org_id > 0)'),
    ('nothing is granted to PUBLIC', 'GRANT SELECT ON referral.entity TO PUBLIC'),
    ('views run with the rights of who reads them', 'CREATE VIEW referral.bad AS SELECT * FROM referral.patient'),
    ('nobody writes through a view', 'GRANT UPDATE ON referral.history TO referral_admin'),
    ('only triggers that write nothing are ENABLE ALWAYS', 'ALTER TABLE referral.patient ENABLE ALWAYS TRIGGER journal'),
    ('statement triggers only invalidate or refuse',
     'CREATE TRIGGER bad AFTER INSERT ON referral.patient EXECUTE FUNCTION public.bad_trigger()'),
    ('no INSTEAD OF triggers',
     'CREATE TRIGGER bad INSTEAD OF INSERT ON referral.history FOR EACH ROW EXECUTE FUNCTION public.bad_trigger()'),
    ('no rewrite rules', 'CREATE RULE bad AS ON DELETE TO referral.patient DO INSTEAD NOTHING'),
    ('is journaled', 'DROP TRIGGER journal ON referral.patient'),
    ('has a guard', 'DROP TRIGGER zz_guard ON referral.patient'),
    ('refuses TRUNCATE', 'DROP TRIGGER no_truncate ON referral.patient'),
    ('triggers name the table''s own entity',
     'CREATE OR REPLACE TRIGGER journal AFTER INSERT ON referral.patient FOR EACH ROW EXECUTE FUNCTION referral.journal(''site'', ''patient_id'')'),
    ('the guard is the last BEFORE trigger',
     'CREATE TRIGGER zzz BEFORE UPDATE ON referral.patient FOR EACH ROW EXECUTE FUNCTION public.bad_trigger()'),
    ('rules change in a draft only, and are noticed', 'DROP TRIGGER rules_changed ON referral.workflow_guard'),
    ('rules lead back to their version',
     'CREATE TABLE referral.bad (bad_id bigint PRIMARY KEY, rule_version_id bigint)'),
    ('no relation is a member of the extension', 'ALTER EXTENSION referral ADD TABLE referral.entity'),
    ('every function is a member of the extension', 'CREATE FUNCTION referral.bad() RETURNS int LANGUAGE sql AS ''SELECT 1'''),
    ('SQL and PL/pgSQL functions pin search_path', 'ALTER FUNCTION referral.attach RESET search_path'),
    ('SECURITY DEFINER functions pin search_path', 'ALTER FUNCTION referral.next_transitions SECURITY DEFINER'),
    ('nothing is LEAKPROOF', 'ALTER FUNCTION referral.current_org() LEAKPROOF'),
    ('PUBLIC may not execute trigger functions', 'GRANT EXECUTE ON FUNCTION referral.journal() TO PUBLIC'),
    ('PUBLIC may not execute functions that write', 'GRANT EXECUTE ON FUNCTION referral.attach TO PUBLIC'),
    ('PUBLIC may not execute SECURITY DEFINER functions', 'GRANT EXECUTE ON FUNCTION referral.adopt_workflow TO PUBLIC'),
    ('functions that write are volatile', 'ALTER FUNCTION referral.adopt_workflow STABLE'),
    ('immutable functions read no table', 'ALTER FUNCTION referral.step_before IMMUTABLE'),
    ('functions that read tables are not immutable', 'ALTER FUNCTION referral.visible_orgs() IMMUTABLE'),
    ('functions that write are not parallel safe', 'ALTER FUNCTION referral.adopt_workflow PARALLEL SAFE'),
    ('trigger functions know their table by argument',
     'CREATE FUNCTION referral.bad() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RAISE ''''%'''', TG_RELID; RETURN NEW; END'''),
    ('nothing notifies or makes temporary tables',
     'CREATE FUNCTION referral.bad() RETURNS void LANGUAGE sql AS ''SELECT pg_notify(''''a'''', ''''b'''')'''),
    ('has a comment', 'CREATE TYPE referral.bad AS ENUM (''a'')');

-- the trigger that the broken examples use
CREATE FUNCTION public.bad_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';

CREATE TABLE public.found AS SELECT * FROM public.violation();
SELECT is((SELECT string_agg(v.object, ', ' ORDER BY v.object) FROM public.found v WHERE v.rule = r.name), NULL, r.name)
FROM public.rule r ORDER BY r.sort;

-- Breaks a rule in a subtransaction, and tells whether it was noticed there and then.
CREATE FUNCTION public.notices(rule text, breaks text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (SELECT count(*) FROM public.found v WHERE v.rule = notices.rule);
    after bigint;
BEGIN
    BEGIN
        EXECUTE breaks;
        after := (SELECT count(*) FROM public.violation() v WHERE v.rule = notices.rule);
        RAISE SQLSTATE 'UNDO1' USING MESSAGE = (after = before + 1)::text;
    EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
        RETURN SQLERRM::boolean;
    END;
END $$;

SELECT ok(public.notices(r.name, r.breaks), 'notices when broken: ' || r.name) FROM public.rule r ORDER BY r.sort;

SELECT is((SELECT array_agg(DISTINCT v.rule) FROM public.found v WHERE v.rule NOT IN (SELECT name FROM public.rule)),
          NULL, 'every rule above is listed for the two tests');
SELECT is((SELECT array_agg(x.object) FROM public.exception x
           WHERE x.rule NOT IN (SELECT name FROM public.rule) OR CASE WHEN x.object LIKE '%(%' THEN to_regprocedure(x.object)::oid ELSE to_regclass('referral.' || x.object)::oid END IS NULL),
          NULL, 'every exception names a rule, and a table or function');
SELECT cmp_ok((SELECT count(*)::int FROM public.org_column), '>=', 9, 'there are tables with org_id to look at');
SELECT is((SELECT count(*) FROM pg_type t WHERE t.typnamespace = 'referral'::regnamespace AND t.typname IN ('state', 'urgency')),
          2::bigint, 'the canonical enums exist');
SELECT is((SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e
           WHERE e.enumtypid = 'referral.state'::regtype),
          '{received,validated,pending_authorization,ready_to_schedule,scheduled,no_show,appointment_cancelled,completed,closed_loop,on_hold,cancellation_requested,declined,cancelled,expired,entered_in_error}'::text[],
          'referral.state has its values in lifecycle order');
SELECT is((SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e
           WHERE e.enumtypid = 'referral.urgency'::regtype),
          '{routine,urgent,asap,stat}'::text[], 'referral.urgency has its values in rising order');
SELECT results_eq($$SELECT e.extrelocatable, n.nspname::text COLLATE "C" FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                    WHERE e.extname = 'referral'$$,
                  $$VALUES (false, 'referral' COLLATE "C")$$, 'the extension stays in schema referral');

SELECT * FROM finish();
DROP ROLE catalog_nobody;
