-- Operational scenario: a multi-specialty provider group. Clinics, imaging centres and practices that work with different
-- systems send referrals; what is incomplete is asked for by itself, what is complete is checked with the payer and
-- booked, and everybody sees the same. Read it from top to bottom.
SELECT plan(39);
\ir ../lib/refused.sql

CREATE ROLE scenario_group_intake LOGIN IN ROLE referral_integration;
CREATE ROLE scenario_group_reader LOGIN IN ROLE referral_integration;
CREATE ROLE scenario_group_ana LOGIN IN ROLE referral_coordinator;
CREATE ROLE scenario_group_sue LOGIN IN ROLE referral_scheduler;
CREATE ROLE scenario_group_dr LOGIN IN ROLE referral_clinician;
CREATE ROLE scenario_group_boss LOGIN IN ROLE referral_analyst;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'scenario_group_intake', 'system'), (1, 'scenario_group_reader', 'ai'), (1, 'scenario_group_ana', 'user'), (1, 'scenario_group_sue', 'user'),
    (1, 'scenario_group_dr', 'user'), (1, 'scenario_group_boss', 'user');
GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC;
SET referral.org_id = 1;
INSERT INTO referral.queue_member (queue_id, member)
SELECT q.queue_id, m.member FROM (VALUES ('review', 'scenario_group_ana'), ('intake', 'scenario_group_ana'), ('missing_documents', 'scenario_group_ana'),
    ('financial_clearance', 'scenario_group_ana'), ('scheduling', 'scenario_group_sue'), ('closing_the_loop', 'scenario_group_sue')) m (queue, member)
JOIN referral.queue q ON q.org_id = 1 AND q.name = m.queue;
INSERT INTO referral.payer (payer_id, name) VALUES (1, 'First Health');
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
-- The open item of a row: in which queue, with whom.
CREATE FUNCTION public.work(entity text, id bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT string_agg(q.name || coalesce(':' || w.owner, ''), ',' ORDER BY w.work_item_id)
    FROM referral.work_item w JOIN referral.queue q USING (org_id, queue_id)
    WHERE w.org_id = 1 AND w.entity = work.entity AND w.entity_id = work.id AND w.closed_at IS NULL AND w.kind <> 'task' $$;

-- 1. A fax is digitised and read by a model; what the model is not sure of waits for a person

SET SESSION AUTHORIZATION scenario_group_intake;
SELECT message_id AS fax FROM referral.receive('fax', 'FAX_OF_THE_GROUP', 'text/plain', 'To imaging: a back that hurts', NULL) \gset
SELECT document_id AS sheet FROM referral.document WHERE inbox_message_id = :fax \gset
SET SESSION AUTHORIZATION scenario_group_reader;
INSERT INTO referral.extraction (document_id, field, value, confidence, model, model_version)
VALUES (:sheet, 'patient.family', 'Lindqvist', 0.999, 'reader', '4.1'), (:sheet, 'patient.given', 'Maja', 0.999, 'reader', '4.1'),
       (:sheet, 'patient.birth_date', '1971-02-23', 0.62, 'reader', '4.1'), (:sheet, 'referral.specialty', 'radiology', 0.999, 'reader', '4.1'),
       (:sheet, 'referral.reason_code', 'M54.5', 0.999, 'reader', '4.1'), (:sheet, 'requester.name', 'Dr. Abbott', 0.999, 'reader', '4.1');
RESET SESSION AUTHORIZATION;
SELECT extraction_id AS unsure FROM referral.extraction WHERE document_id = :sheet AND field = 'patient.birth_date' \gset
SELECT is((SELECT status || ', ' || reason FROM referral.extraction WHERE extraction_id = :unsure), 'in_review, below_threshold', 'a value below the threshold counts for nothing yet');
SELECT is(public.work('extraction', :unsure), 'review', 'it is work for the reviewers');
SELECT is_empty('SELECT * FROM referral.referral', 'and there is no referral made of it');
SET SESSION AUTHORIZATION scenario_group_reader;
SELECT is(public.code(format('SELECT referral.review_extraction(1, %s, ''accept'')', :unsure)), '42501', 'the model does not review itself');
SET SESSION AUTHORIZATION scenario_group_ana;
SELECT is((SELECT count(*)::int FROM referral.claim_next(1, 'review')), 1, 'Ana takes it');
SELECT referral.review_extraction(1, :unsure, 'correct', '1971-02-28', 'read off the sheet') \g /dev/null
SELECT referral.review_extraction(1, extraction_id, 'accept') FROM referral.extraction WHERE document_id = :sheet AND status = 'in_review' \g /dev/null
SELECT referral_id AS back FROM referral.reprocess(1, :fax) \gset
RESET SESSION AUTHORIZATION;
SELECT results_eq(format('SELECT state::text, specialty, channel FROM referral.referral WHERE referral_id = %s', :back), $$VALUES ('received', 'radiology', 'fax')$$, 'the fax is a referral');
SELECT is((SELECT p.birth_date FROM referral.patient p JOIN referral.referral r USING (org_id, patient_id) WHERE r.referral_id = :back), '1971-02-28', 'with what the person read, not the model');
SELECT is(public.work('extraction', :unsure), NULL, 'the review is done');
SELECT is_empty('SELECT * FROM referral.silent_pass', 'nothing below a threshold has passed unseen');

-- 2. What the specialty requires and is not there becomes an exception, in the queue of those who obtain it, with a letter

SELECT bag_eq(format('SELECT category::text, code FROM referral.exception_item WHERE referral_id = %s AND status = ''open''', :back),
    $$VALUES ('missing_document', 'imaging_order'), ('eligibility', 'coverage')$$, 'imaging by fax needs the signed order; and nobody knows what pays');
SELECT exception_id AS no_order FROM referral.exception_item WHERE referral_id = :back AND code = 'imaging_order' \gset
SELECT exception_id AS no_coverage FROM referral.exception_item WHERE referral_id = :back AND code = 'coverage' \gset
SELECT is(public.work('exception_item', :no_order), 'missing_documents', 'one is for those who obtain documents');
SELECT is(public.work('exception_item', :no_coverage), 'financial_clearance', 'the other for those who know payers');
SELECT is(public.work('referral', :back), 'intake', 'the referral itself is with intake');
SELECT ok((SELECT due_at > now() FROM referral.exception_item WHERE exception_id = :no_order), 'each has a time until when it is settled');
SELECT is((SELECT count(*)::int FROM referral.outreach_to_send WHERE referral_id = :back AND template = 'missing_document'), 1, 'the letter that asks for the order is drafted');
SELECT is((SELECT documents FROM referral.letters_outstanding WHERE referral_id = :back), '{order}', 'the referrer finds it in his list');
SET SESSION AUTHORIZATION scenario_group_ana;
SELECT is((SELECT rule FROM referral.next_best_action WHERE referral_id = :back), 'obtain_missing', 'what Ana is told to do next');
UPDATE referral.referral SET state = 'validated' WHERE referral_id = :back;
SELECT is(public.code(format('UPDATE referral.referral SET state = ''ready_to_schedule'' WHERE referral_id = %s', :back)), 'RF025', 'meanwhile it does not go on');

-- 3. The order comes, the coverage is recorded: nobody has to close anything

INSERT INTO referral.document (referral_id, type, title) VALUES (:back, 'order', 'Signed order');
INSERT INTO referral.coverage (patient_id, payer_id, subscriber_id) SELECT patient_id, 1, 'FH-1' FROM referral.referral WHERE referral_id = :back;
SELECT ok(referral.check_referral(1, :back), 'it is complete');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM referral.exception_item WHERE referral_id = :back AND status IN ('open', 'in_progress')), 0, 'both exceptions are closed');
SELECT is(public.work('exception_item', :no_order), NULL, 'and with them their items');
SELECT is_empty(format('SELECT * FROM referral.letters_outstanding WHERE referral_id = %s', :back), 'the referrer''s list is empty');

-- 4. A complete referral: the payer is asked, then it is booked

SET SESSION AUTHORIZATION scenario_group_intake;
SELECT referral.request_eligibility(1, :back, 'api') AS asked \gset
SELECT referral.answer_eligibility(1, :asked, 'covered', 'no-auth');
SET SESSION AUTHORIZATION scenario_group_ana;
SELECT ok(referral.eligibility_confirmed(1, :back), 'the payer confirms the coverage');
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = :back;
SELECT is(public.work('referral', :back), 'scheduling', 'it goes to scheduling by itself');
SET SESSION AUTHORIZATION scenario_group_sue;
SELECT is((SELECT referral_id FROM referral.claim_next(1, 'scheduling')), :back::bigint, 'Sue takes what ranks first');
SELECT results_eq(format('SELECT owner, accountable FROM referral.work_owner WHERE referral_id = %s', :back), $$VALUES ('scenario_group_sue', 'scenario_group_sue')$$, 'and answers for it');
SELECT is((SELECT rule FROM referral.next_best_action WHERE referral_id = :back), 'book', 'the next step is to book');
INSERT INTO referral.appointment (referral_id, starts_at) VALUES (:back, now() - interval '1 hour');
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() - interval '1 hour' WHERE referral_id = :back;
SELECT is_empty(format('SELECT * FROM referral.awaiting_booking WHERE referral_id = %s', :back), 'booked, it is on no list of those who wait');

-- 5. The visit, the report, the closed loop

SET SESSION AUTHORIZATION scenario_group_dr;
UPDATE referral.referral SET state = 'completed' WHERE referral_id = :back;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM referral.work_item WHERE referral_id = :back AND task = 'obtain_report' AND closed_at IS NULL), 1, 'a task comes up: obtain the report');
SET SESSION AUTHORIZATION scenario_group_sue;
SELECT is(public.code(format('UPDATE referral.referral SET state = ''closed_loop'' WHERE referral_id = %s', :back)), 'RF002', 'without it the loop is not closed');
SET SESSION AUTHORIZATION scenario_group_dr;
INSERT INTO referral.consult_report (referral_id, status, sent_at) VALUES (:back, 'final', now());
SET SESSION AUTHORIZATION scenario_group_ana;
UPDATE referral.referral SET state = 'closed_loop' WHERE referral_id = :back;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM referral.work_item WHERE referral_id = :back AND closed_at IS NULL), 0, 'then nothing is left to do');
SELECT is((SELECT status::text FROM referral.work_item WHERE referral_id = :back AND task = 'obtain_report'), 'completed', 'and who obtained the report sees his task done');

-- 6. Finance and analytics follow, and leaders see the whole

SET SESSION AUTHORIZATION scenario_group_intake;
SELECT is((SELECT array_agg(data ->> 'to_state' ORDER BY journal_id) FROM referral.event
           WHERE subject = format('referral/%s', :back) AND data ->> 'from_state' IS DISTINCT FROM data ->> 'to_state'),
    '{received,validated,ready_to_schedule,scheduled,completed,closed_loop}', 'each change of status was published, in order');
SELECT is((SELECT count(*)::int FROM referral.event WHERE data::text LIKE '%Lindqvist%'), 0, 'without the patient''s name');
SET SESSION AUTHORIZATION scenario_group_boss;
SELECT is((SELECT sum(completed_in_24h)::int > 0 FROM referral.queue_health), true, 'leaders see how the queues work');
SET SESSION AUTHORIZATION scenario_group_ana;
SELECT results_eq('SELECT category::text, opened, open FROM referral.exception_pattern ORDER BY category::text', $$VALUES ('clinical_review', 1::bigint, 0::bigint), ('eligibility', 1, 0), ('low_confidence', 1, 0), ('missing_document', 1, 0)$$, 'and which exceptions come up');
SET SESSION AUTHORIZATION scenario_group_boss;
SELECT ok((SELECT bool_and(NOT breached) FROM referral.sla_status WHERE entity_id = :back), 'every service level was kept');
SELECT is(public.code('SELECT family FROM referral.patient'), '42501', 'patients they do not see');
RESET SESSION AUTHORIZATION;
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'at no time was it nobody''s');

SELECT * FROM finish();
