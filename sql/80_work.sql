-- work: which rows are work, and what follows from their changes

CREATE FUNCTION referral.work() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'work';
COMMENT ON FUNCTION referral.work() IS
'work(entity, id_column): AFTER INSERT OR UPDATE OR DELETE row trigger of the tables whose rows can be work. Opens and closes their items as the rules of work_source say, has them routed and ranked anew where that could change, spawns and completes tasks, and has the exceptions opened and the approvals requested that rules ask for.';

CREATE FUNCTION referral.work_row(entity text, org_id bigint, id bigint) RETURNS record
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'work_row';
COMMENT ON FUNCTION referral.work_row(text, bigint, bigint) IS
'The row of an entity, as a record of its table, read with the rights of the table''s owner. Null when there is no such row or table, and for null.';

CREATE FUNCTION referral.settle_items(entity text, org_id bigint, id bigint) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'settle_items';
COMMENT ON FUNCTION referral.settle_items(text, bigint, bigint) IS
'Opens the items that a row, as it is stored, has to have by the rules of work_source, as far as they are not there, and closes those that it has no more; a referral that has not come to its end has a primary one in any case. Nothing happens for null and when there is no such row.';

CREATE FUNCTION referral.queue_for(org_id bigint, queue text) RETURNS bigint
LANGUAGE C AS 'MODULE_PATHNAME', 'queue_for';
COMMENT ON FUNCTION referral.queue_for(bigint, text) IS
'Where work for the queue of that name goes now: see effective_queue(). manual_triage for null, and when there is no such queue.';

CREATE FUNCTION referral.stop_work(entity text, org_id bigint, id bigint, kind text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i record;
BEGIN
    -- a rule that raises an error does not say that there is no work
    IF kind <> 'referral' AND EXISTS (SELECT FROM referral.work_source s JOIN referral.rule_version v USING (rule_version_id)
               WHERE v.status = 'active' AND s.entity = stop_work.entity AND s.kind = stop_work.kind
                 AND referral.rule_fits(s.applies_when, referral.work_row(stop_work.entity, stop_work.org_id, stop_work.id), s.name) IS NULL
                 AND s.applies_when IS NOT NULL) THEN
        RETURN;
    END IF;
    FOR i IN SELECT w.work_item_id FROM referral.work_item w
             WHERE w.org_id = stop_work.org_id AND w.entity_id = stop_work.id AND w.entity = stop_work.entity AND w.kind = stop_work.kind
               AND w.task = '' AND w.closed_at IS NULL
    LOOP
        PERFORM referral.close_work(org_id, i.work_item_id, 'completed', 'the row is no longer work');
    END LOOP;
    IF entity = 'referral' AND kind = 'referral' THEN
        -- what was done is not cancelled
        PERFORM referral.settle_tasks(entity, org_id, id, false);
        FOR i IN SELECT w.work_item_id FROM referral.work_item w
                 WHERE w.org_id = stop_work.org_id AND w.referral_id = stop_work.id AND w.kind = 'task' AND w.closed_at IS NULL
        LOOP
            PERFORM referral.close_work(org_id, i.work_item_id, 'cancelled', 'the referral has come to its end');
        END LOOP;
    END IF;
END $$;
COMMENT ON FUNCTION referral.stop_work(text, bigint, bigint, text) IS
'Closes the item of a kind about a row that is no longer work of that kind, unless a rule about it raises an error; with that of a referral, its open tasks too: those whose until_when holds are completed, the others cancelled. Called by the trigger work.';

CREATE FUNCTION referral.forget_work(entity text, org_id bigint, id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i record;
BEGIN
    FOR i IN SELECT w.work_item_id FROM referral.work_item w
             WHERE w.org_id = forget_work.org_id AND w.entity_id = forget_work.id AND w.entity = forget_work.entity AND w.closed_at IS NULL
    LOOP
        PERFORM referral.close_work(org_id, i.work_item_id, 'cancelled', 'the row was deleted');
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.forget_work(text, bigint, bigint) IS
'Cancels the open items of a row that is deleted. Called by the trigger work.';

CREATE FUNCTION referral.work_again(entity text, org_id bigint, id bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.settle_items(entity, org_id, id);
    RETURN (SELECT max(w.work_item_id) FROM referral.work_item w
            WHERE w.org_id = work_again.org_id AND w.entity_id = work_again.id AND w.entity = work_again.entity
              AND w.task = '' AND w.closed_at IS NULL);
END $$;
COMMENT ON FUNCTION referral.work_again(text, bigint, bigint) IS
'Opens the item of a row that is still work, after the former one was closed, and returns its work_item_id; null when the row is no longer work.';

CREATE FUNCTION referral.open_missing_work() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
    n bigint := 0;
BEGIN
    FOR r IN SELECT u.org_id, u.referral_id FROM referral.unowned_referral u LOOP
        PERFORM referral.settle_items('referral', r.org_id, r.referral_id);
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.open_missing_work() IS
'Opens work items for referrals that have none, such as those of before there were any; returns for how many. Called by deploy().';

CREATE FUNCTION referral.go_through_rows(rule_table text, settle text, again_after interval, org_id bigint, entity text, max integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    after_id bigint := referral.follow_rules(rule_table, org_id, entity, again_after);
    settle_row text := format('SELECT referral.%I($1, $2, $3)', settle);
    ids bigint[];
    id bigint;
BEGIN
    IF after_id IS NULL THEN
        RETURN 0;
    END IF;
    IF rule_table = 'task_template' THEN
        -- only rows with open tasks: few, so that they can be asked often
        ids := ARRAY(SELECT DISTINCT w.entity_id FROM referral.work_item w
                     WHERE w.org_id = go_through_rows.org_id AND w.entity = go_through_rows.entity AND w.entity_id > after_id
                       AND w.kind = 'task' AND w.closed_at IS NULL
                     ORDER BY w.entity_id LIMIT max);
    ELSE
        EXECUTE (SELECT format('SELECT ARRAY(SELECT r.%1$I FROM %2$s r WHERE r.org_id = $1 AND r.%1$I > $2 ORDER BY r.%1$I LIMIT $3)', e.id_column, e.relation)
                 FROM referral.entity e WHERE e.entity = go_through_rows.entity)
        INTO STRICT ids USING org_id, after_id, max;
    END IF;
    FOREACH id IN ARRAY ids LOOP
        BEGIN
            EXECUTE settle_row USING entity, org_id, id;
        EXCEPTION WHEN lock_not_available OR deadlock_detected OR SQLSTATE 'RF019' THEN
            NULL;           -- somebody works on it: after again_after; or it is gone meanwhile
        END;
    END LOOP;
    PERFORM referral.rules_followed(rule_table, org_id, entity, CASE WHEN cardinality(ids) = max THEN ids[max] END);
    RETURN cardinality(ids);
END $$;
COMMENT ON FUNCTION referral.go_through_rows(text, text, interval, bigint, text, integer) IS
'Looks at the next max rows of an entity in an organisation, in the order of their numbers, with the function settle(entity, org_id, id) of this extension, and returns how many it looked at (of task_template: those that have open tasks); 0 when all are done by the rules of now, or somebody else is at it.';

CREATE FUNCTION referral.go_through(rule_table text, settle text, again_after interval, max integer) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    todo record;
    n bigint := 0;
BEGIN
    PERFORM referral.require_number(max);
    FOR todo IN SELECT * FROM referral.rules_to_follow(rule_table, again_after) LOOP
        EXIT WHEN n >= max;
        n := n + referral.go_through_rows(rule_table, settle, again_after, todo.org_id, todo.entity, (max - n)::integer);
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.go_through(text, text, interval, integer) IS
'After other rules of a rule table have come into force or gone, and after again_after in any case, has settle(entity, org_id, id) look at all rows of all organisations that the rules are about: max rows now. Returns how many that were, 0 when all are done. RF020 when max is below 0.';

CREATE FUNCTION referral.settle_work(as_of timestamptz, max integer) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system' AS $$
BEGIN
    RETURN referral.go_through('work_source', 'settle_items', '1 day', max);
END $$;
COMMENT ON FUNCTION referral.settle_work(timestamptz, integer) IS
'Lets all rows have the items that they should have: after other rules of work_source have come into force or gone, and once a day for what came in without triggers; go_through() says how. Called by tick(). as_of is not looked at. RF020 when max is below 0. Null for null.';

CREATE FUNCTION referral.settle_exceptions(as_of timestamptz, max integer) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system' AS $$
BEGIN
    RETURN referral.go_through('exception_rule', 'check_exceptions', '1 day', max);
END $$;
COMMENT ON FUNCTION referral.settle_exceptions(timestamptz, integer) IS
'Asks the rules of exception_rule about all rows after other ones have come into force or gone, and once a day, for rows that somebody else had locked then, or that came in without triggers; go_through() says how. Called by tick(). as_of is not looked at. RF020 when max is below 0. Null for null.';

CREATE FUNCTION referral.settle_open_tasks(as_of timestamptz, max integer) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system' AS $$
BEGIN
    RETURN referral.go_through('task_template', 'settle_tasks', '30 seconds', max);
END $$;
COMMENT ON FUNCTION referral.settle_open_tasks(timestamptz, integer) IS
'Completes open tasks whose until_when has come to hold without a change of their row, as other rows or the time changed; each row is asked about once in 30 seconds at most; go_through() says how. Called by tick(). as_of is not looked at. RF020 when max is below 0. Null for null.';

-- ---------- tick() ----------

CREATE FUNCTION referral.chores() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(c.name ORDER BY c.sort), '{}')
    FROM unnest(ARRAY['reclaim_expired', 'reclaim_held', 'settle_work', 'settle_exceptions', 'settle_open_tasks', 'move_stranded', 'refresh_all_ranks',
                      'expire_approvals', 'renew_approvals']) WITH ORDINALITY c (name, sort)
    WHERE to_regprocedure(format('referral.%I(timestamptz, integer)', c.name)) IS NOT NULL
$$;
COMMENT ON FUNCTION referral.chores() IS
'What tick() does beside clocks: names of functions f(as_of timestamptz, max integer) of this extension that do a batch of it and return how many items that was, 0 when nothing is left.';

CREATE FUNCTION referral.do_chore(name text, as_of timestamptz, max integer, OUT done bigint, OUT last_error text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system' SET lock_timeout = '1s' AS $$
BEGIN
    EXECUTE format('SELECT referral.%I($1, $2)', name) INTO done USING as_of, max;
EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
    done := 0;          -- somebody works on it: the next tick tries again
WHEN OTHERS OR assert_failure THEN
    done := 0;
    last_error := format('%s: %s', name, referral.harmless_error(SQLSTATE, SQLERRM));
END $$;
COMMENT ON FUNCTION referral.do_chore(text, timestamptz, integer) IS
'One batch of a chore of tick(): how many items that was, and the error if it failed. Others have their turn all the same.';

-- ---------- What escalations ask for ----------

CREATE FUNCTION referral.escalate_to_queue(org_id bigint, work_item_id bigint, queue text, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item := referral.lock_item(org_id, work_item_id);
    target bigint := referral.queue_for(org_id, queue);
BEGIN
    PERFORM referral.hand_over_by_rule(i, target, reason, 'escalate');
END $$;
COMMENT ON FUNCTION referral.escalate_to_queue(bigint, bigint, text, text) IS
'Sends an open item to another queue because its time runs out: moved when nobody has it, handed over otherwise.';

CREATE FUNCTION referral.escalate_work(escalation record) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    of_referral bigint := CASE escalation.entity WHEN 'referral' THEN escalation.entity_id END;
    item bigint := (SELECT w.work_item_id FROM referral.work_item w
                    WHERE w.org_id = escalation.org_id AND w.entity_id = escalation.entity_id AND w.entity = escalation.entity
                      AND w.closed_at IS NULL
                    ORDER BY w.is_primary DESC, w.work_item_id LIMIT 1);
    why text := format('%s, level %s', escalation.policy, escalation.level);
BEGIN
    CASE escalation.action
    WHEN 'open_exception' THEN
        PERFORM referral.open_exception(escalation.org_id, escalation.argument::referral.exception_category, escalation.entity,
                                        escalation.entity_id, of_referral, 'overdue_' || escalation.policy,
                                        coalesce(escalation.title, why), 'high');
    WHEN 'request_approval' THEN
        PERFORM referral.request_approval(escalation.entity, escalation.org_id, escalation.entity_id, escalation.argument, why);
    WHEN 'reassign_queue' THEN
        IF item IS NULL THEN
            PERFORM referral.open_work(escalation.entity, escalation.org_id, escalation.entity_id, 'task', of_referral,
                referral.queue_for(escalation.org_id, escalation.argument), escalation.title, NULL, false, why);
        ELSE
            PERFORM referral.escalate_to_queue(escalation.org_id, item, escalation.argument, why);
        END IF;
    WHEN 'assign_role' THEN
        UPDATE referral.work_item w SET escalated_to = escalation.argument, verb = 'escalate'
        WHERE w.org_id = escalation.org_id AND w.work_item_id = item AND w.escalated_to IS DISTINCT FROM escalation.argument::name;
    END CASE;
END $$;
COMMENT ON FUNCTION referral.escalate_work(record) IS
'Does what an escalation asks for about the work on a row: reassign_queue sends its item to the queue (opens a task there when it has none), assign_role lets the members of the role claim it, open_exception opens one of the category, request_approval asks for the approval.';

REVOKE ALL ON FUNCTION referral.work(), referral.work_row(text, bigint, bigint), referral.settle_items(text, bigint, bigint),
    referral.queue_for(bigint, text),
    referral.stop_work(text, bigint, bigint, text), referral.forget_work(text, bigint, bigint), referral.work_again(text, bigint, bigint),
    referral.open_missing_work(), referral.go_through_rows(text, text, interval, bigint, text, integer), referral.go_through(text, text, interval, integer),
    referral.settle_work(timestamptz, integer), referral.settle_exceptions(timestamptz, integer), referral.settle_open_tasks(timestamptz, integer), referral.chores(), referral.do_chore(text, timestamptz, integer),
    referral.escalate_to_queue(bigint, bigint, text, text), referral.escalate_work(record) FROM PUBLIC;
