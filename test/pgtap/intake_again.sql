-- What comes later: messages that complete, that were mended, that come in another frame, and reports before their visit.
SELECT plan(64);
\ir ../lib/refused.sql
SET timezone = 'UTC';
CREATE ROLE intake_again_feed LOGIN IN ROLE referral_integration;
CREATE ROLE intake_again_jane LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'intake_again_feed', 'system'), (1, 'intake_again_jane', 'user');
SET referral.org_id = 1;
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE FUNCTION public.open(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(DISTINCT category || '/' || code, ' ' ORDER BY category || '/' || code), '') FROM referral.exception_item
    WHERE referral_id = id AND status IN ('open', 'in_progress') $$;
CREATE FUNCTION public.questions(patient bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', f.code, f.attribute, (SELECT e.status FROM referral.exception_item e WHERE e.entity = 'inbox_message' AND e.entity_id = f.message_id AND e.code = f.code)),
                      ', ' ORDER BY f.attribute) FROM referral.data_quality_finding f WHERE f.patient_id = patient AND f.attribute LIKE 'patient.%' AND f.resolved_at IS NULL $$;
CREATE FUNCTION public.msg(type text, control text, VARIADIC segments text[]) RETURNS text LANGUAGE sql AS $$
    SELECT 'MSH|^~\&|LAKE|CLINIC|HUB|CITY|20260302101500+0000||' || type || '|' || control || '|P|2.5.1' || E'\r' || array_to_string(segments, E'\r') || E'\r' $$;

-- 1. What completes a patient settles what his referrals lack

\set rf1 'RF1|P^Pending^HL70283|R^Routine^HL70280|CAR^Cardiology|||A1^LAKE|20260302|20261231|20260302'
\set prd 'PRD|RP^Referring Provider^HL70286|POWELL^ROBERT^^^DR^MD|||||1003000126^NPI'
SET SESSION AUTHORIZATION intake_again_feed;
SELECT referral_id AS r1, patient_id AS p1 FROM referral.receive('hl7v2', 'lake', NULL, public.msg('REF^I12^REF_I12', 'A1', :'rf1', :'prd',
    'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761325|M', 'DG1|1||R00.2^Palpitations^I10')) \gset
SELECT is(public.open(:r1), 'eligibility/coverage integration/invalid_date policy/birth_date', 'a referral that lacks a birth date and a coverage');
SELECT outcome FROM referral.receive('hl7v2', 'lake', NULL, public.msg('ADT^A08^ADT_A01', 'A2', 'EVN|A08|20260303', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M',
    'IN1|1|GOLD^Gold|A357|Acme|||||||20260101||||||||||||||||||||||||W1')) \gset
SELECT is(public.open(:r1), '', 'the next message of the patient settles it');
SELECT is((SELECT count(*) FROM referral.validation_result WHERE referral_id = :r1), 2::bigint, 'by one check');
SELECT is((SELECT array_agg(concat_ws(' ', code, attribute) ORDER BY code, attribute) FROM referral.data_quality_finding WHERE referral_id = :r1 AND code = 'invalid_date' AND resolved_at IS NULL), NULL,
    'nor is the date that the first one could not tell a question any more');
SELECT outcome FROM referral.receive('hl7v2', 'lake', NULL, public.msg('ADT^A08^ADT_A01', 'B1', 'EVN|A08|20260303', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761325|M')) \gset
SELECT is(public.questions(:p1), 'invalid_date patient.birth_date open', 'a date that is none when it was known already');
SELECT outcome FROM referral.receive('hl7v2', 'lake', NULL, public.msg('ADT^A08^ADT_A01', 'B2', 'EVN|A08|20260303', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom')) \gset
SELECT is(public.questions(:p1), 'invalid_date patient.birth_date open', 'is not settled by who tells none');
SELECT outcome FROM referral.receive('hl7v2', 'lake', NULL, replace(public.msg('ADT^A08^ADT_A01', 'B3', 'EVN|A08|20260303', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761226|M'), '20260302101500', '20260301101500')) \gset
SELECT is(public.questions(:p1), 'invalid_date patient.birth_date open', 'nor by an older message, which is not believed');
SELECT message_id AS b4 FROM referral.receive('hl7v2', 'lake', NULL, public.msg('ADT^A08^ADT_A01', 'B4', 'EVN|A08|20260303', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225')) \gset
SELECT is(public.questions(:p1), NULL, 'but by who tells again what is known');
SELECT is((SELECT array_agg(e.status || ' ' || e.resolution) FROM referral.exception_item e JOIN referral.data_quality_finding f ON f.message_id = e.entity_id AND f.code = e.code
           WHERE e.entity = 'inbox_message' AND f.patient_id = :p1 AND e.code = 'invalid_date'), '{resolved It has been told since.}', 'with its exception');
SELECT outcome FROM referral.receive('hl7v2', 'lake', NULL, public.msg('ADT^A08^ADT_A01', 'A3', 'EVN|A08|20260304', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M||||||2175550101')) \gset
SELECT is((SELECT count(*) FROM referral.validation_result WHERE referral_id = :r1), 2::bigint, 'where nothing is open nothing is checked');
SELECT referral_id AS r2 FROM referral.receive('hl7v2', 'lake', NULL, public.msg('REF^I12^REF_I12', 'A4', replace(:'rf1', 'A1^', 'A2^'), :'prd', 'DG1|1||R00.2^Palpitations^I10')) \gset
SELECT ok(public.open(:r2) LIKE '%integration/patient_missing%policy/patient%', 'a referral without a patient');
SELECT outcome FROM referral.receive('hl7v2', 'lake', NULL, public.msg('REF^I13^REF_I12', 'A5', replace(:'rf1', 'A1^', 'A2^'), :'prd', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M', 'DG1|1||R00.2^Palpitations^I10')) \gset
SELECT is(public.open(:r2), '', 'who gets one has no such exception any more');
SELECT is(public.code('SELECT referral.check_patient(1, 1)'), 'done', 'an interface may check');
RESET SESSION AUTHORIZATION;
SELECT ok(NOT has_function_privilege('referral_auditor', 'referral.check_patient(bigint,bigint)', 'EXECUTE'), 'who only reads may not');
SELECT is(referral.check_patient(1, NULL), NULL, 'null for null');

-- 2. The same message in another frame

SET SESSION AUTHORIZATION intake_again_feed;
SELECT public.msg('REF^I12^REF_I12', 'D1', 'RF1|P|R', 'PID|1||MR2^^^LAKE^MR||Oyelaran^Miriam||19610228|F') AS m \gset
SELECT message_id AS d1, referral_id AS rd FROM referral.receive('hl7v2', 'lake', NULL, :'m') \gset
SELECT is((SELECT string_agg(DISTINCT concat_ws(' ', r.repeated, r.message_id = :d1, r.referral_id = :rd), ', ') FROM unnest(ARRAY[replace(:'m', E'\r', E'\r\n'), replace(:'m', E'\r', E'\n'),
    E'\x0B' || :'m' || E'\x1C\r', rtrim(:'m', E'\r'), E'\uFEFF' || :'m' || E'\n\n']) p CROSS JOIN LATERAL referral.receive('hl7v2', 'lake', NULL, p) r), 't t t', 'comes again');
SELECT is((SELECT repeat_count FROM referral.inbox_message WHERE message_id = :d1), 5, 'and is counted');
SELECT is((SELECT repeated FROM referral.receive('hl7v2', 'lake', NULL, replace(:'m', 'Miriam', 'Miriam A'))), false, 'another content is another message');
SELECT is((SELECT repeated FROM referral.receive('hl7v2', 'other', NULL, :'m')), false, 'and so is that of another source');
SELECT is((SELECT dedup_key FROM referral.inbox_message WHERE message_id = :d1), encode(sha256(convert_to(:'m', 'UTF8')), 'hex'), 'the key is the hash of a message as HL7 writes it');
SELECT message_id AS f1 FROM referral.receive('fax', 'lake', 'text/plain', E'Dear\r\ncolleague') \gset
SELECT is((SELECT repeated FROM referral.receive('fax', 'lake', 'text/plain', E'Dear\ncolleague')), false, 'of what is no HL7 each byte counts');
RESET SESSION AUTHORIZATION;
CREATE TEMP TABLE staged AS SELECT p AS payload FROM unnest(ARRAY[:'m', replace(:'m', E'\r', E'\n'), replace(:'m', 'D1|', 'D2|')]) p;
CALL referral.receive_batch('staged', 'hl7v2', 'lake');
SELECT is((SELECT array_agg(repeat_count ORDER BY message_id) FROM referral.inbox_message WHERE source = 'lake' AND control_id IN ('D1', 'D2')), '{7,0,0}', 'files of messages, too');

SELECT message_id AS torn FROM referral.receive('ehr', 'lake', 'application/fhir+ndjson', E'{"resourceType": "Patient", "id": "t"}\n{"resourceType": "Patient", "id": "u"}\n{"a": \n') \gset
SELECT is((SELECT status || ': ' || error_position FROM referral.inbox_message WHERE message_id = :torn), 'error: part 3, line 1', 'of several parts the one that failed is named');

-- 3. Reports

SET SESSION AUTHORIZATION intake_again_feed;
SELECT public.msg('ORU^R01^ORU_R01', 'E1', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M', 'ORC|RE|A1^LAKE|F-9^CARD', 'OBR|1|A1^LAKE|F-9^CARD|11488-4^Consult^LN|||20260310100000|||||||||||||||20260311||F',
    'OBX|1|TX|11488-4^Consult^LN||No ischemia.||||||F') AS m \gset
SELECT message_id AS e1, outcome AS o1 FROM referral.receive('hl7v2', 'cardio', NULL, :'m') \gset
SELECT is(:'o1'::text, 'report_created', 'a final report of a visit that nobody has told of');
SELECT is((SELECT state::text FROM referral.referral WHERE referral_id = :r1), 'received', 'closes no loop');
SELECT is(public.open(:r1), 'policy/transition_refused', 'and somebody is told');
SELECT results_eq(format('SELECT d.inbox_message_id, d.url FROM referral.consult_report c JOIN referral.document d USING (org_id, document_id) WHERE c.referral_id = %s', :r1),
    format('VALUES (%s::bigint, NULL::text)', :e1), 'its text is in the message that its document names');
SELECT message_id AS e2 FROM referral.receive('hl7v2', 'cardio', NULL, replace(replace(:'m', '|E1|', '|E2|'), 'No ischemia', 'Mild ischemia')) \gset
SELECT results_eq(format('SELECT d.inbox_message_id FROM referral.consult_report c JOIN referral.document d USING (org_id, document_id) WHERE c.referral_id = %s', :r1),
    format('VALUES (%s::bigint)', :e2), 'or in the one that has changed it');
RESET SESSION AUTHORIZATION;
SELECT referral_id AS r3 FROM referral.receive('hl7v2', 'lake', NULL, public.msg('REF^I12^REF_I12', 'E3', replace(:'rf1', 'A1^', 'A3^'), :'prd', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M', 'DG1|1||R00.2^Palpitations^I10')) \gset
SET referral.occurred_at = '2026-03-01 00:00Z';
UPDATE referral.referral SET state = 'validated' WHERE referral_id = :r3;
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = :r3;
UPDATE referral.referral SET state = 'scheduled', scheduled_for = '2026-03-10 10:00Z' WHERE referral_id = :r3;
RESET referral.occurred_at;
SET SESSION AUTHORIZATION intake_again_feed;
SELECT outcome FROM referral.receive('hl7v2', 'cardio', NULL, replace(replace(replace(:'m', '|E1|', '|E4|'), 'A1^', 'A3^'), 'F-9', 'F-10')) \gset
SELECT is((SELECT state::text FROM referral.referral WHERE referral_id = :r3), 'scheduled', 'a report before the visit is told');
SELECT outcome FROM referral.receive('hl7v2', 'cardio', NULL, public.msg('SIU^S14^SIU_S12', 'E5', 'SCH|A3^LAKE|F-10A^CARD|||||||||^^30^20260310100000^20260310103000||||||||||||||Complete|A3^LAKE|F-10^CARD',
    'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M')) \gset
SELECT is((SELECT state::text FROM referral.referral WHERE referral_id = :r3), 'closed_loop', 'closes the loop when the visit is told');
SELECT is(public.open(:r3), '', 'and nobody is asked any more');

SELECT replace(replace(replace(:'m', '|E1|', '|E6|'), 'A1^', 'A6^'), 'F-9', 'F-16') AS early \gset
SELECT message_id AS e6, outcome AS o6 FROM referral.receive('hl7v2', 'cardio', NULL, :'early') \gset
SELECT is(:'o6'::text, 'report_kept', 'a report that comes before its referral');
SELECT document_id AS d6 FROM referral.document WHERE inbox_message_id = :e6 \gset
SELECT referral_id AS r36 FROM referral.receive('hl7v2', 'lake', NULL, public.msg('REF^I12^REF_I12', 'E7', replace(:'rf1', 'A1^', 'A6^'), :'prd', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M', 'DG1|1||R00.2^Palpitations^I10')) \gset
SELECT outcome FROM referral.reprocess(1, :e6) \g /dev/null
SELECT results_eq(format('SELECT document_id, referral_id FROM referral.document WHERE inbox_message_id = %s', :e6), format('VALUES (%s::bigint, %s::bigint)', :d6, :r36), 'belongs to it when it is here, with the document that was kept');
SELECT results_eq(format('SELECT document_id, status FROM referral.consult_report WHERE referral_id = %s', :r36), format('VALUES (%s::bigint, %L)', :d6, 'final'), 'and is its report');
SELECT outcome FROM referral.reprocess(1, :e6) \g /dev/null
SELECT is((SELECT count(*) FROM referral.document WHERE inbox_message_id = :e6), 1::bigint, 'once');

-- Who asks for an answer

SELECT message_id AS e8, outcome AS o8 FROM referral.receive('hl7v2', 'lake', NULL, public.msg('REF^I15^REF_I12', 'E8', replace(:'rf1', 'A1^', 'A6^'), :'prd', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M')) \gset
SELECT results_eq(format('SELECT category::text, code, severity, status::text FROM referral.exception_item WHERE referral_id = %s AND code = %L', :r36, 'answer_wanted'),
    $$VALUES ('integration', 'answer_wanted', 'low', 'open')$$, 'is in the queue, behind what presses more');
SELECT outcome FROM referral.reprocess(1, :e8) \g /dev/null
SELECT is((SELECT count(*) FROM referral.exception_item WHERE referral_id = :r36 AND code = 'answer_wanted'), 1::bigint, 'once');
SELECT message_id AS e9 FROM referral.receive('hl7v2', 'lake', NULL, public.msg('REF^I15^REF_I12', 'E9', replace(:'rf1', 'A1^', 'A66^'), :'prd', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M')) \gset
SELECT is((SELECT string_agg(code, ' ') FROM referral.data_quality_finding WHERE message_id = :e9), 'order_not_found', 'of what is not here somebody is told just that');

-- 4. A refusal is news of its referral

SELECT referral_id AS r4 FROM referral.receive('hl7v2', 'lake', NULL, public.msg('REF^I12^REF_I12', 'G1', replace(:'rf1', 'A1^', 'A4^'), :'prd', 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M', 'DG1|1||R00.2^Palpitations^I10')) \gset
SELECT is((SELECT outcome FROM referral.receive('hl7v2', 'cardio', NULL, public.msg('RRI^I12^RRI_I12', 'G2', 'MSA|AA|G1', replace(replace(:'rf1', 'A1^', 'A4^'), 'P^Pending', 'R^Rejected'), 'PID|1||MR1^^^LAKE^MR||Bellweather^Tom||19761225|M'))),
    'referral_updated', 'the performer refuses');
SELECT is(public.open(:r4), 'policy/decision_declined', 'a person has to decide');
SET SESSION AUTHORIZATION intake_again_jane;
SET referral.reason = 'the performer has no room';
UPDATE referral.referral SET state = 'declined', status_reason = 'no_capacity' WHERE referral_id = :r4;
RESET referral.reason;
SELECT is(public.open(:r4), '', 'which settles it');
SET SESSION AUTHORIZATION intake_again_feed;

-- 5. A claim for a request that is here

SELECT referral_id AS r5 FROM referral.receive('fhir', 'ehr', NULL, '{"resourceType": "ServiceRequest", "id": "s1", "status": "active", "intent": "order", "subject": {"reference": "Patient/p1"},
    "performerType": {"coding": [{"system": "http://snomed.info/sct", "code": "394579002", "display": "Cardiology"}]},
    "contained": [], "code": {"text": "Echo"}}') \gset
SELECT is((SELECT specialty FROM referral.referral WHERE referral_id = :r5), 'cardiology', 'a specialty is kept in words, as HL7 tells it');
SELECT outcome FROM referral.receive('fhir', 'ehr', NULL, '{"resourceType": "Claim", "id": "c1", "use": "preauthorization", "status": "active", "patient": {"reference": "Patient/p1"},
    "item": [{"sequence": 1, "productOrService": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "93306"}]},
              "extension": [{"url": "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-requestedService", "valueReference": {"reference": "ServiceRequest/s1"}}]},
             {"sequence": 2, "extension": [{"url": "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-requestedService", "valueReference": {"reference": "https://ehr.example/fhir/ServiceRequest/s1"}}]}]}') \gset
SELECT is((SELECT referral_id FROM referral.prior_authorization WHERE identifier = 'c1'), :r5::bigint, 'a claim belongs to the request that its items name');
SELECT outcome FROM referral.receive('fhir', 'payer', NULL, '{"resourceType": "ClaimResponse", "id": "cr1", "use": "preauthorization", "status": "active", "outcome": "complete", "preAuthRef": "AUTH-9",
    "request": {"identifier": {"system": "ehr/Claim", "value": "c1"}}, "item": [{"itemSequence": 1, "adjudication": [{"extension": [{"url": "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewAction",
    "extension": [{"url": "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewActionCode", "valueCodeableConcept": {"coding": [{"code": "A1"}]}}]}]}]}]}') \gset
SELECT is((SELECT status FROM referral.prior_authorization WHERE identifier = 'c1'), 'decided', 'and its answer is about it');
SELECT findings AS nf FROM referral.receive('fhir', 'ehr', NULL, '{"resourceType": "Claim", "id": "c2", "use": "preauthorization", "status": "active", "patient": {"reference": "Patient/p1"},
    "item": [{"sequence": 1, "extension": [{"url": "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-requestedService", "valueReference": {"reference": "ServiceRequest/s99"}}]}]}') \gset
SELECT is((SELECT string_agg(f.code || ' ' || f.severity, ', ') FROM referral.data_quality_finding f JOIN referral.inbox_message m USING (org_id, message_id) WHERE m.control_id = 'c2' AND f.code = 'order_not_found'), 'order_not_found warning', 'one that nobody has is told of');

-- 6. A message that was mended counts from when it came

SET SESSION AUTHORIZATION intake_again_feed;
SELECT message_id AS late FROM referral.receive('flat_file', 'csv', 'application/json; mapping=again', '{"last": "Achebe", "order": "Z1"}') \gset
SELECT message_id AS late2 FROM referral.receive('flat_file', 'csv', 'application/json; mapping=again', '{"last": "Okafor", "order": "Z2"}') \gset
RESET SESSION AUTHORIZATION;
INSERT INTO referral.rule_set (name, kind, owner) VALUES ('source_mapping/again', 'source_mapping', 'Test');
INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'source_mapping/again' RETURNING rule_version_id AS v \gset
INSERT INTO referral.source_mapping (rule_version_id, mapping, zone) VALUES (:v, 'again', 'UTC');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name) VALUES (:v, 'again', 'patient.family', 'last'), (:v, 'again', 'patient.phone', 'phone'), (:v, 'again', 'referral.placer_order_number', 'order');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
SELECT pg_sleep(0.1) \g /dev/null
SET SESSION AUTHORIZATION intake_again_feed;
SELECT referral_id AS r6 FROM referral.reprocess(1, :late) \gset
RESET SESSION AUTHORIZATION;
SELECT is((SELECT r.received_at FROM referral.referral r WHERE r.referral_id = :r6), (SELECT received_at FROM referral.inbox_message WHERE message_id = :late), 'the referral was received when its message was');
SELECT is((SELECT min(c.started_at) FROM referral.sla_clock c WHERE c.entity = 'referral' AND c.entity_id = :r6), (SELECT received_at FROM referral.inbox_message WHERE message_id = :late), 'and its clocks run since then');

SELECT received_at AS came FROM referral.inbox_message WHERE message_id = :late2 \gset
SET SESSION AUTHORIZATION intake_again_jane;
SELECT referral_id AS r62 FROM referral.reprocess(1, :late2) \gset
RESET SESSION AUTHORIZATION;
SELECT is((SELECT min(started_at) FROM referral.sla_clock WHERE entity = 'referral' AND entity_id = :r62), :'came', 'also when a person has it processed');
SELECT ok((SELECT min(occurred_at) > :'came' FROM referral.journal WHERE entity = 'referral' AND entity_id = :r62), 'while the journal tells when that was done');
SELECT is(current_setting('referral.inbox_message'), '', 'nothing of it stays set');
SET SESSION AUTHORIZATION intake_again_jane;
SET referral.inbox_message = :late2;
UPDATE referral.referral SET specialty = 'cardiology', state = 'validated' WHERE referral_id = :r62;
SET referral.inbox_message = '99999999';
INSERT INTO referral.referral (patient_id, specialty) SELECT patient_id, 'cardiology' FROM referral.referral WHERE referral_id = :r62 RETURNING referral_id AS r63 \gset
SELECT is(public.code($$SET referral.inbox_message = 'x'$$), '22023', 'a message has a number');
RESET referral.inbox_message;
RESET SESSION AUTHORIZATION;
SELECT ok((SELECT min(stopped_at) > :'came'::timestamptz + interval '0.05 s' FROM referral.sla_clock WHERE entity = 'referral' AND entity_id = :r62), 'what people do later is not dated back');
SELECT ok((SELECT min(started_at) > :'came' FROM referral.sla_clock WHERE entity = 'referral' AND entity_id = :r63), 'and a message that is not here dates nothing');

-- 7. What a source keeps is written by its own logins, also later

INSERT INTO referral.source_system (source, logins) VALUES ('owner', '{intake_again_feed}');
INSERT INTO referral.rule_set (name, kind) VALUES ('source_of_record/again', 'source_of_record');
INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'source_of_record/again' RETURNING rule_version_id AS v \gset
INSERT INTO referral.source_of_record (rule_version_id, entity, attribute, owner_system, policy) VALUES (:v, 'patient', 'phone', 'owner', 'quarantine');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
SET SESSION AUTHORIZATION intake_again_feed;
SELECT patient_id AS p7 FROM referral.receive('flat_file', 'owner', 'application/json; mapping=again', '{"last": "Nwosu", "order": "Y1"}') \gset
SELECT message_id AS owned, status::text AS s FROM referral.receive('flat_file', 'owner', 'application/json; mapping=missing', '{"last": "Nwosu", "order": "Y1", "phone": "2175550199"}') \gset
RESET SESSION AUTHORIZATION;
SELECT is(:'s'::text, 'error', 'a message whose mapping is missing');
INSERT INTO referral.rule_set (name, kind, owner) VALUES ('source_mapping/missing', 'source_mapping', 'Test');
INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'source_mapping/missing' RETURNING rule_version_id AS v \gset
INSERT INTO referral.source_mapping (rule_version_id, mapping, zone) VALUES (:v, 'missing', 'UTC');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name) VALUES (:v, 'missing', 'patient.family', 'last'), (:v, 'missing', 'patient.phone', 'phone'), (:v, 'missing', 'referral.placer_order_number', 'order');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
SET SESSION AUTHORIZATION intake_again_jane;
SELECT is(public.code(format('SELECT referral.reprocess(1, %s)', :owned)), 'RF003', 'who is not believed for the source does not process it again');
SELECT results_eq($$SELECT * FROM referral.reprocess_errors('owner')$$, 'VALUES (0::bigint, 1::bigint)', 'nor with others');
SELECT is((SELECT status::text FROM referral.inbox_message WHERE message_id = :owned), 'error', 'it waits');
SELECT is((SELECT count(*) FROM referral.rejected_write), 0::bigint, 'and nothing of it is lost');
SET SESSION AUTHORIZATION intake_again_feed;
SELECT is((SELECT status::text FROM referral.reprocess(1, :owned)), 'processed', 'a login of the source does');
SELECT is((SELECT phone FROM referral.patient p JOIN referral.referral r USING (org_id, patient_id) WHERE r.placer_order_number = 'Y1'), '2175550199', 'and what the source keeps is written');
RESET SESSION AUTHORIZATION;
-- What a message reads does not grow with what is here

CREATE FUNCTION public.rows_read() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(t.seq_tup_read + t.idx_tup_fetch) FROM pg_stat_xact_user_tables t
    WHERE t.schemaname = 'referral' AND t.relname IN ('patient', 'identifier') $$;
CREATE FUNCTION public.rows_read_for(payload text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := public.rows_read();
BEGIN
    PERFORM referral.receive('hl7v2', 'many', NULL, payload);
    RETURN public.rows_read() - before;
END $$;
CREATE FUNCTION public.about_one_of_many(control text, number text, family text, born text) RETURNS text LANGUAGE sql AS $$
    SELECT public.msg('REF^I12^REF_I12', control, 'RF1|P|R|CAR|||' || control || '^MANY', 'PRD|RP|POWELL^ROBERT||||||1003000126^NPI',
                      'PID|1||' || number || '^^^MANY^MR||' || family || '^Zoe||' || born || '|F', 'IN1|1|GOLD|A357|Acme|||||||||||||||||||||||||||||W' || number) $$;
WITH made AS (
    INSERT INTO referral.patient (org_id, family, given, birth_date, identifier_system, identifier)
    SELECT 1, 'Many' || i, 'Zoe', date '1940-01-01' + i * 7, 'MANY', 'Z' || i FROM generate_series(1, 1500) i RETURNING org_id, patient_id, identifier
)
INSERT INTO referral.identifier (org_id, patient_id, system, value, type) SELECT org_id, patient_id, 'MANY', identifier, 'MR' FROM made;
ANALYZE referral.patient, referral.identifier;
SET SESSION AUTHORIZATION intake_again_feed;
SELECT cmp_ok(public.rows_read_for(public.about_one_of_many('M1', 'NEW1', 'Unheard', '19500101')), '<', 100::bigint, 'a message about somebody new reads few rows');
SELECT cmp_ok(public.rows_read_for(public.about_one_of_many('M2', 'Z77', 'Many77', '19410623')), '<', 100::bigint, 'about somebody known');
SELECT cmp_ok(public.rows_read_for(replace(public.about_one_of_many('M3', 'Z78', 'Many78', '19410630'), '^MANY^MR', '^MANY^MR~NEW78^^^OTHER^PI')), '<', 100::bigint, 'with a number that he has not had');
SELECT is((SELECT array_agg(i.value ORDER BY i.value) FROM referral.identifier i JOIN referral.identifier k USING (org_id, patient_id) WHERE k.value = 'Z78'), '{NEW78,Z78}', 'which is kept');
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
