-- What a referral lacks by the rules, that it is recorded, who is asked for it, and that all of it ends when nothing is missing.
SELECT plan(148);
\ir ../lib/refused.sql
SET referral.org_id = 1;

CREATE ROLE validation_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE validation_admin LOGIN IN ROLE referral_admin;
CREATE ROLE validation_clerk LOGIN IN ROLE referral_scheduler;
CREATE ROLE validation_ann LOGIN IN ROLE referral_rule_author;
CREATE ROLE validation_eve LOGIN IN ROLE referral_rule_approver;
CREATE ROLE validation_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE validation_other LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'validation_jane'), (1, 'validation_admin'), (1, 'validation_clerk'),
    (1, 'validation_analyst'), (2, 'validation_other');

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE FUNCTION public.lacks(id bigint, org bigint DEFAULT 1) RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(v.severity || ' ' || v.code, ', ' ORDER BY v.severity, v.code) FROM referral.validate(org, id) v$$;
CREATE FUNCTION public.trouble(id bigint) RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(e.category || ' ' || e.code, ', ' ORDER BY e.category, e.code) FROM referral.exception_item e
      WHERE e.referral_id = id AND e.status IN ('open', 'in_progress')$$;
CREATE FUNCTION public.outreach(id bigint) RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(c.template || ' ' || c.status, ', ' ORDER BY c.communication_id) FROM referral.communication c WHERE c.referral_id = id$$;
CREATE FUNCTION public.checks(id bigint) RETURNS bigint LANGUAGE sql AS
    'SELECT count(*) FROM referral.validation_result v WHERE v.referral_id = id';

INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date) VALUES
    (1, 1, 'Okonkwo', 'Adaeze', '1980-05-17'), (1, 2, 'Lindqvist', NULL, NULL), (1, 3, ' ', 'Ned', '2031-01-01'), (1, 4, 'Voss', 'Lena', '1890-01-01'),
    (2, 5, 'Zwei', 'Two', '1970-01-01');
INSERT INTO referral.payer (payer_id, name) VALUES (1, 'Acme Health'), (2, 'Other Health');
INSERT INTO referral.coverage (coverage_id, patient_id, payer_id, period) VALUES (1, 1, 1, '[2020-01-01,)'), (2, 2, 1, '[2020-01-01,2020-12-31]'), (3, 3, NULL, '(,)');
INSERT INTO referral.practitioner (practitioner_id, name) VALUES (1, 'Miriam Oyelaran');
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, reason_text, requester_id, service_text, source) VALUES
    (1, 1, 1, 'cardiology', 'chest pain', 1, 'consultation', 'ehr'), (1, 2, 2, 'cardiology', ' ', NULL, NULL, 'ehr'), (1, 3, 3, 'cardiology', 'x', 1, 'y', 'fax'),
    (1, 4, 4, 'cardiology', 'x', 1, 'y', 'fax'), (1, 5, NULL, NULL, NULL, NULL, NULL, NULL), (2, 6, 5, NULL, 'x', NULL, 'y', NULL);

-- 1. The shipped rules

SELECT is(public.lacks(1), NULL, 'a referral with everything lacks nothing');
SELECT is(public.lacks(2), 'missing birth_date, missing coverage, missing reason, missing requester, warning service',
    'blank is missing, and so is coverage that has ended');
SELECT is(public.lacks(3), 'invalid birth_date_plausible, missing patient_name', 'a birth in the future is invalid, a blank name missing; coverage without a payer is one');
SELECT is(public.lacks(4), 'invalid birth_date_plausible, missing coverage', 'a birth 130 years ago is invalid');
SELECT is(public.lacks(5), 'missing coverage, missing patient, missing reason, missing requester, missing specialty, warning service',
    'of an unknown patient nothing further is asked');
UPDATE referral.referral SET coverage_id = 2 WHERE referral_id = 2;
SELECT is(public.lacks(2), 'missing birth_date, missing reason, missing requester, warning service', 'the coverage that the referral names counts, whatever its period');
UPDATE referral.referral SET coverage_id = 1 WHERE referral_id = 2;
SELECT is(public.lacks(2), 'missing birth_date, missing coverage, missing reason, missing requester, warning service', 'but not somebody else''s');
UPDATE referral.referral SET coverage_id = NULL WHERE referral_id = 2;
SELECT results_eq($$SELECT kind, field_or_document, message, how_to_fix, template, rule_version FROM referral.validate(1, 2) WHERE code = 'birth_date'$$,
    $$SELECT 'field', 'patient.birth_date', 'the patient''s date of birth is not known', 'Record the patient''s birth_date.', 'missing_information', v.rule_version_id
      FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id) WHERE s.name = 'validation/standard'$$, 'a finding says what, how to mend it, and by which rules');
SELECT is(referral.is_complete(1, 1), true, 'complete');
SELECT is(referral.is_complete(1, 2), false, 'not complete');
UPDATE referral.referral SET service_text = NULL WHERE referral_id = 1;
SELECT is(public.lacks(1), 'warning service', 'a warning');
SELECT is(referral.is_complete(1, 1), true, 'leaves it complete');
UPDATE referral.referral SET service_text = 'consultation' WHERE referral_id = 1;
SELECT is((SELECT code || message FROM public.refused('SELECT * FROM referral.validate(1, 99)')), 'RF019there is no referral 99 in organisation 1', 'a referral that is not there');
SELECT is(public.code('SELECT referral.is_complete(1, 99)'), 'RF019', 'is neither complete');
SELECT is(public.code('SELECT referral.check_referral(1, 99)'), 'RF019', 'nor checked');
SELECT is((SELECT count(*) FROM referral.validate(NULL, 1)) + (SELECT count(*) FROM referral.missing_documents(1, NULL)), 0::bigint, 'null: nothing');
SELECT is(referral.check_referral(1, NULL), NULL, 'null: no check');
SELECT is((SELECT count(*) FROM referral.validation_result), 0::bigint, 'asking writes nothing');

-- 2. Documents

UPDATE referral.referral SET specialty = 'Radiology', channel = 'fax', urgency = 'urgent' WHERE referral_id = 1;
SELECT is(public.lacks(1), 'missing imaging_order, warning urgent_clinical_note', 'documents that a rule wants');
SELECT results_eq('SELECT document_type, severity, code FROM referral.missing_documents(1, 1) ORDER BY 1',
    $$VALUES ('clinical_note', 'warning', 'urgent_clinical_note'), ('order', 'missing', 'imaging_order')$$, 'missing_documents()');
SELECT is(referral.check_referral(1, 1), false, 'a check says that it is incomplete');
SELECT results_eq('SELECT is_first_pass, passed, missing, invalid, warnings, jsonb_array_length(findings), checked_by, cardinality(rule_versions) FROM referral.validation_result WHERE referral_id = 1',
    $$VALUES (true, false, 1, 0, 1, 2, 'postgres', 1)$$, 'and keeps what it found');
SELECT is(public.trouble(1), 'missing_document imaging_order', 'it opens an exception, not for warnings');
SELECT results_eq('SELECT entity, entity_id, blocking, detail FROM referral.exception_item WHERE referral_id = 1',
    $$VALUES ('referral', 1::bigint, true, 'the signed order for imaging is not there')$$, 'which holds the referral up');
SELECT is(public.outreach(1), 'missing_document preparation', 'and drafts a letter');
SELECT is((SELECT body FROM referral.communication WHERE referral_id = 1),
    format(E'Organisation 1 received a referral to Radiology on %s.\nPatient: Adaeze Okonkwo, born 1980-05-17\n\nThese documents are not with it:\n- the signed order for imaging is not there\n\nPlease send them with the number 1.', (now() AT TIME ZONE 'UTC')::date),
    'which says who, and what is missing');
SELECT results_eq('SELECT recipient, medium, subject, drafted_by_kind, patient_id, template_version IS NOT NULL FROM referral.communication WHERE referral_id = 1',
    $$VALUES ('requester', 'fax', 'Referral 1: document needed', 'system', 1::bigint, true)$$, 'to the requester');
SELECT results_eq('SELECT referral_id, template, recipient, status, send_to FROM referral.outreach_to_send',
    $$VALUES (1::bigint, 'missing_document', 'requester', 'preparation', 'Miriam Oyelaran')$$, 'it waits to be sent');
SELECT results_eq('SELECT referral_id, document_type, severity, asked_at FROM referral.missing_document ORDER BY 2',
    $$VALUES (1::bigint, 'clinical_note', 'warning', NULL::timestamptz), (1, 'order', 'missing', NULL)$$, 'missing_document lists what the last check found');
CREATE TABLE public.journal_before AS SELECT max(journal_id) AS id FROM referral.journal;
SELECT is(referral.check_referral(1, 1), false, 'a check that finds the same');
SELECT is((SELECT max(journal_id) FROM referral.journal), (SELECT id FROM public.journal_before), 'writes nothing');
UPDATE referral.exception_item SET status = 'dismissed', resolution = 'came by phone' WHERE referral_id = 1;
SELECT is(referral.check_referral(1, 1), false, 'it is still incomplete');
SELECT is(public.trouble(1), NULL, 'but what a person dismissed stays dismissed');
INSERT INTO referral.document (referral_id, type, status) VALUES (1, 'order', 'superseded');
SELECT is(public.checks(1), 1::bigint, 'a document that is not current changes nothing');
INSERT INTO referral.document (document_id, referral_id, type) VALUES (10, NULL, 'order');
SELECT is(public.checks(1), 1::bigint, 'nor does one that belongs to no referral');
UPDATE referral.document SET referral_id = 1 WHERE document_id = 10;
SELECT is(public.checks(1), 2::bigint, 'when it is found to belong to it, the referral is checked');
SELECT is(public.lacks(1), 'warning urgent_clinical_note', 'and has its order');
SELECT is((SELECT passed FROM referral.validation_result WHERE referral_id = 1 ORDER BY 1 DESC LIMIT 1), true, 'so it passes');
SELECT is(public.outreach(1), 'missing_document not-done', 'the draft is not wanted any more');
INSERT INTO referral.document (referral_id, type) VALUES (1, 'clinical_note');
SELECT is(public.checks(1), 3::bigint, 'a document that arrives is noticed');
SELECT is(public.lacks(1), NULL, 'nothing is missing');
INSERT INTO referral.document (referral_id, type) VALUES (1, 'photo');
SELECT is(public.checks(1), 3::bigint, 'nothing more is looked for then');
UPDATE referral.document SET status = 'entered-in-error' WHERE document_id = 10;
SELECT is(public.trouble(1), 'missing_document imaging_order', 'a document that is taken away is missing again');
SELECT is((SELECT reopen_count FROM referral.exception_item WHERE referral_id = 1), 1, 'the same exception is open again');
SELECT is(public.outreach(1), 'missing_document not-done, missing_document preparation', 'with a new draft');
UPDATE referral.document SET status = 'current' WHERE document_id = 10;
SELECT is(public.trouble(1), NULL, 'it comes back');
UPDATE referral.document SET referral_id = 2 WHERE document_id = 10;
SELECT is(public.trouble(1), 'missing_document imaging_order', 'it goes to another referral: both are looked at');
SELECT is(public.checks(2), 0::bigint, 'but not one that was never checked');
UPDATE referral.document SET referral_id = 1 WHERE document_id = 10;
SELECT is((SELECT count(*) FROM referral.validation_result WHERE referral_id = 1 AND is_first_pass), 1::bigint, 'one check was the first');
SELECT is((SELECT passed FROM referral.validation_result WHERE referral_id = 1 AND is_first_pass), false, 'which did not pass, and that stays');

-- 3. Fields: exceptions and drafts that follow what is missing

SELECT is(referral.check_referral(1, 2), false, 'fields are missing');
SELECT is(public.trouble(2), 'eligibility coverage, policy birth_date, policy reason, policy requester', 'coverage is a matter of eligibility, the rest of policy');
SELECT is(public.outreach(2), 'missing_information preparation', 'one draft asks for all of it');
SELECT ok(position(E'- no coverage of the patient is known\n- the patient''s date of birth is not known\n- the reason for the referral is not given' IN body) > 0,
    'line by line') FROM referral.communication WHERE referral_id = 2;
SELECT ok(position('who refers' IN body) = 0, 'but for what has no template') FROM referral.communication WHERE referral_id = 2;
UPDATE referral.patient SET birth_date = '1999-09-09' WHERE patient_id = 2;
SELECT is(referral.check_referral(1, 2), false, 'something came');
SELECT is(public.trouble(2), 'eligibility coverage, policy reason, policy requester', 'its exception is closed');
SELECT results_eq($$SELECT status, resolution FROM referral.exception_item WHERE referral_id = 2 AND code = 'birth_date'$$,
    $$VALUES ('resolved', 'In order now: a later check found nothing wrong.')$$, 'and says why');
SELECT ok(position('date of birth is' IN body) = 0 AND position('born 1999-09-09' IN body) > 0, 'the draft follows') FROM referral.communication WHERE referral_id = 2;
SELECT results_eq('SELECT send_to, problem FROM referral.outreach_to_send WHERE referral_id = 2', $$VALUES (NULL::text, 'nobody is known to send it to: complete the referral')$$, 'where nobody is known who could be asked, the draft says so');
SELECT results_eq($$SELECT code, what_to_do FROM referral.exception_queue WHERE referral_id = 2 ORDER BY 1$$,
    $$VALUES ('coverage', 'Record the patient''s coverage; for who pays himself, one without a payer. Then call check_patient().'),
             ('reason', 'Set reason_code (a diagnosis) or reason_text. Then call check_referral().'),
             ('requester', 'Set requester_id or requesting_organization_id. Then call check_referral().')$$, 'the queue says how each is mended');
UPDATE referral.communication SET approved_by = 'Dr. Nobody', approved_at = '2000-01-01', body = 'My own words' WHERE referral_id = 2;
SELECT ok(approved_by = referral.current_actor() AND approved_at > now() - interval '1 hour', 'who approves a draft is noted, and when') FROM referral.communication WHERE referral_id = 2;
UPDATE referral.referral SET reason_text = 'palpitations' WHERE referral_id = 2;
SELECT is(referral.check_referral(1, 2), false, 'more came');
SELECT is((SELECT body FROM referral.communication WHERE referral_id = 2), 'My own words', 'what a person has approved is not written over');
UPDATE referral.communication SET status = 'completed' WHERE referral_id = 2;
SELECT ok(sent_at > now() - interval '1 hour', 'and when it was sent') FROM referral.communication WHERE referral_id = 2;
UPDATE referral.patient SET given = 'Sven' WHERE patient_id = 2;
SELECT is(referral.check_referral(1, 2), false, 'what was asked for is still missing');
SELECT is(public.outreach(2), 'missing_information completed', 'it is not asked for twice');
UPDATE referral.patient SET family = '' WHERE patient_id = 2;
SELECT is(referral.check_referral(1, 2), false, 'something new is missing');
SELECT is(public.outreach(2), 'missing_information completed, missing_information preparation', 'which is asked for');
UPDATE referral.patient SET family = '{{missing}} {{', given = '{{patient_birth_date}}' WHERE patient_id = 2;
SELECT is(referral.check_referral(1, 2), false, 'a name like a placeholder');
INSERT INTO referral.referral (referral_id, patient_id, specialty) VALUES (7, 2, 'ent');
SELECT is(referral.check_referral(1, 7), false, 'is checked');
SELECT ok(position('Patient: {{patient_birth_date}} {{missing}} {{, born 1999-09-09' IN body) > 0, 'and stays as it is') FROM referral.communication WHERE referral_id = 7;

-- 4. The end of a referral, and its reopening

SELECT is(public.trouble(7), 'eligibility coverage, policy reason, policy requester', 'open exceptions');
SET SESSION AUTHORIZATION validation_admin;
UPDATE referral.referral SET state = 'cancelled', status_reason = 'no_longer_needed' WHERE referral_id = 7;
RESET SESSION AUTHORIZATION;
SELECT is(public.trouble(7), NULL, 'are closed with the referral, whoever ends it');
SELECT is(public.outreach(7), 'missing_information not-done', 'so are drafts');
SELECT is((SELECT max(resolved_by) FROM referral.exception_item WHERE referral_id = 7), 'validation_admin', 'in his name');
SELECT is((SELECT count(*) FROM referral.validation_result WHERE referral_id = 7), 2::bigint, 'on record');
SELECT is(referral.check_referral(1, 7), true, 'nothing is wanted any more');
SELECT is(public.checks(7), 2::bigint, 'and nothing looked for');
SET referral.reason = 'was needed after all';
UPDATE referral.referral SET state = 'validated', specialty = 'ent' WHERE referral_id = 7;
RESET referral.reason;
SELECT is(public.trouble(7), NULL, 'reopened') ;
SELECT is(referral.check_referral(1, 7), false, 'it is checked anew');
SELECT is(public.trouble(7), 'eligibility coverage, policy reason, policy requester', 'and everything is open again');

-- 5. KPI

SELECT is(referral.check_referral(1, 3), false, 'third');
UPDATE referral.patient SET family = 'Ned', birth_date = '1950-01-01' WHERE patient_id = 3;
SELECT is(referral.check_referral(1, 3), true, 'mended');
INSERT INTO referral.referral (referral_id, patient_id, specialty, reason_text, requester_id, service_text, source) VALUES (8, 1, 'cardiology', 'x', 1, 'y', 'fax');
SELECT is(referral.check_referral(1, 8), true, 'right at once');
SELECT results_eq($$SELECT month, checked, passed, percent FROM referral.first_pass WHERE org_id = 1 AND specialty = 'cardiology' AND source = 'fax'$$,
    $$SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date, 2::bigint, 1::bigint, 50.0$$, 'first_pass counts first checks only');

-- 6. Rules of one's own: scope, conditions, versions

SET SESSION AUTHORIZATION validation_ann;
SELECT referral.copy_rule_version(v.rule_version_id, 'stricter') AS v2 FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id)
WHERE s.name = 'validation/standard' \gset
SELECT set_config('test.v2', :'v2', false) \g /dev/null
SELECT is((SELECT count(*) FROM referral.required_field_rule WHERE rule_version_id = :v2) + (SELECT count(*) FROM referral.document_requirement WHERE rule_version_id = :v2),
    11::bigint, 'copy_rule_version() takes all rules along');
CREATE FUNCTION pg_temp.rule(columns text, value_list text) RETURNS text LANGUAGE sql AS $$
    SELECT format('INSERT INTO referral.required_field_rule (rule_version_id, name, message, how_to_fix, %s) VALUES (%s, ''new'', ''m'', ''h'', %s)',
                  columns, current_setting('test.v2'), value_list)
$$;
SELECT is((SELECT code || ' ' || message || ' ' || detail FROM public.refused(pg_temp.rule('field', $$'specialities'$$))),
    'RF011 field "specialities" of required field rule "new" does not exist referral.referral has no column specialities.', 'a field that is none');
SELECT is(public.code(pg_temp.rule('field', quote_literal(f))), 'RF011', 'nor is ' || f)
FROM unnest(ARRAY['patient.', 'patient.payer_id', 'payer.name', 'coverage.period.x', '', 'ctid', 'patient.demographics']) f;
SELECT is(public.code(pg_temp.rule('field, applies_when', $$'specialty', 'birth_date IS NULL'$$)), 'RF011', 'applies_when is about the referral');
SELECT is(public.code(pg_temp.rule('field, condition', $$'patient.phone', 'specialty IS NULL'$$)), 'RF011', 'a condition about the row of its field');
SELECT is(public.code(pg_temp.rule('field, condition', $$'patient.phone', 'phone'$$)), 'RF011', 'and boolean');
SELECT is(public.code(pg_temp.rule('field, scope_payer_id', $$'specialty', 1$$)), '23514', 'a payer is one of an organisation');
SELECT is(public.code(pg_temp.rule('field, severity', $$'specialty', 'fatal'$$)), '23514', 'three severities');
SELECT is(public.code(format($$INSERT INTO referral.document_requirement (rule_version_id, name, document_type, applies_when, message, how_to_fix) VALUES (%s, 'd', 'x', 'nonsense', 'm', 'h')$$, :v2)),
    'RF011', 'a document requirement is checked, too');
INSERT INTO referral.required_field_rule (rule_version_id, name, field, applies_when, condition, severity, message, how_to_fix, template,
                                          scope_org_id, scope_specialty, scope_referral_type, scope_payer_id)
VALUES (:v2, 'group', 'coverage.group_number', NULL, NULL, 'warning', 'no group number', 'Add it.', NULL, NULL, NULL, NULL, NULL),
       (:v2, 'adult', 'patient.birth_date', NULL, 'birth_date <= current_date - 6574', 'invalid', 'not an adult', 'Refer to paediatrics.', NULL, NULL, 'Cardiology', NULL, NULL),
       (:v2, 'typed', 'referral_type', NULL, 'false', 'missing', 'typed', 'x', NULL, NULL, NULL, 'coordination', NULL),
       (:v2, 'paid', 'expected_value', NULL, NULL, 'missing', 'paid', 'x', NULL, 1, NULL, NULL, 2),
       (:v2, 'of_two', 'specialty', NULL, 'false', 'missing', 'two', 'x', NULL, 2, NULL, NULL, NULL),
       (:v2, 'channel', 'channel', 'source = ''fax''', NULL, 'missing', 'no channel', 'x', 'nobody', NULL, NULL, NULL, NULL);
SELECT is((SELECT code || ' ' || message FROM public.refused(format('UPDATE referral.rule_version SET status = ''submitted'' WHERE rule_version_id = %s', :v2))),
    'RF011 outreach template "nobody" is not active', 'a template that is not there is found at submission');
UPDATE referral.required_field_rule SET template = 'missing_information' WHERE rule_version_id = :v2 AND name = 'channel';
DELETE FROM referral.required_field_rule WHERE rule_version_id = :v2 AND name = 'patient_name';
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :v2;
SET SESSION AUTHORIZATION validation_eve;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :v2;
RESET SESSION AUTHORIZATION;
SELECT is(public.lacks(8), NULL, 'rules that are not active do not count');
SET SESSION AUTHORIZATION validation_eve;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v2;
RESET SESSION AUTHORIZATION;
SELECT is(public.lacks(8), 'missing channel, warning group', 'active ones do, where they apply: over coverage, applies_when');
UPDATE referral.patient SET birth_date = current_date - 400 WHERE patient_id = 1;
SELECT is(public.lacks(8), 'invalid adult, missing channel, warning group', 'over the patient, in the specialty, however it is written');
UPDATE referral.referral SET specialty = 'paediatrics', payer_id = 2 WHERE referral_id = 8;
SELECT is(public.lacks(8), 'missing channel, missing paid, warning group', 'not in another; by payer');
SELECT is(public.lacks(6, 2), 'missing coverage, missing of_two, missing requester, missing specialty', 'by organisation');
INSERT INTO referral.referral (referral_id, referral_type) VALUES (9, 'coordination');
SELECT ok(public.lacks(9) LIKE '%missing typed%', 'by type');
UPDATE referral.patient SET birth_date = '1980-05-17' WHERE patient_id = 1;
UPDATE referral.referral SET payer_id = 1 WHERE referral_id = 8;
SELECT is(referral.check_referral(1, 8), false, 'a check by new rules');
SELECT results_eq('SELECT rule_versions, is_first_pass FROM referral.validation_result WHERE referral_id = 8 ORDER BY validation_result_id DESC LIMIT 1',
    format('VALUES (ARRAY[%s::bigint], false)', :v2), 'says so');
UPDATE referral.referral SET channel = 'fax' WHERE referral_id = 8;
SELECT is(referral.check_referral(1, 8), true, 'mended');
SET client_min_messages = error;
UPDATE referral.rule_version SET status = 'retired' WHERE rule_version_id = :v2;
SELECT is(public.lacks(2), NULL, 'without active rules nothing is asked');
RESET client_min_messages;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v2;
SELECT is((SELECT count(*) FROM referral.broken_rules()), 0::bigint, 'no rule is broken');
ALTER TABLE referral.referral ADD COLUMN floor text;
SELECT referral.copy_rule_version(:v2, 'floor') AS v3 \gset
INSERT INTO referral.required_field_rule (rule_version_id, name, field, message, how_to_fix) VALUES (:v3, 'floor', 'floor', 'm', 'h');
INSERT INTO referral.document_requirement (rule_version_id, name, document_type, applies_when, message, how_to_fix) VALUES (:v3, 'floor', 'plan', 'floor = ''3''', 'm', 'h');
ALTER TABLE referral.referral DROP COLUMN floor;
SELECT results_eq('SELECT rule FROM referral.broken_rules() ORDER BY 1', $$VALUES ('applies_when of document requirement floor'), ('condition of required field rule floor')$$,
    'broken_rules() lists those of validation');
SELECT is(public.code(format('UPDATE referral.rule_version SET status = ''submitted'' WHERE rule_version_id = %s', :v3)), 'RF011', 'and they cannot be submitted');
DELETE FROM referral.rule_version WHERE rule_version_id = :v3;

-- 7. Templates: who may be told what

SELECT referral.copy_rule_version(v.rule_version_id, 'more') AS t2 FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id)
WHERE s.name = 'outreach/standard' \gset
CREATE FUNCTION pg_temp.template(recipient text, body text, name text DEFAULT 't', language text DEFAULT 'en') RETURNS text LANGUAGE sql AS $$
    SELECT format('INSERT INTO referral.outreach_template (rule_version_id, name, language, recipient, medium, body) VALUES (%s, %L, %L, %L, ''phone'', %L)',
                  current_setting('test.t2'), name, language, recipient, body)
$$;
SELECT set_config('test.t2', :'t2', false) \g /dev/null
SELECT is((SELECT code || ' ' || detail FROM public.refused(pg_temp.template('patient', 'Born {{patient_birth_date}}, {{specialty}}'))),
    'RF011 Not a placeholder for the patient: patient_birth_date, specialty.', 'a patient is not told more than he needs');
SELECT is(public.code(pg_temp.template('requester', '{{subscriber_id}}')), 'RF011', 'nor is a requester');
SELECT is(public.code(pg_temp.template('payer', '{{subscriber_id}} {{patient_name}} {{missing}}')), 'done', 'a payer is told the number');
SELECT is(public.code(pg_temp.template('payer', b)), 'RF011', b || ' is no placeholder') FROM unnest('{"{{name}}","{{}}","{{missing","missing}}","{{ missing }}","{{missing}}}}"}'::text[]) b;
SELECT is(public.code(pg_temp.template('everybody', 'x')), '23514', 'there are four recipients');
SELECT lives_ok(pg_temp.template('patient', 'Dear {{patient_given}}, call {{organization}}: {{missing}}', 'ask_patient'));
SELECT lives_ok(pg_temp.template('patient', 'Hej {{patient_given}}, ring {{organization}}', 'ask_patient', 'sv'));
SELECT lives_ok(pg_temp.template('requester', 'english', 'ask_requester'));
SELECT lives_ok(pg_temp.template('requester', 'svenska', 'ask_requester', 'sv'));
SET client_min_messages = error;
ALTER TABLE referral.rule_version DISABLE TRIGGER rule_version_guard;
UPDATE referral.rule_version SET status = CASE rule_version_id WHEN :t2 THEN 'active' ELSE 'retired' END::referral.rule_status
WHERE rule_set_id = (SELECT rule_set_id FROM referral.rule_version WHERE rule_version_id = :t2);
ALTER TABLE referral.rule_version ENABLE TRIGGER rule_version_guard;
RESET client_min_messages;
UPDATE referral.patient SET family = 'Lindqvist', given = 'Sven', language = 'sv-SE', phone = '555-0100' WHERE patient_id = 2;
INSERT INTO referral.referral (referral_id, patient_id) VALUES (20, 2), (21, 1);
SELECT referral.draft_outreach(1, r, '[]', '[{"kind": "field", "code": "a", "message": "the phone", "template": "ask_patient"}, {"kind": "field", "code": "b", "message": "b", "template": "ask_requester"}]')
FROM unnest('{20,21}'::bigint[]) r \g /dev/null
SELECT results_eq('SELECT referral_id, template, body FROM referral.communication WHERE referral_id >= 20 ORDER BY 1, 2',
    $$VALUES (20::bigint, 'ask_patient', 'Hej Sven, ring Organisation 1'), (20, 'ask_requester', 'english'),
             (21, 'ask_patient', 'Dear Adaeze, call Organisation 1: - the phone'), (21, 'ask_requester', 'english')$$, 'a patient is asked in his language');
SELECT is((SELECT send_to FROM referral.outreach_to_send WHERE referral_id = 20 AND template = 'ask_patient'), '555-0100', 'at his number');

-- 8. Guards

SELECT is(public.code($$SELECT referral.check_rule('referral.referral', 'referral.is_complete(org_id, referral_id)')$$), 'done', 'rules may ask is_complete()');
INSERT INTO referral.referral (referral_id, referral_type, patient_id, specialty, reason_text, requester_id, channel) VALUES (30, 'coordination', 1, 'ent', 'x', 1, 'ehr');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = (SELECT min(v.rule_version_id) FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id) WHERE s.name = 'validation/standard');
UPDATE referral.referral SET step = 'documentation_review' WHERE referral_id = 30;
UPDATE referral.referral SET reason_text = NULL WHERE referral_id = 30;
SELECT is((SELECT code || ' ' || message FROM public.refused($$UPDATE referral.referral SET step = 'eligibility_verification', reason_text = 'x' WHERE referral_id = 30$$)),
    'RF002 transition "verify" of referral 30 is blocked: the referral is not complete', 'coordination goes on only with a complete referral, as it is stored');
UPDATE referral.referral SET reason_text = 'x' WHERE referral_id = 30;
SELECT lives_ok($$UPDATE referral.referral SET step = 'eligibility_verification' WHERE referral_id = 30$$, 'with one it does');

-- 9. Who may

SET SESSION AUTHORIZATION validation_clerk;
INSERT INTO referral.document (referral_id, type) VALUES (1, 'order');
SELECT is(referral.is_complete(1, 1), true, 'who files a document needs no more rights');
SET SESSION AUTHORIZATION validation_jane;
SELECT is(public.code('SELECT referral.check_referral(2, 6)'), 'RF019', 'another organisation''s referral is not there');
SELECT is(referral.check_referral(1, 4), false, 'a coordinator checks');
SELECT is(public.trouble(4), 'eligibility coverage, policy birth_date_plausible', 'and exceptions are opened');
SELECT is(public.code('UPDATE referral.validation_result SET passed = true'), '42501', 'results are not changed');
SELECT is(public.code('DELETE FROM referral.validation_result'), '42501', 'or deleted');
SELECT is(public.code($$INSERT INTO referral.validation_result (referral_id, is_first_pass, passed, missing, invalid, warnings, findings, rule_versions)
    VALUES (3, true, true, 0, 0, 0, '[]', '{}')$$), '42501', 'nor written by hand');
SELECT is(public.code($$SELECT referral.draft_outreach(1, 4, '[]', '[]')$$), '42501', 'and nothing follows from findings that were not found');
SET SESSION AUTHORIZATION validation_other;
SET referral.org_id = 2;
SELECT is((SELECT count(*) FROM referral.validation_result) + (SELECT count(*) FROM referral.missing_document) + (SELECT count(*) FROM referral.outreach_to_send), 0::bigint,
    'other organisations see nothing of it');
SELECT is(referral.check_referral(2, 6), false, 'but their own');
SET SESSION AUTHORIZATION validation_analyst;
SET referral.org_id = 1;
SELECT ok((SELECT sum(checked) FROM referral.first_pass) > 3, 'an analyst reads first_pass');
SELECT is(public.code('SELECT * FROM referral.outreach_to_send'), '42501', 'not letters');
SELECT is(public.code('SELECT referral.check_referral(1, 1)'), '42501', 'and checks nothing');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'validation_result' AND org_id = 1), (SELECT count(*) FROM referral.validation_result WHERE org_id = 1), 'each result is in the journal');
SELECT * FROM finish();
