-- try_cast: values that others sent as text; what is none becomes null, never an error

CREATE FUNCTION referral.try_date(value text) RETURNS date
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'try_date';
COMMENT ON FUNCTION referral.try_date(text) IS
'The date that a text is: 2026-11-02 or 20261102; of a time, the day as written. Null for null and for what is no whole date, such as 2026-11 or 1976-13-25. No errors.';

CREATE FUNCTION referral.try_timestamp(value text, zone text DEFAULT NULL) RETURNS timestamptz
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'try_timestamp';    -- stable: the zone of the session
COMMENT ON FUNCTION referral.try_timestamp(text, text) IS
'The time that a text is: 2026-11-02T14:05:09.25+01:00, also without fraction, seconds, colons, dashes or T; a date is its midnight. A time that does not tell its zone is one of zone (an IANA name; null: the session''s). Null for null and for what is no time; without zones of their own, also when there is no such zone. No errors.';

CREATE FUNCTION referral.try_numeric(value text) RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'try_numeric';
COMMENT ON FUNCTION referral.try_numeric(text) IS
'The number that a text is, with a decimal point and an exponent up to 200. Null for null, for what is no number, infinite or longer than 200 characters. No errors.';

CREATE FUNCTION referral.try_integer(value text) RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'try_integer';
COMMENT ON FUNCTION referral.try_integer(text) IS
'The whole number that a text is. Null for null, and for what is none or does not fit into integer. No errors.';

CREATE FUNCTION referral.try_boolean(value text) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'try_boolean';
COMMENT ON FUNCTION referral.try_boolean(text) IS
'The truth value that a text is: true, false, yes, no, on, off, 1, 0, or how one of them begins, in either case. Null for null, and for what is none. No errors.';
