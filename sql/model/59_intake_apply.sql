-- intake_apply: who writes what messages say, and how it is found again

CREATE INDEX IF NOT EXISTS document_identifier ON referral.document (org_id, identifier) WHERE identifier IS NOT NULL;
CREATE INDEX IF NOT EXISTS communication_identifier ON referral.communication (org_id, identifier) WHERE identifier IS NOT NULL;

-- so that nobody has to look for it in what has become of all messages
CREATE TABLE IF NOT EXISTS referral.intake_latest (
    org_id bigint NOT NULL DEFAULT referral.current_org() REFERENCES referral.organization,
    entity text NOT NULL,
    entity_id bigint NOT NULL,
    source text NOT NULL,
    sent_at timestamptz,
    message_id bigint NOT NULL,
    PRIMARY KEY (org_id, entity, entity_id, source)
);
COMMENT ON TABLE referral.intake_latest IS
'Which message of a source told last of a row: an older one that comes later, or is processed again, does not undo it.';
COMMENT ON COLUMN referral.intake_latest.sent_at IS 'When its source sent it; null when that is not known, or lies in the future.';
SELECT referral.secure_table('referral.intake_latest');
GRANT SELECT, INSERT, UPDATE ON referral.intake_latest TO referral_integration, referral_coordinator, referral_clinician;
GRANT SELECT ON referral.intake_latest TO referral_admin, referral_auditor;

-- a feed of the directory tells of these, too
GRANT INSERT, UPDATE ON referral.site, referral.healthcare_service TO referral_integration;

GRANT EXECUTE ON FUNCTION
    referral.intake_lock(bigint, text), referral.intake_keep_identifiers(bigint, jsonb, text, bigint, bigint, bigint, bigint, boolean),
    referral.apply_case(bigint, bigint, text, text, jsonb), referral.intake_find_practitioner(bigint, jsonb, text, text, text),
    referral.intake_practitioner(referral.intake_work, jsonb, boolean), referral.intake_find_organization(bigint, jsonb, text, text),
    referral.intake_organization(referral.intake_work, jsonb, boolean), referral.intake_find_payer(bigint, text, text),
    referral.intake_payer(referral.intake_work, jsonb, boolean), referral.intake_find_plan(bigint, bigint, text, text),
    referral.intake_plan(referral.intake_work, jsonb, bigint), referral.intake_site(referral.intake_work, jsonb),
    referral.intake_service(referral.intake_work, jsonb), referral.intake_role(referral.intake_work, jsonb),
    referral.intake_directory(referral.intake_work, jsonb), referral.intake_appointment_referral(referral.intake_work, jsonb),
    referral.intake_find_appointment(referral.intake_work, jsonb),
    referral.intake_move_appointment(referral.intake_work, text, text, timestamptz, timestamptz),
    referral.intake_follow_appointment(referral.intake_work, jsonb, text, timestamptz), referral.intake_appointment(referral.intake_work, jsonb),
    referral.intake_hash(jsonb), referral.intake_document(referral.intake_work, jsonb), referral.intake_report(referral.intake_work, jsonb),
    referral.intake_valid(jsonb), referral.intake_authorization_item(referral.intake_work, bigint, jsonb, integer),
    referral.intake_authorization(referral.intake_work, jsonb), referral.intake_communication(referral.intake_work, jsonb),
    referral.intake_events(referral.intake_work, jsonb), referral.intake_patient_values(referral.intake_work, jsonb, referral.intake_person),
    referral.intake_find_patient(referral.intake_work, jsonb, referral.intake_person, bigint[]),
    referral.intake_owns_patient(referral.intake_work, jsonb, text, text),
    referral.intake_update_patient(referral.intake_work, jsonb), referral.intake_patient(referral.intake_work, jsonb, bigint[]),
    referral.intake_patient_of(referral.intake_work), referral.intake_is_outdated(referral.intake_work, text, bigint), referral.intake_note_latest(referral.intake_work), referral.intake_made_before(referral.intake_work, text),
    referral.intake_place_coverage(referral.intake_work, referral.intake_cover), referral.intake_coverage(referral.intake_work, jsonb),
    referral.intake_update_coverage(referral.intake_work, referral.intake_cover, referral.intake_cover, jsonb),
    referral.intake_encounter(referral.intake_work, jsonb), referral.intake_find_referral(referral.intake_work, jsonb),
    referral.intake_choose_referral(referral.intake_work, bigint[]),
    referral.intake_move(referral.intake_work, referral.state, text, text, timestamptz, text), referral.intake_codes(referral.intake_work, jsonb),
    referral.intake_check_request(referral.intake_work, jsonb), referral.intake_relations(referral.intake_work, jsonb),
    referral.intake_request_values(referral.intake_work, jsonb, referral.intake_request),
    referral.intake_create_referral(referral.intake_work, jsonb), referral.intake_update_referral(referral.intake_work, jsonb),
    referral.intake_progress(referral.intake_work, jsonb), referral.intake_referral(referral.intake_work, jsonb, bigint[]),
    referral.intake_answer(referral.intake_work, jsonb), referral.intake_find_authorization(referral.intake_work, jsonb)
    TO referral_integration, referral_coordinator, referral_clinician;
