-- HL7 v2: messages in the vertical bar encoding (ER7), read and written; dates and times as HL7 has them

CREATE FUNCTION referral.hl7_parse(message text) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_parse';
COMMENT ON FUNCTION referral.hl7_parse(text) IS
'A message of HL7 v2 as jsonb: {"separators": ..., "segments": [{"segment": "MSH", "1": [...], ...}, ...]}. A field is an array of its repetitions by its number; a repetition is a string, or an object of components by number; a component a string, or an object of subcomponents. Escape sequences are decoded; empty fields have no key. Line ends of every kind, a byte order mark, MLLP framing and lines of a batch envelope are not part of it. Null for null; RF014, with the place, for what is no message or more than one. See docs/hl7.md.';

CREATE FUNCTION referral.hl7_build(message jsonb) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_build';
COMMENT ON FUNCTION referral.hl7_build(jsonb) IS
'The text of a message that is given as hl7_parse() returns them, a carriage return after each segment, separators and control characters in values escaped. "separators" may be left out: |^~\&; so may MSH-1 and MSH-2. A JSON null is an absent value. hl7_parse() of it gives the same message. Null for null; RF014, with the place, for another shape of jsonb.';

CREATE FUNCTION referral.hl7_get(message jsonb, path text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_get_jsonb';
COMMENT ON FUNCTION referral.hl7_get(jsonb, text) IS
'The value at a path of a parsed message, or of one of its segments: PID-5.1, PID-3(2).4.1 (second repetition), PRD(2)-2.1 (second segment). Without a number in parentheses the first. A value that is more than one text (PID-5) comes as a message has it, with separators and escape sequences. Null for null, for what is absent or empty; an explicit HL7 null is "" (two characters). RF020 for a malformed path, RF014 for jsonb of another shape where it shows.';

CREATE FUNCTION referral.hl7_get(message text, path text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_get_text';
COMMENT ON FUNCTION referral.hl7_get(text, text) IS
'The value at a path of a message: the same as hl7_get(hl7_parse(message), path), but only as much is read as it takes, so that only a wrong MSH-1 or MSH-2 is refused with RF014. For a few values of a message; parse it for many. RF020 for a malformed path.';

CREATE FUNCTION referral.hl7_count(message jsonb, path text) RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_count';
COMMENT ON FUNCTION referral.hl7_count(jsonb, text) IS
'How many segments of a name (PRD), or repetitions of a field (PID-3, PRD(2)-7), a parsed message has. Null for null; RF020 for a malformed path or one that goes further.';

CREATE FUNCTION referral.hl7_segments(message jsonb, segment text) RETURNS SETOF jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 3 AS 'MODULE_PATHNAME', 'hl7_segments';
COMMENT ON FUNCTION referral.hl7_segments(jsonb, text) IS
'The segments of that name of a parsed message in their order. hl7_get() takes each of them with a path of the same name. None for null; RF020 for what is no name of a segment.';

CREATE FUNCTION referral.hl7_date(value text) RETURNS date
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_date';
COMMENT ON FUNCTION referral.hl7_date(text) IS
'The date of an HL7 date or time (YYYYMMDD...), as it is written, whatever its offset. Null for null, for less than a day (YYYY, YYYYMM), and for what is no such date. No errors.';

CREATE FUNCTION referral.hl7_timestamp(value text, zone text DEFAULT 'UTC') RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_timestamp';
COMMENT ON FUNCTION referral.hl7_timestamp(text, text) IS
'The time of an HL7 date or time YYYYMMDD[HH[MM[SS[.S[S[S[S]]]]]]][+/-ZZZZ]: with its offset from UTC where it has one, else local time in the zone; midnight where it has no hour. Null for null, for less than a day, and for what is no such time; RF020 for an unknown zone.';

CREATE FUNCTION referral.hl7_decode(message bytea) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_decode';
COMMENT ON FUNCTION referral.hl7_decode(bytea) IS
'The bytes of a message, or of a batch, as text, by the character set that MSH-18 of the first message names (HL7 table 0211, or a name that the server knows). A byte order mark of UTF-8 or UTF-16 goes before that, and is dropped. Where it names none, an unknown one, or the bytes are not of it: UTF-8, or else 8859/1. A NUL byte becomes a blank. Null for null; RF014 for more than 255 MB, and in a database that is not UTF8 for characters that it lacks.';

CREATE FUNCTION referral.hl7_split(batch text) RETURNS SETOF text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'hl7_split';
COMMENT ON FUNCTION referral.hl7_split(text) IS
'The messages of a batch in their order, each as it stands, without the lines of envelopes (FHS, BHS, BTS, FTS) and without MLLP framing. A single message is a batch of one. Lines that belong to no message come as a text of their own, which hl7_parse() refuses, so that nothing is lost. None for null. No errors.';
