-- The story of one referral, from the message that brought it to the closed loop. Read it from top to bottom.
\set QUIET on
\set ON_ERROR_STOP on
\pset footer off
\pset pager off
\set SHOW_CONTEXT never
\pset null ''
SET client_min_messages = warning;

SELECT count(*) AS objects, string_agg(DISTINCT kind, ', ' ORDER BY kind) AS kinds
FROM referral.deploy() \gset
\echo '== 1. deploy() laid down' :objects 'objects:' :kinds

-- A DBA gives logins their roles and their organisation.
UPDATE referral.organization SET name = 'North Shore Cardiology' WHERE org_id = 1;
CREATE ROLE demo_intake LOGIN;
CREATE ROLE demo_jane LOGIN;
CREATE ROLE demo_dr_lind LOGIN;
GRANT referral_integration TO demo_intake;
GRANT referral_coordinator TO demo_jane;
GRANT referral_clinician TO demo_dr_lind;
INSERT INTO referral.organization_member (org_id, login, actor_kind)
VALUES (1, 'demo_intake', 'system'), (1, 'demo_jane', 'user'), (1, 'demo_dr_lind', 'user');

\echo
\echo '== 2. An HL7 v2 message REF^I12 arrives, and the interface makes a referral of it'
\set message `cat test/data/ref_i12.hl7`
SET SESSION AUTHORIZATION demo_intake;
SELECT 1 FROM referral.receive('hl7v2', 'LAKESIDE_EHR', NULL, :'message', NULL) \g /dev/null
\set QUIET off
SELECT referral_id, step, urgency, specialty, reason_code, reason_text, placer_order_number FROM referral.referral;
\set QUIET on

\echo '== 3. What may Jane, a coordinator, do with it now, and what stands in the way of the rest?'
SET SESSION AUTHORIZATION demo_jane;
SELECT transition, to_state, allowed, array_to_string(blocked_by, '; ') AS blocked_by
FROM referral.next_transitions('referral', 1, 1);

\echo '== 4. She tries to skip the steps in between: refused, with the legal ones'
\set ON_ERROR_STOP off
UPDATE referral.referral SET state = 'scheduled' WHERE referral_id = 1;
\echo
\echo '== 5. She validates it and notes what the payer says, then wants to schedule although the payer requires an authorization: refused, with what would help'
UPDATE referral.referral SET state = 'validated', authorization_required = true WHERE referral_id = 1;
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = 1;
\set ON_ERROR_STOP on

\echo
\echo '== 6. She takes it through: authorization, appointment, visit, report, closed loop'
UPDATE referral.referral SET state = 'pending_authorization' WHERE referral_id = 1;
UPDATE referral.referral SET state = 'ready_to_schedule', authorization_number = 'AUTH0001' WHERE referral_id = 1;
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() + interval '2 days' WHERE referral_id = 1;
BEGIN;
SET LOCAL referral.transition = 'reschedule';
SET LOCAL referral.reason = 'An earlier slot came free';
UPDATE referral.referral SET scheduled_for = now() - interval '5 minutes' WHERE referral_id = 1;
COMMIT;
SET SESSION AUTHORIZATION demo_dr_lind;
UPDATE referral.referral SET state = 'completed' WHERE referral_id = 1;
\set ON_ERROR_STOP off
UPDATE referral.referral SET state = 'closed_loop' WHERE referral_id = 1;
\set ON_ERROR_STOP on
INSERT INTO referral.consult_report (referral_id, status, sent_at, source) VALUES (1, 'final', now(), 'North Shore');
SET SESSION AUTHORIZATION demo_jane;
UPDATE referral.referral SET state = 'closed_loop' WHERE referral_id = 1;

\echo
\echo '== 7. Its history: every step, who, why, under which rule version'
SELECT to_char(occurred_at, 'HH24:MI:SS.MS') AS at, transition, from_step, to_step, actor, actor_kind AS kind,
       coalesce(reason, status_reason) AS reason, origin, rule_version AS rules
FROM referral.history WHERE entity = 'referral' AND entity_id = 1 ORDER BY journal_id;

\echo '== 8. Nobody rewrites it'
RESET SESSION AUTHORIZATION;
\set ON_ERROR_STOP off
DELETE FROM referral.journal WHERE entity = 'referral';
\set ON_ERROR_STOP on

\echo
\echo '== 9. The audit log: who did what, and why'
SELECT to_char(occurred_at, 'HH24:MI:SS') AS at, actor, what, reason
FROM referral.audit_log WHERE entity = 'referral' AND entity_id = 1 AND version > 1 ORDER BY journal_id;

\echo '== 10. The journal is sealed: one root hash over all that was recorded'
SELECT org_id, tree_size, encode(root_hash, 'hex') AS root_hash FROM referral.seal();
SELECT tree_size AS known_size, root_hash AS known_root FROM referral.seal WHERE org_id = 1 ORDER BY seal_id DESC LIMIT 1 \gset
SELECT ok, tree_size, detail FROM referral.verify_journal(1);
SELECT leaf_index, tree_size, cardinality(proof) AS hashes_in_proof,
       referral.verify_inclusion(leaf_index, tree_size, leaf_hash, proof, root_hash) AS proven
FROM referral.inclusion_proof(1, (SELECT max(journal_id) FROM referral.journal WHERE entity = 'referral'));

\echo '== 11. A superuser switches the triggers off and changes who decided, and a patient''s name: both show'
BEGIN;
SET LOCAL session_replication_role = replica;
ALTER TABLE referral.journal DISABLE TRIGGER append_only;
UPDATE referral.journal SET actor = 'nobody' WHERE entity = 'referral' AND transition = 'complete';
UPDATE referral.patient SET family = 'Somebody else' WHERE patient_id = 1;
SELECT ok, first_bad_journal_id, detail FROM referral.verify_journal(1, :known_size, :'known_root');
SELECT * FROM referral.verify_coverage('patient');
ROLLBACK;

\echo '== 12. A downstream system follows the journal as CloudEvents, without the patient''s data'
SET SESSION AUTHORIZATION demo_intake;
SELECT referral.create_consumer('scheduling', 'to_state IS NOT NULL', '-infinity') \g /dev/null
SELECT type, subject, attempt, position FROM referral.events('scheduling', 3);
\pset format unaligned
\pset tuples_only on
SELECT jsonb_pretty(jsonb_strip_nulls(data)) FROM referral.event WHERE type = 'org.referral.appointment.booked' LIMIT 1;
\pset format aligned
\pset tuples_only off
RESET SESSION AUTHORIZATION;

\echo
\echo '== 13. Clocks. A few referrals of the last weeks, as an interface brings them late; a policy and its ladder'
SET SESSION AUTHORIZATION demo_intake;
DO $$
DECLARE
    r record;
    id bigint;
BEGIN
    FOR r IN SELECT * FROM (VALUES (1, interval '1 day', 'received', 'routine'), (2, '5 days', 'received', 'urgent'),
                                   (3, '12 days', 'validated', 'routine'), (4, '20 days', 'pending_authorization', 'routine'),
                                   (5, '45 days', 'pending_authorization', 'urgent')) v (n, ago, until, urgency) LOOP
        PERFORM set_config('referral.occurred_at', (now() - r.ago)::text, true);
        INSERT INTO referral.referral (patient_id, specialty, urgency, channel, received_at, authorization_required)
        VALUES (1, 'cardiology', r.urgency::referral.urgency, 'fax', now() - r.ago, true) RETURNING referral_id INTO id;
        CONTINUE WHEN r.until = 'received';
        PERFORM set_config('referral.occurred_at', (now() - r.ago * 0.9)::text, true);
        UPDATE referral.referral SET state = 'validated' WHERE referral_id = id;
        CONTINUE WHEN r.until = 'validated';
        PERFORM set_config('referral.occurred_at', (now() - r.ago * 0.8)::text, true);
        UPDATE referral.referral SET state = 'pending_authorization' WHERE referral_id = id;
    END LOOP;
END $$;
RESET SESSION AUTHORIZATION;
-- A policy of two minutes, to see a referral age; in real life it is approved by somebody else than its author.
DO $$
DECLARE
    version bigint;
    policy bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('sla/demo', 'sla');
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'sla/demo'
    RETURNING rule_version_id INTO version;
    INSERT INTO referral.sla_policy (rule_version_id, entity, name, title, applies_when, start_when, stop_when, target, calendar)
    VALUES (version, 'referral', 'call_back', 'The practice is called back: 2 minutes', 'channel = ''phone''', 'state = ''received''',
            'state <> ''received''', '2 minutes', 'always') RETURNING sla_policy_id INTO policy;
    INSERT INTO referral.sla_level (sla_policy_id, level, percent, action, argument, title)
    VALUES (policy, 1, 50, 'notify', 'referral_coordinator', 'Half of the time is used'),
           (policy, 2, 75, 'assign_role', 'referral_coordinator', 'Three quarters of the time are used'),
           (policy, 3, 100, 'raise_priority', '9', 'The time is used up');
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version;
END $$;
SET SESSION AUTHORIZATION demo_intake;
-- so that the first tick, at the next full minute, finds it past 50 and 75 %, the second one past 100 %
SELECT set_config('referral.occurred_at', (date_trunc('minute', now()) - interval '35 seconds')::text, false) \g /dev/null
INSERT INTO referral.referral (patient_id, specialty, channel) VALUES (1, 'cardiology', 'phone') RETURNING referral_id AS phone \gset
RESET referral.occurred_at;
RESET SESSION AUTHORIZATION;
SELECT policy, started_at::timestamp(0), target, due_at::timestamp(0), percent FROM referral.sla_status
WHERE entity_id = :phone AND policy = 'call_back';

\echo '== 14. pg_cron gets its jobs'
SELECT job, schedule, left(command, 45) AS command, action FROM referral.schedule_jobs();

\echo '== 15. ... and fires the levels, by itself, at the full minute. Waiting for it (up to two minutes)'
SELECT set_config('demo.phone', :'phone', false) \g /dev/null
CREATE PROCEDURE pg_temp.wait_for(levels int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 150 LOOP
        EXIT WHEN (SELECT count(*) FROM referral.escalation e WHERE e.policy = 'call_back' AND e.outcome <> 'pending') >= levels;
        PERFORM pg_sleep(1);
        COMMIT;
    END LOOP;
END $$;
CALL pg_temp.wait_for(1);
SELECT level, percent, status, remaining::interval(0) FROM referral.sla_status WHERE entity_id = :phone AND policy = 'call_back';
CALL pg_temp.wait_for(3);
SELECT s.level, s.percent, s.breached, r.priority AS priority_of_referral
FROM referral.sla_status s JOIN referral.referral r ON r.referral_id = s.entity_id
WHERE s.entity_id = :phone AND s.policy = 'call_back';
SELECT level, title, planned_at::timestamp(0), fired_at::timestamp(0), action, argument, outcome FROM referral.escalation
WHERE policy = 'call_back' ORDER BY level;
SELECT job, last_status, next_expected::timestamp(0), problem FROM referral.job_status;

\echo '== 16. What waits, and for how long; what is late; who has to look at what'
SET SESSION AUTHORIZATION demo_jane;
SELECT entity_id AS referral, policy, status, percent, due_at::timestamp(0), remaining::interval(0), breached
FROM referral.sla_status WHERE status IN ('running', 'paused') AND entity = 'referral' ORDER BY percent DESC LIMIT 6;
SELECT queue, state, bucket, referrals FROM referral.aging WHERE measure = 'since received' ORDER BY bucket_sort DESC, state LIMIT 6;
SELECT entity_id AS referral, policy, level, title, addressed_to FROM referral.open_escalation LIMIT 6;
SELECT referral_id, state, step, idle::interval(0), threshold, last_event FROM referral.stalled_referral ORDER BY idle DESC LIMIT 3;
SELECT month, policy, clocks, in_time, breached, adherence FROM referral.sla_adherence ORDER BY 1, 2;
RESET SESSION AUTHORIZATION;

\echo '== 17. One person, entered twice: a nickname, day and month exchanged, moved house. And two who are twins'
SET SESSION AUTHORIZATION demo_jane;
INSERT INTO referral.patient (family, given, birth_date, sex, address, city, postal_code, phone)
VALUES ('Nowak', 'Katherine', '1988-04-09', 'female', '4 Elm Road', 'Duluth', '55802', '218-555-0170') RETURNING patient_id AS katherine \gset
INSERT INTO referral.patient (family, given, birth_date, sex, address, city, postal_code, phone)
VALUES ('NOWAK', 'Kate', '1988-09-04', 'female', '1910 Superior St', 'Duluth', '55812', '(218) 555-0170') RETURNING patient_id AS kate \gset
INSERT INTO referral.patient (family, given, birth_date, sex, address, city, postal_code, phone)
VALUES ('Reyes', 'Mia', '2019-05-02', 'female', '77 Lake Ave', 'Duluth', '55802', '218-555-0133');
INSERT INTO referral.patient (family, given, birth_date, sex, address, city, postal_code, phone)
VALUES ('Reyes', 'Maya', '2019-05-02', 'female', '77 Lake Ave', 'Duluth', '55802', '218-555-0133') RETURNING patient_id AS maya \gset
SELECT referral.rescore_patient(1, :kate), referral.rescore_patient(1, :maya) \g /dev/null
SELECT patient_id, duplicate_id, grade, status, next_action FROM referral.duplicate_review ORDER BY priority;

\echo '== 18. Why, field by field, in bits; and what speaks against the twins'
SELECT field, level, value_a, value_b, round(weight::numeric, 1) AS bits, round(running_total::numeric, 1) AS total
FROM referral.patient a, referral.patient b, referral.match_explain(a.demographics, b.demographics)
WHERE a.patient_id = :katherine AND b.patient_id = :kate AND field <> 'keys';
SELECT level AS veto FROM referral.patient a, referral.patient b, referral.match_explain(a.demographics, b.demographics)
WHERE a.patient_id = :maya - 1 AND b.patient_id = :maya AND field = 'veto';

\echo '== 19. Merged; a referral comes for the duplicate; and taken back, everything is where it belongs'
SELECT referral.merge_patient(1, :katherine, :kate, 'Same phone, she says she has moved') AS merge \gset
INSERT INTO referral.referral (patient_id, specialty, channel) VALUES (:kate, 'cardiology', 'fax') RETURNING referral_id AS late, patient_id AS became;
SELECT referral.unmerge_patient(1, :merge, 'Two cousins') AS to_be_decided;
SELECT referral_id, patient_id FROM referral.referral WHERE patient_id IN (:katherine, :kate);
SELECT patient_id, merged_into, family, given FROM referral.patient WHERE patient_id IN (:katherine, :kate) ORDER BY 1;
RESET SESSION AUTHORIZATION;

\ir intake.sql
\ir week.sql
