-- Worklists: queues, who may do what with their items, ranks, and the items that rows have by the rules.
SELECT plan(177);
-- no routing rules: work goes where work_source says; see routing. No approvals either: see approval
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name IN ('routing/standard', 'approval/standard');

CREATE ROLE worklist_coordinator LOGIN;
CREATE ROLE worklist_ann LOGIN;
CREATE ROLE worklist_bob LOGIN;
CREATE ROLE worklist_lead LOGIN;
CREATE ROLE worklist_stranger LOGIN;
CREATE ROLE worklist_model LOGIN;
CREATE ROLE worklist_admin LOGIN;
GRANT referral_coordinator TO worklist_ann, worklist_bob, worklist_lead, worklist_stranger, worklist_model, worklist_coordinator;
GRANT referral_admin TO worklist_admin;
INSERT INTO referral.organization_member (org_id, login, actor_kind)
SELECT 1, r, CASE r WHEN 'worklist_model' THEN 'ai' ELSE 'user' END
FROM unnest(ARRAY['worklist_ann', 'worklist_bob', 'worklist_lead', 'worklist_stranger', 'worklist_model', 'worklist_coordinator', 'worklist_admin']) r;
GRANT USAGE ON SCHEMA public TO PUBLIC;

-- What a statement raises: its SQLSTATE, or 'ok'.
CREATE FUNCTION public.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
-- The detail of what it raises.
CREATE FUNCTION public.detail(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said text;
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
    RETURN said;
END $$;
CREATE FUNCTION public.queue(name text) RETURNS bigint LANGUAGE sql AS
$$ SELECT q.queue_id FROM referral.queue q WHERE q.org_id = 1 AND q.name = $1 $$;
CREATE FUNCTION public.item(bigint) RETURNS SETOF referral.work_item LANGUAGE sql AS
$$ SELECT * FROM referral.work_item i WHERE i.org_id = 1 AND i.work_item_id = $1 $$;

-- 1. Queues

SELECT is((SELECT count(*)::int FROM referral.queue WHERE org_id = 1), 14, 'an organisation has the standard queues');
SELECT is((SELECT count(*)::int FROM referral.queue q WHERE q.org_id = 1 AND q.fallback_queue_id IS DISTINCT FROM public.queue('manual_triage')), 1,
          'all fall back to manual_triage, which falls back to none');
INSERT INTO referral.organization (name) VALUES ('Second');
SELECT is((SELECT count(*)::int FROM referral.queue WHERE org_id = 2), 14, 'so has a new one');
SELECT is(referral.standard_queues(2), 0, 'and is given none twice');
SET referral.org_id = 1;
SELECT is(public.outcome('UPDATE referral.queue SET active = false WHERE org_id = 1 AND name = ''manual_triage'''), 'RF017', 'manual_triage is not switched off');
SELECT is(public.outcome('DELETE FROM referral.queue WHERE org_id = 1 AND name = ''manual_triage'''), 'RF017', 'nor deleted');
SELECT is(public.outcome('UPDATE referral.queue SET name = ''x'' WHERE org_id = 1 AND name = ''manual_triage'''), 'RF017', 'nor renamed');
UPDATE referral.queue SET fallback_queue_id = public.queue('intake') WHERE org_id = 1 AND name = 'scheduling';
SELECT is(public.outcome('UPDATE referral.queue SET fallback_queue_id = public.queue(''scheduling'') WHERE org_id = 1 AND name = ''intake'''), 'RF020', 'no circle of fallbacks');

-- 2. Members, absence, effective queue

INSERT INTO referral.queue_member (queue_id, member, is_lead, capacity) VALUES
    (public.queue('intake'), 'worklist_ann', false, 2), (public.queue('intake'), 'worklist_bob', false, NULL), (public.queue('intake'), 'worklist_lead', true, 5);
SELECT is(public.outcome('INSERT INTO referral.queue_member (queue_id, member) VALUES (public.queue(''intake''), ''worklist_ann'')'), '23P01', 'nobody is a member twice at a time');
SELECT is(referral.effective_queue(1, public.queue('intake')), public.queue('intake'), 'a queue with members does its work');
SELECT is(referral.effective_queue(1, public.queue('scheduling')), public.queue('intake'), 'one without goes to the one that it falls back to');
SELECT is(referral.effective_queue(1, public.queue('review')), public.queue('manual_triage'), 'in the end to manual_triage, whoever is there');
UPDATE referral.queue SET active = false WHERE org_id = 1 AND name = 'intake';
SELECT is(referral.effective_queue(1, public.queue('scheduling')), public.queue('manual_triage'), 'past one that is switched off');
UPDATE referral.queue SET active = true WHERE org_id = 1 AND name = 'intake';
SELECT results_eq($$SELECT member, capacity FROM referral.present_members(1, public.queue('intake')) ORDER BY 1$$,
    $$VALUES ('worklist_ann', 2), ('worklist_bob', NULL), ('worklist_lead', 5)$$, 'who is there');

-- 3. Items follow rows

INSERT INTO referral.patient (family) VALUES ('Doe');
INSERT INTO referral.referral (patient_id, specialty) VALUES (1, 'cardiology');
SELECT results_eq('SELECT entity, entity_id, referral_id, kind, is_primary, status::text, owner, queue_id FROM referral.work_item',
    $$VALUES ('referral', 1::bigint, 1::bigint, 'referral', true, 'ready', NULL::text, public.queue('manual_triage'))$$, 'a new referral has its item');
SELECT is((SELECT due_at FROM referral.work_item WHERE work_item_id = 1), (SELECT min(due_at) FROM referral.sla_clock WHERE entity_id = 1), 'due by the first of its clocks');
SELECT results_eq('SELECT referral_id, owner, accountable, waiting_for FROM referral.work_owner', $$VALUES (1::bigint, NULL::text, 'queue:manual_triage', 'queue:manual_triage')$$,
    'the queue answers for it');
UPDATE referral.queue SET manager = 'the boss' WHERE org_id = 1 AND name = 'manual_triage';
SELECT is((SELECT accountable FROM referral.work_owner), 'the boss', 'or its manager');
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'no referral is nobody''s');
SELECT referral.open_exception(1, 'policy', 'referral', 1, 1, 'odd', 'x', 'high') AS exception_id \gset
SELECT results_eq($$SELECT entity, kind, referral_id, is_primary, queue_id FROM referral.work_item WHERE kind = 'exception'$$,
    $$VALUES ('exception_item', 'exception', 1::bigint, false, public.queue('manual_triage'))$$, 'so has an exception, for the referral');
SELECT referral.close_exception(1, :exception_id, 'settled');
SELECT is((SELECT status::text FROM referral.work_item WHERE kind = 'exception'), 'completed', 'which is closed with it');
SELECT referral.open_exception(1, 'policy', 'referral', 1, 1, 'odd', 'x', 'high') \g /dev/null
SELECT is((SELECT count(*)::int FROM referral.work_item WHERE kind = 'exception'), 2, 'and another is opened when it comes back');
INSERT INTO referral.referral (patient_id, specialty) VALUES (1, 'cardiology') RETURNING referral_id AS other \gset
UPDATE referral.referral SET state = 'cancelled', status_reason = 'no_longer_needed' WHERE referral_id = :other;
SELECT is((SELECT status::text FROM referral.work_item WHERE is_primary AND referral_id = :other), 'completed', 'a referral that has come to its end is no work');
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'and needs nobody');
INSERT INTO referral.referral (patient_id, specialty) VALUES (1, 'oncology') RETURNING referral_id AS gone \gset
DELETE FROM referral.referral WHERE referral_id = :gone;
SELECT is((SELECT status::text FROM referral.work_item WHERE is_primary AND referral_id = :gone), 'cancelled', 'nor is one that was deleted');

-- whatever the rules of work_source are, no referral is nobody's
CREATE FUNCTION public.use_sources(standard boolean, also text DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    next bigint;
BEGIN
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'worklist/standard' RETURNING rule_version_id INTO next;
    IF standard THEN
        INSERT INTO referral.work_source (rule_version_id, name, entity, kind, applies_when, is_primary, queue, referral_column, due_column, title)
        SELECT next, s.name, s.entity, s.kind, s.applies_when, s.is_primary, s.queue, s.referral_column, s.due_column, s.title
        FROM referral.work_source s WHERE s.rule_version_id = (SELECT min(rule_version_id) FROM referral.work_source);
    END IF;
    IF also IS NOT NULL THEN
        INSERT INTO referral.work_source (rule_version_id, name, entity, kind, applies_when, is_primary) VALUES (next, 'also', 'referral', 'referral', also, true);
    END IF;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = next;
END $$;
CREATE FUNCTION public.life() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
    steps text;
BEGIN
    INSERT INTO referral.referral (patient_id, specialty) VALUES (1, 'cardiology') RETURNING referral_id INTO id;
    SELECT string_agg(w.is_primary::text, ',') INTO steps FROM referral.work_item w WHERE w.referral_id = id AND w.closed_at IS NULL;
    UPDATE referral.referral SET specialty = 'oncology', urgency = 'stat' WHERE referral_id = id;
    steps := concat_ws('|', steps, (SELECT string_agg(w.is_primary::text, ',') FROM referral.work_item w WHERE w.referral_id = id AND w.closed_at IS NULL));
    UPDATE referral.referral SET state = 'cancelled', status_reason = 'no_longer_needed' WHERE referral_id = id;
    RETURN concat_ws('|', steps, (SELECT count(*) FROM referral.work_item w WHERE w.referral_id = id AND w.closed_at IS NULL));
END $$;
SELECT is(public.life(), 'true|true|0', 'by the shipped rules a referral has one primary item until its end');
INSERT INTO referral.referral (patient_id, specialty) VALUES (1, 'cardiology') RETURNING referral_id AS early \gset
SELECT public.use_sources(false);
SELECT is(public.life(), 'true|true|0', 'without any rule, too');
INSERT INTO referral.referral (patient_id, specialty) VALUES (1, 'cardiology') RETURNING referral_id AS late \gset
UPDATE referral.referral SET state = 'cancelled', status_reason = 'no_longer_needed' WHERE referral_id = :early;
SELECT is_empty(format('SELECT FROM referral.work_item WHERE referral_id = %s AND closed_at IS NULL', :early), 'what an earlier rule asked for is closed with its row');
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'nothing is left to nobody');
SELECT public.use_sources(false, '1 / priority > 0');
SELECT is(public.life(), 'true|true|0', 'with a rule that fails');
SELECT public.use_sources(false, 'specialty = ''cardiology''');
SELECT is(public.life(), 'true|true|0', 'with one that holds for a while');
SELECT public.use_sources(true, 'specialty = ''cardiology''');
SELECT is(public.life(), 'true|true|0', 'with two that hold at once');
SELECT public.use_sources(false);
SELECT referral.move_item(1, work_item_id, public.queue('intake'), 'test') FROM referral.work_item WHERE referral_id = :late \g /dev/null
SELECT referral.give_item(1, work_item_id, 'worklist_bob', 'test') FROM referral.work_item WHERE referral_id = :late \g /dev/null
SET SESSION AUTHORIZATION worklist_bob;
SELECT ok(referral.complete(1, (SELECT work_item_id FROM referral.work_owner WHERE referral_id = :late), 'x') > 0, 'who completes one while no rule asks for it leaves another');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
UPDATE referral.referral SET state = 'cancelled', status_reason = 'no_longer_needed' WHERE referral_id = :late;
SELECT public.use_sources(true);
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'so still nobody is left alone');
SELECT is(public.outcome(format($$INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'worklist/standard';
    INSERT INTO referral.work_source (rule_version_id, name, entity, kind, is_primary) SELECT max(rule_version_id), 'x', 'referral', %s FROM referral.rule_version$$, k)), 'RF011',
    'the primary item is that of the referral: ' || k) FROM unnest(ARRAY['''referral'', false', '''review'', true']) k;

-- 4. Claiming

UPDATE referral.work_item SET queue_id = public.queue('intake') WHERE work_item_id = 1;
SET SESSION AUTHORIZATION worklist_stranger;
SELECT is(public.outcome('SELECT referral.claim_next(1, ''intake'')'), 'RF003', 'only members claim');
SELECT is(public.outcome('SELECT referral.claim(1, 1)'), 'RF003', 'also what they name');
SELECT is(public.outcome('SELECT referral.claim_next(2, ''intake'')'), 'RF019', 'another organisation''s queue is none');
SELECT is(public.outcome('SELECT referral.claim_next(1, ''nowhere'')'), 'RF019', 'what is no queue is none');
SELECT is(public.outcome('UPDATE referral.work_item SET owner = ''me'''), '42501', 'nobody writes items himself');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
INSERT INTO referral.queue_member (queue_id, member) VALUES (public.queue('intake'), 'worklist_model');
SET SESSION AUTHORIZATION worklist_model;
SELECT is(public.outcome('SELECT referral.claim_next(1, ''intake'')'), 'RF003', 'a model claims nothing, even as a member');
SET SESSION AUTHORIZATION worklist_ann;
SELECT results_eq('SELECT work_item_id, referral_id FROM referral.claim_next(1, ''intake'')', 'VALUES (1::bigint, 1::bigint)', 'a member claims the next');
SELECT results_eq('SELECT owner, accountable, waiting_for FROM referral.work_owner', $$VALUES ('worklist_ann', 'worklist_ann', NULL::text)$$, 'and answers for it');
SELECT is((SELECT owner FROM referral.referral_case WHERE referral_id = 1), 'worklist_ann', 'which the case tells');
SELECT is_empty('SELECT referral.claim_next(1, ''intake'')', 'there is no other');
SELECT is(public.outcome('SELECT referral.claim(1, 1)'), 'ok', 'to claim it again renews the lease');
SET SESSION AUTHORIZATION worklist_bob;
SELECT is(public.outcome('SELECT referral.claim(1, 1)'), 'RF001', 'nobody else can');
SELECT is(public.outcome('SELECT referral.release(1, 1, ''mine now'')'), 'RF003', 'nor release it');
SET SESSION AUTHORIZATION worklist_ann;
SELECT is(public.outcome('SELECT referral.release(1, 1, '' '')'), 'RF005', 'a release needs a reason');
SELECT is(public.outcome('SELECT referral.release(1, 1, ''lunch'')'), 'ok', 'with one it goes');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
SELECT results_eq('SELECT status::text, owner, claimed_at, lease_until FROM public.item(1)', 'VALUES (''ready'', NULL::text, NULL::timestamptz, NULL::timestamptz)', 'others find it');
SELECT results_eq($$SELECT changes #>> '{verb,1}', actor, reason FROM referral.journal WHERE entity = 'work_item' AND entity_id = 1 AND changes ? 'verb' ORDER BY journal_id$$,
    $$VALUES ('open', 'postgres', NULL), ('claim', 'worklist_ann', NULL), ('renew', 'worklist_ann', NULL), ('release', 'worklist_ann', 'lunch')$$, 'each is on record');

-- 5. Capacity, hold, assign, reassign, complete

INSERT INTO referral.work_item (queue_id, entity, entity_id, kind, task, score)
SELECT public.queue('intake'), 'patient', 1, 'task', 'task ' || g, g FROM generate_series(1, 9) g;
SET SESSION AUTHORIZATION worklist_ann;
SELECT is((SELECT count(*)::int FROM referral.claim_next(1, 'intake', 5)), 2, 'no more than the capacity allows');
SELECT is(public.outcome('SELECT referral.claim_next(1, ''intake'')'), 'RF026', 'then he is told so, and sees no empty queue');
SELECT is(public.outcome('SELECT referral.claim_next(1, ''intake'', 0)'), 'ok', 'who wants none needs no room');
SELECT throws_ok('SELECT referral.claim_next(1, ''intake'')', 'RF026', 'the person has as many items of this queue as he may have at a time');
SELECT is(public.detail('SELECT referral.claim_next(1, ''intake'')'), '"worklist_ann" may have 2 items of queue "intake" at a time, and has 2.', 'with who, how many and where');
RESET SESSION AUTHORIZATION;
BEGIN;
INSERT INTO referral.queue_member (org_id, queue_id, member) VALUES (1, public.queue('intake'), current_user);
SELECT results_eq('SELECT task FROM referral.claim_next(1, ''intake'', 3) n JOIN referral.work_item USING (work_item_id) ORDER BY n.score DESC', $$VALUES ('task 7'), ('task 6'), ('task 5')$$, 'several at once, the highest');
ROLLBACK;
SET SESSION AUTHORIZATION worklist_ann;
SELECT min(work_item_id) AS task1 FROM referral.work_item WHERE task = 'task 1' \gset
SELECT min(work_item_id) AS task9 FROM referral.work_item WHERE task = 'task 9' \gset
SELECT is(public.outcome('SELECT referral.claim(1, ' || :task1 || ')'), 'RF026', 'not what he names either');
SELECT is((SELECT string_agg(task, ',' ORDER BY score DESC) FROM referral.work_item WHERE owner = 'worklist_ann'), 'task 9,task 8', 'the highest ranks came first');
SELECT referral.hold(1, :task9, 'patient calls back');
SELECT is(public.outcome('SELECT referral.claim(1, ' || :task1 || ')'), 'ok', 'one on hold leaves room');
SELECT is(public.outcome('SELECT referral.resume(1, ' || :task9 || ')'), 'RF026', 'which it needs when it goes on');
SELECT is(referral.complete(1, :task1, 'done'), NULL, 'a task is done');
SELECT is((SELECT verb FROM public.item(:task1)), 'complete', 'which the record tells from what the database closes');
SELECT is(public.outcome('SELECT referral.complete(1, ' || :task1 || ', ''again'')'), 'RF001', 'once');
SELECT is(public.outcome('SELECT referral.resume(1, ' || :task9 || ')'), 'ok', 'now there is room');
SELECT is(public.outcome('SELECT referral.assign(1, ' || :task9 || ', ''worklist_bob'', ''you'')'), 'RF003', 'a member does not assign');
SET SESSION AUTHORIZATION worklist_lead;
SELECT is(public.outcome('SELECT referral.assign(1, ' || :task9 || ', ''worklist_stranger'', ''you'')'), 'RF003', 'a lead does, but only to members');
SELECT is(public.detail('SELECT referral.assign(1, ' || :task9 || ', ''worklist_stranger'', ''you'')'),
    '"worklist_stranger" is neither a member of queue "intake" now, nor the substitute of one who is absent.', 'which names the one it is about');
SELECT is(public.outcome('SELECT referral.assign(1, ' || :task9 || ', ''worklist_bob'', ''you'')'), 'ok', 'to one of them');
SELECT is((SELECT owner FROM public.item(:task9)), 'worklist_bob', 'who has it then');
SELECT is(public.outcome('SELECT referral.reassign(1, ' || :task9 || ', ''scheduling'', ''there'')'), 'ok', 'a lead sends it to another queue');
SELECT results_eq('SELECT queue_id, owner, status::text FROM public.item(' || :task9 || ')', $$VALUES (public.queue('intake'), NULL::text, 'ready')$$,
    'where nobody is there, to the one that it falls back to');
SET SESSION AUTHORIZATION worklist_bob;
SELECT is(public.outcome('SELECT referral.claim(1, 1)'), 'ok', 'an item of a referral');
SELECT isnt(referral.complete(1, 1, 'checked'), NULL, 'is completed, and followed by the next');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'since the referral has not come to its end');

-- 6. Leases, absence, rebalancing

SET SESSION AUTHORIZATION worklist_bob;
SELECT referral.claim(1, :task9) \g /dev/null
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
SELECT is(referral.reclaim_expired(now() + interval '7 hours'), 0::bigint, 'within the lease nothing is taken back');
CALL referral.tick(now() + interval '9 hours');
SELECT is((SELECT count(*)::int FROM referral.work_item WHERE owner IS NOT NULL AND closed_at IS NULL), 0, 'tick() takes back what is over');
SET SESSION AUTHORIZATION worklist_ann;
SELECT is((SELECT count(*)::int FROM referral.claim_next(1, 'intake', 2)), 2, 'and others find it');
SELECT is(public.outcome('INSERT INTO referral.absence (member, during) VALUES (''worklist_bob'', tstzrange(now(), NULL))'), 'RF003', 'nobody notes the absence of others');
INSERT INTO referral.absence (member, during, substitute) VALUES ('worklist_ann', tstzrange(now() - interval '1 hour', NULL), 'worklist_stranger');
SELECT is(public.outcome('SELECT referral.rebalance(1, ''intake'')'), 'RF003', 'nor does a member rebalance');
SET SESSION AUTHORIZATION worklist_lead;
SELECT results_eq('SELECT from_member, to_member, why FROM referral.rebalance(1, ''intake'')',
    $$VALUES ('worklist_ann', 'worklist_stranger', 'absent'), ('worklist_ann', 'worklist_stranger', 'absent')$$, 'the substitute gets what an absent one has');
SELECT is_empty('SELECT * FROM referral.rebalance(1, ''intake'')', 'once');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
UPDATE referral.queue_member SET capacity = 1 WHERE member = 'worklist_ann';
SET SESSION AUTHORIZATION worklist_lead;
SELECT is((SELECT count(*)::int FROM referral.rebalance(1, 'intake') WHERE from_member = 'worklist_stranger' AND why = 'overloaded'), 1, 'who has too many gives one away');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;

-- people who leave, and queues without people
INSERT INTO referral.queue (name) VALUES ('annex');
INSERT INTO referral.queue_member (queue_id, member) VALUES (public.queue('annex'), 'worklist_bob');
INSERT INTO referral.work_item (queue_id, entity, entity_id, kind, task) SELECT public.queue('annex'), 'patient', 1, 'task', 'left ' || g FROM generate_series(1, 4) g;
SELECT array_agg(work_item_id ORDER BY task) AS left FROM referral.work_item WHERE task LIKE 'left _' \gset
CREATE VIEW public.left AS SELECT string_agg(q.name || ' ' || w.status || coalesce(' ' || w.owner, ''), ', ' ORDER BY w.task) AS items
FROM referral.work_item w JOIN referral.queue q USING (org_id, queue_id) WHERE w.task LIKE 'left _';
SET SESSION AUTHORIZATION worklist_bob;
SELECT referral.claim(1, u) FROM unnest((:'left'::bigint[])[1:3]) u \g /dev/null
SELECT referral.hold(1, (:'left'::bigint[])[1], 'waits') \g /dev/null
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
CALL referral.tick();
SELECT is((TABLE public.left), 'annex on-hold worklist_bob, annex in-progress worklist_bob, annex in-progress worklist_bob, annex ready', 'who works there keeps what he has, and what waits there waits there');
UPDATE referral.queue_member SET during = tstzrange(now() - interval '2 days', now() - interval '1 day') WHERE queue_id = public.queue('annex');
SET SESSION AUTHORIZATION worklist_bob;
SELECT is(public.outcome(format('SELECT referral.claim(1, %s)', (:'left'::bigint[])[2])), 'RF003', 'who has left does not renew his lease');
SELECT is(public.outcome(format('SELECT referral.release(1, %s, ''I go'')', (:'left'::bigint[])[2])), 'ok', 'but he may give it back');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
SELECT is((TABLE public.left), 'annex on-hold worklist_bob, manual_triage ready, annex in-progress worklist_bob, annex ready', 'to where somebody finds it');
SELECT is(referral.reclaim_held(), 1::bigint, 'what he had set aside is taken back');
UPDATE referral.work_item SET lease_until = now() - interval '1 minute' WHERE task = 'left 3';
SELECT is(referral.reclaim_expired(), 1::bigint, 'what he has, when the lease is over');
SELECT is(referral.move_stranded(), 1::bigint, 'and what nobody there can claim is moved on');
SELECT is((TABLE public.left), 'manual_triage ready, manual_triage ready, manual_triage ready, manual_triage ready', 'so nothing is left where nobody is');
SELECT is(referral.move_stranded(), 0::bigint, 'once');
UPDATE referral.work_item SET queue_id = public.queue('annex'), status = 'requested', handed_over_by = 'worklist_ann' WHERE task = 'left 4';
UPDATE referral.queue_member SET during = tstzrange(now(), NULL) WHERE queue_id = public.queue('annex');
UPDATE referral.queue SET active = false WHERE name = 'annex';
CALL referral.tick();
SELECT results_eq('SELECT queue_id, status::text, handed_over_by FROM referral.work_item WHERE task = ''left 4''', $$VALUES (public.queue('manual_triage'), 'requested', 'worklist_ann')$$,
    'what was handed over to a queue that is switched off waits where it falls back to');

-- models, and people who are absent

INSERT INTO referral.queue (name) VALUES ('robots');
INSERT INTO referral.queue_member (queue_id, member, is_lead) VALUES (public.queue('robots'), 'worklist_model', false), (public.queue('robots'), 'worklist_lead', true);
INSERT INTO referral.work_item (queue_id, entity, entity_id, kind, task) SELECT public.queue('robots'), 'patient', 1, 'task', 'robot ' || g FROM generate_series(1, 5) g;
SELECT array_agg(work_item_id ORDER BY task) AS robot FROM referral.work_item WHERE task LIKE 'robot _' \gset
SELECT is(referral.is_model(1, 'worklist_model'), true, 'a model is known by its login');
SELECT is(referral.is_model(1, 'worklist_lead'), false, 'a person is none');
SELECT results_eq('SELECT member FROM referral.present_members(1, public.queue(''robots''))', $$VALUES ('worklist_lead')$$, 'a model does not count as somebody who is there');
SET SESSION AUTHORIZATION worklist_lead;
SELECT is(public.outcome(format('SELECT referral.assign(1, %s, ''worklist_model'', ''you'')', (:'robot'::bigint[])[1])), 'RF003', 'nobody gives it work');
SELECT is((SELECT count(*)::int FROM referral.claim_next(1, 'robots', 2)), 2, 'people claim');
SELECT referral.hold(1, (:'robot'::bigint[])[1], 'waits') \g /dev/null
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
INSERT INTO referral.absence (member, during) VALUES ('worklist_lead', tstzrange(now(), NULL));
SELECT is(referral.effective_queue(1, public.queue('robots')), public.queue('manual_triage'), 'a queue where only a model is takes no work');
SELECT is(referral.queue_for(1, 'robots'), public.queue('manual_triage'), 'by its name either');
SELECT is(referral.pick_member(1, public.queue('robots'), NULL), NULL, 'nobody is there who could get it');
SET SESSION AUTHORIZATION worklist_lead;
SELECT is(public.outcome('SELECT referral.claim_next(1, ''robots'')'), 'RF003', 'who is absent claims nothing');
SELECT is(public.outcome(format('SELECT referral.claim(1, %s)', (:'robot'::bigint[])[3])), 'RF003', 'nothing that he names');
SELECT is(public.outcome(format('SELECT referral.claim(1, %s)', (:'robot'::bigint[])[2])), 'RF003', 'and does not renew what he has');
SELECT is(public.outcome(format('SELECT referral.resume(1, %s)', (:'robot'::bigint[])[1])), 'RF003', 'nor does it go on');
SELECT is(public.outcome(format('SELECT referral.assign(1, %s, ''worklist_lead'', ''me'')', (:'robot'::bigint[])[3])), 'RF003', 'nobody gives him anything');
SELECT is(public.outcome(format('SELECT referral.release(1, %s, ''I am away'')', (:'robot'::bigint[])[2])), 'ok', 'but he gives back what he has');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
SELECT referral.reclaim_held() \g /dev/null
SELECT is((SELECT owner FROM public.item((:'robot'::bigint[])[1])), 'worklist_lead', 'what he has set aside is still his');
SET SESSION AUTHORIZATION worklist_admin;
SELECT results_eq('SELECT from_member, to_member FROM referral.rebalance(1, ''robots'')', $$VALUES ('worklist_lead', NULL::text)$$, 'rebalance() gives nothing to a model');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
UPDATE referral.absence SET substitute = 'worklist_model' WHERE member = 'worklist_lead';
INSERT INTO referral.absence (member, during, substitute) VALUES ('worklist_stranger', tstzrange(now(), NULL), 'worklist_bob');
SELECT is_empty('SELECT FROM referral.present_members(1, public.queue(''robots''))', 'a model stands in for nobody');
SELECT is(referral.queue_membership(1, public.queue('robots'), m), NULL, 'neither for others nor for itself: ' || m) FROM unnest(ARRAY['worklist_model']) m;
SELECT is((SELECT count(*)::int FROM referral.present_members(1, public.queue('intake')) WHERE member IN ('worklist_stranger', 'worklist_model')), 0, 'nor does who is absent himself');
UPDATE referral.work_item SET status = 'on-hold', owner = 'worklist_model', queue_id = public.queue('robots') WHERE task = 'robot 4';
SELECT is(referral.reclaim_held(), 1::bigint, 'what a model has all the same is taken back');
UPDATE referral.work_item SET status = 'in-progress', owner = 'worklist_model', queue_id = public.queue('robots') WHERE task = 'robot 4';
SET SESSION AUTHORIZATION worklist_admin;
SELECT results_eq('SELECT from_member, to_member FROM referral.rebalance(1, ''robots'')', $$VALUES ('worklist_model', NULL::text)$$, 'or given to others');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
DELETE FROM referral.absence WHERE member IN ('worklist_lead', 'worklist_stranger');
SELECT is(public.outcome('UPDATE referral.queue SET manager = ''worklist_model'' WHERE org_id = 1 AND name = ''robots'''), 'RF003', 'a model does not answer for a queue');
UPDATE referral.work_item SET escalated_to = 'referral_coordinator' WHERE task = 'robot 5';
INSERT INTO referral.absence (member, during) VALUES ('worklist_stranger', tstzrange(now(), NULL));
SET SESSION AUTHORIZATION worklist_stranger;
SELECT is(public.outcome(format('SELECT referral.claim(1, %s)', (:'robot'::bigint[])[5])), 'RF003', 'who is absent claims nothing for his role either');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
-- an application that names a model
CREATE ROLE worklist_application LOGIN IN ROLE referral_application, referral_coordinator;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'worklist_application');
SET SESSION AUTHORIZATION worklist_application;
SET referral.org_id = 1;
SET referral.actor = 'worklist_model';
SELECT is(public.outcome('SELECT referral.claim_next(1, ''robots'')'), 'RF003', 'no application claims for a model');
SELECT is(public.outcome(format('SELECT referral.claim(1, %s)', (:'robot'::bigint[])[5])), 'RF003', 'whatever its role');
SET referral.actor = 'worklist_lead';
SELECT is((SELECT count(*)::int FROM referral.claim_next(1, 'robots')), 1, 'for a person it does');
RESET referral.actor;
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;

-- bounds

SELECT is(public.outcome(format('UPDATE referral.queue SET lease = %L WHERE name = ''robots''', l)), 'RF020', 'no lease of ' || l)
FROM unnest(ARRAY['59 seconds', '-1 hour', '91 days', '300000 years', '100000 years -36000000 days', '1 month', '2 days -1 hour']) l;
SELECT is(public.outcome(format('UPDATE referral.queue SET lease = %L WHERE name = ''robots''', l)), 'ok', 'but one of ' || l) FROM unnest(ARRAY['1 minute', '90 days']) l;
SET SESSION AUTHORIZATION worklist_lead;
SELECT is(public.outcome(format('SELECT referral.claim_next(1, ''robots'', %s)', n)), 'RF020', 'nobody claims ' || n) FROM unnest(ARRAY[-1, 1001, 2147483647]) n;
SELECT is(public.outcome(format('SELECT referral.claim_next(1, ''robots'', %s)', n)), 'ok', 'but ' || n) FROM unnest(ARRAY[0, 1000]) n;
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
SELECT is(public.outcome(format('SELECT referral.%I(now(), -1)', f)), 'RF020', f || '() takes no number below 0')
FROM unnest(ARRAY['reclaim_expired', 'reclaim_held', 'move_stranded', 'expire_approvals']) f;
SELECT is(public.outcome('SELECT referral.standard_queues(99)'), 'RF019', 'no queues for an organisation that is not there');

-- 7. Ranks

INSERT INTO referral.referral (patient_id, specialty, urgency) VALUES (1, 'cardiology', 'stat') RETURNING referral_id AS stat \gset
SELECT work_item_id AS stat_item FROM referral.work_item WHERE referral_id = :stat AND is_primary \gset
SELECT is((SELECT sum(points) FROM referral.explain_rank(1, :stat_item, '2027-03-01Z')), referral.rank_score(1, :stat_item, '2027-03-01Z'), 'what is explained sums up to the score');
SELECT is((SELECT points FROM referral.explain_rank(1, :stat_item) WHERE factor = 'stat'), 1000.000000, 'each rule with its points');
SELECT is((SELECT score FROM public.item(:stat_item)), (SELECT referral.rank_now(i) FROM public.item(:stat_item) i), 'the score is that of the moment');
SELECT referral.rank_score(1, :stat_item, '2027-01-02Z') - referral.rank_score(1, :stat_item, '2027-01-01Z') AS a_day \gset
SELECT is(:a_day, (SELECT sum(points) FROM referral.ranking_factor WHERE kind = 'per_day'), 'a day adds the same to each');
SELECT version AS before FROM public.item(:stat_item) \gset
UPDATE referral.referral SET reason_text = 'x' WHERE referral_id = :stat;
SELECT is((SELECT version FROM public.item(:stat_item)), :before::bigint, 'what the rules do not ask for changes nothing');
UPDATE referral.referral SET network_status = 'out_of_network' WHERE referral_id = :stat;
SELECT is((SELECT count(*)::int FROM referral.explain_rank(1, :stat_item) WHERE factor = 'out_of_network'), 1, 'what they ask for does');
SELECT is((SELECT score FROM public.item(:stat_item)), (SELECT referral.rank_now(i) FROM public.item(:stat_item) i), 'at once');
SELECT is(public.outcome($$INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'ranking/standard';
    INSERT INTO referral.ranking_factor (rule_version_id, name, kind, points, date_field, applies_when) SELECT max(rule_version_id), 'x', 'per_day', 1, 'due_at', 'true' FROM referral.rule_version$$),
    'RF011', 'a rule by the day has no condition');
SELECT clock_id AS clock FROM referral.sla_clock WHERE entity_id = :stat AND stopped_at IS NULL ORDER BY due_at LIMIT 1 \gset
SELECT score AS before FROM public.item(:stat_item) \gset
SELECT referral.extend_clock(1, :clock, '2 hours', 'holiday') \g /dev/null
SELECT isnt((SELECT score FROM public.item(:stat_item)), :before::float8, 'another due time, another rank');

-- 8. Tasks

UPDATE referral.referral SET state = 'validated', network_status = 'in_network' WHERE referral_id = :stat;
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = :stat;
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() - interval '1 hour' WHERE referral_id = :stat;
UPDATE referral.referral SET state = 'no_show' WHERE referral_id = :stat;
SELECT is((SELECT count(*)::int FROM referral.work_item WHERE referral_id = :stat AND task = 'call_after_no_show' AND closed_at IS NULL), 1, 'a state brings its task');
UPDATE referral.referral SET reason_text = 'y', specialty = 'oncology' WHERE referral_id = :stat;
SELECT is((SELECT count(*)::int FROM referral.work_item WHERE referral_id = :stat AND task = 'call_after_no_show'), 1, 'once');
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() + interval '1 day' WHERE referral_id = :stat;
SELECT is((SELECT status::text FROM referral.work_item WHERE referral_id = :stat AND task = 'call_after_no_show'), 'completed', 'which is done when until_when holds');

-- 9. Escalations

CREATE FUNCTION public.escalate(action text, argument text, of bigint) RETURNS void LANGUAGE sql AS
$$ SELECT referral.escalate_work(e) FROM (SELECT 1::bigint AS org_id, 'referral' AS entity, of AS entity_id, 'triage' AS policy, 3 AS level,
                                                 action AS action, argument AS argument, 'Late' AS title) e $$;
SELECT public.escalate('reassign_queue', 'intake', :stat);
SELECT is((SELECT queue_id FROM public.item(:stat_item)), public.queue('intake'), 'an escalation sends the item to another queue');
SELECT public.escalate('assign_role', 'referral_admin', :stat);
SET SESSION AUTHORIZATION worklist_admin;
SELECT is(public.outcome('SELECT referral.claim(1, ' || :stat_item || ')'), 'ok', 'lets a role claim it');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
SELECT public.escalate('open_exception', 'capacity', :stat);
SELECT is((SELECT count(*)::int FROM referral.exception_item WHERE entity_id = :stat AND category = 'capacity' AND code = 'overdue_triage' AND status = 'open'), 1, 'opens an exception');
SELECT public.escalate('reassign_queue', 'intake', :other);
SELECT is((SELECT count(*)::int FROM referral.work_item WHERE entity_id = :other AND kind = 'task' AND closed_at IS NULL), 1, 'and what has no item gets a task');
SELECT is((SELECT array_agg(outcome ORDER BY outcome) FROM (SELECT DISTINCT outcome FROM referral.escalation WHERE outcome = 'failed') o), NULL, 'none has failed');

-- who was called by an escalation sets an item aside and goes on with it, though he does not work on the queue
DELETE FROM referral.absence;
UPDATE referral.work_item SET escalated_to = 'referral_coordinator', status = 'ready', owner = NULL WHERE work_item_id = (:'robot'::bigint[])[5] AND closed_at IS NULL;
SET SESSION AUTHORIZATION worklist_stranger;
SELECT isnt(referral.claim(1, (:'robot'::bigint[])[5]), NULL, 'who was called claims');
SELECT is(public.outcome(format('SELECT referral.hold(1, %s, ''x'')', (:'robot'::bigint[])[5])), 'ok', 'sets aside');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
SELECT referral.reclaim_held() \g /dev/null
SELECT is((SELECT owner FROM referral.work_item WHERE work_item_id = (:'robot'::bigint[])[5]), 'worklist_stranger', 'keeps what he has set aside');
SET SESSION AUTHORIZATION worklist_stranger;
SELECT is(public.outcome(format('SELECT referral.resume(1, %s)', (:'robot'::bigint[])[5])), 'ok', 'and goes on with it');
SELECT is(public.outcome(format('SELECT referral.hold(1, %s, ''x'')', (:'robot'::bigint[])[5])), 'ok', 'or not');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
REVOKE referral_coordinator FROM worklist_stranger;
SELECT referral.reclaim_held() \g /dev/null
SELECT is((SELECT owner FROM referral.work_item WHERE work_item_id = (:'robot'::bigint[])[5]), NULL, 'until he has the role no more');

-- what happened earlier is told with its time
SET referral.occurred_at = '2026-01-05 09:00+00';
INSERT INTO referral.referral (org_id, patient_id, urgency) VALUES (1, 1, 'stat') RETURNING referral_id AS past \gset
RESET referral.occurred_at;
SELECT results_eq(format($$SELECT i.opened_at, d.decided_at FROM referral.work_item i JOIN referral.routing_decision d USING (org_id, routing_decision_id)
                           WHERE i.referral_id = %s AND i.is_primary$$, :past),
    $$VALUES ('2026-01-05 09:00+00'::timestamptz, '2026-01-05 09:00+00'::timestamptz)$$, 'a row of the past is work since then');
SELECT is((SELECT sum(points) FROM referral.explain_rank(1, work_item_id)), referral.rank_score(1, work_item_id), 'ranked as of then') FROM referral.work_item WHERE referral_id = :past AND is_primary;

-- no constraint says so, because each claim would pay for it
SELECT is((SELECT count(*)::int FROM referral.work_item
           WHERE CASE WHEN status >= 'completed' THEN closed_at IS NULL
                      ELSE closed_at IS NOT NULL OR (status IN ('in-progress', 'on-hold')) <> (owner IS NOT NULL) END), 0,
          'who has it, and when it was closed, is in keeping with the status of each item');

-- absences that are called off, and names that nobody has

SET SESSION AUTHORIZATION worklist_ann;
INSERT INTO referral.absence (org_id, member, during) VALUES (1, 'worklist_ann', tstzrange(now() + interval '1 day', now() + interval '2 days')), (1, 'worklist_ann', tstzrange(now() - interval '1 day', now() + interval '1 hour'));
SELECT is(public.outcome('UPDATE referral.absence SET during = ''empty'' WHERE member = ''worklist_ann'''), 'RF020', 'an absence lasts for some time');
SET SESSION AUTHORIZATION worklist_bob;
SELECT is(public.outcome('DELETE FROM referral.absence WHERE member = ''worklist_ann'' AND lower(during) > now()'), 'RF003', 'nobody calls off the absence of others');
SET SESSION AUTHORIZATION worklist_ann;
SELECT is(public.outcome('DELETE FROM referral.absence WHERE member = ''worklist_ann'' AND lower(during) > now()'), 'ok', 'one''s own one does, while it has not begun');
SELECT is(public.outcome('DELETE FROM referral.absence WHERE member = ''worklist_ann'''), 'RF017', 'not when it has');
SET SESSION AUTHORIZATION worklist_admin;
SELECT is(public.outcome('DELETE FROM referral.absence WHERE member = ''worklist_ann'''), 'RF017', 'nor does an administrator');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*)::int FROM referral.absence WHERE member = 'worklist_ann'), 1, 'so it is on record');
SET SESSION AUTHORIZATION worklist_ann;
SELECT is(public.outcome('UPDATE referral.absence SET during = tstzrange(lower(during), now()) WHERE member = ''worklist_ann'''), 'ok', 'it is ended');
RESET SESSION AUTHORIZATION;
SET referral.org_id = 1;
\set said `psql -X -q -v ON_ERROR_STOP=1 -c "SET referral.org_id = 1" -c "BEGIN" -c "INSERT INTO referral.absence (member, during, substitute) VALUES ('worklist_bob', '[2099-01-01,2099-02-01)', 'worklist_bobb')" -c "ROLLBACK" 2>&1`
SELECT alike(:'said'::text, '%WARNING:  nobody in organisation 1 is known as "worklist_bobb"%substitute%', 'a substitute whom nobody knows is told');
SELECT unalike(:'said'::text, '%known as "worklist_bob"%', 'nobody who is known');
\set said `psql -X -q -v ON_ERROR_STOP=1 -c "SET referral.org_id = 1" -c "BEGIN" -c "INSERT INTO referral.queue_member (queue_id, member) VALUES (public.queue('review'), 'worklist_tesa'), (public.queue('review'), 'worklist_admin'), (public.queue('intake'), 'worklist_tesa')" -c "ROLLBACK" 2>&1`
SELECT is((SELECT count(*)::int FROM regexp_matches(:'said'::text, 'WARNING:  nobody in organisation 1 is known as "worklist_tesa"', 'g')), 1, 'so is a member, once');
SELECT unalike(:'said'::text, '%worklist_admin%', 'a login of the organisation is known');
SELECT * FROM finish();
