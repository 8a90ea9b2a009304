-- Was the payer asked, what did it say, and does the referral go on by it?
SELECT plan(71);
\ir ../lib/refused.sql
SET referral.org_id = 1;

CREATE ROLE eligibility_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE eligibility_max LOGIN IN ROLE referral_authorizer;
CREATE ROLE eligibility_clerk LOGIN IN ROLE referral_scheduler;
CREATE ROLE eligibility_worker LOGIN IN ROLE referral_integration;
CREATE ROLE eligibility_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE eligibility_other LOGIN IN ROLE referral_authorizer;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'eligibility_jane', 'user'), (1, 'eligibility_max', 'user'),
    (1, 'eligibility_clerk', 'user'), (1, 'eligibility_worker', 'system'), (1, 'eligibility_analyst', 'user'), (2, 'eligibility_other', 'user');

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE FUNCTION public.trouble(id bigint) RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(format('%s %s: %s', e.category, e.code, e.detail), ', ' ORDER BY e.category, e.code) FROM referral.exception_item e
      WHERE e.referral_id = id AND e.status IN ('open', 'in_progress')$$;
CREATE FUNCTION public.asked(id bigint) RETURNS TABLE (coverage_id bigint, mode text, status text, attempt integer) LANGUAGE sql AS
    'SELECT c.coverage_id, c.mode, c.status, c.attempt FROM referral.eligibility_check c WHERE c.referral_id = id ORDER BY c.eligibility_check_id';

INSERT INTO referral.site (site_id, name, timezone) VALUES (1, 'Auckland', 'Pacific/Auckland');
INSERT INTO referral.patient (patient_id, family) VALUES (1, 'Okonkwo'), (2, 'Voss'), (3, 'Lindqvist');
INSERT INTO referral.payer (payer_id, name, identifier) VALUES (1, 'Acme Health', 'ACM'), (2, 'Other Health', 'OTH');
INSERT INTO referral.coverage (coverage_id, patient_id, payer_id, priority, period, status, subscriber_id) VALUES
    (1, 1, 1, 1, '[2020-01-01,)', 'active', 'A1'), (2, 1, 2, 2, '[2020-01-01,)', 'active', 'B2'),
    (3, 2, 1, 1, '[2020-01-01,2021-01-01)', 'active', 'C3'), (4, 2, 1, 1, daterange(current_date + 10, NULL), 'active', 'D4'),
    (5, 3, 1, 1, '[2020-01-01,)', 'cancelled', 'E5');
INSERT INTO referral.referral (referral_id, patient_id, specialty, payer_id) VALUES (1, 1, 'cardiology', 1), (2, 2, 'cardiology', 1), (3, NULL, 'ent', NULL), (4, 3, 'ent', NULL);
INSERT INTO referral.referral (referral_id, patient_id, specialty, payer_id, coverage_id) VALUES (5, 1, 'ent', 1, 2);

-- 1. Which coverage, on which day

SELECT is(referral.care_date(1, 1), (now() AT TIME ZONE 'UTC')::date, 'without an appointment it is today');
UPDATE referral.referral SET scheduled_for = '2027-03-01 22:30:00+00', site_id = 1 WHERE referral_id = 5;
SELECT is(referral.care_date(1, 5), '2027-03-02', 'the day of the appointment is the site''s');
UPDATE referral.referral SET site_id = NULL WHERE referral_id = 5;
SELECT is(referral.care_date(1, 5), '2027-03-01', 'UTC''s without one');
SELECT is(referral.care_date(1, 99), NULL, 'no referral, no day');
SELECT is(referral.referral_coverage(1, 1), 1::bigint, 'the coverage that pays first');
SELECT is(referral.referral_coverage(1, 5), 2::bigint, 'unless the referral names another one');
SELECT is(referral.referral_coverage(1, 2), NULL, 'not one that has ended or not begun');
UPDATE referral.referral SET scheduled_for = current_date + 12 WHERE referral_id = 2;
SELECT is(referral.referral_coverage(1, 2), 4::bigint, 'one that has begun by the day of care');
UPDATE referral.referral SET scheduled_for = NULL WHERE referral_id = 2;
SELECT is(referral.referral_coverage(1, 4), NULL, 'not one that was cancelled');
SELECT is(referral.referral_coverage(1, 3), NULL, 'none without a patient');

-- 2. Asking

SELECT is(public.code('SELECT referral.request_eligibility(1, 99)'), 'RF019', 'no such referral');
SELECT is(referral.request_eligibility(1, NULL), NULL, 'null');
SELECT is(public.code($$SELECT referral.request_eligibility(1, 1, 'pigeon')$$), '23514', 'no such mode');
SELECT is(referral.request_eligibility(1, 2), NULL, 'nothing to ask about');
SELECT is(public.trouble(2), 'eligibility no_coverage: no coverage of the patient is in force on the day of care', 'is an exception');
SELECT is(referral.request_eligibility(1, 3), NULL, 'also without a patient');
UPDATE referral.coverage SET period = daterange(current_date - 1, NULL) WHERE coverage_id = 4;
SELECT referral.request_eligibility(1, 2, 'phone') AS c2 \gset
SELECT is(public.trouble(2), NULL, 'which ends when there is something to ask about');
SELECT referral.request_eligibility(1, 1) AS c1 \gset
SELECT results_eq('SELECT * FROM public.asked(1)', $$VALUES (1::bigint, 'api', 'requested', 1)$$, 'asked');
SELECT is(referral.request_eligibility(1, 1, 'phone'), :c1::bigint, 'once');
SELECT results_eq('SELECT referral_id, mode, payer, payer_identifier, subscriber_id, specialty FROM referral.eligibility_to_check ORDER BY 1',
    $$VALUES (1::bigint, 'api', 'Acme Health', 'ACM', 'A1', 'cardiology'), (2, 'phone', 'Acme Health', 'ACM', 'D4', 'cardiology')$$, 'a worker sees what to ask');
SELECT is(public.code($$INSERT INTO referral.eligibility_check (referral_id, coverage_id) VALUES (1, 1)$$), '23505', 'two are never asked at once');
UPDATE referral.eligibility_check SET status = 'failed', error = 'time-out' WHERE eligibility_check_id = :c1;
SELECT referral.request_eligibility(1, 1) AS c1 \gset
UPDATE referral.eligibility_check SET status = 'failed', error = 'time-out' WHERE eligibility_check_id = :c1;
SELECT referral.request_eligibility(1, 1) AS c1 \gset
SELECT results_eq('SELECT * FROM public.asked(1)', $$VALUES (1::bigint, 'api', 'failed', 1), (1, 'api', 'failed', 2), (1, 'api', 'requested', 3)$$, 'tries are counted');
UPDATE referral.referral SET coverage_id = 2 WHERE referral_id = 1;
SELECT is(referral.request_eligibility(1, 1) > :c1::bigint, true, 'another coverage is another question');
SELECT results_eq('SELECT * FROM public.asked(1) OFFSET 2', $$VALUES (1::bigint, 'api', 'cancelled', 3), (2, 'api', 'requested', 1)$$, 'the former is not asked any more');
UPDATE referral.referral SET coverage_id = NULL WHERE referral_id = 1;
SELECT referral.request_eligibility(1, 1) AS c1 \gset
SELECT is((SELECT attempt FROM referral.eligibility_check WHERE eligibility_check_id = :c1), 3, 'back');

-- 3. Answers

SELECT is(referral.eligibility_confirmed(1, 1), false, 'nothing is confirmed by asking');
SELECT is(public.code(format('SELECT referral.answer_eligibility(1, 99, ''covered'')')), 'RF019', 'no such check');
SELECT is(public.code(format('SELECT referral.answer_eligibility(1, %s, NULL)', :c1)), 'RF020', 'an answer says something');
SELECT is(public.code(format('SELECT referral.answer_eligibility(1, %s, ''yes'')', :c1)), '23514', 'in the words of CRD');
SELECT is(public.code(format('SELECT referral.answer_eligibility(1, %s, ''covered'', ''maybe'')', :c1)), '23514', 'also about authorization');
SELECT is(public.code(format('SELECT referral.answer_eligibility(1, %s, ''covered'', NULL, ''2027-01-01'', ''2026-01-01'')', :c1)), '23514', 'a period that ends before it starts');
SELECT is(public.code(format('UPDATE referral.eligibility_check SET covered = ''covered'' WHERE eligibility_check_id = %s', :c1)), 'RF020', 'nothing is covered while it is only asked');
SELECT referral.answer_eligibility(1, :c1, 'covered', 'auth-needed', '2020-01-01', NULL, 25, 310.50, 'REF-77', '{"plan": "gold"}') \g /dev/null
SELECT is((SELECT array_to_string(ARRAY[status, covered, pa_needed, active_from::text, active_to::text, copay::text, deductible_left::text, reference_number, detail::text, answered_by], ' ', '-')
           FROM referral.eligibility_check WHERE eligibility_check_id = :c1),
    'answered covered auth-needed 2020-01-01 - 25.00 310.50 REF-77 {"plan": "gold"} postgres', 'what the payer said');
SELECT is(referral.eligibility_confirmed(1, 1), true, 'confirms it');
SELECT is(public.trouble(1), NULL, 'without trouble');
SELECT is(public.code(format('SELECT referral.answer_eligibility(1, %s, ''not-covered'')', :c1)), 'RF001', 'an answer stays');
SELECT is(public.code(format('UPDATE referral.eligibility_check SET status = ''requested'' WHERE eligibility_check_id = %s', :c1)), 'RF001', 'answered');
SELECT is(public.code(format('UPDATE referral.eligibility_check SET copay = 20 WHERE eligibility_check_id = %s', :c1)), 'done', 'a slip of the pen may be mended');
SELECT is(referral.eligibility_confirmed(1, 5), false, 'an answer is about one referral');
UPDATE referral.referral SET coverage_id = 2 WHERE referral_id = 1;
SELECT is(referral.eligibility_confirmed(1, 1), false, 'and one coverage');
UPDATE referral.referral SET coverage_id = NULL WHERE referral_id = 1;
INSERT INTO referral.eligibility_check (referral_id, patient_id, coverage_id, mode, status, covered, answered_at) VALUES (1, 1, 1, 'portal', 'answered', 'covered', now() - interval '31 days');
SELECT is(referral.eligibility_confirmed(1, 1), true, 'the latest answer counts');
UPDATE referral.coverage SET period = '[2020-01-01,2021-01-01)' WHERE coverage_id = 1;
SELECT is(referral.eligibility_confirmed(1, 1), false, 'while its coverage is in force');
UPDATE referral.coverage SET period = '[2020-01-01,)' WHERE coverage_id = 1;

INSERT INTO referral.eligibility_check (referral_id, patient_id, coverage_id, mode, status, covered, answered_at, active_to)
VALUES (5, 1, 2, 'portal', 'answered', 'conditional', now() - interval '29 days', '2027-03-01');
SELECT is(referral.eligibility_confirmed(1, 5), true, 'conditional will do, on its last day too');
SELECT is(public.trouble(5), 'payer_mismatch payer_mismatch: the coverage that was asked about is with another payer than the referral', 'but it is another payer than the referral''s');
SELECT is(referral.eligibility_confirmed(1, 5, '28 days'), false, 'no answer of 29 days ago, when 28 are allowed');
UPDATE referral.referral SET scheduled_for = '2027-03-02 09:00+00' WHERE referral_id = 5;
SELECT is(referral.eligibility_confirmed(1, 5), false, 'the appointment moves behind the end of the coverage');
UPDATE referral.referral SET payer_id = 2 WHERE referral_id = 5;
SELECT referral.answer_eligibility(1, referral.request_eligibility(1, 5), 'covered', active_to => '2027-03-01') \g /dev/null
SELECT is(public.trouble(5), 'eligibility not_eligible: the coverage is not active on the day of care', 'the payer is right now, the day is not');
SELECT referral.answer_eligibility(1, referral.request_eligibility(1, 5), 'indeterminate') \g /dev/null
SELECT is(public.trouble(5), 'eligibility not_eligible: the payer gave no clear answer', 'the same trouble, told anew');
SELECT referral.answer_eligibility(1, referral.request_eligibility(1, 5), 'not-covered', 'no-auth') \g /dev/null
SELECT is(public.trouble(5), 'eligibility not_eligible: the payer does not cover it', 'and anew');
SELECT is(referral.eligibility_confirmed(1, 5), false, 'not covered');
SELECT referral.answer_eligibility(1, referral.request_eligibility(1, 5), 'covered') \g /dev/null
SELECT is(public.trouble(5), NULL, 'covered at last');
SELECT results_eq($$SELECT status, reopen_count, resolution FROM referral.exception_item WHERE referral_id = 5 AND code = 'not_eligible'$$,
    $$VALUES ('resolved', 0, 'The payer has confirmed the coverage since.')$$, 'the trouble was one');
SELECT is(referral.eligibility_confirmed(1, NULL), NULL, 'null');
SELECT is(referral.eligibility_confirmed(1, 99), false, 'a referral that is not there');

-- 4. The end of a referral

SELECT is(referral.request_eligibility(1, 5) IS NOT NULL, true, 'one more question');
INSERT INTO referral.eligibility_check (referral_id, patient_id, coverage_id, status, covered) VALUES (5, 1, 2, 'answered', 'not-covered');
UPDATE referral.referral SET state = 'cancelled', status_reason = 'patient_request' WHERE referral_id = 5;
SELECT is((SELECT count(*) FROM public.asked(5) WHERE status = 'requested'), 0::bigint, 'is not asked when the referral has ended');
SELECT is(public.trouble(5), NULL, 'and its troubles with it');

-- 5. A guard of coordination

INSERT INTO referral.practitioner (practitioner_id, name) VALUES (1, 'Miriam Oyelaran');
UPDATE referral.patient SET given = 'Adaeze', birth_date = '1980-05-17' WHERE patient_id = 1;
INSERT INTO referral.referral (referral_id, referral_type, patient_id, specialty, reason_text, requester_id) VALUES (10, 'coordination', 1, 'ent', 'x', 1);
UPDATE referral.referral SET step = 'documentation_review' WHERE referral_id = 10;
UPDATE referral.referral SET step = 'eligibility_verification' WHERE referral_id = 10;
SELECT is((SELECT code || ' ' || message FROM public.refused($$UPDATE referral.referral SET step = 'clinical_triage' WHERE referral_id = 10$$)),
    'RF002 transition "triage" of referral 10 is blocked: the payer has not confirmed the coverage', 'no triage before eligibility');
SELECT is(public.code($$UPDATE referral.referral SET step = 'authorization_pending' WHERE referral_id = 10$$), 'RF002', 'nor a request for authorization');
SET SESSION AUTHORIZATION eligibility_jane;
SELECT referral.request_eligibility(1, 10) AS c10 \gset
SET SESSION AUTHORIZATION eligibility_worker;
SELECT referral.answer_eligibility(1, :c10, 'covered', 'no-auth') \g /dev/null
SET SESSION AUTHORIZATION eligibility_clerk;
SELECT lives_ok($$UPDATE referral.referral SET step = 'clinical_triage' WHERE referral_id = 10$$, 'it goes on when the payer has answered, for whoever moves it');
SELECT is((SELECT answered_by FROM referral.eligibility_check WHERE referral_id = 10), 'eligibility_worker', 'who answered is known');

-- 6. Who may

SELECT is(public.code('SELECT referral.request_eligibility(1, 1)'), '42501', 'a scheduler asks no payer');
SET SESSION AUTHORIZATION eligibility_max;
SELECT lives_ok('SELECT referral.answer_eligibility(1, referral.request_eligibility(1, 1, ''phone''), ''not-covered'')', 'an authorizer does');
SELECT is(public.code('DELETE FROM referral.eligibility_check'), '42501', 'nothing is deleted');
SET SESSION AUTHORIZATION eligibility_analyst;
SELECT ok((SELECT count(*) FROM (SELECT covered, pa_needed, status FROM referral.eligibility_check) x) > 5, 'an analyst reads what was answered');
SELECT is(public.code('SELECT detail FROM referral.eligibility_check'), '42501', 'not the details');
SET SESSION AUTHORIZATION eligibility_other;
SET referral.org_id = 2;
SELECT is((SELECT count(*) FROM referral.eligibility_check), 0::bigint, 'other organisations see nothing');
SELECT is(public.code('SELECT referral.request_eligibility(1, 1)'), 'RF019', 'and ask nothing');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'eligibility_check' AND action = 'insert'), (SELECT count(*) FROM referral.eligibility_check), 'each check is in the journal');

-- 7. A merge takes the checks along

INSERT INTO referral.patient (patient_id, family) VALUES (9, 'Okonkwo');
SELECT lives_ok($$SELECT referral.merge_patient(1, 9, 1, 'one person')$$, 'patients are merged');
SELECT is((SELECT count(*) FROM referral.eligibility_check WHERE patient_id = 1), 0::bigint, 'their checks are the survivor''s, answered ones too');
SELECT * FROM finish();
