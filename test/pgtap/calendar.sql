-- Calendars: what is read and written, what is refused, and every function by worked examples. calendar_property.sql
-- has random ones.
SELECT plan(233);
\ir ../lib/refused.sql
SET search_path = referral, public;

CREATE FUNCTION public.utc(t timestamptz) RETURNS text LANGUAGE sql STABLE AS
$$SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')$$;
-- Mon-Fri 08-12 and 13-17, closed on Thanksgiving and Christmas 2026, half a day on Christmas Eve
CREATE FUNCTION public.clinic() RETURNS calendar LANGUAGE sql STABLE AS $$
    SELECT '{"timezone": "America/Chicago",
             "hours": {"mon": ["08:00-12:00", "13:00-17:00"], "tue": ["08:00-12:00", "13:00-17:00"],
                       "wed": ["08:00-12:00", "13:00-17:00"], "thu": ["08:00-12:00", "13:00-17:00"],
                       "fri": ["08:00-12:00", "13:00-17:00"]},
             "closed": ["2026-11-26", "2026-12-25"], "dates": {"2026-12-24": ["08:00-12:00"]}}'::calendar
$$;
-- of one zone, the same hours on some days
CREATE FUNCTION public.week(zone text, days text, VARIADIC intervals text[]) RETURNS calendar LANGUAGE sql STABLE AS $$
    SELECT json_build_object('timezone', zone, 'hours', (SELECT json_object_agg(d, to_json(intervals))
                                                         FROM unnest(string_to_array(days, ' ')) d))::text::calendar
$$;
CREATE FUNCTION public.every_day() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''mon tue wed thu fri sat sun''';

-- ---------- read and written ----------

CREATE TABLE public.writing (what text, given text, written text);
INSERT INTO public.writing VALUES
    ('plain', '{"timezone": "UTC", "hours": {"mon": ["08:00-12:00"]}}', '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]}}'),
    ('order of keys and days', '{"hours": {"sun": ["10:00-11:00"], "mon": ["08:00-12:00"]}, "timezone": "UTC"}',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00"],"sun":["10:00-11:00"]}}'),
    ('order of intervals', '{"timezone": "UTC", "hours": {"mon": ["13:00-17:00", "08:00-12:00"]}}',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00","13:00-17:00"]}}'),
    ('touching intervals', '{"timezone": "UTC", "hours": {"mon": ["13:00-17:00", "08:00-12:00", "12:00-13:00"]}}',
     '{"timezone":"UTC","hours":{"mon":["08:00-17:00"]}}'),
    ('touching past midnight', '{"timezone": "UTC", "hours": {"mon": ["20:00-02:00", "18:00-20:00"]}}',
     '{"timezone":"UTC","hours":{"mon":["18:00-02:00"]}}'),
    ('empty parts', '{"timezone": "UTC", "hours": {"mon": ["08:00-12:00"], "tue": []}, "closed": [], "dates": {}}',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]}}'),
    ('until midnight', '{"timezone": "UTC", "hours": {"mon": ["18:00-00:00"], "wed": ["18:00-24:00"]}}',
     '{"timezone":"UTC","hours":{"mon":["18:00-24:00"],"wed":["18:00-24:00"]}}'),
    ('all day', '{"timezone": "UTC", "hours": {"mon": ["00:00-00:00"], "wed": ["00:00-24:00"]}}',
     '{"timezone":"UTC","hours":{"mon":["00:00-24:00"],"wed":["00:00-24:00"]}}'),
    ('seconds', '{"timezone": "UTC", "hours": {"mon": ["08:00:00-12:00:00"], "tue": ["08:00:30-12:00:30"]}}',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00"],"tue":["08:00:30-12:00:30"]}}'),
    ('dates in order, once', '{"timezone": "UTC", "hours": {"mon": ["08:00-12:00"]}, "closed": ["2026-12-25", "2025-01-01", "2026-12-25"]}',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"closed":["2025-01-01","2026-12-25"]}'),
    ('dated hours', '{"dates": {"2026-12-31": ["10:00-12:00", "08:00-09:00"], "2026-12-24": ["08:00-12:00"]}, "timezone": "UTC"}',
     '{"timezone":"UTC","dates":{"2026-12-24":["08:00-12:00"],"2026-12-31":["08:00-09:00","10:00-12:00"]}}'),
    ('horizon', '{"valid_until": "2030-12-31", "timezone": "UTC", "hours": {"mon": ["08:00-12:00"]}}',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"valid_until":"2030-12-31"}'),
    ('spelling of the zone', '{"timezone": "america/new_york", "hours": {"mon": ["08:00-12:00"]}}',
     '{"timezone":"America/New_York","hours":{"mon":["08:00-12:00"]}}'),
    ('escapes, whitespace', E'\n{\t"timezone" :"\\u0055TC",\r\n "hours":{"mon" : [ "08:00-12:00" ]} } ',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]}}'),
    ('a zone with digits', '{"timezone": "Etc/GMT+5", "hours": {"mon": ["08:00-12:00"]}}',
     '{"timezone":"Etc/GMT+5","hours":{"mon":["08:00-12:00"]}}');
SELECT is(given::calendar::text, written, 'written as: ' || what) FROM public.writing;
SELECT is_empty('SELECT what FROM writing WHERE given::calendar <> written::calendar OR written::calendar::text <> written
                 OR calendar_send(given::calendar) <> calendar_send(written::calendar)',
                'equal calendars have equal text and bytes');
SELECT is((SELECT count(DISTINCT written::calendar) FROM writing), (SELECT count(DISTINCT written) FROM writing),
          'others differ');
SELECT is(always_open('europe/paris'), week('Europe/Paris', every_day(), '00:00-24:00'), 'always_open() is such a calendar');
SELECT ok(clinic()::text::jsonb = '{"timezone": "America/Chicago", "hours": {
              "mon": ["08:00-12:00", "13:00-17:00"], "tue": ["08:00-12:00", "13:00-17:00"],
              "wed": ["08:00-12:00", "13:00-17:00"], "thu": ["08:00-12:00", "13:00-17:00"],
              "fri": ["08:00-12:00", "13:00-17:00"]},
             "closed": ["2026-11-26", "2026-12-25"], "dates": {"2026-12-24": ["08:00-12:00"]}}'::jsonb, 'nothing is lost');

-- ---------- refused ----------

CREATE TABLE public.bad (given text, names text);
INSERT INTO public.bad
SELECT '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]}' || rest, names FROM (VALUES
    ('', ''), ('}}', ''), ('} x', ''), (',}', ''), (',"colour":1}', 'colour'), (',"Hours":{}}', 'Hours'),
    (',"hours":{"tue":["08:00-12:00"]}}', 'hours'), (',"timezone":"UTC"}', 'timezone'),
    (',"closed":null}', 'closed'), (',"closed":{}}', 'closed'), (',"closed":"2026-12-25"}', 'closed'),
    (',"closed":[20261225]}', 'closed'), (',"closed":[null]}', 'closed'), (',"closed":[["2026-12-25"]]}', 'closed'),
    (',"closed":["2026-02-29"]}', '2026-02-29'), (',"closed":["2026-13-01"]}', '2026-13-01'),
    (',"closed":["2026-00-01"]}', '2026-00-01'), (',"closed":["2026-1-1"]}', '2026-1-1'), (',"closed":["26-01-01"]}', '26-01-01'),
    (',"closed":["2026-12-25T00:00"]}', '2026-12-25T00:00'), (',"closed":["12/25/2026"]}', '12/25/2026'),
    (',"closed":["today"]}', 'today'), (',"closed":["infinity"]}', 'infinity'), (',"closed":[""]}', 'closed'),
    (',"closed":[" 2026-12-25"]}', '2026-12-25'), (',"closed":["2026-12-25 BC"]}', '2026-12-25 BC'),
    (',"closed":["0001-01-01"]}', 'closed'), (',"closed":["9999-01-01"]}', 'closed'),
    (',"dates":[]}', 'dates'), (',"dates":{"2026-12-24":"08:00-12:00"}}', '2026-12-24'), (',"dates":{"mon":["08:00-12:00"]}}', 'mon'),
    (',"dates":{"2026-12-24":["08:00-12:00"],"2026-12-24":["09:00-12:00"]}}', '2026-12-24'),
    (',"dates":{"2026-12-24":["08:00-12:00","11:00-13:00"]}}', '2026-12-24'), (',"dates":{"2026-12-24":{}}}', '2026-12-24'),
    (',"valid_until":null}', 'valid_until'), (',"valid_until":2030}', 'valid_until'), (',"valid_until":"2030"}', '2030'),
    (',"valid_until":"2030-12-31","valid_until":"2030-12-31"}', 'valid_until'), (',"valid_until":"infinity"}', 'infinity')
    ) v (rest, names)
UNION ALL
SELECT format('{"timezone":"UTC","hours":{%s}}', hours), names FROM (VALUES
    ('"monday":["08:00-12:00"]', 'monday'), ('"Mon":["08:00-12:00"]', 'Mon'), ('"":["08:00-12:00"]', ''),
    ('"mon":["08:00-12:00"],"mon":["13:00-14:00"]', 'mon'), ('"mon":"08:00-12:00"', 'mon'), ('"mon":null', 'mon'),
    ('"mon":[480]', 'mon'), ('"mon":[["08:00","12:00"]]', 'mon'), ('"mon":[null]', 'mon'), ('"mon":[{}]', 'mon'),
    ('"mon":["8:00-12:00"]', '8:00-12:00'), ('"mon":["08:00-25:00"]', '08:00-25:00'), ('"mon":["08:00-24:01"]', '08:00-24:01'),
    ('"mon":["08:00-24:00:01"]', '08:00-24:00:01'), ('"mon":["24:00-08:00"]', '24:00-08:00'), ('"mon":["08:60-12:00"]', '08:60-12:00'),
    ('"mon":["08:00:60-12:00"]', '08:00:60-12:00'), ('"mon":["08:00"]', '08:00'), ('"mon":["08:00-"]', '08:00-'), ('"mon":[""]', 'mon'),
    ('"mon":["-"]', 'mon'), ('"mon":["08:00-12:00-13:00"]', '08:00-12:00-13:00'), ('"mon":[" 08:00-12:00"]', '08:00-12:00'),
    ('"mon":["08:00-12:00 "]', '08:00-12:00'), ('"mon":["08:00 - 12:00"]', '08:00 - 12:00'), ('"mon":["0800-1200"]', '0800-1200'),
    ('"mon":["08:00–12:00"]', '08:00–12:00'), ('"mon":["08:00:00.5-12:00"]', '08:00:00.5'), ('"mon":["-8:00-12:00"]', '-8:00'),
    ('"mon":["08:00am-12:00"]', '08:00am'), ('"mon":["08:00-12:00\u0000"]', ''),
    ('"mon":["08:00-12:00","11:59-13:00"]', 'mon'), ('"mon":["08:00-12:00","08:00-12:00"]', 'mon'),
    ('"mon":["08:00-17:00","12:00-13:00"]', 'mon'), ('"mon":["22:00-06:00","23:00-23:30"]', 'mon'),
    ('"mon":["22:00-06:00"],"tue":["05:59-12:00"]', 'mon|tue'), ('"sun":["22:00-06:00"],"mon":["00:00-01:00"]', 'sun|mon'),
    ('"mon":["08:00-08:00"],"tue":["07:00-07:30"]', 'mon|tue'), ('"mon":["08:00-08:00"],"tue":["07:59:59-07:59:58"]', 'mon|tue'),
    ('"mon":["01:00-01:30","01:30-01:30"]', 'mon'), ('', ''), ('"mon":[]', ''), ('"mon":[],"sun":[]', '')) v (hours, names)
UNION ALL
SELECT format('{"timezone":%s,"hours":{"mon":["08:00-12:00"]}}', to_json(zone)), CASE WHEN zone ~ '\w' THEN zone ELSE 'timezone' END
FROM unnest('{EST,EDT,PST,MST,HST,CET5,EST5,FOO+3,"EST5EDT,M3.2.0,M11.1.0",<+03>-3,+05,-05:00,5,localtime,posixrules,Factory,
              America/New_Yorkk,New_York,America,America/,right/America/New_York,posix/America/New_York,right/UTC,
              ../UTC,/etc/localtime,../../../../etc/passwd,Europe/Paris/,Europe//Paris,"UTC "," UTC","",zone.tab,
              Mars/Olympus_Mons}'::text[]) zone
UNION ALL
SELECT given, names FROM (VALUES
    ('', ''), (' ', ''), ('null', ''), ('true', ''), ('42', ''), ('"UTC"', ''), ('[]', ''), ('{', ''), ('{}', 'timezone'),
    ('[{"timezone":"UTC","hours":{"mon":["08:00-12:00"]}}]', ''), ('{"timezone":"UTC"}', ''),
    ('{"hours":{"mon":["08:00-12:00"]}}', 'timezone'), ('{"timezone":null,"hours":{"mon":["08:00-12:00"]}}', 'timezone'),
    ('{"timezone":5,"hours":{"mon":["08:00-12:00"]}}', 'timezone'), ('{"timezone":["UTC"],"hours":{"mon":["08:00-12:00"]}}', 'timezone'),
    ('{"timezone":{"UTC":1},"hours":{"mon":["08:00-12:00"]}}', 'timezone'),
    ('{"timezone":"UTC\u0000","hours":{"mon":["08:00-12:00"]}}', ''), ('{"timezone":"UTC","hours":[]}', 'hours'),
    ('{"timezone":"UTC","hours":null}', 'hours'), ('{"timezone":"UTC","hours":"mon"}', 'hours'),
    ('{"timezone":"UTC","closed":["2026-12-25"]}', ''),
    ('{"timezone":"UTC","closed":["2026-12-25"],"dates":{"2026-12-25":["08:00-12:00"]}}', ''),
    ('{"timezone":"UTC","hours":{"mon":["08:00-12:00"]}}{}', '')) v (given, names);
CREATE TABLE public.refusal AS SELECT bad.*, r.* FROM bad, refused(format('SELECT %L::referral.calendar', given)) r;
SELECT is((SELECT count(*) FROM refusal), 138::bigint, 'so many are no calendars');
SELECT is_empty($$SELECT given, code, message FROM refusal WHERE code <> 'RF010'$$, 'what is no calendar is refused with RF010');
SELECT is_empty($$SELECT given, message FROM refusal WHERE coalesce(detail, '') = '' OR coalesce(hint, '') = ''$$,
                'with a detail and a hint');
SELECT is_empty($$SELECT given, message, detail FROM refusal
                  WHERE CASE names WHEN 'mon|tue' THEN detail !~ names WHEN 'sun|mon' THEN detail !~ names
                                   ELSE strpos(detail, names) = 0 END$$, 'that names the part');
SELECT is_empty($$SELECT zone, code FROM unnest('{EST,America/New_Yorkk,localtime,""}'::text[]) zone,
                                          refused(format('SELECT referral.always_open(%L)', zone))
                  WHERE code <> 'RF010'$$, 'by always_open() too');
SELECT is_empty($$SELECT name FROM pg_timezone_names n,
                         refused(format('SELECT %L::referral.calendar', format('{"timezone":"%s","hours":{"mon":["08:00-12:00"]}}', name)))
                  WHERE name ~ '^(Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific|Etc)/' AND code <> 'done'$$,
                'the zones of all continents and oceans are taken');

CREATE FUNCTION public.many(n integer, start date DEFAULT '2000-01-01') RETURNS json LANGUAGE sql IMMUTABLE AS
'SELECT json_agg(start + i) FROM generate_series(1, n) i';
CREATE FUNCTION public.closed_on(dates json) RETURNS text LANGUAGE sql IMMUTABLE AS
$$SELECT format('{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"closed":%s}', dates)$$;
SELECT is(code, 'done', '10,000 closed dates') FROM refused(format('SELECT %L::referral.calendar', closed_on(many(10000))));
SELECT is(code, 'RF010', 'not more') FROM refused(format('SELECT %L::referral.calendar', closed_on(many(10001))));
CREATE FUNCTION public.slots(n integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT format('{"timezone":"UTC","hours":{"mon":%s}}',
                  json_agg(to_char(i * interval '25 min', 'HH24:MI') || '-' || to_char(i * interval '25 min' + '5 min', 'HH24:MI')))
    FROM generate_series(1, n) i
$$;
SELECT is(code, 'done', '48 intervals a day') FROM refused(format('SELECT %L::referral.calendar', slots(48)));
SELECT is(code, 'RF010', 'not more') FROM refused(format('SELECT %L::referral.calendar', slots(49)));
SELECT matches(code, '^(RF010|54001)$', 'nesting without end')
FROM refused(format('SELECT %L::referral.calendar', '{"timezone":' || repeat('[', 100000)));
SELECT is(code, 'RF010', 'a zone of a megabyte')
FROM refused(format('SELECT %L::referral.calendar', format('{"timezone":"%s","hours":{"mon":["08:00-12:00"]}}', repeat('x', 1000000))));
SELECT cmp_ok(pg_column_size(closed_on(many(300))::calendar), '<', 1500, '300 closed dates are small');

-- wherever a row keeps it
CREATE TABLE public.stored (n integer, plain calendar, main calendar, extern calendar, extended calendar);
ALTER TABLE public.stored ALTER plain SET STORAGE PLAIN, ALTER main SET STORAGE MAIN, ALTER extern SET STORAGE EXTERNAL,
    ALTER extended SET STORAGE EXTENDED;
INSERT INTO public.stored SELECT n, CASE WHEN n < 1500 THEN c END, c, c, c
FROM unnest('{1,300,10000}'::integer[]) n, LATERAL (SELECT closed_on(many(n))::calendar) x (c);
SELECT is_empty($$SELECT n FROM stored, LATERAL (SELECT closed_on(many(n))::calendar) x (c), unnest(ARRAY[coalesce(plain, c), main, extern, extended]) s
                  WHERE s <> c OR s::text <> c::text OR calendar_hash(s) <> calendar_hash(c) OR calendar_send(s) <> calendar_send(c)
                     OR business_elapsed(s, '1999-01-01', '2030-01-01') <> business_elapsed(c, '1999-01-01', '2030-01-01')
                     OR (s & c) <> c OR is_business_day(s, '2000-01-03') <> (n = 1)$$, 'a stored calendar is the same');

-- A text with a character less or another one is refused or some calendar; it never breaks anything.
CREATE FUNCTION public.kept(given text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c calendar;
BEGIN
    c := given;
    RETURN CASE WHEN c::text::calendar = c AND c::text::calendar::text = c::text THEN 'kept' ELSE 'changed' END;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE TABLE public.whole AS
SELECT '{"timezone":"America/New_York","hours":{"mon":["08:00-12:00","22:00-06:00"],"wed":["00:00-24:00"]},'
       '"closed":["2026-12-25"],"dates":{"2026-12-24":["08:00-12:30:15"]},"valid_until":"2030-12-31"}' AS t;
SELECT is(kept(t), 'kept', 'a whole text') FROM whole;
SELECT is_empty($$SELECT left(t, n), kept(left(t, n)) FROM whole, generate_series(0, length(t) - 1) n WHERE kept(left(t, n)) <> 'RF010'$$,
                'the start of a text is refused');
SELECT is_empty($$SELECT s, outcome FROM whole, generate_series(1, length(t)) n, unnest(ARRAY[NULL, '0', '9', '-', ':', 'x', ',', '\', '{', '[', '"', 'é']) x,
                         LATERAL overlay(t PLACING coalesce(x, '') FROM n FOR 1) s, kept(s) outcome
                  WHERE outcome NOT IN ('kept', 'RF010')$$, 'so is one with another character, or it is another calendar');

-- ---------- binary ----------

CREATE TABLE public.arrived (c calendar);
-- What comes of bytes that arrive by COPY in binary format: the text, or an SQLSTATE.
CREATE FUNCTION public.received(data bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    file text := current_setting('data_directory') || '/calendar_received';
    lob oid;
BEGIN
    DELETE FROM arrived;
    lob := lo_from_bytea(0, '\x5047434f50590aff0d0a0000000000000000000001'::bytea || int4send(length(data)) || data || int2send(-1::smallint));
    PERFORM lo_export(lob, file), lo_unlink(lob);
    EXECUTE format('COPY arrived FROM %L (FORMAT binary)', file);
    RETURN (SELECT c FROM arrived);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE TABLE public.sent AS
SELECT t, calendar_send(t::calendar) AS data FROM (SELECT t FROM whole UNION ALL SELECT written FROM writing
                                                   UNION ALL SELECT closed_on(many(2000))::calendar::text) s;
CREATE TABLE public.one AS SELECT data FROM sent JOIN whole USING (t);
SELECT is_empty('SELECT left(t, 200), left(received(data), 200) FROM sent WHERE received(data) <> t', 'binary values arrive as they are');
CREATE TABLE public.broken AS
SELECT n, x, received(set_byte(data, n, (get_byte(data, n) # x))) AS outcome
FROM one s, generate_series(0, length(data) - 1) n, unnest('{1,16,128,255}'::integer[]) x;
SELECT is_empty($$SELECT n, x, outcome FROM broken
                  WHERE CASE WHEN outcome ~ '^{' THEN kept(outcome) <> 'kept' OR outcome::calendar::text <> outcome
                             ELSE outcome NOT IN ('RF010', '22P03', '08P01', '22021') END$$, 'broken ones are refused or right');
SELECT is_empty($$SELECT n, got
                  FROM one s, generate_series(0, length(data) - 1) n,
                       received(substr(data, 1, n)) got
                  WHERE coalesce(got, 'null') NOT IN ('RF010', '22P03', '08P01')$$, 'short ones are refused');
SELECT is_empty($$SELECT left(t, 200), got FROM sent, received(data || '\x00') got WHERE got NOT IN ('RF010', '22P03', '08P01')$$, 'long ones, too');

-- ---------- open or not ----------

SELECT is(is_open(clinic(), t::timestamptz), expected, 'is_open: ' || t) FROM (VALUES
    ('2026-11-23 07:59:59.999999-06', false), ('2026-11-23 08:00-06', true), ('2026-11-23 11:59:59.999999-06', true),
    ('2026-11-23 12:00-06', false), ('2026-11-23 13:00-06', true), ('2026-11-23 17:00-06', false), ('2026-11-22 10:00-06', false),
    ('2026-11-26 10:00-06', false), ('2026-12-24 10:00-06', true), ('2026-12-24 14:00-06', false), ('2026-07-06 08:00-05', true),
    ('2026-07-06 17:30-05', false)) v (t, expected);
SELECT results_eq(
    $$SELECT utc(next_open(clinic(), t)), utc(next_close(clinic(), t)), utc(prev_close(clinic(), t))
      FROM unnest('{2026-11-23 09:00-06,2026-11-23 08:00-06,2026-11-23 12:00-06,2026-11-23 12:30-06,2026-11-25 17:00-06,
                    2026-11-28 00:00-06,2026-12-24 11:00-06}'::timestamptz[]) t$$,
    $$VALUES ('2026-11-23 15:00:00', '2026-11-23 18:00:00', '2026-11-20 23:00:00'),
             ('2026-11-23 14:00:00', '2026-11-23 18:00:00', '2026-11-20 23:00:00'),
             ('2026-11-23 19:00:00', '2026-11-23 23:00:00', '2026-11-23 18:00:00'),
             ('2026-11-23 19:00:00', '2026-11-23 23:00:00', '2026-11-23 18:00:00'),
             ('2026-11-27 14:00:00', '2026-11-27 18:00:00', '2026-11-25 23:00:00'),
             ('2026-11-30 14:00:00', '2026-11-30 18:00:00', '2026-11-27 23:00:00'),
             ('2026-12-24 17:00:00', '2026-12-24 18:00:00', '2026-12-23 23:00:00')$$,
    'next_open(), next_close(), prev_close()');
SELECT results_eq(
    $$SELECT utc(opens), utc(closes) FROM open_intervals(clinic(), '2026-11-25 14:00-06', '2026-11-27 14:00-06')$$,
    $$VALUES ('2026-11-25 20:00:00', '2026-11-25 23:00:00'), ('2026-11-27 14:00:00', '2026-11-27 18:00:00'),
             ('2026-11-27 19:00:00', '2026-11-27 20:00:00')$$, 'open_intervals() are clipped');
SELECT is_empty($$SELECT * FROM open_intervals(clinic(), '2026-11-26 00:00-06', '2026-11-27 08:00-06')$$, 'and may be none');
SELECT is_empty($$SELECT * FROM open_intervals(clinic(), '2026-11-24 10:00-06', '2026-11-24 10:00-06')$$, 'not in an instant');
SELECT is_empty($$SELECT * FROM open_intervals(clinic(), '2026-11-25 10:00-06', '2026-11-24 10:00-06')$$, 'not backward');
SELECT is((SELECT count(*) FROM (SELECT * FROM open_intervals(clinic(), '2020-01-01', '2020-12-31') LIMIT 3) s), 3::bigint, 'or be cut off');
SELECT results_eq($$SELECT utc(opens), utc(closes) FROM open_intervals(
                        week('UTC', every_day(), '00:00-06:00', '18:00-24:00'), '2026-01-01 12:00Z', '2026-01-03 00:00Z')$$,
                  $$VALUES ('2026-01-01 18:00:00', '2026-01-02 06:00:00'), ('2026-01-02 18:00:00', '2026-01-03 00:00:00')$$,
                  'what touches across midnight is one stretch');
SELECT is(utc(next_close(week('UTC', every_day(), '00:00-06:00', '18:00-24:00'), '2026-01-01 20:00Z')), '2026-01-02 06:00:00',
          'with one close');
SELECT is(utc(next_close(week('UTC', 'mon tue wed thu fri', '00:00-24:00'), '2026-01-06 20:00Z')), '2026-01-10 00:00:00',
          'five days are one stretch');
SELECT results_eq(
    $$SELECT is_open(c, t), next_open(c, t) = t, next_close(c, t) IS NULL, prev_close(c, t) IS NULL,
             (SELECT array_agg(opens = t AND closes = t + interval '400 days') FROM open_intervals(c, t, t + interval '400 days'))
      FROM always_open('America/New_York') c, (VALUES (timestamptz '2024-03-10 06:30Z')) v (t)$$,
    $$VALUES (true, true, true, true, '{t}'::boolean[])$$, 'always open is never closed');

-- only dated hours: before and after them nothing is open, ever
CREATE FUNCTION public.fair() RETURNS calendar LANGUAGE sql STABLE AS
$$SELECT '{"timezone": "UTC", "dates": {"2026-05-01": ["09:00-12:00"], "2026-05-02": ["09:00-12:00"]}}'::calendar$$;
SELECT results_eq(
    $$SELECT utc(next_open(fair(), t)), utc(next_close(fair(), t)), utc(prev_close(fair(), t)), business_elapsed(fair(), t, '2027-01-01')
      FROM unnest('{2020-01-01,2026-05-01 10:00Z,2026-05-03}'::timestamptz[]) t$$,
    $$VALUES ('2026-05-01 09:00:00', '2026-05-01 12:00:00', NULL, interval '6:00'),
             ('2026-05-01 10:00:00', '2026-05-01 12:00:00', NULL, '5:00'), (NULL, NULL, '2026-05-02 12:00:00', '0')$$,
    'a calendar may have hours on some dates only');
SELECT is(utc(due_at(fair(), '2026-01-01', '6:00')), '2026-05-02 12:00:00', 'which are enough for six hours');
SELECT matches(code, '^(RF022|22008)$', 'not for more')
FROM refused($$SELECT referral.due_at(public.fair(), '2026-01-01', '6:00:00.000001')$$);
SELECT matches(code, '^(RF022|22008)$', 'nor for another opening')
FROM refused($$SELECT referral.due_at_next_open(public.fair(), '2026-01-01', '6:00')$$);
SELECT matches(code, '^(RF022|22008)$', 'nor backward')
FROM refused($$SELECT referral.due_at(public.fair(), '2026-05-01 10:00Z', '-2:00')$$);

-- ---------- due ----------

CREATE TABLE public.due AS
SELECT c, start::timestamptz, target::interval, due_at(c, start::timestamptz, target::interval) AS due,
       due_at_next_open(c, start::timestamptz, target::interval) AS next_open, e_due, e_next_open
FROM clinic() c, (VALUES
    ('2026-11-23 10:00-06', '4:00', '2026-11-23 15:00-06', '2026-11-23 15:00-06'),
    ('2026-11-23 10:00-06', '2:00', '2026-11-23 12:00-06', '2026-11-23 13:00-06'),
    ('2026-11-23 10:00-06', '2:00:00.000001', '2026-11-23 13:00:00.000001-06', '2026-11-23 13:00:00.000001-06'),
    ('2026-11-23 10:00-06', '1:59:59.999999', '2026-11-23 11:59:59.999999-06', '2026-11-23 11:59:59.999999-06'),
    ('2026-11-25 16:00-06', '4:00', '2026-11-27 11:00-06', '2026-11-27 11:00-06'),
    ('2026-11-25 16:00-06', '1:00', '2026-11-25 17:00-06', '2026-11-27 08:00-06'),
    ('2026-12-24 08:00-06', '5:00', '2026-12-28 09:00-06', '2026-12-28 09:00-06'),
    ('2026-11-21 10:00-06', '8:00', '2026-11-23 17:00-06', '2026-11-24 08:00-06'),
    ('2026-11-23 10:00-06', '0', '2026-11-23 10:00-06', '2026-11-23 10:00-06'),
    ('2026-11-21 10:00-06', '0', '2026-11-21 10:00-06', '2026-11-23 08:00-06'),
    ('2026-11-20 17:00-06', '0', '2026-11-20 17:00-06', '2026-11-23 08:00-06'),
    ('2026-11-27 09:00-06', '-2:00', '2026-11-25 16:00-06', '2026-11-25 16:00-06'),
    ('2026-11-27 09:00-06', '-1:00', '2026-11-27 08:00-06', '2026-11-25 17:00-06'),
    ('2026-11-22 09:00-06', '-8:00', '2026-11-20 08:00-06', '2026-11-19 17:00-06'),
    ('2026-10-30 16:00-05', '2:00', '2026-11-02 09:00-06', '2026-11-02 09:00-06'),
    -- days are business days, by the clock
    ('2026-11-21 10:00-06', '1 day', '2026-11-23 17:00-06', '2026-11-24 08:00-06'),
    ('2026-11-23 15:00-06', '1 day', '2026-11-24 15:00-06', '2026-11-24 15:00-06'),
    ('2026-11-25 15:00-06', '1 day', '2026-11-27 15:00-06', '2026-11-27 15:00-06'),
    ('2026-11-25 15:00-06', '1 day 3:00', '2026-11-30 09:00-06', '2026-11-30 09:00-06'),
    ('2026-12-23 15:00-06', '1 day', '2026-12-24 12:00-06', '2026-12-28 08:00-06'),
    ('2026-12-24 10:00-06', '1 day', '2026-12-28 10:00-06', '2026-12-28 10:00-06'),
    ('2026-11-23 17:00-06', '1 day', '2026-11-24 17:00-06', '2026-11-25 08:00-06'),
    ('2026-11-23 08:00-06', '5 days', '2026-11-30 17:00-06', '2026-12-01 08:00-06'),
    ('2026-11-24 15:00-06', '-1 day', '2026-11-23 15:00-06', '2026-11-23 15:00-06'),
    ('2026-11-22 15:00-06', '-1 day', '2026-11-20 08:00-06', '2026-11-19 17:00-06'),
    ('2026-11-24 15:00-06', '0 days', '2026-11-24 15:00-06', '2026-11-24 15:00-06')
    ) v (start, target, e_due, e_next_open);
SELECT is(due, e_due::timestamptz, format('due_at: %s and %s', start, target)) FROM public.due;
SELECT is(next_open, e_next_open::timestamptz, format('due_at_next_open: %s and %s', start, target)) FROM public.due;
SELECT results_eq(
    $$SELECT start, target, business_target(c, start, target)::text FROM due WHERE extract(day FROM target) <> 0 ORDER BY start, target$$,
    $$SELECT start, target, business_elapsed(c, start, due)::text FROM due WHERE extract(day FROM target) <> 0 ORDER BY start, target$$,
    'business_target() is the open time until then, in hours');
SELECT is(business_target(clinic(), '2026-11-21 10:00-06', '49:30')::text, '49:30:00', 'which hours are already');
SELECT results_eq(
    $$SELECT business_target(c, t::timestamptz, '7 days')::text, utc(due_at(c, t::timestamptz, '7 days'))
      FROM always_open('America/New_York') c, unnest('{2024-03-08 12:00-05,2024-11-01 12:00-04,2024-06-03 12:00-04}'::text[]) t$$,
    $$VALUES ('167:00:00', '2024-03-15 16:00:00'), ('169:00:00', '2024-11-08 17:00:00'), ('168:00:00', '2024-06-10 16:00:00')$$,
    'seven days by the clock are not always 168 hours');
SELECT results_eq(
    $$SELECT utc(due_at(c, '2026-11-24 02:00Z', '1 day')), utc(due_at(c, '2026-11-23 23:00Z', '1 day'))
      FROM week('UTC', 'mon tue wed thu fri', '22:00-06:00') c$$,
    $$VALUES ('2026-11-25 02:00:00', '2026-11-24 23:00:00')$$, 'a night belongs to the day before');
SELECT is(utc(due_at(week('UTC', 'mon tue wed thu fri', '22:00-06:00'), '2026-11-28 02:00Z', '1 day')), '2026-12-01 02:00:00',
          'so Friday''s ends on Saturday, and the next is Monday''s');

SELECT is(business_elapsed(clinic(), '2026-11-23 10:00-06', '2026-11-27 10:00-06')::text, '24:00:00', 'business_elapsed()');
SELECT is(business_elapsed(clinic(), '2026-11-27 10:00-06', '2026-11-23 10:00-06')::text, '-24:00:00', 'backward');
SELECT is(business_elapsed(clinic(), '2026-11-26 10:00-06', '2026-11-26 12:00-06')::text, '00:00:00', 'nothing');
SELECT is(business_elapsed(clinic(), '2026-11-23 11:59:59.999999-06', '2026-11-23 13:00:00.000001-06')::text, '00:00:00.000002',
          'microseconds');

-- ---------- business days ----------

SELECT results_eq(
    $$SELECT is_business_day(clinic(), d) FROM unnest('{2026-11-23,2026-11-26,2026-11-28,2026-12-24,2026-12-25}'::date[]) d$$,
    'VALUES (true), (false), (false), (true), (false)', 'is_business_day()');
SELECT ok(is_business_day(week('UTC', 'fri', '22:00-06:00'), '2026-11-27') AND NOT is_business_day(week('UTC', 'fri', '22:00-06:00'), '2026-11-28'),
          'the day after a night is none');
SELECT results_eq(
    $$SELECT business_days(clinic(), a::date, b::date) FROM (VALUES ('2026-11-23', '2026-11-30'), ('2026-11-23', '2026-11-23'),
          ('2026-11-23', '2026-11-24'), ('2026-11-30', '2026-11-23'), ('2026-11-26', '2026-11-27'), ('2026-01-01', '2027-01-01')) v (a, b)$$,
    'VALUES (4), (0), (1), (-4), (0), (259)', 'business_days()');
SELECT results_eq(
    $$SELECT add_business_days(clinic(), d::date, n) FROM (VALUES ('2026-11-23', 1), ('2026-11-25', 1), ('2026-11-22', 1), ('2026-11-22', 0),
          ('2026-11-23', 0), ('2026-11-27', -1), ('2026-11-22', -1), ('2026-11-23', 259), ('2026-11-28', -2)) v (d, n)$$,
    $$VALUES (date '2026-11-24'), ('2026-11-27'), ('2026-11-23'), ('2026-11-23'), ('2026-11-23'), ('2026-11-25'), ('2026-11-20'),
             ('2027-11-23'), ('2026-11-25')$$, 'add_business_days()');

-- ---------- the clock is changed ----------

SELECT is(business_elapsed(c, a::timestamptz, b::timestamptz)::text, expected, what) FROM (VALUES
    ('23 hours', week('America/New_York', 'sun', '00:00-24:00'), '2024-03-10 00:00-05', '2024-03-11 00:00-04', '23:00:00'),
    ('25 hours', week('America/New_York', 'sun', '00:00-24:00'), '2024-11-03 00:00-04', '2024-11-04 00:00-05', '25:00:00'),
    ('ends and starts that are skipped', week('America/New_York', 'sun', '00:00-02:30', '03:00-08:00'), '2024-03-10 00:00-05', '2024-03-11 00:00-04', '07:00:00'),
    ('hours that are skipped', week('America/New_York', 'sun', '02:15-02:45'), '2024-03-10 00:00-05', '2024-03-11 00:00-04', '00:00:00'),
    ('starts that are skipped', week('America/New_York', 'sun', '02:30-04:00'), '2024-03-10 00:00-05', '2024-03-11 00:00-04', '01:00:00'),
    ('hours that come twice', week('America/New_York', 'sun', '01:30-01:45'), '2024-11-03 00:00-04', '2024-11-04 00:00-05', '00:15:00'),
    ('a start that comes twice', week('America/New_York', 'sun', '01:30-02:30'), '2024-11-03 00:00-04', '2024-11-04 00:00-05', '02:00:00'),
    ('an end that comes twice', week('America/New_York', 'sun', '00:00-01:30'), '2024-11-03 00:00-04', '2024-11-04 00:00-05', '01:30:00'),
    ('a short night', week('America/New_York', 'sat', '22:00-06:00'), '2024-03-09 12:00-05', '2024-03-11 00:00-04', '07:00:00'),
    ('a long night', week('America/New_York', 'sat', '22:00-06:00'), '2024-11-02 12:00-04', '2024-11-04 00:00-05', '09:00:00'),
    ('a day that is skipped', week('Pacific/Apia', 'mon tue wed thu fri', '09:00-17:00'), '2011-12-26 00:00-10', '2012-01-01 00:00+14', '32:00:00'),
    ('also all of it', week('Pacific/Apia', 'thu fri sat', '00:00-24:00'), '2011-12-26 00:00-10', '2012-01-01 00:00+14', '48:00:00'),
    ('a night into it', week('Pacific/Apia', 'thu', '22:00-06:00'), '2011-12-26 00:00-10', '2012-01-01 00:00+14', '02:00:00'),
    ('half an hour more', week('Australia/Lord_Howe', 'sun', '00:00-24:00'), '2024-04-06 12:00Z', '2024-04-08 12:00Z', '24:30:00'),
    ('half an hour less', week('Australia/Lord_Howe', 'sun', '00:00-24:00'), '2024-10-05 12:00Z', '2024-10-07 12:00Z', '23:30:00'),
    ('no midnight', week('America/Sao_Paulo', 'sun', '00:00-24:00'), '2018-11-03 12:00Z', '2018-11-06 00:00Z', '23:00:00'),
    ('the hour after no midnight', week('America/Sao_Paulo', 'sun', '00:00-01:00'), '2018-11-03 12:00Z', '2018-11-06 00:00Z', '00:00:00'),
    ('twice the hour before midnight', week('America/Sao_Paulo', 'sat', '00:00-24:00'), '2018-02-17 00:00Z', '2018-02-18 12:00Z', '25:00:00'),
    ('a minute after midnight', week('America/St_Johns', 'sun', '00:00-24:00'), '2006-10-28 12:00Z', '2006-10-30 12:00Z', '25:00:00'),
    ('a quarter of an hour, once', week('Asia/Kathmandu', 'wed', '00:00-00:15'), '1985-12-31 12:00Z', '1986-01-01 12:00Z', '00:00:00'),
    ('22 hours', week('Antarctica/Troll', 'sun', '00:00-24:00'), '2024-03-30 12:00Z', '2024-04-01 12:00Z', '22:00:00'),
    ('26 hours', week('Antarctica/Troll', 'sun', '00:00-24:00'), '2024-10-26 12:00Z', '2024-10-28 12:00Z', '26:00:00'),
    ('dates that run into each other', '{"timezone": "UTC", "dates": {"2026-12-24": ["20:00-06:00"], "2026-12-25": ["05:00-07:00"]}}'::calendar,
     '2026-12-01', '2027-01-01', '11:00:00'),
    ('a night before a closed date', (week('UTC', every_day(), '22:00-06:00') - '{2026-12-25}'::date[]), '2026-12-24 12:00Z', '2026-12-26 12:00Z', '08:00:00')
    ) v (what, c, a, b, expected);
SELECT results_eq(
    $$SELECT utc(next_open(c, '2024-03-10 05:00Z')), is_open(c, '2024-03-10 06:59:59Z'), is_open(c, '2024-03-10 07:00Z')
      FROM week('America/New_York', 'sun', '02:15-02:45') c$$,
    $$VALUES ('2024-03-17 06:15:00', false, false)$$, 'what is skipped is not open');
SELECT results_eq(
    $$SELECT is_open(c, '2024-11-03 05:40Z'), is_open(c, '2024-11-03 06:40Z') FROM week('America/New_York', 'sun', '01:30-01:45') c$$,
    'VALUES (true, false)', 'the second time is not, either');
SELECT is(business_elapsed(always_open(zone), '1950-01-01Z', '2090-01-01Z'), timestamptz '2090-01-01Z' - '1950-01-01Z', 'always open in ' || zone)
FROM unnest('{America/New_York,Pacific/Apia,Asia/Kathmandu,UTC,Africa/Casablanca}'::text[]) zone;
SELECT is(business_elapsed(week('America/New_York', every_day(), '09:00-17:00'), '2090-07-01 04:00Z', '2090-07-02 04:00Z')::text, '08:00:00',
          'rules go on');
SELECT ok(is_open(week('America/New_York', every_day(), '09:00-17:00'), '2090-07-01 13:00Z'), 'in summer time, too');

-- ---------- the horizon ----------

CREATE FUNCTION public.known() RETURNS calendar LANGUAGE sql STABLE AS $$
    SELECT '{"timezone": "America/Chicago", "valid_until": "2026-12-31", "hours": {"mon": ["08:00-16:00"], "tue": ["08:00-16:00"],
             "wed": ["08:00-16:00"], "thu": ["08:00-16:00"], "fri": ["08:00-16:00"]}}'::calendar
$$;
SELECT results_eq(
    $$SELECT utc(due_at(c, '2026-12-31 10:00-06', '6:00')), utc(due_at_next_open(c, '2026-12-31 10:00-06', '5:59')),
             utc(due_at(c, '2026-12-30 10:00-06', '1 day')), business_elapsed(c, '2026-12-30 00:00-06', '2027-01-01 00:00-06'),
             is_open(c, '2026-12-31 23:59:59-06'), utc(next_open(c, '2026-12-31 15:59-06')), utc(next_close(c, '2026-12-31 09:00-06')),
             utc(prev_close(c, '2026-12-31 23:00-06')), business_days(c, '2026-12-30', '2027-01-01'),
             add_business_days(c, '2026-12-30', 1), is_business_day(c, '2026-12-31'),
             (SELECT count(*) FROM open_intervals(c, '2026-12-30 00:00-06', '2027-01-01 00:00-06')),
             business_elapsed(c, '2026-12-31 20:00-06', '2026-12-31 06:00-06')
      FROM known() c$$,
    $$VALUES ('2026-12-31 22:00:00', '2026-12-31 21:59:00', '2026-12-31 16:00:00', interval '16:00', false, '2026-12-31 21:59:00',
              '2026-12-31 22:00:00', '2026-12-31 22:00:00', 2, date '2026-12-31', true, 2::bigint, interval '-8:00')$$,
    'up to its last date a calendar is known');
CREATE TABLE public.beyond AS
SELECT call, r.*
FROM unnest(ARRAY[
    $$due_at(c, '2026-12-31 10:00-06', '6:00:00.000001')$$, $$due_at_next_open(c, '2026-12-31 10:00-06', '6:00')$$,
    $$due_at(c, '2026-12-31 10:00-06', '1 day')$$, $$due_at(c, '2026-01-01', '100000:00')$$, $$due_at(c, '2027-02-01', '1:00')$$,
    $$due_at(c, '2027-02-01', '-1:00')$$, $$business_target(c, '2026-12-31 10:00-06', '1 day')$$,
    $$business_elapsed(c, '2026-12-30', '2027-01-01 00:00:00.000001-06')$$, $$business_elapsed(c, '2027-02-01', '2026-12-30')$$,
    $$business_elapsed(c, '2027-02-01', '2027-03-01')$$, $$is_open(c, '2027-01-01 00:00-06')$$, $$is_open(c, '2030-01-05 12:00-06')$$,
    $$next_open(c, '2026-12-31 16:00-06')$$, $$next_open(c, '2027-06-01')$$, $$next_close(c, '2026-12-31 16:00-06')$$,
    $$next_close(c, '2027-06-01')$$, $$prev_close(c, '2027-01-05')$$, $$open_intervals(c, '2026-12-30', '2027-01-02')$$,
    $$business_days(c, '2026-12-30', '2027-01-02')$$, $$business_days(c, '2027-01-02', '2026-12-30')$$,
    $$add_business_days(c, '2026-12-30', 2)$$, $$add_business_days(c, '2027-02-01', -1)$$, $$add_business_days(c, '2027-01-02', 0)$$,
    $$is_business_day(c, '2027-01-01')$$]) call,
    refused(format('SELECT referral.%s FROM public.known() c', call)) r;
SELECT is(code, 'RF022', 'not beyond: ' || call) FROM public.beyond;
SELECT is_empty($$SELECT call, detail, hint FROM beyond WHERE strpos(detail, '2026-12-31') = 0 OR coalesce(hint, '') = ''$$, 'which is said');
SELECT is(code, 'RF022', 'open until the last midnight: it is not known for how long')
FROM refused($$SELECT referral.next_close('{"timezone":"UTC","dates":{"2026-12-31":["20:00-24:00"]},"valid_until":"2026-12-31"}', '2026-12-31 21:00Z')$$);

-- ---------- operators ----------

SELECT is(a::calendar & b::calendar, both_open::calendar, what) FROM (VALUES
    ('hours meet', '{"timezone":"UTC","hours":{"mon":["08:00-12:00","13:00-17:00"],"tue":["08:00-12:00"]}}',
     '{"timezone":"UTC","hours":{"mon":["10:00-15:00"],"wed":["08:00-12:00"]}}', '{"timezone":"UTC","hours":{"mon":["10:00-12:00","13:00-15:00"]}}'),
    ('the earlier horizon', '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"valid_until":"2026-12-31"}',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"valid_until":"2026-06-30"}', '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"valid_until":"2026-06-30"}'),
    ('the only horizon', '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"valid_until":"2026-12-31"}',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]}}', '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"valid_until":"2026-12-31"}'),
    ('closed where either is', '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"closed":["2026-12-28"]}',
     '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"closed":["2026-12-21"]}', '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"closed":["2026-12-21","2026-12-28"]}')
    ) v (what, a, b, both_open);
SELECT is(business_elapsed(a & b, '2026-12-01', '2027-01-01')::text, '04:00:00', 'dated hours meet the other''s weekday')
FROM (SELECT '{"timezone":"UTC","hours":{"mon":["08:00-12:00"]},"dates":{"2026-12-21":["06:00-10:00"],"2026-12-22":["06:00-10:00"]}}'::calendar,
             '{"timezone":"UTC","hours":{"mon":["09:00-10:00"],"tue":["09:30-10:00"]},"dates":{"2026-12-28":["11:00-11:30"]}}'::calendar) v (a, b);
SELECT is(code, 'RF010', 'calendars of two zones do not meet') FROM refused(
    $$SELECT public.clinic() OPERATOR(referral.&) public.week('UTC', 'mon', '08:00-12:00')$$);
SELECT is(code, 'RF010', 'nor those without a common hour') FROM refused(
    $$SELECT public.week('UTC', 'mon', '08:00-12:00') OPERATOR(referral.&) public.week('UTC', 'mon', '12:00-13:00')$$);
SELECT is((clinic() - '{2026-11-27,2026-11-26,2026-11-24,2026-11-24}'::date[])::text::jsonb,
          jsonb_set(clinic()::text::jsonb, '{closed}', '["2026-11-24", "2026-11-26", "2026-11-27", "2026-12-25"]'), 'dates are taken away');
SELECT is(clinic() - '{}'::date[], clinic(), 'or none');
SELECT is(business_elapsed(clinic() - '{2026-12-24}'::date[], '2026-12-24 00:00-06', '2026-12-25 00:00-06')::text, '00:00:00',
          'also those with hours of their own');
SELECT matches(code, '^RF0(10|20)$', 'not: ' || dates)
FROM unnest(ARRAY['{NULL}', '{infinity}', '{-infinity}', '{4000-01-01}', '{0001-01-01 BC}']) dates,
     refused(format('SELECT public.clinic() OPERATOR(referral.-) %L::date[]', dates));
SELECT is(code, 'RF010', 'something must be left')
FROM refused($$SELECT public.fair() OPERATOR(referral.-) '{2026-05-01,2026-05-02}'::date[]$$);

CREATE TABLE public.several AS
SELECT n, c FROM unnest(ARRAY(SELECT written::calendar FROM writing UNION ALL SELECT clinic() UNION ALL SELECT always_open('UTC')
                              UNION ALL SELECT closed_on(many(i))::calendar FROM generate_series(1, 40) i)) WITH ORDINALITY u (c, n);
SELECT is_empty($$SELECT a.n, b.n FROM several a, several b
                  WHERE (a.c = b.c) <> (a.c::text = b.c::text) OR (a.c = b.c) = (a.c <> b.c) OR (a.c < b.c) <> (b.c > a.c)
                     OR (a.c <= b.c) <> (a.c < b.c OR a.c = b.c) OR (a.c >= b.c) <> (b.c <= a.c)
                     OR (a.c < b.c)::integer + (a.c = b.c)::integer + (a.c > b.c)::integer <> 1
                     OR (a.c = b.c AND calendar_hash(a.c) <> calendar_hash(b.c))$$, 'calendars are in one order');
SELECT is_empty($$SELECT a.n, b.n, x.n FROM several a, several b, several x WHERE a.c < b.c AND b.c < x.c AND NOT a.c < x.c$$, 'that goes on');
CREATE UNIQUE INDEX one_of_each ON public.several (c, n);
SELECT is((SELECT count(*) FROM (SELECT c FROM several GROUP BY c) g), (SELECT count(DISTINCT c::text) FROM several), 'they are grouped');
SET enable_hashjoin = off; SET enable_nestloop = off;
CREATE TABLE public.merged AS SELECT a.n, b.n AS other FROM several a JOIN several b USING (c);
RESET enable_hashjoin; SET enable_mergejoin = off;
CREATE TABLE public.hashed AS SELECT a.n, b.n AS other FROM several a JOIN several b USING (c);
RESET enable_nestloop; RESET enable_mergejoin;
SELECT set_eq('TABLE merged', 'SELECT a.n, b.n AS other FROM several a, several b WHERE a.c::text = b.c::text', 'and joined by merging');
SELECT set_eq('TABLE hashed', 'TABLE merged', 'and by hashing');
SELECT is(code, '23505', 'and unique') FROM refused('INSERT INTO public.several SELECT n, c::text::referral.calendar FROM public.several');

-- ---------- arguments ----------

SELECT is_empty(
    $$SELECT call, code, detail, hint
      FROM unnest('{"due_at(c, ''%s'', ''1:00'')","due_at_next_open(c, ''%s'', ''1:00'')","business_target(c, ''%s'', ''1 day'')",
                    "business_elapsed(c, ''%s'', ''2026-01-01'')","business_elapsed(c, ''2026-01-01'', ''%s'')","is_open(c, ''%s'')",
                    "next_open(c, ''%s'')","next_close(c, ''%s'')","prev_close(c, ''%s'')","open_intervals(c, ''%s'', ''2026-01-01'')",
                    "open_intervals(c, ''2026-01-01'', ''%s'')","business_days(c, ''%s'', ''2026-01-01'')","business_days(c, ''2026-01-01'', ''%s'')",
                    "add_business_days(c, ''%s'', 1)","is_business_day(c, ''%s'')","fingerprint(c, ''%s'')"}'::text[]) f,
           unnest('{infinity,-infinity}'::text[]) t, format(f, t) call,
           unnest('{public.clinic(),referral.always_open(''UTC''),public.known()}'::text[]) c,
           refused(format('SELECT referral.%s FROM %s c', call, c))
      WHERE code <> 'RF020' OR coalesce(detail, '') = '' OR coalesce(hint, '') = ''$$, 'infinity is refused');
SELECT is_empty(
    $$SELECT call, target, code, detail, hint
      FROM unnest('{due_at,due_at_next_open,business_target}'::text[]) call,
           unnest('{1 mon,1 year,-1 mon,1 mon -30 days,1 day -1 hour,-1 day 1 hour,-1 day 1 us}'::text[]) target,
           refused(format('SELECT referral.%s(public.clinic(), ''2026-01-01'', %L)', call, target))
      WHERE code <> 'RF020' OR coalesce(detail, '') = '' OR coalesce(hint, '') = ''$$, 'months and mixed signs are refused');
SELECT is(code, '22008', 'out of range: ' || call)
FROM unnest(ARRAY[$$due_at(referral.always_open('UTC'), '294276-12-31 12:00Z', '13:00')$$,
                  $$due_at(referral.always_open('UTC'), '2026-01-01', '9223372036854775807 us')$$,
                  $$due_at(referral.always_open('UTC'), '2026-01-01', '-9223372036854775807 us')$$,
                  $$due_at(public.clinic(), '2026-01-01', '9223372036854775807 us')$$,
                  $$due_at(public.clinic(), '2026-01-01', '2147483647 days')$$,
                  $$due_at(public.clinic(), '2026-01-01', '-2147483648 days')$$,
                  $$due_at(public.clinic(), '2026-01-01', '2147483647 days 9223372036854775807 us')$$,
                  $$add_business_days(public.clinic(), '2026-01-01', 2147483647)$$,
                  $$add_business_days(public.clinic(), '2026-01-01', -2147483648)$$,
                  $$business_elapsed(referral.always_open('UTC'), '4713-01-01 BC', '294276-01-01')$$]) call,
     refused('SELECT referral.' || call);
-- far from any date that a calendar can name: an answer, or out of range
SELECT is_empty(
    $$SELECT call, code
      FROM unnest('{is_open(c\, t),next_open(c\, t),next_close(c\, t),prev_close(c\, t),"business_elapsed(c, t, ''2026-01-01'')",
                    "due_at(c, t, ''100:00'')","due_at(c, t, ''-100:00'')","due_at_next_open(c, t, ''3 days'')","due_at(c, t, ''-3 days'')",
                    "(SELECT count(*) FROM referral.open_intervals(c, t, t + ''3 days''))","business_days(c, t::date, ''2026-01-01'')",
                    "add_business_days(c, t::date, 3)","add_business_days(c, t::date, -3)"}'::text[]) call,
           unnest('{4714-11-24 00:00Z BC,4713-01-01 BC,0001-01-01,1582-10-10,1850-01-01,2150-06-01,2300-06-01,2999-01-01,
                    99999-01-01,294276-12-31 23:59:59.999999Z}'::text[]) t,
           unnest('{"public.clinic()","referral.always_open(''Europe/Paris'')","public.week(''Pacific/Apia'', ''sun'', ''22:00-06:00'')"}'::text[]) c,
           refused(format('SELECT %s FROM %s c, (VALUES (%L::timestamptz)) v (t)',
                          CASE WHEN call LIKE '(%' THEN call ELSE 'referral.' || call END, c, t))
      WHERE code NOT IN ('done', '22008')$$, 'far instants do no harm');
SELECT is(due_at(clinic(), '2026-01-01', '100000:00'), due_at(clinic(), due_at(clinic(), '2026-01-01', '50000:00'), '50000:00'), 'fifty years on');

SELECT is_empty($$SELECT fingerprint(clinic(), t) FROM unnest('{2027-01-01,2040-01-01}'::timestamptz[]) t
                  WHERE fingerprint(clinic(), t) IS DISTINCT FROM fingerprint(clinic()::text::calendar, t)
                     OR fingerprint(clinic(), t) = fingerprint(clinic() - '{2030-01-01}'::date[], t)$$, 'a fingerprint is the calendar''s');
SELECT is((SELECT count(DISTINCT fingerprint(always_open(zone), '2030-01-01'))
           FROM unnest('{UTC,America/New_York,America/Chicago,Europe/Paris}'::text[]) zone), 4::bigint, 'and the zone''s');

-- ---------- the catalog ----------

SELECT is((SELECT string_agg(format('%s %s', proname, provolatile), ' ' ORDER BY proname COLLATE "C")
           FROM pg_proc
           WHERE pronamespace = 'referral'::regnamespace AND proisstrict AND proparallel = 's' AND proacl IS NULL
             AND proname = ANY ('{always_open,due_at,due_at_next_open,business_elapsed,business_target,is_open,next_open,next_close,
                                  prev_close,open_intervals,business_days,add_business_days,is_business_day,fingerprint,
                                  calendar_in,calendar_out,calendar_recv,calendar_send}')),
          'add_business_days i always_open i business_days i business_elapsed s business_target s calendar_in i calendar_out i '
          'calendar_recv i calendar_send i due_at s due_at_next_open s fingerprint s is_business_day i is_open s next_close s '
          'next_open s open_intervals s prev_close s', 'strict, parallel safe, for everybody; what reads the zone is stable');
SELECT is((SELECT concat_ws(' ', typlen, typstorage, typalign) FROM pg_type WHERE oid = 'referral.calendar'::regtype), '-1 m d', 'the type is compact');
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc WHERE 'referral.calendar'::regtype = ANY (proargtypes) AND pronamespace = 'referral'::regnamespace
                    AND coalesce(obj_description(oid, 'pg_proc'), '') = ''$$, 'every function has a comment');

SELECT * FROM finish();
