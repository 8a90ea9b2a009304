-- Rules of worklists that are bad: those that can be told are refused when they are written; none stops a referral.
SELECT plan(63);
SET referral.org_id = 1;
SET client_min_messages = error;
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name IN ('routing/standard', 'approval/standard');

CREATE FUNCTION public.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
-- Writes a rule into a version of its own and activates that.
CREATE FUNCTION public.rule(relation text, columns text, vals text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) SELECT 'bad/' || relation, 'worklist' WHERE NOT EXISTS (SELECT FROM referral.rule_set WHERE name = 'bad/' || relation);
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'bad/' || relation RETURNING rule_version_id INTO v;
    EXECUTE format('INSERT INTO referral.%I (rule_version_id, %s) VALUES (%s, %s)', relation, columns, v, vals);
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
    RETURN v;
END $$;
CREATE FUNCTION public.rule_outcome(relation text, columns text, vals text) RETURNS text LANGUAGE sql AS
$$ SELECT public.outcome(format('SELECT public.rule(%L, %L, %L)', relation, columns, vals)) $$;
CREATE FUNCTION public.task(of bigint, name text) RETURNS text LANGUAGE sql AS
$$ SELECT coalesce(string_agg(status::text, ',' ORDER BY work_item_id), 'none') FROM referral.work_item WHERE referral_id = $1 AND task = $2 $$;
INSERT INTO referral.patient (family) VALUES ('Doe');

-- 1. Tasks whose end cannot be told

SELECT public.rule('task_template', 'name, on_state, title, queue, until_when', $$'odd', 'received', 't', 'intake', '1 / priority > 0'$$) \g /dev/null
SELECT is(public.outcome($$INSERT INTO referral.referral (patient_id, specialty, priority) VALUES (1, 'cardiology', 0)$$), 'ok', 'an until_when that raises an error refuses no referral');
SELECT max(referral_id) AS id FROM referral.referral \gset
SELECT is(public.task(:id, 'odd'), 'ready', 'whose task is there, since it does not hold');
SELECT is(public.outcome(format('UPDATE referral.referral SET specialty = ''oncology'' WHERE referral_id = %s', :id)), 'ok', 'nor a change of it');
SELECT is(public.outcome(format('UPDATE referral.referral SET priority = 2 WHERE referral_id = %s', :id)), 'ok', 'nor one of what the rule asks for');
SELECT is(public.outcome(format('UPDATE referral.referral SET priority = 0, specialty = ''cardiology'' WHERE referral_id = %s', :id)), 'ok', 'from a value with an answer to one without');
SELECT is(public.task(:id, 'odd'), 'ready', 'the task goes on');
UPDATE referral.referral SET priority = 1 WHERE referral_id = :id;
SELECT is(public.task(:id, 'odd'), 'completed', 'and is done when the rule holds');
INSERT INTO referral.referral (patient_id, specialty, priority) VALUES (1, 'cardiology', 0) RETURNING referral_id AS id \gset
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'bad/task_template' AND v.status = 'active';
SELECT is(public.outcome(format('UPDATE referral.referral SET priority = 2 WHERE referral_id = %s', :id)), 'ok', 'the same of a rule that is retired');
SELECT is(public.outcome(format('UPDATE referral.referral SET priority = 0 WHERE referral_id = %s', :id)), 'ok', 'both ways');
SELECT is(public.outcome(format('UPDATE referral.referral SET state = ''cancelled'', status_reason = ''no_longer_needed'' WHERE referral_id = %s', :id)), 'ok', 'the referral comes to its end');
SELECT is(public.task(:id, 'odd'), 'cancelled', 'and its task with it');

-- 2. The same for whoever asks one rule

SELECT is((SELECT referral.rule_fits('priority = 0', r, 'x') FROM referral.referral r WHERE referral_id = :id), true, 'a rule that holds');
SELECT is((SELECT referral.rule_fits('priority = 1', r, 'x') FROM referral.referral r WHERE referral_id = :id), false, 'one that does not');
SELECT is((SELECT referral.rule_fits('1 / priority = 1', r, 'x') FROM referral.referral r WHERE referral_id = :id), NULL, 'one that raises an error says nothing');
SELECT is((SELECT referral.rule_fits('no_such_column', r, 'x') FROM referral.referral r WHERE referral_id = :id), NULL, 'nor one that does not compile');
SELECT is((SELECT referral.rule_fits('1 / priority = 1', r, NULL) FROM referral.referral r WHERE referral_id = :id), NULL, 'null for null');
SELECT is((SELECT referral.rule_fits('priority = 0', r, 'x') FROM referral.referral r WHERE referral_id = :id), true, 'and errors of others change nothing');

-- 3. What goes beyond all bounds is refused when it is written

SELECT is(public.rule_outcome('ranking_factor', 'name, kind, points', '''huge'', ''points'', 1e400'), 'RF011', 'points that no score could hold');
SELECT is(public.rule_outcome('ranking_factor', 'name, kind, points', '''huge'', ''points'', -1000001'), 'RF011', 'or not exactly');
SELECT is(public.rule_outcome('ranking_factor', 'name, kind, points', '''top'', ''points'', 1000000'), 'ok', 'up to there they are fine');
SELECT is(public.rule_outcome('ranking_factor', 'name, kind, points, date_field', '''huge'', ''per_day'', 10001, ''due_at'''), 'RF011', 'by the day, less');
SELECT is(public.rule_outcome('ranking_factor', 'name, kind, points, date_field, horizon', '''far'', ''per_day'', 1, ''due_at'', ''2900000 years'''), 'RF011', 'a horizon out of this world');
SELECT is(public.rule_outcome('ranking_factor', 'name, kind, points, date_field, horizon', '''far'', ''per_day'', 1, ''due_at'', ''5000000 years -1825000000 days'''), 'RF011', 'in its parts');
SELECT is(public.rule_outcome('ranking_factor', 'name, kind, points, date_field, horizon', '''far'', ''per_day'', 10000, ''due_at'', ''100 years'''), 'ok', 'one of a century is fine');
SELECT is(public.rule_outcome('task_template', 'name, on_state, title, queue, due', '''far'', ''received'', ''t'', ''intake'', ''2900000 years'''), 'RF011', 'a task that is never due');
SELECT is(public.rule_outcome('task_template', 'name, on_state, title, queue, due', format('''far'', ''received'', ''t'', ''intake'', %L', d)), 'RF011', 'nor one due in ' || d) FROM unnest(ARRAY['1 month', '2 days -1 hour']) d;
INSERT INTO referral.referral (patient_id, specialty, priority) VALUES (1, 'cardiology', 0) RETURNING referral_id AS id \gset
SELECT work_item_id AS item FROM referral.work_item WHERE referral_id = :id AND is_primary \gset
SELECT is((SELECT sum(points) FROM referral.explain_rank(1, :item, '2027-03-01Z')), referral.rank_score(1, :item, '2027-03-01Z'), 'at the bounds, what is explained sums up to the score');
SELECT is((SELECT sum(points) FROM referral.explain_rank(1, :item, '1970-01-01Z')) - referral.rank_growth(1, '1970-01-01Z'), (SELECT score::numeric(20, 6) FROM referral.work_item WHERE work_item_id = :item), 'exactly');

SELECT is(public.rule_outcome('exception_rule', 'name, entity, category, code, explanation, applies_when', '''own'', ''exception_item'', ''policy'', ''x'', ''e'', ''severity IS NOT NULL'''), 'RF011', 'no exceptions about exceptions');

-- what waits for something that is nowhere is told at submission, to authors as well
CREATE ROLE worklist_rule_author LOGIN IN ROLE referral_rule_author;
GRANT USAGE ON SCHEMA public TO PUBLIC;
\set said `psql -X -q -v ON_ERROR_STOP=1 -c "SET SESSION AUTHORIZATION worklist_rule_author" -c "BEGIN" -c "CREATE TEMP TABLE v AS SELECT referral.copy_rule_version((SELECT rule_version_id FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'task/standard'), 'odd') AS id" -c "INSERT INTO referral.task_template (rule_version_id, name, on_transition, title, queue) SELECT id, 'odd', 'valdate', 't', 'intak' FROM v" -c "INSERT INTO referral.task_template (rule_version_id, name, on_step, title, queue) SELECT id, 'odder', 'nowhere', 't', 'intake' FROM v" -c "UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = (SELECT id FROM v)" -c "ROLLBACK" 2>&1`
SELECT alike(:'said'::text, '%WARNING:  no workflow has a transition "valdate"%Task template "odd"%', 'a transition that is none');
SELECT alike(:'said'::text, '%WARNING:  no workflow has a step "nowhere"%', 'a step');
SELECT alike(:'said'::text, '%WARNING:  no organisation has a queue "intak"%', 'a queue');
SELECT unalike(:'said'::text, '%ERROR%', 'the version is submitted all the same');

-- 4. Rows that are none

SELECT is(public.outcome($$SELECT * FROM referral.rank_parts(jsonb_populate_record(NULL::referral.work_item, '{"org_id": 1}'))$$), '22004', 'an item without an entity has no rank');
SELECT is(public.outcome('SELECT referral.rank_now(r) FROM referral.referral r'), '42809', 'nor a row of another table');
SELECT is(public.outcome('SELECT referral.rank_now(ROW(1, 2))'), '42809', 'nor any other record');
SELECT is((SELECT referral.rank_now(i) FROM referral.work_item i WHERE work_item_id = :item), (SELECT score FROM referral.work_item WHERE work_item_id = :item), 'an item has');
SELECT is(public.outcome('SELECT referral.decide_route(NULL, NULL, NULL, NULL, NULL, NULL)'), 'ok', 'nothing is not routed');
SELECT is((SELECT count(*)::int FROM referral.routing_decision WHERE entity_id IS NULL), 0, 'nor recorded');

-- A rule that raises an error closes nothing that it has opened

SELECT public.rule('exception_rule', 'name, category, code, blocking, explanation, applies_when', $$'risky', 'policy', 'risky', true, 'x', '10 / priority > 1'$$) \g /dev/null
INSERT INTO referral.referral (patient_id, specialty, priority) VALUES (1, 'cardiology', 1) RETURNING referral_id AS risky \gset
SELECT is((SELECT status FROM referral.exception_item WHERE referral_id = :risky AND code = 'risky'), 'open', 'an exception of a rule');
UPDATE referral.referral SET priority = 0 WHERE referral_id = :risky;
SELECT is((SELECT status FROM referral.exception_item WHERE referral_id = :risky AND code = 'risky'), 'open', 'stays when its rule cannot tell');
UPDATE referral.referral SET priority = 100 WHERE referral_id = :risky;
SELECT is((SELECT status FROM referral.exception_item WHERE referral_id = :risky AND code = 'risky'), 'resolved', 'and goes when it holds no more');
SELECT public.rule('work_source', 'name, entity, kind, applies_when', $$'risky', 'exception_item', 'exception', 'status = ''open'' AND 10 / (length(root_cause) - 13) <> 0'$$) \g /dev/null
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'worklist/standard' AND v.status = 'active';
SELECT referral.open_exception(1, 'policy', 'referral', :risky, :risky, 'odd', 'x', 'high') AS odd \gset
UPDATE referral.exception_item SET root_cause = 'other' WHERE exception_id = :odd;
UPDATE referral.exception_item SET root_cause = 'entry_error' WHERE exception_id = :odd;
SELECT is((SELECT count(*)::int FROM referral.work_item WHERE entity = 'exception_item' AND entity_id = :odd AND closed_at IS NULL), 1, 'the item of an exception');
UPDATE referral.exception_item SET root_cause = 'configuration' WHERE exception_id = :odd;
SELECT is((SELECT count(*)::int FROM referral.work_item WHERE entity = 'exception_item' AND entity_id = :odd AND closed_at IS NULL), 1, 'stays, too');
SELECT referral.rollback_rule_set('worklist/standard') \g /dev/null
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name IN ('bad/work_source', 'bad/exception_rule') AND v.status = 'active';

-- What is work is gone through after other rules have come into force

CREATE FUNCTION public.settle_all() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WHILE referral.settle_work(now(), 7) > 0 LOOP NULL; END LOOP;
END $$;
SELECT public.settle_all() \g /dev/null
SELECT is(referral.settle_work(now(), 7), 0::bigint, 'nothing is left');
CREATE VIEW public.open_kind AS
SELECT i.kind, i.entity_id, i.status FROM referral.work_item i WHERE i.entity = 'exception_item' AND i.task = '' AND i.closed_at IS NULL;
SELECT referral.open_exception(1, 'policy', 'referral', :id, :id, 'before', 'x', 'high') AS before \gset
SELECT is((SELECT count(*)::int FROM public.open_kind WHERE entity_id = :before), 1, 'an exception is work');
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s
WHERE s.rule_set_id = v.rule_set_id AND s.name = 'worklist/standard' AND v.status = 'active' RETURNING v.rule_version_id AS standard \gset
SELECT referral.open_exception(1, 'policy', 'referral', :id, :id, 'meanwhile', 'x', 'high') AS meanwhile \gset
SELECT is((SELECT count(*)::int FROM public.open_kind WHERE entity_id = :meanwhile), 0, 'not while no rule says so');
SELECT public.settle_all() \g /dev/null
SELECT is((SELECT count(*)::int FROM public.open_kind WHERE entity_id = :before), 0, 'and what was is no more');
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'referrals keep theirs');
SELECT referral.rollback_rule_set('worklist/standard') \g /dev/null
SELECT referral.close_exception(1, :before, 'settled') \g /dev/null
SELECT public.settle_all() \g /dev/null
SELECT is((SELECT array_agg(entity_id) FROM public.open_kind WHERE entity_id IN (:before, :meanwhile)), ARRAY[:meanwhile::bigint], 'when rules are in force again, what came meanwhile is work, too');
SET session_replication_role = replica;
INSERT INTO referral.referral (patient_id, workflow_id, version, entered_at, state, step)
SELECT 1, workflow_id, 1, now(), 'received', 'received' FROM referral.referral LIMIT 1 RETURNING referral_id AS silent \gset
RESET session_replication_role;
SELECT isnt((SELECT count(*)::int FROM referral.unowned_referral WHERE referral_id = :silent), 0, 'what came in without triggers has no owner');
UPDATE referral.rule_progress SET finished_at = finished_at - interval '25 hours';
SELECT public.settle_all() \g /dev/null
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'for a day at most');

-- Tasks that are done by what happens elsewhere

SELECT public.rule('task_template', 'name, on_state, title, queue, until_when', $$'call', 'received', 't', 'intake', 'referral.contact_attempts(org_id, referral_id) > 0'$$) \g /dev/null
INSERT INTO referral.referral (patient_id, specialty) SELECT 1, 'cardiology' FROM generate_series(1, 3);
SELECT max(referral_id) AS id FROM referral.referral \gset
CREATE FUNCTION public.settle_tasks() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint := 0;
    k bigint;
BEGIN
    UPDATE referral.rule_progress SET finished_at = finished_at - interval '1 minute' WHERE rule_table = 'task_template';
    LOOP
        k := referral.settle_open_tasks(now(), 2);
        EXIT WHEN k = 0;
        n := n + k;
    END LOOP;
    RETURN n;
END $$;
SELECT ok(public.settle_tasks() >= 3, 'tick() looks at the rows that have open tasks, a batch at a time');
SELECT is(public.task(:id, 'call'), 'ready', 'and leaves those that are not done');
INSERT INTO referral.contact_attempt (referral_id, medium, outcome) VALUES (:id, 'phone', 'no_answer');
SELECT is(referral.settle_open_tasks(now(), 100), 0::bigint, 'at most once in 30 seconds');
SELECT public.settle_tasks() \g /dev/null
SELECT is(public.task(:id, 'call'), 'completed', 'a task is done when another row makes its rule hold');
SELECT is(public.task(:id - 1, 'call'), 'ready', 'not the others');
INSERT INTO referral.contact_attempt (referral_id, medium, outcome) VALUES (:id - 1, 'phone', 'no_answer');
UPDATE referral.referral SET state = 'cancelled', status_reason = 'no_longer_needed' WHERE referral_id IN (:id - 1, :id - 2);
SELECT is(ARRAY[public.task(:id - 1, 'call'), public.task(:id - 2, 'call')], '{completed,cancelled}', 'when the referral comes to its end, what was done is not cancelled');
SELECT ok('settle_open_tasks' = ANY (referral.chores()), 'it is a chore of tick()');

-- Dates of ranking

SELECT is(public.rule_outcome('ranking_factor', 'name, kind, points, date_field', '''odd'', ''per_day'', 1, ''authored_at'''), 'RF011', 'a date that is none');
SELECT is(public.rule_outcome('ranking_factor', 'name, kind, points', '''odd'', ''per_day'', 1'), 'RF011', 'or is not named');
SELECT public.rule('ranking_factor', 'name, kind, points, date_field', '''waits'', ''per_day'', 3, ''opened_at''') \g /dev/null
SELECT is((SELECT horizon FROM referral.ranking_factor WHERE name = 'waits'), '0 days', 'days in the queue count from the first');
SELECT * FROM finish();
