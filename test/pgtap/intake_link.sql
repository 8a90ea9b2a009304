-- Whose referral, which patient, whose appointment: a number links only when nothing that is told contradicts.
SELECT plan(91);
SET timezone = 'UTC';

CREATE ROLE intake_link_feed LOGIN IN ROLE referral_integration;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'intake_link_feed', 'system');
GRANT CREATE ON SCHEMA public TO intake_link_feed;
-- cases are applied here by hand, as those of messages that nobody has sent
GRANT INSERT, UPDATE ON referral.intake_latest TO intake_link_feed;
SET SESSION AUTHORIZATION intake_link_feed;
SET referral.org_id = 1;

CREATE FUNCTION public.apply(intake jsonb, source text DEFAULT 'hub', message bigint DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS
    'SELECT referral.apply_case(1, message, source, ''hl7v2'', intake)';
CREATE FUNCTION public.codes(answer jsonb) RETURNS text LANGUAGE sql AS
    $$SELECT coalesce(string_agg(concat_ws(' ', f ->> 'code', f ->> 'severity'), ', ' ORDER BY f ->> 'code', f ->> 'severity'), '') FROM jsonb_array_elements(answer -> 'findings') f$$;
CREATE FUNCTION public.person(family text, given text, birth_date text, sex text, VARIADIC ids text[] DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('family', family, 'given', given, 'birth_date', birth_date, 'sex', sex, 'identifiers',
        (SELECT jsonb_agg(jsonb_build_object('type', split_part(i, '|', 1), 'system', nullif(split_part(i, '|', 2), ''), 'value', split_part(i, '|', 3))) FROM unnest(ids) i))) $$;
CREATE FUNCTION public.who(patient jsonb, source text DEFAULT 'hub', kind text DEFAULT 'patient', message bigint DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS
    $$SELECT public.apply(jsonb_build_object('kind', kind, 'patient', patient), source, message)$$;
CREATE FUNCTION public.about(kind text, number text, patient jsonb DEFAULT NULL, more jsonb DEFAULT '{}', source text DEFAULT 'hub') RETURNS jsonb LANGUAGE sql AS
    $$SELECT public.apply(jsonb_strip_nulls(jsonb_build_object('kind', kind, 'patient', patient, 'referral', jsonb_build_object('placer_order_number', number, 'specialty', 'cardiology') || more)), source)$$;
CREATE FUNCTION public.name(id text) RETURNS text LANGUAGE sql AS
    $$SELECT concat_ws(' ', given, family, birth_date, sex) FROM referral.patient WHERE patient_id = id::bigint$$;
CREATE FUNCTION public.state(id text) RETURNS text LANGUAGE sql AS 'SELECT state::text FROM referral.referral WHERE referral_id = id::bigint';

-- 1. What contradicts

CREATE FUNCTION public.against(a jsonb, b jsonb) RETURNS boolean LANGUAGE sql AS 'SELECT referral.intake_contradicts(a::referral.demographics, b::referral.demographics)';
SELECT ok(NOT public.against('{"family":"Smith","given":"Ann","birth_date":"1980-05-06","sex":"female"}', b::jsonb), 'one person: ' || b) FROM (VALUES
    ('{}'), ('{"given":"Ann"}'), ('{"family":"Jones","given":"Ann","birth_date":"1980-05-06"}'), ('{"family":"Smith","given":"Ann","birth_date":"1980-06-05"}'),
    ('{"family":"Smith","given":"Ann","birth_date":"1980-05-07"}'), ('{"family":"Smyth","given":"A","birth_date":"1980-05-06"}'),
    ('{"family":"Smith","given":"Ann","birth_date":"1980-05-06","sex":"male"}')) v (b);
SELECT ok(public.against('{"family":"Smith","given":"Ann","birth_date":"1980-05-06","sex":"female"}', b::jsonb), 'another one: ' || b) FROM (VALUES
    ('{"family":"Smith","given":"Mary","birth_date":"1980-05-06"}'), ('{"family":"Smith","given":"Ann","birth_date":"2004-11-30"}'), ('{"family":"Smith","given":"Ann","birth_date":"1950-05-06"}'),
    ('{"family":"Jones","given":"Ann"}'), ('{"family":"Jones","given":"Ann","birth_date":"1980-05-07"}'), ('{"family":"Smith","given":"Anna","birth_date":"1981-05-06","sex":"male"}')) v (b);

-- 2. Which patient

SELECT public.who(public.person('Smith', 'John', '1950-01-01', 'male', 'SS||444-55-6666')) ->> 'patient_id' AS john \gset
CREATE TEMP TABLE mary AS SELECT public.who(public.person('Smith', 'Mary', '1952-02-02', 'female', 'SS||444-55-6666'), 'east') AS a;
SELECT isnt(a ->> 'patient_id', :'john', 'a wife under her husband''s number is herself') FROM mary;
SELECT is(public.codes(a), 'possible_duplicate error', 'and a person has to look') FROM mary;
SELECT is(public.name(:'john'), 'John Smith 1950-01-01 male', 'he stays who he is');
SELECT is(public.who(public.person('Smith', 'Mary', '1952-02-02', 'female', 'SS||444-55-6666'), 'east') ->> 'patient_id', a ->> 'patient_id', 'she is found again') FROM mary;
SELECT is(public.codes(public.who(public.person('Smith', NULL, NULL, NULL, 'SS||444-55-6666'), 'east', 'status_request')), 'order_not_found error, possible_duplicate error', 'whose it is cannot be told by the number: nobody''s');

SELECT isnt(a, b, 'a number that stands for "not known" is nobody''s: ' || number) FROM (VALUES ('SS||999999999'), ('SS||123-45-6789'), ('MR|EAST|0'), ('MR|EAST|UNKNOWN'), ('MR|EAST|11111111'), ('MR|EAST|999')) v (number),
    LATERAL (SELECT public.who(public.person('Doe', 'Jane', NULL, NULL, number)) ->> 'patient_id' AS a, public.who(public.person('Doe', 'Jane', NULL, NULL, number)) ->> 'patient_id' AS b) x;
SELECT isnt(a, b, 'nor is the number of ' || what) FROM (VALUES ('MB|BCBS|W555', 'a family''s insurance'), ('SN|BCBS|W556', 'who is insured'), ('AN|EAST|A77', 'an account')) v (number, what),
    LATERAL (SELECT public.who(public.person('Roe', 'Jane', NULL, NULL, number)) ->> 'patient_id' AS a, public.who(public.person('Roe', 'Jane', NULL, NULL, number)) ->> 'patient_id' AS b) x;
SELECT is(public.who(public.person('Doe', 'Jim', NULL, NULL, 'SS||999999999'), 'hub', 'patient', 77) ->> 'patient_id',
          public.who(public.person('Doe', 'Jim', NULL, NULL, 'SS||999999999'), 'hub', 'patient', 77) ->> 'patient_id', 'the same message finds its own again');
SELECT is((SELECT count(*) FROM referral.identifier WHERE value IN ('999999999', 'W555', 'A77')), 7::bigint, 'the numbers are kept');
SELECT is(public.who(public.person('Doe', 'Jane', NULL, NULL, 'FHIR|hub/Patient|1234')) ->> 'patient_id', public.who(public.person('Doe', 'Jane', NULL, NULL, 'FHIR|hub/Patient|1234')) ->> 'patient_id',
          'ids that a server gives out may run');
SELECT is(public.who(public.person('Doe', 'Jane', NULL, NULL, 'MR|EAST|77')) ->> 'patient_id', public.who(public.person('Doe', 'Jane', NULL, NULL, 'MR|EAST|77')) ->> 'patient_id', 'short numbers are numbers');

-- a number links; who the patient is says who told first
SELECT public.who(public.person('Unger', 'Uta', '1970-07-07', 'female', 'MR|WEST|U1', 'SS||333-22-1111'), 'west') ->> 'patient_id' AS uta \gset
CREATE TEMP TABLE married AS SELECT public.who(public.person('Vogel', 'Uta', '1970-07-07', 'female', 'MR|EAST|E9', 'SS||333-22-1111'), 'east') AS a;
SELECT is(a ->> 'patient_id', :'uta', 'another hospital''s news of her') FROM married;
SELECT is(public.codes(a), 'not_source_of_record warning', 'are flagged') FROM married;
SELECT is(public.name(:'uta'), 'Uta Unger 1970-07-07 female', 'and do not rename her');
SELECT is(public.codes(public.who(public.person('Vogel', 'Uta', '1970-07-07', 'female', 'MR|EAST|E9', 'SS||333-22-1111'), 'east')), 'not_source_of_record warning', 'nor when they come again');
SELECT is(public.name(:'uta'), 'Uta Unger 1970-07-07 female', 'still not');
SELECT is(public.codes(public.who(public.person('Vogel', 'Uta', '1970-07-07', 'female', 'MR|WEST|U1'), 'west')), '', 'those of the hospital that told of her first');
SELECT is(public.name(:'uta'), 'Uta Vogel 1970-07-07 female', 'do');

-- 3. Whose referral

CREATE FUNCTION public.anna() RETURNS jsonb LANGUAGE sql AS $$SELECT public.person('Alpha', 'Anna', '1950-01-01', 'female', 'MR|HOSPA|M1')$$;
CREATE FUNCTION public.oscar() RETURNS jsonb LANGUAGE sql AS $$SELECT public.person('Zulu', 'Oscar', '1999-12-31', 'male', 'MR|HOSPB|M9')$$;
SELECT public.about('referral', '77', public.anna(), '{"placer_order_system":"HOSPA"}', 'HOSPA') ->> 'referral_id' AS r77 \gset
CREATE TEMP TABLE cancel AS SELECT public.about('referral_cancel', '77', public.oscar(), '{"placer_order_system":"HOSPB"}', 'HOSPB') AS a;
SELECT is(public.codes(a), 'order_not_found error', 'order 77 of another hospital is another one') FROM cancel;
SELECT is(public.codes(public.about('referral_status', '77', NULL, '{"placer_order_system":"HOSPB","decision":"accepted"}', 'HOSPB')), 'order_not_found error', 'also when no patient is told');
SELECT is(public.codes(public.about('referral_cancel', '77', public.oscar(), '{}', 'HOSPB')), 'ambiguous_referral error, possible_duplicate error', 'nor is it his when it is not said whose number it is');
SELECT is(public.codes(public.about('referral_status', '77', public.person('Zulu', 'Oscar', '1999-12-31', 'male'), '{"decision":"accepted"}', 'HOSPB')), 'ambiguous_referral error, possible_duplicate error', 'nor by an answer');
SELECT is(public.codes(public.about('referral_cancel', '77', public.person(NULL, NULL, NULL, NULL, 'MR|HOSPA|M5'), '{}', 'HOSPB')), 'ambiguous_referral error, possible_duplicate error', 'another number of its patient is another patient, too');
SELECT is(public.state(:'r77'), 'received', 'hers stays');
SELECT is((SELECT count(*) FROM referral.patient WHERE family = 'Zulu'), 0::bigint, 'nobody is made of a cancellation');
SELECT is(public.codes(public.about('referral_status', '77', public.person('ALPHA', 'Anna', NULL, NULL, 'MR|HOSPB|X3'), '{"decision":"accepted"}', 'HOSPB')), '', 'an answer about her, with her number there');
SELECT is(public.state(:'r77'), 'validated', 'is applied');

-- one sender, one number, three people
CREATE TEMP TABLE lopez AS SELECT public.about('referral', '1502', public.person('Lopez', p[1], p[2], p[3]) || '{"phone":"2185559999","address":"1 Elm Street","city":"Duluth"}') AS a, p[1] AS given, o
    FROM (VALUES (1, ARRAY['Juan', '1950-01-01', 'male']), (2, ARRAY['Juan', '1980-06-06', 'male']), (3, ARRAY['Maria', '1981-06-06', 'female'])) v (o, p) ORDER BY o;
SELECT is((SELECT string_agg(public.codes(a), '; ' ORDER BY o) FROM lopez), '; ambiguous_referral error, possible_duplicate error, possible_duplicate warning; ambiguous_referral error, possible_duplicate error', 'the same number sent for another person');
SELECT is((SELECT count(DISTINCT a -> 'referral_id') || ' ' || count(DISTINCT a -> 'patient_id') FROM lopez), '3 3', 'makes a referral of his own');
SELECT is(public.about('referral', '1502', public.person('Lopez', 'Juan', '1980-06-06', 'male')) ->> 'referral_id', a ->> 'referral_id', 'each is found by its patient') FROM lopez WHERE o = 2;
SELECT is(public.about('referral_cancel', '1502', public.person('Lopez', 'Maria', '1981-06-06', 'female')) ->> 'referral_id', a ->> 'referral_id', 'and so is that which is cancelled') FROM lopez WHERE o = 3;
SELECT is((SELECT string_agg(public.state(a ->> 'referral_id'), ' ' ORDER BY o) FROM lopez), 'received received cancelled', 'the others stay');
SELECT is(public.codes(public.about('referral_cancel', '1502')), 'ambiguous_referral warning', 'without a patient: none');

-- 4. Whose appointment

CREATE FUNCTION public.book(id text, placer text, status text, patient jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT public.apply(jsonb_strip_nulls(jsonb_build_object('kind', 'appointment', 'patient', patient,
        'appointments', jsonb_build_array(jsonb_build_object('filler_appointment_id', id, 'placer_appointment_id', placer, 'status', status, 'starts_at', '2027-02-01T10:00:00Z')))), 'SCH') $$;
SELECT public.book('900', 'PL1', 'booked', public.person('First', 'Fred', '1950-01-01', 'male', 'MR|Q1|Q51')) ->> 'appointment_id' AS fred \gset
CREATE TEMP TABLE susan AS SELECT public.book('900', 'PL2', 'booked', public.person('Second', 'Susan', '1990-07-07', 'female', 'MR|Q1|Q52')) AS a;
SELECT isnt(a ->> 'appointment_id', :'fred', 'a number that the scheduler uses again is another appointment') FROM susan;
SELECT is(public.codes(a), 'ambiguous_referral error, order_not_found warning', 'and a person has to look') FROM susan;
SELECT is(public.book('900', 'PL2', 'cancelled', public.person('Second', 'Susan', '1990-07-07', 'female', 'MR|Q1|Q52')) ->> 'appointment_id', a ->> 'appointment_id', 'each is cancelled by its patient') FROM susan;
SELECT results_eq($$SELECT p.given, a.step, a.placer_appointment_id FROM referral.appointment a JOIN referral.patient p USING (org_id, patient_id) ORDER BY 1$$,
    $$VALUES ('Fred', 'booked', 'PL1'), ('Susan', 'cancelled', 'PL2')$$, 'the other stands');
SELECT is(public.codes(public.book('900', NULL, 'cancelled', NULL)), 'ambiguous_referral error, order_not_found warning, patient_missing error', 'without a patient it is neither''s');
SELECT is((SELECT step FROM referral.appointment WHERE appointment_id = :'fred'), 'booked', 'still not');

-- 5. Whose report, whose authorization

CREATE FUNCTION public.report(system text, patient jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT public.apply(jsonb_strip_nulls(jsonb_build_object('kind', 'report', 'patient', patient, 'referral', jsonb_build_object('placer_order_number', '4711', 'placer_order_system', system),
        'reports', '[{"status":"final","identifier":"88","document":{"content":"text"}}]'::jsonb)), 'RRB') $$;
SELECT public.about('referral', '4711', public.person('Rrfam', 'Anna', '1950-02-01', 'female'), '{"placer_order_system":"RRA"}', 'RRA') ->> 'referral_id' AS r4711 \gset
SELECT is(public.codes(public.report('RRB', public.person('Rrfam', 'Bella', '1952-02-01', 'female'))), 'order_not_found error, possible_duplicate warning', 'a report of another hospital''s order');
SELECT is(public.codes(public.report('RRB', NULL)), 'order_not_found error, patient_missing error', 'also without a patient');
SELECT is(public.codes(public.report('RRA', public.person('Rrfam', 'Bella', '1952-02-01', 'female'))), 'ambiguous_referral error, order_not_found error, possible_duplicate error, possible_duplicate warning', 'or of another patient');
SELECT is((SELECT count(*) FROM referral.consult_report WHERE referral_id = :'r4711'), 0::bigint, 'is none of hers');
CREATE FUNCTION public.payer_says(what jsonb, patient jsonb, referral text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
    SELECT public.apply(jsonb_strip_nulls(jsonb_build_object('kind', 'authorization', 'patient', patient, 'authorizations', jsonb_build_array(what),
        'referral', CASE WHEN referral IS NOT NULL THEN jsonb_build_object('placer_order_number', referral, 'placer_order_system', 'RRA') END)), 'PAY') $$;
SELECT is(public.codes(public.payer_says('{"identifiers":[{"system":"p","value":"PA1"}],"status":"requested","items":[{"sequence":1,"code":"1"}]}', NULL, '4711')), '', 'a request for her');
\set decided '{"request":[{"system":"p","value":"PA1"}],"status":"decided","authorization_number":"AX","items":[{"sequence":1,"code":"1","review_action":"A1"}]}'
SELECT matches(public.codes(public.payer_says(:'decided', public.person('Else', 'Sam', '1999-05-01', 'male', 'MR|K|zzz'))), 'ambiguous_referral error', 'the payer''s answer about somebody else');
SELECT results_eq(format('SELECT status, authorization_number FROM referral.prior_authorization WHERE referral_id = %s', :'r4711'), $$VALUES ('requested', NULL::text)$$, 'does not decide it');
SELECT is((SELECT authorization_number FROM referral.referral WHERE referral_id = :'r4711'), NULL, 'nor authorize her referral');
SELECT is(public.codes(public.payer_says(:'decided', public.person('Rrfam', 'Anna', NULL, NULL), '4711')), '', 'hers does');
SELECT is((SELECT authorization_number FROM referral.referral WHERE referral_id = :'r4711'), 'AX', 'and opens the way');

-- 6. The same message again, when it can be read; our own ids that come back

SELECT referral.apply_case(1, 90, 'csv', 'flat_file', '{"kind":"referral","message":{"part":"1"},"referral":{"specialty":"cardiology"}}') ->> 'referral_id' AS ghost \gset
CREATE TEMP TABLE mended AS SELECT referral.apply_case(1, 90, 'csv', 'flat_file', '{"kind":"referral","message":{"part":"1"},"patient":{"family":"Amadi","birth_date":"1971-03-04"},"referral":{"specialty":"cardiology","placer_order_number":"70"}}') AS a;
SELECT is(a ->> 'referral_id', :'ghost', 'a number that could not be read before makes no other referral of the same message') FROM mended;
SELECT results_eq(format('SELECT patient_id::text, placer_order_number FROM referral.referral WHERE referral_id = %s', :'ghost'), $$SELECT a ->> 'patient_id', '70' FROM mended$$, 'which has its patient and number now');
SELECT is(referral.apply_case(1, 90, 'csv', 'flat_file', '{"kind":"referral","message":{"part":"1"},"patient":{"family":"Amadi","birth_date":"1971-03-04"},"referral":{"specialty":"cardiology","placer_order_number":"70"}}') ->> 'referral_id', :'ghost', 'and is found by it');
SELECT isnt(referral.apply_case(1, 90, 'csv', 'flat_file', '{"kind":"referral","message":{"part":"1"},"referral":{"specialty":"cardiology","placer_order_number":"71"}}') ->> 'referral_id', :'ghost', 'another number is another referral');

CREATE FUNCTION public.resource(id text, number text, service text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT public.apply(jsonb_build_object('kind', 'referral', 'patient', public.person('Adeyemi', 'Tunde', '1949-07-02', 'male', 'MR|clinic|M-900'), 'referral', jsonb_build_object('specialty', 'cardiology', 'service_text', service,
        'identifiers', jsonb_build_array(jsonb_build_object('system', 'clinic/ServiceRequest', 'value', id, 'type', 'FHIR'), jsonb_build_object('system', 'orders', 'value', number)))), 'clinic') $$;
SELECT public.resource('sr-77', 'ORD-77', 'heart') ->> 'referral_id' AS ours \gset
SELECT is(public.resource(:'ours', 'ORD-77', 'heart') ->> 'referral_id', :'ours', 'our own resource comes back');
SELECT is((SELECT count(*) FROM referral.identifier WHERE referral_id = :'ours' AND value = :'ours'), 0::bigint, 'its id is not the sender''s');
CREATE TEMP TABLE skin AS SELECT public.resource(:'ours', 'ORD-78', 'skin') AS a;
SELECT isnt(a ->> 'referral_id', :'ours', 'another order is another referral') FROM skin;
SELECT is(public.resource(:'ours', 'ORD-78', 'skin') ->> 'referral_id', a ->> 'referral_id', 'and is found again') FROM skin;
SELECT isnt(public.resource('sr-77', 'ORD-79', 'eye') ->> 'referral_id', :'ours', 'even under the same id');
SELECT is((SELECT service_text FROM referral.referral WHERE referral_id = :'ours'), 'heart', 'the first order stays');
SELECT is(public.codes(public.apply('{"kind":"appointment","patient":{"given":"Una","family":"Numbered"},"appointments":[{"filler_appointment_id":"U1","status":"booked","placer_order_number":"NOBODY"}]}')), 'order_not_found error', 'an appointment for an order that nobody has is looked at');

-- 7. What completes a patient settles what his referrals lacked

CREATE FUNCTION public.message(type text, born text, control text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(E'\r', 'MSH|^~\&|LAKE|A|X|Y|202611200' || control || '0000+0000||' || type || '|' || control || '|P|2.5.1', 'RF1||R|CAR^Cardiology|||L9',
                     'PRD|RP|DOC^ONE||||||1111111111^NPI', 'PID|1||L9P^^^LAKE^MR||LATER^LOU||' || born || '|M', '') $$;
SELECT referral_id AS r9 FROM referral.receive('hl7v2', 'LAKE', NULL, public.message('REF^I12', '19761399', '1')) \gset
CREATE FUNCTION public.lacks(id text) RETURNS bigint LANGUAGE sql AS
    $$SELECT count(*) FROM referral.exception_item WHERE referral_id = id::bigint AND code = 'birth_date' AND status NOT IN ('resolved', 'dismissed')$$;
SELECT is(public.lacks(:'r9'), 1::bigint, 'a referral whose patient has no birth date');
SELECT is((SELECT outcome FROM referral.receive('hl7v2', 'LAKE', NULL, public.message('REF^I12', '19760309', '2'))), 'referral_unchanged', 'a message that changes only the patient');
SELECT is(public.lacks(:'r9'), 0::bigint, 'brings it, and nothing is lacking');

-- Payers: the same local number of two senders
CREATE FUNCTION public.payer_of(sender text, ordered text, number text, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    SELECT m.referral_id INTO id FROM referral.receive('hl7v2', sender, NULL, concat_ws(chr(13), 'MSH|^~\&|' || sender || '|H|REF|H|20261102101500||REF^I12|' || ordered || '|P|2.5',
        'RF1|A|R|CAR|||' || ordered, 'PID|1||' || ordered || '9^^^' || sender || '^MR||PAYERS^' || ordered || '||19700102|F', 'IN1|1||' || number || '|' || name)) m;
    RETURN (SELECT y.name FROM referral.referral r JOIN referral.payer y USING (org_id, payer_id) WHERE r.referral_id = id);
END $$;
SELECT is(public.payer_of('PYA', 'PA1', '001', 'Blue Cross'), 'Blue Cross', 'a payer by its local number');
SELECT is(public.payer_of('PYB', 'PB1', '001', 'Aetna'), 'Aetna', 'the same number of another hospital is another payer');
SELECT is(public.payer_of('PYA', 'PA2', '001', 'BCBS'), 'Blue Cross', 'the hospital''s own is known by its number, however it is called');
SELECT is(public.payer_of('PYB', 'PB2', '7', 'blue cross'), 'Blue Cross', 'and others'' by its name');

-- a system that is called as ours

SELECT message_id AS m1, patient_id AS own1, referral_id AS ref1 FROM referral.receive('hl7v2', 'named', NULL, E'MSH|^~\\&|N|A|X|Y|20261120080000+0000||REF^I12|N1|P|2.5.1\rRF1||R|CAR^Cardiology\rPRD|RP|DOC^ONE\rPID|1||||NAMED^NORA||19500101|F') \gset
SELECT is((SELECT array_agg(i.value ORDER BY 1) FROM referral.identifier i WHERE i.system = 'inbox_message' AND i.patient_id = :own1), ARRAY[:'m1'], 'a message without numbers is known by its own');
SELECT isnt(public.who(public.person(NULL, NULL, NULL, NULL, 'MR|inbox_message|' || :'m1'), 'inbox_message') ->> 'patient_id', :'own1', 'a sender that is called so does not find whom we know by it');
SELECT isnt(public.about('referral', NULL, public.person('Other', 'Otto', '1960-01-01', 'male'), jsonb_build_object('identifiers', jsonb_build_array(jsonb_build_object('system', 'inbox_message', 'value', :'m1'))), 'far') ->> 'referral_id', :'ref1', 'nor its referral');
SELECT is((SELECT array_agg(DISTINCT i.system) FROM referral.identifier i WHERE i.value = :'m1' AND (i.patient_id <> :own1 OR i.referral_id <> :ref1)), '{inbox_message (sent)}', 'its numbers are kept under another name');
SELECT * FROM finish();
