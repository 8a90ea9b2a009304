-- deploy(): again and again, without taking anything from anybody. What needs a cluster without the group roles is in
-- test/t/deploy.pl.
SELECT plan(56);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';

-- Everything in schema referral that deploy() could touch, with its definition.
CREATE FUNCTION public.snapshot() RETURNS TABLE (kind text, name text, definition text) LANGUAGE sql AS $$
    SELECT 'relation', c.oid::regclass::text, concat_ws(' ', c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relowner,
                                                       c.relpersistence, c.reloptions, c.relacl)
    FROM pg_class c WHERE c.relnamespace = 'referral'::regnamespace
    UNION ALL
    SELECT 'column', c.oid::regclass || '.' || a.attname, concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod),
               a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid), a.attacl, a.attstorage, a.attstattarget)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'referral'::regnamespace AND a.attnum > 0
    UNION ALL
    SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'referral'::regnamespace
    UNION ALL
    SELECT 'constraint', k.conrelid::regclass || ' ' || k.conname, concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated)
    FROM pg_constraint k WHERE k.connamespace = 'referral'::regnamespace
    UNION ALL
    SELECT 'trigger', t.tgrelid::regclass || ' ' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'referral'::regnamespace AND NOT t.tgisinternal
    UNION ALL
    SELECT 'policy', p.polrelid::regclass || ' ' || p.polname, concat_ws(' ', p.polcmd, p.polpermissive, p.polroles,
               pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = 'referral'::regnamespace
    UNION ALL
    SELECT 'view', c.oid::regclass::text, pg_get_viewdef(c.oid)
    FROM pg_class c WHERE c.relnamespace = 'referral'::regnamespace AND c.relkind = 'v'
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, concat_ws(' ', p.proacl, p.proowner)
    FROM pg_proc p WHERE p.pronamespace = 'referral'::regnamespace
    UNION ALL
    SELECT 'sequence', c.oid::regclass::text,
           (xpath('/row/last_value/text()', query_to_xml('SELECT last_value FROM ' || c.oid::regclass, true, true, '')))[1]::text
    FROM pg_class c WHERE c.relnamespace = 'referral'::regnamespace AND c.relkind = 'S'
    UNION ALL
    SELECT 'rows', c.oid::regclass::text,
           (xpath('/row/md5/text()', query_to_xml(format('SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM %s t',
                                                         c.oid::regclass), true, true, '')))[1]::text
    FROM pg_class c WHERE c.relnamespace = 'referral'::regnamespace AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT 'schema', n.nspname::text, n.nspacl::text FROM pg_namespace n WHERE n.nspname = 'referral'
$$;
CREATE TABLE public.before AS SELECT * FROM public.snapshot();
CREATE FUNCTION public.differences() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', kind, name, ':', b.definition, '->', n.definition), E'\n' ORDER BY kind, name)
    FROM public.before b FULL JOIN public.snapshot() n USING (kind, name)
    WHERE b.definition IS DISTINCT FROM n.definition
$$;
CREATE FUNCTION public.remember() RETURNS void LANGUAGE sql AS
'TRUNCATE public.before; INSERT INTO public.before SELECT * FROM public.snapshot()';

-- 1. A second time

CREATE TABLE public.answer AS SELECT * FROM referral.deploy();
SELECT is((SELECT string_agg(kind || ' ' || name, ', ') FROM public.answer WHERE action <> 'kept'), NULL,
          'the second deploy() creates nothing');
SELECT is(public.differences(), NULL, 'and changes nothing');
SELECT is((SELECT array_agg(DISTINCT action) FROM public.answer), '{kept}', 'everything is kept');
SELECT is((SELECT string_agg(kind || ' ' || name, ', ') FROM (SELECT kind, name FROM public.answer GROUP BY 1, 2 HAVING count(*) > 1) d),
          NULL, 'each object is listed once');
SELECT is((SELECT count(*) FROM public.answer WHERE kind IS NULL OR name IS NULL OR action IS NULL), 0::bigint, 'with kind, name and action');
SELECT results_eq(
    $$SELECT name COLLATE "C" FROM public.answer WHERE kind = 'table' ORDER BY 1$$,
    $$SELECT relname::text COLLATE "C" FROM pg_class WHERE relnamespace = 'referral'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1$$,
    'every table is listed');
SELECT results_eq(
    $$SELECT name COLLATE "C" FROM public.answer WHERE kind = 'trigger' ORDER BY 1$$,
    $$SELECT c.relname || '.' || t.tgname COLLATE "C" FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
      WHERE c.relnamespace = 'referral'::regnamespace AND NOT t.tgisinternal ORDER BY 1$$,
    'every trigger');
SELECT results_eq(
    $$SELECT name COLLATE "C" FROM public.answer WHERE kind = 'policy' ORDER BY 1$$,
    $$SELECT c.relname || '.' || p.polname COLLATE "C" FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
      WHERE c.relnamespace = 'referral'::regnamespace ORDER BY 1$$,
    'every policy');
SELECT results_eq(
    $$SELECT name COLLATE "C" FROM public.answer WHERE kind = 'view' ORDER BY 1$$,
    $$SELECT relname::text COLLATE "C" FROM pg_class WHERE relnamespace = 'referral'::regnamespace AND relkind = 'v' ORDER BY 1$$,
    'every view');
SELECT is((SELECT count(*) FROM public.answer WHERE kind = 'role'), 12::bigint, 'every group role');
SELECT is((SELECT count(*) FROM public.answer WHERE kind = 'rule set'), (SELECT count(*) FROM referral.rule_set), 'every shipped rule set');

-- 2. What belongs to others stays

CREATE ROLE deploy_reader NOLOGIN;
ALTER TABLE referral.patient ADD COLUMN mrn text DEFAULT 'none' CHECK (mrn <> ''), ADD COLUMN "Odd Name" integer;
CREATE INDEX patient_mrn ON referral.patient (org_id, mrn);
CREATE UNIQUE INDEX patient_odd ON referral.patient (org_id, "Odd Name") WHERE active;
CREATE FUNCTION public.own_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER aa_own BEFORE INSERT ON referral.patient FOR EACH ROW EXECUTE FUNCTION public.own_trigger();
CREATE TRIGGER bb_off BEFORE INSERT ON referral.patient FOR EACH ROW EXECUTE FUNCTION public.own_trigger();
ALTER TABLE referral.patient DISABLE TRIGGER bb_off;
CREATE POLICY not_at_night ON referral.patient AS RESTRICTIVE USING (true);
ALTER TABLE referral.patient ADD CONSTRAINT family_short CHECK (length(family) < 100) NOT VALID;
ALTER TABLE referral.patient ALTER COLUMN family SET STATISTICS 500, ALTER COLUMN active SET DEFAULT false;
ALTER TABLE referral.patient SET (fillfactor = 70), FORCE ROW LEVEL SECURITY;
ALTER TABLE referral.site DISABLE TRIGGER journal;
ALTER TABLE referral.site DISABLE TRIGGER zz_guard;
ALTER TABLE referral.workflow_guard DISABLE TRIGGER rule_row;
ALTER TABLE referral.rule_version DISABLE TRIGGER rule_version_guard;
ALTER TABLE referral.entity DISABLE TRIGGER entity_guard;
ALTER TABLE referral.journal DISABLE TRIGGER append_only_truncate;
GRANT SELECT ON referral.patient TO deploy_reader;
GRANT SELECT (family) ON referral.patient TO PUBLIC;
GRANT EXECUTE ON FUNCTION referral.attach(regclass, text, text, name, text, boolean) TO deploy_reader;
GRANT USAGE ON SCHEMA referral TO deploy_reader;
CREATE TABLE public.visit (org_id bigint, patient_id bigint, FOREIGN KEY (org_id, patient_id) REFERENCES referral.patient);
CREATE TABLE referral.note (note_id bigint PRIMARY KEY, note text);
CREATE VIEW referral.my_view AS SELECT 1 AS one;
INSERT INTO referral.patient (family, mrn) VALUES ('Kept', 'M1');
INSERT INTO referral.referral (patient_id, specialty) SELECT patient_id, 'x' FROM referral.patient WHERE family = 'Kept';
UPDATE referral.organization SET name = 'Our own name' WHERE org_id = 1;
INSERT INTO referral.rule_set (name, kind) VALUES ('mine', 'other');
CREATE TABLE public.own (own_id bigint PRIMARY KEY, note text);
SELECT referral.attach('public.own') \g /dev/null
SELECT public.remember() \g /dev/null
TRUNCATE public.answer;
INSERT INTO public.answer SELECT * FROM referral.deploy();
SELECT is(public.differences(), NULL,
          'columns, indexes, triggers, policies, constraints, privileges, settings and rows of others stay, disabled triggers stay disabled');
SELECT is((SELECT string_agg(kind || ' ' || name, ', ') FROM public.answer WHERE action <> 'kept'), NULL, 'nothing is created');
SELECT is((SELECT array_agg(name ORDER BY name) FROM public.answer WHERE name IN ('patient.aa_own', 'patient.not_at_night', 'note', 'my_view')),
          '{my_view,note,patient.aa_own,patient.not_at_night}', 'they are listed, too');
SELECT is((SELECT tgenabled FROM pg_trigger WHERE tgrelid = 'referral.site'::regclass AND tgname = 'journal'), 'D', 'a disabled journal trigger stays disabled');
SELECT is((SELECT tgenabled FROM pg_trigger WHERE tgrelid = 'referral.journal'::regclass AND tgname = 'append_only_truncate'), 'D',
          'so does one that deploy() makes ENABLE ALWAYS');

-- 3. What is missing comes back

CREATE FUNCTION public.comes_back(remove text, what text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.remember();
    EXECUTE remove;
    RETURN NEXT isnt(public.differences(), NULL, what || ' is gone');
    TRUNCATE public.answer;
    INSERT INTO public.answer SELECT * FROM referral.deploy();
    RETURN NEXT is((SELECT string_agg(kind || ' ' || name, ', ') FROM public.answer
                   WHERE action = 'created' AND name !~ '^journal_(\d{4}_\d\d|default)'), what, what || ' is reported as created');
    RETURN NEXT is(public.differences(), NULL, what || ' is as before');
END $$;
SELECT public.comes_back('DROP TRIGGER journal ON referral.patient', 'trigger patient.journal');
SELECT public.comes_back('DROP TRIGGER zz_guard ON referral.referral', 'trigger referral.zz_guard');
SELECT public.comes_back('DROP TRIGGER append_only ON referral.journal', 'trigger journal.append_only');
SELECT public.comes_back('DROP TRIGGER rules_changed ON referral.workflow', 'trigger workflow.rules_changed');
SELECT public.comes_back('DROP POLICY organisation ON referral.document', 'policy document.organisation');
SELECT public.comes_back('DROP POLICY organisation ON referral.journal', 'policy journal.organisation');
SELECT public.comes_back('DROP INDEX referral.referral_state', 'index referral_state');
SELECT public.comes_back('DROP VIEW referral.history', 'view history');
SELECT public.remember() \g /dev/null
REVOKE SELECT ON referral.patient FROM referral_clinician;
ALTER TABLE referral.patient DISABLE ROW LEVEL SECURITY;
REVOKE EXECUTE ON FUNCTION referral.detach(regclass) FROM referral_admin;
SELECT referral.deploy() \g /dev/null
SELECT is((SELECT relrowsecurity FROM pg_class WHERE oid = 'referral.patient'::regclass), true, 'row-level security is on again');
SELECT ok(has_table_privilege('referral_clinician', 'referral.patient', 'SELECT'), 'a revoked privilege is granted again');
SELECT ok(has_function_privilege('referral_admin', 'referral.detach(regclass)', 'EXECUTE'), 'that on a function, too');
-- a table with all that hangs on it
DROP TABLE referral.contact_attempt CASCADE;
TRUNCATE public.answer;
INSERT INTO public.answer SELECT * FROM referral.deploy();
SELECT set_eq($$SELECT kind || ' ' || name FROM public.answer WHERE action = 'created' AND kind NOT IN ('constraint', 'index', 'sequence')$$,
              ARRAY['table contact_attempt', 'trigger contact_attempt.journal', 'trigger contact_attempt.no_truncate', 'trigger contact_attempt.zz_guard',
                    'policy contact_attempt.organisation', 'view awaiting_booking'], 'a dropped table comes back with triggers and policy');
SELECT lives_ok($$INSERT INTO referral.contact_attempt (referral_id, medium, outcome) SELECT referral_id, 'phone', 'reached' FROM referral.referral LIMIT 1$$,
                'and works');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'contact_attempt' AND action = 'insert'), 1::bigint, 'journaled under the same entity');
SELECT is((SELECT e.relation FROM referral.entity e WHERE e.entity = 'contact_attempt'), 'referral.contact_attempt'::regclass, 'which is the new table');
SELECT ok(has_table_privilege('referral_coordinator', 'referral.contact_attempt', 'INSERT')
          AND NOT has_table_privilege('referral_analyst', 'referral.contact_attempt', 'SELECT'), 'with its privileges');
-- a column that an older table lacks
ALTER TABLE referral.practitioner DROP COLUMN organization_name;
SELECT lives_ok('SELECT referral.deploy()', 'a canonical table that lost a column is no obstacle');

-- 4. Who may

CREATE ROLE deploy_jane LOGIN IN ROLE referral_admin;
SET SESSION AUTHORIZATION deploy_jane;
SELECT is(public.code('SELECT referral.deploy()'), '42501', 'an administrator of the application may not deploy');
RESET SESSION AUTHORIZATION;
GRANT EXECUTE ON FUNCTION referral.deploy() TO deploy_jane;
SET SESSION AUTHORIZATION deploy_jane;
SELECT is(public.code('SELECT referral.deploy()'), 'RF003', 'whoever may execute it must own the schema');
SELECT is((SELECT array_agg(DISTINCT public.code(format('SELECT referral.%I()', 'deploy_' || p))) FROM unnest(referral.model_parts()) p),
          '{42501}', 'nor do its parts serve anybody else');
RESET SESSION AUTHORIZATION;

-- 5. DROP EXTENSION

SELECT is(f.code, '2BP01', 'DROP EXTENSION is refused') FROM public.refused('DROP EXTENSION referral') f;
SELECT ok(f.detail ~ 'table referral\.(referral|patient|journal|organization)|trigger .* on table referral\.', 'and says which tables depend on it: ' || left(f.detail, 60))
FROM public.refused('DROP EXTENSION referral') f;
SELECT ok(f.hint ~ 'CASCADE', 'and how to do it all the same') FROM public.refused('DROP EXTENSION referral') f;
SELECT is((SELECT count(*) FROM referral.referral), 1::bigint, 'the rows are there');

SELECT * FROM finish();
