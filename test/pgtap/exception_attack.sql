-- Exceptions, against those who mean no good: who forges what the database fills in, makes little of what others opened,
-- rewrites what is settled, settles alone what he missed, or gives times without end.
SELECT plan(45);
\ir ../lib/refused.sql
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE exception_attack_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE exception_attack_joe LOGIN IN ROLE referral_coordinator;
CREATE ROLE exception_attack_feed LOGIN IN ROLE referral_integration;
CREATE ROLE exception_attack_bot LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'exception_attack_jane', 'user'), (1, 'exception_attack_joe', 'user'),
    (1, 'exception_attack_feed', 'system'), (1, 'exception_attack_bot', 'ai');
INSERT INTO referral.patient (org_id, patient_id) VALUES (1, 1);
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, urgency, expected_value)
SELECT 1, i, 1, 'cardiology', CASE WHEN i IN (1, 2) THEN 'asap' ELSE 'routine' END::referral.urgency, CASE WHEN i IN (4, 5) THEN 99999 END FROM generate_series(1, 6) i;
CREATE TABLE public.known (name text, id bigint);
GRANT ALL ON public.known TO PUBLIC;
CREATE FUNCTION public.id(name text) RETURNS bigint LANGUAGE sql AS 'SELECT id FROM public.known k WHERE k.name = $1';
CREATE FUNCTION public.wait_for_payer(id bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE referral.referral SET step = 'validated' WHERE referral_id = id;
    UPDATE referral.referral SET step = 'pending_authorization' WHERE referral_id = id;
    RETURN 'done';
END $$;

-- 1. A model closes what blocks, by way of a rule

SET SESSION AUTHORIZATION exception_attack_jane;
INSERT INTO public.known SELECT 'fraud', referral.open_exception(1, 'policy', 'referral', 1, 1, 'suspected_fraud', 'stop', 'critical', true, '{release}');
SET SESSION AUTHORIZATION exception_attack_bot;
UPDATE referral.exception_item SET rule_holds = true, exception_rule_id = (SELECT min(exception_rule_id) FROM referral.exception_rule), exception_policy_id = NULL, reopen_count = 9
WHERE exception_id = public.id('fraud');
SELECT is(public.wait_for_payer(1), 'done', 'a model has a rule begin to hold');
RESET SESSION AUTHORIZATION;
SELECT ok(EXISTS (SELECT FROM referral.exception_item WHERE entity_id = 1 AND code = 'urgent_waits_for_payer' AND rule_holds), 'which opens its exception');
SELECT results_eq('SELECT status, rule_holds, exception_rule_id, exception_policy_id IS NOT NULL, reopen_count FROM referral.exception_item WHERE exception_id = public.id(''fraud'')',
    $$VALUES ('open', false, NULL::bigint, true, 0)$$, 'that of a person stays open: what the database keeps is not written by others');
UPDATE referral.exception_item SET rule_holds = true WHERE exception_id = public.id('fraud');
SELECT is(referral.check_exceptions('referral', 1, 1), 0, 'though a row said that a rule held');
SELECT is((SELECT status FROM referral.exception_item WHERE exception_id = public.id('fraud')), 'open', 'that no rule opened closes no rule');
UPDATE referral.exception_item SET rule_holds = false WHERE exception_id = public.id('fraud');

-- 2. A model opens first what a rule is to open

SET SESSION AUTHORIZATION exception_attack_bot;
INSERT INTO referral.exception_item (category, code, entity, entity_id, detail, severity, due_at, exception_rule_id, rule_holds, opened_by, opened_at, reopen_count)
VALUES ('clinical_review', 'urgent_waits_for_payer', 'referral', 2, 'nothing', 'low', '2099-01-01', (SELECT min(exception_rule_id) FROM referral.exception_rule), true, 'exception_attack_jane', '2020-01-01', 7);
SELECT results_eq($$SELECT opened_by, opened_at > '2026-01-01', exception_rule_id, rule_holds, reopen_count FROM referral.exception_item WHERE entity_id = 2$$,
    $$VALUES ('exception_attack_bot', true, NULL::bigint, false, 0)$$, 'who opened one, when and by which rule, the database says');
SELECT is(referral.open_exception(1, 'clinical_review', 'referral', 2, NULL, 'urgent_waits_for_payer', 'nothing', 'low', false, NULL, (SELECT min(exception_rule_id) FROM referral.exception_rule)),
    (SELECT exception_id FROM referral.exception_item WHERE entity_id = 2), 'nobody opens one in the name of a rule');
SELECT is((SELECT count(*) FROM referral.exception_item WHERE entity_id = 2), 1::bigint, 'it is the same one');
SET SESSION AUTHORIZATION exception_attack_jane;
SELECT is(public.wait_for_payer(2), 'done', 'then the rule holds');
SELECT ok((SELECT e.rule_holds AND e.status = 'open' AND e.severity = r.severity AND e.due_at < '2099-01-01' FROM referral.exception_item e JOIN referral.exception_rule r USING (exception_rule_id) WHERE e.entity_id = 2),
    'and opens its own, as severe and as soon due as it says');
INSERT INTO public.known SELECT 'rule', exception_id FROM referral.exception_item WHERE entity_id = 2 AND exception_rule_id IS NOT NULL;

-- 3. Models and systems make little of what others opened

SET SESSION AUTHORIZATION exception_attack_feed;
UPDATE referral.exception_item SET severity = 'low', due_at = '2099-01-01', detail = 'nothing', referral_id = 3, rule_holds = false WHERE exception_id IN (public.id('rule'), public.id('fraud'));
SELECT results_eq($$SELECT severity <> 'low', due_at < '2099-01-01', detail <> 'nothing', referral_id = entity_id, rule_holds FROM referral.exception_item WHERE exception_id IN (public.id('rule'), public.id('fraud')) ORDER BY exception_id$$,
    $$VALUES (true, true, true, true, false), (true, true, true, true, true)$$, 'a system leaves what a rule or a person opened as urgent as it is, with its referral');
SELECT is(public.code('SELECT referral.close_exception(1, public.id(''rule''), ''x'')'), 'RF003', 'and closes neither');
INSERT INTO public.known SELECT 'feed', referral.open_exception(1, 'integration', 'referral', 3, 3, 'late', 'd', 'high');
UPDATE referral.exception_item SET severity = 'low', referral_id = 6 WHERE exception_id = public.id('feed');
SELECT results_eq('SELECT severity, referral_id FROM referral.exception_item WHERE exception_id = public.id(''feed'')', $$VALUES ('low', 6::bigint)$$, 'its own it changes');
SET SESSION AUTHORIZATION exception_attack_bot;
UPDATE referral.exception_item SET referral_id = 1 WHERE exception_id = public.id('feed');
SELECT is((SELECT referral_id FROM referral.exception_item WHERE exception_id = public.id('feed')), 6::bigint, 'a model hangs none on another referral');
SET SESSION AUTHORIZATION exception_attack_joe;
SELECT referral.open_exception(1, 'integration', 'referral', 3, NULL, 'late', 'd', 'low') \g /dev/null
SELECT is((SELECT opened_by FROM referral.exception_item WHERE exception_id = public.id('feed')), 'exception_attack_joe', 'a person who opens the same answers for it');
SET SESSION AUTHORIZATION exception_attack_feed;
SELECT referral.open_exception(1, 'integration', 'referral', 3, NULL, 'late', 'd', 'low') \g /dev/null
SELECT is(public.code('SELECT referral.close_exception(1, public.id(''feed''), ''x'')'), 'RF003', 'so that the system that opened it first closes it no more');
SELECT is(public.code($$UPDATE referral.exception_item SET opened_by = 'exception_attack_feed' WHERE exception_id = public.id('feed')$$), 'RF017', 'nor makes it its own');

-- 4. What is settled stays as it was said

SET SESSION AUTHORIZATION exception_attack_jane;
SELECT referral.close_exception(1, public.id('feed'), 'the sender was called') \g /dev/null
SELECT referral.close_exception(1, public.id('rule'), 'a clinician looked at it') \g /dev/null
SET SESSION AUTHORIZATION exception_attack_bot;
SELECT is(public.code(format('UPDATE referral.exception_item SET %s WHERE exception_id = public.id(''feed'')', c)), 'RF001', 'no model rewrites ' || c)
FROM unnest(ARRAY['resolution = ''AI says''', 'detail = ''AI''', 'referral_id = 1', 'blocking = true', 'severity = ''critical''', 'due_at = ''2099-01-01''', 'status = ''dismissed''', 'root_cause = ''other''']) c;
SELECT is(public.code('UPDATE referral.exception_item SET status = ''open'' WHERE exception_id = public.id(''rule'')'), 'RF003', 'nor opens that of a rule again');
SET SESSION AUTHORIZATION exception_attack_joe;
SELECT is(public.code('UPDATE referral.exception_item SET resolution = ''no'' WHERE exception_id = public.id(''feed'')'), 'RF001', 'a person does not either');
SELECT is(public.code('UPDATE referral.exception_item SET root_cause = ''sender_error'' WHERE exception_id = public.id(''feed'')'), 'done', 'but says why it came to this');
SELECT is(public.code('SELECT referral.open_exception(1, ''integration'', ''referral'', 3, NULL, ''late'', ''again'', ''high'')'), 'done', 'and opens it again');
SELECT is(public.code('UPDATE referral.exception_item SET status = ''open'' WHERE exception_id = public.id(''rule'')'), 'done', 'also that of a rule');
SELECT is((SELECT resolution FROM referral.exception_item WHERE exception_id = public.id('feed')), 'the sender was called', 'what was said is there');

-- 5. Who missed an approval does not settle that alone

SET SESSION AUTHORIZATION exception_attack_feed;
INSERT INTO referral.exception_item (category, code, entity, entity_id, referral_id, severity) VALUES ('policy', 'approval_missed', 'referral', 5, 5, 'low');
SET SESSION AUTHORIZATION exception_attack_jane;
CREATE FUNCTION pg_temp.miss(id bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE referral.referral SET step = 'validated' WHERE referral_id = id;
    UPDATE referral.referral SET step = 'ready_to_schedule' WHERE referral_id = id;
    UPDATE referral.referral SET step = 'scheduled', scheduled_for = now() + interval '1 day', expected_value = 1 WHERE referral_id = id;
    UPDATE referral.referral SET expected_value = 99999 WHERE referral_id = id;
    RETURN (SELECT status FROM referral.exception_item WHERE entity_id = id AND code = 'approval_missed');
END $$;
SELECT is(pg_temp.miss(i), 'open', 'an approval was missed') FROM generate_series(4, 5) i;
INSERT INTO public.known SELECT 'missed' || entity_id, exception_id FROM referral.exception_item WHERE code = 'approval_missed';
SELECT is(public.code('SELECT referral.close_exception(1, public.id(''missed4''), ''fine by me'')'), 'RF013', 'who missed it does not close it');
SELECT is(public.code('SELECT referral.close_exception(1, public.id(''missed4''), ''fine by me'', true)'), 'RF001', 'nor dismisses it');
SET SESSION AUTHORIZATION exception_attack_feed;
SELECT is(public.code('SELECT referral.close_exception(1, public.id(''missed5''), ''x'')'), 'RF003', 'a system closes none, though it opened it before');
SET SESSION AUTHORIZATION exception_attack_joe;
SELECT referral.open_exception(1, 'policy', 'referral', 5, 5, 'approval_missed', NULL, 'high') \g /dev/null
SET SESSION AUTHORIZATION exception_attack_jane;
SELECT is(public.code('SELECT referral.close_exception(1, public.id(''missed5''), ''fine by me'')'), 'RF013', 'nor does who moved the row when another has opened it again');
SET SESSION AUTHORIZATION exception_attack_joe;
SELECT is(public.code('SELECT referral.close_exception(1, public.id(''missed4''), ''was none'', true)'), 'RF001', 'another person does not dismiss it either');
SELECT is(public.code('SELECT referral.close_exception(1, public.id(''missed4''), ''looked into, agreed by phone'')'), 'done', 'but settles it');

-- 6. Times without end

SELECT is(public.code('INSERT INTO referral.exception_item (category, code, entity, entity_id, opened_at) VALUES (''policy'', ''x'', ''referral'', 6, ''-infinity'')'), 'RF020', 'no exception is opened at one');
RESET SESSION AUTHORIZATION;
INSERT INTO referral.document (org_id, document_id, referral_id, patient_id, type, title) VALUES (1, 1, 6, 1, 'referral_letter', 'x');
SET SESSION AUTHORIZATION exception_attack_bot;
SELECT is(public.code('INSERT INTO referral.extraction (document_id, field, value, confidence, model, model_version, produced_at) VALUES (1, ''patient.city'', ''x'', 0.1, ''m'', ''1'', ''-infinity'')'), 'RF020', 'no model reads at one');
SELECT is(public.code('INSERT INTO referral.document_classification (document_id, document_type, confidence, model, model_version, produced_at) VALUES (1, ''imaging_order'', 0.1, ''m'', ''1'', ''infinity'')'), 'RF020', 'nor classifies');
SET SESSION AUTHORIZATION exception_attack_jane;
UPDATE referral.referral SET received_at = '-infinity' WHERE referral_id = 6;
SELECT results_eq('SELECT age FROM referral.referral_case WHERE referral_id = 6', 'VALUES (NULL::interval)', 'the case of a referral that was received at one is shown');
SELECT is((SELECT count(*) FROM referral.referral_age), 6::bigint, 'and its age among others');
SELECT lives_ok('SELECT * FROM referral.aging', 'so it is where ages are counted');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
