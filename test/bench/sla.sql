-- Tables, policies and helpers of sla.bench.sh.
\ir lib.sql
\ir ours.sql

-- ---------- Guarded tables, with and without clocks ----------

-- Rounds go there and back, between two states that each have a clock.
CREATE FUNCTION bench.turn(round int, OUT to_state text, OUT new_time text, OUT region text) LANGUAGE sql AS $$
    SELECT CASE WHEN round % 2 = 0 THEN 'scheduled' ELSE 'ready_to_schedule' END,
           CASE WHEN round % 2 = 0 THEN '2026-09-02 10:00+00' ELSE '2026-09-01 10:00+00' END, 'region ' || round
$$;

-- Policies of an entity: one clock runs while the row is ready to be scheduled, another while it is scheduled, with the
-- levels of the shipped policies; extra ones have other states and no clock in the changes that are measured.
CREATE FUNCTION bench.make_policies(entity text, extra int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    version_id bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('bench sla/' || entity, 'sla');
    INSERT INTO referral.rule_version (rule_set_id, is_seed)
    SELECT s.rule_set_id, true FROM referral.rule_set s WHERE s.name = 'bench sla/' || entity
    RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.sla_policy (rule_version_id, entity, name, start_when, stop_when, pause_when, cancel_when, target, calendar)
    SELECT version_id, entity, p.name, format('state = %L', p.state), format('state NOT IN (%L, ''on_hold'')', p.state),
           'state = ''on_hold''', 'state IN (''cancelled'', ''entered_in_error'')', p.target::interval, 'us_business'
    FROM (VALUES ('to_schedule', 'ready_to_schedule', '2 days'), ('to_visit', 'scheduled', '10 days')
          UNION ALL SELECT 'extra_' || i, 'received', '4 hours' FROM generate_series(1, extra) i) p (name, state, target);
    INSERT INTO referral.sla_level (sla_policy_id, rule_version_id, level, percent, action, argument)
    SELECT p.sla_policy_id, version_id, l.level, l.percent, l.action, l.argument
    FROM referral.sla_policy p
    CROSS JOIN (VALUES (1, 50, 'notify', NULL), (2, 75, 'assign_role', 'referral_coordinator'),
                       (3, 100, 'raise_priority', '1'), (4, 150, 'assign_role', 'referral_admin')) l (level, percent, action, argument)
    WHERE p.rule_version_id = version_id;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
END $$;

-- ---------- Clocks alone ----------

-- A policy round the clock: 100 hours, levels after 50, 75, 100 and 150. It starts for no row: its clocks are made here.
DO $$
DECLARE
    version_id bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('bench sla/alone', 'sla');
    INSERT INTO referral.rule_version (rule_set_id, is_seed)
    SELECT s.rule_set_id, true FROM referral.rule_set s WHERE s.name = 'bench sla/alone'
    RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.sla_policy (rule_version_id, entity, name, start_when, stop_when, target, calendar)
    VALUES (version_id, 'referral', 'alone', 'false', 'false', '100 hours', 'always');
    INSERT INTO referral.sla_level (sla_policy_id, rule_version_id, level, percent, action, argument)
    SELECT p.sla_policy_id, version_id, l.level, l.percent, 'notify', 'coordinator'
    FROM referral.sla_policy p, (VALUES (1, 50), (2, 75), (3, 100), (4, 150)) l (level, percent)
    WHERE p.rule_version_id = version_id;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
END $$;

-- nopen clocks that reach their first level 50 hours after they began: 1,000 of them at one in the morning of 2 March 2026,
-- the next 1,000 an hour later, and so on, in the order in which they are stored, or each spread over all of them.
CREATE FUNCTION bench.make_clocks(nopen int, is_spread boolean) RETURNS void LANGUAGE sql AS $$
    INSERT INTO referral.sla_clock (org_id, entity_id, sla_policy_id, rule_version, business_calendar_id, calendar_fingerprint, cycle,
                                    entity, policy, kind, target, consumed, started_at, judged_since, running_since, due_at, next_fire_at)
    SELECT 1 + i % 20, i, p.sla_policy_id, p.rule_version_id, b.business_calendar_id, 1, 1, p.entity, p.name, p.kind,
           p.target, '0', t.at, t.at, t.at, t.at + interval '100 hours', t.at + interval '50 hours'
    FROM referral.sla_policy p
    JOIN referral.business_calendar b ON b.name = p.calendar
    CROSS JOIN generate_series(0, nopen - 1) i
    CROSS JOIN LATERAL (SELECT timestamptz '2026-03-02 01:00+00'
                               + (CASE WHEN is_spread THEN i % (nopen / 1000) ELSE i / 1000 END - 50) * interval '1 hour') t (at)
    WHERE p.name = 'alone'
$$;
