-- The canonical model: what its tables refuse, how they are journaled, and what its functions tell.
SELECT plan(91);

-- the SQLSTATE of a statement; what succeeds stays
CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
-- low numbers are given out here
SELECT setval(c.oid::regclass, 1000) FROM pg_class c WHERE c.relnamespace = 'referral'::regnamespace AND c.relkind = 'S' \g /dev/null
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Second');
CREATE ROLE model_clerk LOGIN IN ROLE referral_coordinator;
CREATE ROLE model_scheduler LOGIN IN ROLE referral_scheduler;
CREATE ROLE model_feed LOGIN IN ROLE referral_integration;
CREATE ROLE model_analyst LOGIN IN ROLE referral_analyst;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'model_clerk'), (1, 'model_scheduler'), (1, 'model_feed'), (1, 'model_analyst'), (2, 'model_clerk');
SET referral.org_id = '1';

-- 1. Coverage: one at a time for each priority

INSERT INTO referral.patient (patient_id, family) VALUES (1, 'One'), (2, 'Two'), (3, 'Three');
INSERT INTO referral.payer (payer_id, name) VALUES (1, 'First Health'), (2, 'Second Health');
INSERT INTO referral.plan (plan_id, payer_id, name, kind) VALUES (1, 1, 'Gold', 'PPO'), (2, 1, 'Silver', 'HMO');
INSERT INTO referral.coverage (coverage_id, patient_id, payer_id, plan_id, subscriber_id, period) VALUES (1, 1, 1, 1, 'A1', '[2026-01-01,2027-01-01)');
SELECT is(public.code(format('INSERT INTO referral.coverage (patient_id, payer_id, priority, period, status) VALUES (1, 2, %s, %L, %L)', priority, period, status)), wanted, what)
FROM (VALUES (1, '[2026-12-31,)', 'active', '23P01', 'a second coverage of the same days is refused'), (1, '[2025-01-01,2026-01-02)', 'active', '23P01', 'and of one day only'),
             (1, '[2027-01-01,)', 'active', 'done', 'not one that begins when the first is over'), (2, '[2026-01-01,)', 'active', 'done', 'nor one that pays second'),
             (1, '[2026-06-01,2026-07-01)', 'cancelled', 'done', 'nor one that is cancelled'), (1, 'empty', 'active', '23514', 'a period without days is refused'),
             (0, '[2030-01-01,)', 'active', '23514', 'so is a priority of 0'), (3, '(,)', 'unheard-of', '23514', 'and another status')) v (priority, period, status, wanted, what);
SELECT is(public.code($$UPDATE referral.coverage SET status = 'active' WHERE patient_id = 1 AND status = 'cancelled'$$), '23P01', 'a cancelled one is not active again while another one holds');
SELECT results_eq($$SELECT coverage_id, priority, payer_id, plan_id, subscriber_id FROM referral.coverage_on(1, 1, '2026-12-31')$$,
    $$SELECT coverage_id, priority, payer_id, plan_id, subscriber_id FROM referral.coverage WHERE patient_id = 1 AND status = 'active' AND period @> date '2026-12-31' ORDER BY priority$$, 'coverage_on() tells what is in force, who pays first at the top');
SELECT is((SELECT array_agg(payer_id) FROM referral.coverage_on(1, 1, '2026-12-31')), '{1,2}', 'on the last day of the first');
SELECT is((SELECT array_agg(payer_id) FROM referral.coverage_on(1, 1, '2027-01-01')), '{2,2}', 'and on the day after');
SELECT is((SELECT count(*) FROM referral.coverage_on(1, 1, '2025-12-31')), 0::bigint, 'none on the day before');
SELECT is((SELECT count(*) FROM referral.coverage_on(2, 1, '2026-12-31')) + (SELECT count(*) FROM referral.coverage_on(NULL, 1)), 0::bigint, 'none in another organisation, and for null');

-- a merge of two patients with the same coverage
INSERT INTO referral.coverage (coverage_id, patient_id, payer_id, subscriber_id, period) VALUES (102, 2, 1, 'A2', '[2026-01-01,)'), (103, 3, 1, 'A2', '[2026-03-01,)');
SELECT referral.merge_patient(1, 2, 3, 'the same person') AS merge \gset
SELECT results_eq('SELECT coverage_id, patient_id, priority, stated_priority FROM referral.coverage WHERE coverage_id IN (102, 103) ORDER BY 1',
    $$VALUES (102::bigint, 2::bigint, 1, NULL::integer), (103, 2, 2, 1)$$, 'merged: what would overlap goes behind');
SELECT referral.unmerge_patient(1, :merge, 'they are two') \g /dev/null
SELECT results_eq('SELECT coverage_id, patient_id, priority, stated_priority FROM referral.coverage WHERE coverage_id IN (102, 103) ORDER BY 1',
    $$VALUES (102::bigint, 2::bigint, 1, NULL::integer), (103, 3, 1, NULL)$$, 'taken back: each has its own again');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'coverage' AND entity_id = 103), 3::bigint, 'all of which is journaled');

-- 2. Network

INSERT INTO referral.provider_organization (provider_organization_id, name) VALUES (1, 'North Clinic'), (2, 'South Clinic');
INSERT INTO referral.practitioner (practitioner_id, name) VALUES (1, 'Dr North'), (2, 'Dr South'), (3, 'Dr Alone');
INSERT INTO referral.practitioner_role (practitioner_role_id, practitioner_id, provider_organization_id) VALUES (1, 1, 1), (2, 2, 2);
INSERT INTO referral.healthcare_service (healthcare_service_id, name, provider_organization_id) VALUES (1, 'North echo', 1);
INSERT INTO referral.referral (referral_id, patient_id, payer_id, plan_id, performer_id, performing_organization_id, healthcare_service_id)
VALUES (1, 1, 1, 1, 1, NULL, NULL), (2, 1, 1, 1, 2, NULL, NULL), (3, 1, 1, 1, NULL, 1, NULL), (4, 1, 1, 1, NULL, NULL, 1), (5, 1, 2, NULL, 1, NULL, NULL), (6, 1, 1, 1, NULL, NULL, NULL),
       (7, 1, NULL, NULL, 1, NULL, NULL), (8, 1, 1, 2, 1, NULL, NULL);
SELECT is(referral.network_status(1, 1), 'unknown', 'without contracts nobody can tell');
INSERT INTO referral.network_contract (payer_id, plan_id, provider_organization_id, valid) VALUES (1, 1, 1, '[2026-01-01,2027-01-01)');
SELECT is(referral.network_status(1, id, on_date), wanted::referral.network_status, what)
FROM (VALUES (1, date '2026-06-01', 'in_network', 'a practitioner by an organisation that he works for'), (2, '2026-06-01', 'out_of_network', 'one who works for another'), (3, '2026-06-01', 'in_network', 'the organisation'),
             (4, '2026-06-01', 'out_of_network', 'a service only by a contract of its own'), (5, '2026-06-01', 'unknown', 'a payer without contracts'), (6, '2026-06-01', 'unknown', 'no performer'), (7, '2026-06-01', 'unknown', 'no payer'),
             (8, '2026-06-01', 'out_of_network', 'another plan of the payer'), (1, '2027-01-01', 'out_of_network', 'when the contract is over'), (1, '2025-12-31', 'out_of_network', 'before it begins')) v (id, on_date, wanted, what);
INSERT INTO referral.network_contract (payer_id, healthcare_service_id) VALUES (1, 1);
INSERT INTO referral.network_contract (payer_id, practitioner_id) VALUES (1, 2);
SELECT is(referral.network_status(1, 4), 'in_network', 'the service, once there is one');
SELECT is(referral.network_status(1, 2), 'in_network', 'the practitioner, once there is one');
UPDATE referral.practitioner_role SET active = false WHERE practitioner_role_id = 1;
SELECT is(referral.network_status(1, 1, '2026-06-01'), 'out_of_network', 'who does not work there any more');
SELECT is(referral.network_status(1, NULL), NULL, 'null for null');
SELECT is(referral.network_status(2, 1), NULL, 'and for what is not there');
SELECT is(public.code('INSERT INTO referral.network_contract (payer_id) VALUES (1)'), '23514', 'a contract is with somebody');
SELECT is(public.code('INSERT INTO referral.network_contract (payer_id, practitioner_id, provider_organization_id) VALUES (1, 1, 1)'), '23514', 'and with one only');

-- 3. Reports close the loop

INSERT INTO referral.consult_report (referral_id, status) VALUES (1, 'preliminary'), (2, 'failed'), (3, 'entered-in-error'), (4, 'final'), (5, 'amended');
INSERT INTO referral.document (referral_id, type) VALUES (6, 'consult_report');
SELECT is(referral.has_final_report(1, id), wanted, what)
FROM (VALUES (1, false, 'an interim report closes nothing'), (2, false, 'nor does one that failed'), (3, false, 'nor one that never was'), (4, true, 'a final one does'), (5, true, 'an amended one, too'),
             (6, false, 'a document is no report'), (7, false, 'the report of another referral is not this one''s'), (NULL, NULL, 'null for null')) v (id, wanted, what);
SET referral.occurred_at = '2026-01-01 00:00Z';
INSERT INTO referral.referral (referral_id, patient_id, step) VALUES (9, 1, 'completed');
RESET referral.occurred_at;
SELECT is(public.code('UPDATE referral.referral SET state = ''closed_loop'' WHERE referral_id = 9'), 'RF002', 'the loop stays open without a report');
INSERT INTO referral.consult_report (referral_id, status, consult_report_id) VALUES (9, 'preliminary', 100);
SELECT is(public.code('UPDATE referral.referral SET state = ''closed_loop'' WHERE referral_id = 9'), 'RF002', 'and with an interim one');
UPDATE referral.consult_report SET status = 'final' WHERE consult_report_id = 100;
SELECT is(public.code('UPDATE referral.referral SET state = ''closed_loop'' WHERE referral_id = 9'), 'done', 'with the final one it is closed');

-- 4. Appointments: the statuses of FHIR

INSERT INTO referral.appointment (appointment_id, referral_id, patient_id, starts_at, ends_at) VALUES (1, 1, 1, '2026-07-01 09:00Z', '2026-07-01 09:30Z');
SELECT is((SELECT step || ' ' || state FROM referral.appointment WHERE appointment_id = 1), 'booked scheduled', 'a new appointment is booked');
UPDATE referral.appointment SET starts_at = '2026-07-02 09:00Z', ends_at = '2026-07-02 09:30Z' WHERE appointment_id = 1;
UPDATE referral.appointment SET step = 'arrived' WHERE appointment_id = 1;
UPDATE referral.appointment SET step = 'checked-in' WHERE appointment_id = 1;
UPDATE referral.appointment SET step = 'fulfilled' WHERE appointment_id = 1;
SELECT is((SELECT string_agg(to_step, ' ' ORDER BY journal_id) FROM referral.history WHERE entity = 'appointment' AND entity_id = 1), 'booked arrived checked-in fulfilled', 'it goes on to the visit');
SELECT is(public.code('UPDATE referral.appointment SET step = ''booked'' WHERE appointment_id = 1'), 'RF001', 'which cannot be taken back');
SELECT is(public.code('UPDATE referral.appointment SET step = ''entered-in-error'' WHERE appointment_id = 1'), 'done', 'unless it never was');
INSERT INTO referral.appointment (appointment_id, referral_id, step) SELECT 10 + n, 1, s
FROM unnest(ARRAY['proposed', 'pending', 'waitlist', 'booked', 'noshow', 'cancelled', 'fulfilled', 'entered-in-error']) WITH ORDINALITY x (s, n);
SELECT is((SELECT count(*) FROM referral.appointment WHERE appointment_id > 10), 8::bigint, 'a message may tell of one at any stage');
SELECT is((SELECT string_agg(state::text, ' ' ORDER BY appointment_id) FROM referral.appointment WHERE appointment_id > 10),
          'received validated ready_to_schedule scheduled no_show cancelled completed entered_in_error', 'each has the canonical state');
SELECT is(public.code('INSERT INTO referral.appointment (step) VALUES (''arrived'')'), 'done', 'of an arrival, too');
SELECT is(public.code('INSERT INTO referral.appointment (step) VALUES (''busy'')'), 'RF001', 'but there is no other status');
SELECT is(public.code('INSERT INTO referral.appointment (starts_at, ends_at) VALUES (''2026-07-01'', ''2026-06-01'')'), '23514', 'none ends before it begins');
SELECT is(public.code(format('UPDATE referral.appointment SET step = %L WHERE appointment_id = %s', step, id)), wanted, what)
FROM (VALUES (15, 'arrived', 'done', 'who was noted down as missing may have come'), (16, 'booked', 'done', 'a cancelled one is booked again'), (17, 'cancelled', 'RF001', 'what took place is not cancelled'),
             (13, 'booked', 'done', 'the waiting list leads to a booking'), (11, 'fulfilled', 'RF001', 'a proposal is no visit')) v (id, step, wanted, what);

-- 5. Codes, relations, identifiers, authorizations, sites

SELECT is(public.code(s), wanted, what) FROM (VALUES
    ($$INSERT INTO referral.referral_code (referral_id, kind, sequence, code) VALUES (1, 'diagnosis', 1, 'I10')$$, 'done', 'a diagnosis'),
    ($$INSERT INTO referral.referral_code (referral_id, kind, sequence, code) VALUES (1, 'diagnosis', 1, 'I11')$$, '23505', 'one for each place'),
    ($$INSERT INTO referral.referral_code (referral_id, kind, sequence) VALUES (1, 'diagnosis', 2)$$, '23514', 'with a code or words'),
    ($$INSERT INTO referral.referral_relation (referral_id, related_id, kind) VALUES (1, 2, 'replaces')$$, 'done', 'a referral replaces another'),
    ($$INSERT INTO referral.referral_relation (referral_id, related_id, kind) VALUES (1, 1, 'replaces')$$, '23514', 'not itself'),
    ($$INSERT INTO referral.identifier (patient_id, system, value, type) VALUES (1, 'urn:oid:1.2', '77', 'MR'), (2, 'urn:oid:1.2', '77', 'MR')$$, 'done', 'two records may share a number'),
    ($$INSERT INTO referral.identifier (patient_id, referral_id, value) VALUES (1, 1, '77')$$, '23514', 'a number is of one thing'),
    ($$INSERT INTO referral.identifier (value) VALUES ('77')$$, '23514', 'and of something'),
    ($$INSERT INTO referral.prior_authorization (prior_authorization_id, referral_id, payer_id) VALUES (1, 1, 1)$$, 'done', 'a payer is asked'),
    ($$INSERT INTO referral.prior_authorization_item (prior_authorization_id, sequence, review_action) VALUES (1, 1, 'A1'), (1, 2, 'A3')$$, 'done', 'and decides item by item'),
    ($$INSERT INTO referral.prior_authorization_item (prior_authorization_id, sequence, review_action) VALUES (1, 3, 'A9')$$, '23514', 'with a code of X12'),
    ($$INSERT INTO referral.site (name, timezone) VALUES ('Nowhere', 'Middle/Earth')$$, '23514', 'a site is in a time zone that there is'),
    ($$INSERT INTO referral.specialty (code) VALUES ('cardiology'), ('cardiology')$$, '23505', 'a specialty is there once')) v (s, wanted, what);

-- 6. Nothing leads into another organisation (test/pgtap/security looks at each foreign key); what analysts and feeds may

RESET referral.org_id;
SET SESSION AUTHORIZATION model_clerk;
SET referral.org_id = '2';
SELECT is(public.code('INSERT INTO referral.appointment (referral_id) VALUES (1)'), '23503', 'no appointment for a referral of another organisation');
SELECT is((SELECT count(*) FROM referral.coverage) + (SELECT count(*) FROM referral.consult_report), 0::bigint, 'nor is anything of it to be seen');
RESET referral.org_id;
SET SESSION AUTHORIZATION model_analyst;
SET referral.org_id = '1';
SELECT is(public.code('SELECT referral_id, network_status, decision, expected_value FROM referral.referral'), 'done', 'an analyst sees how a referral stands');
SELECT is(public.code('SELECT patient_id FROM referral.referral'), '42501', 'not whose it is');
SELECT is(public.code('SELECT * FROM referral.appointment'), '42501', 'nor a whole appointment');
SET SESSION AUTHORIZATION model_feed;
SELECT is(public.code($$INSERT INTO referral.payer (name) VALUES ('Third Health')$$), 'done', 'a feed may write a payer that nobody has met');
SELECT is(public.code($$INSERT INTO referral.network_contract (payer_id, practitioner_id) VALUES (1, 1)$$), '42501', 'but no contract');
SET SESSION AUTHORIZATION model_scheduler;
SELECT is(public.code('INSERT INTO referral.appointment (referral_id) VALUES (2)'), 'done', 'a scheduler books');
SELECT is(public.code($$INSERT INTO referral.consult_report (referral_id, status) VALUES (2, 'final')$$), '42501', 'but writes no report');
SELECT is(public.code('DELETE FROM referral.appointment'), '42501', 'and deletes nothing');
RESET SESSION AUTHORIZATION;
RESET referral.org_id;
SELECT is_empty($$SELECT e.entity FROM referral.entity e WHERE e.entity IN ('coverage', 'consult_report', 'appointment', 'prior_authorization', 'identifier', 'network_contract')
                  AND NOT EXISTS (SELECT FROM referral.journal j WHERE j.entity = e.entity AND j.action = 'insert')$$, 'what was written is in the journal');
SELECT is_empty($$SELECT c.* FROM unnest('{coverage,consult_report,appointment,prior_authorization,identifier,network_contract,referral}'::text[]) e, referral.verify_coverage(e) c$$, 'which agrees with the tables');

-- a row whose parent must be there needs no foreign key to the organisation
SELECT is(public.code(s), '23503', what) FROM (VALUES
    ('INSERT INTO referral.coverage (org_id, patient_id) VALUES (99, 1)', 'no coverage in an organisation that there is not'),
    ($$INSERT INTO referral.identifier (org_id, patient_id, value) VALUES (99, 1, 'X')$$, 'nor an identifier'),
    ($$INSERT INTO referral.referral_code (org_id, referral_id, kind, code) VALUES (99, 1, 'diagnosis', 'X')$$, 'nor a code')) v (s, what);
ALTER TABLE referral.plan ADD FOREIGN KEY (org_id) REFERENCES referral.organization;
ALTER TABLE referral.coverage DROP CONSTRAINT one_coverage_at_a_time;
ALTER TABLE referral.coverage ADD CONSTRAINT one_coverage_at_a_time EXCLUDE USING gist (int8range(org_id, org_id, '[]') WITH &&,
    int8range(patient_id, patient_id, '[]') WITH &&, int4range(priority, priority, '[]') WITH &&, period WITH &&) WHERE (status = 'active');
SELECT referral.deploy();
SELECT matches((SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'one_coverage_at_a_time'), 'box\(point\(.*org_id.*WHERE',
               'deploy() makes the rule about coverage the way it is made now');
SELECT is(public.code('INSERT INTO referral.coverage (org_id, patient_id) SELECT org_id, patient_id FROM referral.coverage WHERE status = ''active'' LIMIT 1'),
          '23P01', 'which still finds two at a time');
SELECT is((SELECT count(*) FROM pg_constraint WHERE conrelid = 'referral.plan'::regclass AND conname = 'plan_org_id_fkey'), 0::bigint,
          'deploy() drops the key that earlier versions had');

SELECT * FROM finish();
