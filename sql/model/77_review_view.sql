-- review: what waits for people, what got past them (nothing), and how good the models are

CREATE OR REPLACE VIEW referral.extraction_review_queue WITH (security_invoker = true) AS
SELECT r.org_id, r.entity, r.entity_id, r.document_id, d.type AS document_type, d.referral_id, d.patient_id, r.field, r.value, r.confidence,
       r.threshold, r.reason, r.detail, r.model, r.model_version, r.produced_at,
       CASE WHEN isfinite(r.produced_at) THEN now() - r.produced_at END AS waiting
FROM (SELECT e.org_id, 'extraction' AS entity, e.extraction_id AS entity_id, e.document_id, e.field, e.value, e.confidence, e.threshold,
             e.reason, referral.canonical_fault(e.field, e.value) AS detail, e.model, e.model_version, e.produced_at
      FROM referral.extraction e WHERE e.status = 'in_review'
      UNION ALL
      SELECT c.org_id, 'document_classification' AS entity, c.document_classification_id, c.document_id, 'document.type' AS field, c.document_type, c.confidence,
             c.threshold, c.reason, referral.canonical_fault('document.type', c.document_type), c.model, c.model_version, c.produced_at
      FROM referral.document_classification c WHERE c.status = 'in_review') r
JOIN referral.document d ON d.org_id = r.org_id AND d.document_id = r.document_id;
COMMENT ON VIEW referral.extraction_review_queue IS
'What models have read and a person has to look at, with why (reason: below_threshold, no_threshold, no_confidence, contradiction, invalid_value; detail: what is wrong with the value) and since when. Review it by review_extraction() or review_classification(), as entity says.';

CREATE OR REPLACE VIEW referral.silent_pass WITH (security_invoker = true) AS
SELECT r.org_id, r.entity, r.entity_id, r.document_id, r.field, r.confidence, r.threshold, r.status, w.why
FROM (SELECT e.org_id, 'extraction' AS entity, e.extraction_id AS entity_id, e.document_id, e.field, e.confidence,
             e.confidence_threshold_id, e.threshold, e.rule_version, e.status, e.reviewed_by, e.reviewed_at
      FROM referral.extraction e WHERE e.status <> 'in_review'
      UNION ALL
      SELECT c.org_id, 'document_classification' AS entity, c.document_classification_id, c.document_id, 'document.type' AS field, c.confidence,
             c.confidence_threshold_id, c.threshold, c.rule_version, c.status, c.reviewed_by, c.reviewed_at
      FROM referral.document_classification c WHERE c.status <> 'in_review') r
LEFT JOIN referral.confidence_threshold t ON t.confidence_threshold_id = r.confidence_threshold_id
LEFT JOIN referral.rule_version v ON v.rule_version_id = t.rule_version_id
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(j.action = 'insert'), false) AS has_begin,
           coalesce(bool_or(j.action = 'insert' AND j.changes #> '{confidence,1}' IS NOT DISTINCT FROM to_jsonb(r.confidence)
                            AND j.changes #> '{threshold,1}' IS NOT DISTINCT FROM to_jsonb(r.threshold)), false) AS same_begin,
           coalesce(bool_or(j.action = 'update' AND j.actor_kind = 'user' AND j.actor = r.reviewed_by
                            AND (j.changes #>> '{reviewed_at,1}')::timestamptz = r.reviewed_at), false) AS has_review
    FROM referral.journal j
    WHERE j.org_id = r.org_id AND j.entity = r.entity AND j.entity_id = r.entity_id) j
-- of what was purged the journal cannot tell any more
CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM referral.journal_purge p WHERE p.org_id = r.org_id) AS was_purged) p
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN r.status = 'auto_accepted' AND (r.confidence >= 0 AND r.confidence <= 1 AND r.confidence >= r.threshold) IS NOT TRUE
        THEN 'accepted below its threshold'
        WHEN r.status = 'auto_accepted' AND (t.minimum = r.threshold AND t.rule_version_id = r.rule_version AND NOT isempty(v.valid_during)
                                             AND coalesce(t.field, r.field) = r.field) IS NOT TRUE
        THEN 'there never was such a threshold'
        WHEN r.status <> 'auto_accepted' AND (r.reviewed_by IS NULL OR r.reviewed_at IS NULL) THEN 'nobody has reviewed it'
        WHEN r.status <> 'auto_accepted' AND NOT j.has_review AND NOT p.was_purged THEN 'the journal has no review of it by a person'
        WHEN NOT j.same_begin AND (j.has_begin OR NOT p.was_purged) THEN 'the journal tells of another confidence or threshold' END AS why) w
WHERE w.why IS NOT NULL;
COMMENT ON VIEW referral.silent_pass IS
'What passed without reaching a threshold and without a person: must be empty. Found by confidence, threshold rule and review, and by what the journal tells of them; the status alone is believed nothing. why says what is missing.';

CREATE OR REPLACE VIEW referral.extraction_accuracy WITH (security_invoker = true) AS
SELECT r.org_id, r.model, r.model_version, r.field, date_trunc('month', r.produced_at AT TIME ZONE 'UTC')::date AS month,
       count(*) AS produced, avg(r.confidence) FILTER (WHERE r.confidence BETWEEN 0 AND 1) AS mean_confidence,
       count(*) FILTER (WHERE r.status = 'auto_accepted') AS auto_accepted, count(*) FILTER (WHERE r.status = 'in_review') AS in_review,
       count(*) FILTER (WHERE r.status = 'accepted') AS accepted, count(*) FILTER (WHERE r.status = 'corrected') AS corrected,
       count(*) FILTER (WHERE r.status = 'rejected') AS rejected,
       (count(*) FILTER (WHERE r.status = 'accepted'))::float8
           / nullif(count(*) FILTER (WHERE r.status IN ('accepted', 'corrected', 'rejected')), 0) AS accuracy
FROM (SELECT e.org_id, e.model, e.model_version, e.field, e.produced_at, e.confidence, e.status FROM referral.extraction e
      UNION ALL
      SELECT c.org_id, c.model, c.model_version, 'document.type' AS field, c.produced_at, c.confidence, c.status FROM referral.document_classification c) r
GROUP BY r.org_id, r.model, r.model_version, r.field, month;
COMMENT ON VIEW referral.extraction_accuracy IS
'How good models are, by version, field and month (UTC) in which they read: how many values passed, wait, and were accepted, corrected and rejected by people. accuracy: accepted of those reviewed, 0 to 1; null when none was. Values that passed count only when somebody has looked at them all the same.';

GRANT SELECT ON referral.extraction_review_queue TO referral_admin, referral_coordinator, referral_clinician, referral_scheduler,
    referral_authorizer, referral_approver, referral_auditor, referral_integration;
GRANT SELECT ON referral.silent_pass TO referral_admin, referral_auditor;
GRANT SELECT ON referral.extraction_accuracy TO referral_admin, referral_coordinator, referral_clinician, referral_authorizer, referral_auditor,
    referral_analyst, referral_integration;
