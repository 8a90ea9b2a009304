-- Messages in, when something was said wrong: a content type that is mended, a channel that tells what a payload should have
-- been, a fax that a person files.
SELECT plan(38);
\ir ../lib/refused.sql
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE intake_mend_jane LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'intake_mend_jane', 'user');
SET referral.org_id = '1';

INSERT INTO referral.rule_set (name, kind, owner) VALUES ('source_mapping/test', 'source_mapping', 'Test') RETURNING rule_set_id AS s \gset
INSERT INTO referral.rule_version (rule_set_id, is_seed) VALUES (:s, true) RETURNING rule_version_id AS v \gset
INSERT INTO referral.source_mapping (rule_version_id, mapping) VALUES (:v, 'tulip');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name)
VALUES (:v, 'tulip', 'patient.family', 'last'), (:v, 'tulip', 'patient.given', 'first'), (:v, 'tulip', 'referral.placer_order_number', 'order'),
       (:v, 'tulip', 'coverage.payer_name', 'payer');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;

-- 1. A content type that was wrong

SET SESSION AUTHORIZATION intake_mend_jane;
SELECT message_id AS m, status AS s FROM referral.receive('portal', 'p1', 'application/json; mapping=tulpi', '{"last": "Haze", "order": "P1"}', 'k1') \gset
SELECT is(:'s'::text, 'error', 'a mapping that does not exist: the message is kept with the error');
SELECT is((SELECT status::text FROM referral.receive('portal', 'p1', 'application/json; mapping=tulpi', '{"last": "Haze", "order": "P1"}', 'k1')), 'error', 'the same again is counted');
SELECT results_eq($$SELECT message_id, status::text, outcome, repeated, error FROM referral.receive('portal', 'p1', 'application/json; mapping=tulip', '{"last": "Haze", "order": "P1"}', 'k1')$$,
    format($$VALUES (%s::bigint, 'processed', 'referral_created', true, NULL::text)$$, :m), 'with the right content type it is read by that');
SELECT is((SELECT outcome FROM referral.receive('portal', 'p1', 'text/csv; mapping=tulpi', '{"last": "Haze", "order": "P1"}', 'k1')), 'referral_created', 'once it is read, another content type changes nothing');
SELECT results_eq(format('SELECT content_type, attempts, repeat_count FROM referral.inbox_message WHERE message_id = %s', :m), $$VALUES ('application/json; mapping=tulip', 2, 3)$$, 'what was said last counts');
SELECT is((SELECT string_agg(concat_ws(' > ', j.changes -> 'content_type' ->> 0, j.changes -> 'content_type' ->> 1), ', ' ORDER BY j.journal_id) FROM referral.journal j
           WHERE j.entity = 'inbox_message' AND j.entity_id = :m AND j.changes ? 'content_type'),
    'application/json; mapping=tulpi, application/json; mapping=tulpi > application/json; mapping=tulip', 'the journal has what was said first');
SELECT is((SELECT count(*) FROM referral.exception_item WHERE entity = 'inbox_message' AND entity_id = :m AND status NOT IN ('resolved', 'dismissed')), 0::bigint, 'its exception is closed');
SELECT is(public.code(format($$SELECT referral.reprocess(1, %s, 'text/csv; mapping=tulip')$$, :m)), 'RF007', 'nor can it be processed again by another one');
SELECT message_id AS m FROM referral.receive('portal', 'p1', 'application/json; mapping=tulpi', '{"last": "Haze", "order": "P2"}') \gset
SELECT is((SELECT outcome FROM referral.reprocess(1, :m, 'application/json; mapping=tulip')), 'referral_created', 'reprocess() takes a content type, too');
SELECT message_id AS m FROM referral.receive('portal', 'p1', 'text/plain', E'last,order\nHaze,P3') \gset
SELECT is((SELECT outcome FROM referral.reprocess(1, :m, 'text/csv; mapping=tulip')), 'referral_created', 'also of what was kept as a document');
SELECT is((SELECT outcome FROM referral.reprocess(1, :m)), 'referral_unchanged', 'by which it is read from then on');
SELECT is(public.code(format($$UPDATE referral.inbox_message SET content_type = 'x' WHERE message_id = %s$$, :m)), '42501', 'nobody else can write it');

CREATE TEMP TABLE staged (last text, "order" text);
INSERT INTO staged SELECT 'Bulk' || i, 'Q' || i FROM generate_series(1, 3) i;
SELECT results_eq($$SELECT code, hint FROM public.refused($r$SELECT * FROM referral.receive_chunk('flat_file', 'b', 'text/csv; mapping=tulpi', ARRAY['x'], NULL)$r$)$$,
    $$VALUES ('RF019', 'Active ones: tulip. See referral.source_mapping and referral.rule_version.')$$, 'many are refused before one is taken in');
\set ON_ERROR_STOP off
CALL referral.receive_batch('staged', 'flat_file', 'b', 'text/csv; mapping=tulpi') \g /dev/null
\set refused :LAST_ERROR_SQLSTATE
\set ON_ERROR_STOP on
SELECT is(:'refused' || (SELECT count(*) FROM referral.inbox_message WHERE source = 'b'), 'RF0190', 'rows of a table, too');
CREATE TEMP TABLE raw (payload text);
INSERT INTO raw VALUES ('{"last": "Bulk", "order": "Q4"}'), ('{"last": '), ('7');
CALL referral.receive_batch('raw', 'flat_file', 'b', 'application/json; mapping=tulip') \gset bulk_
CALL referral.receive_batch('raw', 'flat_file', 'b', 'application/json; mapping=tulip') \gset again_
SELECT is(ARRAY[:bulk_processed, :bulk_repeated, :bulk_failed, :bulk_repeated_in_error, :again_processed, :again_repeated, :again_failed, :again_repeated_in_error],
    '{1,0,2,0,0,3,0,2}', 'a batch tells how many that were there already are in error still');
CALL referral.receive_batch('raw', 'flat_file', 'b', 'application/json; mapping = tulip') \gset again_
SELECT is(ARRAY[:again_processed, :again_repeated, :again_failed, :again_repeated_in_error], '{0,1,2,0}', 'which are read again by another content type');
RESET SESSION AUTHORIZATION;

-- 2. What should have been a message is none that a person has to read

SELECT results_eq($$SELECT referral.payload_kind(t, p, c) FROM (VALUES (1, 'hl7v2'::referral.intake_channel, NULL, 'PID|1||x'), (2, 'hl7v2', 'text/plain', 'x'), (3, 'hl7v2', 'application/pdf', 'JVBERi0='),
        (4, 'fhir', NULL, 'Dear'), (5, 'flat_file', NULL, 'a,b'), (6, 'flat_file', NULL, 'MSH|^~'), (7, 'flat_file', NULL, '[{"a": 1}]'), (8, 'fax', NULL, 'Dear'), (9, 'portal', NULL, 'a,b')) v (n, c, t, p) ORDER BY n$$,
    $$SELECT unnest('{hl7,hl7,document,fhir,csv,hl7,json,document,document}'::text[])$$, 'what does not tell is what the channel carries');
CREATE TEMP TABLE got AS SELECT v.n, r.* FROM (VALUES (1, 'hl7v2'::referral.intake_channel, 'PID|1||x'), (2, 'hl7v2', ''), (3, 'fax', E' \n'), (4, 'fhir', 'Dear'), (5, 'flat_file', E'last,order\nHaze,P9'), (6, 'flat_file', E'\uFEFF')) v (n, channel, payload)
    CROSS JOIN LATERAL referral.receive(v.channel, 'broken', NULL, v.payload, 'b' || v.n) r;
SELECT results_eq('SELECT status::text, error FROM got ORDER BY n', $$VALUES ('error', 'RF014 invalid HL7 message'), ('error', 'RF014 the message is empty'), ('error', 'RF014 the message is empty'),
    ('error', 'RF014 the message is not JSON'), ('error', 'RF014 no mapping says what the fields mean'), ('error', 'RF014 the message is empty')$$, 'broken and empty ones are errors');
SELECT is((SELECT count(*) FROM referral.exception_queue e JOIN got g ON e.entity = 'inbox_message' AND e.entity_id = g.message_id WHERE (e.category, e.code) = ('integration', 'not_processed')), 6::bigint, 'of which the queue tells');
SELECT is((SELECT count(*) FROM referral.document d JOIN got g ON d.inbox_message_id = g.message_id), 0::bigint, 'and no documents');
SELECT is((SELECT outcome FROM referral.receive('flat_file', 'broken', 'text/csv; mapping=tulip', E'last,order\nHaze,P9', 'b5')), 'referral_created', 'sent again with the right content type, it is read');
SELECT is((SELECT status::text FROM referral.receive('flat_file', 'broken', 'text/csv; mapping=tulip', E'last,order\n')), 'ignored', 'a header without rows is a day without news');
SELECT results_eq($$SELECT code, hint FROM public.refused($r$INSERT INTO referral.source_system (source, default_mapping) VALUES ('tulips', 'nonesuch')$r$)$$, $$VALUES ('RF019', 'There are: tulip.')$$, 'a default mapping is one that there is');
INSERT INTO referral.source_system (source, default_mapping) VALUES ('tulips', 'tulip');
SELECT is(public.code($$UPDATE referral.source_system SET default_mapping = 'nonesuch' WHERE source = 'tulips'$$), 'RF019', 'later, too');
SELECT is((SELECT outcome FROM referral.receive('flat_file', 'tulips', NULL, E'last,order\nHaze,P10')), 'referral_created', 'a file without a content type is read by it');

-- 3. What is found in a file says in which line

SELECT message_id AS m FROM referral.receive('flat_file', 'lines', 'text/csv; mapping=tulip', E'last,first,order,payer\nHaze,Dolores,L1,Blue Horizon\n,,L2,\nHaze,Charlotte,L3,Blue Horizon') \gset
SELECT is((SELECT array_agg(concat_ws(' ', f.code, f.position) ORDER BY f.position, f.code) FROM referral.data_quality_finding f WHERE f.message_id = :m AND f.resolved_at IS NULL AND f.code IN ('unknown_payer', 'patient_missing')),
    '{unknown_payer line 2,patient_missing line 3}', 'what is found when a row is written is found in its line');
SELECT results_eq(format($$SELECT findings = ARRAY(SELECT DISTINCT unnest(findings) ORDER BY 1) FROM referral.inbox_outcome WHERE message_id = %s$$, :m), 'VALUES (true)', 'the report names each code once');
CREATE TEMP TABLE found AS SELECT finding_id FROM referral.data_quality_finding WHERE message_id = :m;
SELECT referral.reprocess(1, :m) \g /dev/null
SELECT is((SELECT count(*) FROM referral.data_quality_finding f WHERE f.message_id = :m AND f.position IS NULL), 0::bigint, 'also when it is processed again');
SELECT is((SELECT string_agg(f.position, ', ') FROM referral.data_quality_finding f WHERE f.message_id = :m AND f.code = 'patient_missing'), 'line 3', 'when what still holds is not found anew');

-- 4. A fax that a person files

CREATE FUNCTION public.open_of(id bigint) RETURNS bigint LANGUAGE sql AS
$$SELECT count(*) FROM referral.exception_item e WHERE e.entity = 'inbox_message' AND e.entity_id = id AND e.code = 'content_not_indexed' AND e.status NOT IN ('resolved', 'dismissed')$$;
CREATE ROLE intake_mend_bot LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'intake_mend_bot', 'ai');
SELECT message_id AS m FROM referral.receive('fax', 'fax_desk', 'image/tiff', 'SUkqAA==') \gset
SELECT message_id AS other FROM referral.receive('fax', 'fax_desk', 'image/tiff', 'SUkqAB==') \gset
SELECT is(public.open_of(:m), 1::bigint, 'a fax waits for a person');
SET SESSION AUTHORIZATION intake_mend_jane;
BEGIN;
SELECT set_config('referral.inbox_message', :'m', true) \g /dev/null
INSERT INTO referral.patient (family, given, birth_date) VALUES ('Voss', 'Ina', '1971-02-03') RETURNING patient_id AS p \gset
INSERT INTO referral.referral (patient_id, specialty, channel, source, received_at)
SELECT :p, 'neurology', m.channel::text, m.source, m.received_at FROM referral.inbox_message m WHERE (m.org_id, m.message_id) = (1, :m) RETURNING referral_id AS r \gset
UPDATE referral.document SET referral_id = :r WHERE inbox_message_id = :m;
SELECT is(public.open_of(:m), 1::bigint, 'without a type it is not filed');
UPDATE referral.document SET type = 'referral_letter', patient_id = :p WHERE inbox_message_id = :m;
COMMIT;
SELECT is(public.open_of(:m), 0::bigint, 'with a referral and a type it is');
SELECT results_eq(format('SELECT outcome, referral_id, patient_id, findings, referrals FROM referral.inbox_outcome WHERE message_id = %s', :m),
    format($$VALUES ('document_updated', %s::bigint, %s::bigint, NULL::text[], ARRAY[%1$s::bigint])$$, :r, :p), 'the report tells the referral');
SELECT results_eq(format('SELECT r.received_at = m.received_at, (SELECT bool_and(c.started_at = m.received_at) FROM referral.sla_clock c WHERE c.entity = ''referral'' AND c.entity_id = r.referral_id)
    FROM referral.referral r, referral.inbox_message m WHERE r.referral_id = %s AND m.message_id = %s', :r, :m), 'VALUES (true, true)', 'which has waited since the fax came');
SELECT results_eq(format('SELECT outcome, referral_id, findings FROM referral.reprocess(1, %s)', :m), format($$VALUES ('document_unchanged', %s::bigint, 0)$$, :r), 'processed again, it stays filed');
SELECT is(public.open_of(:m), 0::bigint, 'and nothing waits');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION intake_mend_bot;
UPDATE referral.document SET referral_id = :r, type = 'referral_letter' WHERE inbox_message_id = :other;
RESET SESSION AUTHORIZATION;
SELECT is(public.open_of(:other), 1::bigint, 'a model cannot file one for good');
SET SESSION AUTHORIZATION intake_mend_jane;
SELECT is(public.code('SELECT referral.document_filed()'), '42501', 'and nobody calls what it takes');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
