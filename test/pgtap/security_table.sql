-- What each group role may do with tables and views, in full; one that is not here is open to nobody.

SELECT plan(7);

CREATE TABLE public.expected (relation text, privilege text, roles text);
INSERT INTO public.expected VALUES
    ('entity', 'SELECT', 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'),
    ('entity', 'INSERT', 'admin'),
    ('entity', 'UPDATE', 'admin'),
    ('rule_set', 'SELECT', 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'),
    ('rule_set', 'INSERT', 'rule_author'),
    ('rule_set.owner', 'UPDATE', 'rule_author'),
    ('rule_set.note', 'UPDATE', 'rule_author'),
    ('rule_version', 'SELECT', 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'),
    ('rule_version', 'INSERT', 'rule_author'),
    ('rule_version', 'UPDATE', 'rule_author'),
    ('rule_version', 'DELETE', 'rule_author'),
    ('rule_version.status', 'UPDATE', 'rule_approver'),
    ('rule_function', 'SELECT', 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'),
    ('rule_function', 'INSERT', 'admin'),
    ('rule_function', 'UPDATE', 'admin'),
    ('rule_function', 'DELETE', 'admin'),
    ('journal', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('history', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('journal_epoch', 'SELECT', 'admin auditor'),
    ('journal_column', 'SELECT', 'admin auditor'), ('journal_column', 'INSERT', 'admin'), ('journal_column', 'UPDATE', 'admin'),
    ('journal_column', 'DELETE', 'admin'),
    ('journal_lag', 'SELECT', 'admin auditor integration'), ('journal_partition', 'SELECT', 'admin auditor integration'),
    ('seal', 'SELECT', 'admin auditor integration'), ('seal_tile', 'SELECT', 'admin auditor'),
    ('journal_purge', 'SELECT', 'admin auditor'), ('legal_hold', 'SELECT', 'admin auditor'),
    ('legal_hold', 'INSERT', 'admin'), ('legal_hold', 'UPDATE', 'admin'),
    ('audit_log', 'SELECT', 'admin auditor'),
    ('heartbeat', 'SELECT', 'admin auditor analyst'), ('job_status', 'SELECT', 'admin auditor analyst'),
    ('event_log', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('event_type', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('event_type', 'INSERT', 'admin'), ('event_type', 'UPDATE', 'admin'), ('event_type', 'DELETE', 'admin'),
    ('event', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('outbox', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('consumer', 'SELECT', 'admin auditor integration'), ('consumer', 'INSERT', 'admin integration'),
    ('consumer', 'UPDATE', 'admin'), ('consumer', 'DELETE', 'admin integration'),
    ('consumer_position', 'SELECT', 'admin auditor integration'), ('consumer_position', 'INSERT', 'admin integration'),
    ('consumer_position', 'UPDATE', 'admin integration'),
    ('delivery', 'SELECT', 'admin auditor integration'), ('delivery', 'INSERT', 'admin integration'),
    ('delivery', 'UPDATE', 'admin integration'), ('delivery', 'DELETE', 'admin integration'),
    ('dead_letter', 'SELECT', 'admin auditor integration'), ('consumer_status', 'SELECT', 'admin auditor integration'),
    ('calendar_horizon', 'SELECT', 'admin coordinator rule_author rule_approver auditor analyst'),
    ('sla_clock', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('sla_pause', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('sla_pause.org_id', 'SELECT', 'analyst'), ('sla_pause.pause_id', 'SELECT', 'analyst'), ('sla_pause.clock_id', 'SELECT', 'analyst'),
    ('sla_pause.pause_kind', 'SELECT', 'analyst'), ('sla_pause.reason', 'SELECT', 'analyst'), ('sla_pause.paused_at', 'SELECT', 'analyst'),
    ('sla_pause.resumed_at', 'SELECT', 'analyst'), ('sla_pause.counted', 'SELECT', 'analyst'), ('sla_pause.version', 'SELECT', 'analyst'),
    ('sla_adjustment', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('escalation', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('escalation.acknowledged_by', 'UPDATE', 'admin coordinator clinician scheduler authorizer approver'),
    ('escalation.note', 'UPDATE', 'admin coordinator clinician scheduler authorizer approver'),
    ('escalation.version', 'UPDATE', 'admin coordinator clinician scheduler authorizer approver'),
    ('sla_breach_review', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('sla_breach_review.org_id', 'INSERT', 'admin coordinator'), ('sla_breach_review.clock_id', 'INSERT', 'admin coordinator'),
    ('sla_breach_review.cause', 'INSERT', 'admin coordinator'), ('sla_breach_review.corrective_action', 'INSERT', 'admin coordinator'),
    ('sla_breach_review.cause', 'UPDATE', 'admin coordinator'), ('sla_breach_review.corrective_action', 'UPDATE', 'admin coordinator'),
    ('sla_breach_review.version', 'UPDATE', 'admin coordinator'),
    ('organization', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('organization', 'UPDATE', 'admin'),
    ('organization_member', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('organization_member', 'INSERT', 'admin'),
    ('organization_member', 'UPDATE', 'admin'),
    ('organization_member', 'DELETE', 'admin'),
    ('patient', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('patient', 'INSERT', 'coordinator clinician integration'),
    ('patient', 'UPDATE', 'coordinator clinician integration'),
    ('referral', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('referral', 'INSERT', 'coordinator clinician integration'),
    ('referral', 'UPDATE', 'admin coordinator clinician scheduler authorizer integration');
-- the model: everybody who works with referrals reads it; what tells of no patient analysts may read, too
INSERT INTO public.expected
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['appointment', 'communication', 'consult_report', 'contact_attempt', 'coverage', 'document', 'encounter', 'identifier', 'practitioner',
    'practitioner_role', 'prior_authorization', 'prior_authorization_item', 'referral_code', 'referral_relation']) t
UNION ALL
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'
FROM unnest(ARRAY['cost_centre', 'healthcare_service', 'network_contract', 'payer', 'plan', 'provider_organization', 'region', 'service_line', 'site',
    'specialty']) t
UNION ALL
SELECT t, p, r
FROM (VALUES ('admin', ARRAY['cost_centre', 'network_contract', 'region', 'service_line', 'specialty']),
             ('admin integration', ARRAY['healthcare_service', 'payer', 'plan', 'site']),
             ('admin coordinator clinician integration', ARRAY['practitioner', 'practitioner_role', 'provider_organization']),
             ('coordinator clinician integration', ARRAY['consult_report', 'encounter', 'identifier', 'referral_code', 'referral_relation']),
             ('coordinator clinician authorizer integration', ARRAY['coverage']),
             ('coordinator clinician scheduler integration', ARRAY['appointment']),
             ('coordinator clinician scheduler authorizer integration', ARRAY['communication', 'contact_attempt', 'document']),
             ('coordinator clinician authorizer integration', ARRAY['prior_authorization', 'prior_authorization_item'])) w (r, tables),
     unnest(tables) t, unnest(ARRAY['INSERT', 'UPDATE']) p;
INSERT INTO public.expected
SELECT t, p, CASE p WHEN 'SELECT' THEN 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'
                    ELSE 'rule_author' END
FROM unnest(ARRAY['workflow', 'workflow_step', 'workflow_transition', 'workflow_guard', 'reason_code', 'stall_threshold', 'business_calendar',
                  'sla_policy', 'sla_level', 'merge_rule', 'match_model', 'match_level', 'match_nickname', 'match_placeholder',
                  'source_mapping', 'source_mapping_field', 'code_translation', 'required_field_rule', 'document_requirement', 'outreach_template',
                  'confidence_threshold', 'source_of_record', 'exception_policy', 'exception_rule', 'work_source', 'ranking_factor', 'task_template']) t,
     unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p;
INSERT INTO public.expected
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration' || CASE WHEN t IN ('queue', 'queue_member') THEN ' analyst' ELSE '' END
FROM unnest(ARRAY['queue', 'queue_member', 'absence', 'work_item', 'work_owner', 'unowned_referral']) t
UNION ALL
SELECT t, p, 'admin' FROM unnest(ARRAY['queue', 'queue_member']) t, unnest(ARRAY['INSERT', 'UPDATE']) p
UNION ALL
SELECT 'absence', 'DELETE', 'admin coordinator clinician scheduler authorizer approver'
UNION ALL
SELECT 'absence.' || c, 'INSERT', 'admin coordinator clinician scheduler authorizer approver' FROM unnest(ARRAY['org_id', 'member', 'during', 'substitute', 'reason']) c
UNION ALL
SELECT 'absence.' || c, 'UPDATE', 'admin coordinator clinician scheduler authorizer approver' FROM unnest(ARRAY['during', 'substitute', 'reason', 'version']) c
UNION ALL
SELECT 'work_item.' || c, 'SELECT', 'analyst'
FROM unnest(ARRAY['org_id', 'work_item_id', 'queue_id', 'entity', 'entity_id', 'referral_id', 'kind', 'is_primary', 'task', 'title', 'status', 'verb', 'owner', 'score',
                  'due_at', 'opened_at', 'claimed_at', 'lease_until', 'closed_at', 'task_template_id', 'routing_decision_id', 'version']) c
UNION ALL
SELECT t, 'SELECT', 'admin auditor' FROM unnest(ARRAY['rank_progress', 'rule_progress']) t;
INSERT INTO public.expected
SELECT v, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'
FROM unnest(ARRAY['sla_status', 'sla_adherence', 'breach', 'open_escalation', 'referral_age', 'aging']) v
UNION ALL
SELECT v, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['breach_risk', 'stalled_referral']) v;
INSERT INTO public.expected
SELECT v, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['match_candidate', 'match_decision', 'duplicate_review', 'patient_merge', 'merge_reattribution', 'patient_link', 'patient_golden']) v
UNION ALL
SELECT 'match_decision.' || c, 'INSERT', 'admin coordinator'
FROM unnest(ARRAY['org_id', 'patient_id', 'duplicate_id', 'decision', 'defer_until', 'reason']) c
UNION ALL
SELECT 'match_queue', 'SELECT', 'admin auditor';
INSERT INTO public.expected
SELECT t, p, CASE p WHEN 'SELECT' THEN 'admin rule_author rule_approver auditor' ELSE 'rule_author' END
FROM unnest(ARRAY['match_fit', 'match_fit_round']) t, unnest(ARRAY['SELECT', 'INSERT', 'DELETE']) p;
-- what comes in, what stands in its way, what models read of it
INSERT INTO public.expected
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['data_quality_finding', 'document_classification', 'eligibility_check', 'eligibility_to_check', 'exception_item', 'exception_queue', 'exception_summary', 'extraction',
    'extraction_review_queue', 'inbox_message', 'inbox_outcome', 'missing_document', 'missing_document_check', 'outreach_to_send', 'referral_case', 'source_system']) t
UNION ALL
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration' FROM unnest(ARRAY['exception_pattern', 'first_pass', 'validation_result', 'value_set']) t
UNION ALL
SELECT t || '.' || c, p, r
FROM (VALUES ('inbox_message', 'INSERT', 'coordinator clinician integration', '{channel,content_type,dedup_key,org_id,payload,payload_hash,source}'::text[]),
             ('inbox_message', 'UPDATE', 'coordinator clinician integration', '{last_repeat_at,repeat_count}'),
             ('document_classification', 'INSERT', 'coordinator integration', '{confidence,document_id,document_type,model,model_version,org_id,produced_at}'),
             ('document_classification', 'SELECT', 'analyst', '{confidence,document_classification_id,document_id,document_type,model,model_version,org_id,produced_at,reason,reviewed_at,reviewed_type,rule_version,status,threshold}'),
             ('document_classification', 'UPDATE', 'admin authorizer clinician coordinator', '{reviewed_type,status,version}'),
             ('exception_item', 'SELECT', 'analyst', '{blocking,category,code,due_at,exception_id,exception_policy_id,exception_rule_id,opened_at,org_id,referral_id,reopen_count,resolved_at,root_cause,severity,status,version}'),
             ('extraction', 'INSERT', 'coordinator integration', '{confidence,document_id,field,model,model_version,org_id,produced_at,value}'),
             ('extraction', 'SELECT', 'analyst', '{confidence,document_id,extraction_id,field,model,model_version,org_id,produced_at,reason,reviewed_at,rule_version,status,threshold}'),
             ('extraction', 'UPDATE', 'admin authorizer clinician coordinator', '{reviewed_value,status,version}'),
             ('eligibility_check', 'SELECT', 'analyst', '{answered_at,attempt,coverage_id,covered,eligibility_check_id,mode,org_id,pa_needed,referral_id,requested_at,status,version}')) g (t, p, r, columns),
     unnest(columns) c;
INSERT INTO public.expected VALUES
    ('eligibility_check', 'INSERT', 'authorizer coordinator integration'), ('eligibility_check', 'UPDATE', 'authorizer coordinator integration'),
    ('exception_item', 'INSERT', 'admin authorizer clinician coordinator integration scheduler'), ('exception_item', 'UPDATE', 'admin authorizer clinician coordinator integration scheduler'),
    ('intake_latest', 'SELECT', 'admin auditor clinician coordinator integration'),
    ('source_system', 'INSERT', 'admin'), ('source_system', 'UPDATE', 'admin'),
    ('value_set', 'INSERT', 'admin integration'), ('value_set', 'UPDATE', 'admin integration'), ('rejected_write', 'SELECT', 'admin auditor clinician coordinator integration'),
    ('silent_pass', 'SELECT', 'admin auditor'), ('extraction_accuracy', 'SELECT', 'admin analyst auditor authorizer clinician coordinator integration');
-- where work goes, and the room that services have
INSERT INTO public.expected
SELECT 'routing_rule', p, CASE p WHEN 'SELECT' THEN 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'
                          ELSE 'rule_author' END
FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
UNION ALL
SELECT 'routing_decision.' || c, 'SELECT', 'analyst'
FROM unnest(ARRAY['org_id', 'routing_decision_id', 'entity', 'entity_id', 'referral_id', 'queue_id', 'routing_rule_id', 'rule_version', 'overrides_id', 'version',
    'decided_at', 'reason', 'rule', 'target_queue', 'healthcare_service']) c;
INSERT INTO public.expected VALUES
    ('routing_decision', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('service_availability', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('service_capacity', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('service_capacity', 'INSERT', 'admin scheduler integration'), ('service_capacity', 'UPDATE', 'admin scheduler integration'),
    ('routing_quality', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst');
-- approvals
INSERT INTO public.expected
SELECT 'approval_policy', p, CASE p WHEN 'SELECT' THEN 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'
                                    ELSE 'rule_author' END
FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
UNION ALL
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['approval_request', 'approval_decision', 'approval_delegation', 'open_approval', 'approval_log']) t
UNION ALL
SELECT t || '.' || c, p, 'admin coordinator clinician scheduler authorizer approver'
FROM (VALUES ('approval_decision', 'INSERT', '{org_id,approval_request_id,decision,on_behalf_of,reason}'::text[]),
             ('approval_delegation', 'INSERT', '{org_id,from_member,to_member,kinds,during,reason}'),
             ('approval_delegation', 'UPDATE', '{kinds,during,reason,version}')) g (t, p, columns), unnest(columns) c;
-- handoffs, and what is opened in the morning
INSERT INTO public.expected
SELECT t, p, CASE p WHEN 'SELECT' THEN 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'
                    ELSE 'rule_author' END
FROM unnest(ARRAY['handoff_checklist', 'recommendation_rule']) t, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
UNION ALL
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['handoff', 'handoff_waiting', 'next_best_action', 'staff_workload', 'listed_referral', 'letters_outstanding',
    'rejected_triage_response', 'returned_cancelled_dna', 'awaiting_booking', 'referrals_for_review', 'appointment_slot_issues']) t
UNION ALL
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration analyst' FROM unnest(ARRAY['handoff_latency', 'queue_health']) t
UNION ALL
SELECT 'handoff.' || c, 'SELECT', 'analyst'
FROM unnest(ARRAY['org_id', 'handoff_id', 'work_item_id', 'referral_id', 'from_queue_id', 'to_queue_id', 'from_owner', 'is_complete', 'by_rule', 'status',
    'released_at', 'released_by', 'accept_by', 'accepted_at', 'accepted_by', 'returned_at', 'returned_by', 'withdrawn_at', 'withdrawn_by', 'version']) c
UNION ALL
VALUES ('my_worklist', 'SELECT', 'admin coordinator clinician scheduler authorizer approver');
-- what an analyst sees of a referral: the operation, not the patient
INSERT INTO public.expected
SELECT 'referral.' || c, 'SELECT', 'analyst'
FROM unnest(ARRAY['org_id', 'referral_id', 'workflow_id', 'version', 'entered_at', 'state', 'urgency', 'step', 'referral_type',
    'exchange_role', 'payer_id', 'site_id', 'region', 'specialty', 'service_line', 'intent', 'channel', 'authored_at',
    'received_at', 'authorization_required', 'scheduled_for', 'expires_on', 'plan_id', 'healthcare_service_id', 'requesting_organization_id',
    'performing_organization_id', 'network_status', 'decision', 'decision_at', 'expected_value', 'source']) c
UNION ALL
SELECT 'appointment.' || c, 'SELECT', 'analyst'
FROM unnest(ARRAY['org_id', 'appointment_id', 'version', 'entered_at', 'state', 'step', 'status_reason', 'referral_id', 'healthcare_service_id',
    'site_id', 'starts_at', 'ends_at', 'service_code_system', 'service_code', 'source']) c;

CREATE VIEW public.granted AS
SELECT c.relname::text AS relation, x.privilege_type AS privilege,
       coalesce(g.rolname::text, 'PUBLIC') AS role, x.is_grantable
FROM pg_class c CROSS JOIN aclexplode(c.relacl) x LEFT JOIN pg_roles g ON g.oid = x.grantee
WHERE c.relnamespace = 'referral'::regnamespace AND x.grantee <> c.relowner
UNION ALL
SELECT c.relname || '.' || a.attname, x.privilege_type, coalesce(g.rolname::text, 'PUBLIC'), x.is_grantable
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid CROSS JOIN aclexplode(a.attacl) x
LEFT JOIN pg_roles g ON g.oid = x.grantee
WHERE c.relnamespace = 'referral'::regnamespace AND x.grantee <> c.relowner;

SELECT is(string_agg(g.relation || ': ' || g.role || ' ' || g.privilege, ', ' ORDER BY g.relation, g.role, g.privilege),
          NULL, 'no privilege beyond the expected ones')
FROM public.granted g
WHERE NOT EXISTS (SELECT FROM public.expected e WHERE e.relation = g.relation AND e.privilege = g.privilege
                  AND g.role = ANY (SELECT 'referral_' || r FROM unnest(string_to_array(e.roles, ' ')) r));
SELECT is(string_agg(format('%s: referral_%s %s', e.relation, r, e.privilege), ', ' ORDER BY e.relation, r, e.privilege),
          NULL, 'and none of them is missing')
FROM public.expected e CROSS JOIN unnest(string_to_array(e.roles, ' ')) r
WHERE NOT EXISTS (SELECT FROM public.granted g WHERE g.relation = e.relation AND g.privilege = e.privilege
                  AND g.role = 'referral_' || r);
SELECT is((SELECT count(*) FROM public.granted WHERE is_grantable), 0::bigint, 'no privilege can be passed on');
SELECT results_eq(
    $$SELECT rolname::text COLLATE "C" FROM pg_roles WHERE rolname LIKE 'referral\_%' ORDER BY 1$$,
    $$SELECT 'referral_' || r COLLATE "C" FROM unnest(ARRAY['admin', 'analyst', 'application', 'approver', 'auditor', 'authorizer',
      'clinician', 'coordinator', 'integration', 'rule_approver', 'rule_author', 'scheduler']) r$$,
    'the twelve group roles');
SELECT is((SELECT array_agg(rolname::text) FROM pg_roles WHERE rolname LIKE 'referral\_%'
           AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolcanlogin OR rolreplication OR rolbypassrls)), NULL,
          'group roles cannot log in and have no attribute');
SELECT is((SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname LIKE 'referral\_%'),
          0::bigint, 'no group role is a member of another');
SELECT results_eq(
    $$SELECT coalesce(g.rolname::text, 'PUBLIC') COLLATE "C", x.privilege_type
      FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) x LEFT JOIN pg_roles g ON g.oid = x.grantee
      WHERE n.nspname = 'referral' AND x.grantee <> n.nspowner ORDER BY 1$$,
    $$SELECT rolname::text COLLATE "C", 'USAGE' FROM pg_roles WHERE rolname LIKE 'referral\_%' ORDER BY 1$$,
    'group roles may use schema referral, and create nothing in it');

SELECT * FROM finish();
