DO $do$
BEGIN
    IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('referral.event_log') AND a.attname = 'cost_center') THEN
        DROP VIEW referral.event_log;
    END IF;
END $do$;
CREATE OR REPLACE VIEW referral.audit_log WITH (security_invoker = true) AS
SELECT org_id, journal_id, occurred_at, recorded_at, actor, actor_kind, db_user, application_name, entity, entity_id, version,
       referral.describe_change(action, transition, from_step, to_step, changes) AS what,
       reason, origin, correlation_id, rule_version
FROM referral.journal;
COMMENT ON VIEW referral.audit_log IS
'Who changed what, when and why, one row per change, in words (what). Holds what the tables hold, patients'' names included.';

CREATE OR REPLACE VIEW referral.event_log WITH (security_invoker = true) AS
SELECT j.org_id, c.case_id, coalesce(j.transition, CASE j.entity WHEN 'referral' THEN 'receive' ELSE 'add_' || j.entity END) AS activity,
       j.occurred_at AS "timestamp", j.actor AS resource, j.actor_kind AS resource_kind, s.cost_centre,
       j.to_step AS step, j.to_state AS state, j.journal_id
FROM referral.journal j
CROSS JOIN LATERAL (SELECT CASE j.entity WHEN 'referral' THEN j.entity_id
                                ELSE CASE jsonb_typeof(j.changes #> '{referral_id,1}')
                                     WHEN 'number' THEN (j.changes #>> '{referral_id,1}')::bigint END END AS case_id) c
LEFT JOIN referral.referral r ON r.org_id = j.org_id AND r.referral_id = c.case_id
LEFT JOIN referral.site s ON s.org_id = r.org_id AND s.site_id = r.site_id
WHERE (j.entity = 'referral' AND j.to_step IS NOT NULL)
   OR (j.entity <> 'referral' AND j.action = 'insert' AND c.case_id IS NOT NULL);
COMMENT ON VIEW referral.event_log IS
'Event log for process mining (the columns that XES calls case, activity, timestamp, resource and cost): one row for each step that a referral took, and for each row that was added to it (add_document …). case_id is the referral_id; resource who did it; cost_centre that of the referral''s present site. Order a case by timestamp, journal_id.';

GRANT SELECT ON referral.audit_log TO referral_admin, referral_auditor;
GRANT SELECT ON referral.event_log TO referral_admin, referral_coordinator, referral_clinician, referral_scheduler,
    referral_authorizer, referral_approver, referral_auditor, referral_integration;
GRANT EXECUTE ON FUNCTION referral.evidence_pack(bigint, bigint) TO referral_admin, referral_auditor;
