-- The rules behind clocks: what a policy, a level and a calendar may say, their versions, which of several counts for a row,
-- and what is shipped. Times are in UTC unless they name an offset; 2025-03-03 is a Monday.
SELECT plan(156);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql
\ir ../lib/make_policy.sql
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET client_min_messages = error;

CREATE ROLE sla_policy_ann LOGIN IN ROLE referral_rule_author;
CREATE ROLE sla_policy_bob LOGIN IN ROLE referral_rule_approver;
CREATE ROLE sla_policy_cas LOGIN IN ROLE referral_coordinator, referral_admin;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'sla_policy_ann'), (1, 'sla_policy_bob'), (1, 'sla_policy_cas');
CREATE FUNCTION code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';

-- 1. What is shipped

SELECT is((SELECT array_agg(format('%s|%s|%s|%s|%s|%s', p.name, p.kind, p.applies_when, p.target, p.calendar, p.pause_counts) ORDER BY p.name, p.priority)
           FROM referral.sla_policy p JOIN referral.rule_version v USING (rule_version_id) JOIN referral.rule_set s USING (rule_set_id)
           WHERE s.name = 'sla/standard' AND v.status = 'active'),
    ARRAY['eligibility|stage||1 day|us_business|f', 'payer_decision|stage|urgency >= ''urgent''|72:00:00|always|f', 'payer_decision|stage||7 days|always|f',
          'ready_to_schedule|stage|urgency >= ''urgent''|2 days|us_business|f', 'ready_to_schedule|stage||10 days|us_business|f', 'report_back|completion||10 days|us_business|f',
          'triage|first_response|urgency >= ''urgent''|04:00:00|us_business|f', 'triage|first_response||2 days|us_business|f'], 'the shipped policies');
SELECT is((SELECT array_agg(b.name || ' ' || (b.calendar::text::jsonb ->> 'timezone') ORDER BY b.name) FROM referral.business_calendar b JOIN referral.rule_version v USING (rule_version_id) WHERE v.status = 'active'),
          '{"always UTC","us_business America/Chicago"}', 'and calendars');
SELECT is((SELECT count(*) FROM referral.sla_policy p WHERE NOT EXISTS (SELECT FROM referral.sla_level l WHERE l.sla_policy_id = p.sla_policy_id AND l.percent = 100)), 0::bigint, 'each policy has a level at 100 %');
SELECT is((SELECT count(*) FROM referral.broken_rules()), 0::bigint, 'none of them is broken');
SELECT is((SELECT b.calendar FROM referral.business_calendar b WHERE b.name = 'us_business')::text::jsonb -> 'hours' -> 'mon', '["08:00-17:00"]', 'a US business day is nine hours');
SELECT is((SELECT array_agg(referral.is_business_day(b.calendar, d)) FROM referral.business_calendar b, unnest(ARRAY['2026-11-26', '2026-11-27', '2026-07-03', '2027-06-18', '2026-11-28']::date[]) d WHERE b.name = 'us_business'),
          '{f,t,f,f,f}', 'federal holidays are none, nor the days on which they are kept');

-- a referral from receipt to report
INSERT INTO referral.patient (patient_id) VALUES (1);
CREATE FUNCTION clocks(id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s due %s', c.policy, status(c), to_char(c.due_at AT TIME ZONE 'America/Chicago', 'MM-DD HH24:MI')), ', ' ORDER BY c.policy, c.cycle)
    FROM referral.sla_clock c WHERE c.entity = 'referral' AND c.entity_id = clocks.id $$;
CREATE FUNCTION change(id bigint, at timestamptz, set text) RETURNS text LANGUAGE sql AS
    $$SELECT at(at, format('UPDATE referral.referral SET %s WHERE referral_id = %s', set, id)); SELECT clocks(id)$$;
SELECT at('2025-03-03 10:00-06', 'INSERT INTO referral.referral (referral_id, patient_id, specialty) VALUES (1, 1, ''x'')') \g /dev/null
SELECT is(clocks(1), 'ready_to_schedule running due 03-17 10:00, triage running due 03-05 10:00', 'received: triage, and the way to scheduling');
SELECT is(change(1, '2025-03-03 12:00-06', 'state = ''on_hold'', status_reason = ''waiting_for_patient'''), 'ready_to_schedule paused due , triage paused due ', 'on hold: paused');
SELECT is(change(1, '2025-03-04 12:00-06', 'state = ''received'''), 'ready_to_schedule running due 03-18 10:00, triage running due 03-06 10:00', 'and back');
SELECT is(change(1, '2025-03-04 13:00-06', 'urgency = ''urgent'''), 'ready_to_schedule running due 03-06 10:00, triage running due 03-04 14:00', 'urgent: another target, from the start on');
SELECT is(change(1, '2025-03-04 14:00-06', 'state = ''validated'''), 'eligibility running due 03-05 14:00, ready_to_schedule running due 03-06 10:00, triage stopped due 03-04 14:00', 'validated: eligibility');
SELECT is((clock(1, 'triage', entity => 'referral')).breached_at, NULL, 'just in time');
SELECT is(change(1, '2025-03-04 15:00-06', 'state = ''pending_authorization'''), 'eligibility stopped due 03-05 14:00, payer_decision running due 03-07 15:00, ready_to_schedule running due 03-06 10:00, triage stopped due 03-04 14:00',
          'waiting for the payer: 72 hours, by night, too');
SELECT is(change(1, '2025-03-04 16:00-06', 'urgency = ''routine''') ~ 'payer_decision running due 03-11 16:00', true, 'seven calendar days for a routine one; of 24 hours, though clocks change meanwhile');
SELECT is(change(1, '2025-03-05 12:00-06', 'state = ''on_hold'', status_reason = ''waiting_for_payer''') ~ 'payer_decision running .*ready_to_schedule paused', true, 'a hold pauses ours, not the payer''s');
SELECT is(change(1, '2025-03-05 13:00-06', 'state = ''pending_authorization''') ~ 'payer_decision running due 03-11 16:00.*ready_to_schedule running', true, 'and back');
SELECT is(change(1, '2025-03-07 12:00-06', 'state = ''ready_to_schedule'', authorization_number = ''1''') ~ 'payer_decision stopped.*ready_to_schedule stopped', true, 'decided');
SELECT is((SELECT count(*) FROM referral.sla_clock c WHERE c.entity = 'referral' AND c.entity_id = 1 AND status(c) IN ('running', 'paused')), 0::bigint, 'nothing to wait for until the visit');
SELECT is(change(1, '2025-03-10 12:00-05', 'state = ''scheduled'', scheduled_for = ''2025-03-20 10:00-05''') || change(1, '2025-03-20 11:00-05', 'state = ''completed''') ~ 'report_back running due 04-03 11:00', true, 'after it, the report');
SELECT at('2025-03-25 12:00-05', 'INSERT INTO referral.consult_report (referral_id, status) VALUES (1, ''final'')') \g /dev/null
SELECT is(change(1, '2025-03-25 12:00-05', 'state = ''closed_loop''') ~ 'report_back stopped due 04-03 11:00', true, 'which ends it');
SELECT is((SELECT count(*) FROM referral.sla_clock c WHERE c.entity = 'referral' AND c.entity_id = 1), 5::bigint, 'five clocks in all');
SELECT at('2025-03-03 10:00-06', 'INSERT INTO referral.referral (referral_id, patient_id, specialty) VALUES (2, 1, ''x'')') \g /dev/null
SELECT is(change(2, '2025-03-03 11:00-06', 'state = ''cancelled'', status_reason = ''patient_request'''), 'ready_to_schedule nullified due 03-17 10:00, triage nullified due 03-05 10:00', 'cancelled: none of it counts');

-- 2. What a policy may say

INSERT INTO referral.rule_set (name, kind) VALUES ('sla/draft', 'sla'), ('calendar/draft', 'calendar');
SET SESSION AUTHORIZATION sla_policy_ann;
INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'sla/draft' RETURNING rule_version_id AS draft \gset
SELECT set_config('sla_policy.draft', :'draft', false) \g /dev/null
-- a policy with some columns otherwise
CREATE FUNCTION pg_temp.policy(columns jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT format('INSERT INTO referral.sla_policy (%s) VALUES (%s)', string_agg(quote_ident(key), ', '), string_agg(quote_nullable(value), ', '))
    FROM jsonb_each_text(jsonb_build_object('rule_version_id', current_setting('sla_policy.draft'), 'entity', 'referral', 'name', 'x', 'start_when', 'state = ''received''',
        'stop_when', 'state <> ''received''', 'target', '1 day', 'calendar', 'always') || columns) $$;
SELECT is(code(pg_temp.policy('{}')), 'done', 'a policy');
SELECT is(code(pg_temp.policy(jsonb_build_object(c, e))), 'RF011', format('%s may not be %s', c, e))
FROM unnest(ARRAY['applies_when', 'start_when', 'stop_when', 'pause_when', 'cancel_when']) c, unnest(ARRAY['no_such_column = 1', 'urgency', 'pg_sleep(1) IS NULL', '(SELECT true)', '']) e;
SELECT is(code(pg_temp.policy(jsonb_build_object(c, 'old.state = ''received'' AND urgency >= ''urgent'' AND referral.has_document(org_id, referral_id, ''x'')'))), 'done', c || ' may ask for the former row and for facts')
FROM unnest(ARRAY['applies_when', 'start_when', 'stop_when', 'pause_when', 'cancel_when']) c;
SELECT is(code(pg_temp.policy(jsonb_build_object('target', t))), 'RF011', 'a target may not be ' || t) FROM unnest(ARRAY['0', '-1 hour', '1 month', '1 year', '1 day -1 hour', '-1 day 30 hours', '-1 day']) t;
SELECT is(code(pg_temp.policy(jsonb_build_object('target', t))), 'done', 'a target may be ' || t) FROM unnest(ARRAY['1 microsecond', '2 days 4 hours', '10000 days', '1000 hours']) t;
SELECT is(code(pg_temp.policy(jsonb_build_object(c, v))), '23514', format('%s may not be %s', c, v)) FROM (VALUES ('kind', 'x'), ('reopen', 'x'), ('name', '')) x (c, v);
SELECT is(code(pg_temp.policy(jsonb_build_object(c, NULL))), '23502', c || ' may not be null') FROM unnest(ARRAY['entity', 'name', 'kind', 'start_when', 'stop_when', 'target', 'calendar', 'reopen', 'pause_counts', 'priority']) c;
SELECT is(code(pg_temp.policy('{"entity": "nothing"}')) IN ('23503', 'RF011', 'RF012', 'RF019'), true, 'its entity must be there');

-- levels
INSERT INTO referral.sla_policy (rule_version_id, entity, name, start_when, stop_when, target, calendar)
VALUES (:draft, 'referral', 'a', 'state = ''received''', 'state <> ''received''', '1 day', 'always') RETURNING sla_policy_id AS policy \gset
SELECT set_config('sla_policy.policy', :'policy', false) \g /dev/null
CREATE FUNCTION pg_temp.level(columns jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT format('INSERT INTO referral.sla_level (%s) VALUES (%s)', string_agg(quote_ident(key), ', '), string_agg(quote_nullable(value), ', '))
    FROM jsonb_each_text(jsonb_build_object('sla_policy_id', current_setting('sla_policy.policy'), 'level', '1') || columns) $$;
SELECT is(code(pg_temp.level(l)), 'done', 'a level may be ' || l::text) FROM unnest(ARRAY['{}', '{"percent": 0}', '{"percent": 9999.999}', '{"after": "-3 hours"}', '{"after": "90 minutes"}', '{"action": "raise_priority"}',
    '{"action": "raise_priority", "argument": "9999"}', '{"action": "assign_role", "argument": "x"}', '{"action": "reassign_queue", "argument": "x"}', '{"action": "open_exception", "argument": "x"}',
    '{"action": "request_approval", "argument": "x"}', '{"action": "notify", "argument": "x"}']::jsonb[]) l;
SELECT is(code(pg_temp.level(l)), CASE WHEN l ? 'action' THEN 'RF011' ELSE '23514' END, 'a level may not be ' || l::text) FROM unnest(ARRAY['{"level": 0}', '{"level": -1}', '{"percent": -1}', '{"after": "1 day"}', '{"after": "1 month"}', '{"action": "x"}',
    '{"action": "raise_priority", "argument": "high"}', '{"action": "raise_priority", "argument": "-1"}', '{"action": "raise_priority", "argument": "10000"}', '{"action": "assign_role"}', '{"action": "reassign_queue"}',
    '{"action": "open_exception"}', '{"action": "request_approval"}']::jsonb[]) l;
SELECT is(code(pg_temp.level('{"percent": 10000}')), '22003', 'nor of 10000 %');
INSERT INTO referral.sla_level (sla_policy_id, level, percent) VALUES (:policy, 1, 50);
SELECT is((SELECT l.rule_version_id FROM referral.sla_level l WHERE l.sla_policy_id = :policy), :draft::bigint, 'a level is of the version of its policy');
SELECT is(code(pg_temp.level('{}')), '23505', 'each once');
SELECT is(code(format($$INSERT INTO referral.sla_policy (rule_version_id, entity, name, start_when, stop_when, target, calendar)
    VALUES (%s, 'document', 'd', 'true', 'false', '1 day', 'always')$$, :draft)), 'RF011', 'rows without a workflow have no clocks');
RESET SESSION AUTHORIZATION;
CREATE TABLE public.plain (plain_id bigint PRIMARY KEY, phase text);
SELECT referral.attach('public.plain') \g /dev/null
SET SESSION AUTHORIZATION sla_policy_ann;
INSERT INTO referral.sla_policy (rule_version_id, entity, name, start_when, stop_when, target, calendar)
VALUES (:draft, 'plain', 'd', 'true', 'false', '1 day', 'always') RETURNING sla_policy_id AS of_plain \gset
SELECT is(code(pg_temp.level(jsonb_build_object('sla_policy_id', :'of_plain', 'action', 'raise_priority'))), 'RF011', 'rows without a priority cannot have it raised');
DELETE FROM referral.sla_policy WHERE sla_policy_id = :of_plain;

-- calendars
INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'calendar/draft' RETURNING rule_version_id AS calendars \gset
SELECT is(code(format('INSERT INTO referral.business_calendar (rule_version_id, name, calendar) VALUES (%s, ''x'', %L)', :calendars, c)), 'RF010', 'a calendar may not be ' || c)
FROM unnest(ARRAY['{}', 'x', '{"timezone": "EST5EDT4", "hours": {"mon": ["09:00-17:00"]}}', '{"timezone": "UTC", "hours": {}}', '{"timezone": "UTC", "hours": {"mon": ["09:00-17:00", "16:00-18:00"]}}']) c;
INSERT INTO referral.business_calendar (rule_version_id, name, calendar) VALUES (:calendars, 'x', referral.always_open('UTC'));
SELECT is(code(format('INSERT INTO referral.business_calendar (rule_version_id, name, calendar) VALUES (%s, ''x'', referral.always_open(''UTC''))', :calendars)), '23505', 'one of a name and scope in a version');
SELECT is(code(format('INSERT INTO referral.business_calendar (rule_version_id, name, scope_org_id, calendar) VALUES (%s, ''x'', 1, referral.always_open(''UTC''))', :calendars)), 'done', 'another of an organisation');

-- 3. Versions

SELECT is(code(format('UPDATE referral.rule_version SET status = ''submitted'' WHERE rule_version_id = %s', :draft)), 'done', 'a version of policies is submitted');
UPDATE referral.sla_policy SET calendar = 'x' WHERE sla_policy_id = :policy;
SELECT is((SELECT (f.code, f.message ~ '"x"') FROM refused(format('UPDATE referral.rule_version SET status = ''submitted'' WHERE rule_version_id = %s', :draft)) f), ROW('RF011'::text, true),
          'not one whose calendar is not active');
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :calendars;
SET SESSION AUTHORIZATION sla_policy_bob;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :calendars;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :calendars;
SET SESSION AUTHORIZATION sla_policy_ann;
SELECT is(code(format('UPDATE referral.rule_version SET status = ''submitted'' WHERE rule_version_id = %s', :draft)), 'done', 'when it is, it is');
INSERT INTO referral.business_calendar (rule_version_id, name, scope_org_id, calendar) VALUES (:draft, 'y', 1, referral.always_open('UTC'));
UPDATE referral.sla_policy SET calendar = 'y' WHERE sla_policy_id = :policy;
SELECT is(code(format('UPDATE referral.rule_version SET status = ''submitted'' WHERE rule_version_id = %s', :draft)), 'RF011', 'one for an organisation alone will not do');
UPDATE referral.business_calendar SET scope_org_id = NULL WHERE rule_version_id = :draft;
SELECT is(code(format('UPDATE referral.rule_version SET status = ''submitted'' WHERE rule_version_id = %s', :draft)), 'done', 'one in the same version will');
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :draft;
CREATE FUNCTION pg_temp.written() RETURNS SETOF text LANGUAGE sql AS $$
    VALUES ('UPDATE referral.sla_policy SET target = ''1 hour'''), ('UPDATE referral.sla_level SET percent = 1'), ('UPDATE referral.business_calendar SET title = ''x'''), ('DELETE FROM referral.sla_policy'),
           ('DELETE FROM referral.sla_level'), ('DELETE FROM referral.business_calendar'), (pg_temp.policy('{}')), (pg_temp.level('{"level": 9}')),
           (format('INSERT INTO referral.business_calendar (rule_version_id, name, calendar) VALUES (%s, ''z'', referral.always_open(''UTC''))', current_setting('sla_policy.draft'))) $$;
SELECT is(code(CASE WHEN w LIKE 'INSERT%' THEN w ELSE w || ' WHERE rule_version_id = ' || :draft END), 'RF016', 'what is submitted stays as it is: ' || split_part(w, ' VALUES', 1)) FROM pg_temp.written() w;
SET SESSION AUTHORIZATION sla_policy_bob;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :draft;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :draft;
SET SESSION AUTHORIZATION sla_policy_ann;
SELECT is(code(w), 'RF016', 'nor what is active, all of it') FROM pg_temp.written() w WHERE w NOT LIKE 'INSERT%';
SELECT is((SELECT bool_or(has_table_privilege('sla_policy_cas', 'referral.' || t, p)) FROM unnest(ARRAY['sla_policy', 'sla_level', 'business_calendar']) t, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) p), false,
          'nobody but rule authors writes any');
-- a superuser who changes what was approved without the trigger is noticed
RESET SESSION AUTHORIZATION;
SELECT is((SELECT v.checksum = referral.rule_checksum(v.rule_version_id) FROM referral.rule_version v WHERE v.rule_version_id = :draft), true, 'the checksum of what was approved');
CREATE FUNCTION pg_temp.changed(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    same boolean;
BEGIN
    SET LOCAL session_replication_role = replica;
    EXECUTE statement || ' WHERE rule_version_id = ' || current_setting('sla_policy.draft');
    SELECT v.checksum IS DISTINCT FROM referral.rule_checksum(v.rule_version_id) INTO same FROM referral.rule_version v WHERE v.rule_version_id = current_setting('sla_policy.draft')::bigint;
    RAISE SQLSTATE 'UNDO1' USING MESSAGE = same::text;
EXCEPTION WHEN SQLSTATE 'UNDO1' THEN
    RETURN SQLERRM::boolean;
END $$;
SELECT is(pg_temp.changed(s), true, 'tells of ' || s) FROM unnest(ARRAY['UPDATE referral.sla_policy SET target = ''3 hours''', 'UPDATE referral.sla_policy SET pause_counts = true', 'UPDATE referral.sla_level SET percent = 99',
    'UPDATE referral.business_calendar SET calendar = referral.always_open(''Europe/Paris'')', 'DELETE FROM referral.sla_level']) s;
-- the copy of a version has all of it (governance.sql compares column by column)
SET SESSION AUTHORIZATION sla_policy_ann;
SELECT referral.copy_rule_version(:draft, 'copy') AS copy \gset
SELECT is((SELECT array_agg(n ORDER BY t) FROM (SELECT 'p' AS t, count(*) AS n FROM referral.sla_policy WHERE rule_version_id = :copy UNION ALL SELECT 'l', count(*) FROM referral.sla_level WHERE rule_version_id = :copy
    UNION ALL SELECT 'c', count(*) FROM referral.business_calendar WHERE rule_version_id = :copy) x), '{1,1,1}', 'a copy has policies, levels and calendars');
SELECT is((SELECT p.sla_policy_id <> :policy AND l.sla_policy_id = p.sla_policy_id FROM referral.sla_policy p JOIN referral.sla_level l USING (rule_version_id) WHERE p.rule_version_id = :copy), true, 'of its own');
RESET SESSION AUTHORIZATION;

-- 4. Which policy counts: the organisation's own before all, then by priority, then by number, of those that apply

CREATE TABLE task (task_id bigint PRIMARY KEY, phase text NOT NULL DEFAULT 'open', urgency text NOT NULL DEFAULT 'routine', site_id bigint);
SET referral.org_id = '1';
SELECT referral.attach('task') \g /dev/null
SELECT make_workflow('task') \g /dev/null
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Organisation 2'), (3, 'Organisation 3');
SELECT make_policies('sla/scope', '[
    {"name": "work", "title": "all", "target": "1 hour", "calendar": "always", "priority": 10},
    {"name": "work", "title": "first of all", "target": "2 hours", "calendar": "always", "priority": 1, "applies_when": "urgency = ''urgent''"},
    {"name": "work", "title": "second", "target": "3 hours", "calendar": "always", "priority": 10},
    {"name": "work", "title": "of 2", "target": "4 hours", "calendar": "always", "priority": 999, "org": 2},
    {"name": "work", "title": "of 2, urgent", "target": "5 hours", "calendar": "always", "priority": 998, "org": 2, "applies_when": "urgency = ''urgent''"},
    {"name": "work", "title": "of 3", "target": "6 hours", "calendar": "always", "org": 3, "applies_when": "urgency = ''urgent''"}]') \g /dev/null
INSERT INTO task (org_id, task_id, urgency) SELECT o, 10 * o + u, CASE u WHEN 1 THEN 'urgent' ELSE 'routine' END FROM generate_series(1, 3) o, generate_series(0, 1) u;
SELECT is((SELECT array_agg(c.entity_id || ' ' || p.title ORDER BY c.entity_id) FROM referral.sla_clock c JOIN referral.sla_policy p USING (sla_policy_id) WHERE c.entity = 'task'),
          '{"10 all","11 first of all","20 of 2","21 of 2, urgent","30 all","31 of 3"}', 'which of several counts');
SELECT is((SELECT array_agg(DISTINCT c.org_id ORDER BY c.org_id) FROM referral.sla_clock c WHERE c.entity = 'task'), '{1,2,3}', 'a clock is its row''s organisation''s');
-- null is no
SELECT make_policies('sla/null', '[{"name": "null", "target": "1 hour", "calendar": "always", "applies_when": "site_id = 1"},
    {"name": "null2", "target": "1 hour", "calendar": "always", "start_when": "site_id = 2 OR phase = ''open''", "stop_when": "site_id = 3", "pause_when": "site_id <> 4", "cancel_when": "site_id = 5"}]') \g /dev/null
INSERT INTO task (task_id) VALUES (40);
SELECT is((SELECT array_agg(c.policy || ' ' || status(c) ORDER BY c.policy) FROM referral.sla_clock c WHERE c.entity = 'task' AND c.entity_id = 40), '{"null2 running","work running"}', 'a condition that is null does not hold');

-- 5. Which calendar counts: the site's of the organisation, the site's, the organisation's, the one for all

SELECT make_calendar('c', '{"timezone": "UTC", "hours": {"mon": ["00:00-04:00"]}}') AS for_all \gset
SELECT make_calendar('c', '{"timezone": "UTC", "hours": {"mon": ["04:00-08:00"]}}', 2) AS for_2 \gset
SELECT make_calendar('c', '{"timezone": "UTC", "hours": {"mon": ["08:00-12:00"]}}', 2, 7) AS for_2_7 \gset
SELECT make_policies('sla/place', '[{"name": "place", "target": "1 hour", "calendar": "c", "start_when": "phase = ''place''"}]') \g /dev/null
CREATE FUNCTION place(id bigint, org bigint, site bigint) RETURNS void LANGUAGE sql AS
    $$SELECT at('2025-03-03 00:00Z', format('INSERT INTO task (org_id, task_id, phase, site_id) VALUES (%s, %s, ''place'', %L)', org, id, site))$$;
SELECT place(50, 1, NULL), place(51, 1, 7), place(52, 2, NULL), place(53, 2, 8), place(54, 2, 7), place(55, 3, 7) \g /dev/null
SELECT is((SELECT array_agg(format('%s %s %s', c.entity_id, c.business_calendar_id, to_char(c.due_at, 'HH24')) ORDER BY c.entity_id) FROM referral.sla_clock c WHERE c.policy = 'place'),
          ARRAY[format('50 %s 01', :for_all), format('51 %s 01', :for_all), format('52 %s 05', :for_2), format('53 %s 05', :for_2), format('54 %s 09', :for_2_7), format('55 %s 01', :for_all)], 'the most specific calendar that fits');
UPDATE task SET site_id = 7 WHERE task_id = 52;
SELECT is((clock(52, 'place')).business_calendar_id, :for_2::bigint, 'a row that moves keeps its calendar');
-- no calendar at all
UPDATE referral.rule_version v SET status = 'retired' FROM referral.business_calendar b WHERE b.rule_version_id = v.rule_version_id AND b.business_calendar_id = :for_all;
SELECT is((SELECT (f.code, f.message ~ '"c"', f.detail <> '', f.hint <> '') FROM refused('SELECT place(60, 1, NULL)') f), ROW('RF012'::text, true, true, true), 'where no calendar of the name is active, the row is refused and told why');
SELECT is(code('SELECT place(61, 2, NULL)'), 'done', 'but not where one is');
SELECT lives_ok($$SELECT at('2025-03-03 06:00Z', 'UPDATE task SET phase = ''done'' WHERE task_id = 50')$$, 'clocks that count on it come to their end');
SELECT is((clock(50, 'place')).stopped_at, '2025-03-03 06:00Z'::timestamptz, 'as they would have');

-- 6. Rules that break

SELECT make_policies('sla/broken', '[{"name": "broken", "target": "1 hour", "calendar": "always", "pause_when": "urgency = ''broken''"}]') \g /dev/null
ALTER TABLE task RENAME COLUMN urgency TO how_urgent;
SELECT is((SELECT count(*) > 0 FROM referral.broken_rules() b WHERE b.rule ~ 'broken' AND b.error ~ 'urgency'), true, 'broken_rules() tells of conditions of policies that do not compile any more');
SELECT is((SELECT f.code FROM refused('INSERT INTO task (task_id) VALUES (70)') f), 'RF011', 'they refuse rather than guess');
ALTER TABLE task RENAME COLUMN how_urgent TO urgency;
SELECT is(code('INSERT INTO task (task_id) VALUES (70)'), 'done', 'until they are mended');

SELECT * FROM finish();
