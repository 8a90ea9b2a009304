-- Foreign keys that others imply.  A row whose parent, of the same org_id, must be there needs no key of its own to
-- referral.organization: the parent has it.  Each key costs a look-up a row, and a lock that all writers share.
DO $do$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['consult_report', 'contact_attempt', 'coverage', 'document_classification', 'eligibility_check',
        'encounter', 'extraction', 'identifier', 'network_contract', 'patient_merge', 'plan', 'practitioner_role',
        'prior_authorization_item', 'referral_code', 'referral_relation', 'validation_result'] LOOP
        IF EXISTS (SELECT FROM pg_constraint c
                   WHERE c.conrelid = to_regclass('referral.' || t) AND c.conname = t || '_org_id_fkey' AND c.contype = 'f') THEN
            EXECUTE format('ALTER TABLE referral.%I DROP CONSTRAINT %I', t, t || '_org_id_fkey');
        END IF;
    END LOOP;
END $do$;
