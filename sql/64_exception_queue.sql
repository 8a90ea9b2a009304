-- exception: what whoever works on the queue has to know of the row that an exception is about

CREATE FUNCTION referral.exception_about(org_id bigint, entity text, entity_id bigint, referral_id bigint, category referral.exception_category,
    code text, OUT source text, OUT patient_id bigint, OUT how_to_fix text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral_id IS NOT NULL THEN
        SELECT r.source, r.patient_id INTO source, patient_id FROM referral.referral r
        WHERE r.org_id = exception_about.org_id AND r.referral_id = exception_about.referral_id;
    ELSIF entity = 'inbox_message' THEN
        SELECT m.source, m.patient_id INTO source, patient_id FROM referral.inbox_message m
        WHERE m.org_id = exception_about.org_id AND m.message_id = exception_about.entity_id;
    ELSIF entity = 'patient' THEN
        patient_id := entity_id;
    END IF;
    IF entity = 'referral' AND category IN ('policy', 'eligibility', 'missing_document') THEN
        how_to_fix := (
            SELECT CASE WHEN f.kind = 'document' THEN f.how_to_fix
                        WHEN f.field_or_document ~ '^(patient|coverage)(\.|$)' THEN f.how_to_fix || ' Then call check_patient().'
                        ELSE f.how_to_fix || ' Then call check_referral().' END
            FROM (SELECT v.findings FROM referral.validation_result v
                  WHERE v.org_id = exception_about.org_id AND v.referral_id = exception_about.entity_id
                  ORDER BY v.validation_result_id DESC LIMIT 1) l
            CROSS JOIN LATERAL jsonb_to_recordset(l.findings) f (kind text, code text, field_or_document text, how_to_fix text)
            WHERE f.code = exception_about.code LIMIT 1);
    END IF;
END $$;
COMMENT ON FUNCTION referral.exception_about(bigint, text, bigint, bigint, referral.exception_category, text) IS
'For exception_queue: who sent the referral or the message that an exception is about, its patient, and how to mend it, as the last check of the referral says. Each null where it is not known. Reads with the caller''s rights.';
