-- Approvals by one person alone: ways to get them that were tried, and do not lead there.
SELECT plan(17);
\ir ../lib/refused.sql
SET client_min_messages = error;

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE attack_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE attack_joe LOGIN IN ROLE referral_coordinator;
CREATE ROLE attack_ann LOGIN IN ROLE referral_approver;
CREATE ROLE attack_bea LOGIN IN ROLE referral_approver;
CREATE ROLE attack_application LOGIN IN ROLE referral_application, referral_coordinator;
INSERT INTO referral.organization_member (org_id, login)
SELECT 1, l FROM unnest(ARRAY['attack_jane', 'attack_joe', 'attack_ann', 'attack_bea', 'attack_application']) l;
SET referral.org_id = 1;
INSERT INTO referral.patient (patient_id) VALUES (1);
INSERT INTO referral.queue_member (queue_id, member, is_lead)
SELECT q.queue_id, m, m = 'attack_jane' FROM referral.queue q, unnest(ARRAY['attack_jane', 'attack_ann']) m WHERE q.org_id = 1 AND q.name = 'approvals';
CREATE FUNCTION public.last(referral bigint, level integer DEFAULT 1) RETURNS bigint LANGUAGE sql AS $$
    SELECT max(approval_request_id) FROM referral.approval_request r WHERE r.org_id = 1 AND r.referral_id = $1 AND r.level = $2 $$;

-- 1. A column that the condition reads is changed for the move, and back

SET SESSION AUTHORIZATION attack_jane;
INSERT INTO referral.referral (referral_id, patient_id, specialty, intent) VALUES (1, 1, 'cardiology', 'proposal');
UPDATE referral.referral SET step = 'validated' WHERE referral_id = 1;
UPDATE referral.referral SET step = 'ready_to_schedule' WHERE referral_id = 1;
SELECT is(public.code($$UPDATE referral.referral SET step = 'scheduled', scheduled_for = now() + interval '1 day' WHERE referral_id = 1$$), 'RF004', 'a proposal waits for a clinician');
UPDATE referral.referral SET step = 'scheduled', scheduled_for = now() + interval '1 day', intent = 'order' WHERE referral_id = 1;
SELECT is((SELECT count(*)::int FROM referral.exception_item WHERE code = 'approval_missed'), 0, 'an order does not');
UPDATE referral.referral SET intent = 'proposal' WHERE referral_id = 1;
SELECT is((SELECT status FROM referral.exception_item WHERE referral_id = 1 AND code = 'approval_missed'), 'open', 'what is a proposal again went on without: that is told');
INSERT INTO referral.referral (referral_id, patient_id, specialty, authorization_required) VALUES (2, 1, 'cardiology', true);
UPDATE referral.referral SET step = 'validated' WHERE referral_id = 2;
UPDATE referral.referral SET step = 'ready_to_schedule', authorization_required = false WHERE referral_id = 2;
UPDATE referral.referral SET step = 'scheduled', scheduled_for = now() + interval '1 day' WHERE referral_id = 2;
UPDATE referral.referral SET authorization_required = true WHERE referral_id = 2;
SELECT is((SELECT status FROM referral.exception_item WHERE referral_id = 2 AND code = 'approval_missed'), 'open', 'so it is with any column that a condition reads');
RESET SESSION AUTHORIZATION;

-- 2. One approver for both levels, with the help of who asks

SET referral.org_id = 1;
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'approval/standard' AND v.status = 'active';
INSERT INTO referral.rule_set (name, kind) VALUES ('attack', 'approval');
INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'attack' RETURNING rule_version_id AS v \gset
INSERT INTO referral.approval_policy (rule_version_id, name, level, transitions, applies_when, kind, watched, explanation) VALUES
    (:v, 'two', 1, '{validate}', 'expected_value > 5000', 'two', '{expected_value}', 'x'), (:v, 'two', 2, '{validate}', 'expected_value > 5000', 'two', NULL, 'x');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
SET SESSION AUTHORIZATION attack_jane;
INSERT INTO referral.referral (referral_id, patient_id, specialty, expected_value) VALUES (3, 1, 'cardiology', 9000);
SET SESSION AUTHORIZATION attack_ann;
SELECT is(referral.approve(1, public.last(3)), 'approved', 'one level');
SELECT is(public.code('SELECT referral.approve(1, public.last(3, 2))'), 'RF013', 'is what one person gives');
SET SESSION AUTHORIZATION attack_jane;
SELECT referral.withdraw_approval(1, public.last(3, 2), 'x') \g /dev/null
SELECT referral.request_approval(1, 3, 'two', 'why') \g /dev/null
UPDATE referral.referral SET expected_value = 1 WHERE referral_id = 3;
SET SESSION AUTHORIZATION attack_ann;
SELECT is(public.code('SELECT referral.approve(1, public.last(3, 2))'), 'RF004', 'a level is not decided while the one below it is about other values');
SET SESSION AUTHORIZATION attack_jane;
UPDATE referral.referral SET expected_value = 9000 WHERE referral_id = 3;
SELECT is(public.code($$UPDATE referral.referral SET step = 'validated' WHERE referral_id = 3$$), 'RF004', 'so that it waits');
UPDATE referral.referral SET expected_value = 9500 WHERE referral_id = 3;
SET SESSION AUTHORIZATION attack_ann;
SELECT is(referral.approve(1, public.last(3)), 'approved', 'with other values the first level is given anew');
SELECT is(public.code('SELECT referral.approve(1, public.last(3, 2))'), 'RF013', 'and the second by somebody else');
SET SESSION AUTHORIZATION attack_bea;
SELECT is(referral.approve(1, public.last(3, 2)), 'approved', 'as it is');
SET SESSION AUTHORIZATION attack_jane;
UPDATE referral.referral SET expected_value = 9600 WHERE referral_id = 3;
SELECT is((SELECT status FROM referral.approval_request WHERE approval_request_id = public.last(3, 2)), 'withdrawn', 'with other values the levels above begin anew, too');

-- 3. Delegations: not by way of an application, nor by somebody's absence that was noted by who gains

INSERT INTO referral.referral (referral_id, patient_id, specialty, expected_value) VALUES (4, 1, 'cardiology', 9000);
SET SESSION AUTHORIZATION attack_bea;
INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('attack_bea', 'attack_joe', '[2020-01-01,)');
SET SESSION AUTHORIZATION attack_ann;
INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('attack_ann', 'attack_jane', NULL);
SET SESSION AUTHORIZATION attack_application;
SET referral.actor = 'attack_joe';
SELECT is(public.code('SELECT referral.approve(1, public.last(4))'), 'RF003', 'an application does not speak for a login that something was delegated to');
RESET referral.actor;
SET SESSION AUTHORIZATION attack_joe;
INSERT INTO referral.referral (referral_id, patient_id, specialty, expected_value) VALUES (5, 1, 'cardiology', 9000);
SET SESSION AUTHORIZATION attack_jane;
SELECT is(public.code('SELECT referral.approve(1, public.last(5))'), 'RF003', 'while who delegates is there, nothing is delegated');
INSERT INTO referral.absence (member, during) VALUES ('attack_ann', tstzrange(now() - interval '1 second', now() + interval '1 hour'));
SELECT is(public.code('SELECT referral.approve(1, public.last(5))'), 'RF003', 'nor when who would gain by it says that he is not');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
DELETE FROM referral.absence;
SET SESSION AUTHORIZATION attack_ann;
INSERT INTO referral.absence (member, during) VALUES ('attack_ann', tstzrange(now() - interval '1 second', now() + interval '1 hour'));
SET SESSION AUTHORIZATION attack_jane;
SELECT is(referral.approve(1, public.last(5)), 'approved', 'when he says so himself, it is');
SET SESSION AUTHORIZATION attack_joe;
SELECT is(referral.approve(1, public.last(4)), 'approved', 'and to the one it was delegated to');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
