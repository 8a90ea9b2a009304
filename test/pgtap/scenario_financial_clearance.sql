-- Operational scenario: patient access, from referral intake to financial clearance. Requests come by partner feed, portal
-- and telephone; they are routed by urgency, payer and specialty; eligibility and authorization are checked; what does not
-- go by itself is somebody's, with a time until when. Models help, and decide nothing. Read it from top to bottom.
SELECT plan(40);
\ir ../lib/refused.sql

CREATE ROLE scenario_access_intake LOGIN IN ROLE referral_integration;
CREATE ROLE scenario_access_model LOGIN IN ROLE referral_coordinator, referral_approver;
CREATE ROLE scenario_access_ana LOGIN IN ROLE referral_coordinator, referral_approver;
CREATE ROLE scenario_access_omar LOGIN IN ROLE referral_authorizer;
CREATE ROLE scenario_access_nora LOGIN IN ROLE referral_approver;
CREATE ROLE scenario_access_sue LOGIN IN ROLE referral_scheduler;
CREATE ROLE scenario_access_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE scenario_access_board LOGIN IN ROLE referral_rule_approver;
INSERT INTO referral.organization_member (org_id, login, actor_kind)
SELECT 1, 'scenario_access_' || n, CASE n WHEN 'intake' THEN 'system' WHEN 'model' THEN 'ai' ELSE 'user' END
FROM unnest('{intake,model,ana,omar,nora,sue,author,board}'::text[]) n;
GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC;
SET referral.org_id = 1;
INSERT INTO referral.queue (name, title, fallback_queue_id)
SELECT 'prairie', 'Payer Prairie Advantage', queue_id FROM referral.queue WHERE org_id = 1 AND name = 'authorization';
INSERT INTO referral.queue_member (queue_id, member, is_lead)
SELECT q.queue_id, 'scenario_access_' || m.member, m.lead FROM (VALUES ('intake', 'ana', true), ('clinical_triage', 'ana', true), ('authorization', 'omar', true),
    ('prairie', 'omar', true), ('financial_clearance', 'nora', true), ('approvals', 'nora', true), ('scheduling', 'sue', true), ('intake', 'model', false)) m (queue, member, lead)
JOIN referral.queue q ON q.org_id = 1 AND q.name = m.queue;
INSERT INTO referral.payer (payer_id, name) VALUES (1, 'First Health'), (4, 'Prairie Advantage');
INSERT INTO referral.patient (patient_id, family, given, birth_date) VALUES (1, 'Okafor', 'Ada', '1960-04-01'), (2, 'Berg', 'Nils', '1983-09-30');
INSERT INTO referral.coverage (coverage_id, patient_id, payer_id, subscriber_id) VALUES (1, 1, 4, 'P-1'), (2, 2, 1, 'F-2');
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE FUNCTION public.go(id bigint, state text) RETURNS text LANGUAGE sql AS
$$ SELECT public.code(format('UPDATE referral.referral SET state = %L WHERE referral_id = %s', state, id)) $$;
CREATE FUNCTION public.work(entity text, id bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT string_agg(q.name || coalesce(':' || w.owner, ''), ',' ORDER BY w.work_item_id)
    FROM referral.work_item w JOIN referral.queue q USING (org_id, queue_id)
    WHERE w.org_id = 1 AND w.entity = work.entity AND w.entity_id = work.id AND w.closed_at IS NULL AND w.kind <> 'task' $$;

-- 1. Who may change where work goes: one writes the rule, another puts it in force; it can be tried before

SET SESSION AUTHORIZATION scenario_access_author;
SELECT referral.copy_rule_version(rule_version_id, 'A team for Prairie Advantage') AS draft
FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'routing/standard' AND status = 'active' \gset
INSERT INTO referral.routing_rule (rule_version_id, name, priority, applies_when, queue, explanation)
VALUES (:draft, 'prairie', 250, 'payer_id = 4 AND state IN (''validated'', ''pending_authorization'')', 'prairie', 'This payer has a portal of its own.');
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :draft;
SELECT is(public.code(format('UPDATE referral.rule_version SET status = ''approved'' WHERE rule_version_id = %s', :draft)), 'RF003', 'who wrote a routing rule does not put it in force');
SET SESSION AUTHORIZATION scenario_access_board;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :draft;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :draft;
SET SESSION AUTHORIZATION scenario_access_ana;
SELECT results_eq($$SELECT rule, effective_queue FROM referral.test_routing('{"payer_id": 4, "state": "validated", "specialty": "cardiology"}', 1) WHERE chosen$$,
    $$VALUES ('prairie', 'prairie')$$, 'tried, it sends work of the payer to its team');
SELECT results_eq($$SELECT rule, effective_queue FROM referral.test_routing('{"payer_id": 4, "urgency": "stat"}', 1) WHERE chosen$$,
    $$VALUES ('urgent', 'clinical_triage')$$, 'but what is urgent to a clinician first');

-- 2. Requests come in and are somebody's at once

SET SESSION AUTHORIZATION scenario_access_intake;
INSERT INTO referral.referral (referral_id, patient_id, specialty, channel, payer_id, coverage_id, reason_code, service_text, urgency, expected_value)
VALUES (1, 1, 'orthopedics', 'partner_feed', 4, 1, 'M16.1', 'Hip replacement', 'routine', 24000), (2, 2, 'cardiology', 'portal', 1, 2, 'I20.9', 'Consult', 'urgent', 900);
RESET SESSION AUTHORIZATION;
SELECT is(public.work('referral', 1), 'intake', 'a routine one is with intake');
SELECT is(public.work('referral', 2), 'clinical_triage', 'an urgent one with the clinicians');
SELECT ok((SELECT u.due_at < r.due_at FROM referral.work_item u, referral.work_item r WHERE u.entity = 'referral' AND u.entity_id = 2 AND r.entity = 'referral' AND r.entity_id = 1), 'and due sooner');
SET SESSION AUTHORIZATION scenario_access_ana;
SELECT is((SELECT array_agg(referral_id ORDER BY place) FROM referral.my_worklist WHERE kind = 'referral'), '{2,1}', 'Ana sees the urgent one first');
SELECT alike((SELECT why FROM referral.my_worklist WHERE referral_id = 2), 'urgent +300%', 'and why');
SET SESSION AUTHORIZATION scenario_access_model;
SELECT is(public.code('SELECT referral.claim_next(1, ''intake'')'), 'RF003', 'a model takes no work');

-- 3. Eligibility: the payer says no. It is an exception, with those who clear it, and it holds the referral up

SET SESSION AUTHORIZATION scenario_access_ana;
UPDATE referral.referral SET reason_text = 'Hip pain', authorization_required = true WHERE referral_id = 1;
SELECT is(public.go(1, 'validated'), 'done', 'what is there can be validated');
UPDATE referral.referral SET state = 'validated' WHERE referral_id = 1;
SELECT is(public.work('referral', 1), 'prairie', 'from there the payer''s team has it');
SET SESSION AUTHORIZATION scenario_access_intake;
SELECT referral.request_eligibility(1, 1, 'api') AS asked \gset
SELECT referral.answer_eligibility(1, :asked, 'not-covered', 'auth-needed');
RESET SESSION AUTHORIZATION;
SELECT exception_id AS not_eligible FROM referral.exception_item WHERE referral_id = 1 AND code = 'not_eligible' \gset
SELECT is(public.work('exception_item', :not_eligible), 'financial_clearance', 'the exception is with those who clear coverages');
SELECT ok((SELECT due_at IS NOT NULL AND blocking FROM referral.exception_item WHERE exception_id = :not_eligible), 'with a time until when, and it blocks');
SET SESSION AUTHORIZATION scenario_access_omar;
SELECT results_eq($$SELECT code, hint LIKE '%close_exception%' FROM public.refused('UPDATE referral.referral SET state = ''pending_authorization'' WHERE referral_id = 1')$$,
    $$VALUES ('RF025', true)$$, 'the payer is not asked for an authorization meanwhile; the refusal says what would help');
SET SESSION AUTHORIZATION scenario_access_nora;
SELECT results_eq('SELECT entity_id, kind FROM referral.claim_next(1, ''financial_clearance'')', format('VALUES (%s::bigint, ''exception'')', :not_eligible), 'Nora takes it');
SELECT referral.hold(1, work_item_id, 'the payer calls back') FROM referral.work_item WHERE owner = 'scenario_access_nora' \g /dev/null
SELECT is((SELECT status::text FROM referral.my_worklist WHERE mine), 'on-hold', 'and sets it aside until the payer calls');
SET SESSION AUTHORIZATION scenario_access_intake;
SELECT referral.request_eligibility(1, 1, 'api') AS asked \gset
SELECT referral.answer_eligibility(1, :asked, 'covered', 'auth-needed');
RESET SESSION AUTHORIZATION;
SELECT results_eq(format('SELECT e.status::text, public.work(''exception_item'', e.exception_id) FROM referral.exception_item e WHERE exception_id = %s', :not_eligible), $$VALUES ('resolved', NULL::text)$$, 'covered after all: the exception is settled, and nobody has it any more');

-- 4. Authorization: the payer's clock runs; what gets late is told to others by itself

SET SESSION AUTHORIZATION scenario_access_omar;
SELECT is(public.go(1, 'ready_to_schedule'), 'RF002', 'without the authorization it does not go on');
UPDATE referral.referral SET state = 'pending_authorization' WHERE referral_id = 1;
INSERT INTO referral.prior_authorization (referral_id, patient_id, payer_id, requested_at) VALUES (1, 1, 4, now());
SELECT is(public.work('referral', 1), 'prairie', 'the same team waits for the payer');
SELECT results_eq('SELECT policy, status, who_may FROM referral.approval_path(1, 1) WHERE needed AND policy = ''financial_clearance''',
    $$VALUES ('financial_clearance', 'not_requested', 'a member of referral_approver')$$, 'he sees already who will be asked then');
SELECT is((SELECT target::text FROM referral.sla_status WHERE entity_id = 1 AND policy = 'payer_decision' AND status = 'running'), '168:00:00', 'who has seven days');
RESET SESSION AUTHORIZATION;
CALL referral.tick(now() + interval '8 days');
SELECT is((SELECT max(level) FROM referral.escalation WHERE entity_id = 1 AND policy = 'payer_decision'), 3, 'in eight days the levels up to the due time have fired');
SELECT is((SELECT escalated_to::text FROM referral.work_item WHERE entity = 'referral' AND entity_id = 1 AND closed_at IS NULL), 'referral_coordinator', 'and members of another role may take it');
SELECT ok((SELECT priority >= 1 FROM referral.referral WHERE referral_id = 1), 'its priority is raised');
SELECT set_config('referral.as_of', (now() + interval '8 days')::text, false) \g /dev/null
SET SESSION AUTHORIZATION scenario_access_omar;
SELECT is((SELECT rule FROM referral.next_best_action WHERE referral_id = 1), 'chase_payer', 'Omar is told to call the payer');
SELECT is((SELECT overdue::int FROM referral.queue_health WHERE queue = 'prairie'), 1, 'the team sees what is late');
RESET referral.as_of;
UPDATE referral.prior_authorization SET status = 'decided', decided_at = now(), authorization_number = 'PA-77' WHERE referral_id = 1;
UPDATE referral.referral SET authorization_number = 'PA-77' WHERE referral_id = 1;
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = 1;
RESET SESSION AUTHORIZATION;
SELECT is(public.work('referral', 1), 'scheduling', 'authorized, it is to be booked');

-- 5. Financial clearance: as much money waits for the finance office; not for who asked, and not for a model

SELECT approval_request_id AS clearance FROM referral.approval_request WHERE referral_id = 1 AND status = 'pending' \gset
SELECT results_eq(format('SELECT policy, requested_by FROM referral.approval_request WHERE approval_request_id = %s', :clearance),
    $$VALUES ('financial_clearance', 'scenario_access_omar')$$, 'the clearance is asked for by itself');
SELECT is(public.work('approval_request', :clearance), 'financial_clearance', 'and lies with the finance office');
SET SESSION AUTHORIZATION scenario_access_sue;
SELECT results_eq($$SELECT code FROM public.refused('UPDATE referral.referral SET state = ''scheduled'', scheduled_for = now() + interval ''3 days'' WHERE referral_id = 1')$$, $$VALUES ('RF004')$$, 'Sue cannot book meanwhile');
SELECT results_eq('SELECT transition, policy, status FROM referral.approval_path(1, 1) WHERE needed', $$VALUES ('schedule', 'financial_clearance', 'pending')$$, 'and sees what it waits for');
SET SESSION AUTHORIZATION scenario_access_model;
SELECT is(public.code(format('SELECT referral.approve(1, %s)', :clearance)), 'RF003', 'a model clears nothing');
SET SESSION AUTHORIZATION scenario_access_nora;
SELECT is(referral.approve(1, :clearance, 'the patient has agreed to pay his share'), 'approved', 'Nora does');
SELECT is(public.code(format('SELECT referral.approve(1, %s)', :clearance)), 'RF001', 'once');
SET SESSION AUTHORIZATION scenario_access_sue;
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() + interval '3 days' WHERE referral_id = 1;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT state::text FROM referral.referral WHERE referral_id = 1), 'scheduled', 'then it is booked');
SELECT is(public.work('approval_request', :clearance), NULL, 'nothing is left of it');

-- 6. Why it went this way

SET SESSION AUTHORIZATION scenario_access_ana;
SELECT is((SELECT count(*)::int FROM referral.explain('referral', 1, 1) WHERE kind IN ('approval', 'exception', 'routing', 'clock', 'transition')) > 8, true, 'the whole way is explained');
SELECT bag_eq('SELECT DISTINCT rule FROM referral.explain(''referral'', 1, 1) WHERE kind = ''routing''', $$VALUES ('received'), ('prairie'), ('to_be_booked')$$, 'where it was sent, by which rules');
RESET SESSION AUTHORIZATION;
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'at no time was it nobody''s');
SELECT is_empty('SELECT * FROM referral.silent_pass', 'and nothing passed unseen');

SELECT * FROM finish();
