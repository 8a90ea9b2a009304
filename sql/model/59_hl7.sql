-- HL7 v2 out: for those who read what it tells. Other functions of HL7 v2 compute only from what they are given.
GRANT EXECUTE ON FUNCTION referral.hl7_body(bigint, bigint), referral.hl7_header(bigint, text, text, text, text), referral.hl7_in1(bigint, bigint, date),
    referral.hl7_known_ids(bigint, bigint, bigint, bigint, text, text), referral.hl7_own_name(bigint), referral.hl7_pid(bigint, bigint),
    referral.hl7_prd(bigint, text, bigint, bigint), referral.hl7_referral(bigint, bigint, text, text, text),
    referral.hl7_report_segments(bigint, bigint), referral.hl7_response(bigint, bigint, text, text, text),
    referral.hl7_rf1(bigint, bigint, text, text)
    TO referral_admin, referral_coordinator, referral_clinician, referral_scheduler, referral_authorizer, referral_approver,
       referral_auditor, referral_integration;
