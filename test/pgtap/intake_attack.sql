-- Messages in, against those who mean no good: who makes messages ineffective, buries an exception, takes locks, or sends
-- values that do not fit.
SELECT plan(34);
\ir ../lib/refused.sql
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE intake_attack_feed LOGIN IN ROLE referral_integration;
CREATE ROLE intake_attack_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE intake_attack_model LOGIN IN ROLE referral_integration;
CREATE ROLE intake_attack_analyst LOGIN IN ROLE referral_analyst;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'intake_attack_feed', 'system'), (1, 'intake_attack_jane', 'user'),
    (1, 'intake_attack_model', 'ai'), (1, 'intake_attack_analyst', 'user');
SET referral.org_id = '1';

CREATE FUNCTION public.order_message(number text, event text, at text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(E'\r', format('MSH|^~\&|LAKE|CLINIC|HUB|CITY|%s+0000||REF^%s^REF_I12|C%s%s|P|2.5.1', at, event, number, event),
        format('RF1|P^Pending^HL70283|R^Routine^HL70280|CAR^Cardiology^HL70281||O^Outpatient^HL70284|%s^LAKE|20260302', number),
        'PRD|RP^Referring Provider^HL70286|POWELL^ROBERT^^^DR^MD|||||1003000100^NPI',
        format('PID|1||MRN%s^^^LAKE^MR||Quince%s^Ada||19550417|F', number, number), '') $$;

-- 1. Which messages are out of date is said by messages only

SET SESSION AUTHORIZATION intake_attack_feed;
SELECT message_id AS m, referral_id AS r FROM referral.receive('hl7v2', 'poi', NULL, public.order_message('A1', 'I12', '20260302101500')) \gset
SELECT is((SELECT array_agg(entity ORDER BY entity) FILTER (WHERE entity IN ('patient', 'referral')) FROM referral.intake_latest WHERE message_id = :m), '{patient,referral}', 'a message that is received notes what it told of');
SET SESSION AUTHORIZATION intake_attack_jane;
SELECT is(public.code(format($$SELECT referral.intake_note_latest(1, %s, 'poi', '2999-01-01', '[{"entity": "referral", "id": %s}]')$$, :m, :r)), '42501', 'a coordinator cannot note it by hand');
SELECT is(public.code(format($$INSERT INTO referral.intake_latest (org_id, entity, entity_id, source, message_id) VALUES (1, 'referral', %s, 'x', 1000000)$$, :r)), '42501', 'nor write it');
SELECT is(public.code('UPDATE referral.intake_latest SET sent_at = ''2999-01-01'''), '42501', 'nor change it');
SET SESSION AUTHORIZATION intake_attack_model;
SELECT is(public.code(format($$SELECT referral.apply_case(1, 1000000, 'poi', 'hl7v2', '{"kind": "referral", "referral": {"placer_order_number": "A1", "comment": "x"}}')$$)), '42501', 'a model cannot apply a case as that of a message of its choice');
SET SESSION AUTHORIZATION intake_attack_feed;
SELECT is((SELECT outcome FROM referral.receive('hl7v2', 'poi', NULL, public.order_message('A1', 'I14', '20260303101500'))), 'referral_cancelled', 'so the message that takes the order back does so');
RESET SESSION AUTHORIZATION;

-- 2. A model buries no exception

SELECT referral.open_exception(1, 'policy', 'referral', :r, :r, 'buried', 'look at it', 'high', true) AS e \gset
UPDATE referral.exception_item SET due_at = '2026-01-02' WHERE exception_id = :e;
SELECT opened_at AS opened FROM referral.exception_item WHERE exception_id = :e \gset
SET SESSION AUTHORIZATION intake_attack_model;
UPDATE referral.exception_item SET severity = 'low', detail = 'nothing', due_at = 'infinity' WHERE exception_id = :e;
SELECT results_eq(format('SELECT severity, detail, due_at, blocking FROM referral.exception_item WHERE exception_id = %s', :e), $$VALUES ('high', 'look at it', '2026-01-02'::timestamptz, true)$$, 'it stays as urgent as it was');
UPDATE referral.exception_item SET severity = 'critical' WHERE exception_id = :e;
SELECT is((SELECT severity FROM referral.exception_item WHERE exception_id = :e), 'critical', 'a model may make it more urgent');
SELECT is(public.code(format($$UPDATE referral.exception_item SET opened_at = now() + interval '9 years' WHERE exception_id = %s$$, :e)), 'RF017', 'when it was opened is on record');
INSERT INTO referral.exception_item (category, entity, entity_id, code, opened_at) VALUES ('policy', 'referral', :r, 'later', now() + interval '9 years') RETURNING opened_at <= clock_timestamp() AS is_now \gset
SELECT is(:'is_now'::boolean, true, 'none is opened in the future');
SET SESSION AUTHORIZATION intake_attack_jane;
UPDATE referral.exception_item SET severity = 'low', detail = 'looked at' WHERE exception_id = :e;
SELECT results_eq(format('SELECT severity, detail, opened_at = %L FROM referral.exception_item WHERE exception_id = %s', :'opened', :e), $$VALUES ('low', 'looked at', true)$$, 'a person decides how urgent it is');
RESET SESSION AUTHORIZATION;

-- 3. A value that is an object or a list is a finding

SELECT is((SELECT array_agg(concat_ws(' ', f ->> 'code', f ->> 'attribute') ORDER BY f ->> 'attribute') FROM jsonb_array_elements(referral.apply_case(1, NULL, 'bd', 'portal',
    '{"kind": "patient", "patient": {"family": "Objdate", "given": {"a": 1}, "birth_date": ["1980-01-01"], "sex": {"a": 1}, "alias": ["Obie"]},
      "coverages": [{"payer": {"name": "Acme"}, "start": {"a": 1}, "end": ["2027-01-01"], "status": {"a": "active"}, "subscriber_id": ["S1"]}]}') -> 'findings') f
    WHERE f ->> 'detail' = 'not a single value'),
    '{"invalid_date coverage.end","invalid_date coverage.start","invalid_code coverage.status","invalid_value coverage.subscriber_id","invalid_date patient.birth_date","invalid_value patient.given","invalid_code patient.sex"}',
    'of a patient and of his coverage');
SELECT results_eq($$SELECT given, birth_date, sex, alias FROM referral.patient WHERE family = 'Objdate'$$, $$VALUES (NULL::text, NULL::date, NULL::text, '{Obie}'::text[])$$, 'the rest is written');

-- 4. Whatever is long enough is cut off so that it fits into an index

CREATE FUNCTION public.noise(n integer) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(chr(65536 + (hashint4(i) & 65535)), '') FROM generate_series(1, n) i $$;
SET SESSION AUTHORIZATION intake_attack_feed;
CREATE TEMP TABLE long AS SELECT jsonb_build_object('kind', 'referral', 'patient', jsonb_build_object('family', public.noise(600), 'birth_date', '1955-04-17',
    'identifiers', jsonb_build_array(jsonb_build_object('value', public.noise(700), 'system', public.noise(800)))),
    'referral', jsonb_build_object('placer_order_number', public.noise(500)),
    'requester', jsonb_build_object('name', public.noise(500), 'identifiers', jsonb_build_array(jsonb_build_object('value', public.noise(500), 'system', public.noise(500)))),
    'coverages', jsonb_build_array(jsonb_build_object('payer', jsonb_build_object('name', public.noise(500), 'identifier', public.noise(500)), 'plan', jsonb_build_object('name', public.noise(500))))) AS c;
SELECT referral.apply_case(1, NULL, 'long', 'portal', c) ->> 'referral_id' AS r FROM long \gset
SELECT is((SELECT octet_length(placer_order_number) FROM referral.referral WHERE referral_id = :r), 1200, 'a number of characters of four bytes each is written, cut off');
SELECT is((SELECT array_agg(DISTINCT octet_length(i.value)) FROM referral.identifier i JOIN referral.referral r USING (org_id, patient_id) WHERE r.referral_id = :r), '{1200}', 'so is that of a patient');
SELECT is(referral.apply_case(1, NULL, 'long', 'portal', c) ->> 'referral_id', :'r', 'by which it is found again') FROM long;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(referral.intake_text(o, k) ORDER BY k) FROM (SELECT jsonb_build_object('a', '  x ', 'b', 1.50, 'c', true, 'd', null, 'e', '{"y":1}'::jsonb, 'f', ' ', 'g', '[1]'::jsonb) AS o) o, unnest('{a,b,c,d,e,f,g,h}'::text[]) k),
    '{x,1.50,true,NULL,"{\"y\": 1}",NULL,[1],NULL}', 'a short text of a case');
SELECT is(ARRAY[length(referral.intake_text(jsonb_build_object('a', repeat('x', 600)), 'a')), length(referral.intake_text(jsonb_build_object('a', repeat('é', 600)), 'a'))], '{500,500}', 'of 500 characters');
SELECT is(referral.intake_text('[1]', 'a'), NULL, 'none of a list');

-- 5. Locks of intake are its own

SELECT is((SELECT objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() LIMIT 1), NULL, 'none is held');
BEGIN;
SELECT referral.intake_lock(1, 'directory');
SELECT is((SELECT array_agg(DISTINCT objsubid::integer ORDER BY objsubid::integer) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), '{17,18}', 'they are of classes that no function of PostgreSQL takes');
SELECT referral.intake_claim(1, (SELECT array_agg('n' || i) FROM generate_series(1, 20000) i), '{lake}', true);
SELECT cmp_ok((SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'), '<=', 4100::bigint, 'a message with very many numbers takes some thousand');
SELECT is((SELECT max(mode) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid = 18 AND mode = 'ExclusiveLock'), 'ExclusiveLock', 'and one for all others');
SELECT referral.intake_claim(1, (SELECT array_agg('m' || i) FROM generate_series(1, 20000) i), '{lake}', false) AS again \gset
SELECT is(:'again'::boolean, true, 'which counts for all that follow');
COMMIT;
BEGIN;
SELECT referral.intake_lock(1, 'directory');
SELECT is((SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'), 2::bigint, 'the next transaction begins anew');
ROLLBACK;
SELECT ok(referral.is_passing_error('53200'), 'no room for locks is an error of the moment');
SET SESSION AUTHORIZATION intake_attack_analyst;
SELECT is(public.code($$SELECT referral.intake_lock(1, 'directory')$$), '42501', 'who takes no messages in takes none of them');
RESET SESSION AUTHORIZATION;

-- 6. Ways around receive() and reprocess()

SET SESSION AUTHORIZATION intake_attack_feed;
INSERT INTO referral.inbox_message (org_id, channel, source, dedup_key, payload, payload_hash) VALUES (1, 'hl7v2', 'dir', 'h', public.order_message('D1', 'I12', '20260302101500'), '\x00');
SELECT results_eq($$SELECT status::text, outcome, repeated FROM referral.receive('hl7v2', 'dir', NULL, public.order_message('D1', 'I12', '20260302101500'), 'h')$$,
    $$VALUES ('processed', 'referral_created', true)$$, 'a row that somebody has put there does not swallow the message');
SELECT results_eq($$SELECT status::text, outcome, repeated FROM referral.receive('hl7v2', 'dir', NULL, public.order_message('D1', 'I12', '20260302101500'), 'h')$$,
    $$VALUES ('processed', 'referral_created', true)$$, 'which is worked on once');
SELECT is((SELECT attempts FROM referral.inbox_message WHERE source = 'dir'), 1, 'as it says');
SELECT is(public.code($$SELECT referral.keep_document(1, 1, 'x', NULL, 'x')$$), '42501', 'nobody keeps a document as that of any message');
SELECT is((SELECT array_agg(r.outcome) FROM referral.receive('fax', 'faxes', 'text/plain', 'Dear Colleague') r), '{document_created}', 'but receive()');
RESET SESSION AUTHORIZATION;
SELECT hasnt_function('referral', 'work_on_message', 'reprocess() has no way around its check');

-- 7. What validate() did not find

SELECT lives_ok(format($$SELECT referral.draft_outreach(1, %s, '[1, "a", null, [1]]', '[true]')$$, :r), 'a list of anything is no list of findings');

SELECT * FROM finish();
