-- Nothing goes on that others have to agree to, before they have: other people than who asks, for the values that they saw.
SELECT plan(230);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE approval_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE approval_bob LOGIN IN ROLE referral_approver, referral_coordinator;
CREATE ROLE approval_sue LOGIN IN ROLE referral_approver;
CREATE ROLE approval_tom LOGIN IN ROLE referral_approver;
CREATE ROLE approval_doc LOGIN IN ROLE referral_clinician;
CREATE ROLE approval_admin LOGIN IN ROLE referral_admin;
CREATE ROLE approval_bot LOGIN IN ROLE referral_approver, referral_coordinator;
CREATE ROLE approval_app LOGIN IN ROLE referral_application, referral_coordinator;
CREATE ROLE approval_feed LOGIN IN ROLE referral_integration;
CREATE ROLE approval_other LOGIN IN ROLE referral_approver;
CREATE ROLE approval_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE approval_analyst LOGIN IN ROLE referral_analyst;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind)
SELECT CASE l WHEN 'other' THEN 2 ELSE 1 END, 'approval_' || l, CASE l WHEN 'bot' THEN 'ai' WHEN 'feed' THEN 'system' ELSE 'user' END
FROM unnest(ARRAY['jane', 'bob', 'sue', 'tom', 'doc', 'admin', 'bot', 'feed', 'other', 'author', 'analyst']) l;
SET referral.org_id = 1;
INSERT INTO referral.patient (org_id, patient_id) VALUES (1, 1), (2, 1);
INSERT INTO referral.payer (org_id, payer_id, name) VALUES (1, 7, 'Seven'), (1, 8, 'Eight');
INSERT INTO referral.queue_member (queue_id, member) SELECT queue_id, 'approval_sue' FROM referral.queue WHERE org_id = 1 AND name IN ('approvals', 'utilisation_review');

-- An active version of a rule set of one's own, in place of the shipped policies.
INSERT INTO referral.rule_set (name, kind) VALUES ('own', 'approval');
CREATE FUNCTION public.activate(policies jsonb) RETURNS bigint LANGUAGE plpgsql SET client_min_messages = error AS $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'own' RETURNING rule_version_id INTO v;
    INSERT INTO referral.approval_policy (rule_version_id, name, level, entity, transitions, applies_when, kind, approver_role, queue, quorum, due, calendar,
                                          valid_for, watched, priority, scope_org_id, explanation)
    SELECT v, p.name, coalesce(p.level, 1), coalesce(p.entity, 'referral'), coalesce(p.transitions, '{release}'), p.applies_when, coalesce(p.kind, 'own'),
           coalesce(p.approver_role, 'referral_approver'), p.queue, coalesce(p.quorum, 1), p.due, p.calendar, p.valid_for, p.watched,
           coalesce(p.priority, 100), p.scope_org_id, coalesce(p.explanation, 'because')
    FROM jsonb_to_recordset(policies) p (name text, level integer, entity text, transitions text[], applies_when text, kind text, approver_role name, queue text,
                                         quorum integer, due interval, calendar text, valid_for interval, watched text[], priority integer,
                                         scope_org_id bigint, explanation text);
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
    RETURN v;
END $$;
-- as whom a statement is tried: what it is refused with
CREATE FUNCTION public.go(referral bigint, change text DEFAULT '', to_step text DEFAULT 'ready_to_schedule') RETURNS text LANGUAGE sql AS $$
    SELECT public.code(format('UPDATE referral.referral SET %s step = %L WHERE org_id = 1 AND referral_id = %s', change, to_step, referral)) $$;
CREATE FUNCTION public.last(referral bigint, level integer DEFAULT 1) RETURNS bigint LANGUAGE sql AS $$
    SELECT max(approval_request_id) FROM referral.approval_request r WHERE r.org_id = 1 AND r.referral_id = $1 AND r.level = $2 $$;
CREATE FUNCTION public.status(referral bigint, level integer DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT status FROM referral.approval_request r WHERE r.org_id = 1 AND r.approval_request_id = public.last($1, $2) $$;
CREATE FUNCTION public.say(referral bigint, word text, reason text DEFAULT 'why', level integer DEFAULT 1) RETURNS text LANGUAGE sql AS $$
    SELECT public.code(format('SELECT referral.%I(1, %s, %L)', word, public.last($1, $4), reason)) $$;

-- 1. What ships: straight through, or to those who have to agree

SELECT is((SELECT count(*) FROM referral.approval_policy p JOIN referral.rule_version v USING (rule_version_id)
           WHERE v.status = 'active'), 8::bigint, 'four policies ship, each with a variant for what is urgent');
SELECT is_empty($$SELECT p.name, t FROM referral.approval_policy p CROSS JOIN unnest(p.transitions) t
    WHERE NOT EXISTS (SELECT FROM referral.workflow_transition x WHERE x.transition = t)$$, 'all their transitions exist');
INSERT INTO referral.referral (referral_id, patient_id, specialty, network_status, urgency, expected_value, intent) VALUES
    (1, 1, 'cardiology', 'in_network', 'routine', 100, 'order'), (2, 1, 'cardiology', 'out_of_network', 'routine', 100, 'order'),
    (3, 1, 'cardiology', 'out_of_network', 'stat', 100, 'order'), (4, 1, 'cardiology', 'in_network', 'routine', 20000, 'order'),
    (5, 1, 'cardiology', 'in_network', 'routine', 100, 'proposal');
SELECT is_empty('SELECT FROM referral.approval_request', 'nothing is asked before a waiting transition leaves from the step');
SET SESSION AUTHORIZATION approval_jane;
UPDATE referral.referral SET step = 'validated' WHERE referral_id <= 5;
SELECT results_eq('SELECT referral_id, policy, level, kind, requested_by, status FROM referral.approval_request ORDER BY 1',
    $$VALUES (2::bigint, 'out_of_network', 1, 'management', 'approval_jane', 'pending'),
             (3, 'out_of_network', 1, 'management', 'approval_jane', 'pending')$$,
    'what needs an approval where it stands is asked for, by who brought it there');
SELECT is(public.go(1), 'done', 'what needs none goes straight through');
SELECT is(public.go(2), 'RF004', 'what needs one waits');
SELECT ok((SELECT message = 'transition "release" of referral 2 is blocked: approval "out_of_network" is not given yet'
                  AND detail ~ '^approval policy \d+: approval "out_of_network" is not given yet\.'
                  AND hint ~ 'Have a member of referral_approver who did not ask for it SELECT referral\.approve\(1, \d+\)\.'
           FROM public.refused('UPDATE referral.referral SET step = ''ready_to_schedule'' WHERE referral_id = 2')), 'and the refusal says for what, and who can help');
SELECT results_eq($$SELECT allowed, blocked_by FROM referral.next_transitions('referral', 1, 2) WHERE transition = 'release'$$,
    $$VALUES (false, ARRAY['approval "out_of_network" is not given yet'])$$, 'next_transitions() tells it');
SELECT is(public.go(2, 'status_reason = ''no_longer_needed'',', 'cancelled'), 'done', 'what the policy does not name does not wait');
SELECT ok((SELECT r.due_at - r.requested_at < '4 hours 1 minute' AND r.due_at > r.requested_at FROM referral.approval_request r WHERE r.referral_id = 3)
          AND (SELECT r.due_at - r.requested_at > '12 hours' FROM referral.approval_request r WHERE r.referral_id = 2), 'what is urgent is due in hours, the rest in working days');
SELECT results_eq($$SELECT q.name, i.kind, i.status::text, i.due_at = r.due_at FROM referral.work_item i JOIN referral.queue q USING (org_id, queue_id)
    JOIN referral.approval_request r ON r.org_id = i.org_id AND r.approval_request_id = i.entity_id
    WHERE i.entity = 'approval_request' AND i.referral_id = 2$$,
    $$VALUES ('approvals', 'approval', 'ready', true)$$, 'it is an item of work');
UPDATE referral.referral SET urgency = 'stat' WHERE referral_id = 2;
SELECT ok((SELECT r.due_at - r.requested_at < '4 hours 1 minute' FROM referral.approval_request r WHERE r.referral_id = 2 AND status = 'pending')
          AND (SELECT count(*) = 1 FROM referral.approval_request r WHERE r.referral_id = 2), 'when it becomes urgent the same request is due sooner');
SELECT results_eq($$SELECT transition, policy, level, needed, status, who_may FROM referral.approval_path(1, 2) WHERE needed$$,
    $$VALUES ('authorize', 'out_of_network', 1, true, 'pending', 'a member of referral_approver other than approval_jane, postgres'),
             ('release', 'out_of_network', 1, true, 'pending', 'a member of referral_approver other than approval_jane, postgres')$$, 'approval_path() tells which apply, and who may');
SELECT results_eq($$SELECT DISTINCT policy, status FROM referral.approval_path(1, 2) WHERE NOT needed ORDER BY 1$$,
    $$VALUES ('financial_clearance', 'not_needed'), ('specialist_acceptance', 'not_needed'), ('utilisation_review', 'not_needed')$$, 'and which do not');
SELECT is((SELECT DISTINCT why FROM referral.approval_path(1, 2) WHERE needed), 'The performer is out of the payer''s network: a manager has to agree.', 'and why');

-- 2. Who may decide

SELECT is(public.say(2, 'approve'), 'RF013', 'not who asked for it');
SELECT is(public.code('INSERT INTO referral.approval_decision (approval_request_id, decision) VALUES (public.last(2), ''approve'')'), 'RF013', 'nor by a plain INSERT');
SELECT is(public.code('UPDATE referral.approval_request SET status = ''approved'' WHERE referral_id = 2'), '42501', 'nobody sets the status');
SELECT is(public.code('INSERT INTO referral.approval_request (entity, entity_id, level, quorum, policy, kind, approver_role, transitions, requested_by) VALUES (''referral'', 2, 1, 1, ''x'', ''x'', ''referral_coordinator'', ''{release}'', ''approval_sue'')'),
    '42501', 'nor asks in another''s name');
SELECT is(public.code('INSERT INTO referral.approval_decision (approval_request_id, decision, decided_by) VALUES (public.last(2), ''approve'', ''approval_sue'')'), '42501', 'nor says who decided');
SET referral.actor = 'approval_sue';
SELECT is(public.say(2, 'approve'), 'RF013', 'a forged actor is not believed');
RESET referral.actor;
SET SESSION AUTHORIZATION approval_doc;
SELECT is(public.say(2, 'approve'), 'RF003', 'who has not the role may not');
SET SESSION AUTHORIZATION approval_admin;
SELECT is(public.say(2, 'approve'), 'RF003', 'an administrator has not, either');
SET SESSION AUTHORIZATION approval_bot;
SELECT is(public.say(2, 'approve'), 'RF003', 'a model does not decide, whatever its role');
SELECT is(public.say(2, 'reject'), 'RF003', 'nor refuse');
SET SESSION AUTHORIZATION approval_sue;
SET referral.actor_kind = 'system';
SELECT is(public.say(2, 'approve'), 'RF003', 'nor a system');
RESET referral.actor_kind;
SET SESSION AUTHORIZATION approval_feed;
SELECT is(public.say(2, 'approve'), '42501', 'interfaces have no such verb');
SELECT is(public.code('INSERT INTO referral.approval_decision (approval_request_id, decision) VALUES (public.last(2), ''approve'')'), '42501', 'nor rows to insert');
SET SESSION AUTHORIZATION approval_analyst;
SELECT is(public.code('SELECT * FROM referral.approval_request'), '42501', 'analysts do not read requests');
SET SESSION AUTHORIZATION approval_other;
SELECT is(public.code('SELECT referral.approve(1, 1)'), 'RF019', 'another organisation knows of none');
SELECT is(public.code('SELECT referral.approval_path(1, 2)'), 'RF019', 'nor of its path');
SELECT is(public.code('SELECT referral.request_approval(1, 2, ''out_of_network'', ''x'')'), 'RF019', 'nor asks');
SELECT is((SELECT count(*) FROM referral.approval_log), 0::bigint, 'nor reads');
SET SESSION AUTHORIZATION approval_sue;
SELECT is(public.code('SELECT referral.approve(1, 999999)'), 'RF019', 'there is such a thing as no request');
SELECT is(public.say(2, 'reject', ' '), 'RF005', 'who refuses says why');
SELECT is(referral.approve(1, public.last(2), 'agreed with the payer'), 'approved', 'another approver agrees');
SELECT is(public.say(2, 'approve'), 'RF001', 'once');
SELECT results_eq('SELECT requested_by, decision, decided_by, on_behalf_of, reason, status FROM referral.approval_log WHERE referral_id = 2',
    $$VALUES ('approval_jane', 'approve', 'approval_sue', NULL, 'agreed with the payer', 'approved')$$, 'the log says who');
SELECT ok((SELECT closed_at IS NOT NULL FROM referral.work_item WHERE entity = 'approval_request' AND referral_id = 2), 'its item is done');
SELECT is(public.code('UPDATE referral.approval_decision SET reason = ''x'''), '42501', 'a decision stays');
RESET SESSION AUTHORIZATION;
SELECT is(public.code('UPDATE referral.approval_decision SET reason = ''x'''), 'RF007', 'also for the owner');
SELECT is(public.code('DELETE FROM referral.approval_decision'), 'RF007', 'who does not delete it either');
SELECT is(public.code('UPDATE referral.approval_request SET requested_by = ''x'' WHERE referral_id = 3'), 'RF017', 'a request stays what it is');
SELECT is(public.code('UPDATE referral.approval_request SET quorum = 2 WHERE referral_id = 3'), 'RF017', 'its quorum too');
SELECT is(public.code('UPDATE referral.approval_request SET status = ''approved'' WHERE referral_id = 3'), 'RF001', 'and is not approved without decisions, by nobody');
SELECT is(public.code('UPDATE referral.approval_request SET status = ''rejected'' WHERE referral_id = 3'), 'RF001', 'nor refused');
SELECT is(public.code('UPDATE referral.approval_request SET status = ''pending'' WHERE referral_id = 2'), 'RF001', 'nor opened again');
SELECT is(public.code('INSERT INTO referral.approval_request (entity, entity_id, level, quorum, policy, kind, approver_role, transitions, status) VALUES (''referral'', 3, 1, 1, ''x'', ''x'', ''referral_approver'', ''{release}'', ''approved'')'),
    'RF001', 'nor born approved');

-- 3. It is about the values that the approver saw

SET SESSION AUTHORIZATION approval_jane;
SELECT is(public.go(2, 'payer_id = 7,'), 'RF004', 'with other values than those the approval does not count, in the same UPDATE');
SELECT ok((SELECT message ~ 'approval "out_of_network" is about other values than the row has' FROM public.refused('UPDATE referral.referral SET payer_id = 7, step = ''ready_to_schedule'' WHERE referral_id = 2')), 'which the message says');
SELECT is(public.go(2, 'priority = 3,'), 'done', 'values that it is not about may change');
UPDATE referral.referral SET payer_id = 7 WHERE referral_id = 2;
SELECT is(public.go(2), 'RF004', 'nor when they changed before');
SELECT is((SELECT array_agg(status ORDER BY approval_request_id) FROM referral.approval_request WHERE referral_id = 2), '{approved,pending}', 'it is asked for anew');
SET SESSION AUTHORIZATION approval_bob;
UPDATE referral.referral SET payer_id = 8 WHERE referral_id = 2;
SELECT results_eq('SELECT status, requested_by, withdrawn_by FROM referral.approval_request WHERE referral_id = 2 ORDER BY approval_request_id',
    $$VALUES ('approved', 'approval_jane', NULL), ('withdrawn', 'approval_jane', NULL), ('pending', 'approval_bob', NULL)$$, 'a request about former values is taken back, and who changed them asks now');
SELECT is(public.say(2, 'approve'), 'RF013', 'so that he cannot approve what he changed');
SET SESSION AUTHORIZATION approval_sue;
SELECT is(public.say(2, 'approve'), 'done', 'who approved the former values may approve these');
SELECT referral.approve(1, public.last(2)) \g /dev/null
SET SESSION AUTHORIZATION approval_jane;
SET timezone = 'Asia/Kolkata'; SET DateStyle = 'German, DMY'; SET client_encoding = 'LATIN1';
SELECT is(public.go(2), 'done', 'settings of the session change nothing');
RESET timezone; RESET DateStyle; RESET client_encoding;
UPDATE referral.referral SET step = 'ready_to_schedule' WHERE referral_id = 2;
SELECT is((SELECT step FROM referral.referral WHERE referral_id = 2), 'ready_to_schedule', 'with the approval it goes on');
SELECT ok((SELECT bool_and(subject::text !~ 'out_of_network' AND subject ?& '{network_status,payer_id,performer_id}') FROM referral.approval_request WHERE referral_id = 2),
    'the record has digests, no values');
SELECT isnt((SELECT subject ->> 'network_status' FROM referral.approval_request WHERE approval_request_id = public.last(2)),
            (SELECT subject ->> 'network_status' FROM referral.approval_request WHERE approval_request_id = public.last(3)), 'that differ from row to row');

-- 4. Refused, withdrawn, asked again

SET SESSION AUTHORIZATION approval_sue;
SELECT is(referral.reject(1, public.last(3), 'find one in the network'), 'rejected', 'one who refuses is enough');
SET SESSION AUTHORIZATION approval_jane;
SELECT ok((SELECT code = 'RF004' AND message ~ 'was refused' AND hint ~ 'request_approval\(''referral'', 1, 3, ''out_of_network''' FROM public.refused('UPDATE referral.referral SET step = ''ready_to_schedule'' WHERE referral_id = 3')),
    'then it waits on, and the hint says what can be done');
UPDATE referral.referral SET priority = 1 WHERE referral_id = 3;
SELECT is((SELECT count(*) FROM referral.approval_request WHERE referral_id = 3), 1::bigint, 'nothing is asked anew by itself');
SELECT is(public.code('SELECT referral.request_approval(1, 3, ''out_of_network'', '' '')'), 'RF005', 'who asks again says why');
SELECT is(public.code('SELECT referral.request_approval(1, 3, ''nonsense'', ''x'')'), 'RF019', 'and for what');
SELECT isnt(referral.request_approval(1, 3, 'management', 'there is none in the network'), NULL, 'by kind or by name');
SELECT is(referral.request_approval(1, 3, 'out_of_network', 'again'), public.last(3), 'what is open already is not asked twice');
SELECT is((SELECT count(*) FROM referral.approval_request WHERE referral_id = 3), 2::bigint, 'as the table says');
SET SESSION AUTHORIZATION approval_doc;
SELECT is(public.code('SELECT referral.withdraw_approval(1, public.last(3), ''x'')'), 'RF003', 'others do not withdraw it');
SET SESSION AUTHORIZATION approval_jane;
SELECT is(public.code('SELECT referral.withdraw_approval(1, public.last(3), '''')'), 'RF005', 'who does says why');
SELECT lives_ok('SELECT referral.withdraw_approval(1, public.last(3), ''found one'')', 'who asked does');
UPDATE referral.referral SET priority = 2 WHERE referral_id = 3;
SELECT is(public.status(3), 'withdrawn', 'and it is not asked anew by itself');
SELECT is(public.go(3), 'RF004', 'but waits on');
UPDATE referral.referral SET network_status = 'in_network' WHERE referral_id = 3;
SELECT is(public.go(3), 'done', 'until the policy does not apply any more');
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = 3;
SELECT is(public.go(3), 'RF004', 'and when it does again it waits again');
RESET SESSION AUTHORIZATION;
UPDATE referral.referral SET state = 'validated' WHERE referral_id = 1;
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = 1;
SELECT is(public.status(1), 'pending', 'what changes later is asked about');
UPDATE referral.referral SET network_status = 'in_network' WHERE referral_id = 1;
SELECT is(public.status(1), 'withdrawn', 'and taken back when it is not needed');
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = 1;
UPDATE referral.referral SET state = 'cancelled', status_reason = 'no_longer_needed' WHERE referral_id = 1;
SELECT is(public.status(1), 'withdrawn', 'or when the referral has come to its end');
SET SESSION AUTHORIZATION approval_sue;
SELECT is(public.say(1, 'approve'), 'RF001', 'nobody decides about it then');
RESET SESSION AUTHORIZATION;

-- 5. Levels and quorum

SELECT public.activate('[{"name": "two", "level": 1, "quorum": 2, "applies_when": "priority = 50", "watched": ["specialty"]},
                         {"name": "two", "level": 2, "applies_when": "priority = 50", "watched": ["specialty"], "kind": "board"},
                         {"name": "lapse", "applies_when": "priority = 60", "valid_for": "1 hour"},
                         {"name": "broken", "applies_when": "1 / (priority - 70) = 1"},
                         {"name": "elsewhere", "applies_when": "priority = 80", "scope_org_id": 2}]') \g /dev/null
INSERT INTO referral.referral (referral_id, patient_id, specialty, priority)
SELECT i, 1, 'cardiology', CASE WHEN i < 20 THEN 50 WHEN i < 30 THEN 60 ELSE i * 2 END FROM unnest(ARRAY[10, 11, 12, 20, 21, 35, 40]) i;
SET SESSION AUTHORIZATION approval_bob;
UPDATE referral.referral SET step = 'validated' WHERE referral_id >= 10;
SELECT is((SELECT array_agg(level) FROM referral.approval_request WHERE referral_id = 10), '{1}', 'the second level waits for the first');
SET SESSION AUTHORIZATION approval_sue;
SELECT is(referral.approve(1, public.last(10)), 'pending', 'one of two has agreed');
SELECT is((SELECT agreed FROM referral.open_approval WHERE referral_id = 10), 1, 'as open_approval says');
SELECT is(public.say(10, 'approve'), 'RF013', 'nobody counts twice');
SELECT is(public.code('INSERT INTO referral.approval_decision (approval_request_id, decision) VALUES (public.last(10), ''approve'')'), 'RF013', 'not by a plain INSERT either');
SET SESSION AUTHORIZATION approval_tom;
SELECT is(referral.approve(1, public.last(10)), 'approved', 'the second makes it');
SELECT is((SELECT requested_by FROM referral.approval_request WHERE approval_request_id = public.last(10, 2)), 'approval_bob', 'the next level is asked, by who asked the first');
SELECT is(public.go(10), '42501', 'an approver moves nothing');
SET SESSION AUTHORIZATION approval_jane;
SELECT ok((SELECT code = 'RF004' AND message ~ 'approval "two" \(level 2\) is not given yet' FROM public.refused('UPDATE referral.referral SET step = ''ready_to_schedule'' WHERE referral_id = 10')), 'one level is not enough');
SET SESSION AUTHORIZATION approval_tom;
SELECT is(public.say(10, 'approve', 'x', 2), 'RF013', 'who agreed on one level does not on the next');
SET SESSION AUTHORIZATION approval_bob;
SELECT is(public.say(10, 'approve', 'x', 2), 'RF013', 'nor who asked');
RESET SESSION AUTHORIZATION;
CREATE ROLE approval_ann LOGIN IN ROLE referral_approver;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'approval_ann');
SET SESSION AUTHORIZATION approval_ann;
SELECT is(referral.approve(1, public.last(10, 2)), 'approved', 'somebody else does');
SET SESSION AUTHORIZATION approval_jane;
SELECT is(public.go(10), 'done', 'then it goes on');
UPDATE referral.referral SET specialty = 'neurology' WHERE referral_id = 10;
SELECT is((SELECT array_agg(status || level ORDER BY approval_request_id) FROM referral.approval_request WHERE referral_id = 10), '{approved1,withdrawn2,pending1}', 'with other values all levels begin anew');
SET SESSION AUTHORIZATION approval_ann;
SELECT is(referral.approve(1, public.last(10)), 'pending', 'who agreed on another level to the former values may on this one to these');
RESET SESSION AUTHORIZATION;

-- 6. An approval lapses

SET SESSION AUTHORIZATION approval_sue;
SELECT referral.approve(1, public.last(20)) \g /dev/null
SELECT ok((SELECT expires_at = decided_at + interval '1 hour' FROM referral.approval_request WHERE referral_id = 20), 'it is good for so long');
RESET SESSION AUTHORIZATION;
SELECT is(public.go(20), 'done', 'until then it counts');
ALTER TABLE referral.approval_request DISABLE TRIGGER USER;
UPDATE referral.approval_request SET expires_at = now() - interval '1 second' WHERE referral_id = 20;
ALTER TABLE referral.approval_request ENABLE TRIGGER USER;
SELECT ok((SELECT code = 'RF004' AND message ~ 'has lapsed' FROM public.refused('UPDATE referral.referral SET step = ''ready_to_schedule'' WHERE referral_id = 20')), 'afterwards not, whether tick() has seen it or not');
SELECT is(referral.expire_approvals(), 1::bigint, 'tick() marks it');
SELECT results_eq('SELECT status, requested_by FROM referral.approval_request WHERE referral_id = 20 ORDER BY approval_request_id',
    $$VALUES ('expired', 'approval_bob'), ('pending', 'approval_bob')$$, 'and asks anew, in the name of who asked');
SELECT is(referral.expire_approvals(), 0::bigint, 'once');
SELECT ok('expire_approvals' = ANY (referral.chores()), 'tick() knows of it');

-- 7. Rules that fail, rules of others, rules that change

SELECT ok((SELECT code = '22012' FROM public.refused('UPDATE referral.referral SET step = ''ready_to_schedule'' WHERE referral_id = 35')), 'a condition that raises an error lets nobody pass');
SELECT ok((SELECT allowed IS FALSE AND 'approval "broken" has not been asked for yet (its rule raises error 22012)' = ANY (blocked_by)
           FROM referral.next_transitions('referral', 1, 35) WHERE transition = 'release'), 'and the explanation says so');
SELECT is(public.go(40), 'done', 'another organisation''s policy says nothing');
SELECT public.activate('[{"name": "lapse", "applies_when": "priority = 60", "approver_role": "referral_clinician"}]') \g /dev/null
SELECT is(referral.expire_approvals() > 0, true, 'tick() goes through what former rules asked for');
SELECT is(public.status(11), 'withdrawn', 'what no policy asks for any more is taken back');
SELECT is((SELECT approver_role::text FROM referral.approval_request WHERE approval_request_id = public.last(20)), 'referral_clinician', 'what another role has to approve now is asked anew');
SELECT is(referral.expire_approvals(), 0::bigint, 'and then there is nothing more to do');
SELECT is(public.go(11), 'done', 'a policy that is gone stops nothing');
SELECT is(public.code($$SELECT public.activate('[{"name": "x", "watched": ["nonsense"]}]')$$), 'RF011', 'a column that is not there cannot be watched');
SELECT is(public.code($$SELECT public.activate('[{"name": "x", "watched": ["step"]}]')$$), 'RF011', 'nor one that changes with every move');
SELECT is(public.code($$SELECT public.activate('[{"name": "x", "applies_when": "nonsense = 1"}]')$$), 'RF011', 'a condition has to compile');
SELECT is(public.code($$SELECT public.activate('[{"name": "x", "transitions": []}]')$$), '23514', 'transitions have to be named');
SET SESSION AUTHORIZATION approval_author;
SELECT is(public.code('UPDATE referral.approval_policy SET quorum = 9'), 'RF016', 'a policy in force does not change');
RESET SESSION AUTHORIZATION;

-- 8. Delegation

SELECT public.activate('[{"name": "deleg", "applies_when": "priority = 90", "kind": "money"}]') \g /dev/null
INSERT INTO referral.referral (referral_id, patient_id, specialty, priority) SELECT i, 1, 'cardiology', 90 FROM generate_series(50, 59) i;
SET SESSION AUTHORIZATION approval_bob;
UPDATE referral.referral SET step = 'validated' WHERE referral_id BETWEEN 50 AND 59;
SET SESSION AUTHORIZATION approval_doc;
SELECT is(public.say(50, 'approve'), 'RF003', 'who has not the role may not');
SELECT is(public.code($$INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('approval_sue', 'approval_doc', '[2020-01-01,)')$$), 'RF003', 'nor takes it from others');
SET SESSION AUTHORIZATION approval_admin;
SELECT is(public.code($$INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('approval_sue', 'approval_admin', '[2020-01-01,)')$$), 'RF013', 'an administrator gives himself nothing');
SELECT lives_ok($$INSERT INTO referral.approval_delegation (from_member, to_member, kinds, during, reason) VALUES ('approval_sue', 'approval_doc', '{other}', '[2020-01-01,)', 'ill')$$, 'but to others in another''s name');
SET SESSION AUTHORIZATION approval_doc;
SELECT is(public.say(50, 'approve'), 'RF003', 'for the kinds that are named');
SET SESSION AUTHORIZATION approval_sue;
SELECT is(public.code($$UPDATE referral.approval_delegation SET to_member = 'approval_jane'$$), '42501', 'a delegation stays between the two');
UPDATE referral.approval_delegation SET kinds = '{money}' WHERE from_member = 'approval_sue';
SET SESSION AUTHORIZATION approval_doc;
SELECT is(referral.approve(1, public.last(50), 'for Sue'), 'approved', 'the other decides in her place');
SELECT results_eq('SELECT decided_by, on_behalf_of FROM referral.approval_log WHERE referral_id = 50', $$VALUES ('approval_doc', 'approval_sue')$$, 'which is on record');
SELECT is(public.code($$INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('approval_doc', 'approval_jane', '[2020-01-01,)')$$), 'done', 'he may delegate what he has');
INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('approval_doc', 'approval_jane', '[2020-01-01,)');
SET SESSION AUTHORIZATION approval_jane;
SELECT is(public.say(51, 'approve'), 'RF003', 'which what was delegated to him is not');
SET SESSION AUTHORIZATION approval_sue;
UPDATE referral.approval_delegation SET during = '[2020-01-01,2020-02-01)' WHERE from_member = 'approval_sue';
SET SESSION AUTHORIZATION approval_doc;
SELECT is(public.say(51, 'approve'), 'RF003', 'when it is over it is over');
SET SESSION AUTHORIZATION approval_sue;
UPDATE referral.approval_delegation SET during = NULL WHERE from_member = 'approval_sue';
SET SESSION AUTHORIZATION approval_doc;
SELECT is(public.say(51, 'approve'), 'RF003', 'one for absences holds');
SET SESSION AUTHORIZATION approval_sue;
INSERT INTO referral.absence (member, during) VALUES ('approval_sue', '[2020-01-01,)');
SET SESSION AUTHORIZATION approval_doc;
SELECT is(public.say(51, 'approve'), 'done', 'while she is absent');
SET SESSION AUTHORIZATION approval_tom;
SELECT is(public.code($$INSERT INTO referral.absence (member, during, substitute) VALUES ('approval_tom', '[2020-01-01,)', 'approval_jane')$$), 'done', 'a substitute for the work');
INSERT INTO referral.absence (member, during, substitute) VALUES ('approval_tom', '[2020-01-01,)', 'approval_jane');
SET SESSION AUTHORIZATION approval_jane;
SELECT is(public.say(52, 'approve'), 'RF003', 'is none for approvals');
SET SESSION AUTHORIZATION approval_bob;
INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('approval_bob', 'approval_jane', '[2020-01-01,)');
SET SESSION AUTHORIZATION approval_jane;
SELECT is(public.say(52, 'approve'), 'RF013', 'who asked does not approve through somebody else');
SET SESSION AUTHORIZATION approval_sue;
INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('approval_sue', 'approval_bob', '[2020-01-01,)');
SET SESSION AUTHORIZATION approval_bob;
SELECT is(public.say(52, 'approve'), 'RF013', 'nor in somebody else''s name');
SELECT is(public.code('INSERT INTO referral.approval_decision (approval_request_id, decision, on_behalf_of) VALUES (public.last(52), ''approve'', ''approval_sue'')'), 'RF013', 'nor by saying so');
SET ROLE referral_approver;
SELECT is(public.say(52, 'approve'), 'RF013', 'nor in another role');
RESET ROLE;
SET SESSION AUTHORIZATION approval_tom;
SELECT is(public.code('INSERT INTO referral.approval_decision (approval_request_id, decision, on_behalf_of) VALUES (public.last(52), ''approve'', ''approval_sue'')'), 'RF003', 'nobody says in whose place he decides without that');
RESET SESSION AUTHORIZATION;
SELECT is(public.code('INSERT INTO referral.approval_decision (approval_request_id, decision, decided_by) SELECT public.last(52), ''approve'', ''approval_sue'''), 'done',
    'who decided is not taken from the statement, not even the owner''s');
SELECT is((SELECT count(*) FROM referral.approval_log WHERE decided_by = requested_by OR on_behalf_of = requested_by), 0::bigint, 'nobody has ever approved what he asked for');

-- 9. People of applications

RESET SESSION AUTHORIZATION;
GRANT referral_approver TO approval_app;
SET SESSION AUTHORIZATION approval_app;
SET referral.org_id = 1;
SELECT is(public.say(53, 'approve'), 'RF003', 'an application that names nobody is no person');
SET referral.actor = 'approval_bob';
SELECT is(public.say(53, 'approve'), 'RF013', 'one who asked is known by his name, wherever he comes from');
SELECT is(public.code($$INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('approval_bob', 'kim', '[2020-01-01,)')$$), 'RF003', 'an application does not delegate what a login may');
SELECT is(public.code($$INSERT INTO referral.absence (member, during, substitute) VALUES ('approval_bob', '[2020-01-01,2020-02-01)', 'kim')$$), 'RF003', 'nor note the absence of one');
SET referral.actor = 'kim';
SELECT is(public.say(53, 'approve'), 'done', 'its people approve by the role that it has');
SELECT lives_ok($$INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('kim', 'lee', '[2020-01-01,)')$$, 'and delegate among them');
SELECT lives_ok($$INSERT INTO referral.absence (member, during, substitute) VALUES ('kim', '[2020-01-01,2020-02-01)', 'lee')$$, 'and note when they are absent');
RESET referral.actor;
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;

-- names and kinds that are not there are told
\set said `psql -X -q -v ON_ERROR_STOP=1 -c "SET referral.org_id = 1" -c "BEGIN" -c "INSERT INTO referral.approval_delegation (from_member, to_member, kinds, during) VALUES ('approval_sue', 'approval_tomm', '{managment}', '[2020-01-01,2020-02-01)')" -c "ROLLBACK" 2>&1`
SELECT alike(:'said'::text, '%WARNING:  nobody in organisation 1 is known as "approval_tomm"%to_member%', 'who would decide is misspelt');
SELECT alike(:'said'::text, '%WARNING:  no active approval policy is of kind "managment"%', 'the kind, too');
SELECT unalike(:'said'::text, '%"approval_sue"%', 'who delegates is known');
SELECT unalike(:'said'::text, '%ERROR%', 'nothing is refused');

-- 10. A table of one's own

CREATE TABLE public.refund (org_id bigint NOT NULL DEFAULT referral.current_org(), refund_id bigint GENERATED BY DEFAULT AS IDENTITY, amount numeric, PRIMARY KEY (org_id, refund_id));
SELECT referral.attach('public.refund') \g /dev/null
SELECT make_workflow('refund') \g /dev/null
SELECT public.activate('[{"name": "refund", "entity": "refund", "transitions": ["go"], "applies_when": "amount > 500", "watched": ["amount"]}]') \g /dev/null
INSERT INTO public.refund (refund_id, amount) VALUES (1, 100), (2, 1000);
SELECT is(public.code('UPDATE public.refund SET step = ''b'' WHERE refund_id = 2'), 'RF004', 'policies hold for any attached table');
SELECT is(referral.request_approvals('refund', 1, 2), 1, 'the approval is asked for by call');
SET SESSION AUTHORIZATION approval_sue;
SELECT referral.approve(1, max(approval_request_id)) FROM referral.approval_request WHERE entity = 'refund' \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is(public.code('UPDATE public.refund SET step = ''b'', amount = 1001 WHERE refund_id = 2'), 'RF004', 'for its values');
SELECT is(public.code('UPDATE public.refund SET step = ''b'' WHERE refund_id = 2'), 'done', 'and then it goes on');
SELECT is(public.code('UPDATE public.refund SET step = ''b'' WHERE refund_id = 1'), 'done', 'as does what needs none');

-- 11. On record

SELECT results_eq($$SELECT DISTINCT type FROM referral.event WHERE type LIKE '%.approval.%' ORDER BY 1$$,
    $$VALUES ('org.referral.approval.granted'), ('org.referral.approval.refused'), ('org.referral.approval.requested')$$, 'consumers hear of it');
SELECT is((SELECT count(*) FROM referral.journal j WHERE j.entity = 'approval_decision'), (SELECT count(*) FROM referral.approval_decision), 'the journal has every decision');
SELECT is_empty($$SELECT FROM referral.approval_request r WHERE r.status = 'approved' AND r.quorum > (SELECT count(DISTINCT d.decided_by) FROM referral.approval_decision d WHERE d.org_id = r.org_id AND d.approval_request_id = r.approval_request_id AND d.decision = 'approve')$$,
    'none is approved by fewer than its quorum');

-- no time that cannot be counted with
SELECT is(public.code(format($$SELECT public.activate('[{"name": "long", "%s": "%s"}]')$$, x.field, x.span)), x.code, x.what)
FROM (VALUES ('valid_for', '300000 years', '23514', 'no approval holds for longer than a century'),
             ('valid_for', '-100000000 days 2400000001 hours', '23514', 'nor for a span that cannot be added to a date in its parts'),
             ('valid_for', '100 years', 'done', 'a century will do'),
             ('due', '100000000 days', '23514', 'nor has anybody that long to decide')) x (field, span, code, what);
SELECT is(public.code($$INSERT INTO referral.exception_policy (rule_version_id, category, due) SELECT referral.copy_rule_version(rule_version_id, 'next'), 'policy', '100000000 days' FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'exception/standard'$$), '23514', 'nor to settle an exception');

-- 12. Nobody approves what he has a part in, whoever counts as asking

UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'approval/standard' AND v.status = 'active';
SELECT public.activate('[{"name": "own", "applies_when": "network_status = ''out_of_network''", "watched": ["payer_id", "network_status"]}]') \g /dev/null
INSERT INTO referral.referral (referral_id, patient_id, specialty, network_status, payer_id) SELECT n, 1, 'cardiology', 'out_of_network', 7 FROM generate_series(120, 124) n;
SET SESSION AUTHORIZATION approval_jane;
UPDATE referral.referral SET step = 'validated' WHERE referral_id IN (120, 121);
SET SESSION AUTHORIZATION approval_bob;
SET referral.actor_kind = 'system';
UPDATE referral.referral SET payer_id = 8 WHERE referral_id = 120;
SET referral.actor_kind = 'ai';
SELECT referral.request_approval(1, 121, 'own', 'x') \g /dev/null
RESET referral.actor_kind;
SELECT results_eq('SELECT requested_by, status FROM referral.approval_request WHERE referral_id = 120 ORDER BY approval_request_id',
    $$VALUES ('approval_jane', 'withdrawn'), ('approval_jane', 'pending')$$, 'what a system changes, who asked before asks');
SELECT is(public.say(120, 'approve'), 'RF013', 'but who changed it does not approve it, whatever kind he says that he is');
SELECT is(public.code('INSERT INTO referral.approval_decision (approval_request_id, decision) VALUES (public.last(120), ''approve'')'), 'RF013', 'nor by a plain INSERT');
SELECT ok((SELECT who_may ~ 'approval_bob' FROM referral.approval_path(1, 120) WHERE policy = 'own' LIMIT 1), 'approval_path() says so');
-- asks, takes it back, and has a model ask
UPDATE referral.referral SET step = 'validated' WHERE referral_id = 122;
SELECT referral.withdraw_approval(1, public.last(122), 'x') \g /dev/null
SET SESSION AUTHORIZATION approval_bot;
SELECT referral.request_approval(1, 122, 'own', 'please') \g /dev/null
SET SESSION AUTHORIZATION approval_bob;
SELECT results_eq('SELECT requested_by, status FROM referral.approval_request WHERE referral_id = 122 ORDER BY approval_request_id',
    $$VALUES ('approval_bob', 'withdrawn'), ('approval_bot', 'pending')$$, 'who has somebody else ask');
SELECT is(public.say(122, 'approve'), 'RF013', 'has asked');
-- writes the value before anybody asks
UPDATE referral.referral SET network_status = 'in_network' WHERE referral_id = 123;
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = 123;
SET SESSION AUTHORIZATION approval_jane;
UPDATE referral.referral SET step = 'validated' WHERE referral_id = 123;
SET SESSION AUTHORIZATION approval_bob;
SELECT is(public.say(123, 'approve'), 'RF013', 'nor does who wrote what it is about');
SET SESSION AUTHORIZATION approval_jane;
UPDATE referral.referral SET network_status = 'in_network' WHERE referral_id = 123;
UPDATE referral.referral SET network_status = 'out_of_network', payer_id = 8 WHERE referral_id = 123;
SET SESSION AUTHORIZATION approval_bob;
SELECT is(public.say(123, 'approve'), 'done', 'but about what others write he may');
SET SESSION AUTHORIZATION approval_sue;
SELECT is(public.say(122, 'approve'), 'done', 'as may who has no part in it');
-- on the next level something else is watched
RESET SESSION AUTHORIZATION;
SELECT public.activate('[{"name": "two", "level": 1, "applies_when": "network_status = ''out_of_network''", "watched": ["network_status"]},
                         {"name": "two", "level": 2, "applies_when": "network_status = ''out_of_network''", "watched": ["payer_id"]}]') \g /dev/null
SET SESSION AUTHORIZATION approval_jane;
UPDATE referral.referral SET step = 'validated' WHERE referral_id = 124;
SET SESSION AUTHORIZATION approval_sue;
SELECT is(referral.approve(1, public.last(124)), 'approved', 'the first level agrees');
SET SESSION AUTHORIZATION approval_bob;
UPDATE referral.referral SET payer_id = 8 WHERE referral_id = 124;
SELECT is((SELECT array_agg(status ORDER BY approval_request_id) FROM referral.approval_request WHERE referral_id = 124 AND level = 2), '{withdrawn,pending}', 'the second is asked about other values');
SELECT is(public.say(124, 'approve', 'x', 2), 'RF013', 'and who wrote these does not agree to them, though another asked on the first level');
SET SESSION AUTHORIZATION approval_tom;
SELECT is(public.say(124, 'approve', 'x', 2), 'done', 'but a third person does');
RESET SESSION AUTHORIZATION;

-- 13. A gate that was passed with other values is not passed in secret

CREATE FUNCTION public.missed(referral bigint) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT status || ', opened again ' || reopen_count FROM referral.exception_item WHERE entity = 'referral' AND entity_id = $1 AND code = 'approval_missed' $$;
SELECT public.activate('[{"name": "own", "applies_when": "network_status = ''out_of_network''", "watched": ["payer_id", "network_status"]}]') \g /dev/null
INSERT INTO referral.referral (referral_id, patient_id, specialty, network_status, payer_id) SELECT n, 1, 'cardiology', 'out_of_network', 7 FROM generate_series(130, 134) n;
UPDATE referral.referral SET step = 'validated' WHERE referral_id BETWEEN 130 AND 134;
SET SESSION AUTHORIZATION approval_jane;
BEGIN;
UPDATE referral.referral SET network_status = 'in_network' WHERE referral_id = 130;
UPDATE referral.referral SET step = 'ready_to_schedule' WHERE referral_id = 130;
SELECT is(public.missed(130), NULL, 'what needs none goes through');
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = 130;
SELECT is(public.missed(130), 'open, opened again 0', 'when the value comes back, in the same transaction, it is an exception');
UPDATE referral.referral SET network_status = 'in_network' WHERE referral_id = 130;
SELECT is(public.missed(130), 'resolved, opened again 0', 'as long as it is so');
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = 130;
COMMIT;
SELECT is(public.missed(130), 'open, opened again 1', 'however often it goes to and fro');
SELECT is((SELECT detail FROM referral.exception_queue WHERE entity_id = 130 AND code = 'approval_missed'), 'It went on without an approval that it needs as it is now: own.', 'it says what is missing');
UPDATE referral.referral SET step = 'ready_to_schedule', network_status = 'in_network' WHERE referral_id = 131;
UPDATE referral.referral SET payer_id = 8 WHERE referral_id = 131;
SELECT is(public.missed(131), NULL, 'what does not call for an approval is none');
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = 131;
SELECT is(public.missed(131), 'open, opened again 0', 'also when it changed in the move, and back later');
SELECT lives_ok(format('SELECT referral.close_exception(1, %s, ''the contract ended'')', exception_id), 'a person settles it') FROM referral.exception_queue WHERE entity_id = 131 AND code = 'approval_missed';
UPDATE referral.referral SET priority = 4 WHERE referral_id = 131;
SELECT is(public.missed(131), 'resolved, opened again 0', 'and it stays settled');
UPDATE referral.referral SET payer_id = 7 WHERE referral_id = 131;
SELECT is(public.missed(131), 'open, opened again 1', 'until a watched value changes');
SELECT referral.request_approval(1, 131, 'own', 'afterwards') \g /dev/null
SET SESSION AUTHORIZATION approval_sue;
SELECT referral.approve(1, public.last(131)) \g /dev/null
SELECT is(public.missed(131), 'resolved, opened again 1', 'or somebody agrees afterwards');
SELECT referral.approve(1, public.last(132)) \g /dev/null
SET SESSION AUTHORIZATION approval_jane;
UPDATE referral.referral SET step = 'ready_to_schedule' WHERE referral_id = 132;
UPDATE referral.referral SET payer_id = 8 WHERE referral_id = 132;
SELECT is(public.missed(132), 'open, opened again 0', 'an approval is not used for other values than those that were approved');
RESET SESSION AUTHORIZATION;
UPDATE referral.referral SET step = 'ready_to_schedule', network_status = 'in_network' WHERE referral_id = 133;
SELECT public.activate('[{"name": "new", "applies_when": "network_status = ''in_network''", "watched": ["network_status"]}]') \g /dev/null
UPDATE referral.referral SET payer_id = 8 WHERE referral_id = 133;
SELECT is(public.missed(133), NULL, 'what went through before there was such a policy has missed nothing');

-- 14. Changes that concern no policy cost nothing

CREATE FUNCTION public.asked(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (SELECT sum(calls) FROM pg_stat_xact_user_functions WHERE funcname = 'request_approvals');
BEGIN
    EXECUTE statement;
    RETURN (SELECT sum(calls) FROM pg_stat_xact_user_functions WHERE funcname = 'request_approvals') - before;
END $$;
SELECT public.activate('[{"name": "own", "applies_when": "network_status = ''out_of_network''", "watched": ["payer_id"]}]') \g /dev/null
INSERT INTO referral.referral (referral_id, patient_id, specialty, network_status, payer_id) SELECT n, 1, 'cardiology', 'out_of_network', 7 FROM generate_series(140, 141) n;
BEGIN;
SET LOCAL track_functions = 'all';
SELECT referral.request_approvals('referral', 1, 140) \g /dev/null
SELECT is(public.asked('INSERT INTO referral.referral (referral_id, patient_id, specialty, network_status) VALUES (142, 1, ''cardiology'', ''out_of_network'')'), 0::bigint,
    'a row that comes in where nothing waits asks for nothing');
SELECT is(public.asked('UPDATE referral.referral SET priority = 2 WHERE referral_id IN (140, 141)'), 0::bigint, 'nor does a change of what no policy reads or watches');
SELECT is(public.asked('UPDATE referral.referral SET step = ''validated'' WHERE referral_id IN (140, 141)'), 2::bigint, 'a row that comes to where something waits does');
SELECT is(public.asked('UPDATE referral.referral SET priority = 3 WHERE referral_id IN (140, 141)'), 0::bigint, 'no change of other columns does there');
SELECT is(public.asked('UPDATE referral.referral SET payer_id = 8 WHERE referral_id = 140'), 1::bigint, 'one of a watched column does');
SELECT is(public.asked('UPDATE referral.referral SET network_status = ''in_network'' WHERE referral_id = 141'), 1::bigint, 'and one of a column that a condition reads');
SELECT is(public.asked('UPDATE referral.referral SET step = ''cancelled'', status_reason = ''no_longer_needed'' WHERE referral_id = 140') > 0, true, 'and the end');
COMMIT;

-- 15. Other policies: asked anew by tick(), in batches

CREATE FUNCTION public.renew(max integer, OUT most bigint, OUT calls integer) LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    most := 0; calls := 0;
    LOOP
        n := referral.renew_approvals(now(), max);
        EXIT WHEN n = 0;
        most := greatest(most, n);
        calls := calls + 1;
    END LOOP;
END $$;
CREATE FUNCTION public.asks(referral bigint) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT string_agg(status || ' by ' || requested_by || ', ' || quorum, '; ' ORDER BY approval_request_id)
    FROM referral.approval_request r WHERE r.org_id = 1 AND r.referral_id = $1 $$;
SELECT public.activate('[{"name": "own", "applies_when": "network_status = ''out_of_network''", "watched": ["network_status"]}]') AS one \gset
INSERT INTO referral.referral (referral_id, patient_id, specialty, network_status)
SELECT n, 1, 'cardiology', (CASE WHEN n < 153 THEN 'out_of_network' ELSE 'in_network' END)::referral.network_status FROM generate_series(150, 156) n;
SET SESSION AUTHORIZATION approval_jane;
UPDATE referral.referral SET step = 'validated' WHERE referral_id BETWEEN 150 AND 152;
SET SESSION AUTHORIZATION approval_bob;
UPDATE referral.referral SET step = 'validated' WHERE referral_id BETWEEN 153 AND 155;
SET SESSION AUTHORIZATION approval_sue;
SELECT referral.approve(1, public.last(n)) FROM generate_series(150, 151) n \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT public.renew(1000) \g /dev/null
SELECT is(referral.renew_approvals(now(), 1000), 0::bigint, 'as long as no rule changes there is nothing to do');
SELECT public.activate('[{"name": "own", "applies_when": "network_status IS NOT NULL", "quorum": 2}]') AS two \gset
SELECT is(public.go(150), 'RF004', 'by a stricter policy the approval does not count any more');
SELECT is(public.asks(150), 'approved by approval_jane, 1', 'before tick() nobody is asked');
SELECT ok((SELECT most = 5 AND calls > 3 FROM public.renew(5)), 'it goes through the rows in batches, no more at once than it is told');
SELECT is(public.asks(150), 'approved by approval_jane, 1; pending by approval_jane, 2', 'what was approved under the former policy is asked anew, in the name of who asked');
SELECT is(public.asks(152), 'withdrawn by approval_jane, 1; pending by approval_jane, 2', 'as is what was asked');
SELECT results_eq($$SELECT i.queue_id, i.kind FROM referral.work_item i WHERE i.entity = 'approval_request' AND i.entity_id = public.last(150) AND i.closed_at IS NULL$$,
    $$SELECT referral.queue_for(1, 'approvals'), 'approval'$$, 'it lies where approvals go');
SELECT is((SELECT status FROM referral.approval_request WHERE approval_request_id = public.last(153)), 'pending', 'and what has to wait only now is asked');
SELECT is(public.last(156), NULL, 'but not what waits for nothing where it is');
SET SESSION AUTHORIZATION approval_bob;
SELECT is(public.say(153, 'approve'), 'RF013', 'who brought the row there does not approve it, though tick() asks');
SELECT is(public.say(150, 'approve'), 'done', 'who did not may');
RESET SESSION AUTHORIZATION;
-- gone, and back before tick() has seen all
UPDATE referral.rule_version SET status = 'retired' WHERE rule_version_id = :two;
SELECT is(public.go(154), 'done', 'without a policy nothing waits');
SELECT referral.expire_approvals() \g /dev/null
SELECT is(public.asks(154), 'withdrawn by postgres, 2', 'its requests are taken back');
SELECT is_empty($$SELECT FROM referral.work_item i WHERE i.entity = 'approval_request' AND i.entity_id = public.last(154) AND i.closed_at IS NULL$$, 'and their items closed');
SELECT public.renew(1000) \g /dev/null
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :two;
SELECT is(referral.renew_approvals(now(), 1), 1::bigint, 'when the same policy is back, it begins');
UPDATE referral.rule_version SET status = 'retired' WHERE rule_version_id = :two;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :two;
SELECT public.renew(1000) \g /dev/null
SELECT is((SELECT array_agg(public.status(n)) FROM generate_series(150, 155) n), '{pending,pending,pending,pending,pending,pending}', 'and asks for all again, however often it went');
SELECT is((SELECT array_agg(DISTINCT actor_kind) FROM referral.journal WHERE entity = 'approval_request' AND entity_id = public.last(150)), '{system}', 'the database does, on record');
SELECT ok('renew_approvals' = ANY (referral.chores()), 'tick() knows of it');

-- 16. Who has a part, whatever came between

SELECT public.activate('[{"name": "own", "applies_when": "network_status = ''out_of_network''", "watched": ["network_status"]}]') \g /dev/null
INSERT INTO referral.referral (referral_id, patient_id, specialty, network_status) SELECT n, 1, 'cardiology', 'in_network' FROM generate_series(160, 163) n;
SET SESSION AUTHORIZATION approval_bob;
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = 160;
SET referral.actor_kind = 'system';
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = 161;
RESET referral.actor_kind;
SET SESSION AUTHORIZATION approval_bot;
UPDATE referral.referral SET network_status = 'in_network' WHERE referral_id IN (160, 161);
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id IN (160, 161);
SET SESSION AUTHORIZATION approval_jane;
UPDATE referral.referral SET step = 'validated' WHERE referral_id IN (160, 161);
SET SESSION AUTHORIZATION approval_bob;
SELECT is(public.say(160, 'approve'), 'RF013', 'who has a model write again what he wrote has written it');
SELECT is(public.say(161, 'approve'), 'RF013', 'whatever kind he said that he was');
SET SESSION AUTHORIZATION approval_sue;
SELECT is(public.say(160, 'approve'), 'done', 'others may');
-- who is away, and has who asked stand in for him
SET SESSION AUTHORIZATION approval_doc;
UPDATE referral.referral SET network_status = 'out_of_network', step = 'validated' WHERE referral_id = 162;
SET SESSION AUTHORIZATION approval_bob;
INSERT INTO referral.absence (member, during, substitute) VALUES ('approval_bob', '[2020-01-01,)', 'approval_doc');
INSERT INTO referral.approval_delegation (from_member, to_member) VALUES ('approval_bob', 'approval_doc');
SET SESSION AUTHORIZATION approval_doc;
SELECT is(public.say(162, 'approve'), 'RF013', 'who asked does not approve as the substitute of an absence, nor by its delegation');
-- who has left
RESET SESSION AUTHORIZATION;
CREATE ROLE approval_gone LOGIN IN ROLE referral_approver;
CREATE ROLE approval_heir LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'approval_gone'), (1, 'approval_heir');
SET SESSION AUTHORIZATION approval_gone;
INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('approval_gone', 'approval_heir', '[2020-01-01,)');
SET SESSION AUTHORIZATION approval_heir;
SELECT is(public.say(160, 'approve'), 'done', 'in the place of a member');
RESET SESSION AUTHORIZATION;
DELETE FROM referral.organization_member WHERE login = 'approval_gone';
SET SESSION AUTHORIZATION approval_heir;
SELECT is(public.say(160, 'approve'), 'RF003', 'not of one who has left the organisation, though the login has the role elsewhere');
RESET SESSION AUTHORIZATION;

-- 17. History that is entered late has the times at which it happened

CREATE ROLE approval_import LOGIN IN ROLE referral_application, referral_coordinator, referral_integration, referral_approver;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'approval_import');
SELECT public.activate('[{"name": "own", "applies_when": "network_status = ''out_of_network''", "watched": ["payer_id"], "due": "1 day", "valid_for": "10 days"}]') \g /dev/null
SET SESSION AUTHORIZATION approval_import;
SET referral.org_id = 1;
SET referral.occurred_at = '2026-01-05 09:00+00';
SET referral.actor = 'ann';
INSERT INTO referral.referral (referral_id, patient_id, specialty, network_status, payer_id) VALUES (170, 1, 'cardiology', 'out_of_network', 7), (171, 1, 'cardiology', 'out_of_network', 7);
UPDATE referral.referral SET step = 'validated' WHERE referral_id IN (170, 171);
SELECT referral.open_exception(1, 'clinical_review', 'referral', 170, 170, 'late', 'late', 'low') AS late \gset
SET referral.occurred_at = '2026-01-06 09:00+00';
SET referral.actor = 'bea';
SELECT referral.approve(1, public.last(170)) \g /dev/null
SELECT referral.close_exception(1, :late, 'settled then') \g /dev/null
SELECT is(public.go(170), 'done', 'an approval counts for what happened while it was good');
SELECT is(public.code('SET LOCAL referral.occurred_at = ''2026-01-16 09:00+00''; UPDATE referral.referral SET step = ''ready_to_schedule'' WHERE referral_id = 170'), 'RF004', 'and not for what happened later');
UPDATE referral.referral SET step = 'ready_to_schedule' WHERE referral_id = 170;
RESET referral.occurred_at;
SELECT results_eq('SELECT requested_at, due_at, decided_at, expires_at FROM referral.approval_request WHERE referral_id = 170',
    $$VALUES ('2026-01-05 09:00+00'::timestamptz, '2026-01-06 09:00+00'::timestamptz, '2026-01-06 09:00+00'::timestamptz, '2026-01-16 09:00+00'::timestamptz)$$, 'a request has the times of its events');
SELECT results_eq('SELECT decided_at, took FROM referral.approval_log WHERE referral_id = 170', $$VALUES ('2026-01-06 09:00+00'::timestamptz, interval '1 day')$$, 'as has a decision');
SELECT results_eq('SELECT opened_at, resolved_at FROM referral.exception_item WHERE referral_id = 170 AND code = ''late''', $$VALUES ('2026-01-05 09:00+00'::timestamptz, '2026-01-06 09:00+00'::timestamptz)$$, 'and an exception');
SELECT results_eq('SELECT min(decided_at) FROM referral.routing_decision WHERE entity = ''referral'' AND entity_id = 170', $$VALUES ('2026-01-05 09:00+00'::timestamptz)$$, 'and where it was sent');
SELECT is(public.code('SELECT referral.approve(1, public.last(171))'), 'done', 'somebody decides today about what was asked then');
RESET referral.actor;
SET SESSION AUTHORIZATION approval_sue;
SET referral.occurred_at = '2026-01-06 09:00+00';
SELECT is(public.say(171, 'approve'), 'RF003', 'nobody else says that he decided at another time');
RESET referral.occurred_at;
SELECT is(public.code('SELECT referral.event_time()'), 'done', 'without that it is now');
RESET SESSION AUTHORIZATION;

-- 18. A table of one's own whose rows are followed as referrals are

SELECT public.activate('[{"name": "refund", "entity": "refund", "transitions": ["go"], "applies_when": "amount > 500", "watched": ["amount"]}]') \g /dev/null
CREATE TRIGGER work AFTER INSERT OR UPDATE OR DELETE ON public.refund FOR EACH ROW EXECUTE FUNCTION referral.work('refund', 'refund_id');
INSERT INTO public.refund (refund_id, amount) VALUES (10, 1000), (11, 1000);
SELECT is((SELECT count(*) FROM referral.approval_request WHERE entity = 'refund' AND entity_id IN (10, 11) AND status = 'pending'), 2::bigint, 'asks by itself');
SELECT is(public.code('UPDATE public.refund SET step = ''b'' WHERE refund_id = 10'), 'RF004', 'waits');
UPDATE public.refund SET amount = 400, step = 'b' WHERE refund_id = 10;
UPDATE public.refund SET amount = 1000 WHERE refund_id = 10;
SELECT is((SELECT status FROM referral.exception_item WHERE entity = 'refund' AND entity_id = 10 AND code = 'approval_missed'), 'open', 'and is found out when it went through with other values');
SELECT public.activate('[{"name": "refund", "entity": "refund", "transitions": ["go"], "applies_when": "amount > 500", "quorum": 2}]') \g /dev/null
SELECT public.renew(1000) \g /dev/null
SELECT is((SELECT quorum FROM referral.approval_request WHERE entity = 'refund' AND entity_id = 11 AND status = 'pending'), 2, 'tick() asks anew about its rows, too');
