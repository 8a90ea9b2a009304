-- Calendars: against published cases, where they are at hand: answers of other projects' test suites, each with the
-- boundary answer that it stands for.
SELECT plan(12);

\getenv shared REFERRAL_SHARED
\set vectors_are_there `test -r "$REFERRAL_SHARED/calendar/vectors.json" && echo true || echo false`
\if :vectors_are_there
\set content `cat "$REFERRAL_SHARED/calendar/vectors.json"`
SET search_path = referral, public;

CREATE TABLE public.published AS SELECT :'content'::jsonb AS content;

-- Our notation: an end past midnight is a time of day.
CREATE FUNCTION public.hours(intervals jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_agg((i ->> 0) || '-' || CASE WHEN i ->> 1 <= '24:00' THEN i ->> 1
                                                       ELSE to_char((i ->> 1)::interval - '24:00', 'HH24:MI') END),
                    '[]')
    FROM jsonb_array_elements(intervals) i
$$;

CREATE TABLE public.kept AS
SELECT name,
       jsonb_build_object(
           'timezone', definition -> 'tz',
           'hours', (SELECT jsonb_object_agg(key, hours(value)) FROM jsonb_each(definition -> 'weekly')),
           'closed', (SELECT jsonb_agg(DISTINCT d) FROM jsonb_array_elements(definition -> 'holidays') d),
           'dates', (SELECT jsonb_object_agg(key, hours(value)) FROM jsonb_each(definition -> 'exceptions'))) AS json
FROM published, jsonb_each(content -> 'calendars') c (name, definition);
UPDATE kept SET json = jsonb_strip_nulls(json);

-- What is private to the project that it comes from: business days with a time of day, wall-clock time.
CREATE TABLE public.vector AS
SELECT v ->> 'id' AS id, v ->> 'op' AS op, kept.json::text::calendar AS c, v ->> 'expected' AS expected,
       (v ->> 'start')::timestamptz AS start, (v ->> 'end')::timestamptz AS "end",
       (v ->> 'duration_s')::float8 * interval '1 s' AS target, (v ->> 'expected_s')::float8 * interval '1 s' AS elapsed,
       v ->> 'boundary' AS boundary, v ->> 'other_answer' AS other,
       (v ->> 'start_date')::date AS start_date, (v ->> 'end_date')::date AS end_date, (v ->> 'days')::integer AS days,
       coalesce((v ->> 'inclusive_end')::boolean, false) AS inclusive_end,
       v ->> 'count_interval' AS count_interval, v -> 'pauses' AS pauses,
       v ->> 'op' = ANY ('{add_days,local_to_utc}') OR coalesce(v ->> 'time_model', '') = 'wall'
           OR (v -> 'agrees_with_reference') IS DISTINCT FROM 'true' AS private
FROM published, jsonb_array_elements(content -> 'cases') v LEFT JOIN kept ON name = v ->> 'calendar';

-- What is said here: null, or what is wrong. A pause is time that does not count: its open time is added to the target.
CREATE FUNCTION public.paused(v vector) RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(business_elapsed(v.c, greatest((p ->> 0)::timestamptz, v.start), (p ->> 1)::timestamptz)), '0')
    FROM jsonb_array_elements(coalesce(v.pauses, '[]')) p
$$;
CREATE FUNCTION public.wrong(op text, got anyelement, expected anyelement) RETURNS text LANGUAGE sql IMMUTABLE AS
$$SELECT CASE WHEN got IS DISTINCT FROM expected THEN format('%s: %s instead of %s', op, got, expected) END$$;

CREATE FUNCTION public.verdict(v vector) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    target interval := v.target + paused(v);
    close text := CASE WHEN v.boundary IN ('next_open', 'prev_close') THEN v.other ELSE v.expected END;
    next_open text := CASE WHEN v.boundary IN ('close', 'open') THEN v.other ELSE v.expected END;
    shift integer := (coalesce(v.count_interval, '') = '(start,end]')::integer;
BEGIN
    RETURN CASE v.op
        WHEN 'due' THEN
            concat_ws('; ', wrong('due_at', due_at(v.c, v.start, target), close::timestamptz),
                      wrong('due_at_next_open', due_at_next_open(v.c, v.start, target), next_open::timestamptz))
        WHEN 'elapsed' THEN wrong(v.op, business_elapsed(v.c, v.start, v."end") - paused(v), v.elapsed)
        WHEN 'is_open' THEN wrong(v.op, is_open(v.c, v.start), v.expected::boolean)
        WHEN 'next_open' THEN wrong(v.op, next_open(v.c, v.start), v.expected::timestamptz)
        WHEN 'next_close' THEN wrong(v.op, next_close(v.c, v.start), v.expected::timestamptz)
        WHEN 'prev_close' THEN wrong(v.op, prev_close(v.c, v.start), v.expected::timestamptz)
        WHEN 'add_days_date' THEN wrong(v.op, add_business_days(v.c, v.start_date, v.days), v.expected::date)
        WHEN 'count_days' THEN
            wrong(v.op, business_days(v.c, v.start_date + shift,
                                      v.end_date + v.inclusive_end::integer + shift),
                  v.expected::integer)
        ELSE 'not known here' END;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

CREATE TABLE public.outcome AS SELECT id, op, private, CASE WHEN NOT private THEN nullif(verdict(v), '') END AS wrong
                               FROM vector v;

SELECT diag(format('note: %s of %s cases pass; not applicable: %s', count(*) FILTER (WHERE NOT private AND wrong IS NULL),
                   count(*), (SELECT string_agg(format('%s %s', n, op), ', ')
                              FROM (SELECT op, count(*) AS n FROM outcome WHERE private GROUP BY op ORDER BY op) p)))
FROM outcome;
SELECT is((SELECT count(*) FROM kept WHERE json::text::calendar IS NULL), 0::bigint, 'all calendars are read');
SELECT is_empty($$SELECT name FROM kept
                  WHERE (json::text::calendar)::text::jsonb IS NULL
                     OR (json::text::calendar)::text::calendar <> json::text::calendar$$, 'and written');
SELECT is((SELECT count(*) FROM outcome WHERE NOT private), 694::bigint, 'these many cases are about elapsed time');
SELECT is_empty(format('SELECT id, wrong FROM outcome WHERE NOT private AND op = %L AND wrong IS NOT NULL', op), op)
FROM unnest('{due,elapsed,is_open,next_open,next_close,prev_close,add_days_date,count_days}'::text[]) op;
SELECT is_empty('SELECT id, op FROM outcome WHERE wrong IS NOT NULL
                 AND op <> ALL (''{due,elapsed,is_open,next_open,next_close,prev_close,add_days_date,count_days}'')',
                'no other case');
\else
SELECT skip('the published cases are not here', 12);
\endif

SELECT * FROM finish();
