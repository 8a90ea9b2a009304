-- HL7 v2 messages as cases of intake, and messages about referrals: our own samples. What real messages become is in
-- intake_hl7_conformance.sql; how messages are parsed in hl7.sql.
SELECT plan(132);
\ir ../lib/refused.sql

CREATE TABLE public.sample (name text PRIMARY KEY, message text);
GRANT SELECT ON public.sample TO PUBLIC;
\set message `cat test/data/ref_i12.hl7`
INSERT INTO public.sample VALUES ('ref_i12', :'message');
\set message `cat test/data/ref_i12_bare.hl7`
INSERT INTO public.sample VALUES ('ref_i12_bare', :'message');
\set message `cat test/data/ref_i12_dirty.hl7`
INSERT INTO public.sample VALUES ('ref_i12_dirty', :'message');
\set message `cat test/data/ref_i13.hl7`
INSERT INTO public.sample VALUES ('ref_i13', :'message');
\set message `cat test/data/ref_i14.hl7`
INSERT INTO public.sample VALUES ('ref_i14', :'message');
\set message `cat test/data/ref_i15.hl7`
INSERT INTO public.sample VALUES ('ref_i15', :'message');
\set message `cat test/data/rri_accepted.hl7`
INSERT INTO public.sample VALUES ('rri_accepted', :'message');
\set message `cat test/data/rri_declined.hl7`
INSERT INTO public.sample VALUES ('rri_declined', :'message');
\set message `cat test/data/rri_error.hl7`
INSERT INTO public.sample VALUES ('rri_error', :'message');
\set message `cat test/data/rri_report.hl7`
INSERT INTO public.sample VALUES ('rri_report', :'message');
\set message `cat test/data/siu_s12.hl7`
INSERT INTO public.sample VALUES ('siu_s12', :'message');
\set message `cat test/data/siu_s12_dirty.hl7`
INSERT INTO public.sample VALUES ('siu_s12_dirty', :'message');
\set message `cat test/data/siu_s13.hl7`
INSERT INTO public.sample VALUES ('siu_s13', :'message');
\set message `cat test/data/siu_s14.hl7`
INSERT INTO public.sample VALUES ('siu_s14', :'message');
\set message `cat test/data/siu_s15.hl7`
INSERT INTO public.sample VALUES ('siu_s15', :'message');
\set message `cat test/data/siu_s17.hl7`
INSERT INTO public.sample VALUES ('siu_s17', :'message');
\set message `cat test/data/siu_s26.hl7`
INSERT INTO public.sample VALUES ('siu_s26', :'message');
\set message `cat test/data/orm_o01.hl7`
INSERT INTO public.sample VALUES ('orm_o01', :'message');
\set message `cat test/data/omg_o19.hl7`
INSERT INTO public.sample VALUES ('omg_o19', :'message');
\set message `cat test/data/oru_r01.hl7`
INSERT INTO public.sample VALUES ('oru_r01', :'message');
\set message `cat test/data/mdm_t02.hl7`
INSERT INTO public.sample VALUES ('mdm_t02', :'message');
\set message `cat test/data/mdm_t02_letter.hl7`
INSERT INTO public.sample VALUES ('mdm_t02_letter', :'message');
\set message `cat test/data/rqa_i08.hl7`
INSERT INTO public.sample VALUES ('rqa_i08', :'message');
\set message `cat test/data/rpa_i08.hl7`
INSERT INTO public.sample VALUES ('rpa_i08', :'message');
\set message `cat test/data/adt_a08.hl7`
INSERT INTO public.sample VALUES ('adt_a08', :'message');
\set message `cat test/data/adt_a40.hl7`
INSERT INTO public.sample VALUES ('adt_a40', :'message');
\set message `cat test/data/ack_error.hl7`
INSERT INTO public.sample VALUES ('ack_error', :'message');

-- the n-th case of a sample
CREATE FUNCTION public.mapped(name text, n bigint DEFAULT 1) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT c FROM public.sample s, referral.map_hl7v2(referral.hl7_parse(s.message), 'test') WITH ORDINALITY AS m (c, i)
    WHERE s.name = mapped.name AND i = n
$$;
-- what is found in it, each as code, severity, attribute, position
CREATE FUNCTION public.findings(name text, n bigint DEFAULT 1) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(concat_ws(' ', f ->> 'code', f ->> 'severity', f ->> 'attribute', f ->> 'position'), ', ' ORDER BY f ->> 'position', f ->> 'code')
    FROM jsonb_array_elements(public.mapped(name, n) -> 'findings') f
$$;
-- the case of a message of these segments
CREATE FUNCTION public.said(VARIADIC segments text[]) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT c FROM referral.map_hl7v2(referral.hl7_parse(array_to_string(segments, E'\r')), 'test') c
$$;
CREATE FUNCTION public.ref(VARIADIC segments text[]) RETURNS jsonb LANGUAGE sql STABLE AS
    'SELECT public.said(VARIADIC ARRAY[''MSH|^~\&|A|B|||20261105||REF^I12|1|P|2.5''] || segments)';

-- 1. Filling in templates

SELECT is(referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rPID|1||x^^^y&z^MR~w||a^b'),
    '{"a": "PID-3.4.2", "b": {"c": "PID-5.2", "d": "PID-5.9"}, "e": {"f": "PID-9"}, "g": ["PID-5.1", "PID-9", "PID-5.2", "PID-5.1"], "h": "PID-9|PID-5.2", "i": "PID-3(2)"}'),
    '{"a": "z", "b": {"c": "b"}, "g": ["a", "b"], "h": "b", "i": "w"}', 'paths give values; what is not there is left out, each text is once in an array');
SELECT is(referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A'), '{"a": {"k": "=constant"}, "b": {"k": "=constant", "v": "MSH-3"}}'),
    '{"b": {"k": "constant", "v": "A"}}', 'constants come with values, never alone');
SELECT is(referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rPID|1|||||||""'), '{"a": "PID-8"}'), '{}', 'the explicit null of HL7 is no value');
SELECT is(referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rOBX|1|TX|c^d^LN||a^b~c') #> '{segments,1}', '{"raw": "OBX-5:raw", "lines": "OBX-5:lines", "code": "OBX-3:code"}'),
    '{"raw": "a^b", "lines": "a^b\nc", "code": {"code": "c", "system": "http://loinc.org", "display": "d"}}', 'a segment alone is read, too; texts may keep their separators');
SELECT is(referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rZZZ|20230230|20261105|12x|7.50|7|perhaps'),
    '{"a": {"day": "ZZZ-1:date", "good": "ZZZ-2:date", "n": "ZZZ-3:integer", "m": "ZZZ-4:number", "i": "ZZZ-5:integer", "b": "ZZZ-6:boolean"}}'),
    '{"a": {"good": "2026-11-05", "m": 7.50, "i": 7}, "findings": [
       {"code": "invalid_code", "value": "perhaps", "detail": "not a value of its type", "position": "ZZZ-6", "severity": "warning", "attribute": "a.b"},
       {"code": "invalid_value", "value": "12x", "detail": "not a value of its type", "position": "ZZZ-3", "severity": "warning", "attribute": "a.n"},
       {"code": "invalid_date", "value": "20230230", "detail": "not a value of its type", "position": "ZZZ-1", "severity": "warning", "attribute": "a.day"}]}', 'what is no value of its type is a finding');
SELECT is(referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A|||20261105101500.1234-0600|20261105101500'), '{"a": "MSH-6:time", "b": "MSH-7:time"}', 'America/Chicago'),
    '{"a": "2026-11-05T16:15:00.1234+00:00", "b": "2026-11-05T16:15:00+00:00"}', 'times are given in UTC, from their own zone or the one of the sender');
SET timezone = 'Asia/Tokyo';
SELECT is(referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A|||20261105101500-0600'), '{"a": "MSH-6:time"}'), '{"a": "2026-11-05T16:15:00+00:00"}', 'whatever the zone of the session');
RESET timezone;
SELECT is((public.refused(format($$SELECT referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A'), %L)$$, t))).code, 'RF020', 'refused: ' || t)
FROM unnest(ARRAY['[]', '{"a": 1}', '{"a": "MS-1"}', '{"a": "MSH"}', '{"a": "MSH-0"}', '{"a": "MSH-99999"}', '{"a": "MSH-3(1"}', '{"a": "MSH-3:nothing"}', '{"a": "MSH-3 "}', '{"a": ""}']) t;
SELECT is((public.refused($$SELECT referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A|||20261105'), '{"a": "MSH-6:time"}', 'Mars/Olympus')$$)).code, 'RF020', 'so is an unknown zone');
SELECT is(referral.hl7_fill('{"segments": [1, "x", {"segment": 7}, {"segment": "PID", "3": "no array", "4": [], "5": [[1]]}]}', '{"a": "PID-3", "b": "PID-4", "c": "PID-5", "d": "PID-5:ids", "e": "PID-6"}'),
    '{}', 'jsonb that is no message has no values');

-- 2. Data types

SELECT results_eq($$SELECT referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rPID|1||' || t), '{"i": "PID-3:id"}') -> 'i' FROM unnest(ARRAY[
      '7^^^LAKE^MR', '7^^^LAKE&2.16.1&ISO^MR', '7^^^&2.16.1&ISO', '7^^^^^USSSA', '7^^^USSSA^SS', '7^^^^NPI', '7^^^^GOOD HEALTH HOSPITAL', '7^^^X&&^GOOD HEALTH HOSPITAL', '^^^LAKE']) t$$,
    $$VALUES ('{"value": "7", "system": "LAKE", "type": "MR", "assigner": "LAKE"}'::jsonb), ('{"value": "7", "system": "LAKE", "type": "MR", "assigner": "LAKE"}'),
             ('{"value": "7", "system": "urn:oid:2.16.1"}'), ('{"value": "7", "system": "http://hl7.org/fhir/sid/us-ssn", "type": "SS", "assigner": "USSSA"}'),
             ('{"value": "7", "system": "http://hl7.org/fhir/sid/us-ssn", "type": "SS", "assigner": "USSSA"}'), ('{"value": "7", "system": "http://hl7.org/fhir/sid/us-npi", "type": "NPI"}'),
             ('{"value": "7", "system": "GOOD HEALTH HOSPITAL", "assigner": "GOOD HEALTH HOSPITAL"}'), ('{"value": "7", "system": "X", "assigner": "GOOD HEALTH HOSPITAL"}'), (NULL)$$, 'identifiers');
SELECT results_eq($$SELECT referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rPV1|1|||||||' || t), '{"i": "PV1-8:person"}') -> 'i' FROM unnest(ARRAY[
      '17^Oyelaran^Miriam^^^^^^NPI&2.16.840.1.113883.4.6&ISO', 'Oyelaran', '17', '^Oyelaran']) t$$,
    $$VALUES ('{"name": "Miriam Oyelaran", "family": "Oyelaran", "given": "Miriam", "identifiers": [{"value": "17", "system": "http://hl7.org/fhir/sid/us-npi", "assigner": "NPI"}]}'::jsonb),
             ('{"name": "Oyelaran", "family": "Oyelaran"}'), ('{"identifiers": [{"value": "17"}]}'), ('{"name": "Oyelaran", "family": "Oyelaran"}')$$, 'people; a name in the place of the number is a name');
SELECT results_eq($$SELECT referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rPID|1||||||||||||' || t), '{"p": ["PID-13:phones"], "e": "PID-13:email"}') FROM unnest(ARRAY[
      '218-555-0142^PRN^PH~555^^FX~^NET^Internet^a@b.org', '^PRN^PH^^1^218^5550142', '^^^^^^^^^^^(626)555-1234', 'a@b.org^NET', 'none']) t$$,
    $$VALUES ('{"p": ["218-555-0142"], "e": "a@b.org"}'::jsonb), ('{"p": ["218-5550142"]}'), ('{"p": ["(626)555-1234"]}'), ('{"e": "a@b.org"}'), ('{}')$$, 'telephones in each way of writing them, no fax; e-mail');
SELECT results_eq($$SELECT referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rDG1|1||' || t), '{"c": "DG1-3:code"}') -> 'c' FROM unnest(ARRAY[
      'I35.0^Stenosis^I10', '64766004^Colitis^SCT', '250.0^Diabetes^I9C', '93306^Echo^c4', '1-2^x^LN', 'A1^own^L', '^Pain', '^^^I35.0^Stenosis^I10', '^^^^^^^^as told']) t$$,
    $$VALUES ('{"code": "I35.0", "display": "Stenosis", "system": "http://hl7.org/fhir/sid/icd-10-cm"}'::jsonb), ('{"code": "64766004", "display": "Colitis", "system": "http://snomed.info/sct"}'),
             ('{"code": "250.0", "display": "Diabetes", "system": "http://hl7.org/fhir/sid/icd-9-cm"}'), ('{"code": "93306", "display": "Echo", "system": "http://www.ama-assn.org/go/cpt"}'),
             ('{"code": "1-2", "display": "x", "system": "http://loinc.org"}'), ('{"code": "A1", "display": "own", "system": "L"}'), ('{"display": "Pain"}'),
             ('{"code": "I35.0", "display": "Stenosis", "system": "http://hl7.org/fhir/sid/icd-10-cm"}'), ('{"display": "as told"}')$$, 'codes and their systems');
SELECT is(string_agg(coalesce(referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rPID|1|||||||' || t), '{"a": "PID-8:gender"}') ->> 'a', '-'), ' ' ORDER BY n),
    'male female other unknown other male -', 'sexes') FROM unnest(ARRAY['M', 'F', 'O', 'U', 'A', 'm', 'Z']) WITH ORDINALITY AS v (t, n);
SELECT is(string_agg(coalesce(referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rRF1||' || t), '{"a": "RF1-2:urgency"}') ->> 'a', '-'), ' ' ORDER BY n),
    'routine urgent asap stat routine -', 'priorities') FROM unnest(ARRAY['R', 'U', 'A', 'S', 'Routine', 'Q']) WITH ORDINALITY AS v (t, n);
SELECT results_eq($$SELECT referral.hl7_fill(referral.hl7_parse(E'MSH|^~\\&|A\rPID|1|||||||||||||||||||' || t), '{"d": "PID-20:driver"}') -> 'd' FROM unnest(ARRAY['N20-1^MN', 'DL^T05', 'DL', 'none^none']) t$$,
    $$VALUES ('{"value": "N20-1", "system": "DL", "type": "DL", "assigner": "MN"}'::jsonb), ('{"value": "T05", "system": "DL", "type": "DL"}'), (NULL), (NULL)$$, 'a licence is a number, wherever it stands');

-- 3. Referrals

SELECT is(public.mapped('ref_i12') - '{referral,patient,coverages,extra}'::text[],
    '{"kind": "referral", "findings": [], "message": {"type": "REF^I12", "control_id": "LKS000417", "sent_at": "2026-11-02T15:30:15+00:00", "sender": "LAKESIDE_EHR", "facility": "LAKESIDE", "originator": "LAKESIDE_EHR"}}',
    'REF^I12: who sent what when');
SELECT is(public.mapped('ref_i12') -> 'patient', '{"identifiers": [{"value": "LK-5520193", "system": "LAKESIDE", "type": "MR", "assigner": "LAKESIDE"}], "family": "HALVORSEN", "given": "INGRID", "middle": "M",
    "birth_date": "1958-03-14", "sex": "female", "phone": "218-5550142", "address": "77 BIRCH LN", "city": "DULUTH", "state": "MN", "postal_code": "55804"}', 'the patient');
SELECT is(public.mapped('ref_i12') -> 'coverages', '[{"priority": 1, "payer": {"identifier": "NSH001", "name": "North Shore Health Plan"}, "plan": {"identifier": "NSHP"}}]', 'the insurance');
SELECT is(public.mapped('ref_i12') -> 'referral', '{"identifiers": [{"value": "LKS-REF-88213", "system": "LAKESIDE", "type": "PLAC"}], "placer_order_number": "LKS-REF-88213", "placer_order_system": "LAKESIDE",
    "urgency": "stat", "specialty": "cardiology", "authored_at": "2026-11-02T00:00:00+00:00", "expires_on": "2027-01-31",
    "requester": {"name": "MIRIAM OYELARAN", "family": "OYELARAN", "given": "MIRIAM", "identifiers": [{"value": "1993817465", "type": "NPI", "system": "http://hl7.org/fhir/sid/us-npi"}]},
    "performer": {"name": "ERIK LINDQVIST", "family": "LINDQVIST", "given": "ERIK", "identifiers": [{"value": "1770692138", "type": "NPI", "system": "http://hl7.org/fhir/sid/us-npi"}]},
    "diagnoses": [{"code": "I35.0", "system": "http://hl7.org/fhir/sid/icd-10-cm", "display": "Nonrheumatic aortic (valve) stenosis"}],
    "reason_code": "I35.0", "reason_code_system": "http://hl7.org/fhir/sid/icd-10-cm", "reason_text": "Nonrheumatic aortic (valve) stenosis",
    "procedures": [{"code": "93306", "system": "http://www.ama-assn.org/go/cpt", "display": "Echocardiography, transthoracic, complete"}],
    "service_code": "93306", "service_code_system": "http://www.ama-assn.org/go/cpt", "service_text": "Echocardiography, transthoracic, complete"}', 'the request');
SELECT is(public.mapped('ref_i12') -> 'extra', '{"category": {"code": "O", "system": "HL70284", "display": "Outpatient"}, "referral_type": {"code": "CAR", "system": "L", "display": "Cardiology"},
    "referral_status": {"code": "P", "system": "HL70283", "display": "Pending"}}', 'and what has no place of its own');

SELECT is(public.mapped('ref_i13') -> 'patient', '{"identifiers": [{"value": "LK-5520193", "system": "LAKESIDE", "type": "MR", "assigner": "LAKESIDE"}, {"value": "NS-77120", "system": "NORTHSHORE", "type": "MR", "assigner": "NORTHSHORE"},
      {"value": "N20-884-113", "system": "DL", "type": "DL", "assigner": "MN"}], "family": "HALVORSEN", "given": "INGRID", "middle": "M", "previous_family": ["BERGSTROM"], "alias": ["INGA"], "mother_maiden_name": "OLSEN",
    "birth_date": "1958-03-14", "sex": "female", "phone": "218-5550142", "other_phones": ["218-555-0177", "218-555-0199"], "email": "ingrid@example.org", "language": "en", "address": "77 BIRCH LN APT 4", "city": "DULUTH",
    "state": "MN", "postal_code": "55804", "multiple_birth": false, "birth_order": 1}', 'REF^I13: all names, identifiers and telephones of the patient');
SELECT is(public.mapped('ref_i13') -> 'coverages', '[{"priority": 1, "payer": {"identifier": "NSH001", "name": "North Shore Health Plan"}, "plan": {"identifier": "NSHP-G", "name": "Gold", "kind": "PPO"}, "subscriber_id": "NS-8841",
      "group_number": "GRP-9", "relationship": "self", "start": "2026-01-01", "end": "2026-12-31"},
     {"priority": 2, "payer": {"identifier": "MCR01", "name": "Medicare Supplement"}, "plan": {"identifier": "MED"}, "relationship": "self", "end": "2025-12-31", "subscriber_id": "MC-77",
      "identifiers": [{"value": "MC-77", "system": "urn:oid:2.16.840.1.113883.19.9", "type": "MB"}]}]', 'two insurances, the second with its member number of IN2');
SELECT is(public.mapped('ref_i13') -> 'authorizations', '[{"identifiers": [{"value": "NSH-AUTH-5501", "system": "NSH001", "type": "AUTH"}], "status": "decided", "authorization_number": "NSH-AUTH-5501", "valid_from": "2026-11-01", "valid_to": "2027-01-31",
      "decided_at": "2026-11-04T00:00:00+00:00", "items": [{"sequence": 1, "quantity": 2, "authorized_quantity": 1, "authorization_number": "NSH-AUTH-5501", "valid_from": "2026-11-01", "valid_to": "2027-01-31", "review_action": "A2"}]}]',
    'the authorization: less than was asked for');
SELECT is(public.mapped('ref_i13') #> '{referral,requester}', '{"name": "MIRIAM OYELARAN", "family": "OYELARAN", "given": "MIRIAM", "phone": "218-5550110",
      "identifiers": [{"value": "1993817465", "type": "NPI", "system": "http://hl7.org/fhir/sid/us-npi"}], "organization": {"name": "LAKESIDE FAMILY PRACTICE", "phone": "218-5550100", "address": "12 HARBOR RD", "city": "DULUTH", "state": "MN",
      "postal_code": "55802", "identifiers": [{"value": "LFP-1", "system": "LAKESIDE", "assigner": "LAKESIDE"}]}}', 'who asks, and for whom he works');
SELECT is((SELECT jsonb_object_agg(key, value) FROM jsonb_each(public.mapped('ref_i13') -> 'referral')
           WHERE key IN ('urgency', 'comment', 'reason_text', 'reason_code', 'authored_at', 'filler_order_number', 'filler_order_system', 'authorization_number', 'authorization_required', 'state')),
    '{"urgency": "urgent", "comment": "Please see soon\nCall the daughter first\nShe keeps the calendar", "reason_text": "Murmur, worse since October", "reason_code": "I35.0", "authored_at": "2026-11-05T16:15:00+00:00",
      "filler_order_number": "NS-4711", "filler_order_system": "NORTHSHORE", "authorization_number": "NSH-AUTH-5501", "authorization_required": true}', 'a pending request asks for no state; its comments are joined');
SELECT is(jsonb_path_query_array(public.mapped('ref_i13'), '$.referral.diagnoses[*].code'), '["I35.0", "38341003"]', 'a diagnosis that is struck out is none');
SELECT is(public.mapped('ref_i13') -> 'documents', '[{"type": "attachment", "title": "History and physical note", "status": "current", "content": "JVBERi0xLjQ=", "content_type": "application/pdf"}]', 'an attachment');
SELECT is(public.mapped('ref_i13') -> 'encounters', '[{"kind": "encounter", "class": "AMB", "status": "in-progress", "identifier": "V-3301", "identifier_system": "LAKESIDE", "started_at": "2026-11-05T15:30:00+00:00"}]', 'the visit');
SELECT is(public.mapped('ref_i13') -> 'extra' -> 'observations', '[{"what": {"code": "8867-4", "system": "http://loinc.org", "display": "Heart rate"}, "value": "92", "unit": "/min", "status": "F", "at": "20261105"}]', 'observations are kept');
SELECT is(public.mapped('ref_i13') -> 'extra' -> 'notes', '[{"segment": "OBR", "text": "taken at rest"}]', 'so are notes about them');

SELECT is(public.mapped(f) ->> 'kind' || ' ' || coalesce(public.mapped(f) #>> '{referral,state}', '-') || ' ' || coalesce(public.mapped(f) #>> '{referral,decision}', '-'), w, f)
FROM (VALUES ('ref_i13', 'referral - -'), ('ref_i14', 'referral_cancel cancelled -'), ('ref_i15', 'status_request - -'), ('rri_accepted', 'referral_status validated accepted'),
             ('rri_declined', 'referral_status declined declined'), ('rri_error', 'referral_status - -'), ('rri_report', 'referral_status validated accepted')) v (f, w);
SELECT is((SELECT string_agg(concat_ws(' ', t, s, coalesce(c ->> 'kind', '?'), c #>> '{referral,state}', c #>> '{referral,decision}'), ', ' ORDER BY n)
           FROM (VALUES (1, 'REF^I12', 'A^Active'), (2, 'REF^I12', 'R'), (3, 'REF^I13', 'E'), (4, 'REF^I13', 'C'), (5, 'RRI^I12', 'P'), (6, 'RRI^I12', 'E'), (7, 'RRI^I14', 'A'), (8, 'RRI^I14', 'P'), (9, 'RRI^I14', 'R')) v (n, t, s),
                LATERAL public.said('MSH|^~\&|A|B|||20261105||' || t || '|1|P|2.5', 'RF1|' || s || '|||||7^X', 'PID|1||8||A^B') c),
    'REF^I12 A^Active referral, REF^I12 R referral declined declined, REF^I13 E referral expired, REF^I13 C referral_cancel cancelled, RRI^I12 P referral_status, RRI^I12 E referral_status expired, RRI^I14 A referral_status cancelled, RRI^I14 P referral_status, RRI^I14 R referral_status',
    'what RF1-1 means depends on the message');
SELECT is(public.mapped('ref_i14') #>> '{referral,comment}', 'Seen elsewhere', 'why it is taken back');
SELECT is(public.mapped('rri_declined') #>> '{referral,comment}', 'Capacity is full until March', 'why it is declined');
SELECT is(public.mapped('rri_accepted') #> '{extra}' ->> 'acknowledges', 'LKS000417', 'which message is answered');
SELECT is(public.findings('rri_error'), 'message_refused error referral.state MSA-1', 'a message of ours that they could not use is for a person to look at');
SELECT is(public.mapped('rri_report') -> 'reports', '[{"status": "final", "identifier": "NS-RPT-9/11488-4", "code": "11488-4", "code_system": "http://loinc.org", "started_at": "2026-11-18T20:00:00+00:00", "ended_at": "2026-11-18T21:00:00+00:00",
    "sent_at": "2026-11-05T16:15:00+00:00", "author": {"name": "ERIK LINDQVIST", "family": "LINDQVIST", "given": "ERIK", "identifiers": [{"value": "4410"}]},
    "document": {"type": "consult_report", "title": "Consult note", "status": "current", "content": "U2V2ZXJlIHN0ZW5vc2lz", "content_type": "text/plain"}}]', 'an answer may carry the report');
SELECT is(public.mapped('rri_report') -> 'documents', NULL, 'which is no attachment besides');

-- 4. Dirty data

SELECT is(public.findings('ref_i12_dirty'), 'invalid_date warning coverage.start IN1-12, missing warning coverage.payer IN1-3, invalid_time warning message.sent_at MSH-7, invalid_code warning patient.multiple_birth PID-24, invalid_value warning patient.birth_order PID-25, '
    'invalid_date warning patient.birth_date PID-7, invalid_code warning patient.sex PID-8, missing warning referral.requester PRD, invalid_code warning referral.urgency RF1-2.1, '
    'missing warning referral.placer_order_number RF1-6, invalid_time warning referral.authored_at RF1-7, invalid_date warning referral.expires_on RF1-8', 'all that is wrong is found');
SELECT is(public.mapped('ref_i12_dirty') - '{findings,extra,message}'::text[], '{"kind": "referral", "patient": {"identifiers": [{"value": "LK-5520888", "system": "LAKESIDE", "type": "MR", "assigner": "LAKESIDE"}]},
    "referral": {"specialty": "cardiology", "diagnoses": [{"display": "Chest pain on stairs"}], "reason_text": "Chest pain on stairs"}}', 'all that is right is kept');
SELECT is((SELECT f FROM jsonb_array_elements(public.mapped('ref_i12_dirty') -> 'findings') f WHERE f ->> 'attribute' = 'patient.birth_date'),
    '{"code": "invalid_date", "severity": "warning", "attribute": "patient.birth_date", "value": "19761325", "position": "PID-7", "detail": "not a value of its type"}', 'a finding says what was sent and where it stood');
SELECT is(public.findings('ref_i12_bare'), 'missing warning referral.requester PRD, missing warning referral.placer_order_number RF1-6', 'a referral of nobody by nobody');
SELECT is(public.ref('RF1||||||7', 'PID|1||1||A^B', 'PID|1||2||C^D') #>> '{findings,0,detail}', 'several patients in one message', 'two patients in one message');
SELECT is(public.ref('RF1||||||7', 'PID|1||1||A^B', 'IN1|1|P|1|Payer||||||||20260201|20260101') -> 'coverages', '[{"priority": 1, "payer": {"identifier": "1", "name": "Payer"}, "plan": {"identifier": "P"}, "start": "2026-02-01"}]', 'an insurance that ends before it starts has no end');
SELECT is(public.ref('RF1||||||7', 'PID|1||1||A^B', 'AUT||P||20260201|20260101|99||1|0') -> 'authorizations' -> 0 -> 'items', '[{"sequence": 1, "quantity": 1, "authorized_quantity": 0, "valid_from": "2026-02-01", "authorization_number": "99", "review_action": "A3"}]', 'so has an authorization; none of what was asked is denied');
SELECT is(public.ref('RF1|P||MED^Medical^HL70281|||7', 'PID|1||1||A^B') #> '{referral,specialty}', NULL, 'medical care of any kind is no specialty');
SELECT is(public.ref('RF1|P|||||7', 'PV1|1|O||||||55^REFER^LINDA', 'PID|1||1||A^B') #>> '{referral,requester,name}', 'LINDA REFER', 'without PRD the referring doctor of the visit asks');
SELECT is(public.ref('RF1|P|||||7', 'PRD|PP~RT|REFER^LINDA', 'PRD|CP|OTHER^X', 'PID|1||1||A^B') -> 'referral' -> 'performer', '{"name": "LINDA REFER", "family": "REFER", "given": "LINDA"}', 'one provider may have several roles; others have no part in it');

-- 5. Appointments

SELECT is(public.mapped('siu_s12') -> 'appointments', '[{"event": "S12", "status": "booked", "placer_appointment_id": "A-100", "filler_appointment_id": "NS-A-2210", "identifiers": [{"value": "A-100", "system": "LAKESIDE", "type": "PLAC"}, {"value": "NS-A-2210", "system": "NORTHSHORE", "type": "FILL"}],
    "starts_at": "2026-11-18T20:00:00+00:00", "ends_at": "2026-11-18T20:40:00+00:00", "service_code": "93306", "service_code_system": "http://www.ama-assn.org/go/cpt", "service_text": "Echocardiography, transthoracic, complete",
    "location": "NORTHSHORE, ECHO, Room 3", "comment": "Bring the old films", "placer_order_number": "LKS-REF-88213", "placer_order_system": "LAKESIDE", "filler_order_number": "NS-4711", "filler_order_system": "NORTHSHORE",
    "practitioner": {"name": "ERIK LINDQVIST", "family": "LINDQVIST", "given": "ERIK", "specialty": "Cardiologist", "identifiers": [{"value": "1770692138", "type": "NPI", "system": "http://hl7.org/fhir/sid/us-npi", "assigner": "NPI"}]}}]', 'SIU^S12');
SELECT is(public.mapped('siu_s12') -> 'referral', '{"placer_order_number": "LKS-REF-88213", "placer_order_system": "LAKESIDE", "filler_order_number": "NS-4711", "filler_order_system": "NORTHSHORE"}', 'of its referral only the numbers are told');
SELECT is(jsonb_array_length(public.mapped('siu_s12') #> '{extra,resources}'), 4, 'all resources are kept');
SELECT results_eq($$SELECT f, public.mapped(f) ->> 'kind', public.mapped(f) #>> '{appointments,0,status}', public.mapped(f) #>> '{appointments,0,status_reason}', public.mapped(f) #>> '{appointments,0,starts_at}'
                    FROM unnest(ARRAY['siu_s12', 'siu_s13', 'siu_s14', 'siu_s15', 'siu_s17', 'siu_s26']) f$$,
    $$VALUES ('siu_s12', 'appointment', 'booked', NULL, '2026-11-18T20:00:00+00:00'), ('siu_s13', 'appointment', 'booked', 'patient_request', '2026-11-20T15:00:00+00:00'), ('siu_s14', 'appointment', 'fulfilled', NULL, '2026-11-20T15:00:00+00:00'),
             ('siu_s15', 'appointment', 'cancelled', 'patient_cancelled', '2026-11-20T15:00:00+00:00'), ('siu_s17', 'appointment', 'entered-in-error', NULL, '2026-11-20T15:00:00+00:00'), ('siu_s26', 'appointment', 'noshow', NULL, '2026-11-20T15:00:00+00:00')$$,
    'the life of an appointment');
SELECT is(public.findings('siu_s12_dirty'), 'invalid_code warning appointment.status SCH-25, invalid_time warning appointment.starts_at TQ1-7', 'a day that is none, a status that is none');
SELECT is(public.mapped('siu_s12_dirty') #>> '{appointments,0,starts_at}', '2026-11-21T08:00:00+00:00', 'then the start is the service''s');
SELECT is((SELECT string_agg(s || ' ' || coalesce(public.said('MSH|^~\&|A|B|||20261105||SIU^S14|1|P|2.5', 'SCH||7||||||||' || repeat('|', 15) || s, 'PID|1||1||A^B') #>> '{appointments,0,status}', '-'), ', ' ORDER BY n)
           FROM unnest(ARRAY['Pending', 'Waitlist', 'Booked', 'Overbook', 'Started', 'Complete', 'Cancelled', 'Dc', 'Noshow', 'Deleted']) WITH ORDINALITY AS v (s, n)),
    'Pending pending, Waitlist waitlist, Booked booked, Overbook booked, Started arrived, Complete fulfilled, Cancelled cancelled, Dc cancelled, Noshow noshow, Deleted entered-in-error', 'table 0278');
SELECT is(public.said('MSH|^~\&|A|B|||20261105||SIU^S12|1|P|2.5', 'SCH||7', 'TQ1|1||||||20261105100000|20261105090000', 'PID|1||1||A^B') -> 'appointments' -> 0, '{"event": "S12", "status": "booked", "filler_appointment_id": "7", "identifiers": [{"value": "7", "type": "FILL"}], "starts_at": "2026-11-05T10:00:00+00:00"}', 'an end before the start is none');
SELECT is((SELECT string_agg(coalesce(public.said('MSH|^~\&|A|B|||20261105||SIU^S12|1|P|2.5', 'SCH||7|||||||' || d, 'TQ1|1||||||20261105100000', 'PID|1||1||A^B') #>> '{appointments,0,ends_at}', '-'), ' ' ORDER BY n) FROM unnest(ARRAY['30|min', '2|H', '90|S', '999999999999|min', 'x|min', '30|moons']) WITH ORDINALITY AS v (d, n)),
    '2026-11-05T10:30:00+00:00 2026-11-05T12:00:00+00:00 2026-11-05T10:01:30+00:00 - - -', 'ends by the duration, in its unit');
SELECT is(public.said('MSH|^~\&|A|B|||20261105||SIU^S23|1|P|2.5', 'SCH||7') ->> 'kind', 'none', 'a schedule that is blocked is nobody''s appointment');

-- 6. Orders, reports, authorizations, patients

SELECT results_eq($$SELECT c ->> 'kind', c #>> '{referral,placer_order_number}', c #>> '{referral,state}', c #>> '{referral,urgency}', c #>> '{referral,service_code}', c #>> '{referral,comment}', c #>> '{patient,family}'
                    FROM public.sample s, referral.map_hl7v2(referral.hl7_parse(s.message), 'test') WITH ORDINALITY AS m (c, n) WHERE s.name IN ('orm_o01', 'omg_o19') ORDER BY s.name DESC, n$$,
    $$VALUES ('referral', 'ORD-1', NULL, 'stat', '93306', 'First order', 'HALVORSEN'), ('referral_cancel', 'ORD-2', 'cancelled', 'routine', '93000', 'Not needed any more', 'HALVORSEN'), ('none', 'ORD-3', NULL, NULL, '80053', NULL, 'HALVORSEN'),
             ('referral_status', 'ORD-1', 'scheduled', 'urgent', '93306', NULL, 'HALVORSEN'), ('referral', 'ORD-4', NULL, 'urgent', '80053', NULL, 'HALVORSEN')$$, 'a case for each order; results of former orders are none');
SELECT is(public.findings('orm_o01', 3), 'invalid_code warning referral.state ORC-1', 'what an order asks for must be known');
SELECT is(public.mapped('orm_o01') #>> '{referral,reason_code}' || ' ' || (public.mapped('orm_o01') #>> '{referral,requester,name}') || ' ' || (public.mapped('orm_o01') #>> '{referral,requesting_organization,name}'), 'I35.0 MIRIAM OYELARAN LAKESIDE FAMILY PRACTICE', 'why, and who orders');
SELECT is((SELECT string_agg(c || ' ' || coalesce(o ->> 'kind', '-') || coalesce(' ' || (o #>> '{referral,state}'), ''), ', ' ORDER BY n)
           FROM unnest(ARRAY['NW|', 'XO|', 'CA|', 'DC|', 'OC|', 'OK|', 'UA|', 'HD|', 'RL|', 'SC|CM', 'SC|IP', 'SS|', '|']) WITH ORDINALITY AS v (c, n),
                LATERAL public.said('MSH|^~\&|A|B|||20261105||ORM^O01|1|P|2.5', 'PID|1||1||A^B', 'ORC|' || split_part(c, '|', 1) || '|7^X|||' || split_part(c, '|', 2), 'OBR|1|7^X||1^x^L') o),
    'NW| referral, XO| referral, CA| referral_cancel cancelled, DC| referral_cancel cancelled, OC| referral_status cancelled, OK| referral_status validated, UA| referral_status declined, HD| referral_status on_hold, RL| referral_status, SC|CM referral_status completed, SC|IP referral_status, SS| status_request, | referral', 'ORC-1 and ORC-5');
SELECT is(public.said('MSH|^~\&|A|B|||20261105||ORM^O01|1|P|2.5', 'PID|1||1||A^B') ->> 'kind', 'none', 'an order message without an order');

SELECT results_eq($$SELECT c ->> 'kind', c #>> '{referral,placer_order_number}', c #>> '{referral,filler_order_number}', c #>> '{reports,0,status}', c #>> '{reports,0,identifier}', c #>> '{reports,0,ended_at}', c #>> '{reports,0,document,content}', c #>> '{documents,0,url}'
                    FROM public.sample s, referral.map_hl7v2(referral.hl7_parse(s.message), 'test') WITH ORDINALITY AS m (c, n) WHERE s.name = 'oru_r01' ORDER BY n$$,
    $$VALUES ('report', 'LKS-REF-88213', 'NS-RPT-9', 'preliminary', 'NS-RPT-9/11488-4', '2026-11-19T14:00:00+00:00', E'Severe stenosis\nValve clinic advised', NULL),
             ('report', 'LKS-REF-88213', 'NS-RPT-9', 'amended', 'NS-RPT-9/18842-5', '2026-11-18T21:00:00+00:00', 'JVBERi0xLjQ=', 'https://images.example.org/9?a=1&b=2')$$, 'ORU: a case for each result, and what it says');
SELECT is((SELECT string_agg(s || ' ' || (public.said('MSH|^~\&|A|B|||20261105||ORU^R01|1|P|2.5', 'PID|1||1||A^B', 'OBR|1|7|8|1^x^L' || repeat('|', 21) || s) #>> '{reports,0,status}'), ', ' ORDER BY n)
           FROM unnest(ARRAY['F', 'C', 'P', 'X', 'I', 'Q', '']) WITH ORDINALITY AS v (s, n)), 'F final, C amended, P preliminary, X failed, I preliminary, Q preliminary,  preliminary', 'only F and C close a loop');
SELECT is(public.said('MSH|^~\&|A|B|||20261105||ORU^R01|1|P|2.5', 'PID|1||1||A^B', 'OBR|1|||1^x^L' || repeat('|', 21) || 'F') #>> '{findings,0,attribute}', 'referral.placer_order_number', 'a report should say what it is about');
SELECT is((SELECT count(*) FROM referral.map_hl7v2(referral.hl7_parse(E'MSH|^~\\&|A|B|||20261105||ORU^R01|1|P|2.5\rPID|1||1||A^B\rOBR|1|7\rPID|1||2||C^D\rOBR|1|8') , 'test') c WHERE c #>> '{patient,family}' = CASE c #>> '{referral,placer_order_number}' WHEN '7' THEN 'A' ELSE 'C' END), 2::bigint, 'results of two patients stay apart');
SELECT is(public.mapped('mdm_t02') - '{patient,message,extra,encounters}'::text[], '{"kind": "report", "findings": [], "referral": {"placer_order_number": "LKS-REF-88213", "placer_order_system": "LAKESIDE", "identifiers": [{"value": "LKS-REF-88213", "system": "LAKESIDE", "type": "PLAC"}],
      "encounter": {"kind": "encounter", "class": "AMB", "status": "in-progress"}},
    "reports": [{"status": "final", "identifier": "DOC-77", "code": "CN", "started_at": "2026-11-18T20:00:00+00:00", "ended_at": "2026-11-18T22:00:00+00:00", "sent_at": "2026-11-05T16:15:00+00:00",
      "author": {"name": "ERIK LINDQVIST", "family": "LINDQVIST", "given": "ERIK", "identifiers": [{"value": "4410"}]},
      "document": {"type": "consult_report", "title": "Consult note", "status": "current", "identifier": "DOC-77", "content": "JVBERi0xLjQ=", "content_type": "application/pdf"}}]}', 'MDM: an authenticated document about an order is its report');
SELECT is(public.mapped('mdm_t02_letter') -> 'documents', '[{"type": "CN", "title": "Consult note", "status": "current", "identifier": "DOC-77", "content": "Dear colleague", "content_type": "text/plain"}]', 'any other is a document of the patient');
SELECT is(public.mapped('mdm_t02_letter') ->> 'kind', 'document', 'and nothing else');

SELECT is(public.mapped('rqa_i08') -> 'authorizations', '[{"identifiers": [{"value": "LKS-REF-88213", "system": "LAKESIDE", "type": "PLAC"}], "status": "requested", "requested_at": "2026-11-02T00:00:00+00:00", "valid_from": "2026-11-01", "valid_to": "2027-01-31",
    "items": [{"sequence": 1, "quantity": 2, "valid_from": "2026-11-01", "valid_to": "2027-01-31"}, {"sequence": 2, "code": "93306", "code_system": "http://www.ama-assn.org/go/cpt", "display": "Echocardiography, transthoracic, complete"}]}]', 'RQA: one request, an item for each AUT');
SELECT is(public.mapped('rpa_i08') -> 'authorizations', '[{"identifiers": [{"value": "NSH-AUTH-5501", "system": "NSHP", "type": "AUTH"}], "request": [{"value": "LKS-REF-88213", "system": "LAKESIDE", "type": "PLAC"}], "status": "decided", "authorization_number": "NSH-AUTH-5501",
    "valid_from": "2026-11-01", "valid_to": "2027-01-31", "decided_at": "2026-11-04T00:00:00+00:00", "items": [{"sequence": 1, "quantity": 2, "authorized_quantity": 1, "authorization_number": "NSH-AUTH-5501", "valid_from": "2026-11-01", "valid_to": "2027-01-31", "review_action": "A2"}]}]', 'RPA: its answer');
SELECT is((SELECT string_agg(t || ' ' || (a ->> 'status') || coalesce(' ' || (a #>> '{items,0,review_action}'), ''), ', ' ORDER BY n)
           FROM (VALUES (1, 'RPA^I08', 'A'), (2, 'RPA^I08', 'R'), (3, 'RPA^I08', 'P'), (4, 'RQA^I08', 'P'), (5, 'RQA^I11', 'P')) v (n, t, s),
                LATERAL public.said('MSH|^~\&|A|B|||20261105||' || t || '|1|P|2.5', 'RF1|' || s || '|||||7^X', 'PID|1||1||A^B', 'PR1|1||93306^Echo^C4') c, LATERAL (SELECT c #> '{authorizations,0}') x (a)),
    'RPA^I08 decided A1, RPA^I08 decided A3, RPA^I08 pended A4, RQA^I08 requested, RQA^I11 cancelled', 'without AUT the procedures are the items');
SELECT is(public.mapped('adt_a08') ->> 'kind' || ' ' || (public.mapped('adt_a08') #>> '{encounters,0,status}') || ' ' || jsonb_array_length(public.mapped('adt_a08') -> 'coverages'), 'patient finished 1', 'ADT: patient, insurance and visit');
SELECT is(public.findings('adt_a40'), 'possible_duplicate error patient.identifiers MRG-1', 'a merge elsewhere is for a person to decide here');
SELECT is(public.mapped('ack_error') ->> 'kind' || ' ' || public.findings('ack_error'), 'none message_refused error message MSA-1', 'a refusal of our message is seen');
SELECT is(public.said('MSH|^~\&|A|B|||20261105||BAR^P01|1|P|2.5', 'PID|1||1||A^B') - 'message', '{"kind": "none", "reason": "no mapping for this type of message", "findings": [{"code": "unmapped_type", "severity": "warning", "attribute": "message.type", "value": "BAR^P01", "position": "MSH-9", "detail": "no mapping for this type"}]}', 'other types are kept and named');
SELECT is((public.refused($$SELECT * FROM referral.map_hl7v2(referral.hl7_parse(E'MSH|^~\\&|A'), 'test')$$)).code, 'RF014', 'a message without a type is refused');
SELECT is((public.refused($$SELECT * FROM referral.map_hl7v2('[]', 'test')$$)).code, 'RF014', 'so is what is no message');
SELECT is((SELECT count(*) FROM referral.map_hl7v2(NULL, 'test')), 0::bigint, 'null has no cases');
SELECT is((SELECT count(DISTINCT c -> 'message') FROM referral.map_hl7v2(referral.hl7_parse((SELECT message FROM public.sample WHERE name = 'orm_o01')), 'test') c), 1::bigint, 'all cases of a message name it');

-- 7. Through receive(), and out again

CREATE ROLE intake_hl7_bot LOGIN IN ROLE referral_integration;
CREATE ROLE intake_hl7_other LOGIN IN ROLE referral_integration;
CREATE ROLE intake_hl7_nobody LOGIN IN ROLE referral_analyst;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'intake_hl7_bot', 'system'), (2, 'intake_hl7_other', 'system'), (1, 'intake_hl7_nobody', 'user');
INSERT INTO referral.source_system (org_id, source, is_self) VALUES (1, 'NORTHSHORE_DB', true);
SET SESSION AUTHORIZATION intake_hl7_bot;
SELECT r.outcome, r.referral_id AS id FROM public.sample s, referral.receive('hl7v2', 'LAKESIDE_EHR', NULL, s.message) r WHERE s.name = 'ref_i12' \gset first_
SELECT is(:'first_outcome'::text, 'referral_created', 'a REF^I12 becomes a referral');
SELECT r.outcome, r.referral_id AS id FROM public.sample s, referral.receive('hl7v2', 'LAKESIDE_EHR', NULL, s.message) r WHERE s.name = 'ref_i13' \gset second_
SELECT is(:'second_outcome' || ' ' || (:'second_id' = :'first_id')::text, 'referral_updated true', 'a REF^I13 changes it');

SELECT r.message_id AS dirty FROM public.sample s, referral.receive('hl7v2', 'LAKESIDE_EHR', NULL, s.message) r WHERE s.name = 'ref_i12_dirty' \gset
SELECT r.message_id AS bare FROM public.sample s, referral.receive('hl7v2', 'LAKESIDE_EHR', NULL, s.message) r WHERE s.name = 'ref_i12_bare' \gset
SELECT is((SELECT array_agg(i.outcome ORDER BY i.message_id) FROM referral.inbox_outcome i WHERE i.message_id IN (:dirty, :bare)), '{referral_created,referral_created}', 'dirty ones become referrals, too');
SELECT is((SELECT string_agg(f.code, ' ' ORDER BY f.message_id) FROM referral.data_quality_finding f WHERE f.message_id IN (:dirty, :bare) AND f.code LIKE 'patient%'), 'patient_unnamed patient_missing', 'of whom it is said, once each, what is wrong with their patients');

-- what comes back of a message about a referral
CREATE FUNCTION pg_temp.back(message text) RETURNS jsonb LANGUAGE sql STABLE AS 'SELECT c FROM referral.map_hl7v2(referral.hl7_parse(message), ''us'') c';
SELECT referral.hl7_referral(1, :first_id) AS out \gset
SELECT is(pg_temp.back(:'out') ->> 'kind', 'referral', 'hl7_referral() builds a REF that reads back as a request');
SELECT is(referral.hl7_build(referral.hl7_parse(:'out')), :'out'::text, 'in the form that hl7_build() gives');
SELECT is(pg_temp.back(:'out') -> 'message' ->> 'originator', 'NORTHSHORE_DB', 'sent by ourselves');
SELECT is((SELECT jsonb_object_agg(k, pg_temp.back(:'out') -> 'referral' -> k) FROM unnest(ARRAY['placer_order_number', 'placer_order_system', 'filler_order_number', 'filler_order_system', 'urgency', 'specialty', 'expires_on', 'authored_at',
               'diagnoses', 'reason_code', 'reason_text', 'procedures', 'service_code', 'authorization_number']) k),
          (SELECT jsonb_object_agg(k, public.mapped('ref_i13') -> 'referral' -> k) FROM unnest(ARRAY['placer_order_number', 'placer_order_system', 'filler_order_number', 'filler_order_system', 'urgency', 'specialty', 'expires_on', 'authored_at',
               'diagnoses', 'reason_code', 'reason_text', 'procedures', 'service_code', 'authorization_number']) k), 'with the same facts about the request');
SELECT is((SELECT jsonb_object_agg(k, pg_temp.back(:'out') -> 'patient' -> k) FROM unnest(ARRAY['family', 'given', 'middle', 'previous_family', 'alias', 'birth_date', 'sex', 'phone', 'other_phones', 'email', 'address', 'city', 'state', 'postal_code', 'language', 'mother_maiden_name', 'birth_order']) k),
          (SELECT jsonb_object_agg(k, public.mapped('ref_i13') -> 'patient' -> k) FROM unnest(ARRAY['family', 'given', 'middle', 'previous_family', 'alias', 'birth_date', 'sex', 'phone', 'other_phones', 'email', 'address', 'city', 'state', 'postal_code', 'language', 'mother_maiden_name', 'birth_order']) k), 'about the patient');
SELECT bag_eq($$SELECT i ->> 'value' AS v, i ->> 'system' AS s FROM jsonb_array_elements(pg_temp.back(referral.hl7_referral(1, $$ || :first_id || $$)) #> '{patient,identifiers}') i$$,
    $$SELECT i ->> 'value' AS v, i ->> 'system' AS s FROM jsonb_array_elements(public.mapped('ref_i13') #> '{patient,identifiers}') i$$, 'his identifiers');
SELECT is((SELECT jsonb_agg(c - '{identifiers}'::text[]) FROM jsonb_array_elements(pg_temp.back(:'out') -> 'coverages') c),
          (SELECT jsonb_agg(c) FROM jsonb_array_elements(public.mapped('ref_i13') -> 'coverages') WITH ORDINALITY AS v (c, n) WHERE n = 1), 'his insurance of today');
SELECT is((pg_temp.back(:'out') #> '{referral,requester}') - 'phone', (public.mapped('ref_i13') #> '{referral,requester}') - 'phone', 'who asks');
SELECT is(pg_temp.back(:'out') #>> '{referral,performer,name}', 'ERIK LINDQVIST', 'who is asked');
SELECT is((SELECT array_agg(k || ' ' || (pg_temp.back(referral.hl7_referral(1, :first_id, e, 'RHH', 'RHHFacility')) ->> 'kind') ORDER BY e) FROM (VALUES ('I12', 'a'), ('I13', 'b'), ('I14', 'c')) v (e, k)), '{a referral,b referral,c referral_cancel}', 'the events');
SELECT is(referral.hl7_get(referral.hl7_referral(1, :first_id, 'I12', 'RHH', 'RHHFacility'), 'MSH-5') || ' ' || referral.hl7_get(referral.hl7_referral(1, :first_id, 'I12', 'RHH', 'RHHFacility'), 'MSH-6'), 'RHH RHHFacility', 'the receiver');
SELECT isnt(referral.hl7_get(referral.hl7_referral(1, :first_id), 'MSH-10'), referral.hl7_get(referral.hl7_referral(1, :first_id), 'MSH-10'), 'each message has a number of its own');

SELECT referral.hl7_response(1, :first_id, 'LKS000417') AS out \gset
SELECT is(referral.hl7_get(:'out', 'MSH-9.2') || ' ' || referral.hl7_get(:'out', 'MSH-5') || ' ' || referral.hl7_get(:'out', 'MSA-1') || ' ' || referral.hl7_get(:'out', 'MSA-2') || ' ' || referral.hl7_get(:'out', 'RF1-1.1'),
    'I12 LAKESIDE_EHR AA LKS000417 P', 'hl7_response() answers who has sent it: pending');
SELECT is(pg_temp.back(:'out') #>> '{referral,filler_order_number}', 'NS-4711', 'with the numbers by which it is known');
SELECT is((SELECT r.outcome FROM referral.receive('hl7v2', 'NORTHSHORE_DB', NULL, :'out') r), 'echo', 'our own message is an echo when it comes back');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
UPDATE referral.referral SET decision = 'accepted' WHERE referral_id = :first_id;
SELECT is(referral.hl7_get(referral.hl7_response(1, :first_id), 'RF1-1.1'), 'A', 'accepted');
UPDATE referral.referral SET decision = 'declined' WHERE referral_id = :first_id;
SELECT is(referral.hl7_get(referral.hl7_response(1, :first_id), 'RF1-1.1'), 'R', 'declined');
UPDATE referral.referral SET decision = 'accepted' WHERE referral_id = :first_id;
INSERT INTO referral.document (referral_id, type, title, content_type, url) VALUES (:first_id, 'consult_report', 'Consult note', 'application/pdf', 'https://docs.example.org/9?a=1&b=2') RETURNING document_id AS doc \gset
INSERT INTO referral.consult_report (referral_id, document_id, status, identifier, code_system, code, started_at, ended_at)
VALUES (:first_id, :doc, 'preliminary', 'R-1', 'http://loinc.org', '11488-4', '2026-11-18 20:00+00', '2026-11-18 21:00+00') RETURNING consult_report_id AS report \gset
SELECT is(pg_temp.back(referral.hl7_response(1, :first_id)) -> 'reports', NULL, 'an interim note is not sent as the report');
UPDATE referral.consult_report SET status = 'final' WHERE consult_report_id = :report;
SELECT is((pg_temp.back(referral.hl7_response(1, :first_id)) #> '{reports,0}') - 'sent_at', '{"status": "final", "identifier": "R-1/11488-4", "code": "11488-4", "code_system": "http://loinc.org", "started_at": "2026-11-18T20:00:00+00:00", "ended_at": "2026-11-18T21:00:00+00:00",
    "document": {"type": "consult_report", "title": "Consult note", "status": "current", "url": "https://docs.example.org/9?a=1&b=2", "content_type": "application/pdf"}}', 'the final one is, by where it lies');
INSERT INTO referral.patient (family, given, birth_date) VALUES ('O|Neil^~', 'A\B&C', '1970-01-02') RETURNING patient_id AS odd \gset
INSERT INTO referral.referral (patient_id, specialty, reason_text) VALUES (:odd, 'x', E'a|b^c&d~e\\f') RETURNING referral_id AS odd \gset
SELECT is(pg_temp.back(referral.hl7_referral(1, :odd)) #>> '{patient,family}' || ' ' || (pg_temp.back(referral.hl7_referral(1, :odd)) #>> '{patient,given}') || ' ' || (pg_temp.back(referral.hl7_referral(1, :odd)) #>> '{referral,reason_text}'),
    E'O|Neil^~ A\\B&C a|b^c&d~e\\f', 'separators in values come through');
SELECT is(referral.hl7_get(referral.hl7_referral(1, :odd), 'RF1-6'), :'odd' || '^NORTHSHORE_DB', 'a referral that was entered here goes by our number');
INSERT INTO referral.referral DEFAULT VALUES RETURNING referral_id AS empty \gset
SELECT is(pg_temp.back(referral.hl7_referral(1, :empty)) ->> 'kind', 'referral', 'a referral of which nothing is known can be told');
SELECT is((public.refused('SELECT referral.hl7_referral(1, 1, ''I15'')')).code, 'RF020', 'no request for status is built');
SELECT is((public.refused('SELECT referral.hl7_referral(1, -1)')).code, 'RF019', 'no referral, no message');
SELECT is((public.refused('SELECT referral.hl7_response(1, -1)')).code, 'RF019', 'and no answer');
SELECT is(referral.hl7_referral(1, NULL), NULL, 'null for null');
SET SESSION AUTHORIZATION intake_hl7_other;
SELECT is((public.refused('SELECT referral.hl7_referral(1, ' || :first_id || ')')).code, 'RF019', 'others'' referrals are not to be seen');
SET SESSION AUTHORIZATION intake_hl7_nobody;
SELECT is((public.refused('SELECT referral.hl7_referral(1, ' || :first_id || ')')).code, '42501', 'nor by who may not read them');
RESET SESSION AUTHORIZATION;

-- time that grows with the square of their number would take many times that
SET statement_timeout = '5s';
SELECT is((SELECT jsonb_array_length(c #> '{referral,diagnoses}') FROM referral.map_hl7v2(referral.hl7_parse(E'MSH|^~\\&|A|B|||||REF^I12|1|P|2.5\rPRD|RP|A^B\rPID|1||77||DOE^JOHN'
    || (SELECT string_agg(E'\rDG1|' || i || '||I' || i || '^X^I10', '') FROM generate_series(1, 8000) i)), 'X', 'UTC') c), 8000, 'thousands of diagnoses');
RESET statement_timeout;

SELECT is((SELECT c #>> '{referral,comment}' FROM referral.map_hl7v2(referral.hl7_parse(E'MSH|^~\\&|A||||||REF^I12|1|P|2.5.1\rRF1|P|R||||7^A\rNTE|1||""\rNTE|2||first\rNTE|3\rNTE|4||second'), 'x') c),
          E'first\nsecond', 'a note without text is no line of the comment');

SELECT * FROM finish();
