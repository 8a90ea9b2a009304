-- What every clinic wants to know of a referral, and how it asks for it.
DO $do$
DECLARE
    version_id bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'outreach/standard') THEN
        INSERT INTO referral.rule_set (name, kind, owner, note)
        VALUES ('outreach/standard', 'outreach', 'referral', 'Shipped with the extension.');
        INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
        SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'outreach/standard'
        RETURNING rule_version_id INTO version_id;
        INSERT INTO referral.outreach_template (rule_version_id, name, recipient, medium, subject, body)
        VALUES (version_id, 'missing_information', 'requester', 'fax', 'Referral {{referral_number}}: information needed',
                E'{{organization}} received a referral to {{specialty}} on {{received_on}}.\nPatient: {{patient_name}}, born {{patient_birth_date}}\n\nWe cannot go on without the following:\n{{missing}}\n\nPlease send it with the number {{referral_number}}.'),
               (version_id, 'missing_document', 'requester', 'fax', 'Referral {{referral_number}}: document needed',
                E'{{organization}} received a referral to {{specialty}} on {{received_on}}.\nPatient: {{patient_name}}, born {{patient_birth_date}}\n\nThese documents are not with it:\n{{missing}}\n\nPlease send them with the number {{referral_number}}.');
        UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    END IF;
    IF NOT EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'validation/standard') THEN
        INSERT INTO referral.rule_set (name, kind, owner, note)
        VALUES ('validation/standard', 'validation', 'referral', 'Shipped with the extension.');
        INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
        SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'validation/standard'
        RETURNING rule_version_id INTO version_id;
        INSERT INTO referral.required_field_rule (rule_version_id, name, field, condition, severity, message, how_to_fix, template)
        VALUES (version_id, 'patient', 'patient', NULL, 'missing',
                'the patient is not known', 'Set patient_id to a row of referral.patient.', 'missing_information'),
               (version_id, 'patient_name', 'patient.family', NULL, 'missing',
                'the patient has no family name', 'Record the patient''s family name.', 'missing_information'),
               (version_id, 'birth_date', 'patient.birth_date', NULL, 'missing',
                'the patient''s date of birth is not known', 'Record the patient''s birth_date.', 'missing_information'),
               (version_id, 'birth_date_plausible', 'patient.birth_date',
                'birth_date IS NULL OR birth_date BETWEEN current_date - 47847 AND current_date + 1', 'invalid',
                'the patient''s date of birth is in the future, or more than 130 years ago', 'Correct the patient''s birth_date.', 'missing_information'),
               (version_id, 'specialty', 'specialty', NULL, 'missing',
                'it is not known which specialty is asked', 'Set specialty.', 'missing_information'),
               (version_id, 'reason', 'reason_code', 'nullif(btrim(reason_code), '''') IS NOT NULL OR nullif(btrim(reason_text), '''') IS NOT NULL', 'missing',
                'the reason for the referral is not given', 'Set reason_code (a diagnosis) or reason_text.', 'missing_information'),
               (version_id, 'requester', 'requester_id', 'requester_id IS NOT NULL OR requesting_organization_id IS NOT NULL', 'missing',
                'it is not known who refers', 'Set requester_id or requesting_organization_id.', NULL),
               (version_id, 'coverage', 'coverage', NULL, 'missing',
                'no coverage of the patient is known', 'Record the patient''s coverage; for who pays himself, one without a payer.', 'missing_information'),
               (version_id, 'service', 'service_code', 'nullif(btrim(service_code), '''') IS NOT NULL OR nullif(btrim(service_text), '''') IS NOT NULL', 'warning',
                'it is not said which service is asked for', 'Set service_code or service_text.', NULL);
        INSERT INTO referral.document_requirement (rule_version_id, name, document_type, applies_when, severity, message, how_to_fix, template)
        VALUES (version_id, 'imaging_order', 'order',
                'lower(specialty) = ''radiology'' AND channel IN (''fax'', ''fax_email'', ''portal'', ''call_centre'')', 'missing',
                'the signed order for imaging is not there', 'File it as a document of type order.', 'missing_document'),
               (version_id, 'urgent_clinical_note', 'clinical_note', 'urgency >= ''urgent''', 'warning',
                'an urgent referral came without a clinical note', 'File it as a document of type clinical_note.', NULL);
        UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    END IF;
END $do$;
