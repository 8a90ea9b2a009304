-- What the benchmark of intake works on: made-up people, none like another, who send what hospitals send.
\ir lib.sql

CREATE ROLE bench_feed LOGIN IN ROLE referral_integration;
INSERT INTO referral.organization (org_id, name) VALUES (1, 'Bench') ON CONFLICT DO NOTHING;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'bench_feed', 'system');
GRANT USAGE ON SCHEMA bench TO bench_feed;

CREATE FUNCTION bench.turn(round integer) RETURNS integer LANGUAGE sql AS 'SELECT round';

-- A word of an integer, and one of some thousand names
CREATE FUNCTION bench.word(i bigint, salt text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT initcap(translate(substr(md5(salt || i), 1, 4 + abs(hashtext(salt || i)) % 5), '0123456789', 'aeioulnrst')) $$;

CREATE TABLE bench.person AS
SELECT i, bench.word(i % 20011, 'family') || lower(bench.word(i, 'x')) AS family, bench.word(i % 701, 'given') AS given,
       date '1930-01-01' + (abs(hashtext('born' || i)) % 32000) AS born, CASE WHEN i % 2 = 0 THEN 'F' ELSE 'M' END AS sex,
       format('(%s)%s-%s', 200 + abs(hashtext('a' || i)) % 700, 200 + abs(hashtext('b' || i)) % 700, lpad((abs(hashtext('c' || i)) % 10000)::text, 4, '0')) AS phone,
       format('%s %s Street', 1 + abs(hashtext('n' || i)) % 9999, bench.word(i % 3001, 'street')) AS street,
       bench.word(i % 97, 'city') AS city, lpad((10000 + i % 8999)::text, 5, '0') AS zip
FROM generate_series(1, :messages + :known + 4 * :rows) i;

CREATE TABLE bench.message AS
SELECT p.i - 1 AS n, concat_ws(E'\r', 'MSH|^~\&|LAKE|CLINIC|HUB|CITY|20260302101500+0000||REF^I12^REF_I12|C' || i || '|P|2.5.1',
    'RF1|P^Pending^HL70283|R^Routine^HL70280|CAR^Cardiology^HL70281||O^Outpatient^HL70284|ORDER' || i || '^LAKE|20260302|20261231|20260302|O^Provider Ordered^HL70336',
    'PRD|RP^Referring Provider^HL70286|POWELL' || i % 20 || '^ROBERT^^^DR^MD|||||' || 1003000100 + i % 20 || '^NPI',
    'PRD|RT^Referred to Provider^HL70286|LEE' || i % 20 || '^ANNA^^^DR^MD|||||' || 1003000200 + i % 20 || '^NPI',
    format('PID|1||MRN%s^^^LAKE^MR||%s^%s||%s|%s|||%s^^%s^IL^%s^USA||%s', i, family, given, to_char(born, 'YYYYMMDD'), sex, street, city, zip, phone),
    'IN1|1|PPO^Preferred|P' || i % 5 || '|Payer ' || i % 5 || '||||G1|||||||||||||||||||||||||||||M' || i,
    'DG1|1||M54.5^Low back pain^I10', 'PR1|1||97110^Therapeutic exercise^CPT', '') AS payload
FROM bench.person p WHERE p.i <= :messages;
ALTER TABLE bench.message ADD PRIMARY KEY (n);

-- The same as a FHIR transaction: a request with its patient, coverage and the two practitioners
CREATE TABLE bench.bundle AS
SELECT p.i - 1 AS n, jsonb_build_object('resourceType', 'Bundle', 'type', 'transaction', 'id', 'b' || i, 'timestamp', '2026-03-02T10:15:00Z', 'entry',
    (SELECT jsonb_agg(jsonb_build_object('fullUrl', 'urn:uuid:' || (r.value ->> 'id'), 'resource', r.value,
                                         'request', jsonb_build_object('method', 'POST', 'url', r.value ->> 'resourceType')) ORDER BY r.ordinality)
     FROM jsonb_array_elements(jsonb_build_array(
        jsonb_build_object('resourceType', 'ServiceRequest', 'id', 'r' || i, 'status', 'active', 'intent', 'order', 'priority', 'routine', 'authoredOn', '2026-03-02',
            'identifier', jsonb_build_array(jsonb_build_object('system', 'LAKE', 'value', 'FHIR' || i)),
            'subject', jsonb_build_object('reference', 'urn:uuid:p' || i), 'insurance', jsonb_build_array(jsonb_build_object('reference', 'urn:uuid:c' || i)),
            'requester', jsonb_build_object('reference', 'urn:uuid:d' || i % 20), 'performer', jsonb_build_array(jsonb_build_object('reference', 'urn:uuid:e' || i % 20)),
            'performerType', '{"text": "Cardiology"}'::jsonb,
            'reasonCode', '[{"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M54.5", "display": "Low back pain"}]}]'::jsonb,
            'code', '{"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "97110", "display": "Therapeutic exercise"}]}'::jsonb),
        jsonb_build_object('resourceType', 'Patient', 'id', 'p' || i, 'identifier', jsonb_build_array(jsonb_build_object('system', 'LAKE', 'value', 'FRN' || i)),
            'name', jsonb_build_array(jsonb_build_object('family', family, 'given', jsonb_build_array(given))), 'birthDate', born::text,
            'gender', CASE sex WHEN 'F' THEN 'female' ELSE 'male' END, 'telecom', jsonb_build_array(jsonb_build_object('system', 'phone', 'value', phone)),
            'address', jsonb_build_array(jsonb_build_object('line', jsonb_build_array(street), 'city', city, 'state', 'IL', 'postalCode', zip))),
        jsonb_build_object('resourceType', 'Coverage', 'id', 'c' || i, 'status', 'active', 'beneficiary', jsonb_build_object('reference', 'urn:uuid:p' || i),
            'subscriberId', 'M' || i, 'payor', jsonb_build_array(jsonb_build_object('display', 'Payer ' || i % 5))),
        jsonb_build_object('resourceType', 'Practitioner', 'id', 'd' || i % 20, 'name', jsonb_build_array(jsonb_build_object('family', 'POWELL' || i % 20, 'given', '["ROBERT"]'::jsonb)),
            'identifier', jsonb_build_array(jsonb_build_object('system', 'http://hl7.org/fhir/sid/us-npi', 'value', (1003000100 + i % 20)::text))),
        jsonb_build_object('resourceType', 'Practitioner', 'id', 'e' || i % 20, 'name', jsonb_build_array(jsonb_build_object('family', 'LEE' || i % 20, 'given', '["ANNA"]'::jsonb)),
            'identifier', jsonb_build_array(jsonb_build_object('system', 'http://hl7.org/fhir/sid/us-npi', 'value', (1003000200 + i % 20)::text)))
     )) WITH ORDINALITY r))::text AS payload
FROM bench.person p WHERE p.i <= :messages;
ALTER TABLE bench.bundle ADD PRIMARY KEY (n);

-- The peak of a session's own memory, in MB: pages of the server's shared memory are the server's.
CREATE FUNCTION bench.peak() RETURNS numeric LANGUAGE sql SECURITY DEFINER AS $$
SELECT round((max(kb) FILTER (WHERE what = 'VmHWM') - sum(kb) FILTER (WHERE what IN ('RssShmem', 'RssFile'))) / 1024)
FROM (SELECT m[1] AS what, m[2]::numeric AS kb FROM regexp_matches(pg_read_file('/proc/self/status'), '(VmHWM|RssShmem|RssFile):\s*(\d+)', 'g') m) s $$;

-- Records of four batches (i % 4). The first :known are of patients who come again; then three of ten are of one of these, with
-- another order, and one of ten says no reason: an exception, and a
-- letter that asks for it.
CREATE TABLE bench.record AS
SELECT x.i, family AS "Last", given AS "First", born::text AS "DOB", sex AS "Sex", 'R' || p.i AS "MRN", phone AS "Phone", street AS "Street", city AS "City", zip AS "Zip",
       'CSV' || x.i AS "Order", (ARRAY['cardiology', 'orthopedics', 'neurology'])[1 + x.i % 3] AS "Dept", CASE WHEN NOT is_incomplete THEN 'M54.5' END AS "Dx",
       CASE WHEN NOT is_incomplete THEN 'Low back pain' END AS "Reason", 'P' || p.i % 5 AS "Payer", 'M' || p.i AS "Member",
       (1003000100 + x.i % 20)::text AS "NPI", 'Robert Powell' || x.i % 20 AS "Doctor"
FROM (SELECT i, i > :messages + :known AND i / 4 % 10 = 9 AS is_incomplete,
             -- a batch has its own: sessions do not wait for each other
             CASE WHEN i > :messages + :known AND i / 4 % 10 IN (0, 3, 6) THEN :messages + 4 * (i / 4 % (:known / 4 - 1)) + 4 + i % 4 ELSE i END AS person
      FROM generate_series(:messages + 1, :messages + :known + 4 * :rows) i) x
JOIN bench.person p ON p.i = x.person;
ALTER TABLE bench.record ADD PRIMARY KEY (i);
GRANT SELECT ON ALL TABLES IN SCHEMA bench TO bench_feed;

INSERT INTO referral.payer (org_id, identifier, name) SELECT 1, 'P' || i, 'Payer ' || i FROM generate_series(0, 4) i;

INSERT INTO referral.rule_set (name, kind, owner) VALUES ('source_mapping/bench', 'source_mapping', 'Bench');
INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'source_mapping/bench';
INSERT INTO referral.source_mapping (rule_version_id, mapping) SELECT max(rule_version_id), 'bench' FROM referral.rule_version;
INSERT INTO referral.code_translation (rule_version_id, translation, source_code, target_code)
SELECT max(rule_version_id), 'sex', c, t FROM referral.rule_version, (VALUES ('F', 'female'), ('M', 'male')) v (c, t) GROUP BY c, t;
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, translation)
SELECT (SELECT max(rule_version_id) FROM referral.rule_version), 'bench', a, c, CASE a WHEN 'patient.sex' THEN 'sex' END
FROM (VALUES ('patient.family', 'Last'), ('patient.given', 'First'), ('patient.birth_date', 'DOB'), ('patient.sex', 'Sex'), ('patient.identifier', 'MRN'),
             ('patient.phone', 'Phone'), ('patient.address', 'Street'), ('patient.city', 'City'), ('patient.postal_code', 'Zip'), ('referral.placer_order_number', 'Order'),
             ('referral.specialty', 'Dept'), ('referral.reason_code', 'Dx'), ('referral.reason_text', 'Reason'), ('coverage.payer_identifier', 'Payer'),
             ('coverage.subscriber_id', 'Member'), ('requester.identifier', 'NPI'), ('requester.name', 'Doctor')) v (a, c);
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = (SELECT max(rule_version_id) FROM referral.rule_version);

-- The floor: plain INSERTs of the rows that a message becomes, with all triggers, as somebody would write them who knows all ids.
CREATE FUNCTION bench.plain(channel text, number text, content text, p bench.person) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    patient bigint;
    cover bigint;
    id bigint;
BEGIN
    INSERT INTO referral.patient (family, given, birth_date, sex, phone, address, city, postal_code)
    VALUES (p.family, p.given, p.born, CASE p.sex WHEN 'F' THEN 'female' ELSE 'male' END, p.phone, p.street, p.city, p.zip) RETURNING patient_id INTO patient;
    INSERT INTO referral.identifier (patient_id, system, value, type) VALUES (patient, 'bench', 'F' || number, 'MR');
    INSERT INTO referral.coverage (patient_id, payer_id, subscriber_id, source) VALUES (patient, 1 + p.i % 5, 'F' || number, 'floor') RETURNING coverage_id INTO cover;
    INSERT INTO referral.referral (patient_id, specialty, placer_order_number, source, channel, payer_id, coverage_id, reason_code, requester_id)
    VALUES (patient, 'cardiology', 'F' || number, 'floor', channel, 1 + p.i % 5, cover, 'M54.5', (SELECT min(practitioner_id) FROM referral.practitioner))
    RETURNING referral_id INTO id;
    INSERT INTO referral.referral_code (referral_id, kind, system, code) VALUES (id, 'diagnosis', 'http://hl7.org/fhir/sid/icd-10-cm', 'M54.5');
    IF channel = 'hl7v2' THEN
        INSERT INTO referral.referral_code (referral_id, kind, system, code) VALUES (id, 'procedure', 'http://www.ama-assn.org/go/cpt', '97110');
    END IF;
    INSERT INTO referral.inbox_message (channel, source, dedup_key, payload, payload_hash)
    VALUES (channel::referral.intake_channel, 'floor', number, content, sha256(convert_to(content, 'UTF8')));
    RETURN id;
END $$;
INSERT INTO referral.practitioner (org_id, name) VALUES (1, 'Robert Powell');
