-- worklist: tasks that rules ask for, and what follows from the row of an item

CREATE FUNCTION referral.spawn_tasks(entity text, org_id bigint, id bigint, rules bigint[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    x jsonb := to_jsonb(referral.work_row(entity, org_id, id));
    t record;
    item bigint;
    n integer := 0;
BEGIN
    FOR t IN SELECT f.*, coalesce(q.queue_id, m.queue_id) AS queue_id FROM referral.task_template f
             LEFT JOIN referral.queue q ON q.org_id = spawn_tasks.org_id AND q.name = f.queue
             JOIN referral.queue m ON m.org_id = spawn_tasks.org_id AND m.name = 'manual_triage'
             WHERE f.task_template_id = ANY (rules)
               AND (f.on_state IS NULL OR f.on_state::text = x ->> 'state')
               AND (f.on_step IS NULL OR f.on_step = x ->> 'step')
               AND (f.on_transition IS NULL OR EXISTS (SELECT FROM referral.workflow_transition w
                                                       WHERE w.transition_id = (x ->> 'transition_id')::bigint AND w.transition = f.on_transition))
               AND NOT coalesce(referral.rule_fits(f.until_when, referral.work_row(spawn_tasks.entity, spawn_tasks.org_id, spawn_tasks.id), 'until_when of task template ' || f.name), false)
               -- once for each stay in a step
               AND NOT EXISTS (SELECT FROM referral.work_item i
                               WHERE i.org_id = spawn_tasks.org_id AND i.entity_id = spawn_tasks.id AND i.entity = spawn_tasks.entity
                                 AND i.kind = 'task' AND i.task = f.name AND i.opened_at >= (x ->> 'entered_at')::timestamptz)
             ORDER BY f.task_template_id
    LOOP
        item := referral.open_work(entity, org_id, id, 'task',
            CASE entity WHEN 'referral' THEN id ELSE (x ->> 'referral_id')::bigint END,
            referral.effective_queue(org_id, t.queue_id), t.title, referral.due_by(t.calendar, org_id, now(), t.due), false, t.name, t.task_template_id);
        n := n + (item IS NOT NULL)::integer;
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.spawn_tasks(text, bigint, bigint, bigint[]) IS
'Opens the tasks that these rules of task_template ask for, as the row stands now: those of its state, its step or the transition that it took last, each once for a stay in a step, and not what is done already (an until_when that raises an error does not hold); returns how many. Called by the trigger work with the rules that hold.';

CREATE FUNCTION referral.settle_tasks(entity text, org_id bigint, id bigint, is_over boolean DEFAULT false) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    n integer := 0;
BEGIN
    FOR t IN SELECT i.work_item_id, i.task, f.until_when FROM referral.work_item i
             LEFT JOIN referral.task_template f ON f.task_template_id = i.task_template_id
             WHERE i.org_id = settle_tasks.org_id AND i.entity_id = settle_tasks.id AND i.entity = settle_tasks.entity
               AND i.kind = 'task' AND i.closed_at IS NULL
    LOOP
        IF referral.rule_fits(t.until_when, referral.work_row(entity, org_id, id), 'until_when of task template ' || t.task) THEN
            PERFORM referral.close_work(org_id, t.work_item_id, 'completed', 'done by a change of the row');
        ELSIF is_over THEN
            PERFORM referral.close_work(org_id, t.work_item_id, 'cancelled', 'the row is no longer work');
        ELSE
            CONTINUE;
        END IF;
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.settle_tasks(text, bigint, bigint, boolean) IS
'Completes the open tasks of a row whose until_when holds (one that raises an error does not); is_over: cancels the others, since the row has come to its end. Returns how many were closed.';

CREATE FUNCTION referral.is_within_a_century(span interval) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT abs(extract(year FROM span)) <= 100 AND abs(extract(day FROM span)) <= 36525
       AND abs(extract(epoch FROM span)) <= extract(epoch FROM interval '100 years')
$$;
COMMENT ON FUNCTION referral.is_within_a_century(interval) IS
'Can the span be added to any date of today without leaving the calendar? At most 100 years, forwards or backwards, also in its parts. Null for null.';

CREATE FUNCTION referral.is_target(span interval) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT span > '0' AND extract(year FROM span) = 0 AND extract(month FROM span) = 0 AND extract(day FROM span) >= 0
       AND span - make_interval(days => extract(day FROM span)::integer) >= '0' AND referral.is_within_a_century(span)
$$;
COMMENT ON FUNCTION referral.is_target(interval) IS
'Can every calendar count the span? Above zero, in days, hours and below without a sign, not in months, at most 100 years. Null for null.';

CREATE FUNCTION referral.check_date_of(factor record) RETURNS record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f referral.ranking_factor := factor;
BEGIN
    IF f.date_field NOT IN ('opened_at', 'received_at', 'due_at', 'scheduled_for', 'expires_on', 'payer_deadline') OR (f.kind = 'per_day' AND f.date_field IS NULL) THEN
        RAISE EXCEPTION 'ranking factor "%" goes by no date that is known', f.name
            USING ERRCODE = 'RF011', DETAIL = 'A rule of kind per_day names the date that its points go by.',
                  HINT = 'date_field is opened_at, received_at, due_at, scheduled_for, expires_on or payer_deadline.';
    END IF;
    -- what lies in the past counts from then on
    f.horizon := coalesce(f.horizon, CASE WHEN f.date_field IN ('opened_at', 'received_at') THEN '0 days' ELSE '30 days' END::interval);
    RETURN f;
END $$;
COMMENT ON FUNCTION referral.check_date_of(record) IS
'A rule of ranking_factor with its horizon, where none is given: 0 days for opened_at and received_at, else 30 days. RF011 when date_field is none of the dates that there are.';

CREATE FUNCTION referral.worklist_rule_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    x jsonb := to_jsonb(NEW);
    target regclass := (SELECT e.relation FROM referral.entity e WHERE e.entity = x ->> 'entity');
    c text;
BEGIN
    IF target IS NULL THEN
        RAISE EXCEPTION 'there is no entity "%"', x ->> 'entity'
            USING ERRCODE = 'RF011', DETAIL = 'The rule is about the rows of an entity.', HINT = 'See referral.entity.';
    END IF;
    IF x ? 'date_field' THEN
        NEW := referral.check_date_of(NEW);
    END IF;
    -- only a rule of work_source has it
    IF (x ->> 'is_primary')::boolean <> ((x ->> 'entity', x ->> 'kind') = ('referral', 'referral')) THEN
        RAISE EXCEPTION 'the primary item is that of kind referral, about the referral itself'
            USING ERRCODE = 'RF011', DETAIL = 'Who has it answers for the referral: there is one, and it is no other.',
                  HINT = 'Set is_primary for entity and kind referral, and only there.';
    END IF;
    FOREACH c IN ARRAY ARRAY['referral_column', 'due_column'] LOOP
        IF x ->> c IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute a
                                               WHERE a.attrelid = target AND a.attname = x ->> c AND a.attnum > 0 AND NOT a.attisdropped
                                                 AND a.atttypid = CASE c WHEN 'due_column' THEN 'timestamptz'::regtype ELSE 'bigint'::regtype END) THEN
            RAISE EXCEPTION 'entity "%" has no column "%" that could be %', x ->> 'entity', x ->> c, c
                USING ERRCODE = 'RF011', DETAIL = 'referral_column is a bigint, due_column a timestamptz.', HINT = 'Name a column of its table, or leave it out.';
        END IF;
    END LOOP;
    IF NOT referral.is_target((x ->> 'due')::interval) THEN
        RAISE EXCEPTION 'task "%" is due after a time that no calendar can count', x ->> 'name'
            USING ERRCODE = 'RF011', DETAIL = 'due is the time that is allowed for it, at most 100 years.',
                  HINT = 'Give it in days, or in hours and below, or leave it out.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.worklist_rule_check() IS
'BEFORE row trigger of referral.work_source, task_template and ranking_factor: their entity and the columns that they name are there, the primary item is that of kind referral about the referral, and due is what a calendar can count (RF011).';

CREATE FUNCTION referral.check_worklist_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    IF to_regclass('referral.work_source') IS NULL THEN
        RETURN;
    END IF;
    PERFORM referral.check_ranking(ARRAY[rule_version_id]);
    SELECT string_agg(DISTINCT t.calendar, ', ') INTO bad FROM referral.task_template t
    WHERE t.rule_version_id = check_worklist_version.rule_version_id
      AND NOT EXISTS (SELECT FROM referral.business_calendar b JOIN referral.rule_version v USING (rule_version_id)
                      WHERE b.name = t.calendar AND (v.status = 'active' OR v.rule_version_id = check_worklist_version.rule_version_id));
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'business calendar "%" is not active', bad
            USING ERRCODE = 'RF011', DETAIL = 'A task template counts on it.', HINT = 'Activate a version of the calendars that has it first.';
    END IF;
    SELECT string_agg(DISTINCT x.entity, ', ') INTO bad
    FROM (SELECT s.entity FROM referral.work_source s WHERE s.rule_version_id = check_worklist_version.rule_version_id
          UNION SELECT t.entity FROM referral.task_template t WHERE t.rule_version_id = check_worklist_version.rule_version_id) x
    WHERE NOT EXISTS (SELECT FROM referral.entity e JOIN pg_trigger g ON g.tgrelid = e.relation
                      WHERE e.entity = x.entity AND g.tgfoid = 'referral.work()'::regprocedure);
    IF bad IS NOT NULL THEN
        RAISE WARNING 'rows of entity "%" are no work', bad
            USING DETAIL = 'Its table has no trigger referral.work().', HINT = 'Lay one on it; see the documentation of worklists.';
    END IF;
    PERFORM referral.check_work_places(rule_version_id);
END $$;
COMMENT ON FUNCTION referral.check_worklist_version(bigint) IS
'The part of check_rule_version() about worklists: calendars of tasks are there, scores can be told exactly (RF011); warns of entities whose table has no trigger work, and of what check_work_places() finds. Null for null.';

CREATE FUNCTION referral.warn_queue(queue text, rule text) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM referral.queue q WHERE q.name = warn_queue.queue) THEN
        RAISE WARNING 'no organisation has a queue "%"', queue
            USING DETAIL = format('What %s sends there would go to manual_triage.', rule), HINT = 'Make the queue, or correct the name.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.warn_queue(text, text) IS
'Warns when no organisation has a queue of that name; rule: which rule names it. For functions that run with the owner''s rights, since authors of rules do not see queues. Nothing happens for null.';

CREATE FUNCTION referral.check_work_places(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT t.name, t.entity, x.kind, x.wanted FROM referral.task_template t
             CROSS JOIN LATERAL (VALUES ('state', t.on_state::text), ('step', t.on_step), ('transition', t.on_transition)) x (kind, wanted)
             WHERE t.rule_version_id = check_work_places.rule_version_id AND x.wanted IS NOT NULL
               AND NOT EXISTS (SELECT FROM referral.workflow w
                               JOIN LATERAL (SELECT 'state' AS kind, s.state::text AS name FROM referral.workflow_step s WHERE s.workflow_id = w.workflow_id
                                             UNION ALL SELECT 'step', s.step FROM referral.workflow_step s WHERE s.workflow_id = w.workflow_id
                                             UNION ALL SELECT 'transition', m.transition FROM referral.workflow_transition m WHERE m.workflow_id = w.workflow_id) n
                                 ON n.kind = x.kind AND n.name = x.wanted
                               WHERE w.entity = t.entity)
    LOOP
        RAISE WARNING 'no workflow has a % "%"', r.kind, r.wanted
            USING DETAIL = format('Task template "%s" about entity "%s" waits for it, and would never open its task.', r.name, r.entity),
                  HINT = format('Correct the name; see referral.workflow_%s.', CASE r.kind WHEN 'transition' THEN 'transition' ELSE 'step' END);
    END LOOP;
    PERFORM referral.warn_queue(t.queue, format('task template "%s"', t.name)) FROM referral.task_template t
    WHERE t.rule_version_id = check_work_places.rule_version_id;
    PERFORM referral.warn_queue(s.queue, format('rule "%s" of work_source', s.name)) FROM referral.work_source s
    WHERE s.rule_version_id = check_work_places.rule_version_id;
END $$;
COMMENT ON FUNCTION referral.check_work_places(bigint) IS
'Warns of task templates that wait for a state, a step or a transition which no workflow of their entity has, and of queues that no organisation has. Null for null.';

REVOKE ALL ON FUNCTION referral.warn_queue(text, text), referral.check_work_places(bigint), referral.spawn_tasks(text, bigint, bigint, bigint[]),
    referral.check_date_of(record),
    referral.settle_tasks(text, bigint, bigint, boolean), referral.worklist_rule_check() FROM PUBLIC;
