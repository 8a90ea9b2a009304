-- The index that find_matches() reads. Without fastupdate: a lookup would have to read what waits to be put in.
CREATE INDEX IF NOT EXISTS patient_demographics ON referral.patient USING gin (demographics referral.demographics_ops)
    WITH (fastupdate = off);

GRANT EXECUTE ON FUNCTION referral.find_matches(bigint, referral.demographics, integer, bigint),
    referral.find_match(bigint, referral.demographics), referral.find_duplicates(bigint, float8)
    TO referral_admin, referral_coordinator, referral_clinician, referral_scheduler, referral_authorizer, referral_approver,
       referral_auditor, referral_integration;
