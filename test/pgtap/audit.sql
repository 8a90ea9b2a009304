-- The journal for people: what happened in words, for process mining, and as evidence.
SELECT plan(57);
-- work items follow referrals and would be among what is counted here; see worklist
ALTER TABLE referral.referral DISABLE TRIGGER work;
ALTER TABLE referral.exception_item DISABLE TRIGGER work;
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';

CREATE ROLE audit_admin LOGIN IN ROLE referral_admin;
CREATE ROLE audit_auditor LOGIN IN ROLE referral_auditor;
CREATE ROLE audit_coordinator LOGIN IN ROLE referral_coordinator;
CREATE ROLE audit_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE audit_feed LOGIN IN ROLE referral_integration;
CREATE ROLE audit_application LOGIN IN ROLE referral_application, referral_coordinator;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'two');
INSERT INTO referral.organization_member (org_id, login) SELECT 1, 'audit_' || l FROM unnest(ARRAY['admin', 'auditor', 'coordinator', 'analyst', 'feed']) l;
SET referral.org_id = '1';

\ir ../lib/sealing.sql

-- 1. Words

SELECT is(referral.describe_change(a, t, f, s, c), w, w)
FROM (VALUES ('insert', NULL, NULL, NULL, NULL::jsonb, 'created'),
             ('insert', NULL, NULL, NULL, '{"b": [null, 1], "a": [null, "x"]}', 'created; a: x, b: 1'),
             ('insert', NULL, NULL, 'received', '{"a": [null, true]}', 'created at step received; a: true'),
             ('update', NULL, NULL, NULL, '{"a": ["x", null], "b": [null, ["y"]]}', 'changed; a: x -> (none), b: (none) -> ["y"]'),
             ('update', NULL, NULL, NULL, NULL, 'changed'),
             ('update', 'go', 'a', 'b', NULL, 'moved from a to b (go)'),
             ('update', 'stay', 'a', 'a', '{"x": [1, 2]}', 'moved from a to a (stay); x: 1 -> 2'),
             ('update', 'attach', NULL, 'a', NULL, 'entered a (attach)'),
             ('delete', NULL, NULL, NULL, '{"a": ["x", null]}', 'deleted; a was x'),
             ('delete', NULL, NULL, NULL, NULL, 'deleted')) v (a, t, f, s, c, w);
SELECT is(referral.describe_change('update', 'go', 'a', 'b', '{"%s": ["%I", "\\"]}'), 'moved from a to b (go); %s: %I -> \', 'whatever is in it');
SELECT is(referral.describe_change(NULL, NULL, NULL, NULL, NULL) IS NOT NULL, true, 'never null');

SET SESSION AUTHORIZATION audit_application;
SET referral.org_id = '1';
SET referral.actor = 'dr.who';
BEGIN;
SET LOCAL referral.reason = 'a visit';
SET LOCAL referral.origin = 'EHR';
SET LOCAL referral.correlation_id = 'c-1';
SET LOCAL application_name = 'the app';
INSERT INTO referral.patient (family) VALUES ('Doe') RETURNING patient_id AS pat \gset
INSERT INTO referral.referral (patient_id, specialty) VALUES (:pat, 'cardiology') RETURNING referral_id AS ref \gset
COMMIT;
INSERT INTO referral.document (referral_id, type) VALUES (:ref, 'referral_letter') RETURNING document_id AS doc \gset
UPDATE referral.referral SET state = 'validated' WHERE referral_id = :ref;
UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_patient' WHERE referral_id = :ref;
UPDATE referral.referral SET reason_text = 'pain' WHERE referral_id = :ref;
UPDATE referral.referral SET step = 'validated' WHERE referral_id = :ref;
RESET referral.actor;
RESET SESSION AUTHORIZATION;
DELETE FROM referral.document WHERE document_id = :doc;
SELECT results_eq(format($$SELECT version, what FROM referral.audit_log WHERE org_id = 1 AND entity = 'referral' AND entity_id = %s AND version <> 1 ORDER BY journal_id$$, :ref),
    $$VALUES (2::bigint, 'moved from received to validated (validate)'), (3, 'moved from validated to on_hold (hold); status_reason: (none) -> waiting_for_patient'),
             (4, 'changed; reason_text: (none) -> pain'), (5, 'moved from on_hold to validated (resume); status_reason: waiting_for_patient -> (none)')$$, 'what happened to a referral');
SELECT results_eq(format($$SELECT what LIKE 'created at step received; %%patient_id: %s%%specialty: cardiology%%', reason, origin, correlation_id, application_name, actor, actor_kind, db_user
                           FROM referral.audit_log WHERE entity = 'referral' AND entity_id = %s AND version = 1$$, :pat, :ref),
    $$VALUES (true, 'a visit', 'EHR', 'c-1', 'the app', 'dr.who', 'user', 'audit_application')$$, 'who, and why');
SELECT matches((SELECT what FROM referral.audit_log WHERE entity = 'document' ORDER BY journal_id DESC LIMIT 1), '^deleted; .*type was referral_letter', 'what a deleted row was');
SELECT is((SELECT count(*) FROM referral.audit_log), (SELECT count(*) FROM referral.journal), 'a row for each change');

-- 2. How long it stayed in a step

UPDATE referral.organization SET name = 'One' WHERE org_id = 1;
SET SESSION AUTHORIZATION audit_feed;
SET referral.occurred_at = '2020-01-01 00:00Z';
INSERT INTO referral.referral (patient_id, specialty) VALUES (:pat, 'cardiology') RETURNING referral_id AS imported \gset
SET referral.occurred_at = '2020-01-02 12:00Z';
UPDATE referral.referral SET state = 'validated' WHERE referral_id = :imported;
SET referral.occurred_at = '2020-01-02 13:00Z';
UPDATE referral.referral SET reason_text = 'in between' WHERE referral_id = :imported;
SET referral.occurred_at = '2020-02-29 12:00Z';
UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_patient' WHERE referral_id = :imported;
RESET referral.occurred_at;
RESET SESSION AUTHORIZATION;
SELECT results_eq(format($$SELECT to_step, time_in_step, status_reason FROM referral.history WHERE org_id = 1 AND entity = 'referral' AND entity_id = %s ORDER BY journal_id$$, :imported),
    $$VALUES ('received', interval '1 day 12:00', NULL), ('validated', '58 days', NULL), ('on_hold', NULL, 'waiting_for_patient')$$, 'time in each step but the present one');
SELECT is((SELECT count(*) FROM referral.history WHERE entity = 'referral' AND entity_id = :ref AND time_in_step IS NULL), 1::bigint, 'each referral for itself');

-- 3. Process mining

INSERT INTO referral.site (name, cost_centre) VALUES ('s', 'CC-1') RETURNING site_id AS site \gset
UPDATE referral.referral SET site_id = :site WHERE referral_id = :ref;
SELECT results_eq(format($$SELECT activity, resource, resource_kind, cost_centre, step, state::text, org_id FROM referral.event_log WHERE case_id = %s ORDER BY timestamp, journal_id$$, :ref),
    $$VALUES ('receive', 'dr.who', 'user', 'CC-1', 'received', 'received', 1::bigint), ('add_document', 'dr.who', 'user', 'CC-1', NULL, NULL, 1), ('validate', 'dr.who', 'user', 'CC-1', 'validated', 'validated', 1),
             ('hold', 'dr.who', 'user', 'CC-1', 'on_hold', 'on_hold', 1), ('resume', 'dr.who', 'user', 'CC-1', 'validated', 'validated', 1)$$, 'each step of a case, and what was added to it');
SELECT results_eq(format($$SELECT activity, timestamp, cost_centre FROM referral.event_log WHERE case_id = %s ORDER BY timestamp, journal_id$$, :imported),
    $$VALUES ('receive', '2020-01-01Z'::timestamptz, NULL), ('validate', '2020-01-02 12:00Z', NULL), ('hold', '2020-02-29 12:00Z', NULL)$$, 'at the time when it happened');
SELECT is((SELECT array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'referral' AND table_name = 'event_log'),
          '{org_id,case_id,activity,timestamp,resource,resource_kind,cost_centre,step,state,journal_id}', 'columns of the event log');
-- another organisation's referral of the same number is another case
INSERT INTO referral.patient (org_id, family) VALUES (2, 'elsewhere') RETURNING patient_id AS pat2 \gset
INSERT INTO referral.referral (org_id, referral_id, patient_id) VALUES (2, :ref, :pat2);
SELECT is((SELECT string_agg(org_id || ' ' || coalesce(cost_centre, '-'), ', ' ORDER BY org_id) FROM (SELECT DISTINCT org_id, cost_centre FROM referral.event_log WHERE case_id = :ref) x), '1 CC-1, 2 -', 'organisations are apart');
-- tables of the site's own
CREATE TABLE public.task (org_id bigint NOT NULL DEFAULT 1, task_id bigint PRIMARY KEY, referral_id bigint, note text);
CREATE TABLE public.foreign_key (org_id bigint NOT NULL DEFAULT 1, foreign_key_id bigint PRIMARY KEY, referral_id text);
CREATE TABLE public.of_uuid (org_id bigint NOT NULL DEFAULT 1, of_uuid_id bigint PRIMARY KEY, referral_id uuid);
SELECT referral.track_table('public.task', 'task', 'task_id'), referral.track_table('public.foreign_key', 'foreign_key', 'foreign_key_id'), referral.track_table('public.of_uuid', 'of_uuid', 'of_uuid_id') \g /dev/null
INSERT INTO public.task VALUES (1, 1, :ref, 'call'), (1, 2, NULL, 'none');
SELECT is((SELECT count(*) FROM referral.event_log WHERE activity = 'add_task' AND case_id = :ref), 1::bigint, 'rows of a table of one''s own belong to their case');
INSERT INTO public.foreign_key VALUES (1, 1, 'R-17');
INSERT INTO public.of_uuid VALUES (1, 1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
SELECT is(public.code('SELECT * FROM referral.event_log'), 'done', 'a referral_id of one''s own that is no number is no harm');
INSERT INTO referral.journal_column (entity, column_name, treatment) VALUES ('task', 'referral_id', 'sensitive');
INSERT INTO public.task VALUES (1, 3, :ref, 'call');
SELECT is(public.code('SELECT * FROM referral.event_log'), 'done', 'nor is one that is kept secret');
DELETE FROM referral.journal_column WHERE entity = 'task';

-- 4. Who sees it

SET SESSION AUTHORIZATION audit_auditor;
SELECT is((SELECT array_agg(DISTINCT org_id ORDER BY org_id) FROM referral.audit_log), '{0,1}', 'an auditor reads the log of the installation and of the own organisation');
SET SESSION AUTHORIZATION audit_admin;
SELECT is((SELECT array_agg(DISTINCT org_id ORDER BY org_id) FROM referral.audit_log), '{1}', 'an administrator that of the own organisation');
SET SESSION AUTHORIZATION audit_coordinator;
SELECT is(public.code('SELECT * FROM referral.audit_log'), '42501', 'a coordinator none');
SELECT is((SELECT array_agg(DISTINCT org_id) FROM referral.history), '{1}', 'but the history');
RESET SESSION AUTHORIZATION;
DROP TABLE public.foreign_key, public.of_uuid;

-- 5. Evidence

INSERT INTO referral.document (referral_id, type) VALUES (:ref, 'consult_report'), (:ref, 'other');
SELECT results_eq(format($$SELECT e ->> 'format', e -> 'checkpoint', jsonb_path_exists(e, '$.journal[*] ? (@.proof != null)'), jsonb_array_length(e -> 'journal') FROM referral.evidence_pack(1, %s) e$$, :ref),
    $$VALUES ('org.referral.evidence/1', 'null'::jsonb, false, 10)$$, 'before the first seal there is no proof');
CALL public.settle();
SELECT referral.seal() \g /dev/null
UPDATE referral.referral SET reason_text = 'after the seal' WHERE referral_id = :ref;
CREATE TABLE public.pack AS SELECT referral.evidence_pack(1, :ref) AS e;
SELECT results_eq('SELECT (e -> ''org_id'')::bigint, (e -> ''referral_id'')::bigint, e ->> ''created_by'', e -> ''case'' = (SELECT to_jsonb(r) FROM referral.referral r WHERE org_id = 1 AND referral_id = ' || :ref || ') FROM public.pack',
                  format($$VALUES (1::bigint, %s::bigint, 'postgres', true)$$, :ref), 'whose it is, and the row itself');
SELECT is((SELECT array_agg(k ORDER BY k) FROM public.pack, jsonb_object_keys(e) k), '{case,checkpoint,created_at,created_by,format,history,journal,missing_versions,org_id,referral_id,related,unrecorded}', 'the parts of a pack');
SELECT results_eq('SELECT k, jsonb_array_length(v) FROM public.pack, jsonb_each(e -> ''related'') x (k, v) ORDER BY 1', $$VALUES ('document', 2), ('task', 2)$$, 'the rows that belong to it');
SELECT is((SELECT jsonb_array_length(e -> 'history') FROM public.pack), 4, 'its steps');
SELECT results_eq($$SELECT j #>> '{row,entity}', count(*), count(*) FILTER (WHERE j -> 'proof' <> 'null') FROM public.pack, jsonb_array_elements(e -> 'journal') j GROUP BY 1 ORDER BY 1$$,
                  $$VALUES ('document', 2::bigint, 2::bigint), ('referral', 7, 6), ('task', 2, 2)$$, 'each of their journal rows, with a proof if it is sealed');
-- with nothing but the document
SELECT is((SELECT count(*) FROM public.pack, jsonb_array_elements(e -> 'journal') j
           WHERE j -> 'proof' <> 'null' AND referral.verify_inclusion((j #> '{proof,leaf_index}')::bigint, (e #> '{checkpoint,tree_size}')::bigint, sha256('\x00' || decode(j ->> 'leaf', 'hex')),
               ARRAY(SELECT decode(h, 'hex') FROM jsonb_array_elements_text(j #> '{proof,hashes}') WITH ORDINALITY x (h, n) ORDER BY n), decode(e #>> '{checkpoint,root_hash}', 'hex'))), 10::bigint,
          'each proof leads from the bytes of its row to the root');
SELECT is((SELECT count(*) FROM public.pack, jsonb_array_elements(e -> 'journal') j WHERE j #>> '{proof,leaf_hash}' <> encode(sha256('\x00' || decode(j ->> 'leaf', 'hex')), 'hex')), 0::bigint, 'leaf_hash is that of the bytes');
SELECT is((SELECT e #>> '{checkpoint,text}' FROM public.pack), (SELECT format(E'referral/organization/1\n%s\n%s\n', e #>> '{checkpoint,tree_size}', encode(decode(e #>> '{checkpoint,root_hash}', 'hex'), 'base64')) FROM public.pack),
          'the checkpoint is the same as text');
SELECT is((SELECT e #>> '{checkpoint,root_hash}' FROM public.pack), (SELECT encode(root_hash, 'hex') FROM referral.seal WHERE org_id = 1), 'and the last seal');
-- the bytes are those of the row next to them: actor, for one, and changes
SELECT is((SELECT count(*) FROM public.pack, jsonb_array_elements(e -> 'journal') j WHERE position(convert_to(j #>> '{row,actor}', 'UTF8') IN decode(j ->> 'leaf', 'hex')) = 0
              OR position(convert_to(coalesce(j #>> '{row,changes}', ''), 'UTF8') IN decode(j ->> 'leaf', 'hex')) = 0), 0::bigint, 'the bytes hold what the row says');
SELECT is((SELECT count(*) FROM public.pack, jsonb_array_elements(e -> 'journal') j
           WHERE referral.journal_leaf(jsonb_populate_record(NULL::referral.journal, j -> 'row')) <> decode(j ->> 'leaf', 'hex')), 0::bigint, 'and can be made of it again');
-- the same under other settings
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'German';
SET bytea_output = 'escape';
SELECT is(referral.evidence_pack(1, :ref) - 'created_at', e - 'created_at', 'whatever the session''s settings are') FROM public.pack;
RESET TimeZone;
RESET DateStyle;
RESET bytea_output;
-- tables that a case has nothing to do with
CREATE TABLE public.foreign_key (org_id bigint NOT NULL DEFAULT 1, foreign_key_id bigint PRIMARY KEY, referral_id text);
SELECT referral.track_table('public.foreign_key', 'another_key', 'foreign_key_id') \g /dev/null
SELECT is(public.code(format('SELECT referral.evidence_pack(1, %s)', :ref)), 'done', 'a referral_id of one''s own that is no number is no harm');
DROP TABLE public.foreign_key;
SELECT is(public.code(format('SELECT referral.evidence_pack(1, %s)', :ref)), 'done', 'nor is a table that was dropped');
-- roles
SELECT is(public.code('SELECT referral.evidence_pack(1, 4711)'), 'RF019', 'no such referral');
SELECT is(public.code('SELECT referral.evidence_pack(4711, 1)'), 'RF019', 'no such organisation');
SELECT is(x, NULL, 'null for null') FROM (VALUES (referral.evidence_pack(NULL, 1)), (referral.evidence_pack(1, NULL))) v (x);
SET SESSION AUTHORIZATION audit_auditor;
SELECT results_eq(format($$SELECT e ->> 'created_by', jsonb_array_length(e -> 'journal') FROM referral.evidence_pack(1, %s) e$$, :ref), $$VALUES ('audit_auditor', 9)$$,
                  'an auditor gets it, without tables that an auditor may not read');
SELECT is(public.code(format('SELECT referral.evidence_pack(2, %s)', :ref)), 'RF019', 'but not of another organisation');
SET SESSION AUTHORIZATION audit_admin;
SELECT is((SELECT jsonb_array_length(e -> 'journal') FROM referral.evidence_pack(1, :ref) e), 9, 'an administrator, too');
SELECT is(public.code(format('SELECT referral.evidence_pack(2, %s)', :ref)), 'RF019', 'nor of another organisation');
SET SESSION AUTHORIZATION audit_coordinator;
SELECT is(public.code(format('SELECT referral.evidence_pack(1, %s)', :ref)), '42501', 'a coordinator does not');
SET SESSION AUTHORIZATION audit_analyst;
SELECT is(public.code(s), '42501', 'nor an analyst: ' || s) FROM unnest(ARRAY['SELECT referral.evidence_pack(1, 1)', 'SELECT * FROM referral.audit_log', 'SELECT * FROM referral.event_log']) s;
RESET SESSION AUTHORIZATION;
-- a row that was altered: no proof is given for it
ALTER TABLE referral.journal DISABLE TRIGGER append_only;
SELECT is(public.code(format('UPDATE referral.journal SET actor = ''x'' WHERE entity = ''referral'' AND entity_id = %s AND version = 2; SELECT referral.evidence_pack(1, %s)', :ref, :ref)), 'RF021', 'no pack of an altered row');
ALTER TABLE referral.journal ENABLE ALWAYS TRIGGER append_only;

SELECT * FROM finish();
