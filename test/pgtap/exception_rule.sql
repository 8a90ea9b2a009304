-- What exceptions stop, what policies say of them, those that rules open, and where they come from.
SELECT plan(107);
\ir ../lib/refused.sql
-- the rules are asked here by hand; that rows that change ask them is tested with the trigger (worklist.sql)
ALTER TABLE referral.referral DISABLE TRIGGER work;
ALTER TABLE referral.exception_item DISABLE TRIGGER work;
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE exception_rule_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE exception_rule_bot LOGIN IN ROLE referral_integration;
CREATE ROLE exception_rule_nobody LOGIN IN ROLE referral_approver;
CREATE ROLE exception_rule_admin LOGIN IN ROLE referral_admin;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'exception_rule_jane', 'user'), (1, 'exception_rule_bot', 'ai'),
    (1, 'exception_rule_nobody', 'user'), (1, 'exception_rule_admin', 'user');
INSERT INTO referral.patient (org_id, patient_id) VALUES (1, 1), (2, 1);
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, urgency)
SELECT 1, i, 1, 'cardiology', 'urgent' FROM generate_series(10, 29) i;
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (2, 10, 1, 'cardiology');
CREATE FUNCTION public.go(referral bigint, to_state text) RETURNS text LANGUAGE sql AS $$
    SELECT public.code(format('UPDATE referral.referral SET state = %L WHERE org_id = 1 AND referral_id = %s', to_state, referral)) $$;
-- An active version of a rule set of one's own: {"policies": […], "rules": […]}.
INSERT INTO referral.rule_set (name, kind) VALUES ('own', 'exception');
CREATE FUNCTION public.activate(spec jsonb) RETURNS bigint LANGUAGE plpgsql SET client_min_messages = error AS $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'own' RETURNING rule_version_id INTO v;
    INSERT INTO referral.exception_policy (rule_version_id, category, code, severity, blocking, blocks, due, calendar, scope_org_id)
    SELECT v, p.category, p.code, p.severity, p.blocking, p.blocks, p.due, p.calendar, p.scope_org_id
    FROM jsonb_to_recordset(spec -> 'policies') p (category referral.exception_category, code text, severity text, blocking boolean, blocks text[], due interval, calendar text, scope_org_id bigint);
    INSERT INTO referral.exception_rule (rule_version_id, name, entity, category, code, severity, blocking, blocks, applies_when, explanation, priority)
    SELECT v, r.name, coalesce(r.entity, 'referral'), r.category, coalesce(r.code, r.name), coalesce(r.severity, 'medium'), coalesce(r.blocking, false), r.blocks,
           r.applies_when, coalesce(r.explanation, 'because'), coalesce(r.priority, 100)
    FROM jsonb_to_recordset(spec -> 'rules') r (name text, entity text, category referral.exception_category, code text, severity text, blocking boolean, blocks text[],
                                                applies_when text, explanation text, priority integer);
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
    RETURN v;
END $$;

-- 1. What blocks, and whom

UPDATE referral.referral SET state = 'validated' WHERE org_id = 1 AND referral_id < 20;
SELECT is(public.go(10, 'ready_to_schedule'), 'done', 'without an exception a referral goes on');
SELECT referral.open_exception(1, 'policy', 'referral', 10, 10, 'own', NULL, 'high', true, '{release}') AS x \gset
SELECT is(public.go(10, 'ready_to_schedule'), 'RF025', 'an open exception that names the transition stops it');
SELECT matches(message, '^transition "release" of referral 10 is blocked: an exception is open \(policy: own\)$', 'which the message says')
FROM public.refused('UPDATE referral.referral SET state = ''ready_to_schedule'' WHERE org_id = 1 AND referral_id = 10');
SELECT ok(detail ~ format('exception %s: an exception is open', :x) AND hint ~ format('close_exception\(1, %s, ', :x), 'detail and hint name it')
FROM public.refused('UPDATE referral.referral SET state = ''ready_to_schedule'' WHERE org_id = 1 AND referral_id = 10');
SELECT is(public.go(10, 'pending_authorization'), 'done', 'it does not stop others');
SELECT is(public.go(11, 'ready_to_schedule'), 'done', 'nor other referrals');
SELECT is(public.code('UPDATE referral.referral SET reason_text = ''x'' WHERE org_id = 1 AND referral_id = 10'), 'done', 'nor changes that are no move');
SELECT results_eq($$SELECT allowed, blocked_by FROM referral.next_transitions('referral', 1, 10) WHERE transition = 'release'$$,
    $$VALUES (false, ARRAY['an exception is open (policy: own)'])$$, 'next_transitions() tells it');
SELECT is((SELECT allowed FROM referral.next_transitions('referral', 1, 10) WHERE transition = 'await_authorization'), true, 'and what is free');
UPDATE referral.exception_item SET status = 'in_progress' WHERE exception_id = :x;
SELECT is(public.go(10, 'ready_to_schedule'), 'RF025', 'one that somebody works on stops it too');
UPDATE referral.exception_item SET blocking = false WHERE exception_id = :x;
SELECT is(public.go(10, 'ready_to_schedule'), 'done', 'one that does not block does not');
SELECT is((SELECT blocks FROM referral.exception_item WHERE exception_id = :x), NULL, 'and names nothing');
UPDATE referral.exception_item SET blocking = true, blocks = '{schedule,release}' WHERE exception_id = :x;
SELECT is(public.go(10, 'ready_to_schedule'), 'RF025', 'of several names each counts');
SELECT referral.open_exception(1, 'policy', 'referral', 10, 10, 'another', NULL, 'high', true, '{release}') AS y \gset
SELECT is((SELECT cardinality(blocked_by) FROM referral.next_transitions('referral', 1, 10) WHERE transition = 'release'), 2, 'two stand in the way');
SELECT referral.close_exception(1, :x, 'settled') \g /dev/null
SELECT is(public.go(10, 'ready_to_schedule'), 'RF025', 'one of them is settled');
SELECT referral.close_exception(1, :y, 'never was one', true) \g /dev/null
SELECT is(public.go(10, 'ready_to_schedule'), 'done', 'both are');
SELECT referral.open_exception(1, 'policy', 'referral', 10, 10, 'own', NULL, 'high', true, '{release}') \g /dev/null
SELECT is(public.go(10, 'ready_to_schedule'), 'RF025', 'it comes back');
SELECT referral.close_exception(1, :x, 'settled') \g /dev/null
-- about another row, holding up the referral
SELECT referral.open_exception(1, 'duplicate_record', 'patient', 1, 12, 'twice', NULL, 'high', true, '{release}') AS z \gset
SELECT is(public.go(12, 'ready_to_schedule'), 'RF025', 'one about the patient that holds up the referral');
SELECT is(public.go(13, 'ready_to_schedule'), 'done', 'but not another one of his');
INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id, blocking, blocks) VALUES (1, 'policy', 'plain', 'referral', 14, true, '{release}');
SELECT is((SELECT referral_id FROM referral.exception_item WHERE code = 'plain'), 14::bigint, 'one about a referral holds it up without saying so');
SELECT is(public.go(14, 'ready_to_schedule'), 'RF025', 'as the guard knows');
INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id, blocking, blocks) VALUES (2, 'policy', 'plain', 'referral', 10, true, '{release}');
SELECT is(public.go(10, 'ready_to_schedule'), 'done', 'those of other organisations do not count');
-- another entity
\ir ../lib/make_workflow.sql
SET referral.org_id = 1;
CREATE TABLE public.task (task_id bigint PRIMARY KEY, note text);
SELECT referral.attach('public.task', row_security => false) \g /dev/null
SELECT make_workflow('task', NULL) \g /dev/null
INSERT INTO public.task (org_id, task_id) VALUES (1, 14), (1, 15);
SELECT is(public.code('UPDATE public.task SET step = ''b'' WHERE task_id = 14'), 'done', 'an exception about referral 14 is none about task 14');
SELECT referral.open_exception(1, 'policy', 'task', 14, NULL, 'own', NULL, 'low', true, '{go}') \g /dev/null
SELECT is(public.code('UPDATE public.task SET step = ''b'' WHERE task_id = 14'), 'RF025', 'rows of any table can be held up');
SELECT is(public.code('UPDATE public.task SET step = ''b'' WHERE task_id = 15'), 'done', 'each for itself');
INSERT INTO public.task (org_id, task_id) SELECT 1, 20000 + i FROM generate_series(1, 1500) i;
INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id, blocking, blocks)
SELECT 1, 'policy', 'many', 'task', 21500 + i, true, '{go}' FROM generate_series(0, 10001) i;
SELECT is(public.code('UPDATE public.task SET step = ''b'' WHERE task_id BETWEEN 20001 AND 21500'), 'RF025', 'one of many rows in a statement, where very many are held up');
SELECT is(public.code('UPDATE public.task SET step = ''b'' WHERE task_id BETWEEN 20001 AND 21499'), 'done', 'the others are not');
DELETE FROM referral.exception_item WHERE code = 'many';
RESET referral.org_id;
-- whoever moves it
GRANT UPDATE ON public.task TO exception_rule_nobody;
SET SESSION AUTHORIZATION exception_rule_jane;
SELECT is(public.go(14, 'ready_to_schedule'), 'RF025', 'a person');
RESET SESSION AUTHORIZATION;
REVOKE ALL ON referral.exception_item FROM referral_coordinator;
SET SESSION AUTHORIZATION exception_rule_jane;
SELECT is(public.go(14, 'ready_to_schedule'), 'RF025', 'also one who may not see it');
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM referral.deploy() \g /dev/null
-- in one transaction, and without the index
BEGIN;
SELECT referral.close_exception(1, exception_id, 'done') FROM referral.exception_item WHERE org_id = 1 AND code = 'plain' \g /dev/null
SELECT is(public.go(14, 'ready_to_schedule'), 'done', 'settled and moved in one transaction');
ROLLBACK;
BEGIN;
DROP INDEX referral.exception_item_blocking_referral;
SELECT is(public.go(14, 'ready_to_schedule'), 'RF025', 'an index that is gone costs time, not the rule');
SELECT is(public.go(15, 'ready_to_schedule'), 'done', 'for those that nothing holds up neither');
ROLLBACK;
SELECT is(public.go(14, 'ready_to_schedule'), 'RF025', 'and back again');

-- many rows in one statement
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) SELECT 1, 10000 + i, 1, 'bulk' FROM generate_series(1, 2400) i;
UPDATE referral.referral SET state = 'validated' WHERE org_id = 1 AND specialty = 'bulk';
SELECT is(public.code('UPDATE referral.referral SET state = ''ready_to_schedule'' WHERE org_id = 1 AND specialty = ''bulk'''), 'done', 'thousands of rows that nothing holds up');
SELECT referral.open_exception(1, 'policy', 'referral', 12400, 12400, 'own', NULL, 'low', true, '{release}') AS bulk \gset
SELECT is(public.code('UPDATE referral.referral SET state = ''ready_to_schedule'' WHERE org_id = 1 AND specialty = ''bulk'''), 'RF025', 'the last of them is held up');
SELECT is(public.code('UPDATE referral.referral SET state = ''ready_to_schedule'' WHERE org_id = 1 AND specialty = ''bulk'' AND referral_id < 12400'), 'done', 'the others are not');
INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id, referral_id, blocking, blocks)
SELECT 1, 'policy', 'many', 'document', i, 20 + i % 9, true, '{schedule}' FROM generate_series(1, 10001) i;
SELECT is(public.code('UPDATE referral.referral SET state = ''ready_to_schedule'' WHERE org_id = 1 AND specialty = ''bulk'''), 'RF025', 'also where many others are');
DELETE FROM referral.exception_item WHERE code = 'many';
SELECT referral.close_exception(1, :bulk, 'settled') \g /dev/null
SELECT is(public.code('UPDATE referral.referral SET state = ''ready_to_schedule'' WHERE org_id = 1 AND specialty = ''bulk'''), 'done', 'none any more');

-- 2. Models

SET SESSION AUTHORIZATION exception_rule_bot;
UPDATE referral.exception_item SET blocks = '{schedule}' WHERE code = 'plain';
SELECT is((SELECT blocks FROM referral.exception_item WHERE code = 'plain'), '{release}', 'no model frees a transition');
UPDATE referral.exception_item SET blocks = NULL WHERE code = 'plain';
SELECT is((SELECT blocks FROM referral.exception_item WHERE code = 'plain'), '{release}', 'nor all of them');
UPDATE referral.exception_item SET blocks = '{release,schedule}' WHERE code = 'plain';
SELECT is((SELECT blocks FROM referral.exception_item WHERE code = 'plain'), '{release,schedule}', 'it may have more wait');
RESET SESSION AUTHORIZATION;

-- 3. Policies

SELECT public.activate('{"policies": [
    {"category": "capacity", "blocks": ["schedule"], "due": "2 hours"},
    {"category": "capacity", "code": "strict", "severity": "critical", "blocking": true, "blocks": ["release"], "due": "1 day", "calendar": "us_business"},
    {"category": "capacity", "code": "mild", "blocking": false},
    {"category": "capacity", "code": "strict", "severity": "low", "blocks": ["authorize"], "scope_org_id": 2}]}') AS own \gset
INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id, severity, blocking) VALUES
    (1, 'capacity', 'other', 'referral', 15, 'medium', true), (1, 'capacity', 'strict', 'referral', 15, 'medium', false),
    (1, 'capacity', 'mild', 'referral', 15, 'medium', true), (2, 'capacity', 'strict', 'referral', 10, 'medium', true);
SELECT results_eq($$SELECT org_id, code, severity, blocking, blocks FROM referral.exception_item WHERE category = 'capacity' ORDER BY 1, 2$$,
    $$VALUES (1::bigint, 'mild', 'medium', false, NULL::text[]), (1, 'other', 'medium', true, '{schedule}'), (1, 'strict', 'critical', true, '{release}'::text[]),
             (2, 'strict', 'low', true, '{authorize}')$$, 'the policy for the code, then for the category; the organisation''s own before the one for all');
SELECT is((SELECT due_at - opened_at FROM referral.exception_item WHERE code = 'other' AND org_id = 1), '2 hours', 'when it is due, in elapsed time');
SELECT is((SELECT due_at FROM referral.exception_item WHERE code = 'strict' AND org_id = 1),
    (SELECT referral.due_by('us_business', 1, opened_at, '1 day') FROM referral.exception_item WHERE code = 'strict' AND org_id = 1), 'or on a calendar');
SELECT is((SELECT p.code FROM referral.exception_item e JOIN referral.exception_policy p USING (exception_policy_id) WHERE e.code = 'other'), NULL, 'which policy it was is on record');
SELECT ok((SELECT due_at IS NULL AND exception_policy_id IS NOT NULL FROM referral.exception_item WHERE code = 'mild'), 'a policy without a due time');
SELECT is(public.go(15, 'ready_to_schedule'), 'RF025', 'what the policy names is stopped');
-- again and again
SELECT exception_id AS strict FROM referral.exception_item WHERE code = 'strict' AND org_id = 1 \gset
SELECT version AS before FROM referral.exception_item WHERE exception_id = :strict AND org_id = 1 \gset
SELECT referral.open_exception(1, 'capacity', 'referral', 15, 15, 'strict', NULL, 'medium', false) \g /dev/null
SELECT is((SELECT version FROM referral.exception_item WHERE exception_id = :strict AND org_id = 1), :before::bigint, 'what opens it again does not argue with the policy');
SELECT referral.close_exception(1, :strict, 'settled') \g /dev/null
UPDATE referral.exception_item SET due_at = '2020-01-01' WHERE exception_id = :strict AND org_id = 1;
SELECT public.activate('{"policies": [{"category": "capacity", "severity": "low", "blocks": ["schedule"], "due": "3 hours"}]}') AS later \gset
SELECT referral.open_exception(1, 'capacity', 'referral', 15, 15, 'strict', NULL, 'medium', true) \g /dev/null
SELECT results_eq(format('SELECT severity, blocks, due_at - opened_at, reopen_count FROM referral.exception_item WHERE org_id = 1 AND exception_id = %s', :strict),
    $$VALUES ('low', '{schedule}'::text[], interval '3 hours', 1)$$, 'one that comes back is under the policy of now');
SELECT is(public.go(15, 'ready_to_schedule'), 'done', 'and stops what that names');
-- what is said by hand
INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id, blocking, blocks, due_at) VALUES (1, 'capacity', 'hand', 'referral', 15, true, '{hold}', '2030-01-01');
SELECT results_eq($$SELECT blocks, due_at FROM referral.exception_item WHERE code = 'hand'$$, $$VALUES ('{hold}'::text[], timestamptz '2030-01-01')$$, 'blocks and due time that somebody gives stay');
UPDATE referral.exception_item SET severity = 'high' WHERE code = 'hand';
SELECT is((SELECT severity FROM referral.exception_item WHERE code = 'hand'), 'high', 'and what he changes later');
-- rules about rules
INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'own' RETURNING rule_version_id AS draft \gset
SELECT is(public.code(format($$INSERT INTO referral.exception_rule (rule_version_id, name, category, code, applies_when, explanation) VALUES (%s, 'x', 'policy', 'x', 'nothing > 1', 'x')$$, :draft)), 'RF011', 'a rule that does not compile');
SELECT is(public.code(format($$INSERT INTO referral.exception_policy (rule_version_id, category, due) VALUES (%s, 'policy', '1 month')$$, :draft)), '23514', 'months are no time to count in');
INSERT INTO referral.exception_policy (rule_version_id, category, due, calendar) VALUES (:draft, 'policy', '1 day', 'moon');
SELECT is(public.code(format('UPDATE referral.rule_version SET status = ''submitted'' WHERE rule_version_id = %s', :draft)), 'RF011', 'a calendar that there is not');
SELECT is(message, 'business calendar "moon" is not active', 'is named') FROM public.refused(format('UPDATE referral.rule_version SET status = ''submitted'' WHERE rule_version_id = %s', :draft));
DELETE FROM referral.exception_policy WHERE rule_version_id = :draft;
SELECT is(public.code(format('INSERT INTO referral.exception_policy (rule_version_id, category) VALUES (%s, ''policy''), (%s, ''policy'')', :draft, :draft)), '23505', 'one policy for one kind');

-- 4. Rules that open and close

SELECT public.activate('{"rules": [
    {"name": "late", "category": "capacity", "severity": "high", "blocking": true, "blocks": ["hold"], "applies_when": "reason_text = ''late''", "explanation": "it is late"},
    {"name": "later", "category": "capacity", "code": "late", "severity": "low", "priority": 200, "applies_when": "reason_text LIKE ''late%''"},
    {"name": "unsure", "category": "low_confidence", "applies_when": "reason_text = ''unsure''"}]}') AS ruled \gset
-- what the trigger does that follows each change of a row
CREATE FUNCTION public.ask(id bigint) RETURNS integer LANGUAGE sql AS $$
    SELECT referral.open_rule_exceptions('referral', 1, id, referral.matching_rules('exception_rule', 'referral', 1, r)) FROM referral.referral r
    WHERE r.org_id = 1 AND r.referral_id = ask.id $$;
CREATE FUNCTION public.set_text(id bigint, new_text text) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    UPDATE referral.referral SET reason_text = new_text WHERE org_id = 1 AND referral_id = id;
    RETURN public.ask(id);
END $$;
CREATE VIEW public.late AS SELECT * FROM referral.exception_item WHERE org_id = 1 AND entity = 'referral' AND entity_id = 16 AND code = 'late';
SELECT is(public.set_text(16, 'fine'), 0, 'no rule holds: none is opened');
SELECT is(referral.has_rule_exception('referral', 1, 16), false, 'there is none');
SELECT is(public.set_text(16, 'late'), 1, 'a rule that holds opens one, two of one kind together one');
SELECT results_eq('SELECT severity, blocking, blocks, detail, referral_id, status, rule_holds FROM public.late',
    $$VALUES ('high', true, '{hold}'::text[], 'it is late', 16::bigint, 'open', true)$$, 'as the first by priority says');
SELECT is((SELECT r.name FROM public.late JOIN referral.exception_rule r USING (exception_rule_id)), 'late', 'the rule is on record');
SELECT is(referral.has_rule_exception('referral', 1, 16), true, 'there is one now');
SELECT is((SELECT version FROM public.late), 1::bigint, 'version');
SELECT is(public.ask(16), 0, 'while it holds');
SELECT is((SELECT version FROM public.late), 1::bigint, 'nothing is written');
SELECT is(public.set_text(16, 'late, too'), 0, 'another rule of its kind holds');
SELECT is((SELECT status FROM public.late), 'open', 'so it stays open');
SELECT is(public.set_text(16, 'fine'), 0, 'no rule holds any more');
SELECT results_eq('SELECT status, resolution, rule_holds FROM public.late', $$VALUES ('resolved', 'The rule that opened it does not hold any more.', false)$$, 'so it closes by itself');
SELECT is(public.set_text(16, 'late'), 1, 'it holds again');
SELECT results_eq('SELECT status, reopen_count FROM public.late', $$VALUES ('open', 1)$$, 'so it is opened again');
SELECT referral.close_exception(1, exception_id, 'we know', true) FROM public.late \g /dev/null
SELECT is(public.ask(16), 0, 'one that a person closed while the rule holds');
SELECT is((SELECT status FROM public.late), 'dismissed', 'stays closed');
SELECT is(public.set_text(16, 'fine') + public.set_text(16, 'late'), 1, 'until the rule has ceased to hold and holds again');
-- one that others opened
CREATE VIEW public.both AS SELECT entity_id, exception_rule_id IS NOT NULL AS by_rule, status, rule_holds, severity, blocks FROM referral.exception_item WHERE org_id = 1 AND code = 'late';
SELECT referral.open_exception(1, 'capacity', 'referral', 17, 17, 'late', 'by hand', 'low') \g /dev/null
SELECT is(public.set_text(17, 'late'), 1, 'one that others opened does not keep the rule from opening its own');
SELECT results_eq('SELECT by_rule, status, severity, blocks FROM public.both WHERE entity_id = 17 ORDER BY 1', $$VALUES (false, 'open', 'low', NULL::text[]), (true, 'open', 'high', '{hold}')$$, 'which blocks what the rule says');
SELECT is(public.set_text(17, 'fine'), 0, 'when the rule holds no more');
SELECT results_eq('SELECT by_rule, status FROM public.both WHERE entity_id = 17 ORDER BY 1', $$VALUES (false, 'open'), (true, 'resolved')$$, 'only its own closes');
SELECT is(public.set_text(17, 'late'), 1, 'it holds again');
SELECT is(public.set_text(16, 'late'), 0, 'another one is open by its rule');
SELECT referral.close_exception(1, exception_id, 'we know') FROM public.late \g /dev/null
SELECT referral.open_exception(1, 'capacity', 'referral', 16, 16, 'late', 'by hand', 'low') \g /dev/null
SELECT results_eq('SELECT by_rule, status, rule_holds FROM public.both WHERE entity_id = 16 ORDER BY 1', $$VALUES (false, 'open', false), (true, 'resolved', true)$$, 'one that a person closed stays so when another opens the same');
SELECT is(public.set_text(16, 'fine'), 0, 'the rule holds no more');
SELECT is((SELECT status FROM public.both WHERE entity_id = 16 AND NOT by_rule), 'open', 'which does not close the other');
SELECT referral.open_exception(1, 'capacity', 'referral', 16, 16, 'late', 'by hand', 'low', true, '{hold}') \g /dev/null
SELECT referral.open_exception(1, 'capacity', 'referral', 16, 16, 'late', 'by hand', 'low', true, '{hold,decline}') \g /dev/null
SELECT is((SELECT blocks FROM public.both WHERE entity_id = 16 AND NOT by_rule), '{hold,decline}', 'who opens it again may have more wait');
UPDATE referral.exception_item SET status = 'open' WHERE org_id = 1 AND entity_id = 16 AND code = 'late' AND exception_rule_id IS NOT NULL;
SELECT is(public.set_text(16, 'late'), 1, 'one of the rule that somebody opened again by hand');
SELECT results_eq('SELECT status, rule_holds FROM public.both WHERE entity_id = 16 AND by_rule', $$VALUES ('open', true)$$, 'is the rule''s when that holds');
-- one that asks for a person
SET SESSION AUTHORIZATION exception_rule_bot;
SELECT is(current_user::text, 'exception_rule_bot', 'a model changes the row');
RESET SESSION AUTHORIZATION;
SELECT is(public.set_text(18, 'unsure'), 1, 'what a model is not sure of');
SET referral.actor_kind = 'ai';
SELECT is(public.set_text(18, 'sure'), 0, 'when the rule holds no more');
RESET referral.actor_kind;
SELECT results_eq('SELECT status, rule_holds FROM referral.exception_item WHERE org_id = 1 AND entity_id = 18 AND code = ''unsure''', $$VALUES ('open', false)$$, 'stays open for a person, and breaks no write');
-- asked for by hand
UPDATE referral.referral SET reason_text = 'late' WHERE org_id = 1 AND referral_id = 19;
SET SESSION AUTHORIZATION exception_rule_admin;
SELECT is(referral.check_exceptions('referral', 1, 19), 1, 'check_exceptions() asks the rules about a row');
SELECT is(public.code('SELECT referral.check_exceptions(''referral'', 1, 999)'), 'RF019', 'that must be there');
SELECT is(referral.check_exceptions('referral', 2, 10), NULL, 'in an organisation of the session');
SET SESSION AUTHORIZATION exception_rule_jane;
SELECT is(public.code('SELECT referral.open_rule_exceptions(''referral'', 1, 19, ''{}'')'), '42501', 'who changes rows does not say which rules hold');
RESET SESSION AUTHORIZATION;

-- 5. Root causes and patterns

SELECT is(public.code('UPDATE referral.exception_item SET root_cause = ''bad luck'' WHERE org_id = 1 AND entity_id = 17'), 'RF005', 'causes come from the catalogue');
SELECT is(public.code('UPDATE referral.exception_item SET root_cause = ''capacity_short'' WHERE org_id = 1 AND entity_id = 17'), 'done', 'of domain root_cause');
SELECT ok((SELECT count(*) >= 10 FROM referral.reason_code WHERE domain = 'root_cause'), 'some are shipped');

INSERT INTO referral.organization (org_id, name) VALUES (3, 'Three');
INSERT INTO referral.patient (org_id, patient_id) VALUES (3, 1);
INSERT INTO referral.payer (org_id, payer_id, name) VALUES (3, 1, 'Payer');
INSERT INTO referral.site (org_id, site_id, name) VALUES (3, 1, 'Site');
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, payer_id, site_id) VALUES (3, 1, 1, 'cardiology', 1, 1), (3, 2, 1, 'cardiology', NULL, NULL);
INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id, opened_at, root_cause)
SELECT 3, 'eligibility', 'e' || i, 'referral', 1, date_trunc('month', now()) + make_interval(hours => 1), CASE WHEN i < 3 THEN 'entry_error' WHEN i = 3 THEN 'other' END
FROM generate_series(1, 5) i;
INSERT INTO referral.exception_item (org_id, category, code, entity, entity_id, opened_at) VALUES
    (3, 'eligibility', 'e', 'referral', 2, date_trunc('month', now()) + make_interval(hours => 1)),
    (3, 'eligibility', 'f', 'referral', 1, '2026-01-15'), (3, 'policy', 'e', 'patient', 1, '2026-01-15');
SELECT extract(epoch FROM now() - date_trunc('month', now()) - make_interval(hours => 1)) / 3600 AS hours \gset
SELECT referral.close_exception(3, exception_id, 'settled') FROM referral.exception_item WHERE org_id = 3 AND code IN ('e1', 'e2') \g /dev/null
SELECT referral.close_exception(3, exception_id, 'was none', true) FROM referral.exception_item WHERE org_id = 3 AND code = 'e3' \g /dev/null
SELECT referral.open_exception(3, 'eligibility', 'referral', 1, 1, 'e3', NULL, 'low') \g /dev/null
SELECT bag_eq($$SELECT month, category::text, payer_id, specialty, site_id, opened, open, reopened, top_root_cause FROM referral.exception_pattern WHERE org_id = 3$$,
    $$VALUES (date_trunc('month', now())::date, 'eligibility', 1::bigint, 'cardiology', 1::bigint, 5::bigint, 3::bigint, 1::bigint, 'entry_error'),
             (date_trunc('month', now())::date, 'eligibility', NULL, 'cardiology', NULL, 1, 1, 0, NULL),
             ('2026-01-01'::date, 'eligibility', 1, 'cardiology', 1, 1, 1, 0, NULL), ('2026-01-01'::date, 'policy', NULL, NULL, NULL, 1, 1, 0, NULL)$$,
    'patterns by month, category, payer, specialty and site');
SELECT ok((SELECT abs(median_hours - :hours) < 0.2 FROM referral.exception_pattern WHERE org_id = 3 AND opened = 5), 'and how long it takes to resolve them');
SELECT is((SELECT count(*) FROM referral.exception_pattern WHERE org_id = 3 AND median_hours IS NOT NULL), 1::bigint, 'where any was');
SET SESSION AUTHORIZATION exception_rule_jane;
SELECT is((SELECT count(*) FROM referral.exception_pattern WHERE org_id <> 1), 0::bigint, 'each organisation sees its own');
RESET SESSION AUTHORIZATION;

-- 6. Due times

SELECT is(referral.due_by(NULL, 1, '2026-11-20 16:00+00', '1 day 2 hours'), '2026-11-21 18:00+00', 'without a calendar in elapsed time');
SELECT is(referral.due_by('us_business', 1, '2026-11-20 16:00+00', '1 day'), '2026-11-23 16:00+00', 'business days');
SELECT is(referral.due_by('nothing', 1, '2026-11-20 16:00+00', '4 hours'), '2026-11-20 20:00+00', 'a calendar that is not active');
SELECT is(referral.due_by('us_business', 1, '2035-12-30 16:00+00', '400 days'), NULL, 'beyond the calendar');
SELECT is(referral.due_by('us_business', 1, NULL, '1 day'), NULL, 'null for a null start');

SELECT * FROM finish();
