-- referral_case: one row for each referral, the same for every team, and nothing is computed that nobody asks for.
SELECT plan(36);

CREATE ROLE of_case_clerk LOGIN IN ROLE referral_coordinator;
CREATE ROLE of_case_anna LOGIN IN ROLE referral_coordinator;
CREATE ROLE of_case_analyst LOGIN IN ROLE referral_analyst;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Second');
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'of_case_clerk'), (2, 'of_case_anna'), (1, 'of_case_analyst');
SET referral.org_id = '1';

INSERT INTO referral.patient (patient_id, family, given) VALUES (1, 'Oyelaran', 'Miriam'), (2, 'Bare', NULL);
INSERT INTO referral.site (site_id, name, timezone) VALUES (1, 'Main Street', 'UTC');
INSERT INTO referral.payer (payer_id, name) VALUES (1, 'First Health');
INSERT INTO referral.plan (plan_id, payer_id, name) VALUES (1, 1, 'Gold');
INSERT INTO referral.practitioner (practitioner_id, name) VALUES (1, 'Dr Asks'), (2, 'Dr Answers');
INSERT INTO referral.provider_organization (provider_organization_id, name) VALUES (1, 'Asking Practice'), (2, 'Answering Hospital');
INSERT INTO referral.healthcare_service (healthcare_service_id, name) VALUES (1, 'Echo lab');
INSERT INTO referral.referral (referral_id, patient_id, site_id, payer_id, plan_id, requester_id, requesting_organization_id, performer_id, performing_organization_id,
    healthcare_service_id, specialty, urgency, reason_text, expires_on, network_status)
VALUES (1, 1, 1, 1, 1, 1, 1, 2, 2, 1, 'cardiology', 'urgent', 'murmur', '2099-01-01', 'in_network');
UPDATE referral.work_item SET status = 'in-progress', owner = 'of_case_clerk' WHERE is_primary AND referral_id = 1;
INSERT INTO referral.referral (referral_id, patient_id, service_text) VALUES (2, 2, 'an X-ray'), (3, NULL, NULL);

-- 1. What it tells

SELECT is((SELECT count(*) FROM referral.referral_case), 3::bigint, 'a row for each referral');
SELECT results_eq($$SELECT patient, workflow, state, step, step_title IS NOT NULL, urgency, specialty, service, reason, site, owner, requester, requesting_organization, performer, performing_organization,
                           payer, plan, network_status FROM referral.referral_case WHERE referral_id = 1$$,
    $$VALUES ('Oyelaran, Miriam', 'standard', 'received', 'received', true, 'urgent', 'cardiology', 'Echo lab', 'murmur', 'Main Street', 'of_case_clerk', 'Dr Asks', 'Asking Practice', 'Dr Answers',
              'Answering Hospital', 'First Health', 'Gold', 'in_network')$$, 'who, what, where, whose, from whom, to whom');
SELECT is((SELECT patient || '/' || service FROM referral.referral_case WHERE referral_id = 2), 'Bare/an X-ray', 'what is not known is left out');
SELECT is((SELECT concat(patient, requester, payer, service, owner) FROM referral.referral_case WHERE referral_id = 3), '', 'all of it');
SELECT is((SELECT age >= '0' AND step_age >= '0' AND age < '1 hour' FROM referral.referral_case WHERE referral_id = 1), true, 'how old it is');
SELECT is((SELECT bool_and(column_type IN ('bigint', 'integer', 'text', 'text[]', 'timestamp with time zone', 'date', 'interval', 'boolean', 'numeric'))
           FROM (SELECT format_type(atttypid, NULL) AS column_type FROM pg_attribute WHERE attrelid = 'referral.referral_case'::regclass AND attnum > 0) t), true, 'in types that every tool knows');

-- 2. What can be done with it: as next_transitions() says

SELECT is((SELECT next_actions FROM referral.referral_case WHERE referral_id = 1),
          ARRAY(SELECT n.transition FROM referral.next_transitions('referral', 1, 1) WITH ORDINALITY n WHERE n.allowed GROUP BY 1 ORDER BY min(n.ordinality)), 'what may be done now');
SELECT is((SELECT 'validate' = next_actions[1] FROM referral.referral_case WHERE referral_id = 1), true, 'the next step before all');
SELECT is((SELECT EXISTS (SELECT FROM unnest(blocked_actions) b WHERE b LIKE 'validate: %patient%') FROM referral.referral_case WHERE referral_id = 3), true, 'what may not, and why');
SELECT is((SELECT next_actions && ARRAY(SELECT split_part(b, ':', 1) FROM unnest(blocked_actions) b) FROM referral.referral_case WHERE referral_id = 3), false, 'nothing is both');

-- 3. What is in the way

SELECT is((SELECT (open_exceptions, exceptions, blocked)::text FROM referral.referral_case WHERE referral_id = 1), '(0,{},f)', 'no exceptions');
SELECT referral.open_exception(1, 'missing_document', 'referral', 1, 1, 'letter', 'no letter', 'medium') AS first, referral.open_exception(1, 'policy', 'referral', 1, 1, 'second', 'x', 'high', true) AS second \gset
SELECT is((SELECT (open_exceptions, exceptions, blocked)::text FROM referral.referral_case WHERE referral_id = 1), '(2,"{missing_document/letter,policy/second}",t)', 'open exceptions, the oldest first, and that one blocks');
SELECT referral.close_exception(1, :second, 'settled') \g /dev/null
SELECT is((SELECT (open_exceptions, exceptions, blocked)::text FROM referral.referral_case WHERE referral_id = 1), '(1,{missing_document/letter},f)', 'a closed one is gone');
SELECT is((SELECT open_exceptions FROM referral.referral_case WHERE referral_id = 2), 0, 'and those of another referral are not its');
SELECT is((SELECT missing_documents FROM referral.referral_case WHERE referral_id = 1), ARRAY(SELECT document_type FROM referral.missing_documents(1, 1) ORDER BY severity, document_type), 'documents that are missing');

-- 4. Its clocks

SELECT is((SELECT (running_clocks, next_due)::text FROM referral.referral_case WHERE referral_id = 1), '("{triage,ready_to_schedule}",triage)', 'clocks that run, the nearest first');
SELECT is((SELECT next_due_at FROM referral.referral_case WHERE referral_id = 1), (SELECT min(due_at) FROM referral.sla_clock WHERE entity = 'referral' AND entity_id = 1), 'and when it is due');
SELECT is((SELECT breached_clocks FROM referral.referral_case WHERE referral_id = 1), '{}', 'none is breached');
SELECT set_config('referral.as_of', (now() + interval '60 days')::text, false) \g /dev/null
SELECT is((SELECT breached_clocks FROM referral.referral_case WHERE referral_id = 1), '{triage,ready_to_schedule}', 'in two months they will be');
RESET referral.as_of;
UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_patient' WHERE referral_id = 1;
SELECT is((SELECT (running_clocks, next_due_at)::text FROM referral.referral_case WHERE referral_id = 1), '({},)', 'on hold none runs');
UPDATE referral.referral SET state = 'received' WHERE referral_id = 1;

-- 5. Appointment, report, last event

INSERT INTO referral.appointment (referral_id, step, starts_at) VALUES (1, 'booked', '2098-05-02'), (1, 'cancelled', '2098-05-01'), (1, 'fulfilled', '2020-05-01'), (1, 'booked', '2098-06-01');
SELECT is((SELECT next_appointment_at FROM referral.referral_case WHERE referral_id = 1), '2098-05-02', 'the next appointment that holds');
SELECT is((SELECT last_event FROM referral.referral_case WHERE referral_id = 1), 'appointment insert', 'the last event is that it was made');
INSERT INTO referral.consult_report (referral_id, status, received_at) VALUES (1, 'preliminary', '2026-01-01'), (1, 'final', '2026-02-01'), (1, 'entered-in-error', '2026-03-01');
SELECT is((SELECT (last_report_at AT TIME ZONE 'UTC')::date || ' ' || last_report FROM referral.referral_case WHERE referral_id = 1), '2026-02-01 final', 'the newest report that is one');
SELECT is((SELECT last_event FROM referral.referral_case WHERE referral_id = 1), 'consult_report insert', 'reports are events, too');
INSERT INTO referral.communication (referral_id) VALUES (1);
INSERT INTO referral.contact_attempt (referral_id, medium, outcome) VALUES (1, 'phone', 'no_answer');
SELECT is((SELECT last_event FROM referral.referral_case WHERE referral_id = 1), 'contact_attempt insert', 'and attempts to reach the patient');
INSERT INTO referral.prior_authorization (referral_id) VALUES (1);
SELECT is((SELECT last_event FROM referral.referral_case WHERE referral_id = 1), 'prior_authorization insert', 'and that the payer was asked');
GRANT ALL ON SCHEMA public TO of_case_clerk;
SET SESSION AUTHORIZATION of_case_clerk;
UPDATE referral.referral SET state = 'validated' WHERE referral_id = 1;
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT last_event, last_event_by, last_event_at = entered_at FROM referral.referral_case WHERE referral_id = 1',
    $$VALUES ('validate', 'of_case_clerk', true)$$, 'what, who and when');

-- 6. Who sees it, and what it costs

SET SESSION AUTHORIZATION of_case_clerk;
RESET referral.org_id;
SELECT is((SELECT count(*) FROM referral.referral_case), 3::bigint, 'a coordinator sees those of his organisation');
SELECT is((SELECT count(next_actions) + count(exceptions) + count(last_event) FROM referral.referral_case), 9::bigint, 'with all there is about them');
SET SESSION AUTHORIZATION of_case_anna;
SELECT is((SELECT count(*) FROM referral.referral_case), 0::bigint, 'one of another organisation sees none');
SET SESSION AUTHORIZATION of_case_analyst;
SELECT throws_ok('SELECT count(*) FROM referral.referral_case', '42501', NULL, 'an analyst does not, for it names patients');
RESET SESSION AUTHORIZATION;

CREATE FUNCTION public.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    whole text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        whole := whole || line || E'\n';
    END LOOP;
    RETURN whole;
END $$;
SET enable_seqscan = off;
SELECT matches(public.plan_of('SELECT state, step, age FROM referral.referral_case WHERE org_id = 1 AND referral_id = 1'),
               '^Index Scan using \w+ on referral r\n(  (Index Cond|Filter): .*\n)+$', 'who asks for the referral reads the referral, and nothing else');
SELECT matches(public.plan_of('SELECT state, requester FROM referral.referral_case WHERE org_id = 1 AND referral_id = 1'), 'practitioner_pkey', 'who asks for a name looks it up');
SELECT matches(public.plan_of('SELECT state, owner FROM referral.referral_case WHERE org_id = 1 AND referral_id = 1'), 'Index Scan using work_item_\w+ on work_item', 'and whose it is in the work');
SELECT doesnt_match(public.plan_of('SELECT state, requester, exceptions FROM referral.referral_case WHERE org_id = 1 AND referral_id = 1'), 'case_actions|last_event|sla_clock|consult_report', 'other parts are not asked');
SELECT doesnt_match(public.plan_of('SELECT * FROM referral.referral_case WHERE org_id = 1 AND referral_id = 1'), 'Seq Scan on (referral|journal|sla_clock|exception_item|consult_report|appointment|patient)\M', 'and all of it goes by keys');

SELECT * FROM finish();
