-- Messages in: stored first, read, written; what fails stays, what comes again is counted, nothing is lost.
SELECT plan(179);
\ir ../lib/refused.sql
-- what a referral lacks is another test's matter (validation.sql)
SET client_min_messages = error;
UPDATE referral.rule_version SET status = 'retired'
WHERE rule_set_id = (SELECT s.rule_set_id FROM referral.rule_set s WHERE s.name = 'validation/standard');
RESET client_min_messages;

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE intake_feed LOGIN IN ROLE referral_integration;
CREATE ROLE intake_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE intake_other LOGIN IN ROLE referral_integration;
CREATE ROLE intake_reader LOGIN IN ROLE referral_auditor;
CREATE ROLE intake_analyst LOGIN IN ROLE referral_analyst;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'intake_feed', 'system'), (1, 'intake_jane', 'user'), (1, 'intake_reader', 'user'), (1, 'intake_analyst', 'user'), (2, 'intake_other', 'system');
SET referral.org_id = '1';

CREATE FUNCTION public.cancelled(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN false;
EXCEPTION WHEN query_canceled THEN
    RETURN true;
END $$;

-- A small mapping, active from the start
CREATE FUNCTION public.map(fields text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind, owner) VALUES ('source_mapping/test', 'source_mapping', 'Test') ON CONFLICT DO NOTHING;
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'source_mapping/test'
    RETURNING rule_version_id INTO v;
    INSERT INTO referral.source_mapping (rule_version_id, mapping, zone) VALUES (v, 'test', 'UTC');
    INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name)
    SELECT v, 'test', split_part(f, '=', 1), split_part(f, '=', 2) FROM unnest(string_to_array(fields, ' ')) f;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
END $$;
SELECT public.map('patient.family=last patient.given=first patient.birth_date=dob referral.placer_order_number=order referral.specialty=dept referral.reason_text=why') \g /dev/null

-- What goes wrong on demand: the reason is the SQLSTATE.
CREATE FUNCTION public.trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.reason_text ~ '^fail ' THEN
        RAISE EXCEPTION 'Dolores Haze of %', NEW.reason_text USING ERRCODE = substr(NEW.reason_text, 6, 5), DETAIL = 'Dolores again';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER aa_trouble BEFORE INSERT OR UPDATE ON referral.referral FOR EACH ROW EXECUTE FUNCTION public.trouble();

CREATE FUNCTION public.ref(id text, family text, control text DEFAULT 'M1', born text DEFAULT NULL, type text DEFAULT 'REF^I12^REF_I12', app text DEFAULT 'LAKESIDE')
RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(E'\r', 'MSH|^~\&|' || app || '|CLINIC|HUB|CITY|20260302101500+0000||' || type || '|' || control || '|P|2.5.1',
        'RF1|P^Pending^HL70283|R^Routine^HL70280|||O^Outpatient^HL70284|' || id || '^LAKE|20260302|20261231|20260302',
        'PRD|RP^Referring Provider^HL70286|POWELL^ROBERT^^^DR^MD|||||1003000126^NPI',
        'PID|1||' || id || 'P^^^LAKE^MR||' || family || '^' || initcap(translate(md5(id), '0123456789', 'ghijklmnop')) || '||' || coalesce(born, to_char(date '1930-01-01' + abs(hashtext(id)) % 30000, 'YYYYMMDD')) || '|F', '')
$$;
CREATE FUNCTION public.row_of(id bigint) RETURNS referral.inbox_message LANGUAGE sql AS 'SELECT m FROM referral.inbox_message m WHERE (m.org_id, m.message_id) = (1, id)';

-- 1. What a payload is

SELECT results_eq($$SELECT referral.payload_kind(t, p) FROM (VALUES (1, NULL, 'MSH|^~\&|A'), (2, NULL, E'\x0BMSH|^~\\&|A'), (3, NULL, E'\uFEFFMSH|'), (4, 'application/hl7-v2', 'x'),
        (5, 'X-Application/HL7-v2+er7; charset=utf-8', 'x'), (6, 'text/plain', 'MSH|'), (7, NULL, 'FHS|^~\&'), (8, NULL, '  {"a": 1}'), (9, 'application/json', 'x'), (10, 'application/fhir+json', '{}'),
        (11, 'application/fhir+ndjson', '{}'), (12, 'text/csv; mapping=x', 'a,b'), (13, NULL, '[1]'), (14, NULL, 'Dear colleague'), (15, 'application/pdf', 'JVBERi0='), (16, 'image/tiff', '{"a": 1}'),
        (17, NULL, ''), (18, NULL, 'MSHA'), (19, 'text/plain', 'MSH'), (20, NULL, E'\r\nMSH#')) v (n, t, p) ORDER BY n$$,
    $$SELECT unnest('{hl7,hl7,hl7,hl7,hl7,hl7,hl7,json,json,fhir,lines,csv,json,document,document,document,document,document,document,hl7}'::text[])$$,
    'what a payload is, by content type and first characters');
SELECT results_eq($$SELECT p, referral.payload_kind(t, p) FROM (VALUES ('text/plain; charset=utf-8', E'\n [1]'), (' Text/CSV ;x', 'MSH|'), ('text/plain', 'MSH'), ('application/pdf', 'MSHX|'), (NULL, E'\x1C\x0BBHS|'),
    ('application/pdf', '{}')) v (t, p)$$, $$VALUES (E'\n [1]', 'json'), ('MSH|', 'csv'), ('MSH', 'document'), ('MSHX|', 'document'), (E'\x1C\x0BBHS|', 'hl7'), ('{}', 'document')$$,
    'parameters, blanks and capital letters of a content type make no difference; a beginning counts only whole');
SELECT is(referral.payload_kind('text/csv', NULL), 'document', 'what is not there is nothing that could be read');
SELECT is(referral.payload_parts('hl7', 'MSH|a'), ARRAY['MSH|a'], 'a message is one part');
SELECT is(referral.payload_parts('hl7', E'FHS|^~\\&|x\rBHS|^~\\&|x\rMSH|^~\\&|1\rPID|1\rMSH|^~\\&|2\r\rPID|1\rBTS|2\rFTS|1\r'), ARRAY[E'MSH|^~\\&|1\rPID|1', E'MSH|^~\\&|2\r\rPID|1'], 'a batch is several, without its envelope');
SELECT is(referral.payload_parts('hl7', E'\x0BMSH|1\x1C\r\x0BMSH|2\x1C\r'), ARRAY['MSH|1', 'MSH|2'], 'framed ones, too');
SELECT is(referral.payload_parts('lines', E'\uFEFF{"a": 1}\r\n\n  \n{"b": 2}'), ARRAY['{"a": 1}', '{"b": 2}'], 'lines');
SELECT is(referral.payload_records('json', '[{"a": 1}, {"b": [2]}]'), ARRAY['{"a": 1}', '{"b": [2]}']::jsonb[], 'elements');
SELECT is(referral.payload_parts('json', '{"a": 1}'), ARRAY['{"a": 1}'], 'an object is one');
SELECT is(referral.payload_records('csv', E'a,b\n1,2\n3,4'), ARRAY['{"a": "1", "b": "2", "_line": 2, "_columns": ["a", "b"]}', '{"a": "3", "b": "4", "_line": 3}']::jsonb[], 'rows, with their lines, and the columns once');
SELECT is(public.code($$SELECT referral.payload_records('json', '[]')$$), 'RF014', 'an empty list is no message');
SELECT is(referral.payload_records('csv', E'a,b\n,\n'), '{}', 'a header without rows is a day without news');
SELECT is(referral.payload_json(E'\uFEFF{"a": 1}'), '{"a": 1}', 'JSON behind a byte order mark');
SELECT is(referral.payload_json('{"a": "x\u0000y", "b": "\\u0000", "c": "\\\u0000"}'), E'{"a": "x\uFFFDy", "b": "\\\\u0000", "c": "\\\\\uFFFD"}', 'a null character, which no text can have, is replaced; one that only looks like it is not');
SELECT is((SELECT code || ' ' || detail FROM public.refused(E'SELECT referral.payload_json(E\'{"a": 1,\n"Haze"\n]\')')), 'RF014 line 3', 'what is no JSON, with its line');
SELECT is((SELECT code FROM public.refused($$SELECT referral.payload_json(repeat('[', 100000))$$)), 'RF014', 'what is nested too deep');
SELECT is(referral.payload_json(NULL), NULL, 'null for null');
SELECT is(referral.message_key(NULL, '\x01', E'\uFEFF\x0BMSH|1\r\nPID|1\n\x1C\r'), referral.message_key('', '\x02', E'MSH|1\rPID|1'), 'the key of a message without a name does not depend on its frame');
SELECT is(referral.message_key(NULL, '\xAB01', 'x'), 'ab01', 'of what is no HL7 it is the hash');
SELECT is(referral.message_key(repeat('k', 501), '\x01', 'x'), encode(sha256(repeat('k', 501)::bytea), 'hex'), 'a name that no index takes is kept as its hash');
SELECT is(referral.message_key(repeat('k', 500), '\x01', 'x'), repeat('k', 500), 'others are kept');

-- 2. A message becomes a referral

SET SESSION AUTHORIZATION intake_feed;
SET referral.origin = 'before';
SET referral.correlation_id = 'before';
SET timezone = 'Asia/Tokyo';
CREATE TEMP TABLE got AS SELECT 1 AS n, r.* FROM referral.receive('hl7v2', 'lakeside', NULL, public.ref('R1', 'Oyelaran', 'M1'), 'M1') r;
SELECT results_eq('SELECT status::text, outcome, referral_id IS NOT NULL, patient_id IS NOT NULL, repeated, error FROM got', $$VALUES ('processed', 'referral_created', true, true, false, NULL::text)$$, 'a request becomes a referral');
SELECT is(current_setting('referral.origin') || current_setting('referral.correlation_id') || current_setting('timezone'), 'beforebeforeAsia/Tokyo', 'the settings of the session are as they were');
RESET SESSION AUTHORIZATION;
RESET timezone;
RESET referral.origin;
RESET referral.correlation_id;
SELECT results_eq($$SELECT m.channel::text, m.source, m.dedup_key, m.message_type, m.control_id, m.received_by, m.attempts, m.repeat_count, m.error, m.patient_match, m.processed_at >= m.received_at,
                           m.payload = public.ref('R1', 'Oyelaran', 'M1'), m.payload_hash = sha256(convert_to(m.payload, 'UTF8')) FROM got g, public.row_of(g.message_id) m$$,
    $$VALUES ('hl7v2', 'lakeside', 'M1', 'REF^I12', 'M1', 'intake_feed', 1, 0, NULL::text, 'new', true, true, true)$$, 'the message is kept as it came, with what became of it');
SELECT ok((SELECT m.results @> jsonb_build_array(jsonb_build_object('entity', 'referral', 'id', g.referral_id, 'action', 'created')) FROM got g, public.row_of(g.message_id) m), 'and all rows that it wrote');
SELECT results_eq($$SELECT r.state::text, r.source, r.channel, r.placer_order_number, p.family FROM got g JOIN referral.referral r USING (referral_id) JOIN referral.patient p ON p.patient_id = g.patient_id$$,
    $$VALUES ('received', 'lakeside', 'hl7v2', 'R1', 'Oyelaran')$$, 'the referral knows where it came from');
SELECT results_eq($$SELECT DISTINCT j.origin, j.correlation_id, j.actor, j.actor_kind FROM got g JOIN referral.journal j ON j.entity_id IN (g.referral_id, g.patient_id) WHERE j.entity IN ('referral', 'patient')$$,
    $$VALUES ('lakeside', 'M1', 'intake_feed', 'system')$$, 'the journal has its source and its control id');
SELECT is((SELECT count(*) FROM referral.journal j WHERE j.entity = 'inbox_message' AND j.changes::text ~ 'Oyelaran'), 0::bigint, 'what it holds is not in the journal of messages');
SELECT is((SELECT count(*) FROM referral.journal j WHERE j.entity = 'inbox_message'), 2::bigint, 'which has two rows of it: received, and processed');
SELECT is((SELECT count(*) FROM referral.exception_item WHERE entity = 'inbox_message'), 0::bigint, 'there is nothing for anybody to do about it');

-- 3. The same again, and another under the same key

CREATE TEMP TABLE before AS SELECT count(*) AS n FROM referral.journal WHERE entity <> 'inbox_message';
INSERT INTO got SELECT 2, r.* FROM referral.receive('hl7v2', 'lakeside', NULL, public.ref('R1', 'Oyelaran', 'M1'), 'M1') r;
SELECT results_eq('SELECT b.message_id = a.message_id, b.status = a.status, b.outcome, b.referral_id = a.referral_id, b.patient_id = a.patient_id, b.repeated, b.findings = a.findings FROM got a, got b WHERE a.n = 1 AND b.n = 2',
    $$VALUES (true, true, 'referral_created', true, true, true, true)$$, 'a repeat is answered with the first result');
SELECT results_eq('SELECT m.repeat_count, m.last_repeat_at IS NOT NULL, m.attempts FROM got g, public.row_of(g.message_id) m WHERE g.n = 1', 'VALUES (1, true, 1)', 'and counted');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity <> 'inbox_message'), (SELECT n FROM before), 'nothing else is written');
SELECT is((SELECT count(*) FROM referral.referral), 1::bigint, 'there is one referral');
INSERT INTO got SELECT 3, r.* FROM referral.receive('hl7v2', 'lakeside', NULL, public.ref('R2', 'Brandt', 'M1'), 'M1') r;
SELECT results_eq($$SELECT g.status::text, g.repeated, g.findings, m.dedup_key = 'M1#' || left(encode(m.payload_hash, 'hex'), 16) FROM got g, public.row_of(g.message_id) m WHERE g.n = 3$$,
    $$VALUES ('processed', false, 1, true)$$, 'another message under the same key is one of its own');
SELECT results_eq($$SELECT code, severity FROM referral.data_quality_finding$$, $$VALUES ('dedup_key_reused', 'warning')$$, 'with a finding');
INSERT INTO got SELECT 4, r.* FROM referral.receive('hl7v2', 'lakeside', NULL, public.ref('R2', 'Brandt', 'M1'), 'M1') r;
SELECT results_eq('SELECT b.message_id = a.message_id, b.repeated, b.findings FROM got a, got b WHERE a.n = 3 AND b.n = 4', 'VALUES (true, true, 1)', 'a repeat of that one is told, too');
INSERT INTO got SELECT 5, r.* FROM referral.receive('hl7v2', 'riverside', NULL, public.ref('R1', 'Oyelaran', 'M1'), 'M1') r;
SELECT is((SELECT repeated FROM got WHERE n = 5), false, 'another source has keys of its own');
INSERT INTO got SELECT 6, r.* FROM referral.receive('hl7v2', 'nokey', NULL, public.ref('R3', 'Cole', 'M9')) r;
INSERT INTO got SELECT 7, r.* FROM referral.receive('ehr', 'nokey', 'text/plain', public.ref('R3', 'Cole', 'M9'), '') r;
SELECT results_eq('SELECT b.message_id = a.message_id, b.repeated FROM got a, got b WHERE a.n = 6 AND b.n = 7', 'VALUES (true, true)', 'without a key the payload is the key');
SELECT is((SELECT dedup_key = encode(payload_hash, 'hex') FROM got g, public.row_of(g.message_id) WHERE g.n = 6), true, 'its SHA-256');
INSERT INTO got SELECT 8, r.* FROM referral.receive('hl7v2', 'nokey', NULL, public.ref('R4', 'Long', 'M10'), repeat('key', 5000)) r;
INSERT INTO got SELECT 9, r.* FROM referral.receive('hl7v2', 'nokey', NULL, public.ref('R4', 'Long', 'M10'), repeat('key', 5000)) r;
SELECT results_eq('SELECT b.message_id = a.message_id, b.repeated, length(dedup_key) FROM got a, got b, public.row_of(a.message_id) WHERE a.n = 8 AND b.n = 9', 'VALUES (true, true, 64)', 'of a very long key the hash is kept');

-- 4. What cannot be read

INSERT INTO got SELECT 10, r.* FROM referral.receive('hl7v2', 'lakeside', 'application/hl7-v2', 'MSA|AA|Haze', 'E1') r;
INSERT INTO got SELECT 11, r.* FROM referral.receive('fhir', 'lakeside', 'application/fhir+json', E'{"resourceType": "Patient",\n"family": Haze}', 'E2') r;
INSERT INTO got SELECT 12, r.* FROM referral.receive('portal', 'lakeside', NULL, '{"last": "Haze"}', 'E3') r;
INSERT INTO got SELECT 13, r.* FROM referral.receive('portal', 'lakeside', 'application/json; mapping=none', '{"last": "Haze"}', 'E4') r;
INSERT INTO got SELECT 14, r.* FROM referral.receive('portal', 'lakeside', 'application/json; mapping=test', '{"last": "Haze", "order": "E5", "why": "fail 22012"}', 'E5') r;
INSERT INTO got SELECT 15, r.* FROM referral.receive('portal', 'lakeside', 'application/json; mapping=test', '7', 'E6') r;
INSERT INTO got SELECT 16, r.* FROM referral.receive('flat_file', 'lakeside', 'text/csv; mapping=test', E'last,order\n"Haze,1', 'E7') r;
INSERT INTO got SELECT 17, r.* FROM referral.receive('fhir', 'lakeside', 'application/fhir+json', '{"resourceType": "Basic"}', 'E8') r;
INSERT INTO got SELECT 18, r.* FROM referral.receive('portal', 'lakeside', 'application/json; mapping=test', repeat('{"a":', 50000), 'E9') r;
INSERT INTO got SELECT 19, r.* FROM referral.receive('portal', 'lakeside', 'application/json; mapping=test', '', 'E10') r;
SELECT results_eq('SELECT n, status::text, outcome, error IS NOT NULL FROM got WHERE n BETWEEN 10 AND 19 AND n <> 17 ORDER BY n',
    $$SELECT n, 'error', NULL::text, true FROM unnest('{10,11,12,13,14,15,16,18,19}'::int[]) n$$, 'what cannot be read or written stays with its error');
SELECT results_eq('SELECT n, m.error_code FROM got g, public.row_of(g.message_id) m WHERE n BETWEEN 10 AND 16 ORDER BY n',
    $$VALUES (10, 'RF014'), (11, 'RF014'), (12, 'RF014'), (13, 'RF019'), (14, '22012'), (15, 'RF014'), (16, 'RF014')$$, 'and its SQLSTATE');
SELECT results_eq('SELECT n, m.error_position FROM got g, public.row_of(g.message_id) m WHERE n IN (11, 16) ORDER BY n',
    $$VALUES (11, 'line 2'), (16, 'Line 2: a double quote is not closed.')$$, 'and its position');
SELECT matches((SELECT error FROM got WHERE n = 14), '^22012 in public.trouble\(\) line \d+ at RAISE$', 'an error that is not ours says where it came up');
SELECT is((SELECT string_agg(error || error_position, ',') FROM referral.inbox_message WHERE error || coalesce(error_position, '') ~ 'Haze|Dolores'), NULL, 'no error quotes what the message holds');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity IN ('inbox_message', 'exception_item') AND changes::text ~ 'Haze|Dolores'), 0::bigint, 'nor does the journal');
SELECT results_eq($$SELECT count(*), min(e.severity), min(e.category::text), bool_and(e.detail !~ 'Haze|Dolores') FROM referral.exception_queue e JOIN got g ON e.entity_id = g.message_id
                    WHERE e.entity = 'inbox_message' AND e.code = 'not_processed' AND g.n BETWEEN 10 AND 19 AND g.n <> 17$$,
    $$VALUES (9::bigint, 'high', 'integration', true)$$, 'each is an exception for somebody to look at');
SELECT is((SELECT count(*) FROM referral.patient WHERE family = 'Haze'), 0::bigint, 'nothing of it was written');
SELECT isnt((SELECT status::text FROM got WHERE n = 17), 'received', 'a resource that nobody knows is not left lying');
INSERT INTO got SELECT 20, r.* FROM referral.receive('hl7v2', 'lakeside', 'application/hl7-v2', 'MSA|AA|Haze', 'E1') r;
SELECT results_eq('SELECT b.message_id = a.message_id, b.status::text, b.repeated, b.error = a.error FROM got a, got b WHERE a.n = 10 AND b.n = 20', $$VALUES (true, 'error', true, true)$$, 'a repeat of it is told the error again');
SELECT is(public.code($$SELECT referral.receive('portal', NULL, NULL, 'x')$$), 'RF020', 'a message without a source is refused');
SELECT is(public.code($$SELECT referral.receive('portal', ' ', NULL, 'x')$$), 'RF020', 'an empty one too');
SELECT is(public.code($$SELECT referral.receive('portal', 'x', NULL, NULL)$$), 'RF020', 'and one without a payload');
SELECT is(public.code($$SELECT referral.receive(NULL, 'x', NULL, 'x')$$), 'RF020', 'and one without a channel');
SELECT is(public.code($$SELECT referral.receive('pigeon', 'x', NULL, 'x')$$), '22P02', 'or by a channel that there is not');

SELECT is((SELECT array_agg(DISTINCT m.error_code) FROM unnest(ARRAY['application/json; mapping="gone"', 'application/json;charset=x; Mapping = gone', 'application/json;mapping=gone;x=y']) WITH ORDINALITY t (c, i),
    LATERAL referral.receive('portal', 'named', t.c, '{"last": "Named"}', 'N' || t.i) r, public.row_of(r.message_id) m), '{RF019}', 'a mapping is named as a parameter of the content type is written');
SELECT is((SELECT m.error_code FROM referral.receive('portal', 'named', 'application/json; mapping=', '{"last": "Named"}', 'N9') r, public.row_of(r.message_id) m), 'RF014', 'an empty name names none');

-- 5. Errors of the moment are not the message's

SELECT is(public.code($$SELECT referral.receive('portal', 'lakeside', 'application/json; mapping=test', '{"order": "T1", "why": "fail 40001"}', 'T1')$$), '40001', 'a serialization failure passes through');
SELECT is(public.code($$SELECT referral.receive('portal', 'lakeside', 'application/json; mapping=test', '{"order": "T1", "why": "fail 40P01"}', 'T1')$$), '40P01', 'a deadlock');
SELECT is(public.code($$SELECT referral.receive('portal', 'lakeside', 'application/json; mapping=test', '{"order": "T1", "why": "fail 55P03"}', 'T1')$$), '55P03', 'a lock timeout');
SELECT is(public.cancelled($$SELECT referral.receive('portal', 'lakeside', 'application/json; mapping=test', '{"order": "T1", "why": "fail 57014"}', 'T1')$$), true, 'a cancel');
SELECT is(public.code($$SELECT referral.receive('portal', 'lakeside', 'application/json; mapping=test', '{"order": "T1", "why": "fail 53100"}', 'T1')$$), '53100', 'a full disk');
SELECT is((SELECT count(*) FROM referral.inbox_message WHERE dedup_key = 'T1'), 0::bigint, 'then nothing is stored, and the sender sends it again');
SELECT is((SELECT array_agg(referral.is_passing_error(c) ORDER BY c) FROM unnest('{22012,23505,40001,42501,P0001,RF001,XX000}'::text[]) c), '{f,f,t,f,f,f,f}', 'others are kept');
SELECT is((SELECT status::text FROM referral.receive('portal', 'lakeside', 'application/json; mapping=test', '{"order": "T2", "why": "fail XX000"}', 'T2')), 'error', 'an internal error, too');
SELECT is((SELECT status::text FROM referral.receive('portal', 'lakeside', 'application/json; mapping=test', '{"order": "T3", "why": "fail RF012"}', 'T3')), 'error', 'and a refusal');

-- 6. Mended and processed again

SELECT public.map('patient.given=first referral.placer_order_number=order referral.specialty=dept') \g /dev/null
INSERT INTO got SELECT 30, r.* FROM referral.receive('portal', 'portal', 'application/json; mapping=wrong', '{"last": "Lund", "first": "Ida", "order": "P1", "dob": "1980-02-30"}', 'P1') r;
SELECT results_eq('SELECT status::text, error FROM got WHERE n = 30', $$VALUES ('error', 'RF019 there is no source mapping "wrong"')$$, 'a message whose mapping is not there');
INSERT INTO referral.source_system (source, default_mapping, zone) VALUES ('portal2', 'test', 'America/Chicago');
INSERT INTO got SELECT 31, r.* FROM referral.receive('portal', 'portal2', 'application/json', '{"last": "Lund", "first": "Ida", "order": "P2", "dob": "1980-02-30", "why": "fail 22012"}', 'P2') r;
SELECT results_eq($$SELECT g.status::text, f.code FROM got g LEFT JOIN referral.data_quality_finding f ON f.message_id = g.message_id AND f.code = 'patient_unnamed' WHERE n = 31$$, $$VALUES ('processed', NULL::text)$$, 'one whose mapping leaves out what it needs is processed without');
SELECT is((SELECT family FROM got JOIN referral.patient USING (patient_id) WHERE n = 31), NULL, 'so its patient has no family name');
SELECT public.map('patient.family=last patient.given=first patient.birth_date=dob referral.placer_order_number=order referral.specialty=dept referral.reason_text=why') \g /dev/null
INSERT INTO got SELECT 32, r.* FROM referral.receive('portal', 'portal2', 'application/json', '{"last": "Lund", "first": "Ida", "order": "P3", "dob": "1980-02-30", "why": "fail 22012"}', 'P3') r;
SELECT is((SELECT status::text FROM got WHERE n = 32), 'error', 'a message that cannot be written');
SELECT is((SELECT status::text FROM referral.reprocess(1, (SELECT message_id FROM got WHERE n = 32))), 'error', 'nor the second time');
SELECT results_eq('SELECT m.attempts, m.status::text FROM got g, public.row_of(g.message_id) m WHERE n = 32', $$VALUES (2, 'error')$$, 'which is counted');
SELECT is((SELECT count(*) FROM referral.exception_item e JOIN got g ON g.message_id = e.entity_id WHERE e.entity = 'inbox_message' AND n = 32), 1::bigint, 'its exception stays one');
SELECT public.map('patient.family=last patient.given=first patient.birth_date=dob referral.placer_order_number=order referral.specialty=dept') \g /dev/null
CREATE TEMP TABLE again AS SELECT r.* FROM got g, referral.reprocess(1, g.message_id) r WHERE n = 32;
SELECT results_eq('SELECT status::text, outcome, referral_id IS NOT NULL, error, findings FROM again', $$VALUES ('processed', 'referral_created', true, NULL::text, 1)$$, 'after its mapping was mended it becomes a referral');
SELECT results_eq('SELECT m.attempts, m.status::text, m.error, m.error_code, m.error_position FROM got g, public.row_of(g.message_id) m WHERE n = 32', $$VALUES (3, 'processed', NULL::text, NULL::text, NULL::text)$$, 'and its error is gone');
SELECT results_eq($$SELECT e.status, e.resolution FROM referral.exception_item e JOIN got g ON g.message_id = e.entity_id WHERE e.entity = 'inbox_message' AND e.code = 'not_processed' AND n = 32$$,
    $$VALUES ('resolved', 'the message was processed')$$, 'and its exception is closed');
SELECT ok((SELECT m.mapping_version IS NOT NULL FROM got g, public.row_of(g.message_id) m WHERE n = 32), 'the message knows the version of the mapping');
SELECT is(public.code('SELECT referral.reprocess(1, 999999)'), 'RF019', 'one that is not there');
SELECT is((SELECT count(*) FROM referral.referral r WHERE r.placer_order_number = 'P3'), 1::bigint, 'there is one referral');
CREATE TEMP TABLE snap AS SELECT max(journal_id) AS j FROM referral.journal;
SELECT is((SELECT r.outcome FROM got g, referral.reprocess(1, g.message_id) r WHERE n = 32), 'referral_unchanged', 'processing a processed one again');
SELECT is((SELECT array_agg(DISTINCT entity) FROM referral.journal, snap WHERE journal_id > j), '{inbox_message}', 'changes nothing but the message itself');

-- 7. Findings, and the exceptions that they open

SELECT results_eq($$SELECT f.code, f.severity, f.attribute, f.value, f.position, f.referral_id = g.referral_id, f.resolved_at FROM referral.data_quality_finding f JOIN again g USING (referral_id)$$,
    $$VALUES ('invalid_date', 'warning', 'patient.birth_date', '1980-02-30', 'dob', true, NULL::timestamptz)$$, 'what was wrong is kept with the message');
SELECT results_eq($$SELECT e.category::text, e.code, e.severity, e.entity, e.detail ~ 'patient.birth_date; dob' AND e.detail !~ '1980' FROM referral.exception_queue e JOIN again g USING (referral_id) WHERE e.code = 'invalid_date'$$,
    $$VALUES ('integration', 'invalid_date', 'medium', 'referral', true)$$, 'a birth date that is none is for somebody to look at');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'data_quality_finding' AND changes::text ~ '1980-02-30'), 0::bigint, 'the value is not in the journal');
SELECT public.map('patient.family=last patient.given=first referral.placer_order_number=order referral.specialty=dept') \g /dev/null
SELECT r.status FROM got g, referral.reprocess(1, g.message_id) r WHERE n = 32 \g /dev/null
SELECT ok((SELECT f.resolved_at IS NOT NULL FROM referral.data_quality_finding f JOIN again g USING (referral_id)), 'what is not found any more is resolved');
SELECT is((SELECT count(*) FROM referral.exception_queue e JOIN again g USING (referral_id) WHERE e.code = 'invalid_date'), 0::bigint, 'and its exception closed');
SELECT public.map('patient.family=last patient.given=first patient.birth_date=dob referral.placer_order_number=order referral.specialty=dept referral.reason_text=why') \g /dev/null
UPDATE referral.source_system SET default_mapping = 'test' WHERE source = 'portal2';
SELECT is((SELECT array_agg(referral.finding_needs_person(c, s, a) ORDER BY n) FROM (VALUES (1, 'x', 'error', NULL), (2, 'x', 'warning', NULL), (3, 'patient_unnamed', 'warning', NULL), (4, 'patient_unnamed', 'info', NULL),
    (5, 'invalid_date', 'warning', 'patient.birth_date'), (6, 'invalid_date', 'warning', 'referral.expires_on'), (7, 'unknown_payer', 'warning', 'x'), (8, 'ambiguous_referral', 'warning', 'x'),
    (9, 'transition_refused', 'warning', NULL), (10, 'dedup_key_reused', 'warning', NULL), (11, 'invalid_date', 'warning', NULL),
    (12, 'invalid_code', 'warning', 'referral.urgency'), (13, 'invalid_code', 'warning', 'patient.sex'), (14, 'invalid_code', 'warning', NULL)) v (n, c, s, a)), '{t,f,t,f,t,f,t,t,t,f,f,t,f,f}', 'which findings need a person');
SELECT is((SELECT array_agg(referral.finding_category(c)::text ORDER BY n) FROM unnest('{unknown_payer,possible_duplicate,low_confidence,content_not_indexed,transition_refused,patient_missing}'::text[]) WITH ORDINALITY x (c, n)),
    '{payer_mismatch,duplicate_record,low_confidence,clinical_review,policy,integration}', 'and whose work they are');
SELECT is(referral.note_findings(1, (SELECT message_id FROM got WHERE n = 1), false, '[{"code": "odd", "severity": "fatal"}, {"severity": "info"}, {"code": "odd", "severity": "info"}]'), 2, 'a finding of a severity that there is not is kept all the same, and one only once');
SELECT results_eq($$SELECT f.code, f.severity FROM referral.data_quality_finding f JOIN got g USING (message_id) WHERE n = 1 ORDER BY 1$$, $$VALUES ('invalid_value', 'info'), ('odd', 'warning')$$, 'as a warning; of two that are the same the worse');

-- 8. Parts: a faulty one does not stop the rest

INSERT INTO got SELECT 40, r.* FROM referral.receive('flat_file', 'portal2', 'text/csv', E'last,first,order,why\nAmer,A,C1,\nBede,B,C2,fail 22012\nCato,C,C3,\n', 'C') r;
SELECT results_eq('SELECT status::text, outcome, referral_id IS NOT NULL, error FROM got WHERE n = 40', $$VALUES ('error', 'referral_created', true, '1 of 3 parts: ' || (SELECT error FROM got WHERE n = 14))$$, 'a file with a bad row');
SELECT is((SELECT array_agg(placer_order_number ORDER BY placer_order_number) FROM referral.referral WHERE placer_order_number ~ '^C\d'), '{C1,C3}', 'the others are there');
SELECT is((SELECT count(*) FROM jsonb_array_elements((SELECT m.results FROM got g, public.row_of(g.message_id) m WHERE n = 40)) x WHERE x ->> 'entity' = 'referral'), 2::bigint, 'and in the results');
SELECT public.map('patient.family=last patient.given=first referral.placer_order_number=order') \g /dev/null
SELECT results_eq('SELECT r.status::text, r.outcome FROM got g, referral.reprocess(1, g.message_id) r WHERE n = 40', $$VALUES ('processed', 'mixed')$$, 'mended, the rest of it follows');
SELECT is((SELECT array_agg(placer_order_number ORDER BY placer_order_number) FROM referral.referral WHERE placer_order_number ~ '^C\d'), '{C1,C2,C3}', 'each once');
INSERT INTO got SELECT 41, r.* FROM referral.receive('hl7v2', 'lakeside', NULL, E'FHS|^~\\&|X\r' || public.ref('B1', 'Unu', 'B1') || public.ref('B2', 'Du', 'B2') || E'PID' || E'\rFTS|1\r', 'B') r;
SELECT results_eq('SELECT status::text, outcome FROM got WHERE n = 41', $$VALUES ('processed', 'referral_created')$$, 'a batch of HL7 messages');
SELECT is((SELECT count(*) FROM referral.referral WHERE placer_order_number IN ('B1', 'B2')), 2::bigint, 'is two referrals');
INSERT INTO got SELECT 42, r.* FROM referral.receive('portal', 'portal2', 'application/x-ndjson', E'{"order": "N1"}\n{"order":\n{"order": "N3"}', 'N') r;
SELECT results_eq('SELECT status::text, error FROM got WHERE n = 42', $$VALUES ('error', '1 of 3 parts: RF014 the message is not JSON')$$, 'a line that is no JSON');
SELECT is((SELECT count(*) FROM referral.referral WHERE placer_order_number IN ('N1', 'N3')), 2::bigint, 'does not stop the others');
INSERT INTO got SELECT 43, r.* FROM referral.receive('portal', 'portal2', NULL, '[{"order": "L1"}, {"order": "L2"}]', 'L') r;
SELECT is((SELECT count(*) FROM referral.referral WHERE placer_order_number IN ('L1', 'L2')), 2::bigint, 'a list of records');

-- 9. Echoes, and what needs nothing done

INSERT INTO referral.source_system (source, is_self) VALUES ('HUB_APP', true);
CREATE TEMP TABLE count_before AS SELECT count(*) AS n FROM referral.referral;
INSERT INTO got SELECT 50, r.* FROM referral.receive('hl7v2', 'lakeside', NULL, public.ref('Z1', 'Echo', 'Z1', app => 'HUB_APP'), 'Z1') r;
SELECT results_eq('SELECT status::text, outcome, referral_id, error FROM got WHERE n = 50', $$VALUES ('echo', 'echo', NULL::bigint, NULL::text)$$, 'news of our own change is an echo');
SELECT is((SELECT count(*) FROM referral.referral), (SELECT n FROM count_before), 'and dropped');
INSERT INTO got SELECT 51, r.* FROM referral.receive('hl7v2', 'lakeside', NULL, public.ref('Z2', 'Nobody', 'Z2', type => 'BAR^P01'), 'Z2') r;
SELECT results_eq('SELECT status::text, outcome, error FROM got WHERE n = 51', $$VALUES ('ignored', 'none', NULL::text)$$, 'what asks for nothing is kept and ignored');

-- 10. Documents

INSERT INTO got SELECT 60, r.* FROM referral.receive('fax', 'fax1', 'image/tiff', 'SUkqAA==', 'F1') r;
SELECT results_eq('SELECT status::text, outcome, referral_id, findings FROM got WHERE n = 60', $$VALUES ('processed', 'document_created', NULL::bigint, 1)$$, 'a fax is a document');
SELECT results_eq($$SELECT d.type, d.source, d.content_type, d.content_hash = sha256('SUkqAA=='), d.referral_id, d.url FROM referral.document d JOIN got g ON g.message_id = d.inbox_message_id WHERE n = 60$$,
    $$VALUES ('unindexed', 'fax1', 'image/tiff', true, NULL::bigint, NULL::text)$$, 'that nobody has looked at');
SELECT results_eq($$SELECT e.category::text, e.code, e.severity FROM referral.exception_queue e JOIN got g ON g.message_id = e.entity_id AND e.entity = 'inbox_message' WHERE n = 60$$, $$VALUES ('clinical_review', 'content_not_indexed', 'high')$$, 'so somebody has to');
SELECT is((SELECT r.outcome FROM got g, referral.reprocess(1, g.message_id) r WHERE n = 60), 'document_unchanged', 'processed again it stays one document');
INSERT INTO got SELECT 61, r.* FROM referral.receive('fax', 'fax1', 'application/pdf', 's3://bucket/scan.pdf', 'F2') r;
SELECT is((SELECT d.url FROM referral.document d JOIN got g ON g.message_id = d.inbox_message_id WHERE n = 61), 's3://bucket/scan.pdf', 'a reference is kept as one');
SELECT document_id AS doc FROM referral.document d JOIN got g ON g.message_id = d.inbox_message_id WHERE n = 60 \gset
INSERT INTO referral.extraction (document_id, field, value, confidence, model, model_version)
SELECT :doc, f, v, 1.0, 'm', '1' FROM (VALUES ('patient.family', 'Faxed'), ('patient.given', 'Ann'), ('referral.placer_order_number', 'FX1')) x (f, v);
UPDATE referral.extraction SET status = 'accepted', reviewed_value = value WHERE document_id = :doc AND status = 'in_review';
CREATE TEMP TABLE read AS SELECT r.* FROM got g, referral.reprocess(1, g.message_id) r WHERE n = 60;
SELECT results_eq('SELECT status::text, outcome, findings FROM read', $$VALUES ('processed', 'referral_created', 0)$$, 'once its text was read it becomes a referral');
SELECT is((SELECT d.referral_id FROM referral.document d WHERE d.document_id = :doc), (SELECT referral_id FROM read), 'that has the document');
SELECT is((SELECT count(*) FROM referral.exception_queue e JOIN got g ON g.message_id = e.entity_id AND e.entity = 'inbox_message' WHERE n = 60), 0::bigint, 'and nobody has to look at it any more');

-- 11. Who may send

INSERT INTO referral.source_system (source, logins) VALUES ('bound', '{intake_feed}'), ('nobody', '{}');
INSERT INTO referral.source_system (source, active) VALUES ('gone', false);
SELECT is(public.code($$INSERT INTO referral.source_system (source, zone) VALUES ('x', 'Mars/Olympus')$$), 'RF020', 'a zone that there is not');
SET SESSION AUTHORIZATION intake_feed;
SELECT is((SELECT status::text FROM referral.receive('hl7v2', 'bound', NULL, public.ref('W1', 'Bound', 'W1'))), 'processed', 'the login of a source');
SELECT is(public.code($$SELECT referral.receive('hl7v2', 'nobody', NULL, public.ref('W2', 'Bound', 'W2'))$$), 'RF003', 'another one');
SELECT is(public.code($$SELECT referral.receive('hl7v2', 'gone', NULL, public.ref('W3', 'Bound', 'W3'))$$), 'RF003', 'a source that is not active');
SET SESSION AUTHORIZATION intake_jane;
SELECT is(public.code($$SELECT referral.receive('hl7v2', 'bound', NULL, public.ref('W1', 'Bound', 'W1'))$$), 'RF003', 'a person in the name of a system');
SELECT is((SELECT status::text FROM referral.receive('portal', 'portal2', NULL, '{"order": "J1", "last": "June"}')), 'processed', 'where nothing is said anybody may who has the role');
SELECT is((SELECT r.status::text FROM referral.inbox_message m, referral.reprocess(1, m.message_id) r WHERE m.dedup_key = 'C'), 'processed', 'coordinators process messages again');
SET SESSION AUTHORIZATION intake_reader;
SELECT ok((SELECT count(*) > 0 FROM referral.inbox_outcome), 'auditors read what came in');
SELECT is(public.code($$SELECT referral.receive('portal', 'portal2', NULL, '{"order": "J2"}')$$), '42501', 'and send nothing');
SET SESSION AUTHORIZATION intake_analyst;
SELECT is(public.code('SELECT * FROM referral.inbox_message'), '42501', 'analysts see no messages');
SELECT is(public.code('SELECT * FROM referral.data_quality_finding'), '42501', 'nor findings');
SET SESSION AUTHORIZATION intake_other;
SET referral.org_id = '2';
SELECT is((SELECT count(*) FROM referral.inbox_outcome), 0::bigint, 'another organisation sees none of it');
SELECT is((SELECT repeated FROM referral.receive('hl7v2', 'lakeside', NULL, public.ref('R1', 'Oyelaran', 'M1'), 'M1')), false, 'and has keys of its own');
SELECT is(public.code('SELECT referral.reprocess(1, 1)'), 'RF019', 'it cannot process ours again');
RESET SESSION AUTHORIZATION;
SET referral.org_id = '1';
SELECT is((SELECT count(*) FROM referral.referral WHERE org_id = 2), 1::bigint, 'what it receives is its own');

-- 12. What was sent stays

SELECT is(public.code('DELETE FROM referral.inbox_message'), 'RF007', 'messages are not deleted');
SELECT is(public.code('TRUNCATE referral.inbox_message CASCADE'), 'RF007', 'nor all at once');
SELECT is((SELECT array_agg(DISTINCT public.code(format('UPDATE referral.inbox_message SET %s WHERE message_id = 1', s))) FROM unnest(ARRAY[
    'payload = payload || ''x''', 'payload_hash = ''\x00''', 'source = ''x''', 'dedup_key = ''x''', 'channel = ''fax''', 'content_type = ''x''', 'received_at = now()', 'received_by = ''x''']) s), '{RF007}', 'nor changed');
SELECT lives_ok('UPDATE referral.inbox_message SET payload = payload WHERE message_id = 1', 'to write what is there is no change');
SET SESSION AUTHORIZATION intake_feed;
SELECT is(public.code('UPDATE referral.inbox_message SET payload = payload'), '42501', 'interfaces may not even try');
SELECT is(public.code($$INSERT INTO referral.inbox_message (org_id, channel, source, dedup_key, payload, payload_hash, received_by) VALUES (1, 'fax', 'x', 'x', 'x', 'x', 'jane')$$), '42501', 'nor say who received a message');
SELECT is(public.code('UPDATE referral.data_quality_finding SET code = ''x'''), '42501', 'findings stay, too');
SELECT is((SELECT array_agg(DISTINCT public.code(format('UPDATE referral.inbox_message SET %s', s))) FROM unnest(ARRAY[
    'status = ''processed''', 'outcome = ''referral_created''', 'error = NULL', 'results = ''[]''', 'referral_id = 1', 'processed_at = now()']) s), '{42501}',
    'nor is it said by hand what became of a message');
SELECT is(public.code('UPDATE referral.data_quality_finding SET resolved_at = now()'), '42501', 'or that a finding is settled');
SELECT is(public.code($$SELECT referral.settle_findings(1, 1, '[]')$$), '42501', 'by whatever function');
SELECT is(public.code($$SELECT referral.note_findings(1, 1, true, '[]')$$), '42501', 'of those that do it');
RESET SESSION AUTHORIZATION;

-- 13. What became of each

SELECT results_eq($$SELECT o.dedup_key, o.message_type, o.status::text, o.outcome, o.referral_id IS NOT NULL, o.findings, (SELECT array_agg(e) FROM unnest(o.exceptions) e WHERE e !~ '^(policy|eligibility)/'), o.repeat_count FROM referral.inbox_outcome o
                    WHERE o.org_id = 1 AND (o.source, o.dedup_key) IN (('lakeside', 'M1'), ('lakeside', 'E1'), ('fax1', 'F2')) ORDER BY 1$$,
    $$VALUES ('E1', NULL, 'error', NULL, false, NULL::text[], '{integration/not_processed}'::text[], 1),
             ('F2', NULL, 'processed', 'document_created', false, '{content_not_indexed}', '{clinical_review/content_not_indexed}', 0),
             ('M1', 'REF^I12', 'processed', 'referral_created', true, '{invalid_value,odd}', NULL, 1)$$, 'the report per message');
SELECT is((SELECT count(*) FROM referral.inbox_message WHERE status = 'received'), 0::bigint, 'no message is left unread');
SELECT is((SELECT count(*) FROM referral.verify_coverage('inbox_message')), 0::bigint, 'the journal tells what the messages are');

-- 14. Many at once

CREATE TEMP TABLE staged (last text, first text, "order" text, why text);
INSERT INTO staged SELECT 'Bulk' || i, 'B', 'Q' || i, CASE WHEN i % 100 = 0 THEN 'fail 22012' END FROM generate_series(1, 1200) i;
INSERT INTO staged VALUES ('Bulk1', 'B', 'Q1', NULL);
SELECT public.map('patient.family=last patient.given=first referral.placer_order_number=order referral.reason_text=why') \g /dev/null
CREATE TEMP TABLE bulk (processed bigint, repeated bigint, failed bigint);
CALL referral.receive_batch('staged', 'flat_file', 'bulk', 'text/csv; mapping=test') \gset bulk_
SELECT is(ARRAY[:bulk_processed, :bulk_repeated, :bulk_failed], '{1188,1,12}', 'rows of a table are messages; bad ones stop no others, and a row that is there twice counts once');
SELECT is((SELECT count(*) FROM referral.referral WHERE source = 'bulk'), 1188::bigint, 'each good one is a referral');
SELECT results_eq($$SELECT status::text, count(*), max(repeat_count), bool_and(content_type = 'application/json; mapping=test'), bool_and(channel = 'flat_file') FROM referral.inbox_message WHERE source = 'bulk' GROUP BY 1 ORDER BY 1$$,
    $$VALUES ('error', 12::bigint, 0, true, true), ('processed', 1188, 1, true, true)$$, 'each is kept');
SELECT is((SELECT payload FROM referral.inbox_message m JOIN referral.referral r USING (org_id, referral_id) WHERE r.placer_order_number = 'Q7'), '{"last":"Bulk7","first":"B","order":"Q7","why":null}', 'as the row was');
SELECT is((SELECT count(*) FROM referral.exception_queue e JOIN referral.inbox_message m ON m.message_id = e.entity_id AND e.entity = 'inbox_message' WHERE m.source = 'bulk'), 12::bigint, 'the bad ones are exceptions');
CALL referral.receive_batch('staged', 'flat_file', 'bulk', 'text/csv; mapping=test') \gset bulk_
SELECT is(ARRAY[:bulk_processed, :bulk_repeated, :bulk_failed], '{0,1201,0}', 'the same again changes nothing');
SELECT is((SELECT count(*) FROM referral.referral WHERE source = 'bulk'), 1188::bigint, 'there are as many as before');
SELECT public.map('patient.family=last patient.given=first referral.placer_order_number=order') \g /dev/null
SELECT results_eq($$SELECT * FROM referral.reprocess_errors('bulk', 10)$$, 'VALUES (10::bigint, 0::bigint)', 'after mending, those that failed follow, some at a time');
SELECT results_eq($$SELECT * FROM referral.reprocess_errors('bulk')$$, 'VALUES (2::bigint, 0::bigint)', 'until none is left');
SELECT is((SELECT count(*) FROM referral.referral WHERE source = 'bulk'), 1200::bigint, 'now all are there');
CREATE TEMP TABLE files (payload text, dedup_key text);
INSERT INTO files SELECT public.ref('H' || i, 'File' || i, 'H' || i), 'file' || i FROM generate_series(1, 3) i;
INSERT INTO files VALUES (public.ref('H4', 'File4', 'H4'), 'file1'), (NULL, 'empty'), ('MSH|', NULL);
SET SESSION AUTHORIZATION intake_feed;
CREATE TEMP TABLE mine (payload text, dedup_key text);
RESET SESSION AUTHORIZATION;
INSERT INTO mine TABLE files;
CREATE TABLE public.mine (payload text);    -- another one, for a search_path that comes to it first
GRANT SELECT ON public.mine TO intake_feed;
SET SESSION AUTHORIZATION intake_feed;
CALL referral.receive_batch('mine', 'hl7v2', 'files') \gset bulk_
SELECT is(ARRAY[:bulk_processed, :bulk_repeated, :bulk_failed], '{4,0,2}', 'a column payload is the message, dedup_key its key');
SELECT results_eq($$SELECT dedup_key ~ '^file1(#|$)', count(*) FROM referral.inbox_message WHERE source = 'files' GROUP BY 1 ORDER BY 1$$, 'VALUES (false, 3::bigint), (true, 2)', 'a key that is there twice, with other content, is two messages');
SELECT is(public.code($$CALL referral.receive_batch('mine', 'hl7v2', 'nobody')$$), 'RF003', 'who may not send one may not send many');
SELECT is(public.code($$CALL referral.receive_batch('mine', 'hl7v2', 'files')$$), 'RF020', 'it commits, so not inside a transaction');
BEGIN;
\set ON_ERROR_STOP off
CALL referral.receive_batch('mine', 'hl7v2', 'files') \g /dev/null
\set refused :LAST_ERROR_SQLSTATE
ROLLBACK;
\set ON_ERROR_STOP on
SELECT is(:'refused'::text, 'RF020', 'nor in a transaction block');
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT content_type, regexp_replace(query, 'pg_temp_[0-9]+', 'pg_temp') FROM referral.staging_plan('staged', 'text/csv; mapping=x')$$, $$VALUES ('application/json; mapping=x', 'SELECT row_to_json(t)::text AS payload, NULL::text AS dedup_key FROM pg_temp.staged t')$$, 'how a table is read');
SELECT is(public.code($$SELECT referral.intake_fill(1, '{"f1":"x"}')$$), 'XX000', 'what is no row is not taken for one');
SELECT is(public.code($$SELECT referral.intake_claim(1, ARRAY['x'], '{}', true)$$), 'XX000', 'nor is a number without a system');
SET SESSION AUTHORIZATION intake_feed;
SET search_path = public, pg_temp;
CALL referral.receive_batch('pg_temp.mine', 'hl7v2', 'files') \gset bulk_
RESET search_path;
RESET SESSION AUTHORIZATION;
SELECT is(ARRAY[:bulk_processed, :bulk_repeated, :bulk_failed], '{0,5,1}', 'the table that is named is read, whatever the search_path');

CREATE TABLE public.named (t text, last text);
SELECT is((referral.staging_plan('public.named', NULL)).query, 'SELECT row_to_json(t_)::text AS payload, NULL::text AS dedup_key FROM public.named t_', 'whatever its columns are called');

-- 9. Who writes to the inbox by other ways

INSERT INTO referral.source_system (source, logins) VALUES ('guarded', '{intake_feed}'), ('quiet', NULL);
UPDATE referral.source_system SET active = false WHERE source = 'quiet';
SET SESSION AUTHORIZATION intake_jane;
SELECT is(public.code(format($$INSERT INTO referral.inbox_message (channel, source, dedup_key, payload, payload_hash) VALUES ('hl7v2', %L, 'forged', 'MSH|', '\x00')$$, s.source)), s.code, s.what)
FROM (VALUES ('guarded', 'RF003', 'a source with logins of its own'), ('quiet', 'RF003', 'one that is switched off'), ('open', 'done', 'one that is anybody''s')) s (source, code, what);
INSERT INTO referral.inbox_message (channel, source, dedup_key, payload, payload_hash) VALUES ('hl7v2', 'open', 'forged', 'MSH|', '\x00');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT payload_hash FROM referral.inbox_message WHERE source = 'open'), sha256('MSH|'), 'the hash is that of the payload, whatever is said');
SELECT is(public.code($$SELECT referral.receive('hl7v2', repeat('x', 501), NULL, 'MSH|')$$), 'RF020', 'a source that no index takes');
SELECT is(public.code($$SELECT referral.receive('hl7v2', repeat('x', 500), NULL, 'MSH|')$$), 'done', 'a long one');

-- a source whose zone this server does not know, since a restore brought it
SET session_replication_role = replica;
INSERT INTO referral.source_system (org_id, source, zone, version) VALUES (1, 'mars', 'Mars/Olympus', 1);
SET session_replication_role = origin;
SELECT results_eq(format($$SELECT status::text, error ~ '^22023' FROM referral.receive('hl7v2', 'mars', NULL, %L)$$, public.ref('MZ', 'Zone', 'MZ')), $$VALUES ('error', true)$$, 'a message is kept with the error');
SELECT is(current_setting('TimeZone'), 'UTC', 'and the session''s zone stays');
-- one part is not another
SELECT message_id AS parts_id FROM referral.receive('hl7v2', 'parts', NULL, public.ref('PF1', 'One', 'A', '19761325') || E'\r' || public.ref('PF2', 'Two', 'B', '19761326')) \gset
SELECT is((SELECT array_agg(f.value ORDER BY f.value) FROM referral.data_quality_finding f WHERE f.message_id = :parts_id AND f.code = 'invalid_date'), '{19761325,19761326}', 'each part has findings of its own');
SELECT is((SELECT count(*) FROM referral.exception_item e JOIN referral.referral r USING (org_id, referral_id) WHERE r.placer_order_number LIKE 'PF_' AND e.code = 'invalid_date'), 2::bigint, 'and an exception');
SELECT results_eq(format('SELECT cardinality(o.referrals), o.referral_id = o.referrals[2], (SELECT count(*) FROM unnest(o.exceptions) e WHERE e LIKE ''%%invalid_date'') FROM referral.inbox_outcome o WHERE o.message_id = %s', :parts_id),
    'VALUES (2, true, 1::bigint)', 'the report tells all of its referrals, and the exceptions of each');
SELECT referral.reprocess(1, :parts_id) \g /dev/null
SELECT is((SELECT array_agg(f.value ORDER BY f.value) FROM referral.data_quality_finding f WHERE f.message_id = :parts_id AND f.code = 'invalid_date'), '{19761325,19761326}', 'not twice when they are processed again');

-- what has no number is known by its message
SELECT message_id AS bare_id FROM referral.receive('hl7v2', 'bare', NULL, E'MSH|^~\\&|BARE|A|X|Y|20261101080000+0000||SIU^S12|1|P|2.5.1\rSCH||||||||||||||||||||||||||Booked\rPID|1||SX1^^^BARE^MR||SIUP^SUE||19900101|F') \gset
SELECT message_id AS bare_auth FROM referral.receive('hl7v2', 'bare', NULL, E'MSH|^~\\&|BARE|A|X|Y|20261101080000+0000||RPA^I08|2|P|2.5.1\rRF1|A|R\rPID|1||SX1^^^BARE^MR||SIUP^SUE||19900101|F\rPR1|1||93306^Echo^C4') \gset
CREATE VIEW public.bare AS SELECT (SELECT count(*) FROM referral.appointment WHERE source = 'bare') AS appointments, (SELECT count(*) FROM referral.prior_authorization WHERE source = 'bare') AS authorizations;
SELECT results_eq('TABLE public.bare', 'VALUES (1::bigint, 1::bigint)', 'an appointment and an authorization without numbers');
SELECT referral.reprocess(1, :bare_id), referral.reprocess(1, :bare_auth) \g /dev/null
SELECT results_eq('TABLE public.bare', 'VALUES (1::bigint, 1::bigint)', 'are not written twice when their message is processed again');

-- 10. Late messages, and what fails when it is processed again

SELECT status FROM referral.receive('hl7v2', 'LATE', NULL, replace(replace(public.ref('LT1', 'New', 'A', '19800101'), '20260302101500', '20260305101500'), 'R^Routine', 'S^Stat') || E'\r' || replace(public.ref('LT2', 'New', 'B', '19810101'), '20260302101500', '20260305101500')) \g /dev/null
SELECT message_id AS late_id FROM referral.receive('hl7v2', 'LATE', NULL, public.ref('LT1', 'New', 'C', '19800101')) \gset
SELECT is((SELECT string_agg(urgency::text, ',') FROM referral.referral r WHERE r.placer_order_number = 'LT1'), 'stat', 'a message of several parts is remembered, too');
SELECT is((SELECT string_agg(DISTINCT code || ' ' || severity, ', ') FROM referral.data_quality_finding WHERE message_id = :late_id AND code = 'out_of_order'), 'out_of_order info', 'what is older is known to be');
SELECT message_id AS late_id, referral_id AS late_referral FROM referral.receive('flat_file', 'latecsv', 'application/json; mapping=test', '{"last":"Fails","first":"Later","order":"LT3"}') \gset
UPDATE referral.rule_version SET status = 'retired' WHERE rule_set_id = (SELECT rule_set_id FROM referral.rule_set WHERE name = 'source_mapping/test') AND status = 'active';
SELECT is((SELECT status::text FROM referral.reprocess(1, :late_id)), 'error', 'a message whose mapping is gone');
SELECT results_eq(format('SELECT status::text, outcome, referral_id, jsonb_array_length(results) > 0 FROM referral.inbox_message WHERE message_id = %s', :late_id),
    format($$VALUES ('error', 'referral_created', %s::bigint, true)$$, :late_referral), 'keeps what it wrote when it could be read');


SELECT * FROM finish();
