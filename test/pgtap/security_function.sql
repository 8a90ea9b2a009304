-- Which group roles may execute which function, in full; PUBLIC: everybody.

SELECT plan(2);

CREATE TABLE public.expected_function (function text, roles text);
INSERT INTO public.expected_function VALUES
    ('merkle_leaf_hash', 'PUBLIC'), ('merkle_node_hash', 'PUBLIC'), ('merkle_tree_root', 'PUBLIC'),
    ('merkle_inclusion_proof', 'PUBLIC'), ('merkle_consistency_proof', 'PUBLIC'), ('verify_inclusion', 'PUBLIC'),
    ('verify_consistency', 'PUBLIC'), ('journal_leaf', 'PUBLIC'), ('export_checkpoint', 'PUBLIC'), ('rule_matches', 'PUBLIC'), ('rule_fits', 'PUBLIC'), ('is_within_a_century', 'PUBLIC'), ('is_target', 'PUBLIC'),
    ('journal_tells', 'PUBLIC'), ('journal_replay', 'PUBLIC'), ('case_as_of', 'PUBLIC'), ('describe_change', 'PUBLIC'),
    ('event_id', 'PUBLIC'), ('event_org', 'PUBLIC'), ('event_journal_id', 'PUBLIC'), ('event_of', 'PUBLIC'),
    ('event_json', 'referral_admin referral_integration'), ('create_consumer', 'referral_admin referral_integration'),
    ('drop_consumer', 'referral_admin referral_integration'), ('lock_consumer', 'referral_admin referral_integration'),
    ('free_next', 'referral_admin referral_integration'), ('events', 'referral_admin referral_integration'),
    ('ack', 'referral_admin referral_integration'), ('nack', 'referral_admin referral_integration'),
    ('redrive', 'referral_admin referral_integration'), ('discard', 'referral_admin referral_integration'),
    ('journal_bounds', 'referral_admin referral_auditor referral_integration'),
    ('journal_lag_of', 'referral_admin referral_auditor referral_integration'),
    ('journal_horizon', 'referral_admin referral_auditor referral_integration'),
    ('verify_coverage', 'referral_admin referral_auditor'), ('tracked_row', 'referral_admin referral_auditor'), ('journal_differences', 'referral_admin referral_auditor'),
    ('seal', 'referral_admin'), ('evidence_pack', 'referral_admin referral_auditor'),
    ('verify_journal', 'referral_admin referral_auditor referral_integration'),
    ('inclusion_proof', 'referral_admin referral_auditor referral_integration'),
    ('consistency_proof', 'referral_admin referral_auditor referral_integration'),
    ('check_rule', 'referral_admin referral_auditor referral_integration referral_rule_approver referral_rule_author'), ('current_actor', 'PUBLIC'), ('current_actor_kind', 'PUBLIC'), ('current_org', 'PUBLIC'),
    ('visible_orgs', 'PUBLIC'), ('next_transitions', 'PUBLIC'), ('step_before', 'PUBLIC'), ('has_document', 'PUBLIC'), ('harmless_error', 'PUBLIC'), ('has_clocks', 'PUBLIC'), ('acting_login', 'PUBLIC'),
    ('broken_rules', 'referral_admin referral_auditor referral_rule_approver referral_rule_author'),
    ('rule_expressions', 'referral_admin referral_auditor referral_rule_approver referral_rule_author'), ('matching_rules', 'PUBLIC'),
    ('check_exceptions', 'referral_admin'), ('check_exception_version', 'PUBLIC'), ('due_by', 'PUBLIC'), ('is_decision', 'PUBLIC'),
    ('is_root_cause', 'PUBLIC'), ('check_calendar_version', 'PUBLIC'), ('check_attachable', 'PUBLIC'), ('check_identifies', 'PUBLIC'), ('check_rule_version', 'PUBLIC'),
    ('rule_checksum', 'PUBLIC'), ('deployed_objects', 'PUBLIC'), ('model_parts', 'PUBLIC'),
    ('attach', 'referral_admin'), ('detach', 'referral_admin'), ('track_table', 'referral_admin'), ('lay_trigger', 'referral_admin'),
    ('adopt_workflow', 'referral_admin'), ('secure_table', 'referral_admin'), ('guard', 'referral_admin'),
    ('journal', 'referral_admin'), ('append_only', 'referral_admin'), ('migrate_workflow', 'referral_admin'),
    ('pause_clock', 'referral_admin referral_authorizer referral_coordinator'), ('resume_clock', 'referral_admin referral_authorizer referral_coordinator'),
    ('retry_escalation', 'referral_admin referral_authorizer referral_coordinator'), ('extend_clock', 'referral_admin referral_authorizer referral_coordinator'), ('nullify_clock', 'referral_admin referral_authorizer referral_coordinator'),
    ('recompute_clocks', 'referral_admin'), 
    ('sla_clock', 'referral_admin'), ('end_clocks', 'referral_admin'),
    ('heartbeat_start', 'referral_admin'), ('heartbeat_end', 'referral_admin'), ('job_plan', 'referral_admin'), ('cron_field', 'PUBLIC'),
    ('cron_next', 'PUBLIC'), ('cron_facts', 'referral_admin'), ('cron_jobs', 'referral_admin'), ('check_cron', 'referral_admin'),
    ('schedule_jobs', 'referral_admin'), ('unschedule_jobs', 'referral_admin'),
    ('job_status_of', 'referral_admin referral_analyst referral_auditor'),
    ('as_of', 'PUBLIC'), ('clock_elapsed', 'PUBLIC'), ('clock_reaches', 'PUBLIC'), ('aging_bucket', 'PUBLIC'), ('held_at', 'PUBLIC'), ('last_event', 'PUBLIC'),
    ('copy_rule_version', 'referral_rule_author'), ('copy_workflow_rules', 'referral_rule_author'),
    ('rollback_rule_set', 'referral_rule_approver');
-- calendars, and what is asked about them and about rules
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY[
    'add_business_days', 'always_open', 'business_days', 'business_elapsed', 'business_target', 'calendar_and', 'calendar_cmp', 'calendar_eq',
    'calendar_ge', 'calendar_gt', 'calendar_hash', 'calendar_hash_extended', 'calendar_in', 'calendar_le', 'calendar_lt', 'calendar_minus',
    'calendar_ne', 'calendar_of', 'calendar_out', 'calendar_recv', 'calendar_send', 'clock_levels', 'due_at', 'due_at_next_open', 'fingerprint',
    'is_business_day', 'is_open', 'known_elapsed', 'may_change_org', 'next_close', 'next_open', 'open_intervals', 'prev_close', 'transition_name',
    'us_federal_holidays']) f;
-- what the model tells, and what a message is made of
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['canonical_attribute', 'coverage_on', 'has_final_report', 'network_status', 'network_status_of']) f;
-- mappers only compute
INSERT INTO public.expected_function
SELECT p.proname, 'PUBLIC' FROM pg_proc p
WHERE p.pronamespace = 'referral'::regnamespace AND p.proname ~ '^(fhir|hl7|map)_' AND p.provolatile = 'i' AND NOT p.prosecdef;
INSERT INTO public.expected_function
SELECT f, 'referral_clinician referral_coordinator referral_integration'
FROM unnest(ARRAY[
    'analyze_first_rows', 'apply_case', 'check_may_commit', 'intake_answer', 'intake_appointment', 'intake_appointment_referral', 'intake_authorization',
    'intake_authorization_item', 'intake_check_request', 'intake_choose_referral', 'intake_claim', 'intake_codes', 'intake_communication',
    'intake_coverage', 'intake_create_patient', 'intake_create_referral', 'intake_directory', 'intake_document', 'intake_encounter',
    'intake_events', 'intake_find_appointment', 'intake_find_authorization', 'intake_find_by_event', 'intake_find_coverage', 'intake_find_organization',
    'intake_find_patient', 'intake_find_payer', 'intake_find_plan', 'intake_find_practitioner', 'intake_known_patient', 'intake_number_known',
    'intake_find_referral', 'intake_follow_appointment', 'intake_hash', 'intake_is_fresh', 'intake_is_outdated', 'intake_keep_identifiers', 'intake_known_practitioner',
    'intake_lock', 'intake_made_before', 'intake_make_payer', 'intake_make_plan', 'intake_may_be_here', 'intake_move', 'intake_move_appointment', 'intake_note_latest', 'intake_organization',
    'intake_owns_patient', 'intake_patient', 'intake_patient_of', 'intake_payer', 'intake_place_coverage',
    'intake_plan', 'intake_practitioner', 'intake_progress', 'intake_referral', 'intake_relations', 'intake_report', 'intake_request_places',
    'intake_request_values', 'intake_role', 'intake_service', 'intake_settled', 'intake_site', 'intake_told_apart', 'intake_update_coverage', 'intake_update_patient', 'intake_update_referral',
    'intake_valid', 'receive', 'receive_batch', 'receive_chunk', 'receive_rows', 'reprocess', 'reprocess_errors',
    'staging_plan']) f;
INSERT INTO public.expected_function
SELECT f, 'PUBLIC'
FROM unnest(ARRAY[
    'canonical_case', 'canonical_fault', 'care_date', 'case_actions', 'check_closing', 'check_produced_at', 'keeps_exceptions', 'may_close', 'may_loosen', 'check_matching_version', 'check_sla_version',
    'check_source_mapping_version', 'check_source_of_record_version', 'check_validation_version', 'check_workflow_version', 'cms50',
    'csv_columns', 'csv_records', 'eligibility_confirmed', 'eligibility_in_force', 'exception_about', 'finding_category', 'finding_needs_person', 'intake_choose_patient',
    'intake_check_org', 'intake_code_list', 'intake_patient_values', 'intake_contradicts', 'intake_count', 'intake_demographics', 'intake_error', 'intake_fill', 'intake_finding',
    'intake_foreign', 'intake_identifiers', 'intake_identifies', 'intake_is_over', 'intake_personal', 'intake_prose', 'intake_reason',
    'intake_request', 'intake_result', 'intake_system', 'intake_text', 'intake_told', 'intake_told_cover', 'intake_unusable', 'is_canonical_attribute',
    'is_complete', 'is_passing_error', 'map_record', 'map_record', 'message_key', 'missing_documents', 'number_to_array', 'outreach_facts', 'outreach_placeholders',
    'payload_json', 'payload_kind', 'payload_parts', 'payload_records', 'put_canonical', 'referral_coverage', 'required_field_condition',
    'required_field_relation', 'review_status', 'reviewed_as', 'source_format_problem', 'try_boolean', 'try_date', 'try_integer', 'try_numeric',
    'try_timestamp', 'validate', 'validation_expressions', 'value_set_key']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY[
    'fhir_contained_actor', 'fhir_out_coverage', 'fhir_out_identifiers', 'fhir_out_organization', 'fhir_out_patient', 'fhir_out_practitioner',
    'fhir_patient_match', 'fhir_received', 'fhir_service_request', 'fhir_task', 'hl7_body', 'hl7_header', 'hl7_in1', 'hl7_known_ids',
    'hl7_own_name', 'hl7_pid', 'hl7_prd', 'hl7_referral', 'hl7_report_segments', 'hl7_response', 'hl7_rf1']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin'
FROM unnest(ARRAY['accept_rejected_write', 'discard_rejected_write', 'guard_sources', 'source_guard']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['check_patient', 'check_referral']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_authorizer referral_coordinator referral_integration'
FROM unnest(ARRAY['answer_eligibility', 'request_eligibility', 'settle_coverage']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['check_missed', 'close_exception', 'open_exception']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_approver referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['claim', 'claim_next', 'complete', 'hold', 'release', 'resume']) f
UNION ALL
SELECT f, 'referral_admin referral_approver referral_authorizer referral_clinician referral_coordinator referral_scheduler'
FROM unnest(ARRAY['assign', 'reassign', 'rebalance']) f
UNION ALL
SELECT f, 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_scheduler'
FROM unnest(ARRAY['explain_rank', 'rank_score']) f
UNION ALL
SELECT f, 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['rank_growth', 'rank_of_days', 'rank_points', 'rank_of_time']) f
UNION ALL
VALUES ('standard_queues', 'referral_admin'), ('check_worklist_version', 'PUBLIC'), ('check_ranking', 'PUBLIC'), ('require_number', 'PUBLIC');
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_authorizer referral_clinician referral_coordinator'
FROM unnest(ARRAY['review_classification', 'review_extraction']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_rule_approver referral_rule_author'
FROM unnest(ARRAY['confidence_threshold_for']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_rule_author'
FROM unnest(ARRAY['copy_rules']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration'
FROM unnest(ARRAY['extracted_case']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['foreign_attributes']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_integration'
FROM unnest(ARRAY['load_value_set']) f;
-- approvals
INSERT INTO public.expected_function VALUES ('check_approval_version', 'PUBLIC'),
    ('approval_path', 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler');
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_approver referral_authorizer referral_clinician referral_coordinator referral_scheduler'
FROM unnest(ARRAY['approve', 'reject', 'withdraw_approval']) f
UNION ALL
SELECT f, 'referral_admin referral_approver referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['request_approval', 'request_approval']) f;
-- people, as values
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['demographics', 'demographics', 'demographics', 'demographics_eq', 'demographics_hash', 'demographics_hash_extended',
    'demographics_in', 'demographics_ne', 'demographics_out', 'demographics_recv', 'demographics_send', 'demographics_to_jsonb', 'patient_demographics']) f;
-- their keys, operators and index, and who is found by them
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['demographics_consistent', 'demographics_distance', 'demographics_extract_query', 'demographics_extract_value',
    'demographics_match', 'demographics_match_joinsel', 'demographics_match_sel', 'demographics_triconsistent',
    'match_keys', 'match_keys_explain', 'match_probability']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['find_duplicates', 'find_match', 'find_matches']) f;
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['append_new', 'computed_columns', 'find_duplicate_referrals', 'kept_apart', 'merge_field', 'merge_newest', 'merge_preview',
    'merge_rules', 'merge_value', 'merge_values', 'merged_ids', 'patient_columns', 'patient_references', 'reference_name', 'restored_value', 'survivor_of', 'token_of']) f;
INSERT INTO public.expected_function VALUES
    ('decide_match', 'referral_admin referral_coordinator'), ('rescore_patient', 'referral_admin referral_coordinator'),
    ('load_duplicates', 'referral_admin'),
    ('merge_patient', 'referral_admin referral_coordinator referral_integration'), ('unmerge_patient', 'referral_admin referral_coordinator referral_integration'),
    ('reattribute', 'referral_admin referral_coordinator referral_integration'),
    ('match_cluster', 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler');
-- how they compare
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['damerau_levenshtein', 'double_metaphone_keys', 'is_match_level', 'jaro_winkler', 'match_default_levels',
    'match_explain', 'match_grade', 'match_levels', 'match_score', 'match_term_hash']) f;
INSERT INTO public.expected_function VALUES
    ('fit_match_model', 'referral_rule_author'), ('compare_match_models', 'referral_admin referral_rule_approver referral_rule_author'),
    ('match_model_differences', 'referral_admin referral_rule_approver referral_rule_author');
-- routing
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['candidate_services', 'complexity', 'distance_km', 'language_tag', 'patient_language',
    'patient_postal_code', 'payer_identifier', 'service_wait']) f;
INSERT INTO public.expected_function VALUES
    ('check_routing_version', 'referral_admin referral_auditor referral_rule_approver referral_rule_author'), ('check_work_places', 'referral_admin referral_auditor referral_rule_approver referral_rule_author'),
    ('override_route', 'referral_admin referral_approver referral_authorizer referral_clinician referral_coordinator referral_scheduler'),
    ('route', 'referral_admin referral_approver referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'),
    ('test_routing', 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_rule_approver referral_rule_author referral_scheduler');
-- handoffs, and what is opened in the morning
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['event_time', 'has_blocking_exception', 'has_pending_approval', 'is_handed_over', 'is_overdue', 'contact_attempts',
    'is_for_me', 'recommended_actions']) f
UNION ALL
SELECT f, 'referral_admin referral_approver referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['hand_over', 'accept_handoff', 'return_handoff', 'withdraw_handoff']) f
UNION ALL
SELECT f, 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['handoff_rules', 'handoff_steps']) f
UNION ALL
SELECT f, 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_scheduler'
FROM unnest(ARRAY['explain', 'explain_flow', 'explain_gates', 'explain_work', 'status_history']) f
UNION ALL
SELECT f, 'referral_admin referral_approver referral_authorizer referral_clinician referral_coordinator referral_scheduler'
FROM unnest(ARRAY['rank_reasons', 'queue_membership', 'is_model', 'works_here', 'item_action']) f
UNION ALL
VALUES ('queue_presence', 'referral_admin referral_analyst referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler');
CREATE VIEW public.executable AS
SELECT p.proname::text AS function, string_agg(coalesce(g.rolname::text, 'PUBLIC'), ' ' ORDER BY g.rolname) AS roles
FROM pg_proc p CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
LEFT JOIN pg_roles g ON g.oid = x.grantee
WHERE p.pronamespace = 'referral'::regnamespace AND x.grantee <> p.proowner
GROUP BY p.oid, p.proname;
SELECT is((SELECT string_agg(f.function || ': ' || f.roles, ', ' ORDER BY f.function)
           FROM (SELECT * FROM public.executable EXCEPT ALL SELECT * FROM public.expected_function) f), NULL, 'nobody may execute more functions than expected');
SELECT is((SELECT string_agg(f.function || ': ' || f.roles, ', ' ORDER BY f.function)
           FROM (SELECT * FROM public.expected_function EXCEPT ALL SELECT * FROM public.executable) f), NULL, 'nor fewer');

SELECT * FROM finish();
