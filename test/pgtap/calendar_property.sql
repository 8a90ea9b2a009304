-- Calendars: random ones against a second implementation, in SQL. It walks the minutes of a zone's clock, and a local
-- time is the first minute at which the clock has got that far. That is what makes a time that is skipped the instant of
-- the change, and one that comes twice its first occurrence. Instants are microseconds since 1970 there, open time is a
-- multirange of them.
SELECT plan(56);
SET search_path = referral, public;
SELECT setseed(0.2026);

-- ---------- the second implementation ----------

CREATE FUNCTION public.us(t timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
'SELECT (extract(epoch FROM t) * 1000000)::bigint';
CREATE FUNCTION public.us(i interval) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
'SELECT (extract(epoch FROM i) * 1000000)::bigint';
CREATE FUNCTION public.at(us bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$SELECT timestamptz '1970-01-01Z' + us * interval '1 us'$$;
CREATE FUNCTION public.span(us bigint) RETURNS interval LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$SELECT us * interval '1 us'$$;
CREATE FUNCTION public.length(r int8range) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT upper(r) - lower(r)';

-- Four weeks around changes of the clock.
CREATE TABLE public.zone_window (w integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, zone text, middle date, why text);
INSERT INTO public.zone_window (zone, middle, why) VALUES
    ('America/New_York', '2024-03-10', '23 hours'), ('America/New_York', '2024-11-03', '25 hours'),
    ('Australia/Lord_Howe', '2024-04-07', 'half an hour back'), ('Australia/Lord_Howe', '2024-10-06', 'half an hour on'),
    ('America/Sao_Paulo', '2018-02-18', 'back at midnight'), ('America/Sao_Paulo', '2018-11-04', 'no midnight'),
    ('Pacific/Apia', '2011-12-30', 'no such day'), ('Asia/Kathmandu', '1986-01-01', 'a quarter of an hour, once'),
    ('Africa/Casablanca', '2024-03-24', 'two changes, for Ramadan'), ('Europe/Dublin', '2023-10-29', 'negative DST'),
    ('UTC', '2024-02-29', 'leap day'), ('Asia/Tehran', '2022-03-22', 'midnight'),
    ('America/St_Johns', '2006-10-29', 'back at 00:01'), ('America/St_Johns', '2007-03-11', 'on at 00:01'),
    ('Antarctica/Troll', '2024-03-31', 'two hours on'), ('Antarctica/Troll', '2024-10-27', 'two hours back');

CREATE UNLOGGED TABLE public.minute AS
SELECT w, us(u) AS u, max(u AT TIME ZONE zone) OVER (PARTITION BY w ORDER BY u) AS clock
FROM zone_window, generate_series(middle::timestamp AT TIME ZONE 'UTC' - interval '14 days',
                                  middle::timestamp AT TIME ZONE 'UTC' + interval '14 days', '1 minute') u;
CREATE INDEX ON public.minute (w, clock, u);
CREATE INDEX ON public.minute (w, u);
ANALYZE public.minute;

CREATE FUNCTION public.instant(w integer, local timestamp) RETURNS bigint LANGUAGE sql STABLE AS
'SELECT u FROM minute m WHERE m.w = instant.w AND m.clock >= local ORDER BY m.clock, u LIMIT 1';
-- also for seconds: within the minute, unless the clock skips the rest of it
CREATE FUNCTION public.exact_instant(w integer, local timestamp) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN m.clock = date_trunc('minute', local) THEN m.u + us(local - m.clock) ELSE instant(w, local) END
    FROM (VALUES (instant(w, date_trunc('minute', local)))) v (u) LEFT JOIN minute m ON m.w = exact_instant.w AND m.u = v.u
$$;

CREATE FUNCTION public.model_elapsed(open int8multirange, a bigint, b bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT sign(b - a)::bigint * coalesce(sum(length(r)), 0)::bigint
    FROM unnest(open * int8multirange(int8range(least(a, b), greatest(a, b)))) r
$$;

-- The first instant at which so much open time has passed since a, or the last one at which no more than that has.
CREATE FUNCTION public.model_due(open int8multirange, a bigint, target bigint, last boolean) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN target = 0 AND NOT last THEN a ELSE (
        SELECT (upper(r) - (passed - target))::bigint
        FROM (SELECT r, sum(length(r)) OVER (ORDER BY r) AS passed
              FROM unnest(open * int8multirange(int8range(a, NULL))) r) s
        WHERE passed > target OR (passed = target AND NOT last)
        ORDER BY r LIMIT 1) END
$$;
-- The same towards the past: the mirror image.
CREATE FUNCTION public.model_due_back(open int8multirange, a bigint, target bigint, last boolean) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT -model_due((SELECT range_agg(int8range(-upper(r), -lower(r))) FROM unnest(open) r), -a, target, last)
$$;

-- ---------- random calendars ----------

CREATE FUNCTION public.pick(VARIADIC choice anyarray) RETURNS anyelement LANGUAGE sql VOLATILE AS
'SELECT choice[1 + floor(random() * cardinality(choice))::integer]';

CREATE FUNCTION public.random_time() RETURNS interval LANGUAGE sql VOLATILE AS $$
    SELECT pick('00:00'::text, '00:00', '00:01', '00:15', '00:30', '01:00', '01:30', '01:45', '02:00', '02:15', '02:30', '02:45',
                '03:00', '03:30', '06:00', '08:00', '12:00', '13:00', '17:00', '22:00', '23:00', '23:01', '23:30',
                '23:59')::interval
$$;

-- Up to n times of a day as they come, those of a day are in order.
CREATE FUNCTION public.random_cuts(day integer, n integer) RETURNS SETOF interval LANGUAGE sql VOLATILE AS $$
    SELECT DISTINCT make_interval(hours => day * 24) + random_time() FROM generate_series(1, floor(random() * (n + 1))::integer)
$$;

CREATE FUNCTION public.written(a interval, b interval) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT to_char(make_interval(secs => extract(epoch FROM a)::bigint % 86400), 'HH24:MI') || '-'
        || CASE WHEN extract(epoch FROM b)::bigint % 86400 = 0 THEN pick('24:00'::text, '00:00')
                ELSE to_char(make_interval(secs => extract(epoch FROM b)::bigint % 86400), 'HH24:MI') END
$$;

-- A week cut at random, about half of its pieces open; some weeks are simple ones.
CREATE FUNCTION public.random_week() RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    name text[] := '{mon,tue,wed,thu,fri,sat,sun}';
    cuts interval[];
    week jsonb := '{}';
    n integer;
    d text;
    a interval;
    b interval;
    run interval;
    last text;
BEGIN
    IF random() < 0.25 THEN
        RETURN (SELECT jsonb_object_agg(u, simple)
                FROM unnest(name[:pick(2, 5, 7)]) u,
                     LATERAL (SELECT pick('["00:00-24:00"]'::text, '["08:00-12:00", "13:00-17:00"]', '["22:00-06:00"]',
                                          '["00:00-02:30", "03:00-08:00"]', '["18:00-02:00"]')::jsonb) s (simple));
    END IF;
    SELECT array_agg(c ORDER BY c) INTO cuts FROM generate_series(0, 6) day, random_cuts(day, 5) c;
    n := cardinality(cuts);
    FOR i IN 1 .. coalesce(n, 0) LOOP
        a := cuts[i];
        b := CASE i WHEN n THEN cuts[1] + '168:00' ELSE cuts[i + 1] END;
        d := name[1 + floor(extract(epoch FROM a) / 86400)::integer];
        -- hours of one day that touch are one interval, of no more than 24 hours
        run := CASE WHEN last = d THEN run ELSE a END;
        last := NULL;
        IF b - run <= '24:00' AND random() < 0.6 THEN
            last := d;
            week := jsonb_set(week, ARRAY[d], coalesce(week -> d, '[]') || to_jsonb(written(a, b)));
        END IF;
    END LOOP;
    RETURN week;
END $$;

CREATE FUNCTION public.random_day() RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    cuts interval[] := ARRAY(SELECT c FROM random_cuts(0, 4) c ORDER BY c);
    day jsonb := '[]';
    b interval;
BEGIN
    FOR i IN 1 .. cardinality(cuts) LOOP
        b := coalesce(cuts[i + 1], least(cuts[i], cuts[1]) + random_time());
        b := CASE WHEN b <= cuts[i] THEN '24:00' ELSE b END;
        IF random() < 0.7 THEN
            day := day || to_jsonb(written(cuts[i], b));
        END IF;
    END LOOP;
    RETURN CASE WHEN day = '[]' THEN '["09:00-11:30"]' ELSE day END;
END $$;

CREATE FUNCTION public.random_calendar(zone text, middle date) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    made jsonb;
    closed jsonb;
    dated jsonb;
BEGIN
    SELECT jsonb_agg(DISTINCT middle + floor(random() * 22)::integer - 11) INTO closed
    FROM generate_series(1, pick(0, 0, 2, 5));
    SELECT jsonb_object_agg(day, random_day()) INTO dated
    FROM (SELECT DISTINCT middle + floor(random() * 22)::integer - 11 FROM generate_series(1, pick(0, 1, 3, 6))) s (day);
    RETURN jsonb_strip_nulls(jsonb_build_object('timezone', zone, 'hours', random_week(), 'closed', closed, 'dates', dated));
END $$;

-- A definition's hours by the date that they belong to, as instants.
CREATE FUNCTION public.expand(w integer, definition jsonb) RETURNS TABLE (day date, r int8range) LANGUAGE sql STABLE AS $$
    SELECT d.day, int8range(instant(w, d.day + a), instant(w, CASE WHEN b <= a THEN d.day + b + '24:00' ELSE d.day + b END))
    FROM zone_window z, generate_series(-13, 12) n, LATERAL (SELECT middle + n) d (day),
         jsonb_array_elements_text(CASE WHEN definition -> 'closed' ? d.day::text THEN '[]'
                                        ELSE coalesce(definition -> 'dates' -> d.day::text,
                                                      definition -> 'hours' -> to_char(d.day, 'dy'), '[]') END) i,
         LATERAL (SELECT split_part(i, '-', 1)::interval, split_part(i, '-', 2)::interval) t (a, b)
    WHERE z.w = expand.w
$$;

CREATE TABLE public.sample AS
SELECT row_number() OVER ()::integer AS k, w, random_calendar(zone, middle) AS definition,
       us(middle::timestamp AT TIME ZONE 'UTC' - interval '11 days') AS lo,
       us(middle::timestamp AT TIME ZONE 'UTC' + interval '11 days') AS hi
FROM zone_window, generate_series(1, 6);
DELETE FROM public.sample WHERE definition -> 'hours' = '{}' AND NOT definition ? 'dates';
ALTER TABLE public.sample ADD c calendar, ADD open int8multirange;
UPDATE public.sample SET c = definition::text::calendar;
CREATE TABLE public.own AS SELECT k, e.* FROM sample, expand(w, definition) e;
UPDATE public.sample s SET open = coalesce((SELECT range_agg(r) FROM own o WHERE o.k = s.k AND NOT isempty(r)), '{}');
ALTER TABLE public.sample ADD PRIMARY KEY (k);
CREATE INDEX ON public.own (k);
SELECT cmp_ok((SELECT count(*) FROM sample), '>=', 90::bigint, 'there are calendars');
SELECT cmp_ok((SELECT count(*) FROM sample, unnest(open)), '>=', 1500::bigint, 'with hours');
SELECT cmp_ok((SELECT count(*) FROM own WHERE isempty(r)), '>=', 3::bigint, 'some of which are skipped');

-- Instants: any, and those next to a change.
CREATE TABLE public.point AS
SELECT k, lo + floor(random() * (hi - lo))::bigint AS u FROM sample, generate_series(1, 15)
UNION
SELECT k, u
FROM sample, LATERAL (SELECT lower(r) + pick(-1, 0, 0, 1) FROM unnest(open) r WHERE random() < 0.2
                      UNION ALL SELECT upper(r) + pick(-1, 0, 0, 1) FROM unnest(open) r WHERE random() < 0.2) e (u)
WHERE u BETWEEN lo AND hi;
CREATE TABLE public.pair AS
SELECT a.k, a.u AS a, b.u AS b
FROM (SELECT k, u, row_number() OVER (PARTITION BY k ORDER BY random()) AS n FROM point) a
JOIN (SELECT k, u, row_number() OVER (PARTITION BY k ORDER BY random()) AS n FROM point) b USING (k, n)
UNION ALL SELECT k, u, u FROM point WHERE random() < 0.1;
-- Targets: any up to two days, and those that end exactly at a change.
CREATE TABLE public.quota AS
SELECT k, u AS a, t
FROM point JOIN sample USING (k),
     LATERAL (SELECT floor(random() * 172800e6)::bigint UNION ALL SELECT pick(0::bigint, 1::bigint, 3600000000)
              UNION ALL (SELECT abs(model_elapsed(open, u, upper(r))) FROM unnest(open) r WHERE abs(upper(r) - u) < 4 * 86400e6
                         ORDER BY random() LIMIT 1)
              UNION ALL (SELECT abs(model_elapsed(open, u, lower(r))) FROM unnest(open) r WHERE abs(lower(r) - u) < 4 * 86400e6
                         ORDER BY random() LIMIT 1)) q (t);
ANALYZE;
SELECT cmp_ok((SELECT count(*) FROM point), '>=', 1500::bigint, 'and instants');
SELECT cmp_ok((SELECT count(*) FROM quota), '>=', 6000::bigint, 'and targets');

-- ---------- what is open ----------

SELECT is_empty(
    $$SELECT k, definition, got - expected AS too_much, expected - got AS missing
      FROM (SELECT k, definition, open * int8multirange(int8range(lo, hi)) AS expected,
                   (SELECT coalesce(range_agg(int8range(us(opens), us(closes))), '{}')
                    FROM open_intervals(c, at(lo), at(hi))) AS got
            FROM sample) s
      WHERE got <> expected LIMIT 1$$, 'open_intervals()');
SELECT is_empty(
    $$SELECT k, a, b, got, expected
      FROM (SELECT k, a, b,
                   ARRAY(SELECT ROW(us(opens), us(closes))::text FROM open_intervals(c, at(a), at(b))) AS got,
                   ARRAY(SELECT ROW(lower(r), upper(r))::text
                         FROM unnest(open * int8multirange(int8range(a, b))) r) AS expected
            FROM pair JOIN sample USING (k) WHERE a <= b) s
      WHERE got <> expected LIMIT 1$$, 'in order, merged, clipped');
SELECT is_empty(
    $$SELECT k, definition, at(u), is_open(c, at(u)) FROM point JOIN sample USING (k)
      WHERE is_open(c, at(u)) IS DISTINCT FROM open @> u LIMIT 1$$, 'is_open()');
SELECT is_empty(
    $$SELECT k, definition, at(u), got, at(expected)
      FROM (SELECT k, definition, u, next_open(c, at(u)) AS got,
                   (SELECT min(greatest(lower(r), u)) FROM unnest(open) r WHERE upper(r) > u) AS expected
            FROM point JOIN sample USING (k)) s
      WHERE us(got) IS DISTINCT FROM expected AND expected IS NOT NULL LIMIT 1$$, 'next_open()');
SELECT is_empty(
    $$SELECT k, definition, at(u), got, at(expected)
      FROM (SELECT k, definition, u, next_close(c, at(u)) AS got,
                   (SELECT min(upper(r)) FROM unnest(open) r WHERE upper(r) > u) AS expected,
                   upper(open) AS last
            FROM point JOIN sample USING (k)) s
      WHERE us(got) IS DISTINCT FROM expected AND expected < last LIMIT 1$$, 'next_close()');
SELECT is_empty(
    $$SELECT k, definition, at(u), got, at(expected)
      FROM (SELECT k, definition, u, prev_close(c, at(u)) AS got,
                   (SELECT max(upper(r)) FROM unnest(open) r WHERE upper(r) <= u) AS expected
            FROM point JOIN sample USING (k)) s
      WHERE us(got) IS DISTINCT FROM expected AND expected IS NOT NULL LIMIT 1$$, 'prev_close()');
SELECT is_empty(
    $$SELECT k, definition, at(u) FROM point JOIN sample USING (k), next_open(c, at(u)) o, next_close(c, at(u)) e,
                                       prev_close(c, at(u)) p
      WHERE NOT is_open(c, o) OR o < at(u) OR e <= o OR p > at(u) OR is_open(c, e) OR is_open(c, p)
         OR NOT is_open(c, e - interval '1 us') OR NOT is_open(c, p - interval '1 us')
         OR is_open(c, at(u)) <> (o = at(u)) LIMIT 1$$, 'they agree with each other');

-- ---------- open time ----------

SELECT is_empty(
    $$SELECT k, definition, at(a), at(b), got, span(expected)
      FROM (SELECT k, definition, a, b, business_elapsed(c, at(a), at(b)) AS got, model_elapsed(open, a, b) AS expected
            FROM pair JOIN sample USING (k)) s
      WHERE us(got) IS DISTINCT FROM expected LIMIT 1$$, 'business_elapsed()');
SELECT is_empty(
    $$SELECT k, got FROM pair JOIN sample USING (k), business_elapsed(c, at(a), at(b)) got
      WHERE extract(day FROM got) <> 0 OR extract(month FROM got) <> 0 OR extract(year FROM got) <> 0 LIMIT 1$$,
    'is in hours and below');
SELECT is_empty(
    $$SELECT k, definition, at(a), at(b) FROM pair JOIN sample USING (k)
      WHERE business_elapsed(c, at(a), at(b)) <> -business_elapsed(c, at(b), at(a)) LIMIT 1$$, 'is negative when reversed');
SELECT is_empty(
    $$SELECT p.k, definition, at(a), at(b), at(u) FROM pair p JOIN sample USING (k) JOIN point USING (k)
      WHERE random() < 0.2
        AND business_elapsed(c, at(a), at(u)) + business_elapsed(c, at(u), at(b)) <> business_elapsed(c, at(a), at(b))
      LIMIT 1$$, 'adds up over any split');
SELECT is_empty(
    $$SELECT k, definition, at(a), at(b) FROM pair JOIN sample USING (k)
      WHERE a <= b AND business_elapsed(c, at(a), at(b))
            <> (SELECT coalesce(sum(closes - opens), '0') FROM open_intervals(c, at(a), at(b))) LIMIT 1$$,
    'is the sum of open_intervals()');

-- ---------- due ----------

-- An answer that lies beyond what the model knows is left out, here and below.
CREATE TABLE public.due AS
SELECT k, a, t, due_at(c, at(a), span(t)) AS due, due_at_next_open(c, at(a), span(t)) AS next_open,
       due_at(c, at(a), span(-t)) AS back, due_at_next_open(c, at(a), span(-t)) AS prev_close
FROM quota JOIN sample USING (k)
WHERE at(a) < at(hi) - interval '4 days' AND at(a) > at(lo) + interval '4 days'
  AND EXISTS (SELECT FROM jsonb_each(definition -> 'hours') h WHERE h.value <> '[]');
ANALYZE public.due;
SELECT cmp_ok((SELECT count(*) FROM due), '>=', 3000::bigint, 'these many due times');
CREATE TABLE public.expected AS
SELECT k, a, t, model_due(open, a, t, false) AS due, model_due(open, a, t, true) AS next_open,
       model_due_back(open, a, t, false) AS back, model_due_back(open, a, t, true) AS prev_close
FROM due JOIN sample USING (k);
SELECT cmp_ok((SELECT count(*) FROM expected WHERE t > 0 AND due <> next_open), '>=', 500::bigint, 'have two answers');
CREATE TABLE public.compared AS
SELECT DISTINCT d.*, e.due AS e_due, e.next_open AS e_next_open, e.back AS e_back, e.prev_close AS e_prev_close, definition
FROM due d JOIN expected e USING (k, a, t) JOIN sample USING (k);
SELECT is_empty('SELECT k, definition, at(a), span(t), due, at(e_due) FROM compared WHERE us(due) IS DISTINCT FROM e_due AND e_due IS NOT NULL LIMIT 1',
                'due_at()');
SELECT is_empty('SELECT k, definition, at(a), span(t), next_open, at(e_next_open) FROM compared
                 WHERE us(next_open) IS DISTINCT FROM e_next_open AND e_next_open IS NOT NULL LIMIT 1', 'due_at_next_open()');
SELECT is_empty('SELECT k, definition, at(a), span(-t), back, at(e_back) FROM compared
                 WHERE t > 0 AND us(back) IS DISTINCT FROM e_back AND e_back IS NOT NULL LIMIT 1', 'due_at() backward');
SELECT is_empty('SELECT k, definition, at(a), span(-t), prev_close, at(e_prev_close) FROM compared
                 WHERE t > 0 AND us(prev_close) IS DISTINCT FROM e_prev_close AND e_prev_close IS NOT NULL LIMIT 1', 'due_at_next_open() backward');
SELECT is_empty('SELECT k, definition, at(a), span(t) FROM due JOIN sample USING (k)
                 WHERE business_elapsed(c, at(a), due) <> span(t) LIMIT 1', 'the target has passed when it is due');
SELECT is_empty('SELECT k, definition, at(a), span(t) FROM due JOIN sample USING (k)
                 WHERE business_elapsed(c, at(a), next_open) <> span(t) LIMIT 1', 'and no more at the next opening');
SELECT is_empty('SELECT k, definition, at(a), span(-t) FROM due JOIN sample USING (k)
                 WHERE business_elapsed(c, at(a), back) <> span(-t) OR business_elapsed(c, at(a), prev_close) <> span(-t)
                 LIMIT 1', 'nor backward');
SELECT is_empty($$SELECT k, definition, at(a), span(t), due, next_open FROM due JOIN sample USING (k)
                  WHERE due > next_open OR (t > 0 AND back < prev_close) OR business_elapsed(c, due, next_open) <> '0'
                     OR is_open(c, next_open) IS NOT TRUE
                     OR (t > 0 AND (due <= at(a) OR NOT is_open(c, due - interval '1 us')
                                    OR back >= at(a) OR NOT is_open(c, back)))
                  LIMIT 1$$, 'between the two answers nothing is open');
SELECT is_empty('SELECT x.k, definition, at(x.a), span(x.t), span(y.t) FROM due x JOIN due y USING (k, a) JOIN sample USING (k)
                 WHERE x.t < y.t AND (x.due > y.due OR x.next_open > y.next_open OR x.back < y.back
                                      OR x.prev_close < y.prev_close) LIMIT 1', 'more time is due later');
SELECT is_empty('SELECT k, definition, at(a), at(u), span(t) FROM due JOIN sample USING (k) JOIN point USING (k)
                 WHERE u > a AND random() < 0.1
                   AND (due_at(c, at(u), span(t)) < due OR due_at_next_open(c, at(u), span(t)) < next_open) LIMIT 1',
                'a later start is due later');
SELECT is_empty('SELECT k, definition, at(a), span(t) FROM due JOIN sample USING (k)
                 WHERE t > 1 AND (due_at(c, due_at(c, at(a), span(t / 3)), span(t - t / 3)) <> due
                       OR due_at_next_open(c, due_at_next_open(c, at(a), span(t / 3)), span(t - t / 3)) <> next_open
                       OR due_at(c, due_at(c, at(a), span(-(t / 2))), span(t / 2 - t)) <> back) LIMIT 1',
                'in two legs as in one');
SELECT is_empty('SELECT k, at(a), at(b), definition FROM pair JOIN sample USING (k)
                 WHERE a < b AND model_elapsed(open, a, b) > 0 AND upper(open) > hi
                   AND (due_at(c, at(a), business_elapsed(c, at(a), at(b))) > at(b)
                     OR due_at_next_open(c, at(a), business_elapsed(c, at(a), at(b))) < at(b)) LIMIT 1',
                'an instant lies between the two answers of its open time');

-- ---------- operators ----------

SELECT is_empty('SELECT k, definition FROM sample WHERE (c & c) <> c OR c <> c OR NOT c = c LIMIT 1', 'c & c = c');
-- both calendars in both orders; null when they are refused
CREATE FUNCTION public.both_open(a calendar, b calendar) RETURNS calendar LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN a & b;
EXCEPTION WHEN SQLSTATE 'RF010' THEN
    RETURN NULL;
END $$;
CREATE TABLE public.meet AS
SELECT a.k, b.k AS other, a.lo, a.hi, both_open(a.c, b.c) AS c, both_open(b.c, a.c) AS turned,
       a.open * b.open * int8multirange(int8range(a.lo, a.hi)) AS open, a.definition, b.definition AS other_definition
FROM sample a JOIN sample b ON a.w = b.w AND a.k <> b.k;
SELECT is_empty(
    $$SELECT k, other, definition, other_definition, c, got - open AS too_much, open - got AS missing
      FROM (SELECT *, CASE WHEN c IS NULL THEN '{}'
                           ELSE (SELECT coalesce(range_agg(int8range(us(opens), us(closes))), '{}')
                                 FROM open_intervals(c, at(lo), at(hi))) END AS got FROM meet) s
      WHERE got <> open LIMIT 1$$, 'a & b is open when both are');
SELECT cmp_ok((SELECT count(c) FROM meet), '>=', 100::bigint, 'and mostly is a calendar');
SELECT is_empty('SELECT k, other, c, turned FROM meet WHERE c IS DISTINCT FROM turned LIMIT 1', 'a & b = b & a');

CREATE TABLE public.less AS
SELECT s.k, d, definition, c - d AS c, lo, hi, s.w,
       jsonb_set(definition, '{closed}', coalesce(definition -> 'closed', '[]') || to_jsonb(d)) AS as_input
FROM sample s JOIN zone_window USING (w),
     LATERAL (SELECT ARRAY(SELECT middle + floor(random() * 22)::integer - 11 FROM generate_series(1, 4))) x (d)
WHERE EXISTS (SELECT FROM jsonb_each(definition -> 'hours') h WHERE h.value <> '[]');
SELECT is_empty(
    $$SELECT k, definition, d
      FROM (SELECT *, (SELECT coalesce(range_agg(r) * int8multirange(int8range(lo, hi)), '{}')
                       FROM expand(w, as_input) WHERE NOT isempty(r)) AS open FROM less) s
      WHERE open <> (SELECT coalesce(range_agg(int8range(us(opens), us(closes))), '{}')
                     FROM open_intervals(c, at(lo), at(hi))) LIMIT 1$$, 'c - dates is closed on them');
SELECT is_empty('SELECT k, less.c, less.c & s.c AS got, d FROM less JOIN sample s USING (k)
                 WHERE (less.c & s.c) <> less.c OR (less.c - d) <> less.c LIMIT 1', 'and is open only when c is');

-- ---------- business days ----------

CREATE TABLE public.day AS
SELECT k, d, is_business_day(c, d) AS business,
       NOT coalesce(definition -> 'closed', '[]') ? d::text
       AND coalesce(definition -> 'dates' -> d::text, definition -> 'hours' -> to_char(d, 'dy'), '[]') <> '[]' AS expected
FROM sample JOIN zone_window USING (w), generate_series(-40, 40) n, LATERAL (SELECT middle + n) x (d);
ALTER TABLE public.day ADD PRIMARY KEY (k, d);
SELECT is_empty('SELECT k, definition, d, business FROM day JOIN sample USING (k)
                 WHERE business IS DISTINCT FROM expected LIMIT 1', 'is_business_day()');
SELECT is_empty(
    $$SELECT a.k, definition, a.d, b.d, business_days(c, a.d, b.d)
      FROM day a JOIN day b USING (k) JOIN sample USING (k)
      WHERE a.d <= b.d AND abs(hashint4(k * 10007 + (a.d - b.d) * 31 + (a.d - date '2000-01-01'))) % 20 = 0
        AND (business_days(c, a.d, b.d) <> (SELECT count(*) FILTER (WHERE business) FROM day x
                                            WHERE x.k = a.k AND x.d >= a.d AND x.d < b.d)
          OR business_days(c, b.d, a.d) <> -business_days(c, a.d, b.d)) LIMIT 1$$,
    'business_days() counts them, negative when reversed');
SELECT is_empty(
    $$SELECT k, definition, d, n, got
      FROM (SELECT k, definition, d, n, c,
                   CASE WHEN n > 0 THEN (SELECT x.d FROM day x WHERE x.k = day.k AND x.d > day.d AND x.business
                                         ORDER BY x.d OFFSET n - 1 LIMIT 1)
                        WHEN n < 0 THEN (SELECT x.d FROM day x WHERE x.k = day.k AND x.d < day.d AND x.business
                                         ORDER BY x.d DESC OFFSET -n - 1 LIMIT 1)
                        ELSE (SELECT min(x.d) FROM day x WHERE x.k = day.k AND x.d >= day.d AND x.business) END AS expected
            FROM day JOIN sample USING (k), unnest('{-20,-3,-1,0,1,2,7,15}'::integer[]) n
            WHERE abs(hashint4(k * 1009 + n * 31 + (d - date '2000-01-01'))) % 4 = 0) s,
           LATERAL (SELECT CASE WHEN expected IS NOT NULL THEN add_business_days(c, d, n) END) g (got)
      WHERE got IS DISTINCT FROM expected LIMIT 1$$, 'add_business_days()');

-- ---------- the horizon ----------

-- The same calendars, known up to some date: null is for what is refused then.
CREATE TABLE public.known AS
SELECT k, jsonb_set(definition, '{valid_until}', to_jsonb(last))::text::calendar AS c, instant(w, last + 1) AS ends, last
FROM sample JOIN zone_window USING (w), LATERAL (SELECT middle + k % 9 - 4) x (last);
CREATE FUNCTION public.tried(call text, c calendar, a timestamptz, b timestamptz, t interval) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN CASE call WHEN 'elapsed' THEN us(business_elapsed(c, a, b)) WHEN 'is_open' THEN is_open(c, a)::integer
                     WHEN 'next_open' THEN us(next_open(c, a)) WHEN 'next_close' THEN us(next_close(c, a))
                     WHEN 'prev_close' THEN us(prev_close(c, a)) WHEN 'due' THEN us(due_at(c, a, t))
                     WHEN 'due_next' THEN us(due_at_next_open(c, a, t)) WHEN 'target' THEN us(business_target(c, a, t))
                     WHEN 'business' THEN business_days(c, a::date, b::date)
                     WHEN 'add' THEN add_business_days(c, a::date, extract(day FROM t)::integer) - date '1970-01-01' END;
EXCEPTION WHEN SQLSTATE 'RF022' THEN
    RETURN NULL;
END $$;
SELECT is_empty(
    $$SELECT k, known.c, at(a), at(b) FROM pair JOIN sample USING (k) JOIN known USING (k)
      WHERE a <> b AND tried('elapsed', known.c, at(a), at(b), NULL)
            IS DISTINCT FROM CASE WHEN greatest(a, b) <= ends THEN us(business_elapsed(sample.c, at(a), at(b))) END LIMIT 1$$,
    'open time is known up to the horizon');
SELECT is_empty(
    $$SELECT k, call, known.c, at(u), got, answer
      FROM point JOIN sample USING (k) JOIN known USING (k), unnest('{is_open,next_open,next_close,prev_close}'::text[]) call,
           tried(call, sample.c, at(u), NULL, NULL) answer, tried(call, known.c, at(u), NULL, NULL) got
      WHERE u <> ends AND (call IN ('is_open', 'prev_close') OR answer <> ends)
        AND got IS DISTINCT FROM CASE WHEN u < ends AND (call IN ('is_open', 'prev_close') OR answer < ends) THEN answer END LIMIT 1$$,
    'so are openings and closes');
SELECT is_empty(
    $$SELECT k, call, known.c, at(a), span(t), at(got), at(answer)
      FROM due JOIN sample USING (k) JOIN known USING (k), unnest('{due,due_next}'::text[]) call,
           LATERAL (SELECT us(CASE call WHEN 'due' THEN due ELSE next_open END)) x (answer), tried(call, known.c, at(a), NULL, span(t)) got
      WHERE a <> ends AND (call = 'due' OR answer <> ends) AND (t > 0 OR call = 'due_next')
        AND got IS DISTINCT FROM CASE WHEN a < ends AND answer <= ends THEN answer END LIMIT 1$$, 'and due times');
SELECT is_empty(
    $$SELECT k, call, known.c, a.d, b.d, got, answer
      FROM day a JOIN day b USING (k) JOIN sample USING (k) JOIN known USING (k), unnest('{business,add}'::text[]) call,
           LATERAL (SELECT (a.d - b.d) * interval '1 day') x (n),
           tried(call, sample.c, a.d::timestamptz, b.d::timestamptz, n) answer, tried(call, known.c, a.d::timestamptz, b.d::timestamptz, n) got
      WHERE abs(hashint4(k * 10007 + (a.d - b.d) * 37 + (a.d - date '2000-01-01'))) % 50 = 0 AND a.d <> b.d
        AND (call = 'business' OR n > interval '0 days')
        AND got IS DISTINCT FROM CASE WHEN CASE call WHEN 'business' THEN greatest(a.d, b.d) <= last + 1
                                                     ELSE answer <= last - date '1970-01-01' END THEN answer END LIMIT 1$$,
    'and business days');

-- ---------- targets with days ----------

-- Where the open time of a target with days ends, counted from a start: the same time of day, so many business dates
-- after the date that the start belongs to. Starts that belong to two dates are left out.
CREATE TABLE public.days_target AS
SELECT k, definition, c, w, a, n, h, started, owner.day,
       (at(started) AT TIME ZONE (definition ->> 'timezone')) - owner.day AS offs
FROM sample JOIN point USING (k), unnest('{-3,-1,1,2,4}'::integer[]) n, unnest('{0,5400}'::integer[]) h,
     LATERAL (SELECT u AS a,
                     CASE WHEN n > 0 THEN (SELECT min(greatest(lower(r), u)) FROM unnest(open) r WHERE upper(r) > u)
                          ELSE (SELECT max(least(upper(r), u)) FROM unnest(open) r WHERE lower(r) < u) END AS started) s,
     LATERAL (SELECT min(day) AS day FROM own o
              WHERE o.k = sample.k AND CASE WHEN n > 0 THEN r @> started ELSE lower(r) < started AND upper(r) >= started END
              HAVING count(*) = 1) owner
WHERE random() < 0.25 AND started IS NOT NULL
  AND EXISTS (SELECT FROM jsonb_each(definition -> 'hours') h WHERE h.value <> '[]');
CREATE TABLE public.days_answer AS
SELECT *, make_interval(days => n, secs => sign(n) * h) AS target,
       model_elapsed(open, a, exact_instant(w, aim + offs)) + sign(n)::bigint * h * 1000000 AS expected
FROM days_target t JOIN sample s USING (k, definition, c, w),
     LATERAL (SELECT CASE WHEN n > 0 THEN (SELECT d FROM day x WHERE x.k = t.k AND x.d > t.day AND x.business
                                           ORDER BY d OFFSET n - 1 LIMIT 1)
                          ELSE (SELECT d FROM day x WHERE x.k = t.k AND x.d < t.day AND x.business
                                ORDER BY d DESC OFFSET -n - 1 LIMIT 1) END AS aim) x
WHERE aim BETWEEN at(lo)::date AND at(hi)::date - 1;
SELECT cmp_ok((SELECT count(*) FROM days_answer WHERE expected IS NOT NULL), '>=', 1000::bigint, 'these many targets in days');
SELECT is_empty(
    $$SELECT k, definition, at(a), target, business_target(c, at(a), target) AS got, span(expected) AS expected
      FROM days_answer WHERE n > 0 AND us(business_target(c, at(a), target)) IS DISTINCT FROM expected
        AND expected IS NOT NULL LIMIT 1$$, 'business_target()');
SELECT is_empty(
    $$SELECT k, definition, at(a), target, business_target(c, at(a), target) AS got, span(expected) AS expected
      FROM days_answer WHERE n < 0 AND us(business_target(c, at(a), target)) IS DISTINCT FROM expected
        AND expected IS NOT NULL LIMIT 1$$, 'business_target() backward');
SELECT is_empty(
    $$SELECT k, definition, at(a), target FROM days_answer, business_target(c, at(a), target) t
      WHERE due_at(c, at(a), target) <> due_at(c, at(a), t)
         OR due_at_next_open(c, at(a), target) <> due_at_next_open(c, at(a), t) LIMIT 1$$,
    'days are due when their open time is');

-- ---------- the value ----------

SELECT is_empty('SELECT k, definition, c FROM sample WHERE c::text::calendar <> c OR c::text::calendar::text <> c::text LIMIT 1',
                'a calendar is read as it is written');
SELECT is_empty(
    $$SELECT k, definition, c FROM sample
      WHERE (SELECT jsonb_object_agg(key, CASE WHEN key IN ('hours', 'dates')
                                               THEN (SELECT jsonb_object_agg(e.key, (SELECT jsonb_agg(i ORDER BY random())
                                                                                     FROM jsonb_array_elements(e.value) i))
                                                     FROM jsonb_each(value) e WHERE e.value <> '[]')
                                               WHEN key = 'closed' THEN value || value ELSE value END)
             FROM jsonb_each(definition))::text::calendar IS DISTINCT FROM c
        AND definition -> 'hours' <> '{}'
      LIMIT 1$$, 'the order of intervals and repeated dates do not matter');

-- Hundreds of calendars in turn: what one backend keeps does not mix them up.
CREATE TABLE public.many AS
SELECT n, (jsonb_build_object('timezone', zone, 'closed', jsonb_build_array(date '2025-01-01' + n),
                              'hours', jsonb_build_object('mon', jsonb_build_array(format('%s:00-%s:30',
                                       lpad((n % 10)::text, 2, '0'), 10 + n % 13)), 'fri', '["09:00-10:00"]'::jsonb)))::text::calendar AS c
FROM generate_series(1, 400) n, LATERAL (SELECT z.zone FROM zone_window z WHERE w = 1 + n % 16) z;
CREATE TABLE public.alone AS
SELECT n, due_at(c, '2025-01-03 03:04:05Z', make_interval(hours => n)) AS due,
       business_elapsed(c, '2025-01-03 03:04:05Z', '2025-12-03 03:04:05Z') AS elapsed,
       next_open(c, timestamptz '2025-01-03 03:04:05Z' + n * interval '1 day') AS opens
FROM many;
SELECT cmp_ok((SELECT count(DISTINCT (due, elapsed, opens)) FROM alone), '>=', 390::bigint, 'many calendars, many answers');
SELECT is_empty(
    $$SELECT n FROM (SELECT * FROM many, generate_series(1, 10) ORDER BY random()) m JOIN alone USING (n)
      WHERE due <> due_at(c, '2025-01-03 03:04:05Z', make_interval(hours => n))
         OR elapsed <> business_elapsed(c, '2025-01-03 03:04:05Z', '2025-12-03 03:04:05Z')
         OR opens <> next_open(c, timestamptz '2025-01-03 03:04:05Z' + n * interval '1 day') LIMIT 1$$,
    'in any order the same');

-- ---------- twenty years ----------

CREATE TABLE public.long AS
SELECT k, zone, closed, dated, (jsonb_build_object('timezone', zone, 'closed', closed, 'dates', dated,
    'hours', '{"mon": ["08:00-12:00", "13:00-17:30"], "tue": ["08:00-17:00"], "thu": ["06:00-20:00"], "sat": ["09:15-11:00"]}'::jsonb))::text::calendar AS c
FROM unnest('{America/New_York,Europe/London,Australia/Sydney,UTC}'::text[]) WITH ORDINALITY z (zone, k),
     LATERAL (SELECT to_jsonb(ARRAY(SELECT DISTINCT date '2015-01-01' + floor(random() * 7000)::integer + k::integer * 0
                                    FROM generate_series(1, 250)))) a (closed),
     LATERAL (SELECT (SELECT jsonb_object_agg(d, '["10:00-14:00", "15:00-16:00"]'::jsonb)
                      FROM (SELECT DISTINCT date '2015-01-01' + floor(random() * 7000)::integer + k::integer * 0 AS d
                            FROM generate_series(1, 100)) x)) b (dated);
ALTER TABLE public.long ADD open int8multirange;
UPDATE public.long SET open = (
    SELECT range_agg(int8range(us((d + split_part(i, '-', 1)::time) AT TIME ZONE zone), us((d + split_part(i, '-', 2)::time) AT TIME ZONE zone)))
    FROM generate_series(0, 7500) n, LATERAL (SELECT date '2014-12-01' + n) x (d),
         jsonb_array_elements_text(CASE WHEN closed ? d::text THEN '[]'
             ELSE coalesce(dated -> d::text, '{"mon": ["08:00-12:00", "13:00-17:30"], "tue": ["08:00-17:00"], "thu": ["06:00-20:00"], "sat": ["09:15-11:00"]}'::jsonb -> to_char(d, 'dy'), '[]') END) i);
CREATE TABLE public.far AS
SELECT k, us('2015-01-01Z'::timestamptz) + floor(random() * 6e14)::bigint AS a, us('2015-01-01Z'::timestamptz) + floor(random() * 6e14)::bigint AS b
FROM long, generate_series(1, 40);
SELECT is_empty(
    'SELECT zone, at(a), at(b), business_elapsed(c, at(a), at(b)) AS got, span(model_elapsed(open, a, b)) AS expected
     FROM far JOIN long USING (k) WHERE us(business_elapsed(c, at(a), at(b))) <> model_elapsed(open, a, b) LIMIT 1',
    'long spans');
-- hours are spread evenly enough for the model to need no more than these
CREATE TABLE public.far_due AS
SELECT zone, c, a, t, model_due(near, a, t, false) AS due, model_due(near, a, t, true) AS next_open,
       model_due_back(near, a, t, false) AS back
FROM far JOIN long USING (k),
     LATERAL (SELECT abs(model_elapsed(open, a, b)), (abs(b - a) * 1.1 + 90 * 86400e6)::bigint OFFSET 0) x (t, reach),
     LATERAL (SELECT open * int8multirange(int8range(a - reach, a + reach)) OFFSET 0) y (near);
SELECT cmp_ok((SELECT count(*) FROM far_due WHERE due IS NOT NULL AND next_open IS NOT NULL), '>=', 50::bigint, 'long targets');
SELECT is_empty('SELECT zone, at(a), span(t), due_at(c, at(a), span(t)) AS got, at(due) AS expected, at(next_open) AS or_next_open
                 FROM far_due
                 WHERE (due IS NOT NULL AND us(due_at(c, at(a), span(t))) IS DISTINCT FROM due)
                    OR (next_open IS NOT NULL AND us(due_at_next_open(c, at(a), span(t))) IS DISTINCT FROM next_open) LIMIT 1',
                'are due as expected');
SELECT is_empty('SELECT zone, at(a), span(-t), due_at(c, at(a), span(-t)) AS got, at(back) AS expected FROM far_due
                 WHERE back IS NOT NULL AND us(due_at(c, at(a), span(-t))) IS DISTINCT FROM back LIMIT 1', 'backward, too');

SELECT * FROM finish();
