-- calendar: the hours during which time counts, as a value

CREATE TYPE referral.calendar;

CREATE FUNCTION referral.calendar_in(cstring) RETURNS referral.calendar
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_in';
COMMENT ON FUNCTION referral.calendar_in(cstring) IS
'Reads a calendar from JSON; RF010 when it is none.';

CREATE FUNCTION referral.calendar_out(referral.calendar) RETURNS cstring
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_out';
COMMENT ON FUNCTION referral.calendar_out(referral.calendar) IS
'Writes a calendar as JSON, the same for all calendars that are equal.';

CREATE FUNCTION referral.calendar_recv(internal) RETURNS referral.calendar
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_recv';
COMMENT ON FUNCTION referral.calendar_recv(internal) IS
'Reads the binary form of a calendar, as strictly as the text; RF010 when it is none.';

CREATE FUNCTION referral.calendar_send(referral.calendar) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_send';
COMMENT ON FUNCTION referral.calendar_send(referral.calendar) IS
'Writes the binary form of a calendar, the same for all calendars that are equal.';

CREATE TYPE referral.calendar (
    INPUT = referral.calendar_in, OUTPUT = referral.calendar_out,
    RECEIVE = referral.calendar_recv, SEND = referral.calendar_send,
    INTERNALLENGTH = VARIABLE, ALIGNMENT = double, STORAGE = main
);
COMMENT ON TYPE referral.calendar IS
'Hours during which time counts: a time zone, weekly hours, closed dates, dated hours, and the last date for which it is known; written as JSON. See docs/calendar.md.';

CREATE FUNCTION referral.always_open(timezone text) RETURNS referral.calendar
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'always_open';
COMMENT ON FUNCTION referral.always_open(text) IS
'The calendar of a zone that is open all day every day. Null for null; RF010 when the zone is no IANA name.';

CREATE FUNCTION referral.due_at(calendar referral.calendar, start timestamptz, target interval) RETURNS timestamptz
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'due_at';
COMMENT ON FUNCTION referral.due_at(referral.calendar, timestamptz, interval) IS
'When open time since start reaches the target; the close, if that is at a close. A day of the target is a business day (see business_target). Zero is due at start; a negative target counts back from start, to the opening if that is at an opening. Overdue is who has business_elapsed >= target. Null for null; RF020 for an infinite time, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until, RF020 for months.';

CREATE FUNCTION referral.due_at_next_open(calendar referral.calendar, start timestamptz, target interval) RETURNS timestamptz
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'due_at_next_open';
COMMENT ON FUNCTION referral.due_at_next_open(referral.calendar, timestamptz, interval) IS
'As due_at, but the next opening where that is a close, and counting back the close before where that is an opening. Overdue is who has business_elapsed > target. Null for null; RF020 for an infinite time, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until, RF020 for months.';

CREATE FUNCTION referral.business_target(calendar referral.calendar, start timestamptz, target interval) RETURNS interval
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'business_target';
COMMENT ON FUNCTION referral.business_target(referral.calendar, timestamptz, interval) IS
'The open time that a target means when it is counted from start, in hours and below. Its days lead to the same time of day that many business dates later; a start outside of hours counts as the next opening (for negative days as the close before). Null for null; RF020 for an infinite time, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until, RF020 for months, or for days and hours of different signs.';

CREATE FUNCTION referral.business_elapsed(calendar referral.calendar, "from" timestamptz, "to" timestamptz) RETURNS interval
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'business_elapsed';
COMMENT ON FUNCTION referral.business_elapsed(referral.calendar, timestamptz, timestamptz) IS
'Open time from one instant to another, in hours and below, as it really elapses; negative when reversed. Null for null; RF020 for an infinite time, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until.';

CREATE FUNCTION referral.is_open(calendar referral.calendar, at timestamptz) RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'is_open';
COMMENT ON FUNCTION referral.is_open(referral.calendar, timestamptz) IS
'Is it open? At an opening yes, at a close no. Null for null; RF020 for an infinite time, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until or at the end of that date.';

CREATE FUNCTION referral.next_open(calendar referral.calendar, at timestamptz) RETURNS timestamptz
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'next_open';
COMMENT ON FUNCTION referral.next_open(referral.calendar, timestamptz) IS
'The first open instant that is not before the given one: that one itself when it is open. Null for null, and when the calendar never opens again; RF020 for an infinite time, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until.';

CREATE FUNCTION referral.next_close(calendar referral.calendar, at timestamptz) RETURNS timestamptz
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'next_close';
COMMENT ON FUNCTION referral.next_close(referral.calendar, timestamptz) IS
'When the stretch of open time ends in which the instant lies, or else the next one; hours that touch are one stretch. Null for null, and when it never closes or never opens again; RF020 for an infinite time, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until.';

CREATE FUNCTION referral.prev_close(calendar referral.calendar, at timestamptz) RETURNS timestamptz
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'prev_close';
COMMENT ON FUNCTION referral.prev_close(referral.calendar, timestamptz) IS
'The last end of a stretch of open time that is not after the instant. Null for null, and when there is none; RF020 for an infinite time, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until.';

CREATE FUNCTION referral.open_intervals(calendar referral.calendar, "from" timestamptz, "to" timestamptz, OUT opens timestamptz, OUT closes timestamptz) RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL SAFE ROWS 30 AS 'MODULE_PATHNAME', 'open_intervals';
COMMENT ON FUNCTION referral.open_intervals(referral.calendar, timestamptz, timestamptz) IS
'The stretches of open time from one instant to another, clipped to them, in order; hours that touch are one stretch. None for null or when reversed; RF020 for an infinite time, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until.';

CREATE FUNCTION referral.business_days(calendar referral.calendar, "from" date, "to" date) RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'business_days';
COMMENT ON FUNCTION referral.business_days(referral.calendar, date, date) IS
'Number of business dates from one date up to another, which does not count itself; negative when reversed. A business date is one with hours of its own. Null for null; RF020 for an infinite date, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until.';

CREATE FUNCTION referral.add_business_days(calendar referral.calendar, date date, n integer) RETURNS date
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'add_business_days';
COMMENT ON FUNCTION referral.add_business_days(referral.calendar, date, integer) IS
'The n-th business date after a date, before it for a negative n; for 0 the date itself when it is one, else the next. Null for null; RF020 for an infinite date, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until.';

CREATE FUNCTION referral.is_business_day(calendar referral.calendar, date date) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'is_business_day';
COMMENT ON FUNCTION referral.is_business_day(referral.calendar, date) IS
'Has the date hours of its own? Null for null; RF020 for an infinite date, 22008 outside of the years 1900 to 2399, RF022 beyond the calendar''s valid_until.';

CREATE FUNCTION referral.fingerprint(calendar referral.calendar, until timestamptz) RETURNS bigint
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fingerprint';
COMMENT ON FUNCTION referral.fingerprint(referral.calendar, timestamptz) IS
'A number that changes when the calendar does, or what the server knows of its zone''s offsets from UTC at any time up to an instant: kept beside a due time, it tells when that must be computed again. To be compared within one database only. Null for null; RF020 for an infinite time, 22008 outside of the years 1900 to 2399.';

-- operators

CREATE FUNCTION referral.calendar_and(referral.calendar, referral.calendar) RETURNS referral.calendar
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_and';
COMMENT ON FUNCTION referral.calendar_and(referral.calendar, referral.calendar) IS
'Open when both calendars are; operator &. Null for null; RF010 when the zones differ, or when there is no common time.';

CREATE FUNCTION referral.calendar_minus(referral.calendar, date[]) RETURNS referral.calendar
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_minus';
COMMENT ON FUNCTION referral.calendar_minus(referral.calendar, date[]) IS
'The calendar with these dates closed, too; operator -. Null for null; RF020 for a null date, RF010 for one outside of the years 1900 to 2200 or when no open time is left.';

CREATE OPERATOR referral.& (LEFTARG = referral.calendar, RIGHTARG = referral.calendar, FUNCTION = referral.calendar_and, COMMUTATOR = OPERATOR(referral.&));
COMMENT ON OPERATOR referral.& (referral.calendar, referral.calendar) IS 'open when both are';

CREATE OPERATOR referral.- (LEFTARG = referral.calendar, RIGHTARG = date[], FUNCTION = referral.calendar_minus);
COMMENT ON OPERATOR referral.- (referral.calendar, date[]) IS 'closed on these dates, too';

CREATE FUNCTION referral.calendar_eq(referral.calendar, referral.calendar) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_eq';
COMMENT ON FUNCTION referral.calendar_eq(referral.calendar, referral.calendar) IS
'Are two calendars equal? Null for null.';

CREATE FUNCTION referral.calendar_ne(referral.calendar, referral.calendar) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_ne';
COMMENT ON FUNCTION referral.calendar_ne(referral.calendar, referral.calendar) IS
'Are two calendars not equal? Null for null.';

CREATE FUNCTION referral.calendar_lt(referral.calendar, referral.calendar) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_lt';
COMMENT ON FUNCTION referral.calendar_lt(referral.calendar, referral.calendar) IS
'Does a calendar come before another, in an order without meaning? Null for null.';

CREATE FUNCTION referral.calendar_le(referral.calendar, referral.calendar) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_le';
COMMENT ON FUNCTION referral.calendar_le(referral.calendar, referral.calendar) IS
'Does a calendar come before another, in an order without meaning, or are they equal? Null for null.';

CREATE FUNCTION referral.calendar_gt(referral.calendar, referral.calendar) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_gt';
COMMENT ON FUNCTION referral.calendar_gt(referral.calendar, referral.calendar) IS
'Does a calendar come after another, in an order without meaning? Null for null.';

CREATE FUNCTION referral.calendar_ge(referral.calendar, referral.calendar) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_ge';
COMMENT ON FUNCTION referral.calendar_ge(referral.calendar, referral.calendar) IS
'Does a calendar come after another, in an order without meaning, or are they equal? Null for null.';

CREATE FUNCTION referral.calendar_cmp(referral.calendar, referral.calendar) RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_cmp';
COMMENT ON FUNCTION referral.calendar_cmp(referral.calendar, referral.calendar) IS
'Compares two calendars, in an order without meaning: negative, 0 or positive. Null for null.';

CREATE FUNCTION referral.calendar_hash(referral.calendar) RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_hash32';
COMMENT ON FUNCTION referral.calendar_hash(referral.calendar) IS
'Hash of a calendar. Null for null.';

CREATE FUNCTION referral.calendar_hash_extended(referral.calendar, bigint) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'calendar_hash64';
COMMENT ON FUNCTION referral.calendar_hash_extended(referral.calendar, bigint) IS
'Hash of a calendar, with a seed. Null for null.';

CREATE OPERATOR referral.= (LEFTARG = referral.calendar, RIGHTARG = referral.calendar, FUNCTION = referral.calendar_eq,
    COMMUTATOR = OPERATOR(referral.=), NEGATOR = OPERATOR(referral.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES, MERGES);
COMMENT ON OPERATOR referral.= (referral.calendar, referral.calendar) IS 'equal';

CREATE OPERATOR referral.<> (LEFTARG = referral.calendar, RIGHTARG = referral.calendar, FUNCTION = referral.calendar_ne,
    COMMUTATOR = OPERATOR(referral.<>), NEGATOR = OPERATOR(referral.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel);
COMMENT ON OPERATOR referral.<> (referral.calendar, referral.calendar) IS 'not equal';

CREATE OPERATOR referral.< (LEFTARG = referral.calendar, RIGHTARG = referral.calendar, FUNCTION = referral.calendar_lt,
    COMMUTATOR = OPERATOR(referral.>), NEGATOR = OPERATOR(referral.>=), RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel);
COMMENT ON OPERATOR referral.< (referral.calendar, referral.calendar) IS 'before';

CREATE OPERATOR referral.<= (LEFTARG = referral.calendar, RIGHTARG = referral.calendar, FUNCTION = referral.calendar_le,
    COMMUTATOR = OPERATOR(referral.>=), NEGATOR = OPERATOR(referral.>), RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel);
COMMENT ON OPERATOR referral.<= (referral.calendar, referral.calendar) IS 'before or equal';

CREATE OPERATOR referral.> (LEFTARG = referral.calendar, RIGHTARG = referral.calendar, FUNCTION = referral.calendar_gt,
    COMMUTATOR = OPERATOR(referral.<), NEGATOR = OPERATOR(referral.<=), RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel);
COMMENT ON OPERATOR referral.> (referral.calendar, referral.calendar) IS 'after';

CREATE OPERATOR referral.>= (LEFTARG = referral.calendar, RIGHTARG = referral.calendar, FUNCTION = referral.calendar_ge,
    COMMUTATOR = OPERATOR(referral.<=), NEGATOR = OPERATOR(referral.<), RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel);
COMMENT ON OPERATOR referral.>= (referral.calendar, referral.calendar) IS 'after or equal';

CREATE OPERATOR CLASS referral.calendar_ops DEFAULT FOR TYPE referral.calendar USING btree AS
    OPERATOR 1 referral.<, OPERATOR 2 referral.<=, OPERATOR 3 referral.=, OPERATOR 4 referral.>=, OPERATOR 5 referral.>,
    FUNCTION 1 referral.calendar_cmp(referral.calendar, referral.calendar);
COMMENT ON OPERATOR CLASS referral.calendar_ops USING btree IS 'order without meaning, for DISTINCT, UNIQUE and ORDER BY';

CREATE OPERATOR CLASS referral.calendar_ops DEFAULT FOR TYPE referral.calendar USING hash AS
    OPERATOR 1 referral.=,
    FUNCTION 1 referral.calendar_hash(referral.calendar),
    FUNCTION 2 referral.calendar_hash_extended(referral.calendar, bigint);
COMMENT ON OPERATOR CLASS referral.calendar_ops USING hash IS 'equality';

CREATE FUNCTION referral.us_federal_holidays(from_year integer, to_year integer) RETURNS TABLE (day date, holiday text)
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    WITH legal AS (
        SELECT make_date(y, m, d) AS day, name
        FROM generate_series(from_year, to_year + 1) y,    -- New Year's Day may be kept in the old year
             (VALUES (1, 1, 'New Year''s Day'), (6, 19, 'Juneteenth'), (7, 4, 'Independence Day'),
                     (11, 11, 'Veterans Day'), (12, 25, 'Christmas Day')) h (m, d, name)
        WHERE y >= 2021 OR name <> 'Juneteenth'
        UNION ALL
        -- the nth Monday (1) or Thursday (4) of a month; the last Monday of May is the one after the 24th
        SELECT make_date(y, m, d) + (dow - extract(dow FROM make_date(y, m, d))::int + 7) % 7, name
        FROM generate_series(from_year, to_year) y,
             (VALUES (1, 15, 1, 'Birthday of Martin Luther King, Jr.'), (2, 15, 1, 'Washington''s Birthday'),
                     (5, 25, 1, 'Memorial Day'), (9, 1, 1, 'Labor Day'), (10, 8, 1, 'Columbus Day'),
                     (11, 22, 4, 'Thanksgiving Day')) h (m, d, dow, name))
    SELECT x.day, x.name
    FROM (SELECT CASE extract(isodow FROM l.day) WHEN 6 THEN l.day - 1 WHEN 7 THEN l.day + 1 ELSE l.day END AS day, l.name
          FROM legal l) x
    WHERE extract(year FROM x.day) BETWEEN from_year AND to_year
    ORDER BY 1
$$;
COMMENT ON FUNCTION referral.us_federal_holidays(integer, integer) IS
'The days on which federal holidays of the United States are kept: on the Friday before when they fall on a Saturday, on the Monday after when on a Sunday. Source: 5 U.S.C. 6103. Null for null.';
