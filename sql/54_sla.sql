-- sla: clocks that follow rows, their levels, and what people do to them

CREATE FUNCTION referral.sla_clock() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'sla_clock';
COMMENT ON FUNCTION referral.sla_clock() IS
'sla_clock(entity, id_column): AFTER INSERT OR UPDATE OR DELETE row trigger of a tracked table. Starts, pauses, resumes, stops or nullifies the row''s clocks as the active policies say, at the time of the event (referral.occurred_at, else the start of the transaction). RF012 when a policy''s calendar is not active.';

CREATE FUNCTION referral.has_clocks(entity text) RETURNS boolean
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'has_clocks';
COMMENT ON FUNCTION referral.has_clocks(text) IS
'Has an entity a service level policy that is active, or was? Otherwise its trigger sla_clock need not fire. Null for null.';

CREATE FUNCTION referral.clock_levels(
    sla_policy_id bigint, business_calendar_id bigint, running_since timestamptz, target interval, consumed interval)
RETURNS TABLE (level integer, planned_at timestamptz)
LANGUAGE C STABLE STRICT ROWS 5 AS 'MODULE_PATHNAME', 'clock_levels';
COMMENT ON FUNCTION referral.clock_levels(bigint, bigint, timestamptz, interval, interval) IS
'When a clock that runs without a break from running_since reaches each level of its policy; level -1 is the due time, level 0 the instant after which more than the target is used (breach). What lies past the end of the calendar is left out. Null for null: no rows.';

CREATE FUNCTION referral.policies_of(entity text, org_id bigint, id bigint)
RETURNS TABLE (policy text, sla_policy_id bigint, business_calendar_id bigint, phase text, starts boolean)
LANGUAGE C STABLE STRICT ROWS 5 AS 'MODULE_PATHNAME', 'policies_of';
COMMENT ON FUNCTION referral.policies_of(text, bigint, bigint) IS
'What the active policies of an entity say of one of its rows, one row per policy name: which policy and calendar it falls under (null when under none), phase (cancelled, stopped, paused or other) and whether it meets start_when. Reads the row with the rights of its table''s owner. No rows when there is no such row or table, and for null.';

CREATE FUNCTION referral.phase_under(sla_policy_id bigint, entity text, org_id bigint, id bigint) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'phase_under';
COMMENT ON FUNCTION referral.phase_under(bigint, text, bigint, bigint) IS
'What a policy, of an active version or not, says of a row''s clock: cancelled, stopped, paused or other. Reads the row with the rights of its table''s owner. Null when there is no such row or table, and for null.';

CREATE FUNCTION referral.row_reason(entity text, org_id bigint, id bigint) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'row_reason';
COMMENT ON FUNCTION referral.row_reason(text, bigint, bigint) IS
'status_reason of a row, read with the rights of its table''s owner. Null when it has none, when there is no such row or table, and for null.';

CREATE FUNCTION referral.row_as_owner(entity text, org_id bigint, id bigint, verb text, argument text) RETURNS boolean
LANGUAGE C AS 'MODULE_PATHNAME', 'row_as_owner';
COMMENT ON FUNCTION referral.row_as_owner(text, bigint, bigint, text, text) IS
'Finds (exists), locks (lock, or try_lock if nobody has) or changes (raise_priority, take_step) a row of an entity with the rights of its table''s owner, whose triggers may run; false when there is no such row or table, or nothing to change; null for null, but argument may be null. For tick() and the functions on clocks.';

CREATE FUNCTION referral.transition_name(transition_id bigint) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.transition FROM referral.workflow_transition t WHERE t.transition_id = transition_name.transition_id
$$;
COMMENT ON FUNCTION referral.transition_name(bigint) IS
'Name of a transition, for rules about events: referral.transition_name(transition_id) = ''rebook''. Null for null, and when there is none.';

-- ---------- Rules ----------

CREATE FUNCTION referral.sla_level_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.action NOT IN ('notify', 'raise_priority') AND NEW.argument IS NULL)
       OR (NEW.action = 'raise_priority' AND NEW.argument !~ '^[0-9]{1,4}$') THEN
        RAISE EXCEPTION 'level % does not say what action % is to work with', NEW.level, NEW.action
            USING ERRCODE = 'RF011', DETAIL = 'assign_role needs a role, reassign_queue a queue, open_exception a category, request_approval a kind; raise_priority takes a number.',
                  HINT = 'Give it in argument.';
    END IF;
    IF NEW.action = 'raise_priority' AND NOT EXISTS (
        SELECT FROM referral.sla_policy p JOIN referral.entity e USING (entity)
        JOIN pg_attribute a ON a.attrelid = e.relation AND a.attname = 'priority' AND a.atttypid = 'integer'::regtype AND NOT a.attisdropped
        WHERE p.sla_policy_id = NEW.sla_policy_id) THEN
        RAISE EXCEPTION 'level % cannot raise the priority of its rows', NEW.level
            USING ERRCODE = 'RF011', DETAIL = 'The table of the policy''s entity has no integer column priority.',
                  HINT = 'Add the column, or choose another action.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.sla_level_check() IS
'BEFORE row trigger of referral.sla_level: refuses an action without the argument it needs, and raise_priority where rows have no priority (RF011).';

CREATE FUNCTION referral.sla_policy_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF extract(year FROM NEW.target) <> 0 OR extract(month FROM NEW.target) <> 0 OR extract(day FROM NEW.target) < 0
       OR NEW.target - make_interval(days => extract(day FROM NEW.target)::int) < '0' OR NEW.target <= '0' THEN
        RAISE EXCEPTION 'policy "%" has no target that could be counted', NEW.name
            USING ERRCODE = 'RF011', DETAIL = 'A target is longer than nothing, in business days, or in hours and below of open time.',
                  HINT = 'Write 30 days instead of 1 month, for example.';
    END IF;
    IF NEW.entity IS NOT NULL AND NOT EXISTS (
                   SELECT FROM referral.entity e JOIN pg_trigger t ON t.tgrelid = e.relation
                   WHERE e.entity = NEW.entity AND t.tgfoid = 'referral.sla_clock()'::regprocedure) THEN
        RAISE EXCEPTION 'rows of entity "%" have no clocks', NEW.entity
            USING ERRCODE = 'RF011', DETAIL = 'Only tables with a workflow have: their rows have a state.',
                  HINT = 'Put the table under a workflow with referral.attach().';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.sla_policy_check() IS
'BEFORE row trigger of referral.sla_policy: refuses a target in months or years, or of nothing, and an entity whose rows have no clocks (RF011).';

CREATE FUNCTION referral.harmless_error(code text, message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT code || CASE WHEN code ~ '^(RF|40|42|55|57)' THEN ' ' || message ELSE '' END
$$;
COMMENT ON FUNCTION referral.harmless_error(text, text) IS
'An error to be kept where people read it: the SQLSTATE, and the message where it is about rules, locks, objects or rights, since other messages may quote what a row holds.';

-- ---------- Levels that are reached ----------

CREATE FUNCTION referral.fire_clocks(orgs bigint[], clocks bigint[], until timestamptz, overtaken boolean) RETURNS bigint
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp
-- the clocks that are given drive look-ups by index, however many there are
SET enable_sort = on SET enable_seqscan = off SET enable_bitmapscan = off SET enable_mergejoin = off SET enable_hashjoin = off AS $$
DECLARE
    fired bigint;
BEGIN
    -- before the escalations, whose foreign key asks for the clock's lock too
    PERFORM FROM unnest(orgs, clocks) u (org_id, clock_id)
    JOIN referral.sla_clock c ON c.org_id = u.org_id AND c.clock_id = u.clock_id
    ORDER BY c.org_id, c.clock_id FOR UPDATE OF c;
    INSERT INTO referral.escalation (org_id, clock_id, cycle, level, entity, entity_id, policy, title, planned_at, fired_at,
                                     action, argument, outcome)
    SELECT c.org_id, c.clock_id, c.cycle, l.level, c.entity, c.entity_id, c.policy, l.title, greatest(t.planned_at, c.judged_since), clock_timestamp(),
           l.action, l.argument,
           CASE WHEN fire_clocks.overtaken THEN 'overtaken'
                WHEN l.level < max(l.level) OVER (PARTITION BY c.org_id, c.clock_id, l.action) THEN 'collapsed'
                WHEN l.action = 'raise_priority' THEN 'pending' ELSE 'done' END
    FROM unnest(orgs, clocks) u (org_id, clock_id)
    JOIN referral.sla_clock c ON c.org_id = u.org_id AND c.clock_id = u.clock_id
    CROSS JOIN LATERAL referral.clock_levels(c.sla_policy_id, c.business_calendar_id, c.running_since, c.target, c.consumed) t
    JOIN referral.sla_level l ON l.sla_policy_id = c.sla_policy_id AND l.level = t.level
    WHERE c.stopped_at IS NULL AND c.nullified_at IS NULL AND t.planned_at <= fire_clocks.until
      AND NOT EXISTS (SELECT FROM referral.escalation e
                      WHERE e.org_id = c.org_id AND e.clock_id = c.clock_id AND e.cycle = c.cycle AND e.level = l.level)
    ORDER BY t.planned_at, c.clock_id, l.level
    ON CONFLICT ON CONSTRAINT escalation_pkey DO NOTHING;
    GET DIAGNOSTICS fired = ROW_COUNT;
    UPDATE referral.sla_clock c
    SET breached_at = CASE WHEN c.breached_at IS NULL AND s.breached_at IS NOT NULL THEN greatest(s.breached_at, c.judged_since)
                           ELSE c.breached_at END,
        next_fire_at = CASE WHEN s.is_open THEN coalesce(s.next_fire_at, 'infinity') END
    FROM (SELECT o.org_id, o.clock_id, o.stopped_at IS NULL AND o.nullified_at IS NULL AS is_open,
                 min(t.planned_at) FILTER (WHERE t.level = 0 AND t.planned_at < fire_clocks.until) AS breached_at,
                 -- a target is exceeded right after its breach instant, not at it
                 min(t.planned_at + CASE t.level WHEN 0 THEN interval '1 microsecond' ELSE '0' END)
                     FILTER (WHERE t.level >= 0 AND t.planned_at + CASE t.level WHEN 0 THEN interval '1 microsecond' ELSE '0' END > fire_clocks.until) AS next_fire_at
          FROM unnest(orgs, clocks) u (org_id, clock_id)
          JOIN referral.sla_clock o ON o.org_id = u.org_id AND o.clock_id = u.clock_id
          LEFT JOIN LATERAL referral.clock_levels(o.sla_policy_id, o.business_calendar_id, o.running_since, o.target, o.consumed) t
                 ON o.stopped_at IS NULL AND o.nullified_at IS NULL
          GROUP BY o.org_id, o.clock_id) s
    WHERE c.org_id = s.org_id AND c.clock_id = s.clock_id;
    RETURN fired;
END $$;
COMMENT ON FUNCTION referral.fire_clocks(bigint[], bigint[], timestamptz, boolean) IS
'Records the levels that these clocks have reached until then and that are not recorded yet, notes breaches, and when to look again; returns how many levels. overtaken: the clock is about to be stopped or paused, nothing is to be done any more. Locks the clocks. Null: nothing happens.';

CREATE FUNCTION referral.tick_fire(
    as_of timestamptz, max integer, OUT clocks bigint, OUT levels bigint, OUT failed bigint, OUT last_error text)
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
-- a plan made when few clocks were open must not scan many
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    orgs bigint[];
    ids bigint[];
BEGIN
    failed := 0;
    levels := 0;
    SELECT array_agg(d.org_id), array_agg(d.clock_id) INTO orgs, ids
    FROM (SELECT c.org_id, c.clock_id FROM referral.sla_clock c
          WHERE c.next_fire_at <= tick_fire.as_of
          ORDER BY c.next_fire_at LIMIT tick_fire.max
          FOR UPDATE SKIP LOCKED) d;
    clocks := coalesce(cardinality(ids), 0);
    IF clocks = 0 THEN
        RETURN;
    END IF;
    BEGIN
        levels := referral.fire_clocks(orgs, ids, as_of, false);
        RETURN;
    EXCEPTION WHEN OTHERS OR assert_failure THEN
        last_error := format('%s clocks at once: %s', clocks, referral.harmless_error(SQLSTATE, SQLERRM));
    END;
    -- one by one, so that none holds up the others; it is looked at again in an hour
    FOR i IN 1 .. cardinality(ids) LOOP
        BEGIN
            levels := levels + referral.fire_clocks(orgs[i:i], ids[i:i], as_of, false);
        EXCEPTION WHEN OTHERS OR assert_failure THEN
            failed := failed + 1;
            last_error := format('clock %s: %s', ids[i], referral.harmless_error(SQLSTATE, SQLERRM));
            UPDATE referral.sla_clock c SET next_fire_at = tick_fire.as_of + interval '1 hour'
            WHERE c.org_id = orgs[i] AND c.clock_id = ids[i];
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.tick_fire(timestamptz, integer) IS
'One batch of tick(): locks up to max clocks that have reached something by as_of, oldest first, leaving out those that others have locked, and records it; returns how many clocks and levels. A clock that cannot be judged counts as failed, with the error, and is tried again an hour later. Null for null.';

CREATE FUNCTION referral.act_on(escalation_id bigint, org_id bigint) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
BEGIN
    SELECT x.* INTO e FROM referral.escalation x
    WHERE x.org_id = act_on.org_id AND x.escalation_id = act_on.escalation_id;
    PERFORM set_config('referral.reason', format('escalation of %s, level %s', e.policy, e.level), true);
    PERFORM referral.row_as_owner(e.entity, e.org_id, e.entity_id, 'raise_priority', coalesce(e.argument, e.level::text));
END $$;
COMMENT ON FUNCTION referral.act_on(bigint, bigint) IS
'Does what an escalation asks for: raises the row''s priority, unless it is as high already. Called by tick_act(). Null: nothing happens.';

-- What is to be done to rows of others' tables may fail in any way, or end the whole call. So that it is begun is committed
-- before it is done, one at a time, and what was begun in vain comes last.
CREATE FUNCTION referral.tick_begin(max_attempts integer, OUT org_id bigint, OUT escalation_id bigint)
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    e record;
BEGIN
    LOOP
        SELECT x.org_id, x.escalation_id, x.attempts INTO e FROM referral.escalation x
        WHERE x.outcome = 'pending' AND x.attempts < 1000000
        ORDER BY x.attempts, x.escalation_id LIMIT 1 FOR UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND OR e.attempts < max_attempts;
        UPDATE referral.escalation x
        SET outcome = 'failed', error = format('given up after %s attempts that ended tick()', e.attempts)
        WHERE x.org_id = e.org_id AND x.escalation_id = e.escalation_id;
    END LOOP;
    IF e.escalation_id IS NOT NULL THEN
        UPDATE referral.escalation x SET attempts = x.attempts + 1
        WHERE x.org_id = e.org_id AND x.escalation_id = e.escalation_id;
        org_id := e.org_id;
        escalation_id := e.escalation_id;
    END IF;
END $$;
COMMENT ON FUNCTION referral.tick_begin(integer) IS
'Notes that tick() is about to act on a pending escalation, the one with the fewest attempts, and returns which; null when there is none. One that was begun max_attempts times without an end is marked failed. Null for null.';

CREATE FUNCTION referral.tick_act(org_id bigint, escalation_id bigint, OUT outcome text, OUT last_error text)
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET referral.reason = '' SET lock_timeout = '1s' AS $$
DECLARE
    e record;
BEGIN
    SELECT x.* INTO e FROM referral.escalation x
    WHERE x.org_id = tick_act.org_id AND x.escalation_id = tick_act.escalation_id AND x.outcome = 'pending'
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    BEGIN
        -- a change that is under way may be stopping the clock: nobody is waited for
        IF NOT referral.row_as_owner(e.entity, e.org_id, e.entity_id, 'try_lock', NULL) THEN
            outcome := CASE WHEN referral.row_as_owner(e.entity, e.org_id, e.entity_id, 'exists', NULL) THEN 'pending' ELSE 'overtaken' END;
        ELSIF EXISTS (SELECT FROM referral.sla_clock c WHERE c.org_id = e.org_id AND c.clock_id = e.clock_id
                     AND (c.stopped_at IS NOT NULL OR c.nullified_at IS NOT NULL)) THEN
            outcome := 'overtaken';
        ELSE
            PERFORM referral.act_on(e.escalation_id, e.org_id);
            outcome := 'done';
        END IF;
    EXCEPTION
        WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
            outcome := 'pending';       -- somebody works on the row: the next tick tries again
        WHEN OTHERS OR assert_failure THEN
            outcome := 'failed';
            last_error := format('escalation %s: %s', e.escalation_id, referral.harmless_error(SQLSTATE, SQLERRM));
    END;
    UPDATE referral.escalation x
    SET outcome = tick_act.outcome, error = last_error, attempts = CASE tick_act.outcome WHEN 'pending' THEN least(x.attempts, 2) ELSE x.attempts END
    WHERE x.org_id = e.org_id AND x.escalation_id = e.escalation_id;
END $$;
COMMENT ON FUNCTION referral.tick_act(bigint, bigint) IS
'Does what a pending escalation asks for, and returns what came of it: done; overtaken, when its clock is closed by then; failed, with the error; pending, when its row is locked. Null when it is not pending, or another session has it, and for null.';

CREATE FUNCTION referral.tick_expire(
    entity text, as_of timestamptz, after_on date, after_id bigint, max integer,
    OUT last_on date, OUT last_id bigint, OUT expired bigint, OUT failed bigint, OUT last_error text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET referral.transition = 'expire' SET referral.reason = 'expires_on has passed' SET lock_timeout = '1s' AS $$
DECLARE
    e record;
    r record;
BEGIN
    expired := 0;
    failed := 0;
    SELECT x.* INTO e FROM referral.entity x WHERE x.entity = tick_expire.entity;
    BEGIN
        FOR r IN EXECUTE format(
            'SELECT t.org_id, t.%1$I AS id, t.expires_on, w.to_step FROM %2$s t'
            ' JOIN referral.workflow_transition w ON w.workflow_id = t.workflow_id AND w.from_step = t.step AND w.transition = ''expire'''
            ' WHERE t.expires_on < $1 AND (t.expires_on, t.%1$I) > ($2, $3)'
            ' AND t.state IN (''received'', ''validated'', ''pending_authorization'', ''ready_to_schedule'', ''on_hold'')'
            ' ORDER BY t.expires_on, t.%1$I LIMIT $4 FOR UPDATE OF t SKIP LOCKED', e.id_column, e.relation)
            USING (as_of AT TIME ZONE 'UTC')::date, coalesce(after_on, '-infinity'), coalesce(after_id, 0), max
        LOOP
            last_on := r.expires_on;
            last_id := r.id;
            BEGIN
                PERFORM referral.row_as_owner(entity, r.org_id, r.id, 'take_step', r.to_step);
                expired := expired + 1;
            EXCEPTION WHEN SQLSTATE 'RF002' THEN
                NULL;       -- not yet, by the date that the guard goes by
            WHEN OTHERS OR assert_failure THEN
                failed := failed + 1;
                last_error := format('%s %s: %s', entity, r.id, referral.harmless_error(SQLSTATE, SQLERRM));
            END;
        END LOOP;
    EXCEPTION WHEN OTHERS OR assert_failure THEN
        -- the table is locked, or not what it was: others have their turn
        last_on := NULL;
        expired := 0;
        failed := 1;
        last_error := format('entity %s: %s', entity, referral.harmless_error(SQLSTATE, SQLERRM));
    END;
END $$;
COMMENT ON FUNCTION referral.tick_expire(text, timestamptz, date, bigint, integer) IS
'One batch of tick(): takes up to max rows of an entity whose expires_on has passed by their transition expire, in order of (expires_on, id) from after_on, after_id on; returns where it got to (null when nothing was left, or the rows could not be read), how many, and what failed.';

CREATE FUNCTION referral.expiring_entities() RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.entity FROM referral.entity e JOIN pg_class c ON c.oid = e.relation
    WHERE e.detached_at IS NULL
      AND c.relowner = (SELECT m.relowner FROM pg_class m WHERE m.oid = 'referral.sla_clock'::regclass)
      AND (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = e.relation AND NOT a.attisdropped
             AND ((a.attname = 'expires_on' AND a.atttypid = 'date'::regtype) OR (a.attname = 'workflow_id' AND a.atttypid = 'bigint'::regtype))) = 2
    ORDER BY e.entity
$$;
COMMENT ON FUNCTION referral.expiring_entities() IS
'Entities whose rows have a date expires_on and a workflow, and whose tables belong to the owner of the model: tick() lets them expire.';

-- A procedure that commits can have no SET clause: everything is in the functions it calls.
CREATE PROCEDURE referral.tick(as_of timestamptz DEFAULT now())
LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := coalesce(as_of, pg_catalog.now());
    batch record;
    entities text[];
    i integer := 1;
    fired bigint := 0;
    acted bigint := 0;
    expired bigint := 0;
    failed bigint := 0;
    last_error text;
    after bigint;
    after_on date;
    act record;
    tried bigint[] := '{}';
BEGIN
    IF NOT pg_catalog.isfinite(at) THEN
        RAISE EXCEPTION 'tick() needs a time, not %', at
            USING ERRCODE = 'RF020', DETAIL = 'There is no end of what is due by then.', HINT = 'Leave as_of out.';
    END IF;
    PERFORM referral.heartbeat_start('tick', at);
    COMMIT;
    LOOP
        SELECT * INTO batch FROM referral.tick_fire(at, 500);
        COMMIT;
        EXIT WHEN batch.clocks = 0;
        fired := fired + batch.levels;
        failed := failed + batch.failed;
        last_error := coalesce(batch.last_error, last_error);
    END LOOP;
    SELECT pg_catalog.array_agg(e) INTO entities FROM referral.expiring_entities() e;
    WHILE i <= pg_catalog.cardinality(entities) LOOP
        after := NULL;
        after_on := NULL;
        LOOP
            SELECT * INTO batch FROM referral.tick_expire(entities[i], at, after_on, after, 50);
            COMMIT;
            expired := expired + batch.expired;
            failed := failed + batch.failed;
            last_error := coalesce(batch.last_error, last_error);
            EXIT WHEN batch.last_on IS NULL;
            after_on := batch.last_on;
            after := batch.last_id;
        END LOOP;
        i := i + 1;
    END LOOP;
    LOOP
        SELECT * INTO act FROM referral.tick_begin(3);
        COMMIT;
        EXIT WHEN act.escalation_id IS NULL OR act.escalation_id = ANY (tried);
        tried := tried || act.escalation_id;
        SELECT * INTO batch FROM referral.tick_act(act.org_id, act.escalation_id);
        COMMIT;
        acted := acted + CASE batch.outcome WHEN 'done' THEN 1 ELSE 0 END;
        failed := failed + CASE batch.outcome WHEN 'failed' THEN 1 ELSE 0 END;
        last_error := coalesce(batch.last_error, last_error);
    END LOOP;
    PERFORM referral.heartbeat_end('tick', fired, acted, expired, failed, last_error);
    COMMIT;
END $$;
COMMENT ON PROCEDURE referral.tick(timestamptz) IS
'Does what time asks for, up to as_of (default now; a later time is for trials): records the levels that clocks have reached, each once, lets rows expire, carries out what the levels ask for, and leaves a heartbeat. Commits between batches, so it cannot be called inside a transaction block. May run late, twice at once, or be killed: what it did stays, what is left is found by the next one. Its cost grows with what is due. Works for all organisations, so it is for the owner of the model.';

-- ---------- What happens to one clock ----------

CREATE FUNCTION referral.calendar_of(business_calendar_id bigint) RETURNS referral.calendar
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT b.calendar FROM referral.business_calendar b WHERE b.business_calendar_id = calendar_of.business_calendar_id
$$;
COMMENT ON FUNCTION referral.calendar_of(bigint) IS 'The calendar of a row of referral.business_calendar. Null for null.';

CREATE FUNCTION referral.known_elapsed(business_calendar_id bigint, "from" timestamptz, "to" timestamptz) RETURNS interval
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN referral.business_elapsed(referral.calendar_of(business_calendar_id), "from", greatest("from", "to"));
EXCEPTION WHEN SQLSTATE 'RF022' OR SQLSTATE '22008' THEN
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.known_elapsed(bigint, timestamptz, timestamptz) IS
'Open time between two instants, zero when reversed; null where the calendar does not reach so far, and for null.';

CREATE FUNCTION referral.refresh_clock(org_id bigint, clock_id bigint) RETURNS void
LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS $$
    UPDATE referral.sla_clock c
    SET due_at = t.due_at, calendar_fingerprint = referral.fingerprint(referral.calendar_of(c.business_calendar_id), t.due_at),
        next_fire_at = t.next_fire_at
    FROM (SELECT o.org_id, o.clock_id,
                 -- when the target was used up before, that stays the due time
                 CASE WHEN o.consumed >= o.target AND o.due_at IS NOT NULL THEN o.due_at
                      ELSE min(l.planned_at) FILTER (WHERE l.level = -1) END AS due_at,
                 coalesce(least(min(l.planned_at + interval '1 microsecond') FILTER (WHERE l.level = 0 AND o.breached_at IS NULL),
                                min(l.planned_at) FILTER (WHERE l.level > 0 AND e.level IS NULL)), 'infinity') AS next_fire_at
          FROM referral.sla_clock o
          LEFT JOIN LATERAL referral.clock_levels(o.sla_policy_id, o.business_calendar_id, o.running_since, o.target, o.consumed) l ON true
          LEFT JOIN referral.escalation e ON e.org_id = o.org_id AND e.clock_id = o.clock_id AND e.cycle = o.cycle AND e.level = l.level
          WHERE o.org_id = refresh_clock.org_id AND o.clock_id = refresh_clock.clock_id
          GROUP BY o.org_id, o.clock_id) t
    WHERE c.org_id = t.org_id AND c.clock_id = t.clock_id AND c.stopped_at IS NULL AND c.nullified_at IS NULL
$$;
COMMENT ON FUNCTION referral.refresh_clock(bigint, bigint) IS
'Works out due_at, next_fire_at and calendar_fingerprint of an open clock from what it has consumed and since when it runs. Null: nothing happens.';

CREATE FUNCTION referral.hold_clock(org_id bigint, clock_id bigint, at timestamptz, pause_kind text, reason text, comment text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
    held_at timestamptz;
BEGIN
    SELECT x.*, p.pause_counts INTO c FROM referral.sla_clock x JOIN referral.sla_policy p USING (sla_policy_id)
    WHERE x.org_id = hold_clock.org_id AND x.clock_id = hold_clock.clock_id FOR UPDATE OF x;
    IF c.next_fire_at <= at THEN
        PERFORM referral.fire_clocks(ARRAY[hold_clock.org_id], ARRAY[hold_clock.clock_id], at, true);
    END IF;
    held_at := greatest(at, c.running_since);
    INSERT INTO referral.sla_pause (org_id, clock_id, pause_kind, reason, comment, paused_at, counted)
    VALUES (hold_clock.org_id, hold_clock.clock_id, hold_clock.pause_kind, hold_clock.reason, hold_clock.comment, held_at, c.pause_counts);
    IF c.pause_counts THEN
        UPDATE referral.sla_clock x SET pause_kind = hold_clock.pause_kind
        WHERE x.org_id = hold_clock.org_id AND x.clock_id = hold_clock.clock_id;
    ELSE
        UPDATE referral.sla_clock x
        SET pause_kind = hold_clock.pause_kind, running_since = NULL, next_fire_at = 'infinity', consumed = x.consumed + e.used,
            due_at = CASE WHEN x.consumed + e.used >= x.target THEN x.due_at END,
            calendar_fingerprint = CASE WHEN x.consumed + e.used >= x.target THEN x.calendar_fingerprint END,
            -- a breach that was noted before this pause came to be known is taken back
            breached_at = CASE WHEN x.consumed + e.used <= x.target THEN NULL ELSE x.breached_at END
        FROM referral.known_elapsed(c.business_calendar_id, c.running_since, held_at) e (used)
        WHERE x.org_id = hold_clock.org_id AND x.clock_id = hold_clock.clock_id;
    END IF;
END $$;
COMMENT ON FUNCTION referral.hold_clock(bigint, bigint, timestamptz, text, text, text) IS
'Pauses a running clock at a time: levels reached by then are recorded, the pause is recorded, and unless pauses count by policy, time stops.';

CREATE FUNCTION referral.release_clock(org_id bigint, clock_id bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
BEGIN
    UPDATE referral.sla_pause x SET resumed_at = greatest(release_clock.at, x.paused_at), resumed_by = referral.current_actor()
    WHERE x.org_id = release_clock.org_id AND x.clock_id = release_clock.clock_id AND x.resumed_at IS NULL
    RETURNING x.counted, x.resumed_at INTO p;
    UPDATE referral.sla_clock x
    SET pause_kind = NULL, running_since = CASE WHEN p.counted THEN x.running_since ELSE p.resumed_at END
    WHERE x.org_id = release_clock.org_id AND x.clock_id = release_clock.clock_id;
    IF NOT p.counted THEN
        PERFORM referral.refresh_clock(org_id, clock_id);
    END IF;
END $$;
COMMENT ON FUNCTION referral.release_clock(bigint, bigint, timestamptz) IS
'Ends the pause of a clock at a time; it runs on from there. Null: nothing happens.';

CREATE FUNCTION referral.cancel_clock(org_id bigint, clock_id bigint, at timestamptz) RETURNS void
LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS $$
    UPDATE referral.sla_pause x SET resumed_at = greatest(cancel_clock.at, x.paused_at), resumed_by = referral.current_actor()
    WHERE x.org_id = cancel_clock.org_id AND x.clock_id = cancel_clock.clock_id AND x.resumed_at IS NULL;
    UPDATE referral.sla_clock x
    SET nullified_at = greatest(cancel_clock.at, x.started_at), next_fire_at = NULL, pause_kind = NULL
    WHERE x.org_id = cancel_clock.org_id AND x.clock_id = cancel_clock.clock_id
$$;
COMMENT ON FUNCTION referral.cancel_clock(bigint, bigint, timestamptz) IS
'Nullifies an open clock at a time: nothing more comes of it, and it counts in no measure. Null: nothing happens.';

CREATE FUNCTION referral.reopen_clock(org_id bigint, clock_id bigint, at timestamptz) RETURNS void
LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO referral.sla_pause (org_id, clock_id, pause_kind, paused_at, resumed_at, resumed_by, counted)
    SELECT c.org_id, c.clock_id, 'stop', c.stopped_at, greatest(reopen_clock.at, c.stopped_at), referral.current_actor(), false
    FROM referral.sla_clock c WHERE c.org_id = reopen_clock.org_id AND c.clock_id = reopen_clock.clock_id;
    UPDATE referral.sla_clock c
    SET consumed = c.consumed + CASE WHEN c.running_since IS NULL THEN '0'
                                     ELSE referral.known_elapsed(c.business_calendar_id, c.running_since, c.stopped_at) END,
        running_since = greatest(reopen_clock.at, c.stopped_at), stopped_at = NULL
    WHERE c.org_id = reopen_clock.org_id AND c.clock_id = reopen_clock.clock_id;
    SELECT referral.refresh_clock(reopen_clock.org_id, reopen_clock.clock_id)
$$;
COMMENT ON FUNCTION referral.reopen_clock(bigint, bigint, timestamptz) IS
'Lets a stopped clock run on; the time between counts as a pause that does not count. Null: nothing happens.';

CREATE FUNCTION referral.stop_by_ledger(org_id bigint, clock_id bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c referral.sla_clock;
    used interval;
BEGIN
    SELECT * INTO c FROM referral.sla_clock x
    WHERE x.org_id = stop_by_ledger.org_id AND x.clock_id = stop_by_ledger.clock_id FOR UPDATE;
    SELECT CASE WHEN count(*) = count(e) THEN coalesce(sum(e), '0') END INTO used
    FROM unnest(tstzmultirange(tstzrange(c.started_at, greatest(stop_by_ledger.at, c.started_at))) - coalesce((
             SELECT range_agg(tstzrange(x.paused_at, x.resumed_at)) FROM referral.sla_pause x
             WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id AND NOT x.counted), '{}')) r
    CROSS JOIN LATERAL referral.known_elapsed(c.business_calendar_id, lower(r), upper(r)) e;
    UPDATE referral.sla_clock x
    SET stopped_at = greatest(stop_by_ledger.at, x.started_at), next_fire_at = NULL, running_since = NULL, consumed = used,
        breached_at = CASE WHEN used > x.target THEN coalesce(x.breached_at, greatest(stop_by_ledger.at, x.judged_since))
                           WHEN used <= x.target THEN NULL ELSE x.breached_at END
    WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
END $$;
COMMENT ON FUNCTION referral.stop_by_ledger(bigint, bigint, timestamptz) IS
'Stops a clock at a time before its last pause or run: what it has used by then is counted from its start, without the pauses that do not count, and judged anew. Null: nothing happens.';

CREATE FUNCTION referral.forget_clocks(org_id bigint, id bigint, entity text, at timestamptz) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- a row that moves to another partition is deleted and inserted
    IF NOT referral.row_as_owner(entity, org_id, id, 'exists', NULL) THEN
        PERFORM referral.cancel_clock(c.org_id, c.clock_id, forget_clocks.at) FROM referral.sla_clock c
        WHERE c.org_id = forget_clocks.org_id AND c.entity_id = forget_clocks.id AND c.entity = forget_clocks.entity
          AND c.stopped_at IS NULL AND c.nullified_at IS NULL;
    END IF;
END $$;
COMMENT ON FUNCTION referral.forget_clocks(bigint, bigint, text, timestamptz) IS
'Nullifies the open clocks of a row that was deleted. Null: nothing happens.';

CREATE FUNCTION referral.end_clocks(entity text) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM referral.entity e JOIN pg_class c ON c.oid = e.relation
               WHERE e.entity = end_clocks.entity AND pg_has_role(referral.acting_login(), c.relowner, 'MEMBER')) THEN
        INSERT INTO referral.sla_adjustment (org_id, clock_id, action, reason, adjusted_by, target_before, due_before)
        SELECT c.org_id, c.clock_id, 'nullify', 'the table was detached', referral.current_actor(), c.target, c.due_at
        FROM referral.sla_clock c
        WHERE c.entity = end_clocks.entity AND c.next_fire_at IS NOT NULL AND c.stopped_at IS NULL AND c.nullified_at IS NULL;
        PERFORM referral.cancel_clock(c.org_id, c.clock_id, now()) FROM referral.sla_clock c
        WHERE c.entity = end_clocks.entity AND c.next_fire_at IS NOT NULL AND c.stopped_at IS NULL AND c.nullified_at IS NULL;
    END IF;
END $$;
COMMENT ON FUNCTION referral.end_clocks(text) IS
'Nullifies all open clocks of an entity, with a row in sla_adjustment each, if the session owns its table: nothing follows its rows any more. Called by detach(). Null: nothing happens.';

CREATE FUNCTION referral.rejudge_clock(
    org_id bigint, clock_id bigint, to_policy bigint, to_calendar bigint, at timestamptz, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c referral.sla_clock;
    p referral.sla_policy;
    runs tstzmultirange;
    since timestamptz;
    used interval;
    allowed interval;
    breach timestamptz;
BEGIN
    SELECT * INTO c FROM referral.sla_clock x
    WHERE x.org_id = rejudge_clock.org_id AND x.clock_id = rejudge_clock.clock_id FOR UPDATE;
    SELECT * INTO p FROM referral.sla_policy x WHERE x.sla_policy_id = to_policy;
    -- what was reached until now was reached by the former policy
    IF c.next_fire_at <= at THEN
        PERFORM referral.fire_clocks(ARRAY[c.org_id], ARRAY[c.clock_id], at, false);
        SELECT * INTO c FROM referral.sla_clock x WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
    END IF;
    runs := tstzmultirange(tstzrange(c.started_at, c.stopped_at)) - coalesce((
        SELECT range_agg(tstzrange(x.paused_at, x.resumed_at)) FROM referral.sla_pause x
        WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id AND (NOT p.pause_counts OR x.pause_kind = 'stop')), '{}');
    SELECT lower(r) INTO since FROM unnest(runs) r WHERE upper(r) IS NOT DISTINCT FROM c.stopped_at;
    SELECT CASE WHEN count(*) = count(e) THEN coalesce(sum(e), '0') END INTO used
    FROM unnest(runs) r CROSS JOIN LATERAL referral.known_elapsed(to_calendar, lower(r), upper(r)) e
    WHERE upper(r) IS DISTINCT FROM c.stopped_at;
    BEGIN
        allowed := referral.business_target(referral.calendar_of(to_calendar), c.started_at, p.target)
                   + coalesce((SELECT sum(a.target_after - a.target_before) FROM referral.sla_adjustment a
                               WHERE a.org_id = c.org_id AND a.clock_id = c.clock_id AND a.action = 'extend'), '0');
    EXCEPTION WHEN SQLSTATE 'RF022' OR SQLSTATE '22008' THEN
        allowed := NULL;
    END;
    SELECT l.planned_at INTO breach
    FROM referral.clock_levels(to_policy, to_calendar, since, allowed, used) l WHERE l.level = 0;
    UPDATE referral.sla_clock x
    SET sla_policy_id = to_policy, rule_version = p.rule_version_id, kind = p.kind, business_calendar_id = to_calendar,
        judged_since = rejudge_clock.at, running_since = since, consumed = used, target = allowed, next_fire_at = 'infinity',
        due_at = CASE WHEN used >= allowed THEN coalesce(CASE WHEN c.target = allowed THEN c.due_at END, rejudge_clock.at) END,
        breached_at = CASE WHEN used > allowed OR breach < rejudge_clock.at THEN coalesce(c.breached_at, rejudge_clock.at)
                           WHEN allowed IS NULL OR used IS NULL THEN c.breached_at END
    WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
    UPDATE referral.sla_pause x SET counted = p.pause_counts
    WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id AND x.pause_kind <> 'stop' AND x.counted <> p.pause_counts;
    PERFORM referral.refresh_clock(org_id, clock_id);
    INSERT INTO referral.sla_adjustment (org_id, clock_id, action, reason, adjusted_by, target_before, target_after, due_before, due_after)
    SELECT c.org_id, c.clock_id, 'recompute', rejudge_clock.reason, referral.current_actor(), c.target, x.target, c.due_at, x.due_at
    FROM referral.sla_clock x WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
END $$;
COMMENT ON FUNCTION referral.rejudge_clock(bigint, bigint, bigint, bigint, timestamptz, text) IS
'Puts an open clock under another policy or calendar, from its start on: the pauses recorded are gone through again, extensions stay, levels that were recorded stay so. Notes the due time before and after in referral.sla_adjustment.';

-- ---------- What people do ----------

CREATE FUNCTION referral.may_change_org(org_id bigint) RETURNS boolean
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT may_change_org.org_id = ANY (referral.visible_orgs())
        OR pg_has_role(referral.acting_login(), (SELECT c.relowner FROM pg_class c WHERE c.oid = 'referral.sla_clock'::regclass), 'MEMBER')
$$;
COMMENT ON FUNCTION referral.may_change_org(bigint) IS
'Does the session work for the organisation, or own the model? For functions that run with the owner''s rights. Null for null.';

CREATE FUNCTION referral.lock_clock(org_id bigint, clock_id bigint) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c referral.sla_clock;
BEGIN
    SELECT * INTO c FROM referral.sla_clock x WHERE x.org_id = lock_clock.org_id AND x.clock_id = lock_clock.clock_id;
    IF c.clock_id IS NULL OR referral.may_change_org(c.org_id) IS NOT TRUE THEN
        RAISE EXCEPTION 'there is no clock % in organisation %', lock_clock.clock_id, lock_clock.org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.sla_status.';
    END IF;
    -- the row before its clock, as its own changes do
    PERFORM referral.row_as_owner(c.entity, c.org_id, c.entity_id, 'lock', NULL);
    SELECT * INTO c FROM referral.sla_clock x WHERE x.org_id = lock_clock.org_id AND x.clock_id = lock_clock.clock_id FOR UPDATE;
    IF c.stopped_at IS NOT NULL OR c.nullified_at IS NOT NULL THEN
        RAISE EXCEPTION 'clock % is closed', c.clock_id
            USING ERRCODE = 'RF023', DETAIL = format('It was %s.', CASE WHEN c.stopped_at IS NULL THEN 'nullified' ELSE 'stopped' END),
                  HINT = 'Only an open clock can be changed.';
    END IF;
    RETURN c;
END $$;
COMMENT ON FUNCTION referral.lock_clock(bigint, bigint) IS
'Locks an open clock, and its row before it, until the end of the transaction. RF019 when there is none that the session may change, RF023 when it is closed.';

CREATE FUNCTION referral.require_reason(reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(btrim(reason), '') = '' THEN
        RAISE EXCEPTION 'a reason is required'
            USING ERRCODE = 'RF005', DETAIL = 'What people do to a clock is on record with its reason.', HINT = 'Give a reason.';
    END IF;
    PERFORM set_config('referral.reason', reason, true);
END $$;
COMMENT ON FUNCTION referral.require_reason(text) IS
'Refuses (RF005) a reason that is null or blank; another one is what the journal notes while the calling function runs, which must have a SET clause for referral.reason.';

CREATE FUNCTION referral.pause_clock(org_id bigint, clock_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    c referral.sla_clock;
BEGIN
    PERFORM referral.require_reason(reason);
    c := referral.lock_clock(org_id, clock_id);
    IF c.pause_kind IS NOT NULL THEN
        RAISE EXCEPTION 'clock % is paused already', c.clock_id
            USING ERRCODE = 'RF023', DETAIL = format('By a %s.', c.pause_kind), HINT = 'See referral.sla_pause.';
    END IF;
    PERFORM referral.hold_clock(c.org_id, c.clock_id, now(), 'person', NULL, reason);
END $$;
COMMENT ON FUNCTION referral.pause_clock(bigint, bigint, text) IS
'Pauses a running clock from now on, until resume_clock(); whether its time counts, the policy says. RF005 without a reason, RF019 when there is no such clock, RF023 when it is closed or paused.';

CREATE FUNCTION referral.resume_clock(org_id bigint, clock_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c referral.sla_clock;
BEGIN
    c := referral.lock_clock(org_id, clock_id);
    IF c.pause_kind IS DISTINCT FROM 'person' THEN
        RAISE EXCEPTION 'clock % was not paused by a person', c.clock_id
            USING ERRCODE = 'RF023', DETAIL = CASE WHEN c.pause_kind IS NULL THEN 'It is running.' ELSE 'Its policy pauses it.' END,
                  HINT = 'A pause by policy ends when its row changes.';
    END IF;
    PERFORM referral.release_clock(c.org_id, c.clock_id, now());
    IF referral.phase_under(c.sla_policy_id, c.entity, c.org_id, c.entity_id) = 'paused' THEN
        PERFORM referral.hold_clock(c.org_id, c.clock_id, now(), 'rule', referral.row_reason(c.entity, c.org_id, c.entity_id));
    END IF;
END $$;
COMMENT ON FUNCTION referral.resume_clock(bigint, bigint) IS
'Ends a pause that a person began; the clock runs on from now, unless its policy pauses it. RF019 when there is no such clock, RF023 when it is closed or not paused by a person.';

CREATE FUNCTION referral.nullify_clock(org_id bigint, clock_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    c referral.sla_clock;
BEGIN
    PERFORM referral.require_reason(reason);
    c := referral.lock_clock(org_id, clock_id);
    IF c.next_fire_at <= now() THEN
        PERFORM referral.fire_clocks(ARRAY[c.org_id], ARRAY[c.clock_id], now(), false);
        SELECT * INTO c FROM referral.sla_clock x WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
    END IF;
    IF c.breached_at IS NOT NULL THEN
        RAISE EXCEPTION 'clock % is breached', c.clock_id
            USING ERRCODE = 'RF023', DETAIL = 'Nullified, it would be missing in every measure.', HINT = 'Record why in referral.sla_breach_review.';
    END IF;
    PERFORM referral.cancel_clock(c.org_id, c.clock_id, now());
    INSERT INTO referral.sla_adjustment (org_id, clock_id, action, reason, adjusted_by, target_before, due_before)
    VALUES (c.org_id, c.clock_id, 'nullify', nullify_clock.reason, referral.current_actor(), c.target, c.due_at);
END $$;
COMMENT ON FUNCTION referral.nullify_clock(bigint, bigint, text) IS
'Takes an open clock out of all measures, from now on. RF005 without a reason, RF019 when there is no such clock, RF023 when it is closed or breached.';

CREATE FUNCTION referral.extend_clock(org_id bigint, clock_id bigint, by interval, reason text) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    c referral.sla_clock;
    more interval;
    new_due timestamptz;
BEGIN
    PERFORM referral.require_reason(reason);
    IF by IS NULL OR by <= '0' THEN
        RAISE EXCEPTION 'an extension must be longer than nothing'
            USING ERRCODE = 'RF020', DETAIL = 'Days are business days, hours and below are open time.', HINT = 'Give an interval such as 14 days.';
    END IF;
    c := referral.lock_clock(org_id, clock_id);
    IF c.next_fire_at <= now() THEN
        PERFORM referral.fire_clocks(ARRAY[c.org_id], ARRAY[c.clock_id], now(), false);
        SELECT * INTO c FROM referral.sla_clock x WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
    END IF;
    IF c.breached_at IS NOT NULL OR c.target IS NULL THEN
        RAISE EXCEPTION 'clock % cannot be extended', c.clock_id
            USING ERRCODE = 'RF023', DETAIL = CASE WHEN c.target IS NULL THEN 'Its calendar does not reach its target.' ELSE 'Its target is exceeded already.' END,
                  HINT = CASE WHEN c.target IS NULL THEN 'Activate a calendar that does, then recompute_clocks().' ELSE 'Record why in referral.sla_breach_review.' END;
    END IF;
    more := referral.business_target(referral.calendar_of(c.business_calendar_id), coalesce(c.due_at, now()), by);
    UPDATE referral.sla_clock x SET target = x.target + more WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
    PERFORM referral.refresh_clock(c.org_id, c.clock_id);
    SELECT x.due_at INTO new_due FROM referral.sla_clock x WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
    IF c.running_since IS NOT NULL AND new_due IS NULL THEN
        RAISE EXCEPTION 'clock % cannot be extended beyond its calendar', c.clock_id
            USING ERRCODE = 'RF022', DETAIL = 'Nobody knows when it would be due.', HINT = 'Give it less, or a calendar that reaches further.';
    END IF;
    INSERT INTO referral.sla_adjustment (org_id, clock_id, action, extended_by, reason, adjusted_by,
                                         target_before, target_after, due_before, due_after)
    VALUES (c.org_id, c.clock_id, 'extend', by, extend_clock.reason, referral.current_actor(),
            c.target, c.target + more, c.due_at, new_due);
    RETURN new_due;
END $$;
COMMENT ON FUNCTION referral.extend_clock(bigint, bigint, interval, text) IS
'Allows an open clock more time and returns the new due time (null while it is paused): business days from its due time, hours and below of open time. Levels not reached yet move along. RF005 without a reason, RF019 when there is no such clock, RF020 when the extension is not positive, RF022 when it leads beyond the calendar, RF023 when the clock is closed or its target exceeded. Source: 42 CFR 422.568, 422.572 (extensions of organization determinations).';

CREATE FUNCTION referral.recompute_clocks(
    of_org bigint DEFAULT NULL, of_policy text DEFAULT NULL, dry_run boolean DEFAULT true, reason text DEFAULT NULL)
RETURNS TABLE (org_id bigint, clock_id bigint, entity text, entity_id bigint, policy text, change text,
               target_before interval, target_after interval, due_before timestamptz, due_after timestamptz,
               breached_before timestamptz, breached_after timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' SET lock_timeout = '5s' AS $$
DECLARE
    c referral.sla_clock;
    after referral.sla_clock;
    now_under record;
    undone boolean;
BEGIN
    IF dry_run IS FALSE THEN
        PERFORM referral.require_reason(reason);
    END IF;
    FOR c IN SELECT x.* FROM referral.sla_clock x
             WHERE x.stopped_at IS NULL AND x.nullified_at IS NULL
               AND (of_org IS NULL OR x.org_id = of_org) AND (of_policy IS NULL OR x.policy = of_policy)
               AND referral.may_change_org(x.org_id)
             ORDER BY x.org_id, x.clock_id LOOP
        undone := false;
        BEGIN
            c := referral.lock_clock(c.org_id, c.clock_id);
            IF c.next_fire_at <= now() THEN
                PERFORM referral.fire_clocks(ARRAY[c.org_id], ARRAY[c.clock_id], now(), false);
                SELECT * INTO c FROM referral.sla_clock x WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
            END IF;
            SELECT * INTO now_under FROM referral.policies_of(c.entity, c.org_id, c.entity_id) p WHERE p.policy = c.policy;
            change := CASE WHEN NOT referral.row_as_owner(c.entity, c.org_id, c.entity_id, 'exists', NULL)
                           THEN 'nullified: its row is gone' END;
            -- no policy of that name is active: the clock goes on as it began
            CONTINUE WHEN change IS NULL AND now_under.policy IS NULL;
            IF change IS NOT NULL OR now_under.sla_policy_id IS NULL OR now_under.phase = 'cancelled' THEN
                PERFORM referral.cancel_clock(c.org_id, c.clock_id, now());
                change := coalesce(change, 'nullified: the row is under no policy of that name any more');
                INSERT INTO referral.sla_adjustment (org_id, clock_id, action, reason, adjusted_by, target_before, due_before)
                VALUES (c.org_id, c.clock_id, 'recompute', recompute_clocks.reason, referral.current_actor(), c.target, c.due_at);
            ELSE
                PERFORM referral.rejudge_clock(c.org_id, c.clock_id, now_under.sla_policy_id, now_under.business_calendar_id,
                                               now(), recompute_clocks.reason);
                change := concat_ws(', ', CASE WHEN c.sla_policy_id <> now_under.sla_policy_id THEN 'another policy' END,
                                          CASE WHEN c.business_calendar_id <> now_under.business_calendar_id THEN 'another calendar' END);
                IF now_under.phase = 'paused' AND c.pause_kind IS NULL THEN
                    PERFORM referral.hold_clock(c.org_id, c.clock_id, now(), 'rule', referral.row_reason(c.entity, c.org_id, c.entity_id));
                    change := concat_ws(', ', nullif(change, ''), 'paused');
                ELSIF now_under.phase = 'other' AND c.pause_kind = 'rule' THEN
                    PERFORM referral.release_clock(c.org_id, c.clock_id, now());
                    change := concat_ws(', ', nullif(change, ''), 'resumed');
                END IF;
            END IF;
            SELECT * INTO after FROM referral.sla_clock x WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id;
            IF change = '' AND (c.target, c.due_at, c.breached_at, c.calendar_fingerprint, CASE WHEN c.running_since IS NULL THEN c.consumed END)
                   IS NOT DISTINCT FROM (after.target, after.due_at, after.breached_at, after.calendar_fingerprint,
                                         CASE WHEN after.running_since IS NULL THEN after.consumed END) THEN
                change := NULL;
                undone := true;
                RAISE EXCEPTION 'nothing to change';
            END IF;
            org_id := c.org_id; clock_id := c.clock_id; entity := c.entity; entity_id := c.entity_id; policy := c.policy;
            change := coalesce(nullif(change, ''), 'recounted');
            target_before := c.target; target_after := after.target;
            due_before := c.due_at; due_after := after.due_at;
            breached_before := c.breached_at; breached_after := after.breached_at;
            IF dry_run IS NOT FALSE THEN
                undone := true;
                RAISE EXCEPTION 'only tried';
            END IF;
            RETURN NEXT;
        EXCEPTION
            WHEN SQLSTATE 'RF023' THEN
                NULL;       -- closed meanwhile
            WHEN query_canceled THEN
                RAISE;
            WHEN OTHERS THEN
                IF NOT undone THEN
                    org_id := c.org_id; clock_id := c.clock_id; entity := c.entity; entity_id := c.entity_id; policy := c.policy;
                    change := 'failed: ' || referral.harmless_error(SQLSTATE, SQLERRM);
                    target_before := c.target; due_before := c.due_at; breached_before := c.breached_at;
                    target_after := NULL; due_after := NULL; breached_after := NULL;
                END IF;
                IF change IS NOT NULL THEN
                    RETURN NEXT;
                END IF;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.recompute_clocks(bigint, text, boolean, text) IS
'Judges the open clocks anew, by the policies and calendars that are active now, from their start on, and returns those that change, with target, due time and breach before and after. dry_run (the default): nothing is changed; else reason is required (RF005) and each change is on record in referral.sla_adjustment. of_org, of_policy: of one organisation or policy name only. A clock that cannot be judged, or whose row is locked for more than 5 seconds, is returned as failed, with the reason, and stays as it is. Levels that were recorded stay; closed clocks keep the version they were judged by. For referral_admin, within the organisations the session works for.';

CREATE FUNCTION referral.escalation_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.acknowledged_by IS NOT NULL AND OLD.acknowledged_by IS NULL THEN
        NEW.acknowledged_by := referral.current_actor();
        NEW.acknowledged_at := now();
    ELSIF (NEW.acknowledged_by, NEW.acknowledged_at) IS DISTINCT FROM (OLD.acknowledged_by, OLD.acknowledged_at) THEN
        RAISE EXCEPTION 'escalation % was acknowledged', OLD.escalation_id
            USING ERRCODE = 'RF023', DETAIL = 'Who took note of it, and when, stays on record.', HINT = 'Write what there is to add into note.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.escalation_guard() IS
'BEFORE UPDATE row trigger of referral.escalation: fills in who acknowledges it, and when; once only (RF023).';

CREATE FUNCTION referral.breach_review_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM referral.sla_clock c
                   WHERE c.org_id = NEW.org_id AND c.clock_id = NEW.clock_id AND c.breached_at IS NOT NULL) THEN
        RAISE EXCEPTION 'clock % has no breach to review', NEW.clock_id
            USING ERRCODE = 'RF019', DETAIL = 'It was not breached, does not exist, or is not visible to the session.', HINT = 'See referral.breach.';
    END IF;
    NEW.reviewed_by := referral.current_actor();
    NEW.reviewed_at := now();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.breach_review_guard() IS
'BEFORE row trigger of referral.sla_breach_review: only a breach is reviewed (RF019); fills in who and when.';

REVOKE ALL ON FUNCTION referral.sla_clock(), referral.sla_policy_check(), referral.row_as_owner(text, bigint, bigint, text, text), referral.policies_of(text, bigint, bigint),
    referral.phase_under(bigint, text, bigint, bigint), referral.row_reason(text, bigint, bigint), referral.require_reason(text), referral.sla_level_check(), referral.fire_clocks(bigint[], bigint[], timestamptz, boolean),
    referral.tick_fire(timestamptz, integer), referral.act_on(bigint, bigint), referral.tick_begin(integer), referral.tick_act(bigint, bigint),
    referral.tick_expire(text, timestamptz, date, bigint, integer), referral.expiring_entities(),
    referral.refresh_clock(bigint, bigint), referral.hold_clock(bigint, bigint, timestamptz, text, text, text),
    referral.release_clock(bigint, bigint, timestamptz), referral.cancel_clock(bigint, bigint, timestamptz),
    referral.reopen_clock(bigint, bigint, timestamptz), referral.stop_by_ledger(bigint, bigint, timestamptz), referral.forget_clocks(bigint, bigint, text, timestamptz), referral.end_clocks(text),
    referral.rejudge_clock(bigint, bigint, bigint, bigint, timestamptz, text), referral.lock_clock(bigint, bigint),
    referral.pause_clock(bigint, bigint, text), referral.resume_clock(bigint, bigint), referral.nullify_clock(bigint, bigint, text),
    referral.extend_clock(bigint, bigint, interval, text), referral.recompute_clocks(bigint, text, boolean, text),
    referral.escalation_guard(), referral.breach_review_guard() FROM PUBLIC;
REVOKE ALL ON PROCEDURE referral.tick(timestamptz) FROM PUBLIC;
