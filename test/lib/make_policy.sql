-- For pgTAP files (\ir ../lib/make_policy.sql, after make_workflow.sql): calendars, policies, and events at given times.

-- A calendar by name, active at once, as the owner of the model may ship one. Another call activates the next version.
CREATE FUNCTION make_calendar(name text, calendar text, org bigint DEFAULT NULL, site bigint DEFAULT NULL,
                              rule_set text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    set_name text := coalesce(rule_set, 'calendar/' || concat_ws('/', name, org, site));
    version_id bigint;
    id bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES (set_name, 'calendar') ON CONFLICT DO NOTHING;
    INSERT INTO referral.rule_version (rule_set_id, is_seed)
    SELECT s.rule_set_id, true FROM referral.rule_set s WHERE s.name = set_name RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.business_calendar (rule_version_id, name, scope_org_id, scope_site_id, calendar)
    VALUES (version_id, name, org, site, calendar::referral.calendar) RETURNING business_calendar_id INTO id;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    RETURN id;
END $$;
COMMENT ON FUNCTION make_calendar(text, text, bigint, bigint, text) IS 'Makes and activates a version of a calendar and returns its business_calendar_id.';

-- policies: [{"name": …, "target": …, columns of sla_policy …, "levels": [{"level": 1, …}, …]}, …]
CREATE FUNCTION make_policies(rule_set text, policies jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    version_id bigint;
    p jsonb;
    l jsonb;
    id bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES (rule_set, 'sla') ON CONFLICT DO NOTHING;
    INSERT INTO referral.rule_version (rule_set_id, is_seed)
    SELECT s.rule_set_id, true FROM referral.rule_set s WHERE s.name = make_policies.rule_set
    RETURNING rule_version_id INTO version_id;
    FOR p IN SELECT value FROM jsonb_array_elements(policies) LOOP
        INSERT INTO referral.sla_policy (rule_version_id, entity, name, title, kind, applies_when, priority, scope_org_id,
                                         start_when, stop_when, pause_when, cancel_when, pause_counts, reopen, target, calendar)
        VALUES (version_id, coalesce(p ->> 'entity', 'task'), p ->> 'name', p ->> 'title', coalesce(p ->> 'kind', 'stage'),
                p ->> 'applies_when', coalesce((p ->> 'priority')::int, 100), (p ->> 'org')::bigint,
                coalesce(p ->> 'start_when', 'phase = ''open'''), coalesce(p ->> 'stop_when', 'phase = ''done'''),
                p ->> 'pause_when', p ->> 'cancel_when', coalesce((p ->> 'pause_counts')::boolean, false),
                coalesce(p ->> 'reopen', 'new_cycle'), (p ->> 'target')::interval, coalesce(p ->> 'calendar', 'office'))
        RETURNING sla_policy_id INTO id;
        FOR l IN SELECT value FROM jsonb_array_elements(coalesce(p -> 'levels', '[]')) LOOP
            INSERT INTO referral.sla_level (sla_policy_id, level, percent, after, action, argument, title)
            VALUES (id, (l ->> 'level')::int, coalesce((l ->> 'percent')::numeric, 100), coalesce(l ->> 'after', '0')::interval,
                    coalesce(l ->> 'action', 'notify'), l ->> 'argument', l ->> 'title');
        END LOOP;
    END LOOP;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    RETURN version_id;
END $$;
COMMENT ON FUNCTION make_policies(text, jsonb) IS 'Makes and activates a version of a rule set of policies and returns its rule_version_id.';

-- A statement as an event of a given time.
CREATE FUNCTION at(at timestamptz, statement text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('referral.occurred_at', at::text, true);
    EXECUTE statement;
    PERFORM set_config('referral.occurred_at', '', true);
END $$;
COMMENT ON FUNCTION at(timestamptz, text) IS 'Runs a statement as an event of that time.';

-- What tick() does without its commits: what pending escalations ask for, each once, and firing before it; no expiry.
CREATE FUNCTION act(OUT acted bigint, OUT failed bigint) LANGUAGE plpgsql AS $$
DECLARE
    e record;
    after_attempts integer := -1;
    after bigint := 0;
    outcome text;
BEGIN
    acted := 0;
    failed := 0;
    LOOP
        SELECT * INTO e FROM referral.tick_begin(3, after_attempts, after);
        EXIT WHEN e.escalation_id IS NULL;
        after_attempts := e.attempts;
        after := e.escalation_id;
        SELECT a.outcome INTO outcome FROM referral.tick_act(e.org_id, e.escalation_id) a;
        acted := acted + (outcome = 'done')::int;
        failed := failed + (outcome = 'failed')::int;
    END LOOP;
END $$;
COMMENT ON FUNCTION act() IS 'Acts on pending escalations as tick() does; returns how many were done, and how many failed.';
CREATE FUNCTION tick_at(as_of timestamptz) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    batch record;
    levels bigint := 0;
BEGIN
    LOOP
        SELECT * INTO batch FROM referral.tick_fire(as_of, 7);
        EXIT WHEN batch.clocks = 0;
        levels := levels + batch.levels;
    END LOOP;
    PERFORM act();
    RETURN levels;
END $$;
COMMENT ON FUNCTION tick_at(timestamptz) IS 'Fires and acts as tick(as_of) does, in small batches; returns the number of levels fired.';

-- The clock of a row and policy, the last cycle or the one given, and how it stood at a time.
CREATE FUNCTION clock(id bigint, policy text DEFAULT 'work', cycle integer DEFAULT NULL, entity text DEFAULT 'task') RETURNS referral.sla_clock
LANGUAGE sql STABLE AS $$
    SELECT c FROM referral.sla_clock c
    WHERE c.entity_id = clock.id AND c.policy = clock.policy AND c.cycle = coalesce(clock.cycle, c.cycle) AND c.entity = clock.entity
    ORDER BY c.cycle DESC LIMIT 1
$$;
COMMENT ON FUNCTION clock(bigint, text, integer, text) IS 'Clock of a row by policy name: the last cycle, or the one given.';
CREATE FUNCTION status(c referral.sla_clock) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN c.clock_id IS NULL THEN 'none' WHEN c.nullified_at IS NOT NULL THEN 'nullified' WHEN c.stopped_at IS NOT NULL THEN 'stopped'
                WHEN c.pause_kind IS NOT NULL THEN 'paused' ELSE 'running' END
$$;
CREATE FUNCTION used(c referral.sla_clock, at timestamptz) RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT c.consumed + CASE WHEN c.running_since IS NULL THEN '0' ELSE referral.business_elapsed(
               (SELECT b.calendar FROM referral.business_calendar b WHERE b.business_calendar_id = c.business_calendar_id),
               c.running_since, least(c.stopped_at, at)) END
$$;
COMMENT ON FUNCTION used(referral.sla_clock, timestamptz) IS 'Open time that a clock had used at a time.';

-- Levels recorded: level, when reached, what came of it.
CREATE FUNCTION levels(id bigint, policy text DEFAULT 'work', cycle integer DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT string_agg(e.level || ' ' || to_char(e.planned_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI') || ' ' || e.outcome, ', ' ORDER BY e.level)
    FROM referral.escalation e, clock(levels.id, levels.policy, levels.cycle) c WHERE e.clock_id = c.clock_id AND e.org_id = c.org_id
$$;
COMMENT ON FUNCTION levels(bigint, text, integer) IS 'Levels of a clock that were recorded: number, planned time (UTC), outcome.';

-- Pauses: by whom, reason, from, to, counted.
CREATE FUNCTION pauses(id bigint, policy text DEFAULT 'work', cycle integer DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT string_agg(concat_ws(' ', p.pause_kind, p.reason, to_char(p.paused_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), '-',
                                to_char(p.resumed_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), CASE WHEN p.counted THEN 'counted' END),
                      ', ' ORDER BY p.paused_at, p.pause_id)
    FROM referral.sla_pause p, clock(pauses.id, pauses.policy, pauses.cycle) c WHERE p.clock_id = c.clock_id AND p.org_id = c.org_id
$$;
COMMENT ON FUNCTION pauses(bigint, text, integer) IS 'Pauses of a clock: by whom, why, from, to (UTC), counted or not.';
