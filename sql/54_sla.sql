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

-- ---------- What happens to one clock ----------

CREATE FUNCTION referral.calendar_of(business_calendar_id bigint) RETURNS referral.calendar
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- PL/pgSQL keeps the plan
    RETURN (SELECT b.calendar FROM referral.business_calendar b WHERE b.business_calendar_id = calendar_of.business_calendar_id);
END $$;
COMMENT ON FUNCTION referral.calendar_of(bigint) IS 'The calendar of a row of referral.business_calendar. Null for null.';

CREATE FUNCTION referral.due_by(calendar text, org_id bigint, start timestamptz, target interval) RETURNS timestamptz
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'due_by';
COMMENT ON FUNCTION referral.due_by(text, bigint, timestamptz, interval) IS
'When something is due that is to be done within a target (days are business days, hours open time) on the active calendar of that name, the organisation''s own before the one for all. Without a calendar, or when none of the name is active, in elapsed time. Null where the calendar does not reach so far, and for a null start or target.';

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
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- PL/pgSQL keeps the plan
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
    WHERE c.org_id = t.org_id AND c.clock_id = t.clock_id AND c.stopped_at IS NULL AND c.nullified_at IS NULL;
END $$;
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
    -- what was recorded of later times is cut off
    UPDATE referral.sla_pause x SET resumed_at = greatest(stop_by_ledger.at, x.paused_at)
    WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id AND coalesce(x.resumed_at, 'infinity') > greatest(stop_by_ledger.at, x.paused_at);
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
'Stops a clock at a time before its last pause or run: what it has used by then is counted from its start, without the pauses that do not count, and judged anew; pauses end there. Null: nothing happens.';

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

CREATE FUNCTION referral.check_calendar_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    bad text;
BEGIN
    FOR t IN SELECT g.tgrelid::regclass AS relation
             FROM pg_trigger g JOIN pg_attribute a ON a.attrelid = g.tgrelid AND a.attname = 'calendar' AND a.atttypid = 'text'::regtype
             WHERE g.tgfoid = 'referral.rule_row_guard()'::regprocedure AND g.tgparentid = 0 AND NOT a.attisdropped LOOP
        EXECUTE format(
            'SELECT string_agg(DISTINCT r.calendar, '', '') FROM %s r WHERE r.rule_version_id = $1 AND NOT EXISTS ('
            ' SELECT FROM referral.business_calendar b JOIN referral.rule_version v USING (rule_version_id)'
            ' WHERE b.name = r.calendar AND b.scope_org_id IS NULL AND b.scope_site_id IS NULL'
            ' AND (v.status = ''active'' OR v.rule_version_id = $1))', t.relation)
        INTO bad USING check_calendar_version.rule_version_id;
        IF bad IS NOT NULL THEN
            RAISE EXCEPTION 'business calendar "%" is not active', bad
                USING ERRCODE = 'RF011',
                      DETAIL = format('A rule of %s counts on it, and no calendar of that name is for all organisations and sites.', t.relation),
                      HINT = 'Activate a version of the calendars that has it first.';
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.check_calendar_version(bigint) IS
'The part of check_rule_version() about calendars: those that rules count on (a text column calendar of any rule table) are there for all organisations and sites, in this version or in one that is active (RF011). Null for null.';

CREATE FUNCTION referral.check_sla_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    SELECT string_agg(DISTINCT l.argument, ', ') INTO bad
    FROM referral.sla_level l
    WHERE l.rule_version_id = check_sla_version.rule_version_id AND l.action = 'assign_role'
      AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = l.argument);
    IF bad IS NOT NULL THEN
        RAISE WARNING 'role "%", to which a level assigns, does not exist', bad
            USING DETAIL = 'Nobody would see that an escalation is meant for him.', HINT = 'Correct argument, or create the role first.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_sla_version(bigint) IS
'The part of check_rule_version() about service levels: warns of a role to which a level assigns that does not exist. Null for null.';
