-- sla_tick: levels that are reached, and all else that time asks for

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
                WHEN l.action = 'notify' THEN 'done' ELSE 'pending' END
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
    IF e.action = 'raise_priority' THEN
        PERFORM referral.row_as_owner(e.entity, e.org_id, e.entity_id, 'raise_priority', coalesce(e.argument, e.level::text));
    ELSE
        PERFORM referral.escalate_work(e);
    END IF;
END $$;
COMMENT ON FUNCTION referral.act_on(bigint, bigint) IS
'Does what an escalation asks for: raises the row''s priority, unless it is as high already; for the other actions see escalate_work(). Called by tick_act(). Null: nothing happens.';

-- What is to be done to rows of others' tables may fail in any way, or end the whole call. So that it is begun is committed
-- before it is done, one at a time, and what was begun in vain comes last.
CREATE FUNCTION referral.tick_begin(
    max_attempts integer, after_attempts integer, after_id bigint, OUT org_id bigint, OUT escalation_id bigint, OUT attempts integer)
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    e record;
BEGIN
    LOOP
        SELECT x.org_id, x.escalation_id, x.attempts INTO e FROM referral.escalation x
        WHERE x.outcome = 'pending' AND (x.attempts, x.escalation_id) > (after_attempts, after_id)
        ORDER BY x.attempts, x.escalation_id LIMIT 1 FOR UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND OR e.attempts < max_attempts;
        UPDATE referral.escalation x
        SET outcome = 'failed', error = format('given up after %s attempts that ended tick()', e.attempts)
        WHERE x.org_id = e.org_id AND x.escalation_id = e.escalation_id;
    END LOOP;
    IF e.escalation_id IS NOT NULL THEN
        attempts := e.attempts;
        UPDATE referral.escalation x SET attempts = x.attempts + 1
        WHERE x.org_id = e.org_id AND x.escalation_id = e.escalation_id;
        org_id := e.org_id;
        escalation_id := e.escalation_id;
    END IF;
END $$;
COMMENT ON FUNCTION referral.tick_begin(integer, integer, bigint) IS
'Notes that tick() is about to act on a pending escalation, the next one by (attempts, escalation_id), and returns which, and its attempts before; null when there is none. One that was begun max_attempts times without an end is marked failed. Null for null.';

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
                     AND (c.stopped_at IS NOT NULL OR c.nullified_at IS NOT NULL OR c.pause_kind IS NOT NULL)) THEN
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
    SET outcome = tick_act.outcome, error = last_error, attempts = CASE tick_act.outcome WHEN 'pending' THEN greatest(x.attempts - 1, 0) ELSE x.attempts END
    WHERE x.org_id = e.org_id AND x.escalation_id = e.escalation_id;
END $$;
COMMENT ON FUNCTION referral.tick_act(bigint, bigint) IS
'Does what a pending escalation asks for, and returns what came of it: done; overtaken, when its clock is closed or paused by then; failed, with the error; pending, when its row is locked. Null when it is not pending, or another session has it, and for null.';

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
    names text[];
    i integer := 1;
    fired bigint := 0;
    acted bigint := 0;
    expired bigint := 0;
    failed bigint := 0;
    last_error text;
    after bigint;
    after_on date;
    act record;
    after_attempts integer := -1;
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
    SELECT pg_catalog.array_agg(e) INTO names FROM referral.expiring_entities() e;
    WHILE i <= pg_catalog.cardinality(names) LOOP
        after := NULL;
        after_on := NULL;
        LOOP
            SELECT * INTO batch FROM referral.tick_expire(names[i], at, after_on, after, 50);
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
    after := 0;
    LOOP
        SELECT * INTO act FROM referral.tick_begin(5, after_attempts, after);
        COMMIT;
        EXIT WHEN act.escalation_id IS NULL;
        after_attempts := act.attempts;
        after := act.escalation_id;
        SELECT * INTO batch FROM referral.tick_act(act.org_id, act.escalation_id);
        COMMIT;
        acted := acted + CASE batch.outcome WHEN 'done' THEN 1 ELSE 0 END;
        failed := failed + CASE batch.outcome WHEN 'failed' THEN 1 ELSE 0 END;
        last_error := coalesce(batch.last_error, last_error);
    END LOOP;
    names := referral.chores();
    i := 1;
    WHILE i <= pg_catalog.cardinality(names) LOOP
        SELECT * INTO batch FROM referral.do_chore(names[i], at, 500);
        COMMIT;
        acted := acted + batch.done;
        failed := failed + CASE WHEN batch.last_error IS NULL THEN 0 ELSE 1 END;
        last_error := coalesce(batch.last_error, last_error);
        i := i + CASE WHEN batch.done = 0 THEN 1 ELSE 0 END;
    END LOOP;
    PERFORM referral.heartbeat_end('tick', fired, acted, expired, failed, last_error);
    COMMIT;
END $$;
COMMENT ON PROCEDURE referral.tick(timestamptz) IS
'Does what time asks for, up to as_of (default now; a later time is for trials): records the levels that clocks have reached, each once, lets rows expire, carries out what the levels ask for, does its chores(), and leaves a heartbeat. Commits between batches, so it cannot be called inside a transaction block. May run late, twice at once, or be killed: what it did stays, what is left is found by the next one. Its cost grows with what is due. Works for all organisations, so it is for the owner of the model.';

-- of all that the three sla parts have
REVOKE ALL ON FUNCTION referral.sla_clock(), referral.sla_policy_check(), referral.row_as_owner(text, bigint, bigint, text, text), referral.policies_of(text, bigint, bigint),
    referral.phase_under(bigint, text, bigint, bigint), referral.row_reason(text, bigint, bigint), referral.require_reason(text), referral.sla_level_check(), referral.fire_clocks(bigint[], bigint[], timestamptz, boolean),
    referral.tick_fire(timestamptz, integer), referral.act_on(bigint, bigint), referral.tick_begin(integer, integer, bigint), referral.tick_act(bigint, bigint),
    referral.tick_expire(text, timestamptz, date, bigint, integer), referral.expiring_entities(),
    referral.refresh_clock(bigint, bigint), referral.hold_clock(bigint, bigint, timestamptz, text, text, text),
    referral.release_clock(bigint, bigint, timestamptz), referral.cancel_clock(bigint, bigint, timestamptz),
    referral.reopen_clock(bigint, bigint, timestamptz), referral.stop_by_ledger(bigint, bigint, timestamptz), referral.forget_clocks(bigint, bigint, text, timestamptz), referral.end_clocks(text),
    referral.rejudge_clock(bigint, bigint, bigint, bigint, timestamptz, text), referral.lock_clock(bigint, bigint),
    referral.pause_clock(bigint, bigint, text), referral.resume_clock(bigint, bigint), referral.nullify_clock(bigint, bigint, text),
    referral.extend_clock(bigint, bigint, interval, text), referral.recompute_clocks(bigint, text, boolean, text),
    referral.retry_escalation(bigint, bigint), referral.escalation_guard(), referral.breach_review_guard() FROM PUBLIC;
REVOKE ALL ON PROCEDURE referral.tick(timestamptz) FROM PUBLIC;
