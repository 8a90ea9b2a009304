-- What tick() does: levels and breaches, each once, however late; what levels ask for; rows that expire. Here by the functions
-- that it calls, with fixed times in UTC; 2025-03-03 is a Monday.
SELECT plan(89);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql
\ir ../lib/make_policy.sql
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
-- Nothing but the policies of this file.
SET client_min_messages = error;
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'sla/standard';

CREATE TABLE task (task_id bigint PRIMARY KEY, phase text NOT NULL DEFAULT 'open', urgency text NOT NULL DEFAULT 'routine',
                   priority integer, note text);
SELECT referral.attach('task') \g /dev/null
SELECT make_workflow('task') \g /dev/null
SELECT make_calendar('office', '{"timezone": "UTC", "hours": {"mon": ["09:00-17:00"], "tue": ["09:00-17:00"], "wed": ["09:00-17:00"],
    "thu": ["09:00-17:00"], "fri": ["09:00-17:00"]}}') \g /dev/null
SELECT make_policies('sla/task', '[
    {"name": "ladder", "target": "8 hours", "start_when": "phase = ''ladder''", "pause_when": "phase = ''held''", "levels": [
        {"level": 1, "percent": 0, "title": "At once"}, {"level": 2, "percent": 33.333}, {"level": 3, "percent": 100, "after": "-1 hour", "action": "assign_role", "argument": "referral_admin"},
        {"level": 4, "percent": 100}, {"level": 5, "percent": 100, "after": "30 minutes", "action": "open_exception", "argument": "late"},
        {"level": 6, "percent": 250, "action": "assign_role", "argument": "referral_admin"}, {"level": 7, "percent": 0, "after": "-5 hours", "action": "reassign_queue", "argument": "q"},
        {"level": 8, "percent": 9999.999, "action": "request_approval", "argument": "x"}]},
    {"name": "bare", "target": "8 hours", "start_when": "phase = ''bare''"},
    {"name": "raise", "target": "8 hours", "start_when": "phase = ''raise''", "pause_when": "phase = ''held''", "levels": [
        {"level": 1, "percent": 25, "action": "raise_priority", "argument": "5"}, {"level": 2, "percent": 50, "action": "notify", "argument": "boss"},
        {"level": 3, "percent": 100, "action": "raise_priority"}]},
    {"name": "counted", "target": "8 hours", "start_when": "phase = ''counted''", "pause_when": "phase = ''held''", "pause_counts": true, "levels": [{"level": 1, "percent": 100}]}]') \g /dev/null
CREATE FUNCTION begin(id bigint, at timestamptz, phase text) RETURNS void LANGUAGE sql AS
    $$SELECT at(at, format('INSERT INTO task (task_id, phase) VALUES (%s, %L)', id, phase))$$;
CREATE FUNCTION move(id bigint, at timestamptz, phase text) RETURNS void LANGUAGE sql AS
    $$SELECT at(at, format('UPDATE task SET phase = %L WHERE task_id = %s', phase, id))$$;
CREATE FUNCTION fire(as_of timestamptz, max integer DEFAULT 100) RETURNS text LANGUAGE sql AS
    $$SELECT f.clocks || ' clocks, ' || f.levels || ' levels' FROM referral.tick_fire(as_of, max) f$$;
CREATE FUNCTION acts() RETURNS text LANGUAGE sql AS $$SELECT a.acted || ' acted, ' || a.failed || ' failed' FROM act() a$$;

-- 1. Levels

SELECT begin(1, '2025-03-03 10:00Z', 'ladder') \g /dev/null
SELECT is((SELECT array_agg(l.level || ' ' || l.planned_at::text ORDER BY l.level) FROM clock(1, 'ladder') c,
                  referral.clock_levels(c.sla_policy_id, c.business_calendar_id, c.running_since, c.target, c.consumed) l),
          '{"-1 2025-03-04 10:00:00+00","0 2025-03-04 10:00:00+00","1 2025-03-03 10:00:00+00","2 2025-03-03 12:39:59.904+00","3 2025-03-03 17:00:00+00","4 2025-03-04 10:00:00+00","5 2025-03-04 10:30:00+00","6 2025-03-05 14:00:00+00","7 2025-03-03 10:00:00+00","8 2025-07-21 09:59:59.712+00"}',
          'clock_levels(): per cent of the target, and open time before or after it');
SELECT is((clock(1, 'ladder')).next_fire_at, '2025-03-03 10:00Z'::timestamptz, 'the first level is to be fired next');
SELECT is(fire('2025-03-03 09:59:59.999999Z'), '0 clocks, 0 levels', 'nothing is due before it');
SELECT is(fire('2025-03-03 10:00Z'), '1 clocks, 2 levels', 'a level of 0 % is reached at the start, as is one before it');
SELECT is((SELECT (e.title, e.planned_at, e.action, e.argument, e.outcome, e.entity, e.entity_id, e.policy, e.cycle, e.acknowledged_by, e.error, e.fired_at BETWEEN (SELECT min(j.recorded_at) FROM referral.journal j WHERE j.entity = 'task') AND now())
           FROM referral.escalation e WHERE e.level = 1), ROW('At once'::text, '2025-03-03 10:00Z'::timestamptz, 'notify'::text, NULL::text, 'done'::text, 'task'::text, 1::bigint, 'ladder'::text, 1,
           NULL::text, NULL::text, true), 'an escalation tells which, when it was reached and when that was noticed');
SELECT is(fire('2025-03-03 10:00Z'), '0 clocks, 0 levels', 'once');
SELECT is(fire('2025-03-03 12:40Z'), '1 clocks, 1 levels', 'the next one when it is reached');
SELECT is(fire('2025-03-03 16:59:59.999999Z'), '0 clocks, 0 levels', 'no other one');
SELECT is(fire('2025-03-03 17:00Z'), '1 clocks, 1 levels', 'an hour of open time before the target: the evening before');
SELECT is(fire('2025-03-04 10:00Z'), '1 clocks, 1 levels', '100 % at the due time');
SELECT is((SELECT (c.breached_at, c.next_fire_at) FROM clock(1, 'ladder') c), ROW(NULL::timestamptz, '2025-03-04 10:00:00.000001Z'::timestamptz), 'which is no breach yet');
SELECT is(fire('2025-03-04 10:00:00.000001Z'), '1 clocks, 0 levels', 'but a microsecond later');
SELECT is((SELECT (c.breached_at, c.next_fire_at) FROM clock(1, 'ladder') c), ROW('2025-03-04 10:00Z'::timestamptz, '2025-03-04 10:30Z'::timestamptz), 'it is');
SELECT is(fire('2025-03-05 14:00Z'), '1 clocks, 2 levels', 'levels above 100 %');
SELECT is((SELECT (c.breached_at, c.next_fire_at) FROM clock(1, 'ladder') c), ROW('2025-03-04 10:00Z'::timestamptz, '2025-07-21 09:59:59.712Z'::timestamptz), 'the breach stays where it was');
SELECT is((SELECT array_agg(e.level || e.outcome ORDER BY e.level) FROM referral.escalation e WHERE e.entity_id = 1), '{1done,2done,3pending,4done,5pending,6pending,7pending}', 'each of them is to act, since none was late; a notice is none to carry out');
SELECT move(1, '2025-03-05 15:00Z', 'done') \g /dev/null
SELECT is(fire('2025-09-01Z') ~ ' 0 levels', true, 'a clock that has stopped reaches nothing any more');
SELECT is(fire('2025-09-01Z'), '0 clocks, 0 levels', 'and is not looked at again');

-- a tick that is late
SELECT begin(2, '2025-03-03 10:00Z', 'ladder') \g /dev/null
SELECT is(fire('2025-03-06 10:00Z'), '1 clocks, 7 levels', 'a late tick records all levels that were passed');
SELECT is(levels(2, 'ladder'), '1 03-03 10:00 collapsed, 2 03-03 12:39 collapsed, 3 03-03 17:00 collapsed, 4 03-04 10:00 done, 5 03-04 10:30 pending, 6 03-05 14:00 pending, 7 03-03 10:00 pending',
          'when they were reached; of one action only the highest acts');
SELECT is((clock(2, 'ladder')).breached_at, '2025-03-04 10:00Z'::timestamptz, 'and when it was breached');
SELECT is(fire('2025-03-06 10:00Z'), '0 clocks, 0 levels', 'once');
-- breach without levels
SELECT begin(3, '2025-03-03 09:00Z', 'bare') \g /dev/null
SELECT is((clock(3, 'bare')).next_fire_at, '2025-03-04 09:00:00.000001Z'::timestamptz, 'a clock without levels has its breach to be noted, at the next opening where it is due at a close');
SELECT is(fire('2025-03-04 09:00Z'), '0 clocks, 0 levels', 'not before');
SELECT is(fire('2025-03-04 09:00:00.000001Z'), '1 clocks, 0 levels', 'then');
SELECT is((SELECT (c.breached_at, c.due_at, c.next_fire_at) FROM clock(3, 'bare') c), ROW('2025-03-04 09:00Z'::timestamptz, '2025-03-03 17:00Z'::timestamptz, 'infinity'::timestamptz), 'and then there is nothing more to do');

-- pauses
SELECT begin(4, '2025-03-03 10:00Z', 'raise'), move(4, '2025-03-03 11:00Z', 'held'), begin(5, '2025-03-03 10:00Z', 'counted'), move(5, '2025-03-03 11:00Z', 'held') \g /dev/null
SELECT is(fire('2025-03-10 10:00Z'), '1 clocks, 1 levels', 'a paused clock does not fire, unless its pauses count');
SELECT is(coalesce(levels(4, 'raise'), 'none') || ', ' || levels(5, 'counted'), 'none, 1 03-04 10:00 done', 'so it is');
SELECT move(4, '2025-03-10 12:00Z', 'raise') \g /dev/null
SELECT is((clock(4, 'raise')).next_fire_at, '2025-03-10 13:00Z'::timestamptz, 'when it runs again, its levels are as far away as they were');
SELECT is(fire('2025-03-10 13:00Z'), '1 clocks, 1 levels', 'and are reached then');
-- a level is not reached again by a clock that goes on after a pause
SELECT move(4, '2025-03-10 13:30Z', 'held'), move(4, '2025-03-11 13:30Z', 'raise') \g /dev/null
SELECT is(fire('2025-03-11 14:00Z'), '0 clocks, 0 levels', 'a level that was recorded is not reached again after a pause');
SELECT is((clock(4, 'raise')).next_fire_at, '2025-03-11 15:00Z'::timestamptz, 'the next one is the one after it');

-- reached before a pause or a stop that comes in before the tick
SELECT begin(6, '2025-03-03 10:00Z', 'raise'), begin(7, '2025-03-03 10:00Z', 'raise') \g /dev/null
SELECT move(6, '2025-03-03 14:00Z', 'held'), move(7, '2025-03-04 12:00Z', 'done') \g /dev/null
SELECT is(levels(6, 'raise'), '1 03-03 12:00 overtaken, 2 03-03 14:00 overtaken', 'what was reached before a pause is recorded, and overtaken');
SELECT is(levels(7, 'raise'), '1 03-03 12:00 overtaken, 2 03-03 14:00 overtaken, 3 03-04 10:00 overtaken', 'before a stop, too');
SELECT is((SELECT array_agg(t.priority) FROM task t WHERE t.task_id IN (6, 7)), '{NULL,NULL}', 'nothing is done about it');

-- batches: the oldest first
DELETE FROM task;
SELECT tick_at('2025-06-01Z') \g /dev/null
SELECT begin(10 + i, '2025-03-03 10:00Z'::timestamptz + i * interval '1 minute', 'bare') FROM unnest(ARRAY[3, 1, 5, 2, 4]) i \g /dev/null
SELECT is(fire('2025-03-04 10:04:30Z', 2), '2 clocks, 0 levels', 'a batch');
SELECT is((SELECT array_agg(c.entity_id ORDER BY c.entity_id) FROM referral.sla_clock c WHERE c.breached_at IS NOT NULL AND c.entity_id > 10), '{11,12}', 'is of the oldest');
SELECT is(fire('2025-03-04 10:04:30Z', 2), '2 clocks, 0 levels', 'then the next');
SELECT is(fire('2025-03-04 10:04:30Z', 2), '0 clocks, 0 levels', 'and what is not due is left');
SELECT is((SELECT (f.clocks, f.levels) FROM referral.tick_fire(NULL, 1) f), ROW(NULL::bigint, NULL::bigint), 'null for null');

-- 2. What levels ask for

DELETE FROM task;
SELECT begin(20, '2025-03-03 10:00Z', 'raise'), begin(21, '2025-03-03 10:00Z', 'raise'), begin(22, '2025-03-03 10:00Z', 'raise') \g /dev/null
UPDATE task SET priority = CASE task_id WHEN 21 THEN 4 ELSE 9 END WHERE task_id IN (21, 22);
SELECT fire('2025-03-03 12:00Z') \g /dev/null
SELECT is(levels(20, 'raise'), '1 03-03 12:00 pending', 'raising a priority is to be done');
SELECT version AS before FROM task WHERE task_id = 22 \gset
SELECT is(acts(), '3 acted, 0 failed', 'it is done');
SELECT is(levels(20, 'raise'), '1 03-03 12:00 done', 'and noted');
SELECT is((SELECT array_agg(t.priority ORDER BY t.task_id) FROM task t), '{5,5,9}', 'a priority is raised to what the level says, from none or a lower one, never lowered');
SELECT is((SELECT version FROM task WHERE task_id = 22), :before::bigint, 'a row that is as high already is not touched');
SELECT is((SELECT (j.actor_kind, j.changes -> 'priority', j.reason) FROM referral.journal j WHERE j.entity = 'task' AND j.entity_id = 21 ORDER BY j.journal_id DESC LIMIT 1),
          ROW('system'::text, '[4, 5]'::jsonb, 'escalation of raise, level 1'::text), 'the journal says that a system did it, and why');
SELECT is(acts(), '0 acted, 0 failed', 'once');
SELECT fire('2025-03-04 12:00Z') \g /dev/null
SELECT is(acts(), '3 acted, 0 failed', 'the next level');
SELECT is((SELECT array_agg(t.priority ORDER BY t.task_id) FROM task t), '{5,5,9}', 'raises to its own number, when it gives none');
-- late: only the highest acts
SELECT begin(23, '2025-03-03 10:00Z', 'raise') \g /dev/null
SELECT fire('2025-03-05 12:00Z') \g /dev/null
SELECT is(levels(23, 'raise'), '1 03-03 12:00 collapsed, 2 03-03 14:00 done, 3 03-04 10:00 pending', 'of several levels at once the highest of an action acts');
SELECT act() \g /dev/null
SELECT is((SELECT t.priority FROM task t WHERE t.task_id = 23), 3, 'alone');
-- a row that is gone, and one that refuses
SELECT begin(24, '2025-03-03 10:00Z', 'raise'), begin(25, '2025-03-03 10:00Z', 'raise'), begin(26, '2025-03-03 10:00Z', 'raise') \g /dev/null
SELECT fire('2025-03-03 12:00Z') \g /dev/null
DELETE FROM task WHERE task_id = 24;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.task_id = 25 THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END$$;
CREATE TRIGGER refuse BEFORE UPDATE OF priority ON task FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT is(acts(), '1 acted, 1 failed', 'what fails does not hold up the others');
SELECT is((SELECT e.outcome FROM referral.escalation e WHERE e.entity_id = 24), 'overtaken', 'nothing is done for a row that is gone by then');
SELECT is((SELECT (e.outcome, e.error ~ 'P0001$') FROM referral.escalation e WHERE e.entity_id = 25), ROW('failed'::text, true), 'and is marked with its error');
SELECT is((SELECT t.priority FROM task t WHERE t.task_id = 26), 5, 'the others are done');
SELECT is(acts(), '0 acted, 0 failed', 'it is not tried for ever');
DROP TRIGGER refuse ON task;
-- what ends the tick that acts on it: begun, and never done
SELECT begin(31, '2025-03-03 10:00Z', 'raise'), begin(32, '2025-03-03 10:00Z', 'raise') \g /dev/null
SELECT fire('2025-03-03 12:00Z') \g /dev/null
SELECT min(escalation_id) AS e31, max(escalation_id) AS e32 FROM referral.escalation WHERE outcome = 'pending' \gset
SELECT is((SELECT array_agg(b.escalation_id ORDER BY i) FROM generate_series(1, 4) i, LATERAL (SELECT (referral.tick_begin(3 + 0 * i, -1, 0)).escalation_id) b), ARRAY[:e31, :e32, :e31, :e32]::bigint[],
          'what was begun comes after what was not');
SELECT referral.tick_begin(3, -1, 0), referral.tick_begin(3, -1, 0) \g /dev/null
SELECT is((SELECT b.escalation_id FROM referral.tick_begin(3, -1, 0) b), NULL, 'and what was begun three times in vain is given up');
SELECT is((SELECT array_agg(e.outcome || ' ' || (e.error ~ 'given up')::text) FROM referral.escalation e WHERE e.escalation_id IN (:e31, :e32)), '{"failed true","failed true"}', 'and marked');
-- the setting of the session that ticks is not lost, nor used
BEGIN;
SET LOCAL referral.reason = 'mine';
SELECT begin(40, '2025-03-03 10:00Z', 'raise') \g /dev/null
SELECT fire('2025-03-03 12:00Z'), acts() \g /dev/null
SELECT is(current_setting('referral.reason'), 'mine', 'the reason that the session gave is its own again afterwards');
SELECT is((SELECT j.reason FROM referral.journal j WHERE j.entity = 'task' AND j.entity_id = 40 ORDER BY j.journal_id DESC LIMIT 1), 'escalation of raise, level 1', 'and was not taken for the escalation''s');
COMMIT;

-- 3. Rows that expire

INSERT INTO referral.patient (patient_id) VALUES (1);
CREATE FUNCTION refer(id bigint, state referral.state, expires_on date) RETURNS void LANGUAGE sql AS $$
    SELECT at('2025-03-03 10:00Z', format('INSERT INTO referral.referral (referral_id, patient_id, specialty, state, expires_on) VALUES (%s, 1, ''x'', %L, %L)', id, state, expires_on)) $$;
SELECT refer(row_number() OVER (), s, '2025-06-01') FROM unnest(enum_range(NULL::referral.state)) s \g /dev/null
BEGIN;
SELECT refer(101, 'received', NULL), refer(102, 'received', '2999-01-01'), refer(103, 'received', current_date), refer(104, 'received', current_date - 1), refer(105, 'received', '2025-05-31') \g /dev/null
SELECT is((SELECT array_agg(e) FROM referral.expiring_entities() e), '{referral}', 'referrals expire');
SELECT is((SELECT (e.expired, e.failed, e.last_error, e.last_on, e.last_id) FROM referral.tick_expire('referral', now(), NULL, NULL, 100) e), ROW(7::bigint, 0::bigint, NULL::text, current_date - 1, 104::bigint), 'seven have expired');
SELECT is((SELECT array_agg(j.from_state::text ORDER BY j.from_state) FROM referral.journal j WHERE j.entity = 'referral' AND j.to_state = 'expired' AND j.action = 'update' AND j.entity_id < 100),
          '{received,validated,pending_authorization,ready_to_schedule,on_hold}', 'from every state in which they wait, and no other');
SELECT is((SELECT array_agg(r.state::text ORDER BY r.referral_id) FROM referral.referral r WHERE r.referral_id > 100), '{received,received,received,expired,expired}', 'after their last day, not on it');
SELECT is((SELECT (j.transition, j.actor_kind, j.reason) FROM referral.journal j WHERE j.entity = 'referral' AND j.entity_id = 105 ORDER BY j.journal_id DESC LIMIT 1),
          ROW('expire'::text, 'system'::text, 'expires_on has passed'::text), 'by their transition, by a system, with a reason');
SELECT is((SELECT (e.expired, e.last_on) FROM referral.tick_expire('referral', now(), NULL, NULL, 100) e), ROW(0::bigint, NULL::date), 'once');
COMMIT;
SELECT is((SELECT (e.expired, e.failed) FROM referral.tick_expire('referral', '3000-01-01', NULL, NULL, 100) e), ROW(0::bigint, 0::bigint), 'a trial in the future does not expire what is still good: the guard goes by the day');
SELECT is((SELECT r.state::text FROM referral.referral r WHERE r.referral_id = 102), 'received', 'it stays');
-- page by page, with one that fails
SELECT refer(110 + i, 'received', '2025-06-01'::date + i % 2) FROM generate_series(1, 5) i \g /dev/null
CREATE FUNCTION refuse_112() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.referral_id = 112 THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END$$;
CREATE TRIGGER refuse BEFORE UPDATE ON referral.referral FOR EACH ROW EXECUTE FUNCTION refuse_112();
CREATE FUNCTION expire_all() RETURNS TABLE (page integer, expired bigint, failed bigint, last_id bigint, last_error text) LANGUAGE plpgsql AS $$
DECLARE
    e record;
    last_on date;
BEGIN
    page := 0;
    LOOP
        page := page + 1;
        SELECT * INTO e FROM referral.tick_expire('referral', now(), last_on, last_id, 2);
        EXIT WHEN e.last_on IS NULL;
        last_on := e.last_on; last_id := e.last_id; expired := e.expired; failed := e.failed; last_error := e.last_error;
        RETURN NEXT;
    END LOOP;
END $$;
SELECT is((SELECT array_agg(concat_ws(' ', e.page, e.expired, e.failed, e.last_id) ORDER BY e.page) FROM expire_all() e), '{"1 1 1 114","2 2 0 113","3 1 0 115"}', 'by date and number; what fails is passed over');
SELECT is((SELECT e.last_error ~ '112: P0001$' FROM expire_all() e), true, 'told of, and tried again by the next tick');
DROP TRIGGER refuse ON referral.referral;
-- closed before the action
SELECT begin(27, '2025-03-03 10:00Z', 'raise') \g /dev/null
SELECT fire('2025-03-03 12:00Z') \g /dev/null
SELECT move(27, '2025-03-03 11:00Z', 'done') \g /dev/null
SELECT is(acts(), '0 acted, 0 failed', 'nor for one that turns out to have been over in time');
SELECT is(levels(27, 'raise'), '1 03-03 12:00 overtaken', 'it is overtaken');
SELECT is((SELECT t.priority FROM task t WHERE t.task_id = 27), NULL, 'its priority is what it was');

-- a table of one's own: expires_on and a workflow are enough, a transition "expire" lets it expire
CREATE TABLE permit (permit_id bigint PRIMARY KEY, expires_on date);
SELECT referral.attach('permit') \g /dev/null
DO $$
DECLARE
    v bigint;
    w bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('workflow/permit', 'workflow');
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'workflow/permit' RETURNING rule_version_id INTO v;
    INSERT INTO referral.workflow (rule_version_id, entity, name) VALUES (v, 'permit', 'permit') RETURNING workflow_id INTO w;
    INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, sort) VALUES (w, 'valid', 'received', true, 1), (w, 'kept', 'validated', false, 2), (w, 'over', 'expired', false, 3);
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, human_only) VALUES (w, 'keep', 'valid', 'kept', false), (w, 'expire', 'valid', 'over', false);
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
END $$;
INSERT INTO permit (permit_id, expires_on) VALUES (1, '2025-01-01'), (2, '2025-01-01'), (3, '2025-06-01'), (4, NULL);
UPDATE permit SET step = 'kept' WHERE permit_id = 2;
SELECT is((SELECT array_agg(e) FROM referral.expiring_entities() e), '{permit,referral}', 'a table of one''s own');
SELECT is((SELECT (e.expired, e.failed) FROM referral.tick_expire('permit', '2025-03-01 00:00Z', NULL, NULL, 10) e), ROW(1::bigint, 0::bigint), 'as of a day');
SELECT is((SELECT array_agg(p.step ORDER BY p.permit_id) FROM permit p), '{over,kept,valid,valid}', 'where a step has the transition');
SELECT referral.detach('permit') \g /dev/null
SELECT is((SELECT array_agg(e) FROM referral.expiring_entities() e), '{referral}', 'as long as it is attached');
-- one that belongs to another role is none of tick()'s business
CREATE ROLE sla_tick_owner LOGIN IN ROLE referral_admin;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'sla_tick_owner');
CREATE TABLE theirs (theirs_id bigint PRIMARY KEY, expires_on date, phase text NOT NULL DEFAULT 'open', priority integer);
ALTER TABLE theirs OWNER TO sla_tick_owner;
SET SESSION AUTHORIZATION sla_tick_owner;
SELECT referral.attach('theirs') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(e) FROM referral.expiring_entities() e), '{referral}', 'a table of another owner does not expire');
-- but has clocks; what is done to its rows is done with the rights of its owner
SELECT make_workflow('theirs') \g /dev/null
SELECT make_policies('sla/theirs', '[{"name": "work", "entity": "theirs", "target": "8 hours", "levels": [{"level": 1, "percent": 50, "action": "raise_priority", "argument": "7"}]}]') \g /dev/null
CREATE TABLE trace (who text);
GRANT INSERT ON trace TO sla_tick_owner;
CREATE FUNCTION trace() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.trace VALUES (current_user); RETURN NULL; END$$;
CREATE TRIGGER trace AFTER UPDATE ON theirs FOR EACH ROW EXECUTE FUNCTION trace();
SET referral.occurred_at = '2025-03-03 10:00Z';
INSERT INTO theirs (theirs_id) VALUES (1);
RESET referral.occurred_at;
SELECT fire('2025-03-03 15:00Z') \g /dev/null
SELECT is((SELECT array_agg(e.level || e.outcome) FROM referral.escalation e WHERE e.entity = 'theirs'), '{1pending}', 'their clocks are looked at all the same');
SELECT is(acts(), '1 acted, 0 failed', 'and what they ask for is done');
SELECT is((SELECT t.priority FROM theirs t), 7, 'to the row');
SELECT is((SELECT array_agg(DISTINCT who) FROM trace), '{sla_tick_owner}', 'with the rights of the table''s owner, no more');

-- 4. The procedure itself

SELECT begin(50, '2025-03-03 10:00Z', 'raise') \g /dev/null
SELECT refer(120, 'received', '2025-06-01') \g /dev/null
CALL referral.tick('2025-03-04 12:00Z');
SELECT is(levels(50, 'raise'), '1 03-03 12:00 collapsed, 2 03-03 14:00 done, 3 03-04 10:00 done', 'CALL tick() fires and acts');
SELECT is((SELECT (t.priority, r.state::text) FROM task t, referral.referral r WHERE t.task_id = 50 AND r.referral_id = 120), ROW(3, 'received'::text), 'as of a day before a row expires, it does not');
CALL referral.tick();
SELECT is((SELECT r.state::text FROM referral.referral r WHERE r.referral_id = 120), 'expired', 'as of now, it does');
SELECT is((SELECT (h.expired > 0, h.failed, h.finished_at >= h.started_at) FROM referral.heartbeat h WHERE h.job = 'tick'), ROW(true, 0::bigint, true), 'and leaves a heartbeat');
SELECT is((refused('CALL referral.tick()')).code, '2D000', 'not inside a transaction');
SELECT is((SELECT array_agg(e || ' ' || v.problem) FROM unnest(ARRAY['sla_pause', 'escalation', 'referral', 'task', 'theirs']) e, referral.verify_coverage(e) v), NULL, 'all of it is in the journal');

SELECT * FROM finish();
