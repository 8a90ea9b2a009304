-- What changes clocks other than the course of their rows: people, an urgency that changes, new versions of policies and
-- calendars, recompute_clocks(). Times are in UTC; 2025-03-03 is a Monday.
SELECT plan(225);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql
\ir ../lib/make_policy.sql
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET client_min_messages = error;

CREATE ROLE sla_change_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE sla_change_amy LOGIN IN ROLE referral_authorizer;
CREATE ROLE sla_change_admin LOGIN IN ROLE referral_admin;
CREATE ROLE sla_change_other LOGIN IN ROLE referral_admin, referral_coordinator;
CREATE ROLE sla_change_clinician LOGIN IN ROLE referral_clinician, referral_scheduler, referral_approver, referral_auditor, referral_integration,
    referral_rule_author, referral_rule_approver, referral_application, referral_analyst;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Organisation 2');
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'sla_change_jane'), (1, 'sla_change_amy'), (1, 'sla_change_admin'), (2, 'sla_change_other'),
    (1, 'sla_change_clinician');
SET referral.org_id = '1';

CREATE TABLE task (task_id bigint PRIMARY KEY, phase text NOT NULL DEFAULT 'open', urgency text NOT NULL DEFAULT 'routine',
                   site_id bigint, priority integer NOT NULL DEFAULT 0, note text);
SELECT referral.attach('task') \g /dev/null
GRANT SELECT, INSERT, UPDATE ON task TO referral_coordinator;
SELECT make_workflow('task') \g /dev/null
CREATE FUNCTION office(closed text DEFAULT '', until text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT format('{"timezone": "UTC", "hours": {"mon": ["09:00-17:00"], "tue": ["09:00-17:00"], "wed": ["09:00-17:00"], "thu": ["09:00-17:00"],
                   "fri": ["09:00-17:00"]}, "closed": [%s]%s}', closed, ', "valid_until": "' || until || '"') $$;
SELECT make_calendar('office', office()) AS office \gset
CREATE FUNCTION policies(target text DEFAULT '8 hours', more jsonb DEFAULT '{}') RETURNS bigint LANGUAGE sql AS $$
    SELECT make_policies('sla/task', jsonb_build_array(jsonb_build_object('name', 'work', 'target', target, 'pause_when', 'phase = ''held''',
        'cancel_when', 'phase = ''void''', 'levels', '[{"level": 1, "percent": 50}, {"level": 2, "percent": 100}]'::jsonb) || more,
        '{"name": "work", "target": "2 hours", "priority": 1, "applies_when": "urgency = ''urgent''", "pause_when": "phase = ''held''", "cancel_when": "phase = ''void''",
          "levels": [{"level": 1, "percent": 50}, {"level": 2, "percent": 100}, {"level": 3, "percent": 200}]}'::jsonb,
        '{"name": "work", "target": "4 hours", "priority": 2, "applies_when": "urgency = ''counted''", "pause_when": "phase = ''held''", "pause_counts": true}'::jsonb,
        '{"name": "other", "target": "1 day", "applies_when": "urgency <> ''exempt''"}'::jsonb)) $$;
SELECT policies() AS version1 \gset
CREATE FUNCTION begin(id bigint, at timestamptz, phase text DEFAULT 'open', urgency text DEFAULT 'routine') RETURNS void LANGUAGE sql AS
    $$SELECT at(at, format('INSERT INTO task (task_id, phase, urgency) VALUES (%s, %L, %L)', id, phase, urgency))$$;
CREATE FUNCTION move(id bigint, at timestamptz, phase text, urgency text DEFAULT NULL) RETURNS void LANGUAGE sql AS
    $$SELECT at(at, format('UPDATE task SET phase = %L, urgency = coalesce(%L, urgency) WHERE task_id = %s', phase, urgency, id))$$;
CREATE FUNCTION stands(id bigint, at timestamptz, policy text DEFAULT 'work', cycle integer DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', status(c), used(c, at), 'of ' || c.target, 'due ' || to_char(c.due_at, 'MM-DD HH24:MI'), 'breached ' || to_char(c.breached_at, 'MM-DD HH24:MI'))
    FROM clock(id, policy, cycle) c $$;
CREATE FUNCTION clock_id(id bigint, policy text DEFAULT 'work') RETURNS bigint LANGUAGE sql AS 'SELECT (clock(id, policy)).clock_id';
-- everything that clocks are made of
CREATE FUNCTION everything() RETURNS text LANGUAGE sql AS $$
    SELECT md5(concat((SELECT jsonb_agg(to_jsonb(c) ORDER BY c.clock_id) FROM referral.sla_clock c), (SELECT jsonb_agg(to_jsonb(p) ORDER BY p.pause_id) FROM referral.sla_pause p),
        (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.adjustment_id) FROM referral.sla_adjustment a), (SELECT jsonb_agg(to_jsonb(e) ORDER BY e.escalation_id) FROM referral.escalation e),
        (SELECT jsonb_agg(to_jsonb(t) ORDER BY t.task_id) FROM task t), (SELECT count(*) FROM referral.journal))) $$;

-- 1. The row changes so that another policy is its own

SELECT begin(1, '2025-03-03 10:00Z'), move(1, '2025-03-03 11:00Z', 'open', 'urgent') \g /dev/null
SELECT is(stands(1, '2025-03-03 11:00Z'), 'running 01:00:00 of 02:00:00 due 03-03 12:00', 'urgent: another target at once, from the start on');
SELECT is((SELECT (a.action, a.target_before, a.target_after, a.due_before, a.due_after, a.adjusted_by) FROM referral.sla_adjustment a WHERE a.clock_id = clock_id(1)),
          ROW('recompute'::text, '8 hours'::interval, '2 hours'::interval, '2025-03-04 10:00Z'::timestamptz, '2025-03-03 12:00Z'::timestamptz, 'postgres'::text), 'on record');
SELECT is(stands(1, '2025-03-03 11:00Z', 'other'), 'running 01:00:00 of 08:00:00 due 03-04 10:00', 'a clock of another policy is none of it');
SELECT tick_at('2025-03-03 13:00Z') \g /dev/null
SELECT is(levels(1), '1 03-03 11:00 collapsed, 2 03-03 12:00 done', 'its levels are those of the new policy');
SELECT move(1, '2025-03-03 14:00Z', 'open', 'routine') \g /dev/null
SELECT is(stands(1, '2025-03-03 14:00Z'), 'running 04:00:00 of 08:00:00 due 03-04 10:00', 'and back: judged by the first policy, from the start on, not breached');
SELECT is(levels(1), '1 03-03 11:00 collapsed, 2 03-03 12:00 done, 3 03-03 14:00 done', 'levels that were recorded stay');
SELECT tick_at('2025-03-05 09:00Z') \g /dev/null
SELECT is(levels(1), '1 03-03 11:00 collapsed, 2 03-03 12:00 done, 3 03-03 14:00 done', 'and are not recorded again');
SELECT is((clock(1)).breached_at, '2025-03-04 10:00Z'::timestamptz, 'the breach is');

-- a target that is exceeded already
SELECT begin(2, '2025-03-03 09:00Z'), move(2, '2025-03-03 15:00Z', 'open', 'urgent') \g /dev/null
SELECT is(stands(2, '2025-03-03 15:00Z'), 'running 06:00:00 of 02:00:00 due 03-03 11:00 breached 03-03 15:00', 'urgent after the urgent target: breached when that is said, not before');
SELECT is(levels(2), '1 03-03 13:00 done', 'what the former policy had reached by then is recorded first');
SELECT tick_at('2025-03-03 15:00Z') \g /dev/null
SELECT is(levels(2), '1 03-03 13:00 done, 2 03-03 15:00 collapsed, 3 03-03 15:00 done', 'what the new one has reached, from then on');
-- pauses are gone through again
SELECT begin(3, '2025-03-03 09:00Z'), move(3, '2025-03-03 10:00Z', 'held'), move(3, '2025-03-03 12:00Z', 'open'), move(3, '2025-03-03 12:30Z', 'open', 'counted') \g /dev/null
SELECT is(stands(3, '2025-03-03 12:30Z'), 'running 03:30:00 of 04:00:00 due 03-03 13:00', 'a policy that counts pauses counts those that were');
SELECT is(pauses(3), 'rule 03-03 10:00 - 03-03 12:00 counted', 'and the pause says so');
SELECT move(3, '2025-03-03 13:00Z', 'open', 'routine') \g /dev/null
SELECT is(stands(3, '2025-03-03 13:00Z'), 'running 02:00:00 of 08:00:00 due 03-04 11:00', 'and one that does not takes them out again');
SELECT is(pauses(3), 'rule 03-03 10:00 - 03-03 12:00', 'in the record, too');
-- while it is paused
SELECT begin(4, '2025-03-03 09:00Z'), move(4, '2025-03-03 10:00Z', 'held'), move(4, '2025-03-03 11:00Z', 'held', 'counted') \g /dev/null
SELECT is(stands(4, '2025-03-03 12:00Z'), 'paused 03:00:00 of 04:00:00 due 03-03 13:00', 'a paused clock may come under a policy for which it counts');
SELECT move(4, '2025-03-03 12:00Z', 'held', 'urgent') \g /dev/null
SELECT is(stands(4, '2025-03-03 12:00Z'), 'paused 01:00:00 of 02:00:00', 'and the other way round');
SELECT move(4, '2025-03-03 15:00Z', 'open', 'urgent') \g /dev/null
SELECT is(stands(4, '2025-03-03 15:00Z'), 'running 01:00:00 of 02:00:00 due 03-03 16:00', 'and go on');
-- together with something else
SELECT begin(5, '2025-03-03 09:00Z'), move(5, '2025-03-03 12:00Z', 'done', 'urgent') \g /dev/null
SELECT is(stands(5, '2025-03-04Z'), 'stopped 03:00:00 of 02:00:00 due 03-03 11:00 breached 03-03 12:00', 'urgent and done in one change: judged by the urgent policy');
SELECT begin(6, '2025-03-03 09:00Z', 'open', 'urgent'), move(6, '2025-03-03 12:00Z', 'done', 'routine') \g /dev/null
SELECT is(stands(6, '2025-03-04Z'), 'stopped 03:00:00 of 08:00:00 due 03-03 17:00', 'and the other way round');
SELECT begin(7, '2025-03-03 09:00Z'), move(7, '2025-03-03 10:00Z', 'held', 'urgent') \g /dev/null
SELECT is(stands(7, '2025-03-04Z'), 'paused 01:00:00 of 02:00:00', 'urgent and on hold');
SELECT is(pauses(7), 'rule 03-03 10:00 -', 'with its pause');
SELECT move(7, '2025-03-03 11:00Z', 'done', 'routine') \g /dev/null
SELECT is(stands(7, '2025-03-04Z'), 'stopped 01:00:00 of 08:00:00 due 03-04 10:00', 'from the pause to the end, under another policy');
-- no policy at all
SELECT begin(8, '2025-03-03 09:00Z'), move(8, '2025-03-03 10:00Z', 'open', 'exempt') \g /dev/null
SELECT is(status(clock(8, 'other')) || ' ' || status(clock(8)), 'nullified running', 'a row that falls under no policy of a name any more: nullified');
SELECT move(8, '2025-03-03 11:00Z', 'open', 'routine') \g /dev/null
SELECT is((SELECT (c.cycle, c.started_at) FROM clock(8, 'other') c), ROW(2, '2025-03-03 11:00Z'::timestamptz), 'under one again: another cycle');
-- a closed clock keeps what it was judged by
SELECT begin(9, '2025-03-03 09:00Z'), move(9, '2025-03-03 12:00Z', 'done') \g /dev/null
SELECT to_jsonb(clock(9)) AS before \gset
SELECT move(9, '2025-03-03 13:00Z', 'done', 'urgent') \g /dev/null
SELECT is(to_jsonb(clock(9)), :'before'::jsonb, 'a clock that has stopped is not judged again');
-- reopened under another policy
SELECT make_policies('sla/resumed', '[{"name": "resumed", "target": "8 hours", "reopen": "resume"},
    {"name": "resumed", "target": "4 hours", "reopen": "resume", "priority": 1, "applies_when": "urgency = ''urgent''"}]') \g /dev/null
SELECT begin(10, '2025-03-03 09:00Z'), move(10, '2025-03-03 12:00Z', 'done'), move(10, '2025-03-04 09:00Z', 'done', 'urgent'), move(10, '2025-03-04 10:00Z', 'open') \g /dev/null
SELECT is(stands(10, '2025-03-04 10:00Z', 'resumed'), 'running 03:00:00 of 04:00:00 due 03-04 11:00', 'a clock that is resumed is the row''s policy''s, that may have changed meanwhile');

SELECT make_policies('sla/kept', '[{"name": "kept", "target": "8 hours", "reopen": "resume", "start_when": "phase IN (''open'', ''held'')", "pause_when": "phase = ''held''"},
    {"name": "kept", "target": "2 hours", "reopen": "resume", "start_when": "phase IN (''open'', ''held'')", "pause_when": "phase = ''held''", "priority": 1, "applies_when": "urgency = ''urgent''"}]') \g /dev/null
SELECT begin(11, '2025-03-03 09:00Z'), move(11, '2025-03-03 14:00Z', 'done'), move(11, '2025-03-03 15:00Z', 'done', 'urgent'), move(11, '2025-03-04 09:00Z', 'held') \g /dev/null
SELECT is((SELECT (status(c), c.consumed, c.target, c.breached_at) FROM clock(11, 'kept') c), ROW('paused'::text, '5 hours'::interval, '2 hours'::interval, '2025-03-04 09:00Z'::timestamptz),
          'resumed paused under a target that is exceeded already: breached then');
SELECT begin(12, '2025-03-03 09:00Z'), move(12, '2025-03-03 14:00Z', 'held'), move(12, '2025-03-03 15:00Z', 'open', 'urgent'), move(12, '2025-03-03 15:00Z', 'held') \g /dev/null
SELECT is((SELECT (status(c), c.consumed, c.breached_at) FROM clock(12, 'kept') c), ROW('paused'::text, '5 hours'::interval, '2025-03-03 15:00Z'::timestamptz), 'also when it runs for no time');

-- 2. Versions of policies: an open clock keeps the one that it began with

SELECT begin(20, '2025-03-03 10:00Z'), begin(21, '2025-03-03 10:00Z'), begin(22, '2025-03-03 10:00Z'), begin(23, '2025-03-03 10:00Z'), begin(24, '2025-03-03 10:00Z'),
       begin(25, '2025-03-03 10:00Z'), begin(26, '2025-03-03 10:00Z'), begin(27, '2025-03-03 10:00Z') \g /dev/null
SELECT move(25, '2025-03-03 11:00Z', 'held'), move(26, '2025-03-03 11:00Z', 'done') \g /dev/null
SELECT policies('3 hours', '{"stop_when": "phase = ''seen''", "pause_when": "phase = ''parked''", "cancel_when": "phase = ''gone''", "levels": [{"level": 1, "percent": 10}]}') AS version2 \gset
SELECT is(stands(20, '2025-03-03 12:00Z'), 'running 02:00:00 of 08:00:00 due 03-04 10:00', 'a new version leaves open clocks alone');
SELECT begin(28, '2025-03-03 10:00Z') \g /dev/null
SELECT is(stands(28, '2025-03-03 12:00Z'), 'running 02:00:00 of 03:00:00 due 03-03 13:00', 'a new clock is under it');
SELECT move(20, '2025-03-03 12:00Z', 'seen') \g /dev/null
SELECT is(stands(20, '2025-03-03 12:00Z'), 'running 02:00:00 of 08:00:00 due 03-04 10:00', 'what stops clocks of the new version does not stop one of the old');
SELECT move(20, '2025-03-03 13:00Z', 'done') \g /dev/null
SELECT is(stands(20, '2025-03-04Z'), 'stopped 03:00:00 of 08:00:00 due 03-04 10:00', 'what stopped it when it began, stops it');
SELECT move(21, '2025-03-03 12:00Z', 'held') \g /dev/null
SELECT is(status(clock(21)), 'paused', 'what pauses it is what it began with');
SELECT move(21, '2025-03-03 13:00Z', 'parked') \g /dev/null
SELECT is(status(clock(21)), 'running', 'and not what pauses others');
SELECT move(22, '2025-03-03 12:00Z', 'gone') \g /dev/null
SELECT is(status(clock(22)), 'running', 'so with what cancels: not by the new version');
SELECT move(22, '2025-03-03 13:00Z', 'void') \g /dev/null
SELECT is(status(clock(22)), 'nullified', 'but by its own');
SELECT move(28, '2025-03-03 12:00Z', 'seen') \g /dev/null
SELECT is(status(clock(28)), 'stopped', 'a clock of the new version stops by that');
SELECT tick_at('2025-03-03 14:00Z') \g /dev/null
SELECT is(levels(23), '1 03-03 14:00 done', 'levels, too, are those it began with');
SELECT move(24, '2025-03-03 11:00Z', 'open', 'urgent') \g /dev/null
SELECT is((SELECT (c.target, p.rule_version_id) FROM clock(24) c JOIN referral.sla_policy p USING (sla_policy_id)), ROW('2 hours'::interval, :version2::bigint),
          'a row that becomes urgent is judged by the urgent policy of the version that is active');
-- the version is retired: the clocks that began under it end under it
SELECT begin(29, '2025-03-03 10:00Z') \g /dev/null
UPDATE referral.rule_version SET status = 'retired' WHERE rule_version_id = :version2;
SELECT begin(30, '2025-03-03 10:00Z') \g /dev/null
SELECT is(status(clock(30)), 'none', 'without an active version, no clock starts');
SELECT move(29, '2025-03-03 12:00Z', 'seen'), move(27, '2025-03-03 12:00Z', 'done') \g /dev/null
SELECT is(status(clock(29)) || ' ' || status(clock(27)), 'stopped stopped', 'but those that run come to their end');
SELECT move(23, '2025-03-04 09:00Z', 'void') \g /dev/null
SELECT is(status(clock(23)), 'nullified', 'or are nullified');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :version1;

-- one that asks for other columns, and does not apply to the row
SELECT begin(31, '2025-03-03 10:00Z') \g /dev/null
SELECT make_policies('sla/task', '[{"name": "work", "target": "1 hour", "start_when": "site_id = 1", "stop_when": "site_id = 2", "applies_when": "urgency = ''urgent''"}]') AS version3 \gset
SELECT at('2025-03-03 11:00Z', 'UPDATE task SET site_id = 3 WHERE task_id = 31') \g /dev/null
SELECT is(stands(31, '2025-03-03 12:00Z'), 'running 02:00:00 of 08:00:00 due 03-04 10:00', 'a version under which the row has no policy leaves its clock alone, too');
SELECT move(31, '2025-03-03 12:00Z', 'held') \g /dev/null
SELECT is(status(clock(31)), 'paused', 'it follows the columns that its own version asks for');
SELECT move(31, '2025-03-03 13:00Z', 'done') \g /dev/null
SELECT is(stands(31, '2025-03-04Z'), 'stopped 02:00:00 of 08:00:00 due 03-04 11:00', 'to the end');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :version1;

-- 3. recompute_clocks()

CREATE TABLE public.recomputed AS SELECT * FROM referral.recompute_clocks() WITH NO DATA;
DELETE FROM task;
SELECT is((SELECT count(*) FROM referral.recompute_clocks()), 0::bigint, 'nothing is open, nothing to change');
SELECT begin(40, '2025-03-03 10:00Z'), begin(41, '2025-03-03 10:00Z'), begin(42, '2025-03-03 10:00Z'), begin(43, '2025-03-03 10:00Z', 'open', 'exempt'),
       begin(44, '2025-03-03 10:00Z'), begin(45, '2025-03-03 10:00Z') \g /dev/null
SELECT move(41, '2025-03-03 11:00Z', 'held'), move(42, '2025-03-03 12:00Z', 'done'), move(44, '2025-03-03 11:00Z', 'held'), move(44, '2025-03-03 13:00Z', 'open'),
       move(45, '2025-03-03 13:00Z', 'parked') \g /dev/null
SELECT tick_at(now()) \g /dev/null
SELECT is((SELECT count(*) FROM referral.recompute_clocks()), 0::bigint, 'nor when nothing has changed since they began');
SELECT policies('6 hours', '{"pause_when": "phase = ''parked''", "levels": [{"level": 1, "percent": 10}, {"level": 2, "percent": 90}, {"level": 3, "percent": 200}]}') AS version4 \gset
SELECT to_jsonb(clock(42)) AS closed \gset
SELECT everything() AS before \gset
INSERT INTO recomputed SELECT * FROM referral.recompute_clocks();
SELECT is(everything(), :'before', 'a dry run changes nothing');
SELECT is((SELECT array_agg(format('%s %s %s', r.entity_id, r.policy, r.change) ORDER BY r.entity_id, r.policy) FROM recomputed r),
          '{"40 other another policy","40 work another policy","41 other another policy","41 work another policy, resumed","43 work another policy","44 other another policy","44 work another policy","45 other another policy","45 work another policy, paused"}',
          'and tells what would change');
SELECT is((SELECT (r.target_before, r.target_after, r.due_before, r.due_after) FROM recomputed r WHERE r.entity_id = 44 AND r.policy = 'work'),
          ROW('8 hours'::interval, '6 hours'::interval, '2025-03-04 12:00Z'::timestamptz, '2025-03-04 10:00Z'::timestamptz), 'with target and due time before and after');
SELECT is((refused('SELECT referral.recompute_clocks(dry_run => false)')).code, 'RF005', 'the real run wants a reason');
SELECT is((refused($$SELECT referral.recompute_clocks(dry_run => false, reason => ' ')$$)).code, 'RF005', 'a blank is none');
SELECT is((SELECT count(*) FROM referral.recompute_clocks(of_policy => 'other')), 4::bigint, 'of one policy');
SELECT is((SELECT count(*) FROM referral.recompute_clocks(of_org => 2)), 0::bigint, 'of one organisation');
CREATE TABLE before AS SELECT c.* FROM referral.sla_clock c;
BEGIN;
CREATE TABLE dry AS SELECT * FROM referral.recompute_clocks();
CREATE TABLE wet AS SELECT * FROM referral.recompute_clocks(dry_run => false, reason => 'six hours');
SELECT set_eq('SELECT * FROM wet', 'SELECT * FROM dry', 'the real run does what the dry run says');
SELECT cmp_ok((SELECT count(*) FROM wet), '=', 9::bigint, 'all of it');
SELECT is((SELECT count(*) FROM wet w JOIN referral.sla_clock c USING (org_id, clock_id)
           WHERE (c.target, c.due_at, c.breached_at) IS DISTINCT FROM (w.target_after, w.due_after, w.breached_after)), 0::bigint, 'what it returns is how the clocks are');
SELECT is((SELECT count(*) FROM wet w JOIN before c USING (org_id, clock_id)
           WHERE (c.target, c.due_at, c.breached_at) IS DISTINCT FROM (w.target_before, w.due_before, w.breached_before)), 0::bigint, 'and how they were');
SELECT is((SELECT count(*) FROM referral.recompute_clocks()), 0::bigint, 'then there is nothing more to change');
SELECT is((SELECT (c.running_since, c.pause_kind) FROM clock(41) c), ROW(now(), NULL::text), 'a clock whose pause the new version does not know runs on from now');
SELECT is((SELECT (c.running_since, c.pause_kind, (SELECT p.paused_at FROM referral.sla_pause p WHERE p.clock_id = c.clock_id)) FROM clock(45) c), ROW(NULL::timestamptz, 'rule'::text, now()),
          'and one that it pauses is paused from now on');
SELECT is((SELECT (c.breached_at, c.target, c.consumed) FROM clock(44) c), ROW('2025-03-04 12:00Z'::timestamptz, '6 hours'::interval, '1 hour'::interval), 'one that was late already stays late since then');
COMMIT;
SELECT is(to_jsonb(clock(42)), :'closed'::jsonb, 'a closed clock keeps the version it was judged by');
SELECT is((SELECT count(*) FROM wet w JOIN referral.sla_adjustment a USING (org_id, clock_id)
           WHERE (a.action, a.reason, a.adjusted_by) = ('recompute', 'six hours', 'postgres')
             AND (a.target_before, a.target_after, a.due_before) IS NOT DISTINCT FROM (w.target_before, w.target_after, w.due_before)), 9::bigint, 'each change is on record, with its reason');
-- a level is never taken back, and never comes twice
SELECT tick_at(now()) \g /dev/null
SELECT is((SELECT array_agg(e.level ORDER BY e.level) FROM referral.escalation e WHERE e.clock_id = clock_id(40)), '{1,2,3}', 'each level is there');
SELECT is((SELECT min(e.planned_at) >= min(a.adjusted_at) FROM referral.escalation e JOIN referral.sla_adjustment a USING (org_id, clock_id)
           WHERE e.clock_id = clock_id(40) AND e.level = 3 AND a.reason = 'six hours'), true, 'a level that is new is reached when the clock came under it, not before');

-- later and earlier targets
SELECT make_policies('sla/slow', '[{"name": "slow", "target": "9000 days", "start_when": "phase = ''slow''", "levels": [{"level": 1, "percent": 50}]}]') AS slow1 \gset
SELECT begin(50, '2025-03-03 10:00Z', 'slow') \g /dev/null
SELECT make_policies('sla/slow', '[{"name": "slow", "target": "2 hours", "start_when": "phase = ''slow''", "levels": [{"level": 1, "percent": 50}, {"level": 2, "percent": 200}]}]') AS slow2 \gset
BEGIN;
SELECT referral.recompute_clocks(of_policy => 'slow', dry_run => false, reason => 'sooner') \g /dev/null
SELECT is((SELECT (c.target, c.due_at, c.breached_at, c.started_at, c.judged_since) FROM clock(50, 'slow') c),
          ROW('2 hours'::interval, '2025-03-03 12:00Z'::timestamptz, now(), '2025-03-03 10:00Z'::timestamptz, now()), 'a clock that is late by the new target is late since it is judged by it');
SELECT tick_at(now()) \g /dev/null
SELECT is((SELECT array_agg((e.level, e.planned_at = now(), e.outcome)::text ORDER BY e.level) FROM referral.escalation e WHERE e.clock_id = clock_id(50, 'slow')), '{"(1,t,collapsed)","(2,t,done)"}',
          'and reaches its levels then, once');
COMMIT;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :slow1;
SELECT is((SELECT (r.breached_before IS NULL, r.breached_after, r.target_before) FROM referral.recompute_clocks(of_policy => 'slow') r), ROW(false, NULL::timestamptz, '2 hours'::interval), 'back to the former version: not late');
SELECT referral.recompute_clocks(of_policy => 'slow', dry_run => false, reason => 'later') \g /dev/null
SELECT tick_at(now()) \g /dev/null
SELECT is((SELECT (c.breached_at, (SELECT count(*) FROM referral.escalation e WHERE e.clock_id = c.clock_id)) FROM clock(50, 'slow') c), ROW(NULL::timestamptz, 2::bigint), 'what was escalated stays');
-- a version without a policy for the row, and one without the policy
SELECT make_policies('sla/slow', '[{"name": "slow", "target": "2 hours", "start_when": "phase = ''slow''", "applies_when": "urgency = ''urgent''"}]') \g /dev/null
SELECT is((SELECT r.change ~ 'nullified' FROM referral.recompute_clocks(of_policy => 'slow') r), true, 'a row that would be under no policy: its clock would be nullified');
SELECT is(status(clock(50, 'slow')), 'running', 'but is not, by a dry run');
SELECT make_policies('sla/slow', '[{"name": "slower", "target": "2 hours"}]') \g /dev/null
SELECT is((SELECT count(*) FROM referral.recompute_clocks(of_policy => 'slow')), 0::bigint, 'where no policy of the name is active, the clock goes on');
SELECT make_policies('sla/slow', '[{"name": "slow", "target": "2 hours", "start_when": "phase = ''slow''", "applies_when": "urgency = ''urgent''"}]') \g /dev/null
SELECT referral.recompute_clocks(of_policy => 'slow', dry_run => false, reason => 'none') \g /dev/null
SELECT is(status(clock(50, 'slow')), 'nullified', 'a real run nullifies');
SELECT is((SELECT (a.action, a.reason) FROM referral.sla_adjustment a WHERE a.clock_id = clock_id(50, 'slow') ORDER BY a.adjustment_id DESC LIMIT 1), ROW('recompute'::text, 'none'::text), 'on record');

-- 4. Versions of calendars

SELECT make_policies('sla/days', '[{"name": "days", "target": "2 days", "start_when": "phase = ''days''", "stop_when": "phase = ''done''"}]') \g /dev/null
SELECT begin(60, '2025-04-16 10:00Z', 'days') \g /dev/null
SELECT make_calendar('office', office('"2025-04-18", "2025-04-21"')) AS office2 \gset
SELECT is((SELECT (c.due_at, c.business_calendar_id) FROM clock(60, 'days') c), ROW('2025-04-18 10:00Z'::timestamptz, :office::bigint), 'a new version of a calendar leaves open clocks alone');
SELECT begin(61, '2025-04-16 10:00Z', 'days') \g /dev/null
SELECT is((SELECT (c.due_at, c.business_calendar_id) FROM clock(61, 'days') c), ROW('2025-04-22 10:00Z'::timestamptz, :office2::bigint), 'a new clock counts on it');
SELECT tick_at(now()) \g /dev/null
SELECT is((SELECT (r.change, r.due_before, r.due_after) FROM referral.recompute_clocks(of_policy => 'days') r), ROW('another calendar'::text, '2025-04-18 10:00Z'::timestamptz, '2025-04-22 10:00Z'::timestamptz),
          'recompute_clocks() shows the holidays');
SELECT referral.recompute_clocks(of_policy => 'days', dry_run => false, reason => 'Easter') \g /dev/null
SELECT is((SELECT (c.due_at, c.business_calendar_id, c.calendar_fingerprint = referral.fingerprint(b.calendar, c.due_at)) FROM clock(60, 'days') c JOIN referral.business_calendar b USING (business_calendar_id)),
          ROW('2025-04-22 10:00Z'::timestamptz, :office2::bigint, true), 'and puts the clock on it');
SELECT begin(62, '2025-04-16 10:00Z', 'days'), move(62, '2025-04-17 10:00Z', 'done') \g /dev/null
SELECT to_jsonb(clock(62, 'days')) AS closed \gset
SELECT make_calendar('office', office('"2025-04-17"')) AS office3 \gset
SELECT referral.recompute_clocks(dry_run => false, reason => 'another day') \g /dev/null
SELECT is(to_jsonb(clock(62, 'days')), :'closed'::jsonb, 'a closed clock keeps the calendar it was judged by');
-- the end of a calendar, and its continuation
SELECT make_calendar('short', office('', '2025-03-04')) \g /dev/null
SELECT make_policies('sla/short', '[{"name": "short", "target": "2 days 4 hours", "calendar": "short", "start_when": "phase = ''short''", "pause_when": "phase = ''held''", "levels": [{"level": 1, "percent": 50}]}]') \g /dev/null
SELECT begin(63, '2025-03-03 10:00Z', 'short'), begin(64, '2025-03-03 10:00Z', 'short'), move(64, '2025-03-03 12:00Z', 'held'), move(64, '2025-03-10 12:00Z', 'short'),
       begin(65, '2025-03-03 10:00Z', 'short'), move(65, '2025-03-05 10:00Z', 'held') \g /dev/null
SELECT is((SELECT array_agg(concat_ws(' ', status(c), c.target, c.consumed, 'due ' || c.due_at) ORDER BY c.entity_id) FROM referral.sla_clock c WHERE c.policy = 'short'),
          '{"running 00:00:00","running 02:00:00",paused}', 'clocks whose calendar ends before they are due');
SELECT is((SELECT count(*) FROM referral.recompute_clocks(of_policy => 'short')), 0::bigint, 'there is nothing to be done about it yet');
SELECT make_calendar('short', office('', '2030-12-31')) \g /dev/null
SELECT is((SELECT array_agg(concat_ws(' ', r.target_before, r.target_after, r.due_before, r.due_after) ORDER BY r.entity_id) FROM referral.recompute_clocks(of_policy => 'short') r),
          '{"20:00:00 2025-03-05 14:00:00+00","20:00:00 2025-03-12 14:00:00+00",20:00:00}', 'a longer calendar: recompute_clocks() finds the due times');
SELECT referral.recompute_clocks(of_policy => 'short', dry_run => false, reason => 'known now') \g /dev/null
SELECT is((SELECT array_agg(concat_ws(' ', status(c), c.target, c.consumed, 'due ' || c.due_at) ORDER BY c.entity_id) FROM referral.sla_clock c WHERE c.policy = 'short'),
          '{"running 20:00:00 00:00:00 due 2025-03-05 14:00:00+00","running 20:00:00 02:00:00 due 2025-03-12 14:00:00+00","paused 20:00:00 16:00:00"}', 'and sets them');

-- 5. What people do. These clocks began so many hours before now, on a calendar that is always open.

SELECT make_policies('sla/payer', '[{"name": "payer", "target": "7 days", "calendar": "always", "start_when": "phase = ''payer''", "stop_when": "phase = ''done''", "pause_when": "phase = ''held''",
    "cancel_when": "phase = ''void''", "levels": [{"level": 1, "percent": 50}, {"level": 2, "percent": 100, "after": "-24:00"}, {"level": 3, "percent": 100}]},
    {"name": "counts", "target": "7 days", "calendar": "always", "start_when": "phase = ''payer''", "pause_when": "phase = ''held''", "pause_counts": true}]') \g /dev/null
CREATE FUNCTION payer(id bigint, since interval) RETURNS void LANGUAGE sql AS $$SELECT begin(id, now() - since, 'payer')$$;
CREATE FUNCTION verb(call text, id bigint, more text DEFAULT '', policy text DEFAULT 'payer') RETURNS text LANGUAGE sql AS
    $$SELECT format('SELECT referral.%s(1, %s%s)', call, clock_id(id, policy), more)$$;
CREATE FUNCTION adjusted(id bigint, policy text DEFAULT 'payer') RETURNS referral.sla_adjustment LANGUAGE sql AS $$
    SELECT a FROM referral.sla_adjustment a WHERE a.clock_id = clock_id(id, policy) ORDER BY a.adjustment_id DESC LIMIT 1 $$;
CREATE FUNCTION is_so(statement text) RETURNS boolean LANGUAGE plpgsql AS $$DECLARE b boolean; BEGIN EXECUTE statement INTO b; RETURN b; END$$;

-- more time
BEGIN;
SELECT payer(70, '100 hours') \g /dev/null
SET LOCAL referral.actor = 'nobody';
SELECT referral.extend_clock(1, clock_id(70, 'payer'), '14 days', 'the payer asked for more') AS due \gset
SELECT is(:'due'::timestamptz, now() - interval '100 hours' + interval '504 hours', 'extend_clock() returns the new due time: 14 days more');
SELECT is((SELECT (c.target, c.due_at = :'due', c.breached_at) FROM clock(70, 'payer') c), ROW('504 hours'::interval, true, NULL::timestamptz), 'and the clock has it');
SELECT is((SELECT (a.action, a.extended_by, a.reason, a.adjusted_by, a.target_before, a.target_after, a.due_after - a.due_before) FROM adjusted(70) a),
          ROW('extend'::text, '14 days'::interval, 'the payer asked for more'::text, 'postgres'::text, '168 hours'::interval, '504 hours'::interval, '14 days'::interval), 'on record');
SELECT is((SELECT array_agg(e.level) FROM referral.escalation e WHERE e.clock_id = clock_id(70, 'payer')), '{1}', 'a level that was reached before stays');
SELECT is((SELECT c.next_fire_at FROM clock(70, 'payer') c), :'due'::timestamptz - interval '24 hours', 'those that were not move along');
SELECT referral.extend_clock(1, clock_id(70, 'payer'), '1 hour', 'a little more') \g /dev/null
SELECT is((SELECT c.due_at FROM clock(70, 'payer') c), :'due'::timestamptz + interval '1 hour', 'it may be extended again');
SELECT is(stands(70, now(), 'counts') ~ 'of 168:00:00', true, 'a clock beside it stays as it is');
-- an extension stays when the clock is judged anew
SELECT referral.recompute_clocks(of_policy => 'payer', dry_run => false, reason => 'x') \g /dev/null
SELECT is((clock(70, 'payer')).target, '505 hours'::interval, 'a recomputation keeps extensions');
COMMIT;
-- a paused one
BEGIN;
SELECT payer(71, '24 hours') \g /dev/null
SELECT move(71, now() - interval '12 hours', 'held') \g /dev/null
SELECT is(referral.extend_clock(1, clock_id(71, 'payer'), '1 day', 'x'), NULL, 'a paused clock may be extended; it is not due');
SELECT move(71, now(), 'payer') \g /dev/null
SELECT is((SELECT (c.target, c.consumed, c.due_at) FROM clock(71, 'payer') c), ROW('192 hours'::interval, '12 hours'::interval, now() + interval '180 hours'), 'and then has the time');
COMMIT;
-- on business days
SELECT make_calendar('nine', '{"timezone": "UTC", "hours": {"mon": ["00:00-09:00"], "tue": ["00:00-09:00"], "wed": ["00:00-09:00"], "thu": ["00:00-09:00"], "fri": ["00:00-09:00"],
    "sat": ["00:00-09:00"], "sun": ["00:00-09:00"]}}') \g /dev/null
SELECT make_policies('sla/nine', '[{"name": "nine", "target": "9000 days", "calendar": "nine", "start_when": "phase = ''nine''"}]') \g /dev/null
SELECT begin(72, '2025-03-03 03:00Z', 'nine') \g /dev/null
SELECT is(referral.extend_clock(1, clock_id(72, 'nine'), '2 days', 'x') - due_at, '2 days'::interval, 'days are business days') FROM clock(72, 'nine');
SELECT is((clock(72, 'nine')).target, '81018 hours'::interval, 'of nine hours each here');
-- refused
SELECT begin(73, now() - interval '200 hours', 'payer'), payer(74, '1 hour'), payer(75, '1 hour') \g /dev/null
SELECT move(74, now(), 'done'), move(75, now(), 'void') \g /dev/null
SELECT is((refused(verb('extend_clock', 73, ', ''1 day'', ''x'''))).code, 'RF023', 'not after the target is exceeded, though no tick has noted it');
SELECT begin(76, '2025-03-03 10:00Z', 'short') \g /dev/null
SELECT make_calendar('short', office('', '2025-03-01')) \g /dev/null
SELECT begin(77, '2025-03-03 10:00Z', 'short') \g /dev/null
SELECT is((refused(verb('extend_clock', 77, ', ''1 day'', ''x''', 'short'))).code, 'RF023', 'not beyond the end of the calendar');
SELECT payer(78, '1 hour') \g /dev/null
SELECT is((refused(verb('extend_clock', 78, format(', %s, ''x''', v)))).code, 'RF020', 'not by ' || v) FROM unnest(ARRAY['''0''', '''-1 day''', 'NULL', '''1 month''', '''1 day -1 hour''']) v;
SELECT is((refused(verb('extend_clock', 78, format(', ''1 day'', %s', v)))).code, 'RF005', 'not with the reason ' || v) FROM unnest(ARRAY['NULL', '''''', '''  ''']) v;
SELECT is((SELECT (f.detail <> '', f.hint <> '') FROM refused(verb('extend_clock', 73, ', ''1 day'', ''x''')) f), ROW(true, true), 'the refusal says why, and what to do');

-- pause and resume
BEGIN;
SELECT payer(80, '24 hours') \g /dev/null
SELECT referral.pause_clock(1, clock_id(80, 'payer'), 'strike') \g /dev/null
SELECT is((SELECT (status(c), c.pause_kind, c.consumed, c.running_since, c.due_at) FROM clock(80, 'payer') c), ROW('paused'::text, 'person'::text, '24 hours'::interval, NULL::timestamptz, NULL::timestamptz),
          'pause_clock() pauses from now on');
SELECT is((SELECT (p.pause_kind, p.comment, p.paused_by, p.paused_at = now(), p.resumed_at, p.counted) FROM referral.sla_pause p WHERE p.clock_id = clock_id(80, 'payer')),
          ROW('person'::text, 'strike'::text, referral.current_actor(), true, NULL::timestamptz, false), 'on record');
SELECT is((refused(verb('pause_clock', 80, ', ''x'''))).code, 'RF023', 'not twice');
COMMIT;
BEGIN;
UPDATE task SET phase = 'held', status_reason = 'patient' WHERE task_id = 80;
SELECT is((SELECT (c.pause_kind, (SELECT count(*) FROM referral.sla_pause p WHERE p.clock_id = c.clock_id)) FROM clock(80, 'payer') c), ROW('person'::text, 1::bigint), 'the row goes on hold: it stays paused by the person');
UPDATE task SET phase = 'payer' WHERE task_id = 80;
SELECT is((SELECT (status(c), c.pause_kind) FROM clock(80, 'payer') c), ROW('paused'::text, 'person'::text), 'the row comes back: it stays paused');
SELECT referral.resume_clock(1, clock_id(80, 'payer')) \g /dev/null
SELECT is((SELECT (status(c), c.running_since = now(), c.consumed, c.due_at = now() + interval '144 hours') FROM clock(80, 'payer') c), ROW('running'::text, true, '24 hours'::interval, true), 'until it is resumed');
SELECT is((refused(verb('resume_clock', 80))).code, 'RF023', 'once');
COMMIT;
BEGIN;
SELECT referral.pause_clock(1, clock_id(80, 'payer'), 'again') \g /dev/null
UPDATE task SET phase = 'held', status_reason = 'patient' WHERE task_id = 80;
SELECT referral.resume_clock(1, clock_id(80, 'payer')) \g /dev/null
SELECT is((SELECT (status(c), c.pause_kind) FROM clock(80, 'payer') c), ROW('paused'::text, 'rule'::text), 'resumed while the row is on hold: its policy pauses it');
SELECT is((refused(verb('resume_clock', 80))).code, 'RF023', 'which no person ends');
UPDATE task SET phase = 'payer' WHERE task_id = 80;
SELECT is(status(clock(80, 'payer')), 'running', 'but its row');
COMMIT;
SELECT referral.pause_clock(1, clock_id(80, 'payer'), 'last') \g /dev/null
UPDATE task SET phase = 'done' WHERE task_id = 80;
SELECT is((SELECT (status(c), c.pause_kind, c.breached_at, (SELECT count(*) FROM referral.sla_pause p WHERE p.clock_id = c.clock_id AND p.resumed_at IS NULL)) FROM clock(80, 'payer') c),
          ROW('stopped'::text, NULL::text, NULL::timestamptz, 0::bigint), 'a clock that a person has paused stops with its row');
-- one that counts
BEGIN;
SELECT payer(81, '24 hours') \g /dev/null
SELECT referral.pause_clock(1, clock_id(81, 'counts'), 'told of') \g /dev/null
SELECT is((SELECT (status(c), c.running_since = now() - interval '24 hours', c.due_at = now() + interval '144 hours') FROM clock(81, 'counts') c), ROW('paused'::text, true, true), 'where pauses count, one by a person does, too');
SELECT referral.resume_clock(1, clock_id(81, 'counts')) \g /dev/null
SELECT is((SELECT (status(c), c.running_since = now() - interval '24 hours', c.due_at = now() + interval '144 hours') FROM clock(81, 'counts') c), ROW('running'::text, true, true), 'and its end changes nothing');
COMMIT;
-- late
SELECT referral.pause_clock(1, clock_id(73, 'payer'), 'too late') \g /dev/null
SELECT is((SELECT (c.breached_at IS NOT NULL, (SELECT array_agg(e.level || e.outcome ORDER BY e.level) FROM referral.escalation e WHERE e.clock_id = c.clock_id)) FROM clock(73, 'payer') c),
          ROW(true, '{1overtaken,2overtaken,3overtaken}'::text[]), 'a pause does not undo what was exceeded before it');
-- nullify
BEGIN;
SELECT payer(82, '24 hours') \g /dev/null
SELECT referral.nullify_clock(1, clock_id(82, 'payer'), 'entered twice') \g /dev/null
SELECT is((SELECT (status(c), c.nullified_at = now(), c.next_fire_at) FROM clock(82, 'payer') c), ROW('nullified'::text, true, NULL::timestamptz), 'nullify_clock()');
SELECT is((SELECT (a.action, a.reason, a.adjusted_by, a.target_before) FROM adjusted(82) a), ROW('nullify'::text, 'entered twice'::text, 'postgres'::text, '168 hours'::interval), 'on record');
COMMIT;
UPDATE task SET note = 'x', urgency = 'urgent' WHERE task_id = 82;
SELECT is((SELECT (status(c), c.cycle) FROM clock(82, 'payer') c), ROW('nullified'::text, 1), 'it does not start again by any change');
UPDATE task SET phase = 'draft' WHERE task_id = 82;
UPDATE task SET phase = 'payer' WHERE task_id = 82;
SELECT is((SELECT (status(c), c.cycle) FROM clock(82, 'payer') c), ROW('running'::text, 2), 'but by another start');
SELECT payer(83, '1 hour') \g /dev/null
SELECT referral.pause_clock(1, clock_id(83, 'payer'), 'x'), referral.nullify_clock(1, clock_id(83, 'payer'), 'x') \g /dev/null
SELECT is((SELECT count(*) FROM referral.sla_pause p WHERE p.clock_id = clock_id(83, 'payer') AND p.resumed_at IS NULL), 0::bigint, 'a paused one, too: its pause ends');
-- a reason, and an open clock
CREATE TABLE verb (verb text, more text);
INSERT INTO verb VALUES ('pause_clock', ', ''x'''), ('resume_clock', ''), ('extend_clock', ', ''1 day'', ''x'''), ('nullify_clock', ', ''x''');
GRANT SELECT ON verb TO PUBLIC;
SELECT is((refused(verb(v.verb, i, v.more))).code, 'RF023', format('%s() of a clock that was %s', v.verb, status(clock(i, 'payer')))) FROM verb v, unnest(ARRAY[74, 75]) i;
SELECT is((refused(verb(v.verb, 78, regexp_replace(v.more, '''x''', 'NULL')))).code, 'RF005', v.verb || '() without a reason') FROM verb v WHERE v.more <> '';
SELECT is((refused(format('SELECT referral.%s(1, 0%s)', v.verb, v.more))).code, 'RF019', v.verb || '() of no clock') FROM verb v;
SELECT is((refused(format('SELECT referral.%s(NULL, NULL%s)', v.verb, v.more))).code, 'RF019', v.verb || '() of null') FROM verb v;
SELECT is((refused(format('SELECT referral.%s(2, %s%s)', v.verb, clock_id(78, 'payer'), v.more))).code, 'RF019', v.verb || '() of a number in another organisation') FROM verb v;

-- 6. Who may

SELECT format('SELECT referral.%s(1, %s%s)', v.verb, clock_id(78, 'payer'), v.more) AS statement, v.verb INTO TABLE mine FROM verb v;
GRANT SELECT ON mine TO PUBLIC;
CREATE FUNCTION code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
SELECT to_jsonb(clock(78, 'payer')) AS before \gset
SET SESSION AUTHORIZATION sla_change_other;
RESET referral.org_id;
SELECT is(code(statement), 'RF019', 'another organisation''s clock is not there, for ' || verb) FROM mine;
SELECT is((SELECT count(*) FROM referral.sla_clock) + (SELECT count(*) FROM referral.sla_pause) + (SELECT count(*) FROM referral.sla_adjustment) + (SELECT count(*) FROM referral.escalation), 0::bigint,
          'nor is it seen');
SELECT is((SELECT count(*) FROM referral.recompute_clocks()) + (SELECT count(*) FROM referral.recompute_clocks(of_org => 1, dry_run => false, reason => 'x')), 0::bigint, 'nor recomputed');
SET referral.org_id = '1';
SELECT is(code(statement), 'RF019', 'also when the session says it is of that organisation, for ' || verb) FROM mine;
SET SESSION AUTHORIZATION sla_change_clinician;
SELECT is(code(statement), '42501', 'roles that have nothing to do with clocks may not ' || verb) FROM mine;
SELECT is(code(s), '42501', 'nor ' || s) FROM unnest(ARRAY['SELECT referral.recompute_clocks()', 'SELECT referral.tick_fire(now(), 1)', 'SELECT referral.tick_begin(1, -1, 0)', 'SELECT referral.tick_act(1, 1)',
    'SELECT referral.tick_expire(''referral'', now(), NULL, NULL, 1)', 'CALL referral.tick()', 'SELECT referral.fire_clocks(''{1}'', ''{1}'', now(), false)', 'SELECT referral.hold_clock(1, 1, now(), ''person'', ''x'')',
    'SELECT referral.release_clock(1, 1, now())', 'SELECT referral.cancel_clock(1, 1, now())', 'SELECT referral.reopen_clock(1, 1, now())', 'SELECT referral.refresh_clock(1, 1)',
    'SELECT referral.rejudge_clock(1, 1, 1, 1, now(), ''x'')', 'SELECT referral.forget_clocks(1, 1, ''task'', now())', 'SELECT referral.end_clocks(''task'')', 'SELECT referral.lock_clock(1, 1)',
    'SELECT referral.row_as_owner(''task'', 1, 78, ''raise_priority'', ''9'')', 'SELECT * FROM referral.policies_of(''task'', 1, 78)']) s;
RESET SESSION AUTHORIZATION;
SELECT is(to_jsonb(clock(78, 'payer')), :'before'::jsonb, 'the clock is as it was');
SET SESSION AUTHORIZATION sla_change_admin;
SELECT is(code(s), '42501', 'an administrator does not ' || s) FROM unnest(ARRAY['SELECT referral.fire_clocks(''{1}'', ''{1}'', now(), false)', 'SELECT referral.row_as_owner(''task'', 1, 78, ''raise_priority'', ''9'')',
    'SELECT referral.cancel_clock(1, 1, now())', 'SELECT referral.rejudge_clock(1, 1, 1, 1, now(), ''x'')']) s;
SELECT is(code('SELECT referral.end_clocks(''task'')'), 'done', 'end_clocks() is called by detach()');
SELECT is((SELECT count(*) FROM referral.sla_clock WHERE nullified_at IS NULL AND entity = 'task') > 0, true, 'and does nothing for a table of others');
SELECT cmp_ok((SELECT count(*) FROM referral.recompute_clocks()), '>', 0::bigint, 'an administrator recomputes the clocks of his organisation');
RESET SESSION AUTHORIZATION;
SELECT payer(84, '1 hour'), payer(85, '1 hour') \g /dev/null
SET SESSION AUTHORIZATION sla_change_jane;
SELECT lives_ok(verb('pause_clock', 84, ', ''x'''), 'a coordinator pauses');
SELECT lives_ok(verb('resume_clock', 84), 'resumes');
SELECT is((SELECT array_agg(DISTINCT j.actor) FROM referral.journal j JOIN referral.sla_pause p ON p.pause_id = j.entity_id WHERE j.entity = 'sla_pause' AND p.clock_id = clock_id(84, 'payer')),
          '{sla_change_jane}', 'and the journal says who');
SET SESSION AUTHORIZATION sla_change_amy;
SELECT lives_ok(verb('extend_clock', 84, ', ''14 days'', ''x'''), 'an authorizer extends');
SELECT is((adjusted(84)).adjusted_by, 'sla_change_amy', 'on record under the name');
SET SESSION AUTHORIZATION sla_change_admin;
SELECT lives_ok(verb('nullify_clock', 84, ', ''x'''), 'an administrator nullifies');
RESET SESSION AUTHORIZATION;
-- the rows of others, read with the rights of their owner: a coordinator who may not see the table
REVOKE ALL ON task FROM referral_coordinator;
SET SESSION AUTHORIZATION sla_change_jane;
SELECT lives_ok(verb('pause_clock', 85, ', ''x'''), 'who may not read the row may pause its clock');
RESET SESSION AUTHORIZATION;
GRANT SELECT, INSERT, UPDATE ON task TO referral_coordinator;
SET SESSION AUTHORIZATION sla_change_jane;
INSERT INTO task (task_id, phase) VALUES (86, 'payer');
UPDATE task SET phase = 'held' WHERE task_id = 86;
UPDATE task SET phase = 'done' WHERE task_id = 86;
SELECT is(status(clock(86, 'payer')), 'stopped', 'who may write the row needs no rights on the clocks for them to follow');
-- nobody writes clocks
RESET SESSION AUTHORIZATION;
CREATE FUNCTION each_role_and_clocks() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    r text;
BEGIN
    FOR r IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'referral\_%' ORDER BY 1 LOOP
        EXECUTE format('SET LOCAL ROLE %I', r);
        RETURN NEXT is((SELECT array_agg(DISTINCT code(s)) FROM unnest(ARRAY[
            'INSERT INTO referral.sla_clock SELECT * FROM referral.sla_clock', 'UPDATE referral.sla_clock SET breached_at = NULL', 'DELETE FROM referral.sla_clock', 'TRUNCATE referral.sla_clock CASCADE',
            'UPDATE referral.sla_pause SET resumed_at = now()', 'DELETE FROM referral.sla_pause', 'UPDATE referral.sla_adjustment SET reason = ''x''', 'DELETE FROM referral.sla_adjustment',
            'INSERT INTO referral.escalation SELECT * FROM referral.escalation', 'UPDATE referral.escalation SET outcome = ''done''', 'UPDATE referral.escalation SET acknowledged_at = now()', 'DELETE FROM referral.escalation',
            'INSERT INTO referral.sla_breach_review (clock_id, cause, reviewed_by) VALUES (1, ''x'', ''x'')', 'UPDATE referral.sla_breach_review SET reviewed_by = ''x''', 'DELETE FROM referral.sla_breach_review']) s),
            '{42501}', r || ' writes no clocks, nor what became of them');
        RESET ROLE;
    END LOOP;
END $$;
SELECT each_role_and_clocks();

-- 7. Escalations are taken note of, breaches are explained

SELECT begin(90, now() - interval '200 hours', 'payer'), begin(91, now() - interval '200 hours', 'payer'), payer(92, '1 hour') \g /dev/null
SELECT tick_at(now()) \g /dev/null
SELECT escalation_id AS e1 FROM referral.escalation WHERE clock_id = clock_id(90, 'payer') AND level = 3 \gset
SET SESSION AUTHORIZATION sla_change_jane;
UPDATE referral.escalation SET acknowledged_by = 'somebody else' WHERE escalation_id = :e1;
SELECT is((SELECT (e.acknowledged_by, e.acknowledged_at IS NOT NULL) FROM referral.escalation e WHERE e.escalation_id = :e1), ROW('sla_change_jane'::text, true), 'who takes note of an escalation is who does it, whatever he says');
SELECT is(code(format('UPDATE referral.escalation SET acknowledged_by = NULL WHERE escalation_id = %s', :e1)), 'RF023', 'it is not taken back');
SET SESSION AUTHORIZATION sla_change_amy;
SELECT is(code(format('UPDATE referral.escalation SET acknowledged_by = ''x'' WHERE escalation_id = %s', :e1)), 'RF023', 'nor done again by another');
SELECT is(code(format('UPDATE referral.escalation SET note = ''called'' WHERE escalation_id = %s', :e1)), 'done', 'a note may be added');
SET SESSION AUTHORIZATION sla_change_other;
RESET referral.org_id;
WITH u AS (UPDATE referral.escalation SET acknowledged_by = 'x' WHERE acknowledged_by IS NULL RETURNING 1) SELECT is((SELECT count(*) FROM u), 0::bigint, 'not those of another organisation');
SET SESSION AUTHORIZATION sla_change_jane;
INSERT INTO referral.sla_breach_review (clock_id, cause, corrective_action) VALUES (clock_id(90, 'payer'), 'fax was off', 'two faxes');
SELECT is((SELECT (r.reviewed_by, r.reviewed_at IS NOT NULL, r.cause) FROM referral.sla_breach_review r WHERE r.clock_id = clock_id(90, 'payer')), ROW('sla_change_jane'::text, true, 'fax was off'::text), 'a breach is reviewed, by whom the database says');
SELECT is(code(format('INSERT INTO referral.sla_breach_review (clock_id, cause) VALUES (%s, ''x'')', clock_id(90, 'payer'))), '23505', 'once');
SELECT is(code(format('INSERT INTO referral.sla_breach_review (clock_id, cause) VALUES (%s, ''x'')', clock_id(92, 'payer'))), 'RF019', 'where there is no breach, there is no review');
SELECT is(code('INSERT INTO referral.sla_breach_review (clock_id, cause) VALUES (0, ''x'')'), 'RF019', 'nor where there is no clock');
SELECT is(code(format('UPDATE referral.sla_breach_review SET clock_id = %s', clock_id(91, 'payer'))), '42501', 'it does not move to another clock');
RESET SESSION AUTHORIZATION;
SET referral.org_id = '1';
SET SESSION AUTHORIZATION sla_change_admin;
UPDATE referral.sla_breach_review SET cause = 'fax was out of paper';
SELECT is((SELECT r.reviewed_by FROM referral.sla_breach_review r), 'sla_change_admin', 'who corrects it, signs it');
RESET SESSION AUTHORIZATION;
SELECT clock_id(91, 'payer') AS c91 \gset
SET SESSION AUTHORIZATION sla_change_other;
RESET referral.org_id;
SELECT is(code(format('INSERT INTO referral.sla_breach_review (clock_id, cause) VALUES (%s, ''x'')', :c91)), 'RF019', 'another organisation''s breach is not there');
SELECT is(code(format('INSERT INTO referral.sla_breach_review (org_id, clock_id, cause) VALUES (1, %s, ''x'')', :c91)), 'RF019', 'also when it is named');
RESET SESSION AUTHORIZATION;
SET referral.org_id = '1';

-- 8. All of it is in the journal

SELECT is((SELECT array_agg(DISTINCT j.entity || ' ' || j.action ORDER BY j.entity || ' ' || j.action) FROM referral.journal j
           WHERE j.entity IN ('sla_pause', 'sla_adjustment', 'escalation', 'sla_breach_review', 'sla_clock')),
          '{"escalation insert","escalation update","sla_adjustment insert","sla_breach_review insert","sla_breach_review update","sla_pause insert","sla_pause update"}', 'what is done to clocks is journaled');
SELECT is((SELECT array_agg(e || ' ' || v.problem) FROM unnest(ARRAY['sla_pause', 'sla_adjustment', 'escalation', 'sla_breach_review']) e, referral.verify_coverage(e) v), NULL, 'completely');

SELECT * FROM finish();
