-- The life of clocks: they start, pause, resume, stop, are nullified and start again as their rows change, at the time of
-- the event. Times are in UTC; 2025-03-03 is a Monday.
SELECT plan(149);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql
\ir ../lib/make_policy.sql
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';

-- Any sequence of events is possible on this table: its workflow guards nothing, phase is an ordinary column.
CREATE TABLE task (task_id bigint PRIMARY KEY, phase text NOT NULL DEFAULT 'open', urgency text NOT NULL DEFAULT 'routine',
                   site_id bigint, performer_id bigint, priority integer NOT NULL DEFAULT 0, note text);
SELECT referral.attach('task') \g /dev/null
SELECT make_workflow('task') \g /dev/null
SELECT make_calendar('office', '{"timezone": "UTC", "hours": {"mon": ["09:00-17:00"], "tue": ["09:00-17:00"],
    "wed": ["09:00-17:00"], "thu": ["09:00-17:00"], "fri": ["09:00-17:00"]}, "closed": ["2025-04-18"]}') AS office \gset
SELECT make_policies('sla/task', '[
    {"name": "work", "target": "8 hours", "pause_when": "phase = ''held''", "cancel_when": "phase = ''void''",
     "levels": [{"level": 1, "percent": 50}, {"level": 2, "percent": 100}, {"level": 3, "percent": 150}]},
    {"name": "counted", "target": "8 hours", "pause_when": "phase = ''held''", "pause_counts": true, "levels": [{"level": 1}]},
    {"name": "resumed", "target": "8 hours", "pause_when": "phase = ''held''", "reopen": "resume", "levels": [{"level": 1}]},
    {"name": "once", "target": "8 hours", "pause_when": "phase = ''held''", "reopen": "ignore"},
    {"name": "first", "kind": "first_response", "target": "2 hours", "stop_when": "phase <> ''open''"},
    {"name": "all", "kind": "completion", "target": "3 days", "stop_when": "phase IN (''done'', ''void'')"}]') AS policies \gset

CREATE FUNCTION begin(id bigint, at timestamptz, phase text DEFAULT 'open', urgency text DEFAULT 'routine') RETURNS void LANGUAGE sql AS
    $$SELECT at(at, format('INSERT INTO task (task_id, phase, urgency) VALUES (%s, %L, %L)', id, phase, urgency))$$;
CREATE FUNCTION move(id bigint, at timestamptz, phase text, reason text DEFAULT NULL) RETURNS void LANGUAGE sql AS
    $$SELECT at(at, format('UPDATE task SET phase = %L, status_reason = %L WHERE task_id = %s', phase, reason, id))$$;
-- status, used, due, breached of a clock, at a time
CREATE FUNCTION stands(id bigint, at timestamptz, policy text DEFAULT 'work', cycle integer DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', status(c), used(c, at), 'due ' || to_char(c.due_at, 'MM-DD HH24:MI'), 'breached ' || to_char(c.breached_at, 'MM-DD HH24:MI'))
    FROM clock(id, policy, cycle) c $$;

-- 1. Start and stop

SELECT begin(1, '2025-03-03 10:00Z') \g /dev/null
SELECT is(row_to_json(c)::jsonb - '{clock_id,calendar_fingerprint,sla_policy_id,rule_version}'::text[], jsonb_build_object(
    'org_id', 1, 'entity', 'task', 'entity_id', 1, 'policy', 'work', 'kind', 'stage', 'cycle', 1, 'business_calendar_id', :office,
    'target', '08:00:00', 'consumed', '00:00:00', 'started_at', '2025-03-03T10:00:00+00:00', 'judged_since', '2025-03-03T10:00:00+00:00',
    'running_since', '2025-03-03T10:00:00+00:00', 'due_at', '2025-03-04T10:00:00+00:00', 'next_fire_at', '2025-03-03T14:00:00+00:00',
    'breached_at', NULL, 'stopped_at', NULL, 'nullified_at', NULL, 'pause_kind', NULL), 'a clock starts with its row, at the time of the event')
FROM clock(1) c;
SELECT is(c.calendar_fingerprint, referral.fingerprint(b.calendar, c.due_at), 'with the fingerprint of its calendar up to the due time')
FROM clock(1) c JOIN referral.business_calendar b USING (business_calendar_id);
SELECT is((SELECT array_agg(c.policy || ' ' || c.kind ORDER BY c.policy) FROM referral.sla_clock c WHERE c.entity = 'task' AND c.entity_id = 1),
          '{"all completion","counted stage","first first_response","once stage","resumed stage","work stage"}', 'one clock of each policy');
SELECT is((clock(1, 'all')).due_at, '2025-03-06 10:00Z'::timestamptz, 'days are business days');
UPDATE task SET note = 'x' WHERE task_id = 1;
SELECT is((SELECT count(*) FROM referral.sla_clock c WHERE c.entity = 'task' AND c.entity_id = 1 AND c.running_since = '2025-03-03 10:00Z'), 6::bigint,
          'a change that says nothing of them leaves the clocks alone');
SELECT move(1, '2025-03-03 11:30Z', 'doing') \g /dev/null
SELECT is(stands(1, '2025-03-03 12:00Z', 'first'), 'stopped 01:30:00 due 03-03 12:00', 'the first response stops its own clock');
SELECT is(stands(1, '2025-03-03 12:00Z'), 'running 02:00:00 due 03-04 10:00', 'the others run on');
SELECT move(1, '2025-03-04 09:30Z', 'done') \g /dev/null
SELECT is(stands(1, '2025-03-05Z'), 'stopped 07:30:00 due 03-04 10:00', 'and stop with theirs');
SELECT is(stands(1, '2025-03-05Z', 'all'), 'stopped 07:30:00 due 03-06 10:00', 'in the same change');
SELECT is((clock(1)).next_fire_at, NULL, 'a clock that has stopped has nothing to fire');
SELECT is(levels(1), '1 03-03 14:00 overtaken', 'levels that it had reached are recorded, without anything to be done');
SELECT is(tick_at('2025-06-01Z'), 0::bigint, 'later ticks find nothing');

-- at the due time, between it and the next opening, after it
SELECT begin(2, '2025-03-03 09:00Z'), begin(3, '2025-03-03 09:00Z'), begin(4, '2025-03-03 09:00Z'), begin(5, '2025-03-03 09:00Z'),
       begin(6, '2025-03-03 09:00Z'), begin(7, '2025-03-03 12:00Z'), begin(8, '2025-03-03 12:00Z') \g /dev/null
SELECT is((clock(2)).due_at, '2025-03-03 17:00Z'::timestamptz, 'a target that is used up at closing time is due at the close');
SELECT move(2, '2025-03-03 17:00Z', 'done'), move(3, '2025-03-03 22:00Z', 'done'), move(4, '2025-03-04 09:00Z', 'done'),
       move(5, '2025-03-04 09:00:00.000001Z', 'done'), move(6, '2025-03-04 12:00Z', 'done'),
       move(7, '2025-03-04 12:00Z', 'done'), move(8, '2025-03-04 12:00:00.000001Z', 'done') \g /dev/null
SELECT is((clock(2)).breached_at, NULL, 'stopped exactly when due: in time');
SELECT is((clock(3)).breached_at, NULL, 'stopped between the close at which it was due and the opening: in time');
SELECT is((clock(4)).breached_at, NULL, 'stopped at the opening: in time, no more than the target is used');
SELECT is((clock(5)).breached_at, '2025-03-04 09:00Z'::timestamptz, 'a microsecond after the opening: breached at the opening, though no tick ran');
SELECT is((clock(6)).breached_at, '2025-03-04 09:00Z'::timestamptz, 'hours later: breached then, too');
SELECT is((clock(7)).breached_at, NULL, 'due within hours, stopped exactly then: in time');
SELECT is((clock(8)).breached_at, '2025-03-04 12:00Z'::timestamptz, 'a microsecond later: breached');
SELECT is(levels(6), '1 03-03 13:00 overtaken, 2 03-03 17:00 overtaken', 'a late stop records what was reached before, and not what was not');

-- outside of hours
SELECT begin(9, '2025-03-01 12:00Z'), move(9, '2025-03-02 12:00Z', 'done'), begin(10, '2025-03-01 12:00Z') \g /dev/null
SELECT is(stands(9, '2025-03-10Z'), 'stopped 00:00:00 due 03-03 17:00', 'a weekend costs nothing');
SELECT is(stands(10, '2025-03-03 10:00Z', 'all'), 'running 01:00:00 due 03-05 17:00', 'a start outside of hours counts as the next opening');

-- never begun, begun later, begun and over at once
SELECT begin(11, '2025-03-03 10:00Z', 'draft') \g /dev/null
SELECT is(status(clock(11)), 'none', 'no clock where start_when does not hold');
SELECT move(11, '2025-03-03 11:00Z', 'open') \g /dev/null
SELECT is((clock(11)).started_at, '2025-03-03 11:00Z'::timestamptz, 'it starts when that comes to hold');
SELECT begin(12, '2025-03-03 10:00Z', 'done') \g /dev/null
SELECT is(status(clock(12)), 'none', 'nor where the row is over when it comes');
SELECT begin(13, '2025-03-03 10:00Z', 'doing') \g /dev/null
SELECT move(13, '2025-03-03 11:00Z', 'done') \g /dev/null
SELECT is(status(clock(13)), 'none', 'nor by a stop without a start');
-- the time of the transaction, where no other is given
INSERT INTO task (task_id) VALUES (14);
SELECT is(c.started_at, j.occurred_at, 'without referral.occurred_at it is the start of the transaction')
FROM clock(14) c, referral.journal j WHERE j.entity = 'task' AND j.entity_id = 14;
-- an event that is reported as of before the start of its clock
SELECT begin(15, '2025-03-03 10:00Z'), move(15, '2025-03-03 09:00Z', 'done') \g /dev/null
SELECT is(stands(15, '2025-03-10Z'), 'stopped 00:00:00 due 03-04 10:00', 'a stop before the start uses nothing');
SELECT cmp_ok((clock(15)).stopped_at, '>=', (clock(15)).started_at, 'and is at the start');

-- 2. Pauses

SELECT begin(20, '2025-03-03 10:00Z'), move(20, '2025-03-03 11:00Z', 'held', 'patient') \g /dev/null
SELECT is(stands(20, '2025-03-03 16:00Z'), 'paused 01:00:00', 'a paused clock uses nothing and is not due');
SELECT is((SELECT (c.pause_kind, c.running_since, c.next_fire_at) FROM clock(20) c), ROW('rule'::text, NULL::timestamptz, 'infinity'::timestamptz), 'nor does anything fire');
SELECT is(tick_at('2025-03-10Z'), 0::bigint, 'a clock that would have been due meanwhile does not fire while it is paused')
FROM (SELECT tick_at('2025-03-09 23:00Z') AS others) x WHERE others >= 0;
SELECT is((clock(20)).breached_at, NULL, 'and is not breached');
SELECT move(20, '2025-03-06 11:00Z', 'open') \g /dev/null
SELECT is(stands(20, '2025-03-06 12:00Z'), 'running 02:00:00 due 03-07 10:00', 'it runs on where it was');
SELECT is(pauses(20), 'rule patient 03-03 11:00 - 03-06 11:00', 'the pause is recorded with its reason');
SELECT is(pauses(20, 'counted'), 'rule patient 03-03 11:00 - 03-06 11:00 counted', 'also where its time counts');
SELECT is(stands(20, '2025-03-03 16:00Z', 'counted'), 'running 06:00:00 due 03-04 10:00 breached 03-04 10:00', 'and there the clock goes on: it is due as ever');
SELECT is(levels(20, 'counted'), '1 03-04 10:00 done', 'it fires');

-- created paused
SELECT begin(21, '2025-03-03 10:00Z', 'held') \g /dev/null
SELECT is(status(clock(21)), 'none', 'a row that is on hold and does not meet start_when has no clock');
SELECT make_policies('sla/waiting', '[{"name": "waiting", "target": "8 hours", "start_when": "phase IN (''open'', ''held'')", "pause_when": "phase = ''held''",
    "levels": [{"level": 1, "percent": 0}, {"level": 2, "percent": 50}]}]') \g /dev/null
SELECT begin(22, '2025-03-03 10:00Z', 'held') \g /dev/null
SELECT is(stands(22, '2025-03-04Z', 'waiting'), 'paused 00:00:00', 'created paused: it has started, and uses nothing');
SELECT is(pauses(22, 'waiting'), 'rule 03-03 10:00 -', 'the pause begins with it');
SELECT move(22, '2025-03-04 12:00Z', 'open') \g /dev/null
SELECT is(stands(22, '2025-03-04 13:00Z', 'waiting'), 'running 01:00:00 due 03-05 12:00', 'and runs when the pause ends');
SELECT begin(23, '2025-03-03 10:00Z', 'held'), move(23, '2025-03-13 10:00Z', 'done') \g /dev/null
SELECT is(stands(23, '2025-03-14Z', 'waiting'), 'stopped 00:00:00 due 03-14 10:00', 'created paused and completed from there: in time, nothing used');
SELECT is(pauses(23, 'waiting'), 'rule 03-03 10:00 - 03-13 10:00', 'its pause ends with it');

-- from the pause straight to the end
SELECT begin(24, '2025-03-03 10:00Z'), move(24, '2025-03-03 12:00Z', 'held'), move(24, '2025-03-20 12:00Z', 'done') \g /dev/null
SELECT is(stands(24, '2025-04-01Z'), 'stopped 02:00:00 due 03-21 10:00', 'paused and completed in one step: the pause does not count');
SELECT is((clock(24)).stopped_at, '2025-03-20 12:00Z'::timestamptz, 'stopped at the time of the event');
SELECT is(pauses(24), 'rule 03-03 12:00 - 03-20 12:00', 'and the pause has its end');

-- another pause after a pause
SELECT begin(25, '2025-03-03 10:00Z'), move(25, '2025-03-03 12:00Z', 'held', 'patient'), move(25, '2025-03-05 12:00Z', 'held', 'payer'),
       move(25, '2025-03-06 12:00Z', 'held', 'payer'), move(25, '2025-03-07 12:00Z', 'open') \g /dev/null
SELECT is(pauses(25), 'rule patient 03-03 12:00 - 03-05 12:00, rule payer 03-05 12:00 - 03-07 12:00', 'a pause for another reason is another pause');
SELECT is(stands(25, '2025-03-07 13:00Z'), 'running 03:00:00 due 03-10 10:00', 'and neither counts');

-- very short ones
SELECT begin(26, '2025-03-03 10:00Z'), move(26, '2025-03-03 10:30:10Z', 'held'), move(26, '2025-03-03 10:30:20Z', 'open'),
       move(26, '2025-03-03 10:30:40Z', 'held'), move(26, '2025-03-03 10:30:55Z', 'open'),
       move(26, '2025-03-03 11:00:00.25Z', 'held'), move(26, '2025-03-03 11:00:00.5Z', 'open'),
       move(26, '2025-03-03 11:30Z', 'held'), move(26, '2025-03-03 11:30Z', 'open') \g /dev/null
SELECT is((SELECT count(*) FROM referral.sla_pause p JOIN clock(26) c USING (clock_id)), 4::bigint, 'two pauses in a minute, one of a fraction of a second and one of no time');
SELECT is(used(clock(26), '2025-03-03 12:00Z'), '2 hours'::interval - '25.25 seconds'::interval, 'each counts for what it was');
SELECT is((clock(26)).due_at, '2025-03-04 10:00:25.25Z'::timestamptz, 'and moves the due time by so much');

-- outside of hours
SELECT begin(27, '2025-03-03 10:00Z'), move(27, '2025-03-03 18:00Z', 'held'), move(27, '2025-03-04 08:00Z', 'open') \g /dev/null
SELECT is(stands(27, '2025-03-04 09:30Z'), 'running 07:30:00 due 03-04 10:00', 'a pause outside of hours changes nothing');
SELECT begin(28, '2025-03-03 10:00Z'), move(28, '2025-03-03 16:00Z', 'held'), move(28, '2025-03-04 08:00Z', 'open') \g /dev/null
SELECT is((clock(28)).due_at, '2025-03-04 11:00Z'::timestamptz, 'one into the night costs what was left of the day');

-- after the target
SELECT begin(29, '2025-03-03 10:00Z'), move(29, '2025-03-04 12:00Z', 'held') \g /dev/null
SELECT is(stands(29, '2025-03-05Z'), 'paused 10:00:00 due 03-04 10:00 breached 03-04 10:00', 'a pause after the due time does not undo the breach, though no tick ran');
SELECT is(levels(29), '1 03-03 14:00 overtaken, 2 03-04 10:00 overtaken', 'levels reached before it are recorded');
SELECT move(29, '2025-03-05 12:00Z', 'open') \g /dev/null
SELECT is(stands(29, '2025-03-05 12:00Z'), 'running 10:00:00 due 03-04 10:00 breached 03-04 10:00', 'nor does its end');
SELECT move(29, '2025-03-05 12:00Z', 'done') \g /dev/null
SELECT is((clock(29)).breached_at, '2025-03-04 10:00Z'::timestamptz, 'nor the stop');

-- a breach that tick() has noted
SELECT begin(30, '2025-03-03 10:00Z') \g /dev/null
SELECT tick_at('2025-03-05 12:00Z') \g /dev/null
SELECT move(30, '2025-03-05 13:00Z', 'held'), move(30, '2025-03-06 13:00Z', 'done') \g /dev/null
SELECT is(stands(30, '2025-03-10Z'), 'stopped 19:00:00 due 03-04 10:00 breached 03-04 10:00', 'paused and completed after a breach: breached');

-- pauses that count: a stop is judged by all the time
SELECT begin(31, '2025-03-03 10:00Z'), move(31, '2025-03-03 11:00Z', 'held'), move(31, '2025-03-04 12:00Z', 'done') \g /dev/null
SELECT is(stands(31, '2025-03-10Z', 'counted'), 'stopped 10:00:00 due 03-04 10:00 breached 03-04 10:00', 'pauses count where the policy says so');
SELECT is(pauses(31, 'counted'), 'rule 03-03 11:00 - 03-04 12:00 counted', 'and are recorded all the same');
SELECT is(stands(31, '2025-03-10Z'), 'stopped 01:00:00 due 03-05 11:00', 'but not for another policy of the same row');

-- 3. Ends that come to be known late

-- a stop in time, after tick() has noted a breach
SELECT begin(40, '2025-03-03 10:00Z') \g /dev/null
SELECT tick_at('2025-03-05 12:00Z') \g /dev/null
SELECT is((SELECT (c.breached_at, levels(40)) FROM clock(40) c), ROW('2025-03-04 10:00Z'::timestamptz, '1 03-03 14:00 collapsed, 2 03-04 10:00 collapsed, 3 03-04 14:00 done'::text),
          'tick() notes a breach');
SELECT move(40, '2025-03-04 09:59Z', 'done') \g /dev/null
SELECT is(stands(40, '2025-03-10Z'), 'stopped 07:59:00 due 03-04 10:00', 'and takes it back when the clock turns out to have stopped in time');
SELECT is(levels(40), '1 03-03 14:00 collapsed, 2 03-04 10:00 collapsed, 3 03-04 14:00 done', 'what was escalated stays on record');
-- a stop that was late, but earlier than noted
SELECT begin(41, '2025-03-03 10:00Z') \g /dev/null
SELECT tick_at('2025-03-05 12:00Z') \g /dev/null
SELECT move(41, '2025-03-04 10:30Z', 'done') \g /dev/null
SELECT is(stands(41, '2025-03-10Z'), 'stopped 08:30:00 due 03-04 10:00 breached 03-04 10:00', 'not when it was late all the same');
-- a pause before the due time, after tick() has noted a breach
SELECT begin(42, '2025-03-03 10:00Z') \g /dev/null
SELECT tick_at('2025-03-04 12:00Z') \g /dev/null
SELECT move(42, '2025-03-03 12:00Z', 'held') \g /dev/null
SELECT is(stands(42, '2025-03-05Z'), 'paused 02:00:00', 'a pause that began before the due time takes a breach back, too');
SELECT move(42, '2025-03-05 12:00Z', 'open') \g /dev/null
SELECT is(stands(42, '2025-03-05 12:00Z'), 'running 02:00:00 due 03-06 10:00', 'and then the clock is due later');
SELECT tick_at('2025-03-06 13:00Z') \g /dev/null
SELECT is((clock(42)).breached_at, '2025-03-06 10:00Z'::timestamptz, 'and breached then');

-- a stop before the last pause, or during it, that comes to be known after it
SELECT begin(43, '2025-03-03 10:00Z'), move(43, '2025-03-03 12:00Z', 'held'), move(43, '2025-03-04 12:00Z', 'open'), move(43, '2025-03-03 11:00Z', 'done') \g /dev/null
SELECT is(stands(43, '2025-03-10Z') ~ '^stopped 01:00:00', true, 'a stop before a pause that was recorded: only what was used by then counts');
SELECT is((clock(43)).stopped_at, '2025-03-03 11:00Z'::timestamptz, 'at its own time');
SELECT begin(44, '2025-03-03 10:00Z'), move(44, '2025-03-03 12:00Z', 'held'), move(44, '2025-03-04 12:00Z', 'open') \g /dev/null
SELECT tick_at('2025-03-10Z') \g /dev/null
SELECT is((clock(44)).breached_at, '2025-03-05 10:00Z'::timestamptz, 'breached, as far as is known');
SELECT move(44, '2025-03-03 16:00Z', 'done') \g /dev/null
SELECT is(stands(44, '2025-03-10Z') ~ '^stopped 02:00:00', true, 'a stop during a pause that is over: what was used before it, in time');
SELECT is((clock(44)).breached_at, NULL, 'and no breach');
SELECT begin(45, '2025-03-03 10:00Z'), move(45, '2025-03-03 12:00Z', 'held'), move(45, '2025-03-03 11:00Z', 'done') \g /dev/null
SELECT is(stands(45, '2025-03-10Z') ~ '^stopped 01:00:00', true, 'a stop before a pause that is not over');
SELECT is((SELECT count(*) FROM referral.sla_pause p JOIN clock(45) c USING (clock_id) WHERE p.resumed_at IS NULL), 0::bigint, 'which then is');

-- 4. Once more

SELECT begin(50, '2025-03-03 10:00Z'), move(50, '2025-03-03 12:00Z', 'done') \g /dev/null
SELECT move(50, '2025-03-05 12:00Z', 'open') \g /dev/null
SELECT is(stands(50, '2025-03-05 13:00Z'), 'running 01:00:00 due 03-06 12:00', 'reopened, a new cycle: all of the target');
SELECT is((clock(50)).cycle, 2, 'it is the second');
SELECT is(stands(50, '2025-03-10Z', 'work', 1), 'stopped 02:00:00 due 03-04 10:00', 'the first one stays as it was');
SELECT is((SELECT count(*) FROM referral.sla_pause p JOIN clock(50) c USING (clock_id)), 0::bigint, 'the time between is no pause');
SELECT is(stands(50, '2025-03-05 13:00Z', 'resumed'), 'running 03:00:00 due 03-06 10:00', 'reopened, the clock runs on: the time between does not count');
SELECT is((clock(50, 'resumed')).cycle, 1, 'it is the same clock');
SELECT is(pauses(50, 'resumed'), 'stop 03-03 12:00 - 03-05 12:00', 'the time between is on record');
SELECT is(stands(50, '2025-03-05 13:00Z', 'once'), 'stopped 02:00:00 due 03-04 10:00', 'reopened, ignored');
SELECT move(50, '2025-03-06 11:00Z', 'done') \g /dev/null
SELECT is(stands(50, '2025-03-10Z'), 'stopped 07:00:00 due 03-06 12:00', 'the second cycle has an end of its own');
SELECT is(stands(50, '2025-03-10Z', 'resumed'), 'stopped 09:00:00 due 03-06 10:00 breached 03-06 10:00', 'the resumed one is judged by both stretches together');
SELECT tick_at('2025-03-20Z') \g /dev/null
SELECT is(levels(50, 'resumed'), '1 03-06 10:00 overtaken', 'a level is recorded once, at the time it was reached');
-- reopened into a pause
SELECT begin(51, '2025-03-03 10:00Z'), move(51, '2025-03-03 12:00Z', 'done'), move(51, '2025-03-05 12:00Z', 'held'), move(51, '2025-03-06 12:00Z', 'open') \g /dev/null
SELECT is(stands(51, '2025-03-06 13:00Z', 'waiting', 2), 'running 01:00:00 due 03-07 12:00', 'reopened paused: a new cycle that runs when the pause ends');
SELECT is((clock(51, 'waiting')).started_at, '2025-03-05 12:00Z'::timestamptz, 'and starts with the pause');
SELECT is(stands(51, '2025-03-06 13:00Z', 'resumed'), 'running 03:00:00 due 03-07 10:00', 'where start_when does not include the pause, it starts after it');
-- a breach before the reopening
SELECT begin(52, '2025-03-03 10:00Z'), move(52, '2025-03-05 12:00Z', 'done'), move(52, '2025-03-06 12:00Z', 'open') \g /dev/null
SELECT is((SELECT array_agg(c.breached_at ORDER BY c.policy, c.cycle) FROM referral.sla_clock c WHERE c.entity = 'task' AND c.entity_id = 52 AND c.policy IN ('resumed', 'work')),
          ARRAY['2025-03-04 10:00Z', '2025-03-04 10:00Z', NULL]::timestamptz[], 'a breach stays with its cycle');
-- resumed under the pause of a stop: what was reached is not reached again
SELECT is(tick_at('2025-03-06 12:30Z') >= 0, true, 'a tick after a reopening');
SELECT is(levels(52, 'resumed'), '1 03-04 10:00 overtaken', 'what was reached before the reopening is not reached again');

-- 5. Nullified

SELECT begin(60, '2025-03-03 10:00Z'), move(60, '2025-03-03 12:00Z', 'void') \g /dev/null
SELECT is((SELECT (status(c), c.nullified_at, c.stopped_at, c.breached_at, c.next_fire_at) FROM clock(60) c),
          ROW('nullified'::text, '2025-03-03 12:00Z'::timestamptz, NULL::timestamptz, NULL::timestamptz, NULL::timestamptz), 'cancel_when nullifies a clock');
SELECT is(status(clock(60, 'all')), 'stopped', 'of its own policy');
SELECT tick_at('2025-04-01Z') \g /dev/null
SELECT is(levels(60), NULL, 'nothing more comes of it');
SELECT move(60, '2025-03-04 12:00Z', 'done') \g /dev/null
SELECT is(status(clock(60)), 'nullified', 'it does not stop any more');
SELECT move(60, '2025-03-05 12:00Z', 'open') \g /dev/null
SELECT is((SELECT (status(c), c.cycle, c.started_at) FROM clock(60) c), ROW('running'::text, 2, '2025-03-05 12:00Z'::timestamptz), 'another start is a new cycle');
SELECT begin(61, '2025-03-03 10:00Z'), move(61, '2025-03-03 11:00Z', 'held'), move(61, '2025-03-03 12:00Z', 'void') \g /dev/null
SELECT is(status(clock(61)), 'nullified', 'a paused clock is nullified, too');
SELECT is(pauses(61), 'rule 03-03 11:00 - 03-03 12:00', 'and its pause ends');
SELECT begin(62, '2025-03-03 10:00Z', 'void') \g /dev/null
SELECT is(status(clock(62)), 'none', 'what is cancelled when it comes has no clock');
-- also where the clock is resumed or ignored after a stop
SELECT make_policies('sla/cancelled', '[{"name": "again", "target": "8 hours", "cancel_when": "phase = ''void''", "reopen": "resume"},
    {"name": "never", "target": "8 hours", "cancel_when": "phase = ''void''", "reopen": "ignore"}]') \g /dev/null
SELECT begin(63, '2025-03-03 10:00Z'), move(63, '2025-03-03 11:00Z', 'void'), move(63, '2025-03-03 12:00Z', 'open') \g /dev/null
SELECT is((SELECT array_agg((c.policy, c.cycle, status(c))::text ORDER BY c.policy, c.cycle) FROM referral.sla_clock c
           WHERE c.entity = 'task' AND c.entity_id = 63 AND c.policy IN ('again', 'never')),
          '{"(again,1,nullified)","(again,2,running)","(never,1,nullified)","(never,2,running)"}', 'a nullified clock is never resumed; another cycle starts');

-- 6. Transfers

SELECT begin(70, '2025-03-03 10:00Z') \g /dev/null
SELECT to_jsonb(clock(70)) AS before \gset
SELECT at('2025-03-03 11:00Z', 'UPDATE task SET site_id = 7, performer_id = 8, step = ''b'' WHERE task_id = 70') \g /dev/null
SELECT is(to_jsonb(clock(70)), :'before'::jsonb, 'another site, performer and step keep the clock as it is');

-- 7. The end of what is known of a calendar

SELECT make_calendar('short', '{"timezone": "UTC", "hours": {"mon": ["09:00-17:00"], "tue": ["09:00-17:00"], "wed": ["09:00-17:00"],
    "thu": ["09:00-17:00"], "fri": ["09:00-17:00"]}, "valid_until": "2025-03-04"}') \g /dev/null
SELECT make_policies('sla/short', '[{"name": "short", "target": "12 hours", "calendar": "short", "start_when": "phase = ''known''", "pause_when": "phase = ''held''",
    "cancel_when": "phase = ''void''", "levels": [{"level": 1, "percent": 50}, {"level": 2, "percent": 200}]}]') \g /dev/null
SELECT begin(80, '2025-03-03 10:00Z', 'known'), begin(81, '2025-03-04 10:00Z', 'known'), begin(82, '2025-03-05 10:00Z', 'known') \g /dev/null
SELECT is(stands(80, '2025-03-04 16:00Z', 'short'), 'running 14:00:00 due 03-04 14:00', 'a clock that is due before its calendar ends');
SELECT is((SELECT (status(c), c.target, c.due_at, c.calendar_fingerprint, c.next_fire_at) FROM clock(81, 'short') c),
          ROW('running'::text, '12 hours'::interval, NULL::timestamptz, NULL::bigint, '2025-03-04 16:00Z'::timestamptz),
          'one that is due after that has no due time, but the levels until then');
SELECT is((SELECT (status(c), c.due_at, c.next_fire_at) FROM clock(82, 'short') c), ROW('running'::text, NULL::timestamptz, 'infinity'::timestamptz),
          'one that starts after that has neither, and the row is not refused');
SELECT lives_ok($$SELECT move(80, '2025-03-10 10:00Z', 'held'), move(81, '2025-03-10 10:00Z', 'held'), move(82, '2025-03-10 10:00Z', 'held')$$, 'it can be put on hold');
SELECT is(levels(80, 'short'), '1 03-03 16:00 overtaken', 'what was known of it is recorded');
SELECT is((SELECT array_agg((status(c), c.consumed)::text ORDER BY c.entity_id) FROM referral.sla_clock c WHERE c.policy = 'short'),
          '{"(paused,)","(paused,)","(paused,)"}', 'what it used is not known any more');
SELECT is((clock(80, 'short')).breached_at, '2025-03-04 14:00Z'::timestamptz, 'that it was late, is');
SELECT lives_ok($$SELECT move(80, '2025-03-11 10:00Z', 'known'), move(81, '2025-03-11 10:00Z', 'known'), move(82, '2025-03-11 10:00Z', 'known')$$, 'go on');
SELECT lives_ok($$SELECT tick_at('2025-03-20Z')$$, 'be met by a tick');
SELECT lives_ok($$SELECT move(80, '2025-03-12 10:00Z', 'done'), move(81, '2025-03-12 10:00Z', 'done'), move(82, '2025-03-12 10:00Z', 'void')$$, 'and be over');
SELECT is((SELECT array_agg((status(c), c.breached_at)::text ORDER BY c.entity_id) FROM referral.sla_clock c WHERE c.policy = 'short'),
          '{"(stopped,\"2025-03-04 14:00:00+00\")","(stopped,)","(nullified,)"}', 'nobody is said to be late for what is not known');
SELECT is((SELECT count(*) FROM referral.sla_pause p WHERE p.resumed_at IS NULL AND p.clock_id IN (SELECT clock_id FROM referral.sla_clock WHERE policy = 'short')),
          0::bigint, 'and no pause is left open');

-- and the end of what calendars can tell, the years 1900 to 2399
SELECT make_policies('sla/far', '[{"name": "far1", "calendar": "always", "target": "150000 days", "start_when": "phase = ''far''", "pause_when": "phase = ''held''", "levels": [{"level": 1, "percent": 0}]},
    {"name": "far2", "calendar": "always", "target": "2000000000 days", "start_when": "phase = ''far''", "pause_when": "phase = ''held''"},
    {"name": "far3", "calendar": "always", "target": "10000 days", "start_when": "phase = ''far''", "pause_when": "phase = ''held''", "levels": [{"level": 1, "percent": 9999.999}, {"level": 2, "percent": 1}]},
    {"name": "far4", "calendar": "always", "target": "10 days", "start_when": "phase = ''far''", "pause_when": "phase = ''held''", "levels": [{"level": 1, "after": "9000000 hours"}]}]') \g /dev/null
SELECT lives_ok($$SELECT begin(84, '2025-03-03 10:00Z', 'far'), move(84, '2025-03-04 10:00Z', 'held'), move(84, '2025-03-05 10:00Z', 'far')$$, 'targets and levels far away refuse nothing');
SELECT is((SELECT array_agg((c.policy, c.target, c.due_at)::text ORDER BY c.policy) FROM referral.sla_clock c WHERE c.policy LIKE 'far_' AND c.entity_id = 84),
          '{"(far1,,)","(far2,,)","(far3,240000:00:00,\"2052-07-20 10:00:00+00\")","(far4,240:00:00,\"2025-03-14 10:00:00+00\")"}', 'those that are too far are not known');
SELECT lives_ok($$SELECT tick_at('2025-08-20Z')$$, 'ticks meet them');
SELECT is(levels(84, 'far3'), '2 06-12 10:00 done', 'and find the others');
SELECT lives_ok($$SELECT move(84, '2025-09-01Z', 'done')$$, 'and they end');
SELECT lives_ok($$SELECT begin(85, '1890-03-03 10:00Z', 'far'), move(85, '1890-03-04 10:00Z', 'held'), move(85, '2025-03-05 10:00Z', 'far'), move(85, '2025-03-06 10:00Z', 'done')$$,
                'nor does an event from before that');

-- 8. Rows that go, and come back

SELECT begin(90, '2025-03-03 10:00Z'), begin(91, '2025-03-03 10:00Z') \g /dev/null
SELECT at('2025-03-03 12:00Z', 'DELETE FROM task WHERE task_id = 90') \g /dev/null
SELECT is((SELECT (status(c), c.nullified_at) FROM clock(90) c), ROW('nullified'::text, '2025-03-03 12:00Z'::timestamptz), 'the clocks of a deleted row are nullified');
SELECT is((SELECT count(*) FROM referral.sla_clock c WHERE c.entity = 'task' AND c.entity_id = 90 AND c.nullified_at IS NULL), 0::bigint, 'all of them');
SELECT is(tick_at('2025-05-01Z') >= 0 AND levels(90) IS NULL, true, 'and fire no more');
SELECT lives_ok($$SELECT begin(90, '2025-03-05 10:00Z')$$, 'a row may come under the number of a deleted one');
SELECT is((SELECT (status(c), c.cycle, c.started_at) FROM clock(90) c), ROW('running'::text, 2, '2025-03-05 10:00Z'::timestamptz), 'and has a clock of its own');
SELECT at('2025-03-06 12:00Z', 'WITH gone AS (DELETE FROM task WHERE task_id = 90 RETURNING 1) UPDATE task SET phase = ''done'' WHERE task_id = 91') \g /dev/null
SELECT is(status(clock(90)) || ' ' || status(clock(91)), 'nullified stopped', 'several rows in one statement');
INSERT INTO task (task_id, phase) VALUES (91, 'open') ON CONFLICT (task_id) DO UPDATE SET phase = excluded.phase;
SELECT is((SELECT (status(c), c.cycle) FROM clock(91) c), ROW('running'::text, 2), 'ON CONFLICT DO UPDATE is an update');
BEGIN;
SELECT move(91, '2025-03-07 12:00Z', 'held') \g /dev/null
SAVEPOINT a;
SELECT move(91, '2025-03-08 12:00Z', 'done') \g /dev/null
ROLLBACK TO a;
SELECT is(status(clock(91)), 'paused', 'what is rolled back is rolled back for the clock, too');
COMMIT;

-- partitions: a row that moves is the same row
CREATE TABLE part (part_id bigint, phase text NOT NULL DEFAULT 'open', region text NOT NULL, org_id bigint NOT NULL DEFAULT 1,
                   PRIMARY KEY (org_id, part_id, region)) PARTITION BY LIST (region);
CREATE TABLE part_n PARTITION OF part FOR VALUES IN ('n');
CREATE TABLE part_s (region text NOT NULL, phase text NOT NULL DEFAULT 'open', part_id bigint NOT NULL, org_id bigint NOT NULL DEFAULT 1);
ALTER TABLE part ATTACH PARTITION part_s FOR VALUES IN ('s');
SELECT referral.attach('part', id_column => 'part_id') \g /dev/null
SELECT make_workflow('part') \g /dev/null
SELECT make_policies('sla/part', '[{"name": "work", "entity": "part", "target": "8 hours", "pause_when": "phase = ''held''", "levels": [{"level": 1, "percent": 50}]}]') \g /dev/null
SELECT at('2025-03-03 10:00Z', $$INSERT INTO part (part_id, region) VALUES (1, 'n'), (2, 'n'), (3, 'n'), (4, 'n')$$) \g /dev/null
SELECT to_jsonb(clock(1, entity => 'part')) AS before \gset
SELECT at('2025-03-03 12:00Z', $$UPDATE part SET region = 's' WHERE part_id = 1$$) \g /dev/null
SELECT is(to_jsonb(clock(1, entity => 'part')), :'before'::jsonb, 'a row that moves to another partition keeps its clock as it is');
SELECT is((SELECT tableoid::regclass::text FROM part WHERE part_id = 1), 'part_s', 'it did move');
SELECT at('2025-03-03 12:00Z', $$UPDATE part SET region = 's', phase = 'held' WHERE part_id = 2$$) \g /dev/null
SELECT is((SELECT (status(c), c.consumed, c.cycle) FROM clock(2, entity => 'part') c), ROW('paused'::text, '2 hours'::interval, 1), 'one that is put on hold as it moves is paused');
SELECT at('2025-03-03 14:00Z', $$UPDATE part SET region = 'n', phase = 'open' WHERE part_id = 2$$) \g /dev/null
SELECT is((SELECT (status(c), c.due_at) FROM clock(2, entity => 'part') c), ROW('running'::text, '2025-03-04 12:00Z'::timestamptz), 'and runs on as it moves back');
SELECT at('2025-03-03 14:00Z', $$UPDATE part SET region = 's', phase = 'done' WHERE part_id = 2$$) \g /dev/null
SELECT is(status(clock(2, entity => 'part')), 'stopped', 'or is over');
SELECT at('2025-03-03 15:00Z', $$UPDATE part SET region = 'n', phase = 'open' WHERE part_id = 2$$) \g /dev/null
SELECT is((SELECT (status(c), c.cycle) FROM clock(2, entity => 'part') c), ROW('running'::text, 2), 'or opened again');
SELECT referral.cancel_clock(c.org_id, c.clock_id, now()) FROM clock(3, entity => 'part') c \g /dev/null
UPDATE part SET region = 's' WHERE part_id = 3;
SELECT is((SELECT (status(c), c.cycle) FROM clock(3, entity => 'part') c), ROW('nullified'::text, 1), 'a move alone does not start a clock again that somebody nullified');
DELETE FROM part WHERE part_id = 4;
SELECT is(status(clock(4, entity => 'part')), 'nullified', 'a row that is deleted from a partition is gone');

-- 9. Tables that are no longer followed

CREATE TABLE other (other_id bigint PRIMARY KEY, phase text NOT NULL DEFAULT 'open');
SELECT referral.attach('other') \g /dev/null
SELECT make_workflow('other') \g /dev/null
SELECT make_policies('sla/other', '[{"name": "work", "entity": "other", "target": "8 hours", "pause_when": "phase = ''held''"}]') \g /dev/null
INSERT INTO other (other_id) VALUES (1), (2), (3);
UPDATE other SET phase = 'held' WHERE other_id = 2;
UPDATE other SET phase = 'done' WHERE other_id = 3;
SELECT referral.detach('other') \g /dev/null
SELECT is((SELECT array_agg(status(c) ORDER BY c.entity_id) FROM referral.sla_clock c WHERE c.entity = 'other'), '{nullified,nullified,stopped}',
          'detach() nullifies the open clocks of a table');
SELECT is((SELECT count(*) FROM referral.sla_pause p JOIN referral.sla_clock c USING (org_id, clock_id) WHERE c.entity = 'other' AND p.resumed_at IS NULL),
          0::bigint, 'and ends their pauses');
UPDATE other SET phase = 'done' WHERE other_id = 1;
SELECT is((SELECT count(*) FROM referral.sla_clock c WHERE c.entity = 'other'), 3::bigint, 'what is done to the table then has no effect on clocks');
SELECT referral.attach('other') \g /dev/null
UPDATE other SET phase = 'open' WHERE other_id = 1;
SELECT is((SELECT (status(c), c.cycle) FROM clock(1, entity => 'other') c), ROW('running'::text, 2), 'attached again, its rows have clocks again');

-- 10. Referrals: missed appointments nullify and restart for routine and urgent ones, not for a two-week wait (asap)

SELECT make_policies('sla/rtt', '[{"name": "rtt", "entity": "referral", "kind": "completion", "target": "126 days", "calendar": "always",
    "start_when": "state IN (''received'', ''validated'', ''ready_to_schedule'', ''scheduled'')",
    "stop_when": "state IN (''completed'', ''closed_loop'', ''declined'')",
    "pause_when": "state = ''on_hold''", "pause_counts": true,
    "cancel_when": "state IN (''cancelled'', ''entered_in_error'') OR (state = ''no_show'' AND urgency < ''asap'')"}]') \g /dev/null
INSERT INTO referral.patient (patient_id) VALUES (1);
CREATE FUNCTION refer(id bigint, urgency text) RETURNS void LANGUAGE sql AS $$
    SELECT at('2025-03-03 10:00Z', format('INSERT INTO referral.referral (referral_id, patient_id, specialty, urgency, state, scheduled_for)
                                           VALUES (%s, 1, ''x'', %L, ''scheduled'', ''2025-03-10 10:00Z'')', id, urgency)),
           at('2025-03-10 11:00Z', format('UPDATE referral.referral SET state = ''no_show'' WHERE referral_id = %s', id)),
           at('2025-03-12 10:00Z', format('UPDATE referral.referral SET state = ''scheduled'', scheduled_for = ''2025-03-20 10:00Z'' WHERE referral_id = %s', id)) $$;
SELECT refer(1, 'routine'), refer(2, 'urgent'), refer(3, 'asap') \g /dev/null
SELECT is((SELECT array_agg(format('%s %s %s %s', c.entity_id, c.cycle, status(c), to_char(c.started_at AT TIME ZONE 'UTC', 'MM-DD')) ORDER BY c.entity_id, c.cycle)
           FROM referral.sla_clock c WHERE c.entity = 'referral' AND c.policy = 'rtt'),
          '{"1 1 nullified 03-03","1 2 running 03-12","2 1 nullified 03-03","2 2 running 03-12","3 1 running 03-03"}',
          'a missed appointment nullifies the clock and the next one starts another, but not for a two-week wait');
-- by the move, not by the state
SELECT make_policies('sla/event', '[{"name": "event", "entity": "referral", "target": "5 days", "calendar": "always",
    "start_when": "referral.transition_name(transition_id) = ''rebook''", "stop_when": "referral.transition_name(transition_id) = ''complete''"}]') \g /dev/null
SELECT at('2025-03-20 11:00Z', 'UPDATE referral.referral SET state = ''no_show'' WHERE referral_id = 3'),
       at('2025-03-21 11:00Z', 'UPDATE referral.referral SET state = ''scheduled'', scheduled_for = ''2025-03-22 10:00Z'' WHERE referral_id = 3'),
       at('2025-03-21 12:00Z', 'UPDATE referral.referral SET reason_text = ''x'' WHERE referral_id = 3') \g /dev/null
SELECT is((SELECT (status(c), c.started_at) FROM clock(3, 'event', entity => 'referral') c), ROW('running'::text, '2025-03-21 11:00Z'::timestamptz), 'a clock may start by an event');
SELECT at('2025-03-22 11:00Z', 'UPDATE referral.referral SET state = ''completed'' WHERE referral_id = 3') \g /dev/null
SELECT is((SELECT (status(c), c.stopped_at) FROM clock(3, 'event', entity => 'referral') c), ROW('stopped'::text, '2025-03-22 11:00Z'::timestamptz), 'and stop by one');
-- by what the row was
SELECT make_policies('sla/former', '[{"name": "former", "target": "8 hours", "start_when": "phase = ''doing'' AND old.phase = ''open''",
    "stop_when": "old.phase = ''doing'' AND phase <> ''doing''"}]') \g /dev/null
SELECT begin(95, '2025-03-03 10:00Z', 'doing'), begin(96, '2025-03-03 10:00Z', 'open'), move(96, '2025-03-03 11:00Z', 'doing'),
       at('2025-03-03 12:00Z', 'UPDATE task SET note = ''x'', urgency = ''urgent'' WHERE task_id = 96') \g /dev/null
SELECT is(status(clock(95, 'former')) || ' ' || status(clock(96, 'former')), 'none running', 'or by what the row was before');
SELECT move(96, '2025-03-03 13:00Z', 'held') \g /dev/null
SELECT is(stands(96, '2025-03-04Z', 'former'), 'stopped 02:00:00 due 03-04 11:00', 'start and stop');

-- 11. The journal

SELECT is((SELECT array_agg(v.entity || ' ' || p.problem) FROM unnest(ARRAY['sla_pause', 'sla_adjustment', 'escalation', 'task', 'part', 'other']) v (entity),
               referral.verify_coverage(v.entity) p), NULL, 'the journal covers pauses, adjustments and escalations in full');
SELECT is((SELECT array_agg(DISTINCT j.entity ORDER BY j.entity) FROM referral.journal j WHERE j.entity LIKE 'sla\_%' OR j.entity = 'escalation'),
          '{escalation,sla_adjustment,sla_level,sla_pause,sla_policy}', 'they are in it, clocks are not');

SELECT * FROM finish();
