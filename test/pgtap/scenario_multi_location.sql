-- Operational scenario: a regional group with several locations coordinates referrals in eleven stages. Ownership goes by
-- specialty and geography; what is out of network waits for a manager; teams hand over to each other and answer for it
-- until the other one has accepted; what gets old is told of; leaders see every location. Read it from top to bottom.
SELECT plan(45);
\ir ../lib/refused.sql

CREATE ROLE scenario_sites_intake LOGIN IN ROLE referral_integration;
CREATE ROLE scenario_sites_ana LOGIN IN ROLE referral_coordinator, referral_approver;
CREATE ROLE scenario_sites_ben LOGIN IN ROLE referral_coordinator;
CREATE ROLE scenario_sites_khan LOGIN IN ROLE referral_clinician;
CREATE ROLE scenario_sites_sue LOGIN IN ROLE referral_scheduler;
CREATE ROLE scenario_sites_tom LOGIN IN ROLE referral_scheduler;
CREATE ROLE scenario_sites_mary LOGIN IN ROLE referral_approver;
CREATE ROLE scenario_sites_paul LOGIN IN ROLE referral_coordinator;
CREATE ROLE scenario_sites_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE scenario_sites_board LOGIN IN ROLE referral_rule_approver, referral_analyst;
INSERT INTO referral.organization_member (org_id, login, actor_kind)
SELECT 1, 'scenario_sites_' || n, CASE n WHEN 'intake' THEN 'system' ELSE 'user' END FROM unnest('{intake,ana,ben,khan,sue,tom,mary,paul,author,board}'::text[]) n;
GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC;
SET referral.org_id = 1;
INSERT INTO referral.queue (name, title) VALUES ('north_desk', 'Scheduling, north'), ('south_desk', 'Scheduling, south');
INSERT INTO referral.queue_member (queue_id, member, is_lead)
SELECT q.queue_id, 'scenario_sites_' || m.member, m.lead FROM (VALUES ('intake', 'ana', true), ('clinical_triage', 'khan', true), ('north_desk', 'sue', true),
    ('south_desk', 'tom', true), ('south_desk', 'sue', false), ('missing_documents', 'ben', true), ('closing_the_loop', 'ana', true), ('approvals', 'mary', true)) m (queue, member, lead)
JOIN referral.queue q ON q.org_id = 1 AND q.name = m.queue;
INSERT INTO referral.site (site_id, name, region, timezone) VALUES (1, 'Lakeside', 'north', 'America/Chicago'), (2, 'Hillcrest', 'south', 'America/Chicago');
INSERT INTO referral.payer (payer_id, name) VALUES (1, 'First Health');
INSERT INTO referral.practitioner (practitioner_id, name, specialty) VALUES (1, 'Dr. Abbott', NULL), (2, 'Dr. Lind', 'orthopedics');
INSERT INTO referral.healthcare_service (healthcare_service_id, name, site_id, specialty, weekly_capacity)
VALUES (1, 'Orthopedics, Lakeside', 1, 'orthopedics', 20), (2, 'Orthopedics, Hillcrest', 2, 'orthopedics', 5), (3, 'Imaging, Hillcrest', 2, 'radiology', 40);
INSERT INTO referral.network_contract (payer_id, healthcare_service_id) VALUES (1, 2);
INSERT INTO referral.patient (patient_id, family, given, birth_date) VALUES (1, 'Moreno', 'Ines', '1966-03-14'), (2, 'Quinn', 'Hugo', '1949-12-01'), (3, 'Sato', 'Mina', '1990-06-06');
INSERT INTO referral.coverage (patient_id, payer_id, subscriber_id) SELECT n, 1, 'FH-' || n FROM generate_series(1, 3) n;
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE FUNCTION public.go(id bigint, step text) RETURNS text LANGUAGE sql AS
$$ SELECT public.code(format('UPDATE referral.referral SET step = %L WHERE referral_id = %s', step, id)) $$;
CREATE FUNCTION public.work(entity text, id bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT string_agg(q.name || coalesce(':' || w.owner, ''), ',' ORDER BY w.work_item_id)
    FROM referral.work_item w JOIN referral.queue q USING (org_id, queue_id)
    WHERE w.org_id = 1 AND w.entity = work.entity AND w.entity_id = work.id AND w.closed_at IS NULL AND w.kind <> 'task' $$;
CREATE FUNCTION public.item(referral bigint) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS
    'SELECT work_item_id FROM referral.work_item WHERE org_id = 1 AND referral_id = $1 AND is_primary AND closed_at IS NULL';
CREATE FUNCTION public.answers(referral bigint) RETURNS text LANGUAGE sql STABLE AS 'SELECT accountable FROM referral.work_owner WHERE referral_id = $1';

-- 1. Ownership by specialty and geography

SET SESSION AUTHORIZATION scenario_sites_author;
SELECT referral.copy_rule_version(rule_version_id, 'A desk for each region') AS draft
FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'routing/standard' AND status = 'active' \gset
INSERT INTO referral.routing_rule (rule_version_id, name, priority, applies_when, queue, assign, explanation)
VALUES (:draft, 'first_stages', 10, 'step IN (''documentation_review'', ''eligibility_verification'') AND urgency = ''routine''', 'intake', NULL, 'Intake keeps it until the payer has answered.'),
       (:draft, 'clinical_stage', 10, 'step = ''clinical_triage''', 'clinical_triage', NULL, 'A clinician of the group looks at each.'),
       (:draft, 'north', 20, 'step IN (''specialist_assignment'', ''appointment_scheduled'', ''patient_notified'') AND region = ''north''', 'north_desk', NULL, 'The desk of the region books.'),
       (:draft, 'south', 20, 'step IN (''specialist_assignment'', ''appointment_scheduled'', ''patient_notified'') AND region = ''south''', 'south_desk', 'fewest_open', 'The desk of the region books.');
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :draft;
SET SESSION AUTHORIZATION scenario_sites_board;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :draft;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :draft;

-- Three requests: from a provider of the group, from a partner, and taken down by the patient service team
SET SESSION AUTHORIZATION scenario_sites_intake;
INSERT INTO referral.referral (referral_id, referral_type, patient_id, specialty, channel, site_id, region, payer_id, network_status, requester_id, reason_code, service_text, urgency)
VALUES (1, 'coordination', 1, 'orthopedics', 'ehr', 1, 'north', 1, 'in_network', 1, 'M17.1', 'Knee consult', 'routine'),
       (2, 'coordination', 2, 'orthopedics', 'partner_feed', 2, 'south', 1, 'out_of_network', 1, 'M16.1', 'Hip consult', 'routine'),
       (3, 'coordination', 3, 'radiology', 'call_centre', 2, 'south', 1, 'in_network', 1, 'M54.5', 'MRI', 'urgent');
SELECT referral.check_referral(1, n) FROM generate_series(1, 3) n \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT referral_id, step FROM referral.referral ORDER BY 1', $$VALUES (1::bigint, 'intake_received'), (2, 'intake_received'), (3, 'intake_received')$$, 'the first of the eleven stages');
SELECT is(public.work('referral', 1) || ' ' || public.work('referral', 3), 'intake clinical_triage', 'a routine one is with intake, an urgent one with the clinicians');
SELECT is(public.answers(1), 'queue:intake', 'the queue answers for it until somebody has it');

-- 2. Documentation: imaging that is asked for by telephone needs the signed order; the requester is asked by itself

SELECT is((SELECT exception_id IS NOT NULL FROM referral.exception_item WHERE referral_id = 3 AND code = 'imaging_order' AND status = 'open'), true, 'the order is missing');
SELECT is(public.work('exception_item', (SELECT exception_id FROM referral.exception_item WHERE referral_id = 3 AND code = 'imaging_order')), 'missing_documents', 'which is work for those who obtain documents');
SET SESSION AUTHORIZATION scenario_sites_ana;
SELECT is((SELECT count(*)::int FROM referral.outreach_to_send WHERE referral_id = 3), 1, 'a letter to the requester is drafted, and waits for a person to send it');
UPDATE referral.referral SET step = 'documentation_review' WHERE referral_id = 3;
SELECT is(public.go(3, 'eligibility_verification'), 'RF002', 'the stage is not left before it is complete');
SET SESSION AUTHORIZATION scenario_sites_ben;
INSERT INTO referral.document (referral_id, type) VALUES (3, 'order');
SELECT is(public.go(3, 'eligibility_verification'), 'done', 'with the order it is');

-- 3. Eligibility, then a manager for what is out of network; who asks does not agree

SET SESSION AUTHORIZATION scenario_sites_ana;
SELECT is((SELECT count(*)::int FROM referral.claim_next(1, 'intake', 2)), 2, 'Ana takes both of intake');
SELECT is(public.answers(1), 'scenario_sites_ana', 'and answers for them');
UPDATE referral.referral SET step = 'documentation_review' WHERE referral_id IN (1, 2);
UPDATE referral.referral SET step = 'eligibility_verification' WHERE referral_id IN (1, 2);
SELECT is(public.go(1, 'clinical_triage'), 'RF002', 'before the payer has confirmed the coverage it does not go on');
SET SESSION AUTHORIZATION scenario_sites_intake;
SELECT referral.answer_eligibility(1, referral.request_eligibility(1, n, 'api'), 'covered', 'no-auth') FROM generate_series(1, 2) n \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT approval_request_id AS manager FROM referral.approval_request WHERE referral_id = 2 AND policy = 'out_of_network' AND status = 'pending' \gset
SELECT is((SELECT requested_by FROM referral.approval_request WHERE approval_request_id = :manager), 'scenario_sites_ana', 'who took it there asks the manager');
SET SESSION AUTHORIZATION scenario_sites_ana;
SELECT is(public.go(2, 'clinical_triage'), 'RF004', 'it waits for him');
SELECT is(public.code(format('SELECT referral.approve(1, %s)', :manager)), 'RF013', 'Ana asked, so she does not agree, although she is an approver');
SELECT is(public.code(format('INSERT INTO referral.approval_decision (approval_request_id, decision) VALUES (%s, ''approve'')', :manager)), 'RF013', 'not by another way either');
SET SESSION AUTHORIZATION scenario_sites_mary;
INSERT INTO referral.approval_delegation (from_member, to_member, kinds, during, reason)
VALUES ('scenario_sites_mary', 'scenario_sites_paul', '{management}', tstzrange(now() - interval '1 minute', now() + interval '7 days'), 'leave');
SET SESSION AUTHORIZATION scenario_sites_paul;
INSERT INTO referral.approval_decision (approval_request_id, decision, on_behalf_of, reason) VALUES (:manager, 'approve', 'scenario_sites_mary', 'nobody in the network does this');
SELECT results_eq(format('SELECT decided_by, on_behalf_of FROM referral.approval_log WHERE approval_request_id = %s', :manager), $$VALUES ('scenario_sites_paul', 'scenario_sites_mary')$$, 'Paul agrees for Mary, who is on leave');
SET SESSION AUTHORIZATION scenario_sites_ana;
SELECT is((SELECT status FROM referral.approval_path(1, 2) WHERE policy = 'out_of_network' AND transition = 'triage'), 'approved', 'the way is free');
UPDATE referral.referral SET step = 'clinical_triage' WHERE referral_id IN (1, 2);

-- 4. From team to team: by rule, in one's own words, accepted, returned

SELECT is(public.work('referral', 1), 'clinical_triage', 'the clinicians are to have it');
SELECT is(public.answers(1), 'scenario_sites_ana', 'Ana answers for it until one of them accepts');
SELECT is((SELECT bool_and(by_rule) FROM referral.handoff_waiting WHERE referral_id IN (1, 2)), true, 'a rule has handed it over');
SET SESSION AUTHORIZATION scenario_sites_khan;
SELECT is((SELECT count(*)::int FROM referral.claim_next(1, 'clinical_triage', 5) WHERE referral_id IN (1, 2)), 2, 'Dr. Khan takes them');
SELECT is(public.answers(1), 'scenario_sites_khan', 'now she answers for it');
SELECT is(public.code(format('SELECT referral.hand_over(1, %s, ''north_desk'', '' '', ''triaged'')', public.item(1))), 'RF005', 'who hands over says where it stands');
SELECT referral.hand_over(1, public.item(1), 'north_desk', 'Surgical opinion, bring the films.', 'triaged', '[{"item": "The patient knows what comes next", "done": true}]') AS handoff \gset
SET SESSION AUTHORIZATION scenario_sites_sue;
SELECT results_eq('SELECT from_queue, accountable, to_queue FROM referral.handoff_waiting WHERE referral_id = 1', $$VALUES ('clinical_triage', 'scenario_sites_khan', 'north_desk')$$, 'who waits for whom');
SELECT is((SELECT rule FROM referral.next_best_action WHERE referral_id = 1), 'accept_handoff', 'Sue is told to accept it, or to return it');
SELECT referral.return_handoff(1, :handoff, 'which films?') \g /dev/null
SELECT results_eq('SELECT what, why FROM referral.returned_cancelled_dna WHERE referral_id = 1', $$VALUES ('returned', 'which films?')$$, 'returned, it is on the list of those who sent it');
SELECT is(public.work('referral', 1), 'clinical_triage:scenario_sites_khan', 'and with Dr. Khan again');
SET SESSION AUTHORIZATION scenario_sites_khan;
SELECT referral.hand_over(1, public.item(1), 'north_desk', 'The X-ray of May.', 'which films', '[{"item": "The patient knows what comes next", "done": true}]') AS handoff \gset
UPDATE referral.referral SET step = 'specialist_assignment' WHERE referral_id IN (1, 2);
SET SESSION AUTHORIZATION scenario_sites_sue;
SELECT ok(referral.accept_handoff(1, :handoff) > now(), 'with an answer Sue accepts it');
SELECT is_empty('SELECT * FROM referral.returned_cancelled_dna WHERE referral_id = 1', 'off the list');
SELECT is(public.work('referral', 1), 'north_desk:scenario_sites_sue', 'the desk of the north has it');
SELECT is(public.work('referral', 2), 'south_desk', 'the other one goes to the desk of the south');

-- 5. Where is room, in the network, near?

SELECT results_eq('SELECT service, network::text FROM referral.candidate_services(1, 2, 2)', $$VALUES ('Orthopedics, Hillcrest', 'in_network'), ('Orthopedics, Lakeside', 'out_of_network')$$, 'services in the network come first');
SELECT is(public.code('UPDATE referral.referral SET step = ''appointment_scheduled'', scheduled_for = now() + interval ''2 days'' WHERE referral_id = 1'), 'RF002', 'without a specialist nothing is booked');
UPDATE referral.referral SET performer_id = 2 WHERE referral_id = 1;
UPDATE referral.referral SET step = 'appointment_scheduled', scheduled_for = now() + interval '2 days' WHERE referral_id = 1;
SELECT is((SELECT state::text FROM referral.referral WHERE referral_id = 1), 'scheduled', 'booked');

-- 6. Somebody is away: nothing waits for him

SET SESSION AUTHORIZATION scenario_sites_tom;
SELECT referral.claim(1, public.item(2)) \g /dev/null
INSERT INTO referral.absence (member, during, substitute) VALUES ('scenario_sites_tom', tstzrange(now() - interval '1 minute', now() + interval '1 day'), 'scenario_sites_sue');
SELECT results_eq('SELECT from_member, to_member, why FROM referral.rebalance(1, ''south_desk'')', $$VALUES ('scenario_sites_tom', 'scenario_sites_sue', 'absent')$$, 'what Tom had is with his substitute');
SELECT is(public.answers(2), 'scenario_sites_sue', 'who answers for it');
RESET SESSION AUTHORIZATION;
UPDATE referral.queue SET active = false WHERE org_id = 1 AND name = 'north_desk';
SELECT is(referral.effective_queue(1, (SELECT queue_id FROM referral.queue WHERE org_id = 1 AND name = 'north_desk')), (SELECT queue_id FROM referral.queue WHERE org_id = 1 AND name = 'manual_triage'),
          'a desk that is closed passes its work on');
UPDATE referral.queue SET active = true WHERE org_id = 1 AND name = 'north_desk';

-- 7. What gets old is told of, and leaders see every location

CALL referral.tick(now() + interval '3 days');
SELECT ok(EXISTS (SELECT FROM referral.open_escalation WHERE entity = 'referral' AND entity_id = 3), 'the urgent one that lies is escalated');
SELECT set_config('referral.as_of', (now() + interval '20 days')::text, false) \g /dev/null
SELECT ok((SELECT sum(overdue) > 0 FROM referral.queue_health), 'in three weeks queues would have what is overdue');
RESET referral.as_of;
SET SESSION AUTHORIZATION scenario_sites_ana;
SELECT results_eq('SELECT s.name, p.category::text, p.opened FROM referral.exception_pattern p JOIN referral.site s USING (org_id, site_id) WHERE p.category = ''missing_document''',
    $$VALUES ('Hillcrest', 'missing_document', 1::bigint)$$, 'where documents are missing, by location');
SELECT results_eq('SELECT from_queue, to_queue, handoffs, accepted, returned FROM referral.handoff_latency WHERE to_queue = ''north_desk''',
    $$VALUES ('clinical_triage', 'north_desk', 2::bigint, 1::bigint, 1::bigint)$$, 'how handoffs between teams go');
SELECT bag_eq('SELECT DISTINCT rule FROM referral.explain(''referral'', 1, 2) WHERE kind = ''routing''', $$VALUES ('received'), ('first_stages'), ('clinical_stage'), ('south')$$, 'and by which rules a referral took its way');
SET SESSION AUTHORIZATION scenario_sites_board;
SELECT ok((SELECT sum(open) > 0 FROM referral.queue_health), 'the board sees the queues');
SELECT is(public.code('SELECT * FROM referral.my_worklist'), '42501', 'not the cases');
RESET SESSION AUTHORIZATION;
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'at no time was one nobody''s');

SELECT * FROM finish();
