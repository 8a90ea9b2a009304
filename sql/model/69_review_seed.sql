-- Shipped: strict. Who a person is, and what is wrong with him, takes more than the rest.
DO $do$
DECLARE
    version_id bigint;
BEGIN
    IF EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'review/standard') THEN
        RETURN;
    END IF;
    INSERT INTO referral.rule_set (name, kind, owner, note)
    VALUES ('review/standard', 'review', 'referral', 'Shipped with the extension: how sure a model has to be.');
    INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
    SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'review/standard'
    RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.confidence_threshold (rule_version_id, field, minimum, note)
    VALUES (version_id, NULL, 0.95, 'Whatever has no row of its own'),
           (version_id, 'document.type', 0.95, 'What the document is'),
           (version_id, 'patient.identifier', 0.99, 'Who it is'),
           (version_id, 'patient.family', 0.99, 'Who it is'),
           (version_id, 'patient.given', 0.99, 'Who it is'),
           (version_id, 'patient.birth_date', 0.99, 'Who it is'),
           (version_id, 'patient.sex', 0.99, 'Who it is'),
           (version_id, 'coverage.subscriber_id', 0.98, 'Who pays'),
           (version_id, 'coverage.payer_identifier', 0.98, 'Who pays'),
           (version_id, 'coverage2.subscriber_id', 0.98, 'Who pays'),
           (version_id, 'coverage2.payer_identifier', 0.98, 'Who pays'),
           (version_id, 'referral.urgency', 0.99, 'How soon'),
           (version_id, 'referral.diagnosis1_code', 0.98, 'What is wrong'),
           (version_id, 'referral.diagnosis2_code', 0.98, 'What is wrong'),
           (version_id, 'referral.diagnosis3_code', 0.98, 'What is wrong'),
           (version_id, 'referral.reason_code', 0.98, 'What is wrong'),
           (version_id, 'referral.procedure1_code', 0.98, 'What is asked for'),
           (version_id, 'referral.procedure2_code', 0.98, 'What is asked for'),
           (version_id, 'referral.service_code', 0.98, 'What is asked for'),
           (version_id, 'referral.authorization_number', 0.98, 'What the payer has authorized'),
           (version_id, 'referral.state', 0.99, 'A model does not close a case by a guess'),
           (version_id, 'report.status', 0.99, 'A final report closes the loop');
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
END $do$;
