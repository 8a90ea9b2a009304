-- canonical: what a message can tell of a referral, by flat names

CREATE FUNCTION referral.canonical_attribute(
    OUT attribute text, OUT path text[], OUT type text, OUT codes text[], OUT description text)
RETURNS SETOF record
LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 160 AS 'MODULE_PATHNAME', 'canonical_attribute';
COMMENT ON FUNCTION referral.canonical_attribute() IS
'The canonical attributes, which source mappings and extractions name: their path in an intake case, their type (text, code, date, timestamptz, integer, numeric, boolean), the codes that are allowed (null unless it is a code), and what they mean.';
