-- Random histories of rows: whatever happens to them and in which order, clocks have used the open time of the stretches
-- during which they ran. What is expected is worked out from the events alone: runs and pauses as ranges, open time by
-- business_elapsed() over them. The first history that differs is named, with its events.
SELECT plan(18);
\ir ../lib/make_workflow.sql
\ir ../lib/make_policy.sql
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SET client_min_messages = error;
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'sla/standard';

CREATE TABLE task (task_id bigint PRIMARY KEY, phase text NOT NULL, urgency text NOT NULL, site_id bigint);
SELECT referral.attach('task') \g /dev/null
SELECT make_workflow('task') \g /dev/null

-- One calendar per site: office hours, with holidays and a half day; two intervals a day; nights; all day; a few hours a week.
SELECT make_calendar('local', '{"timezone": "UTC", "hours": {"mon": ["09:00-17:00"]}}') \g /dev/null
SELECT make_calendar('local', c, 1, site) FROM (VALUES
    (1, '{"timezone": "America/New_York", "hours": {"mon": ["09:00-17:00"], "tue": ["09:00-17:00"], "wed": ["09:00-17:00"], "thu": ["09:00-17:00"], "fri": ["09:00-17:00"]},
          "closed": ["2025-05-26", "2025-07-04", "2025-11-27"], "dates": {"2025-11-28": ["09:00-13:00"]}}'),
    (2, '{"timezone": "Europe/Paris", "hours": {"mon": ["08:00-12:00", "13:30-18:00"], "wed": ["08:00-12:00", "13:30-18:00"], "thu": ["08:00-12:00"], "sat": ["10:00-16:00"]}}'),
    (3, '{"timezone": "Australia/Lord_Howe", "hours": {"mon": ["22:00-06:00"], "tue": ["22:00-06:00"], "sat": ["22:00-06:00"], "sun": ["07:00-09:00"]}}'),
    (4, '{"timezone": "America/Chicago", "hours": {"mon": ["00:00-24:00"], "tue": ["00:00-24:00"], "wed": ["00:00-24:00"], "thu": ["00:00-24:00"], "fri": ["00:00-24:00"], "sat": ["00:00-24:00"], "sun": ["00:00-24:00"]}}'),
    (5, '{"timezone": "Asia/Kathmandu", "hours": {"wed": ["10:00-13:00"], "fri": ["16:59:59-17:00:01"]}}')) v (site, c) \g /dev/null

CREATE TABLE policy (name text, urgent boolean, starts text[], counts boolean, reopen text, target interval, calendar text);
INSERT INTO policy VALUES
    ('anew', NULL, '{open,held}', false, 'new_cycle', '9 hours', 'local'),
    ('on', NULL, '{open}', false, 'resume', '12:34:56.789', 'local'),
    ('counted', NULL, '{open,held}', true, 'resume', '20 hours', 'local'),
    ('once', NULL, '{open,doing}', false, 'ignore', '2 days', 'local'),
    ('changing', false, '{open,held}', false, 'resume', '30 hours', 'local'),
    ('changing', true, '{open,held}', true, 'resume', '10 hours', 'always');
SELECT make_policies('sla/task', jsonb_agg(jsonb_build_object('name', p.name, 'applies_when', CASE WHEN p.urgent THEN 'urgency = ''urgent''' END, 'priority', CASE WHEN p.urgent THEN 1 ELSE 2 END,
    'start_when', format('phase IN (%s)', (SELECT string_agg(quote_literal(s), ', ') FROM unnest(p.starts) s)), 'stop_when', 'phase = ''done''', 'pause_when', 'phase = ''held''', 'cancel_when', 'phase = ''void''',
    'pause_counts', p.counts, 'reopen', p.reopen, 'target', p.target, 'calendar', p.calendar,
    'levels', '[{"level": 1, "percent": 50}, {"level": 2, "percent": 100}, {"level": 3, "percent": 100, "after": "2 hours"}, {"level": 4, "percent": 300}, {"level": 5, "percent": 100, "after": "-1:00"}]'::jsonb)))
FROM policy p \g /dev/null

-- Histories: events in order of time (but for some of the last), some of them at the same time, some seconds apart, some days. Of a pause, the reason
-- may change. After some events of the later histories a tick runs, up to six days ahead of what it is told afterwards.
SELECT setseed(0.1875) \g /dev/null
CREATE TABLE event (h integer, n integer, at timestamptz, gap interval, phase text, urgency text, reason text, tick interval, PRIMARY KEY (h, n));
INSERT INTO event (h, n, gap, phase, urgency, reason, tick)
SELECT h, n,
       CASE floor(random() * 6)::int WHEN 0 THEN interval '0' WHEN 1 THEN floor(random() * 100) * interval '1 second' WHEN 2 THEN random() * interval '1 hour'
            WHEN 3 THEN random() * interval '10 hours' WHEN 4 THEN random() * interval '5 days' ELSE random() * interval '30 minutes' END,
       (ARRAY['open', 'open', 'open', 'held', 'held', 'held', 'doing', 'doing', 'done', 'void', 'draft'])[1 + floor(random() * 11)],
       CASE WHEN random() < 0.3 THEN 'urgent' ELSE 'routine' END, (ARRAY['patient', 'payer'])[1 + floor(random() * 2)],
       CASE WHEN random() < 0.4 AND h > 120 THEN random() * interval '6 days' END
FROM generate_series(1, 240) h, generate_series(1, 12) n;
UPDATE event e SET at = timestamptz '2025-01-05 00:00Z' + (e.h * 7 % 300) * interval '1 day 31 minutes' + s.passed
FROM (SELECT x.h, x.n, sum(x.gap) OVER (PARTITION BY x.h ORDER BY x.n) AS passed FROM event x) s
WHERE s.h = e.h AND s.n = e.n;
-- the last event of some is that the row was done, and comes to be known late
UPDATE event e SET phase = 'done', at = f.at + random() * (e.at - f.at) FROM event f WHERE e.n = 12 AND e.h > 150 AND f.h = e.h AND f.n = 1;
\set end '''2026-03-01 00:00Z'''

-- What is expected of the clocks of a history under the policies of a name: while a clock is open, and of that, while it is held.
CREATE FUNCTION expected(h integer, name text, OUT cycle integer, OUT status text, OUT started_at timestamptz, OUT stopped_at timestamptz,
                         OUT urgent boolean, OUT open tstzmultirange, OUT held tstzmultirange, OUT pauses integer) RETURNS SETOF record
LANGUAGE plpgsql AS $$
DECLARE
    e record;
    p policy;
    startable boolean;
    was_startable boolean := false;
BEGIN
    cycle := 0;
    FOR e IN SELECT x.*, CASE WHEN lead(x.at) OVER (ORDER BY x.n) >= x.at THEN lead(x.at) OVER (ORDER BY x.n) END AS until, lag(x.phase) OVER (ORDER BY x.n) AS former, lag(x.reason) OVER (ORDER BY x.n) AS former_reason
             FROM event x WHERE x.h = expected.h ORDER BY x.n LOOP
        SELECT * INTO p FROM policy x WHERE x.name = expected.name AND coalesce(x.urgent = (e.urgency = 'urgent'), true);
        startable := e.phase = ANY (p.starts) AND e.phase NOT IN ('done', 'void');
        IF status IN ('running', 'paused') THEN
            status := CASE e.phase WHEN 'void' THEN 'nullified' WHEN 'done' THEN 'stopped' WHEN 'held' THEN 'paused' ELSE 'running' END;
            pauses := pauses + (e.phase = 'held' AND (e.former, e.former_reason) IS DISTINCT FROM ('held', e.reason))::int;
            urgent := p.urgent;
        ELSIF startable AND NOT was_startable THEN
            IF status IS NULL OR status = 'nullified' OR p.reopen = 'new_cycle' THEN
                IF cycle > 0 THEN
                    RETURN NEXT;
                END IF;
                cycle := cycle + 1; started_at := e.at; open := '{}'; held := '{}'; pauses := 0; stopped_at := NULL;
                status := 'open';
            ELSIF p.reopen = 'resume' THEN
                pauses := pauses + 1;
                stopped_at := NULL;
                status := 'open';
            END IF;
            IF status = 'open' THEN
                status := CASE e.phase WHEN 'held' THEN 'paused' ELSE 'running' END;
                pauses := pauses + (e.phase = 'held')::int;
                urgent := p.urgent;
            END IF;
        END IF;
        was_startable := startable;
        IF status IN ('running', 'paused') THEN
            open := open + tstzmultirange(tstzrange(e.at, e.until));
            held := held + CASE status WHEN 'paused' THEN tstzmultirange(tstzrange(e.at, e.until)) ELSE '{}' END;
        ELSIF status IS NOT NULL AND stopped_at IS NULL THEN
            stopped_at := greatest(e.at, started_at);
            open := open * tstzmultirange(tstzrange(NULL, stopped_at));
        END IF;
    END LOOP;
    IF cycle > 0 THEN
        RETURN NEXT;
    END IF;
END $$;
CREATE FUNCTION calendar_for(name text, site bigint) RETURNS referral.calendar LANGUAGE sql STABLE AS $$
    SELECT b.calendar FROM referral.business_calendar b JOIN referral.rule_version v USING (rule_version_id)
    WHERE v.status = 'active' AND b.name = calendar_for.name AND (b.scope_site_id IS NULL OR b.scope_site_id = site) ORDER BY b.scope_site_id NULLS LAST LIMIT 1 $$;
CREATE FUNCTION used_in(c referral.calendar, runs tstzmultirange, until timestamptz) RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(referral.business_elapsed(c, lower(r), least(upper(r), until))), '0') FROM unnest(runs) r WHERE lower(r) < until $$;

-- The events happen.
DO $$
DECLARE
    e record;
BEGIN
    FOR e IN SELECT * FROM event ORDER BY h, n LOOP
        PERFORM set_config('referral.occurred_at', e.at::text, true);
        IF e.n = 1 THEN
            INSERT INTO task (task_id, phase, urgency, site_id, status_reason) VALUES (e.h, e.phase, e.urgency, nullif(e.h % 6, 0), e.reason);
        ELSE
            UPDATE task SET phase = e.phase, urgency = e.urgency, status_reason = e.reason WHERE task_id = e.h;
        END IF;
        COMMIT;
        IF e.tick IS NOT NULL THEN
            PERFORM referral.tick_fire(e.at + e.tick, 1000);
            COMMIT;
        END IF;
    END LOOP;
END $$;
-- what is known at the end is looked at once more
SELECT tick_at(:end) \g /dev/null

CREATE TABLE wanted AS
SELECT x.*, x.runs * tstzmultirange(tstzrange(NULL, :end)) AS runs_until_end, used_in(x.calendar, x.runs, :end) AS used
FROM (SELECT h.h, q.name, w.cycle, w.status, w.started_at, w.stopped_at, w.pauses, k.calendar, p.counts,
             CASE WHEN p.counts THEN w.open ELSE w.open - w.held END AS runs,
             referral.business_target(k.calendar, w.started_at, p.target) AS target
      FROM generate_series(1, 240) h (h) CROSS JOIN (SELECT DISTINCT name FROM policy) q CROSS JOIN LATERAL expected(h.h, q.name) w
      JOIN policy p ON p.name = q.name AND p.urgent IS NOT DISTINCT FROM w.urgent
      CROSS JOIN LATERAL (SELECT calendar_for(p.calendar, nullif(h.h % 6, 0)) AS calendar) k) x;
CREATE TABLE got AS
SELECT c.entity_id::integer AS h, c.policy AS name, c.cycle, status(c) AS status, c.started_at, coalesce(c.stopped_at, c.nullified_at) AS stopped_at, c.target, used(c, :end) AS used,
       c.due_at, c.breached_at, c.clock_id, c.next_fire_at, (SELECT count(*) FROM referral.sla_pause s WHERE s.clock_id = c.clock_id)::integer AS pauses
FROM referral.sla_clock c WHERE c.entity = 'task';
ALTER TABLE got ADD PRIMARY KEY (h, name, cycle);
ANALYZE;

-- The first history for which something does not hold, with all that happened; null when there is none.
CREATE FUNCTION story(h integer) RETURNS text LANGUAGE sql AS $$
    SELECT format('history %s: %s', story.h, string_agg(concat_ws(' ', e.at, e.phase, e.urgency, e.reason, 'tick ' || (e.at + e.tick)), '; ' ORDER BY e.n)) FROM event e WHERE e.h = story.h $$;
CREATE FUNCTION first_wrong(what text, condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    EXECUTE format('SELECT w.h, w.name, w.cycle, to_jsonb(w) - ''calendar'' AS wanted, to_jsonb(g) AS got FROM %s AND NOT coalesce((%s), false) ORDER BY w.h, w.name, w.cycle LIMIT 1', what, condition) INTO r;
    RETURN format('policy %s, cycle %s, wanted %s, got %s, %s', r.name, r.cycle, r.wanted, r.got, story(r.h)) WHERE r.h IS NOT NULL;
END $$;
\set both '''wanted w JOIN got g USING (h, name, cycle) WHERE true'''

SELECT cmp_ok((SELECT count(*) FROM wanted), '>', 1000::bigint, 'there are clocks');
SELECT is((SELECT array_agg(DISTINCT status ORDER BY status) FROM wanted), '{nullified,paused,running,stopped}', 'in every condition');
SELECT cmp_ok((SELECT min(n) FROM (SELECT count(*) AS n FROM wanted GROUP BY name, used > target) x), '>', 20::bigint, 'of every policy many are late, and many are not');
SELECT is(first_wrong('wanted w LEFT JOIN got g USING (h, name, cycle) WHERE true', 'g.h IS NOT NULL'), NULL, 'every clock that should have started has');
SELECT is((SELECT format('policy %s, cycle %s, %s', g.name, g.cycle, story(g.h)) FROM got g LEFT JOIN wanted w USING (h, name, cycle) WHERE w.h IS NULL ORDER BY g.h LIMIT 1), NULL, 'and no other');
SELECT is(first_wrong(:both, 'g.status = w.status'), NULL, 'it runs, is paused, stopped or nullified');
SELECT is(first_wrong(:both, '(g.started_at, g.stopped_at) IS NOT DISTINCT FROM (w.started_at, w.stopped_at)'), NULL, 'since the time of the event');
SELECT is(first_wrong(:both, 'g.pauses = w.pauses'), NULL, 'every pause is on record');
SELECT is(first_wrong(:both || ' AND w.status <> ''nullified''', 'g.target = w.target'), NULL, 'the target is that of the policy it ended under, from the start on');
SELECT is(first_wrong(:both || ' AND w.status <> ''nullified''', 'g.used = w.used'), NULL, 'it has used the open time of its runs');
SELECT is(first_wrong(:both || ' AND w.status <> ''nullified''', '(g.breached_at IS NOT NULL) = (w.used > w.target)'), NULL, 'it is breached when that is more than the target, and not otherwise');
SELECT is(first_wrong(:both || ' AND w.status = ''running'' AND w.name <> ''changing''',
    'used_in(w.calendar, w.runs, g.due_at) = w.target AND used_in(w.calendar, w.runs, g.due_at - interval ''1 microsecond'') < w.target'), NULL, 'it is due when its runs come to the target');
SELECT is(first_wrong(:both || ' AND w.status <> ''nullified'' AND w.name <> ''changing'' AND g.breached_at IS NOT NULL',
    'used_in(w.calendar, w.runs, g.breached_at) = w.target AND used_in(w.calendar, w.runs, g.breached_at + interval ''1 microsecond'') > w.target'), NULL,
    'and was breached when its runs were about to come to more');
SELECT is(first_wrong(:both, 'CASE WHEN w.status IN (''stopped'', ''nullified'') THEN g.next_fire_at IS NULL OR g.next_fire_at > ' || quote_literal(:end)
    || ' WHEN w.status = ''running'' OR w.counts THEN g.next_fire_at > ' || quote_literal(:end) || ' ELSE g.next_fire_at = ''infinity'' END'), NULL, 'nothing that was due is left to fire, and what does not run has nothing to');

-- levels: in the histories that no tick ran ahead of, those and no others
CREATE TABLE level AS
SELECT w.h, w.name, w.cycle, w.calendar, w.runs, l.level, greatest(w.target * (l.percent / 100)::double precision + l.after, '0') AS share, w.used, e.planned_at
FROM wanted w JOIN got g USING (h, name, cycle)
JOIN referral.sla_clock c USING (clock_id) JOIN referral.sla_level l USING (sla_policy_id)
LEFT JOIN referral.escalation e ON e.clock_id = g.clock_id AND e.level = l.level
WHERE w.status <> 'nullified' AND w.name <> 'changing';
SELECT is((SELECT format('policy %s, cycle %s, level %s, %s', l.name, l.cycle, l.level, story(l.h)) FROM level l WHERE l.used >= l.share AND l.planned_at IS NULL ORDER BY l.h LIMIT 1), NULL,
          'every level that was reached is recorded');
SELECT is((SELECT format('policy %s, cycle %s, level %s, %s', l.name, l.cycle, l.level, story(l.h)) FROM level l WHERE l.used < l.share AND l.planned_at IS NOT NULL AND l.h <= 120 ORDER BY l.h LIMIT 1), NULL,
          'and no other');
SELECT is((SELECT format('policy %s, cycle %s, level %s at %s, %s', l.name, l.cycle, l.level, l.planned_at, story(l.h)) FROM level l
           WHERE l.h <= 120 AND l.planned_at IS NOT NULL
             AND (used_in(l.calendar, l.runs, l.planned_at) <> l.share OR used_in(l.calendar, l.runs, l.planned_at - interval '1 microsecond') >= nullif(l.share, '0')) ORDER BY l.h LIMIT 1), NULL,
          'for when its share of the target was used');
SELECT cmp_ok((SELECT count(*) FROM level l WHERE l.planned_at IS NOT NULL AND l.h <= 120), '>', 500::bigint, 'there are many');

SELECT * FROM finish();
