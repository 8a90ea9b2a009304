-- The workflow of appointments: the statuses of FHIR, each a step of the state that fits.
DO $do$
DECLARE
    version_id bigint;
    workflow bigint;
BEGIN
    IF EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'workflow/appointment') THEN
        RETURN;
    END IF;
    INSERT INTO referral.rule_set (name, kind, owner, note)
    VALUES ('workflow/appointment', 'workflow', 'referral', 'Shipped with the extension.');
    INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
    SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'workflow/appointment'
    RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.workflow (rule_version_id, entity, name, title, priority)
    VALUES (version_id, 'appointment', 'appointment', 'Appointment, by FHIR status', 1000)
    RETURNING workflow_id INTO workflow;
    -- a message may tell of an appointment for the first time at any stage, so any step may be the first
    INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, is_entry, sort, title)
    SELECT workflow, s.step, s.state::referral.state, true, s.entry, s.sort, s.title
    FROM (VALUES ('booked', 'scheduled', true, 1, 'Booked'),
                 ('proposed', 'received', true, 2, 'Proposed'),
                 ('pending', 'validated', true, 3, 'Waiting for an answer'),
                 ('waitlist', 'ready_to_schedule', true, 4, 'On the waiting list'),
                 ('arrived', 'scheduled', false, 5, 'Arrived'),
                 ('checked-in', 'scheduled', false, 6, 'Checked in'),
                 ('fulfilled', 'completed', true, 7, 'Took place'),
                 ('noshow', 'no_show', true, 8, 'The patient did not come'),
                 ('cancelled', 'cancelled', true, 9, 'Cancelled'),
                 ('entered-in-error', 'entered_in_error', true, 10, 'Never was')) s (step, state, entry, sort, title);
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, notify)
    SELECT workflow, m.transition, m.from_step, m.to_step, m.notify::text[]
    FROM (VALUES ('respond', 'proposed', 'pending', '{}'), ('waitlist', 'proposed', 'waitlist', '{}'),
                 ('waitlist', 'pending', 'waitlist', '{}'),
                 ('book', 'proposed', 'booked', '{patient}'), ('book', 'pending', 'booked', '{patient}'),
                 ('book', 'waitlist', 'booked', '{patient}'), ('rebook', 'cancelled', 'booked', '{patient}'),
                 ('rebook', 'noshow', 'booked', '{patient}'), ('reschedule', 'booked', 'booked', '{patient}'),
                 ('arrive', 'booked', 'arrived', '{}'), ('check_in', 'booked', 'checked-in', '{}'),
                 ('check_in', 'arrived', 'checked-in', '{}'), ('fulfill', 'booked', 'fulfilled', '{requester}'),
                 ('fulfill', 'arrived', 'fulfilled', '{requester}'), ('fulfill', 'checked-in', 'fulfilled', '{requester}'),
                 ('miss', 'booked', 'noshow', '{requester}'), ('correct', 'noshow', 'arrived', '{}'),
                 ('correct', 'noshow', 'fulfilled', '{requester}')) m (transition, from_step, to_step, notify);
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, notify)
    SELECT workflow, 'cancel', s.step, 'cancelled', '{patient}'
    FROM referral.workflow_step s
    WHERE s.workflow_id = workflow AND s.step IN ('proposed', 'pending', 'waitlist', 'booked', 'arrived', 'checked-in');
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step)
    SELECT workflow, 'void', s.step, 'entered-in-error'
    FROM referral.workflow_step s WHERE s.workflow_id = workflow AND s.step <> 'entered-in-error';
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
END $do$;
