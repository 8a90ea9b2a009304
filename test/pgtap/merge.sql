-- Merging and unmerging patients: what survives, what is re-pointed, what comes back, what is to be decided, who may.
SELECT plan(247);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql
SET timezone = 'UTC';
SET client_min_messages = error;

CREATE ROLE merge_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE merge_admin LOGIN IN ROLE referral_admin;
CREATE ROLE merge_feed LOGIN IN ROLE referral_integration;
CREATE ROLE merge_robot LOGIN IN ROLE referral_coordinator;
CREATE ROLE merge_app LOGIN IN ROLE referral_coordinator, referral_application;
CREATE ROLE merge_other LOGIN IN ROLE referral_coordinator;
CREATE ROLE merge_clinician LOGIN IN ROLE referral_clinician, referral_scheduler, referral_authorizer, referral_approver, referral_auditor,
    referral_analyst, referral_rule_author, referral_rule_approver;
CREATE ROLE merge_ann LOGIN IN ROLE referral_rule_author;
CREATE ROLE merge_bob LOGIN IN ROLE referral_rule_approver;
CREATE ROLE merge_owner NOLOGIN;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Organisation 2');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'merge_jane', 'user'), (1, 'merge_admin', 'user'), (1, 'merge_feed', 'system'),
    (1, 'merge_robot', 'ai'), (2, 'merge_other', 'user'), (1, 'merge_clinician', 'user');
SET referral.org_id = '1';

-- A patient as JSON, without its version; what a merge may leave alone is everything else.
CREATE FUNCTION row_of(id bigint) RETURNS jsonb LANGUAGE sql AS
    $$SELECT to_jsonb(p) - '{version,demographics}'::text[] FROM referral.patient p WHERE p.patient_id = id$$;
CREATE FUNCTION whose(id bigint) RETURNS bigint LANGUAGE sql AS 'SELECT patient_id FROM referral.referral WHERE referral_id = id';
CREATE FUNCTION everything() RETURNS text LANGUAGE sql AS $$
    SELECT md5(concat((SELECT jsonb_agg(to_jsonb(p) ORDER BY p.patient_id) FROM referral.patient p), (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.referral_id) FROM referral.referral r),
        (SELECT jsonb_agg(to_jsonb(m) ORDER BY m.merge_id) FROM referral.patient_merge m), (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.reattribution_id) FROM referral.merge_reattribution a),
        (SELECT count(*) FROM referral.journal))) $$;
-- decisions about pairs outlive an unmerge; here the same patients are merged again and again
CREATE FUNCTION again(a bigint, b bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM referral.decide_match(1, a, b, 'link', 'the same after all');
END $$;

-- 1. Two records of one patient

INSERT INTO referral.patient (org_id, patient_id, identifier_system, identifier, family, given, middle, birth_date, sex, phone, email, address, city, postal_code, other_phones, alias)
VALUES (1, 1, 'mrn', 'A1', 'Smith', 'Mary', NULL, '1970-01-02', 'unknown', '555-1', ' ', '1 Main St', 'Boston', NULL, NULL, '{Molly}'),
       (1, 2, 'mrn', 'B2', 'Jones', 'Maria', 'Ann', '1970-02-01', 'female', '555-2', 'm@example.org', '9 High St', 'Salem', '01970', '{555-9,555-1}', '{molly,May}'),
       (1, 3, NULL, NULL, 'Third', 'Person', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
       (1, 4, NULL, NULL, 'Fourth', 'Person', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
       (2, 1, 'mrn', 'C3', 'Foreign', 'One', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
       (2, 9, 'mrn', 'C4', 'Foreign', 'Two', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO referral.referral (org_id, referral_id, patient_id, service_code) VALUES (1, 10, 1, 'mri'), (1, 11, 2, 'MRI'), (1, 12, 2, 'ct'), (1, 13, 3, 'ct'), (2, 10, 1, 'mri');
SET referral.reason = 'not for us';
UPDATE referral.referral SET state = 'declined', status_reason = 'criteria_not_met' WHERE org_id = 1 AND referral_id = 12;
RESET referral.reason;
CREATE TABLE before AS SELECT id, row_of(id) FROM unnest(ARRAY[2, 3, 4]) id UNION ALL SELECT 1, to_jsonb(p) - '{version,demographics}'::text[] FROM referral.patient p WHERE p.org_id = 1 AND p.patient_id = 1;
DELETE FROM referral.referral WHERE org_id = 2;
DELETE FROM referral.patient WHERE org_id = 2 AND patient_id = 1;

SELECT everything() AS untouched \gset
SELECT results_eq($$SELECT field, rule, survivor_value, duplicate_value, result FROM referral.merge_preview(1, 1, 2) WHERE field IN ('family', 'email', 'alias', 'city')$$,
    $$VALUES ('family', 'duplicate_when_null', '"Smith"'::jsonb, '"Jones"'::jsonb, '"Smith"'::jsonb), ('email', 'duplicate_when_null', '" "', '"m@example.org"', '"m@example.org"'),
             ('city', 'duplicate_when_null', '"Boston"', '"Salem"', '"Boston"'), ('alias', 'union', '["Molly"]', '["molly", "May"]', '["Molly", "May", "Maria"]')$$,
    'merge_preview() shows rule, values and result, field by field');
SELECT is(everything(), :'untouched', 'and changes nothing');
SELECT is((SELECT count(*) FROM referral.merge_preview(1, 1, 99)) + (SELECT count(*) FROM referral.merge_preview(1, NULL, 2)), 0::bigint, 'no rows for a patient that is not there, nor for null');
SELECT is(everything(), :'untouched', 'nor that');

SET SESSION AUTHORIZATION merge_jane;
SELECT referral.merge_patient(1, 1, 2, 'same person, seen together') AS merge1 \gset
RESET SESSION AUTHORIZATION;
SELECT is(row_of(1), (SELECT row_of FROM before WHERE id = 1) || '{"sex": "female", "middle": "Ann", "email": "m@example.org", "previous_family": ["Jones"], "alias": ["Molly", "May", "Maria"],
    "other_phones": ["555-9", "555-1", "555-2"], "other_identifiers": ["mrn|B2"]}', 'the survivor: what it lacked, and the former names, phones and identifiers');
SELECT is(row_of(2), (SELECT row_of FROM before WHERE id = 2) || '{"active": false, "merged_into": 1}', 'the duplicate: as it was, merged and not active');
SELECT results_eq('SELECT referral_id, patient_id, state::text FROM referral.referral WHERE org_id = 1 ORDER BY 1',
    $$VALUES (10::bigint, 1::bigint, 'received'), (11, 1, 'received'), (12, 1, 'declined'), (13, 3, 'received')$$, 'its referrals are the survivor''s, ended ones too, and stay where they are');
SELECT results_eq('SELECT patient_id, type, other_id, merge_id FROM referral.patient_link ORDER BY 1', format('VALUES (1::bigint, ''replaces'', 2::bigint, %1$s::bigint), (2, ''replaced-by'', 1, %1$s)', :merge1),
    'patient_link tells both ways');
SELECT results_eq('SELECT patient_id, merged_ids, merged_count, family FROM referral.patient_golden WHERE org_id = 1 ORDER BY 1',
    $$VALUES (1::bigint, '{2}'::bigint[], 1, 'Smith'), (3, '{}', 0, 'Third'), (4, '{}', 0, 'Fourth')$$, 'patient_golden has one row per patient');
SELECT results_eq('SELECT survivor_id, duplicate_id, reason, merged_by, unmerged_at, moved, held FROM referral.patient_merge',
    $$VALUES (1::bigint, 2::bigint, 'same person, seen together', 'merge_jane', NULL::timestamptz, '{"referral.referral(patient_id)": [{"referral_id": 11}, {"referral_id": 12}]}'::jsonb,
              '{"referral.referral(patient_id)": [{"referral_id": 10}]}'::jsonb)$$, 'the merge is on record, with what moved and what was there');
SELECT is((SELECT before - '{}'::text[] FROM referral.patient_merge), (SELECT jsonb_build_object('survivor', (SELECT row_of || '{"version": 1}' FROM before WHERE id = 1), 'duplicate', (SELECT row_of || '{"version": 1}' FROM before WHERE id = 2))),
    'with both rows as they were');
SELECT results_eq($$SELECT entity, entity_id, actor, reason FROM referral.journal WHERE reason = 'same person, seen together' AND entity IN ('patient', 'referral') ORDER BY 1, 2$$,
    $$VALUES ('patient', 1::bigint, 'merge_jane', 'same person, seen together'), ('patient', 2, 'merge_jane', 'same person, seen together'),
             ('referral', 11, 'merge_jane', 'same person, seen together'), ('referral', 12, 'merge_jane', 'same person, seen together')$$, 'every change is in the journal, with who and why');
SELECT is((SELECT changes -> 'patient_id' FROM referral.journal WHERE entity = 'referral' AND entity_id = 11 AND version = 2), '[2, 1]', 'from whom to whom');
SELECT is(current_setting('referral.reason', true), '', 'the reason is the call''s only');
SELECT ok((SELECT bool_and(changes #>> '{before,1}' ~ '^hmac:' AND changes::text !~ 'Jones') FROM referral.journal WHERE entity = 'patient_merge' AND action = 'insert'), 'the images are in the journal as digests only');

-- the same again
SELECT everything() AS merged \gset
SELECT is(referral.merge_patient(1, 1, 2, 'again'), :merge1::bigint, 'the same call again returns the same merge');
SELECT is(everything(), :'merged', 'and changes nothing');

-- 2. What is refused

CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE sql AS
    $$SELECT code || ' ' || message || ' | ' || coalesce(detail, '') || ' | ' || coalesce(hint, '') FROM refused(statement)$$;
SELECT is(refusal(s), expected, s) FROM (VALUES
    ('SELECT referral.merge_patient(1, 3, 3, ''x'')', 'RF015 patient 3 cannot be merged into patient 3 | Both are the same record. | Name another survivor.'),
    ('SELECT referral.merge_patient(1, 2, 1, ''x'')', 'RF015 patient 1 cannot be merged into patient 2 | Both are patient 1 already. | The survivor is patient 1; to turn it round, unmerge first.'),
    ('SELECT referral.merge_patient(1, 2, 3, ''x'')', 'RF015 patient 3 cannot be merged into patient 2 | The survivor was merged itself, in the end into patient 1. | Merge patient 3 into patient 1.'),
    ('SELECT referral.merge_patient(1, 3, 2, ''x'')', 'RF015 patient 2 cannot be merged into patient 3 | The duplicate was merged into another patient, in the end into patient 1. | Merge patient 1 into patient 3, or unmerge the duplicate first.'),
    ('SELECT referral.merge_patient(1, 3, 4, '' '')', 'RF005 a reason is required | Who looks at the patient later must see why. | Give a reason.'),
    ('SELECT referral.merge_patient(1, 3, 4, NULL)', 'RF005 a reason is required | Who looks at the patient later must see why. | Give a reason.'),
    ('SELECT referral.merge_patient(1, 3, 99, ''x'')', 'RF019 there is no patient 99 in organisation 1 | It does not exist or is not visible to the session. | Check org_id and patient_id.'),
    ('SELECT referral.merge_patient(1, 99, 3, ''x'')', 'RF019 there is no patient 99 in organisation 1 | It does not exist or is not visible to the session. | Check org_id and patient_id.'),
    ('SELECT referral.merge_patient(1, 3, NULL, ''x'')', 'RF019 there is no patient <NULL> in organisation 1 | It does not exist or is not visible to the session. | Check org_id and patient_id.'),
    ('SELECT referral.merge_patient(NULL, 3, 4, ''x'')', 'RF019 there is no patient 3 in organisation <NULL> | It does not exist or is not visible to the session. | Check org_id and patient_id.'),
    ('SELECT referral.merge_patient(1, 3, 9, ''x'')', 'RF019 there is no patient 9 in organisation 1 | It does not exist or is not visible to the session. | Check org_id and patient_id.'),
    ('SELECT referral.unmerge_patient(1, 99, ''x'')', 'RF019 there is no merge 99 in organisation 1 | It does not exist or is not visible to the session. | See referral.patient_merge.'),
    ('SELECT referral.unmerge_patient(1, NULL, ''x'')', 'RF019 there is no merge <NULL> in organisation 1 | It does not exist or is not visible to the session. | See referral.patient_merge.'),
    (format('SELECT referral.unmerge_patient(2, %s, ''x'')', :merge1), format('RF019 there is no merge %s in organisation 2 | It does not exist or is not visible to the session. | See referral.patient_merge.', :merge1)),
    (format('SELECT referral.unmerge_patient(1, %s, '''')', :merge1), 'RF005 a reason is required | Who looks at the patient later must see why. | Give a reason.'),
    ('SELECT referral.reattribute(1, 99, 1)', 'RF019 there is no entry 99 to decide on in organisation 1 | It does not exist, its merge stands, or it is not visible to the session. | See referral.merge_reattribution.'),
    ('UPDATE referral.patient SET merged_into = NULL WHERE patient_id = 2', 'RF015 merged_into of patient 2 cannot be written | It says what referral.patient_merge says. | Call referral.merge_patient() or referral.unmerge_patient().'),
    ('UPDATE referral.patient SET merged_into = 3 WHERE patient_id = 2', 'RF015 merged_into of patient 2 cannot be written | It says what referral.patient_merge says. | Call referral.merge_patient() or referral.unmerge_patient().'),
    ('UPDATE referral.patient SET merged_into = 1 WHERE patient_id = 3', 'RF015 merged_into of patient 3 cannot be written | It says what referral.patient_merge says. | Call referral.merge_patient() or referral.unmerge_patient().'),
    ('INSERT INTO referral.patient (patient_id, merged_into) VALUES (77, 1)', 'RF015 merged_into of patient 77 cannot be written | It says what referral.patient_merge says. | Call referral.merge_patient() or referral.unmerge_patient().')
) v (s, expected);
SELECT is(everything(), :'merged', 'what was refused has changed nothing');
SELECT is((SELECT code FROM refused('DELETE FROM referral.patient WHERE patient_id = 2')), '23503', 'a merged patient cannot be deleted');

-- 3. Who may

SET SESSION AUTHORIZATION merge_robot;
SELECT is(code, 'RF003', 'not an AI: ' || s) FROM unnest(ARRAY['SELECT referral.merge_patient(1, 3, 4, ''x'')', 'SELECT referral.unmerge_patient(1, 1, ''x'')']) s, refused(s);
SET SESSION AUTHORIZATION merge_jane;
SET referral.actor_kind = 'ai';
SELECT is(message, 'an AI may not merge patients', 'nor a session that says it is one') FROM refused('SELECT referral.merge_patient(1, 3, 4, ''x'')');
RESET referral.actor_kind;
SELECT is(code, '42501', 'nobody writes the tables: ' || s) FROM unnest(ARRAY[
    'UPDATE referral.patient_merge SET reason = ''y''', 'DELETE FROM referral.patient_merge', 'INSERT INTO referral.patient_merge (survivor_id, duplicate_id, reason, before) VALUES (3, 4, ''x'', ''{}'')',
    'UPDATE referral.merge_reattribution SET status = ''kept''', 'INSERT INTO referral.merge_reattribution (merge_id, kind, column_name, status) VALUES (1, ''column'', ''family'', ''open'')',
    'SELECT referral.change_patient(1, 3, ''{"family": "x"}'')', 'SELECT referral.repoint(''referral.referral'', ''org_id'', ''patient_id'', ''{referral_id}'', 1, 1, 3, NULL)',
    'SELECT referral.rows_as_owner(''referral.referral'', ''org_id'', ''patient_id'', ''{referral_id}'', 1, 1, 3, NULL)', 'SELECT referral.lock_patients(1, ''{1}'')']) s, refused(s);
SET SESSION AUTHORIZATION merge_other;
SET referral.org_id = '2';
SELECT is(refusal('SELECT referral.merge_patient(1, 3, 4, ''x'')'), 'RF019 there is no patient 3 in organisation 1 | It does not exist or is not visible to the session. | Check org_id and patient_id.', 'another organisation''s patients do not exist');
SELECT is(refusal('SELECT referral.merge_patient(1, 3, 98, ''x'')'), 'RF019 there is no patient 3 in organisation 1 | It does not exist or is not visible to the session. | Check org_id and patient_id.', 'whether they do or not');
SELECT is(refusal('SELECT referral.unmerge_patient(1, 1, ''x'')'), 'RF019 there is no merge 1 in organisation 1 | It does not exist or is not visible to the session. | See referral.patient_merge.', 'nor its merges');
SELECT is((SELECT count(*) FROM referral.patient_merge) + (SELECT count(*) FROM referral.patient_link), 0::bigint, 'they are not to be seen');
SELECT is(referral.survivor_of(1, 2), NULL, 'nor who they are');
SET SESSION AUTHORIZATION merge_clinician;
SET referral.org_id = '1';
SELECT is(code, '42501', 'none of the other roles: ' || s) FROM unnest(ARRAY['SELECT referral.merge_patient(1, 3, 4, ''x'')', 'SELECT referral.unmerge_patient(1, 1, ''x'')', 'SELECT referral.reattribute(1, 1, 1)']) s, refused(s);
SELECT is((SELECT array_agg(type) FROM referral.patient_link), '{replaced-by,replaces}', 'those who see patients see who was merged');
SET SESSION AUTHORIZATION merge_admin;
SELECT is(code, 'done', 'an administrator may merge, though not write patients') FROM refused('SELECT referral.merge_patient(1, 3, 4, ''x'')');
SELECT is(code, '42501', 'so') FROM refused('UPDATE referral.patient SET family = ''x'' WHERE patient_id = 3');
SET SESSION AUTHORIZATION merge_feed;
SELECT is(code, 'done', 'and an interface') FROM refused('SELECT referral.merge_patient(1, 3, 4, ''ADT A40'')');
SET SESSION AUTHORIZATION merge_app;
SET referral.actor = 'Dr. Bell';
SELECT referral.merge_patient(1, 3, 4, 'x') AS merge34 \gset
SELECT is((SELECT merged_by FROM referral.patient_merge WHERE merge_id = :merge34), 'Dr. Bell', 'an application merges for the person it names');
SELECT is(referral.unmerge_patient(1, :merge34, 'y'), 0::bigint, 'and unmerges');
SELECT is((SELECT (unmerged_by, unmerge_reason)::text FROM referral.patient_merge WHERE merge_id = :merge34), '("Dr. Bell",y)', 'on record');
RESET referral.actor;
RESET SESSION AUTHORIZATION;
SELECT is(row_of(3) = (SELECT row_of FROM before WHERE id = 3) AND row_of(4) = (SELECT row_of FROM before WHERE id = 4), true, 'both are as they were');

-- 4. After a merge

SET SESSION AUTHORIZATION merge_feed;
INSERT INTO referral.referral (referral_id, patient_id) VALUES (20, 1), (21, 2);
UPDATE referral.referral SET patient_id = 2 WHERE referral_id = 13;
RESET SESSION AUTHORIZATION;
SELECT is((whose(20), whose(21), whose(13)), (1::bigint, 1::bigint, 1::bigint), 'a row that names the duplicate is the survivor''s, by INSERT and by UPDATE');
SELECT results_eq('SELECT kind, reference, row_key, status FROM referral.merge_reattribution ORDER BY row_key',
    $$VALUES ('row', 'referral.referral(patient_id)', '{"referral_id": 13}'::jsonb, 'redirected'), ('row', 'referral.referral(patient_id)', '{"referral_id": 21}', 'redirected')$$, 'that it came for the duplicate is noted');
SELECT is(code, '23503', 'who does not exist is nobody') FROM refused('INSERT INTO referral.referral (patient_id) VALUES (1000)');
SELECT is(code, 'done', 'a row may name no patient') FROM refused('INSERT INTO referral.referral (patient_id) VALUES (NULL)');
SELECT is(refusal(format('SELECT referral.reattribute(1, %s, 2)', (SELECT min(reattribution_id) FROM referral.merge_reattribution))), format('RF019 there is no entry %s to decide on in organisation 1 | It does not exist, its merge stands, or it is not visible to the session. | See referral.merge_reattribution.',
    (SELECT min(reattribution_id) FROM referral.merge_reattribution)), 'nothing is to be decided while the merge stands');
UPDATE referral.patient SET phone = '555-77', email = 'new@example.org', alias = alias || '{Mimi}' WHERE patient_id = 1;
UPDATE referral.patient SET language = 'es' WHERE patient_id = 2;
SET SESSION AUTHORIZATION merge_jane;
SELECT is(referral.unmerge_patient(1, :merge1, 'two people with one card'), 3::bigint, 'unmerging leaves three things to decide');
RESET SESSION AUTHORIZATION;
SELECT is(row_of(1), (SELECT row_of FROM before WHERE id = 1) || '{"phone": "555-77", "email": "new@example.org", "alias": ["Molly", "Mimi"]}', 'the survivor: as it was but for what somebody has changed since');
SELECT is(row_of(2), (SELECT row_of FROM before WHERE id = 2) || '{"language": "es"}', 'the duplicate: as it was; what the merge did not touch stays');
SELECT is((whose(10), whose(11), whose(12), whose(20), whose(21), whose(13)), (1::bigint, 2::bigint, 2::bigint, 1::bigint, 2::bigint, 2::bigint), 'referrals are where they were; what came for the duplicate is the duplicate''s');
SELECT results_eq('SELECT kind, coalesce(column_name, row_key::text), status, patient_id, decided_by FROM referral.merge_reattribution ORDER BY 2',
    $$VALUES ('column', 'alias', 'open', NULL::bigint, NULL), ('column', 'email', 'open', NULL, NULL), ('row', '{"referral_id": 13}', 'moved', 2, 'merge_jane'), ('row', '{"referral_id": 20}', 'open', NULL, NULL),
             ('row', '{"referral_id": 21}', 'moved', 2, 'merge_jane')$$, 'what came for the survivor, and what was changed again, is to be decided');
SELECT is((SELECT count(*) FROM referral.patient_link), 0::bigint, 'no links');
SELECT is((SELECT count(*) FROM referral.patient_golden WHERE org_id = 1), 4::bigint, 'each is a patient again');
SELECT everything() AS unmerged \gset
SELECT is(referral.unmerge_patient(1, :merge1, 'again'), 3::bigint, 'the same call again returns the same');
SELECT is(everything(), :'unmerged', 'and changes nothing');

-- decisions
SELECT reattribution_id AS of_row FROM referral.merge_reattribution WHERE row_key = '{"referral_id": 20}' \gset
SELECT reattribution_id AS of_email FROM referral.merge_reattribution WHERE column_name = 'email' \gset
SELECT reattribution_id AS of_alias FROM referral.merge_reattribution WHERE column_name = 'alias' \gset
SELECT is(refusal(format('SELECT referral.reattribute(1, %s, 3)', :of_row)), format('RF015 entry %s cannot be given to patient 3 | Its merge was about the patients 1 and 2. | Name one of these two.', :of_row), 'to one of the two only');
SELECT is(code, 'RF015', 'not to nobody') FROM refused(format('SELECT referral.reattribute(1, %s, NULL)', :of_row));
SET SESSION AUTHORIZATION merge_robot;
SELECT is(code, 'RF003', 'an AI does not decide') FROM refused(format('SELECT referral.reattribute(1, %s, 2)', :of_row));
SET SESSION AUTHORIZATION merge_other;
SELECT is(code, 'RF019', 'nor another organisation') FROM refused(format('SELECT referral.reattribute(1, %s, 2)', :of_row));
SET SESSION AUTHORIZATION merge_jane;
SELECT is(referral.reattribute(1, :of_row, 2), 'moved', 'the row goes to the duplicate');
SELECT is(referral.reattribute(1, :of_email, 2), 'moved', 'so does the mail address');
SELECT is(referral.reattribute(1, :of_alias, 1), 'kept', 'the alias stays');
RESET SESSION AUTHORIZATION;
SELECT is(whose(20), 2::bigint, 'there it is');
SELECT is((row_of(1) ->> 'email', row_of(2) ->> 'email'), (' '::text, 'new@example.org'::text), 'and there it is; the survivor has what it had');
SELECT is(row_of(1) -> 'alias', '["Molly", "Mimi"]', 'as somebody has made it');
SELECT results_eq('SELECT status, patient_id, decided_by FROM referral.merge_reattribution WHERE reattribution_id IN (' || :of_row || ',' || :of_alias || ') ORDER BY 1',
    $$VALUES ('kept', 1::bigint, 'merge_jane'), ('moved', 2, 'merge_jane')$$, 'decisions are on record');
SELECT is(referral.unmerge_patient(1, :merge1, 'again'), 0::bigint, 'nothing is left');
SELECT everything() AS decided \gset
SELECT is(referral.reattribute(1, :of_row, 2), 'moved', 'the same decision again');
SELECT is(everything(), :'decided', 'changes nothing');
SELECT is(refusal(format('SELECT referral.reattribute(1, %s, 1)', :of_row)), format('RF015 entry %s cannot be given to patient 1 | It was decided already: it is patient 2''s. | Change the row itself, if that was wrong.', :of_row), 'another one does not overrule it');

-- a row that has gone elsewhere meanwhile
SELECT again(1, 2);
SELECT referral.merge_patient(1, 1, 2, 'x') AS merge1b \gset
INSERT INTO referral.referral (referral_id, patient_id) VALUES (30, 1), (31, 2), (32, 1);
UPDATE referral.referral SET patient_id = 4 WHERE referral_id IN (11, 31);
DELETE FROM referral.referral WHERE referral_id = 12;
SELECT is(referral.unmerge_patient(1, :merge1b, 'y'), 2::bigint, 'what is gone is not to be decided');
SELECT is((whose(11), whose(31)), (4::bigint, 4::bigint), 'a row that somebody has given to another patient stays with him');
SELECT is((SELECT status FROM referral.merge_reattribution WHERE merge_id = :merge1b AND row_key = '{"referral_id": 31}'), 'gone', 'it is not the duplicate''s');
UPDATE referral.referral SET patient_id = 3 WHERE referral_id = 30;
SELECT reattribution_id AS of_row FROM referral.merge_reattribution WHERE row_key = '{"referral_id": 30}' \gset
SELECT is(refusal(format('SELECT referral.reattribute(1, %s, 2)', :of_row)), format('RF015 the row of entry %s is not patient 1''s any more | Somebody has moved or deleted it since. | Give the entry to patient 1 to close it.', :of_row), 'nor can it be given away then');
SELECT is(referral.reattribute(1, :of_row, 1), 'kept', 'the entry can be closed');
SELECT is(whose(30), 3::bigint, 'which moves nothing');

-- a note of a row that was never written; what somebody gives to the duplicate, or to the survivor, while they are merged
INSERT INTO referral.patient (patient_id, family) VALUES (90, 'noted'), (91, 'noted');
INSERT INTO referral.referral (referral_id, patient_id) VALUES (90, 90);
SELECT referral.merge_patient(1, 90, 91, 'x') AS noted \gset
INSERT INTO referral.referral (referral_id, patient_id) VALUES (91, 90), (93, 91), (94, 91);
INSERT INTO referral.referral (org_id, referral_id, patient_id) VALUES (1, 91, 91) ON CONFLICT (org_id, referral_id) DO NOTHING;
UPDATE referral.referral SET patient_id = 91 WHERE referral_id = 90;
UPDATE referral.referral SET patient_id = 3 WHERE referral_id = 94;
UPDATE referral.referral SET patient_id = 90 WHERE referral_id = 94;
SELECT is(referral.unmerge_patient(1, :noted, 'y'), 3::bigint, 'what is not plainly the duplicate''s is to be decided');
SELECT is((SELECT jsonb_object_agg(row_key ->> 'referral_id', status) FROM referral.merge_reattribution WHERE merge_id = :noted), '{"90": "open", "91": "open", "93": "moved", "94": "open"}', 'what came for it is moved');
SELECT is((whose(90), whose(91), whose(93), whose(94)), (90::bigint, 90::bigint, 91::bigint, 90::bigint), 'nothing else goes');

-- an entry of before, when the two are merged again
SELECT reattribution_id AS of_row FROM referral.merge_reattribution WHERE merge_id = :noted AND row_key = '{"referral_id": 91}' \gset
SELECT again(90, 91);
SELECT referral.merge_patient(1, 90, 91, 'x') AS noted \gset
SELECT is(refusal(format('SELECT referral.reattribute(1, %s, 91)', :of_row)), format('RF015 entry %s cannot be given to patient 91 | Patient 90 or patient 91 was merged again since. | Undo that merge first, or give the entry to patient 90 to close it.', :of_row), 'goes to nobody who is merged');
SELECT referral.unmerge_patient(1, :noted, 'y') \g /dev/null
SELECT is(referral.reattribute(1, :of_row, 91), 'moved', 'but afterwards');
SELECT is(whose(91), 91::bigint, 'and the row with it');

-- lists: what the merge added goes back, what somebody added since is to be decided
INSERT INTO referral.patient (patient_id, identifier_system, identifier, other_identifiers) VALUES (92, 'mrn', '92', '{a|1}'), (93, 'mrn', '93', '{b|2}');
SELECT referral.merge_patient(1, 92, 93, 'x') AS listed \gset
UPDATE referral.patient SET other_identifiers = other_identifiers || '{ssn|9}' WHERE patient_id = 92;
SELECT is((SELECT other_identifiers FROM referral.patient WHERE patient_id = 92), '{a|1,b|2,mrn|93,ssn|9}', 'merged, and one more');
SELECT is(referral.unmerge_patient(1, :listed, 'y'), 1::bigint, 'one to be decided');
SELECT is((SELECT array_agg(other_identifiers ORDER BY patient_id)::text FROM (SELECT patient_id, other_identifiers::text FROM referral.patient WHERE patient_id IN (92, 93)) x), '{"{a|1,ssn|9}","{b|2}"}', 'the survivor keeps none of the duplicate''s');
SELECT is(referral.reattribute(1, (SELECT reattribution_id FROM referral.merge_reattribution WHERE merge_id = :listed), 93), 'moved', 'given to the duplicate');
SELECT is((SELECT array_agg(other_identifiers ORDER BY patient_id)::text FROM (SELECT patient_id, other_identifiers::text FROM referral.patient WHERE patient_id IN (92, 93)) x), '{"{a|1}","{b|2,ssn|9}"}', 'it is there, and nothing else');
SELECT is(referral.restored_value(b::jsonb, a::jsonb, p::jsonb, true), r::jsonb, format('of %s made %s, then %s: %s', b, a, p, r)) FROM (VALUES
    ('null', '["x"]', '["x"]', 'null'), ('null', '["x"]', '["x", "y"]', '["y"]'), ('null', '["x"]', '[]', 'null'), ('[]', '["x"]', '[]', '[]'), ('["a"]', '["a", "x"]', '["x"]', '[]'),
    ('["a"]', '["a", "x"]', '["x", "a"]', '["a"]'), ('["a"]', '["a", "x"]', 'null', 'null'), ('["a", null]', '["a", null, "x"]', '[null, "x", "y"]', '[null, "y"]')) v (b, a, p, r);

-- 5. Chains

INSERT INTO referral.patient (patient_id, family) SELECT g, 'chain' || g FROM generate_series(100, 109) g;
INSERT INTO referral.referral (referral_id, patient_id) SELECT g, g FROM generate_series(100, 109) g;
SELECT referral.merge_patient(1, 101, 100, 'x') AS c1 \gset
SELECT referral.merge_patient(1, 102, 101, 'x') AS c2 \gset
SELECT referral.merge_patient(1, 102, 103, 'x') AS c3 \gset
SELECT is((SELECT array_agg(referral.survivor_of(1, g) ORDER BY g) FROM generate_series(100, 104) g), '{102,102,102,102,104}', 'survivor_of() follows to the end');
SELECT is((referral.survivor_of(1, 999), referral.survivor_of(1, NULL), referral.survivor_of(2, 100)), (NULL::bigint, NULL::bigint, NULL::bigint), 'null for nobody');
SELECT is((SELECT (merged_ids, merged_count)::text FROM referral.patient_golden WHERE patient_id = 102), '("{100,101,103}",3)', 'all that were merged into it');
SELECT is(referral.merged_ids(1, 104), '{}', 'into another, none');
SELECT is(referral.merge_patient(1, 101, 100, 'again'), :c1::bigint, 'a merge that stands is returned, wherever the survivor has gone');
SELECT is(hint, 'The survivor is patient 102; to turn it round, unmerge first.', 'no cycle over several') FROM refused('SELECT referral.merge_patient(1, 100, 102, ''x'')');
INSERT INTO referral.referral (referral_id, patient_id) VALUES (110, 100);
SELECT is(whose(110), 102::bigint, 'a row for the first is the last one''s');
SELECT is(refusal(format('SELECT referral.unmerge_patient(1, %s, ''y'')', :c1)), format('RF015 merge %s cannot be undone before a later one | Merge %s has changed patient 101 since. | Undo merge %s first.', :c1, :c2, :c2), 'merges are undone from the last one on');
SELECT is(hint, format('Undo merge %s first.', :c3), 'also those of another duplicate') FROM refused(format('SELECT referral.unmerge_patient(1, %s, ''y'')', :c2));
SELECT is(referral.unmerge_patient(1, :c3, 'y'), 0::bigint, 'the last: what came since came for somebody else');
SELECT is(referral.unmerge_patient(1, :c2, 'y'), 0::bigint, 'the one before');
SELECT is((whose(100), whose(101), whose(102), whose(103), whose(110)), (101::bigint, 101::bigint, 102::bigint, 103::bigint, 101::bigint), 'what came for the first is with the second');
SELECT is(referral.unmerge_patient(1, :c1, 'y'), 0::bigint, 'the first');
SELECT is((whose(100), whose(101), whose(102), whose(103), whose(110)), (100::bigint, 101::bigint, 102::bigint, 103::bigint, 100::bigint), 'all are where they belong');
SELECT is((SELECT count(*) FROM referral.patient WHERE merged_into IS NOT NULL), 0::bigint, 'nobody is merged');

-- 6. Which value survives

CREATE FUNCTION rules(new_rules jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'merge/standard' RETURNING rule_version_id INTO v;
    INSERT INTO referral.merge_rule (rule_version_id, field, rule) SELECT v, key, value FROM jsonb_each_text(new_rules);
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
    RETURN v;
END $$;
CREATE FUNCTION made(survivor jsonb, duplicate jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT referral.merge_values(1, to_jsonb(jsonb_populate_record(NULL::referral.patient, survivor)), to_jsonb(jsonb_populate_record(NULL::referral.patient, duplicate))) $$;
SELECT is(made(s::jsonb, d::jsonb), expected::jsonb, name) FROM (VALUES
    ('nothing changes between two that are empty', '{}', '{}', '{}'),
    ('nor between two that are alike', '{"family": "A", "phone": "1", "alias": ["x"]}', '{"family": "A", "phone": "1", "alias": ["x"]}', '{}'),
    ('an empty one gets all', '{}', '{"family": "A", "birth_date": "2000-01-02", "alias": ["x"], "multiple_birth": true}', '{"family": "A", "birth_date": "2000-01-02", "alias": ["x"], "multiple_birth": true}'),
    ('blanks are nothing', '{"family": " ", "given": ""}', '{"family": "A", "given": "  "}', '{"family": "A"}'),
    ('an unknown sex is nothing', '{"sex": "unknown"}', '{"sex": "male"}', '{"sex": "male"}'),
    ('an unknown sex takes nothing away', '{"sex": "male"}', '{"sex": "unknown"}', '{}'),
    ('false is something', '{"multiple_birth": false}', '{"multiple_birth": true}', '{}'),
    ('a name in another case is no former name', '{"family": "SMITH"}', '{"family": "Smith"}', '{}'),
    ('half an address is completed by the same one', '{"address": "1 Main", "city": "Boston"}', '{"address": "1 Main", "postal_code": "02101"}', '{"postal_code": "02101"}'),
    ('but not by another one', '{"address": "1 Main", "city": "Boston"}', '{"address": "2 High", "postal_code": "02101"}', '{}'),
    ('nor by one in another town', '{"city": "Boston"}', '{"address": "2 High", "city": "Salem"}', '{}'),
    ('an identifier comes with its system', '{}', '{"identifier": "1", "identifier_system": "mrn"}', '{"identifier": "1", "identifier_system": "mrn"}'),
    ('another system''s identifier is a further one', '{"identifier": "1", "identifier_system": "mrn"}', '{"identifier": "1", "identifier_system": "ssn"}', '{"other_identifiers": ["ssn|1"]}'),
    ('one without a system, too', '{"identifier": "1", "identifier_system": "mrn"}', '{"identifier": "2"}', '{"other_identifiers": ["|2"]}'),
    ('a birth order comes with its birth', '{"multiple_birth": false}', '{"multiple_birth": true, "birth_order": 2}', '{}'),
    ('former ones once only', '{"family": "A", "previous_family": ["b"]}', '{"family": "B", "previous_family": ["b", "C"]}', '{"previous_family": ["b", "C"]}'),
    ('what is the survivor''s own is no other phone', '{"phone": "1"}', '{"phone": "1", "other_phones": ["2"]}', '{"other_phones": ["2"]}')
) v (name, s, d, expected);

SELECT rules('{"family": "longest", "address": "longest", "given": "survivor", "alias": "survivor", "other_phones": "duplicate_when_null", "email": "survivor"}') \g /dev/null
SELECT is(made(s::jsonb, d::jsonb), expected::jsonb, name) FROM (VALUES
    ('longest: the longer', '{"family": "Li"}', '{"family": "Lindberg"}', '{"family": "Lindberg", "previous_family": ["Li"]}'),
    ('longest: the survivor''s of two alike', '{"family": "Lin"}', '{"family": "Lee"}', '{"previous_family": ["Lee"]}'),
    ('longest: the only one', '{}', '{"family": "Lee"}', '{"family": "Lee"}'),
    ('longest: of a group, the whole', '{"address": "1 Main", "city": "Boston", "state": "MA"}', '{"address": "1 Main Street", "city": "Salem"}', '{"address": "1 Main Street", "city": "Salem", "state": null}'),
    ('survivor: its own, be it null', '{"email": null, "given": "M"}', '{"email": "x@y", "given": "Mary"}', '{}'),
    ('duplicate_when_null, an array that is null', '{"phone": "1"}', '{"phone": "2", "other_phones": ["3"]}', '{"other_phones": ["3"]}'),
    ('duplicate_when_null, an array that is not', '{"other_phones": ["4"]}', '{"other_phones": ["3"]}', '{}')
) v (name, s, d, expected);

SELECT rules('{"phone": "newest", "address": "newest", "language": "newest", "other_identifiers": "newest"}') \g /dev/null
INSERT INTO referral.patient (patient_id, phone, address, city, language, other_identifiers) VALUES (200, '1', '1 Main', 'Boston', NULL, '{a|1}'), (201, '2', '2 High', 'Salem', 'es', '{b|1}');
UPDATE referral.patient SET address = '3 Low' WHERE patient_id = 200;
UPDATE referral.patient SET language = 'en' WHERE patient_id = 200;
UPDATE referral.patient SET language = NULL WHERE patient_id = 200;
SELECT is(referral.merge_values(1, row_of(200) , row_of(201)), '{"phone": "2", "language": "es", "other_phones": ["1"], "other_identifiers": ["b|1"]}', 'newest: what was entered last, and something rather than nothing');
SELECT is(referral.merge_values(1, row_of(201) , row_of(200)), '{"address": "3 Low", "city": "Boston", "other_phones": ["1"]}', 'newest: a group as a whole');
SELECT referral.rollback_rule_set('merge/standard') \g /dev/null
SELECT referral.rollback_rule_set('merge/standard') \g /dev/null
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = (SELECT min(rule_version_id) FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'merge/standard');

-- as a rule set like the others
SET SESSION AUTHORIZATION merge_ann;
SELECT referral.copy_rule_version((SELECT max(rule_version_id) FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'merge/standard' AND status = 'active'), 'phones') AS draft \gset
SELECT is((SELECT count(*) FROM referral.merge_rule WHERE rule_version_id = :draft), 17::bigint, 'a copy has its rules');
SELECT is(left(refusal(format('INSERT INTO referral.merge_rule (rule_version_id, field, rule) VALUES (%s, %L, %L)', :draft, f, r)), 5), 'RF011', 'no rule for it: ' || f || ' ' || r)
FROM (VALUES ('nosuch', 'newest'), ('version', 'newest'), ('org_id', 'newest'), ('patient_id', 'survivor'), ('active', 'survivor'), ('merged_into', 'newest'), ('demographics', 'newest'), ('family', 'union'), ('alias', 'longest'), ('city', 'newest'), ('postal_code', 'survivor'), ('birth_order', 'longest')) v (f, r)
WHERE f <> 'alias' OR EXISTS (SELECT FROM referral.merge_rule WHERE rule_version_id = :draft);
SELECT is(code, '23514', 'nor an unknown rule') FROM refused(format('INSERT INTO referral.merge_rule (rule_version_id, field, rule) VALUES (%s, ''email'', ''best'')', :draft));
UPDATE referral.merge_rule SET rule = 'newest' WHERE rule_version_id = :draft AND field = 'phone';
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :draft;
SET SESSION AUTHORIZATION merge_bob;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :draft;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :draft;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT rule FROM referral.merge_rules() WHERE field = 'phone'), 'newest', 'an approved version counts');
SELECT is(code, 'RF016', 'and stands') FROM refused(format('UPDATE referral.merge_rule SET rule = ''longest'' WHERE rule_version_id = %s', :draft));

-- columns of one's own
ALTER TABLE referral.patient ADD COLUMN nickname text, ADD COLUMN scores integer[], ADD COLUMN weight double precision, ADD COLUMN seen timestamptz, ADD COLUMN extra jsonb, ADD COLUMN digest bytea,
    ADD COLUMN kept boolean NOT NULL DEFAULT false, ADD COLUMN family_length integer GENERATED ALWAYS AS (length(family)) STORED;
INSERT INTO referral.patient (patient_id, family, nickname, scores, weight, seen, extra, digest, kept) VALUES (210, 'Ownly', NULL, '{1,2}', NULL, NULL, NULL, NULL, false),
    (211, 'Other', 'Nick', '{2,3}', 0.1::float8 + 0.2::float8, '2026-05-05 12:34:56.789012+02', '{"a": [1.50, null]}', '\x00ff', true);
CREATE TEMP TABLE before210 AS SELECT row_of(210) AS a, row_of(211) AS b;
SET extra_float_digits = 0; SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape';
SELECT referral.merge_patient(1, 210, 211, 'x') AS own \gset
RESET extra_float_digits; RESET datestyle; SET timezone = 'UTC'; RESET bytea_output;
SELECT is((SELECT (a.nickname, a.scores, a.weight, a.seen, a.extra::text, a.digest, a.kept) FROM referral.patient a WHERE patient_id = 210),
          (SELECT (b.nickname, '{1,2,3}'::integer[], b.weight, b.seen, b.extra::text, b.digest, false) FROM referral.patient b WHERE patient_id = 211), 'they survive by the same rules, exactly, whatever the session''s settings');
SELECT referral.unmerge_patient(1, :own, 'y') \g /dev/null
SELECT is((row_of(210), row_of(211)), (SELECT (a, b) FROM before210), 'and are as they were after it');

CREATE UNIQUE INDEX one_identifier ON referral.patient (org_id, identifier_system, identifier) WHERE patient_id IN (212, 213);
INSERT INTO referral.patient (patient_id, identifier_system, identifier) VALUES (212, NULL, NULL), (213, 'mrn', 'U1');
SELECT referral.merge_patient(1, 212, 213, 'x') AS own \gset
SELECT is((SELECT (identifier, other_identifiers)::text FROM referral.patient WHERE patient_id = 212), '(,{mrn|U1})', 'what must be unique stays where it is');
SELECT referral.unmerge_patient(1, :own, 'y') \g /dev/null
DROP INDEX referral.one_identifier;
CREATE UNIQUE INDEX one_mail ON referral.patient (org_id, lower(email));
INSERT INTO referral.patient (patient_id, email) VALUES (214, NULL), (215, 'Two@example.org');
SELECT referral.merge_patient(1, 214, 215, 'x') AS own \gset
SELECT is((SELECT email FROM referral.patient WHERE patient_id = 214), NULL, 'also where it is unique by an expression');
SELECT referral.unmerge_patient(1, :own, 'y') \g /dev/null
DROP INDEX referral.one_mail;

-- 7. Whatever is in the rows: merged and unmerged, they are the same

SELECT rules('{"family": "newest", "given": "longest", "address": "newest", "email": "survivor", "phone": "longest", "alias": "newest"}') \g /dev/null
SELECT setseed(0.42) \g /dev/null
CREATE FUNCTION one_of(VARIADIC a text[]) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT a[1 + floor(random() * cardinality(a))::int]';
INSERT INTO referral.patient (patient_id, identifier_system, identifier, family, given, middle, suffix, alias, previous_family, mother_maiden_name, birth_date, sex, multiple_birth, birth_order,
                              phone, email, address, city, state, postal_code, other_phones, other_identifiers, language, active)
SELECT 1000 + g, one_of(NULL, '', 'mrn', 'ssn'), one_of(NULL, ' ', '12', 'É"\|'), one_of(NULL, '', 'O''Brien', 'Åström', '李', '"x"', 'null', '{}'), one_of(NULL, 'Zoë', 'zoë', 'B\nC'), one_of(NULL, 'X'), one_of(NULL, 'Jr'),
       one_of(NULL, '{}', '{A}', '{A,a}', '{NULL,B}')::text[], one_of(NULL, '{}', '{O''Brien}', '{null}')::text[], one_of(NULL, 'M'), one_of(NULL, '1900-01-01', '2000-02-29')::date,
       one_of(NULL, 'male', 'unknown'), one_of(NULL, 'true', 'false')::boolean, one_of(NULL, '1', '2')::integer, one_of(NULL, '1', '22', '22,33'), one_of(NULL, 'a@b'), one_of(NULL, '1 Main', '2 High'),
       one_of(NULL, 'Boston', 'Salem'), one_of(NULL, 'MA'), one_of(NULL, '02101'), one_of(NULL, '{1}', '{1,1,2}')::text[], one_of(NULL, '{mrn|12,|}')::text[], one_of(NULL, 'en'), random() < 0.8
FROM generate_series(0, 399) g;
INSERT INTO referral.referral (referral_id, patient_id) SELECT 1000 + g, 1000 + floor(random() * 400)::int FROM generate_series(0, 399) g;
CREATE TABLE rows_before AS SELECT p.patient_id AS id, row_of(p.patient_id) AS r FROM referral.patient p WHERE p.patient_id >= 1000;
CREATE TABLE referrals_before AS SELECT r.referral_id, r.patient_id FROM referral.referral r WHERE r.referral_id >= 1000;
CREATE TABLE merges AS SELECT g, referral.merge_patient(1, 1000 + g, 1399 - g, 'x') AS m FROM generate_series(0, 199) g;
SELECT is((SELECT count(*) FROM referral.referral WHERE referral_id >= 1000 AND patient_id >= 1200), 0::bigint, 'no referral is left with any of 200 duplicates');
SELECT is((SELECT count(*) FROM referral.patient_golden WHERE patient_id >= 1000 AND merged_count = 1), 200::bigint, 'each is merged');
SELECT cmp_ok((SELECT count(*) FROM rows_before b WHERE row_of(b.id) <> b.r), '>=', 350::bigint, 'most rows have changed');
SELECT is((SELECT sum(referral.unmerge_patient(1, m, 'y')) FROM merges), 0::numeric, 'nothing is to be decided when nothing has happened');
SELECT is((SELECT array_agg(b.id) FROM rows_before b WHERE row_of(b.id) <> b.r), NULL, 'all rows are as they were');
SELECT is((SELECT array_agg(b.referral_id) FROM referrals_before b WHERE whose(b.referral_id) <> b.patient_id), NULL, 'all referrals are whose they were');
SELECT is((SELECT array_agg(e || ' ' || v.problem || v.columns::text) FROM unnest(ARRAY['patient', 'referral', 'patient_merge', 'merge_reattribution']) e, referral.verify_coverage(e) v
           WHERE v.columns IS DISTINCT FROM '{kept}'), NULL, 'the journal tells all of it');

-- 8. Tables of one's own

INSERT INTO referral.patient (patient_id, family) VALUES (300, 'A'), (301, 'B'), (302, 'C');
CREATE TABLE visit (org_id bigint NOT NULL, day date NOT NULL, room integer, person bigint NOT NULL, guarantor bigint, PRIMARY KEY (org_id, day, room),
    FOREIGN KEY (org_id, person) REFERENCES referral.patient DEFERRABLE INITIALLY DEFERRED, CONSTRAINT guarantees FOREIGN KEY (guarantor, org_id) REFERENCES referral.patient (patient_id, org_id));
CREATE TABLE bed (bed_id bigint, org_id bigint, patient_id bigint, ward text, PRIMARY KEY (bed_id, ward), FOREIGN KEY (org_id, patient_id) REFERENCES referral.patient) PARTITION BY LIST (ward);
CREATE TABLE bed_a PARTITION OF bed FOR VALUES IN ('a');
CREATE TABLE bed_b PARTITION OF bed DEFAULT;
ALTER TABLE referral.patient ADD COLUMN mother_id bigint, ADD FOREIGN KEY (org_id, mother_id) REFERENCES referral.patient;
INSERT INTO visit VALUES (1, '2026-01-01', 1, 301, 300), (1, '2026-01-02', 1, 300, 301), (1, '2026-01-03', 1, 302, 301);
INSERT INTO bed VALUES (1, 1, 301, 'a'), (2, 1, 301, 'z'), (3, 1, 302, 'a');
UPDATE referral.patient SET mother_id = 301 WHERE patient_id = 302;
CREATE FUNCTION public_rows() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', (SELECT string_agg(concat(person, ':', guarantor), ',' ORDER BY day) FROM visit), (SELECT string_agg(patient_id::text, ',' ORDER BY bed_id) FROM bed), (SELECT mother_id FROM referral.patient WHERE patient_id = 302)) $$;
SELECT bag_eq($$SELECT relation::text, org_column::text, patient_column::text, key_columns::text FROM referral.patient_references()$$,
    $$VALUES ('visit', 'org_id', 'person', '{day,room}'), ('visit', 'org_id', 'guarantor', '{day,room}'), ('bed', 'org_id', 'patient_id', '{bed_id,ward}'),
             ('referral.referral', 'org_id', 'patient_id', '{referral_id}'), ('referral.patient', 'org_id', 'mother_id', '{patient_id}')
      UNION ALL
      SELECT 'referral.' || t, 'org_id', 'patient_id', format('{%s_id}', CASE t WHEN 'inbox_message' THEN 'message' WHEN 'data_quality_finding' THEN 'finding' ELSE t END)
      FROM unnest('{appointment,communication,coverage,data_quality_finding,document,eligibility_check,encounter,identifier,inbox_message,prior_authorization}'::text[]) t$$, 'all columns that refer to patients are found');
SELECT referral.merge_patient(1, 300, 301, 'x') AS own \gset
SELECT is(public_rows(), '300:300,300:300,302:300 300,300,302 300', 'they point to the survivor');
INSERT INTO visit VALUES (1, '2026-01-04', 1, 300, NULL);
SELECT is(referral.unmerge_patient(1, :own, 'y'), 1::bigint, 'and one more, later');
SELECT is(public_rows(), '301:300,300:301,302:301,300: 301,301,302 301', 'they are where they were');
SELECT reattribution_id AS late FROM referral.merge_reattribution WHERE merge_id = :own \gset
SELECT is((SELECT (reference, row_key)::text FROM referral.merge_reattribution WHERE reattribution_id = :late), '("public.visit(person)","{""day"": ""2026-01-04"", ""room"": 1}")', 'the later one is on the list by its key');
SELECT is(referral.reattribute(1, :late, 301), 'moved', 'and goes');
SELECT is(public_rows(), '301:300,300:301,302:301,301: 301,301,302 301', 'where it belongs');

-- a table without a key, and one with room for one row only
SELECT again(300, 301);
CREATE TABLE scribble (org_id bigint, patient_id bigint, FOREIGN KEY (org_id, patient_id) REFERENCES referral.patient);
SELECT is(code, 'done', 'a table without a primary key, without rows of the duplicate, is in nobody''s way') FROM refused('SELECT referral.merge_patient(1, 300, 301, ''x'')');
INSERT INTO scribble VALUES (1, 301);
SELECT is(refusal('SELECT referral.merge_patient(1, 300, 301, ''x'')'), 'RF012 table public.scribble has no primary key | Its rows refer to a patient, and could not be found again when he is unmerged. | Give it a primary key.', 'with rows it is');
DROP TABLE scribble;
CREATE TABLE chart (org_id bigint, patient_id bigint, note text, PRIMARY KEY (org_id, patient_id), FOREIGN KEY (org_id, patient_id) REFERENCES referral.patient);
INSERT INTO chart VALUES (1, 301, 'of 301');
SELECT referral.merge_patient(1, 300, 301, 'x') AS own \gset
SELECT is((SELECT (patient_id, note)::text FROM chart), '(300,"of 301")', 'the only row of two patients moves, also where the patient is its key');
SELECT referral.unmerge_patient(1, :own, 'y') \g /dev/null
SELECT is((SELECT (patient_id, note)::text FROM chart), '(301,"of 301")', 'and moves back');
SELECT again(300, 301);
INSERT INTO chart VALUES (1, 300, 'of 300');
SELECT everything() AS untouched \gset
SELECT is(refusal('SELECT referral.merge_patient(1, 300, 301, ''x'')'), 'RF015 rows of table public.chart cannot be moved from patient 301 to patient 300 | It allows only one such row for a patient, and each of the two has one. | Settle that in the table first.', 'two rows where there is room for one');
SELECT is(everything(), :'untouched', 'change nothing');
DROP TABLE chart;
CREATE TABLE stubborn (id bigint PRIMARY KEY, org_id bigint, patient_id bigint, FOREIGN KEY (org_id, patient_id) REFERENCES referral.patient);
CREATE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER stay BEFORE UPDATE ON stubborn FOR EACH ROW EXECUTE FUNCTION stay();
INSERT INTO stubborn VALUES (1, 1, 301);
SELECT is(refusal('SELECT referral.merge_patient(1, 300, 301, ''x'')'), 'RF015 rows of table public.stubborn cannot be moved from patient 301 to patient 300 | A trigger or a policy of the table is against it. | Settle that in the table first.', 'rows that do not move');
CREATE OR REPLACE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.patient_id := OLD.patient_id; RETURN NEW; END';
SELECT is(refusal('SELECT referral.merge_patient(1, 300, 301, ''x'')'), 'RF015 rows of table public.stubborn cannot be moved from patient 301 to patient 300 | A trigger or a policy of the table is against it. | Settle that in the table first.', 'nor those that say they did');
CREATE OR REPLACE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.patient_id := 302; RETURN NEW; END';
SELECT is(code, 'RF015', 'nor those that go to somebody else') FROM refused('SELECT referral.merge_patient(1, 300, 301, ''x'')');
DROP TABLE stubborn;

-- a trigger that writes a further row for the patient whose row goes
CREATE TABLE a_trace (trace_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id bigint, patient_id bigint, FOREIGN KEY (org_id, patient_id) REFERENCES referral.patient);
CREATE TABLE b_main (id bigint PRIMARY KEY, org_id bigint, patient_id bigint, FOREIGN KEY (org_id, patient_id) REFERENCES referral.patient);
CREATE FUNCTION trace() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.a_trace (org_id, patient_id) VALUES (1, OLD.patient_id); RETURN NULL; END';
CREATE TRIGGER trace AFTER UPDATE ON b_main FOR EACH ROW EXECUTE FUNCTION trace();
INSERT INTO b_main VALUES (1, 1, 301);
SELECT referral.merge_patient(1, 300, 301, 'x') AS own \gset
SELECT is((SELECT array_agg(patient_id) FROM a_trace), '{300}', 'what a trigger writes for the duplicate meanwhile goes, too');
SELECT is((SELECT moved ->> 'public.a_trace(patient_id)' FROM referral.patient_merge WHERE merge_id = :own), '[{"trace_id": 1}]', 'and is noted');
DROP TRIGGER trace ON b_main;
SELECT is(referral.unmerge_patient(1, :own, 'y'), 0::bigint, 'and');
SELECT is((SELECT array_agg(patient_id) FROM a_trace), '{301}', 'goes back');
CREATE TRIGGER trace AFTER UPDATE ON a_trace FOR EACH ROW EXECUTE FUNCTION trace();
SELECT again(300, 301);
SELECT is(refusal('SELECT referral.merge_patient(1, 300, 301, ''x'')'), 'RF015 rows of patient 301 keep coming while they are moved | A trigger writes a new one for each that goes. | See the triggers of the tables that refer to patients.', 'not without end');
DROP TABLE a_trace, b_main;

-- a table of somebody else's: his triggers run with his rights, and may not use the session's
CREATE SCHEMA theirs AUTHORIZATION merge_owner;
GRANT USAGE ON SCHEMA referral TO merge_owner;
GRANT REFERENCES ON referral.patient TO merge_owner;
CREATE TABLE seen (who text);
GRANT INSERT ON seen TO merge_owner;
SET ROLE merge_owner;
CREATE TABLE theirs.note (note_id bigint PRIMARY KEY, org_id bigint, patient_id bigint, FOREIGN KEY (org_id, patient_id) REFERENCES referral.patient);
CREATE FUNCTION theirs.look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen VALUES (current_user || ' ' || coalesce(current_setting('is_superuser'), ''));
    RETURN NEW;
END $$;
CREATE TRIGGER look BEFORE UPDATE ON theirs.note FOR EACH ROW EXECUTE FUNCTION theirs.look();
ALTER TABLE theirs.note ENABLE ROW LEVEL SECURITY;
INSERT INTO theirs.note VALUES (1, 1, 301);
RESET ROLE;
SET SESSION AUTHORIZATION merge_jane;
SELECT referral.merge_patient(1, 300, 301, 'x') AS own \gset
RESET SESSION AUTHORIZATION;
SELECT is((SELECT patient_id FROM theirs.note), 300::bigint, 'a row in somebody else''s table moves');
SELECT is((SELECT string_agg(who, ',') FROM seen), 'merge_owner off', 'his trigger ran as he');
SET ROLE merge_owner;
CREATE OR REPLACE FUNCTION theirs.look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE query_canceled;
END $$;
RESET ROLE;
SELECT is(code, 'RF015', 'what it raises is no cancellation') FROM refused(format('SELECT referral.unmerge_patient(1, %s, ''y'')', :own));
DROP TRIGGER look ON theirs.note;
ALTER TABLE theirs.note RENAME TO remark;
SET client_min_messages = error;
SELECT is(code, 'done', 'a table of another name is in nobody''s way') FROM refused(format('SELECT referral.unmerge_patient(1, %s, ''y'')', :own));
ALTER TABLE theirs.remark RENAME TO note;
SELECT is(referral.unmerge_patient(1, :own, 'y'), 0::bigint, 'back');
SELECT is((SELECT patient_id FROM theirs.note), 301::bigint, 'and so is the row');
SELECT again(300, 301);
-- nor is what is in his rows told
SET ROLE merge_owner;
CREATE TABLE theirs.birth (birth_id bigint PRIMARY KEY, org_id bigint, mother bigint, child bigint, note text, CHECK (mother <> child),
    FOREIGN KEY (org_id, mother) REFERENCES referral.patient, FOREIGN KEY (org_id, child) REFERENCES referral.patient);
INSERT INTO theirs.birth VALUES (1, 1, 300, 301, 'secret');
RESET ROLE;
SET SESSION AUTHORIZATION merge_jane;
SELECT is(refusal('SELECT referral.merge_patient(1, 300, 301, ''x'')'), 'RF015 rows of table theirs.birth cannot be moved from patient 301 to patient 300 | The change fails there (SQLSTATE 23514). | Settle that in the table first.', 'a constraint is broken: by its SQLSTATE, without the row');
RESET SESSION AUTHORIZATION;
DROP TABLE theirs.birth;
SET ROLE merge_owner;
CREATE TABLE theirs.later (later_id bigint PRIMARY KEY, org_id bigint, patient_id bigint, FOREIGN KEY (org_id, patient_id) REFERENCES referral.patient DEFERRABLE INITIALLY DEFERRED);
INSERT INTO theirs.later VALUES (1, 1, 301);
RESET ROLE;
SET SESSION AUTHORIZATION merge_jane;
SELECT is(refusal('SELECT referral.merge_patient(1, 300, 301, ''x'')'), 'RF012 table theirs.later has constraints that are deferred | Its rows are moved with the rights of its owner, and its constraints have to be checked at once. | SET CONSTRAINTS ALL IMMEDIATE in this transaction first, or have the constraint NOT DEFERRABLE.', 'deferred constraints are not left behind');
BEGIN;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT referral.merge_patient(1, 300, 301, 'x') AS own \gset
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT patient_id FROM theirs.later), 300::bigint, 'but checked at once');
BEGIN;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT referral.unmerge_patient(1, :own, 'y') \g /dev/null
COMMIT;
SELECT is((SELECT patient_id FROM theirs.later), 301::bigint, 'also on the way back');
SELECT again(300, 301);
DROP SCHEMA theirs CASCADE;

-- rows of an entity of one's own follow, too
CREATE TABLE task (task_id bigint PRIMARY KEY, about bigint);
SELECT referral.attach('task') \g /dev/null
ALTER TABLE task ADD FOREIGN KEY (org_id, about) REFERENCES referral.patient;
SELECT make_workflow('task') \g /dev/null
SELECT referral.lay_trigger('task', 'zy_follow_merge', 'BEFORE INSERT OR UPDATE', 'ROW', 'referral.follow_merge(''task'', ''task_id'', ''about'')') \g /dev/null
SELECT again(300, 301);
SELECT referral.merge_patient(1, 300, 301, 'x') AS own \gset
INSERT INTO task (task_id, about) VALUES (1, 301), (2, 300), (3, NULL);
SELECT is((SELECT string_agg(coalesce(about::text, '-'), ',' ORDER BY task_id) FROM task), '300,300,-', 'with the trigger on them');
UPDATE task SET about = about;
SELECT is(referral.unmerge_patient(1, :own, 'y'), 1::bigint, 'one came for the survivor');
SELECT is((SELECT string_agg(coalesce(about::text, '-'), ',' ORDER BY task_id) FROM task), '301,300,-', 'one is back');
CREATE TRIGGER bad BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION referral.follow_merge('task', 'task_id', 'nosuch');
SELECT is(code, 'RF012', 'a trigger that names no column says so') FROM refused('INSERT INTO task VALUES (9, 300)');
DROP TABLE task;
DROP TABLE visit, bed;

-- 9. Referrals that ask for the same thing twice

DELETE FROM referral.referral;
INSERT INTO referral.patient (patient_id, family) VALUES (410, 'blank');
INSERT INTO referral.referral (referral_id, patient_id, service_code, specialty, reason_code, reason_text, placer_order_number) VALUES
    (50, 410, 'XR', NULL, NULL, NULL, ''), (51, 410, 'PT', NULL, NULL, NULL, ' '), (52, 410, '', '', '', '', NULL), (53, 410, ' ', ' ', '', ' ', NULL);
SELECT is((SELECT count(*) FROM referral.find_duplicate_referrals(1)), 0::bigint, 'blanks do not agree');
DELETE FROM referral.referral;
INSERT INTO referral.patient (patient_id, family) VALUES (400, 'A'), (401, 'B'), (402, 'C');
INSERT INTO referral.practitioner (practitioner_id, name) VALUES (1, 'P'), (2, 'Q');
INSERT INTO referral.referral (referral_id, patient_id, service_code, specialty, reason_code, reason_text, placer_order_number, requester_id, performer_id, received_at) VALUES
    (1, 400, 'MRI', 'radiology', NULL, NULL, NULL, 1, NULL, '2026-03-01'), (2, 400, ' mri ', 'radiology', NULL, NULL, NULL, 1, NULL, '2026-03-03'), (3, 400, 'MRI', 'radiology', NULL, NULL, NULL, 2, NULL, '2026-05-20'),
    (4, 400, 'CT', 'radiology', NULL, NULL, NULL, 1, NULL, '2026-03-02'), (5, 400, 'MRI', NULL, NULL, NULL, NULL, 1, NULL, '2026-09-01'), (6, 401, 'MRI', 'radiology', NULL, NULL, NULL, 1, NULL, '2026-03-02'),
    (7, 402, NULL, 'cardiology', 'I20', NULL, NULL, 1, 2, '2026-03-01'), (8, 402, NULL, 'Cardiology', 'i20', NULL, NULL, 2, 2, '2026-03-30'), (9, 402, 'ECHO', 'cardiology', 'I20', NULL, NULL, 1, NULL, '2026-04-20'),
    (10, 402, 'X', NULL, NULL, NULL, 'P-1', 1, NULL, '2026-03-01'), (11, 402, 'Y', NULL, NULL, NULL, 'P-1', 1, NULL, '2026-03-15'), (12, 402, 'Z', NULL, NULL, NULL, 'P-1', 2, NULL, '2026-03-15'), (13, NULL, 'MRI', NULL, NULL, NULL, NULL, 1, NULL, '2026-03-01'),
    (14, NULL, 'MRI', NULL, NULL, NULL, NULL, 1, NULL, '2026-03-01');
SELECT bag_eq('SELECT patient_id, referral_id, duplicate_id, round(score::numeric, 2), grade, reasons FROM referral.find_duplicate_referrals(1)',
    $$VALUES (402::bigint, 10::bigint, 11::bigint, 1.00, 'certain', '{placer_order_number,requester}'::text[]),
             (400, 1, 2, 0.85, 'probable', '{service_code,specialty,requester,"same week"}'),
             (402, 7, 8, 0.65, 'possible', '{specialty,reason,performer}'),
             (400, 1, 3, 0.70, 'possible', '{service_code,specialty}'), (400, 2, 3, 0.70, 'possible', '{service_code,specialty}'), (402, 7, 9, 0.65, 'possible', '{specialty,reason,requester}'),
             (402, 8, 9, 0.60, 'possible', '{specialty,reason}')$$, 'pairs of one patient and service within 90 days, with what agrees');
SELECT is((SELECT score >= lag(score) OVER () FROM referral.find_duplicate_referrals(1) LIMIT 1 OFFSET 1), false, 'the surest first');
SELECT is((SELECT count(*) FROM referral.find_duplicate_referrals(1, '1 day')) + (SELECT count(*) FROM referral.find_duplicate_referrals(1, NULL)) + (SELECT count(*) FROM referral.find_duplicate_referrals(2)), 0::bigint, 'none in a shorter period, in no period, in another organisation');
SELECT is((SELECT count(*) FROM referral.find_duplicate_referrals(1, '1 year')), 10::bigint, 'more in a longer one');
SET referral.reason = 'not for us';
UPDATE referral.referral SET state = 'declined', status_reason = 'criteria_not_met' WHERE referral_id = 2;
RESET referral.reason;
SELECT is((SELECT array_agg(duplicate_id) FROM referral.find_duplicate_referrals(1) WHERE patient_id = 400), '{3}', 'ended ones do not count');
SELECT referral.merge_patient(1, 401, 400, 'x') \g /dev/null
SELECT is((SELECT array_agg(referral_id || '-' || duplicate_id ORDER BY referral_id, duplicate_id) FROM referral.find_duplicate_referrals(1) f (patient_id, referral_id, duplicate_id) WHERE patient_id = 401), '{1-3,1-6,3-6}', 'two records of one patient are one');
SET SESSION AUTHORIZATION merge_other;
SET referral.org_id = '2';
SELECT is((SELECT count(*) FROM referral.find_duplicate_referrals(1)), 0::bigint, 'another organisation sees none');
RESET SESSION AUTHORIZATION;
SET referral.org_id = '1';

-- 10. A decision that they are two people

INSERT INTO referral.patient (patient_id, family) SELECT g, 'decided' FROM generate_series(500, 503) g;
SELECT referral.decide_match(1, 500, 501, 'not_a_match', 'twins') \g /dev/null
SELECT matches(refusal('SELECT referral.merge_patient(1, 501, 500, ''x'')'), '^RF015 patient 500 cannot be merged into patient 501 \| Decision [0-9]+ says that they are not the same person. \| Decide anew first, if that was wrong: referral.decide_match\(\).$', 'is in the way of a merge');
SELECT referral.merge_patient(1, 502, 500, 'x') \g /dev/null
SELECT referral.merge_patient(1, 503, 501, 'x') \g /dev/null
SELECT is(code, 'RF015', 'also of one of those that they were merged into') FROM refused('SELECT referral.merge_patient(1, 502, 503, ''x'')');
INSERT INTO referral.patient (patient_id, family) SELECT g, 'decided' FROM generate_series(504, 505) g;
SELECT referral.unmerge_patient(1, referral.merge_patient(1, 504, 505, 'x'), 'y') \g /dev/null
SELECT is(code, 'RF015', 'unmerging is one') FROM refused('SELECT referral.merge_patient(1, 504, 505, ''x'')');
SELECT again(504, 505);
SELECT is(code, 'done', 'until it is decided anew') FROM refused('SELECT referral.merge_patient(1, 504, 505, ''x'')');

-- 11. Patients that a policy of the site's own hides

CREATE POLICY discreet ON referral.patient AS RESTRICTIVE TO merge_jane USING (family <> 'Hidden');
INSERT INTO referral.patient (patient_id, family) VALUES (600, 'Seen'), (601, 'Hidden'), (602, 'Seen');
SELECT referral.merge_patient(1, 601, 602, 'x') AS hidden \gset
UPDATE referral.patient SET family = 'Hidden' WHERE patient_id = 601;
SET SESSION AUTHORIZATION merge_jane;
SELECT is(refusal(s), expected, 'a patient that the session does not see: ' || s) FROM (VALUES
    ('SELECT referral.merge_patient(1, 600, 601, ''x'')', 'RF019 there is no patient 601 in organisation 1 | It does not exist or is not visible to the session. | Check org_id and patient_id.'),
    ('SELECT referral.merge_patient(1, 601, 600, ''x'')', 'RF019 there is no patient 601 in organisation 1 | It does not exist or is not visible to the session. | Check org_id and patient_id.'),
    ('SELECT referral.merge_patient(1, 602, 600, ''x'')', 'RF015 patient 600 cannot be merged into patient 602 | One of them was merged into a patient that is not visible to the session. | Ask somebody who sees all of them.'),
    (format('SELECT referral.unmerge_patient(1, %s, ''x'')', :hidden), format('RF019 there is no merge %s in organisation 1 | It does not exist or is not visible to the session. | See referral.patient_merge.', :hidden))) v (s, expected);
SELECT is((SELECT count(*) FROM referral.patient_merge WHERE merge_id = :hidden) + (SELECT count(*) FROM referral.patient_link WHERE merge_id = :hidden)
          + (SELECT count(*) FROM referral.merge_reattribution WHERE merge_id = :hidden), 0::bigint, 'its merges are hidden, too');
SELECT is(referral.survivor_of(1, 602), NULL, 'and who he was merged into');
RESET SESSION AUTHORIZATION;
-- also from who may read some columns only, and from who asks to have him compared
CREATE ROLE merge_desk LOGIN;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'merge_desk');
GRANT USAGE ON SCHEMA referral TO merge_desk;
GRANT SELECT (org_id, patient_id, city) ON referral.patient TO merge_desk;
GRANT EXECUTE ON FUNCTION referral.merge_patient(bigint, bigint, bigint, text) TO merge_desk;
CREATE POLICY desk_sees ON referral.patient TO merge_desk USING (org_id = 1);
CREATE POLICY desk_discreet ON referral.patient AS RESTRICTIVE TO merge_desk USING (family <> 'Hidden');
SET SESSION AUTHORIZATION merge_desk;
SELECT is(code, 'RF019', 'nor by who reads some columns') FROM refused('SELECT referral.merge_patient(1, 600, 601, ''x'')');
SET SESSION AUTHORIZATION merge_jane;
SELECT is(code, 'RF019', 'nor compared') FROM refused('SELECT referral.rescore_patient(1, 601)');
SELECT is(code, 'done', 'as others are') FROM refused('SELECT referral.rescore_patient(1, 600)');
RESET SESSION AUTHORIZATION;
DROP POLICY desk_sees ON referral.patient;
DROP POLICY desk_discreet ON referral.patient;
-- a function of the site's own answers for those who may not read patients at all
CREATE ROLE merge_clerk LOGIN;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'merge_clerk');
CREATE FUNCTION public.merge_for_me(a bigint, b bigint) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$SELECT referral.merge_patient(1, a, b, 'at the desk')$$;
SET SESSION AUTHORIZATION merge_clerk;
SELECT is(code, 'done', 'a function with other rights may merge') FROM refused('SELECT public.merge_for_me(600, 601)');
RESET SESSION AUTHORIZATION;
DROP POLICY discreet ON referral.patient;

-- 12. Nobody's data in messages

SELECT is((SELECT count(*) FROM referral.patient WHERE merged_into IS NOT NULL AND active), 0::bigint, 'who was merged is not active');
SELECT * FROM finish();
