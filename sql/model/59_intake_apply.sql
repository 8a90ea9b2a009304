-- intake_apply: who writes what messages say, and how it is found again

CREATE INDEX IF NOT EXISTS document_identifier ON referral.document (org_id, identifier) WHERE identifier IS NOT NULL;
CREATE INDEX IF NOT EXISTS communication_identifier ON referral.communication (org_id, identifier) WHERE identifier IS NOT NULL;

-- so that nobody has to look for it in what has become of all messages
CREATE TABLE IF NOT EXISTS referral.intake_latest (
    org_id bigint NOT NULL DEFAULT referral.current_org(),    -- that of a row which is there
    entity text NOT NULL,
    entity_id bigint NOT NULL,
    source text NOT NULL,
    sent_at timestamptz,
    message_id bigint NOT NULL,
    PRIMARY KEY (org_id, entity, entity_id, source)
);
ALTER TABLE referral.intake_latest DROP CONSTRAINT IF EXISTS intake_latest_org_id_fkey;
COMMENT ON TABLE referral.intake_latest IS
'Which message of a source told last of a row: an older one that comes later, or is processed again, does not undo it.';
COMMENT ON COLUMN referral.intake_latest.sent_at IS 'When its source sent it; null when that is not known, or lies in the future.';
SELECT referral.secure_table('referral.intake_latest');
-- written as the owner: who could write it could make messages ineffective
REVOKE INSERT, UPDATE ON referral.intake_latest FROM referral_integration, referral_coordinator, referral_clinician;
GRANT SELECT ON referral.intake_latest TO referral_admin, referral_auditor, referral_integration, referral_coordinator, referral_clinician;

-- a feed of the directory tells of these, too
GRANT INSERT, UPDATE ON referral.site, referral.healthcare_service TO referral_integration;

-- whatever of it is not for everybody, so that one list, in sql/66_intake_referral.sql, says which that is
DO $do$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid::regprocedure
             FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
             WHERE p.pronamespace = 'referral'::regnamespace AND p.proname ~ '^(apply_case$|intake_)'
               AND NOT has_function_privilege('public', p.oid, 'EXECUTE') LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO referral_integration, referral_coordinator, referral_clinician', f);
    END LOOP;
END $do$;
