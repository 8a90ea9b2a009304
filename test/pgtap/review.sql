-- What models read counts only when it is sure enough, or when a person has looked at it; nothing passes unseen.
SELECT plan(145);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
-- brings a value in and tells what became of it
CREATE FUNCTION public.read(document bigint, field text, value text, confidence float8, model text DEFAULT 'ocr') RETURNS text LANGUAGE sql AS $$
    INSERT INTO referral.extraction (document_id, field, value, confidence, model, model_version)
    VALUES (document, field, value, confidence, model, '1') RETURNING status || coalesce(' ' || reason, '')
$$;
CREATE FUNCTION public.last() RETURNS bigint LANGUAGE sql AS 'SELECT max(extraction_id) FROM referral.extraction';

CREATE ROLE review_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE review_mary LOGIN IN ROLE referral_clinician;
CREATE ROLE review_feed LOGIN IN ROLE referral_integration;
CREATE ROLE review_bot LOGIN IN ROLE referral_integration, referral_coordinator;
CREATE ROLE review_other LOGIN IN ROLE referral_coordinator;
CREATE ROLE review_auditor LOGIN IN ROLE referral_auditor;
CREATE ROLE review_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE review_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE review_approver LOGIN IN ROLE referral_rule_approver;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'review_jane', 'user'), (1, 'review_mary', 'user'), (1, 'review_feed', 'system'), (1, 'review_bot', 'ai'),
    (2, 'review_other', 'user'), (1, 'review_auditor', 'user'), (1, 'review_analyst', 'user'),
    (1, 'review_author', 'user'), (1, 'review_approver', 'user');
SET referral.org_id = 1;
INSERT INTO referral.patient (family) VALUES ('Okonkwo');
INSERT INTO referral.referral (patient_id) VALUES (1);
INSERT INTO referral.document (document_id, type, referral_id) VALUES (1, 'unindexed', NULL), (2, 'consult_report', 1), (3, 'unindexed', NULL), (4, 'unindexed', NULL);

-- 1. The shipped thresholds, and what a value must look like

SELECT results_eq($$SELECT minimum, rule_version = (SELECT v.rule_version_id FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id)
        WHERE s.name = 'review/standard' AND v.status = 'active') FROM referral.confidence_threshold_for('unindexed', 'patient.birth_date')$$,
    'VALUES (0.99::float8, true)', 'who a patient is takes nearly certainty');
SELECT is((SELECT minimum FROM referral.confidence_threshold_for(NULL, 'patient.city')), 0.95::float8, 'what has no row of its own falls under the general one');
SELECT is((SELECT min(minimum) FROM referral.confidence_threshold), 0.95::float8, 'nothing ships below 0.95');
SELECT is(referral.canonical_fault(attribute, value), fault, format('%s of %s', value, attribute))
FROM (VALUES ('patient.birth_date', '1976-12-25', NULL), ('patient.birth_date', '1976-13-25', 'it is not written as 2026-11-02, or there is no such day'),
             ('patient.birth_date', '2026-02-29', 'it is not written as 2026-11-02, or there is no such day'), ('patient.birth_date', '2024-02-29', NULL),
             ('patient.birth_date', '0000-01-01', 'it is not written as 2026-11-02, or there is no such day'), ('patient.birth_date', '12/25/1976', 'it is not written as 2026-11-02, or there is no such day'),
             ('patient.birth_date', '1976-12-00', 'it is not written as 2026-11-02, or there is no such day'), ('patient.birth_date', ' ', 'it is empty'),
             ('patient.birth_date', NULL, 'it is empty'), ('patient.sex', 'female', NULL), ('patient.sex', 'F', 'it is none of the codes allowed'),
             ('appointment.starts_at', '2026-11-02T14:30:00Z', NULL), ('appointment.starts_at', '2026-11-02T14:30:00.25-06:00', NULL),
             ('appointment.starts_at', '2026-11-02T14:30', 'it is not written as 2026-11-02T14:30:00Z, or there is no such time'),
             ('appointment.starts_at', '2026-11-02T24:30:00Z', 'it is not written as 2026-11-02T14:30:00Z, or there is no such time'),
             ('coverage.priority', '1', NULL), ('coverage.priority', '99999999999', 'it is no integer'),
             ('referral.expected_value', '12.50', NULL), ('referral.expected_value', '1e5', 'it is no number'),
             ('patient.multiple_birth', 'true', NULL), ('patient.multiple_birth', 'Y', 'it is neither true nor false'),
             ('patient.shoe_size', '43', 'it is no canonical attribute')) t (attribute, value, fault);

SELECT is((SELECT count(*) FROM referral.canonical_attribute() c
           CROSS JOIN unnest(ARRAY['', ' ', 'x', repeat('9', 100), '2026-11-02', '9999-99-99', E'\\x01', '٢٠٢٦-١١-٠٢', '-', '1.', '2026-11-02T25:00:00Z', 'NaN', 'null', '{}']) v
           WHERE length(referral.canonical_fault(c.attribute, v)) > 0), 
          (SELECT count(*) FROM referral.canonical_attribute() c
           CROSS JOIN unnest(ARRAY['', ' ', 'x', repeat('9', 100), '2026-11-02', '9999-99-99', E'\\x01', '٢٠٢٦-١١-٠٢', '-', '1.', '2026-11-02T25:00:00Z', 'NaN', 'null', '{}']) v
           WHERE v !~ '[^ ]' OR (c.type <> 'text' AND NOT (c.type = 'date' AND v = '2026-11-02'))), 'nothing else is taken for a value, and nothing fails');
SELECT lives_ok($$SELECT v::date, (v || 'T12:00:00.123456789-14:59')::timestamptz
    FROM generate_series(1, 3000) n CROSS JOIN LATERAL (SELECT format('%s-%s-%s', lpad((n * 7 % 10000)::text, 4, '0'), lpad((n % 14)::text, 2, '0'), lpad((n * 3 % 33)::text, 2, '0')) AS v) d
    WHERE referral.canonical_fault('patient.birth_date', v) IS NULL AND referral.canonical_fault('appointment.starts_at', v || 'T12:00:00.123456789-14:59') IS NULL$$,
    'what has no fault can be read');

-- 2. Who passes

SET SESSION AUTHORIZATION review_bot;
SELECT is(public.read(1, 'patient.family', 'Smith', 0.99), 'auto_accepted', 'what reaches the threshold passes');
SELECT is(public.read(1, 'patient.given', 'Jo', 0.9899999), 'in_review below_threshold', 'what does not goes to review');
SELECT is(public.read(1, 'patient.birth_date', '1976-13-25', 1), 'in_review invalid_value', 'so does a value that cannot be, however sure the model is');
SELECT is(public.read(1, 'patient.city', 'Springfield', NULL), 'in_review no_confidence', 'so does one without a confidence');
SELECT is(public.read(1, 'patient.state', 'IL', 'NaN'), 'in_review no_confidence', 'or with one that is no number');
SELECT is(public.read(1, 'patient.phone', '217-555-0101', 1.01), 'in_review no_confidence', 'or above 1');
SELECT is(public.read(1, 'patient.email', 'jo@example.org', -0.5), 'in_review no_confidence', 'or below 0');
SELECT is(public.read(1, 'patient.address', 'Oak Street', 'Infinity'), 'in_review no_confidence', 'or infinite');
SELECT is(public.read(1, 'patient.language', NULL, 1), 'in_review invalid_value', 'so does no value at all');
SELECT is(public.read(1, 'patient.family', 'Smith', 0.995, 'other'), 'auto_accepted', 'another model that says the same passes');
SELECT is(public.read(1, 'patient.family', 'Smyth', 1, 'other'), 'in_review contradiction', 'one that says something else does not, though it is sure');
SELECT is(public.read(2, 'patient.family', 'Smyth', 1), 'auto_accepted', 'of another document it does');
SELECT is(public.code($$SELECT public.read(1, 'patient.shoe_size', '43', 1)$$), 'RF020', 'there is no field that the model does not have');
SELECT is(public.code($$SELECT public.read(99, 'patient.city', 'Rome', 1)$$), '23503', 'and no document that is not there');
SELECT is(public.code($$INSERT INTO referral.extraction (document_id, field, value, confidence, model, model_version, status)
    VALUES (1, 'patient.middle', 'X', 0.1, 'ocr', '1', 'accepted')$$), '42501', 'the writer has no say in the status');
RESET SESSION AUTHORIZATION;
INSERT INTO referral.extraction (document_id, field, value, confidence, model, model_version, status, reviewed_by, reviewed_at, reviewed_value, threshold, produced_by)
VALUES (3, 'patient.middle', 'X', 0.1, 'ocr', '1', 'accepted', 'review_jane', now(), 'Y', 0, 'nobody');
SELECT results_eq('SELECT status, reason, reviewed_by, reviewed_at, reviewed_value, threshold, produced_by FROM referral.extraction WHERE document_id = 3',
    $$VALUES ('in_review', 'below_threshold', NULL::text, NULL::timestamptz, NULL::text, 0.95::float8, 'postgres')$$, 'nor has one who may name it');
DELETE FROM referral.exception_item;

-- 3. Who reviews

SELECT public.read(3, 'patient.suffix', 'Jr', 0.5) \g /dev/null
SELECT results_eq($$SELECT category::text, code, severity, blocking, status, entity FROM referral.exception_item WHERE entity_id = public.last()$$,
    $$VALUES ('low_confidence', 'below_threshold', 'medium', false, 'open', 'extraction')$$, 'what goes to review is an exception');
SELECT unalike((SELECT detail FROM referral.exception_item WHERE entity_id = public.last()), '%Jr%', 'which does not say what was read');
SELECT public.last() AS id \gset
SET SESSION AUTHORIZATION review_bot;
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''accept'')', :id)), 'RF003', 'an AI does not review');
SELECT is(public.code(format($$UPDATE referral.extraction SET status = 'accepted' WHERE extraction_id = %s$$, :id)), 'RF003', 'nor by an UPDATE');
SET SESSION AUTHORIZATION review_feed;
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''accept'')', :id)), '42501', 'an interface does not');
SELECT is(public.code(format($$UPDATE referral.extraction SET status = 'accepted' WHERE extraction_id = %s$$, :id)), '42501', 'nor by an UPDATE');
SET SESSION AUTHORIZATION review_jane;
SET referral.actor_kind = 'system';
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''accept'')', :id)), 'RF003', 'nor a person who acts as a system');
RESET referral.actor_kind;
RESET SESSION AUTHORIZATION;
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''accept'')', :id)), 'RF013', 'nobody reviews what he brought in himself');
SET referral.actor_kind = 'ai';
SELECT is(public.code(format($$UPDATE referral.extraction SET status = 'accepted', reviewed_by = 'review_jane', reviewed_at = now() WHERE extraction_id = %s$$, :id)),
    'RF003', 'also the owner of the table cannot, as an AI');
RESET referral.actor_kind;
SET SESSION AUTHORIZATION review_other;
SET referral.org_id = 2;
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''accept'')', :id)), 'RF019', 'another organisation does not see it');
SELECT is((SELECT count(*) FROM referral.extraction_review_queue), 0::bigint, 'nor its queue');
SET referral.org_id = 1;
SET SESSION AUTHORIZATION review_jane;
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''approve'')', :id)), 'RF020', 'a review is accept, correct or reject');
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, NULL)', :id)), 'RF020', 'not nothing');
SELECT is(public.code(format($$UPDATE referral.extraction SET status = 'auto_accepted' WHERE extraction_id = %s$$, :id)), 'RF001', 'nobody makes a row pass on its own');
SELECT is(public.code(format($$UPDATE referral.extraction SET value = 'Sr' WHERE extraction_id = %s$$, :id)), '42501', 'what the model said stays');
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''correct'')', :id)), 'RF020', 'a correction has a value');
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''correct'', ''Jr'')', :id)), 'RF020', 'another one');
SELECT is(referral.review_extraction(1, :id, 'correct', 'Sr'), 'corrected', 'a person corrects');
SELECT results_eq(format('SELECT status, value, reviewed_value, reviewed_by, reviewed_at > produced_at FROM referral.extraction WHERE extraction_id = %s', :id),
    $$VALUES ('corrected', 'Jr', 'Sr', 'review_jane', true)$$, 'with his value and the time; the model''s stays beside it');
SELECT results_eq(format('SELECT status, resolution, resolved_by FROM referral.exception_item WHERE entity_id = %s', :id),
    $$VALUES ('resolved', 'corrected', 'review_jane')$$, 'the exception is settled by that');
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''accept'')', :id)), 'RF005', 'a second review needs a reason');
SELECT is(public.code(format($$UPDATE referral.extraction SET reviewed_value = 'III' WHERE extraction_id = %s$$, :id)), 'RF005', 'so does another value');
UPDATE referral.extraction SET status = 'corrected' WHERE extraction_id = :id;
SELECT is(version, 2::bigint, 'the same again is no review') FROM referral.extraction WHERE extraction_id = :id;
SELECT is(referral.review_extraction(1, :id, 'reject', NULL, 'it is a stain'), 'rejected', 'with one it is done');
SELECT results_eq(format($$SELECT actor, actor_kind, reason, changes #>> '{status,1}', changes -> 'reviewed_value' ->> 1 FROM referral.journal
        WHERE entity = 'extraction' AND entity_id = %s ORDER BY journal_id DESC LIMIT 1$$, :id),
    $$VALUES ('review_jane', 'user', 'it is a stain', 'rejected', NULL::text)$$, 'the journal has it');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM referral.journal j WHERE j.entity = 'extraction' AND j.changes::text ~ '"(Smith|Smyth|Jo|Sr|Jr|Springfield)"'), 0::bigint,
    'what was read is not in the journal');
SELECT is(public.code(format($$UPDATE referral.extraction SET value = 'Sr' WHERE extraction_id = %s$$, :id)), 'RF007', 'not even the owner changes what a model said');
SELECT is(public.code(format($$UPDATE referral.extraction SET confidence = 1 WHERE extraction_id = %s$$, :id)), 'RF007', 'or how sure it was');
SELECT is(public.code(format($$UPDATE referral.extraction SET threshold = 0, reason = NULL WHERE extraction_id = %s$$, :id)), 'RF007', 'or what decided');
SELECT is(public.code(format($$DELETE FROM referral.extraction WHERE extraction_id = %s$$, :id)), 'RF007', 'or makes it go');
SELECT is(public.code('TRUNCATE referral.extraction CASCADE'), 'RF007', 'all of it neither');
UPDATE referral.extraction SET reviewed_by = 'somebody', reviewed_at = '2000-01-01' WHERE extraction_id = :id;
SELECT results_eq(format('SELECT reviewed_by, reviewed_at > now() - interval ''1 hour'' FROM referral.extraction WHERE extraction_id = %s', :id),
    $$VALUES ('review_jane', true)$$, 'who reviewed it and when, the database says');

-- 4. The queue, and the case

SET SESSION AUTHORIZATION review_jane;
SELECT results_eq($$SELECT field, reason, document_type FROM referral.extraction_review_queue WHERE document_id = 1 ORDER BY entity_id$$,
    $$VALUES ('patient.given', 'below_threshold', 'unindexed'), ('patient.birth_date', 'invalid_value', 'unindexed'), ('patient.city', 'no_confidence', 'unindexed'),
             ('patient.state', 'no_confidence', 'unindexed'), ('patient.phone', 'no_confidence', 'unindexed'), ('patient.email', 'no_confidence', 'unindexed'),
             ('patient.address', 'no_confidence', 'unindexed'), ('patient.language', 'invalid_value', 'unindexed'), ('patient.family', 'contradiction', 'unindexed')$$,
    'the queue says what waits and why');
SELECT is((SELECT detail FROM referral.extraction_review_queue WHERE field = 'patient.birth_date'), 'it is not written as 2026-11-02, or there is no such day', 'and what is wrong with a value');
SELECT is(referral.extracted_case(1, 1), NULL, 'while something is in review there is no case');
SELECT is(public.code($$SELECT referral.review_extraction(1, entity_id, 'accept') FROM referral.extraction_review_queue WHERE field = 'patient.birth_date'$$), 'RF020',
    'a value that cannot be is not accepted');
SELECT referral.review_extraction(1, entity_id, 'correct', '1976-12-25') FROM referral.extraction_review_queue WHERE field = 'patient.birth_date' \g /dev/null
SELECT referral.review_extraction(1, entity_id, CASE WHEN field IN ('patient.phone', 'patient.language', 'patient.email', 'patient.address') THEN 'reject' ELSE 'accept' END)
FROM referral.extraction_review_queue WHERE document_id = 1 \g /dev/null
SELECT is(referral.extracted_case(1, 1),
    '{"kind": "patient", "message": {"type": "extraction"}, "extra": {"document_id": 1},
      "patient": {"family": "Smyth", "given": "Jo", "birth_date": "1976-12-25", "city": "Springfield", "state": "IL"}}'::jsonb,
    'then it has what passed and what people say, who outweigh the models; not what was rejected');
SELECT is(referral.extracted_case(1, 4), NULL, 'a document of which nothing was read tells of none');
RESET SESSION AUTHORIZATION;
SELECT is(referral.canonical_case('{"referral.urgency": "urgent", "referral.diagnosis1_code": "M54.5", "referral.diagnosis2_code": "I10", "coverage2.payer_name": "Acme",
        "patient.multiple_birth": "true", "patient.birth_order": "2", "referral.expected_value": "12.50", "patient.sex": "F", "nothing": "x"}'),
    '{"referral": {"urgency": "urgent", "diagnoses": [{"code": "M54.5"}, {"code": "I10"}], "expected_value": 12.50},
      "coverages": [{"priority": 2, "payer": {"name": "Acme"}}], "patient": {"multiple_birth": true, "birth_order": 2}}'::jsonb,
    'attributes stand where a case has them; what they cannot be is left out');
SELECT public.read(4, 'referral.urgency', 'urgent', 1) \g /dev/null
SELECT public.read(4, 'document.title', 'Letter', 1) \g /dev/null
SELECT is(referral.extracted_case(1, 4), '{"kind": "referral", "message": {"type": "extraction"}, "extra": {"document_id": 4}, "referral": {"urgency": "urgent"}}'::jsonb,
    'what a model reads of a referral is one; the document is there already');

-- 5. Classifications

SET SESSION AUTHORIZATION review_bot;
INSERT INTO referral.document_classification (document_id, document_type, confidence, model, model_version)
VALUES (1, 'insurance_card', 0.4, 'sort', '2'), (4, 'referral_letter', 0.97, 'sort', '2'), (2, 'insurance_card', 0.99, 'sort', '2');
SELECT results_eq('SELECT document_id, status, reason, threshold FROM referral.document_classification ORDER BY 1',
    $$VALUES (1::bigint, 'in_review', 'below_threshold', 0.95::float8), (2, 'auto_accepted', NULL, 0.95), (4, 'auto_accepted', NULL, 0.95)$$, 'what a document is goes by the same rules');
SELECT results_eq('SELECT document_id, type FROM referral.document ORDER BY 1', $$VALUES (1::bigint, 'unindexed'), (2, 'consult_report'), (3, 'unindexed'), (4, 'referral_letter')$$,
    'a model names what nobody has named, no more');
INSERT INTO referral.document_classification (document_id, document_type, confidence, model, model_version) VALUES (4, 'consult_report', 1, 'sort', '3');
SELECT results_eq('SELECT status, reason FROM referral.document_classification WHERE model_version = ''3''', $$VALUES ('in_review', 'contradiction')$$, 'models that disagree are for a person to settle');
SELECT is(referral.extracted_case(1, 4), NULL, 'until then there is no case');
SELECT is(public.code('SELECT referral.review_classification(1, 1, ''accept'')'), 'RF003', 'an AI does not review them');
SET SESSION AUTHORIZATION review_mary;
SELECT is(referral.review_classification(1, 1, 'correct', 'referral_letter'), 'corrected', 'a person does');
SELECT is(referral.review_classification(1, 4, 'reject'), 'rejected', 'this one, too');
SELECT is(referral.review_classification(1, 3, 'correct', 'lab_report'), 'corrected', 'and looks at what has passed');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT document_id, type FROM referral.document ORDER BY 1', $$VALUES (1::bigint, 'referral_letter'), (2, 'lab_report'), (3, 'unindexed'), (4, 'referral_letter')$$,
    'the word of a person counts');
SELECT is(public.code('UPDATE referral.document_classification SET document_type = ''x'' WHERE document_classification_id = 1'), 'RF007', 'what the model said stays');
SELECT is(public.code('DELETE FROM referral.document_classification WHERE document_classification_id = 1'), 'RF007', 'for good');
SELECT is(public.code('SELECT referral.review_classification(1, 99, ''accept'')'), 'RF019', 'there is no other');

-- 6. Accuracy

SELECT results_eq($$SELECT model, model_version, month, produced, auto_accepted, in_review, accepted, corrected, rejected, accuracy FROM referral.extraction_accuracy
    WHERE field IN ('document.type', 'patient.birth_date') ORDER BY field, 1, 2$$,
    $$SELECT m.model, m.v, date_trunc('month', now() AT TIME ZONE 'UTC')::date, m.a::bigint, m.b::bigint, 0::bigint, 0::bigint, m.c::bigint, m.d::bigint, 0::float8
      FROM (VALUES ('sort', '2', 3, 1, 2, 0), ('sort', '3', 1, 0, 0, 1), ('ocr', '1', 1, 0, 1, 0)) m (model, v, a, b, c, d)$$, 'how good a model is, by version, field and month');
SELECT is((SELECT accuracy FROM referral.extraction_accuracy WHERE field = 'patient.family' AND model = 'other'), 1::float8, 'of those that people have looked at');
SELECT is((SELECT accuracy FROM referral.extraction_accuracy WHERE field = 'patient.family' AND model = 'ocr'), NULL, 'of none it is not known');
SET SESSION AUTHORIZATION review_analyst;
SELECT ok((SELECT count(*) > 5 FROM referral.extraction_accuracy), 'analysts see it');
SELECT is(public.code('SELECT value FROM referral.extraction'), '42501', 'but not what was read');
RESET SESSION AUTHORIZATION;

-- 7. Nothing passes unseen, and whoever makes it pass all the same is found

SET SESSION AUTHORIZATION review_auditor;
SELECT is_empty('SELECT * FROM referral.silent_pass', 'nothing has passed unseen');
RESET SESSION AUTHORIZATION;
SELECT extraction_id AS passed FROM referral.extraction WHERE status = 'auto_accepted' AND field = 'patient.family' AND document_id = 1 AND model = 'ocr' \gset
SELECT extraction_id AS looked FROM referral.extraction WHERE status = 'accepted' AND field = 'patient.city' \gset
SELECT extraction_id AS waiting FROM referral.extraction WHERE document_id = 3 AND field = 'patient.middle' \gset
CREATE FUNCTION public.unseen(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    -- as somebody who switches the triggers off
    SET LOCAL session_replication_role = replica;
    EXECUTE statement;
    SELECT string_agg(s.why, ', ') INTO found FROM referral.silent_pass s;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
    RETURN found;
END $$;
SELECT is(public.unseen(format($$UPDATE referral.extraction SET status = 'auto_accepted' WHERE extraction_id = %s$$, :waiting)), 'accepted below its threshold', 'a status that was set');
SELECT is(public.unseen(format($$UPDATE referral.extraction SET status = 'auto_accepted', confidence = 1 WHERE extraction_id = %s$$, :waiting)),
    'the journal tells of another confidence or threshold', 'a confidence that was raised');
SELECT is(public.unseen(format($$UPDATE referral.extraction SET status = 'auto_accepted', threshold = 0.05 WHERE extraction_id = %s$$, :waiting)),
    'there never was such a threshold', 'a threshold that was lowered');
SELECT is(public.unseen(format($$UPDATE referral.extraction SET status = 'accepted' WHERE extraction_id = %s$$, :waiting)), 'nobody has reviewed it', 'a review without a reviewer');
SELECT is(public.unseen(format($$UPDATE referral.extraction SET status = 'accepted', reviewed_by = 'review_jane', reviewed_at = now() WHERE extraction_id = %s$$, :waiting)),
    'the journal has no review of it by a person', 'a review that never was');
SELECT is(public.unseen(format($$UPDATE referral.extraction SET confidence = NULL WHERE extraction_id = %s$$, :passed)), 'accepted below its threshold', 'a confidence that is gone');
SELECT is(public.unseen(format($$UPDATE referral.extraction SET confidence = 'NaN' WHERE extraction_id = %s$$, :passed)), 'accepted below its threshold', 'or no number');
SELECT is(public.unseen(format($$UPDATE referral.extraction SET reviewed_by = 'review_mary' WHERE extraction_id = %s$$, :looked)), 'the journal has no review of it by a person', 'another reviewer');
SELECT is(public.unseen($$INSERT INTO referral.extraction (document_id, field, value, confidence, model, model_version, produced_by, status, threshold, confidence_threshold_id, rule_version, version)
    SELECT 3, 'patient.alias', 'X', 1, 'ocr', '1', 'x', 'auto_accepted', t.minimum, t.confidence_threshold_id, t.rule_version, 1 FROM referral.confidence_threshold_for(NULL, 'patient.alias') t$$),
    'the journal tells of another confidence or threshold', 'a row that came in past everything');
SELECT is(public.unseen($$UPDATE referral.document_classification SET confidence = 0.1 WHERE document_classification_id = 2$$), 'accepted below its threshold', 'classifications, too');

-- 8. Thresholds are rules

SET SESSION AUTHORIZATION review_author;
SELECT referral.copy_rule_version((SELECT v.rule_version_id FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id) WHERE s.name = 'review/standard' AND v.status = 'active'),
    'Lab reports are easy to read') AS draft \gset
SELECT is((SELECT count(*) FROM referral.confidence_threshold WHERE rule_version_id = :draft), 22::bigint, 'a copy has all thresholds');
INSERT INTO referral.confidence_threshold (rule_version_id, document_type, field, minimum)
VALUES (:draft, 'lab_report', 'patient.family', 0.7), (:draft, 'lab_report', NULL, 0.6);
SELECT is(public.code(format('INSERT INTO referral.confidence_threshold (rule_version_id, field, minimum) VALUES (%s, ''patient.middle'', ''NaN'')', :draft)), '23514', 'a threshold is a number');
SELECT is(public.code(format('INSERT INTO referral.confidence_threshold (rule_version_id, field, minimum) VALUES (%s, ''patient.middle'', 1.1)', :draft)), '23514', 'of 0 to 1');
SELECT is(public.code(format('INSERT INTO referral.confidence_threshold (rule_version_id, field, minimum) VALUES (%s, ''shoe_size'', 0.5)', :draft)), '23514', 'for an attribute');
SELECT is(public.code(format('INSERT INTO referral.confidence_threshold (rule_version_id, document_type, minimum) VALUES (%s, ''lab_report'', 0.5)', :draft)), '23505', 'once each');
SELECT is(public.code('UPDATE referral.confidence_threshold SET minimum = 0 WHERE rule_version_id <> ' || :draft), 'RF016', 'those in force do not change');
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :draft;
SELECT is(public.code('UPDATE referral.rule_version SET status = ''approved'' WHERE rule_version_id = ' || :draft), 'RF003', 'who writes them does not approve them');
SET SESSION AUTHORIZATION review_approver;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :draft;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :draft;
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT t.minimum FROM (VALUES (1, 'lab_report', 'patient.family'), (2, 'lab_report', 'patient.given'), (3, 'lab_report', 'patient.city'), (4, 'fax', 'patient.city'), (5, NULL, 'patient.given')) a (n, type, field)
    CROSS JOIN LATERAL referral.confidence_threshold_for(a.type, a.field) t ORDER BY a.n$$,
    'SELECT m::float8 FROM unnest(ARRAY[0.7, 0.99, 0.6, 0.95, 0.99]) m', 'type and field come before the field, the field before the type, the type before all');
SELECT is(public.read(2, 'patient.city', 'Rome', 0.61), 'auto_accepted', 'from then on they hold');
SELECT is_empty('SELECT * FROM referral.silent_pass', 'what passed under the former ones still has passed rightly');
UPDATE referral.rule_version SET status = 'retired' WHERE rule_version_id = :draft;
SELECT is(public.read(2, 'patient.state', 'IL', 1), 'in_review no_threshold', 'without rules everything goes to review');
SELECT is_empty('SELECT * FROM referral.silent_pass', 'nothing has passed unseen');

-- 9. What only a person does, no AI does

INSERT INTO referral.rule_set (name, kind) VALUES ('workflow/review', 'workflow');
INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'workflow/review' RETURNING rule_version_id AS v \gset
INSERT INTO referral.workflow (rule_version_id, entity, name, priority, applies_when) VALUES (:v, 'referral', 'review', 1, 'referral_type = ''review''') RETURNING workflow_id AS w \gset
INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, is_entry) VALUES (:w, 'in', 'received', true, true), (:w, 'ok', 'validated', false, true), (:w, 'no', 'declined', false, true);
INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, human_only) VALUES (:w, 'pass', 'in', 'ok', false), (:w, 'refuse', 'in', 'no', true), (:w, 'refuse', 'ok', 'no', true);
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
INSERT INTO referral.referral (patient_id, referral_type) VALUES (1, 'review');
SET SESSION AUTHORIZATION review_bot;
SELECT is(public.code($$UPDATE referral.referral SET state = 'declined' WHERE referral_type = 'review'$$), 'RF003', 'an AI does not decline');
SELECT is(public.code($$SET LOCAL referral.actor_kind = 'user'; UPDATE referral.referral SET state = 'declined' WHERE referral_type = 'review'$$), 'RF003', 'nor one that calls itself a person');
SELECT is(public.code($$UPDATE referral.referral SET state = 'validated' WHERE referral_type = 'review'$$), 'done', 'it may do what is not for people alone');
SET SESSION AUTHORIZATION review_jane;
SELECT is(public.code($$UPDATE referral.referral SET state = 'declined' WHERE referral_type = 'review'$$), 'done', 'a person may');
RESET SESSION AUTHORIZATION;

-- 10. From the fax to the referral

SELECT setval(pg_get_serial_sequence('referral.document', 'document_id'), 100) \g /dev/null
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :draft;
SET SESSION AUTHORIZATION review_feed;
SELECT r.message_id AS fax, r.outcome FROM referral.receive('fax', 'fax-7', 'application/pdf', 'JVBERi0xLjQK', 'page-1') r \gset
SELECT is(:'outcome'::text, 'document_created', 'a fax is a document');
SELECT document_id AS doc FROM referral.document WHERE inbox_message_id = :fax \gset
SELECT is((SELECT string_agg(public.read(:doc, f, v, c), ', ') FROM (VALUES ('patient.family', 'Achebe', 0.999), ('patient.given', 'Nnedi', 0.8), ('patient.birth_date', '1990-05-06', 0.999), ('referral.specialty', 'cardiology', 0.97)) x (f, v, c)),
    'auto_accepted, in_review below_threshold, auto_accepted, auto_accepted', 'a model reads it');
SELECT is((SELECT outcome FROM referral.reprocess(1, :fax)), 'document_unchanged', 'that makes no referral while something is in review');
SELECT is((SELECT count(*) FROM referral.patient WHERE family = 'Achebe'), 0::bigint, 'and no patient');
SET SESSION AUTHORIZATION review_jane;
SELECT referral.review_extraction(1, entity_id, 'correct', 'Nnedimma') FROM referral.extraction_review_queue WHERE document_id = :doc \g /dev/null
SET SESSION AUTHORIZATION review_feed;
SELECT is((SELECT outcome FROM referral.reprocess(1, :fax)), 'referral_created', 'then it does');
RESET SESSION AUTHORIZATION;
SELECT results_eq(format('SELECT p.family, p.given, p.birth_date, r.specialty, d.patient_id = p.patient_id FROM referral.document d JOIN referral.referral r USING (referral_id) JOIN referral.patient p ON p.patient_id = r.patient_id WHERE d.document_id = %s', :doc),
    $$VALUES ('Achebe', 'Nnedimma', '1990-05-06'::date, 'cardiology', true)$$, 'with what passed and what a person said, and the document belongs to it');
SELECT is((SELECT count(*) FROM referral.exception_item x JOIN referral.extraction e ON e.extraction_id = x.entity_id WHERE x.entity = 'extraction' AND e.document_id = :doc AND x.status = 'open'), 0::bigint,
    'nothing is left open');
SELECT outcome FROM referral.reprocess(1, :fax) \g /dev/null
SELECT is((SELECT count(*) FROM referral.referral WHERE patient_id = (SELECT patient_id FROM referral.patient WHERE family = 'Achebe')), 1::bigint, 'the same again makes no other one');
SELECT is_empty('SELECT * FROM referral.silent_pass', 'nothing has passed unseen');

-- a value that a person has rejected comes back only by a person
INSERT INTO referral.document (document_id, type, referral_id) VALUES (50, 'unindexed', NULL);
SET SESSION AUTHORIZATION review_bot;
SELECT is(public.read(50, 'patient.given', 'Adaeze', 1), 'auto_accepted', 'one model passes');
SELECT is(public.read(50, 'patient.given', 'Adaeze', 0.5, 'other'), 'in_review below_threshold', 'another one is not sure');
SET SESSION AUTHORIZATION review_jane;
SELECT referral.review_extraction(1, entity_id, 'reject') FROM referral.extraction_review_queue WHERE document_id = 50 \g /dev/null
SET SESSION AUTHORIZATION review_bot;
SELECT is(referral.extracted_case(1, 50), NULL, 'what a person has rejected does not hold by the word of a model either');
SELECT is(public.read(50, 'patient.given', 'Adaeze', 1, 'third'), 'in_review contradiction', 'nor does it pass when a model says it again');
SET SESSION AUTHORIZATION review_jane;
SELECT referral.review_extraction(1, entity_id, 'accept') FROM referral.extraction_review_queue WHERE document_id = 50 \g /dev/null
SELECT is(referral.extracted_case(1, 50) #>> '{patient,given}', 'Adaeze', 'a person may think better of it');
SET SESSION AUTHORIZATION review_bot;
SELECT is(public.read(50, 'patient.given', 'Adaeze', 1, 'fourth'), 'auto_accepted', 'then it passes again');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION review_bot;
INSERT INTO referral.document_classification (document_id, document_type, confidence, model, model_version) VALUES (50, 'consult_report', 0.3, 'again', '1');
SET SESSION AUTHORIZATION review_mary;
SELECT referral.review_classification(1, entity_id, 'reject') FROM referral.extraction_review_queue WHERE document_id = 50 \g /dev/null
SET SESSION AUTHORIZATION review_bot;
INSERT INTO referral.document_classification (document_id, document_type, confidence, model, model_version) VALUES (50, 'consult_report', 1, 'again', '2');
SELECT is((SELECT status || ' ' || reason FROM referral.document_classification WHERE model = 'again' AND model_version = '2'), 'in_review contradiction',
    'the type of a document neither');
RESET SESSION AUTHORIZATION;

SELECT is_empty(format('SELECT * FROM referral.verify_coverage(%L, 1, NULL)', e), 'the journal tells all of ' || e) FROM unnest(ARRAY['extraction', 'document_classification']) e;

SELECT * FROM finish();
