-- Routing: which queue a row's work goes to and who gets it, by which rule and why; people override; nothing is ever nowhere.
SELECT plan(132);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE ROLE routing_ann LOGIN IN ROLE referral_coordinator;
CREATE ROLE routing_bob LOGIN IN ROLE referral_coordinator;
CREATE ROLE routing_cy LOGIN IN ROLE referral_coordinator;
CREATE ROLE routing_bot LOGIN IN ROLE referral_coordinator;
CREATE ROLE routing_feed LOGIN IN ROLE referral_integration;
CREATE ROLE routing_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE routing_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE routing_other LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'routing_ann', 'user'), (1, 'routing_bob', 'user'), (1, 'routing_cy', 'user'), (1, 'routing_bot', 'ai'), (1, 'routing_feed', 'system'), (1, 'routing_author', 'user'),
    (1, 'routing_analyst', 'user'), (2, 'routing_other', 'user');
INSERT INTO referral.patient (org_id, patient_id, family, language, postal_code) VALUES
    (1, 1, 'One', 'en-US', '10001'), (1, 2, 'Two', 'es_MX', '20002'), (2, 1, 'Other', NULL, NULL);

CREATE FUNCTION public.join_queue(queue text, member text, capacity integer DEFAULT NULL, languages text[] DEFAULT '{}', org_id bigint DEFAULT 1)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO referral.queue_member (org_id, queue_id, member, capacity, languages)
    SELECT q.org_id, q.queue_id, join_queue.member, join_queue.capacity, join_queue.languages FROM referral.queue q
    WHERE q.org_id = join_queue.org_id AND q.name = join_queue.queue $$;
-- Where the open item of a row is, who has it, and how it came there.
CREATE VIEW public.place AS
SELECT i.org_id, i.entity, i.entity_id, q.name AS queue, i.owner, i.verb, i.status, i.work_item_id, i.routing_decision_id
FROM referral.work_item i JOIN referral.queue q USING (org_id, queue_id) WHERE i.closed_at IS NULL AND i.kind <> 'task';
CREATE VIEW public.decision AS
SELECT d.*, q.name AS queue FROM referral.routing_decision d JOIN referral.queue q USING (org_id, queue_id);
CREATE FUNCTION public.queue_of(id bigint) RETURNS text LANGUAGE sql AS
    $$SELECT queue FROM public.place WHERE org_id = 1 AND entity = 'referral' AND entity_id = id$$;
CREATE FUNCTION public.last(id bigint) RETURNS referral.routing_decision LANGUAGE sql AS
    $$SELECT d FROM referral.routing_decision d WHERE d.org_id = 1 AND d.entity = 'referral' AND d.entity_id = id ORDER BY d.routing_decision_id DESC LIMIT 1$$;
GRANT SELECT ON public.place, public.decision TO PUBLIC;

-- 1. Nobody is there yet: everything waits in manual triage, whatever was meant

INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (1, 1, 1, 'orthopaedics');
SELECT results_eq('SELECT target_queue, queue, reason, rule, entity_id, referral_id, overrides_id, explanation, decided_by = current_user::text FROM public.decision',
    $$VALUES ('intake', 'manual_triage', 'rule', 'received', 1::bigint, 1::bigint, NULL::bigint, 'New: to be checked.', true)$$,
    'what was meant, where it went, by which rule and why');
SELECT is(public.queue_of(1), 'manual_triage', 'there it is');
SELECT is((SELECT routing_decision_id FROM public.place WHERE entity_id = 1), (SELECT routing_decision_id FROM referral.routing_decision), 'the item knows the decision');
SELECT is((SELECT rule_version FROM referral.routing_decision), (SELECT v.rule_version_id FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id)
    WHERE s.name = 'routing/standard'), 'which is of a version of the rules');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'routing_decision'), 1::bigint, 'and in the journal');

-- 2. The shipped rules

SELECT public.join_queue(q.name, 'routing_ann') FROM referral.queue q WHERE q.org_id = 1 \g /dev/null
SELECT is(public.queue_of(1), 'manual_triage', 'who comes later does not move what is there');
SELECT is((SELECT queue FROM referral.route(1, 1)), 'intake', 'unless it is routed anew');
SELECT is(public.queue_of(1), 'intake', 'then it moves');
SELECT is((SELECT verb FROM public.place WHERE entity_id = 1), 'route', 'as the item says');
UPDATE referral.referral SET state = 'validated' WHERE referral_id = 1;
SELECT is(public.queue_of(1), 'scheduling', 'a referral that is complete goes on to scheduling');
UPDATE referral.referral SET authorization_required = true WHERE referral_id = 1;
SELECT is(public.queue_of(1), 'utilisation_review', 'one that lacks its authorization to utilisation review');
UPDATE referral.referral SET state = 'pending_authorization' WHERE referral_id = 1;
SELECT is(public.queue_of(1), 'authorization', 'while the payer decides, to authorization');
UPDATE referral.referral SET state = 'ready_to_schedule', authorization_number = 'A1' WHERE referral_id = 1;
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() WHERE referral_id = 1;
SELECT is(public.queue_of(1), 'scheduling', 'then to scheduling');
SELECT is((SELECT count(*) FROM referral.routing_decision WHERE rule = 'to_be_booked'), 2::bigint, 'one decision for as long as the same rule fits');
UPDATE referral.referral SET state = 'completed' WHERE referral_id = 1;
SELECT is(public.queue_of(1), 'closing_the_loop', 'and at last to those who send the report');
INSERT INTO referral.referral (org_id, referral_id, patient_id, urgency) VALUES (1, 2, 1, 'urgent');
SELECT is(public.queue_of(2), 'clinical_triage', 'an urgent one is looked at by clinicians first');
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, network_status) VALUES (1, 3, 1, 'orthopaedics', 'out_of_network');
UPDATE referral.referral SET state = 'validated' WHERE referral_id = 3;
SELECT is(public.queue_of(3), 'financial_clearance', 'one out of the network goes to financial clearance');
UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_patient' WHERE referral_id = 3;
SELECT is(public.queue_of(3), 'financial_clearance', 'where no rule fits, an item stays where it is');
SELECT is((public.last(3)).rule, 'out_of_network', 'and nothing is decided');
SELECT referral.open_exception(1, c, 'referral', 3, 3, 'x', NULL, 'medium') FROM unnest(enum_range(NULL::referral.exception_category)) c \g /dev/null
SELECT results_eq($$SELECT e.category::text, p.queue, d.reason, d.referral_id FROM public.place p JOIN referral.exception_item e ON e.exception_id = p.entity_id
      LEFT JOIN referral.routing_decision d ON d.routing_decision_id = p.routing_decision_id WHERE p.entity = 'exception_item' ORDER BY e.category$$,
    $$VALUES ('missing_document', 'missing_documents', 'rule', 3::bigint), ('payer_mismatch', 'financial_clearance', 'rule', 3), ('duplicate_record', 'data_quality', 'rule', 3),
             ('clinical_review', 'clinical_triage', 'rule', 3), ('low_confidence', 'review', 'rule', 3), ('eligibility', 'financial_clearance', 'rule', 3),
             ('capacity', 'scheduling', 'rule', 3), ('integration', 'data_quality', 'rule', 3), ('policy', 'exceptions', NULL, NULL)$$,
    'exceptions go to those whose work they are');
SELECT is_empty('SELECT * FROM referral.broken_rules()', 'the shipped rules compile');
SELECT is_empty('SELECT * FROM referral.unowned_referral', 'nothing is nowhere');

-- 3. Rules of our own: order, organisation, time

CREATE FUNCTION public.activate(rules jsonb) RETURNS bigint LANGUAGE plpgsql SET client_min_messages = error AS $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'routing/standard'
    RETURNING rule_version_id INTO v;
    INSERT INTO referral.routing_rule (rule_version_id, name, entity, priority, applies_when, queue, healthcare_service, assign, explanation, scope_org_id, valid_during)
    SELECT v, r.name, coalesce(r.entity, 'referral'), coalesce(r.priority, 100), r.applies_when, r.queue, r.healthcare_service, r.assign, r.explanation,
           r.scope_org_id, r.valid_during
    FROM jsonb_to_recordset(rules) r (name text, entity text, priority integer, applies_when text, queue text, healthcare_service text, assign text,
                                      explanation text, scope_org_id bigint, valid_during tstzrange);
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
    RETURN v;
END $$;
SELECT public.activate('[{"name": "later", "priority": 20, "applies_when": "specialty = ''cardiology''", "queue": "scheduling"},
    {"name": "first", "priority": 10, "applies_when": "specialty = ''cardiology'' AND urgency = ''urgent''", "queue": "clinical_triage", "explanation": "Hearts do not wait."},
    {"name": "of_two", "priority": 1, "applies_when": "specialty = ''cardiology''", "queue": "intake", "scope_org_id": 2},
    {"name": "last_year", "priority": 2, "queue": "review", "valid_during": "[2020-01-01,2021-01-01)"},
    {"name": "nowhere", "priority": 30, "applies_when": "specialty = ''lost''", "queue": "no_such_queue"},
    {"name": "off", "priority": 30, "applies_when": "specialty = ''off''", "queue": "review"},
    {"name": "broken", "priority": 3, "applies_when": "specialty IS NOT DISTINCT FROM ''split'' AND 1 / priority = 1", "queue": "review"},
    {"name": "north", "priority": 40, "applies_when": "region = ''north'' AND service_line = ''imaging''", "queue": "authorization"},
    {"name": "spanish", "priority": 50, "applies_when": "referral.patient_language(org_id, patient_id) = ''es''", "queue": "approvals"},
    {"name": "other_entity", "entity": "exception_item", "priority": 1, "queue": "exceptions"}]') AS ours \gset
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, urgency) VALUES (1, 10, 1, 'cardiology', 'urgent'), (1, 11, 1, 'cardiology', 'routine');
SELECT is((public.last(10)).rule, 'first', 'the first rule by priority wins');
SELECT is((public.last(10)).explanation, 'Hearts do not wait.', 'and says why');
SELECT is((public.last(10)).rule_version, :ours::bigint, 'of the version in force');
SELECT is((public.last(11)).rule, 'later', 'then the next that fits');
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (2, 12, 1, 'cardiology');
SELECT is((SELECT rule FROM referral.routing_decision WHERE org_id = 2), 'of_two', 'a rule may be one organisation''s own');
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (1, 13, 1, 'dermatology');
SELECT results_eq('SELECT reason, rule, queue, target_queue, explanation FROM public.decision WHERE org_id = 1 AND entity_id = 13',
    $$VALUES ('fallback', NULL, 'manual_triage', 'manual_triage', 'No routing rule fits.')$$, 'where none fits, manual triage');
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (1, 14, 1, 'lost');
SELECT results_eq('SELECT reason, rule, queue, target_queue FROM public.decision WHERE org_id = 1 AND entity_id = 14',
    $$VALUES ('rule', 'nowhere', 'manual_triage', 'no_such_queue')$$, 'and where the queue is not there');
UPDATE referral.queue SET active = false WHERE org_id = 1 AND name = 'review';
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (1, 15, 1, 'off');
SELECT is((SELECT queue FROM public.decision WHERE org_id = 1 AND entity_id = 15), 'manual_triage', 'or is switched off');
UPDATE referral.queue SET fallback_queue_id = (SELECT queue_id FROM referral.queue WHERE org_id = 1 AND name = 'intake') WHERE org_id = 1 AND name = 'review';
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (1, 16, 1, 'off');
SELECT is((SELECT queue FROM public.decision WHERE org_id = 1 AND entity_id = 16), 'intake', 'then what it falls back to');
SET client_min_messages = error;
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty) VALUES (1, 17, 1, 'split');
RESET client_min_messages;
SELECT is((public.last(17)).reason, 'fallback', 'a rule that fails does not fit, and stops nobody');
INSERT INTO referral.referral (org_id, referral_id, patient_id, region, service_line) VALUES (1, 18, 1, 'north', 'imaging');
SELECT is(public.queue_of(18), 'authorization', 'by region and service line');
INSERT INTO referral.referral (org_id, referral_id, patient_id) VALUES (1, 19, 2);
SELECT is(public.queue_of(19), 'approvals', 'by language');

-- 4. Who is there

SELECT is((SELECT count(*) FROM referral.queue q WHERE q.org_id = 1 AND q.active AND referral.effective_queue(1, q.queue_id) = q.queue_id), 13::bigint, 'a queue with somebody present takes its work');
INSERT INTO referral.absence (org_id, member, during) VALUES (1, 'routing_ann', tstzrange(now() - interval '1 hour', now() + interval '1 hour'));
SELECT is((SELECT array_agg(DISTINCT b.name) FROM referral.queue q JOIN referral.queue b ON b.org_id = 1 AND b.queue_id = referral.effective_queue(1, q.queue_id) WHERE q.org_id = 1),
    '{manual_triage}'::text[], 'when everybody is absent, manual triage does');
UPDATE referral.absence SET substitute = 'routing_bob';
SELECT is((SELECT name FROM referral.queue WHERE org_id = 1 AND queue_id = referral.effective_queue(1, referral.queue_named(1, 'intake'))), 'intake', 'a substitute is there');
INSERT INTO referral.absence (org_id, member, during) VALUES (1, 'routing_bob', tstzrange(now() - interval '1 hour', now() + interval '1 hour'));
SELECT is((SELECT name FROM referral.queue WHERE org_id = 1 AND queue_id = referral.effective_queue(1, referral.queue_named(1, 'intake'))), 'manual_triage', 'unless he is absent, too');
SELECT is((SELECT name FROM referral.queue WHERE org_id = 1 AND queue_id = referral.effective_queue(1, referral.queue_named(1, 'intake'), now() + interval '2 hours')), 'intake', 'later they are back');
SELECT is(referral.effective_queue(1, 999999), NULL, 'a queue that is not there takes nothing');
DELETE FROM referral.absence;

-- what a session has found out holds until something changes, or its time is over
CREATE FUNCTION public.taker(queue text) RETURNS text LANGUAGE sql AS
    $$SELECT q.name FROM referral.queue q WHERE q.org_id = 1 AND q.queue_id = referral.queue_for(1, taker.queue)$$;
SELECT is(public.taker('intake'), 'intake', 'a queue takes its work');
INSERT INTO referral.absence (org_id, member, during) VALUES (1, 'routing_ann', tstzrange(now(), now() + interval '1 hour'));
SELECT is(public.taker('intake'), 'manual_triage', 'not once its people are absent');
DELETE FROM referral.absence;
SELECT is(public.taker('intake'), 'intake', 'but when they are back');
BEGIN;
UPDATE referral.queue SET active = false WHERE org_id = 1 AND name = 'intake';
SELECT is(public.taker('intake'), 'manual_triage', 'not while it is switched off');
ROLLBACK;
SELECT is(public.taker('intake'), 'intake', 'but when that was rolled back');
UPDATE referral.organization_member SET actor_kind = 'ai' WHERE org_id = 1 AND login = 'routing_ann';
SELECT is(public.taker('intake'), 'manual_triage', 'not when its people turn out to be models');
UPDATE referral.organization_member SET actor_kind = 'user' WHERE org_id = 1 AND login = 'routing_ann';
SELECT is(public.taker('intake'), 'intake', 'but when they are people again');
SELECT is(public.taker(repeat('x', 70)), 'manual_triage', 'manual_triage takes what is meant for no queue');
SELECT is(public.code($$DELETE FROM referral.queue WHERE org_id = 1 AND name = 'intake'$$), 'RF017', 'a queue is not deleted');

-- 5. To whom: the fewest items, within capacity, in the patient's language

DELETE FROM referral.queue_member m USING referral.queue q WHERE q.org_id = m.org_id AND q.queue_id = m.queue_id AND q.name IN ('scheduling', 'intake');
SELECT public.join_queue('scheduling', 'carl', 2), public.join_queue('scheduling', 'dora', 3, '{en}'), public.join_queue('scheduling', 'eva', NULL, '{Es-es}'),
       public.join_queue('scheduling', 'routing_bot', NULL, '{en,es}') \g /dev/null
SELECT public.activate('[{"name": "team", "queue": "scheduling", "assign": "fewest_open"}]') \g /dev/null
INSERT INTO referral.referral (org_id, referral_id, patient_id) SELECT 1, n, NULL FROM generate_series(30, 35) n;
SELECT results_eq($$SELECT owner, count(*) FROM public.place WHERE entity_id BETWEEN 30 AND 35 GROUP BY 1 ORDER BY 1$$, $$VALUES ('carl', 2::bigint), ('dora', 2), ('eva', 2)$$,
    'work is spread evenly, and no model gets any');
SELECT is((public.last(30)).owner, 'carl', 'the decision says who');
SELECT results_eq('SELECT status::text, verb FROM public.place WHERE entity_id = 30', $$VALUES ('in-progress', 'assign')$$, 'who has it as if he had claimed it');
SELECT is((SELECT owner FROM referral.work_owner WHERE org_id = 1 AND referral_id = 30), 'carl', 'and answers for the referral');
INSERT INTO referral.referral (org_id, referral_id, patient_id) VALUES (1, 36, 2);
SELECT is((public.last(36)).owner, 'eva', 'who speaks the patient''s language comes first');
INSERT INTO referral.referral (org_id, referral_id, patient_id) VALUES (1, 37, 1);
SELECT is((public.last(37)).owner, 'dora', 'whatever region it is of');
INSERT INTO referral.referral (org_id, referral_id, patient_id) VALUES (1, 38, 1), (1, 39, NULL);
SELECT is((public.last(38)).owner, 'eva', 'who is full gets nothing: another language is better than nobody');
SELECT is((public.last(39)).owner, 'eva', 'who has no limit is never full');
INSERT INTO referral.absence (org_id, member, during) VALUES (1, 'eva', tstzrange(now(), NULL));
INSERT INTO referral.referral (org_id, referral_id, patient_id) VALUES (1, 40, 2);
SELECT results_eq('SELECT owner, status::text, queue FROM public.place WHERE entity_id = 40', $$VALUES (NULL, 'ready', 'scheduling')$$, 'when nobody has room, it waits in the queue');
SELECT is((public.last(40)).owner, NULL, 'as the decision says');
UPDATE referral.absence SET substitute = 'fred';
SELECT is((SELECT owner FROM referral.route(1, 40)), 'fred', 'a substitute gets what the absent one would have got');
SELECT is((SELECT owner FROM public.place WHERE entity_id = 40), 'fred', 'now he has it');
DELETE FROM referral.absence;

-- 6. Overriding

SELECT public.activate('[{"name": "hearts", "priority": 10, "applies_when": "specialty = ''cardiology''", "queue": "clinical_triage"},
    {"name": "rest", "priority": 20, "applies_when": "urgency = ''routine''", "queue": "intake"}]') \g /dev/null
SELECT public.join_queue('intake', 'routing_ann') \g /dev/null
INSERT INTO referral.referral (org_id, referral_id, patient_id) VALUES (1, 50, 1), (1, 51, 1), (1, 52, 1);
SELECT is(public.queue_of(50), 'intake', 'the rules send it to intake');
SET SESSION AUTHORIZATION routing_bob;
SELECT is(public.code($$SELECT referral.override_route(1, 50, 'authorization', 'by the way')$$), 'RF003', 'who does not work on the queue may not send it elsewhere');
SELECT is(public.code('SELECT referral.route(1, 50)'), 'RF003', 'nor have it routed anew');
SET SESSION AUTHORIZATION routing_bot;
SELECT is(public.code($$SELECT referral.override_route(1, 50, 'authorization', 'I think so')$$), 'RF003', 'a model may not');
SET SESSION AUTHORIZATION routing_feed;
SELECT is(public.code($$SELECT referral.override_route(1, 50, 'authorization', 'I think so')$$), '42501', 'nor a system');
SET SESSION AUTHORIZATION routing_ann;
SELECT is(public.code($$SELECT referral.override_route(1, 50, 'authorization', ' ')$$), 'RF005', 'a reason is required');
SELECT is(public.code($$SELECT referral.override_route(1, 50, 'nowhere', 'x')$$), 'RF019', 'and a queue');
SELECT is(public.code($$SELECT referral.override_route(1, 999, 'intake', 'x')$$), 'RF019', 'and a referral');
SELECT is(public.code($$SELECT referral.override_route(2, 12, 'intake', 'x')$$), 'RF019', 'of the own organisation');
SELECT referral.override_route(1, 50, 'authorization', 'the payer called') AS overriding \gset
RESET SESSION AUTHORIZATION;
SELECT is(public.queue_of(50), 'authorization', 'who works on the queue may');
SET SESSION AUTHORIZATION routing_bot;
SELECT is(public.code('SELECT referral.route(1, 50)'), 'RF003', 'a model does not have it routed anew');
SET SESSION AUTHORIZATION routing_ann;
SELECT is(public.code('SELECT referral.route(1, 50)'), 'RF003', 'nor does a member who leads neither queue');
SET referral.actor_kind = 'system';
SELECT is(public.code('SELECT referral.route(1, 50)'), 'RF003', 'nor one who calls himself a system');
RESET referral.actor_kind;
SET SESSION AUTHORIZATION routing_feed;
SELECT results_eq('SELECT queue, reason, routing_decision_id FROM referral.route(1, 50)', format('VALUES (''authorization'', ''person'', %s::bigint)', :overriding),
    'a system may, and gets what the person has decided');
RESET SESSION AUTHORIZATION;
SELECT is((public.last(50)).routing_decision_id, :overriding::bigint, 'nothing else is decided');
SELECT is(public.queue_of(50), 'authorization', 'and the item stays');
SELECT results_eq(format('SELECT reason, rule, decided_by, explanation, target_queue, queue FROM public.decision WHERE org_id = 1 AND routing_decision_id = %s', :overriding),
    $$VALUES ('person', 'rest', 'routing_ann', 'the payer called', 'authorization', 'authorization')$$, 'which is on record, with the rule that was put aside');
SELECT is((SELECT reason FROM referral.journal WHERE entity = 'work_item' AND entity_id = (SELECT work_item_id FROM public.place WHERE entity_id = 50 AND entity = 'referral') ORDER BY journal_id DESC LIMIT 1),
    'the payer called', 'and in the journal of the item');
UPDATE referral.referral SET urgency = 'urgent' WHERE referral_id = 50;
UPDATE referral.referral SET urgency = 'routine' WHERE referral_id = 50;
SELECT is(public.queue_of(50), 'authorization', 'the overridden rule does not take it back');
UPDATE referral.referral SET specialty = 'cardiology' WHERE referral_id = 50;
SELECT is(public.queue_of(50), 'clinical_triage', 'another rule does');
SELECT results_eq($$SELECT decisions, overridden, override_rate, fell_back FROM referral.routing_quality WHERE org_id = 1 AND rule = 'rest'$$, $$VALUES (3::bigint, 1::bigint, 0.333, 0::bigint)$$, 'it is counted');
SET SESSION AUTHORIZATION routing_ann;
SELECT referral.override_route(1, 50, 'authorization', 'the payer called again') \g /dev/null
RESET SESSION AUTHORIZATION;
INSERT INTO referral.queue_member (org_id, queue_id, member, is_lead)
SELECT 1, queue_id, 'routing_cy', true FROM referral.queue WHERE org_id = 1 AND name = 'clinical_triage';
SET SESSION AUTHORIZATION routing_cy;
SELECT results_eq('SELECT queue, reason FROM referral.route(1, 50)', $$VALUES ('clinical_triage', 'rule')$$, 'who leads the queue that it goes to has it routed by the rules again');
RESET SESSION AUTHORIZATION;
SELECT is(public.queue_of(50), 'clinical_triage', 'and there it is');
INSERT INTO referral.referral (org_id, referral_id, patient_id, urgency) VALUES (1, 53, 1, 'stat');
SELECT is(public.queue_of(53), 'manual_triage', 'one that no rule fits');
SELECT referral.override_route(1, 53, 'clinical_triage', 'I know better') AS overriding \gset
SET SESSION AUTHORIZATION routing_feed;
SELECT is((SELECT routing_decision_id FROM referral.route(1, 53)), :overriding::bigint, 'stays where a person has sent it, too');
RESET SESSION AUTHORIZATION;
SELECT referral.claim(1, work_item_id) FROM public.place WHERE false \g /dev/null
SET SESSION AUTHORIZATION routing_ann;
SELECT referral.claim(1, work_item_id) FROM public.place WHERE entity = 'referral' AND entity_id = 51 \g /dev/null
RESET SESSION AUTHORIZATION;
UPDATE referral.referral SET specialty = 'cardiology' WHERE referral_id = 51;
SELECT is((public.last(51)).target_queue, 'clinical_triage', 'rules decide about claimed work, too');
SELECT is((SELECT accountable FROM referral.work_owner WHERE org_id = 1 AND referral_id = 51), 'routing_ann', 'but who has it answers for it until somebody takes it over');
SELECT is(public.code('SELECT referral.route(1, 999)'), 'RF019', 'a referral that is not there cannot be routed');
UPDATE referral.referral SET state = 'cancelled', status_reason = 'patient_request' WHERE referral_id = 52;
SELECT is(public.code('SELECT referral.route(1, 52)'), 'RF001', 'nor one at its end');
SELECT is(public.code($$SELECT referral.override_route(1, 52, 'intake', 'x')$$), 'RF001', 'by a person either');
SELECT is(public.code('SELECT referral.decide_route(''referral'', 99, 1, NULL, NULL, false)'), 'RF019', 'nothing is decided for an organisation that is not there');
SELECT is(public.code('UPDATE referral.routing_decision SET rule = NULL'), 'RF007', 'what was decided stays');
SELECT is(public.code('DELETE FROM referral.routing_decision'), 'RF007', 'for good');

-- 7. Trying rules

CREATE TABLE public.decided AS SELECT count(*) AS n, (SELECT count(*) FROM referral.journal) AS changes FROM referral.routing_decision;
SET SESSION AUTHORIZATION routing_author;
SELECT results_eq($$SELECT chosen, rule, priority, queue, effective_queue FROM referral.test_routing('{"specialty": "cardiology"}', 1)$$,
    $$VALUES (true, 'hearts', 10, 'clinical_triage', 'clinical_triage'), (false, 'rest', 20, 'intake', 'intake')$$, 'authors see which rules fit a row that there is not, and which decides');
SELECT results_eq($$SELECT chosen, rule, queue, explanation FROM referral.test_routing('{"urgency": "stat"}', 1)$$,
    $$VALUES (true, NULL, 'manual_triage', 'No routing rule fits.')$$, 'or that none does');
SELECT is(public.code($$SELECT * FROM referral.test_routing('{"referral_id": 50}', 1)$$), 'RF019', 'they do not see referrals');
SELECT is(public.code($$SELECT * FROM referral.test_routing('{"specialty": "x"}', 2)$$), 'RF020', 'nor other organisations');
SELECT is(public.code($$SELECT * FROM referral.test_routing('{"speciality": "x"}', 1)$$), 'RF020', 'a column that there is not is told');
SELECT is(public.code($$SELECT * FROM referral.test_routing('[]', 1)$$), 'RF020', 'and what is not a row');
SELECT is(public.code($$SELECT referral.route(1, 50)$$), '42501', 'they route nothing');
SET SESSION AUTHORIZATION routing_ann;
SELECT results_eq($$SELECT rule FROM referral.test_routing('{"referral_id": 50, "specialty": "other"}', 1)$$, $$VALUES ('rest')$$, 'what would be if this referral were another one');
SELECT is((SELECT queue FROM referral.test_routing('{"category": "policy"}', 1, 'exception_item')), 'exceptions', 'of other entities, too');
SET SESSION AUTHORIZATION routing_other;
SELECT is((SELECT count(*) FROM referral.routing_decision WHERE org_id = 1), 0::bigint, 'other organisations see no decision');
SET SESSION AUTHORIZATION routing_analyst;
SELECT is(public.code('SELECT explanation FROM referral.routing_decision'), '42501', 'analysts not what people wrote');
SELECT isnt((SELECT sum(decisions) FROM referral.routing_quality), NULL, 'but how well it goes');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT count(*), (SELECT count(*) FROM referral.journal) FROM referral.routing_decision', 'SELECT n, changes FROM public.decided', 'trying writes nothing');

-- 8. Rules that cannot be

INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'routing/standard' RETURNING rule_version_id AS draft \gset
SELECT is(public.code(format($$INSERT INTO referral.routing_rule (rule_version_id, name, applies_when, queue) VALUES (%s, 'x', 'speciality = ''x''', 'intake')$$, :draft)), 'RF011', 'a column that there is not');
SELECT is(public.code(format($$INSERT INTO referral.routing_rule (rule_version_id, name, entity, queue) VALUES (%s, 'x', 'nothing', 'intake')$$, :draft)), 'RF011', 'an entity that there is not');
SELECT is(public.code(format($$INSERT INTO referral.routing_rule (rule_version_id, name, queue, assign) VALUES (%s, 'x', 'intake', 'anybody')$$, :draft)), '23514', 'another way to assign');

-- 9. What rules may ask

SELECT results_eq('SELECT referral.language_tag(x) FROM unnest(ARRAY[''es-MX'', '' ES_es '', ''de'', '''', NULL]) x', $$VALUES ('es'), ('es'), ('de'), (NULL), (NULL)$$, 'a language without its region');
SELECT results_eq('SELECT referral.patient_language(1, 2), referral.patient_postal_code(1, 2), referral.patient_language(1, NULL), referral.patient_language(1, 99)',
    $$VALUES ('es', '20002', NULL, NULL)$$, 'language and postal code of the patient');
INSERT INTO referral.payer (org_id, payer_id, identifier, name) VALUES (1, 1, '60054', 'Payer');
SELECT is(referral.payer_identifier(1, 1), '60054', 'the number of the payer');
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, payer_id) VALUES (1, 60, 1, 'cardiology', 1);
SELECT is(referral.complexity(1, 60), 0, 'a plain referral');
UPDATE referral.referral SET urgency = 'stat', network_status = 'out_of_network', authorization_required = true WHERE referral_id = 60;
SELECT is(referral.complexity(1, 60), 3, 'a point for each thing in its way');
SELECT referral.open_exception(1, 'policy', 'referral', 60, 60, 'x', NULL, 'low'), referral.open_exception(1, 'policy', 'referral', 60, 60, 'y', NULL, 'low') \g /dev/null
INSERT INTO referral.referral_code (org_id, referral_id, kind, sequence, system, code) SELECT 1, 60, 'diagnosis', n, 'x', 'C' || n FROM generate_series(1, 4) n;
INSERT INTO referral.coverage (org_id, patient_id, priority) VALUES (1, 1, 1), (1, 1, 2);
SELECT is(referral.complexity(1, 60), 7, 'exceptions, codes and coverages');
SELECT is(referral.complexity(1, 999), NULL, 'no referral, no complexity');

-- 10. Services that it could go to

SELECT is(referral.distance_km(40.7128, -74.0060, 51.5074, -0.1278), 5570.2, 'from New York to London');
SELECT is(referral.distance_km(10, 20, 10, 20), 0.0, 'from here to here');
SELECT is(referral.distance_km(0, 0, 0, 180), round(pi()::numeric * 6371, 1), 'half around the world');
INSERT INTO referral.site (org_id, site_id, name, region, timezone, latitude, longitude) VALUES
    (1, 1, 'Home', 'north', 'UTC', 41, -73), (1, 2, 'Near', 'north', 'America/New_York', 41.1, -73), (1, 3, 'Far', 'south', 'UTC', 45, -73), (1, 4, 'Unknown', NULL, 'UTC', NULL, NULL);
INSERT INTO referral.provider_organization (org_id, provider_organization_id, name) VALUES (1, 1, 'In'), (1, 2, 'Out');
INSERT INTO referral.network_contract (org_id, payer_id, provider_organization_id) VALUES (1, 1, 1);
INSERT INTO referral.healthcare_service (org_id, healthcare_service_id, name, provider_organization_id, site_id, specialty, service_line, weekly_capacity, accepts_new, active) VALUES
    (1, 1, 'Near, full', 1, 2, 'Cardiology', NULL, NULL, true, true), (1, 2, 'Far, free', 1, 3, 'cardiology', NULL, NULL, true, true),
    (1, 3, 'Out', 2, 2, 'cardiology', NULL, NULL, true, true), (1, 4, 'By the week', 1, 4, 'cardiology', NULL, 2, true, true),
    (1, 5, 'Unknown', 1, NULL, 'cardiology', NULL, NULL, true, true), (1, 6, 'Closed', 1, 2, 'cardiology', NULL, NULL, false, true),
    (1, 7, 'Gone', 1, 2, 'cardiology', NULL, NULL, true, false), (1, 8, 'Skin', 1, 2, 'dermatology', NULL, NULL, true, true);
CREATE FUNCTION public.day(n integer) RETURNS date LANGUAGE sql AS $$SELECT (now() AT TIME ZONE 'UTC')::date + n$$;
INSERT INTO referral.service_capacity (org_id, healthcare_service_id, day, slots) VALUES
    (1, 1, public.day(2), 1), (1, 2, public.day(3), 2), (1, 2, public.day(5), 1), (1, 2, public.day(200), 9), (1, 3, public.day(1), 5);
INSERT INTO referral.appointment (org_id, healthcare_service_id, patient_id, step, starts_at)
SELECT 1, s, 1, st, t FROM (VALUES
    -- at 23:00 of that day in New York
    (1, 'booked', (public.day(2) + time '23:00') AT TIME ZONE 'America/New_York'), (2, 'booked', (public.day(3) + time '10:00') AT TIME ZONE 'UTC'),
    (4, 'booked', now() + interval '1 day'), (4, 'booked', now() + interval '2 days')) v (s, st, t);
INSERT INTO referral.appointment (org_id, healthcare_service_id, patient_id, step, starts_at) VALUES (1, 2, 1, 'proposed', (public.day(3) + time '11:00') AT TIME ZONE 'UTC');
SELECT results_eq($$SELECT service, day - public.day(0), slots, booked, free FROM referral.service_availability WHERE day < public.day(100) ORDER BY 1, 2$$,
    $$VALUES ('Far, free', 3, 2, 1, 1), ('Far, free', 5, 1, 0, 1), ('Near, full', 2, 1, 1, 0), ('Out', 1, 5, 0, 5)$$,
    'what is free on each day, in the time zone of the site; what is only proposed is not booked');
UPDATE referral.referral SET site_id = 1 WHERE referral_id = 60;
SET SESSION AUTHORIZATION routing_ann;
SELECT results_eq($$SELECT service, network::text, free_slots, wait_days, distance_km, same_region FROM referral.candidate_services(1, 60, 10)$$,
    $$VALUES ('Far, free', 'in_network', 2, 3, 444.8, false), ('By the week', 'in_network', 24, 7, NULL::numeric, NULL::boolean), ('Near, full', 'in_network', 0, NULL::integer, 11.1, true),
             ('Unknown', 'in_network', NULL, NULL, NULL, NULL), ('Out', 'out_of_network', 5, 1, 11.1, true)$$,
    'in the network before out of it, the earliest first; none that is closed, gone or of another specialty');
SELECT is((SELECT why FROM referral.candidate_services(1, 60, 1)),
    format('in the network of the payer; first free on %s (a slot), 2 free within 90 days; 444.8 km away', public.day(3)), 'and why');
SELECT is((SELECT why FROM referral.candidate_services(1, 60, 10) WHERE service = 'Unknown'), 'in the network of the payer; capacity not known; distance not known', 'what is not known is said');
SELECT is((SELECT why FROM referral.candidate_services(1, 60, 10) WHERE service = 'Near, full'), 'in the network of the payer; nothing free within 90 days; 11.1 km away; in the same region', 'and what is full');
SELECT is((SELECT count(*) FROM referral.candidate_services(1, 60, 2)), 2::bigint, 'not more than asked for');
SELECT is(public.code('SELECT * FROM referral.candidate_services(1, 60, -5)'), 'RF020', 'not fewer than none');
SELECT is(public.code('SELECT * FROM referral.candidate_services(1, 999)'), 'RF019', 'of a referral that is there');
RESET SESSION AUTHORIZATION;
SELECT public.activate('[{"name": "skin", "queue": "intake", "healthcare_service": "Unknown"}]') \g /dev/null
SELECT referral.route(1, 60) \g /dev/null
SELECT is((SELECT service FROM referral.candidate_services(1, 60, 1)), 'Unknown', 'a service that the routing rule names comes first');
UPDATE referral.referral SET healthcare_service_id = 8 WHERE referral_id = 60;
SELECT results_eq('SELECT service, why FROM referral.candidate_services(1, 60, 1)', $$VALUES ('Skin', 'the referral asks for it; in the network of the payer; capacity not known; 11.1 km away; in the same region')$$,
    'and before that the one that the referral asks for');

SELECT is(public.code($$SELECT * FROM referral.test_routing('{"urgency": "sofort"}', 1)$$), 'RF020', 'a value that is none of its column''s is refused');
SELECT is(public.code($$INSERT INTO referral.absence (org_id, member, during, substitute) VALUES (1, 'routing_eve', tstzrange(now(), NULL), 'routing_eve')$$), 'RF020',
          'nobody stands in for himself');
SELECT * FROM finish();
