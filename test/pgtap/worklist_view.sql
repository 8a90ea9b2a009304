-- What is opened in the morning: my own list, queues and staff, what is to be done next, the lists of both sides, and why.
SELECT plan(89);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE worklist_view_ann LOGIN IN ROLE referral_coordinator;
CREATE ROLE worklist_view_bob LOGIN IN ROLE referral_scheduler;
CREATE ROLE worklist_view_sub LOGIN IN ROLE referral_scheduler;
CREATE ROLE worklist_view_app LOGIN IN ROLE referral_approver;
CREATE ROLE worklist_view_auditor LOGIN IN ROLE referral_auditor;
CREATE ROLE worklist_view_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE worklist_view_other LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'worklist_view_ann', 'user'), (1, 'worklist_view_bob', 'user'), (1, 'worklist_view_sub', 'user'), (1, 'worklist_view_app', 'user'),
    (1, 'worklist_view_auditor', 'user'), (1, 'worklist_view_analyst', 'user'), (2, 'worklist_view_other', 'user');
INSERT INTO referral.queue_member (org_id, queue_id, member, capacity)
SELECT 1, q.queue_id, m.member, m.capacity
FROM (VALUES ('intake', 'worklist_view_ann', 3), ('scheduling', 'worklist_view_ann', 2), ('scheduling', 'worklist_view_bob', NULL)) m (queue, member, capacity)
JOIN referral.queue q ON q.org_id = 1 AND q.name = m.queue;
INSERT INTO referral.practitioner (org_id, practitioner_id, name) VALUES (1, 1, 'Dr Grey');
INSERT INTO referral.patient (org_id, patient_id, family, given) VALUES (1, 1, 'Mills', 'Ada');
CREATE FUNCTION public.item(referral bigint) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS
    'SELECT work_item_id FROM referral.work_item WHERE org_id = 1 AND referral_id = $1 AND is_primary AND closed_at IS NULL';
CREATE FUNCTION public.queue(name text) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT q.queue_id FROM referral.queue q WHERE q.org_id = 1 AND q.name = $1';
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, urgency, requester_id)
VALUES (1, 1, 1, 'cardiology', 'routine', 1), (1, 2, 1, 'cardiology', 'urgent', 1), (1, 3, 1, 'cardiology', 'stat', 1), (1, 4, 1, 'cardiology', 'routine', 1),
       (1, 5, NULL, 'cardiology', 'routine', 1), (1, 6, 1, 'radiology', 'routine', 1), (1, 7, 1, 'cardiology', 'routine', 1), (1, 8, 1, 'cardiology', 'routine', 1);
SELECT referral.move_item(1, public.item(n), public.queue('intake'), 'test') FROM generate_series(1, 4) n \g /dev/null
SELECT referral.move_item(1, public.item(n), public.queue('scheduling'), 'test') FROM generate_series(5, 6) n \g /dev/null
SELECT referral.move_item(1, public.item(n), public.queue('review'), 'test') FROM generate_series(7, 8) n \g /dev/null

-- 1. My worklist

SET SESSION AUTHORIZATION worklist_view_ann;
SELECT referral.claim(1, public.item(4)) \g /dev/null
SELECT results_eq('SELECT mine, queue, referral_id, status::text FROM referral.my_worklist WHERE queue = ''intake'' ORDER BY place',
    $$VALUES (true, 'intake', 4::bigint, 'in-progress'), (false, 'intake', 3, 'ready'), (false, 'intake', 2, 'ready'), (false, 'intake', 1, 'ready')$$,
    'first what I have, then what I can claim, as it ranks');
SELECT is((SELECT array_agg(referral_id ORDER BY referral_id) FROM referral.my_worklist WHERE NOT mine), '{1,2,3,5,6}', 'of all my queues, and no others');
SELECT is((SELECT array_agg(referral_id ORDER BY place) FROM referral.my_worklist WHERE queue = 'intake' AND NOT mine),
    (SELECT array_agg(i.referral_id ORDER BY i.score DESC, i.work_item_id) FROM referral.work_item i WHERE i.queue_id = public.queue('intake') AND i.status = 'ready'),
    'in the order in which claim_next() takes them');
SELECT results_eq('SELECT patient, specialty, urgency, overdue FROM referral.my_worklist WHERE referral_id = 3', $$VALUES ('Mills, Ada', 'cardiology', 'stat', false)$$, 'with what one has to know');
SELECT ok((SELECT abs(score - sum(points)) < 0.01 FROM referral.my_worklist w, referral.explain_rank(1, w.work_item_id) WHERE w.referral_id = 3 GROUP BY score), 'the score is what explain_rank() sums up to');
SELECT alike((SELECT why FROM referral.my_worklist WHERE referral_id = 3), 'stat +1000; %', 'why: the rules that count most');
SELECT unalike((SELECT why FROM referral.my_worklist WHERE referral_id = 3), '%appointment%', 'what is assumed of all alike is not told');
SELECT matches((SELECT why FROM referral.my_worklist WHERE referral_id = 1), '^[a-z ]+ (in )?[0-9.]+ days( ago)? [+-]?[0-9]+; ', 'of dates it tells how far off they are');
SELECT is((SELECT next_action FROM referral.my_worklist WHERE referral_id = 5), 'Identify the patient: Nobody knows whom it is about.', 'and what is best done next');
SELECT results_eq($$SELECT overdue FROM (SELECT set_config('referral.as_of', (now() + interval '30 days')::text, false)) s, referral.my_worklist WHERE referral_id = 1$$, 'VALUES (true)', 'overdue at another time');
RESET referral.as_of;
SELECT referral.hold(1, public.item(4), 'waiting for the patient') \g /dev/null
SELECT results_eq('SELECT mine, status::text FROM referral.my_worklist WHERE referral_id = 4', $$VALUES (true, 'on-hold')$$, 'what I hold is mine');
SET SESSION AUTHORIZATION worklist_view_bob;
SELECT is((SELECT array_agg(referral_id ORDER BY referral_id) FROM referral.my_worklist), '{5,6}', 'another has his own list');
SET SESSION AUTHORIZATION worklist_view_sub;
SELECT is_empty('SELECT * FROM referral.my_worklist', 'who works on no queue has nothing');
RESET SESSION AUTHORIZATION;
INSERT INTO referral.absence (org_id, member, during, substitute) VALUES (1, 'worklist_view_bob', tstzrange(now() - interval '1 minute', now() + interval '1 day'), 'worklist_view_sub');
SET SESSION AUTHORIZATION worklist_view_sub;
SELECT is((SELECT array_agg(referral_id ORDER BY referral_id) FROM referral.my_worklist), '{5,6}', 'a substitute has the list of who is absent');
RESET SESSION AUTHORIZATION;
UPDATE referral.work_item SET escalated_to = 'referral_approver' WHERE org_id = 1 AND referral_id = 7;
UPDATE referral.work_item SET escalated_to = 'no_such_role' WHERE org_id = 1 AND referral_id = 8;
SET SESSION AUTHORIZATION worklist_view_app;
SELECT results_eq('SELECT referral_id, queue, mine FROM referral.my_worklist', $$VALUES (7::bigint, 'review', false)$$, 'what was escalated to a role is in the lists of its members');
SELECT lives_ok('SELECT referral.claim(1, public.item(7))', 'who can claim it');
SET SESSION AUTHORIZATION worklist_view_other;
SELECT is_empty('SELECT * FROM referral.my_worklist', 'another organisation sees nothing');
RESET SESSION AUTHORIZATION;
INSERT INTO referral.referral (org_id, referral_id, specialty) SELECT 1, 100 + n, 'dermatology' FROM generate_series(1, 60) n;
SELECT referral.move_item(1, i.work_item_id, public.queue('scheduling'), 'test') FROM referral.work_item i JOIN referral.referral r USING (org_id, referral_id) WHERE r.specialty = 'dermatology' \g /dev/null
SET SESSION AUTHORIZATION worklist_view_sub;
SELECT is((SELECT count(*) FROM referral.my_worklist), 50::bigint, 'of a long queue the first fifty');
RESET SESSION AUTHORIZATION;

-- 2. Queues and staff

SELECT results_eq($$SELECT present, open, ready, handed_over, claimed, on_hold, overdue, completed_in_24h, oldest_ready = (SELECT min(opened_at) FROM referral.work_item WHERE queue_id = public.queue('intake') AND status = 'ready')
    FROM referral.queue_health WHERE org_id = 1 AND queue = 'intake'$$, $$VALUES (1, 4::bigint, 3::bigint, 0::bigint, 0::bigint, 1::bigint, 0::bigint, 0::bigint, true)$$, 'how a queue stands');
SELECT is((SELECT present FROM referral.queue_health WHERE org_id = 1 AND queue = 'scheduling'), 2, 'a substitute counts for who is absent');
SELECT results_eq($$SELECT present, open FROM referral.queue_health WHERE org_id = 1 AND queue = 'missing_documents'$$, 'VALUES (0, 0::bigint)', 'one without work and people is told of as well');
SELECT is((SELECT overdue FROM (SELECT set_config('referral.as_of', (now() + interval '30 days')::text, false)) s, referral.queue_health WHERE org_id = 1 AND queue = 'intake'), 4::bigint, 'overdue at another time');
RESET referral.as_of;
SET SESSION AUTHORIZATION worklist_view_ann;
SELECT referral.claim(1, public.item(n)) FROM generate_series(1, 2) n \g /dev/null
SELECT referral.complete(1, public.item(2), 'done') \g /dev/null
SELECT referral.hand_over(1, public.item(1), 'scheduling', 'summary', 'reason') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT queues, capacity, absent, claimed, on_hold, room, handed_over, completed_in_24h FROM referral.staff_workload WHERE member = 'worklist_view_ann'$$,
    $$VALUES ('{intake,scheduling}'::text[], 5::bigint, false, 0::bigint, 1::bigint, 5::bigint, 1::bigint, 1::bigint)$$, 'what somebody has, has done and answers for');
SELECT results_eq($$SELECT queues, capacity, absent, substitute, room FROM referral.staff_workload WHERE member = 'worklist_view_bob'$$,
    $$VALUES ('{scheduling}'::text[], NULL::bigint, true, 'worklist_view_sub', NULL::bigint)$$, 'who is absent, and who stands in for him');
SELECT results_eq($$SELECT queues, capacity, room FROM referral.staff_workload WHERE member = 'worklist_view_sub'$$, $$VALUES ('{scheduling}'::text[], NULL::bigint, NULL::bigint)$$, 'who works where he stands in');
BEGIN;
UPDATE referral.queue_member SET capacity = 2 WHERE member = 'worklist_view_bob';
INSERT INTO referral.queue_member (org_id, queue_id, member, capacity) VALUES (1, public.queue('intake'), 'worklist_view_sub', 1);
SELECT referral.give_item(1, public.item(5), 'worklist_view_sub', 'test'), referral.give_item(1, public.item(7), 'worklist_view_sub', 'test') \g /dev/null
SELECT results_eq($$SELECT queues, capacity, claimed, room FROM referral.staff_workload WHERE member = 'worklist_view_sub'$$, $$VALUES ('{intake,scheduling}'::text[], 3::bigint, 2::bigint, 2::bigint)$$,
    'his room is told queue by queue: what he has of another one takes none');
ROLLBACK;
SELECT results_eq($$SELECT queues, claimed FROM referral.staff_workload WHERE member = 'worklist_view_app'$$, $$VALUES ('{}'::text[], 1::bigint)$$, 'who works on no queue and has an item');
SELECT is((SELECT completed_in_24h FROM referral.queue_health WHERE org_id = 1 AND queue = 'intake'), 1::bigint, 'what a queue has done');
SET SESSION AUTHORIZATION worklist_view_analyst;
SELECT is((SELECT present FROM referral.queue_health WHERE org_id = 1 AND queue = 'scheduling'), 2, 'analysts see how the queues stand');
SELECT is(public.code('SELECT * FROM referral.staff_workload'), '42501', 'not the staff');
SELECT is(public.code('SELECT * FROM referral.my_worklist'), '42501', 'nor lists');
RESET SESSION AUTHORIZATION;

-- 3. What is best done next

-- what somebody has would be handed over by the rules as it goes on
SET SESSION AUTHORIZATION worklist_view_ann;
SELECT referral.release(1, public.item(4), 'later') \g /dev/null
RESET SESSION AUTHORIZATION;

CREATE FUNCTION public.next(referral bigint) RETURNS text LANGUAGE sql AS 'SELECT rule FROM referral.next_best_action WHERE org_id = 1 AND referral_id = $1';
SELECT is(public.next(1), 'accept_handoff', 'what was handed over is accepted first');
SELECT is(public.next(4), 'obtain_missing', 'what is incomplete is completed');
SELECT results_eq('SELECT place, rule FROM referral.recommended_actions(1, 1)', $$VALUES (1::bigint, 'accept_handoff'), (2, 'obtain_missing')$$, 'recommended_actions() tells all');
SELECT results_eq('SELECT r.rule_version = v.rule_version_id, r.action, r.reason FROM referral.next_best_action r, referral.rule_version v JOIN referral.rule_set s USING (rule_set_id) WHERE r.referral_id = 5 AND s.name = ''recommendation/standard''',
    $$VALUES (true, 'Identify the patient', 'Nobody knows whom it is about.')$$, 'with the reason and the version of the rules');
SELECT referral.open_exception(1, 'policy', 'referral', 4, 4, 'blocked', 'x', 'high', true) \g /dev/null
SELECT is(public.next(4), 'obtain_missing', 'an exception that blocks later steps does not stop this one');
UPDATE referral.referral SET state = 'validated', authorization_required = true WHERE referral_id = 4;
SELECT is(public.next(4), 'settle_exception', 'what blocks the next step is settled first');
SELECT referral.close_exception(1, exception_id, 'settled') FROM referral.exception_item WHERE code = 'blocked' \g /dev/null
SELECT is(public.next(4), 'ask_for_authorization', 'the payer is asked');
UPDATE referral.referral SET state = 'pending_authorization' WHERE referral_id = 4;
SELECT is(public.next(4), NULL, 'while the payer has time nothing is to be done');
SELECT is((SELECT rule FROM (SELECT set_config('referral.as_of', (now() + interval '60 days')::text, false)) s, referral.next_best_action WHERE referral_id = 4), 'chase_payer', 'when he is late he is called');
RESET referral.as_of;
UPDATE referral.referral SET authorization_number = 'A1' WHERE referral_id = 4;
SELECT is(public.next(4), 'record_authorization', 'then it goes on');
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = 4;
SELECT is(public.next(4), 'book', 'it is booked');
INSERT INTO referral.contact_attempt (org_id, referral_id, medium, outcome) SELECT 1, 4, 'phone', 'no_answer' FROM generate_series(1, 3);
SELECT is(public.next(4), 'write_to_patient', 'three calls in vain are enough');

-- 4. The lists of both sides

SELECT results_eq('SELECT attempts, last_outcome, requester, patient FROM referral.awaiting_booking', $$VALUES (3, 'no_answer', 'Dr Grey', 'Mills, Ada')$$, 'awaiting_booking: what can be booked and is not');
SELECT is((SELECT array_agg(referral_id ORDER BY referral_id) FROM referral.referrals_for_review WHERE referral_id < 9), '{1,2,3,5,6,7,8}', 'referrals_for_review: those about which nobody has decided');
UPDATE referral.referral SET decision = 'accepted' WHERE referral_id = 3;
SELECT is((SELECT count(*) FROM referral.referrals_for_review WHERE referral_id = 3), 0::bigint, 'once somebody has, it is out');
SELECT is_empty('SELECT * FROM referral.appointment_slot_issues', 'no trouble with slots yet');
SELECT ok((SELECT bool_and(l.score = referral.rank_score(1, public.item(l.referral_id)) AND l.overdue = (l.due_at < now())) AND count(*) > 60 FROM referral.listed_referral l),
    'the lists have the score of the work, and whether it is overdue');
SELECT referral.open_exception(1, 'capacity', 'referral', 4, 4, 'no_slot', 'x', 'medium') \g /dev/null
INSERT INTO referral.appointment (org_id, referral_id, step) VALUES (1, 6, 'waitlist');
SELECT results_eq('SELECT referral_id, issue FROM referral.appointment_slot_issues ORDER BY 1', $$VALUES (4::bigint, 'no capacity'), (6, 'on the waiting list')$$, 'appointment_slot_issues: no slot, or a waiting list');
INSERT INTO referral.appointment (org_id, referral_id, step, starts_at) VALUES (1, 4, 'booked', now() + interval '3 days');
SELECT is((SELECT count(*) FROM referral.awaiting_booking), 0::bigint, 'what is booked awaits no booking');
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() + interval '3 days' WHERE referral_id = 4;
UPDATE referral.referral SET state = 'no_show' WHERE referral_id = 4;
SELECT results_eq('SELECT referral_id, what FROM referral.returned_cancelled_dna', $$VALUES (4::bigint, 'did not attend')$$, 'returned_cancelled_dna: who did not come');
SELECT referral.return_handoff(1, h.handoff_id, 'unreadable') FROM referral.handoff h WHERE referral_id = 1 \g /dev/null
SELECT results_eq('SELECT referral_id, what, why FROM referral.returned_cancelled_dna WHERE referral_id = 1', $$VALUES (1::bigint, 'returned', 'unreadable')$$, 'and what was returned');
SET SESSION AUTHORIZATION worklist_view_ann;
SELECT referral.hand_over(1, public.item(1), 'scheduling', 'now readable', 'again') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM referral.returned_cancelled_dna WHERE referral_id = 1), 0::bigint, 'until it goes on');
SELECT is_empty('SELECT * FROM referral.rejected_triage_response', 'nothing is declined');
UPDATE referral.referral SET state = 'declined', status_reason = 'no_capacity' WHERE referral_id = 2;
UPDATE referral.referral SET decision = 'returned' WHERE referral_id = 3;
SELECT results_eq('SELECT referral_id, response, reason FROM referral.rejected_triage_response ORDER BY 1',
    $$VALUES (2::bigint, 'declined', 'No capacity within the clinically needed time'), (3, 'returned', NULL)$$, 'rejected_triage_response: what was declined or sent back, and why');
SELECT is((SELECT count(*) FROM referral.rejected_triage_response WHERE score > 0 AND waiting = date_trunc('second', waiting)), 2::bigint, 'each with its points, so that the most urgent comes first');
INSERT INTO referral.referral_relation (org_id, referral_id, related_id, kind) VALUES (1, 8, 2, 'replaces');
SELECT is((SELECT array_agg(referral_id) FROM referral.rejected_triage_response WHERE score > 0), '{3}', 'until another replaces it');
UPDATE referral.referral SET channel = 'fax' WHERE referral_id = 6;
SELECT referral.check_referral(1, 6) \g /dev/null
SELECT results_eq('SELECT referral_id, documents, letter_due IS NOT NULL, asked_at FROM referral.letters_outstanding', $$VALUES (6::bigint, '{order}'::text[], true, NULL::timestamptz)$$,
    'letters_outstanding: what is not there yet, and when it is due');
SELECT is((SELECT letter_overdue FROM referral.letters_outstanding), false, 'it is not late');
SELECT is((SELECT letter_overdue FROM (SELECT set_config('referral.as_of', (now() + interval '60 days')::text, false)) s, referral.letters_outstanding), true, 'until it is');
RESET referral.as_of;
INSERT INTO referral.document (org_id, referral_id, type) VALUES (1, 6, 'order');
SELECT is_empty('SELECT * FROM referral.letters_outstanding', 'until it comes');

-- 5. Why

SELECT bag_eq($$SELECT DISTINCT kind FROM referral.explain('referral', 1, 4)$$, $$VALUES ('transition'), ('routing'), ('ranking'), ('exception'), ('clock'), ('task')$$, 'explain() tells of every kind of decision');
SELECT results_eq($$SELECT what, rule, rule_version IS NOT NULL FROM referral.explain('referral', 1, 4) WHERE kind = 'transition' ORDER BY decided_at DESC LIMIT 1$$,
    $$VALUES ('moved from scheduled to no_show (miss_appointment)', 'miss_appointment', true)$$, 'the steps, with the rule and its version');
SELECT is((SELECT sum(split_part(what, ' ', 1)::numeric) FROM referral.explain('referral', 1, 4) WHERE kind = 'ranking'),
    (SELECT sum(round(points, 1)) FROM referral.explain_rank(1, public.item(4))), 'the rank, as explain_rank() has it');
SELECT results_eq($$SELECT rule, rule_version = (SELECT d.rule_version FROM referral.routing_decision d WHERE d.referral_id = 4 ORDER BY 1 LIMIT 1) FROM referral.explain('referral', 1, 4) WHERE kind = 'routing' ORDER BY decided_at LIMIT 1$$,
    $$SELECT d.rule, true FROM referral.routing_decision d WHERE d.referral_id = 4 ORDER BY d.routing_decision_id LIMIT 1$$, 'where it was sent');
SELECT bag_eq($$SELECT what, rule FROM referral.explain('referral', 1, 4) WHERE kind = 'exception'$$, $$VALUES ('policy: opened', 'blocked'), ('policy: resolved', 'blocked'), ('capacity: opened', 'no_slot')$$, 'what stood in its way');
SELECT results_eq($$SELECT what, split_part(detail, '; ', 2) FROM referral.explain('referral', 1, 1) WHERE kind = 'handoff'$$,
    $$VALUES ('intake to scheduling: released', 'reason'), ('intake to scheduling: returned', 'unreadable'), ('intake to scheduling: released', 'again')$$, 'handoffs: what was done, one after the other, and why');
SELECT results_eq($$SELECT kind, what FROM referral.explain('referral', 1, 4) LIMIT 2$$, $$VALUES ('transition', 'created at step received'), ('clock', 'started')$$, 'it begins with the beginning');
SELECT is((SELECT array_agg(what) FROM (SELECT what FROM referral.explain('referral', 1, 4) WHERE kind IN ('transition', 'task') OR (kind = 'exception' AND rule = 'blocked') LIMIT 4) x),
    '{created at step received,policy: opened,moved from received to validated (validate),policy: resolved}', 'within an instant the journal tells the order');
UPDATE referral.sla_clock SET stopped_at = now() + interval '1 hour' WHERE entity = 'referral' AND entity_id = 4 AND stopped_at IS NOT NULL;
SELECT is((SELECT count(*) FROM referral.explain('referral', 1, 4) WHERE kind = 'clock' AND what = 'met' AND decided_at = now() + interval '1 hour'),
    (SELECT count(*) FROM referral.sla_clock WHERE entity = 'referral' AND entity_id = 4 AND breached_at IS NULL AND stopped_at = now() + interval '1 hour'), 'that a clock was met is told at the time when it was');
SELECT results_eq($$SELECT what, rule, detail FROM referral.explain('exception_item', 1, (SELECT exception_id FROM referral.exception_item WHERE code = 'blocked')) WHERE kind = 'exception'$$,
    $$VALUES ('policy: opened', 'blocked', 'by postgres; x; blocks release, triage, send_acceptance'), ('policy: resolved', 'blocked', 'by postgres; settled')$$, 'of an exception: who opened it, what it blocks, how it was settled');
SELECT referral.override_route(1, 6, 'review', 'I know her') \g /dev/null
SELECT results_eq($$SELECT what, rule, detail FROM referral.explain('referral', 1, 6) WHERE kind = 'routing' OFFSET 1$$,
    $$SELECT 'to manual_triage, in place of review', NULL, 'by postgres; I know her; overrode rule ' || d.rule FROM referral.routing_decision d WHERE d.referral_id = 6 AND d.reason = 'person'$$, 'where a person overrode it, no rule is named as the one that decided');
SELECT ok((SELECT bool_and(rule_version IS NOT NULL) AND count(*) > 0 FROM referral.explain('referral', 1, 6) WHERE kind = 'validation'), 'checks for completeness, with the versions they were made by');
SELECT is((SELECT count(*) FROM referral.explain('exception_item', 1, (SELECT exception_id FROM referral.exception_item WHERE code = 'no_slot')) WHERE kind = 'ranking') > 0, true, 'a row of another entity has its reasons too');
SELECT is_empty($$SELECT * FROM referral.explain('referral', 1, 99999)$$, 'a row that is not there has none');
SET SESSION AUTHORIZATION worklist_view_auditor;
SELECT ok((SELECT count(*) FROM referral.explain('referral', 1, 4)) > 5, 'auditors may ask');
SET SESSION AUTHORIZATION worklist_view_other;
SELECT is_empty($$SELECT * FROM referral.explain('referral', 1, 4)$$, 'another organisation learns nothing');
SELECT is((SELECT sum(n) FROM (SELECT count(*) AS n FROM referral.listed_referral UNION ALL SELECT count(*) FROM referral.letters_outstanding UNION ALL SELECT count(*) FROM referral.missing_document_check
    UNION ALL SELECT count(*) FROM referral.rejected_triage_response UNION ALL SELECT count(*) FROM referral.returned_cancelled_dna UNION ALL SELECT count(*) FROM referral.awaiting_booking
    UNION ALL SELECT count(*) FROM referral.referrals_for_review UNION ALL SELECT count(*) FROM referral.appointment_slot_issues UNION ALL SELECT count(*) FROM referral.next_best_action
    UNION ALL SELECT count(*) FROM referral.staff_workload UNION ALL SELECT count(*) FROM referral.work_owner) x), 0::numeric, 'and finds nothing in any list');
SELECT results_eq($$SELECT referral.may_change_org(1), referral.may_change_org(2), referral.may_change_org(NULL), referral.has_final_report(1, 4), referral.contact_attempts(1, 4), referral.is_handed_over(1, 1), referral.is_overdue(1, NULL)$$,
    'VALUES (false, true, NULL::boolean, false, 0, false, NULL::boolean)', 'nor by asking what rules ask');
RESET SESSION AUTHORIZATION;

SELECT throws_ok($$SELECT * FROM referral.explain('nothing', 1, 1)$$, 'RF019', NULL, 'what is no entity has nothing to explain');

-- 6. Items that are not about the referral itself

RESET SESSION AUTHORIZATION;
INSERT INTO referral.queue_member (org_id, queue_id, member) SELECT 1, q.queue_id, 'worklist_view_ann' FROM referral.queue q WHERE q.org_id = 1 AND q.name IN ('exceptions', 'manual_triage', 'approvals');
SELECT i.work_item_id AS item, i.entity_id AS exception FROM referral.work_item i JOIN referral.exception_item e ON e.exception_id = i.entity_id
WHERE i.entity = 'exception_item' AND e.code = 'no_slot' AND i.closed_at IS NULL \gset
SET SESSION AUTHORIZATION worklist_view_ann;
SELECT results_eq(format('SELECT title, next_action FROM referral.my_worklist WHERE work_item_id = %s', :item), $$VALUES ('Exception: capacity, no_slot', 'Find another slot or another provider: x')$$,
    'of an exception the list says which one, and what is to be done about it');
SELECT referral.claim(1, :item) \g /dev/null
SELECT results_eq(format('SELECT code, hint FROM public.refused(%L)', format('SELECT referral.complete(1, %s, %L)', :item, 'done')),
    format('SELECT ''RF001'', ''SELECT referral.close_exception(1, %s, ''''what was done''''). That completes the item.''', :exception), 'its item is not completed, as the exception would stay open: the hint says how');
SELECT referral.close_exception(1, :exception, 'another site') \g /dev/null
SELECT is((SELECT status::text FROM referral.work_item WHERE work_item_id = :item), 'completed', 'that completes it');
SELECT referral.claim(1, public.item(6)) \g /dev/null
SELECT public.item(6) AS six \gset
SELECT referral.hand_over(1, :six, 'intake', 'x', 'x') \g /dev/null
SELECT alike((SELECT hint FROM public.refused(format('SELECT referral.hand_over(1, %s, %L, %L, %L)', :six, 'intake', 'x', 'x'))), '%withdraw_handoff()%', 'what is handed over is not handed over again: the hint says what one may do');
RESET SESSION AUTHORIZATION;
UPDATE referral.referral SET state = 'cancellation_requested', status_reason = 'patient_request' WHERE referral_id = 4;
SELECT is((SELECT why FROM referral.returned_cancelled_dna WHERE referral_id = 4), 'The patient does not want it', 'the lists say why in words');

-- 7. People whom an application names

CREATE ROLE worklist_view_application LOGIN IN ROLE referral_application, referral_approver, referral_coordinator;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'worklist_view_application', 'user');
UPDATE referral.work_item SET escalated_to = 'referral_approver' WHERE org_id = 1 AND referral_id = 8 AND closed_at IS NULL;
SET SESSION AUTHORIZATION worklist_view_application;
SET referral.org_id = 1;
SET referral.actor = 'Nobody';
SELECT is_empty('SELECT * FROM referral.my_worklist', 'nobody knows him: he has none of the roles of the application''s login');
SELECT is(public.code('SELECT referral.claim(1, public.item(8))'), 'RF003', 'and claims nothing by them');
SET referral.actor = 'worklist_view_ann';
SELECT is((SELECT count(*) FROM referral.my_worklist WHERE referral_id = 8), 1::bigint, 'who works on a queue has them');
SELECT is(public.code('SELECT referral.claim(1, public.item(8))'), 'done', 'and can claim what they are called for');
RESET referral.actor;
RESET SESSION AUTHORIZATION;
SELECT * FROM finish();
