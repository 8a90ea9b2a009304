-- Messages over every channel: what became of each, what needs a person, and how a broken one becomes a referral.

\echo
\echo '== 20. A portal sends CSV, a call centre JSON. One person writes down which column is what, another approves it'
CREATE ROLE demo_ann LOGIN;
CREATE ROLE demo_bob LOGIN;
GRANT referral_rule_author TO demo_ann;
GRANT referral_rule_approver TO demo_bob;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'demo_ann', 'user'), (1, 'demo_bob', 'user');
INSERT INTO referral.rule_set (name, kind, owner) VALUES ('source_mapping/portal', 'source_mapping', 'Ann'), ('source_mapping/call_centre', 'source_mapping', 'Ann');
SET SESSION AUTHORIZATION demo_ann;
INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'source_mapping/portal' RETURNING rule_version_id AS portal \gset
INSERT INTO referral.source_mapping (rule_version_id, mapping, title, zone) VALUES (:portal, 'portal', 'Portal of the Lakeside practices', 'America/Chicago');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, constant, format, translation)
VALUES (:portal, 'portal', 'referral.placer_order_number', 'Order No', NULL, NULL, NULL), (:portal, 'portal', 'patient.family', 'Last Name', NULL, NULL, NULL),
       (:portal, 'portal', 'patient.given', 'First Name', NULL, NULL, NULL), (:portal, 'portal', 'patient.birth_date', 'DOB', NULL, 'MM/DD/YYYY', NULL),
       (:portal, 'portal', 'patient.sex', 'Sex', NULL, NULL, 'sex'), (:portal, 'portal', 'patient.identifier', 'MRN', NULL, NULL, NULL),
       (:portal, 'portal', 'patient.identifier_system', NULL, 'HARBOR', NULL, NULL), (:portal, 'portal', 'patient.phone', 'Phone', NULL, NULL, NULL),
       (:portal, 'portal', 'patient.address', 'Street', NULL, NULL, NULL), (:portal, 'portal', 'patient.city', 'City', NULL, NULL, NULL),
       (:portal, 'portal', 'patient.postal_code', 'ZIP', NULL, NULL, NULL), (:portal, 'portal', 'coverage.payer_name', 'Payer', NULL, NULL, NULL),
       (:portal, 'portal', 'coverage.subscriber_id', 'Member No', NULL, NULL, NULL), (:portal, 'portal', 'referral.specialty', 'Dept', NULL, NULL, 'department'),
       (:portal, 'portal', 'referral.urgency', 'Priority', NULL, NULL, 'priority'), (:portal, 'portal', 'referral.diagnosis1_code', 'Diagnosis', NULL, NULL, NULL),
       (:portal, 'portal', 'referral.diagnosis1_system', NULL, 'http://hl7.org/fhir/sid/icd-10-cm', NULL, NULL),
       (:portal, 'portal', 'referral.diagnosis1_text', 'Diagnosis Text', NULL, NULL, NULL), (:portal, 'portal', 'referral.service_code', 'Service', NULL, NULL, NULL),
       (:portal, 'portal', 'requester.identifier', 'Referring NPI', NULL, NULL, NULL), (:portal, 'portal', 'requester.identifier_system', NULL, 'http://hl7.org/fhir/sid/us-npi', NULL, NULL),
       (:portal, 'portal', 'requester.name', 'Referring Provider', NULL, NULL, NULL), (:portal, 'portal', 'referral.authored_at', 'Written', NULL, 'MM/DD/YYYY HH24:MI', NULL);
INSERT INTO referral.code_translation (rule_version_id, translation, source_code, target_code)
VALUES (:portal, 'sex', 'F', 'female'), (:portal, 'sex', 'M', 'male'), (:portal, 'sex', 'X', 'other'), (:portal, 'priority', 'R', 'routine'), (:portal, 'priority', 'U', 'urgent'),
       (:portal, 'priority', 'A', 'asap'), (:portal, 'department', 'CAR', 'cardiology'), (:portal, 'department', 'ORT', 'orthopedics'), (:portal, 'department', 'NEU', 'neurology');
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :portal;
SET SESSION AUTHORIZATION demo_bob;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :portal;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :portal;
SET SESSION AUTHORIZATION demo_intake;
\set csv `cat test/data/portal.csv`
\set call `cat test/data/call_centre.json`
\set fax `cat test/data/fax.txt`
\set QUIET off
SELECT status, outcome, findings, error FROM referral.receive('portal', 'HARBOR_PORTAL', 'text/csv; mapping=portal', :'csv', NULL);
SELECT status, outcome, findings, error FROM referral.receive('call_centre', 'CALLS', 'application/json; mapping=call_centre', :'call', NULL);
SELECT status, outcome, findings, error FROM referral.receive('fax', 'FAX_LINE_1', 'text/plain', :'fax', NULL);
\set QUIET on
SELECT message_id AS fax FROM referral.inbox_message WHERE source = 'FAX_LINE_1' \gset
SELECT message_id AS call FROM referral.inbox_message WHERE source = 'CALLS' \gset

\echo '== 21. HL7 v2 and FHIR: a request, sent twice; a change, an appointment, a no-show, the report; a dirty one; other channels'
\set QUIET off
\set m `cat test/data/ref_i12.hl7`
SELECT status, outcome, repeated FROM referral.receive('hl7v2', 'LAKESIDE_EHR', NULL, replace(:'m', '88213', '90001'), NULL);
SELECT status, outcome, repeated FROM referral.receive('hl7v2', 'LAKESIDE_EHR', NULL, replace(:'m', '88213', '90001'), NULL);
\set QUIET on
SELECT referral_id AS lakeside FROM referral.referral WHERE placer_order_number = 'LKS-REF-90001' \gset
\set m `cat test/data/ref_i13.hl7`
SELECT 1 FROM referral.receive('hl7v2', 'LAKESIDE_EHR', NULL, replace(:'m', '88213', '90001'), NULL) \g /dev/null
SET SESSION AUTHORIZATION demo_jane;
UPDATE referral.referral SET specialty = coalesce(specialty, 'cardiology') WHERE referral_id = :lakeside;
UPDATE referral.referral SET state = 'validated' WHERE referral_id = :lakeside;
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = :lakeside;
SET SESSION AUTHORIZATION demo_intake;
\set m `cat test/data/siu_s12.hl7`
SELECT 1 FROM referral.receive('hl7v2', 'NORTHSHORE_SCHED', NULL, replace(:'m', '88213', '90001'), NULL) \g /dev/null
\set m `cat test/data/siu_s26.hl7`
SELECT 1 FROM referral.receive('hl7v2', 'NORTHSHORE_SCHED', NULL, replace(:'m', '88213', '90001'), NULL) \g /dev/null
\set m `cat test/data/rri_report.hl7`
SELECT 1 FROM referral.receive('hl7v2', 'NORTHSHORE_EHR', NULL, replace(:'m', '88213', '90001'), NULL) \g /dev/null
\set m `cat test/data/ref_i12_dirty.hl7`
SELECT 1 FROM referral.receive('hl7v2', 'LAKESIDE_EHR', NULL, :'m', NULL) \g /dev/null
\set m `cat test/data/omg_o19.hl7`
SELECT 1 FROM referral.receive('ehr', 'LAKESIDE_EHR', NULL, :'m', NULL) \g /dev/null
\set m `cat test/data/orm_o01.hl7`
SELECT 1 FROM referral.receive('partner_feed', 'LAKESIDE_EHR', NULL, :'m', NULL) \g /dev/null
\set m `cat test/data/mdm_t02_letter.hl7`
SELECT 1 FROM referral.receive('secure_message', 'NORTHSHORE_EHR', NULL, :'m', NULL) \g /dev/null
\set m `cat test/data/fhir_referral.json`
SELECT 1 FROM referral.receive('fhir', 'OAKGROVE', NULL, :'m', NULL) \g /dev/null
\set m `cat test/data/fhir_tasks.json`
SELECT 1 FROM referral.receive('fhir', 'OAKGROVE', NULL, :'m', NULL) \g /dev/null
\set m `cat test/data/fhir_dirty.json`
SELECT 1 FROM referral.receive('fhir', 'OAKGROVE', NULL, :'m', NULL) \g /dev/null
SELECT 1 FROM referral.receive('fax_email', 'FAX_LINE_2', 'application/pdf', 'JVBERi0xLjQgbm90IHJlYWxseQ==', NULL) \g /dev/null
-- a staging table filled by COPY, as of a nightly file; one row is about a referral that is known
CREATE TEMP TABLE nightly ("Order No" text, "Last Name" text, "First Name" text, "DOB" text, "Sex" text, "MRN" text, "Dept" text, "Priority" text);
COPY nightly FROM stdin;
P-70001	Aalto	Ritva	03/14/1951	F	HB-1001	CAR	U
N-1	Lehto	Kaarlo	02/02/1949	M	HB-2001	CAR	R
N-2	Ode	Amara	11/30/1972	F	HB-2002	ORT	U
\.
\set QUIET off
CALL referral.receive_batch('nightly', 'flat_file', 'HARBOR_PORTAL', 'application/json; mapping=portal');
\set QUIET on

\echo
\echo '== 22. What became of each message'
SELECT message_id AS id, channel, source, coalesce(outcome, status::text || ': ' || error) AS outcome, referral_id AS referral,
       array_to_string(findings, E'\n') AS findings, array_to_string(exceptions, E'\n') AS exceptions
FROM referral.inbox_outcome ORDER BY message_id;

\echo '== 23. What needs a person'
SET SESSION AUTHORIZATION demo_jane;
SELECT category, code, severity, count(*) AS items, min(entity || ' ' || entity_id) AS for_example FROM referral.exception_item
WHERE status = 'open' GROUP BY 1, 2, 3 ORDER BY array_position('{high,medium,low}', severity), 4 DESC, 1, 2;

\echo '== 24. The call centre''s mapping is written and approved; the message that waited becomes a referral'
SET SESSION AUTHORIZATION demo_ann;
INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'source_mapping/call_centre' RETURNING rule_version_id AS calls \gset
INSERT INTO referral.source_mapping (rule_version_id, mapping, title) VALUES (:calls, 'call_centre', 'Form of the call centre');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, constant, translation)
VALUES (:calls, 'call_centre', 'referral.placer_order_number', 'call.id', NULL, NULL), (:calls, 'call_centre', 'referral.authored_at', 'call.taken_at', NULL, NULL),
       (:calls, 'call_centre', 'patient.family', 'patient.last', NULL, NULL), (:calls, 'call_centre', 'patient.given', 'patient.first', NULL, NULL),
       (:calls, 'call_centre', 'patient.birth_date', 'patient.born', NULL, NULL), (:calls, 'call_centre', 'patient.sex', 'patient.sex', NULL, 'sex'),
       (:calls, 'call_centre', 'patient.phone', 'patient.phone', NULL, NULL), (:calls, 'call_centre', 'patient.identifier', 'patient.mrn', NULL, NULL),
       (:calls, 'call_centre', 'patient.identifier_system', NULL, 'HARBOR', NULL), (:calls, 'call_centre', 'coverage.payer_name', 'insurance.company', NULL, NULL),
       (:calls, 'call_centre', 'coverage.subscriber_id', 'insurance.member', NULL, NULL), (:calls, 'call_centre', 'referral.specialty', 'request.department', NULL, 'department'),
       (:calls, 'call_centre', 'referral.urgency', 'request.urgent', NULL, 'urgent'), (:calls, 'call_centre', 'referral.diagnosis1_code', 'request.why', NULL, NULL),
       (:calls, 'call_centre', 'referral.reason_text', 'request.why_text', NULL, NULL), (:calls, 'call_centre', 'referral.service_code', 'request.service', NULL, NULL),
       (:calls, 'call_centre', 'requester.name', 'caller.name', NULL, NULL), (:calls, 'call_centre', 'requester.identifier', 'caller.npi', NULL, NULL);
INSERT INTO referral.code_translation (rule_version_id, translation, source_code, target_code)
VALUES (:calls, 'sex', 'F', 'female'), (:calls, 'sex', 'M', 'male'), (:calls, 'urgent', 'true', 'urgent'), (:calls, 'urgent', 'false', 'routine'),
       (:calls, 'department', 'CAR', 'cardiology');
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :calls;
SET SESSION AUTHORIZATION demo_bob;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :calls;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :calls;
SET SESSION AUTHORIZATION demo_jane;
SELECT status, outcome, findings, error FROM referral.reprocess(1, :call);
SELECT r.referral_id, r.state, r.urgency, r.specialty, r.reason_code, r.channel, e.status AS exception, e.resolution
FROM referral.inbox_message m JOIN referral.referral r USING (org_id, referral_id)
JOIN referral.exception_item e ON e.entity = 'inbox_message' AND e.entity_id = m.message_id WHERE m.message_id = :call;

\echo '== 25. A model reads the fax. What it is not sure enough of waits for a person; then the fax is a referral, too'
SET SESSION AUTHORIZATION demo_intake;
SELECT document_id AS sheet FROM referral.document WHERE inbox_message_id = :fax \gset
INSERT INTO referral.extraction (document_id, field, value, confidence, model, model_version)
VALUES (:sheet, 'patient.family', 'Gunnarsson', 0.999, 'reader', '4.1'), (:sheet, 'patient.given', 'Eskil', 0.998, 'reader', '4.1'),
       (:sheet, 'patient.birth_date', '1957-04-27', 0.71, 'reader', '4.1'), (:sheet, 'referral.specialty', 'cardiology', 0.997, 'reader', '4.1'),
       (:sheet, 'referral.reason_code', 'I20.9', 0.999, 'reader', '4.1'), (:sheet, 'requester.identifier', '1326454781', 0.999, 'reader', '4.1');
SET SESSION AUTHORIZATION demo_jane;
SELECT field, value, confidence, threshold, status FROM referral.extraction WHERE document_id = :sheet ORDER BY extraction_id;
SELECT extraction_id AS unsure FROM referral.extraction WHERE document_id = :sheet AND field = 'patient.birth_date' \gset
SELECT referral.review_extraction(1, extraction_id, CASE WHEN field = 'patient.birth_date' THEN 'correct' ELSE 'accept' END,
                                  CASE WHEN field = 'patient.birth_date' THEN '1957-04-22' END, 'read off the sheet') AS reviewed, field
FROM referral.extraction WHERE document_id = :sheet AND status = 'in_review' ORDER BY extraction_id;
SELECT status, outcome FROM referral.reprocess(1, :fax);
RESET SESSION AUTHORIZATION;
SELECT count(*) AS passed_unseen_below_the_threshold FROM referral.silent_pass;
SET SESSION AUTHORIZATION demo_jane;

\echo '== 26. One case, as every team sees it'
\x on
SELECT referral_id, state, urgency, specialty, network_status, next_actions, last_event FROM referral.referral_case WHERE referral_id = :lakeside;
\x off
RESET SESSION AUTHORIZATION;
