-- Handoffs: released with a summary and a checklist, accepted or returned, and somebody answers for the item all the while.
SELECT plan(89);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE handing_ann LOGIN IN ROLE referral_coordinator;
CREATE ROLE handing_bob LOGIN IN ROLE referral_scheduler;
CREATE ROLE handing_cy LOGIN IN ROLE referral_scheduler;
CREATE ROLE handoff_lee LOGIN IN ROLE referral_coordinator;
CREATE ROLE handoff_ai LOGIN IN ROLE referral_scheduler;
CREATE ROLE handoff_feed LOGIN IN ROLE referral_integration, referral_coordinator;
CREATE ROLE handoff_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE handoff_approver LOGIN IN ROLE referral_rule_approver;
CREATE ROLE handoff_other LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'handing_ann', 'user'), (1, 'handing_bob', 'user'), (1, 'handing_cy', 'user'), (1, 'handoff_lee', 'user'), (1, 'handoff_ai', 'ai'),
    (1, 'handoff_feed', 'system'), (1, 'handoff_analyst', 'user'), (2, 'handoff_other', 'user');
INSERT INTO referral.queue_member (org_id, queue_id, member, is_lead, capacity)
SELECT 1, q.queue_id, m.member, m.is_lead, m.capacity
FROM (VALUES ('intake', 'handing_ann', false, NULL::integer), ('intake', 'handoff_lee', true, NULL), ('intake', 'handoff_feed', false, NULL),
             ('scheduling', 'handing_bob', false, NULL), ('scheduling', 'handing_cy', false, 1), ('scheduling', 'handoff_ai', false, NULL)) m (queue, member, is_lead, capacity)
JOIN referral.queue q ON q.org_id = 1 AND q.name = m.queue;
UPDATE referral.queue SET manager = 'handoff_lee' WHERE org_id = 1 AND name = 'intake';
INSERT INTO referral.patient (org_id, patient_id, family) VALUES (1, 1, 'Mills');
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, urgency) SELECT 1, n, 1, 'cardiology', (CASE n WHEN 9 THEN 'urgent' ELSE 'routine' END)::referral.urgency FROM generate_series(1, 12) n;
-- where the routing sends new ones does not matter here
CREATE FUNCTION public.item(referral bigint) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
    'SELECT work_item_id FROM referral.work_item WHERE org_id = 1 AND referral_id = $1 AND is_primary AND closed_at IS NULL';
SELECT referral.move_item(1, public.item(n), q.queue_id, 'test') FROM generate_series(1, 12) n, referral.queue q WHERE q.org_id = 1 AND q.name = 'intake' \g /dev/null
CREATE FUNCTION public.last_handoff(referral bigint) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
    'SELECT max(handoff_id) FROM referral.handoff WHERE org_id = 1 AND referral_id = $1';
CREATE VIEW public.at AS SELECT i.referral_id, q.name AS queue, i.status::text, i.owner, o.accountable, o.waiting_for, c.owner AS referral_owner
FROM referral.work_item i JOIN referral.queue q USING (org_id, queue_id) JOIN referral.work_owner o USING (org_id, work_item_id)
JOIN referral.referral_case c ON c.org_id = i.org_id AND c.referral_id = i.referral_id;
GRANT SELECT ON public.at TO PUBLIC;

-- 1. Handing over

SET SESSION AUTHORIZATION handing_ann;
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(1), 'scheduling', 'called', 'ready')$$), 'RF001', 'what nobody has is not handed over');
SELECT referral.claim(1, public.item(n)) FROM generate_series(1, 10) n \g /dev/null
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(1), 'scheduling', ' ', 'ready')$$), 'RF005', 'without a summary nothing goes');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(1), 'scheduling', 'called', NULL)$$), 'RF005', 'nor without a reason');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(1), 'nowhere', 'called', 'ready')$$), 'RF019', 'a queue that is not there');
SELECT is(public.code($$SELECT referral.hand_over(1, 99999, 'scheduling', 'called', 'ready')$$), 'RF019', 'an item that is not there');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(1), 'intake', 'called', 'ready')$$), 'RF020', 'to where it is');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(1), 'scheduling', 'called', 'ready', '{}')$$), 'RF020', 'a checklist is a list');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(1), 'scheduling', 'called', 'ready', '[{"item": 1}]')$$), 'RF020', 'of items with a name');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(1), 'scheduling', 'called', 'ready', '[{"item": "x", "done": "yes"}]')$$), 'RF020', 'that are done or not');
SELECT results_eq($$SELECT * FROM referral.handoff_steps(1, public.item(1), 'scheduling')$$,
    $$VALUES ('The patient is known', true, true), ('The authorization is there, or none is needed', true, true), ('The specialty is known', true, true),
             ('The patient knows what comes next', false, NULL::boolean)$$, 'handoff_steps() tells what is wanted, and what the database sees for itself');
SELECT is(public.last_handoff(1), NULL, 'nothing has happened yet');
SELECT referral.hand_over(1, public.item(1), 'scheduling', 'Called, wants mornings.', 'complete', '[{"item": "The patient knows what comes next", "done": true}, {"item": "Interpreter asked", "done": false}]') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT queue, status, owner, accountable, waiting_for, referral_owner FROM public.at WHERE referral_id = 1',
    $$VALUES ('scheduling', 'requested', NULL, 'handing_ann', 'queue:scheduling', NULL)$$, 'it waits in the other queue; who handed it over answers for it');
SELECT results_eq($$SELECT h.status, h.from_owner, h.released_by, f.name, t.name, h.summary, h.reason, h.by_rule, h.is_complete, h.accept_by = h.released_at + interval '8 hours'
    FROM referral.handoff h JOIN referral.queue f ON f.queue_id = h.from_queue_id JOIN referral.queue t ON t.queue_id = h.to_queue_id WHERE h.referral_id = 1$$,
    $$VALUES ('released', 'handing_ann', 'handing_ann', 'intake', 'scheduling', 'Called, wants mornings.', 'complete', false, false, true)$$, 'all of it is on record');
SELECT results_eq($$SELECT x ->> 'item', x -> 'done', x ->> 'by' FROM referral.handoff h, jsonb_array_elements(h.checklist) x WHERE h.referral_id = 1$$,
    $$VALUES ('The patient is known', 'true'::jsonb, 'rule'), ('The authorization is there, or none is needed', 'true', 'rule'), ('The specialty is known', 'true', 'rule'),
             ('The patient knows what comes next', 'true', 'handing_ann'), ('Interpreter asked', 'false', NULL)$$, 'with the checklist: what rules want, what else was stated, and who says so');
SELECT results_eq($$SELECT accountable, from_queue, to_queue, overdue, is_complete FROM referral.handoff_waiting$$,
    $$VALUES ('handing_ann', 'intake', 'scheduling', false, false)$$, 'handoff_waiting tells who waits for whom');
SELECT results_eq($$SELECT overdue, waiting FROM (SELECT set_config('referral.as_of', (now() + interval '9 hours')::text, false)) s, referral.handoff_waiting$$,
    $$VALUES (true, interval '9 hours' - (SELECT released_at - now() FROM referral.handoff))$$, 'nine hours later it is overdue');
RESET referral.as_of;
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'nobody''s referral is without somebody who answers for it');
SET SESSION AUTHORIZATION handing_ann;
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(1), 'review', 'x', 'y')$$), 'RF001', 'what waits to be accepted is not handed on');
SELECT is(public.code($$UPDATE referral.handoff SET status = 'accepted' WHERE referral_id = 1$$), '42501', 'nobody writes it but the functions');

-- the database sees for itself
RESET SESSION AUTHORIZATION;
UPDATE referral.referral SET authorization_required = true WHERE org_id = 1 AND referral_id = 2;
SET SESSION AUTHORIZATION handing_ann;
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(2), 'scheduling', 'called', 'ready', '[{"item": "The authorization is there, or none is needed", "done": true}]')$$),
    'RF002', 'what the database sees for itself is not stated away');
SELECT is((SELECT detail FROM public.refused($$SELECT referral.hand_over(1, public.item(2), 'scheduling', 'called', 'ready')$$)),
    'Not done: "The authorization is there, or none is needed".', 'the detail tells what is not done');

-- 2. Accepting

SELECT is(public.code('SELECT referral.accept_handoff(1, public.last_handoff(1))'), 'RF003', 'who does not work on the queue accepts nothing');
SELECT is(public.code('SELECT referral.return_handoff(1, public.last_handoff(1), ''x'')'), 'RF003', 'and returns nothing');
SET SESSION AUTHORIZATION handoff_ai;
SELECT is(public.code('SELECT referral.accept_handoff(1, public.last_handoff(1))'), 'RF003', 'a model accepts nothing');
SELECT is(public.code('SELECT referral.return_handoff(1, public.last_handoff(1), ''x'')'), 'RF003', 'and returns nothing');
SET SESSION AUTHORIZATION handoff_other;
SELECT is(public.code('SELECT referral.accept_handoff(1, public.last_handoff(1))'), 'RF019', 'another organisation does not see it');
SET SESSION AUTHORIZATION handing_bob;
SELECT is(public.code('SELECT referral.accept_handoff(1, 99999)'), 'RF019', 'one that is not there');
SELECT ok(referral.accept_handoff(1, public.last_handoff(1)) > now(), 'accepting it tells until when it is his');
SELECT is(public.code('SELECT referral.accept_handoff(1, public.last_handoff(1))'), 'RF001', 'it is accepted once');
SELECT is(public.code('SELECT referral.withdraw_handoff(1, public.last_handoff(1), ''x'')'), 'RF001', 'and no longer withdrawn');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT queue, status, owner, accountable, waiting_for, referral_owner FROM public.at WHERE referral_id = 1',
    $$VALUES ('scheduling', 'in-progress', 'handing_bob', 'handing_bob', NULL, 'handing_bob')$$, 'now he answers for it');
SELECT results_eq('SELECT status, accepted_by FROM referral.handoff WHERE referral_id = 1', $$VALUES ('accepted', 'handing_bob')$$, 'that is on record');
SELECT is_empty('SELECT * FROM referral.handoff_waiting', 'nobody waits any more');
SELECT results_eq($$SELECT j.changes #>> '{verb,1}' FROM referral.journal j WHERE j.entity = 'work_item' AND j.entity_id = public.item(1) AND j.changes ? 'verb' ORDER BY j.journal_id DESC LIMIT 3$$,
    $$VALUES ('claim'), ('hand_over'), ('claim')$$, 'the journal of the item has each verb');

-- a claim accepts as well
SET SESSION AUTHORIZATION handing_ann;
SELECT referral.hand_over(1, public.item(3), 'scheduling', 'called', 'complete') \g /dev/null
SET SESSION AUTHORIZATION handing_cy;
SELECT is((SELECT referral_id FROM referral.claim_next(1, 'scheduling')), 3::bigint, 'claim_next() takes what was handed over like any other');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT h.status, h.accepted_by, i.handed_over_by FROM referral.handoff h JOIN referral.work_item i USING (org_id, work_item_id) WHERE h.referral_id = 3',
    $$VALUES ('accepted', 'handing_cy', NULL)$$, 'and so accepts it');
SET SESSION AUTHORIZATION handing_ann;
SELECT referral.hand_over(1, public.item(4), 'scheduling', 'called', 'complete') \g /dev/null
SET SESSION AUTHORIZATION handing_cy;
SELECT is(public.code('SELECT referral.accept_handoff(1, public.last_handoff(4))'), 'RF026', 'who has as many as he may accepts no more');

-- 3. Returning

SELECT is(public.code('SELECT referral.return_handoff(1, public.last_handoff(4), '''')'), 'RF005', 'it is returned with a reason');
SELECT referral.return_handoff(1, public.last_handoff(4), 'no phone number') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT queue, status, owner, accountable, referral_owner FROM public.at WHERE referral_id = 4',
    $$VALUES ('intake', 'in-progress', 'handing_ann', 'handing_ann', 'handing_ann')$$, 'it goes back to who had it');
SELECT results_eq('SELECT status, returned_by, return_reason, accepted_at FROM referral.handoff WHERE referral_id = 4', $$VALUES ('returned', 'handing_cy', 'no phone number', NULL::timestamptz)$$, 'the record tells why');
SET SESSION AUTHORIZATION handing_bob;
SELECT is(public.code('SELECT referral.return_handoff(1, public.last_handoff(4), ''again'')'), 'RF001', 'it is returned once');
SELECT is(public.code('SELECT referral.return_handoff(1, public.last_handoff(3), ''not mine'')'), 'RF003', 'what somebody has accepted only he returns');
SELECT lives_ok('SELECT referral.return_handoff(1, public.last_handoff(1), ''wrong specialty'')', 'who has accepted it may find that it has to go back');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT h.status, h.accepted_at IS NOT NULL, a.owner FROM referral.handoff h JOIN public.at a USING (referral_id) WHERE referral_id = 1',
    $$VALUES ('returned', true, 'handing_ann')$$, 'then it was accepted and returned');
SELECT results_eq($$SELECT what, why FROM referral.returned_cancelled_dna WHERE referral_id IN (1, 4) ORDER BY referral_id$$,
    $$VALUES ('returned', 'wrong specialty'), ('returned', 'no phone number')$$, 'what was returned is in the list');

-- who had it is away: to his queue
SET SESSION AUTHORIZATION handing_ann;
SELECT referral.hand_over(1, public.item(5), 'scheduling', 'called', 'complete') \g /dev/null
INSERT INTO referral.absence (org_id, member, during) VALUES (1, 'handing_ann', tstzrange(now() - interval '1 minute', now() + interval '1 day'));
SET SESSION AUTHORIZATION handing_bob;
SELECT referral.return_handoff(1, public.last_handoff(5), 'no slot') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT queue, status, owner, accountable FROM public.at WHERE referral_id = 5', $$VALUES ('intake', 'ready', NULL, 'handoff_lee')$$,
    'while who had it is away it goes to his queue, and its manager answers for it');
DELETE FROM referral.absence;

-- 4. Withdrawing

SET SESSION AUTHORIZATION handing_ann;
SELECT referral.hand_over(1, public.item(6), 'scheduling', 'called', 'complete') \g /dev/null
SET SESSION AUTHORIZATION handing_bob;
SELECT is(public.code('SELECT referral.withdraw_handoff(1, public.last_handoff(6), ''x'')'), 'RF003', 'who receives it does not withdraw it');
SET SESSION AUTHORIZATION handing_ann;
SELECT is(public.code('SELECT referral.withdraw_handoff(1, public.last_handoff(6), NULL)'), 'RF005', 'it takes a reason');
SELECT lives_ok('SELECT referral.withdraw_handoff(1, public.last_handoff(6), ''one more question'')', 'who handed it over takes it back');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT a.queue, a.status, a.owner, h.status, h.withdrawn_by FROM public.at a JOIN referral.handoff h USING (referral_id) WHERE referral_id = 6',
    $$VALUES ('intake', 'in-progress', 'handing_ann', 'withdrawn', 'handing_ann')$$, 'and has it again');
SET SESSION AUTHORIZATION handoff_lee;
SELECT referral.hand_over(1, public.item(7), 'scheduling', 'she is ill', 'complete') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT h.from_owner, h.released_by, a.accountable FROM referral.handoff h JOIN public.at a USING (referral_id) WHERE referral_id = 7',
    $$VALUES ('handing_ann', 'handoff_lee', 'handoff_lee')$$, 'who leads the queue hands over what another has, and answers for it then');

-- 5. What else ends it

SELECT referral.reassign(1, public.item(7), 'review', 'elsewhere') \g /dev/null
SELECT results_eq('SELECT status FROM referral.handoff WHERE referral_id = 7', $$VALUES ('withdrawn')$$, 'what is put elsewhere is no longer handed over');
SET SESSION AUTHORIZATION handing_ann;
SELECT referral.hand_over(1, public.item(8), 'scheduling', 'called', 'complete') \g /dev/null
RESET SESSION AUTHORIZATION;
UPDATE referral.referral SET state = 'cancelled', status_reason = 'patient_request' WHERE org_id = 1 AND referral_id = 8;
SELECT results_eq('SELECT status FROM referral.handoff WHERE referral_id = 8', $$VALUES ('withdrawn')$$, 'nor what comes to its end');
SELECT is(public.code('SELECT referral.accept_handoff(1, public.last_handoff(8))'), 'RF001', 'it cannot be accepted then');

-- 6. By rule

SELECT is(referral.hand_over_by_rule(referral.lock_item(1, public.item(11)), (SELECT queue_id FROM referral.queue WHERE org_id = 1 AND name = 'review'), 'a rule'), NULL, 'what nobody has a rule moves');
SELECT results_eq('SELECT queue, status FROM public.at WHERE referral_id = 11', $$VALUES ('review', 'ready')$$, 'without a handoff');
SELECT isnt(referral.hand_over_by_rule(referral.lock_item(1, public.item(2)), (SELECT queue_id FROM referral.queue WHERE org_id = 1 AND name = 'scheduling'), 'a rule'), NULL, 'what somebody has is handed over');
SELECT results_eq('SELECT h.by_rule, h.summary, h.is_complete, h.from_owner, a.status, a.accountable FROM referral.handoff h JOIN public.at a USING (referral_id) WHERE referral_id = 2',
    $$VALUES (true, NULL, false, 'handing_ann', 'requested', 'handing_ann')$$, 'whatever the checklist says; who had it answers for it');
SELECT is(referral.hand_over_by_rule(referral.lock_item(1, public.item(2)), (SELECT queue_id FROM referral.queue WHERE org_id = 1 AND name = 'scheduling'), 'a rule'), NULL, 'once');

-- 7. Event time

SET SESSION AUTHORIZATION handoff_feed;
SELECT referral.claim(1, public.item(12)) \g /dev/null
SET referral.occurred_at = '2026-01-05 09:00+00';
SELECT referral.hand_over(1, public.item(12), 'scheduling', 'imported', 'imported') \g /dev/null
RESET referral.occurred_at;
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT released_at, accept_by FROM referral.handoff WHERE referral_id = 12', $$VALUES (timestamptz '2026-01-05 09:00+00', timestamptz '2026-01-05 17:00+00')$$, 'an import tells when it happened');

-- 8. How it goes

UPDATE referral.handoff SET released_at = '2026-03-01 08:00+00', accept_by = '2026-03-01 16:00+00', accepted_at = CASE WHEN accepted_at IS NOT NULL THEN timestamptz '2026-03-01 10:00+00' END,
    returned_at = CASE WHEN returned_at IS NOT NULL THEN timestamptz '2026-03-01 11:00+00' END, withdrawn_at = CASE WHEN withdrawn_at IS NOT NULL THEN timestamptz '2026-03-01 12:00+00' END
WHERE org_id = 1 AND referral_id <> 12;
SELECT results_eq($$SELECT handoffs, waiting, accepted, returned, withdrawn, late, latency_median, latency_p90, returned_percent, complete_percent FROM referral.handoff_latency
    WHERE month = '2026-03-01' AND from_queue = 'intake' AND to_queue = 'scheduling'$$,
    $$VALUES (8::bigint, 1::bigint, 1::bigint, 3::bigint, 3::bigint, 1::bigint, interval '2 hours', interval '2 hours', 75.0, 0.0)$$, 'latency and quality, by month and queues');
SET SESSION AUTHORIZATION handoff_analyst;
SELECT is((SELECT count(*) FROM referral.handoff_latency), 2::bigint, 'analysts see that');
SELECT is(public.code('SELECT summary FROM referral.handoff'), '42501', 'but not what people wrote');
SET SESSION AUTHORIZATION handoff_other;
SELECT is((SELECT count(*) FROM referral.handoff), 0::bigint, 'another organisation sees nothing');
RESET SESSION AUTHORIZATION;

-- 9. The checklist is governed

SELECT is(public.code($$INSERT INTO referral.handoff_checklist (rule_version_id, name, item) SELECT rule_version_id, 'x', 'y' FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'handoff/standard'$$),
    'RF016', 'rules of an active version do not change');
SELECT is(public.code($$WITH v AS (SELECT referral.copy_rule_version(rule_version_id, 'next') AS id FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'handoff/standard')
    INSERT INTO referral.handoff_checklist (rule_version_id, name, item, done_when) SELECT id, 'x', 'y', 'no_such_column' FROM v$$), 'RF011', 'a condition that is none is refused');
CREATE TABLE public.draft AS SELECT referral.copy_rule_version(rule_version_id, 'next') AS id FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'handoff/standard';
SELECT is((SELECT count(*) FROM referral.handoff_checklist JOIN public.draft ON id = rule_version_id), 7::bigint, 'a copy has them all');
INSERT INTO referral.handoff_checklist (rule_version_id, name, to_queue, item, applies_when, scope_org_id)
SELECT id, 'urgent_call', 'review', 'The reviewer was called', 'urgency >= ''urgent''', n FROM public.draft, (VALUES (1)) x (n);
GRANT SELECT ON public.draft TO PUBLIC;
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = (SELECT id FROM public.draft);
SET SESSION AUTHORIZATION handoff_approver;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = (SELECT id FROM public.draft);
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = (SELECT id FROM public.draft);
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION handing_ann;
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(9), 'review', 'called', 'ready')$$), 'RF002', 'a required item that a person has to state');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(9), 'review', 'called', 'ready', '[{"item": "The reviewer was called", "done": false}]')$$), 'RF002', 'and states as not done');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(9), 'review', 'called', 'ready', '[{"item": "The reviewer was called", "done": true}]')$$), 'done', 'or as done');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(10), 'review', 'called', 'ready')$$), 'done', 'a rule is for those to whom it applies');
RESET SESSION AUTHORIZATION;

-- 10. A rule that raises an error never keeps work from going on

SET client_min_messages = error;
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (1, 20, 1, 'cardiology');
SELECT referral.move_item(1, public.item(20), q.queue_id, 'test') FROM referral.queue q WHERE q.org_id = 1 AND q.name = 'intake' \g /dev/null
CREATE FUNCTION public.checklist(name text, rules text, becomes referral.rule_status) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES (checklist.name, 'handoff');
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT s.rule_set_id, true FROM referral.rule_set s WHERE s.name = checklist.name RETURNING rule_version_id INTO v;
    EXECUTE format('INSERT INTO referral.handoff_checklist (rule_version_id, name, item, applies_when, done_when) VALUES ' || rules, v);
    IF becomes IN ('active', 'retired') THEN
        UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
    END IF;
    IF becomes = 'retired' THEN
        UPDATE referral.rule_version SET status = 'retired' WHERE rule_version_id = v;
    END IF;
    RETURN v;
END $$;
SELECT public.checklist('broken_draft', $$(%s, 'x', 'In a draft', '1 / (patient_id - patient_id) > 0', '1 / (patient_id - patient_id) > 0')$$, 'draft') \g /dev/null
SELECT public.checklist('broken_retired', $$(%s, 'x', 'Retired', '1 / (patient_id - patient_id) > 0', '1 / (patient_id - patient_id) > 0')$$, 'retired') \g /dev/null
SET SESSION AUTHORIZATION handing_ann;
SELECT referral.claim(1, public.item(20)) \g /dev/null
SELECT is(public.code($$SELECT * FROM referral.handoff_steps(1, public.item(20), 'review')$$), 'done', 'rules of other than active versions are not asked');
RESET SESSION AUTHORIZATION;
SELECT public.checklist('broken_active', $$(%1$s, 'x', 'Does not apply', '1 / (patient_id - patient_id) > 0', NULL), (%1$s, 'y', 'Nobody knows', NULL, '1 / (patient_id - patient_id) > 0')$$, 'active') \g /dev/null
SET SESSION AUTHORIZATION handing_ann;
SET client_min_messages = error;
SELECT results_eq($$SELECT item, required, done FROM referral.handoff_steps(1, public.item(20), 'review') WHERE item IN ('Does not apply', 'Nobody knows')$$,
    $$VALUES ('Nobody knows', true, NULL::boolean)$$, 'a condition that raises an error does not hold; what the database cannot see a person says');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(20), 'review', 'called', 'ready')$$), 'RF002', 'he has to');
SELECT is(public.code($$SELECT referral.hand_over(1, public.item(20), 'review', 'called', 'ready', '[{"item": "Nobody knows", "done": true}]')$$), 'done', 'and then it goes');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM referral.handoff_rules(i, 'intake', 'review') WHERE item = 'Nobody knows'), 1::bigint, 'a rule that hands over asks the same')
FROM referral.work_item i WHERE i.org_id = 1 AND i.work_item_id = public.item(20);

-- 11. Sent on before anybody accepts it: who handed it over still answers for it

INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) SELECT 1, n, 1, 'cardiology' FROM generate_series(21, 24) n;
CREATE FUNCTION public.queue(name text) RETURNS bigint LANGUAGE sql AS 'SELECT queue_id FROM referral.queue q WHERE q.org_id = 1 AND q.name = $1';
CREATE FUNCTION public.send(referral bigint, queue text) RETURNS bigint LANGUAGE sql AS
    $$SELECT referral.hand_over_by_rule(referral.lock_item(1, public.item($1)), public.queue($2), 'a rule')$$;
CREATE VIEW public.handed AS
SELECT h.referral_id, string_agg(concat_ws(' ', h.status, 'from', h.from_owner, f.name, 'to', t.name, '- ' || h.summary), ', ' ORDER BY h.handoff_id) AS handoffs
FROM referral.handoff h JOIN referral.queue f ON f.queue_id = h.from_queue_id JOIN referral.queue t ON t.queue_id = h.to_queue_id GROUP BY 1;
SELECT referral.move_item(1, public.item(n), public.queue('intake'), 'test') FROM generate_series(21, 24) n \g /dev/null
SET SESSION AUTHORIZATION handing_ann;
SELECT referral.claim(1, public.item(n)) FROM generate_series(21, 24) n \g /dev/null
SELECT referral.hand_over(1, public.item(21), 'scheduling', 'called', 'ready', '[{"item": "Nobody knows", "done": true}]') \g /dev/null
SET SESSION AUTHORIZATION handoff_lee;
SELECT referral.hand_over(1, public.item(22), 'scheduling', 'she is ill', 'ready', '[{"item": "Nobody knows", "done": true}]') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT public.send(23, 'scheduling') \g /dev/null
SELECT isnt(public.send(n, 'clinical_triage'), NULL, 'what waits to be accepted is handed over anew') FROM generate_series(21, 23) n;
SELECT results_eq('SELECT queue, status, accountable, waiting_for, handoffs FROM public.at JOIN public.handed USING (referral_id) WHERE referral_id BETWEEN 21 AND 23 ORDER BY referral_id',
    $$VALUES ('clinical_triage', 'requested', 'handing_ann', 'queue:clinical_triage',
              'withdrawn from handing_ann intake to scheduling - called, released from handing_ann intake to clinical_triage - called'),
             ('clinical_triage', 'requested', 'handoff_lee', 'queue:clinical_triage',
              'withdrawn from handing_ann intake to scheduling - she is ill, released from handing_ann intake to clinical_triage - she is ill'),
             ('clinical_triage', 'requested', 'handing_ann', 'queue:clinical_triage',
              'withdrawn from handing_ann intake to scheduling, released from handing_ann intake to clinical_triage')$$,
    'by who had it, with his summary; who answered for it does so still');
SELECT is(public.send(21, 'clinical_triage'), NULL, 'once');
SELECT is(public.send(21, 'intake'), NULL, 'where it came from it is not handed over to');
SELECT results_eq('SELECT queue, status, owner, accountable FROM public.at WHERE referral_id = 21', $$VALUES ('intake', 'in-progress', 'handing_ann', 'handing_ann')$$, 'who had it has it again');
SELECT referral.escalate_to_queue(1, public.item(23), 'scheduling', 'late') \g /dev/null
SELECT results_eq('SELECT queue, status, accountable FROM public.at WHERE referral_id = 23', $$VALUES ('scheduling', 'requested', 'handing_ann')$$, 'an escalation keeps it so, too');
SELECT referral.override_route(1, 23, 'scheduling', 'x') \g /dev/null
SELECT results_eq('SELECT queue, status, accountable FROM public.at WHERE referral_id = 23', $$VALUES ('scheduling', 'requested', 'handing_ann')$$, 'and who sends it where it is');
SET SESSION AUTHORIZATION handing_bob;
SELECT referral.accept_handoff(1, public.last_handoff(23)) \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT owner, accountable FROM public.at WHERE referral_id = 23', $$VALUES ('handing_bob', 'handing_bob')$$, 'until somebody accepts it');
SELECT public.send(24, 'closing_the_loop') \g /dev/null
INSERT INTO referral.queue_member (org_id, queue_id, member) VALUES (1, public.queue('manual_triage'), 'handing_cy');
SELECT referral.move_stranded() \g /dev/null
SELECT results_eq('SELECT queue, accountable FROM public.at WHERE referral_id = 24', $$VALUES ('manual_triage', 'handing_ann')$$, 'what waits where nobody is goes where somebody is');
SET SESSION AUTHORIZATION handing_cy;
SELECT referral.return_handoff(1, public.last_handoff(24), 'not ours') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT queue, owner, accountable FROM public.at WHERE referral_id = 24', $$VALUES ('intake', 'handing_ann', 'handing_ann')$$, 'who can return it');
SELECT is_empty('SELECT FROM referral.handoff_waiting w JOIN referral.work_item i USING (org_id, work_item_id) WHERE i.status <> ''requested''', 'only what waits to be accepted has an open handoff');
RESET client_min_messages;

SELECT * FROM finish();
