-- One row for each referral, the same for every team: where it stands, whose it is, what comes next, what is in the way.
-- Columns that need other tables are scalar subqueries, or joins to an aggregate: a query that does not ask for them does
-- not pay for them.
CREATE OR REPLACE VIEW referral.referral_case WITH (security_invoker = true) AS
SELECT r.org_id, r.referral_id, r.patient_id,
       (SELECT concat_ws(', ', p.family, p.given) FROM referral.patient p WHERE p.org_id = r.org_id AND p.patient_id = r.patient_id) AS patient,
       (SELECT w.name FROM referral.workflow w WHERE w.workflow_id = r.workflow_id) AS workflow,
       r.state::text AS state, r.step,
       (SELECT coalesce(s.title, s.step) FROM referral.workflow_step s WHERE s.workflow_id = r.workflow_id AND s.step = r.step) AS step_title,
       r.status_reason, r.urgency::text AS urgency, r.priority, r.referral_type, r.specialty, r.service_line,
       coalesce((SELECT h.name FROM referral.healthcare_service h
                 WHERE h.org_id = r.org_id AND h.healthcare_service_id = r.healthcare_service_id), r.service_text, r.service_code) AS service,
       coalesce(r.reason_text, r.reason_code) AS reason,
       (SELECT s.name FROM referral.site s WHERE s.org_id = r.org_id AND s.site_id = r.site_id) AS site, r.region,
       (SELECT i.owner FROM referral.work_item i
        WHERE i.org_id = r.org_id AND i.referral_id = r.referral_id AND i.is_primary AND i.closed_at IS NULL) AS owner,
       (SELECT d.name FROM referral.practitioner d WHERE d.org_id = r.org_id AND d.practitioner_id = r.requester_id) AS requester,
       (SELECT o.name FROM referral.provider_organization o
        WHERE o.org_id = r.org_id AND o.provider_organization_id = r.requesting_organization_id) AS requesting_organization,
       (SELECT d.name FROM referral.practitioner d WHERE d.org_id = r.org_id AND d.practitioner_id = r.performer_id) AS performer,
       (SELECT o.name FROM referral.provider_organization o
        WHERE o.org_id = r.org_id AND o.provider_organization_id = r.performing_organization_id) AS performing_organization,
       (SELECT y.name FROM referral.payer y WHERE y.org_id = r.org_id AND y.payer_id = r.payer_id) AS payer,
       (SELECT l.name FROM referral.plan l WHERE l.org_id = r.org_id AND l.plan_id = r.plan_id) AS plan,
       r.network_status::text AS network_status, r.authorization_required, r.authorization_number, r.decision::text AS decision,
       r.placer_order_number, r.filler_order_number, r.source, r.channel, r.authored_at, r.received_at, r.entered_at, r.scheduled_for,
       r.expires_on, CASE WHEN isfinite(r.received_at) THEN referral.as_of() - r.received_at END AS age, referral.as_of() - r.entered_at AS step_age,
       a.next_actions, a.blocked_actions,
       ARRAY(SELECT m.document_type FROM referral.missing_documents(r.org_id, r.referral_id) m ORDER BY m.severity, m.document_type) AS missing_documents,
       x.open_exceptions, x.exceptions, x.blocked,
       c.running_clocks, c.next_due_at, c.next_due, c.breached_clocks,
       (SELECT min(b.starts_at) FROM referral.appointment b
        WHERE b.org_id = r.org_id AND b.referral_id = r.referral_id AND b.step IN ('booked', 'arrived', 'checked-in', 'pending', 'proposed')
          AND b.starts_at >= referral.as_of()) AS next_appointment_at,
       p.last_report_at, p.last_report, e.last_event_at, e.last_event, e.last_event_by
FROM referral.referral r
LEFT JOIN LATERAL (
    SELECT max(n.next_actions) AS next_actions, max(n.blocked_actions) AS blocked_actions
    FROM referral.case_actions(r.org_id, r.referral_id) n) a ON true
LEFT JOIN LATERAL (
    SELECT count(*)::integer AS open_exceptions, coalesce(array_agg(i.category || '/' || i.code ORDER BY i.opened_at, i.exception_id), '{}') AS exceptions,
           coalesce(bool_or(i.blocking), false) AS blocked
    FROM referral.exception_item i
    WHERE i.org_id = r.org_id AND i.referral_id = r.referral_id AND i.status IN ('open', 'in_progress')) x ON true
LEFT JOIN LATERAL (
    SELECT coalesce(array_agg(s.policy ORDER BY s.due_at, s.policy) FILTER (WHERE s.status = 'running'), '{}') AS running_clocks,
           min(s.due_at) FILTER (WHERE s.status = 'running') AS next_due_at,
           (array_agg(s.policy ORDER BY s.due_at, s.policy) FILTER (WHERE s.status = 'running'))[1] AS next_due,
           coalesce(array_agg(s.policy ORDER BY s.due_at, s.policy) FILTER (WHERE s.breached), '{}') AS breached_clocks
    FROM referral.sla_status s
    WHERE s.org_id = r.org_id AND s.entity = 'referral' AND s.entity_id = r.referral_id AND s.is_open) c ON true
LEFT JOIN LATERAL (
    SELECT max(q.received_at) AS last_report_at, (array_agg(q.status ORDER BY q.received_at DESC, q.consult_report_id DESC))[1] AS last_report
    FROM referral.consult_report q
    WHERE q.org_id = r.org_id AND q.referral_id = r.referral_id AND q.status <> 'entered-in-error') p ON true
LEFT JOIN LATERAL (
    -- entering the step was an event, so partitions of the journal from before are not asked
    SELECT max(l.at) AS last_event_at, max(l.what) AS last_event, max(l.actor) AS last_event_by
    FROM referral.last_event(r.org_id, r.referral_id, r.entered_at - interval '1 microsecond', referral.as_of()) l) e ON true;
COMMENT ON VIEW referral.referral_case IS
'One row for each referral, the same for every team. owner: who has claimed its work, null when nobody has; work_owner tells who answers for it. next_actions: transitions that this session may make now, blocked_actions: the others, and why (next_transitions()). missing_documents: as missing_documents() tells. open_exceptions, exceptions (category/code), blocked: what is open in exception_item. running_clocks, next_due_at, next_due, breached_clocks: open clocks of sla_status. next_appointment_at: the next one that is not over. last_report_at, last_report: when the newest report of the performer came, and its status. last_event_at, last_event, last_event_by: as last_event() tells, since it entered its step. Ages and clocks are those at as_of(); age is null when received_at is infinite. Ask for few columns and the others cost nothing; for many referrals at once ask the tables.';

GRANT SELECT ON referral.referral_case TO referral_admin, referral_coordinator, referral_clinician, referral_scheduler,
    referral_authorizer, referral_approver, referral_auditor, referral_integration;
