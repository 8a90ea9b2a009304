-- The shipped service levels, on canonical states, so that they fit every workflow of referrals.
DO $do$
DECLARE
    version_id bigint;
BEGIN
    IF EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'sla/standard') THEN
        RETURN;
    END IF;
    INSERT INTO referral.rule_set (name, kind, owner, note)
    VALUES ('sla/standard', 'sla', 'referral', 'Shipped with the extension.');
    INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
    SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'sla/standard'
    RETURNING rule_version_id INTO version_id;

    INSERT INTO referral.sla_policy (rule_version_id, entity, name, title, kind, applies_when, priority,
                                     start_when, stop_when, pause_when, cancel_when, target, calendar)
    SELECT version_id, 'referral', p.name, p.title, p.kind, p.applies_when, p.priority,
           p.start_when, p.stop_when, p.pause_when, p.cancel_when, p.target::interval, p.calendar
    FROM (VALUES
        ('payer_decision', 'Payer decides: expedited, 72 hours (42 CFR 422.568, 422.572; CMS-0057-F)', 'stage',
         'urgency >= ''urgent''', 10,
         'state = ''pending_authorization''', 'state NOT IN (''pending_authorization'', ''on_hold'')', NULL,
         'state IN (''cancelled'', ''entered_in_error'')', '72 hours', 'always'),
        ('payer_decision', 'Payer decides: standard, 7 calendar days (42 CFR 422.568; CMS-0057-F)', 'stage',
         NULL, 100,
         'state = ''pending_authorization''', 'state NOT IN (''pending_authorization'', ''on_hold'')', NULL,
         'state IN (''cancelled'', ''entered_in_error'')', '7 days', 'always'),
        ('triage', 'First look at an urgent referral: 4 working hours', 'first_response',
         'urgency >= ''urgent''', 10,
         'state = ''received''', 'state NOT IN (''received'', ''on_hold'')', 'state = ''on_hold''',
         'state IN (''cancelled'', ''entered_in_error'')', '4 hours', 'us_business'),
        ('triage', 'First look at a referral: 2 working days', 'first_response',
         NULL, 100,
         'state = ''received''', 'state NOT IN (''received'', ''on_hold'')', 'state = ''on_hold''',
         'state IN (''cancelled'', ''entered_in_error'')', '2 days', 'us_business'),
        ('eligibility', 'Eligibility verified: 1 working day', 'stage',
         NULL, 100,
         'state = ''validated''', 'state NOT IN (''validated'', ''on_hold'')', 'state = ''on_hold''',
         'state IN (''cancelled'', ''entered_in_error'')', '1 day', 'us_business'),
        ('ready_to_schedule', 'Urgent: from receipt until it can be scheduled, 2 working days', 'stage',
         'urgency >= ''urgent''', 10,
         'state IN (''received'', ''validated'', ''pending_authorization'')',
         'state NOT IN (''received'', ''validated'', ''pending_authorization'', ''on_hold'')',
         'state = ''on_hold''', 'state IN (''declined'', ''cancelled'', ''expired'', ''entered_in_error'')', '2 days', 'us_business'),
        ('ready_to_schedule', 'From receipt until it can be scheduled: 10 working days', 'stage',
         NULL, 100,
         'state IN (''received'', ''validated'', ''pending_authorization'')',
         'state NOT IN (''received'', ''validated'', ''pending_authorization'', ''on_hold'')',
         'state = ''on_hold''', 'state IN (''declined'', ''cancelled'', ''expired'', ''entered_in_error'')', '10 days', 'us_business'),
        ('report_back', 'The consult report is back: 10 working days after the visit', 'completion',
         NULL, 100,
         'state = ''completed''', 'state NOT IN (''completed'', ''on_hold'')', 'state = ''on_hold''',
         'state IN (''cancelled'', ''entered_in_error'')', '10 days', 'us_business')
    ) p (name, title, kind, applies_when, priority, start_when, stop_when, pause_when, cancel_when, target, calendar);

    INSERT INTO referral.sla_level (sla_policy_id, rule_version_id, level, percent, action, argument, title)
    SELECT p.sla_policy_id, version_id, l.level, l.percent, l.action, l.argument, l.title
    FROM referral.sla_policy p
    CROSS JOIN (VALUES (1, 50, 'notify', 'referral_coordinator', 'Half of the time is used'),
                       (2, 75, 'assign_role', 'referral_coordinator', 'Three quarters of the time are used'),
                       (3, 100, 'raise_priority', '1', 'The time is used up'),
                       (4, 150, 'assign_role', 'referral_admin', 'Half as much again is used')) l (level, percent, action, argument, title)
    WHERE p.rule_version_id = version_id;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
END $do$;
