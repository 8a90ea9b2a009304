-- A coordinator's day: a made-up week of a network's work, and what people see of it in the morning.

\echo
\echo '== 27. A week of a network: 2,000 referrals of four sites, six specialties, four payers, the last nine working days (up to a minute)'
\ir week_data.sql
-- no tick in between, so that it is the same week every time
SELECT count(*) FROM referral.unschedule_jobs() \g /dev/null
SET SESSION AUTHORIZATION demo_app;
SET referral.org_id = 1;
CALL week.plans(2000);
CALL week.run(0, 600);
-- nothing else does it here: the statements of this session were planned when the tables were empty
RESET SESSION AUTHORIZATION;
ANALYZE;
SET SESSION AUTHORIZATION demo_app;
CALL week.run(600, 3000);
RESET SESSION AUTHORIZATION;
ANALYZE;
SET SESSION AUTHORIZATION demo_app;
CALL week.run(3600);
-- in the morning everybody takes a few; Sam is away, with what he had yesterday
RESET SESSION AUTHORIZATION;
UPDATE referral.queue_member SET capacity = 60 WHERE member IN ('Priya', 'Elena');
SET SESSION AUTHORIZATION demo_app;
SELECT set_config('referral.actor', member, false) AS member, count(c.*) AS items
FROM (SELECT DISTINCT member, queue FROM week.staff WHERE queue IN ('authorization', 'scheduling', 'clinical_triage', 'closing_the_loop') ORDER BY queue, member) s
CROSS JOIN LATERAL (SELECT set_config('referral.actor', s.member, false)) a
CROSS JOIN LATERAL referral.claim_next(1, s.queue, 4) c
GROUP BY member \g /dev/null
SET referral.actor = 'Sam';
INSERT INTO referral.absence (member, during, substitute, reason)
VALUES ('Sam', tstzrange(now() - interval '1 minute', now() + interval '3 days'), 'Elena', 'ill') \g /dev/null
RESET referral.actor;
RESET SESSION AUTHORIZATION;
ANALYZE;
CALL referral.tick();
SELECT count(*) FROM referral.schedule_jobs() \g /dev/null
SELECT state, count(*) AS referrals, count(*) FILTER (WHERE urgency >= 'urgent') AS urgent FROM referral.referral WHERE placer_order_number LIKE 'WEEK-%' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS referrals_that_nobody_answers_for FROM referral.unowned_referral;

\echo '== 28. How the queues stand this morning'
SET SESSION AUTHORIZATION demo_jane;
SELECT queue, manager, present AS people, open, ready, handed_over, claimed, overdue, due_today FROM referral.queue_health WHERE open > 0 ORDER BY open DESC;

\echo '== 29. Jane opens her worklist'
SELECT place, queue, referral_id AS referral, patient, urgency, due_at::timestamp(0) AS due, CASE WHEN overdue THEN 'late' END AS late, why
FROM referral.my_worklist ORDER BY place LIMIT 7;
SELECT place, queue, referral_id AS referral, title, patient, urgency, due_at::timestamp(0) AS due, why
FROM referral.my_worklist WHERE queue IN ('intake', 'missing_documents') ORDER BY place LIMIT 5;
SELECT referral_id AS referral, next_action FROM referral.my_worklist WHERE kind = 'referral' ORDER BY place LIMIT 5;

\echo '== 30. She takes the first of the intake queue; why was it the first?'
SELECT work_item_id AS item, referral_id AS taken, lease_until::timestamp(0) AS hers_until FROM referral.claim_next(1, 'intake') \gset
\echo 'referral' :taken 'is hers until' :hers_until
SELECT factor, value, round(points, 1) AS points, explanation FROM referral.explain_rank(1, :item) WHERE value NOT LIKE '%(assumed)' ORDER BY points DESC;
SELECT owner, accountable, queue FROM referral.work_owner WHERE referral_id = :taken;

\echo '== 31. Exceptions: what needs a person, and where they come from'
SELECT category, code, severity, count(*) AS open, count(*) FILTER (WHERE blocking) AS blocking, min(due_at)::timestamp(0) AS first_due, min(what_to_do) AS what_to_do
FROM referral.exception_queue GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2 LIMIT 8;
SELECT p.category, y.name AS payer, p.specialty, s.name AS site, p.opened, p.open, p.top_root_cause
FROM referral.exception_pattern p JOIN referral.payer y USING (org_id, payer_id) JOIN referral.site s USING (org_id, site_id)
ORDER BY p.opened DESC, p.open DESC, 1, 2, 3, 4 LIMIT 5;
SELECT code, regexp_replace(message, 'of referral \d+ ', '') AS refused_this_week, count(*) FROM week.refusal GROUP BY 1, 2 ORDER BY 3 DESC, 2 LIMIT 5;

\echo '== 32. Handoffs: who waits for whom; how well they go'
SELECT referral_id AS referral, urgency, accountable, from_queue, to_queue, to_manager AS waits_for, justify_hours(waiting)::interval(0) AS waiting, CASE WHEN overdue THEN 'late' END AS late
FROM referral.handoff_waiting WHERE NOT by_rule ORDER BY released_at LIMIT 6;
SELECT to_queue, count(*) AS waiting, count(*) FILTER (WHERE overdue) AS late, count(DISTINCT accountable) AS people_waiting FROM referral.handoff_waiting GROUP BY 1 ORDER BY 2 DESC;
SELECT from_queue, to_queue, sum(handoffs) AS handoffs, sum(accepted) AS accepted, sum(returned) AS returned, max(latency_median)::interval(0) AS median
FROM referral.handoff_latency GROUP BY 1, 2 ORDER BY sum(returned) DESC, 3 DESC, 1, 2 LIMIT 6;

\echo '== 33. Approvals: what is waited for; why; and she who asked may not agree'
SELECT policy, kind, approver_role, count(*) AS pending, min(due_at)::timestamp(0) AS first_due, count(*) FILTER (WHERE overdue) AS late FROM referral.open_approval GROUP BY 1, 2, 3 ORDER BY 4 DESC;
RESET SESSION AUTHORIZATION;
SELECT approval_request_id AS request, referral_id AS waits, requested_by AS asked FROM referral.open_approval
WHERE policy = 'out_of_network' AND requested_by IN (SELECT member FROM week.staff) ORDER BY 1 LIMIT 1 \gset
SET SESSION AUTHORIZATION demo_jane;
SELECT transition, policy, needed, status, who_may FROM referral.approval_path(1, :waits) WHERE needed;
SET SESSION AUTHORIZATION demo_app;
SET referral.actor = :'asked';
\set ON_ERROR_STOP off
SELECT referral.approve(1, :request, 'I know the surgeon');
\set ON_ERROR_STOP on
SET referral.actor = 'Victor';
SELECT referral.approve(1, :request, 'no other surgeon does this') AS says_victor;
SELECT policy, requested_by, decided_by, decision, reason FROM referral.approval_log WHERE approval_request_id = :request;

\echo '== 34. Sam is ill: Priya, who leads scheduling, gives away what he has'
SET referral.actor = 'Priya';
SELECT from_member, coalesce(to_member, '(the queue)') AS to_member, why, count(*) AS items FROM referral.rebalance(1, 'scheduling') GROUP BY 1, 2, 3 ORDER BY 4 DESC;
SELECT member, queues, capacity, absent, substitute, claimed, room, overdue FROM referral.staff_workload WHERE 'scheduling' = ANY (queues) ORDER BY 1;
RESET referral.actor;

\echo '== 35. The lists of both sides, after the NHS e-Referral Service'
SET SESSION AUTHORIZATION demo_jane;
SELECT 'letters outstanding' AS list, count(*) AS referrals, count(*) FILTER (WHERE urgency >= 'urgent') AS urgent, max(waiting)::interval(0) AS longest FROM referral.letters_outstanding
UNION ALL SELECT 'rejected / triage response', count(*), count(*) FILTER (WHERE urgency >= 'urgent'), max(waiting)::interval(0) FROM referral.rejected_triage_response
UNION ALL SELECT 'returned / cancelled / did not attend', count(*), count(*) FILTER (WHERE urgency >= 'urgent'), max(waiting)::interval(0) FROM referral.returned_cancelled_dna
UNION ALL SELECT 'awaiting booking', count(*), count(*) FILTER (WHERE urgency >= 'urgent'), max(waiting)::interval(0) FROM referral.awaiting_booking
UNION ALL SELECT 'referrals for review', count(*), count(*) FILTER (WHERE urgency >= 'urgent'), max(waiting)::interval(0) FROM referral.referrals_for_review
UNION ALL SELECT 'appointment slot issues', count(*), count(*) FILTER (WHERE urgency >= 'urgent'), max(waiting)::interval(0) FROM referral.appointment_slot_issues;
SELECT referral_id AS referral, patient, service, what, why, since::timestamp(0) FROM referral.returned_cancelled_dna ORDER BY urgency DESC, since LIMIT 5;
SELECT referral_id AS referral, patient, service, requester, attempts, last_outcome, waiting::interval(0) FROM referral.awaiting_booking ORDER BY attempts DESC, waiting DESC LIMIT 4;

\echo '== 36. Why is this referral where it is?'
SELECT kind, decided_at::timestamp(0) AS at, what, rule, rule_version AS rules FROM referral.explain('referral', 1, :waits) WHERE kind <> 'ranking';
RESET SESSION AUTHORIZATION;
