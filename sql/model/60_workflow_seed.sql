-- The shipped rules: reason codes and three workflows, each a rule set whose first version ships active.

INSERT INTO referral.organization (org_id, name)
SELECT 1, 'Organisation 1' WHERE NOT EXISTS (SELECT FROM referral.organization);
SELECT setval('referral.organization_org_id_seq', greatest((SELECT max(org_id) FROM referral.organization),
                                                           (SELECT last_value FROM referral.organization_org_id_seq)));

DO $do$
DECLARE
    version_id bigint;
    standard bigint;
    coordination bigint;
    exchange bigint;
    missing text;
BEGIN
    FOREACH missing IN ARRAY ARRAY['reasons', 'workflow/standard', 'workflow/coordination', 'workflow/closed_loop_exchange'] LOOP
        -- a rule set that is not there yet gets its first version as a draft, its rules, and becomes active
        CONTINUE WHEN EXISTS (SELECT FROM referral.rule_set s WHERE s.name = missing);
        INSERT INTO referral.rule_set (name, kind, owner, note)
        VALUES (missing, split_part(missing, '/', 1), 'referral', 'Shipped with the extension.');
        INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
        SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = missing
        RETURNING rule_version_id INTO version_id;

        IF missing = 'reasons' THEN
            INSERT INTO referral.reason_code (rule_version_id, domain, code, display, comment_required)
            VALUES (version_id, 'decline', 'not_our_service', 'The service is not offered here', false),
                   (version_id, 'decline', 'no_capacity', 'No capacity within the clinically needed time', false),
                   (version_id, 'decline', 'insufficient_information', 'The request lacks information', true),
                   (version_id, 'decline', 'criteria_not_met', 'Referral criteria are not met', true),
                   (version_id, 'decline', 'other', 'Another reason', true),
                   (version_id, 'cancel', 'patient_request', 'The patient does not want it', false),
                   (version_id, 'cancel', 'no_longer_needed', 'No longer clinically needed', false),
                   (version_id, 'cancel', 'seen_elsewhere', 'Seen elsewhere', false),
                   (version_id, 'cancel', 'patient_died', 'The patient has died', false),
                   (version_id, 'cancel', 'duplicate', 'Duplicate of another referral', true),
                   (version_id, 'cancel', 'other', 'Another reason', true),
                   (version_id, 'hold', 'waiting_for_patient', 'Waiting for the patient', false),
                   (version_id, 'hold', 'waiting_for_payer', 'Waiting for the payer', false),
                   (version_id, 'hold', 'waiting_for_provider', 'Waiting for the referring provider', false),
                   (version_id, 'hold', 'other', 'Another reason', true),
                   (version_id, 'appointment', 'patient_cancelled', 'The patient cancelled', false),
                   (version_id, 'appointment', 'clinic_cancelled', 'The clinic cancelled', false),
                   (version_id, 'appointment', 'other', 'Another reason', true);

        ELSIF missing = 'workflow/standard' THEN
            INSERT INTO referral.workflow (rule_version_id, entity, name, title, priority)
            VALUES (version_id, 'referral', 'standard', 'Standard referral: one step per state', 1000)
            RETURNING workflow_id INTO standard;
            INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, sort, fhir_task_status)
            SELECT standard, s.step, s.step::referral.state, s.step = 'received', s.sort, s.task
            FROM (VALUES ('received', 1, 'received'), ('validated', 2, 'received'),
                         ('pending_authorization', 3, 'on-hold'), ('ready_to_schedule', 4, 'ready'),
                         ('scheduled', 5, 'in-progress'), ('no_show', 6, 'in-progress'),
                         ('appointment_cancelled', 7, 'in-progress'), ('completed', 8, 'in-progress'),
                         ('closed_loop', 9, 'completed'), ('on_hold', 10, 'on-hold'),
                         ('cancellation_requested', 11, 'in-progress'), ('declined', 12, 'rejected'),
                         ('cancelled', 13, 'cancelled'), ('expired', 14, 'failed'),
                         ('entered_in_error', 15, 'entered-in-error')) s (step, sort, task);
            INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, notify)
            VALUES (standard, 'validate', 'received', 'validated', '{}'),
                   (standard, 'await_authorization', 'validated', 'pending_authorization', '{payer}'),
                   (standard, 'release', 'validated', 'ready_to_schedule', '{}'),
                   (standard, 'authorize', 'pending_authorization', 'ready_to_schedule', '{requester}'),
                   (standard, 'schedule', 'ready_to_schedule', 'scheduled', '{patient,requester}'),
                   (standard, 'reschedule', 'scheduled', 'scheduled', '{patient,requester}'),
                   (standard, 'miss_appointment', 'scheduled', 'no_show', '{requester}'),
                   (standard, 'rebook', 'no_show', 'scheduled', '{patient,requester}'),
                   (standard, 'rebook', 'appointment_cancelled', 'scheduled', '{patient,requester}'),
                   (standard, 'return_to_scheduling', 'no_show', 'ready_to_schedule', '{}'),
                   (standard, 'return_to_scheduling', 'appointment_cancelled', 'ready_to_schedule', '{}'),
                   (standard, 'complete', 'scheduled', 'completed', '{requester}'),
                   (standard, 'close', 'completed', 'closed_loop', '{requester,patient}');
            INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, reason_required, reason_domain)
            VALUES (standard, 'cancel_appointment', 'scheduled', 'appointment_cancelled', true, 'appointment');
            INSERT INTO referral.workflow_transition
                (workflow_id, transition, from_step, to_step, human_only, reason_required, reason_domain, notify)
            SELECT standard, 'decline', s.step, 'declined', true, true, 'decline', '{requester}'
            FROM referral.workflow_step s WHERE s.workflow_id = standard
              AND s.step IN ('received', 'validated', 'pending_authorization', 'ready_to_schedule', 'scheduled');
            INSERT INTO referral.workflow_transition
                (workflow_id, transition, from_step, to_step, reason_required, reason_domain, notify)
            SELECT standard, 'request_cancellation', s.step, 'cancellation_requested', true, 'cancel', '{performer}'
            FROM referral.workflow_step s WHERE s.workflow_id = standard
              AND s.step IN ('pending_authorization', 'ready_to_schedule', 'scheduled', 'no_show', 'appointment_cancelled');
            INSERT INTO referral.workflow_transition
                (workflow_id, transition, from_step, to_step, reason_required, reason_domain, notify)
            SELECT standard, 'cancel', s.step, 'cancelled', true, 'cancel', '{requester,patient}'
            FROM referral.workflow_step s WHERE s.workflow_id = standard
              AND s.step IN ('received', 'validated', 'on_hold');
            INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, notify)
            VALUES (standard, 'confirm_cancellation', 'cancellation_requested', 'cancelled', '{requester,patient}'),
                   (standard, 'complete', 'cancellation_requested', 'completed', '{requester}');
            INSERT INTO referral.workflow_transition
                (workflow_id, transition, from_step, to_step, reason_required, reason_domain)
            SELECT standard, 'hold', s.step, 'on_hold', true, 'hold'
            FROM referral.workflow_step s WHERE s.workflow_id = standard
              AND s.step IN ('received', 'validated', 'pending_authorization', 'ready_to_schedule', 'scheduled',
                             'no_show', 'appointment_cancelled', 'completed');
            INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step)
            SELECT standard, 'resume', 'on_hold', s.step
            FROM referral.workflow_step s WHERE s.workflow_id = standard
              AND s.step IN ('received', 'validated', 'pending_authorization', 'ready_to_schedule', 'scheduled',
                             'no_show', 'appointment_cancelled', 'completed');
            INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, notify)
            SELECT standard, 'expire', s.step, 'expired', '{requester,patient}'
            FROM referral.workflow_step s WHERE s.workflow_id = standard
              AND s.step IN ('received', 'validated', 'pending_authorization', 'ready_to_schedule', 'on_hold');
            INSERT INTO referral.workflow_transition
                (workflow_id, transition, from_step, to_step, human_only, reason_required, comment_required)
            SELECT standard, 'reopen', f, t, true, true, true
            FROM (VALUES ('closed_loop', 'completed'), ('declined', 'validated'), ('cancelled', 'validated'),
                         ('expired', 'validated')) r (f, t);
            INSERT INTO referral.workflow_transition
                (workflow_id, transition, from_step, to_step, priority, required_role, human_only, reason_required, comment_required)
            SELECT standard, 'void', s.step, 'entered_in_error', 900, 'referral_admin', true, true, true
            FROM referral.workflow_step s WHERE s.workflow_id = standard AND s.step <> 'entered_in_error';

            INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message, unblock)
            SELECT standard, t.transition_id, g.predicate, g.message, g.unblock
            FROM referral.workflow_transition t
            JOIN (VALUES
                ('validate', NULL, 'patient_id IS NOT NULL', 'the patient is not known',
                 'Set patient_id to a row of referral.patient.'),
                ('validate', NULL, 'specialty IS NOT NULL', 'the specialty is not known',
                 'Set specialty to what the referral asks for.'),
                ('release', NULL, 'authorization_required IS NOT TRUE OR authorization_number IS NOT NULL',
                 'the payer requires an authorization',
                 'Go to pending_authorization, or record authorization_number.'),
                ('authorize', NULL, 'authorization_number IS NOT NULL', 'no authorization is recorded',
                 'Record the payer''s authorization_number.'),
                ('schedule', NULL, 'scheduled_for IS NOT NULL', 'no appointment time is recorded',
                 'Set scheduled_for in the same UPDATE.'),
                ('rebook', NULL, 'scheduled_for IS NOT NULL AND scheduled_for IS DISTINCT FROM old.scheduled_for',
                 'no new appointment time is recorded', 'Set scheduled_for to the new time in the same UPDATE.'),
                ('reschedule', NULL, 'scheduled_for IS NOT NULL AND scheduled_for IS DISTINCT FROM old.scheduled_for',
                 'no new appointment time is recorded', 'Set scheduled_for to the new time in the same UPDATE.'),
                ('complete', 'scheduled', 'scheduled_for <= now()', 'the appointment has not begun yet',
                 'Complete the visit after it took place, or correct scheduled_for.'),
                ('close', NULL, 'referral.has_final_report(org_id, referral_id)',
                 'no final report is linked to this referral',
                 'Insert the report into referral.consult_report with this referral_id and status final.'),
                ('expire', NULL, 'expires_on < current_date', 'the referral has not expired',
                 'Wait until expires_on has passed, or correct it.')
            ) g (transition, from_step, predicate, message, unblock)
              ON g.transition = t.transition AND t.from_step = coalesce(g.from_step, t.from_step)
            WHERE t.workflow_id = standard;
            INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message, unblock)
            SELECT standard, t.transition_id,
                   format('referral.step_before(workflow_id, org_id, referral_id, ''on_hold'') = %L', t.to_step),
                   'it was suspended at another step', 'Resume at the step it had before the hold.'
            FROM referral.workflow_transition t WHERE t.workflow_id = standard AND t.transition = 'resume';

        ELSIF missing = 'workflow/coordination' THEN
            INSERT INTO referral.workflow (rule_version_id, entity, name, title, applies_when, priority)
            VALUES (version_id, 'referral', 'coordination', 'Referral coordination in eleven stages',
                    'referral_type = ''coordination''', 100)
            RETURNING workflow_id INTO coordination;
            INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, is_entry, sort, title)
            VALUES (coordination, 'intake_received', 'received', true, true, 1, 'Intake received'),
                   (coordination, 'documentation_review', 'received', false, false, 2, 'Documentation review'),
                   (coordination, 'eligibility_verification', 'validated', false, true, 3, 'Eligibility verification'),
                   (coordination, 'authorization_pending', 'pending_authorization', false, true, 4, 'Authorization pending'),
                   (coordination, 'clinical_triage', 'ready_to_schedule', false, true, 5, 'Clinical triage'),
                   (coordination, 'specialist_assignment', 'ready_to_schedule', false, false, 6, 'Specialist assignment'),
                   (coordination, 'appointment_scheduled', 'scheduled', false, true, 7, 'Appointment scheduled'),
                   (coordination, 'patient_notified', 'scheduled', false, false, 8, 'Patient notified'),
                   (coordination, 'completed', 'completed', false, true, 9, 'Completed'),
                   (coordination, 'exception', 'on_hold', false, true, 10, 'Exception'),
                   (coordination, 'closure', 'closed_loop', false, true, 11, 'Closure');
            INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step)
            VALUES (coordination, 'review', 'intake_received', 'documentation_review'),
                   (coordination, 'verify', 'documentation_review', 'eligibility_verification'),
                   (coordination, 'await_authorization', 'eligibility_verification', 'authorization_pending'),
                   (coordination, 'triage', 'eligibility_verification', 'clinical_triage'),
                   (coordination, 'triage', 'authorization_pending', 'clinical_triage'),
                   (coordination, 'assign', 'clinical_triage', 'specialist_assignment'),
                   (coordination, 'schedule', 'specialist_assignment', 'appointment_scheduled'),
                   (coordination, 'notify', 'appointment_scheduled', 'patient_notified'),
                   (coordination, 'reschedule', 'patient_notified', 'appointment_scheduled'),
                   (coordination, 'complete', 'patient_notified', 'completed'),
                   (coordination, 'close', 'completed', 'closure');
            INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, reason_required)
            SELECT coordination, 'raise_exception', s.step, 'exception', true
            FROM referral.workflow_step s WHERE s.workflow_id = coordination AND s.step NOT IN ('exception', 'closure');
            INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step)
            SELECT coordination, 'resume', 'exception', s.step
            FROM referral.workflow_step s WHERE s.workflow_id = coordination AND s.step NOT IN ('exception', 'closure');
            INSERT INTO referral.workflow_transition
                (workflow_id, transition, from_step, to_step, human_only, reason_required, comment_required)
            VALUES (coordination, 'close_unresolved', 'exception', 'closure', true, true, true);
            INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message, unblock)
            SELECT coordination, t.transition_id, g.predicate, g.message, g.unblock
            FROM referral.workflow_transition t
            JOIN (VALUES
                ('verify', NULL, 'patient_id IS NOT NULL', 'the patient is not known',
                 'Set patient_id to a row of referral.patient.'),
                ('verify', NULL, 'referral.is_complete(org_id, referral_id)', 'the referral is not complete',
                 'Mend what referral.validate() lists; what the same UPDATE fills in does not count yet.'),
                ('await_authorization', NULL, 'referral.eligibility_confirmed(org_id, referral_id)',
                 'the payer has not confirmed the coverage', 'Ask with referral.request_eligibility(), and record the answer.'),
                ('triage', 'eligibility_verification', 'referral.eligibility_confirmed(org_id, referral_id)',
                 'the payer has not confirmed the coverage', 'Ask with referral.request_eligibility(), and record the answer.'),
                ('triage', 'authorization_pending', 'authorization_number IS NOT NULL', 'no authorization is recorded',
                 'Record the payer''s authorization_number.'),
                ('schedule', NULL, 'performer_id IS NOT NULL', 'no specialist is assigned',
                 'Set performer_id to a row of referral.practitioner.'),
                ('schedule', NULL, 'scheduled_for IS NOT NULL', 'no appointment time is recorded',
                 'Set scheduled_for in the same UPDATE.'),
                ('close', NULL, 'referral.has_final_report(org_id, referral_id)',
                 'no final report is linked to this referral',
                 'Insert the report into referral.consult_report with this referral_id and status final.')
            ) g (transition, from_step, predicate, message, unblock)
              ON g.transition = t.transition AND t.from_step = coalesce(g.from_step, t.from_step)
            WHERE t.workflow_id = coordination;
            INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message, unblock)
            SELECT coordination, t.transition_id,
                   format('referral.step_before(workflow_id, org_id, referral_id, ''exception'') = %L', t.to_step),
                   'the exception was raised at another stage', 'Resume at the stage it was raised from.'
            FROM referral.workflow_transition t WHERE t.workflow_id = coordination AND t.transition = 'resume';

        ELSE
            -- BSeR, harmonised with IHE 360X: 12 business states, 34 transitions, 33 pairs
            INSERT INTO referral.workflow (rule_version_id, entity, name, title, applies_when, priority)
            VALUES (version_id, 'referral', 'closed_loop_exchange', 'Closed-loop exchange after BSeR and IHE 360X',
                    'referral_type = ''exchange''', 100)
            RETURNING workflow_id INTO exchange;
            INSERT INTO referral.workflow_step
                (workflow_id, step, state, is_initial, is_entry, sort, business_status, fhir_task_status, title)
            VALUES (exchange, 'draft', 'received', true, false, 1, '1.0', 'draft', 'Draft'),
                   (exchange, 'created', 'received', true, true, 2, '2.0', 'received', 'Service request created'),
                   (exchange, 'accepted', 'validated', false, true, 3, '3.0', 'accepted', 'Service request accepted'),
                   (exchange, 'declined', 'declined', false, true, 4, '4.0', 'rejected', 'Service request declined'),
                   (exchange, 'active', 'ready_to_schedule', false, true, 5, '5.1', 'in-progress', 'Active, in progress'),
                   (exchange, 'scheduled', 'scheduled', false, true, 6, '5.1.1', 'in-progress', 'Event scheduled'),
                   (exchange, 'unattended', 'no_show', false, true, 7, '5.1.2', 'in-progress', 'Scheduled event unattended'),
                   (exchange, 'event_cancelled', 'appointment_cancelled', false, true, 8, '5.1.3', 'in-progress', 'Scheduled event cancelled'),
                   (exchange, 'event_completed', 'completed', false, true, 9, '5.1.4', 'in-progress', 'Event completed'),
                   (exchange, 'cancellation_requested', 'cancellation_requested', false, true, 10, '5.2', 'in-progress', 'Cancellation requested'),
                   (exchange, 'cancelled', 'cancelled', false, true, 11, '6.0', 'cancelled', 'Fulfilment cancelled'),
                   (exchange, 'fulfilled', 'closed_loop', false, true, 12, '7.0', 'completed', 'Fulfilment completed');
            INSERT INTO referral.workflow_transition
                (workflow_id, transition, from_step, to_step, party, reason_required, priority)
            SELECT exchange, m.transition, m.from_step, unnest(m.to_steps), m.party::referral.party,
                   m.transition IN ('send_decline', 'request_cancellation'), m.priority
            FROM (VALUES
                ('send_referral', 'draft', '{created}'::text[], 'initiator', 100),
                ('send_acceptance', 'created', '{accepted}', 'recipient', 100),
                ('send_decline', 'created', '{declined}', 'recipient', 100),
                ('send_decline', 'accepted', '{declined}', 'recipient', 100),
                ('send_decline', 'active', '{declined}', 'recipient', 100),
                ('send_decline', 'scheduled', '{declined}', 'recipient', 100),
                ('send_decline', 'unattended', '{declined}', 'recipient', 100),
                ('send_decline', 'event_completed', '{declined}', 'recipient', 100),
                ('request_cancellation', 'created', '{cancellation_requested}', 'initiator', 100),
                ('request_cancellation', 'accepted', '{cancellation_requested}', 'initiator', 100),
                ('request_cancellation', 'active', '{cancellation_requested}', 'initiator', 100),
                ('request_cancellation', 'scheduled', '{cancellation_requested}', 'initiator', 100),
                ('request_cancellation', 'unattended', '{cancellation_requested}', 'initiator', 100),
                ('request_cancellation', 'event_cancelled', '{cancellation_requested}', 'initiator', 100),
                ('request_cancellation', 'event_completed', '{cancellation_requested}', 'initiator', 100),
                ('confirm_cancellation', 'cancellation_requested', '{cancelled}', 'recipient', 100),
                ('send_schedule', 'accepted', '{scheduled,active}', 'recipient', 100),
                ('send_schedule', 'event_cancelled', '{scheduled}', 'recipient', 100),
                ('send_schedule', 'event_completed', '{scheduled}', 'recipient', 100),
                ('send_reschedule', 'scheduled', '{scheduled}', 'recipient', 100),
                ('send_reschedule', 'unattended', '{scheduled}', 'recipient', 100),
                ('send_no_show', 'scheduled', '{unattended}', 'recipient', 100),
                ('send_appointment_cancel', 'scheduled', '{event_cancelled}', 'recipient', 100),
                ('send_appointment_cancel', 'unattended', '{event_cancelled}', 'recipient', 100),
                ('send_appointment_cancel', 'event_completed', '{event_cancelled}', 'recipient', 100),
                ('send_interim_note', 'accepted', '{event_completed,active}', 'recipient', 110),
                ('send_interim_note', 'scheduled', '{event_completed}', 'recipient', 100),
                ('send_interim_note', 'event_completed', '{event_completed}', 'recipient', 100),
                ('send_outcome', 'accepted', '{fulfilled}', 'recipient', 100),
                ('send_outcome', 'scheduled', '{fulfilled}', 'recipient', 100),
                ('send_outcome', 'event_completed', '{fulfilled}', 'recipient', 100),
                ('send_outcome', 'cancellation_requested', '{fulfilled}', 'recipient', 100)
            ) m (transition, from_step, to_steps, party, priority);
            INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message, unblock, error_code)
            SELECT exchange, t.transition_id,
                   format('exchange_role IS NULL OR exchange_role = %L OR pg_has_role(''referral_integration'', ''USAGE'')', t.party),
                   format('only the %s of the exchange makes this move', t.party),
                   format('Wait for the %s''s message; an interface that carries it acts as referral_integration.', t.party),
                   'RF003'
            FROM referral.workflow_transition t WHERE t.workflow_id = exchange;
        END IF;
        UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    END LOOP;
END $do$;
