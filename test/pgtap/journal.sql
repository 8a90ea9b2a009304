-- One row per change of a tracked row: what is in it, and that there is no way around it.
SELECT plan(164);
-- work items follow referrals and would be among what is counted here; see worklist
ALTER TABLE referral.referral DISABLE TRIGGER work;
ALTER TABLE referral.exception_item DISABLE TRIGGER work;
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';

CREATE ROLE journal_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE journal_app LOGIN IN ROLE referral_application, referral_coordinator;
CREATE ROLE journal_feed LOGIN IN ROLE referral_integration;
CREATE ROLE journal_auditor LOGIN IN ROLE referral_auditor;
CREATE ROLE journal_author LOGIN IN ROLE referral_rule_author;
INSERT INTO referral.organization_member (org_id, login) VALUES
    (1, 'journal_jane'), (1, 'journal_feed'), (1, 'journal_auditor'), (1, 'journal_author');

-- Nothing but what the tests do: no clocks.
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'sla/standard';

-- The newest row of the journal.
CREATE VIEW public.last WITH (security_invoker = true) AS
SELECT * FROM referral.journal ORDER BY journal_id DESC LIMIT 1;
GRANT SELECT ON public.last TO PUBLIC;

-- Runs a statement and tells how many journal rows it wrote.
CREATE FUNCTION public.rows_written(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (SELECT count(*) FROM referral.journal);
BEGIN
    EXECUTE statement;
    RETURN (SELECT count(*) FROM referral.journal) - before;
END $$;

-- 1. Every type, as [old, new], of the changed columns only

CREATE TYPE public.color AS ENUM ('red', 'green');
CREATE TYPE public.point3 AS (x integer, y text, z timestamptz);
CREATE DOMAIN public.short AS text CHECK (length(VALUE) < 10);
CREATE TABLE public.typed (
    typed_id bigint PRIMARY KEY,
    org_id bigint NOT NULL DEFAULT 1,
    "a bool" boolean,
    dropped text DEFAULT 'was here',
    si smallint, i integer, bi bigint, n numeric, f8 float8, f4 real,
    t text, vc varchar(20), c char(5), nm name, d public.short, e public.color,
    da date, ts timestamp, tz timestamptz, ti time, tt timetz, iv interval,
    jb jsonb, j json, ar integer[], ar2 text[], atz timestamptz[], comp public.point3,
    b bytea, u uuid, r int4range, rtz tstzrange, ip inet, x xml, bits bit(4), oid8 oid,
    g integer GENERATED ALWAYS AS (i * 2) STORED,
    g2 text GENERATED ALWAYS AS (upper(t)) STORED
);
ALTER TABLE public.typed DROP COLUMN dropped;
SELECT referral.track_table('public.typed', 'typed', 'typed_id') \g /dev/null
INSERT INTO public.typed (typed_id) VALUES (1);
SELECT is((SELECT changes FROM public.last), NULL, 'a row of nulls has no changes');
SELECT results_eq('SELECT entity, entity_id, action, org_id, version FROM public.last',
                  $$VALUES ('typed', 1::bigint, 'insert', 1::bigint, NULL::bigint)$$, 'but is journaled');
ALTER TABLE public.typed ADD COLUMN later integer DEFAULT 7;
ALTER TABLE public.typed ADD COLUMN later_null text;

CREATE TABLE public.sample (sort serial, col text, value text, json jsonb);
INSERT INTO public.sample (col, value, json) VALUES
    ('a bool', 'true', 'true'), ('a bool', 'false', 'false'),
    ('si', '-32768', '-32768'), ('i', '-1073741824', '-1073741824'),
    ('bi', '9223372036854775807', '9223372036854775807'), ('bi', '-9223372036854775808', '-9223372036854775808'),
    ('n', '1.50', '1.50'), ('n', '12345678901234567890.12345678901234567890', '12345678901234567890.12345678901234567890'),
    ('n', '''NaN''', '"NaN"'), ('n', '''Infinity''', '"Infinity"'), ('n', '''-Infinity''', '"-Infinity"'),
    ('f8', '0.1::float8 + 0.2::float8', '0.30000000000000004'), ('f8', '''NaN''', '"NaN"'), ('f8', '''Infinity''', '"Infinity"'),
    ('f8', '5e-324', '5e-324'), ('f4', '0.1', '0.1'),
    ('t', '''text "with" \ quotes''', '"text \"with\" \\ quotes"'), ('t', '''''', '""'),
    ('t', '''Ünïcödé 漢字 🙂''', '"Ünïcödé 漢字 🙂"'), ('t', 'E''tab\tnew\nline\x01''', '"tab\tnew\nline\u0001"'),
    ('vc', '''varchar''', '"varchar"'), ('c', '''ab''', '"ab   "'), ('nm', '''a name''', '"a name"'), ('d', '''domain''', '"domain"'),
    ('e', '''green''', '"green"'),
    ('da', '''2026-02-28''', '"2026-02-28"'), ('da', '''infinity''', '"infinity"'), ('da', '''-infinity''', '"-infinity"'),
    ('da', '''0044-03-15 BC''', '"0044-03-15 BC"'), ('da', '''294276-12-31''', '"294276-12-31"'),
    ('ts', '''2026-07-01 12:34:56.789''', '"2026-07-01T12:34:56.789"'), ('ts', '''infinity''', '"infinity"'),
    ('ts', '''0044-03-15 01:02:03 BC''', '"0044-03-15T01:02:03 BC"'),
    ('tz', '''2026-07-01 12:34:56.789123+02''', '"2026-07-01T10:34:56.789123+00:00"'),
    ('tz', '''infinity''', '"infinity"'), ('tz', '''-infinity''', '"-infinity"'),
    ('tz', '''0044-03-15 12:00:00+00 BC''', '"0044-03-15T12:00:00+00:00 BC"'),
    ('tz', '''1883-11-18 12:00:00+00''', '"1883-11-18T12:00:00+00:00"'),
    ('ti', '''23:59:59.5''', '"23:59:59.5"'), ('tt', '''01:02:03+05:30''', '"01:02:03+05:30"'),
    ('iv', '''1 year 2 mons 3 days 04:05:06.7''', '"1 year 2 mons 3 days 04:05:06.7"'), ('iv', '''-1 day''', '"-1 days"'),
    ('jb', '''1''', '1'), ('jb', '''"string"''', '"string"'), ('jb', '''true''', 'true'), ('jb', '''null''', 'null'),
    ('jb', '''{"a": [1, {"b": null}]}''', '{"a": [1, {"b": null}]}'), ('jb', '''[]''', '[]'), ('jb', '''{}''', '{}'),
    ('j', '''{"b": 1, "a": [2]}''', '{"a": [2], "b": 1}'), ('j', '''3''', '3'),
    ('ar', '''{1,NULL,3}''', '[1, null, 3]'), ('ar', '''{{1,2},{3,4}}''', '[[1, 2], [3, 4]]'), ('ar', '''{}''', '[]'),
    ('ar2', '''{"a,b",NULL}''', '["a,b", null]'),
    ('atz', '''{"2026-07-01 12:00:00+02"}''', '["2026-07-01T10:00:00+00:00"]'),
    ('comp', '(1, ''two'', ''2026-07-01 12:00:00+02''::timestamptz)::public.point3',
     '{"x": 1, "y": "two", "z": "2026-07-01T10:00:00+00:00"}'),
    ('b', '''\xdeadbeef''', '"\\xdeadbeef"'), ('b', '''\x''', '"\\x"'),
    ('u', '''A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11''', '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
    ('r', '''[1,5]''', '"[1,6)"'),
    ('rtz', '''[2026-07-01 12:00:00+02,)''', '"[\"2026-07-01 10:00:00+00\",)"'),
    ('ip', '''10.0.0.0/8''', '"10.0.0.0/8"'), ('x', '''<a/>''', '"<a/>"'), ('bits', 'B''1010''', '"1010"'),
    ('oid8', '4294967295', '"4294967295"'),
    ('later', '8', '8'), ('later_null', '''y''', '"y"');

-- Sets a column from null, back to null, and by a DELETE, under settings that print values differently.
CREATE FUNCTION public.values_of(s public.sample) RETURNS jsonb LANGUAGE plpgsql
SET DateStyle = 'SQL, DMY' SET TimeZone = 'Asia/Kathmandu' SET IntervalStyle = 'sql_standard' SET bytea_output = 'escape'
SET extra_float_digits = -5 AS $$
DECLARE
    seen jsonb := '[]';
BEGIN
    EXECUTE format('UPDATE public.typed SET %I = NULL', s.col);
    EXECUTE format('UPDATE public.typed SET %I = %s', s.col, s.value);
    seen := seen || jsonb_build_array((SELECT changes -> s.col FROM public.last));
    EXECUTE format('UPDATE public.typed SET %I = NULL', s.col);
    seen := seen || jsonb_build_array((SELECT changes -> s.col FROM public.last));
    RETURN seen;
END $$;
SELECT is(public.values_of(s), jsonb_build_array(jsonb_build_array(NULL, s.json), jsonb_build_array(s.json, NULL)),
          format('%s: %s', s.col, s.value))
FROM public.sample s ORDER BY s.sort;

-- float4 and float8 that differ in the last digit only are different
UPDATE public.typed SET f8 = 0.3;
UPDATE public.typed SET f8 = 0.1::float8 + 0.2::float8;
SELECT is((SELECT changes FROM public.last), '{"f8": [0.3, 0.30000000000000004]}', 'the last digit of a float');
UPDATE public.typed SET n = 1.5;
UPDATE public.typed SET n = 1.50;
SELECT is((SELECT changes::text FROM public.last), '{"n": [1.5, 1.50]}', 'the scale of a numeric');

-- only what changed, also among generated columns, and nothing of those that were dropped
UPDATE public.typed SET i = 1, t = 'x';
UPDATE public.typed SET i = 2, t = 'x', later_null = 'z';
SELECT is((SELECT changes FROM public.last), '{"g": [2, 4], "i": [1, 2], "later_null": [null, "z"]}', 'changed columns only');
ALTER TABLE public.typed DROP COLUMN later_null;
UPDATE public.typed SET t = 'y';
SELECT is((SELECT changes FROM public.last), '{"t": ["x", "y"], "g2": ["X", "Y"]}', 'generated columns follow');
ALTER TABLE public.typed RENAME COLUMN t TO "T ext";
UPDATE public.typed SET "T ext" = 'z';
SELECT is((SELECT changes FROM public.last), '{"T ext": ["y", "z"], "g2": ["Y", "Z"]}', 'columns go by their present name');
ALTER TABLE public.typed ALTER COLUMN vc TYPE text;
UPDATE public.typed SET vc = 'longer than twenty characters';
SELECT is((SELECT changes FROM public.last), '{"vc": [null, "longer than twenty characters"]}', 'and type');

-- large values
INSERT INTO public.typed (typed_id, "T ext", jb) VALUES (2, repeat('abcdefghij', 100000), '{}');
SELECT is((SELECT length(changes #>> '{T ext,1}') FROM public.last), 1000000, 'a text of 1 MB is kept');
ALTER TABLE public.typed ALTER COLUMN "T ext" SET STORAGE EXTERNAL, ALTER COLUMN b SET STORAGE EXTERNAL;
UPDATE public.typed SET "T ext" = repeat('0123456789', 100000), b = decode(repeat('00ff', 4000), 'hex') WHERE typed_id = 2;
SELECT is((SELECT md5(changes #>> '{T ext,0}') || md5(changes #>> '{T ext,1}') FROM public.last),
          md5(repeat('abcdefghij', 100000)) || md5(repeat('0123456789', 100000)), 'old and new one');
UPDATE public.typed SET i = 5 WHERE typed_id = 2;
SELECT is((SELECT changes FROM public.last), '{"g": [null, 10], "i": [null, 5]}', 'an unchanged large value is left out');
SELECT is(public.rows_written('UPDATE public.typed SET "T ext" = "T ext" || '''' WHERE typed_id = 2'), 0::bigint,
          'also when it is written again');
SELECT is(public.rows_written('UPDATE public.typed SET "T ext" = overlay("T ext" PLACING ''X'' FROM 999999) WHERE typed_id = 2'),
          1::bigint, 'one changed character in 1 MB is noticed');
DELETE FROM public.typed WHERE typed_id = 2;
SELECT is((SELECT action || ' ' || (changes #>> '{T ext,1}' IS NULL) || ' ' || length(changes #>> '{T ext,0}') FROM public.last),
          'delete true 1000000', 'DELETE keeps the last values');

-- 2. Which changes write a row

SELECT is(public.rows_written('UPDATE public.typed SET i = i, bi = bi, jb = jb'), 0::bigint, 'an unchanged UPDATE writes nothing');
SELECT is(public.rows_written('UPDATE public.typed SET i = 77 WHERE false'), 0::bigint, 'nor one of no row');
INSERT INTO referral.patient (family) VALUES ('First') RETURNING patient_id AS pat \gset
SELECT is(public.rows_written(format('UPDATE referral.patient SET family = ''First'' WHERE patient_id = %s', :pat)), 0::bigint,
          'an unchanged UPDATE of a guarded table writes nothing');
SELECT is((SELECT version FROM referral.patient WHERE patient_id = :pat), 1::bigint, 'and leaves the version');
SELECT is(public.rows_written($$INSERT INTO public.typed (typed_id, i) SELECT g, g FROM generate_series(101, 200) g$$), 100::bigint,
          'INSERT … SELECT: one row each');
SELECT is(public.rows_written($$UPDATE public.typed SET i = CASE WHEN typed_id % 2 = 0 THEN i + 1 ELSE i END WHERE typed_id > 100$$),
          50::bigint, 'a bulk UPDATE: one row for each that changed');
SELECT is(public.rows_written('DELETE FROM public.typed WHERE typed_id > 150'), 50::bigint, 'a bulk DELETE: one row each');
SELECT is(public.rows_written($$INSERT INTO public.typed (typed_id, i) VALUES (101, 9), (201, 9)
                                ON CONFLICT (typed_id) DO UPDATE SET i = excluded.i$$), 2::bigint,
          'ON CONFLICT DO UPDATE: one for the new row, one for the old');
SELECT results_eq($$SELECT action, entity_id FROM referral.journal ORDER BY journal_id DESC LIMIT 2$$,
                  $$VALUES ('insert', 201::bigint), ('update', 101::bigint)$$, 'with the right action');
SELECT is(public.rows_written($$INSERT INTO public.typed (typed_id, i) VALUES (101, 9) ON CONFLICT DO NOTHING$$), 0::bigint,
          'ON CONFLICT DO NOTHING: none');
SELECT is(public.rows_written($$MERGE INTO public.typed t USING (VALUES (101, 10), (102, 0), (301, 11)) v (id, i) ON t.typed_id = v.id
                                WHEN MATCHED AND v.i = 0 THEN DELETE
                                WHEN MATCHED THEN UPDATE SET i = v.i
                                WHEN NOT MATCHED THEN INSERT (typed_id, i) VALUES (v.id, v.i)$$), 3::bigint, 'MERGE: one row each');
SELECT set_eq($$SELECT entity_id, action FROM referral.journal ORDER BY journal_id DESC LIMIT 3$$,
              $$VALUES (301::bigint, 'insert'), (102, 'delete'), (101, 'update')$$, 'with the right action');
SELECT count(*) AS before FROM referral.journal \gset
COPY public.typed (typed_id, i, "T ext") FROM STDIN;
401	1	one
402	2	two
\.
SELECT is((SELECT count(*) FROM referral.journal), :before + 2::bigint, 'COPY: one row each');
SELECT is((SELECT changes FROM public.last), '{"g": [null, 4], "i": [null, 2], "g2": [null, "TWO"], "later": [null, 7], "T ext": [null, "two"]}',
          'with its values');
SELECT is(public.rows_written($$WITH a AS (INSERT INTO public.typed (typed_id) VALUES (501) RETURNING typed_id),
                                     b AS (UPDATE public.typed SET i = -1 WHERE typed_id = 401 RETURNING typed_id)
                                SELECT * FROM a, b$$), 2::bigint, 'changes in WITH: one row each');
SELECT is(public.code('UPDATE referral.patient SET patient_id = 99'), 'RF017', 'an id does not change');
SELECT is(public.code('UPDATE public.typed SET typed_id = 502 WHERE typed_id = 501'), 'RF017', 'also where there is no guard');
SELECT is(public.code('UPDATE public.typed SET org_id = 2 WHERE typed_id = 501'), 'RF017', 'nor does the organisation');

-- subtransactions
BEGIN;
SELECT count(*) AS before FROM referral.journal \gset
UPDATE public.typed SET i = 1000 WHERE typed_id = 401;
SAVEPOINT a;
UPDATE public.typed SET i = 1001 WHERE typed_id = 401;
ROLLBACK TO a;
SAVEPOINT b;
UPDATE public.typed SET i = 1002 WHERE typed_id = 401;
RELEASE b;
COMMIT;
SELECT is((SELECT count(*) FROM referral.journal), :before + 2::bigint, 'what is rolled back to a savepoint leaves no row');
SELECT results_eq($$SELECT changes -> 'i' FROM referral.journal ORDER BY journal_id DESC LIMIT 2$$,
                  $$VALUES ('[1000, 1002]'::jsonb), ('[-1, 1000]')$$, 'the rest is a chain without gap');
SELECT is((SELECT count(DISTINCT xid) FROM (SELECT xid FROM referral.journal ORDER BY journal_id DESC LIMIT 2) x), 1::bigint,
          'subtransactions carry the number of their transaction');
SELECT count(*) AS before FROM referral.journal \gset
BEGIN;
UPDATE public.typed SET i = 2000 WHERE typed_id = 401;
ROLLBACK;
SELECT is((SELECT count(*) FROM referral.journal), :before::bigint, 'what is rolled back leaves no row');

-- several changes of a row in one transaction
BEGIN;
UPDATE public.typed SET i = 1 WHERE typed_id = 401;
UPDATE public.typed SET i = 2 WHERE typed_id = 401;
UPDATE public.typed SET i = 1 WHERE typed_id = 401;
COMMIT;
SELECT results_eq($$SELECT changes -> 'i' FROM referral.journal ORDER BY journal_id DESC LIMIT 3$$,
                  $$VALUES ('[2, 1]'::jsonb), ('[1, 2]'), ('[1002, 1]')$$, 'each of several changes has its row');

-- 3. Who, why, when

SELECT is((SELECT actor || ' ' || actor_kind || ' ' || db_user FROM public.last), 'postgres user postgres', 'a superuser is the actor');
SET application_name = 'the app';
SET referral.actor = 'dr.who';
SET SESSION AUTHORIZATION journal_app;
BEGIN;
SET LOCAL referral.reason = 'because';
SET LOCAL referral.origin = 'EHR';
SET LOCAL referral.correlation_id = 'msg-1';
INSERT INTO referral.referral (patient_id, specialty) VALUES (:pat, 'cardiology') RETURNING referral_id AS ref \gset
SELECT results_eq(
    'SELECT entity, entity_id, version, action, actor, actor_kind, db_user, application_name, reason, origin, correlation_id FROM public.last',
    format($$VALUES ('referral', %s::bigint, 1::bigint, 'insert', 'dr.who', 'user', 'journal_app', 'the app', 'because', 'EHR', 'msg-1')$$, :ref),
    'an application''s change: the person, the login and the circumstances');
SELECT results_eq(
    'SELECT transition, from_step, to_step, from_state::text, to_state::text FROM public.last',
    $$VALUES (NULL, NULL, 'received', NULL, 'received')$$, 'a new row comes to its first step');
SELECT results_eq('SELECT occurred_at = now(), recorded_at >= now(), xid = pg_current_xact_id() FROM public.last',
                  'VALUES (true, true, true)', 'it occurs with its transaction, and is recorded when it is written');
COMMIT;
UPDATE referral.referral SET state = 'validated' WHERE referral_id = :ref;
SELECT results_eq(
    'SELECT version, action, transition, from_step, to_step, from_state::text, to_state::text, changes, reason, origin, correlation_id FROM public.last',
    $$VALUES (2::bigint, 'update', 'validate', 'received', 'validated', 'received', 'validated', NULL::jsonb, NULL, NULL, NULL)$$,
    'a move: version, transition, both steps and states; nothing else changed');
SELECT is((SELECT j.rule_version FROM public.last j),
          (SELECT w.rule_version_id FROM referral.workflow w WHERE w.name = 'standard'), 'and the rules that allowed it');
UPDATE referral.referral SET reason_text = 'chest pain' WHERE referral_id = :ref;
SELECT results_eq(
    'SELECT version, transition, from_step, to_step, from_state::text, to_state::text, rule_version, changes FROM public.last',
    $$VALUES (3::bigint, NULL, NULL, NULL, NULL, NULL, NULL::bigint, '{"reason_text": [null, "chest pain"]}'::jsonb)$$,
    'a change that moves nothing: version and the column');
UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_patient', reason_text = 'pain' WHERE referral_id = :ref;
SELECT results_eq('SELECT version, transition, to_step, changes FROM public.last',
    $$VALUES (4::bigint, 'hold', 'on_hold', '{"reason_text": ["chest pain", "pain"], "status_reason": [null, "waiting_for_patient"]}'::jsonb)$$,
    'a move with other changes: all in one row');
UPDATE referral.referral SET step = 'validated' WHERE referral_id = :ref;
SELECT results_eq('SELECT version, transition, from_step, to_step, changes FROM public.last',
    $$VALUES (5::bigint, 'resume', 'on_hold', 'validated', '{"status_reason": ["waiting_for_patient", null]}'::jsonb)$$,
    'the cleared reason of the former step is a change');
RESET referral.actor;
UPDATE referral.referral SET reason_text = 'x' WHERE referral_id = :ref;
SELECT is((SELECT actor || ' ' || actor_kind FROM public.last), 'journal_app system', 'an application that names nobody is a system');
SET SESSION AUTHORIZATION journal_jane;
SET referral.actor = 'somebody else';
SET ROLE referral_coordinator;
UPDATE referral.referral SET reason_text = 'y' WHERE referral_id = :ref;
SELECT is((SELECT actor || ' ' || db_user FROM public.last), 'journal_jane journal_jane', 'a plain login is itself, whatever it sets');
RESET ROLE;
RESET referral.actor;
SET application_name = '';
UPDATE referral.referral SET reason_text = 'z' WHERE referral_id = :ref;
SELECT is((SELECT application_name FROM public.last), NULL, 'an empty setting is null');
RESET application_name;
-- imported history
SET referral.occurred_at = '2020-02-29 12:00:00+00';
SELECT is(public.code(format('UPDATE referral.referral SET reason_text = ''a'' WHERE referral_id = %s', :ref)), 'RF003',
          'only an interface may say when something happened');
SET SESSION AUTHORIZATION journal_feed;
UPDATE referral.referral SET reason_text = 'b' WHERE referral_id = :ref;
SELECT results_eq($$SELECT occurred_at, recorded_at > '2020-03-01' FROM public.last$$, $$VALUES ('2020-02-29 12:00:00+00'::timestamptz, true)$$,
                  'occurred_at is the event''s time, recorded_at the real one');
SET TimeZone = 'America/New_York';
SET referral.occurred_at = '2020-02-29 12:00:00';
UPDATE referral.referral SET reason_text = 'c' WHERE referral_id = :ref;
SELECT is((SELECT occurred_at FROM public.last), '2020-02-29 17:00:00+00'::timestamptz, 'in the session''s time zone when it names none');
SET referral.occurred_at = '2200-01-01';
SELECT is(public.code(format('UPDATE referral.referral SET reason_text = ''d'' WHERE referral_id = %s', :ref)), 'RF018', 'the future has not occurred');
SET referral.occurred_at = 'infinity';
SELECT is(public.code(format('UPDATE referral.referral SET reason_text = ''d'' WHERE referral_id = %s', :ref)), 'RF018', 'nor has infinity');
SET referral.occurred_at = 'yesterday noon-ish';
SELECT isnt(public.code(format('UPDATE referral.referral SET reason_text = ''d'' WHERE referral_id = %s', :ref)), 'done', 'nonsense is refused');
RESET referral.occurred_at;
RESET TimeZone;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(version ORDER BY journal_id) FROM referral.journal WHERE entity = 'referral' AND entity_id = :ref),
          ARRAY(SELECT generate_series(1, (SELECT version FROM referral.referral WHERE referral_id = :ref))),
          'the versions of a row are 1 to n without gap');
SELECT results_eq(format('SELECT transition, from_step, to_step FROM referral.history WHERE entity = ''referral'' AND entity_id = %s ORDER BY journal_id', :ref),
                  $$VALUES (NULL, NULL, 'received'), ('validate', 'received', 'validated'), ('hold', 'validated', 'on_hold'),
                           ('resume', 'on_hold', 'validated')$$, 'history shows its steps');
SELECT is((SELECT count(*) FROM referral.history WHERE entity = 'referral' AND entity_id = :ref AND time_in_step IS NULL), 1::bigint,
          'all but the present one with the time spent in them');
-- the epoch is the one of this cluster
SELECT results_eq('SELECT DISTINCT j.xid_epoch FROM referral.journal j',
                  $$SELECT e.xid_epoch FROM referral.journal_epoch e
                    WHERE e.system_identifier = (SELECT system_identifier::text FROM pg_control_system())$$, 'one epoch, that of this cluster');
SELECT is((SELECT count(*) FROM referral.journal_epoch), 1::bigint, 'and no other');

-- 4. No way around it

SELECT is(public.code(format('TRUNCATE %s CASCADE', c.relname)), 'RF007', format('TRUNCATE %s is refused', c.relname))
FROM (VALUES ('referral.journal'), ('referral.referral'), ('referral.patient'), ('referral.workflow'), ('public.typed')) c (relname);
SELECT is(public.code(s), 'RF007', s || ' is refused, for a superuser too')
FROM unnest(ARRAY['UPDATE referral.journal SET reason = ''x''', 'DELETE FROM referral.journal',
                  'MERGE INTO referral.journal j USING (VALUES (1)) v ON j.org_id = 1 WHEN MATCHED THEN DELETE',
                  'INSERT INTO referral.journal SELECT * FROM referral.journal WHERE org_id = 1 LIMIT 1 ON CONFLICT (org_id, xid_epoch, xid, journal_id, recorded_at) DO UPDATE SET reason = ''x''']) s;
SET session_replication_role = replica;
SELECT is(public.code(s), 'RF007', s || ' is refused, also in the role of a replica')
FROM unnest(ARRAY['UPDATE referral.journal SET reason = ''x''', 'DELETE FROM referral.journal', 'TRUNCATE referral.journal']) s;
SELECT is(public.rows_written($$INSERT INTO public.typed (typed_id) VALUES (601)$$), 0::bigint, 'a replica writes no journal of its own');
SELECT is(public.rows_written(format('UPDATE referral.referral SET state = ''closed_loop'', version = 77 WHERE referral_id = %s', :ref)), 0::bigint,
          'neither does the guard stand in its way');
SELECT is((SELECT version FROM referral.referral WHERE referral_id = :ref), 77::bigint, 'nor change what it carries');
UPDATE referral.referral SET state = 'validated', version = (SELECT max(version) FROM referral.journal WHERE entity = 'referral' AND entity_id = :ref)
WHERE referral_id = :ref;
RESET session_replication_role;

-- a journal that cannot be written
SELECT version AS version FROM referral.referral WHERE referral_id = :ref \gset
ALTER TABLE referral.journal ADD CONSTRAINT journal_no_blue CHECK (reason IS DISTINCT FROM 'blue');
SET referral.reason = 'blue';
SELECT is(public.code(format('UPDATE referral.referral SET reason_text = ''e'' WHERE referral_id = %s', :ref)), '23514',
          'a journal row that is refused fails the change');
SELECT is(public.code($$INSERT INTO referral.patient (family) VALUES ('blue')$$), '23514', 'an INSERT too');
SELECT is(public.code($$DELETE FROM public.typed WHERE typed_id = 401$$), '23514', 'and a DELETE');
RESET referral.reason;
SELECT is((SELECT version FROM referral.referral WHERE referral_id = :ref), :version::bigint, 'the row stays as it was');
SELECT lives_ok(format('UPDATE referral.referral SET reason_text = ''f'' WHERE referral_id = %s', :ref), 'and can be changed afterwards');
ALTER TABLE referral.journal DROP CONSTRAINT journal_no_blue;
-- the same when the row trigger is told to do nothing: the change must not go unrecorded
CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER swallow BEFORE INSERT ON referral.journal FOR EACH ROW EXECUTE FUNCTION public.swallow();
SELECT isnt(public.code(format('UPDATE referral.referral SET reason_text = ''g'' WHERE referral_id = %s', :ref)), 'done',
            'a journal row that a trigger swallows fails the change');
DROP TRIGGER swallow ON referral.journal;

-- 5. What a site adds to the journal

ALTER TABLE referral.journal ADD COLUMN site_note text DEFAULT 'noted', ADD COLUMN site_number bigint NOT NULL DEFAULT 5,
    ADD COLUMN actor_upper text GENERATED ALWAYS AS (upper(actor)) STORED;
CREATE INDEX journal_actor_idx ON referral.journal (actor, recorded_at);
CREATE TABLE public.outbox (journal_id bigint, note text, seen_by name);
CREATE FUNCTION public.to_outbox() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.outbox VALUES (NEW.journal_id, NEW.site_note, session_user);
    RETURN NULL;
END $$;
CREATE TRIGGER to_outbox AFTER INSERT ON referral.journal FOR EACH ROW WHEN (NEW.entity = 'patient') EXECUTE FUNCTION public.to_outbox();
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.origin := 'stamped'; RETURN NEW; END$$;
CREATE TRIGGER stamp BEFORE INSERT ON referral.journal FOR EACH ROW EXECUTE FUNCTION public.stamp();
SET SESSION AUTHORIZATION journal_jane;
SELECT lives_ok($$INSERT INTO referral.patient (family) VALUES ('Added')$$, 'the journal works with added columns, index and triggers');
SELECT results_eq('SELECT site_note, site_number, actor_upper, origin FROM referral.journal ORDER BY journal_id DESC LIMIT 1',
                  $$VALUES ('noted', 5::bigint, 'JOURNAL_JANE', 'stamped')$$,
                  'an added column has its default or what it is generated as, a BEFORE trigger works');
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT journal_id, seen_by = 'journal_jane' FROM public.outbox$$,
                  $$SELECT journal_id, true FROM referral.journal ORDER BY journal_id DESC LIMIT 1$$, 'and an AFTER trigger');
SET enable_seqscan = off;
SELECT is((SELECT count(*) FROM referral.journal WHERE actor = 'journal_jane' AND recorded_at > now() - interval '1 h' AND entity = 'patient'),
          1::bigint, 'the added index finds the row');
RESET enable_seqscan;
DROP TRIGGER stamp ON referral.journal;
ALTER TABLE referral.journal DROP COLUMN site_number, DROP COLUMN actor_upper;
SELECT lives_ok($$INSERT INTO referral.patient (family) VALUES ('Dropped again')$$, 'dropped columns do not matter');
SELECT is((SELECT changes ->> 'family' FROM public.last), '[null, "Dropped again"]', 'the row is in order');
-- a deferred constraint trigger of the site's runs at commit
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON referral.journal DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.to_outbox();
TRUNCATE public.outbox;
BEGIN;
UPDATE public.typed SET i = 4242 WHERE typed_id = 401;
SELECT is((SELECT count(*) FROM public.outbox), 0::bigint, 'a deferred trigger of the journal waits');
COMMIT;
SELECT is((SELECT count(*) FROM public.outbox), 1::bigint, 'and runs at the end of the transaction');

-- 6. Rule tables are journaled under organisation 0, which auditors see

SELECT cmp_ok((SELECT count(*) FROM referral.journal WHERE org_id = 0 AND entity = 'workflow_transition'), '>', 100::bigint,
              'the shipped rules are in the journal');
SET SESSION AUTHORIZATION journal_author;
INSERT INTO referral.rule_version (rule_set_id, note) SELECT rule_set_id, 'mine' FROM referral.rule_set WHERE name = 'reasons';
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT org_id, entity, action, actor, changes ->> ''note'' FROM public.last',
                  $$VALUES (0::bigint, 'rule_version', 'insert', 'journal_author', '[null, "mine"]')$$, 'a new rule version is');
SET SESSION AUTHORIZATION journal_jane;
SELECT is((SELECT count(*) FROM referral.journal WHERE org_id = 0), 0::bigint, 'a coordinator does not see organisation 0');
SELECT cmp_ok((SELECT count(*) FROM referral.journal), '>', 0::bigint, 'but the own one');
SET SESSION AUTHORIZATION journal_auditor;
SELECT cmp_ok((SELECT count(*) FROM referral.journal WHERE org_id = 0), '>', 100::bigint, 'an auditor does');
SELECT cmp_ok((SELECT count(*) FROM referral.journal WHERE org_id = 1), '>', 0::bigint, 'and the own one');
RESET SESSION AUTHORIZATION;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Organisation 2');
SET SESSION AUTHORIZATION journal_auditor;
SELECT is((SELECT array_agg(DISTINCT org_id ORDER BY org_id) FROM referral.journal), '{0,1}', 'but no other');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
