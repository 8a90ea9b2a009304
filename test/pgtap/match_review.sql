-- Which patients may be one person, what was decided about them, and that it stays decided.
SELECT plan(142);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE FUNCTION public.pairs(VARIADIC ids bigint[] DEFAULT NULL) RETURNS TABLE (pair text, grade text, status text) LANGUAGE sql AS $$
    SELECT format('%s-%s', k.patient_id, k.duplicate_id), k.grade, k.status FROM referral.match_candidate k
    WHERE ids IS NULL OR (k.patient_id = ANY (ids) AND k.duplicate_id = ANY (ids)) ORDER BY k.patient_id, k.duplicate_id
$$;
CREATE FUNCTION public.status(a bigint, b bigint) RETURNS text LANGUAGE sql AS
    'SELECT k.status FROM referral.match_candidate k WHERE (k.org_id, k.patient_id, k.duplicate_id) = (1, a, b)';
CREATE FUNCTION public.person(id bigint, family text, given text, born text, org bigint DEFAULT 1) RETURNS void LANGUAGE sql AS $$
    INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, sex, address, city, postal_code, phone)
    VALUES (org, id, family, given, born::date, 'female', '12 Oak Street', 'Springfield', '62701', '217-555-0101')
$$;

CREATE ROLE match_review_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE match_review_admin LOGIN IN ROLE referral_admin;
CREATE ROLE match_review_doctor LOGIN IN ROLE referral_clinician;
CREATE ROLE match_review_bot LOGIN IN ROLE referral_coordinator;
CREATE ROLE match_review_other LOGIN IN ROLE referral_coordinator;
CREATE ROLE match_review_analyst LOGIN IN ROLE referral_analyst;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'match_review_jane', 'user'), (1, 'match_review_admin', 'user'), (1, 'match_review_doctor', 'user'),
    (1, 'match_review_bot', 'ai'), (2, 'match_review_other', 'user'), (1, 'match_review_analyst', 'user');

-- 1. The queue, and what comes of it

SELECT is((SELECT count(*) FROM referral.match_queue), 0::bigint, 'nobody waits at first');
SELECT public.person(1, 'Fitzgerald', 'Elizabeth', '1980-03-04') \g /dev/null
SELECT public.person(2, 'Fitzgerald', 'Liz', '1980-04-03') \g /dev/null
SELECT public.person(3, 'Okonkwo', 'Adaeze', '1955-11-23') \g /dev/null
SELECT public.person(4, 'Fitzgerald', 'Elizabeth', '1980-03-04', 2) \g /dev/null
SELECT results_eq('SELECT org_id, patient_id, attempts FROM referral.match_queue ORDER BY queue_id',
    'VALUES (1::bigint, 1::bigint, 0), (1, 2, 0), (1, 3, 0), (2, 4, 0)', 'new patients wait to be compared');
SELECT is((SELECT count(*) FROM referral.match_candidate), 0::bigint, 'which has not happened yet');
CALL referral.process_match_queue();
SELECT is((SELECT count(*) FROM referral.match_queue), 0::bigint, 'then it has');
SELECT results_eq('SELECT pair, status FROM public.pairs()', $$VALUES ('1-2', 'open')$$, 'the pair that may be one person is found once; never one of two organisations');
SELECT results_eq('SELECT k.probability, k.grade, k.rule_version, k.patient_version, k.duplicate_version FROM referral.match_candidate k',
    $$SELECT referral.match_probability(p.demographics, q.demographics), referral.match_grade(p.demographics, q.demographics), m.rule_version_id, 1::bigint, 1::bigint
      FROM referral.patient p, referral.patient q, referral.match_model m WHERE p.patient_id = 1 AND q.patient_id = 2$$, 'with its score, the model, and the versions that were compared');
SELECT results_eq($$SELECT acted, fired, failed, last_error, finished_at >= started_at FROM referral.heartbeat WHERE job = 'match'$$,
    'VALUES (4::bigint, 1::bigint, 0::bigint, NULL::text, true)', 'the job leaves a heartbeat');
SELECT is(referral.match_model_version(), (SELECT rule_version_id FROM referral.match_model), 'the active model');

CREATE TABLE public.before AS TABLE referral.match_candidate;
UPDATE referral.patient SET active = false WHERE patient_id = 1;
SELECT is((SELECT count(*) FROM referral.match_queue), 0::bigint, 'a change that says nothing about who it is is not compared');
UPDATE referral.patient SET email = 'liz@example.org' WHERE patient_id IN (1, 2);
UPDATE referral.patient SET phone = '217-555-0102' WHERE patient_id = 1;
SELECT is((SELECT array_agg(patient_id ORDER BY patient_id) FROM referral.match_queue), '{1,1,2}', 'another one is, each time');
CALL referral.process_match_queue(2);
SELECT is((SELECT count(*) FROM referral.match_queue), 0::bigint, 'in batches, until nobody is left');
SELECT results_eq('SELECT k.candidate_id, k.found_at, k.opened_at, k.patient_version, k.duplicate_version, k.last_scored_at > b.last_scored_at FROM referral.match_candidate k, public.before b',
    'SELECT candidate_id, found_at, opened_at, 4::bigint, 2::bigint, true FROM public.before', 'the same pair is scored anew');
UPDATE referral.patient SET given = 'Margaret', birth_date = '1931-12-12', phone = NULL, email = NULL, address = NULL WHERE patient_id = 2;
CALL referral.process_match_queue();
SELECT results_eq('SELECT * FROM public.pairs()', $$VALUES ('1-2', 'certainly-not', 'superseded')$$, 'a score that fell below possible supersedes it');
UPDATE referral.patient SET given = 'Liz', birth_date = '1980-04-03', phone = '217-555-0101', address = '12 Oak St' WHERE patient_id = 2;
CALL referral.process_match_queue();
SELECT is(public.status(1, 2), 'open', 'one that rose again opens it');
SELECT is((SELECT k.opened_at > b.opened_at AND k.found_at = b.found_at FROM referral.match_candidate k, public.before b), true, 'since then');

-- an older row never overwrites a newer one
UPDATE referral.match_candidate SET patient_version = 99, probability = 0.5;
SELECT referral.rescore_patient(1, 2) \g /dev/null
SELECT is((SELECT probability FROM referral.match_candidate), 0.5::double precision, 'who has seen an older row does not write');
UPDATE referral.match_candidate SET patient_version = 1;
SELECT referral.rescore_patient(1, 2) \g /dev/null
SELECT isnt((SELECT probability FROM referral.match_candidate), 0.5::double precision, 'who has seen a newer one does');

-- what fails stays, alone
ALTER TABLE referral.patient DISABLE TRIGGER match_on_write;
SELECT public.person(5, 'Nguyen', 'Thi', '1990-01-02') \g /dev/null
ALTER TABLE referral.patient ENABLE TRIGGER match_on_write;
INSERT INTO referral.match_queue (org_id, patient_id) VALUES (1, 1), (1, 999999), (1, 5);
CREATE FUNCTION public.fail_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF OLD.patient_id = 1 THEN RAISE EXCEPTION 'Elizabeth' USING ERRCODE = 'P0001'; END IF; RETURN OLD; END $$;
CREATE TRIGGER fail BEFORE DELETE ON referral.match_queue FOR EACH ROW EXECUTE FUNCTION public.fail_one();
CALL referral.process_match_queue();
SELECT results_eq('SELECT patient_id, attempts, error, try_at > now() FROM referral.match_queue', $$VALUES (1::bigint, 1, 'P0001', true)$$,
    'who cannot be compared waits on, with the SQLSTATE of the error and no more; the others, also one who is gone, do not');
SELECT results_eq($$SELECT acted, failed, last_error FROM referral.heartbeat WHERE job = 'match'$$, $$VALUES (2::bigint, 1::bigint, 'patient 1: P0001')$$, 'the heartbeat tells');
SELECT is((SELECT problem FROM referral.job_status WHERE job = 'match'), 'finished with errors: patient 1: P0001', 'and job_status');
CALL referral.process_match_queue();
SELECT is((SELECT attempts FROM referral.match_queue), 1, 'it is not tried at once again');
UPDATE referral.match_queue SET try_at = now();
CALL referral.process_match_queue();
SELECT results_eq($$SELECT attempts, try_at BETWEEN now() + interval '90 seconds' AND now() + interval '2 minutes' FROM referral.match_queue$$, 'VALUES (2, true)', 'but later, and then later still');
DROP TRIGGER fail ON referral.match_queue;
UPDATE referral.match_queue SET try_at = now();
CALL referral.process_match_queue();
SELECT is((SELECT count(*) FROM referral.match_queue), 0::bigint, 'until it succeeds');
SELECT is(public.code('CALL referral.process_match_queue(0)'), 'RF020', 'a batch has at least one patient');
SELECT is(public.code('CALL referral.process_match_queue(NULL)'), 'RF020', 'null is none');

-- the setting
SET referral.match_on_write = 'off';
SELECT public.person(6, 'Fitzgerald', 'Elizabeth', '1980-03-04') \g /dev/null
SELECT is((SELECT count(*) FROM referral.match_queue), 0::bigint, 'off: nobody waits');
SET referral.match_on_write = 'immediate';
SELECT public.person(7, 'Okonkwo', 'Adaeze', '1955-11-23') \g /dev/null
SELECT results_eq('SELECT pair, status FROM public.pairs(3, 7)', $$VALUES ('3-7', 'open')$$, 'immediate: compared in the same transaction, with older ones, too');
SELECT is((SELECT array_agg(patient_id) FROM referral.match_queue), '{7}', 'and once more later, since others may be writing now');
BEGIN;
SAVEPOINT s;
SELECT public.person(8, 'Okonkwo', 'Adaeze', '1955-11-23') \g /dev/null
SELECT is((SELECT count(*) FROM public.pairs(3, 7, 8)), 3::bigint, 'immediate: in the transaction');
ROLLBACK TO s;
SELECT is((SELECT count(*) FROM public.pairs(3, 7, 8)), 1::bigint, 'undone with it');
ROLLBACK;
ALTER FUNCTION referral.match_grade(referral.demographics, referral.demographics, bigint) RENAME TO match_grade_gone;
SET client_min_messages = error;
SELECT public.person(8, 'Okonkwo', 'Adaeze', '1955-11-23') \g /dev/null
RESET client_min_messages;
ALTER FUNCTION referral.match_grade_gone(referral.demographics, referral.demographics, bigint) RENAME TO match_grade;
SELECT is((SELECT array_agg(patient_id ORDER BY queue_id) FROM referral.match_queue), '{7,8}', 'immediate: what cannot be compared is written all the same, and waits');
RESET referral.match_on_write;
CALL referral.process_match_queue();
SELECT is((SELECT count(*) FROM public.pairs(3, 7, 8)), 3::bigint, 'and is compared by the queue');
SET SESSION AUTHORIZATION match_review_jane;
SELECT is(public.code('SET referral.match_on_write = off'), '42501', 'who enters patients does not switch it off');
RESET SESSION AUTHORIZATION;
SELECT is(public.code('SET referral.match_on_write = sometimes'), '22023', 'nor does anybody set it to something else');

DELETE FROM referral.patient WHERE patient_id = 8;
SELECT results_eq('SELECT pair FROM public.pairs(3, 7, 8)', $$VALUES ('3-7')$$, 'who is deleted is no candidate any more');

-- all at once
SELECT cmp_ok(referral.load_duplicates(1), '>', 0::bigint, 'load_duplicates() finds whom nobody compared');
SELECT results_eq('SELECT pair FROM public.pairs(1, 2, 3, 6, 7)', $$VALUES ('1-2'), ('1-6'), ('2-6'), ('3-7')$$, 'as the queue would have');
SELECT is(referral.load_duplicates(1), 0::bigint, 'and nothing more, called again');
UPDATE referral.match_candidate SET probability = 0.5, grade = 'possible' WHERE (patient_id, duplicate_id) = (1, 6);
SELECT is(referral.load_duplicates(1), 1::bigint, 'but what is not as it should be');

-- 2. Decisions

SET SESSION AUTHORIZATION match_review_jane;
SELECT is(public.code($$SELECT referral.decide_match(1, 1, 2, 'link', $$ || r || ')'), 'RF005', 'a decision takes a reason: ' || r) FROM (VALUES ('NULL'), (''''''), (''' ''')) x (r);
SELECT is(public.code(format('SELECT referral.decide_match(1, %s)', s)), c, s || ': ' || c) FROM (VALUES
    ($$1, 1, 'link', 'x'$$, 'RF020'), ($$1, 2, 'merge', 'x'$$, 'RF020'), ($$1, 2, NULL, 'x'$$, 'RF020'),
    ($$1, 2, 'defer', 'x'$$, 'RF020'), ($$1, 2, 'defer', 'x', current_date$$, 'RF020'), ($$1, 2, 'defer', 'x', 'infinity'$$, 'RF020'),
    ($$1, 2, 'link', 'x', current_date + 5$$, 'RF020'), ($$1, 4, 'link', 'x'$$, 'RF019'), ($$1, 777, 'link', 'x'$$, 'RF019'),
    ($$1, NULL, 'link', 'x'$$, 'RF019')) x (s, c);
SELECT is(public.code($$SELECT referral.decide_match(2, 4, 1, 'link', 'x')$$), 'RF019', 'another organisation''s patients are not there');
SELECT unalike(r.message || r.detail || r.hint, '%Fitz%', 'and no refusal names them') FROM public.refused($$SELECT referral.decide_match(1, 1, 4, 'link', 'Fitzgerald')$$) r;
SELECT referral.decide_match(1, 2, 1, 'not_a_match', 'mother and daughter') AS d1 \gset
RESET SESSION AUTHORIZATION;
SELECT results_eq(format('SELECT patient_id, duplicate_id, decision, reason, source, decided_by, actor_kind, decided_at <= now(), probability, grade FROM referral.match_decision WHERE decision_id = %s', :d1),
    $$SELECT 1::bigint, 2::bigint, 'not_a_match', 'mother and daughter', 'review', 'match_review_jane', 'user', true, k.probability, k.grade
      FROM referral.match_candidate k WHERE (k.patient_id, k.duplicate_id) = (1, 2)$$, 'what was decided, by whom, why, and what the score was; the smaller id first');
SELECT results_eq(format('SELECT status, decision_id = %s FROM referral.match_candidate WHERE (patient_id, duplicate_id) = (1, 2)', :d1),
    $$VALUES ('not_a_match', true)$$, 'the pair says so');
SELECT results_eq(format('SELECT rule_version, patient_version, duplicate_version FROM referral.match_decision WHERE decision_id = %s', :d1),
    $$SELECT referral.match_model_version(), p.version, q.version FROM referral.patient p, referral.patient q WHERE p.patient_id = 1 AND q.patient_id = 2$$, 'by which model, and of which rows');
SELECT results_eq($$SELECT actor, changes -> 'reason' ->> 1 FROM referral.journal WHERE entity = 'match_decision' ORDER BY journal_id DESC LIMIT 1$$,
    $$VALUES ('match_review_jane', 'mother and daughter')$$, 'and the journal');
UPDATE referral.patient SET given = 'Elizabeth', birth_date = '1980-03-04', phone = '217-555-0102' WHERE patient_id = 2;
CALL referral.process_match_queue();
SELECT results_eq('SELECT grade, status FROM public.pairs(1, 2)', $$VALUES ('certain', 'not_a_match')$$, 'a score that rises does not open it again');
SELECT referral.load_duplicates(1) \g /dev/null
SELECT is(public.status(1, 2), 'not_a_match', 'nor does load_duplicates()');

SET SESSION AUTHORIZATION match_review_bot;
SELECT is(public.code($$SELECT referral.decide_match(1, 1, 2, 'link', 'x')$$), 'RF003', 'an AI does not decide');
SET SESSION AUTHORIZATION match_review_doctor;
SELECT is(public.code($$SELECT referral.decide_match(1, 1, 2, 'link', 'x')$$), '42501', 'nor a clinician');
SELECT is((SELECT count(*) FROM referral.match_decision), 1::bigint, 'who sees what was decided');
SET SESSION AUTHORIZATION match_review_other;
SELECT is((SELECT count(*) FROM referral.match_decision) + (SELECT count(*) FROM referral.match_candidate) + (SELECT count(*) FROM referral.duplicate_review),
          0::bigint, 'another organisation sees nothing');
SELECT is(public.code('SELECT referral.rescore_patient(1, 1)'), 'RF019', 'and compares nobody');
SET SESSION AUTHORIZATION match_review_analyst;
SELECT is(public.code('SELECT * FROM referral.match_candidate'), '42501', 'nor do those who see no patients');
SET SESSION AUTHORIZATION match_review_admin;
SELECT is(public.code('SELECT referral.load_duplicates(2)'), 'RF019', 'load_duplicates() is for one''s own organisation');
SELECT is(public.code('SELECT referral.load_duplicates(NULL)'), 'RF019', 'not for none');
SELECT is(referral.load_duplicates(1), 0::bigint, 'an administrator''s');
SELECT is(public.code('CALL referral.process_match_queue()'), '42501', 'the queue is the owner''s');
SELECT is(public.code($$UPDATE referral.match_candidate SET status = 'linked'$$), '42501', 'nobody writes candidates');
INSERT INTO referral.match_decision (patient_id, duplicate_id, decision, reason, defer_until) VALUES (1, 2, 'defer', 'papers are on their way', current_date + 1);
SELECT is(public.status(1, 2), 'deferred', 'a decision may be a plain INSERT; the last one counts');
SELECT is(public.code($$INSERT INTO referral.match_decision (patient_id, duplicate_id, decision, reason, decided_by) VALUES (1, 2, 'link', 'x', 'somebody')$$), '42501',
    'who decides cannot be chosen');
RESET SESSION AUTHORIZATION;
SELECT is(public.code($$UPDATE referral.match_decision SET reason = 'other'$$), 'RF007', 'what was decided stays, for everybody');
SELECT is(public.code('DELETE FROM referral.match_decision'), 'RF007', 'and is not deleted');

-- 3. What is to be done

SELECT results_eq('SELECT patient_id, duplicate_id FROM referral.duplicate_review WHERE org_id = 1 ORDER BY 1, 2',
    'VALUES (1::bigint, 6::bigint), (2, 6), (3, 7)', 'what was deferred is not to be done yet');
UPDATE referral.match_candidate SET deferred_until = current_date WHERE status = 'deferred';
SELECT results_eq('SELECT status, last_reason, priority, next_action, open_since < now() FROM referral.duplicate_review WHERE (patient_id, duplicate_id) = (1, 2)',
    $$VALUES ('open', 'papers are on their way', 2, 'confirm', true)$$, 'on its day it is');
SELECT referral.decide_match(1, 1, 2, 'not_a_match', 'the papers have come') \g /dev/null
INSERT INTO referral.referral (org_id, patient_id, specialty) VALUES (1, 3, 'cardiology'), (1, 7, 'cardiology'), (1, 7, 'cardiology'), (1, 1, 'cardiology');
UPDATE referral.referral SET state = 'cancelled', status_reason = 'patient_request' WHERE patient_id = 7 AND referral_id = (SELECT min(referral_id) FROM referral.referral WHERE patient_id = 7);
SELECT results_eq('SELECT open_referrals, next_action FROM referral.duplicate_review WHERE (patient_id, duplicate_id) = (3, 7)', $$VALUES (2::bigint, 'confirm')$$,
    'open referrals of both');
SELECT referral.decide_match(1, 3, 7, 'link', 'same insurance card') \g /dev/null
SELECT results_eq('SELECT status, priority, next_action, last_reason FROM referral.duplicate_review WHERE (patient_id, duplicate_id) = (3, 7)',
    $$VALUES ('linked', 1, 'merge', 'same insurance card')$$, 'who was linked is to be merged, before all others');
-- a site's own policies count
CREATE POLICY match_review_vip ON referral.patient AS RESTRICTIVE TO match_review_jane USING (patient_id <> 7);
SET SESSION AUTHORIZATION match_review_jane;
SELECT results_eq('SELECT pair FROM public.pairs(3, 7)', 'SELECT ''''::text WHERE false', 'who does not see one of both does not see the pair');
SELECT is((SELECT count(*) FROM referral.match_decision WHERE duplicate_id = 7) + (SELECT count(*) FROM referral.duplicate_review WHERE duplicate_id = 7), 0::bigint, 'nor what was decided, nor what is to be done');
SELECT is(public.code($$SELECT referral.decide_match(1, 3, 7, 'link', 'x')$$), 'RF019', 'nor can decide');
SELECT is((SELECT count(*) FROM referral.match_cluster(1) WHERE 7 = ANY (patient_ids)), 0::bigint, 'nor see the group');
RESET SESSION AUTHORIZATION;
DROP POLICY match_review_vip ON referral.patient;

-- 4. Merging

SELECT referral.merge_patient(1, 3, 7, 'same insurance card') AS m1 \gset
SELECT is((SELECT count(*) FROM referral.duplicate_review WHERE 7 IN (patient_id, duplicate_id)), 0::bigint, 'who is merged is settled');
SELECT results_eq('SELECT decision, source FROM referral.match_decision WHERE (patient_id, duplicate_id) = (3, 7) ORDER BY decision_id', $$VALUES ('link', 'review'), ('link', 'merge')$$,
    'a merge is a decision, too');
SELECT is(public.code($$SELECT referral.decide_match(1, 7, 3, 'not_a_match', 'x')$$), 'RF015', 'who is merged cannot be kept apart');
SELECT is(public.code($$SELECT referral.decide_match(1, 7, 3, 'link', 'x')$$), 'done', 'but linked');
SELECT is(public.code($$SELECT referral.merge_patient(1, 1, 2, 'x')$$), 'RF015', 'who is not a match is not merged');
-- a decision about a merged record goes for the survivor
SELECT public.person(10, 'Okonkwo', 'Adaeze', '1955-11-23') \g /dev/null
SELECT referral.decide_match(1, 7, 10, 'not_a_match', 'aunt and niece') \g /dev/null
CALL referral.process_match_queue();
SELECT results_eq('SELECT pair, status FROM public.pairs(3, 10)', $$VALUES ('3-10', 'open')$$, 'a pair that a decision about a merged record keeps apart');
SELECT is((SELECT count(*) FROM referral.duplicate_review WHERE (patient_id, duplicate_id) = (3, 10)), 0::bigint, 'is not to be looked at');
SELECT is(public.code($$SELECT referral.merge_patient(1, 3, 10, 'x')$$), 'RF015', 'nor to be merged');
SELECT is(public.code($$SELECT referral.decide_match(1, 3, 10, 'link', 'x')$$), 'done', 'it can be linked');
BEGIN;
SELECT referral.decide_match(1, 3, 10, 'link', 'x') \g /dev/null
SELECT is((SELECT next_action FROM referral.duplicate_review WHERE (patient_id, duplicate_id) = (3, 10)), 'resolve', 'which leaves two decisions that contradict each other');
ROLLBACK;
SELECT results_eq('SELECT patient_ids, needs_review, conflicts FROM referral.match_cluster(1) WHERE cluster_id = 3',
    $$VALUES ('{3,10}'::bigint[], true, '[{"why": "not_a_match", "patient_id": 3, "duplicate_id": 10}]'::jsonb)$$, 'and its group is to be reviewed');
SELECT referral.decide_match(1, 7, 10, 'link', 'the same after all') \g /dev/null
SELECT is((SELECT array_agg(format('%s-%s %s', patient_id, duplicate_id, next_action) ORDER BY priority) FROM referral.duplicate_review WHERE patient_id = 3), '{"3-10 merge","3-10 confirm"}',
    'a link to a merged record is one to the survivor');
SELECT results_eq('SELECT patient_ids, weakest, needs_review FROM referral.match_cluster(1) WHERE cluster_id = 3', $$VALUES ('{3,10}'::bigint[], 'certain', false)$$, 'also in its group');
SELECT referral.unmerge_patient(1, :m1, 'they met') \g /dev/null
SELECT is(public.status(3, 7), 'not_a_match', 'an unmerge is a decision against');
CALL referral.process_match_queue();
SELECT is(public.status(3, 7), 'not_a_match', 'which no score overrules');
SELECT is(public.code($$SELECT referral.merge_patient(1, 3, 7, 'x')$$), 'RF015', 'so they are not merged again');
SELECT results_eq('SELECT patient_ids, needs_review, conflicts FROM referral.match_cluster(1) WHERE cluster_id = 3',
    $$VALUES ('{3,7,10}'::bigint[], true, '[{"why": "not_a_match", "patient_id": 3, "duplicate_id": 7}]'::jsonb)$$, 'not by way of a third one, either');

-- 5. Groups

SET referral.match_on_write = 'off';
SELECT public.person(20 + i, f, g, b) FROM (VALUES (1, 'Novak', 'Jana', '1970-01-05'), (2, 'Novak', 'Jana', '1970-01-05'), (3, 'Novak', 'Jana', '1970-01-05'),
    (4, 'Silva', 'Maria', '1960-02-03'), (5, 'Kowalski', 'Ewa', '1999-09-09'), (6, 'Haddad', 'Lina', '1949-07-07')) x (i, f, g, b) \g /dev/null
UPDATE referral.patient SET phone = NULL, address = NULL, city = NULL, postal_code = NULL WHERE patient_id IN (24, 25, 26);
CREATE FUNCTION public.connect(a bigint, b bigint, status text DEFAULT 'open', grade text DEFAULT 'probable') RETURNS void LANGUAGE sql AS $$
    INSERT INTO referral.match_candidate (org_id, patient_id, duplicate_id, probability, grade, status, deferred_until)
    VALUES (1, a, b, 0.9, grade, status, CASE status WHEN 'deferred' THEN current_date END)
    ON CONFLICT ON CONSTRAINT match_candidate_pair DO UPDATE SET status = excluded.status, grade = excluded.grade, deferred_until = excluded.deferred_until
$$;
CREATE FUNCTION public.groups(low bigint, high bigint) RETURNS TABLE (patient_ids bigint[], weakest text, needs_review boolean, why text) LANGUAGE sql AS $$
    SELECT c.patient_ids, c.weakest, c.needs_review,
           (SELECT string_agg(format('%s-%s %s', x ->> 'patient_id', x ->> 'duplicate_id', x ->> 'why'), ', ') FROM jsonb_array_elements(c.conflicts) x)
    FROM referral.match_cluster(1) c WHERE c.cluster_id BETWEEN low AND high
$$;
SELECT public.connect(21, 22), public.connect(22, 23, 'linked') \g /dev/null
SELECT results_eq('SELECT * FROM public.groups(21, 29)', $$VALUES ('{21,22,23}'::bigint[], 'probable', false, NULL::text)$$, 'who is connected is a group');
SELECT public.connect(21, 22, 'open', 'certain') \g /dev/null
SELECT results_eq('SELECT weakest FROM public.groups(21, 29)', $$VALUES ('certain')$$, 'as certain as what connects it');
SELECT public.connect(21, 23, 'not_a_match') \g /dev/null
SELECT results_eq('SELECT * FROM public.groups(21, 29)', $$VALUES ('{21,22,23}'::bigint[], 'certain', true, '21-23 not_a_match')$$, 'a decision against two of it: review');
SELECT public.connect(21, 22, 'superseded') \g /dev/null
SELECT results_eq('SELECT * FROM public.groups(21, 29)', $$VALUES ('{22,23}'::bigint[], 'linked', false, NULL::text)$$, 'what is superseded connects nobody');
SELECT public.connect(21, 22, 'deferred'), public.connect(24, 25), public.connect(25, 26) \g /dev/null
SELECT results_eq('SELECT * FROM public.groups(21, 29)', $$VALUES ('{22,23}'::bigint[], 'linked', false, NULL::text), ('{24,25,26}', 'probable', true, '24-26 certainly-not')$$,
    'nor what is deferred; two who are certainly not one, connected by a third: review');
SELECT public.connect(24, 26, 'linked') \g /dev/null
SELECT results_eq('SELECT needs_review FROM public.groups(24, 29)', 'VALUES (false)', 'unless they were linked');
SELECT is((SELECT count(*) FROM referral.match_cluster(2)) + (SELECT count(*) FROM referral.match_cluster(NULL)), 0::bigint, 'no groups, no rows');

-- many at random, by another algorithm
INSERT INTO referral.patient (org_id, patient_id, family) SELECT 1, 1000 + i, 'Random' FROM generate_series(1, 1000) i;
SELECT setseed(0.5) \g /dev/null
INSERT INTO referral.match_candidate (org_id, patient_id, duplicate_id, probability, grade, status)
SELECT DISTINCT ON (1, 2, 3) 1, least(a, b), greatest(a, b), 0.9, 'probable', 'open'
FROM (SELECT 1001 + (random() * 999)::int AS a, 1001 + (random() * 999)::int AS b FROM generate_series(1, 480)) x WHERE a <> b;
CREATE TABLE public.found AS SELECT c.* FROM referral.match_cluster(1) c WHERE c.cluster_id BETWEEN 1001 AND 2000;
SELECT results_eq('SELECT cluster_id, id FROM public.found, unnest(patient_ids) id ORDER BY 2',
    $$WITH RECURSIVE edge AS (SELECT patient_id AS a, duplicate_id AS b FROM referral.match_candidate WHERE patient_id > 1000
                             UNION SELECT duplicate_id, patient_id FROM referral.match_candidate WHERE patient_id > 1000),
          reach (a, b) AS (SELECT a, a FROM edge UNION SELECT r.a, e.b FROM reach r JOIN edge e ON e.a = r.b)
      SELECT min(b)::bigint, a::bigint FROM reach GROUP BY a ORDER BY 2$$, 'groups are what can be reached, named by the smallest id');
SELECT is((SELECT array_agg(size) FROM public.found WHERE size <> cardinality(patient_ids)), NULL, 'with their size');
SELECT cmp_ok((SELECT max(size) FROM public.found), '>', 10, 'small and large ones');
INSERT INTO referral.match_candidate (org_id, patient_id, duplicate_id, probability, grade, status)
SELECT 1, 1000 + i, 1001 + i, 0.9, 'probable', 'open' FROM generate_series(1, 999) i ON CONFLICT DO NOTHING;
SELECT results_eq('SELECT size, needs_review FROM referral.match_cluster(1) WHERE cluster_id = 1001', 'VALUES (1000, true)', 'a chain of a thousand is one group, and to be reviewed');
DELETE FROM referral.match_candidate WHERE patient_id > 1000;
DELETE FROM referral.patient WHERE patient_id > 1000;

-- 6. Linking without a person

RESET referral.match_on_write;
DELETE FROM referral.match_candidate WHERE patient_id BETWEEN 20 AND 29;
SELECT public.person(31, 'Lindqvist', 'Astrid', '1944-06-06') \g /dev/null
SELECT public.person(32, 'Lindqvist', 'Astrid', '1944-06-06') \g /dev/null
SELECT public.person(41, 'Mbeki', 'Thandi', '1933-05-05') \g /dev/null
SELECT public.person(42, 'Mbeki', 'Thandi', '1933-05-05') \g /dev/null
SELECT public.person(43, 'Mbeki', 'Thandi', '1933-05-05') \g /dev/null
CALL referral.process_match_queue();
SELECT results_eq('SELECT pair, grade, status FROM public.pairs(31, 32)', $$VALUES ('31-32', 'certain', 'open')$$, 'what is certain is proposed, not merged');
SELECT is(referral.auto_links(), false, 'unless the model asks for it');
ALTER TABLE referral.match_model DISABLE TRIGGER rule_row;
UPDATE referral.match_model SET auto_link = true;
ALTER TABLE referral.match_model ENABLE TRIGGER rule_row;
UPDATE referral.match_candidate SET grade = 'probable' WHERE (patient_id, duplicate_id) = (42, 43);
CALL referral.process_match_queue();
SELECT results_eq('SELECT p.merged_into, d.actor_kind, d.source FROM referral.patient p JOIN referral.match_decision d ON d.duplicate_id = p.patient_id WHERE p.patient_id = 32',
    $$VALUES (31::bigint, 'system', 'merge')$$, 'then it is merged, by the system');
SELECT is((SELECT array_agg(merged_into) FROM referral.patient WHERE patient_id IN (41, 42, 43) AND merged_into IS NOT NULL), NULL, 'not where a third one is as close to one of both, and not surely the other one');
SELECT is((SELECT array_agg(x ORDER BY x) FROM referral.rival_candidates(1, 41, 42) x), '{43}', 'the rival');
UPDATE referral.match_candidate SET grade = 'certain' WHERE (patient_id, duplicate_id) = (42, 43);
SELECT public.connect(41, 43, 'not_a_match', 'certain') \g /dev/null
SELECT is((SELECT array_agg(x ORDER BY x) FROM referral.rival_candidates(1, 41, 42) x), '{43}', 'one who is not the other one is a rival, too');
SELECT public.connect(41, 43, 'open', 'certain') \g /dev/null
CALL referral.process_match_queue();
SELECT is((SELECT count(*) FROM referral.rival_candidates(1, 41, 42)), 0::bigint, 'one who is certainly both is none');
SELECT is((SELECT array_agg(x ORDER BY x) FROM (SELECT patient_id FROM referral.patient WHERE merged_into IS NOT NULL) y (x)), '{32}', 'but nobody is ahead of the others by a margin; nor was anybody merged who was kept apart or deferred');

-- by the model, the rows and the neighbours of now
SELECT public.person(i, 'Karlsson', 'Nils', '1951-10-11') FROM generate_series(45, 46) i \g /dev/null
SELECT public.person(i, 'Tanaka', 'Haruto', '1952-08-12') FROM generate_series(47, 48) i \g /dev/null
SELECT referral.rescore_patient(1, i) FROM unnest(ARRAY[45, 47]) i \g /dev/null
UPDATE referral.match_queue SET try_at = now() + interval '1 hour';
CALL referral.process_match_queue();
SELECT results_eq('SELECT pair, grade, status FROM public.pairs(45, 46, 47, 48)', $$VALUES ('45-46', 'certain', 'open'), ('47-48', 'certain', 'open')$$, 'who waits in the queue is not merged');
DELETE FROM referral.match_queue;
UPDATE referral.match_candidate SET rule_version = rule_version - 1 WHERE patient_id = 45;
SET referral.match_on_write = 'off';
UPDATE referral.patient SET family = 'Zhang', given = 'Wei', birth_date = '1933-12-12', sex = 'male', phone = NULL, address = NULL WHERE patient_id = 48;
RESET referral.match_on_write;
CALL referral.process_match_queue();
SELECT is((SELECT count(*) FROM referral.patient WHERE patient_id IN (46, 48) AND merged_into IS NOT NULL), 0::bigint, 'nor who was certain by another model, or by former data');
SELECT referral.rescore_patient(1, 45) \g /dev/null
CALL referral.process_match_queue();
SELECT is((SELECT merged_into FROM referral.patient WHERE patient_id = 46), 45::bigint, 'but when that model says so, too');

-- the margin counts whoever the second is
SELECT public.person(i, 'Lindgren', 'Torvald', '1971-05-04') FROM generate_series(54, 55) i \g /dev/null
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, sex) VALUES (1, 56, 'Lindgren', 'Torvald', '1971-05-14', NULL);
ALTER TABLE referral.match_model DISABLE TRIGGER rule_row;
UPDATE referral.match_model SET margin_bits = 25;
CALL referral.process_match_queue();
SELECT results_eq('SELECT pair, grade FROM public.pairs(54, 55)', $$VALUES ('54-55', 'certain')$$, 'of the pair alone it is certain');
SELECT is((SELECT count(*) FROM public.pairs(54, 55, 56) WHERE pair LIKE '%56' AND grade = 'possible'), 2::bigint, 'a third one is possible');
SELECT is((SELECT count(*) FROM referral.patient WHERE patient_id IN (54, 55, 56) AND merged_into IS NOT NULL), 0::bigint, 'within the margin: nobody is merged');
UPDATE referral.match_model SET margin_bits = 5;
ALTER TABLE referral.match_model ENABLE TRIGGER rule_row;
CALL referral.process_match_queue();
SELECT is((SELECT array_agg(merged_into ORDER BY patient_id) FROM referral.patient WHERE patient_id IN (54, 55, 56)), '{NULL,54,NULL}', 'outside of it: they are');
SELECT referral.unmerge_patient(1, merge_id, 'two persons') FROM referral.patient_merge WHERE duplicate_id = 32 AND unmerged_at IS NULL \g /dev/null
CALL referral.process_match_queue();
SELECT is((SELECT merged_into FROM referral.patient WHERE patient_id = 32), NULL, 'who was unmerged is not merged again');
-- one that cannot be merged
SELECT public.person(51, 'Sato', 'Yuki', '1988-08-08'), public.person(52, 'Sato', 'Yuki', '1988-08-08') \g /dev/null
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'Yuki' USING ERRCODE = 'RF015'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE OF merged_into ON referral.patient FOR EACH ROW WHEN (NEW.patient_id = 52) EXECUTE FUNCTION public.refuse();
CALL referral.process_match_queue();
SELECT results_eq('SELECT status, link_error FROM referral.match_candidate WHERE (patient_id, duplicate_id) = (51, 52)', $$VALUES ('open', 'RF015 Yuki')$$, 'why one cannot be merged is where people look');
SELECT results_eq($$SELECT failed, last_error LIKE 'candidate %: RF015 Yuki' FROM referral.heartbeat WHERE job = 'match'$$, 'VALUES (1::bigint, true)', 'and in the heartbeat');
CALL referral.process_match_queue();
SELECT is((SELECT failed FROM referral.heartbeat WHERE job = 'match'), 0::bigint, 'it is not tried again and again');
DROP TRIGGER refuse ON referral.patient;
UPDATE referral.patient SET email = 'yuki@example.org' WHERE patient_id = 51;
CALL referral.process_match_queue();
SELECT is((SELECT merged_into FROM referral.patient WHERE patient_id = 52), 51::bigint, 'but when its score has changed');

-- a merge does not count for itself
SET referral.match_on_write = 'immediate';
INSERT INTO referral.patient (org_id, patient_id, family, given, sex, phone) VALUES (1, 57, 'Marchetti', 'Luigi', 'male', '217-555-0901'), (1, 58, 'Marchetti', 'Giovanna', 'female', NULL);
SELECT referral.merge_patient(1, 58, 57, 'against all odds') \g /dev/null
RESET referral.match_on_write;
SELECT results_eq('SELECT decision, grade, patient_version, duplicate_version FROM referral.match_decision WHERE patient_id = 57', $$VALUES ('link', 'certainly-not', 1::bigint, 1::bigint)$$, 'the score of a merge is of both rows before it');

-- 7. How frequent names are

DELETE FROM referral.match_frequency;
INSERT INTO referral.patient (org_id, patient_id, family, given) SELECT 1, 200 + i, 'Fitzgerald', 'Elizabeth' FROM generate_series(1, 8) i;
INSERT INTO referral.patient (org_id, patient_id, family, given) SELECT 1, 210 + i, 'Haddad', 'Elizabeth' FROM generate_series(1, 5) i;
SELECT cmp_ok(referral.refresh_match_frequencies(), '>', 0::bigint, 'names are counted');
SELECT results_eq($$SELECT f.kind, f.n FROM referral.match_frequency f WHERE f.term_hash IN (0, referral.match_term_hash('fitzgerald'), referral.match_term_hash('elizabeth')) ORDER BY 1$$,
    $$SELECT * FROM (VALUES ('family', 12::bigint), ('given', 17::bigint), ('people', (SELECT count(*) FROM referral.patient WHERE merged_into IS NULL))) x ORDER BY 1$$,
    'of all organisations together, and how many people there are; who is merged counts once');
SELECT is((SELECT count(*) FROM referral.match_frequency WHERE term_hash = referral.match_term_hash('haddad')), 0::bigint, 'a name of a few is not kept');
SELECT is(referral.refresh_match_frequencies(), 0::bigint, 'what has not changed is not written');
SELECT public.person(60, 'Fitzgerald', 'Rose', '1980-03-04'), public.person(61, 'Fitzgerald', 'Nora', '1981-03-05') \g /dev/null
SELECT is(referral.refresh_match_frequencies(), 1::bigint, 'what has changed by more than a tenth is');
INSERT INTO referral.match_frequency VALUES ('given', 12345, 7);
SELECT is(referral.refresh_match_frequencies(), 1::bigint, 'what is gone is removed');
INSERT INTO referral.patient (org_id, patient_id, family, given) SELECT 1, 70 + i, 'García-Márquez', 'Mary Ann' FROM generate_series(1, 10) i;
SELECT cmp_ok(referral.refresh_match_frequencies(), '>', 1::bigint, 'names of several words');
SELECT is((SELECT array_agg(kind ORDER BY kind) FROM referral.match_frequency WHERE term_hash IN (referral.match_term_hash('garciamarquez'), referral.match_term_hash('maryann'), referral.match_term_hash('mary'))
           AND n = 10), '{family,given}', 'are counted as a whole, as the scoring looks them up');
SET SESSION AUTHORIZATION match_review_admin;
SELECT is(public.code('SELECT * FROM referral.match_frequency'), '42501', 'nobody but the owner reads them');
SELECT is(public.code('SELECT referral.refresh_match_frequencies()'), '42501', 'or has them counted');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
