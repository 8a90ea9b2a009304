-- sla_person: what people do to clocks, and what they do when rules have changed

CREATE FUNCTION referral.may_change_org(org_id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'may_change_org';
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
            USING ERRCODE = 'RF005', DETAIL = 'What people decide is on record with its reason.', HINT = 'Give a reason.';
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
            WHEN query_canceled THEN
                RAISE;
            WHEN OTHERS OR assert_failure THEN
                CONTINUE WHEN SQLSTATE = 'RF023' AND NOT EXISTS (      -- closed meanwhile
                    SELECT FROM referral.sla_clock x
                    WHERE x.org_id = c.org_id AND x.clock_id = c.clock_id AND x.stopped_at IS NULL AND x.nullified_at IS NULL);
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

CREATE FUNCTION referral.retry_escalation(org_id bigint, escalation_id bigint) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE referral.escalation e SET outcome = 'pending', error = NULL, attempts = 0
    WHERE e.org_id = retry_escalation.org_id AND e.escalation_id = retry_escalation.escalation_id AND e.outcome = 'failed'
      AND referral.may_change_org(e.org_id);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no failed escalation % in organisation %', escalation_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist, has not failed, or is not visible to the session.', HINT = 'See referral.open_escalation.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.retry_escalation(bigint, bigint) IS
'Has the next tick try again what a failed escalation asks for. RF019 when there is no failed one of that id. Null: nothing happens.';

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
                   WHERE c.org_id = NEW.org_id AND c.clock_id = NEW.clock_id AND c.breached_at IS NOT NULL)
       AND NOT EXISTS (SELECT FROM referral.breach b WHERE b.org_id = NEW.org_id AND b.clock_id = NEW.clock_id) THEN
        RAISE EXCEPTION 'clock % has no breach to review', NEW.clock_id
            USING ERRCODE = 'RF019', DETAIL = 'It was not breached, does not exist, or is not visible to the session.', HINT = 'See referral.breach.';
    END IF;
    NEW.reviewed_by := referral.current_actor();
    NEW.reviewed_at := now();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.breach_review_guard() IS
'BEFORE row trigger of referral.sla_breach_review: only a breach is reviewed (RF019); fills in who and when.';
