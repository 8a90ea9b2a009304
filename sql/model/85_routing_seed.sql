-- Where work goes in every clinic, until it has rules of its own.
DO $do$
DECLARE
    version_id bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'routing/standard') THEN
        INSERT INTO referral.rule_set (name, kind, owner, note)
        VALUES ('routing/standard', 'routing', 'referral', 'Shipped with the extension.');
        INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
        SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'routing/standard'
        RETURNING rule_version_id INTO version_id;
        INSERT INTO referral.routing_rule (rule_version_id, name, priority, applies_when, queue, explanation)
        VALUES (version_id, 'urgent', 100, 'state IN (''received'', ''validated'') AND urgency >= ''urgent''', 'clinical_triage',
                'Urgent: a clinician looks at it first.'),
               (version_id, 'received', 200, 'state = ''received''', 'intake', 'New: to be checked.'),
               (version_id, 'pending_authorization', 300, 'state = ''pending_authorization''', 'authorization', 'The payer has to authorize it.'),
               (version_id, 'authorization_missing', 400,
                'state IN (''validated'', ''ready_to_schedule'') AND authorization_required AND authorization_number IS NULL', 'utilisation_review',
                'It needs an authorization, and none is there.'),
               (version_id, 'out_of_network', 500, 'state = ''validated'' AND network_status = ''out_of_network''', 'financial_clearance',
                'Out of the payer''s network: what the patient has to pay is settled first.'),
               (version_id, 'to_be_booked', 600,
                'state IN (''validated'', ''ready_to_schedule'', ''scheduled'', ''no_show'', ''appointment_cancelled'')', 'scheduling',
                'The appointment is to be booked, or kept.'),
               (version_id, 'completed', 700, 'state = ''completed''', 'closing_the_loop', 'The requester waits for the report.');
        INSERT INTO referral.routing_rule (rule_version_id, name, entity, priority, applies_when, queue, explanation)
        VALUES (version_id, 'missing_document', 'exception_item', 100, 'category = ''missing_document''', 'missing_documents',
                'A document has to be obtained.'),
               (version_id, 'coverage', 'exception_item', 200, 'category IN (''eligibility'', ''payer_mismatch'')', 'financial_clearance',
                'The coverage is to be checked with the payer.'),
               (version_id, 'clinical_review', 'exception_item', 300, 'category = ''clinical_review''', 'clinical_triage',
                'A clinician has to look at it.'),
               (version_id, 'capacity', 'exception_item', 400, 'category = ''capacity''', 'scheduling', 'Another slot or another provider has to be found.'),
               (version_id, 'data_quality', 'exception_item', 500, 'category IN (''duplicate_record'', ''integration'')', 'data_quality',
                'The data are to be put right.'),
               (version_id, 'low_confidence', 'exception_item', 600, 'category = ''low_confidence''', 'review',
                'What a model has read is to be checked.');
        UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    END IF;
END $do$;
