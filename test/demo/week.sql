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
FROM (SELECT m.member, q.name AS queue,
             -- whoever has no room would be told so
             greatest(0, least(4, m.capacity - (SELECT count(*) FROM referral.work_item i
                                                WHERE i.org_id = m.org_id AND i.owner = m.member AND i.queue_id = m.queue_id AND i.status = 'in-progress')))::integer AS n
      FROM referral.queue_member m JOIN referral.queue q USING (org_id, queue_id)
      WHERE q.name IN ('authorization', 'scheduling', 'clinical_triage', 'closing_the_loop') ORDER BY q.name, m.member OFFSET 0) s
CROSS JOIN LATERAL (SELECT set_config('referral.actor', s.member, false)) a
CROSS JOIN LATERAL referral.claim_next(1, s.queue, s.n) c
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
SET TimeZone = 'America/Chicago';
SET SESSION AUTHORIZATION demo_jane;
SELECT queue, manager, present AS people, open, ready, handed_over, claimed, overdue, due_in_24h, week.short(oldest_waits) AS oldest_waits
FROM referral.queue_health WHERE open > 0 ORDER BY open DESC;

\echo '== 29. Jane opens her worklist: what was escalated to coordinators, and her own queues'
SELECT place, queue, referral_id AS referral, title, patient, urgency, week.short(due_at) AS due, CASE WHEN overdue THEN 'late' END AS late, why
FROM referral.my_worklist ORDER BY place LIMIT 7;
SELECT place, queue, referral_id AS referral, title, patient, urgency, week.short(due_at) AS due, split_part(next_action, ':', 1) AS next_action
FROM (SELECT *, row_number() OVER (PARTITION BY queue ORDER BY place) AS n FROM referral.my_worklist) w
WHERE queue IN ('intake', 'missing_documents', 'manual_triage') AND n <= 3 ORDER BY place;

\echo '== 30. She takes the first of the intake queue; why was it the first?'
SELECT work_item_id AS item, referral_id AS taken, week.short(lease_until) AS hers_until FROM referral.claim_next(1, 'intake') \gset
\echo 'Referral' :taken 'is hers until' :hers_until
SELECT factor, value, round(points, 1) AS points, explanation FROM referral.explain_rank(1, :item) WHERE round(points) <> 0 ORDER BY points DESC;
SELECT owner, accountable, queue FROM referral.work_owner WHERE referral_id = :taken;
\echo 'Maria and Jonas take from the same queue at the same moment, each in a session of his own: none gets what the other has'
RESET SESSION AUTHORIZATION;
CREATE TABLE week.claimed (member text, work_item_id bigint, referral_id bigint);
GRANT INSERT ON week.claimed TO demo_app;
\! bash test/demo/two_claim.sh
SELECT member, count(*) AS took, string_agg(referral_id::text, ' ' ORDER BY referral_id) AS referrals FROM week.claimed GROUP BY 1 ORDER BY 1;
SELECT count(*) - count(DISTINCT work_item_id) AS taken_by_both FROM week.claimed;
SET SESSION AUTHORIZATION demo_jane;

\echo '== 31. Exceptions: what needs a person, and where they come from'
SELECT category || ': ' || code AS exception, count(*) AS open, count(*) FILTER (WHERE blocking) AS blocking, week.short(min(due_at)) AS first_due, min(what_to_do) AS what_to_do
FROM referral.exception_queue GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 8;
SELECT p.category, y.name AS payer, p.specialty, s.name AS site, p.opened, p.open, p.top_root_cause
FROM referral.exception_pattern p JOIN referral.payer y USING (org_id, payer_id) JOIN referral.site s USING (org_id, site_id)
ORDER BY p.opened DESC, p.open DESC, 1, 2, 3, 4 LIMIT 5;
SELECT category, sum(opened) AS opened, sum(open) AS open, sum(reopened) AS reopened, round(max(median_hours)) AS hours_at_most, string_agg(DISTINCT top_root_cause, ', ') AS root_causes
FROM referral.exception_pattern GROUP BY 1 ORDER BY 2 DESC LIMIT 6;
\echo 'What the rules refused in this week:'
SELECT code, regexp_replace(message, 'of referral \d+ ', '') AS refused, count(*) FROM week.refusal GROUP BY 1, 2 ORDER BY 3 DESC, 2 LIMIT 5;

\echo '== 32. Handoffs: who waits for whom; how well they go'
SELECT referral_id AS referral, urgency, accountable AS who_waits, to_manager AS for_whom, from_queue, to_queue, week.short(waiting) AS waiting, CASE WHEN overdue THEN 'late' END AS late
FROM referral.handoff_waiting WHERE NOT by_rule ORDER BY released_at LIMIT 6;
SELECT to_queue, count(*) AS waiting, count(*) FILTER (WHERE overdue) AS late, count(DISTINCT accountable) AS people_waiting FROM referral.handoff_waiting GROUP BY 1 ORDER BY 2 DESC;
SELECT from_queue, to_queue, sum(handoffs) AS handoffs, sum(accepted) AS accepted, sum(returned) AS returned, week.short(max(latency_median)) AS half_of_them_within
FROM referral.handoff_latency GROUP BY 1, 2 ORDER BY sum(returned) DESC, 3 DESC, 1, 2 LIMIT 6;

\echo '== 33. Approvals: what is waited for; why; and who asked may not agree'
SELECT policy, kind, approver_role, count(*) AS pending, week.short(min(due_at)) AS first_due, count(*) FILTER (WHERE overdue) AS late FROM referral.open_approval GROUP BY 1, 2, 3 ORDER BY 4 DESC;
RESET SESSION AUTHORIZATION;
SELECT approval_request_id AS request, referral_id AS waits, requested_by AS asked FROM referral.open_approval
WHERE policy = 'out_of_network' AND requested_by IN (SELECT member FROM week.staff) ORDER BY 1 LIMIT 1 \gset
SET SESSION AUTHORIZATION demo_jane;
SELECT transition, policy, status, who_may FROM referral.approval_path(1, :waits) WHERE needed;
SET SESSION AUTHORIZATION demo_app;
SET referral.actor = :'asked';
\echo :asked 'wants to agree:'
\set ON_ERROR_STOP off
SELECT referral.approve(1, :request, 'I know the surgeon');
\echo 'SQLSTATE: ' :SQLSTATE
\set ON_ERROR_STOP on
\echo
SET referral.actor = 'Victor';
SELECT referral.approve(1, :request, 'no other surgeon does this') AS says_victor;
SELECT policy, requested_by, decided_by, decision, reason FROM referral.approval_log WHERE approval_request_id = :request;

\echo '== 34. Sam is ill: Priya, who leads scheduling, gives away what he has'
SET referral.actor = 'Priya';
SELECT from_member, coalesce(to_member, '(the queue)') AS to_member, why, count(*) AS items FROM referral.rebalance(1, 'scheduling') GROUP BY 1, 2, 3 ORDER BY 4 DESC;
SELECT member, array_to_string(queues, ', ') AS queues, capacity, CASE WHEN absent THEN 'absent' END AS absent, substitute, claimed, room, overdue
FROM referral.staff_workload WHERE 'scheduling' = ANY (queues) ORDER BY 1;
RESET referral.actor;

\echo '== 35. The lists of both sides, after the NHS e-Referral Service'
SET SESSION AUTHORIZATION demo_jane;
SELECT list, count(*) AS referrals, count(*) FILTER (WHERE urgency >= 'urgent') AS urgent, week.short(max(waiting)) AS longest
FROM (SELECT 1 AS n, 'letters outstanding' AS list, urgency, waiting FROM referral.letters_outstanding
      UNION ALL SELECT 2, 'rejected / triage response', urgency, waiting FROM referral.rejected_triage_response
      UNION ALL SELECT 3, 'returned / cancelled / did not attend', urgency, waiting FROM referral.returned_cancelled_dna
      UNION ALL SELECT 4, 'awaiting booking', urgency, waiting FROM referral.awaiting_booking
      UNION ALL SELECT 5, 'referrals for review', urgency, waiting FROM referral.referrals_for_review
      UNION ALL SELECT 6, 'appointment slot issues', urgency, waiting FROM referral.appointment_slot_issues) l
GROUP BY n, list ORDER BY n;
SELECT referral_id AS referral, urgency, patient, service, what, why, week.short(since) AS since FROM referral.returned_cancelled_dna ORDER BY returned_cancelled_dna.urgency DESC, returned_cancelled_dna.since LIMIT 5;
SELECT referral_id AS referral, urgency, patient, service, requester, attempts, last_outcome, week.short(waiting) AS waiting
FROM referral.awaiting_booking w ORDER BY w.urgency DESC, w.attempts DESC, w.waiting DESC LIMIT 4;

\echo '== 36. Why is this referral where it is?'
SELECT kind, week.short(decided_at) AS at, what, rule, rule_version AS rules FROM referral.explain('referral', 1, :waits) e WHERE kind <> 'ranking';
RESET SESSION AUTHORIZATION;
RESET TimeZone;
