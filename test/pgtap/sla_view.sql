-- The views of the service levels. All is told as of fixed times in the past, on rows made for it.
SELECT plan(80);
\ir ../lib/refused.sql
SET referral.org_id = '1';

-- Rules: policies that no row falls under by itself, with a ladder, and a calendar that ends.
CREATE FUNCTION public.make_policy(name text, calendar text, target interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
    p bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('sla/test/' || make_policy.name, 'sla');
    INSERT INTO referral.rule_version (rule_set_id, is_seed)
    SELECT s.rule_set_id, true FROM referral.rule_set s WHERE s.name = 'sla/test/' || make_policy.name RETURNING rule_version_id INTO v;
    INSERT INTO referral.business_calendar (rule_version_id, name, calendar)
    VALUES (v, 'ending_' || name, '{"timezone": "UTC", "hours": {"mon": ["00:00-24:00"]}, "valid_until": "2024-03-12"}');
    INSERT INTO referral.sla_policy (rule_version_id, entity, name, title, target, calendar, start_when, stop_when)
    VALUES (v, 'referral', make_policy.name, 'Title of ' || make_policy.name, make_policy.target, make_policy.calendar, 'false', 'false')
    RETURNING sla_policy_id INTO p;
    INSERT INTO referral.sla_level (sla_policy_id, rule_version_id, level, percent)
    VALUES (p, v, 1, 50), (p, v, 2, 75), (p, v, 3, 100), (p, v, 4, 150);
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
    RETURN p;
END $$;SELECT public.make_policy('office', 'us_business', '30 hours') AS office \gset

CREATE FUNCTION public.calendar_id(name text) RETURNS bigint LANGUAGE sql AS $$
    SELECT b.business_calendar_id FROM referral.business_calendar b JOIN referral.rule_version v USING (rule_version_id)
    WHERE b.name = calendar_id.name AND v.status = 'active' ORDER BY 1 LIMIT 1
$$;

-- A clock as the engine keeps it; the rest from what is given, such as {"stopped_at": "2024-03-12 05:00Z"}.
CREATE FUNCTION public.make_clock(policy text, calendar text, entity_id bigint, started_at timestamptz, more jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO referral.sla_clock
    SELECT c.* FROM referral.sla_policy p JOIN referral.business_calendar b ON b.business_calendar_id = public.calendar_id(make_clock.calendar)
    CROSS JOIN LATERAL (SELECT referral.clock_reaches(b.calendar, make_clock.started_at, p.target) AS due_at) d
    CROSS JOIN LATERAL jsonb_populate_record(NULL::referral.sla_clock, jsonb_build_object(
        'org_id', 1, 'clock_id', nextval('referral.sla_clock_clock_id_seq'), 'entity', 'referral', 'entity_id', make_clock.entity_id,
        'sla_policy_id', p.sla_policy_id, 'rule_version', p.rule_version_id, 'business_calendar_id', b.business_calendar_id,
        'policy', p.name, 'kind', p.kind, 'cycle', 1, 'target', p.target, 'consumed', '0', 'started_at', make_clock.started_at,
        'running_since', make_clock.started_at, 'judged_since', make_clock.started_at, 'due_at', d.due_at, 'next_fire_at', 'infinity',
        'calendar_fingerprint', referral.fingerprint(b.calendar, d.due_at)) || more) c
    WHERE p.name = make_clock.policy
    RETURNING clock_id
$$;
SET referral.org_id = '1';

SELECT public.make_policy('main', 'always', '10 hours') AS main \gset

CREATE FUNCTION public.of_clock(clock_id bigint, VARIADIC columns text[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(coalesce(to_jsonb(s) ->> c.name, '-'), ' ' ORDER BY c.n)
    FROM referral.sla_status s CROSS JOIN unnest(columns) WITH ORDINALITY c (name, n) WHERE s.clock_id = of_clock.clock_id
$$;

-- 1. The time that is told of

SELECT is(referral.as_of(), now(), 'as_of() is now');
SET referral.as_of = '2024-03-13 12:00+00';
SELECT is(referral.as_of(), '2024-03-13 12:00+00', 'unless the setting says otherwise');
BEGIN;
SET LOCAL referral.as_of = '';
SELECT is(referral.as_of(), now(), 'an empty setting is none');
SET LOCAL referral.as_of = 'infinity';
SELECT is((SELECT concat_ws('|', r.code, r.hint <> '', r.detail <> '') FROM public.refused('SELECT referral.as_of()') r), 'RF018|t|t', 'infinity is refused');
SET LOCAL referral.as_of = 'tomorrowish';
SELECT is((SELECT r.code FROM public.refused('SELECT * FROM referral.sla_status') r), '22007', 'and what is no time');
ROLLBACK;

-- 2. aging_bucket()

SELECT is((SELECT string_agg(referral.aging_bucket(i::interval), ' ' ORDER BY n)
           FROM unnest(ARRAY['0', '3 days 23:59:59.999999', '95:59', '96:00', '4 days', '7 days 23:00', '8 days', '14 days 23:59', '15 days',
                             '30 days 23:59:59', '31 days', '1 mon', '1 mon 1 day', '1 year', '-5 days']) WITH ORDINALITY u (i, n)),
          '0-3 0-3 0-3 4-7 4-7 4-7 8-14 8-14 15-30 15-30 >30 15-30 >30 >30 0-3', 'every age is in its bucket');
SELECT is(referral.aging_bucket(NULL), NULL, 'null for null');

-- 3. What the columns are computed with

SELECT is(referral.clock_elapsed(referral.always_open('UTC'), '2 hours', '2024-03-01 00:00Z', '2024-03-01 00:30Z'), '02:30', 'clock_elapsed() adds to what was consumed');
SELECT is(referral.clock_reaches(referral.always_open('UTC'), '2024-03-01 00:00Z', '2 hours'), '2024-03-01 02:00Z', 'clock_reaches() leads there');
SELECT b.calendar AS until_march FROM referral.business_calendar b WHERE b.business_calendar_id = public.calendar_id('ending_main') \gset
SELECT is(referral.clock_elapsed(:'until_march', '0', '2024-03-11 00:00Z', '2024-03-19 00:00Z'), NULL, 'beyond the calendar clock_elapsed() is null');
SELECT is(referral.clock_reaches(:'until_march', '2024-03-11 20:00Z', '5 hours'), NULL, 'and so is clock_reaches()');
SELECT is(referral.clock_elapsed(:'until_march', '0', '2024-03-11 20:00Z', '2024-03-12 20:00Z'), '04:00', 'but not on its last day');

-- 4. Clocks

SELECT public.make_clock('main', 'always', 900001, '2024-03-13 06:00Z') AS running,
       public.make_clock('main', 'always', 900002, '2024-03-12 22:00Z') AS unnoticed,
       public.make_clock('main', 'always', 900003, '2024-03-13 07:00Z', '{"pause_kind": "rule", "running_since": null, "consumed": "02:00", "due_at": null, "calendar_fingerprint": null}') AS paused,
       public.make_clock('main', 'always', 900004, '2024-03-12 00:00Z', '{"stopped_at": "2024-03-12 05:00Z"}') AS stopped,
       public.make_clock('main', 'always', 900005, '2024-03-12 00:00Z', '{"nullified_at": "2024-03-12 20:00Z", "breached_at": "2024-03-12 10:00Z"}') AS nullified,
       public.make_clock('main', 'always', 900006, '2024-03-13 06:00Z', '{"pause_kind": "person"}') AS counting,
       public.make_clock('main', 'ending_main', 900007, '2024-03-11 20:00Z') AS ending,
       public.make_clock('main', 'always', 900008, '2024-03-13 06:00Z', '{"calendar_fingerprint": 1}') AS stale,
       public.make_clock('main', 'always', 900009, '2024-03-13 06:00Z', '{"consumed": "02:00", "running_since": "2024-03-13 10:00Z", "due_at": "2024-03-13 18:00Z"}') AS resumed,
       public.make_clock('main', 'always', 900010, '2024-03-11 00:00Z', '{"stopped_at": "2024-03-11 12:00Z", "breached_at": "2024-03-11 10:00Z"}') AS late,
       public.make_clock('main', 'always', 900011, '2024-03-13 13:00Z') AS future,
       public.make_clock('main', 'always', 900012, '2024-03-13 02:00Z') AS due_now,
       public.make_clock('main', 'ending_main', 900013, '2024-03-13 02:00Z', '{"target": null, "consumed": null}') AS unknown,
       public.make_clock('office', 'us_business', 900014, '2024-03-08 20:00Z') AS office_clock,
       public.make_clock('main', 'always', 900015, '2024-03-10 00:00Z', '{"consumed": "04:00", "running_since": "2024-03-11 00:00Z", "stopped_at": "2024-03-11 01:00Z", "due_at": "2024-03-11 06:00Z"}') AS reopened \gset
INSERT INTO referral.sla_pause (org_id, clock_id, pause_kind, reason, paused_at, resumed_at, counted) VALUES
    (1, :paused, 'rule', 'waiting_for_payer', '2024-03-13 09:00Z', NULL, false),
    (1, :counting, 'person', 'lunch', '2024-03-13 08:00Z', NULL, true),
    (1, :resumed, 'rule', 'waiting_for_patient', '2024-03-13 08:00Z', '2024-03-13 10:00Z', false),
    (1, :reopened, 'stop', NULL, '2024-03-10 04:00Z', '2024-03-11 00:00Z', false),
    (1, :stopped, 'rule', 'long ago', '2024-03-12 01:00Z', '2024-03-12 01:00Z', false);
INSERT INTO referral.escalation (org_id, clock_id, cycle, level, entity_id, entity, policy, planned_at, fired_at, action, argument, outcome, title)
VALUES (1, :running, 1, 1, 900001, 'referral', 'main', '2024-03-13 11:00Z', '2024-03-13 11:02Z', 'notify', 'desk', 'done', 'half'),
       (1, :late, 1, 1, 900010, 'referral', 'main', '2024-03-11 05:00Z', '2024-03-11 05:00Z', 'notify', 'desk', 'collapsed', 'half'),
       (1, :late, 1, 3, 900010, 'referral', 'main', '2024-03-11 10:00Z', '2024-03-11 10:01Z', 'notify', 'boss', 'done', 'due'),
       (1, :counting, 1, 1, 900006, 'referral', 'main', '2024-03-13 11:00Z', '2024-03-13 12:30Z', 'notify', 'desk', 'done', 'later');

SELECT is(public.of_clock(:running, 'status', 'elapsed', 'remaining', 'percent', 'breached', 'level', 'next_level', 'stale', 'problem'),
          'running 06:00:00 04:00:00 60.0 false 1 2 false -', 'a running clock');
SELECT results_eq(format('SELECT kind, title, cycle, due_at, next_level_at FROM referral.sla_status WHERE clock_id = %s', :running),
                  $$VALUES ('stage', 'Title of main', 1, '2024-03-13 16:00Z'::timestamptz, '2024-03-13 13:30Z'::timestamptz)$$,
                  'its title, its due time, and when the next level comes');
SELECT is(public.of_clock(:unnoticed, 'status', 'elapsed', 'remaining', 'percent', 'breached', 'breached_at', 'level', 'next_level'),
          'running 14:00:00 -04:00:00 140.0 true - - 1', 'one whose breach tick() has not noticed is breached all the same');
SELECT is(public.of_clock(:due_now, 'remaining', 'percent', 'breached'), '00:00:00 100.0 false', 'a target used up is not exceeded');
SELECT is(public.of_clock(:paused, 'status', 'elapsed', 'remaining', 'due_at', 'pause_reason', 'pause_counts', 'next_level', 'problem'),
          'paused 02:00:00 08:00:00 - waiting_for_payer false - -', 'a paused clock has no due time, which is no problem');
SELECT is((SELECT paused_since FROM referral.sla_status WHERE clock_id = :paused), '2024-03-13 09:00Z', 'since when it is paused');
SELECT is(public.of_clock(:counting, 'status', 'elapsed', 'pause_reason', 'pause_counts', 'level', 'next_level'), 'paused 06:00:00 lunch true - 1',
          'a pause that counts; a level fired later is not there yet');
SELECT is(public.of_clock(:stopped, 'status', 'elapsed', 'percent', 'breached', 'paused_since', 'next_level', 'stale', 'problem'),
          'stopped 05:00:00 50.0 false - - false -', 'a clock stopped in time');
SELECT is(public.of_clock(:late, 'status', 'elapsed', 'percent', 'breached', 'level'), 'stopped 12:00:00 120.0 true 3', 'a clock stopped late');
SELECT is(public.of_clock(:nullified, 'status', 'elapsed', 'breached', 'problem'), 'nullified 20:00:00 - -', 'a nullified clock is not judged');
SELECT is(public.of_clock(:ending, 'status', 'elapsed', 'remaining', 'breached', 'problem'), 'running - - false beyond the calendar',
          'where the calendar ends, nothing is known, and nothing fails');
SELECT is(public.of_clock(:unknown, 'status', 'elapsed', 'target', 'percent', 'next_level', 'problem'), 'running - - - - beyond the calendar', 'nor without a target');
SELECT is(public.of_clock(:stale, 'stale', 'problem', 'elapsed'), 'true stale 06:00:00', 'a due time of another calendar is stale');
SELECT is(public.of_clock(:resumed, 'status', 'elapsed', 'remaining', 'paused_since'), 'running 04:00:00 06:00:00 -', 'a resumed clock');
SELECT is(public.of_clock(:office_clock, 'elapsed', 'percent', 'breached'), '21:00:00 70.0 false',
          'working time: from Friday 14:00 to Wednesday, over a weekend and the change to summer time');
SELECT is((SELECT count(*) FROM referral.sla_status WHERE clock_id = :future), 0::bigint, 'a clock that has not started is not there');

-- As of other times
SET referral.as_of = '2024-03-13 13:30Z';
SELECT is(public.of_clock(:future, 'status', 'elapsed'), 'running 00:30:00', 'it is when it has');
SELECT is(public.of_clock(:counting, 'level'), '1', 'and the level is there when it was fired');
SELECT is(public.of_clock(:paused, 'elapsed'), '02:00:00', 'a pause lasts');
SET referral.as_of = '2024-03-13 09:00Z';
SELECT is(public.of_clock(:resumed, 'status', 'elapsed', 'pause_reason'), 'paused 02:00:00 waiting_for_patient', 'as of a pause that is over');
SET referral.as_of = '2024-03-13 07:30Z';
SELECT is(public.of_clock(:resumed, 'status', 'elapsed'), 'running 01:30:00', 'as of before it');
SELECT is(public.of_clock(:paused, 'status', 'elapsed'), 'running 00:30:00', 'as of before a pause that lasts');
SET referral.as_of = '2024-03-10 12:00Z';
SELECT is(public.of_clock(:reopened, 'status', 'elapsed', 'paused_since'), 'stopped 04:00:00 -', 'as of a time when it was stopped, though it was reopened');
SET referral.as_of = '2024-03-12 04:00Z';
SELECT is(public.of_clock(:stopped, 'status', 'elapsed', 'breached'), 'running 04:00:00 false', 'as of before the stop');
SELECT is(public.of_clock(:nullified, 'status', 'elapsed', 'breached'), 'running 04:00:00 false', 'and before it was nullified');
SET referral.as_of = '2024-03-11 11:00Z';
SELECT is(public.of_clock(:late, 'status', 'elapsed', 'breached'), 'running 11:00:00 true', 'as of after the breach, before the stop');
SET referral.as_of = '2024-03-13 12:00Z';

-- 5. The next level costs nothing where nobody asks for it
CREATE FUNCTION public.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    whole text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE) ' || query LOOP
        whole := whole || line || E'\n';
    END LOOP;
    RETURN whole;
END $$;
SELECT unalike(public.plan_of('SELECT clock_id, percent, status FROM referral.sla_status'), '%clock_levels%', 'clock_levels() is not called for other columns');
SELECT alike(public.plan_of('SELECT next_level FROM referral.sla_status'), '%clock_levels%', 'but for its own');

-- 6. Adherence

SELECT results_eq(
    $$SELECT month, clocks, in_time, breached, open_past_due, nullified, not_decided, adherence, elapsed_median, elapsed_p90
      FROM referral.sla_adherence WHERE policy = 'main' ORDER BY month NULLS LAST$$,
    $$VALUES ('2024-03-01'::date, 4::bigint, 2::bigint, 2::bigint, 1::bigint, 1::bigint, 5::bigint, 50.0, '05:00'::interval, '10:36'::interval),
             (NULL, 0, 0, 0, 0, 0, 3, NULL, NULL, NULL)$$,
    'clocks due in a month: in time, breached, open past due; nullified ones left out; without a due time apart');
SET referral.as_of = '2024-05-31 12:00Z';
SELECT public.make_clock('main', 'always', 900020, '2024-04-29 00:00Z', '{"stopped_at": "2024-05-02 00:00Z", "breached_at": "2024-04-29 10:00Z"}') AS april,
       public.make_clock('main', 'always', 900021, '2024-04-29 00:00Z', '{"nullified_at": "2024-05-02 00:00Z"}') AS gone,
       public.make_clock('main', 'always', 900022, '2024-05-01 00:00Z', '{"nullified_at": "2024-05-01 01:00Z"}') AS gone2,
       public.make_clock('main', 'always', 900023, '2024-04-30 20:00Z', '{"stopped_at": "2024-04-30 21:00Z"}') AS early,
       public.make_clock('main', 'always', 900024, '2024-04-30 10:00Z', '{"stopped_at": "2024-04-30 12:00Z", "due_at": null}') AS from_pause \gset
SELECT results_eq(
    $$SELECT month, clocks, in_time, breached, nullified, adherence FROM referral.sla_adherence WHERE policy = 'main' AND month > '2024-03-01' ORDER BY month$$,
    $$VALUES ('2024-04-01'::date, 2::bigint, 1::bigint, 1::bigint, 1::bigint, 50.0), ('2024-05-01', 1, 1, 0, 1, 100.0)$$,
    'the month is that of the due time, in UTC; of the stop where there is none');
DELETE FROM referral.sla_clock WHERE clock_id IN (:april, :gone, :gone2, :early, :from_pause);
SET referral.as_of = '2024-05-01 00:00Z';
SELECT public.make_clock('main', 'always', 900025, '2024-04-30 00:00Z', '{"nullified_at": "2024-04-30 01:00Z"}') AS gone \gset
SELECT results_eq($$SELECT clocks, nullified, adherence FROM referral.sla_adherence WHERE policy = 'main' AND month = '2024-04-01'$$,
                  $$VALUES (0::bigint, 1::bigint, NULL::numeric)$$, 'no clocks to judge: no percentage');
SET referral.as_of = '2024-03-13 12:00Z';

-- 7. Breaches

INSERT INTO referral.patient (family) VALUES ('SECRETMARKER') RETURNING patient_id AS patient \gset
SET referral.occurred_at = '2024-03-11 00:00Z';
INSERT INTO referral.referral (patient_id, specialty, urgency, received_at) VALUES (:patient, 'cardiology', 'urgent', '2024-03-11 00:00Z') RETURNING referral_id AS r1 \gset
SET referral.occurred_at = '2024-03-11 06:00Z';
UPDATE referral.referral SET state = 'validated' WHERE referral_id = :r1;
SET referral.occurred_at = '2024-03-11 11:00Z';
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = :r1;
RESET referral.occurred_at;
UPDATE referral.sla_clock SET entity_id = :r1 WHERE clock_id = :late;
UPDATE referral.escalation SET entity_id = :r1 WHERE clock_id = :late;
SELECT results_eq($$SELECT clock_id, exceeded_by, percent, level, step_then, held_by, reviewed, cause FROM referral.breach WHERE policy = 'main' AND breached_at IS NOT NULL$$,
                  format($$VALUES (%s::bigint, '02:00'::interval, 120.0, 3, 'validated', 'postgres', false, NULL::text)$$, :late),
                  'a breach: by how much, how high it went, at which step, with whom; a nullified clock is none');
INSERT INTO referral.sla_breach_review (org_id, clock_id, cause, corrective_action) VALUES (1, :late, 'nobody was there', 'a deputy');
SET referral.as_of = '2200-01-01';
SELECT results_eq($$SELECT reviewed, cause, corrective_action, reviewed_by FROM referral.breach WHERE policy = 'main' AND breached_at IS NOT NULL$$,
                  $$VALUES (true, 'nobody was there', 'a deputy', 'postgres')$$, 'and its review');
SET referral.as_of = '2024-03-13 12:00Z';
SELECT is((SELECT reviewed FROM referral.breach WHERE clock_id = :late), false, 'which was not there then');
SELECT cmp_ok((SELECT count(*) FROM referral.breach WHERE policy = 'main' AND breached_at IS NULL), '>', 0::bigint, 'what tick() has not noticed yet is a breach all the same');
SELECT is_empty('SELECT clock_id FROM referral.breach b WHERE breached_at IS NULL AND NOT EXISTS (SELECT FROM referral.sla_status s WHERE s.clock_id = b.clock_id AND s.breached)', 'as sla_status says');
SELECT is((SELECT h.step || ' ' || h.actor FROM referral.held_at(1, 'referral', :r1, '2024-03-11 05:59Z') h), 'received postgres', 'held_at() tells the step at a time');
SELECT is((SELECT h.step FROM referral.held_at(1, 'referral', :r1, '2024-03-10') h), NULL, 'null before there was one');

-- 8. Risk of a breach

-- A referral that was received at a time and validated later, by the database's journal.
CREATE FUNCTION public.make_referral(received timestamptz, validated timestamptz DEFAULT NULL, more jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
    p bigint;
BEGIN
    SELECT patient_id INTO p FROM referral.patient LIMIT 1;
    PERFORM set_config('referral.occurred_at', received::text, true);
    INSERT INTO referral.referral (patient_id, specialty, received_at, site_id, payer_id)
    VALUES (p, 'cardiology', received, (more ->> 'site')::bigint, (more ->> 'payer')::bigint) RETURNING referral_id INTO id;
    IF validated IS NOT NULL THEN
        PERFORM set_config('referral.occurred_at', validated::text, true);
        UPDATE referral.referral SET state = 'validated' WHERE referral_id = id;
    END IF;
    PERFORM set_config('referral.occurred_at', '', true);
    RETURN id;
END $$;
SELECT public.make_policy('risk', 'always', '10 hours') AS risk \gset
-- eight of the past, stopped 1 to 8 hours after they were validated; the last one waited an hour more, which does not count
SELECT public.make_clock('risk', 'always', public.make_referral(t, t + interval '1 hour'), t,
                         jsonb_build_object('stopped_at', t + make_interval(hours => 1 + n + CASE n WHEN 8 THEN 1 ELSE 0 END)))
FROM generate_series(1, 8) n CROSS JOIN LATERAL (SELECT '2024-03-01'::timestamptz + n * interval '1 day') d (t) ORDER BY n \g /dev/null
SELECT max(clock_id) AS longest FROM referral.sla_clock WHERE policy = 'risk' \gset
INSERT INTO referral.sla_pause (org_id, clock_id, pause_kind, paused_at, resumed_at, counted)
SELECT 1, :longest, 'rule', c.started_at + interval '2 hours', c.started_at + interval '3 hours', false
FROM referral.sla_clock c WHERE c.clock_id = :longest;
-- and one of too long ago, and one that was nullified
SELECT public.make_clock('risk', 'always', public.make_referral('2023-09-01 00:00Z', '2023-09-01 01:00Z'), '2023-09-01 00:00Z', '{"stopped_at": "2023-09-05 00:00Z"}'),
       public.make_clock('risk', 'always', public.make_referral('2024-03-01 00:00Z', '2024-03-01 01:00Z'), '2024-03-01 00:00Z', '{"nullified_at": "2024-03-05 00:00Z"}') \g /dev/null
SELECT public.make_referral('2024-03-13 06:00Z', '2024-03-13 09:30Z') AS a, public.make_referral('2024-03-13 03:00Z', '2024-03-13 11:00Z') AS b,
       public.make_referral('2024-03-13 08:00Z', '2024-03-13 08:30Z') AS c, public.make_referral('2024-03-13 05:00Z') AS d,
       public.make_referral('2024-03-13 04:00Z', '2024-03-13 05:00Z') AS e, public.make_referral('2024-03-13 01:00Z') AS f,
       public.make_referral('2024-03-13 11:00Z') AS g \gset risk_
SELECT public.make_clock('risk', 'always', :risk_a, '2024-03-13 06:00Z') AS a, public.make_clock('risk', 'always', :risk_b, '2024-03-13 03:00Z') AS b,
       public.make_clock('risk', 'always', :risk_c, '2024-03-13 08:00Z', '{"consumed": "01:00", "running_since": "2024-03-13 11:00Z"}') AS c,
       public.make_clock('risk', 'always', :risk_d, '2024-03-13 05:00Z') AS d, public.make_clock('risk', 'always', :risk_e, '2024-03-13 04:00Z') AS e,
       public.make_clock('risk', 'always', :risk_f, '2024-03-13 01:00Z') AS f,
       public.make_clock('risk', 'always', :risk_g, '2024-03-13 11:00Z', '{"pause_kind": "rule", "running_since": null, "consumed": "00:30"}') AS g \gset clock_
INSERT INTO referral.sla_pause (org_id, clock_id, pause_kind, paused_at, resumed_at, counted)
VALUES (1, :clock_c, 'rule', '2024-03-13 09:00Z', '2024-03-13 11:00Z', false), (1, :clock_g, 'rule', '2024-03-13 11:30Z', NULL, false);
CREATE FUNCTION public.risk_of(clock_id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', r.step, r.time_in_step, r.remaining, r.samples, coalesce(r.still_needed::text, '-'),
                     coalesce(to_char(r.expected_at, 'HH24:MI'), '-'), coalesce(r.expected_breach::text, '-'))
    FROM referral.breach_risk r WHERE r.clock_id = risk_of.clock_id
$$;
SELECT is(public.risk_of(:clock_a), 'validated 02:30:00 04:00:00 6 03:00:00 15:00 false', 'longer than 2:30 took 3 to 8 hours: three more');
SELECT is(public.risk_of(:clock_b), 'validated 01:00:00 01:00:00 7 04:00:00 16:00 true', 'one that is expected to breach, though not due yet');
SELECT is(public.risk_of(:clock_c), 'validated 01:30:00 08:00:00 7 03:30:00 15:30 false', 'a pause that does not count is no time in the step');
SELECT is(public.risk_of(:clock_d), 'received 07:00:00 03:00:00 2 - - -', 'too few samples that took longer: nothing is said');
SELECT is(public.risk_of(:clock_e), 'validated 07:00:00 02:00:00 1 - - -', 'neither old ones nor nullified ones are samples');
SELECT is((SELECT count(*) FROM referral.breach_risk WHERE clock_id IN (:clock_f, :clock_g)), 0::bigint, 'exceeded already, or paused: not listed');
SELECT is((SELECT r.samples || ' ' || coalesce(r.expected_breach::text, '-') FROM referral.breach_risk r WHERE r.clock_id = :running), '0 -', 'nor without any sample');

-- 9. Escalations that nobody has acknowledged

SELECT public.make_referral('2024-03-13 00:00Z') AS stat \gset
UPDATE referral.referral SET urgency = 'stat' WHERE referral_id = :stat;
UPDATE referral.sla_clock SET entity_id = :stat WHERE clock_id = :unnoticed;
INSERT INTO referral.escalation (org_id, clock_id, cycle, level, entity_id, entity, policy, planned_at, fired_at, action, argument, outcome, title)
VALUES (1, :unnoticed, 1, 1, :stat, 'referral', 'main', '2024-03-13 03:00Z', '2024-03-13 03:01Z', 'notify', 'desk', 'done', 'half'),
       (1, :unnoticed, 1, 2, :stat, 'referral', 'main', '2024-03-13 05:30Z', '2024-03-13 05:30Z', 'assign_role', 'referral_clinician', 'pending', 'three quarters'),
       (1, :nullified, 1, 1, 900005, 'referral', 'main', '2024-03-12 05:00Z', '2024-03-12 20:00Z', 'notify', 'desk', 'overtaken', 'half');
SELECT results_eq(
    $$SELECT clock_id, level, addressed_to, lateness, age, clock_open, state, urgency FROM referral.open_escalation WHERE policy = 'main'$$,
    format($$VALUES (%s::bigint, 2, 'referral_clinician', '0'::interval, '06:30'::interval, true, 'received', 'stat'),
                    (%1$s, 1, 'desk', '00:01', '08:59', true, 'received', 'stat'),
                    (%s, 1, 'desk', '00:02', '00:58', true, NULL, NULL),
                    (%s, 3, 'boss', '00:01', '2 days 01:59', false, 'ready_to_schedule', 'urgent')$$, :unnoticed, :running, :late),
    'the pressing ones first; what was collapsed or overtaken is nobody''s business');
UPDATE referral.escalation SET acknowledged_by = 'me' WHERE clock_id = :unnoticed AND level = 2;
SELECT is((SELECT count(*) FROM referral.open_escalation WHERE clock_id = :unnoticed), 1::bigint, 'an acknowledged one is gone');

-- 10. Ages

INSERT INTO referral.site (name) VALUES ('North') RETURNING site_id AS site \gset
INSERT INTO referral.payer (name) VALUES ('Acme') RETURNING payer_id AS payer \gset
SELECT public.make_referral('2024-02-01 00:00Z', '2024-03-06 12:00Z', format('{"site": %s, "payer": %s}', :site, :payer)::jsonb) AS old \gset
SELECT results_eq(
    format('SELECT queue, state, site, payer, age, days, bucket, step_age, step_days, step_bucket FROM referral.referral_age WHERE referral_id = %s', :old),
    $$VALUES ('standard/validated', 'validated', 'North', 'Acme', '41 days 12:00'::interval, 41, '>30', '7 days'::interval, 7, '4-7')$$,
    'how old a referral is, and how long it has been at its step');
SELECT results_eq(
    $$SELECT measure, bucket, bucket_sort, referrals, oldest_days, queue, specialty FROM referral.aging WHERE site = 'North' ORDER BY 1$$,
    $$VALUES ('in step', '4-7', 1, 1::bigint, 7, 'standard/validated', 'cardiology'), ('since received', '>30', 4, 1, 41, 'standard/validated', 'cardiology')$$,
    'it counts once for each measure');
SELECT results_eq(
    $$SELECT sum(referrals)::bigint FROM referral.aging WHERE measure = 'in step'$$,
    $$SELECT count(*) FROM referral.referral WHERE state NOT IN ('closed_loop', 'declined', 'cancelled', 'expired', 'entered_in_error')$$,
    'every open referral counts');
SET referral.reason = 'test';
UPDATE referral.referral SET state = 'cancelled', status_reason = 'no_longer_needed' WHERE referral_id = :old;
RESET referral.reason;
SELECT is((SELECT count(*) FROM referral.referral_age WHERE referral_id = :old), 0::bigint, 'a cancelled one does not');

-- 11. What lies still

SELECT public.make_referral('2024-03-11 11:00Z') AS still, public.make_referral('2024-03-11 11:00Z') AS papers,
       public.make_referral('2024-03-11 11:00Z') AS touched, public.make_referral('2024-03-11 13:00Z') AS young,
       public.make_referral('2024-01-31 00:00Z', '2024-02-01 00:00Z') AS booked \gset
SET referral.occurred_at = '2024-03-12 00:00Z';
INSERT INTO referral.document (referral_id, type) VALUES (:papers, 'letter');
UPDATE referral.referral SET service_line = 'imaging' WHERE referral_id = :touched;
SET referral.occurred_at = '2024-02-02 00:00Z';
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id = :booked;
UPDATE referral.referral SET state = 'scheduled', scheduled_for = '2024-03-20 00:00Z' WHERE referral_id = :booked;
RESET referral.occurred_at;
CREATE FUNCTION public.stalled(VARIADIC ids bigint[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', array_position(ids, s.referral_id), s.threshold, s.idle, s.overdue, s.last_event, s.last_actor), '; ' ORDER BY array_position(ids, s.referral_id))
    FROM referral.stalled_referral s WHERE s.referral_id = ANY (ids)
$$;
SELECT is(public.stalled(:still, :papers, :touched, :young, :booked), '1 2 days 2 days 01:00:00 01:00:00 insert postgres',
          'no event for more than the threshold: documents and changes are events, an appointment is waited for');
SET referral.as_of = '2024-03-14 12:00Z';
SELECT is(public.stalled(:papers, :touched), '1 2 days 2 days 12:00:00 12:00:00 document insert postgres; 2 2 days 2 days 12:00:00 12:00:00 update postgres',
          'idle since the last of them');
SET referral.as_of = '2024-03-24 00:00Z';
SELECT is(public.stalled(:booked), '1 3 days 4 days 1 day schedule postgres', 'and since an appointment that nobody has written the outcome of');
SET referral.as_of = '2024-03-13 12:00Z';
DO $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('stall/mine', 'stall');
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'stall/mine'
    RETURNING rule_version_id INTO v;
    INSERT INTO referral.stall_threshold (rule_version_id, state, scope_org_id, threshold)
    VALUES (v, 'received', 1, '4 hours'), (v, 'received', 2, '1 hour');
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
END $$;
SELECT is(public.stalled(:young), '1 04:00:00 1 day 23:00:00 1 day 19:00:00 insert postgres', 'the threshold of the organisation goes before');
SELECT referral.copy_rule_version(v.rule_version_id, 'test') FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id)
WHERE s.name = 'stall/mine' \g /dev/null
SELECT results_eq($$SELECT t.state::text, t.scope_org_id, t.threshold FROM referral.stall_threshold t JOIN referral.rule_version v USING (rule_version_id)
                    WHERE v.note = 'test' ORDER BY 2$$,
                  $$VALUES ('received', 1::bigint, '4 hours'::interval), ('received', 2, '1 hour')$$, 'copy_rule_version() takes thresholds along');

-- 12. Who sees what

INSERT INTO referral.organization (org_id, name) VALUES (2, 'Organisation 2');
CREATE ROLE sla_view_member LOGIN;
CREATE ROLE sla_view_stranger LOGIN;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'sla_view_member'), (2, 'sla_view_stranger');
CREATE FUNCTION public.each_view(OUT view text, OUT n bigint, OUT secrets bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    FOREACH view IN ARRAY ARRAY['sla_status', 'sla_adherence', 'breach', 'breach_risk', 'open_escalation', 'referral_age', 'aging', 'stalled_referral'] LOOP
        BEGIN
            EXECUTE format('SELECT count(*), count(*) FILTER (WHERE v::text LIKE ''%%SECRETMARKER%%'') FROM referral.%I v', view) INTO n, secrets;
        EXCEPTION WHEN insufficient_privilege THEN
            n := -1; secrets := 0;
        END;
        RETURN NEXT;
    END LOOP;
END $$;
RESET referral.org_id;
CREATE FUNCTION public.as_role(login name, role name) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE format('GRANT %I TO %I', role, login);
    EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', login);
    SELECT concat_ws('; ', 'none ' || string_agg(v.view, ' ') FILTER (WHERE v.n = 0), 'denied ' || string_agg(v.view, ' ') FILTER (WHERE v.n = -1),
                     'secrets ' || string_agg(v.view, ' ') FILTER (WHERE v.secrets > 0)) INTO answer
    FROM public.each_view() v;
    RESET SESSION AUTHORIZATION;
    EXECUTE format('REVOKE %I FROM %I', role, login);
    RETURN answer;
END $$;
SELECT is(public.as_role('sla_view_member', r), CASE r WHEN 'referral_analyst' THEN 'denied breach_risk stalled_referral' ELSE '' END,
          r || ' sees the views of its organisation')
FROM unnest(ARRAY['referral_admin', 'referral_coordinator', 'referral_clinician', 'referral_scheduler', 'referral_authorizer', 'referral_approver',
                  'referral_auditor', 'referral_analyst', 'referral_integration']) r;
SELECT is(public.as_role('sla_view_stranger', 'referral_auditor'),
          'none sla_status sla_adherence breach breach_risk open_escalation referral_age aging stalled_referral', 'and nothing of another one');
SELECT is(public.as_role('sla_view_member', 'referral_rule_author'),
          'denied sla_status sla_adherence breach breach_risk open_escalation referral_age aging stalled_referral', 'rule authors need not');
GRANT referral_analyst TO sla_view_member;
SET SESSION AUTHORIZATION sla_view_member;
SELECT results_eq($$SELECT clock_id, step_then, held_by, cause FROM referral.breach WHERE policy = 'main' AND breached_at IS NOT NULL$$, format('VALUES (%s::bigint, NULL::text, NULL::text, NULL::text)', :late),
                  'an analyst sees breaches, but not what only the journal tells');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
DROP ROLE sla_view_member, sla_view_stranger;
