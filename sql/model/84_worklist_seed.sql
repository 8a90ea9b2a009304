-- What is work in every clinic, in which order, and which tasks come up by themselves.
DO $do$
DECLARE
    version_id bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'worklist/standard') THEN
        INSERT INTO referral.rule_set (name, kind, owner, note)
        VALUES ('worklist/standard', 'worklist', 'referral', 'Shipped with the extension.');
        INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
        SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'worklist/standard'
        RETURNING rule_version_id INTO version_id;
        INSERT INTO referral.work_source (rule_version_id, name, entity, kind, applies_when, is_primary, queue, referral_column, due_column, title)
        SELECT version_id, s.name, s.entity, s.kind, s.applies_when, s.is_primary, s.queue, s.referral_column, s.due_column, s.title
        FROM (VALUES
            (1, 'referral', 'referral', 'referral', 'state NOT IN (''closed_loop'', ''declined'', ''cancelled'', ''expired'', ''entered_in_error'')',
             true, 'manual_triage', NULL, NULL, 'Referral'),
            (2, 'exception', 'exception_item', 'exception', 'status IN (''open'', ''in_progress'')',
             false, 'exceptions', 'referral_id', 'due_at', 'Exception'),
            (3, 'extraction', 'extraction', 'review', 'status = ''in_review''',
             false, 'review', NULL, NULL, 'Check what a model has read'),
            (4, 'document_classification', 'document_classification', 'review', 'status = ''in_review''',
             false, 'review', NULL, NULL, 'Check what a model takes a document for'),
            (5, 'approval', 'approval_request', 'approval', 'status = ''pending''',
             false, 'approvals', 'referral_id', 'due_at', 'Approval')
        ) s (sort, name, entity, kind, applies_when, is_primary, queue, referral_column, due_column, title)
        WHERE EXISTS (SELECT FROM referral.entity e WHERE e.entity = s.entity)
        ORDER BY s.sort;
        UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    END IF;
    IF NOT EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'ranking/standard') THEN
        INSERT INTO referral.rule_set (name, kind, owner, note)
        VALUES ('ranking/standard', 'ranking', 'referral', 'Shipped with the extension.');
        INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
        SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'ranking/standard'
        RETURNING rule_version_id INTO version_id;
        INSERT INTO referral.ranking_factor (rule_version_id, name, entity, kind, applies_when, points, date_field, horizon, explanation)
        VALUES (version_id, 'stat', 'referral', 'points', 'urgency = ''stat''', 1000, NULL, '30 days', 'The request is to be carried out at once.'),
               (version_id, 'asap', 'referral', 'points', 'urgency = ''asap''', 600, NULL, '30 days', 'As soon as possible.'),
               (version_id, 'urgent', 'referral', 'points', 'urgency = ''urgent''', 300, NULL, '30 days', 'Urgent.'),
               (version_id, 'priority', 'referral', 'points', 'priority >= 1', 100, NULL, '30 days', 'Its priority was raised.'),
               (version_id, 'high_priority', 'referral', 'points', 'priority >= 2', 100, NULL, '30 days', 'Its priority was raised further.'),
               (version_id, 'authorization_missing', 'referral', 'points',
                'authorization_required AND authorization_number IS NULL', 40, NULL, '30 days', 'The payer has to authorize it and has not yet.'),
               (version_id, 'out_of_network', 'referral', 'points', 'network_status = ''out_of_network''', 30, NULL, '30 days',
                'Out of the payer''s network: it takes longer, and is denied more often.'),
               (version_id, 'incomplete', 'referral', 'points', 'patient_id IS NULL OR specialty IS NULL', 20, NULL, '30 days',
                'Something has to be asked for, so that waiting costs most.'),
               (version_id, 'critical_exception', 'exception_item', 'points', 'severity = ''critical''', 500, NULL, '30 days', 'A critical exception.'),
               (version_id, 'high_exception', 'exception_item', 'points', 'severity = ''high''', 200, NULL, '30 days', 'A severe exception.'),
               (version_id, 'blocking_exception', 'exception_item', 'points', 'blocking', 100, NULL, '30 days', 'The case waits for it.'),
               (version_id, 'due', 'referral', 'per_day', NULL, 20, 'due_at', '14 days', 'The first of its service levels is due.'),
               (version_id, 'payer_deadline', 'referral', 'per_day', NULL, 15, 'payer_deadline', '21 days', 'The payer has to decide by then.'),
               (version_id, 'appointment', 'referral', 'per_day', NULL, 10, 'scheduled_for', '30 days', 'The appointment comes closer.'),
               (version_id, 'expiry', 'referral', 'per_day', NULL, 5, 'expires_on', '90 days', 'It is good for so long only.'),
               (version_id, 'age', 'referral', 'per_day', NULL, 5, 'received_at', '0 days', 'How long it has been waiting.');
        UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    END IF;
    IF NOT EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'task/standard') THEN
        INSERT INTO referral.rule_set (name, kind, owner, note)
        VALUES ('task/standard', 'task', 'referral', 'Shipped with the extension.');
        INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
        SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'task/standard'
        RETURNING rule_version_id INTO version_id;
        INSERT INTO referral.task_template (rule_version_id, name, on_state, title, queue, due, calendar, until_when)
        VALUES (version_id, 'call_after_no_show', 'no_show', 'Find out why the patient did not come, and offer another appointment', 'scheduling',
                '2 days', 'us_business', 'state NOT IN (''no_show'', ''declined'', ''cancelled'', ''expired'', ''entered_in_error'')'),
               (version_id, 'rebook', 'appointment_cancelled', 'Offer another appointment', 'scheduling',
                '2 days', 'us_business', 'state NOT IN (''appointment_cancelled'', ''declined'', ''cancelled'', ''expired'', ''entered_in_error'')'),
               (version_id, 'obtain_report', 'completed', 'Obtain the consult report and send it to the requester', 'closing_the_loop',
                '10 days', 'us_business', 'referral.has_final_report(org_id, referral_id)');
        UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    END IF;
END $do$;
