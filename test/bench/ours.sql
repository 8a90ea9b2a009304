-- Guarded, journaled tables like referral.referral, for several benchmarks.

-- A workflow of so many transitions and guards. Two guards are on each of the two transitions that are taken, the
-- others on one transition each; up to seven transitions leave from ready_to_schedule.
CREATE FUNCTION bench.make_workflow(entity text, transitions int, guards int) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    version bigint;
    flow bigint;
    extra int := least(14, transitions - 2);
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('bench/' || entity, 'workflow');
    INSERT INTO referral.rule_version (rule_set_id, is_seed)
    SELECT s.rule_set_id, true FROM referral.rule_set s WHERE s.name = 'bench/' || entity
    RETURNING rule_version_id INTO version;
    INSERT INTO referral.workflow (rule_version_id, entity, name) VALUES (version, entity, entity)
    RETURNING workflow_id INTO flow;
    INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, is_entry)
    VALUES (flow, 'ready_to_schedule', 'ready_to_schedule', true, true), (flow, 'scheduled', 'scheduled', false, true);
    INSERT INTO referral.workflow_step (workflow_id, step, state, is_entry)
    SELECT flow, 'extra_' || i, 'on_hold', false FROM generate_series(1, extra) i;
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step)
    VALUES (flow, 'schedule', 'ready_to_schedule', 'scheduled'), (flow, 'release', 'scheduled', 'ready_to_schedule');
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step)
    SELECT flow, 'extra_' || i,
           CASE WHEN i <= 7 THEN 'ready_to_schedule' ELSE 'extra_' || 1 + i % extra END,
           'extra_' || 1 + (i + i / extra + 1) % extra
    FROM generate_series(1, transitions - 2) i;
    INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message)
    SELECT flow, t.transition_id, g, 'blocked'
    FROM referral.workflow_transition t,
         (VALUES ('patient_id IS NOT NULL AND specialty IS NOT NULL'),
                 ('authorization_required IS NOT TRUE OR authorization_number IS NOT NULL')) v (g)
    WHERE t.workflow_id = flow AND t.transition IN ('schedule', 'release')
    ORDER BY t.transition_id, g DESC;
    INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message)
    SELECT flow, t.transition_id, 'service_code IS NOT NULL', 'blocked'
    FROM referral.workflow_transition t WHERE t.workflow_id = flow AND t.transition LIKE 'extra%'
    ORDER BY t.transition_id LIMIT guards - 4;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version;
END $$;

CREATE FUNCTION bench.fill_ours(name text, nrows int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($f$
        INSERT INTO bench.%I (org_id, referral_id, urgency, patient_id, requester_id, performer_id, payer_id, site_id,
            region, specialty, service_line, channel, placer_order_number, reason_code_system, reason_code,
            reason_text, service_code, authored_at, received_at, authorization_required, authorization_number,
            scheduled_for, expires_on)
        SELECT 1, i, 'urgent', i, i %% 500, i %% 300, i %% 20, i %% 9, 'north', 'cardiology', 'adult', 'fax',
               'ORD' || i, 'http://hl7.org/fhir/sid/icd-10-cm', 'I25.10',
               'Chest pain on exertion, abnormal stress test', '99243', '2026-08-20 09:00+00',
               '2026-08-21 09:00+00', true, 'AUTH' || i, '2026-09-01 10:00+00', '2027-02-20'
        FROM generate_series(1, %s) i $f$, name, nrows);
END $$;

CREATE FUNCTION bench.make_ours(name text, nrows int, transitions int, guards int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE bench.%I (LIKE referral.referral INCLUDING ALL)', name);
    PERFORM referral.attach(format('bench.%I', name)::regclass, id_column => 'referral_id');
    PERFORM bench.make_workflow(name, transitions, guards);
    PERFORM bench.fill_ours(name, nrows);
END $$;
