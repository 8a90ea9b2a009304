-- Real messages of others through receive(): what became of each file. Nothing is dropped, nothing raises.
-- Skipped where the files are not there; test/pgtap/intake.sql has our own samples.
SET timezone = 'UTC';
SET client_min_messages = error;
\getenv shared REFERRAL_SHARED
\set files_are_there `test -r "$REFERRAL_SHARED/health/hl7v2/ms/REF-I12-01.hl7" && echo true || echo false`
SELECT plan(33);
\if :files_are_there
CREATE TABLE file (seq bigint GENERATED ALWAYS AS IDENTITY, set text, path text, line int, content text);
\copy file (set, path, line, content) FROM PROGRAM 'D="$REFERRAL_SHARED/health"; for s in "hl7 whole hl7v2/ms/*.hl7" "pas whole pas/ri/*.json" "population lines synthea/smart100/*.ndjson" "csv whole synthea/csv_small/*.csv"; do set -- $s; (cd "$D" && bash "$OLDPWD/test/lib/messages.sh" "$1" "$2" $3); done'
UPDATE file SET content = referral.hl7_decode(decode(content, 'base64')) WHERE set = 'hl7';
UPDATE file SET content = convert_from(decode(content, 'base64'), 'UTF8') WHERE set <> 'hl7';
CREATE TABLE outcome (set text, path text, line int, message_id bigint, status text, outcome text, referral_id bigint, patient_id bigint, repeated boolean, findings int, error text);
CREATE PROCEDURE send(what text, channel referral.intake_channel, content_type text DEFAULT NULL, only_path text DEFAULT '%') LANGUAGE plpgsql AS $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT * FROM file x WHERE x.set = what AND x.path LIKE only_path ORDER BY x.seq LOOP
        INSERT INTO outcome SELECT f.set, f.path, f.line, r.* FROM referral.receive(channel, what, content_type, f.content) r;
        COMMIT;
    END LOOP;
END $$;

-- 1. HL7 v2, in the order of the files' names: no two of them are about the same booking in real life, but their numbers say so

CALL send('hl7', 'hl7v2');
SELECT results_eq($$SELECT regexp_replace(path, '^.*/', ''), status, outcome, findings > 0 FROM outcome WHERE set = 'hl7' ORDER BY message_id$$,
    $$VALUES ('OMG-O19-01.hl7', 'processed', 'referral_not_found', true),
             ('ORM-O01-01.hl7', 'processed', 'referral_created', false),
             ('REF-I12-01.hl7', 'processed', 'referral_created', true),
             ('REF-I12-02.hl7', 'processed', 'referral_unchanged', true),
             ('REF-I14-01.hl7', 'processed', 'referral_cancelled', false),
             ('REF-I14-02.hl7', 'processed', 'referral_unchanged', true),
             ('SIU-S12-01.hl7', 'processed', 'appointment_created', true),
             ('SIU-S12-02.hl7', 'processed', 'appointment_unchanged', true),
             ('SIU-S13-01.hl7', 'processed', 'appointment_unchanged', true),
             ('SIU-S14-01.hl7', 'processed', 'appointment_updated', true),
             ('SIU-S15-01.hl7', 'processed', 'appointment_updated', false),
             ('SIU-S17-01.hl7', 'processed', 'appointment_updated', false),
             ('SIU-S26-01.hl7', 'processed', 'appointment_unchanged', true),
             ('SIU-S26-02.hl7', 'processed', 'appointment_unchanged', true)$$, 'HL7 v2: what became of each file');
SELECT results_eq($$SELECT r.placer_order_number, r.placer_order_system, r.filler_order_number, r.urgency::text, r.state::text, r.expires_on, r.reason_code, r.service_code, p.family, p.birth_date, q.name, f.name, y.name
                   FROM referral.referral r JOIN referral.patient p USING (org_id, patient_id) LEFT JOIN referral.practitioner q ON q.practitioner_id = r.requester_id
                   LEFT JOIN referral.practitioner f ON f.practitioner_id = r.performer_id LEFT JOIN referral.payer y ON y.payer_id = r.payer_id
                   WHERE r.placer_order_number = '226839'$$,
    $$VALUES ('226839', 'EPIC', '11001', 'routine', 'cancelled', date '2022-02-10', 'K63.3', '76164006', 'EVERYMAN', date '1961-06-15', 'ROBERT POWELL', 'PAUL McWILLIAMS', 'Blue Cross Blue Shield of Texas')$$,
    'the referral that four of the files are about');
SELECT is((SELECT count(*)::int FROM referral.prior_authorization a JOIN referral.referral r USING (org_id, referral_id) WHERE r.placer_order_number = '226839'), 3, 'with the authorizations that they tell of');
SELECT is((SELECT count(*)::int FROM referral.patient WHERE birth_date = '1988-08-18'), 1, 'somebody else of that name, and the same made-up social security number, is another patient');
SELECT is((SELECT count(*)::int FROM referral.appointment), 1, 'all bookings are under one number, so they are one appointment');
SELECT is((SELECT count(*)::int FROM outcome o JOIN referral.journal j ON j.correlation_id IN (SELECT m.control_id FROM referral.inbox_message m WHERE m.message_id = o.message_id) AND j.origin = 'hl7' WHERE o.set = 'hl7' AND j.entity = 'appointment') > 5, true,
          'each of its changes is in the journal, with the message that told of it');

-- 2. Prior authorization: requests, answers, and files that are about neither

CALL send('pas', 'fhir', 'application/fhir+json');
SELECT results_eq($$SELECT status, count(*)::int FROM outcome WHERE set = 'pas' GROUP BY 1 ORDER BY 1$$, $$VALUES ('error', 1), ('ignored', 4), ('processed', 21)$$, 'FHIR: what became of the files');
SELECT results_eq($$SELECT regexp_replace(path, '^.*/', '') FROM outcome WHERE set = 'pas' AND status = 'error'$$, $$VALUES ('cds-hook-order-review.json')$$, 'what is no FHIR is kept as an error');
SELECT results_eq($$SELECT e.category::text, e.code FROM referral.exception_item e JOIN outcome o ON e.entity = 'inbox_message' AND e.entity_id = o.message_id WHERE o.set = 'pas' AND o.status = 'error'$$,
    $$VALUES ('integration', 'not_processed')$$, 'with an exception');
SELECT results_eq($$SELECT regexp_replace(path, '^.*/', '') FROM outcome WHERE set = 'pas' AND status = 'ignored' ORDER BY 1$$,
    $$VALUES ('bundle-minimal.json'), ('subscription-email.json'), ('subscription-resthook.json'), ('subscription-websocket.json')$$, 'what tells nothing about referrals is kept and said so');
SELECT ok((SELECT count(DISTINCT a.status) >= 2 FROM referral.prior_authorization a WHERE a.source = 'pas'), 'requests are pended and decided');
SELECT ok((SELECT bool_or(i.review_action = 'A1') AND bool_or(i.review_action = 'A3') AND bool_or(i.review_action = 'C') FROM referral.prior_authorization_item i), 'items are certified, not certified, cancelled');
SELECT is((SELECT count(*)::int FROM referral.patient p WHERE p.family = 'Smith' AND p.birth_date = '1979-07-04'), 1, 'the patient of a dozen of the files is one patient');

-- 3. A population, line by line

CALL send('population', 'fhir', 'application/fhir+json');
SELECT results_eq($$SELECT regexp_replace(path, '^.*/|\.ndjson$', '', 'g'), status, outcome, count(*)::int FROM outcome WHERE set = 'population' GROUP BY 1, 2, 3 ORDER BY 1$$,
    $$VALUES ('Location', 'processed', 'directory_created', 272), ('Organization', 'processed', 'directory_created', 271), ('Patient', 'processed', 'patient_created', 120),
             ('Practitioner', 'processed', 'directory_created', 271), ('PractitionerRole', 'processed', 'directory_created', 271)$$, 'every line of a population');
SELECT is((SELECT count(*)::int FROM referral.patient p JOIN outcome o USING (patient_id) WHERE o.set = 'population' AND p.family IS NOT NULL AND p.birth_date IS NOT NULL AND p.postal_code IS NOT NULL), 120, 'with names, birth dates and addresses');

-- 4. Its flat files, by mappings

INSERT INTO referral.rule_set (name, kind, owner) VALUES ('source_mapping/population', 'source_mapping', 'Test');
INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'source_mapping/population' RETURNING rule_version_id AS v \gset
INSERT INTO referral.source_mapping (rule_version_id, mapping, kind) VALUES (:v, 'payers', 'directory'), (:v, 'organizations', 'directory'), (:v, 'providers', 'directory'), (:v, 'patients', 'patient'), (:v, 'payer_transitions', 'patient'), (:v, 'encounters', 'patient'), (:v, 'careplans', 'referral');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, constant, translation) VALUES
    (:v, 'payers', 'payer.identifier', 'Id', NULL, NULL), (:v, 'payers', 'payer.name', 'NAME', NULL, NULL),
    (:v, 'organizations', 'organization.identifier', 'Id', NULL, NULL), (:v, 'organizations', 'organization.name', 'NAME', NULL, NULL), (:v, 'organizations', 'organization.city', 'CITY', NULL, NULL), (:v, 'organizations', 'organization.phone', 'PHONE', NULL, NULL),
    (:v, 'providers', 'practitioner.identifier', 'Id', NULL, NULL), (:v, 'providers', 'practitioner.name', 'NAME', NULL, NULL), (:v, 'providers', 'practitioner.specialty', 'SPECIALITY', NULL, NULL), (:v, 'providers', 'practitioner.organization_identifier', 'ORGANIZATION', NULL, NULL),
    (:v, 'patients', 'patient.identifier', 'Id', NULL, NULL), (:v, 'patients', 'patient.family', 'LAST', NULL, NULL), (:v, 'patients', 'patient.given', 'FIRST', NULL, NULL), (:v, 'patients', 'patient.birth_date', 'BIRTHDATE', NULL, NULL),
    (:v, 'patients', 'patient.sex', 'GENDER', NULL, 'gender'), (:v, 'patients', 'patient.address', 'ADDRESS', NULL, NULL), (:v, 'patients', 'patient.city', 'CITY', NULL, NULL), (:v, 'patients', 'patient.postal_code', 'ZIP', NULL, NULL),
    (:v, 'patients', 'patient.identifier2', 'SSN', NULL, NULL), (:v, 'patients', 'patient.identifier2_type', NULL, 'SS', NULL), (:v, 'patients', 'patient.previous_family', 'MAIDEN', NULL, NULL),
    (:v, 'payer_transitions', 'patient.identifier', 'PATIENT', NULL, NULL), (:v, 'payer_transitions', 'coverage.payer_identifier', 'PAYER', NULL, NULL), (:v, 'payer_transitions', 'coverage.subscriber_id', 'MEMBERID', NULL, NULL),
    (:v, 'payer_transitions', 'coverage.start', 'START_YEAR', NULL, NULL), (:v, 'payer_transitions', 'coverage.end', 'END_YEAR', NULL, NULL), (:v, 'payer_transitions', 'coverage2.payer_identifier', 'SECONDARY_PAYER', NULL, NULL),
    (:v, 'payer_transitions', 'coverage2.priority', NULL, '2', NULL), (:v, 'payer_transitions', 'coverage2.start', 'START_YEAR', NULL, NULL), (:v, 'payer_transitions', 'coverage2.end', 'END_YEAR', NULL, NULL),
    (:v, 'encounters', 'patient.identifier', 'PATIENT', NULL, NULL), (:v, 'encounters', 'encounter.identifier', 'Id', NULL, NULL), (:v, 'encounters', 'encounter.class', 'ENCOUNTERCLASS', NULL, NULL), (:v, 'encounters', 'encounter.code', 'CODE', NULL, NULL),
    (:v, 'encounters', 'encounter.started_at', 'START', NULL, NULL), (:v, 'encounters', 'encounter.ended_at', 'STOP', NULL, NULL), (:v, 'encounters', 'encounter.status', NULL, 'finished', NULL),
    (:v, 'careplans', 'patient.identifier', 'PATIENT', NULL, NULL), (:v, 'careplans', 'referral.placer_order_number', 'Id', NULL, NULL), (:v, 'careplans', 'referral.service_code', 'CODE', NULL, NULL), (:v, 'careplans', 'referral.service_text', 'DESCRIPTION', NULL, NULL),
    (:v, 'careplans', 'referral.reason_code', 'REASONCODE', NULL, NULL), (:v, 'careplans', 'referral.authored_at', 'START', NULL, NULL);
INSERT INTO referral.code_translation (rule_version_id, translation, source_code, target_code) VALUES (:v, 'gender', 'M', 'male'), (:v, 'gender', 'F', 'female');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
CREATE TABLE before AS SELECT (SELECT count(*) FROM referral.patient) AS patients, (SELECT count(*) FROM referral.provider_organization) AS organizations, (SELECT count(*) FROM referral.coverage) AS coverages, (SELECT count(*) FROM referral.encounter) AS encounters, (SELECT count(*) FROM referral.referral) AS referrals;
CALL send('csv', 'flat_file', 'text/csv; mapping=payers', '%/payers.csv');
CALL send('csv', 'flat_file', 'text/csv; mapping=organizations', '%/organizations.csv');
CALL send('csv', 'flat_file', 'text/csv; mapping=providers', '%/providers.csv');
CALL send('csv', 'flat_file', 'text/csv; mapping=patients', '%/patients.csv');
CALL send('csv', 'flat_file', 'text/csv; mapping=payer_transitions', '%/payer_transitions.csv');
CALL send('csv', 'flat_file', 'text/csv; mapping=encounters', '%/encounters.csv');
CALL send('csv', 'flat_file', 'text/csv; mapping=careplans', '%/careplans.csv');
SELECT results_eq($$SELECT regexp_replace(path, '^.*/|\.csv$', '', 'g'), status, error FROM outcome WHERE set = 'csv' ORDER BY message_id$$,
    $$VALUES ('payers', 'processed', NULL), ('organizations', 'processed', NULL), ('providers', 'processed', NULL), ('patients', 'processed', NULL), ('payer_transitions', 'processed', NULL), ('encounters', 'processed', NULL), ('careplans', 'processed', NULL)$$, 'flat files: every row of every file');
SELECT is((SELECT count(*) FROM referral.patient) - patients, 59::bigint, 'each patient of the file is one') FROM before;
SELECT is((SELECT count(*)::int FROM referral.payer WHERE identifier IN (SELECT record ->> 'Id' FROM file f, referral.csv_records(f.content) WHERE f.path LIKE '%/payers.csv')), 10, 'each payer');
SELECT is((SELECT count(*) FROM referral.encounter) - encounters, 2590::bigint, 'each visit') FROM before;
SELECT is((SELECT count(*) FROM referral.referral) - referrals, 179::bigint, 'each care plan that was ordered') FROM before;
-- by the file itself: who pays on a day, as days are counted here
CREATE TABLE transition AS
SELECT record ->> 'PATIENT' AS patient, record ->> 'PAYER' AS payer, (record ->> 'START_YEAR')::timestamptz::date AS first_day, (record ->> 'END_YEAR')::timestamptz::date AS last_day
FROM file f, referral.csv_records(f.content) WHERE f.path LIKE '%/payer_transitions.csv';
SELECT is((SELECT count(*)::int FROM transition t
           WHERE NOT EXISTS (SELECT FROM referral.identifier i JOIN referral.coverage c USING (org_id, patient_id) JOIN referral.payer y USING (org_id, payer_id)
                             WHERE i.value = t.patient AND y.identifier = t.payer AND c.status = 'active' AND c.period @> (t.first_day + (t.last_day - t.first_day) / 2))), 0,
          'in the middle of each period of insurance the payer of the file pays');
SELECT is((SELECT count(*)::int FROM referral.coverage a JOIN referral.coverage b ON a.patient_id = b.patient_id AND a.priority = b.priority AND a.coverage_id < b.coverage_id AND a.status = 'active' AND b.status = 'active' AND a.period && b.period), 0, 'and no two pay first at once');
SELECT is((SELECT findings FROM outcome WHERE path LIKE '%/patients.csv'), 0, 'nothing is found wrong about the patients');

-- 5. Over all of them

SELECT is((SELECT count(*) FROM outcome), (SELECT count(*) FROM file), 'every file and line has an outcome');
SELECT is((SELECT count(*) FROM referral.inbox_message), (SELECT count(DISTINCT (set, content)) FROM file), 'every message is kept, once');
SELECT is((SELECT count(*)::int FROM referral.inbox_message m JOIN file f ON f.set = m.source AND f.content = m.payload), (SELECT count(*)::int FROM file), 'as it was sent');
SELECT is((SELECT count(*)::int FROM referral.inbox_message WHERE status = 'received'), 0, 'none is left without an outcome');
SELECT is((SELECT count(*)::int FROM referral.inbox_message m WHERE m.status = 'error' AND NOT EXISTS (SELECT FROM referral.exception_item e WHERE e.entity = 'inbox_message' AND e.entity_id = m.message_id AND e.status = 'open')), 0, 'every error has an exception');
SELECT is((SELECT count(*)::int FROM referral.inbox_message WHERE error ~* 'everyman|smith|synthea'), 0, 'no error tells who it is about');
CALL send('hl7', 'hl7v2');
SELECT is((SELECT count(*)::int FROM outcome WHERE set = 'hl7' AND repeated), 14, 'sent again, each is answered with its first result');
SELECT is((SELECT max(n)::int FROM (SELECT count(*) AS n FROM referral.referral WHERE placer_order_number IS NOT NULL GROUP BY placer_order_number, placer_order_system, source) x), 1, 'no order number has two referrals');
SELECT is((SELECT sum(repeat_count)::int FROM referral.inbox_message WHERE source = 'hl7'), 14, 'and counted');
SELECT ok((SELECT count(*) > 0 FROM referral.journal j WHERE j.origin = 'pas'), 'the journal says which system each change came from');
\else
SELECT skip('the published messages are not there', 33);
\endif
SELECT * FROM finish();
