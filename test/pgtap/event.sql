-- Events: what a change looks like to others, who gets it, in which order, and what happens when nobody can use it.
SELECT plan(238);
-- work items follow referrals and would be among what is counted here; see worklist
ALTER TABLE referral.referral DISABLE TRIGGER work;
ALTER TABLE referral.exception_item DISABLE TRIGGER work;
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';

CREATE ROLE event_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE event_feed LOGIN IN ROLE referral_integration;
CREATE ROLE event_admin LOGIN IN ROLE referral_admin;
CREATE ROLE event_auditor LOGIN IN ROLE referral_auditor;
CREATE ROLE event_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE event_other LOGIN IN ROLE referral_integration;
INSERT INTO referral.organization_member (org_id, login) VALUES
    (1, 'event_jane'), (1, 'event_feed'), (1, 'event_admin'), (1, 'event_auditor'), (1, 'event_author');

-- Nothing but what the tests do: no clocks.
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'sla/standard';

-- Waits until what was committed is below the horizon: other tests' transactions in the cluster hold it back.
CREATE FUNCTION public.settle() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WHILE EXISTS (SELECT FROM referral.journal j, referral.journal_horizon(j.org_id) h
                  WHERE (j.xid_epoch, j.xid) >= (h.xid_epoch, h.xid)) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;

-- What events() hands out, in short; the position of the last one goes to the setting event.position.
CREATE FUNCTION public.take(consumer text, max integer DEFAULT 100, lease interval DEFAULT '5 minutes') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    e record;
    list text;
BEGIN
    FOR e IN SELECT * FROM referral.events(consumer, max, lease) LOOP
        list := concat_ws(' ', list, format('%s:%s', e.subject, coalesce(e.data ->> 'version', '-'))
                                      || CASE WHEN e.attempt > 1 THEN '*' || e.attempt ELSE '' END);
        PERFORM set_config('event.position', e.position, false);
        PERFORM set_config('event.id_' || replace(e.subject, '/', '_') || '_' || (e.data ->> 'version'), e.id::text, false);
    END LOOP;
    RETURN list;
END $$;
CREATE FUNCTION public.ack_last(consumer text) RETURNS bigint LANGUAGE sql AS
$$ SELECT referral.ack(consumer, current_setting('event.position')) $$;
CREATE FUNCTION public.nack_wait(consumer text, event uuid, error text) RETURNS double precision LANGUAGE plpgsql AS $$
BEGIN
    RETURN extract(epoch FROM referral.nack(consumer, event, error) - clock_timestamp());
END $$;
CREATE FUNCTION public.event_named(name text) RETURNS uuid LANGUAGE sql AS
$$ SELECT current_setting('event.id_' || name)::uuid $$;
CREATE FUNCTION public.deliveries(consumer text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s/%s:%s', d.entity, d.entity_id, d.status), ' ' ORDER BY d.xid_epoch, d.xid, d.journal_id)
    FROM referral.delivery d WHERE d.consumer = deliveries.consumer
$$;

-- 1. Ids

SELECT is(referral.event_id(1, 1), '00000000-0000-8001-8000-000000000001'::uuid, 'an id is a UUID of version 8');
SELECT is(array[referral.event_org(referral.event_id(o, j)), referral.event_journal_id(referral.event_id(o, j))], array[o, j],
          format('organisation %s, journal row %s and back', o, j))
FROM (VALUES (0::bigint, 0::bigint), (1, 1), (4095, 4611686018427387903), (4096, 2), (1152921504606846975, 4611686018427387903),
             (1152921504606846975, 1), (123456789012345678, 987654321098765432)) v (o, j);
SELECT is(count(*), 1000::bigint, 'both survive for any numbers')
FROM (SELECT (random() * 1152921504606840000)::bigint AS o, (random() * 4611686018427380000)::bigint AS j FROM generate_series(1, 1000)) v
WHERE referral.event_org(referral.event_id(o, j)) = o AND referral.event_journal_id(referral.event_id(o, j)) = j
  AND substr(referral.event_id(o, j)::text, 15, 1) = '8' AND substr(referral.event_id(o, j)::text, 20, 1) IN ('8', '9', 'a', 'b');
SELECT is(referral.event_id(o, j), NULL, format('no id for %s, %s', coalesce(o::text, 'null'), coalesce(j::text, 'null')))
FROM (VALUES (NULL::bigint, 1::bigint), (1, NULL), (-1, 1), (1, -1), (1152921504606846976, 1), (1, 4611686018427387904)) v (o, j);
SELECT is(array[referral.event_org(u), referral.event_journal_id(u)], array[NULL, NULL]::bigint[],
          format('%s is no event''s', coalesce(u::text, 'null')))
FROM unnest('{936da01f-9abd-4d9d-80c7-02af85c822a8,00000000-0000-0000-0000-000000000000,00000000-0000-8001-4000-000000000001,NULL}'::uuid[]) u;

-- 2. What an event looks like

SELECT public.settle() \g /dev/null
SELECT referral.create_consumer('early', start => '-infinity') \g /dev/null
SELECT referral.create_consumer('now', 'entity <> ''consumer''') \g /dev/null
SELECT public.settle() \g /dev/null
SELECT is(public.take('now', 1000), NULL, 'a new consumer gets nothing of the past');
SELECT is(public.code($$SELECT referral.create_consumer('now')$$), '23505', 'a name is taken once');

SET referral.reason = 'SECRETMARKER in the reason';
INSERT INTO referral.patient (patient_id, family, given, phone) VALUES (100, 'SECRETMARKER', 'SECRETMARKER', 'SECRETMARKER');
RESET referral.reason;
SET referral.correlation_id = 'case 7';
SET referral.origin = 'ehr';
INSERT INTO referral.referral (referral_id, patient_id, reason_text, authorization_required, expires_on)
VALUES (100, 100, 'SECRETMARKER', true, '2999-01-01');
RESET referral.correlation_id;
RESET referral.origin;
UPDATE referral.referral SET state = 'validated', specialty = 'cardiology' WHERE referral_id = 100;
UPDATE referral.referral SET state = 'pending_authorization' WHERE referral_id = 100;
UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_payer' WHERE referral_id = 100;
UPDATE referral.referral SET state = 'pending_authorization' WHERE referral_id = 100;
UPDATE referral.referral SET state = 'ready_to_schedule', authorization_number = 'SECRETMARKER' WHERE referral_id = 100;
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() - interval '1 hour' WHERE referral_id = 100;
UPDATE referral.referral SET region = 'SECRETMARKER' WHERE referral_id = 100;
BEGIN;
SET LOCAL referral.transition = 'reschedule';
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() - interval '2 hours' WHERE referral_id = 100;
COMMIT;
UPDATE referral.referral SET state = 'no_show' WHERE referral_id = 100;
UPDATE referral.referral SET state = 'scheduled', scheduled_for = now() - interval '1 minute' WHERE referral_id = 100;
UPDATE referral.referral SET state = 'completed' WHERE referral_id = 100;
SELECT is((SELECT array_agg(substr(e.type, 14) ORDER BY e.journal_id) FROM referral.event e WHERE e.subject = 'referral/100'),
          '{referral.received,documentation.complete,authorization.pending,referral.hold,referral.resume,scheduling.released,appointment.booked,referral.update,referral.reschedule,referral.miss_appointment,appointment.booked,referral.complete}'::text[],
          'the standard workflow''s events: canonical ones when a state is entered, not when it is resumed or kept');
SELECT is((SELECT string_agg(DISTINCT left(e.type, 13), ' ') FROM referral.event e), 'org.referral.', 'types are names of a domain turned round');

SELECT is((SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'referral.event'::regclass AND attnum > 0),
          '{id,source,specversion,type,subject,time,datacontenttype,dataschema,data,org_id,journal_id,xid_epoch,xid}'::text[],
          'the view event has the attributes of CloudEvents 1.0');
SELECT results_eq($$SELECT e.id = referral.event_id(1, e.journal_id), e.source, e.specversion, e.type, e.subject, e.time = j.occurred_at,
                           e.datacontenttype, e.dataschema
                    FROM referral.event e JOIN referral.journal j USING (org_id, journal_id)
                    WHERE e.subject = 'referral/100' AND j.version = 1$$,
                  $$VALUES (true, '/organization/1', '1.0', 'org.referral.referral.received', 'referral/100', true,
                            'application/json', 'urn:org.referral:event:referral.received:1')$$, 'and their values');
SELECT is((SELECT e.dataschema FROM referral.event e WHERE e.subject = 'patient/100'), NULL, 'a type without a schema names none');
SELECT is((SELECT e.data - 'recorded_at' FROM referral.event e WHERE e.subject = 'referral/100' AND e.data ->> 'version' = '1'),
          jsonb_build_object('entity', 'referral', 'entity_id', 100, 'version', 1, 'action', 'insert', 'transition', NULL,
              'from_step', NULL, 'to_step', 'received', 'from_state', NULL, 'to_state', 'received', 'actor', 'postgres',
              'actor_kind', 'user', 'origin', 'ehr', 'correlation_id', 'case 7',
              'rule_version', (SELECT rule_version FROM referral.journal WHERE entity = 'referral' AND version = 1),
              'changed', '["authorization_required", "expires_on", "intent", "network_status", "patient_id", "priority", "reason_text", "received_at", "urgency", "workflow_id"]'::jsonb),
          'data tells the change, and names the columns in order');
SELECT is((SELECT (e.data ->> 'recorded_at')::timestamptz = j.recorded_at AND e.data ->> 'recorded_at' ~ '\+00:00$'
           FROM referral.event e JOIN referral.journal j USING (org_id, journal_id) WHERE e.subject = 'patient/100'), true,
          'recorded_at is exact, and in UTC');
SET timezone = 'Asia/Kathmandu';
SELECT is((SELECT e.data ->> 'recorded_at' ~ '\+00:00$' FROM referral.event e WHERE e.subject = 'patient/100'), true,
          'whatever the session''s time zone is');
RESET timezone;
SELECT is((SELECT e.data -> 'changed' FROM referral.event e WHERE e.subject = 'referral/100' AND e.data ->> 'version' = '3'),
          '[]'::jsonb, 'a move that changes nothing else changes no column');
SELECT cmp_ok((SELECT count(*) FROM referral.journal j WHERE j::text LIKE '%SECRETMARKER%'), '>=', 4::bigint,
              'the journal holds what patients said');
SELECT is((SELECT count(*) FROM referral.event e WHERE e::text LIKE '%SECRETMARKER%'), 0::bigint, 'events do not');
SELECT is((SELECT count(*) FROM referral.outbox o WHERE o::text LIKE '%SECRETMARKER%'), 0::bigint, 'nor does the outbox');
SELECT is((SELECT count(*) FROM referral.event e, jsonb_object_keys((SELECT t.schema -> 'properties' FROM referral.event_type t
                                                                    WHERE t.name = 'referral.received')) k
           WHERE k <> 'changes' AND NOT e.data ? k), 0::bigint, 'data has every property of the schema');
SELECT is((SELECT count(*) FROM referral.event e, jsonb_object_keys(e.data) k
           WHERE NOT (SELECT t.schema -> 'properties' FROM referral.event_type t WHERE t.name = 'referral.received') ? k), 0::bigint,
          'and no other');

SELECT is((SELECT array_agg(attname::text || ' ' || format_type(atttypid, -1) ORDER BY attnum) FROM pg_attribute
           WHERE attrelid = 'referral.outbox'::regclass AND attnum BETWEEN 1 AND 5),
          '{"id uuid","aggregatetype text","aggregateid text","type text","payload jsonb"}'::text[], 'the outbox has the columns that Debezium expects');
SELECT results_eq($$SELECT o.id, o.aggregatetype, o.aggregateid, o.type, o.payload, o."timestamp" FROM referral.outbox o WHERE o.aggregateid = '100'$$,
                  $$SELECT e.id, e.data ->> 'entity', e.data ->> 'entity_id', e.type, e.data, e.time FROM referral.event e
                    WHERE e.data ->> 'entity_id' = '100'$$, 'and tells the same events');

-- 3. Event types

SELECT is((SELECT array_agg(name ORDER BY name COLLATE "C") FROM referral.event_type),
          '{appointment.booked,approval.granted,approval.refused,approval.requested,authorization.pending,checkpoint.sealed,claim.submitted,clock.extended,clock.nullified,clock.paused,clock.resumed,denial.issued,documentation.complete,escalation.triggered,exception.detected,patient.checked_in,patient.merged,patient.unmerged,payer_response.received,payment.posted,referral.received,request.created,scheduling.released}'::text[],
          'the canonical events');
SELECT is(public.code($$INSERT INTO referral.event_type (name, entity, applies_when, title) VALUES ('x.y', 'patient', 'nonsense = 1', 'x')$$),
          'RF011', 'a condition that does not compile is refused');
SELECT is(public.code($$UPDATE referral.event_type SET applies_when = '(SELECT true)' WHERE name = 'claim.submitted'$$), 'RF011', 'also later');
SELECT is(public.code($$INSERT INTO referral.event_type (name, entity, title) VALUES ('Bad Name', 'patient', 'x')$$), '23514', 'names are simple');
SET SESSION AUTHORIZATION event_admin;
INSERT INTO referral.event_type (name, entity, applies_when, priority, title) VALUES
    ('patient.moved', 'patient', 'changes ? ''city''', 50, 'A patient moved'),
    ('patient.changed', 'patient', NULL, 60, 'Anything else'),
    ('patient.any', 'patient', NULL, 60, 'After patient.changed? No: before it, by name');
RESET SESSION AUTHORIZATION;
UPDATE referral.patient SET city = 'Oslo' WHERE patient_id = 100;
UPDATE referral.patient SET phone = '1' WHERE patient_id = 100;
CREATE FUNCTION public.patient_types() RETURNS text[] LANGUAGE sql AS
$$ SELECT array_agg(substr(e.type, 14) || coalesce(substring(e.dataschema, ':[0-9]+$'), '') ORDER BY e.journal_id)
   FROM referral.event e WHERE e.subject = 'patient/100' $$;
SELECT is(public.patient_types(), '{patient.any:1,patient.moved:1,patient.any:1}'::text[], 'the first by priority, then name, whose condition holds');
INSERT INTO referral.event_type (name, version_number, entity, applies_when, priority, title)
VALUES ('patient.any', 2, 'patient', 'action = ''insert''', 10, 'Narrower now');
SELECT is(public.patient_types(), '{patient.any:2,patient.moved:1,patient.changed:1}'::text[], 'only the newest version of a name counts');
INSERT INTO referral.event_type (name, version_number, entity, title) VALUES ('patient.any', 3, 'claim', 'Elsewhere');
SELECT is(public.patient_types(), '{patient.changed:1,patient.moved:1,patient.changed:1}'::text[], 'also when that is of another entity');
DELETE FROM referral.event_type WHERE name LIKE 'patient.%' AND name <> 'patient.checked_in';
SELECT is(public.patient_types(), '{patient.insert,patient.update,patient.update}'::text[], 'without a type, entity and action are the name');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'event_type' AND org_id = 0 AND changes #>> '{name,1}' LIKE 'patient.any%'), 3::bigint,
          'event types are journaled');

-- 4. A consumer's stream

SELECT public.settle() \g /dev/null
SELECT is(public.take('now', 3), 'patient/100:1 referral/100:1 referral/100:2', 'events come in the order of the journal, at most max');
SELECT is((SELECT count(*)::int FROM referral.delivery WHERE consumer = 'now' AND status = 'leased'), 3, 'they are handed out');
BEGIN;
SELECT is(public.take('now'), NULL, 'a second worker gets no later event of those rows');
SELECT is((SELECT count(*)::int FROM referral.delivery WHERE consumer = 'now' AND status = 'held'), 12, 'they are held back');
ROLLBACK;
BEGIN;
SELECT public.take('now') \g /dev/null
ROLLBACK;
SELECT is((SELECT count(*)::int FROM referral.delivery WHERE consumer = 'now'), 3, 'a rollback undoes all that');
SELECT is(public.ack_last('now'), 3::bigint, 'all three are acknowledged with the last position');
SELECT is(public.ack_last('now'), 0::bigint, 'only once');
SELECT is(public.take('now', 4), 'referral/100:3 referral/100:4 referral/100:5 referral/100:6', 'the next ones follow');
SELECT set_config('event.second', d.lease || '-' || d.journal_id, false)
FROM referral.delivery d WHERE d.consumer = 'now' ORDER BY d.journal_id OFFSET 1 LIMIT 1 \g /dev/null
SELECT is(referral.ack('now', current_setting('event.second')), 2::bigint, 'a position acknowledges what came before it too, not what came after');
SELECT is(public.deliveries('now'), 'referral/100:leased referral/100:leased', 'the rest is still handed out');
SELECT is(public.ack_last('now'), 2::bigint, 'and can be acknowledged later');
SELECT is(public.take('now', 1000), 'referral/100:7 referral/100:8 referral/100:9 referral/100:10 referral/100:11 referral/100:12 patient/100:2 patient/100:3',
          'the rest comes, and no more');
SELECT is(public.ack_last('now'), 8::bigint, 'and is acknowledged');
SELECT is(public.take('now'), NULL, 'then there is nothing');
SELECT is(public.deliveries('now'), NULL, 'and nothing is kept');
SELECT is((SELECT (leased, held, retry, dead, oldest_unfinished, oldest_unread)::text FROM referral.consumer_status WHERE consumer = 'now'),
          '(0,0,0,0,,)', 'the status says so');
SELECT matches((SELECT oldest_unread::text FROM referral.consumer_status WHERE consumer = 'early'), '.', 'another consumer is behind');
BEGIN;
INSERT INTO referral.patient (family) VALUES ('x');
SELECT is(public.take('now'), NULL, 'a transaction does not get its own changes');
ROLLBACK;

-- where to start
BEGIN;
SELECT referral.create_consumer('all', start => '-infinity'), referral.create_consumer('from', start => min(j.recorded_at))
FROM referral.journal j WHERE j.entity = 'referral' AND j.version = 3 \g /dev/null
SELECT referral.create_consumer('future', start => 'infinity'), referral.create_consumer('null', NULL, NULL, NULL, NULL) \g /dev/null
SELECT is(public.take('all', 10000), (SELECT string_agg(e.subject || ':' || coalesce(e.data ->> 'version', '-'), ' ' ORDER BY e.xid_epoch, e.xid, e.journal_id)
                                      FROM referral.event e JOIN referral.journal_horizon(1) h ON (e.xid_epoch, e.xid) < (h.xid_epoch, h.xid)
                                      WHERE e.org_id = 1), 'from -infinity on: all there is of the organisation');
SELECT matches(public.take('from', 3), '^referral/100:3 referral/100:4 referral/100:5', 'from a time on: that event first');
SELECT is(public.take('future'), NULL, 'from a time to come on: nothing yet');
SELECT is(public.take('null'), NULL, 'null starts now');
SELECT is((SELECT (include_values, max_attempts)::text FROM referral.consumer WHERE consumer = 'null'), '(f,10)', 'and takes the defaults');
ROLLBACK;

-- 5. Filter

SELECT is(public.code($$SELECT referral.create_consumer('bad', 'nonsense = 1')$$), 'RF011', 'a filter that does not compile is refused');
SELECT is(public.code($$SELECT referral.create_consumer('bad', 'entity')$$), 'RF011', 'and one that is not boolean');
SELECT is(public.code($$UPDATE referral.consumer SET filter = 'random() > 0' WHERE consumer = 'now'$$), 'RF011', 'also later');
SELECT referral.create_consumer('booked', $$entity = 'referral' AND to_state = 'scheduled' AND from_state <> 'scheduled'$$, '-infinity') \g /dev/null
SELECT is(public.take('booked', 1), 'referral/100:7', 'a filter leaves out the rest');
SELECT is(public.ack_last('booked'), 1::bigint, 'it is acknowledged');
SELECT is(public.take('booked'), 'referral/100:11', 'the search goes on from there');
SELECT is(public.ack_last('booked'), 1::bigint, 'to the horizon');
SELECT is(public.take('booked'), NULL, 'nothing else matches');
UPDATE referral.patient SET phone = '1.1' WHERE patient_id = 100;
SELECT public.settle() \g /dev/null
SELECT isnt((SELECT oldest_unread FROM referral.consumer_status WHERE consumer = 'booked'), NULL, 'a change that does not match is unread');
SELECT is(public.take('booked'), NULL, 'and is not handed out');
SELECT is((SELECT oldest_unread FROM referral.consumer_status WHERE consumer = 'booked'), NULL, 'what the filter left out counts as read');
UPDATE referral.consumer SET filter = 'entity = ''patient''' WHERE consumer = 'booked';
UPDATE referral.patient SET phone = '2' WHERE patient_id = 100;
UPDATE referral.referral SET region = 'x' WHERE referral_id = 100;
SELECT public.settle() \g /dev/null
SELECT is(public.take('booked'), 'patient/100:5', 'a new filter counts from then on');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'consumer' AND changes ? 'filter' AND action = 'update'), 1::bigint,
          'a change of settings is journaled');

-- 6. Order: one bad event holds back its row, and nothing else

SELECT public.take('now', 1000), public.ack_last('now') \g /dev/null
INSERT INTO referral.patient (patient_id, family) VALUES (1, 'SECRETMARKER'), (2, 'b'), (3, 'c');
UPDATE referral.patient SET phone = 'SECRETMARKER' WHERE patient_id = 1;
UPDATE referral.patient SET phone = 'SECRETMARKER' WHERE patient_id = 2;
SELECT public.settle() \g /dev/null
SELECT is(public.take('now'), 'patient/1:1 patient/2:1 patient/3:1 patient/1:2 patient/2:2', 'five events of three rows');
SELECT is(wait > 7 AND wait < 13, true, 'a refused event is tried again in ten seconds, give or take')
FROM (SELECT public.nack_wait('now', public.event_named('patient_1_1'), 'boom') AS wait OFFSET 0) w;
SELECT is(public.deliveries('now'), 'patient/1:retry patient/2:leased patient/3:leased patient/1:held patient/2:leased',
          'later ones of its row wait, those of others do not');
SELECT is(public.code($$SELECT referral.nack('now', public.event_named('patient_1_1'), 'x')$$), 'RF019', 'it cannot be refused twice');
SELECT is(public.ack_last('now'), 3::bigint, 'the others are acknowledged, even with a position behind it');
UPDATE referral.patient SET phone = '4' WHERE patient_id = 1;
UPDATE referral.patient SET phone = '4' WHERE patient_id = 2;
SELECT public.settle() \g /dev/null
SELECT is(public.take('now'), 'patient/2:3', 'new events of the row are held back too');
SELECT is(public.ack_last('now'), 1::bigint, 'the others are not');
SELECT is(public.take('now'), NULL, 'nothing until its time has come');
UPDATE referral.delivery SET due_at = clock_timestamp() WHERE consumer = 'now' AND status = 'retry';
SELECT is(public.take('now', 2), 'patient/1:1*2 patient/1:2', 'then it comes again, and what it held back with it, at most max');
SELECT is(public.ack_last('now'), 2::bigint, 'they are acknowledged');
SELECT is(public.take('now'), 'patient/1:3', 'and free the next one');
SELECT is(public.ack_last('now'), 1::bigint, 'which is the last');
SELECT is(public.deliveries('now'), NULL, 'nothing is left');

-- a refused event in the middle of its row
UPDATE referral.patient SET phone = '5' WHERE patient_id = 1;
UPDATE referral.patient SET phone = '6' WHERE patient_id = 1;
UPDATE referral.patient SET phone = '7' WHERE patient_id = 1;
SELECT public.settle() \g /dev/null
SELECT is(public.take('now'), 'patient/1:4 patient/1:5 patient/1:6', 'three events of one row');
SELECT referral.nack('now', public.event_named('patient_1_5'), NULL) \g /dev/null
SELECT is(public.deliveries('now'), 'patient/1:leased patient/1:retry patient/1:held', 'what came before stays handed out');
UPDATE referral.delivery SET due_at = clock_timestamp() WHERE consumer = 'now' AND status = 'retry';
SELECT is(public.ack_last('now'), 1::bigint, 'and is acknowledged');
SELECT is(public.take('now'), 'patient/1:5*2 patient/1:6', 'the rest comes again in order');
SELECT public.ack_last('now') \g /dev/null

-- several of one row are refused, the last one first; none overtakes another when its time comes
UPDATE referral.patient SET phone = '71' WHERE patient_id = 1;
UPDATE referral.patient SET phone = '72' WHERE patient_id = 1;
UPDATE referral.patient SET phone = '73' WHERE patient_id = 1;
SELECT public.settle() \g /dev/null
SELECT is(public.take('now'), 'patient/1:7 patient/1:8 patient/1:9', 'three more');
SELECT referral.nack('now', public.event_named('patient_1_8'), 'x') \g /dev/null
UPDATE referral.delivery SET due_at = clock_timestamp() WHERE consumer = 'now' AND status = 'retry';
SELECT is(public.take('now'), NULL, 'the second waits for the first, which is handed out');
SELECT referral.nack('now', public.event_named('patient_1_7'), 'x') \g /dev/null
SELECT is(public.take('now'), NULL, 'and also when that was refused later');
UPDATE referral.patient SET phone = '74' WHERE patient_id = 1;
SELECT public.settle() \g /dev/null
UPDATE referral.delivery SET due_at = CASE journal_id WHEN referral.event_journal_id(public.event_named('patient_1_7')) THEN clock_timestamp()
                                      ELSE clock_timestamp() + interval '1 hour' END WHERE consumer = 'now' AND status = 'retry';
SELECT is(public.take('now'), 'patient/1:7*2', 'the first comes alone when the second has to wait still, and so do those behind');
SELECT is(public.deliveries('now'), 'patient/1:leased patient/1:retry patient/1:held patient/1:held', 'new ones are held back');
SELECT is(public.ack_last('now'), 1::bigint, 'the first is done');
SELECT is(public.take('now'), NULL, 'the second''s time has not come');
UPDATE referral.delivery SET due_at = clock_timestamp() WHERE consumer = 'now' AND status = 'retry';
SELECT is(public.take('now'), 'patient/1:8*2 patient/1:9 patient/1:10', 'now all come');
UPDATE referral.consumer SET max_attempts = 2 WHERE consumer = 'now';
SELECT is(referral.nack('now', public.event_named('patient_1_8'), 'x'), NULL, 'the first is dead');
SELECT is(public.deliveries('now'), 'patient/1:dead patient/1:held patient/1:held', 'those behind wait');
SELECT referral.redrive('now') \g /dev/null
SELECT is(public.take('now', 1, '0 s'), 'patient/1:8', 'and come after it')
UNION ALL SELECT is(public.take('now'), 'patient/1:8*2 patient/1:9 patient/1:10', 'all of them');
SELECT is(referral.nack('now', public.event_named('patient_1_9'), 'x') IS NOT NULL, true, 'a later one is refused');
UPDATE referral.consumer SET max_attempts = 1 WHERE consumer = 'now';
UPDATE referral.delivery SET due_at = clock_timestamp() WHERE consumer = 'now' AND status = 'leased';
SELECT is(public.take('now'), NULL, 'the lease of the first runs out');
SELECT is(public.deliveries('now'), 'patient/1:dead patient/1:retry patient/1:held', 'it is dead, the refused one waits behind it');
SELECT is(referral.discard('now', public.event_named('patient_1_8'), 'x'), true, 'it is given up');
UPDATE referral.delivery SET due_at = clock_timestamp() WHERE consumer = 'now' AND status = 'retry';
SELECT is(public.take('now'), 'patient/1:9*2 patient/1:10', 'the rest comes');
SELECT is(public.ack_last('now'), 2::bigint, 'and is done');
DELETE FROM referral.delivery WHERE status = 'discarded';

-- backoff
INSERT INTO referral.delivery (consumer, xid_epoch, xid, journal_id, recorded_at, entity, entity_id, status, attempts, lease)
SELECT 'now', 1, '1', 4000000000 + a, now(), 'x', a, 'leased', a, 0 FROM generate_series(1, 9) a;
UPDATE referral.consumer SET max_attempts = 100 WHERE consumer = 'now';
SELECT is(array_agg(w.wait > 0.74 * least(10 * 2 ^ (w.a - 1), 3600) AND w.wait < 1.26 * least(10 * 2 ^ (w.a - 1), 3600) ORDER BY w.a),
          array_fill(true, '{9}'), 'the wait doubles with each attempt, give or take a quarter')
FROM (SELECT a, public.nack_wait('now', referral.event_id(1, 4000000000 + a), 'x') AS wait FROM generate_series(1, 9) a OFFSET 0) w;
INSERT INTO referral.delivery (consumer, xid_epoch, xid, journal_id, recorded_at, entity, entity_id, status, attempts, lease)
SELECT 'now', 1, '1'::xid8, 4000000010, now(), 'x', 10, 'leased', 90, 0
UNION ALL SELECT 'now', 1, '1'::xid8, 4000000020 + a, now(), 'x', 20 + a, 'leased', 5, 0 FROM generate_series(1, 9) a;
SELECT cmp_ok(count(DISTINCT round(w.wait::numeric, 2)), '>', 3::bigint, 'with jitter')
FROM (SELECT public.nack_wait('now', referral.event_id(1, 4000000020 + a), 'x') AS wait FROM generate_series(1, 9) a OFFSET 0) w;
SELECT is(wait > 2699 AND wait < 4501, true, 'up to an hour')
FROM (SELECT public.nack_wait('now', referral.event_id(1, 4000000010), 'x') AS wait OFFSET 0) w;
DELETE FROM referral.delivery WHERE entity = 'x';

-- 7. Leases that run out

UPDATE referral.patient SET phone = '8' WHERE patient_id = 1;
UPDATE referral.patient SET phone = '8' WHERE patient_id = 2;
UPDATE referral.patient SET phone = '9' WHERE patient_id = 1;
SELECT public.settle() \g /dev/null
SELECT is(public.take('now', 10, '0 seconds'), 'patient/1:11 patient/2:4 patient/1:12', 'handed out for no time');
SELECT current_setting('event.position') AS old_position \gset
SELECT is(public.take('now', 1, '0 seconds'), 'patient/1:11*2', 'given to another worker at once');
SELECT is(public.deliveries('now'), 'patient/1:leased patient/2:leased patient/1:held', 'never two of a row to two');
SELECT is(public.take('now', 10), 'patient/1:11*3 patient/2:4*2 patient/1:12', 'all again; only what came first was surely tried');
SELECT is(referral.ack('now', :'old_position'), 0::bigint, 'the first worker comes too late with its ack');
SELECT is(public.ack_last('now'), 3::bigint, 'the last one does not');
UPDATE referral.patient SET phone = '10' WHERE patient_id = 1;
SELECT public.settle() \g /dev/null
SELECT is(public.take('now', 10, '-1 second'), 'patient/1:13', 'the lease is over');
SELECT is(public.ack_last('now'), 1::bigint, 'but nobody else has got it: the ack counts');

-- 8. Dead events

UPDATE referral.consumer SET max_attempts = 2 WHERE consumer = 'now';
UPDATE referral.patient SET phone = '11' WHERE patient_id = 1;
UPDATE referral.patient SET phone = '11' WHERE patient_id = 2;
UPDATE referral.patient SET phone = '12' WHERE patient_id = 1;
UPDATE referral.patient SET phone = '12' WHERE patient_id = 2;
SELECT public.settle() \g /dev/null
SELECT is(public.take('now'), 'patient/1:14 patient/2:5 patient/1:15 patient/2:6', 'two rows');
SELECT referral.nack('now', public.event_named('patient_1_14'), 'first'), referral.nack('now', public.event_named('patient_2_5'), 'first') \g /dev/null
UPDATE referral.delivery SET due_at = clock_timestamp() WHERE consumer = 'now' AND status = 'retry';
SELECT is(public.take('now', 2, '0 seconds'), 'patient/1:14*2 patient/2:5*2', 'the last attempt of both');
SELECT is(referral.nack('now', public.event_named('patient_1_14'), repeat('é', 3000)), NULL, 'a refusal after the last attempt is the end');
SELECT is(public.take('now'), NULL, 'and so is a lease that runs out then');
SELECT is(public.deliveries('now'), 'patient/1:dead patient/2:dead patient/1:held patient/2:held', 'both are dead, and hold back their rows');
SELECT results_eq($$SELECT d.id, d.type, d.subject, d.attempts, left(d.last_error, 13), length(d.last_error), d.held_back, d.dead_at <= now(), d.event
                    FROM referral.dead_letter d ORDER BY d.subject$$,
                  $$SELECT e.id, e.type, e.subject, 2, CASE subject WHEN 'patient/1' THEN repeat('é', 13) ELSE 'lease expired' END,
                           CASE subject WHEN 'patient/1' THEN 2000 ELSE 48 END, 1::bigint, true,
                           to_jsonb(e) - '{org_id,journal_id,xid_epoch,xid}'::text[]
                    FROM referral.event e WHERE e.id IN (public.event_named('patient_1_14'), public.event_named('patient_2_5')) ORDER BY e.subject$$,
                  'a dead letter: the event as it was, the error, what waits behind it');
SELECT is((SELECT count(*) FROM referral.delivery d WHERE d::text LIKE '%SECRETMARKER%'), 0::bigint, 'and nothing of patients');
SELECT is((SELECT (leased, held, retry, dead)::text FROM referral.consumer_status WHERE consumer = 'now'), '(0,2,0,2)', 'the status counts them');
SELECT is((SELECT oldest_unfinished FROM referral.consumer_status WHERE consumer = 'now'),
          (SELECT recorded_at FROM referral.journal WHERE entity = 'patient' AND entity_id = 1 AND version = 14), 'and tells since when');
SELECT is(public.code($$SELECT referral.nack('now', public.event_named('patient_1_14'), 'x')$$), 'RF019', 'what is dead is not handed out');
SELECT is(public.code(format($$SELECT referral.discard('now', public.event_named('patient_1_14'), %L)$$, r)), 'RF005', 'nothing is given up without a reason')
FROM unnest(ARRAY[NULL, '', '  ']) r;
SELECT is(referral.discard('now', referral.event_id(2, referral.event_journal_id(public.event_named('patient_1_14'))), 'x'), false,
          'another organisation''s event is another event');
SELECT is(referral.discard('now', public.event_named('patient_1_14'), 'sent by hand'), true, 'an event is given up');
SELECT is(referral.discard('now', public.event_named('patient_1_14'), 'x'), false, 'once');
SELECT results_eq($$SELECT status, attempts, discarded_by, discard_reason, discarded_at <= now(), dead_at <= discarded_at FROM referral.delivery WHERE status = 'discarded'$$,
                  $$VALUES ('discarded', 2, 'postgres', 'sent by hand', true, true)$$, 'who, when and why stay');
SELECT is(public.take('now'), 'patient/1:15', 'what it held back comes');
SELECT is(public.ack_last('now'), 1::bigint, 'and is acknowledged');
UPDATE referral.patient SET phone = '13' WHERE patient_id = 1;
SELECT public.settle() \g /dev/null
SELECT is(public.take('now'), 'patient/1:16', 'a discarded event holds back no more');
SELECT is(public.ack_last('now'), 1::bigint, 'the row goes on');
SELECT is(referral.redrive('now', public.event_named('patient_1_14')), 0::bigint, 'what was given up is not tried again');
SELECT is(referral.redrive('now'), 1::bigint, 'what is dead is');
SELECT is((SELECT count(*) FROM referral.dead_letter), 0::bigint, 'and is dead no more');
SELECT is(public.take('now'), 'patient/2:5 patient/2:6', 'with all attempts anew, and what it held back');
SELECT is(public.ack_last('now'), 2::bigint, 'all is well again');
SELECT is(public.deliveries('now'), 'patient/1:discarded', 'only the discarded one is kept');

UPDATE referral.consumer SET max_attempts = 1 WHERE consumer = 'now';
UPDATE referral.patient SET phone = '14' WHERE patient_id = 1;
UPDATE referral.patient SET phone = '14' WHERE patient_id = 2;
UPDATE referral.patient SET phone = '15' WHERE patient_id = 1;
SELECT public.settle() \g /dev/null
SELECT is(public.take('now', 10, '0 seconds'), 'patient/1:17 patient/2:7 patient/1:18', 'one attempt only');
SELECT is(public.take('now'), NULL, 'which nobody answers');
SELECT is(public.deliveries('now'), 'patient/1:discarded patient/1:dead patient/2:dead patient/1:held', 'the first of each row is dead, what is behind it waits');
SELECT is(referral.redrive('now', public.event_named('patient_2_7')), 1::bigint, 'one can be tried again by itself');
SELECT is(public.take('now'), 'patient/2:7', 'it is');
SELECT is(referral.nack('now', public.event_named('patient_2_7'), 'x'), NULL, 'and dies again');
SELECT is(referral.redrive('now', referral.event_id(2, referral.event_journal_id(public.event_named('patient_2_7')))), 0::bigint,
          'not by another organisation''s id');
UPDATE referral.consumer SET max_attempts = 10 WHERE consumer = 'now';
SELECT is(referral.redrive('now'), 2::bigint, 'both');
SELECT public.take('now') \g /dev/null
SELECT referral.nack('now', public.event_named('patient_2_7'), 'x') \g /dev/null
SELECT is(referral.discard('now', public.event_named('patient_2_7'), 'obsolete'), true, 'one that waits for its next attempt can be given up too');
SELECT is(referral.discard('now', public.event_named('patient_1_17'), 'x'), false, 'one that is handed out cannot');
SELECT public.ack_last('now') \g /dev/null

-- 9. Values, only where they are wanted

UPDATE referral.patient SET phone = 'SECRETMARKER 2' WHERE patient_id = 3;
SELECT referral.create_consumer('values', 'entity = ''patient'' AND entity_id = 3', '-infinity', true, 1) \g /dev/null
SELECT public.settle() \g /dev/null
SELECT is((SELECT array_agg(e.data -> 'changes' -> 'phone') FROM referral.events('values', lease => '0 seconds') e), array[NULL, '[null, "SECRETMARKER 2"]'::jsonb],
          'with include_values, data has changes');
SELECT public.take('values') \g /dev/null
SELECT is((SELECT event -> 'data' -> 'changes' -> 'family' FROM referral.dead_letter WHERE consumer = 'values'), '[null, "c"]'::jsonb, 'dead letters too');

-- 10. Who may

SET SESSION AUTHORIZATION event_jane;
SELECT is(public.code(s), '42501', 'a coordinator may not: ' || s) FROM unnest(ARRAY[
    $$SELECT referral.create_consumer('jane')$$, $$SELECT * FROM referral.events('now')$$, $$SELECT referral.ack('now', '1-1')$$,
    $$SELECT referral.nack('now', referral.event_id(1, 1), 'x')$$, $$SELECT referral.redrive('now')$$,
    $$SELECT referral.discard('now', referral.event_id(1, 1), 'x')$$, $$SELECT referral.drop_consumer('now')$$,
    $$SELECT * FROM referral.consumer$$, $$SELECT * FROM referral.delivery$$, $$SELECT * FROM referral.dead_letter$$,
    $$SELECT referral.free_next(1, 'now', '{patient}', '{1}')$$, $$SELECT * FROM referral.lock_consumer('now')$$,
    $$UPDATE referral.event_type SET priority = 1$$]) s;
SELECT cmp_ok((SELECT count(*) FROM referral.event), '>', 10::bigint, 'but sees the events of the journal that it may see');
SELECT is((SELECT count(*) FROM referral.event WHERE org_id = 0), 0::bigint, 'not those of rules');
SET SESSION AUTHORIZATION event_author;
SELECT is(public.code('SELECT * FROM referral.event'), '42501', 'who may not read the journal may not read events');
SET SESSION AUTHORIZATION event_auditor;
SELECT cmp_ok((SELECT count(*) FROM referral.consumer_status), '>', 2::bigint, 'an auditor sees consumers');
SELECT is(public.code(s), '42501', 'but may not: ' || s) FROM unnest(ARRAY[
    $$SELECT * FROM referral.events('now')$$, $$SELECT referral.create_consumer('auditor')$$, $$DELETE FROM referral.delivery$$]) s;
SET SESSION AUTHORIZATION event_feed;
SELECT is(public.code($$SELECT referral.create_consumer('feed', include_values => true)$$), 'RF003', 'an interface may not give itself values');
SELECT is(public.code($$INSERT INTO referral.consumer (consumer, include_values) VALUES ('feed', true)$$), 'RF003', 'nor directly');
SELECT is(public.code($$UPDATE referral.consumer SET include_values = true$$), '42501', 'nor later');
SELECT referral.create_consumer('feed', 'entity <> ''consumer''', '-infinity', max_attempts => 3) \g /dev/null
SELECT cmp_ok(length(public.take('feed', 50)), '>', 100, 'but has consumers of its own');
SELECT cmp_ok(public.ack_last('feed'), '>', 10::bigint, 'and acknowledges');
SELECT referral.drop_consumer('feed') \g /dev/null
SELECT is((SELECT count(*) FROM referral.consumer_position WHERE consumer = 'feed') + (SELECT count(*) FROM referral.delivery WHERE consumer = 'feed'),
          0::bigint, 'a dropped consumer leaves nothing');
SET SESSION AUTHORIZATION event_admin;
SELECT referral.create_consumer('admin', include_values => true) \g /dev/null
SELECT referral.drop_consumer('admin') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(action || ' ' || actor ORDER BY journal_id) FROM referral.journal
           WHERE entity = 'consumer' AND entity_id IN (SELECT entity_id FROM referral.journal WHERE changes -> 'consumer' IN ('[null, "feed"]', '[null, "admin"]'))),
          '{"insert event_feed","delete event_feed","insert event_admin","delete event_admin"}'::text[], 'coming and going of consumers is journaled');

-- organisations
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Organisation 2');
INSERT INTO referral.organization_member (org_id, login) VALUES (2, 'event_other');
SET SESSION AUTHORIZATION event_other;
SELECT is(public.code($$SELECT * FROM referral.events('now')$$), 'RF019', 'another organisation''s consumer is not there');
SELECT is(public.code($$SELECT referral.drop_consumer('now')$$), 'RF019', 'and cannot be dropped');
SELECT is((SELECT count(*) FROM referral.consumer) + (SELECT count(*) FROM referral.consumer_position) + (SELECT count(*) FROM referral.delivery)
          + (SELECT count(*) FROM referral.event WHERE org_id <> 2) + (SELECT count(*) FROM referral.dead_letter)
          + (SELECT count(*) FROM referral.consumer_status), 0::bigint, 'nor seen, nor anything of it');
SELECT referral.create_consumer('now', start => '-infinity') \g /dev/null
INSERT INTO referral.patient (patient_id, family) VALUES (77, 'x');
SELECT public.settle() \g /dev/null
SELECT matches(public.take('now'), 'patient/77:1$', 'a consumer of the same name gets its own organisation''s events');
SELECT is((SELECT array_agg(DISTINCT org_id) FROM referral.delivery), '{2}'::bigint[], 'and no others');
SELECT is(public.code(format($$SELECT referral.nack('now', referral.event_id(1, %s), 'x')$$, referral.event_journal_id(public.event_named('patient_77_1')))),
          'RF019', 'an event is named with its organisation');
RESET SESSION AUTHORIZATION;
SELECT is(public.code($$SELECT * FROM referral.events('now')$$), 'RF018', 'who works for several organisations names one');

-- 11. Refusals

SET referral.org_id = 1;
SELECT results_eq(format('SELECT code, detail <> '''', hint <> '''' FROM public.refused(%L)', s), $$VALUES ('RF019', true, true)$$, 'RF019: ' || s)
FROM unnest(ARRAY[$$SELECT * FROM referral.events('none')$$, $$SELECT referral.ack('none', '1-1')$$, $$SELECT referral.nack('none', referral.event_id(1, 1), 'x')$$,
    $$SELECT referral.nack('now', NULL, 'x')$$, $$SELECT referral.nack('now', gen_random_uuid(), 'x')$$, $$SELECT referral.nack(NULL, NULL, NULL)$$,
    $$SELECT referral.redrive('none')$$, $$SELECT referral.redrive(NULL)$$, $$SELECT referral.discard('none', NULL, 'x')$$, $$SELECT referral.drop_consumer('none')$$]) s;
SELECT results_eq(format('SELECT code, detail <> '''', hint <> '''' FROM public.refused(%L)', format('SELECT referral.ack(''now'', %L)', p)),
                  $$VALUES ('RF020', true, true)$$, format('position %s is malformed', to_json(p)))
FROM unnest(ARRAY['', 'x', '1', '1-2-3', '-1-2', '1-2 ', E'1-2\n', '1-99999999999999999999', '1--2', '1-', '-1', '1-x']) p;
SELECT is(referral.ack('now', '999999999999999999-999999999999999999'), 0::bigint, 'large numbers are no error');
SELECT is(public.code($$SELECT referral.create_consumer(NULL)$$), '23502', 'a consumer has a name');
SELECT is(public.code($$SELECT referral.create_consumer('')$$), '23514', 'not an empty one');
SELECT is(public.code($$SELECT referral.create_consumer('zero', max_attempts => 0)$$), '23514', 'and at least one attempt');
SELECT is((SELECT count(*) FROM referral.events(NULL)) + (SELECT count(*) FROM referral.events('early', NULL)) + (SELECT count(*) FROM referral.events('early', 1, NULL)),
          0::bigint, 'events() of null: no rows');
SELECT is((SELECT count(*) FROM referral.events('early', 0)) + (SELECT count(*) FROM referral.events('early', -1)), 0::bigint, 'nor for none or fewer');
SELECT is(referral.ack(NULL, '1-1'), NULL, 'ack() of null is null');
SELECT is(referral.ack('now', NULL), NULL, 'also for the position');
SELECT is(referral.drop_consumer(NULL)::text, NULL, 'drop_consumer() of null does nothing');
SELECT is(referral.event_json(1, 1, NULL, 1, now(), false), NULL, 'event_json() of null is null');
SELECT is(referral.event_json(1, 1, '1', 1, now(), false), NULL, 'and of what is not there');

-- 12. What stays the same however the database is used

SELECT is((SELECT count(*) FROM referral.deploy() d WHERE d.action = 'created'), 0::bigint, 'deploying again creates nothing');
SELECT is((SELECT count(*) FROM referral.event_type), 23::bigint, 'nor event types');
SELECT referral.create_consumer('sql', start => '-infinity') \g /dev/null
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT cmp_ok(length(public.take('sql', 10)), '>', 10, 'events() under REPEATABLE READ');
SELECT is(public.ack_last('sql'), 10::bigint, 'and ack()');
COMMIT;

SELECT * FROM finish();
