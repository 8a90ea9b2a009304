-- FHIR out: for those who read what it tells. Other functions of FHIR compute only from what they are given.
GRANT EXECUTE ON FUNCTION referral.fhir_out_identifiers(bigint, text, bigint), referral.fhir_out_patient(bigint, bigint),
    referral.fhir_out_practitioner(bigint, bigint), referral.fhir_out_organization(bigint, bigint), referral.fhir_out_coverage(bigint, bigint),
    referral.fhir_contained_actor(bigint, bigint, bigint, text), referral.fhir_received(bigint, bigint), referral.fhir_service_request(bigint, bigint), referral.fhir_task(bigint, bigint),
    referral.fhir_patient_match(jsonb, boolean, integer, bigint)
    TO referral_admin, referral_coordinator, referral_clinician, referral_scheduler, referral_authorizer, referral_approver,
       referral_auditor, referral_integration;
