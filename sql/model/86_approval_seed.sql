-- Shipped: what waits for a manager, for utilisation review, for the finance office and for the specialist.
DO $do$
DECLARE
    version_id bigint;
BEGIN
    IF EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'approval/standard') THEN
        RETURN;
    END IF;
    INSERT INTO referral.rule_set (name, kind, owner, note)
    VALUES ('approval/standard', 'approval', 'referral', 'Shipped with the extension.');
    INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
    SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'approval/standard'
    RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.approval_policy (rule_version_id, name, transitions, applies_when, kind, approver_role, queue, due, calendar,
                                          valid_for, watched, priority, explanation)
    SELECT version_id, p.name, p.transitions, p.applies_when || coalesce(' AND ' || u.applies_when, ''), p.kind, p.approver_role, p.queue,
           CASE WHEN u.applies_when IS NULL THEN p.due ELSE p.urgent_due END,
           CASE WHEN u.applies_when IS NULL THEN 'us_business' ELSE 'always' END, p.valid_for, p.watched, u.priority, p.explanation
    FROM (VALUES
        ('out_of_network', '{release,authorize,triage,send_acceptance}'::text[], 'network_status = ''out_of_network''', 'management',
         'referral_approver', 'approvals', '2 days'::interval, '4 hours'::interval, '90 days'::interval,
         '{network_status,payer_id,performing_organization_id,performer_id}'::text[],
         'The performer is out of the payer''s network: a manager has to agree.'),
        ('utilisation_review', '{triage,schedule,send_schedule}', 'authorization_required AND authorization_number IS NULL', 'utilisation_review',
         'referral_authorizer', 'utilisation_review', '1 day', '2 hours', '30 days', '{authorization_required,authorization_number,payer_id,service_code,specialty}',
         'The payer requires an authorization and none is recorded: utilisation review has to agree to go on without.'),
        ('financial_clearance', '{schedule,send_schedule}', 'expected_value >= 10000', 'financial',
         'referral_approver', 'financial_clearance', '2 days', '4 hours', '90 days', '{expected_value,payer_id,coverage_id}',
         'As much money as this is cleared before an appointment is given.'),
        ('specialist_acceptance', '{schedule,send_schedule}', 'intent = ''proposal''', 'clinical',
         'referral_clinician', 'clinical_triage', '2 days', '4 hours', NULL, '{intent,specialty,performer_id,reason_code,service_code}',
         'It is a proposal, not an order: a clinician of the specialty has to accept it.')
    ) p (name, transitions, applies_when, kind, approver_role, queue, due, urgent_due, valid_for, watched, explanation)
    CROSS JOIN (VALUES ('urgency >= ''urgent''', 10), (NULL, 100)) u (applies_when, priority)
    ORDER BY p.name, u.priority;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
END $do$;
