-- Calendars, questions and rivals of calendar.bench.sh.
\ir lib.sql

-- ---------- Calendars: 300 dated exceptions, of the years 2015 to 2044 ----------

CREATE FUNCTION bench.exceptions(shift int DEFAULT 0) RETURNS TABLE (date date, half boolean) LANGUAGE sql AS $$
    SELECT make_date(y, d[1], d[2]) + shift, d[3] = 1
    FROM generate_series(2015, 2044) y,
         LATERAL (VALUES ('{1,1,0}'::int[]), ('{1,20,0}'), ('{2,17,0}'), ('{5,26,0}'), ('{7,4,0}'), ('{9,3,0}'),
                         ('{10,12,0}'), ('{11,27,0}'), ('{12,25,0}'), ('{12,24,1}')) v (d)
$$;

CREATE FUNCTION bench.make_calendar(opens text, shift int DEFAULT 0) RETURNS referral.calendar LANGUAGE sql AS $$
    SELECT jsonb_build_object(
        'timezone', 'America/New_York',
        'hours', (SELECT jsonb_object_agg(d, jsonb_build_array(opens || '-17:00'))
                  FROM unnest('{mon,tue,wed,thu,fri}'::text[]) d),
        'closed', (SELECT jsonb_agg(date) FROM bench.exceptions(shift) WHERE NOT half),
        'dates', (SELECT jsonb_object_agg(date, jsonb_build_array(opens || '-12:00'))
                  FROM bench.exceptions(shift) WHERE half))::text::referral.calendar
$$;

-- The first one is asked alone; all have 300 exceptions.
CREATE TABLE bench.calendar (id int PRIMARY KEY, calendar referral.calendar NOT NULL);
INSERT INTO bench.calendar
SELECT i, bench.make_calendar(format('09:%s', lpad((i - 1)::text, 2, '0')), (i - 1) % 5) FROM generate_series(1, 20) i;

-- ---------- Questions: from a time of 2024 to 2028, in no order, so that nothing is found where it was just now -------

CREATE TABLE bench.ask (id int PRIMARY KEY, start timestamptz NOT NULL, one int NOT NULL, mixed int NOT NULL);
INSERT INTO bench.ask
SELECT i, '2024-01-01 00:00-05'::timestamptz + make_interval(mins => (i::bigint * 7919 * 331 % (4 * 365 * 1440))::int),
       1, 1 + i % 20
FROM generate_series(1, 20000) i;

-- ---------- SQL: open time as a table of stretches with the sum before each ----------

CREATE TABLE bench.stretch (opens timestamptz PRIMARY KEY, closes timestamptz NOT NULL, before interval NOT NULL UNIQUE);
INSERT INTO bench.stretch
SELECT opens, closes,
       coalesce(sum(closes - opens) OVER (ORDER BY opens ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), '0')
FROM (SELECT (d + time '09:00') AT TIME ZONE 'America/New_York' AS opens,
             (d + CASE WHEN x.half THEN time '12:00' ELSE time '17:00' END) AT TIME ZONE 'America/New_York' AS closes
      FROM generate_series('2015-01-01'::timestamp, '2044-12-31', '1 day') d LEFT JOIN bench.exceptions() x ON x.date = d
      WHERE coalesce(x.half, extract(isodow FROM d) <= 5)) s;

CREATE FUNCTION bench.position_sql(at timestamptz) RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT s.before + (least(at, s.closes) - s.opens) FROM bench.stretch s WHERE s.opens <= at ORDER BY s.opens DESC LIMIT 1
$$;
CREATE FUNCTION bench.due_sql(start timestamptz, target interval) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT s.opens + (p.sought - s.before)
    FROM (SELECT s.before + (least(start, s.closes) - s.opens) + target AS sought
          FROM bench.stretch s WHERE s.opens <= start ORDER BY s.opens DESC LIMIT 1) p,
         LATERAL (SELECT * FROM bench.stretch s WHERE s.before < p.sought ORDER BY s.before DESC LIMIT 1) s
$$;

-- ---------- PL/pgSQL: a loop over days ----------

CREATE TABLE bench.exception (date date PRIMARY KEY, half boolean NOT NULL);
INSERT INTO bench.exception SELECT * FROM bench.exceptions();

CREATE FUNCTION bench.due_loop(start timestamptz, target interval) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    day date := (start AT TIME ZONE 'America/New_York')::date;
    is_half boolean;
    opens timestamptz;
    closes timestamptz;
BEGIN
    LOOP
        SELECT x.half INTO is_half FROM bench.exception x WHERE x.date = day;
        IF coalesce(is_half, extract(isodow FROM day) <= 5) THEN
            opens := greatest(start, (day + time '09:00') AT TIME ZONE 'America/New_York');
            closes := (day + CASE WHEN is_half THEN time '12:00' ELSE time '17:00' END) AT TIME ZONE 'America/New_York';
            IF opens < closes THEN
                IF opens + target <= closes THEN
                    RETURN opens + target;
                END IF;
                target := target - (closes - opens);
            END IF;
        END IF;
        day := day + 1;
    END LOOP;
END $$;

CREATE FUNCTION bench.elapsed_loop(since timestamptz, until timestamptz) RETURNS interval LANGUAGE plpgsql STABLE AS $$
DECLARE
    day date := (since AT TIME ZONE 'America/New_York')::date;
    sum interval := '0';
    is_half boolean;
    opens timestamptz;
    closes timestamptz;
BEGIN
    WHILE day <= (until AT TIME ZONE 'America/New_York')::date LOOP
        SELECT x.half INTO is_half FROM bench.exception x WHERE x.date = day;
        IF coalesce(is_half, extract(isodow FROM day) <= 5) THEN
            opens := greatest(since, (day + time '09:00') AT TIME ZONE 'America/New_York');
            closes := least(until, (day + CASE WHEN is_half THEN time '12:00' ELSE time '17:00' END)
                AT TIME ZONE 'America/New_York');
            sum := sum + greatest(closes - opens, '0');
        END IF;
        day := day + 1;
    END LOOP;
    RETURN sum;
END $$;

-- All ways answer alike: due times after 1 to 4000 hours, and open time up to them, on every weekday and hour.
SET client_min_messages = notice;
DO $$
DECLARE
    n bigint;
    differing bigint;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE a.due <> bench.due_sql(a.start, a.target)
                                      OR a.due <> bench.due_loop(a.start, a.target)
                                      OR a.elapsed <> bench.position_sql(a.until) - bench.position_sql(a.start)
                                      OR a.elapsed <> bench.elapsed_loop(a.start, a.until))
    INTO n, differing
    FROM (SELECT a.start, t.target, u.until, referral.due_at(c.calendar, a.start, t.target) AS due,
                 referral.business_elapsed(c.calendar, a.start, u.until) AS elapsed
          FROM bench.ask a JOIN bench.calendar c ON c.id = 1,
               LATERAL (SELECT make_interval(hours => 1 + a.id % 80 * (a.id % 50)) AS target) t,
               LATERAL (SELECT a.start + 5 * t.target + '17 minutes 3 seconds' AS until) u
          WHERE a.id <= 1000) a;
    IF n <> 1000 OR differing > 0 THEN
        RAISE EXCEPTION '% of % answers differ', differing, n;
    END IF;
    RAISE NOTICE 'checked: % due times and open times, the same from C, the table of sums and the loop', n;
END $$;

VACUUM ANALYZE bench.ask, bench.calendar, bench.stretch, bench.exception;
