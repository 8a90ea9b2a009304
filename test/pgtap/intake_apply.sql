-- Cases of messages are written into the model: who and what is found again, what is overwritten, what becomes a finding.
SELECT plan(184);
\ir ../lib/refused.sql
SET timezone = 'UTC';

CREATE ROLE intake_apply_feed LOGIN IN ROLE referral_integration;
CREATE ROLE intake_apply_jane LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Organisation 2');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'intake_apply_feed', 'system'), (2, 'intake_apply_feed', 'system'), (1, 'intake_apply_jane', 'user');

-- cases are applied here by hand, as those of messages that nobody has sent
GRANT INSERT, UPDATE ON referral.intake_latest TO intake_apply_feed, intake_apply_jane;
CREATE FUNCTION public.apply(intake jsonb, source text DEFAULT 'hub', message bigint DEFAULT NULL, org bigint DEFAULT 1) RETURNS jsonb LANGUAGE sql AS
    'SELECT referral.apply_case(org, message, source, ''hl7v2'', intake)';
CREATE FUNCTION public.codes(answer jsonb) RETURNS text LANGUAGE sql AS
    $$SELECT coalesce(string_agg(concat_ws(' ', f ->> 'code', f ->> 'severity'), ', ' ORDER BY f ->> 'code', f ->> 'severity'), '') FROM jsonb_array_elements(answer -> 'findings') f$$;
CREATE FUNCTION public.done(answer jsonb) RETURNS text LANGUAGE sql AS
    $$SELECT coalesce(string_agg(concat_ws(' ', r ->> 'entity', r ->> 'action'), ', ' ORDER BY o), '') FROM jsonb_array_elements(answer -> 'results') WITH ORDINALITY x (r, o)$$;
CREATE FUNCTION public.written() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM referral.journal';
CREATE FUNCTION public.ref(number text, more jsonb DEFAULT '{}', patient jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('kind', 'referral', 'patient', patient,
                                                'referral', jsonb_build_object('placer_order_number', number, 'specialty', 'cardiology') || more)) $$;
CREATE FUNCTION public.state(id bigint) RETURNS text LANGUAGE sql AS 'SELECT state::text FROM referral.referral WHERE referral_id = id';

-- 1. Texts become values, or null

SELECT results_eq($$SELECT v, referral.try_date(v) FROM unnest('{2026-11-02,20261102,1976-13-25,2023-02-29,2024-02-29,2026-11,"",2026-11-02T23:30:00-05:00,11/02/2026,2026-11-02x,0000-01-01,infinity}'::text[]) v$$,
    $$VALUES ('2026-11-02', date '2026-11-02'), ('20261102', '2026-11-02'), ('1976-13-25', NULL), ('2023-02-29', NULL), ('2024-02-29', '2024-02-29'), ('2026-11', NULL),
             ('', NULL), ('2026-11-02T23:30:00-05:00', '2026-11-02'), ('11/02/2026', NULL), ('2026-11-02x', NULL), ('0000-01-01', NULL), ('infinity', NULL)$$, 'dates');
SELECT results_eq($$SELECT v, referral.try_timestamp(v, 'America/New_York') FROM unnest('{2026-11-02T10:00:00.25Z,2026-07-02 10:00,2026-11-02,2026-11-02T10:00:00+0530,20261102T1000Z,2026-11-02T25:00,2026-11-02T10:00+99,2026-11-02T10:00:60Z,noon}'::text[]) v$$,
    $$VALUES ('2026-11-02T10:00:00.25Z', timestamptz '2026-11-02 10:00:00.25+00'), ('2026-07-02 10:00', '2026-07-02 14:00+00'), ('2026-11-02', '2026-11-02 05:00+00'),
             ('2026-11-02T10:00:00+0530', '2026-11-02 04:30+00'), ('20261102T1000Z', '2026-11-02 10:00+00'), ('2026-11-02T25:00', NULL),
             ('2026-11-02T10:00+99', NULL), ('2026-11-02T10:00:60Z', '2026-11-02 10:01+00'), ('noon', NULL)$$, 'times');
SELECT results_eq($$SELECT referral.try_timestamp(NULL), referral.try_timestamp('2026-11-02 10:00', 'Nowhere/Town'), referral.try_timestamp('2026-11-02 10:00Z', 'Nowhere/Town')$$,
    $$VALUES (NULL::timestamptz, NULL::timestamptz, timestamptz '2026-11-02 10:00+00')$$, 'a zone that there is not matters only where it is needed');
SELECT results_eq($$SELECT v, referral.try_numeric(v), referral.try_integer(v), referral.try_boolean(v) FROM unnest('{12,-1.5,1e3,1e999,NaN,"",2147483648,-2147483648,yes,N,x}'::text[]) v$$,
    $$VALUES ('12', 12::numeric, 12, NULL::boolean), ('-1.5', -1.5, NULL, NULL), ('1e3', 1000, NULL, NULL), ('1e999', NULL, NULL, NULL), ('NaN', NULL, NULL, NULL), ('', NULL, NULL, NULL),
             ('2147483648', 2147483648, NULL, NULL), ('-2147483648', -2147483648, -2147483648, NULL), ('yes', NULL, NULL, true), ('N', NULL, NULL, false), ('x', NULL, NULL, NULL)$$, 'numbers and truth values');
SELECT is(referral.try_numeric(repeat('9', 300)), NULL, 'a number of absurd length is none');
DO $$ BEGIN ASSERT (SELECT count(*) = 0 FROM (SELECT referral.try_date(r), referral.try_timestamp(r), referral.try_numeric(r), referral.try_integer(r), referral.try_boolean(r)
    FROM (SELECT left(encode(sha256(g::text::bytea), 'escape'), g % 30) AS r FROM generate_series(1, 3000) g) x) y WHERE false); END $$;
SELECT pass('no text makes them fail');

GRANT CREATE ON SCHEMA public TO intake_apply_feed;
SET SESSION AUTHORIZATION intake_apply_feed;
SET referral.org_id = 1;

-- 2. A request

\set ada '{"identifiers":[{"system":"LAKE","value":"MR1","type":"MR"},{"value":"444-22-2222","type":"SS"},{"system":"LAKE","value":"ACC9","type":"AN"}],"family":"Everyman","given":"Ada","birth_date":"1951-03-04","sex":"female","phone":"2175550101","address":"1 Main Street","city":"Springfield"}'
\set full '{"kind":"referral","message":{"sent_at":"2026-11-02T10:00:00Z"},"patient":':ada',"coverages":[{"priority":1,"payer":{"identifier":"A357","name":"Acme"},"plan":{"name":"Gold"},"subscriber_id":"W1","start":"2026-01-01"}],"referral":{"placer_order_number":"O1","placer_order_system":"LAKE","urgency":"urgent","intent":"order","specialty":"cardiology","diagnoses":[{"system":"icd","code":"I20.9","display":"Angina"},{"display":"Palpitations"}],"procedures":[{"system":"cpt","code":"93306"}],"requester":{"identifiers":[{"type":"NPI","value":"1234567893"}],"name":"Miriam Oyelaran"},"performer":{"identifiers":[{"type":"NPI","value":"1999999992"}],"given":"Sven","family":"Karlsson"},"requesting_organization":{"name":"Lake Clinic"},"expires_on":"2027-02-01","expected_value":"120.555","authored_at":"2026-11-01T08:00:00Z"}}'
CREATE TEMP TABLE first AS SELECT public.apply(:'full') AS a;
SELECT is(public.done(a), 'patient created, payer created, plan created, coverage created, practitioner created, practitioner created, provider_organization created, referral created', 'a request makes what it names')
FROM first;
SELECT is(public.codes(a), 'unknown_payer info', 'the first payer of all is no news') FROM first;
SELECT is(a ->> 'patient_match', 'new', 'a new patient') FROM first;
SELECT (a ->> 'referral_id')::bigint AS r1, (a ->> 'patient_id')::bigint AS p1 FROM first \gset
SELECT results_eq(format($$SELECT state::text, urgency::text, intent::text, specialty, patient_id, placer_order_number, placer_order_system, reason_code, reason_code_system, reason_text, service_code, expires_on, expected_value, authored_at, source, channel, network_status::text
    FROM referral.referral WHERE referral_id = %s$$, :r1),
    format($$VALUES ('received', 'urgent', 'order', 'cardiology', %s::bigint, 'O1', 'LAKE', 'I20.9', 'icd', 'Angina', '93306', date '2027-02-01', 120.56, timestamptz '2026-11-01 08:00Z', 'hub', 'hl7v2', 'unknown')$$, :p1), 'the referral');
SELECT results_eq(format('SELECT p.name FROM referral.referral r JOIN referral.practitioner p ON p.practitioner_id IN (r.requester_id, r.performer_id) WHERE r.referral_id = %s ORDER BY 1', :r1),
    $$VALUES ('Miriam Oyelaran'), ('Sven Karlsson')$$, 'its people');
SELECT results_eq(format('SELECT p.name, l.name, c.period FROM referral.referral r JOIN referral.payer p USING (payer_id) JOIN referral.plan l USING (plan_id) JOIN referral.coverage c USING (coverage_id) WHERE r.referral_id = %s', :r1),
    $$VALUES ('Acme', 'Gold', daterange('2026-01-01', NULL))$$, 'its coverage');
SELECT results_eq(format('SELECT kind, sequence, system, code, display FROM referral.referral_code WHERE referral_id = %s ORDER BY 1, 2', :r1),
    $$VALUES ('diagnosis', 1, 'icd', 'I20.9', 'Angina'), ('diagnosis', 2, NULL, NULL, 'Palpitations'), ('procedure', 1, 'cpt', '93306', NULL)$$, 'its codes');
SELECT results_eq(format('SELECT system, value, type FROM referral.identifier WHERE patient_id = %s ORDER BY 3', :p1),
    $$VALUES ('LAKE', 'ACC9', 'AN'), ('LAKE', 'MR1', 'MR'), ('http://hl7.org/fhir/sid/us-ssn', '444-22-2222', 'SS')$$, 'identifiers of the patient, those of a country under one name');
SELECT is((SELECT other_identifiers FROM referral.patient WHERE patient_id = :p1), '{http://hl7.org/fhir/sid/us-ssn|444-22-2222}', 'an account is not the person''s');

SELECT public.written() AS before \gset
CREATE TEMP TABLE again AS SELECT public.apply(:'full') AS a;
SELECT is(public.done(a), 'patient unchanged, coverage unchanged, referral unchanged', 'once more: nothing changes') FROM again;
SELECT is(public.codes(a), '', 'and nothing is to be said') FROM again;
SELECT is(public.written(), :'before', 'and nothing is written');
SELECT is(a ->> 'patient_match', 'identifier', 'the patient is found by his identifiers') FROM again;

-- an update brings what is new; what it does not tell stays
CREATE TEMP TABLE news AS SELECT public.apply('{"kind":"referral","patient":{"identifiers":[{"system":"LAKE","value":"MR1","type":"MR"}],"family":"Everyman","given":"Ada","phone":"2175550202","alias":["Addie"]},
    "referral":{"placer_order_number":"O1","placer_order_system":"LAKE","urgency":"stat","diagnoses":[{"system":"icd","code":"I21.0"}]}}') AS a;
SELECT is(public.done(a), 'patient updated, referral updated, referral_code updated', 'an update') FROM news;
SELECT results_eq(format('SELECT urgency::text, specialty, reason_code, expires_on, requester_id IS NOT NULL FROM referral.referral WHERE referral_id = %s', :r1),
    $$VALUES ('stat', 'cardiology', 'I21.0', date '2027-02-01', true)$$, 'what it tells is new, the rest stays');
SELECT results_eq(format('SELECT kind, sequence, code, active FROM referral.referral_code WHERE referral_id = %s ORDER BY 1, 2', :r1),
    $$VALUES ('diagnosis', 1, 'I21.0', true), ('diagnosis', 2, NULL, false), ('procedure', 1, '93306', true)$$, 'a shorter list: what it lacks is not active; a list that it does not have stays');
SELECT results_eq(format('SELECT phone, birth_date, alias FROM referral.patient WHERE patient_id = %s', :p1), $$VALUES ('2175550202', date '1951-03-04', '{Addie}'::text[])$$, 'the patient, too');
SELECT is(public.done(public.apply('{"kind":"referral","patient":{"identifiers":[{"system":"LAKE","value":"MR1","type":"MR"}]},"referral":{"placer_order_number":"O1","placer_order_system":"LAKE","diagnoses":[{"system":"icd","code":"I21.0"},{"display":"Palpitations"}]}}')),
    'patient unchanged, referral_code updated', 'a code comes back');
SELECT is((SELECT count(*) FROM referral.referral_code WHERE referral_id = :r1 AND active), 3::bigint, 'all three');

-- whose number is it?
SELECT isnt(public.apply(public.ref('O1'), 'other') ->> 'referral_id', :'r1', 'the same number of another system is another referral');
SELECT isnt(public.apply(public.ref('O1', '{"placer_order_system":"SHORE"}')) ->> 'referral_id', :'r1', 'or of another hospital behind the same hub');
SELECT public.apply(public.ref('O2')) ->> 'referral_id' AS r2 \gset
SELECT is(public.apply(public.ref('O2')) ->> 'referral_id', :'r2', 'a number without a system is the source''s');
SELECT is(public.apply(public.ref('O2', '{"placer_order_system":"LAKE"}')) ->> 'referral_id', :'r2', 'whose system may be told later');
SELECT is((SELECT placer_order_system FROM referral.referral WHERE referral_id = :r2), 'LAKE', 'and is kept then');
SELECT public.apply('{"kind":"referral","referral":{"identifiers":[{"system":"hub/ServiceRequest","value":"s1","type":"FHIR"}],"specialty":"cardiology"}}') ->> 'referral_id' AS rf \gset
SELECT is(public.apply('{"kind":"referral","referral":{"identifiers":[{"system":"hub/ServiceRequest","value":"s1","type":"FHIR"}],"urgency":"asap"}}') ->> 'referral_id', :'rf', 'or it is found by its identifiers');
SELECT is(public.apply('{"kind":"referral","referral":{"identifiers":[{"system":"hub/ServiceRequest","value":"s2","type":"FHIR"}],"based_on":[{"system":"hub/ServiceRequest","value":"s1"}],"replaces":[{"system":"hub/ServiceRequest","value":"s0"}]}}') #>> '{findings,0,code}',
    'unresolved_reference', 'a reference to one that is not here is a finding');
SELECT is((SELECT count(*) FROM referral.referral_relation WHERE related_id = :rf AND kind = 'based_on'), 1::bigint, 'one to one that is here is a relation');
SET referral.org_id = 2;
SELECT is(public.apply(public.ref('O1', '{"placer_order_system":"LAKE"}'), 'hub', NULL, 2) ->> 'referral_id' IS DISTINCT FROM :'r1', true, 'of another organisation nothing is found');
SET referral.org_id = 1;

-- the number of a referral of somebody else
CREATE TEMP TABLE wrong AS SELECT public.apply(public.ref('O1', '{"placer_order_system":"LAKE"}', '{"identifiers":[{"system":"LAKE","value":"MR77","type":"MR"}],"family":"Quintero","given":"Bob","birth_date":"1999-09-09","sex":"male"}')) AS a;
SELECT is(public.codes(a), 'ambiguous_referral error, possible_duplicate error', 'the number of a referral of another patient is flagged') FROM wrong;
SELECT isnt(a ->> 'referral_id', :'r1', 'and makes a referral of its own') FROM wrong;
SELECT is((SELECT patient_id FROM referral.referral WHERE referral_id = :r1), :p1::bigint, 'the other keeps its patient');
SELECT is(public.apply(public.ref('O1', '{"placer_order_system":"LAKE"}', '{"identifiers":[{"system":"LAKE","value":"MR77","type":"MR"}],"family":"Quintero","given":"Bob","birth_date":"1999-09-09","sex":"male"}')) ->> 'referral_id',
    a ->> 'referral_id', 'each is found again by its patient') FROM wrong;

-- without any number
SELECT public.apply('{"kind":"referral","patient":{"given":"Zed"}}', 'hub', 50) AS a50 \gset
SELECT is(public.codes(:'a50'), '', 'a first name is a name');
SELECT is(public.apply('{"kind":"referral","patient":{"given":"Zed"}}', 'hub', 50) ->> 'referral_id', :'a50'::jsonb ->> 'referral_id', 'a message without numbers finds its own referral again');
SELECT is(public.apply('{"kind":"referral","patient":{"given":"Zed"}}', 'hub', 50) ->> 'patient_id', :'a50'::jsonb ->> 'patient_id', 'and its patient');
SELECT isnt(public.apply('{"kind":"referral","patient":{"given":"Zed"}}', 'hub', 51) ->> 'referral_id', :'a50'::jsonb ->> 'referral_id', 'another message makes another one');
SELECT isnt(public.apply('{"kind":"referral","message":{"part":"2"}}', 'hub', 50) ->> 'referral_id', :'a50'::jsonb ->> 'referral_id', 'and so does another part of it');

-- dirty data
CREATE TEMP TABLE dirty AS SELECT public.apply('{"kind":"referral","patient":{"identifiers":[{"value":"D1"}],"birth_date":"19761325","sex":"7"},"coverages":[{"payer":{"name":"Acme"},"subscriber_id":"D1","start":"2026-02-30","end":"x"},{"priority":1}],
    "referral":{"placer_order_number":"D1","urgency":"A^Active","intent":"","state":"nowhere","decision":"perhaps","expires_on":"soon","authored_at":"x","received_at":"y","authorization_required":"maybe","expected_value":"1e15","site":"Moon","diagnoses":[{},7,{"code":" "}],"procedures":"none"}}') AS a;
SELECT is(public.codes(a), 'invalid_code warning, invalid_code warning, invalid_code warning, invalid_code warning, invalid_date warning, invalid_date warning, invalid_date warning, invalid_date warning, invalid_time warning, invalid_time warning, invalid_value warning, invalid_value warning, missing info, patient_unnamed warning, unresolved_reference info',
    'what cannot be used becomes findings') FROM dirty;
SELECT results_eq($$SELECT r.urgency::text, r.intent::text, r.state::text, r.expires_on, r.expected_value FROM referral.referral r WHERE placer_order_number = 'D1'$$,
    $$VALUES ('routine', 'order', 'received', NULL::date, NULL::numeric)$$, 'the rest is kept');
SELECT is((SELECT f ->> 'value' FROM dirty, jsonb_array_elements(a -> 'findings') f WHERE f ->> 'attribute' = 'patient.birth_date'), '19761325', 'with what was sent');
SELECT is(public.codes(public.apply('{"kind":"referral","referral":{"placer_order_number":"D2"}}')), 'patient_missing error', 'no patient at all: kept and flagged');
SELECT is(public.codes(public.apply('{"kind":"referral","patient":{},"referral":{"placer_order_number":"D3"}}')), 'patient_missing error', 'an empty one is none');
SELECT is(public.codes(public.apply('{"kind":"none"}')), '', 'nothing to do: nothing done');
SELECT lives_ok($$SELECT public.apply('{"kind":"referral","patient":"x","coverages":{},"referral":[],"appointments":7,"reports":[1,"x",null]}', 'hub', 60)$$, 'parts of a wrong type are passed over');
SELECT lives_ok(format($$SELECT public.apply('{"kind":"referral","patient":{"identifiers":[{"value":"%1$s"}],"family":"%1$s"},"referral":{"placer_order_number":"%1$s","requester":{"name":"%1$s"},"diagnoses":[{"code":"%1$s"}]}}')$$, repeat('a1b2c3d4', 1000)), 'absurdly long texts are cut off');

-- 3. Patients

CREATE FUNCTION public.who(patient jsonb, source text DEFAULT 'hub', kind text DEFAULT 'patient') RETURNS jsonb LANGUAGE sql AS
    $$SELECT public.apply(jsonb_build_object('kind', kind, 'patient', patient), source)$$;
SELECT is(public.who('{"identifiers":[{"value":"444-22-2222","type":"SS"}],"family":"Everyman","given":"Ada"}', 'other') ->> 'patient_id', :'p1', 'a number of the country finds him, whoever sends it');
SELECT isnt(public.who('{"identifiers":[{"value":"MR1","type":"MR"}],"family":"Unger","given":"Ute","birth_date":"1990-01-05"}', 'other') ->> 'patient_id', :'p1', 'a record number of another system does not');
CREATE TEMP TABLE against AS SELECT public.who('{"identifiers":[{"system":"LAKE","value":"MR1","type":"MR"}],"family":"Garcia","given":"Luis","birth_date":"1985-05-05","sex":"male"}') AS a;
SELECT is(public.codes(a), 'possible_duplicate error', 'an identifier that all the rest contradicts is not believed') FROM against;
SELECT isnt(a ->> 'patient_id', :'p1', 'another patient is made') FROM against;
SELECT is((SELECT family FROM referral.patient WHERE patient_id = :p1), 'Everyman', 'the first one keeps his name');
SELECT is(public.who('{"identifiers":[{"system":"LAKE","value":"MR1","type":"MR"}],"family":"Garcia","given":"Luis","birth_date":"1985-05-05"}') ->> 'patient_id', a ->> 'patient_id', 'both have it now; the rest tells which one') FROM against;
SELECT is(public.who('{"identifiers":[{"system":"LAKE","value":"MR1","type":"MR"}],"family":"Newname","given":"Ada","birth_date":"1951-03-04"}') ->> 'patient_id', :'p1', 'a new family name alone does not contradict');
SELECT is((SELECT family FROM referral.patient WHERE patient_id = :p1), 'Newname', 'and is written');
SELECT is(public.who('{"family":"Newname","given":"Ada","birth_date":"1951-03-04","sex":"female","phone":"2175550202","address":"1 Main Street","city":"Springfield"}', 'fax') - 'results',
    format('{"findings": [], "patient_id": %s, "patient_match": "certain"}', :p1)::jsonb, 'without identifiers matching finds him, when it is certain');
CREATE TEMP TABLE perhaps AS SELECT public.who('{"identifiers":[{"value":"F1"}],"family":"Newname","given":"Ada","birth_date":"1951-04-03","city":"Springfield"}', 'fax') AS a;
SELECT is(a ->> 'patient_match', 'review', 'who may be the same person is made, and left to people') FROM perhaps;
SELECT is(public.codes(a), 'possible_duplicate warning', 'with a finding') FROM perhaps;
SELECT is(public.who('{"identifiers":[{"value":"F2"}]}', 'fax', 'referral_status') ->> 'patient_id', NULL, 'an answer makes no patient');
SELECT is(public.codes(public.who('{"identifiers":[{"value":"F3"}],"birth_date":"2999-01-01","given":"X"}')), 'invalid_date warning', 'nobody is born in the future');
RESET SESSION AUTHORIZATION;
INSERT INTO referral.patient (patient_id, family, given, birth_date) VALUES (9001, 'Merge', 'Away', '1970-02-02'), (9002, 'Merge', 'Away', '1970-02-02');
INSERT INTO referral.identifier (patient_id, system, value) VALUES (9001, 'hub', 'MERGED');
SELECT set_config('referral.reason', 'the same', false);
SELECT referral.merge_patient(1, 9002, 9001, 'the same');
SELECT set_config('referral.reason', '', false);
SET SESSION AUTHORIZATION intake_apply_feed;
SELECT is(public.who('{"identifiers":[{"value":"MERGED"}],"family":"Merge","given":"Away"}') ->> 'patient_id', '9002', 'who was merged is the one he was merged into');
SELECT is(public.who('{"identifiers":[{"value":"MERGED"}],"sex":"unknown"}') #>> '{results,0,action}', 'updated', 'not known is better than nothing');
SELECT is(public.who('{"identifiers":[{"value":"MERGED"}],"sex":"male"}') #>> '{results,0,action}', 'updated', 'something is better than not known');
SELECT is(public.who('{"identifiers":[{"value":"MERGED"}],"sex":"unknown"}') #>> '{results,0,action}', 'unchanged', 'not known is no news then');

-- 4. Coverage

CREATE FUNCTION public.cover(coverages text) RETURNS jsonb LANGUAGE sql AS
    $$SELECT public.apply(('{"kind":"patient","message":{"sent_at":"2026-06-15T00:00:00Z"},"patient":{"identifiers":[{"value":"C1"}],"family":"Cover","given":"Al"},"coverages":[' || coverages || ']}')::jsonb)$$;
CREATE VIEW pg_temp.covers AS SELECT p.name, c.priority, c.period::text, c.subscriber_id FROM referral.coverage c JOIN referral.payer p USING (payer_id) JOIN referral.identifier i USING (patient_id) WHERE i.value = 'C1';
SELECT is(public.codes(public.cover('{"payer":{"name":"acme"},"subscriber_id":"1","start":"2020-01-01"}')), '', 'a payer is found by its name');
SELECT is(public.codes(public.cover('{"payer":{"name":"Bluebell","identifier":"B"},"subscriber_id":"2","start":"2024-01-01"}')), 'payer_changed info, unknown_payer warning', 'a new payer: the coverage before ends');
SELECT results_eq('SELECT * FROM covers ORDER BY 3', $$VALUES ('Acme', 1, '[2020-01-01,2024-01-01)', '1'), ('Bluebell', 1, '[2024-01-01,)', '2')$$, 'the day before');
SELECT is(public.done(public.cover('{"payer":{"identifier":"B"},"subscriber_id":"2","start":"2024-01-01","end":"2026-12-31"}')), 'patient unchanged, coverage updated', 'the same one again, with an end');
CREATE FUNCTION public.cover_late(coverage text) RETURNS jsonb LANGUAGE sql AS
    $$SELECT public.apply(('{"kind":"patient","patient":{"identifiers":[{"value":"CL"}],"family":"Later","given":"Al"},"coverages":[' || coverage || ']}')::jsonb)$$;
SELECT is(public.done(public.cover_late('{"subscriber_id":"77"}')), 'patient created, coverage created', 'a number without a payer');
SELECT is(public.done(public.cover_late('{"payer":{"name":"Acme"},"subscriber_id":"77"}')), 'patient unchanged, coverage updated', 'is the same coverage when its payer is told');
SELECT is(public.done(public.cover_late('{"payer":{"name":"Acme"},"subscriber_id":"77"}')) || ', ' || public.done(public.cover_late('{"subscriber_id":"77"}')),
    'patient unchanged, coverage unchanged, patient unchanged, coverage unchanged', 'and stays it');
SELECT results_eq($$SELECT y.name, c.subscriber_id, c.priority FROM referral.coverage c JOIN referral.identifier i USING (org_id, patient_id) LEFT JOIN referral.payer y USING (org_id, payer_id) WHERE i.value = 'CL'$$,
    $$VALUES ('Acme', '77', 1)$$, 'once');
SELECT is(public.codes(public.cover('{"payer":{"name":"Acme"},"subscriber_id":"9","start":"2026-01-01","end":"2026-06-30"}')), 'overlapping_coverage warning', 'two at the same time');
SELECT is(public.codes(public.cover('{"payer":{"name":"Acme"},"subscriber_id":"9","start":"2026-01-01","end":"2026-06-30","priority":1}')), '', 'which is the same one when it comes again');
SELECT results_eq('SELECT * FROM covers ORDER BY 3', $$VALUES ('Acme', 1, '[2020-01-01,2024-01-01)', '1'), ('Bluebell', 1, '[2024-01-01,2027-01-01)', '2'), ('Acme', 2, '[2026-01-01,2026-07-01)', '9')$$, 'the second goes behind the first');
SELECT is(public.codes(public.cover('{"payer":{"name":"Acme"},"subscriber_id":"1","start":"2020-01-01","end":"2025-12-31"}')), 'overlapping_coverage warning', 'a period that would overlap is not written');
SELECT is(public.codes(public.cover('{"payer":{"name":"Acme"},"start":"2028-02-01","end":"2028-01-01","subscriber_id":"5"}')), 'invalid_date warning', 'an end before the beginning is left out');
SELECT is(public.codes(public.apply('{"kind":"patient","message":{"sent_at":"2026-06-15T00:00:00Z"},"patient":{"identifiers":[{"value":"C2"}],"family":"Undated","given":"Al"},"coverages":[{"payer":{"name":"Acme"},"subscriber_id":"1"}]}')), '', 'no dates');
SELECT is(public.codes(public.apply('{"kind":"patient","message":{"sent_at":"2026-06-15T00:00:00Z"},"patient":{"identifiers":[{"value":"C2"}],"family":"Undated","given":"Al"},"coverages":[{"payer":{"identifier":"B"},"subscriber_id":"2"}]}')), 'payer_changed info', 'another payer without dates begins on the day of its message');

-- 5. The directory

SELECT is(public.done(public.apply(public.ref('P1', '{"requester":{"name":"miriam oyelaran","specialty":"cardiology"}}'))), 'practitioner updated, referral created', 'by name, when it is the only one; what was not known is added');
SELECT is(public.done(public.apply(public.ref('P2', '{"requester":{"name":"Miriam Oyelaran","identifiers":[{"type":"NPI","value":"1000000004"}]}}'))), 'practitioner created, referral created', 'another number is another person of the same name');
SELECT is(public.done(public.apply(public.ref('P3', '{"requester":{"identifiers":[{"value":"L5"}]},"performer":{"name":"New Person"}}'))), 'practitioner created, practitioner created, referral created', 'a number without a name is kept');
SELECT is(public.done(public.apply(public.ref('P4', '{"requester":{"identifiers":[{"value":"L5"}],"name":"Now Named"},"performer":{"name":"New Person","identifiers":[{"type":"NPI","value":"1000000012"}]}}'))), 'practitioner updated, practitioner updated, referral created', 'a name or a number that comes later is added');
SELECT is(public.done(public.apply(public.ref('P5', '{"performer":{"identifiers":[{"type":"NPI","value":"1000000012"}],"name":"PERSON, NEW","organization":{"name":"lake clinic"}}}'))), 'practitioner updated, referral created', 'another way to write a name does not replace it; organisations are found by name');
SELECT is((SELECT name FROM referral.practitioner WHERE identifier = '1000000012'), 'New Person', 'it stays');
SELECT is(public.done(public.apply('{"kind":"directory","directory":{"organizations":[{"identifiers":[{"system":"x","value":"O"}],"name":"Shore","phone":"1"}],"practitioners":[{"identifiers":[{"type":"NPI","value":"1000000012"}],"name":"Person, New"}],"roles":[{"practitioner":{"identifiers":[{"type":"NPI","value":"1000000012"}]},"organization":{"name":"Shore"},"specialty":"cardiology"}],"sites":[{"identifier":"S1","name":"Main","timezone":"America/New_York"}],"services":[{"name":"Echo","organization":{"name":"Shore"},"specialty":"cardiology"}],"payers":[{"identifier":"Z","name":"Zeta"}],"plans":[{"payer":{"identifier":"Z"},"name":"Zed","kind":"PPO"}]}}')),
    'provider_organization created, practitioner updated, practitioner_role created, site created, healthcare_service created, payer created, plan created', 'a feed of the directory');
SELECT public.written() AS before \gset
SELECT lives_ok($$SELECT public.apply('{"kind":"directory","directory":{"organizations":[{"identifiers":[{"system":"x","value":"O"}],"name":"Shore","phone":"1"}],"practitioners":[{"identifiers":[{"type":"NPI","value":"1000000012"}],"name":"Person, New"}],"roles":[{"practitioner":{"identifiers":[{"type":"NPI","value":"1000000012"}]},"organization":{"name":"Shore"},"specialty":"cardiology"}],"sites":[{"identifier":"S1","name":"Main","timezone":"America/New_York"}],"services":[{"name":"Echo","organization":{"name":"Shore"},"specialty":"cardiology"}],"payers":[{"identifier":"Z","name":"Zeta"}],"plans":[{"payer":{"identifier":"Z"},"name":"Zed","kind":"PPO"}]}}')$$, 'once more');
SELECT is(public.written(), :'before', 'changes nothing');
SELECT is((SELECT name FROM referral.practitioner WHERE identifier = '1000000012'), 'Person, New', 'a feed replaces names');
RESET SESSION AUTHORIZATION;
INSERT INTO referral.specialty (code, title) VALUES ('cardiology', 'Heart');
INSERT INTO referral.network_contract (payer_id, provider_organization_id) SELECT p.payer_id, o.provider_organization_id FROM referral.payer p, referral.provider_organization o WHERE p.name = 'Zeta' AND o.name = 'Shore';
SET SESSION AUTHORIZATION intake_apply_feed;
SELECT is(public.codes(public.apply(public.ref('S1', '{"specialty":"heart"}', '{"identifiers":[{"value":"S1"}],"given":"Net"}'))), '', 'a specialty by its title');
SELECT is((SELECT specialty FROM referral.referral WHERE placer_order_number = 'S1'), 'cardiology', 'becomes its code');
SELECT is(public.codes(public.apply(public.ref('S2', '{"specialty":"magic"}', '{"identifiers":[{"value":"S1"}],"given":"Net"}'))), 'unknown_specialty warning', 'one that nobody knows is flagged');
SELECT is((SELECT network_status::text FROM referral.referral WHERE referral_id = (public.apply(public.ref('S3', '{"performing_organization":{"name":"Shore"}}', '{"identifiers":[{"value":"S1"}],"given":"Net"}') || '{"coverages":[{"payer":{"name":"Zeta"},"subscriber_id":"1"}]}') ->> 'referral_id')::bigint), NULL, 'the row is not there for the statement that makes it');
SELECT is((SELECT network_status::text FROM referral.referral WHERE placer_order_number = 'S3'), 'in_network', 'is the performer in the network?');

-- 6. States

SELECT public.apply(public.ref('T1', '{}', '{"identifiers":[{"value":"T1"}],"family":"Tee","given":"Una"}')) ->> 'referral_id' AS t1 \gset
SELECT is(public.done(public.apply('{"kind":"referral_status","referral":{"placer_order_number":"T1","filler_order_number":"F1","decision":"accepted"}}', 'shore')), 'referral updated, referral updated', 'accepted by the other side, with its number');
SELECT results_eq(format('SELECT state::text, decision::text, filler_order_number, filler_order_system FROM referral.referral WHERE referral_id = %s', :t1), $$VALUES ('validated', 'accepted', 'F1', 'shore')$$, 'it is validated');
SELECT is(public.done(public.apply('{"kind":"referral_status","referral":{"filler_order_number":"F1","decision":"accepted"}}', 'shore')), 'referral unchanged', 'once more: nothing');
CREATE TEMP TABLE declined AS SELECT public.apply('{"kind":"referral_status","referral":{"filler_order_number":"F1","filler_order_system":"shore","decision":"declined","comment":"full"}}', 'shore') AS a;
SELECT is(public.codes(a), 'transition_refused info', 'a system does not decline') FROM declined;
SELECT results_eq(format($$SELECT r.state::text, r.decision::text, e.category::text, e.blocking FROM referral.referral r JOIN referral.exception_item e USING (referral_id) WHERE r.referral_id = %s AND e.code = 'decision_declined'$$, :t1),
    $$VALUES ('validated', 'declined', 'policy', true)$$, 'a person has to');
SELECT is(public.codes(public.apply('{"kind":"referral_status","referral":{"placer_order_number":"T1","state":"completed"}}', 'shore')), 'transition_refused warning', 'a move that the guard refuses is a finding');
SELECT is(public.state(:t1), 'validated', 'and none');
SELECT is(public.codes(public.apply('{"kind":"referral_status","referral":{"placer_order_number":"NONE","state":"completed"}}', 'shore')), 'order_not_found error', 'about a referral that is not here');
SELECT is(public.done(public.apply('{"kind":"referral_cancel","referral":{"placer_order_number":"T1"}}')), 'referral updated', 'taken back by the requester');
SELECT results_eq(format('SELECT state::text, status_reason FROM referral.referral WHERE referral_id = %s', :t1), $$VALUES ('cancelled', 'other')$$, 'is cancelled');
SELECT is(public.done(public.apply('{"kind":"referral_cancel","referral":{"placer_order_number":"T1"}}')), 'referral unchanged', 'once more: nothing');
CREATE TEMP TABLE late AS SELECT public.apply(public.ref('T1', '{"urgency":"stat"}', '{"identifiers":[{"value":"T1"}],"family":"Tee","given":"Una"}')) AS a;
SELECT is(public.codes(a), 'transition_refused error', 'a request about one that is over') FROM late;
SELECT is((SELECT urgency::text FROM referral.referral WHERE referral_id = :t1), 'routine', 'changes nothing silently');
SELECT is(current_setting('referral.reason', true), '', 'the session''s reason is as it was');

-- 7. Appointments and reports

CREATE FUNCTION public.appt(what jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT public.apply(jsonb_build_object('kind', 'appointment', 'appointments', jsonb_build_array(what)), 'book')$$;
SELECT public.apply(public.ref('A1', '{}', '{"identifiers":[{"value":"A1"}],"family":"Appt","given":"Ann"}')) ->> 'referral_id' AS a1 \gset
SELECT is(public.codes(public.appt('{"filler_appointment_id":"B1","placer_order_number":"A1","status":"booked","starts_at":"2026-12-01T09:00:00Z","ends_at":"2026-12-01T08:00:00Z"}')), 'invalid_time warning, transition_refused warning', 'booked too early: kept, and a finding');
SELECT results_eq(format($$SELECT step, referral_id = %s, patient_id IS NOT NULL, ends_at FROM referral.appointment WHERE filler_appointment_id = 'B1'$$, :a1), $$VALUES ('booked', true, true, NULL::timestamptz)$$, 'linked to its referral');
UPDATE referral.referral SET state = 'validated' WHERE referral_id = :a1;
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = :a1;
SELECT is(public.done(public.appt('{"filler_appointment_id":"B1","status":"booked","starts_at":"2026-12-01T09:00:00Z"}')), 'appointment unchanged, referral updated', 'when it is ready, the referral follows');
SELECT is(public.done(public.appt('{"filler_appointment_id":"B1","status":"booked","starts_at":"2026-12-02T09:00:00Z"}')), 'appointment updated, referral updated', 'at another time');
SELECT results_eq(format($$SELECT r.state::text, r.scheduled_for = a.starts_at, (SELECT count(*) FROM referral.journal j WHERE j.transition = 'reschedule' AND j.entity IN ('referral', 'appointment')) FROM referral.referral r JOIN referral.appointment a USING (referral_id) WHERE referral_id = %s$$, :a1),
    $$VALUES ('scheduled', true, 2::bigint)$$, 'both were rescheduled');
SELECT is(public.done(public.appt('{"filler_appointment_id":"B1","status":"cancelled","comment":"ill"}')), 'appointment updated, referral updated', 'cancelled');
SELECT is(public.state(:a1), 'appointment_cancelled', 'the appointment, not the referral');
SELECT is(public.done(public.appt('{"filler_appointment_id":"B2","placer_order_number":"A1","status":"arrived","starts_at":"2020-12-02T09:00:00Z"}')), 'appointment created, referral updated', 'another one, where the patient is already');
SELECT is(public.done(public.appt('{"filler_appointment_id":"B2","status":"fulfilled"}')), 'appointment updated, referral updated', 'he was seen');
SELECT is(public.state(:a1), 'completed', 'the visit took place');
CREATE FUNCTION public.report(number text, what jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT public.apply(jsonb_build_object('kind', 'report', 'referral', jsonb_build_object('placer_order_number', number), 'reports', jsonb_build_array(what)), 'shore')$$;
SELECT is(public.done(public.report('A1', '{"status":"preliminary","identifier":"R1","document":{"title":"note","content":"text"}}')), 'document created, consult_report created', 'an interim note');
SELECT is(public.done(public.report('A1', '{"status":"final","identifier":"R1","author":{"name":"Sven Karlsson"},"document":{"title":"note","content":"dGhlIGZpbmFsIHRleHQ="}}')), 'document updated, consult_report updated, referral updated', 'the final one is the same report');
SELECT is(public.state(:a1), 'closed_loop', 'and closes the loop');
SELECT results_eq($$SELECT d.content_hash FROM referral.document d WHERE d.identifier = 'R1'$$, $$VALUES (sha256('the final text'))$$, 'the hash is of the content, not of its Base64');
SELECT is(public.done(public.report('A1', '{"status":"preliminary","identifier":"R1"}')), 'consult_report unchanged', 'a late interim note changes nothing');
CREATE TEMP TABLE stray AS SELECT public.report('NONE', '{"status":"final","identifier":"R2","document":{"content":"x"}}') AS a;
SELECT is(public.done(a) || ': ' || public.codes(a), 'document created: order_not_found error, patient_missing error', 'a report about nothing here is kept as a document') FROM stray;
SELECT is(public.codes(public.appt('{"placer_appointment_id":"B9","status":"quux"}')), 'invalid_code warning, order_not_found warning, patient_missing error', 'an appointment of nobody is kept');
SELECT is(public.codes(public.apply('{"kind":"appointment","patient":{"identifiers":[{"value":"S1"}],"given":"Net"},"appointments":[{"filler_appointment_id":"B10","status":"booked"}]}', 'hub')), 'ambiguous_referral warning', 'several referrals may be meant: none is');

-- 8. Authorizations and communication

CREATE FUNCTION public.auth(what jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT public.apply(jsonb_build_object('kind', 'authorization', 'authorizations', jsonb_build_array(what)) || '{"referral":{"placer_order_number":"S1"}}', 'hub')$$;
SELECT is(public.done(public.auth('{"identifiers":[{"system":"pas","value":"Q1"}],"status":"requested","items":[{"sequence":1,"code":"93306","quantity":2}]}')), 'prior_authorization created', 'a request');
SELECT is(public.done(public.auth('{"request":[{"system":"pas","value":"Q1"}],"status":"decided","items":[{"sequence":1,"review_action":"A3","reason_code":"X"}]}')), 'prior_authorization updated', 'denied');
SELECT is(public.done(public.auth('{"identifiers":[{"system":"pas","value":"Q1"}],"status":"requested","items":[{"sequence":1,"code":"93306","quantity":2}]}')), 'prior_authorization unchanged', 'the request once more does not undo it');
SELECT is(public.done(public.auth('{"request":[{"system":"pas","value":"Q1"}],"status":"decided","authorization_number":"N1","valid_from":"2026-01-01","valid_to":"2026-03-31","items":[{"sequence":1,"review_action":"A1"}]}')), 'prior_authorization created', 'another answer stands beside the denial');
SELECT results_eq($$SELECT a.replaces_id IS NULL, i.review_action, a.valid FROM referral.prior_authorization a JOIN referral.prior_authorization_item i USING (prior_authorization_id) WHERE a.identifier = 'Q1' ORDER BY 1 DESC$$,
    $$VALUES (true, 'A3', NULL::daterange), (false, 'A1', daterange('2026-01-01', '2026-04-01'))$$, 'and replaces it');
SELECT is((SELECT authorization_number FROM referral.referral WHERE placer_order_number = 'S1'), 'N1', 'the referral has its number');
SELECT is(public.codes(public.auth('{"request":[{"value":"Q9"}],"status":"decided","items":[{"review_action":"ZZ"}]}')), 'invalid_code error, order_not_found warning', 'an answer to no request, and a decision that nobody understands');
SELECT is(public.done(public.apply('{"kind":"communication","referral":{"placer_order_number":"S1"},"communications":[{"identifier":"M1","medium":"pigeon","status":"active","body":"please send"}]}')), 'communication created', 'a message');
SELECT is(public.done(public.apply('{"kind":"communication","referral":{"placer_order_number":"S1"},"communications":[{"identifier":"M1","status":"completed"}]}')), 'communication updated', 'is done');

-- 9. Messages that come late

RESET SESSION AUTHORIZATION;
CREATE FUNCTION public.sent(at text, intake jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    m bigint;
    a jsonb;
BEGIN
    INSERT INTO referral.inbox_message (channel, source, dedup_key, payload, payload_hash) VALUES ('hl7v2', 'hub', gen_random_uuid(), at, '') RETURNING message_id INTO m;
    a := referral.apply_case(1, m, 'hub', 'hl7v2', intake || jsonb_build_object('message', jsonb_build_object('sent_at', at)));
    UPDATE referral.inbox_message SET status = 'processed', results = a -> 'results', referral_id = (a ->> 'referral_id')::bigint, patient_id = (a ->> 'patient_id')::bigint WHERE message_id = m;
    RETURN a;
END $$;
CREATE FUNCTION public.late(more jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT '{"identifiers":[{"value":"L1"}],"given":"Lee","family":"Late"}' || more$$;
SELECT public.sent('2026-05-02T00:00:00Z', public.ref('L1', '{"urgency":"stat","diagnoses":[{"code":"B"}]}', public.late('{"city":"Troy"}'))) ->> 'referral_id' AS l1 \gset
CREATE TEMP TABLE older AS SELECT public.sent('2026-05-01T00:00:00Z', public.ref('L1', '{"urgency":"routine","region":"north","state":"validated","diagnoses":[{"code":"A"}]}', public.late('{"city":"Rome","phone":"2175559999"}'))) AS a;
SELECT is(public.codes(a), 'out_of_order info, out_of_order info', 'a message that was sent before one that has been applied') FROM older;
SELECT results_eq(format('SELECT r.urgency::text, r.region, r.state::text, p.city, p.phone, c.code FROM referral.referral r JOIN referral.patient p USING (patient_id) JOIN referral.referral_code c USING (referral_id) WHERE referral_id = %s', :l1),
    $$VALUES ('stat', 'north', 'received', 'Troy', '2175559999', 'B')$$, 'adds what was not known, and changes nothing');
SELECT is(public.codes(public.sent('2026-05-03T00:00:00Z', public.ref('L1', '{"urgency":"asap"}', public.late('{"city":"Ulm"}')))), '', 'a later one does');
SELECT is(public.codes(public.sent('2026-05-02T12:00:00Z', '{"kind":"referral_cancel","referral":{"placer_order_number":"L1"}}')), 'out_of_order warning', 'nor does it move the referral, but a person is told that somebody does not want it');
SELECT is(public.state(:l1), 'received', 'which stays where it is');
SELECT is(public.done(public.sent('2026-05-05T00:00:00Z', '{"kind":"appointment","appointments":[{"placer_order_number":"L1","filler_appointment_id":"LA","status":"cancelled"}]}')), 'appointment created', 'cancelled');
SELECT is(public.codes(public.sent('2026-05-04T00:00:00Z', '{"kind":"appointment","appointments":[{"placer_order_number":"L1","filler_appointment_id":"LA","status":"booked","starts_at":"2026-06-01T00:00:00Z"}]}')), 'out_of_order info', 'booked comes late');
SELECT is((SELECT step FROM referral.appointment WHERE filler_appointment_id = 'LA'), 'cancelled', 'and is over');
-- of any source, with or without a time, as another message or once more as the message of that id
CREATE FUNCTION public.told(source text, at text, intake jsonb, id bigint DEFAULT NULL, OUT m bigint, OUT a jsonb) LANGUAGE plpgsql AS $$
BEGIN
    m := id;
    IF m IS NULL THEN
        INSERT INTO referral.inbox_message (channel, source, dedup_key, payload, payload_hash)
        VALUES ('hl7v2', told.source, gen_random_uuid(), intake::text, '') RETURNING message_id INTO m;
    END IF;
    a := referral.apply_case(1, m, told.source, 'hl7v2', intake || jsonb_build_object('message', jsonb_strip_nulls(jsonb_build_object('sent_at', at))));
END $$;
CREATE FUNCTION public.urgency(number text) RETURNS text LANGUAGE sql AS $$SELECT string_agg(urgency::text, ',') FROM referral.referral WHERE placer_order_number = number$$;
SET SESSION AUTHORIZATION intake_apply_feed;
SELECT m AS day1 FROM public.told('csv', NULL, public.ref('L2', '{"urgency":"routine","placer_order_system":"X"}', public.late('{"identifiers":[{"value":"PL2"}]}'))) \gset
SELECT is(public.codes((public.told('csv', NULL, public.ref('L2', '{"urgency":"stat","placer_order_system":"X"}', public.late('{"identifiers":[{"value":"PL2"}]}')))).a), '', 'without times what comes later counts');
SELECT is(public.codes((public.told('csv', NULL, public.ref('L2', '{"urgency":"routine","placer_order_system":"X"}', public.late('{"identifiers":[{"value":"PL2"}]}')), :day1)).a), 'out_of_order info', 'and what is processed again does not');
SELECT is(public.urgency('L2'), 'stat', 'nothing is undone by it');
SELECT is(public.codes((public.told('slow clock', '2020-01-01T00:00:00Z', public.ref('L2', '{"urgency":"asap","placer_order_system":"X"}', public.late('{"identifiers":[{"value":"PL2"}]}')))).a), '', 'clocks of two systems are not compared');
SELECT is(public.urgency('L2'), 'asap', 'what came later counts');
SELECT is(public.codes((public.told('wrong clock', '2199-01-01T00:00:00Z', public.ref('L3', '{"urgency":"routine"}', public.late('{"identifiers":[{"value":"PL3"}]}')))).a), 'invalid_time warning, possible_duplicate warning', 'sent in the future');
SELECT is(public.codes((public.told('wrong clock', '2026-01-01T00:00:00Z', public.ref('L3', '{"urgency":"stat"}', public.late('{"identifiers":[{"value":"PL3"}]}')))).a), '', 'silences nothing that comes after it');
SELECT is(public.codes((public.told('wrong clock', '2026-01-02T00:00:00Z', '{"kind":"referral_cancel","referral":{"placer_order_number":"L3"}}')).a), '', 'nor a cancel');
SELECT is((SELECT concat_ws(' ', urgency, state) FROM referral.referral WHERE placer_order_number = 'L3'), 'stat cancelled', 'both are done');
SELECT public.told('hub', '2026-05-01T00:00:00Z', public.ref('L4', '{}', public.late('{"identifiers":[{"value":"PL4"}]}'))) \g /dev/null
SELECT is(public.done((public.told('hub', '2026-05-05T00:00:00Z', '{"kind":"referral_status","referral":{"placer_order_number":"L4","decision":"declined"}}')).a), 'referral updated', 'declined');
SELECT is(public.codes((public.told('hub', '2026-05-03T00:00:00Z', '{"kind":"referral_status","referral":{"placer_order_number":"L4","decision":"accepted"}}')).a), 'out_of_order info', 'what was accepted before comes late');
SELECT is((SELECT concat_ws(' ', state, decision) FROM referral.referral WHERE placer_order_number = 'L4'), 'received declined', 'and undoes nothing');
-- reports, authorizations, coverages, documents
SELECT public.told('hub', '2026-05-05T00:00:00Z', '{"kind":"report","referral":{"placer_order_number":"L4"},"reports":[{"identifier":"LR","status":"entered-in-error"}]}') \g /dev/null
SELECT is(public.codes((public.told('hub', '2026-05-01T00:00:00Z', '{"kind":"report","referral":{"placer_order_number":"L4"},"reports":[{"identifier":"LR","status":"final"}]}')).a), 'out_of_order info', 'a report that was withdrawn');
SELECT is((SELECT status FROM referral.consult_report WHERE identifier = 'LR'), 'entered-in-error', 'stays withdrawn');
\set pended '{"kind":"authorization","referral":{"placer_order_number":"L4"},"authorizations":[{"request":[{"value":"LQ"}],"status":"pended","items":[{"sequence":1,"code":"93306","review_action":"A4"}]}]}'
SELECT m AS pended_id FROM public.told('hub', '2026-05-01T00:00:00Z', :'pended') \gset
SELECT public.told('hub', '2026-05-02T00:00:00Z', '{"kind":"authorization","referral":{"placer_order_number":"L4"},"authorizations":[{"request":[{"value":"LQ"}],"status":"decided","items":[{"sequence":1,"review_action":"A3","reason_code":"R1"}]}]}') \g /dev/null
SELECT is(public.codes((public.told('hub', '2026-05-01T00:00:00Z', :'pended', :pended_id)).a), 'out_of_order info', 'an answer from before the denial');
SELECT results_eq($$SELECT status, replaces_id FROM referral.prior_authorization WHERE identifier = 'LQ'$$, $$VALUES ('decided', NULL::bigint)$$, 'does not replace it');
CREATE FUNCTION public.answered(item text) RETURNS text LANGUAGE sql AS $$
    SELECT public.done((public.told('hub', NULL, ('{"kind":"authorization","referral":{"placer_order_number":"L4"},"authorizations":[{"request":[{"value":"LQ"}],"items":[' || item || ']}]}')::jsonb)).a) $$;
SELECT is(public.answered('{"sequence":1,"review_action":"A3","human_reviewed":true}'), 'prior_authorization unchanged', 'the denial once more');
SELECT is(public.answered('{"sequence":1,"code":"99999","authorization_number":"AUTH9","authorized_quantity":5}'), 'prior_authorization created', 'an answer that does not say what it decides');
SELECT results_eq($$SELECT i.code, i.review_action, i.reason_code, i.authorization_number, i.human_reviewed FROM referral.prior_authorization_item i JOIN referral.prior_authorization a USING (org_id, prior_authorization_id) WHERE a.identifier = 'LQ' ORDER BY i.prior_authorization_item_id LIMIT 1$$,
    $$VALUES ('93306', 'A3', 'R1', NULL, true)$$, 'changes nothing of the denial');
SELECT public.told('hub', '2026-05-05T00:00:00Z', '{"kind":"patient","patient":{"identifiers":[{"value":"L1"}]},"coverages":[{"payer":{"name":"Acme"},"subscriber_id":"L","status":"cancelled"}],"documents":[{"identifier":"LD","status":"superseded"}]}') \g /dev/null
SELECT is(public.codes((public.told('hub', '2026-05-01T00:00:00Z', '{"kind":"patient","patient":{"identifiers":[{"value":"L1"}]},"coverages":[{"payer":{"name":"Acme"},"subscriber_id":"L","status":"active"}]}')).a), 'out_of_order info', 'a coverage that has ended');
SELECT public.told('hub', '2026-05-05T00:00:00Z', '{"kind":"document","referral":{"placer_order_number":"L4"},"documents":[{"identifier":"LD","status":"superseded"}]}') \g /dev/null
SELECT is(public.done((public.told('hub', '2026-05-01T00:00:00Z', '{"kind":"document","referral":{"placer_order_number":"L4"},"documents":[{"identifier":"LD","status":"current"}]}')).a), 'document unchanged', 'a document that was superseded');

-- an answer about somebody else
SELECT public.told('payer', NULL, public.ref('L5', '{}', '{"identifiers":[{"value":"PL5"}],"family":"Quick","given":"Ann","birth_date":"1960-01-01","sex":"female"}')
    || '{"authorizations":[{"identifiers":[{"value":"LA1"}],"status":"requested","items":[{"sequence":1,"code":"1"}]}]}') \g /dev/null
CREATE FUNCTION public.auth_answer(patient jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT (public.told('payer', NULL, jsonb_build_object('kind', 'authorization', 'patient', patient) ||
        '{"authorizations":[{"request":[{"value":"LA1"}],"status":"decided","authorization_number":"AX","items":[{"sequence":1,"code":"1","review_action":"A1"}]}]}')).a $$;
SELECT ok(public.codes(public.auth_answer('{"identifiers":[{"value":"zzz"}],"family":"Else","given":"Sam","birth_date":"1999-01-01","sex":"male"}')) ~ 'ambiguous_referral error', 'an answer with the number of another patient''s request');
SELECT results_eq($$SELECT a.status, i.review_action, r.authorization_number FROM referral.prior_authorization a JOIN referral.prior_authorization_item i USING (org_id, prior_authorization_id)
    JOIN referral.referral r ON r.referral_id = a.referral_id WHERE r.placer_order_number = 'L5'$$, $$VALUES ('requested', NULL, NULL)$$, 'decides nothing of it');
SELECT is(public.codes(public.auth_answer('{"family":"Quick","given":"Ann","birth_date":"1960-01-01"}')), '', 'the patient''s own, with another number or none');
SELECT results_eq($$SELECT a.status, i.review_action, r.authorization_number FROM referral.prior_authorization a JOIN referral.prior_authorization_item i USING (org_id, prior_authorization_id)
    JOIN referral.referral r ON r.referral_id = a.referral_id WHERE r.placer_order_number = 'L5'$$, $$VALUES ('decided', 'A1', 'AX')$$, 'does');

-- 10. Source of record: what another system keeps is left out, the rest is written

RESET SESSION AUTHORIZATION;
INSERT INTO referral.rule_set (name, kind) VALUES ('source_of_record/standard', 'source_of_record') ON CONFLICT (name) DO NOTHING;
INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'source_of_record/standard' RETURNING rule_version_id AS v \gset
INSERT INTO referral.source_of_record (rule_version_id, entity, attribute, owner_system, policy) VALUES (:v, 'patient', 'family', 'registry', 'refuse'), (:v, 'patient', 'phone', 'registry', 'refuse'), (:v, 'referral', 'urgency', 'registry', 'refuse'),
    (:v, 'referral', 'decision', 'registry', 'refuse'), (:v, 'referral', 'filler_order_number', 'registry', 'refuse'), (:v, 'referral', 'authorization_number', 'registry', 'refuse'),
    (:v, 'coverage', 'period', 'registry', 'refuse');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
SET SESSION AUTHORIZATION intake_apply_feed;
SET referral.origin = 'hub';
CREATE TEMP TABLE kept AS SELECT public.apply(public.ref('O1', '{"placer_order_system":"LAKE","urgency":"asap","specialty":"cardiology","reason_text":"new"}', '{"identifiers":[{"system":"LAKE","value":"MR1","type":"MR"}],"family":"Other","given":"Ada","phone":"9","city":"Joliet","birth_date":"1951-03-04"}')) AS a;
SELECT is(public.codes(a), 'not_source_of_record warning, not_source_of_record warning, not_source_of_record warning', 'each of them is a finding') FROM kept;
SELECT results_eq(format('SELECT p.family, p.phone, p.city, r.urgency::text, r.reason_text FROM referral.referral r JOIN referral.patient p USING (patient_id) WHERE r.referral_id = %s', :r1),
    $$VALUES ('Newname', '2175550202', 'Joliet', 'stat', 'new')$$, 'the rest is written');
SELECT public.apply(public.ref('O9', '{"placer_order_system":"LAKE"}', '{"identifiers":[{"system":"LAKE","value":"MR9","type":"MR"}]}')) \g /dev/null
SELECT is(public.codes(public.apply('{"kind":"referral_status","referral":{"placer_order_number":"O9","placer_order_system":"LAKE","decision":"accepted","filler_order_number":"FX","authorization_number":"AX"}}')), 'not_source_of_record warning, not_source_of_record warning', 'so with an answer');
SELECT public.apply('{"kind":"patient","message":{"sent_at":"2026-01-01T00:00:00Z"},"patient":{"identifiers":[{"value":"CO"}],"family":"Covered","given":"Al"},"coverages":[{"payer":{"name":"One"},"subscriber_id":"1","start":"2025-01-01"}]}') \g /dev/null
SELECT ok(public.codes(public.apply('{"kind":"patient","message":{"sent_at":"2026-06-01T00:00:00Z"},"patient":{"identifiers":[{"value":"CO"}],"city":"Galena"},"coverages":[{"payer":{"name":"Two"},"subscriber_id":"2","start":"2026-01-01"}]}')) ~ 'not_source_of_record warning', 'and with a new coverage before which another one would have to end');
SELECT results_eq($$SELECT c.subscriber_id, c.priority, c.period, p.city FROM referral.coverage c JOIN referral.patient p USING (org_id, patient_id) WHERE p.identifier = 'CO' ORDER BY 1$$,
    $$VALUES ('1', 1, daterange('2025-01-01', NULL), 'Galena'), ('2', 2, daterange('2026-01-01', NULL), 'Galena')$$, 'which is put behind it');
RESET referral.origin;

-- 11. Who may

SET SESSION AUTHORIZATION intake_apply_jane;
SELECT public.apply(public.ref('J1', '{}', '{"identifiers":[{"value":"J1"}],"given":"Jo"}') || '{"coverages":[{"payer":{"name":"Nobody knows"},"plan":{"name":"Plain"},"subscriber_id":"1"}]}') AS jane \gset
SELECT is(public.codes(:'jane'), 'unknown_payer warning', 'a coordinator has a payer made that nobody has met, and it is flagged');
SELECT is(public.done(:'jane'), 'patient created, payer created, plan created, coverage created, referral created', 'as a feed has');
SELECT results_eq($$SELECT p.name, l.name, c.subscriber_id FROM referral.referral r JOIN referral.coverage c USING (org_id, coverage_id) JOIN referral.payer p ON (p.org_id, p.payer_id) = (r.org_id, r.payer_id) JOIN referral.plan l ON l.plan_id = r.plan_id WHERE r.placer_order_number = 'J1'$$,
    $$VALUES ('Nobody knows', 'Plain', '1')$$, 'so the case does not count as paid by the patient');
SELECT is((public.refused('SELECT referral.intake_make_payer(2, NULL, NULL, ''Other'')')).code, 'RF003', 'but not for an organisation that is not his');
SELECT is((public.refused('SELECT referral.intake_make_plan(2, 1, NULL, ''Other'', NULL)')).code, 'RF003', 'nor a plan');
SELECT is((public.refused('INSERT INTO referral.payer (name) VALUES (''Other'')')).code, '42501', 'nor by himself');
RESET SESSION AUTHORIZATION;
SELECT ok(NOT has_function_privilege('referral_analyst', 'referral.apply_case(bigint,bigint,text,text,jsonb)', 'EXECUTE'), 'analysts do not write');
SELECT * FROM finish();
