-- Exceptions: opened once for one trouble, closed with a resolution, opened again when the trouble comes back.
SELECT plan(85);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE exception_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE exception_feed LOGIN IN ROLE referral_integration;
CREATE ROLE exception_auditor LOGIN IN ROLE referral_auditor;
CREATE ROLE exception_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE exception_other LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'exception_jane', 'user'), (1, 'exception_feed', 'system'), (1, 'exception_auditor', 'user'), (1, 'exception_analyst', 'user'),
    (2, 'exception_other', 'user');
INSERT INTO referral.patient (org_id, patient_id) VALUES (1, 1);
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (1, 10, 1, 'cardiology'), (1, 11, 1, 'cardiology');

-- 1. Opening

CREATE TABLE public.opened (n integer, id bigint);
GRANT ALL ON public.opened TO PUBLIC;
SET SESSION AUTHORIZATION exception_feed;
INSERT INTO public.opened SELECT 1, referral.open_exception(1, 'payer_mismatch', 'referral', 10, 10, 'unknown_payer', 'coverage.payer; IN1-3', 'medium');
INSERT INTO public.opened SELECT 2, referral.open_exception(1, 'payer_mismatch', 'referral', 10, 10, 'unknown_payer', 'coverage.payer; IN1-3', 'medium');
INSERT INTO public.opened SELECT 3, referral.open_exception(1, 'payer_mismatch', 'referral', 11, 11, 'unknown_payer', NULL, 'low', true);
INSERT INTO public.opened SELECT 4, referral.open_exception(1, 'integration', 'inbox_message', 7, NULL, 'not_processed', 'RF014', 'critical');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(DISTINCT id) FROM public.opened), 3::bigint, 'one trouble of one row is one exception');
SELECT is((SELECT id FROM public.opened WHERE n = 2), (SELECT id FROM public.opened WHERE n = 1), 'the same one is returned');
SELECT results_eq($$SELECT category::text, code, severity, blocking, entity, entity_id, referral_id, detail, status, opened_by, reopen_count, resolved_at FROM referral.exception_item WHERE entity_id = 10$$,
    $$VALUES ('payer_mismatch', 'unknown_payer', 'medium', false, 'referral', 10::bigint, 10::bigint, 'coverage.payer; IN1-3', 'open', 'exception_feed', 0, NULL::timestamptz)$$,
    'as it was told, with who opened it');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'exception_item'), 3::bigint, 'opening one that is open already, with the same words, writes nothing');
SELECT is(referral.open_exception(1, 'payer_mismatch', 'referral', 10, 10, 'unknown_payer', 'IN1-4', 'high', true), (SELECT id FROM public.opened WHERE n = 1), 'with other words');
SELECT results_eq('SELECT detail, severity, blocking, reopen_count FROM referral.exception_item WHERE entity_id = 10', $$VALUES ('IN1-4', 'high', true, 0)$$, 'it is brought up to date');
SELECT is(referral.open_exception(1, 'payer_mismatch', 'referral', 10, NULL, 'unknown_payer', NULL, 'high', true), (SELECT id FROM public.opened WHERE n = 1), 'what is not told');
SELECT results_eq('SELECT detail, referral_id FROM referral.exception_item WHERE entity_id = 10', $$VALUES ('IN1-4', 10::bigint)$$, 'stays');
SELECT isnt(referral.open_exception(1, 'eligibility', 'referral', 10, 10, 'unknown_payer', NULL, 'high'), (SELECT id FROM public.opened WHERE n = 1), 'another category is another exception');
SELECT isnt(referral.open_exception(1, 'payer_mismatch', 'referral', 10, 10, 'payer_changed', NULL, 'high'), (SELECT id FROM public.opened WHERE n = 1), 'another code too');
SELECT is(public.code($$SELECT referral.open_exception(1, 'policy', 'referral', 10, 10, 'x', NULL, 'urgent')$$), 'RF020', 'a severity that there is not');
SELECT is(public.code($$SELECT referral.open_exception(1, 'policy', 'referral', 10, 10, NULL, NULL, 'low')$$), '23502', 'no code');
SELECT is(public.code($$SELECT referral.open_exception(1, 'policy', 'referral', 10, 99, 'x', NULL, 'low')$$), '23503', 'a referral that is not there');
SELECT is(public.code($$SELECT referral.open_exception(2, 'policy', 'referral', 10, 10, 'x', NULL, 'low')$$), '23503', 'or another organisation''s');

-- 2. Closing

SELECT is(public.code($$SELECT referral.close_exception(1, id, NULL) FROM public.opened WHERE n = 1$$), 'RF005', 'how it was settled is to be told');
SELECT is(public.code($$SELECT referral.close_exception(1, id, E' \t') FROM public.opened WHERE n = 1$$), 'RF005', 'in words');
SELECT is(public.code($$UPDATE referral.exception_item SET status = 'dismissed' WHERE entity_id = 10$$), 'RF005', 'in plain SQL as well');
SELECT is(public.code($$SELECT referral.close_exception(1, 9999, 'done')$$), 'RF019', 'one that is not there');
SET SESSION AUTHORIZATION exception_jane;
UPDATE referral.exception_item SET status = 'in_progress' WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1);
SELECT is((SELECT status FROM referral.exception_queue WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1)), 'in_progress', 'one that is worked on is in the queue');
SELECT referral.close_exception(1, id, 'the payer has another name since May') FROM public.opened WHERE n = 1 \g /dev/null
UPDATE referral.exception_item SET root_cause = 'payer_variance' WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1);
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT status, resolution, resolved_by, resolved_at > opened_at, root_cause FROM referral.exception_item WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1)$$,
    $$VALUES ('resolved', 'the payer has another name since May', 'exception_jane', true, 'payer_variance')$$, 'closed, with who, when and how');
SELECT is((SELECT count(*) FROM referral.exception_queue WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1)), 0::bigint, 'and out of the queue');
SELECT lives_ok($$SELECT referral.close_exception(1, id, 'again') FROM public.opened WHERE n = 1$$, 'closing it twice');
SELECT is((SELECT resolution FROM referral.exception_item WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1)), 'the payer has another name since May', 'changes nothing');
UPDATE referral.exception_item SET resolved_by = 'somebody', resolved_at = '2020-01-01' WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1);
SELECT is((SELECT resolved_by FROM referral.exception_item WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1)), 'exception_jane', 'who closed it cannot be written');
SELECT referral.close_exception(1, id, 'not one', true) FROM public.opened WHERE n = 3 \g /dev/null
SELECT is((SELECT status FROM referral.exception_item WHERE exception_id = (SELECT id FROM public.opened WHERE n = 3)), 'dismissed', 'what never was one is dismissed');

-- 3. Coming back

SELECT is(referral.open_exception(1, 'payer_mismatch', 'referral', 10, 10, 'unknown_payer', 'IN1-3', 'low'), (SELECT id FROM public.opened WHERE n = 1), 'when the trouble comes back, it is the same exception');
SELECT results_eq($$SELECT status, reopen_count, resolution, resolved_by, resolved_at, severity, root_cause FROM referral.exception_item WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1)$$,
    $$VALUES ('open', 1, NULL::text, NULL::text, NULL::timestamptz, 'low', 'payer_variance')$$, 'open again, which is counted');
SELECT is((SELECT referral.open_exception(1, 'payer_mismatch', 'referral', 11, 11, 'unknown_payer', NULL, 'low')), (SELECT id FROM public.opened WHERE n = 3), 'one that was dismissed, too');
SELECT is((SELECT changes #>> '{resolution,0}' FROM referral.journal WHERE entity = 'exception_item' AND entity_id = (SELECT id FROM public.opened WHERE n = 1) ORDER BY journal_id DESC LIMIT 1),
    'the payer has another name since May', 'how it was settled before is in the journal');
UPDATE referral.exception_item SET status = 'in_progress' WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1);
SELECT referral.open_exception(1, 'payer_mismatch', 'referral', 10, 10, 'unknown_payer', 'IN1-3', 'low') \g /dev/null
SELECT results_eq($$SELECT status, reopen_count FROM referral.exception_item WHERE exception_id = (SELECT id FROM public.opened WHERE n = 1)$$,
    $$VALUES ('in_progress', 1)$$, 'one that somebody works on stays with him');
SELECT is(public.code($$UPDATE referral.exception_item SET code = 'other' WHERE entity_id = 10$$), 'RF017', 'what it is about stays');
SELECT is(public.code($$UPDATE referral.exception_item SET opened_by = 'me' WHERE entity_id = 10$$), 'RF017', 'and who opened it');
SELECT is(public.code($$INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id, status) VALUES (1, 'policy', 'x', 'referral', 10, 'resolved')$$), 'RF005', 'none is born closed without a resolution');
SELECT is(public.code($$INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id) VALUES (1, 'payer_mismatch', 'unknown_payer', 'referral', 10)$$), '23505', 'nor twice');

-- 4. The queue, and who sees it

SELECT results_eq($$SELECT code, priority, specialty, state::text, what_to_do, overdue FROM referral.exception_queue WHERE referral_id IS NOT DISTINCT FROM 11 OR entity = 'inbox_message' ORDER BY priority$$,
    $$VALUES ('not_processed', 1, NULL, NULL, 'read error in inbox_message, mend the mapping or the message''s cause, then reprocess()', false),
             ('unknown_payer', 4, 'cardiology', 'received', 'check payer and coverage with the payer', false)$$, 'the queue says what is held up and what to do');
UPDATE referral.referral SET urgency = 'stat', source = 'lake' WHERE referral_id = 11;
SELECT results_eq($$SELECT priority, source FROM referral.exception_queue WHERE referral_id = 11$$, $$VALUES (3, 'lake')$$, 'what is pressing comes one earlier');
SELECT results_eq($$SELECT category::text, code, priority, exceptions, oldest IS NOT NULL FROM referral.exception_summary WHERE source = 'lake'$$,
    $$VALUES ('payer_mismatch', 'unknown_payer', 3, 1::bigint, true)$$, 'what is alike is counted by its sender');
UPDATE referral.exception_item SET due_at = now() - interval '1 hour' WHERE entity_id = 11;
SELECT is((SELECT overdue FROM referral.exception_queue WHERE entity_id = 11), true, 'and what is overdue');
SELECT referral.open_exception(1, c, 'patient', 1, NULL, 'every', NULL, 'low') FROM unnest(enum_range(NULL::referral.exception_category)) c \g /dev/null
SELECT is((SELECT count(DISTINCT what_to_do) FROM referral.exception_queue), 10::bigint, 'every category has its own next action');
SET SESSION AUTHORIZATION exception_other;
SELECT is((SELECT count(*) FROM referral.exception_queue), 0::bigint, 'other organisations see none of it');
SELECT is(public.code($$SELECT referral.open_exception(1, 'policy', 'referral', 10, 10, 'x', NULL, 'low')$$), '42501', 'nor open any');
SELECT is(public.code($$SELECT referral.close_exception(1, id, 'x') FROM public.opened WHERE n = 1$$), 'RF019', 'nor close any');
SET SESSION AUTHORIZATION exception_auditor;
SELECT ok((SELECT count(*) > 0 FROM referral.exception_queue), 'auditors read them');
SELECT is(public.code($$SELECT referral.open_exception(1, 'policy', 'referral', 10, 10, 'x', NULL, 'low')$$), '42501', 'but do not open any');
SET SESSION AUTHORIZATION exception_analyst;
SELECT is(public.code('SELECT * FROM referral.exception_queue'), '42501', 'analysts do not');
SELECT is((SELECT sum(opened) FROM referral.exception_pattern), (SELECT count(exception_id) FROM referral.exception_item)::numeric, 'they see where they come from');
SELECT cmp_ok((SELECT sum(opened) FROM referral.exception_pattern), '>', 9::numeric, 'all of them');
SELECT is(public.code('SELECT ' || c || ' FROM referral.exception_item'), '42501', 'but not ' || c) FROM unnest('{detail,resolution,entity_id,opened_by,resolved_by}'::text[]) c;
SELECT is(public.code('UPDATE referral.exception_item SET severity = ''low'''), '42501', 'nor do they change them');
RESET SESSION AUTHORIZATION;
SELECT is(public.code('TRUNCATE referral.exception_item'), 'RF007', 'none gets lost');

-- what asks for a person
RESET SESSION AUTHORIZATION;
CREATE ROLE exception_bot LOGIN IN ROLE referral_integration;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'exception_bot', 'ai');
SET SESSION AUTHORIZATION exception_bot;
SELECT referral.open_exception(1, 'low_confidence', 'extraction', 77, NULL, 'below_threshold', NULL, 'medium') AS unsure,
       referral.open_exception(1, 'policy', 'referral', 10, NULL, 'decision_declined', NULL, 'high', true) AS declined \gset
SELECT is(public.code(format('SELECT referral.close_exception(1, %s, ''fine'')', e.id)), 'RF003', e.what)
FROM (VALUES (:unsure, 'a model does not close what waits for a review of its work'), (:declined, 'nor what a person has to decide')) e (id, what);
UPDATE referral.exception_item SET blocking = false WHERE exception_id = :declined;
SELECT is((SELECT blocking FROM referral.exception_item WHERE exception_id = :declined), true, 'what blocks goes on doing so');
SET SESSION AUTHORIZATION exception_feed;
SELECT is(public.code(format('SELECT referral.close_exception(1, %s, ''fine'')', :declined)), 'RF003', 'a system does not either');
SET SESSION AUTHORIZATION exception_jane;
SELECT is(public.code(format('SELECT referral.close_exception(1, %s, ''sent to another provider'')', :declined)), 'done', 'a person does');
RESET SESSION AUTHORIZATION;

-- what a model or a system may close

SET SESSION AUTHORIZATION exception_bot;
SELECT referral.open_exception(1, 'integration', 'inbox_message', 78, NULL, 'late', NULL, 'medium') AS bots \gset
SET SESSION AUTHORIZATION exception_jane;
SELECT referral.open_exception(1, 'policy', 'referral', 10, NULL, 'strange', NULL, 'medium') AS janes \gset
SET SESSION AUTHORIZATION exception_feed;
SELECT referral.open_exception(1, 'integration', 'inbox_message', 79, NULL, 'late', NULL, 'medium') AS feeds \gset
SET SESSION AUTHORIZATION exception_bot;
SELECT is(public.code(format('SELECT referral.close_exception(1, %s, ''fine'')', e.id)), 'RF003', 'a model closes no exception, ' || e.what)
FROM (VALUES (:bots, 'not even its own'), (:janes, 'none of a person'), (:feeds, 'none of a system')) e (id, what);
SELECT is(public.code(format('SELECT referral.close_exception(1, %s, ''not one'', true)', :janes)), 'RF003', 'and dismisses none');
SELECT is(public.code(format($$UPDATE referral.exception_item SET status = 'resolved', resolution = 'x' WHERE exception_id = %s$$, :feeds)), 'RF003', 'in plain SQL neither');
SET SESSION AUTHORIZATION exception_feed;
SELECT is(public.code(format('SELECT referral.close_exception(1, %s, ''fine'')', :janes)), 'RF003', 'a system does not close what others opened');
SELECT is(public.code(format($$UPDATE referral.exception_item SET opened_by = 'exception_feed', status = 'resolved', resolution = 'x' WHERE exception_id = %s$$, :janes)), 'RF017',
    'nor says that it was itself');
SELECT is(public.code(format('SELECT referral.close_exception(1, %s, ''it came'')', :feeds)), 'done', 'but what it opened itself');
SET referral.actor_kind = 'ai';
SET SESSION AUTHORIZATION exception_jane;
SET referral.actor_kind = 'ai';
SELECT is(public.code(format('SELECT referral.close_exception(1, %s, ''fine'')', :janes)), 'RF003', 'a session that acts for a model is one');
RESET referral.actor_kind;
RESET SESSION AUTHORIZATION;

-- our own functions close what is settled, whoever makes it so
UPDATE referral.referral SET reason_text = NULL WHERE referral_id = 11;
SET SESSION AUTHORIZATION exception_jane;
SELECT is(referral.check_referral(1, 11), false, 'a person has a referral checked that lacks its reason');
UPDATE referral.referral SET reason_text = 'chest pain' WHERE referral_id = 11;
SET SESSION AUTHORIZATION exception_bot;
SELECT is(referral.check_referral(1, 11), false, 'a model has it checked again');
SELECT results_eq($$SELECT status, resolution, resolved_by FROM referral.exception_item WHERE entity_id = 11 AND code = 'reason'$$,
    $$VALUES ('resolved', 'In order now: a later check found nothing wrong.', 'exception_bot')$$, 'what is no longer missing is closed');
SET SESSION AUTHORIZATION exception_jane;
SELECT referral.request_eligibility(1, 11) \g /dev/null
SELECT is((SELECT status FROM referral.exception_item WHERE entity_id = 11 AND code = 'no_coverage'), 'open', 'there is no coverage to ask about');
RESET SESSION AUTHORIZATION;
INSERT INTO referral.coverage (org_id, patient_id) VALUES (1, 1);
SET SESSION AUTHORIZATION exception_feed;
SELECT ok(referral.request_eligibility(1, 11) IS NOT NULL, 'a system asks when there is');
SELECT is((SELECT status FROM referral.exception_item WHERE entity_id = 11 AND code = 'no_coverage'), 'resolved', 'which settles it');
RESET SESSION AUTHORIZATION;

-- who may let a case go on that an exception holds up

SELECT referral.open_exception(1, 'capacity', 'referral', 11, 11, 'held', 'no slot', 'high', true, '{release,schedule}') AS held \gset
SET SESSION AUTHORIZATION exception_feed;
UPDATE referral.exception_item SET blocking = false WHERE exception_id = :held;
UPDATE referral.exception_item SET blocks = '{schedule}' WHERE exception_id = :held;
UPDATE referral.exception_item SET referral_id = 10 WHERE exception_id = :held;
UPDATE referral.exception_item SET referral_id = NULL WHERE exception_id = :held;
SELECT referral.open_exception(1, 'capacity', 'referral', 11, 10, 'held', NULL, 'low', false) \g /dev/null
SELECT results_eq(format('SELECT blocking, blocks, referral_id FROM referral.exception_item WHERE exception_id = %s', :held),
    $$VALUES (true, '{release,schedule}'::text[], 11::bigint)$$, 'no system lets the case go on that another''s exception holds up');
SELECT referral.open_exception(1, 'capacity', 'referral', 11, 11, 'own', NULL, 'high', true, '{release,schedule}') AS own \gset
SELECT referral.open_exception(1, 'capacity', 'referral', 11, 11, 'own', NULL, 'high', false) \g /dev/null
SELECT is((SELECT blocking FROM referral.exception_item WHERE exception_id = :own), false, 'but its own it may take back');
SET SESSION AUTHORIZATION exception_bot;
UPDATE referral.exception_item SET blocking = false, referral_id = 10 WHERE exception_id = :held;
SELECT results_eq(format('SELECT blocking, referral_id FROM referral.exception_item WHERE exception_id = %s', :held), 'VALUES (true, 11::bigint)', 'nor does a model');
SET SESSION AUTHORIZATION exception_jane;
SELECT is(public.code(format('UPDATE referral.exception_item SET blocking = false WHERE exception_id = %s', :held)), 'RF005', 'a person says why');
SELECT is(public.code(format('UPDATE referral.exception_item SET blocks = ''{schedule}'' WHERE exception_id = %s', :held)), 'RF005', 'also for one transition');
SELECT is(public.code(format('UPDATE referral.exception_item SET referral_id = 10 WHERE exception_id = %s', :held)), 'RF005', 'also when it is to hold up another');
SELECT is(public.code(format('UPDATE referral.exception_item SET severity = ''low'', blocks = ''{release,schedule,cancel}'' WHERE exception_id = %s', :held)), 'done', 'what blocks more needs no reason');
SET referral.reason = '  ';
SELECT is(public.code(format('UPDATE referral.exception_item SET blocking = false WHERE exception_id = %s', :held)), 'RF005', 'blanks are none');
SET referral.reason = 'a slot was found by phone';
UPDATE referral.exception_item SET blocking = false WHERE exception_id = :held;
RESET referral.reason;
SELECT is((SELECT blocking FROM referral.exception_item WHERE exception_id = :held), false, 'with a reason it does not block any more');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT reason FROM referral.journal WHERE entity = 'exception_item' AND entity_id = :held ORDER BY journal_id DESC LIMIT 1), 'a slot was found by phone', 'which the journal has');
UPDATE referral.exception_item SET blocking = true WHERE exception_id = :held;
SET SESSION AUTHORIZATION exception_jane;
SELECT is(public.code(format('SELECT referral.close_exception(1, %s, ''done'')', :held)), 'done', 'to close it the resolution is enough');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
