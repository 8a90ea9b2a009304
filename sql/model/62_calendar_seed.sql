-- Shipped: round the clock, and United States federal working days.
DO $do$
DECLARE
    version_id bigint;
BEGIN
    IF EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'calendar/standard') THEN
        RETURN;
    END IF;
    INSERT INTO referral.rule_set (name, kind, owner, note)
    VALUES ('calendar/standard', 'calendar', 'referral', 'Shipped with the extension.');
    INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
    SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'calendar/standard'
    RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.business_calendar (rule_version_id, name, title, calendar)
    VALUES (version_id, 'always', 'Round the clock, every day', referral.always_open('UTC')),
           (version_id, 'us_business', 'Monday to Friday 08:00 to 17:00, Central Time, but federal holidays (5 U.S.C. 6103)',
            jsonb_build_object(
                'timezone', 'America/Chicago',
                'hours', (SELECT jsonb_object_agg(d, '["08:00-17:00"]'::jsonb) FROM unnest(ARRAY['mon', 'tue', 'wed', 'thu', 'fri']) d),
                'closed', (SELECT jsonb_agg(h.day ORDER BY h.day) FROM referral.us_federal_holidays(2020, 2035) h),
                'valid_until', '2035-12-31')::text::referral.calendar);
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
END $do$;
