-- Shipped: what waits for which exceptions, until when they are to be settled, why they come about, and some that open by themselves.
DO $do$
DECLARE
    version_id bigint;
BEGIN
    IF EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'exception/standard') THEN
        RETURN;
    END IF;
    INSERT INTO referral.rule_set (name, kind, owner, note)
    VALUES ('exception/standard', 'exception', 'referral', 'Shipped with the extension.');
    INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
    SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'exception/standard'
    RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.exception_policy (rule_version_id, category, code, blocks, due, calendar)
    VALUES (version_id, 'missing_document', NULL, '{release,triage,send_acceptance}', '2 days', 'us_business'),
           (version_id, 'payer_mismatch', NULL, '{await_authorization,release,authorize,triage}', '1 day', 'us_business'),
           (version_id, 'duplicate_record', NULL, '{release,triage,schedule,send_schedule}', '1 day', 'us_business'),
           (version_id, 'clinical_review', NULL, '{release,triage,assign,schedule,send_acceptance}', '4 hours', 'us_business'),
           (version_id, 'low_confidence', NULL, '{validate,verify,send_acceptance}', '1 day', 'us_business'),
           (version_id, 'eligibility', NULL, '{await_authorization,release,authorize,triage}', '1 day', 'us_business'),
           (version_id, 'capacity', NULL, '{schedule,send_schedule}', '2 days', 'us_business'),
           (version_id, 'integration', NULL, '{release,triage}', '1 day', 'us_business'),
           (version_id, 'policy', NULL, '{release,triage,send_acceptance}', '2 days', 'us_business'),
           (version_id, 'policy', 'decision_declined', '{release,authorize,triage,assign,schedule}', '1 day', 'us_business');
    INSERT INTO referral.exception_rule (rule_version_id, name, category, code, severity, blocking, applies_when, explanation)
    VALUES (version_id, 'booked_without_authorization', 'policy', 'booked_without_authorization', 'high', false,
            'state = ''scheduled'' AND authorization_required AND authorization_number IS NULL',
            'an appointment is booked, and the authorization that the payer requires is not recorded'),
           (version_id, 'urgent_waits_for_payer', 'clinical_review', 'urgent_waits_for_payer', 'high', false,
            'state = ''pending_authorization'' AND urgency >= ''asap''',
            'a referral as urgent as this waits for the payer: a clinician is to say whether it may');
    INSERT INTO referral.reason_code (rule_version_id, domain, code, display)
    VALUES (version_id, 'root_cause', 'sender_omitted', 'Who sent it left it out'),
           (version_id, 'root_cause', 'sender_error', 'Who sent it had it wrong'),
           (version_id, 'root_cause', 'entry_error', 'It was entered wrong here'),
           (version_id, 'root_cause', 'extraction_error', 'A model misread it'),
           (version_id, 'root_cause', 'coverage_changed', 'The coverage has changed'),
           (version_id, 'root_cause', 'payer_variance', 'The payer decides otherwise than agreed'),
           (version_id, 'root_cause', 'patient_unreachable', 'The patient could not be reached'),
           (version_id, 'root_cause', 'capacity_short', 'Not enough capacity'),
           (version_id, 'root_cause', 'interface_failure', 'An interface or a system failed'),
           (version_id, 'root_cause', 'configuration', 'A rule or a mapping was wrong'),
           (version_id, 'root_cause', 'policy_gap', 'No rule covers the case'),
           (version_id, 'root_cause', 'no_exception', 'It never was one'),
           (version_id, 'root_cause', 'other', 'Another cause');
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
END $do$;
